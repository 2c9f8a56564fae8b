//! The highest rate that keeps an objective. A closed loop tells what the system can do at most; open loops at shares of
//! it give the curve of latency against load; between the last that kept the objective and the first that did not, the
//! difference is halved a few times.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::MILLI;
use crate::output;
use crate::plan::Plan;
use crate::results;
use crate::run::{self, Trouble, Watch};

const SHARES: [f64; 7] = [0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95];
const HALVINGS: usize = 3;

#[derive(Clone, Debug, Serialize)]
pub struct Objective {
    text: String,
    quantile: f64,
    at_most_ns: u64,
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Objective, String> {
        let wanted = || format!("{text:?} is no objective, as p99<=5ms or max<=100ms are");
        let (what, limit) = text.split_once("<=").ok_or_else(wanted)?;
        let quantile = match what.trim() {
            "max" => 1.0,
            other => {
                other.strip_prefix('p').and_then(|text| text.parse::<f64>().ok()).ok_or_else(wanted)? / 100.0
            }
        };
        let limit = limit.trim();
        let digits = limit.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &limit[digits.len()..] {
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            _ => return Err(wanted()),
        };
        let at_most = digits.trim().parse::<f64>().map_err(|_| wanted())? * unit;
        if !(0.0..=1.0).contains(&quantile) || at_most < 1e3 || !at_most.is_finite() {
            return Err(wanted());
        }
        Ok(Objective { text: text.replace(' ', ""), quantile, at_most_ns: at_most as u64 })
    }
}

/// One rung: an open loop at a rate.
struct Rung {
    rate: f64,
    json: Value,
    /// Why it does not keep the objective; empty: it does.
    misses: Vec<String>,
    invalid: bool,
}

pub struct Climbed {
    pub json: Value,
    pub text: String,
    pub partial: bool,
    pub invalid: bool,
}

pub fn climb(
    plan: &Plan,
    objective: &Objective,
    dir: Option<&Path>,
    watch: &mut dyn Watch,
) -> Result<Climbed, Trouble> {
    let closed = run::run(plan, None, watch)?;
    let most = closed.total.ok() as f64 * plan.batch as f64 / closed.secs;
    let mut partial = output::faults(plan, &closed).partial;
    let closed_json = output::json(plan, &closed, None);
    let mut rungs: Vec<Rung> = Vec::new();
    let mut nth = 0;
    let mut store = |plan: &Plan, measured: &run::Measured, json: &Value, name: &str| -> Option<String> {
        nth += 1;
        let dir = dir?.join("steps").join(format!("{nth:02}-{name}"));
        results::write(&dir, plan, measured, json).err().map(|error| format!("{}: {error}", dir.display()))
    };
    partial.extend(store(plan, &closed, &closed_json, "closed"));
    let mut try_rate = |rate: f64, rungs: &mut Vec<Rung>, partial: &mut Vec<String>| -> Option<bool> {
        let step = Plan { rate, preload: false, ..plan.clone() };
        let measured = match run::run(&step, None, watch) {
            Ok(measured) => measured,
            Err(trouble) => {
                partial.push(format!("at {rate:.0}/s: {}", trouble.why()));
                return None;
            }
        };
        let faults = output::faults(&step, &measured);
        let json = output::json(&step, &measured, None);
        partial.extend(store(&step, &measured, &json, &format!("{rate:.0}")));
        let stop = !measured.notes.is_empty();
        partial.extend(faults.partial);
        let mut misses = Vec::new();
        let all = measured.total.all();
        let latency = all.latency.value_at_quantile(objective.quantile);
        if latency > objective.at_most_ns {
            misses.push(format!("{:.2} ms", latency as f64 / MILLI as f64));
        }
        if all.errors > 0 {
            misses.push(format!("{} errors", all.errors));
        }
        let reached = all.ok as f64 / measured.secs;
        if reached < output::keeps_up_from(rate, measured.secs, objective.at_most_ns) {
            misses.push(format!("{reached:.0}/s of {rate:.0}/s"));
        }
        let keeps = misses.is_empty();
        rungs.push(Rung { rate, json, misses, invalid: !faults.invalid.is_empty() });
        (!stop).then_some(keeps)
    };
    let (mut kept, mut missed) = (0.0, most);
    let mut misses = 0;
    if partial.is_empty() && most > 0.0 {
        for share in SHARES {
            let rate = whole(most * share);
            match try_rate(rate, &mut rungs, &mut partial) {
                Some(true) if misses == 0 => kept = rate,
                Some(true) => {}
                Some(false) => {
                    if misses == 0 {
                        missed = rate;
                    }
                    misses += 1;
                }
                None => break,
            }
            if misses == 2 {
                break; // The curve is steep enough.
            }
        }
        for _ in 0..HALVINGS {
            if !partial.is_empty() {
                break;
            }
            let middle = whole((kept + missed) / 2.0);
            match try_rate(middle, &mut rungs, &mut partial) {
                Some(true) => kept = middle,
                Some(false) => missed = middle,
                None => break,
            }
        }
    }
    rungs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    Ok(report(plan, objective, most, kept, rungs, closed_json, partial))
}

