//! Closed loops of requests of several kinds: each client asks, waits, and asks the next that its workload draws.

mod catalog;
mod keeper;
mod kube;
mod txn;

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

pub use catalog::Catalog;
pub use keeper::{Keeper, Mostly};
pub use kube::{Kube, Traffic};
pub use txn::Mixed;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Crowd, Said, Talk};
use crate::output::{histogram_json, round};
use crate::plan::Plan;
use crate::record::{code_name, histogram, record};
use crate::run::Trouble;

/// The one request that a client has under way.
const MIX: u32 = 1;
/// What it watches beside that.
const WATCH: u32 = 2;

/// What a workload of this family is: a draw for each client, and what an answer means.
pub trait Mix<T: Talk>: Sized {
    /// Names of the kinds, for the figures.
    const LANES: &'static [&'static str];

    /// Makes what must be there before.
    fn prepare(party: &mut Party<'_, T>, first: usize) -> Result<Self, Trouble>;

    /// Asks the next request of the nth client, with the tag `MIX`; its lane.
    fn ask(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize) -> usize;

    fn on_done(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize, code: i32, value: i64) -> Outcome;

    fn on_fired(&mut self, _nth: usize) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
    /// It has asked something else, and the operation goes on.
    Again,
}

impl Outcome {
    fn of(code: i32) -> Outcome {
        if code == 0 { Outcome::Done } else { Outcome::Failed }
    }
}

struct Lane {
    ok: u64,
    errors: u64,
    latency: Histogram<u64>,
}

pub fn run<T: Talk, M: Mix<T>>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let first = party.invite(plan.conns)?;
    let mut mix = M::prepare(&mut party, first)?;
    let clock = party.clock;
    let from = clock.now() + plan.warmup * SECOND;
    let until = from + plan.secs * SECOND;
    let mut under_way = Vec::new();
    for nth in 0..plan.conns {
        let since = clock.now();
        under_way.push((mix.ask(&mut party.crowd, first, nth), since));
    }
    let mut lanes: Vec<Lane> =
        M::LANES.iter().map(|_| Lane { ok: 0, errors: 0, latency: histogram() }).collect();
    let (mut retries, mut fired, mut meter) = (0u64, 0u64, None);
    let mut refused: Option<i32> = None;
    let ended = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        let inside = (from..until).contains(&heard.now);
        let nth = heard.member - first;
        match heard.said {
            Said::Done { tag: MIX, code, value } => {
                let outcome = mix.on_done(crowd, first, nth, code, value);
                if outcome == Outcome::Again {
                    retries += u64::from(inside);
                    return Ok(false);
                }
                let (lane, since) = under_way[nth];
                if inside {
                    let ok = outcome == Outcome::Done;
                    record(&mut lanes[lane].latency, heard.now - since);
                    lanes[lane].ok += u64::from(ok);
                    lanes[lane].errors += u64::from(!ok);
                }
                if outcome == Outcome::Failed {
                    refused = Some(code);
                }
                let since = clock.now();
                under_way[nth] = (mix.ask(crowd, first, nth), since);
            }
            Said::Fired => {
                fired += u64::from(inside);
                mix.on_fired(nth);
            }
            Said::Lost => return Err(()),
            _ => {}
        }
        Ok(false)
    });
    let mut figures = Map::new();
    let ok: u64 = lanes.iter().map(|lane| lane.ok).sum();
    let errors: u64 = lanes.iter().map(|lane| lane.errors).sum();
    if let Some(meter) = &meter {
        meter.stop(plan, clock, ok, &mut figures);
    }
    let mut latency = histogram();
    let per_s = |count: u64| round(count as f64 / plan.secs as f64);
    for (name, lane) in M::LANES.iter().zip(&lanes) {
        latency.add(&lane.latency).expect("same bounds");
        let mut object = histogram_json(&lane.latency);
        object.insert("ops_per_s".into(), per_s(lane.ok));
        object.insert("errors".into(), lane.errors.into());
        figures.insert((*name).into(), Value::Object(object));
    }
    figures.insert("ops_per_s".into(), per_s(ok));
    figures.insert("retries".into(), retries.into());
    figures.insert("notifications".into(), fired.into());
    figures.insert("errors".into(), errors.into());
    let mut partial = Vec::new();
    if let Err(Some(why)) = ended {
        partial.push(format!("a client lost its server: {why}"));
    }
    if ok == 0 {
        partial.push("no operation succeeded".into());
    }
    if let Some(code) = refused {
        figures.insert("last_error".into(), code_name(plan.target, code).into());
    }
    Ok(Ended { figures, latency, partial })
}
