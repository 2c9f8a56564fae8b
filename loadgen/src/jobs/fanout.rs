//! One key, many watchers, a write each second: how long until the last of them knows.

use hdrhistogram::Histogram;
use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS, median, millis};
use crate::clock::{MILLI, SECOND};
use crate::crowd::{Ask, Said, Talk};
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const SET_PATIENCE: u64 = 60 * SECOND;
/// Between setting watches and the write: a blocking query has no answer that says it waits.
const SETTLE: u64 = 300 * MILLI;
const NOTICE_PATIENCE: u64 = 20 * SECOND;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let writer = party.invite(1)?;
    let key = format!("{}/fanout", party.make_root(writer)?);
    party.demand(writer, Ask::Make { key: &key, ephemeral: false }, "make the key")?;
    let began = party.clock.now();
    let watchers = party.invite(plan.conns)?;
    let connect_ns = party.clock.now() - began;

    let mut latency = histogram();
    let (mut lasts, mut lost, mut events) = (Vec::new(), 0u64, 0u64);
    let mut figures = Map::new();
    let mut cpu = (0.0, 0.0);
    // Two rounds warm the way up.
    let rounds = plan.warmup.min(2) + plan.secs;
    for round in 0..rounds {
        if round == 0 || T::ONE_SHOT {
            set_watches(&mut party, watchers, &key)?;
        }
        party.pause(SETTLE);
        let counts = round >= plan.warmup.min(2);
        let meter = Meter::start(plan, party.clock);
        let written = party.clock.now();
        let heard = one_write(&mut party, writer, &key, written, counts.then_some(&mut latency));
        if counts {
            let mut costs = Map::new();
            meter.stop(plan, party.clock, heard.count, &mut costs);
            let of = |name: &str| costs.get(name).and_then(|cost| cost.as_f64()).unwrap_or(0.0);
            cpu.0 += of("server_cpu_us_per_op") * heard.count as f64;
            cpu.1 += of("client_cpu_us_per_op") * heard.count as f64;
            figures.extend(costs);
            lasts.push(heard.last - written);
            lost += plan.conns as u64 - heard.count;
            events += heard.count;
        }
        let next = written + SECOND;
        let now = party.clock.now();
        party.pause(next.saturating_sub(now));
    }
    figures.remove("server_cpu_percent");
    if events > 0 && !plan.pids.is_empty() {
        figures.insert("server_cpu_us_per_op".into(), crate::output::round(cpu.0 / events as f64));
    }
    if events > 0 {
        figures.insert("client_cpu_us_per_op".into(), crate::output::round(cpu.1 / events as f64));
    }
    figures.insert("last_ms".into(), millis(median(&mut lasts)));
    figures.insert("last_ms_best".into(), millis(lasts.first().copied().unwrap_or(0)));
    figures.insert("last_ms_worst".into(), millis(lasts.last().copied().unwrap_or(0)));
    figures.insert("writes".into(), lasts.len().into());
    figures.insert("connect_ms".into(), millis(connect_ns));
    figures.insert("errors".into(), lost.into());
    let partial = if lost > 0 { vec![format!("{lost} notifications did not come")] } else { Vec::new() };
    Ok(Ended { figures, latency, partial })
}

fn set_watches<T: Talk>(party: &mut Party<'_, T>, first: usize, key: &str) -> Result<(), Trouble> {
    let count = party.plan.conns;
    for member in first..first + count {
        party.crowd.ask(member, Ask::Watch(key), 1);
    }
    let mut missing = count;
    let until = party.clock.now() + SET_PATIENCE;
    let set = party.hear_until(until, |_, heard| match heard.said {
        Said::Done { tag: 1, code: 0, .. } => {
            missing -= 1;
            Ok(missing == 0)
        }
        Said::Done { tag: 1, .. } | Said::Lost => Err(()),
        _ => Ok(false),
    });
    set.map_err(|why| {
        Trouble::Prepare(format!("{missing} watches could not be set: {}", why.unwrap_or("no answer".into())))
    })
}

struct Notices {
    count: u64,
    last: u64,
}

fn one_write<T: Talk>(
    party: &mut Party<'_, T>,
    writer: usize,
    key: &str,
    written: u64,
    mut latency: Option<&mut Histogram<u64>>,
) -> Notices {
    let wanted = party.plan.conns as u64;
    party.crowd.ask(writer, Ask::Put(key), 2);
    let mut notices = Notices { count: 0, last: written };
    // Whoever does not hear of it in time is counted by the caller.
    let _ = party.hear_until(written + NOTICE_PATIENCE, |_, heard| {
        if heard.said == Said::Fired {
            notices.count += 1;
            notices.last = heard.now;
            if let Some(latency) = latency.as_deref_mut() {
                record(latency, heard.now - written);
            }
        }
        Ok(notices.count == wanted)
    });
    notices
}
