//! Deadlines of sessions and leases, as the leader sees them. Soft: never replicated, lost with the reign.
//!
//! Every replica keeps the ids and their spans, because any of them may lead next; only a leader looks at the
//! deadlines. Renewing is a look-up and a store: the queue learns of it when the old deadline comes up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::base::Nanos;
use crate::base::planted::{self, Bug};

/// A map by id: ordered, because nothing here may depend on how a hasher was seeded.
pub type ById<T> = BTreeMap<u64, T>;

#[derive(Default)]
pub struct Timers {
    timers: ById<Timer>,
    /// One entry for every timer that is not expiring, never later than its deadline. Entries of timers that
    /// are gone, or were set anew, are passed over.
    queue: BinaryHeap<Reverse<(Nanos, u64, u64)>>,
    /// No deadline lies before this plus the span: a new leader has heard nobody yet.
    led_from: Nanos,
    /// Proposed to expire, in this reign.
    expiring: Vec<u64>,
    /// `expiring` is tidied when it has grown beyond this.
    expiring_max: usize,
    births: u64,
}

struct Timer {
    span: Nanos,
    heard: Nanos,
    /// Tells it from an earlier timer of the same id.
    birth: u64,
    expiring: bool,
}

impl Timers {
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// A new timer, or a new span for an old one; it starts in full. `now` is when its command was written: an old
    /// one may have been touched since, while the command was on its way here.
    pub fn set(&mut self, id: u64, span: Nanos, now: Nanos) {
        self.births += 1;
        let heard = self.timers.get(&id).map_or(now, |old| old.heard.max(now));
        self.timers.insert(id, Timer { span, heard, birth: self.births, expiring: false });
        self.queue.push(Reverse((now.plus(span), id, self.births)));
    }

    pub fn remove(&mut self, id: u64) {
        self.timers.remove(&id);
        // The queue keeps a dead entry until its time; many short lives must not pile them up.
        if self.queue.len() > 64 && self.queue.len() > 2 * self.timers.len() {
            let timers = &self.timers;
            self.queue.retain(|Reverse((_, id, birth))| timers.get(id).is_some_and(|t| t.birth == *birth));
        }
    }

    /// False: unknown, or proposed to expire already.
    pub fn touch(&mut self, id: u64, now: Nanos) -> bool {
        match self.timers.get_mut(&id) {
            Some(timer) if !timer.expiring => {
                timer.heard = timer.heard.max(now);
                true
            }
            _ => false,
        }
    }

    /// How long it has left.
    pub fn left(&self, id: u64, now: Nanos) -> Option<Nanos> {
        self.timers.get(&id).map(|timer| self.deadline(timer).since(now))
    }

    /// A reign begins: everybody's time starts in full. An earlier reign of this node may have counted ahead of the
    /// time that the cluster has gone on with.
    pub fn lead(&mut self, now: Nanos) {
        if planted::is(Bug::RestartNoTimers) {
            return;
        }
        self.led_from = now;
        self.expiring.clear();
        let restart = |(&id, timer): (&u64, &mut Timer)| {
            (timer.heard, timer.expiring) = (timer.heard.min(now), false);
            Reverse((now.plus(timer.span), id, timer.birth))
        };
        self.queue = self.timers.iter_mut().map(restart).collect();
    }

    fn deadline(&self, timer: &Timer) -> Nanos {
        timer.heard.max(self.led_from).plus(timer.span)
    }

