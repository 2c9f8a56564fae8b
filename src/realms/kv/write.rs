//! Carrying out operations: one revision each, in as many turns as their records need.
//!
//! A put is done at once. Everything else becomes a plan (the steps of the branches that the compares chose),
//! carried out step by step; a turn that has visited its share stops in between, and readers do not see what
//! has been written so far, because its revision is not the store's yet.

use std::cmp::Ordering;
use std::ops::Bound;

use super::Kv;
use super::ops::{
    ArchivedCompare, ArchivedDelete, ArchivedMust, ArchivedOp, ArchivedPut, ArchivedStep, ArchivedTarget,
    ArchivedTxn, BEFORE, EVENTS_UNTOLD, GROUP_BYTES, Write, flag, said,
};
use super::read::{ANSWER_BYTES, Gather};
use super::store::{ATTACHED, Before, NOW, Version, emit_deletion};
use super::{Detail, SLICE_DELETES, VISITS};
use crate::realms::reply::{self, Status};
use crate::realms::{Effects, Flow, Stamp};

/// A command under way.
#[derive(Default)]
pub(super) struct Run {
    /// The operation of the command.
    op: usize,
    plan: Vec<Item>,
    /// The item of the plan.
    at: usize,
    /// Replies of transactions that are open: where they begin, and whether they succeeded.
    open: Vec<(usize, bool)>,
    sweep: Option<Sweep>,
    /// Keys changed so far.
    sub: u32,
    /// Where the changes' group begins, if it has begun.
    group: Option<usize>,
    untold: bool,
}

enum Item {
    /// A step of a transaction's node: of which branch, and which.
    Step {
        node: usize,
        then: bool,
        at: usize,
    },
    Enter {
        succeeded: bool,
    },
    Leave,
    /// The operation itself is a deletion.
    Delete,
    /// All keys of a lease, then the lease.
    Revoke {
        lease: u64,
    },
}

/// A step that takes several turns.
struct Sweep {
    /// Where its reply begins.
    start: usize,
    deleted: u64,
    partial: bool,
    gather: Option<Gather>,
    /// Where to go on.
    next: Option<Vec<u8>>,
}

impl Kv {
    pub(super) fn write(&mut self, at: &Stamp, payload: &[u8], effects: &mut Effects) -> Flow {
        let Some(write) = Write::open(payload) else {
            reply::bare(&mut effects.reply, Status::Malformed, self.store.revision);
            return Flow::Done;
        };
        let mut run = self.run.take().unwrap_or_default();
        let mut visits = VISITS;
        while let Some(op) = write.ops.get(run.op) {
            let started = !run.plan.is_empty();
            if !started && visits == 0 {
                self.run = Some(run);
                return Flow::Again;
            }
            let result = if started { Ok(()) } else { self.start(at, op, &mut run, effects) };
            match result {
                Err(status) => reply::bare(&mut effects.reply, status, self.store.revision),
                Ok(()) => {
                    if self.carry_on(op, &mut run, &mut visits, effects) == Flow::Again {
                        self.run = Some(run);
                        return Flow::Again;
                    }
                    self.commit(&mut run, effects);
                }
            }
            run = Run { op: run.op + 1, ..Run::default() };
            visits = visits.saturating_sub(4);
        }
        // Whoever writes history helps to free it.
        self.free(2 * write.ops.len());
        Flow::Done
    }

    /// A lease that has run out, as a command of its own.
    pub(super) fn expire(&mut self, lease: u64, effects: &mut Effects) -> Flow {
        let mut run = match self.run.take() {
            Some(run) => run,
            None if self.lease_ttl(lease).is_some() => {
                Run { plan: vec![Item::Revoke { lease }], ..Run::default() }
            }
            None => {
                reply::bare(&mut effects.reply, Status::LeaseNotFound, self.store.revision);
                return Flow::Done;
            }
        };
        let mut visits = VISITS;
        while run.at < run.plan.len() {
            if self.revoke(lease, &mut run, &mut visits, effects) == Flow::Again {
                self.run = Some(run);
                return Flow::Again;
            }
            run.at += 1;
        }
        self.commit(&mut run, effects);
        Flow::Done
    }

