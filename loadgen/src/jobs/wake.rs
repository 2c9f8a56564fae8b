//! Watchers of one key and a writer at a steady rate: how long from a write to whoever waits for it.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Ask, Said, Talk};
use crate::output::round;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const PER_S: u64 = 100;
const SETTLE: u64 = SECOND / 3;
const WATCH: u32 = 1;
const WRITE: u32 = 2;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let clock = party.clock;
    let writer = party.invite(1)?;
    let key = format!("{}/wake", party.make_root(writer)?);
    party.demand(writer, Ask::Make { key: &key, ephemeral: false }, "make the key")?;
    let first = party.invite(plan.conns)?;
    (first..first + plan.conns).for_each(|member| party.crowd.ask(member, Ask::Watch(&key), WATCH));
    let mut missing = plan.conns;
    let set = party.hear_until(clock.now() + 60 * SECOND, |_, heard| match heard.said {
        Said::Done { tag: WATCH, code: 0, .. } => {
            missing -= 1;
            Ok(missing == 0)
        }
        Said::Done { tag: WATCH, .. } | Said::Lost => Err(()),
        _ => Ok(false),
    });
    set.map_err(|why| {
        Trouble::Prepare(format!("{missing} watches could not be set: {}", why.unwrap_or("no answer".into())))
    })?;
    party.pause(SETTLE);

    let began = clock.now();
    let from = began + plan.warmup * SECOND;
    let until = from + plan.secs * SECOND;
    // When each write was meant to start, and how many of them each watcher knows of.
    let mut writes: Vec<u64> = Vec::new();
    let mut known = vec![0usize; plan.conns];
    let mut latency = histogram();
    let (mut told, mut merged, mut errors, mut meter) = (0u64, 0u64, 0u64, None);
    let mut partial = Vec::new();
    'window: while clock.now() < until + SECOND {
        let now = clock.now();
        if meter.is_none() && now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        let mut next = began + writes.len() as u64 * SECOND / PER_S;
        while next <= now && next < until {
            writes.push(next);
            party.crowd.ask(writer, Ask::Put(&key), WRITE);
            next = began + writes.len() as u64 * SECOND / PER_S;
        }
        let wake = if next < until { next } else { until + SECOND };
        party.crowd.turn(wake, &mut party.heard).map_err(super::local)?;
        for heard in std::mem::take(&mut party.heard) {
            match heard.said {
                Said::Fired => {
                    let known = &mut known[heard.member - first];
                    let Some(&oldest) = writes.get(*known) else { continue };
                    if (from..until).contains(&oldest) {
                        record(&mut latency, heard.now - oldest);
                        told += 1;
                    }
                    if T::TELLS_ALL {
                        *known += 1;
                    } else {
                        // Whoever is woken by the oldest sees the others as well.
                        merged += (writes.len() - *known - 1) as u64;
                        *known = writes.len();
                        if T::ONE_SHOT {
                            party.crowd.ask(heard.member, Ask::Watch(&key), WATCH);
                        }
                    }
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
        meter.stop(plan, clock, told, &mut figures);
    }
    let untold: usize = known.iter().map(|known| writes.len() - known).sum();
    if untold > 0 && partial.is_empty() && T::TELLS_ALL {
        partial.push(format!("{untold} notifications did not come"));
    }
    figures.insert("ops_per_s".into(), round(told as f64 / plan.secs as f64));
    figures.insert("writes_per_s".into(), PER_S.into());
    figures.insert("merged".into(), merged.into());
    figures.insert("errors".into(), errors.into());
    Ok(Ended { figures, latency, partial })
}
