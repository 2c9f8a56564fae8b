//! Contenders on one lock. In a chain each waits for the one before it, and a release wakes one; in a herd all wait for
//! the same key, and a release wakes all.

use serde_json::Map;

use super::{Ended, Meter, Party, SESSION_MS};
use crate::clock::{SECOND, run_number};
use crate::crowd::{Ask, HELD, Heard, Said, Talk, UNWATCHED};
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

/// The queue of a chain: whose turn it is, by what the servers have told. Who has come to the front leaves at once, and
/// comes back at the end.
struct Queue {
    members: Vec<Member>,
    next: u64,
    /// The last number that was told to leave, whose it was, and when.
    left: u64,
    leaver: usize,
    left_at: u64,
    /// That its key is gone has been answered.
    gone: bool,
    /// Who comes next has looked since, maybe so late that its watch found nothing to wait for.
    looked_late: Option<usize>,
}

#[derive(Clone, Copy)]
struct Member {
    ticket: u64,
    waits_since: u64,
    watches: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// The lock is this contender's.
    Holds(usize),
    /// It sets a watch on the key before its own.
    Looks,
    Waits,
}

impl Queue {
    /// Tickets begin at `next`.
    fn new(contenders: usize, next: u64, now: u64) -> Queue {
        let member = Member { ticket: 0, waits_since: now, watches: false };
        let members = vec![member; contenders];
        Queue {
            members,
            next,
            left: next - 1,
            leaver: usize::MAX,
            left_at: now,
            gone: true,
            looked_late: None,
        }
    }

    fn enter(&mut self, who: usize, now: u64) -> u64 {
        self.members[who] = Member { ticket: self.next, waits_since: now, watches: false };
        self.next += 1;
        self.members[who].ticket
    }

    fn leave(&mut self, who: usize, now: u64) -> u64 {
        (self.left, self.leaver, self.left_at) = (self.members[who].ticket, who, now);
        (self.gone, self.looked_late) = (false, None);
        self.left
    }

    fn on(&mut self, who: usize, said: Said, now: u64) -> Turn {
        let member = &mut self.members[who];
        let first = member.ticket == self.left + 1;
        match said {
            Said::Done { tag: ENTER | LOOK, .. } if first && self.gone => Turn::Holds(who),
            Said::Done { tag: ENTER, .. } => Turn::Looks,
            // The key before its own is still to be made.
            Said::Done { tag: LOOK, code: UNWATCHED, .. } if !first => Turn::Looks,
            Said::Done { tag: LOOK, code, .. } => {
                member.watches = code != UNWATCHED;
                if first {
                    self.looked_late = Some(who);
                }
                Turn::Waits
            }
            Said::Done { tag: LEAVE, .. } if who == self.leaver => {
                self.gone = true;
                self.looked_late.take().map_or(Turn::Waits, Turn::Holds)
            }
            // Of a watch that an earlier turn did not wait for.
            Said::Fired if !member.watches => Turn::Waits,
            Said::Fired if first && now >= self.left_at => Turn::Holds(who),
            // A server that lags has told of the key's beginning, not of its end.
            Said::Fired => {
                member.watches = false;
                Turn::Looks
            }
            _ => Turn::Waits,
        }
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
    let key = |ticket: u64| format!("{root}/chain-{ticket:010}");
    let mut queue = Queue::new(plan.conns, run_number(), clock.now());
    for who in 0..plan.conns {
        let mine = queue.enter(who, clock.now());
        party.crowd.ask(first + who, Ask::Make { key: &key(mine), ephemeral: true }, ENTER);
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
            // Of a key that is not there yet, or no more, too.
            Said::Done { tag: LOOK, .. } => {}
            Said::Done { code, .. } if code != 0 => {
                count.errors += 1;
                return Ok(false);
            }
            Said::Lost => return Err(()),
            _ => {}
        }
        match queue.on(member - first, said, now) {
            Turn::Holds(who) => {
                let Member { waits_since, .. } = queue.members[who];
                count.on_handover(now, queue.left_at, waits_since);
                crowd.ask(first + who, Ask::Drop(&key(queue.leave(who, clock.now()))), LEAVE);
                let next = key(queue.enter(who, clock.now()));
                crowd.ask(first + who, Ask::Make { key: &next, ephemeral: true }, ENTER);
                count.asked += 3;
            }
            Turn::Looks => {
                let before = queue.members[member - first].ticket - 1;
                crowd.ask(member, Ask::WatchOnce(&key(before)), LOOK);
                count.asked += u64::from(!matches!(said, Said::Done { tag: ENTER, .. }));
            }
            Turn::Waits => {}
        }
        Ok(false)
    });
    Ok(count.end(plan, meter, &party, ended))
}