    /// Calls `expire` for at most `limit` timers that have run out; each only once in a reign.
    pub fn due(&mut self, now: Nanos, limit: usize, mut expire: impl FnMut(u64)) {
        let mut left = limit;
        // Those renewed since are looked at as well: bounded with the rest.
        for _ in 0..limit.saturating_mul(4) {
            let Some(&Reverse((at, id, birth))) = self.queue.peek() else { return };
            if at > now || left == 0 {
                return;
            }
            self.queue.pop();
            let Some(timer) = self.timers.get(&id).filter(|timer| timer.birth == birth) else { continue };
            let deadline = self.deadline(timer);
            if planted::is(Bug::ExpireOnlyHeard) && timer.heard < self.led_from {
                continue;
            }
            if deadline > now {
                self.queue.push(Reverse((deadline, id, birth)));
                continue;
            }
            if let Some(timer) = self.timers.get_mut(&id) {
                timer.expiring = true;
            }
            self.expiring.push(id);
            expire(id);
            left -= 1;
        }
        if self.expiring.len() > self.expiring_max {
            let timers = &self.timers;
            self.expiring.retain(|id| timers.get(id).is_some_and(|timer| timer.expiring));
            self.expiring_max = 64.max(2 * self.expiring.len());
        }
    }

    /// The earliest time at which `due` may find something.
    pub fn next_due(&self) -> Nanos {
        self.queue.peek().map_or(Nanos::MAX, |Reverse((at, _, _))| *at)
    }

    pub fn clear(&mut self) {
        *self = Timers { births: self.births, ..Timers::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers, now: u64) -> Vec<u64> {
        let mut ids = Vec::new();
        timers.due(Nanos(now), 100, |id| ids.push(id));
        ids
    }

    #[test]
    fn the_untouched_expire_once() {
        let mut timers = Timers::default();
        timers.set(1, Nanos(10), Nanos(0));
        timers.set(2, Nanos(10), Nanos(0));
        assert!(timers.touch(2, Nanos(5)));
        assert_eq!(timers.next_due(), Nanos(10));
        assert!(due(&mut timers, 9).is_empty());
        assert_eq!(due(&mut timers, 10), [1]);
        assert!(!timers.touch(1, Nanos(10)), "proposed: too late");
        assert!(due(&mut timers, 14).is_empty());
        assert_eq!(due(&mut timers, 15), [2]);
        timers.remove(1);
        timers.set(1, Nanos(10), Nanos(16));
        assert!(timers.touch(1, Nanos(16)), "a new one of the same name");
    }

    #[test]
    fn a_new_leader_starts_every_timer_in_full() {
        let mut timers = Timers::default();
        timers.set(1, Nanos(10), Nanos(0));
        timers.set(2, Nanos(10), Nanos(0));
        timers.due(Nanos(10), 1, |_| {});
        timers.lead(Nanos(100));
        assert!(timers.touch(1, Nanos(100)) && timers.touch(2, Nanos(101)), "deposed first: it lives");
        assert!(due(&mut timers, 109).is_empty());
        assert_eq!(due(&mut timers, 110), [1]);
        assert_eq!(due(&mut timers, 111), [2]);
    }

    /// Worlds with sessions, seed 16: a leader that had led before, in a cluster that wrote nothing for a while, counted
    /// from a time that its successor's batches never came to, and nobody ran out until they did.
    #[test]
    fn a_reign_that_counted_ahead_delays_nobody() {
        let mut timers = Timers::default();
        timers.set(1, Nanos(10), Nanos(0));
        assert!(timers.touch(1, Nanos(500)));
        timers.lead(Nanos(500));
        timers.lead(Nanos(20));
        assert_eq!(timers.next_due(), Nanos(30));
        assert_eq!(due(&mut timers, 30), [1]);
    }

    /// Sessions in virtual time, seed 4: a session that moved expired 138 ms early, since the leader applied the move
    /// behind a sign of life that came after it.
    #[test]
    fn setting_anew_forgets_no_later_sign_of_life() {
        let mut timers = Timers::default();
        timers.set(1, Nanos(10), Nanos(0));
        assert!(timers.touch(1, Nanos(7)));
        timers.set(1, Nanos(10), Nanos(4));
        assert!(due(&mut timers, 16).is_empty());
        assert_eq!(due(&mut timers, 17), [1]);
    }

    #[test]
    fn dead_entries_do_not_pile_up() {
        let mut timers = Timers::default();
        for id in 0..10_000 {
            timers.set(id, Nanos::from_millis(1_000_000), Nanos(0));
            timers.remove(id);
        }
        assert!(timers.queue.len() < 200, "{}", timers.queue.len());
    }
}
