//! Chubby's benchmark as ZooKeeper's paper has it: each worker makes a key, waits, deletes it without waiting, and goes
//! on with the next.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Ask, Said, Talk};
use crate::output::round;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const MAKE: u32 = 1;
const DROP: u32 = 2;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let first = party.invite(plan.conns)?;
    let root = party.make_root(first)?;
    let clock = party.clock;
    let (from, until) =
        (clock.now() + plan.warmup * SECOND, clock.now() + (plan.warmup + plan.secs) * SECOND);
    let key = |member: usize, nth: u64| format!("{root}/create-{}-{nth:010}", member - first);
    let mut asked = vec![(0u64, 0u64); plan.conns];
    for member in first..first + plan.conns {
        asked[member - first] = (0, clock.now());
        party.crowd.ask(member, Ask::Make { key: &key(member, 0), ephemeral: false }, MAKE);
    }
    let mut latency = histogram();
    let (mut made, mut errors, mut meter, mut last) = (0u64, 0u64, None, from);
    let mut longest = 0;
    let ended = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        let inside = (from..until).contains(&heard.now);
        match heard.said {
            Said::Done { tag: MAKE, code, .. } => {
                let (nth, since) = asked[heard.member - first];
                if inside {
                    record(&mut latency, heard.now - since);
                    longest = longest.max(heard.now.saturating_sub(last));
                    last = heard.now;
                    made += u64::from(code == 0);
                    errors += u64::from(code != 0);
                }
                asked[heard.member - first] = (nth + 1, clock.now());
                crowd.ask(heard.member, Ask::Drop(&key(heard.member, nth)), DROP);
                crowd.ask(
                    heard.member,
                    Ask::Make { key: &key(heard.member, nth + 1), ephemeral: false },
                    MAKE,
                );
            }
            Said::Done { tag: DROP, code, .. } => errors += u64::from(inside && code != 0),
            Said::Lost => return Err(()),
            _ => {}
        }
        Ok(false)
    });
    let mut figures = Map::new();
    if let Some(meter) = &meter {
        meter.stop(plan, clock, made, &mut figures);
    }
    figures.insert("ops_per_s".into(), round(made as f64 / plan.secs as f64));
    figures.insert("max_gap_ms".into(), super::millis(longest));
    figures.insert("errors".into(), errors.into());
    let partial = match ended {
        Err(Some(why)) => vec![format!("a worker lost its server: {why}")],
        _ => Vec::new(),
    };
    Ok(Ended { figures, latency, partial })
}
