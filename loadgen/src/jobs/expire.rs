//! Half of all sessions vanish without a word: when are their ephemerals gone, and what do others notice?

use std::collections::VecDeque;

use serde_json::Map;

use super::{Ended, Meter, Party, millis};
use crate::clock::{MILLI, SECOND};
use crate::crowd::{Ask, Said, Talk};
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const EPHEMERALS: usize = 10;
const SESSION_MS: u32 = 10_000;
/// The others write so often.
const EVERY: u64 = MILLI;
const COUNT_EVERY: u64 = 10 * MILLI;
const MAKE_PATIENCE: u64 = 120 * SECOND;
const MAKE: u32 = 1;
const WRITE: u32 = 2;
const COUNT: u32 = 3;

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let clock = party.clock;
    let host = party.invite(2)?;
    let counter = host + 1;
    let root = format!("{}/expire", party.make_root(host)?);
    party.demand(host, Ask::Make { key: &root, ephemeral: false }, "make the directory")?;
    let first = party.invite(plan.conns)?;
    make_ephemerals(&mut party, first, &root)?;

    let cut: Vec<usize> = (first..first + plan.conns).filter(|member| (member - first) % 2 == 0).collect();
    let kept = ((plan.conns - cut.len()) * EPHEMERALS) as i64;
    let allowed = u64::from(SESSION_MS) * MILLI;
    let (first_due, last_due) = cut.iter().fold((u64::MAX, 0), |(low, high), &member| {
        let due = party.crowd.last_send(member) + allowed;
        (low.min(due), high.max(due))
    });
    cut.iter().for_each(|&member| party.crowd.cut(member));
    let meter = Meter::start(plan, clock);
    let began = clock.now();
    let until = last_due + 60 * SECOND;
    let mut latency = histogram();
    let (mut next_write, mut next_count, mut counting) = (began, began, false);
    let mut due = VecDeque::new();
    let (mut first_gone, mut all_gone, mut left, mut errors) = (0, 0, i64::MAX, 0u64);
    let total = (plan.conns * EPHEMERALS) as i64;
    while all_gone == 0 && clock.now() < until {
        let now = clock.now();
        while next_write <= now {
            party.crowd.ask(host, Ask::Put(&root), WRITE);
            due.push_back(next_write);
            next_write += EVERY;
        }
        if !counting && next_count <= now {
            party.crowd.ask(counter, Ask::Count(&root), COUNT);
            (counting, next_count) = (true, now + COUNT_EVERY);
        }
        party
            .crowd
            .turn(next_write.min(next_count.max(now + MILLI)), &mut party.heard)
            .map_err(super::local)?;
        for heard in std::mem::take(&mut party.heard) {
            match heard.said {
                Said::Done { tag: WRITE, code, .. } => {
                    errors += u64::from(code != 0);
                    let intended: u64 = due.pop_front().expect("answers come in the order of the questions");
                    record(&mut latency, heard.now - intended);
                }
                Said::Done { tag: COUNT, value, .. } => {
                    (counting, left) = (false, value);
                    if left < total && first_gone == 0 {
                        first_gone = heard.now;
                    }
                    if left <= kept {
                        all_gone = heard.now;
                    }
                }
                Said::Lost => return Err(Trouble::Prepare(party.crowd.trouble())),
                _ => {}
            }
        }
    }
    let mut figures = Map::new();
    meter.stop(plan, clock, (cut.len() * EPHEMERALS) as u64, &mut figures);
    let mut partial = Vec::new();
    if all_gone == 0 {
        partial.push(format!("{} ephemerals of cut sessions were left", left - kept));
    } else {
        figures.insert("gone_after_due_ms".into(), millis(all_gone.saturating_sub(last_due)));
        figures.insert("all_gone_ms".into(), millis(all_gone - began));
    }
    if first_gone > 0 {
        let early = first_due.saturating_sub(first_gone);
        figures.insert("first_early_ms".into(), millis(early));
    }
    figures.insert("stall_ms".into(), millis(latency.max()));
    figures.insert("errors".into(), errors.into());
    Ok(Ended { figures, latency, partial })
}

fn make_ephemerals<T: Talk>(party: &mut Party<'_, T>, first: usize, root: &str) -> Result<(), Trouble> {
    let count = party.plan.conns;
    // Each member makes one at a time, or a server's limit of requests under way would decide.
    let mut made = vec![0; count];
    let make = |crowd: &mut crate::crowd::Crowd<T>, member: usize, nth: usize| {
        let key = format!("{root}/e-{}-{nth}", member - first);
        crowd.ask(member, Ask::Make { key: &key, ephemeral: true }, MAKE);
    };
    (first..first + count).for_each(|member| make(&mut party.crowd, member, 0));
    let mut missing = count * EPHEMERALS;
    let until = party.clock.now() + MAKE_PATIENCE;
    let ended = party.hear_until(until, |crowd, heard| match heard.said {
        Said::Done { tag: MAKE, code: 0, .. } => {
            let nth = &mut made[heard.member - first];
            *nth += 1;
            if *nth < EPHEMERALS {
                make(crowd, heard.member, *nth);
            }
            missing -= 1;
            Ok(missing == 0)
        }
        Said::Done { tag: MAKE, .. } | Said::Lost => Err(()),
        _ => Ok(false),
    });
    ended.map_err(|why| {
        let why = why.unwrap_or("no answer in time".into());
        Trouble::Prepare(format!("{missing} ephemerals could not be made: {why}"))
    })
}
