//! Contenders on one lock. In a chain each waits for the one before it, and a release wakes one; in a herd all wait for
//! the same key, and a release wakes all.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::SECOND;
use crate::crowd::{Ask, Crowd, HELD, Heard, Said, Talk};
use crate::output::round;
use crate::plan::Plan;
use crate::record::{histogram, record};
use crate::run::Trouble;

const ENTER: u32 = 1;
const LOOK: u32 = 2;
const LEAVE: u32 = 3;
const TRY: u32 = 4;

/// Handovers within the window: how long each took, and how long the contender had waited.
struct Count {
    from: u64,
    until: u64,
    handovers: u64,
    asked: u64,
    errors: u64,
    waits: Vec<u64>,
    latency: hdrhistogram::Histogram<u64>,
}

impl Count {
    fn new(from: u64, until: u64) -> Count {
        Count { from, until, handovers: 0, asked: 0, errors: 0, waits: Vec::new(), latency: histogram() }
    }

    fn on_handover(&mut self, now: u64, released: u64, waits_since: u64) {
        if (self.from..self.until).contains(&now) {
            self.handovers += 1;
            record(&mut self.latency, now - released);
            self.waits.push(now - waits_since);
        }
    }

    fn end(
        self,
        plan: &Plan,
        meter: Option<Meter>,
        party: &Party<'_, impl Talk>,
        ended: Result<(), Option<String>>,
    ) -> Ended {
        let mut figures = Map::new();
        if let Some(meter) = &meter {
            meter.stop(plan, party.clock, self.handovers, &mut figures);
        }
        figures.insert("ops_per_s".into(), round(self.handovers as f64 / plan.secs as f64));
        figures.insert("asked_per_handover".into(), round(self.asked as f64 / self.handovers.max(1) as f64));
        let mean = self.waits.iter().sum::<u64>() as f64 / self.waits.len().max(1) as f64;
        let longest = self.waits.iter().max().copied().unwrap_or(0) as f64;
        figures.insert("max_wait_over_mean".into(), round(if mean > 0.0 { longest / mean } else { 0.0 }));
        figures.insert("errors".into(), self.errors.into());
        let mut partial = Vec::new();
        if let Err(Some(why)) = ended {
            partial.push(format!("a contender lost its server: {why}"));
        }
        if self.handovers == 0 {
            partial.push("the lock was handed over to nobody".into());
        }
        Ended { figures, latency: self.latency, partial }
    }
}

/// Contenders that have come to the front leave, and come back at the end.
struct Chain {
    root: String,
    first: usize,
    /// Each member's number in the queue, and since when it waits.
    ticket: Vec<(u64, u64)>,
    next: u64,
    /// The last number that has left, and when.
    left: u64,
    left_at: u64,
}

impl Chain {
    fn key(&self, ticket: u64) -> String {
        format!("{}/chain-{ticket:010}", self.root)
    }

    fn enter<T: Talk>(&mut self, crowd: &mut Crowd<T>, member: usize) {
        self.ticket[member - self.first] = (self.next, crowd.clock.now());
        self.next += 1;
        let (mine, _) = self.ticket[member - self.first];
        crowd.ask(member, Ask::Make { key: &self.key(mine), ephemeral: true }, ENTER);
    }

    /// It holds the lock, and gives it up at once.
    fn hold<T: Talk>(&mut self, crowd: &mut Crowd<T>, member: usize, now: u64, count: &mut Count) {
        let (mine, since) = self.ticket[member - self.first];
        if mine != self.left + 1 {
            return; // Told twice: it was this member's turn already.
        }
        count.on_handover(now, self.left_at, since);
        (self.left, self.left_at) = (mine, crowd.clock.now());
        crowd.ask(member, Ask::Drop(&self.key(mine)), LEAVE);
        self.enter(crowd, member);
        count.asked += 3;
    }
}

/// Contenders with their sessions or leases: all, the first of them, and where the lock lies.
fn gather<T: Talk>(plan: &Plan) -> Result<(Party<'_, T>, usize, String), Trouble> {
    let mut party = Party::<T>::new(plan, SESSION_MS)?;
    let first = party.invite(plan.conns)?;
    let root = party.make_root(first)?;
    party.open_all(first, plan.conns)?;
    Ok((party, first, root))
}

