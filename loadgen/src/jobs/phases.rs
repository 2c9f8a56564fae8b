//! The phases of zk-latencies, one after the other over the same nodes: create, set, get, delete, create ephemerals,
//! watch them, delete them and wait until every watch has told.

use serde_json::{Map, Value};

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::{SECOND, run_number};
use crate::crowd::{Ask, Crowd, Said, Talk};
use crate::driver::Protocol;
use crate::output::{histogram_json, round};
use crate::plan::Plan;
use crate::record::histogram;
use crate::run::Trouble;

/// Of 10,000 at full scale.
const NODES: u64 = 1000;
const NOTICE_PATIENCE: u64 = 60 * SECOND;

/// How many requests are under way: one, or all of them where the protocol and its client here can.
fn flight(target: Protocol, all_at_once: bool) -> usize {
    match (all_at_once, target) {
        (false, _) => 1,
        (true, Protocol::Zk | Protocol::Native) => usize::MAX,
        // More would not fit the first window of a connection.
        (true, Protocol::Etcd) => 100,
        (true, Protocol::Consul) => 16,
    }
}

pub fn run<T: Talk>(plan: &Plan, all_at_once: bool) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let first = party.invite(plan.conns)?;
    let root = party.make_root(first)?;
    party.open_all(first, plan.conns)?;
    let clock = party.clock;
    let (nodes, flight) = (plan.scale_up(NODES) as usize, flight(plan.target, all_at_once));
    let kept = |nth: usize| format!("{root}/lat-{nth:06}");
    let run = run_number();
    let ephemeral = |nth: usize| format!("{root}/eph-{run}-{nth:06}");
    type Each<'a, T> = Box<dyn Fn(&mut Crowd<T>, usize, usize) + 'a>;
    fn each<'a, T: Talk>(key: impl Fn(usize) -> String + 'a, ask: fn(&str) -> Ask<'_>) -> Each<'a, T> {
        Box::new(move |crowd, member, nth| crowd.ask(member, ask(&key(nth)), nth as u32))
    }
    let mut phases: Vec<(&str, Each<'_, T>)> = vec![
        ("create", each(kept, |key| Ask::Make { key, ephemeral: false })),
        ("set", each(kept, |key| Ask::Put(key))),
        ("get", each(kept, |key| Ask::Get { key, revision: 0, stale: false })),
        ("delete", each(kept, |key| Ask::Drop(key))),
        ("create_ephemeral", each(ephemeral, |key| Ask::Make { key, ephemeral: true })),
    ];
    // A blocking query keeps a connection for itself.
    let watches = plan.target != Protocol::Consul;
    if watches {
        phases.push(("watch", each(ephemeral, |key| Ask::WatchOnce(key))));
    }
    phases.push(("delete_ephemeral", each(ephemeral, |key| Ask::Drop(key))));

    let mut figures = Map::new();
    let meter = Meter::start(plan, clock);
    let (mut latency, mut errors, mut told) = (histogram(), 0, 0);
    let (began, mut last_began) = (clock.now(), 0);
    for (name, each) in &phases {
        last_began = clock.now();
        let mut spread = histogram();
        let members = first..first + plan.conns;
        let done = party.work_off(
            members,
            nodes,
            flight,
            |crowd, member, nth| each(crowd, member, nth),
            &mut spread,
        )?;
        let secs = (clock.now() - last_began) as f64 / 1e9;
        errors += done.errors;
        told += done.fired;
        latency.add(&spread).expect("same bounds");
        let mut object = histogram_json(&spread);
        object.insert("ops_per_s".into(), round(nodes as f64 / secs));
        object.insert("ms_per_op".into(), round(secs * 1e3 / nodes as f64));
        object.insert("errors".into(), done.errors.into());
        figures.insert((*name).into(), Value::Object(object));
    }
    let mut partial = Vec::new();
    if watches {
        let until = if told < nodes as u64 { clock.now() + NOTICE_PATIENCE } else { 0 };
        let _ = party.hear_until(until, |_, heard| {
            told += u64::from(heard.said == Said::Fired);
            Ok(told >= nodes as u64)
        });
        figures.insert("all_told_ms".into(), super::millis(clock.now() - last_began));
        if told < nodes as u64 {
            partial.push(format!("{} notifications did not come", nodes as u64 - told));
        }
    }
    let ops = (nodes * phases.len()) as u64 - errors;
    meter.stop(plan, clock, ops, &mut figures);
    figures.insert("ops_per_s".into(), round(ops as f64 / ((clock.now() - began) as f64 / 1e9)));
    figures.insert("nodes".into(), nodes.into());
    figures.insert("errors".into(), errors.into());
    Ok(Ended { figures, latency, partial })
}