    /// Checks an operation against the state and either does it or makes its plan.
    fn start(
        &mut self,
        at: &Stamp,
        op: &ArchivedOp,
        run: &mut Run,
        effects: &mut Effects,
    ) -> Result<(), Status> {
        op.check()?;
        match op {
            ArchivedOp::Put(put) => {
                self.room()?;
                self.may_put(put)?;
                self.put(put, run, effects);
            }
            ArchivedOp::Delete(_) => run.plan.push(Item::Delete),
            ArchivedOp::Txn(txn) => {
                let puts = |step: &ArchivedStep| matches!(step, ArchivedStep::Put(_));
                let writes = |node: &super::ops::ArchivedNode| {
                    node.then.iter().any(puts) || node.otherwise.iter().any(puts)
                };
                if txn.nodes.iter().any(writes) {
                    self.room()?;
                }
                let mut plan = Vec::new();
                self.choose(txn, 0, &mut plan)?;
                run.plan = plan;
            }
            ArchivedOp::Grant(grant) => {
                self.room()?;
                let granted = self.grant(grant.lease.to_native(), grant.ttl_s.to_native(), at.ticks)?;
                let start = reply::begin(&mut effects.reply);
                effects.reply.extend_from_slice(&granted.0.to_le_bytes());
                effects.reply.extend_from_slice(&granted.1.to_le_bytes());
                reply::finish(&mut effects.reply, start, Status::Ok, 0, self.store.revision);
            }
            ArchivedOp::Revoke { lease } => {
                let lease = lease.to_native();
                self.lease_ttl(lease).ok_or(Status::LeaseNotFound)?;
                run.plan.push(Item::Revoke { lease });
            }
            ArchivedOp::Compact { revision } => {
                self.compact(revision.to_native())?;
                reply::bare(&mut effects.reply, Status::Ok, self.store.revision);
            }
        }
        Ok(())
    }

    /// The history must not outgrow its budget.
    fn room(&self) -> Result<(), Status> {
        if self.store.history_bytes() >= self.budget { Err(Status::NoSpace) } else { Ok(()) }
    }

    fn may_put(&self, put: &ArchivedPut) -> Result<(), Status> {
        let lease = put.lease.to_native();
        if lease != 0 && self.lease_ttl(lease).is_none() {
            return Err(Status::LeaseNotFound);
        }
        if put.flags.to_native() & (flag::KEEP_VALUE | flag::KEEP_LEASE) != 0
            && self.store.at(&put.key, NOW).is_none()
        {
            return Err(Status::KeyNotFound);
        }
        Ok(())
    }

    /// Evaluates a node's compares against the state before the transaction and lists what it will do.
    fn choose(&self, txn: &ArchivedTxn, node: usize, plan: &mut Vec<Item>) -> Result<(), Status> {
        let branches = &txn.nodes[node];
        let mut succeeded = true;
        for compare in branches.compares.iter() {
            if !self.holds(compare)? {
                succeeded = false;
                break;
            }
        }
        plan.push(Item::Enter { succeeded });
        let branch = if succeeded { &branches.then } else { &branches.otherwise };
        for (at, step) in branch.iter().enumerate() {
            match step {
                ArchivedStep::Node(next) => self.choose(txn, next.to_native() as usize, plan)?,
                ArchivedStep::Put(put) => {
                    self.may_put(put)?;
                    plan.push(Item::Step { node, then: succeeded, at });
                }
                ArchivedStep::Range(range) => {
                    self.readable(range.revision.to_native())?;
                    plan.push(Item::Step { node, then: succeeded, at });
                }
                ArchivedStep::Delete(_) => plan.push(Item::Step { node, then: succeeded, at }),
            }
        }
        plan.push(Item::Leave);
        Ok(())
    }

