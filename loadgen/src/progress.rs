//! How a run goes on: a line on the terminal, drawn again each second; where there is no terminal, a line every ten
//! seconds of a long run. `--json` and results say the same in the end.

use std::io::{self, IsTerminal, Write};

use crate::plan::Plan;
use crate::record::Tally;
use crate::run::Watch;

/// A log file wants no line each second, and nothing of a short run.
const PLAIN_EVERY: u64 = 10;

pub struct Progress {
    terminal: bool,
    errors: u64,
    /// In the plain form: since the last line.
    since: Tally,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), errors: 0, since: Tally::default() }
    }

    pub fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn on_second(&mut self, plan: &Plan, done: u64, tally: &Tally) {
        if done == 1 {
            (self.errors, self.since) = (0, Tally::default()); // The next run of a series.
        }
        self.errors += tally.errors();
        if self.terminal {
            eprint!("\r\x1b[K{}", line(plan, done, tally, 1, self.errors));
            let _ = io::stderr().flush();
            return;
        }
        self.since.merge(tally);
        if done.is_multiple_of(PLAIN_EVERY) {
            eprintln!("{}", line(plan, done, &self.since, PLAIN_EVERY, self.errors));
            self.since = Tally::default();
        }
    }
}

fn line(plan: &Plan, done: u64, tally: &Tally, secs: u64, errors: u64) -> String {
    let all = tally.all();
    let (at, of, what) = match done.checked_sub(plan.warmup + 1) {
        Some(_) => (done - plan.warmup, plan.secs, ""),
        None => (done, plan.warmup, " warm-up"),
    };
    format!(
        "{at:>4} s of {of}{what}  {:>10} ops/s  p50 {:>8.0} us  p99 {:>8.0} us  {errors} errors",
        all.ok / secs,
        all.latency.value_at_quantile(0.5) as f64 / 1e3,
        all.latency.value_at_quantile(0.99) as f64 / 1e3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_warm_up_from_window() {
        let plan = crate::plan::tests::plan("--warmup 3 --secs 20").expect("valid");
        let mut tally = Tally::default();
        tally.read.ok = 70;
        assert!(line(&plan, 3, &tally, 1, 0).starts_with("   3 s of 3 warm-up          70 ops/s"));
        assert!(line(&plan, 14, &tally, 10, 2).starts_with("  11 s of 20           7 ops/s"));
        assert!(line(&plan, 14, &tally, 10, 2).ends_with("2 errors"));
    }
}