/// A rate is tried as it is told afterwards: the answer is one that was tried.
fn whole(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

fn report(
    plan: &Plan,
    objective: &Objective,
    most: f64,
    kept: f64,
    rungs: Vec<Rung>,
    closed: Value,
    partial: Vec<String>,
) -> Climbed {
    let mut text = format!("closed loop: {most:.0} ops/s; open loops of {} s each:\n", plan.secs);
    let _ = writeln!(
        text,
        "{:>12} {:>12} {:>10} {:>10} {:>10}",
        "rate/s", "ops/s", "p50 us", "p99 us", "p99.9 us"
    );
    let mut steps = Vec::new();
    for rung in &rungs {
        let cell = |field: &str| rung.json[field].as_f64().unwrap_or(0.0);
        let verdict = match (rung.misses.is_empty(), rung.invalid) {
            (_, true) => format!("INVALID: {}", rung.json["invalid"][0].as_str().unwrap_or_default()),
            (true, _) => "kept".into(),
            (false, _) => format!("missed: {}", rung.misses.join(", ")),
        };
        let _ = writeln!(
            text,
            "{:>12.0} {:>12.0} {:>10.0} {:>10.0} {:>10.0}  {verdict}",
            rung.rate,
            cell("ops_per_s"),
            cell("p50_us"),
            cell("p99_us"),
            cell("p999_us")
        );
        steps.push(json!({ "rate": rung.rate, "kept": rung.misses.is_empty(), "misses": rung.misses,
            "result": rung.json }));
    }
    // A rung that the client spoilt counts only if the answer rests on it.
    let invalid = rungs.iter().any(|rung| rung.invalid && rung.rate <= kept.max(most * SHARES[0]));
    let found = if kept > 0.0 { output::round(kept) } else { Value::Null };
    let _ = match kept > 0.0 {
        true => writeln!(text, "highest rate found that keeps {}: {kept:.0}/s", objective.text),
        false => writeln!(text, "no rate that was tried keeps {}", objective.text),
    };
    if invalid {
        text.push_str("INVALID: the answer rests on a step that the client spoilt\n");
    }
    partial.iter().for_each(|why| text.push_str(&format!("PARTIAL: {why}\n")));
    let reason = if invalid { vec!["the answer rests on a step that the client spoilt"] } else { Vec::new() };
    let json = json!({
        "objective": objective, "closed_ops_per_s": output::round(most), "within_per_s": found,
        "invalid": reason, "partial": partial, "steps": steps, "closed": closed, "plan": plan,
    });
    Climbed { json, text, partial: !partial.is_empty(), invalid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_at_the_end_is_missed_only_beyond_the_objective() {
        let asked = |text: &str, secs| {
            let objective: Objective = text.parse().expect("an objective");
            output::keeps_up_from(1000.0, secs, objective.at_most_ns)
        };
        assert!((asked("p99<=5ms", 1.0) - 985.0).abs() < 1e-6);
        assert!((asked("p99<=5ms", 10.0) - 989.5).abs() < 1e-6);
        // No objective is so lax that half of the rate would do.
        assert!((asked("p99<=5s", 1.0) - 940.0).abs() < 1e-6);
    }

    #[test]
    fn a_rate_is_told_as_it_was_tried() {
        for rate in [12_345.0 * 0.7, 8_643.0 * 0.9625, 77_777.0 * 0.98125] {
            assert_eq!(output::round(whole(rate)).as_f64(), Some(whole(rate)));
        }
    }

    #[test]
    fn objectives_are_read() {
        let read = |text: &str| text.parse::<Objective>().map(|read| (read.quantile, read.at_most_ns));
        assert_eq!(read("p99<=5ms"), Ok((0.99, 5_000_000)));
        assert_eq!(read("p99.9 <= 250us"), Ok((0.9990000000000001, 250_000)));
        assert_eq!(read("max<=1.5s"), Ok((1.0, 1_500_000_000)));
        for wrong in ["p99", "p99<5ms", "p101<=5ms", "p99<=5", "p99<=0ms", "mean<=1ms"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