    fn holds(&self, compare: &ArchivedCompare) -> Result<bool, Status> {
        let judge = |order: Ordering| match compare.must_be {
            ArchivedMust::Equal => order.is_eq(),
            ArchivedMust::Greater => order.is_gt(),
            ArchivedMust::Less => order.is_lt(),
            ArchivedMust::NotEqual => order.is_ne(),
        };
        let against = |version: Option<Version<'_>>| {
            let number = |actual: fn(&Version<'_>) -> u64, wanted: u64| {
                judge(version.as_ref().map_or(0, actual).cmp(&wanted))
            };
            match &compare.target {
                ArchivedTarget::Version(n) => number(|version| version.version(), n.to_native()),
                ArchivedTarget::Create(n) => number(|version| version.create(), n.to_native()),
                ArchivedTarget::Mod(n) => number(|version| version.modified(), n.to_native()),
                ArchivedTarget::Lease(n) => number(|version| version.lease(), n.to_native()),
                // A key that is not there has no value, not even an unequal one.
                ArchivedTarget::Value(value) => {
                    version.is_some_and(|version| judge(version.value().cmp(value.as_slice())))
                }
            }
        };
        let (mut any, mut all) = (false, true);
        let next = self.store.scan((&compare.key, &compare.end), NOW, &mut { VISITS }, |_, version| {
            any = true;
            all &= against(Some(version));
            all
        });
        if all && next.is_some() {
            return Err(Status::RangeTooLarge);
        }
        Ok(if any { all } else { against(None) })
    }

    /// Goes through the plan until it is done or the turn's share is used up.
    fn carry_on(
        &mut self,
        op: &ArchivedOp,
        run: &mut Run,
        visits: &mut usize,
        effects: &mut Effects,
    ) -> Flow {
        while let Some(item) = run.plan.get(run.at) {
            if *visits == 0 {
                return Flow::Again;
            }
            let flow = match (item, op) {
                (Item::Enter { succeeded }, _) => {
                    run.open.push((reply::begin(&mut effects.reply), *succeeded));
                    Flow::Done
                }
                (Item::Leave, _) => {
                    if let Some((start, succeeded)) = run.open.pop() {
                        let flags = u16::from(succeeded) * said::SUCCEEDED;
                        reply::finish(&mut effects.reply, start, Status::Ok, flags, self.now(run));
                    }
                    Flow::Done
                }
                (Item::Delete, ArchivedOp::Delete(delete)) => self.delete(delete, run, visits, effects),
                (Item::Revoke { lease }, _) => self.revoke(*lease, run, visits, effects),
                (Item::Step { node, then, at }, ArchivedOp::Txn(txn)) => {
                    let node = &txn.nodes[*node];
                    match &(if *then { &node.then } else { &node.otherwise })[*at] {
                        ArchivedStep::Put(put) => {
                            *visits = visits.saturating_sub(4);
                            self.put(put, run, effects);
                            Flow::Done
                        }
                        ArchivedStep::Delete(delete) => self.delete(delete, run, visits, effects),
                        ArchivedStep::Range(range) => self.range_step(range, run, visits, effects),
                        ArchivedStep::Node(_) => Flow::Done, // Its own items follow.
                    }
                }
                _ => unreachable!("a plan is made for its operation"),
            };
            if flow == Flow::Again {
                return Flow::Again;
            }
            run.at += 1;
        }
        Flow::Done
    }

    /// The revision as the command under way sees it.
    fn now(&self, run: &Run) -> u64 {
        self.store.revision + u64::from(run.sub > 0)
    }

    /// All of an operation is written: its revision becomes the store's.
    fn commit(&mut self, run: &mut Run, effects: &mut Effects) {
        if run.sub == 0 {
            return;
        }
        self.store.revision += 1;
        if let Some(start) = run.group.take() {
            let mut events = run.sub;
            if run.untold {
                effects.changes.truncate(start + 16);
                events = EVENTS_UNTOLD;
            }
            close_group(self.store.revision, start, events, &mut effects.changes);
        }
    }

    fn put(&mut self, put: &ArchivedPut, run: &mut Run, effects: &mut Effects) {
        let flags = put.flags.to_native();
        let key = put.key.as_slice();
        let revision = self.store.revision + 1;
        let mut lease = put.lease.to_native();
        let before = if flags & (flag::KEEP_VALUE | flag::KEEP_LEASE) == 0 {
            self.store.put(revision, key, &put.value, lease)
        } else {
            let kept = self.store.at(key, NOW).map(|old| (old.value().to_vec(), old.lease()));
            let (old_value, old_lease) = kept.unwrap_or_default();
            if flags & flag::KEEP_LEASE != 0 {
                lease = old_lease;
            }
            let value = if flags & flag::KEEP_VALUE != 0 { &old_value } else { put.value.as_slice() };
            self.store.put(revision, key, value, lease)
        };
        self.attach(key, before.map_or(0, |before| before.lease), lease);
        run.sub += 1;
        if effects.wanted {
            let start = reply::begin(&mut effects.reply);
            if flags & flag::BEFORE != 0 {
                self.emit_before(key, before, 0, &mut effects.reply);
            }
            reply::finish(&mut effects.reply, start, Status::Ok, 0, revision);
        }
        if self.tells(run, effects) {
            self.store.written().emit(key, true, 0, &mut effects.changes);
            if self.watched.get() == Detail::Before {
                self.emit_before(key, before, BEFORE, &mut effects.changes);
            }
        }
    }

    /// What a key was before the last write to it, if it was.
    fn emit_before(&self, key: &[u8], before: Option<Before>, flags: u16, out: &mut Vec<u8>) {
        if let Some(old) = before.and_then(|before| self.store.former(before)) {
            old.emit(key, true, flags, out);
        }
    }

    /// Whether an event should be appended to the changes; begins their group.
    fn tells(&self, run: &mut Run, effects: &mut Effects) -> bool {
        if self.watched.get() == Detail::Nothing || run.untold {
            return false;
        }
        let start = *run.group.get_or_insert_with(|| {
            let start = effects.changes.len();
            effects.changes.extend_from_slice(&[0; 16]);
            start
        });
        run.untold = effects.changes.len() - start > GROUP_BYTES;
        !run.untold
    }

    /// Deletes one key that exists.
    fn delete_one(&mut self, key: &[u8], keep: bool, run: &mut Run, effects: &mut Effects) {
        let revision = self.store.revision + 1;
        let Some(before) = self.store.delete(revision, key) else { return };
        self.attach(key, before.lease, 0);
        run.sub += 1;
        if let Some(sweep) = &mut run.sweep {
            sweep.deleted += 1;
            if keep && effects.wanted {
                sweep.partial |= effects.reply.len() - sweep.start >= ANSWER_BYTES;
                if !sweep.partial {
                    self.emit_before(key, Some(before), 0, &mut effects.reply);
                }
            }
        }
        if self.tells(run, effects) {
            emit_deletion(key, revision, &mut effects.changes);
            if self.watched.get() == Detail::Before {
                self.emit_before(key, Some(before), BEFORE, &mut effects.changes);
            }
        }
    }

    fn begin_sweep(run: &mut Run, effects: &mut Effects) {
        if run.sweep.is_none() {
            let start = reply::begin(&mut effects.reply);
            effects.reply.extend_from_slice(&[0; 8]);
            run.sweep = Some(Sweep { start, deleted: 0, partial: false, gather: None, next: None });
        }
    }

    fn end_sweep(&mut self, run: &mut Run, effects: &mut Effects) {
        if let Some(sweep) = run.sweep.take() {
            let body = sweep.start + reply::HEAD;
            effects.reply[body..body + 8].copy_from_slice(&sweep.deleted.to_le_bytes());
            let flags = u16::from(sweep.partial) * said::PARTIAL;
            reply::finish(&mut effects.reply, sweep.start, Status::Ok, flags, self.now(run));
        }
    }

    fn delete(
        &mut self,
        delete: &ArchivedDelete,
        run: &mut Run,
        visits: &mut usize,
        effects: &mut Effects,
    ) -> Flow {
        Kv::begin_sweep(run, effects);
        let keep = delete.flags.to_native() & flag::BEFORE != 0;
        let from = run.sweep.as_mut().and_then(|sweep| sweep.next.take());
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut full = None;
        let range = (from.as_deref().unwrap_or(&delete.key), delete.end.as_slice());
        let next = self.store.scan(range, NOW, visits, |key, _| {
            if keys.len() == SLICE_DELETES {
                full = Some(key.to_vec());
                return false;
            }
            keys.push(key.to_vec());
            true
        });
        for key in &keys {
            self.delete_one(key, keep, run, effects);
        }
        let next = full.or(next);
        if next.is_some() {
            if let Some(sweep) = &mut run.sweep {
                sweep.next = next;
            }
            *visits = 0;
            return Flow::Again;
        }
        *visits = visits.saturating_sub(keys.len());
        self.end_sweep(run, effects);
        Flow::Done
    }

    fn revoke(&mut self, lease: u64, run: &mut Run, visits: &mut usize, effects: &mut Effects) -> Flow {
        Kv::begin_sweep(run, effects);
        let start = lease.to_be_bytes();
        let mut keys = Vec::new();
        // Deleting detaches: those that are left come first the next time.
        for (stored, _) in self.store.tables[ATTACHED].ascend(Bound::Included(&start)) {
            if !stored.starts_with(&start) || keys.len() == SLICE_DELETES {
                break;
            }
            keys.push(stored.to_vec());
        }
        for key in &keys {
            self.delete_one(&key[8..], false, run, effects);
        }
        if keys.len() == SLICE_DELETES {
            *visits = 0;
            return Flow::Again;
        }
        self.end_lease(lease);
        self.end_sweep(run, effects);
        Flow::Done
    }

    fn range_step(
        &mut self,
        range: &super::ops::ArchivedRange,
        run: &mut Run,
        visits: &mut usize,
        effects: &mut Effects,
    ) -> Flow {
        let at = match range.revision.to_native() {
            0 => NOW,
            revision => revision,
        };
        let mut sweep = run.sweep.take().unwrap_or_else(|| {
            let start = effects.reply.len();
            let gather = Some(Gather::begin(&mut effects.reply));
            Sweep { start, deleted: 0, partial: false, gather, next: None }
        });
        let from = sweep.next.take();
        let Some(gather) = &mut sweep.gather else { unreachable!("a range's sweep gathers") };
        let (next, full) = gather.slice(&self.store, range, from.as_deref(), at, visits, &mut effects.reply);
        if next.is_some() && !full {
            sweep.next = next;
            run.sweep = Some(sweep);
            return Flow::Again;
        }
        if let Some(gather) = sweep.gather {
            gather.finish(range, next, self.now(run), &mut effects.reply);
        }
        Flow::Done
    }
}

/// Writes the head of a group of changes, whose events follow it up to the end of `out`.
pub(super) fn close_group(revision: u64, start: usize, events: u32, out: &mut [u8]) {
    let length = (out.len() - start - 16) as u32;
    let head = &mut out[start..start + 16];
    head[..8].copy_from_slice(&revision.to_le_bytes());
    head[8..12].copy_from_slice(&events.to_le_bytes());
    head[12..].copy_from_slice(&length.to_le_bytes());
}
