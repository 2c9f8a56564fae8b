//! A server that holds many sessions dies: how long until they go on elsewhere, and was one lost?

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS, millis};
use crate::clock::SECOND;
use crate::crowd::{Ask, Said, Talk};
use crate::fault;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const KEEP: u32 = 1;
const PATIENCE: u64 = 60 * SECOND;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let leader = fault::leader(plan.target, &plan.nodes, &plan.access).map_err(Trouble::Prepare)?;
    let follower = plan.nodes.iter().find(|node| node.id != leader.id && node.pid > 0);
    let dead = follower
        .ok_or_else(|| Trouble::Prepare("no follower has a pid that could be killed".into()))?
        .clone();
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let clock = party.clock;
    let first = party.invite(plan.conns)?;
    party.open_all(first, plan.conns)?;
    party.pause(plan.warmup * SECOND);
    let held =
        (first..first + plan.conns).filter(|member| party.crowd.server(*member) == dead.address).count();
    let others: Vec<_> = plan.servers.iter().copied().filter(|server| *server != dead.address).collect();
    if held == 0 || others.is_empty() {
        return Err(Trouble::Prepare("no client is at that server, or there is no other".into()));
    }
    let meter = Meter::start(plan, clock);
    let pid = Pid::from_raw(dead.pid as i32).expect("chosen for having one");
    kill_process(pid, Signal::KILL).map_err(|error| Trouble::Local(format!("pid {}: {error}", dead.pid)))?;
    let died = clock.now();
    let (mut latency, mut back, mut lost, mut redials) = (histogram(), 0usize, 0u64, 0u64);
    let mut times = Vec::new();
    let _ = party.hear_until(died + PATIENCE, |crowd, heard| {
        match heard.said {
            Said::Lost => {
                redials += 1;
                crowd.redial(heard.member, others[(heard.member + redials as usize) % others.len()]);
            }
            Said::Ready => crowd.ask(heard.member, Ask::KeepAlive, KEEP),
            Said::Done { tag: KEEP, code, .. } => {
                lost += u64::from(code != 0);
                back += 1;
                record(&mut latency, heard.now - died);
                times.push(heard.now - died);
            }
            _ => {}
        }
        Ok(back == held)
    });
    times.sort_unstable();
    let mut figures = Map::new();
    meter.stop(plan, clock, back as u64, &mut figures);
    figures.insert("held".into(), held.into());
    figures.insert("sessions_lost".into(), lost.into());
    figures.insert("redials".into(), redials.into());
    let mut partial = Vec::new();
    match times.get((held * 99).div_ceil(100) - 1) {
        Some(&time) => drop(figures.insert("back_99_ms".into(), millis(time))),
        None => partial.push(format!(
            "{} of {held} clients are not back after {} s",
            held - back,
            PATIENCE / SECOND
        )),
    }
    figures.insert("errors".into(), lost.into());
    Ok(Ended { figures, latency, partial })
}
