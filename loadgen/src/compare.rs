//! Two systems, interleaved A B B A, and what may be said about them: the median of the pairs' ratios with a
//! bootstrap interval over pairs. An interval that includes 1 is "no difference". Systems that are named are started on
//! fresh data for every run.

mod folder;

use std::fmt::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use quorate::base::Rng;
use serde_json::{Value, json};

use crate::args::{Compare, Place};
use crate::driver::Protocol;
use crate::output;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::NOISE;
use crate::run;
use crate::systems::{Running, System};
use crate::{Exit, Failure, results};

const RESAMPLES: usize = 10_000;
/// With fewer the bootstrap has nothing to resample.
const PAIRS_LEAST: usize = 5;
/// Seconds.
const JVM_WARMUP: u64 = 10;

/// What is compared, and whether more is better; `None`: it is told, not judged.
const FIGURES: [(&str, Option<bool>); 11] = [
    ("ops_per_s", Some(true)),
    ("p50_us", Some(false)),
    ("p99_us", Some(false)),
    ("p999_us", Some(false)),
    ("max_gap_ms", Some(false)),
    ("server_cpu_us_per_op", Some(false)),
    ("client_cpu_us_per_op", None),
    ("server_rss_mb", Some(false)),
    ("disk_bytes_per_op", Some(false)),
    ("wire_bytes_per_op", None),
    ("flushes_per_s", None),
];

/// One side: started for each run, or running already.
#[derive(Clone, Debug)]
enum Side {
    Fresh(System),
    There(Protocol, String),
}

impl Side {
    fn read(text: &str) -> Result<Side, String> {
        if let Ok(system) = System::from_str(text, true) {
            return Ok(Side::Fresh(system));
        }
        let (target, cluster) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} is neither a system (quorate-native, quorate-zk, zookeeper, etcd, consul) nor TARGET=CLUSTER.json")
        })?;
        let target = Protocol::from_str(target, true).map_err(|_| format!("{target} is no protocol"))?;
        Ok(Side::There(target, cluster.into()))
    }

    fn name(&self) -> &'static str {
        match self {
            Side::Fresh(system) => system.name(),
            Side::There(target, _) => target.key(),
        }
    }
}

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
    pub exit: Exit,
}

pub fn compare(args: &Compare) -> Result<Outcome, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let (a, b) = (Side::read(&args.a).map_err(usage)?, Side::read(&args.b).map_err(usage)?);
    let folder = args.results.as_deref().map(|dir| folder::open(dir, args, &a, &b)).transpose()?;
    let keep = |side: usize, round: &str| folder.as_ref().map(|folder| folder.run(side, round));
    let (mut pairs, mut noise, mut exit, mut broken) = (Vec::new(), None, Exit::Done, None);
    let mut steps = || -> Result<(), Failure> {
        for (nth, order) in order(args.pairs).into_iter().enumerate() {
            let (mut first, mut second) = (Value::Null, Value::Null);
            for is_a in order {
                let kept = keep(usize::from(!is_a), &(nth + 1).to_string());
                let result = once(args, if is_a { &a } else { &b }, kept, &mut exit)?;
                if is_a { first = result } else { second = result }
            }
            pairs.push((first, second));
        }
        if !args.no_noise {
            // Two more of A: whatever differs between them is noise.
            let mut one = |round| once(args, &a, keep(0, round), &mut exit);
            noise = Some((one(NOISE[0])?, one(NOISE[1])?));
        }
        Ok(())
    };
    if let Err(failure) = steps() {
        if pairs.is_empty() {
            return Err(failure);
        }
        broken = Some(failure.why);
        exit = Exit::Partial;
    }
    let mut outcome = report(args, &pairs, noise.as_ref(), broken, exit);
    if let Some(Err(why)) = folder.map(|folder| folder.close(&outcome.json)) {
        eprintln!("loadgen: {why}; the figures printed here are not stored whole");
        outcome.exit = Exit::Partial;
    }
    Ok(outcome)
}