/// The window begins after the warm-up.
fn window(party: &Party<'_, impl Talk>) -> (u64, u64, Count) {
    let from = party.clock.now() + party.plan.warmup * SECOND;
    let until = from + party.plan.secs * SECOND;
    (from, until, Count::new(from, until))
}

pub fn chain<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let (mut party, first, root) = gather::<T>(plan)?;
    let clock = party.clock;
    // Numbers that no earlier run's keys have.
    let begin =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let next = begin * 1_000_000;
    let ticket = vec![(0, 0); plan.conns];
    let mut chain = Chain { root, first, ticket, next, left: next - 1, left_at: clock.now() };
    for member in first..first + plan.conns {
        chain.enter(&mut party.crowd, member);
    }
    let (from, until, mut count) = window(&party);
    let mut meter = None;
    let ended = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
            count.asked = 0;
        }
        let Heard { member, said, now } = heard;
        match said {
            Said::Done { tag: ENTER, code: 0, .. } => {
                let (mine, _) = chain.ticket[member - first];
                if mine == chain.left + 1 {
                    chain.hold(crowd, member, now, &mut count);
                } else {
                    crowd.ask(member, Ask::WatchOnce(&chain.key(mine - 1)), LOOK);
                }
            }
            // The one before it may have left before the watch stood.
            Said::Done { tag: LOOK, .. } | Said::Fired => {
                let (mine, _) = chain.ticket[member - first];
                if mine == chain.left + 1 {
                    chain.hold(crowd, member, now, &mut count);
                } else if said == Said::Fired {
                    // A server that lags has told of the key's beginning, not of its end.
                    crowd.ask(member, Ask::WatchOnce(&chain.key(mine - 1)), LOOK);
                    count.asked += 1;
                }
            }
            Said::Done { code, .. } => count.errors += u64::from(code != 0),
            Said::Lost => return Err(()),
            _ => {}
        }
        Ok(false)
    });
    Ok(count.end(plan, meter, &party, ended))
}

pub fn herd<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let (mut party, first, root) = gather::<T>(plan)?;
    let key = format!("{root}/herd");
    let clock = party.clock;
    let (from, until, mut count) = window(&party);
    let mut meter = None;
    let (mut holder, mut left_at) = (None, clock.now());
    let mut watching = vec![false; plan.conns];
    let mut since = vec![clock.now(); plan.conns];
    for member in first..first + plan.conns {
        party.crowd.ask(member, Ask::Acquire(&key), TRY);
    }
    let ended = party.hear_until(until, |crowd, heard| {
        if meter.is_none() && heard.now >= from {
            meter = Some(Meter::start(plan, clock));
            count.asked = 0;
        }
        let Heard { member, said, now } = heard;
        match said {
            Said::Done { tag: TRY, code: 0, .. } => {
                holder = Some(member);
                count.on_handover(now, left_at, since[member - first]);
                since[member - first] = now;
            }
            Said::Done { tag: TRY, code: HELD, .. } => {
                count.asked += 1;
                crowd.ask(member, Ask::WatchOnce(&key), LOOK);
            }
            Said::Done { tag: LOOK, code: 0, .. } => watching[member - first] = true,
            // The holder gave it up between the attempt and the watch.
            Said::Done { tag: LOOK, .. } => {
                count.asked += 1;
                crowd.ask(member, Ask::Acquire(&key), TRY);
            }
            Said::Fired => {
                count.asked += 1;
                watching[member - first] = false;
                crowd.ask(member, Ask::Acquire(&key), TRY);
            }
            Said::Done { code, .. } => count.errors += u64::from(code != 0),
            Said::Lost => return Err(()),
            _ => {}
        }
        // It is given up when all others wait, so that every handover wakes as many.
        if let Some(member) = holder
            && watching.iter().filter(|watching| **watching).count() + 1 == plan.conns
        {
            (holder, left_at) = (None, clock.now());
            watching.fill(false);
            count.asked += 2;
            crowd.ask(member, Ask::Drop(&key), LEAVE);
            crowd.ask(member, Ask::Acquire(&key), TRY);
        }
        Ok(false)
    });
    Ok(count.end(plan, meter, &party, ended))
}
