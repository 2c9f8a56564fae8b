//! One lease or session for each client, kept alive in a loop.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Ask, Said, Talk};
use crate::output::round;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const KEEP: u32 = 1;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let first = party.invite(plan.conns)?;
    party.open_all(first, plan.conns)?;
    let clock = party.clock;
    let from = clock.now() + plan.warmup * SECOND;
    let until = from + plan.secs * SECOND;
    let mut since = vec![0; plan.conns];
    for (nth, since) in since.iter_mut().enumerate() {
        *since = clock.now();
        party.crowd.ask(first + nth, Ask::KeepAlive, KEEP);
    }
    let mut latency = histogram();
    let (mut kept, mut errors, mut meter) = (0u64, 0u64, None);
    let ended = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        match heard.said {
            Said::Done { tag: KEEP, code, .. } => {
                let since = &mut since[heard.member - first];
                if (from..until).contains(&heard.now) {
                    record(&mut latency, heard.now - *since);
                    kept += u64::from(code == 0);
                    errors += u64::from(code != 0);
                }
                *since = clock.now();
                crowd.ask(heard.member, Ask::KeepAlive, KEEP);
                Ok(false)
            }
            Said::Lost => Err(()),
            _ => Ok(false),
        }
    });
    let mut figures = Map::new();
    if let Some(meter) = &meter {
        meter.stop(plan, clock, kept, &mut figures);
    }
    figures.insert("ops_per_s".into(), round(kept as f64 / plan.secs as f64));
    figures.insert("errors".into(), errors.into());
    let partial = match ended {
        Err(Some(why)) => vec![format!("a client lost its server: {why}")],
        _ => Vec::new(),
    };
    Ok(Ended { figures, latency, partial })
}
