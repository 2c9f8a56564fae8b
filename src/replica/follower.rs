//! The follower: appends what continues its log, cuts what contradicts the leader's, answers for what is durable.

use crate::base::planted::{self, Bug};
use crate::base::{Chain, Epoch, Index, Nanos, NodeId};
use crate::journal::{Batch, flag};
use crate::replica::Msg;
use crate::replica::core::{Replica, State};

/// A place in the leader's log, named so that equal names mean equal logs up to there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub index: Index,
    pub epoch: Epoch,
    pub chain: Chain,
}

impl Replica {
    /// Obeys the leader of `epoch`, unless this node has promised a later one. False: it must not.
    pub(super) fn heed(&mut self, now: Nanos, from: NodeId, epoch: Epoch) -> bool {
        if epoch < self.promised {
            // Tell a leader that is over; the higher epoch in the answer is what counts.
            let epoch = self.promised;
            let msg = Msg::Mismatch { epoch, probe: 0, hint: Index(0), hint_epoch: Epoch(0) };
            self.say(from, msg);
            return false;
        }
        if epoch > self.promised {
            self.raise(now, epoch);
        } else if self.hinted == Some(from) {
            return false; // Its last words, come late.
        }
        assert!(!self.is_leader(), "two leaders in epoch {epoch}: this node and {from}");
        self.follow(now, Some(from));
        self.hear_leader(now);
        true
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_append(
        &mut self,
        now: Nanos,
        from: NodeId,
        epoch: Epoch,
        probe: u64,
        commit: Index,
        prev: Place,
        [recycle, kept]: [Index; 2],
        answer: bool,
        batches: Vec<Batch>,
    ) {
        if !self.heed(now, from, epoch) {
            return;
        }
        self.decided = self.decided.max(commit);
        // Also where an install has come to a stand: its snapshot may be gone by now.
        if self.stateless && !self.installing(now) {
            self.say(from, Msg::Need { epoch, above: Index(0) });
        }
        if self.cutting.is_some() || self.installing(now) {
            // When that is over, `point_out` says where to go on.
            let binds = self.binds();
            return self.say(from, Msg::Alive { epoch, probe, binds });
        }
        self.probe = self.probe.max(probe);
        self.recycle = self.recycle.max(recycle);
        self.kept = kept;
        if let Err(hint) = self.agrees(prev) {
            let hint_epoch = self.log.epoch(hint).unwrap_or_default();
            return self.say(from, Msg::Mismatch { epoch, probe, hint, hint_epoch });
        }
        // What a snapshot stands for is decided, so whoever leads has it. (Word of an install may be lost on the way.)
        self.verified = self.verified.max(prev.index).max(self.log.base().index);
        for batch in batches {
            let makes_room = batch.has(flag::OPEN) || batch.has(flag::SNAPSHOT);
            if self.full && !makes_room && batch.index() > self.log.last() {
                let decided = batch.index() <= commit;
                if !self.waits_too_long(now, from, decided) {
                    break; // It will be sent again; until a snapshot has made room the rest of the log must do.
                }
            }
            if !self.take_batch(batch) {
                break;
            }
        }
        // Beyond what is known to be the same, the leader's commit point says nothing of this log.
        let sure = if planted::is(Bug::CommitUnmatched) { self.log.last() } else { self.verified };
        self.raise_commit(commit.min(sure));
        if answer {
            self.answer_append();
        }
    }

    /// A full log, and what makes room lies behind what does not fit into it. After a while what is not decided yet is
    /// taken all the same (true): the leader may need this very node's word for it, and no snapshot comes before that.
    /// Of what is decided (the last snapshot here was lost to a full disk) a peer's snapshot is asked for, which takes
    /// the whole log's place; where nobody has one, and nobody can make one without this node's word, that is taken,
    /// too (seed 5706).
    fn waits_too_long(&mut self, now: Nanos, leader: NodeId, decided: bool) -> bool {
        let (since, asked) = *self.refusing.get_or_insert((now, now));
        let patience = self.options.timing.patience.0;
        if decided && now.since(asked) > Nanos(4 * patience) {
            self.refusing = Some((since, now));
            self.say(leader, Msg::Need { epoch: self.promised, above: self.commit });
        }
        now.since(since) > Nanos(if decided { 12 } else { 2 } * patience)
    }

    /// Whether this log is the leader's up to `prev`; if not, where to look next.
    fn agrees(&self, prev: Place) -> Result<(), Index> {
        let base = self.log.base();
        if prev.index < base.index {
            return Ok(()); // All below a snapshot is committed, so the leader has the same.
        }
        if let Some(unknown) = self.log.first_unknown().filter(|&unknown| unknown <= prev.index) {
            return Err(unknown.prev()); // Send me that again.
        }
        if prev.index > self.log.last() {
            return Err(self.log.last());
        }
        if self.log.chain(prev.index) == Some(prev.chain) || planted::is(Bug::SkipPrevCheck) {
            return Ok(());
        }
        assert!(prev.index > self.commit, "a leader contradicts what is committed here at {}", prev.index);
        let hint = self.log.last_at_most(prev.index.prev(), prev.epoch);
        Err(hint.max(self.commit))
    }

    /// The next batch of the leader's log. False: stop here, the rest will come again.
    fn take_batch(&mut self, batch: Batch) -> bool {
        let index = batch.index();
        if index <= self.log.base().index {
            self.verified = self.verified.max(index);
            return true;
        }
        if index > self.log.last().next() || batch.head().cluster != self.options.cluster {
            return false;
        }
        if self.log.is_unknown(index) {
            if self.log.contradicts(&batch) {
                self.cut(index.prev());
                return false;
            }
            // The leader's batch takes the place: what was there was the same, or was never committed. A cut would
            // deny, until the batch is written again, what this node may have acknowledged.
            self.repair(batch);
            self.verified = self.verified.max(index);
            return true;
        }
        match self.log.chain(index) {
            Some(chain) if chain == batch.chain() => {
                self.verified = self.verified.max(index);
                true
            }
            Some(_) => {
                self.cut(index.prev());
                false
            }
            None if self.log.chain(index.prev()) == Some(batch.head().prev) => {
                self.verified = self.verified.max(index);
                self.append(batch);
                true
            }
            None => false,
        }
    }

    /// Tells the leader how far this log equals its own, and how far it is durable.
    pub(super) fn answer_append(&mut self) {
        let State::Follower { leader: Some(leader) } = self.state else { return };
        // A slot lost since is wanted again, though both logs are known to have been the same there.
        let sound = self.log.first_unknown().map_or(self.verified, |lost| lost.prev().min(self.verified));
        let (epoch, probe, received) = (self.promised, self.probe, sound);
        let durable = self.durable.min(received);
        let snapshot = self.snapshots.last().map_or(Index(0), |base| base.index);
        let binds = self.binds();
        self.say(leader, Msg::Appended { epoch, probe, received, durable, snapshot, binds });
    }

    /// More is durable here: an acknowledgement if another leads, a count of its own if this node does.
    pub(super) fn tell_durable(&mut self) {
        if !self.is_leader() && self.verified.0 > 0 {
            self.answer_append();
        }
    }

    /// After a cut or an install: where this log ends now.
    pub(super) fn point_out(&mut self) {
        let State::Follower { leader: Some(leader) } = self.state else { return };
        let hint = self.log.first_unknown().map_or(self.log.last(), Index::prev);
        let hint_epoch = self.log.epoch(hint).unwrap_or_default();
        self.say(leader, Msg::Mismatch { epoch: self.promised, probe: self.probe, hint, hint_epoch });
    }
}
