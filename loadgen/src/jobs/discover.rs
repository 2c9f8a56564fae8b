//! Service discovery: ten instances of each service, whose ephemeral keys live by heartbeats, and for each service a
//! subscriber. Instances go and come back: how long is a subscriber's list stale, and what do the heartbeats cost?

use serde_json::{Map, Value};

use super::{Ended, Meter, Party};
use crate::clock::{SECOND, run_number};
use crate::crowd::{Ask, Said, Talk};
use crate::driver::Protocol;
use crate::output::{histogram_json, round};
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const INSTANCES: usize = 10;
const TTL_MS: u32 = 10_000;
const BEAT_EVERY: u64 = 3 * SECOND;
/// One per cent of the instances a minute would be too few to tell anything of a short window.
const CHANGES_PER_S: u64 = 10;
const SETTLE: u64 = SECOND / 3;

const JOIN: u32 = 1;
const WATCH: u32 = 2;
const BEAT: u32 = 3;
const LEAVE: u32 = 4;

fn join(key: &str) -> Ask<'_> {
    Ask::Make { key, ephemeral: true }
}

fn watch(key: &str) -> Ask<'_> {
    Ask::WatchBelow { key, once: false }
}

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let services = plan.conns.div_ceil(INSTANCES);
    let mut party = Party::<T>::new(plan, TTL_MS)?;
    let clock = party.clock;
    let first = party.invite(plan.conns)?;
    let root = party.make_root(first)?;
    let run = run_number();
    let service = |nth: usize| format!("{root}/service-{run}-{nth:05}");
    if plan.target == Protocol::Zk {
        for nth in 0..services {
            party.demand(first, Ask::Make { key: &service(nth), ephemeral: false }, "make a service")?;
        }
    }
    party.open_all(first, plan.conns)?;
    let instance = |nth: usize| format!("{}/instance-{nth:06}", service(nth % services));
    let members = first..first + plan.conns;
    let mut spread = histogram();
    let made = party.work_off(
        members,
        plan.conns,
        1,
        |crowd, member, nth| crowd.ask(member, join(&instance(member - first)), nth as u32),
        &mut spread,
    )?;
    if made.errors > 0 {
        return Err(Trouble::Prepare(format!("{} of {} instances could not join", made.errors, plan.conns)));
    }
    let watchers = party.invite(services)?;
    for nth in 0..services {
        party.crowd.ask(watchers + nth, watch(&service(nth)), WATCH);
    }
    party.pause(SETTLE);

    let began = clock.now();
    let from = began + plan.warmup * SECOND;
    let until = from + plan.secs * SECOND;
    // Of each service the change that its subscriber has not been told of; of each instance whether it is there, and
    // when it says next that it lives.
    let mut untold: Vec<Option<u64>> = vec![None; services];
    let mut there = vec![true; plan.conns];
    let mut due: Vec<u64> =
        (0..plan.conns as u64).map(|nth| began + BEAT_EVERY * nth / plan.conns as u64).collect();
    let mut beaten = vec![0; plan.conns];
    let (mut latency, mut beats) = (histogram(), histogram());
    let (mut told, mut changes, mut skipped, mut errors, mut meter) = (0u64, 0u64, 0u64, 0u64, None);
    let (mut next, mut next_beat) = (began, 0);
    let mut partial = Vec::new();
    'window: while clock.now() < until {
        let now = clock.now();
        if meter.is_none() && now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        while due[next_beat] <= now {
            beaten[next_beat] = now;
            due[next_beat] += BEAT_EVERY;
            party.crowd.ask(first + next_beat, Ask::KeepAlive, BEAT);
            next_beat = (next_beat + 1) % plan.conns;
        }
        while next <= now {
            // An instance of each service in turn, then the next of each.
            let nth = changes as usize % plan.conns;
            changes += 1;
            let of = &mut untold[nth % services];
            skipped += u64::from(of.is_some());
            of.get_or_insert(next);
            next += SECOND / CHANGES_PER_S;
            let key = instance(nth);
            let (ask, tag) = if there[nth] { (Ask::Drop(&key), LEAVE) } else { (join(&key), JOIN) };
            there[nth] = !there[nth];
            party.crowd.ask(first + nth, ask, tag);
        }
        let wake = next.min(due[next_beat]).min(until);
        party.crowd.turn(wake, &mut party.heard).map_err(super::local)?;
        for heard in std::mem::take(&mut party.heard) {
            match heard.said {
                Said::Fired if heard.member >= watchers => {
                    let nth = heard.member - watchers;
                    if let Some(since) = untold[nth].take()
                        && since >= from
                    {
                        record(&mut latency, heard.now - since);
                        told += 1;
                    }
                    if T::ONE_SHOT {
                        party.crowd.ask(heard.member, watch(&service(nth)), WATCH);
                    }
                }
                Said::Done { tag: BEAT, code, .. } => {
                    let since = beaten[heard.member - first];
                    if since >= from {
                        record(&mut beats, heard.now - since);
                    }
                    errors += u64::from(code != 0);
                }
                Said::Done { code, .. } => errors += u64::from(code != 0),
                Said::Lost => {
                    partial.push(format!("a client lost its server: {}", party.crowd.trouble()));
                    break 'window;
                }
                _ => {}
            }
        }
    }
    let mut figures = Map::new();
    if let Some(meter) = &meter {
        meter.stop(plan, clock, told + beats.len(), &mut figures);
    }
    let late = untold.iter().flatten().filter(|since| **since + SECOND < until).count();
    if late > 0 && partial.is_empty() {
        partial.push(format!("{late} subscribers were not told within a second"));
    }
    let mut object = histogram_json(&beats);
    object.insert("ops_per_s".into(), round(beats.len() as f64 / plan.secs as f64));
    figures.insert("heartbeat".into(), Value::Object(object));
    figures.insert("ops_per_s".into(), round(told as f64 / plan.secs as f64));
    figures.insert("changes_per_s".into(), CHANGES_PER_S.into());
    figures.insert("services".into(), services.into());
    figures.insert("merged".into(), skipped.into());
    figures.insert("errors".into(), errors.into());
    Ok(Ended { figures, latency, partial })
}
