//! Two systems, interleaved A B B A, and what may be said about them: the median of the pairs' ratios with a
//! bootstrap interval over pairs. An interval that includes 1 is "no difference".

use std::fmt::Write;

use quorate::base::Rng;
use serde_json::{Value, json};

use crate::args::{Compare, Load, Place};
use crate::output;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::run::{self, Trouble};

const RESAMPLES: usize = 10_000;

/// What is compared, and whether more is better.
const FIGURES: [(&str, bool); 5] = [
    ("ops_per_s", true),
    ("p50_us", false),
    ("p99_us", false),
    ("p999_us", false),
    ("server_cpu_us_per_op", false),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Ratio {
    /// 95 % of the medians of resampled pairs lie between `low` and `high`.
    pub fn of(pairs: &[f64], seed: u64) -> Option<Ratio> {
        if pairs.is_empty() {
            return None;
        }
        let mut rng = Rng::new(seed);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| median(&mut (0..pairs.len()).map(|_| *rng.pick(pairs)).collect::<Vec<_>>()))
            .collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[((RESAMPLES - 1) as f64 * share) as usize];
        Some(Ratio { median: median(&mut pairs.to_vec()), low: at(0.025), high: at(0.975) })
    }

    pub fn is_difference(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The order of `pairs` pairs: A B, B A, A B, ... so that drift does not favour one side.
pub fn order(pairs: usize) -> Vec<[bool; 2]> {
    (0..pairs).map(|pair| if pair % 2 == 0 { [true, false] } else { [false, true] }).collect()
}

pub struct Outcome {
    pub json: Value,
    pub text: String,
    pub invalid: bool,
}

/// The plans of both sides.
pub fn plans(args: &Compare) -> Result<(Plan, Plan), String> {
    Ok((plan(&args.load, &args.a)?, plan(&args.load, &args.b)?))
}

pub fn compare(args: &Compare, a: &Plan, b: &Plan) -> Result<Outcome, Trouble> {
    let mut invalid = false;
    let mut once = |plan: &Plan| -> Result<Value, Trouble> {
        let mut progress = Progress::new();
        let measured = run::run(plan, None, &mut progress)?;
        progress.clear();
        let faults = output::faults(plan, &measured);
        invalid |= faults != output::Faults::default();
        Ok(output::json(plan, &measured, None))
    };
    let mut pairs = Vec::new();
    for order in order(args.pairs) {
        let (mut first, mut second) = (Value::Null, Value::Null);
        for is_a in order {
            let result = once(if is_a { a } else { b })?;
            if is_a { first = result } else { second = result }
        }
        pairs.push((first, second));
    }
    // Two more of A: whatever differs between them is noise.
    let noise = if args.no_noise { None } else { Some((once(a)?, once(a)?)) };
    Ok(report(args, &pairs, noise.as_ref(), invalid))
}

fn plan(load: &Load, side: &str) -> Result<Plan, String> {
    let (target, cluster) = side
        .split_once('=')
        .ok_or_else(|| format!("{side:?} is not TARGET=CLUSTER.json, as in zk=/var/tmp/zk/cluster.json"))?;
    let target = clap::ValueEnum::from_str(target, true).map_err(|_| format!("{target} is no protocol"))?;
    let place = Place { target, cluster: Some(cluster.into()), servers: Vec::new(), pids: Vec::new() };
    Plan::of(&place, load)
}

fn report(
    args: &Compare,
    pairs: &[(Value, Value)],
    noise: Option<&(Value, Value)>,
    invalid: bool,
) -> Outcome {
    let mut text = format!("A = {}, B = {}, {} pairs, A B B A\n", args.a, args.b, pairs.len());
    let _ = writeln!(
        text,
        "{:<22} {:>12} {:>12} {:>8} {:>17} {:>8}  verdict",
        "", "A median", "B median", "A/B", "95 % interval", "A/A"
    );
    let mut rows = Vec::new();
    for (figure, more_is_better) in FIGURES {
        let of = |result: &Value| result[figure].as_f64().filter(|value| *value > 0.0);
        let both: Vec<(f64, f64)> = pairs.iter().filter_map(|(a, b)| Some((of(a)?, of(b)?))).collect();
        let ratios: Vec<f64> = both.iter().map(|(a, b)| a / b).collect();
        let Some(ratio) = Ratio::of(&ratios, args.load.seed) else { continue };
        let floor = noise.and_then(|(one, other)| Some(of(one)? / of(other)?));
        // What two runs of the same system differ by says nothing about two systems.
        let within_noise = floor.is_some_and(|floor| (ratio.median.ln()).abs() <= floor.ln().abs());
        let verdict = if !ratio.is_difference() || within_noise {
            "no difference"
        } else if (ratio.median > 1.0) == more_is_better {
            "A better"
        } else {
            "B better"
        };
        let (mut first, mut second): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
        let _ = writeln!(
            text,
            "{figure:<22} {:>12.1} {:>12.1} {:>8.3} {:>8.3}-{:<8.3} {:>8}  {verdict}",
            median(&mut first),
            median(&mut second),
            ratio.median,
            ratio.low,
            ratio.high,
            floor.map_or("-".into(), |floor| format!("{floor:.3}"))
        );
        rows.push(json!({
            "figure": figure, "a": median(&mut first), "b": median(&mut second), "ratio": ratio.median,
            "low": ratio.low, "high": ratio.high, "ratios": ratios, "noise": floor, "verdict": verdict,
        }));
    }
    if invalid {
        text.push_str("INVALID or PARTIAL runs among these: see them one by one with `loadgen run`\n");
    }
    let runs: Vec<Value> = pairs.iter().map(|(a, b)| json!({ "a": a, "b": b })).collect();
    Outcome { json: json!({ "figures": rows, "pairs": runs, "invalid": invalid }), text, invalid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_to_go_first() {
        assert_eq!(order(3), [[true, false], [false, true], [true, false]]);
    }

    #[test]
    fn a_clear_difference_is_one_and_noise_is_none() {
        let clear = Ratio::of(&[2.0, 2.1, 1.9, 2.05, 1.95], 1).expect("pairs");
        assert!(
            clear.is_difference() && clear.median == 2.0 && clear.low >= 1.9 && clear.high <= 2.1,
            "{clear:?}"
        );
        let noise = Ratio::of(&[0.9, 1.1, 1.02, 0.98, 1.0], 1).expect("pairs");
        assert!(!noise.is_difference(), "{noise:?}");
        assert_eq!(Ratio::of(&[], 1), None);
    }
}
