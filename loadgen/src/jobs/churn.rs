//! Sessions that come and go: connect, one ephemeral, close; so many at a time.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Ask, Said, Talk};
use crate::output::round;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const MAKE: u32 = 1;
const BYE: u32 = 2;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let host = party.invite(1)?;
    let root = party.make_root(host)?;
    let clock = party.clock;
    let (from, until) =
        (clock.now() + plan.warmup * SECOND, clock.now() + (plan.warmup + plan.secs) * SECOND);
    let first = host + 1;
    let mut since = vec![clock.now(); plan.conns];
    let mut lives = vec![0u64; plan.conns];
    for nth in 0..plan.conns {
        party.crowd.add(plan.servers[nth % plan.servers.len()]);
    }
    let mut latency = histogram();
    let (mut sessions, mut errors, mut meter) = (0u64, 0u64, None);
    let _ = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
        }
        let Some(guest) = heard.member.checked_sub(first) else { return Ok(false) };
        match heard.said {
            Said::Ready => {
                lives[guest] += 1;
                let key = format!("{root}/churn-{guest}-{}", lives[guest]);
                crowd.ask(heard.member, Ask::Make { key: &key, ephemeral: true }, MAKE);
            }
            Said::Done { tag: MAKE, code, .. } => {
                errors += u64::from(code != 0);
                crowd.ask(heard.member, Ask::Bye, BYE);
            }
            Said::Done { tag: BYE, .. } => {
                if heard.now >= from {
                    record(&mut latency, heard.now - since[guest]);
                    sessions += 1;
                }
                since[guest] = clock.now();
                crowd.cut(heard.member);
                crowd.renew(heard.member);
            }
            Said::Lost => {
                errors += 1;
                since[guest] = clock.now();
                crowd.renew(heard.member);
            }
            _ => {}
        }
        Ok(false)
    });
    let mut figures = Map::new();
    if let Some(meter) = &meter {
        meter.stop(plan, clock, sessions, &mut figures);
    }
    figures.insert("ops_per_s".into(), round(sessions as f64 / plan.secs as f64));
    figures.insert("errors".into(), errors.into());
    Ok(Ended { figures, latency, partial: Vec::new() })
}
