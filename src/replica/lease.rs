//! The leader's lease: reads without a round of messages, for as long as nobody else can lead.
//!
//! Off by default, for it trusts clocks: not what they show, only that none runs a third faster than
//! another. A follower that answers a probe binds itself: for its patience, counted from when it heard, it neither
//! stands nor votes, whatever it is told of the leader's end; after a restart it does not know whom it heard, so it
//! waits as long. What it binds itself for travels with its answers, and whoever has the lease off binds itself for
//! nothing, so no two nodes need the same setting. A majority's answers to a probe then say: from when that probe
//! *left*, nobody else is elected for three quarters of their shortest patience.
//!
//! Two traps. A process may be stopped between its look at the clock and its look at the sockets, so a read is
//! answered by a look at the clock that came after the read, and a follower counts from the look that came after
//! the leader's word. And whoever was told to take over stands with everybody's leave: from then on there is no lease.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Nanos, NodeId};
use crate::replica::core::{Replica, State};

/// One reign's lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease {
    /// Probes under way and when each first left, oldest first.
    left: VecDeque<(u64, Nanos)>,
    until: Nanos,
    /// An heir has been named.
    over: bool,
}

/// When this node last heard a leader, as its promise to that leader counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    at: Nanos,
    /// Heard in the round of `at`; the clock of the next one counts.
    fresh: bool,
}

impl Heard {
    pub fn new(now: Nanos) -> Heard {
        Heard { at: now, fresh: true }
    }

    /// Whom this node heard before it started it does not know.
    pub fn at_start(now: Nanos) -> Heard {
        match planted::is(Bug::LeaseForgottenByRestart) {
            false => Heard::new(now),
            true => Heard { at: Nanos(0), fresh: false },
        }
    }
}

impl Replica {
    /// Whether this node's answers bind it at all. Whoever needs nobody's vote waits for nobody.
    fn is_bindable(&self) -> bool {
        self.options.timing.lease && self.config().majority() > 1
    }

    /// For how long an answer to a leader binds this node, in milliseconds.
    pub(super) fn binds(&self) -> u32 {
        if self.is_bindable() { self.options.timing.patience.as_millis() as u32 } else { 0 }
    }

    /// Time goes on: what was heard in an earlier round was heard before now.
    pub(super) fn pass_time(&mut self, now: Nanos) {
        if self.options.timing.lease && self.listened.fresh && now > self.listened.at {
            self.listened = Heard { at: now, fresh: false };
        }
    }

    pub(super) fn listen(&mut self, now: Nanos) {
        if self.options.timing.lease {
            self.listened = Heard::new(now);
        }
    }

    /// Until when this node may not stand, nor vote for anybody that its leader has not sent.
    pub(super) fn bound_until(&self, now: Nanos) -> Option<Nanos> {
        if !self.is_bindable() {
            return None;
        }
        if self.hinted.is_some() && planted::is(Bug::LeaseIgnoresHint) {
            return None;
        }
        let until = self.listened.at.plus(self.options.timing.patience);
        (self.listened.fresh || now < until).then_some(until)
    }

    /// May answer reads that came before this look at the clock.
    pub fn has_lease(&self, now: Nanos) -> bool {
        let State::Leader(reign) = &self.state else { return false };
        self.options.timing.lease && !reign.lease.over && now < reign.lease.until
    }

    /// A probe leaves; the same one may leave often, and the first time counts.
    pub(super) fn note_probe(&mut self, now: Nanos) {
        if let State::Leader(reign) = &mut self.state
            && self.options.timing.lease
            && reign.lease.left.back().is_none_or(|&(probe, _)| probe < reign.probe)
        {
            reign.lease.left.push_back((reign.probe, now));
        }
    }

    /// Answers have come: the lease goes on from when the newest probe left that a majority has answered.
    pub(super) fn renew_lease(&mut self, now: Nanos) {
        if !self.options.timing.lease {
            return;
        }
        let shortest = Cell::new(self.options.timing.patience.as_millis() as u32);
        let newest = self.answered(self.voice(), |peer| match peer.binds {
            0 => 0,
            binds => {
                shortest.set(shortest.get().min(binds));
                peer.probe_acked
            }
        });
        let State::Leader(reign) = &mut self.state else { return };
        while let Some(&(probe, at)) = reign.lease.left.front().filter(|(probe, _)| *probe <= newest) {
            let length = Nanos::from_millis(u64::from(shortest.get()) * 3 / 4);
            reign.lease.until = reign.lease.until.max(at.plus(length));
            if probe == reign.probe {
                break; // It may leave again; its first time is what counts.
            }
            reign.lease.left.pop_front();
        }
        if reign.lease.until <= now {
            reign.lease.until = Nanos(0); // Lapsed: what waits for it goes the long way.
        }
    }

    /// A follower's next round settles when it heard.
    pub(super) fn heard_deadline(&self) -> Nanos {
        let settle = self.options.timing.lease && self.listened.fresh;
        if settle { self.listened.at.plus(Nanos(1)) } else { Nanos::MAX }
    }

    /// When reads that came in this round may be answered: in the next, whose clock is a later one.
    pub(super) fn lease_deadline(&self) -> Nanos {
        let State::Leader(reign) = &self.state else { return Nanos::MAX };
        match reign.reads.back() {
            Some(read) if self.has_lease(read.since()) => read.since().plus(Nanos(1)),
            _ => Nanos::MAX,
        }
    }

    /// Others than this reign's voters are asked from now on, or somebody is told to take over.
    pub(super) fn end_lease(&mut self, for_good: bool) {
        if let State::Leader(reign) = &mut self.state {
            if for_good && planted::is(Bug::LeaseOutlivesTransfer) {
                return;
            }
            let over = reign.lease.over || for_good;
            reign.lease = Lease { over, ..Lease::default() };
            reign.renumber_probe(); // One that has left may be answered yet, by whoever counted before.
        }
    }

    pub(super) fn bound_by(&mut self, from: NodeId, epoch: Epoch, binds: u32) {
        if epoch == self.promised
            && let Some(peer) = self.peer_mut(from)
        {
            peer.binds = binds;
        }
    }
}
