//! One line on the terminal, drawn again each second.

use std::io::{self, IsTerminal, Write};

use crate::plan::Plan;
use crate::record::Tally;
use crate::run::Watch;

pub struct Progress {
    shown: bool,
    errors: u64,
}

impl Progress {
    /// Shown on a terminal only: a log file wants no moving line.
    pub fn new() -> Progress {
        Progress { shown: io::stderr().is_terminal(), errors: 0 }
    }

    pub fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn on_second(&mut self, plan: &Plan, done: u64, tally: &Tally) {
        if !self.shown {
            return;
        }
        self.errors += tally.errors();
        let warm = done <= plan.warmup;
        let all = tally.all();
        eprint!(
            "\r\x1b[K{:>4} s of {}{}  {:>10} ops/s  p50 {:>8.0} us  p99 {:>8.0} us  {} errors",
            if warm { done } else { done - plan.warmup },
            if warm { plan.warmup } else { plan.secs },
            if warm { " warm-up" } else { "" },
            all.ok,
            all.latency.value_at_quantile(0.5) as f64 / 1e3,
            all.latency.value_at_quantile(0.99) as f64 / 1e3,
            self.errors
        );
        let _ = io::stderr().flush();
    }
}
