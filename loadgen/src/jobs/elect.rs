//! Candidates for one post. Its holder resigns, or dies without a word and its session has to run out: how long until
//! there is another, and all know?

use std::collections::HashSet;

use serde_json::Map;

use super::{Ended, Meter, Party, median, millis};
use crate::clock::{MILLI, SECOND, run_number};
use crate::crowd::{Ask, Crowd, HELD, Heard, Said, Talk, UNWATCHED};
use crate::driver::Protocol;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const SESSION_MS: u32 = 5_000;
const PATIENCE: u64 = 30 * SECOND;
const TRY: u32 = 1;
const LOOK: u32 = 2;
const LEAVE: u32 = 3;

/// The post, as the candidates know it.
struct Post {
    key: String,
    holder: Option<usize>,
    /// When the last of them was told that somebody holds it.
    known: u64,
    told: HashSet<usize>,
    watching: HashSet<usize>,
}

impl Post {
    /// A watch that fires says only that something happened; the attempt that follows tells what.
    fn on<T: Talk>(&mut self, crowd: &mut Crowd<T>, heard: Heard) -> Result<(), ()> {
        let Heard { member, said, now } = heard;
        match said {
            Said::Fired | Said::Done { tag: LOOK, code: UNWATCHED, .. } => {
                self.watching.remove(&member);
                crowd.ask(member, Ask::Acquire(&self.key), TRY);
            }
            Said::Done { tag: TRY, code: code @ (0 | HELD), .. } => {
                if code == 0 {
                    self.holder = Some(member);
                } else {
                    crowd.ask(member, Ask::WatchOnce(&self.key), LOOK);
                }
                if self.told.insert(member) {
                    self.known = now;
                }
            }
            Said::Done { tag: LOOK, .. } => drop(self.watching.insert(member)),
            Said::Done { tag: TRY, .. } | Said::Lost => return Err(()),
            _ => {}
        }
        Ok(())
    }

    /// Until one of these holds it, and all others know and wait. Returns who, and when the last one knew.
    fn settle<T: Talk>(&mut self, party: &mut Party<'_, T>, all: &[usize]) -> Result<(usize, u64), Trouble> {
        let wait = party.hear_until(party.clock.now() + PATIENCE, |crowd, heard| {
            self.on(crowd, heard)?;
            let waits = |member: &usize| self.holder == Some(*member) || self.watching.contains(member);
            let all_know = all.iter().all(|member| self.told.contains(member) && waits(member));
            Ok(self.holder.is_some() && all_know)
        });
        match (wait, self.holder) {
            (Ok(()), Some(holder)) => Ok((holder, self.known)),
            (Err(Some(why)), _) => Err(Trouble::Prepare(format!("a candidate lost its server: {why}"))),
            _ => {
                let secs = PATIENCE / SECOND;
                Err(Trouble::Prepare(format!("nobody was elected, or not all knew, within {secs} s")))
            }
        }
    }
}

pub fn run<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let clock = party.clock;
    let first = party.invite(plan.conns)?;
    let key = format!("{}/elect-{}", party.make_root(first)?, run_number());
    party.open_all(first, plan.conns)?;
    let all: Vec<usize> = (first..first + plan.conns).collect();
    let mut post = Post { key, holder: None, known: 0, told: HashSet::new(), watching: HashSet::new() };
    all.iter().for_each(|&member| party.crowd.ask(member, Ask::Acquire(&post.key), TRY));
    let mut holder = post.settle(&mut party, &all)?.0;
    let meter = Meter::start(plan, clock);
    let (mut resigned, mut died, mut after_due, mut latency) =
        (Vec::new(), Vec::new(), Vec::new(), histogram());
    let until = clock.now() + plan.secs * SECOND;
    // A session of Consul's cannot be renewed on a connection that waits, so its holders only resign.
    let may_die = plan.target != Protocol::Consul;
    while clock.now() < until || resigned.is_empty() || (may_die && died.is_empty()) {
        let dies = may_die && resigned.len() > died.len();
        let since = clock.now();
        let due = party.crowd.last_send(holder) + u64::from(SESSION_MS) * MILLI;
        let others: Vec<usize> = all.iter().copied().filter(|member| *member != holder).collect();
        post.holder = None;
        post.told.clear();
        if dies {
            party.crowd.cut(holder);
        } else {
            party.crowd.ask(holder, Ask::Drop(&post.key), LEAVE);
        }
        let (next, known) = post.settle(&mut party, &others)?;
        if dies {
            died.push(known - since);
            after_due.push(known.saturating_sub(due));
            party.crowd.renew(holder);
            party.greet(holder)?;
            party.open_all(holder, 1)?;
        } else {
            record(&mut latency, known - since);
            resigned.push(known - since);
        }
        // The former holder joins the others again.
        party.crowd.ask(holder, Ask::Acquire(&post.key), TRY);
        post.settle(&mut party, &all)?;
        holder = next;
    }
    let mut figures = Map::new();
    meter.stop(plan, clock, (resigned.len() + died.len()) as u64, &mut figures);
    figures.insert("elections".into(), (resigned.len() + died.len()).into());
    figures.insert("resigned_ms".into(), millis(median(&mut resigned)));
    if !died.is_empty() {
        figures.insert("died_ms".into(), millis(median(&mut died)));
        figures.insert("after_due_ms".into(), millis(median(&mut after_due)));
        figures.insert("session_ms".into(), SESSION_MS.into());
    }
    Ok(Ended { figures, latency, partial: Vec::new() })
}
