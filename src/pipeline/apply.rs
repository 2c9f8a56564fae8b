//! The apply stage: decided batches into the state, outcomes and changes to the edges, answers to reads, and
//! snapshots out of and into the state. Every turn does a bounded slice of each.

mod images;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Index, Life, Nanos, NodeId, Origin};
use crate::journal::{Batch, flag};
use crate::pipeline::behind::Behind;
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::parcel::{Answers, ApplyIn, ApplyOut, Base, Changes, EdgeOut, Outcomes, Reads};
use crate::pipeline::ports::Turn;
use crate::pipeline::snapshots::{Loading, Saving};
use crate::realms::machine::{Applied, Machine};
use crate::realms::{Effects, Stamp};
use crate::state::table::KEYS_AHEAD;
use crate::state::{Command, Envelope};

/// Commands applied in one turn: half a millisecond of small writes.
pub const COMMANDS_PER_TURN: usize = 1024;
/// A page that is copied for a command, since a snapshot holds it, weighs as much as so many more.
pub const COMMANDS_PER_COPY: usize = 2;
/// A batch of this many bytes takes some twenty microseconds to apply.
const LONG_BYTES: usize = 8 << 10;
/// Bytes of changes that weigh as much as one more command: ending a session with many ephemerals is long work.
const CHANGES_PER_COMMAND: usize = 128;
/// Timers' commands that may be in the log at a time. Clients' commands queue behind them; a realm whose commands are
/// long work keeps below this.
const DUE_PENDING_MAX: usize = 1024;
/// How soon to look again when an edge's lane had no room.
const FULL_LANE_RETRY: Nanos = Nanos(200_000);
/// Bytes of room made at most for each answer before its size is known.
const ANSWER_ROOM: usize = 2048;

#[derive(Debug)]
pub struct ApplyLanes {
    pub order: (Tx<ApplyOut>, Rx<ApplyIn>),
    /// One per edge, in order of their lane numbers.
    pub edges: Vec<(Tx<EdgeOut>, Rx<Reads>)>,
}

pub struct Apply {
    machine: Machine,
    me: NodeId,
    life: Life,
    lanes: ApplyLanes,
    queue: VecDeque<Batch>,
    /// How far the first batch of the queue is applied.
    at: Cursor,
    /// Pages copied that a turn's budget has paid for.
    copied: u64,
    applied: Index,
    /// By lane: local reads behind writes that are not applied yet.
    behind: Vec<Behind>,
    /// A batch was handed out in the middle: it has taken room of the edges' lanes.
    parted: bool,
    /// Confirmed reads that wait for their index.
    waiting: BTreeMap<Index, Vec<Reads>>,
    leading: bool,
    /// The epoch in which this node is about to lead: all that was decided before is applied when its first batch is.
    reign: Option<Epoch>,
    ticks: Nanos,
    saving: Option<Saving>,
    loading: Option<Loading>,
    effects: Effects,
    /// Outcomes of this turn by lane, changes of this turn, own sequences applied.
    outcomes: Vec<Outcomes>,
    changes: Changes,
    own: Vec<(u8, u64)>,
    /// Edge lanes that are still to be told of a snapshot's state: (lane, first sequence that may have an outcome).
    jumped: Vec<(u8, u64)>,
    /// Touches of who is not known here yet: looked at again when all batches are applied.
    strangers: Vec<(NodeId, Vec<(u8, u64)>)>,
    /// Order was told something in this turn that it must act upon.
    told: bool,
    /// Leader: commands of its timers that are in the log and not yet applied.
    due_pending: usize,
    /// Bytes of an answer lately: how much room to make for the next ones.
    answer_bytes: usize,
    stateless: bool,
    digest_every: u64,
    halted: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Offset of the next command in the body.
    offset: usize,
    /// The command there has begun and wants another turn.
    again: bool,
    /// Up to here the state was told what is coming.
    foreseen: usize,
}