pub fn herd<T: Talk>(plan: &Plan) -> Result<Ended, Trouble> {
    let (mut party, first, root) = gather::<T>(plan)?;
    let key = format!("{root}/herd-{}", run_number());
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn done(tag: u32) -> Said {
        Said::Done { tag, code: 0, value: 0 }
    }

    /// Three contenders with tickets 5, 6, 7; the first holds at 10 and is at the end again with 8.
    fn three() -> Queue {
        let mut queue = Queue::new(3, 5, 0);
        (0..3).for_each(|who| assert_eq!(queue.enter(who, 0), 5 + who as u64));
        assert_eq!(queue.on(0, done(ENTER), 10), Turn::Holds(0));
        assert_eq!((queue.leave(0, 11), queue.enter(0, 11)), (5, 8));
        queue
    }

    #[test]
    fn a_lock_is_taken_by_who_was_told_that_it_is_free() {
        let mut queue = three();
        // In the turn in which the first was told: its key is still there.
        assert_eq!(queue.on(1, done(ENTER), 10), Turn::Looks);
        assert_eq!(queue.on(1, done(LOOK), 10), Turn::Waits);
        assert_eq!(queue.on(2, done(ENTER), 10), Turn::Looks);
        assert_eq!(queue.on(2, done(LOOK), 10), Turn::Waits);
        assert_eq!(queue.on(1, Said::Fired, 20), Turn::Holds(1));
        queue.leave(1, 21);
        queue.enter(1, 21);
        assert_eq!(queue.on(0, done(LEAVE), 22), Turn::Waits, "the one after it has been told already");
        assert_eq!(queue.on(0, done(ENTER), 22), Turn::Looks);
        assert_eq!(queue.on(2, Said::Fired, 30), Turn::Holds(2));
    }

    /// A handover that was heard of before the lock was given up made the difference of their times negative.
    #[test]
    fn what_was_heard_before_the_lock_was_given_up_does_not_tell_of_its_end() {
        let mut queue = three();
        assert_eq!(queue.on(1, done(ENTER), 9), Turn::Looks);
        assert_eq!(queue.on(1, done(LOOK), 9), Turn::Waits);
        assert_eq!(queue.on(1, Said::Fired, 10), Turn::Looks, "of its beginning");
        assert_eq!(queue.on(1, Said::Fired, 12), Turn::Waits, "no watch stands");
        assert_eq!(queue.on(1, done(LOOK), 12), Turn::Waits);
        assert_eq!(queue.on(1, Said::Fired, 13), Turn::Holds(1));
    }

    #[test]
    fn who_watches_nothing_looks_until_the_key_before_its_own_is_there() {
        let mut queue = three();
        let nothing = Said::Done { tag: LOOK, code: UNWATCHED, value: 0 };
        assert_eq!(queue.on(2, done(ENTER), 12), Turn::Looks);
        assert_eq!(queue.on(2, nothing, 13), Turn::Looks);
        assert_eq!(queue.on(1, done(ENTER), 14), Turn::Looks);
        assert_eq!(queue.on(1, nothing, 15), Turn::Waits, "what it waits for is gone");
        assert_eq!(queue.on(0, done(LEAVE), 16), Turn::Holds(1));
    }

    #[test]
    fn a_watch_that_came_too_late_is_not_waited_for() {
        let mut queue = three();
        assert_eq!(queue.on(1, done(ENTER), 12), Turn::Looks);
        assert_eq!(queue.on(1, done(LOOK), 13), Turn::Waits);
        assert_eq!(queue.on(0, done(LEAVE), 14), Turn::Holds(1));
        queue.leave(1, 15);
        queue.enter(1, 15);
        assert_eq!(queue.on(1, done(LEAVE), 16), Turn::Waits);
        assert_eq!(queue.on(2, done(ENTER), 17), Turn::Holds(2), "answered after the key before it was gone");
    }
}