/// The same for both sides. A ZooKeeper that is started for each run is a JVM that has compiled nothing yet.
fn warmup(args: &Compare) -> u64 {
    let is_cold = |side: &String| side.eq_ignore_ascii_case(System::Zookeeper.name());
    if is_cold(&args.a) || is_cold(&args.b) { args.load.warmup.max(JVM_WARMUP) } else { args.load.warmup }
}

/// One run of one side.
fn once(args: &Compare, side: &Side, kept: Option<PathBuf>, exit: &mut Exit) -> Result<Value, Failure> {
    let (target, cluster, _running) = match side {
        Side::Fresh(system) => {
            let running = Running::start(*system, &args.place)
                .map_err(|why| Failure::new(Exit::CannotConnect, format!("{}: {why}", system.name())))?;
            (system.target(), running.cluster(), Some(running))
        }
        Side::There(target, cluster) => (*target, cluster.into(), None),
    };
    let place = Place {
        target: Some(target),
        system: None,
        cluster: Some(cluster),
        servers: Vec::new(),
        pids: Vec::new(),
        credentials: Default::default(),
    };
    let mut plan = Plan::of(&place, &args.load).map_err(|why| Failure::new(Exit::Usage, why))?;
    plan.warmup = warmup(args);
    if plan.job.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "compare takes loads of reads and writes; run this workload for each system",
        ));
    }
    let mut progress = Progress::new();
    let measured = run::run(&plan, None, &mut progress);
    progress.clear();
    let measured = measured.map_err(Failure::from)?;
    let faults = output::faults(&plan, &measured);
    if !faults.partial.is_empty() {
        *exit = Exit::Partial;
    } else if !faults.invalid.is_empty() && *exit == Exit::Done {
        *exit = Exit::Invalid;
    }
    let json = output::json(&plan, &measured, None);
    if let Some(dir) = kept {
        results::write(&dir, &plan, &measured, &json)
            .map_err(|error| Failure::new(Exit::Partial, format!("{}: {error}", dir.display())))?;
    }
    Ok(json)
}

fn report(
    args: &Compare,
    pairs: &[(Value, Value)],
    noise: Option<&(Value, Value)>,
    broken: Option<String>,
    exit: Exit,
) -> Outcome {
    let load = &args.load;
    let secs =
        if load.phases.is_empty() { load.secs } else { load.phases.iter().map(|phase| phase.secs).sum() };
    let mut text = format!(
        "A = {}, B = {}, {} pairs, A B B A; {}, windows of {secs} s after {} s\n",
        args.a,
        args.b,
        pairs.len(),
        load.workload.as_deref().unwrap_or("a load by flags"),
        warmup(args)
    );
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
        let verdict = match more_is_better {
            None => "",
            Some(_) if !ratio.is_difference() || within_noise => "no difference",
            Some(more) if (ratio.median > 1.0) == more => "A better",
            Some(_) => "B better",
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
    if pairs.len() < PAIRS_LEAST {
        let _ = writeln!(
            text,
            "{} pairs: their interval is no more than their spread; a claim wants {PAIRS_LEAST}",
            pairs.len()
        );
    }
    let is_behind = |result: &Value| result["behind"].as_array().is_some_and(|list| !list.is_empty());
    if pairs.iter().any(|(a, b)| is_behind(a) || is_behind(b)) {
        text.push_str(
            "BEHIND: a system did less than --rate asks; its latencies are those of a queue that grows\n",
        );
    }
    if exit == Exit::Invalid || exit == Exit::Partial {
        text.push_str("INVALID or PARTIAL runs among these: see them one by one with `loadgen run`\n");
    }
    if let Some(why) = &broken {
        let _ = writeln!(text, "PARTIAL: broken off after {} pairs: {why}", pairs.len());
    }
    let runs: Vec<Value> = pairs.iter().map(|(a, b)| json!({ "a": a, "b": b })).collect();
    let json = json!({
        "figures": rows, "pairs": runs, "invalid": exit == Exit::Invalid, "partial": broken,
    });
    Outcome { json, text, exit }
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