impl Apply {
    /// Where there is a base the state is that of a snapshot, which is to be loaded.
    /// Every `digest_every` batches the replicas compare digests.
    pub fn new(
        machine: Machine,
        me: NodeId,
        life: Life,
        base: Base,
        digest_every: u64,
        lanes: ApplyLanes,
    ) -> Apply {
        let outcomes = lanes.edges.iter().map(|_| Outcomes::default()).collect();
        let behind = lanes.edges.iter().map(|_| Behind::default()).collect();
        Apply {
            machine,
            me,
            life,
            lanes,
            queue: VecDeque::new(),
            at: Cursor::default(),
            copied: 0,
            applied: base.index,
            behind,
            parted: false,
            waiting: BTreeMap::new(),
            leading: false,
            reign: None,
            ticks: base.ticks,
            saving: None,
            loading: None,
            effects: Effects::default(),
            outcomes,
            changes: Changes::default(),
            own: Vec::new(),
            jumped: Vec::new(),
            strangers: Vec::new(),
            told: false,
            due_pending: 0,
            answer_bytes: 0,
            stateless: base.index.0 > 0,
            digest_every,
            halted: false,
        }
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Something that no batch has brought gets into the state.
    #[cfg(test)]
    pub fn tamper(&mut self) {
        use crate::realms::register;
        let envelope = Envelope {
            realm: crate::state::RealmId::Register as u8,
            kind: register::WRITE,
            ..Envelope::default()
        };
        let command = Command { envelope, payload: &register::write(0, u64::MAX) };
        let stamp = Stamp { index: self.applied, wall_ms: 0, ticks: self.ticks };
        let _ = self.machine.apply(&stamp, &command, &mut self.effects).expect("a command of this release");
    }

    /// What is under way, in words.
    pub fn doing(&self) -> String {
        format!(
            "applied {}, {} batches queued, stateless {}, loading {:?}, saving {:?}, halted {}",
            self.applied,
            self.queue.len(),
            self.stateless,
            self.loading.as_ref().map(|loading| loading.base().index),
            self.saving.as_ref().map(|saving| saving.base().index),
            self.halted
        )
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Names the state as of `applied`. `None`: a batch is half-way in.
    pub fn digest(&mut self) -> Option<u128> {
        let whole = self.at.offset == 0 && !self.at.again;
        (whole && self.loading.is_none() && !self.stateless).then(|| self.machine.digest())
    }

    /// Something waits in a lane. Reads that a state under way cannot answer yet are no reason for another turn.
    pub fn pending(&self) -> bool {
        !self.lanes.order.1.is_empty()
            || (self.serves() && self.lanes.edges.iter().any(|(_, reads)| !reads.is_empty()))
    }

    /// There is a state, and it is not being replaced.
    fn serves(&self) -> bool {
        self.loading.is_none() && !self.stateless && !self.halted && self.jumped.is_empty()
    }

    /// What it has to apply now takes longer than handing requests to the kernel.
    pub fn has_long_work(&mut self) -> bool {
        if self.halted {
            return false;
        }
        self.take_order();
        self.serves() && self.queue.iter().any(|batch| batch.body().len() >= LONG_BYTES)
    }

    pub fn turn(&mut self, now: Nanos) -> Turn {
        if self.halted {
            return Turn::IDLE;
        }
        self.take_order();
        self.tell_jump();
        if self.serves() {
            // Reads that were asked before a write are here before it is, and must not see it.
            if self.answer_local() {
                self.apply_some();
            }
            if self.queue.is_empty() && self.lanes.order.0.room() > 4 + self.strangers.len() {
                std::mem::take(&mut self.strangers).into_iter().for_each(|(from, ids)| self.touch(from, ids));
            }
            self.answer_waiting();
            self.propose_due();
        }
        self.save_some(now);
        let more = !self.queue.is_empty() && self.serves() && self.edges_have_room();
        let more = more || !self.jumped.is_empty();
        let save_at = self.saving.as_ref().map_or(Nanos::MAX, Saving::due);
        let again = std::mem::take(&mut self.told) || more && !self.halted || save_at <= now;
        // Edges ring nobody when they have made room.
        let waits = !self.queue.is_empty() || self.behind.iter().any(Behind::is_ripe);
        let deadline = if waits && self.serves() { now.plus(FULL_LANE_RETRY) } else { Nanos::MAX };
        Turn { again, deadline: deadline.min(save_at) }
    }

    /// What is unknown here may have been opened in a batch that its own node has applied and this one has not.
    fn touch(&mut self, from: NodeId, mut ids: Vec<(u8, u64)>) {
        let (machine, now) = (&mut self.machine, self.ticks);
        ids.retain(|&(realm, id)| !machine.touch(realm, id, now));
        if ids.is_empty() {
            return;
        }
        match self.queue.is_empty() {
            true => self.tell(ApplyOut::Gone { to: from, ids }),
            false => self.strangers.push((from, ids)),
        }
    }

    /// Edges hear of a jump before anything that comes of the new state; one whose lane is full is waited for.
    fn tell_jump(&mut self) {
        let edges = &mut self.lanes.edges;
        self.jumped.retain(|&(lane, below)| {
            let (tx, _) = &mut edges[usize::from(lane)];
            let full = tx.room() == 0;
            if !full {
                tx.send(EdgeOut::Unknown { below });
            }
            full
        });
    }

    fn take_order(&mut self) {
        while let Some(parcel) = self.lanes.order.1.take() {
            match parcel {
                ApplyIn::Committed(batches) => self.queue.extend(batches),
                ApplyIn::ReadAt { index, reads } => self.waiting.entry(index).or_default().extend(reads),
                ApplyIn::Members(members) => self.machine.set_members(members),
                ApplyIn::Leading(epoch) => {
                    self.reign = epoch;
                    self.leading = planted::is(Bug::LeadBeforeOpen) && epoch.is_some();
                    self.due_pending = 0;
                    self.strangers.clear();
                    if self.leading {
                        self.machine.lead(self.ticks);
                    } else if epoch.is_some() {
                        // What this node took for the time in an earlier reign may lie ahead of the cluster's.
                        self.ticks = Nanos(0);
                    }
                }
                ApplyIn::Clock(ticks) => self.ticks = self.ticks.max(ticks),
                ApplyIn::Touches { from, at, ids } => {
                    self.ticks = self.ticks.max(at);
                    self.touch(from, ids);
                }
                ApplyIn::Load { base, length } => self.load(base, length),
                ApplyIn::SnapshotBytes { index, offset, block } => {
                    self.on_snapshot_bytes(index, offset, block)
                }
                ApplyIn::SnapshotWritten { index } => {
                    if let Some(saving) = self.saving.as_mut().filter(|saving| saving.base().index == index) {
                        saving.on_written();
                    }
                }
                ApplyIn::SnapshotSealed { index, verified } => self.on_sealed(index, verified),
            }
        }
    }

    // Commands.

    fn edges_have_room(&self) -> bool {
        // Outcomes, answers and news each take a slot; batches wait while an edge lags.
        self.lanes.edges.iter().all(|(tx, _)| tx.room() > 4)
    }

    fn apply_some(&mut self) {
        let mut budget = COMMANDS_PER_TURN;
        let before = self.applied;
        while budget > 0 && self.edges_have_room() {
            let Some(batch) = self.queue.front().cloned() else { break };
            assert_eq!(batch.index(), self.applied.next(), "batches are applied in order");
            match self.apply_batch(&batch, &mut budget) {
                Ok(true) => {
                    self.queue.pop_front();
                    self.at = Cursor::default();
                    self.applied = batch.index();
                    self.after_batch(&batch);
                }
                Ok(false) => {}
                Err(why) => return self.halt(why),
            }
            self.hand_out(batch.index());
        }
        if self.applied > before {
            let own = std::mem::take(&mut self.own);
            self.lanes.order.0.send(ApplyOut::Applied { index: self.applied, own });
        }
    }

    /// True: the batch is through.
    fn apply_batch(&mut self, batch: &Batch, budget: &mut usize) -> Result<bool, String> {
        let head = batch.head();
        let mut stamp = Stamp { index: head.index, wall_ms: head.wall_ms, ticks: head.ticks };
        if planted::is(Bug::ApplyOwnClock) {
            stamp.wall_ms += u64::from(self.me.0);
        }
        self.ticks = self.ticks.max(head.ticks);
        let body = batch.body();
        while self.at.offset < body.len() {
            let full = std::mem::take(&mut self.parted) && !self.edges_have_room();
            if *budget == 0 || full {
                return Ok(false);
            }
            *budget -= 1;
            let mut rest = &body[self.at.offset..];
            if self.at.offset >= self.at.foreseen {
                self.at.foreseen = self.at.offset + self.machine.foresee(rest).max(1);
                *budget = budget.saturating_sub(self.fresh_copies() * COMMANDS_PER_COPY);
            }
            let command = Command::take(&mut rest).ok_or_else(|| broken(batch))?;
            if !self.apply_command(&stamp, &command)? {
                self.at.again = true;
                *budget = 0;
                return Ok(false);
            }
            *budget = budget.saturating_sub(self.effects.changes.len() / CHANGES_PER_COMMAND);
            if command.envelope.origin == Origin::default() {
                self.due_pending = self.due_pending.saturating_sub(1);
            }
            self.at = Cursor { offset: body.len() - rest.len(), again: false, ..self.at };
        }
        Ok(true)
    }

    /// Pages copied since it was last asked. Only of what a snapshot holds are there copies.
    fn fresh_copies(&mut self) -> usize {
        if self.saving.is_none() {
            return 0;
        }
        let copied = self.machine.copied();
        copied.saturating_sub(std::mem::replace(&mut self.copied, copied)) as usize
    }

    /// False: it wants another turn.
    fn apply_command(&mut self, stamp: &Stamp, command: &Command<'_>) -> Result<bool, String> {
        let Envelope { origin, sequence, realm, .. } = command.envelope;
        let mine = origin.node() == self.me && origin.life() == self.life;
        let lane = usize::from(origin.lane());
        let mine = mine && lane < self.outcomes.len();
        if !self.at.again {
            self.effects.reply.clear();
            self.effects.changes.clear();
        }
        self.effects.wanted = mine;
        let fresh = match self.machine.apply(stamp, command, &mut self.effects) {
            Ok(Applied::Again) => return Ok(false),
            Ok(Applied::Done) => true,
            Ok(Applied::Dropped(_)) => false, // Its first coming had the outcome.
            Err(why) => return Err(why.to_string()),
        };
        if !self.effects.changes.is_empty() {
            self.changes.bytes.extend_from_slice(&self.effects.changes);
            self.changes.items.push((realm, self.changes.bytes.len() as u32));
        }
        if mine && fresh {
            let outcomes = &mut self.outcomes[lane];
            outcomes.replies.extend_from_slice(&self.effects.reply);
            outcomes.items.push((sequence, outcomes.replies.len() as u32));
            match self.own.iter_mut().find(|own| usize::from(own.0) == lane) {
                Some(own) => own.1 = sequence,
                None => self.own.push((lane as u8, sequence)),
            }
            self.behind[lane].reach(sequence);
            if self.behind[lane].is_ripe() {
                self.hand_out(stamp.index);
                self.answer_ripe(lane);
                self.parted = true;
            }
        }
        Ok(true)
    }

    /// One parcel to each edge that has something coming: changes first, then outcomes.
    fn hand_out(&mut self, index: Index) {
        let changes = Arc::new(std::mem::take(&mut self.changes));
        for ((tx, _), outcomes) in self.lanes.edges.iter_mut().zip(&mut self.outcomes) {
            if outcomes.items.is_empty() && changes.items.is_empty() {
                continue;
            }
            let room = (outcomes.items.len(), outcomes.replies.len());
            let mut parcel = std::mem::take(outcomes);
            parcel.index = index;
            if planted::is(Bug::RepliesBeforeEvents) && !changes.items.is_empty() {
                tx.send(EdgeOut::Outcomes(std::mem::take(&mut parcel)));
            }
            parcel.changes = changes.clone();
            tx.send(EdgeOut::Outcomes(parcel));
            // The next turn is likely to be about as large.
            outcomes.items.reserve(room.0);
            outcomes.replies.reserve(room.1);
        }
    }

    fn after_batch(&mut self, batch: &Batch) {
        self.machine.end_batch();
        if batch.has(flag::OPEN) && self.reign == Some(batch.head().epoch) && !self.leading {
            self.leading = true;
            self.machine.lead(self.ticks);
        }
        let index = batch.index();
        if let Some(saving) = &mut self.saving {
            saving.on_log(batch.block().len());
        }
        if index.0.is_multiple_of(self.digest_every) {
            self.lanes.order.0.send(ApplyOut::Digest { index, digest: self.machine.digest() });
        }
        if batch.has(flag::SNAPSHOT) && self.saving.is_none() {
            let stale = planted::is(Bug::SnapshotWrongIndex) && self.queue.len() > 1;
            let index = if stale { index.next() } else { index };
            self.saving = Some(Saving::new(Base::of(batch.head()), self.machine.freeze(index)));
        }
    }

    fn propose_due(&mut self) {
        if !self.leading || self.machine.next_due() > self.ticks || self.lanes.order.0.room() < 4 {
            return;
        }
        let limit = DUE_PENDING_MAX - self.due_pending.min(DUE_PENDING_MAX);
        if limit == 0 {
            return;
        }
        let mut commands = Vec::new();
        let count = self.machine.due(self.ticks, limit, &mut commands);
        if count > 0 {
            self.due_pending += count;
            self.tell(ApplyOut::Due { count: count as u32, commands });
        }
    }

    // Reads.

    /// All that is here and need not wait. The edges' permits bound how much that is. False: a lane has no room.
    fn answer_local(&mut self) -> bool {
        for lane in 0..self.lanes.edges.len() {
            self.answer_ripe(lane);
            for _ in 0..self.lanes.edges[lane].1.len() {
                if self.behind[lane].is_ripe() || self.lanes.edges[lane].0.room() <= 1 {
                    return false;
                }
                let Some(reads) = self.lanes.edges[lane].1.take() else { break };
                let reads = self.behind[lane].sift(reads);
                if !reads.items.is_empty() {
                    self.answer(&reads);
                }
            }
        }
        true
    }

    fn answer_ripe(&mut self, lane: usize) {
        while self.lanes.edges[lane].0.room() > 1
            && let Some(reads) = self.behind[lane].ripe()
        {
            self.answer(&reads);
        }
    }

    fn answer_waiting(&mut self) {
        while let Some(entry) = self.waiting.first_entry()
            && (*entry.key() <= self.applied || planted::is(Bug::SkipReadWait))
        {
            let fits = |reads: &Reads| self.lanes.edges[usize::from(reads.lane)].0.room() > 1;
            if !entry.get().iter().all(fits) {
                return;
            }
            for reads in entry.remove() {
                self.answer(&reads);
            }
        }
    }

    fn answer(&mut self, reads: &Reads) {
        let mut answers = Answers::default();
        answers.items.reserve(reads.items.len());
        answers.bytes.reserve(self.answer_bytes * reads.items.len());
        let mut start = 0;
        for group in reads.items.chunks(KEYS_AHEAD) {
            let mut queries = [&[][..]; KEYS_AHEAD];
            for (query, item) in queries.iter_mut().zip(group) {
                *query = &reads.queries[start..item.end as usize];
                start = item.end as usize;
            }
            if group.len() > 1 && group.iter().all(|item| item.realm == group[0].realm) {
                self.machine.foresee_reads(group[0].realm, &queries[..group.len()]);
            }
            for (query, item) in queries.iter().zip(group) {
                self.machine.read(item.realm, query, &mut answers.bytes);
                answers.items.push((item.tag, answers.bytes.len() as u32));
            }
        }
        self.answer_bytes = (answers.bytes.len() / reads.items.len().max(1)).min(ANSWER_ROOM);
        self.lanes.edges[usize::from(reads.lane)].0.send(EdgeOut::Answers(answers));
    }

    /// News that order acts upon. Mere progress waits for its next turn, these ask for one: order came before apply
    /// in this round, and nothing else need wake the loop.
    fn tell(&mut self, news: ApplyOut) {
        self.told = true;
        self.lanes.order.0.send(news);
    }

    fn halt(&mut self, why: String) {
        self.halted = true;
        self.tell(ApplyOut::Halt(why));
    }
}

fn broken(batch: &Batch) -> String {
    format!(
        "batch {} of epoch {} holds bytes that are no command; its leader runs another release",
        batch.index(),
        batch.epoch()
    )
}

#[cfg(test)]
mod tests;
