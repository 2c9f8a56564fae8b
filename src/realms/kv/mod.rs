//! Ordered keys with revisions, transactions, leases and a history: etcd's semantics, for two doors.
//!
//! Every changing transaction adds one to the revision. All versions of a key are kept until compaction (see
//! `store`); a read at a revision sees the newest version not above it. What a client can ask, and every layout, is in `ops`.

mod lease;
pub mod ops;
mod peek;
mod read;
mod records;
mod store;
#[cfg(test)]
mod tests;
mod write;

use std::cell::Cell;
use std::ops::Bound;

use super::reply::{self, Status};
use super::{Broken, Effects, Flow, Realm, Stamp};
use crate::base::Nanos;
use crate::state::table::KEYS_AHEAD;
use crate::state::{Command, Table, Timers, Trail};
use store::{KEYS, LEASES, META, Store};

/// Records that one turn may visit.
pub const VISITS: usize = 1_000;
/// Keys that one turn may delete; each costs a look-up and two writes.
const SLICE_DELETES: usize = 250;
/// Changes that one `SLICE` command frees.
const SLICE_FREES: usize = 250;
/// Slices under way at a time: enough to keep freeing while one of them is replicated.
const SLICES: u32 = 4;
/// The history's budget until a command says otherwise, in bytes.
pub const BUDGET_DEFAULT: u64 = 512 << 20;

pub struct Kv {
    store: Store,
    timers: Timers,
    /// Bytes that the history may have.
    budget: u64,
    /// Something that was compacted is not freed yet.
    freeing: bool,
    /// Leases that the realm has named.
    granted: u64,
    run: Option<write::Run>,
    /// The latest cluster time heard of: how long leases have left is told by it.
    heard_of: Nanos,
    /// What watchers of this node have asked for so far. They ask for history first, whatever they want, so
    /// that changes are told from before their answer on; until somebody does, nobody makes any.
    watched: Cell<Detail>,
    leader: Leader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Nothing,
    Changes,
    /// Changes with what was there before.
    Before,
}

/// What only a leader looks at.
#[derive(Default)]
struct Leader {
    /// Whether it proposes compactions when the budget runs out.
    compacts: bool,
    /// The compaction that it has proposed.
    compaction: u64,
    /// Slices proposed and not applied yet.
    slices: u32,
}

impl Default for Kv {
    fn default() -> Kv {
        Kv::new()
    }
}

impl Kv {
    pub fn new() -> Kv {
        Kv {
            store: Store::new(),
            timers: Timers::default(),
            budget: BUDGET_DEFAULT,
            freeing: false,
            granted: 0,
            run: None,
            heard_of: Nanos(0),
            watched: Cell::new(Detail::Nothing),
            leader: Leader { compacts: true, ..Leader::default() },
        }
    }

    /// Whether this node, when it leads, compacts on its own as the budget runs out. Not replicated.
    pub fn compact_by_itself(&mut self, yes: bool) {
        self.leader.compacts = yes;
    }

    pub fn compacts_by_itself(&self) -> bool {
        self.leader.compacts
    }

    pub fn revision(&self) -> u64 {
        self.store.revision
    }

    pub fn compacted(&self) -> u64 {
        self.store.compacted
    }

    /// Bytes that compaction could free, and how many there may be.
    pub fn history_bytes(&self) -> (u64, u64) {
        (self.store.history_bytes(), self.budget)
    }

    fn look_ahead<'a>(&self, all: &[&'a [u8]], key: impl Fn(&'a [u8]) -> Option<&'a [u8]>) {
        if self.store.tables[KEYS].is_far() {
            let mut keys = [&[][..]; KEYS_AHEAD];
            keys.iter_mut().zip(all).for_each(|(to, bytes)| *to = key(bytes).unwrap_or_default());
            self.store.tables[KEYS].foresee(&keys[..all.len().min(KEYS_AHEAD)]);
        }
    }

    fn compact(&mut self, revision: u64) -> Result<(), Status> {
        if revision <= self.store.compacted {
            return Err(Status::Compacted);
        }
        if revision > self.store.revision {
            return Err(Status::FutureRevision);
        }
        self.store.compacted = revision;
        self.freeing = true;
        Ok(())
    }

    fn free(&mut self, changes: usize) {
        self.freeing = self.freeing && !self.store.free(changes);
    }

    /// Above three quarters of the budget a leader asks for half of the revisions back.
    fn wants_compaction(&self) -> Option<u64> {
        if !self.leader.compacts || self.freeing || self.store.history_bytes() < self.budget / 4 * 3 {
            return None;
        }
        let kept = self.store.revision - self.store.compacted;
        let revision = self.store.compacted + kept.div_ceil(2);
        (revision > self.store.compacted && self.leader.compaction <= self.store.compacted)
            .then_some(revision)
    }
}

impl Realm for Kv {
    fn knows(&self, kind: u8) -> bool {
        (ops::WRITE..=ops::BUDGET).contains(&kind)
    }

    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> Flow {
        self.heard_of = self.heard_of.max(at.ticks);
        let number = command.payload.try_into().map(u64::from_le_bytes);
        let status = match (command.envelope.kind, number) {
            (ops::WRITE, _) => return self.write(at, command.payload, effects),
            (ops::EXPIRE, Ok(lease)) => return self.expire(lease, effects),
            (ops::SLICE, _) => {
                self.free(SLICE_FREES);
                self.leader.slices = self.leader.slices.saturating_sub(1);
                Status::Ok
            }
            (ops::BUDGET, Ok(bytes)) => {
                self.budget = bytes;
                Status::Ok
            }
            _ => Status::Malformed,
        };
        reply::bare(&mut effects.reply, status, self.store.revision);
        Flow::Done
    }

    fn foresee(&mut self, kind: u8, payloads: &[&[u8]]) {
        if kind == ops::WRITE {
            self.look_ahead(payloads, peek::put_key);
        }
    }

    fn foresee_reads(&mut self, queries: &[&[u8]]) {
        self.look_ahead(queries, peek::range_key);
    }

    fn read(&self, query: &[u8], out: &mut Vec<u8>) {
        self.answer(query, out);
    }

    fn tables(&self) -> &[Table] {
        &self.store.tables
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.store.tables
    }

    fn trail(&self) -> Option<&Trail> {
        Some(&self.store.trail)
    }

    fn trail_mut(&mut self) -> Option<&mut Trail> {
        Some(&mut self.store.trail)
    }

    /// `m`: revision, compacted, live keys, their bytes, budget, granted, freeing (0 or 1), changes freed, changes.
    fn settle(&mut self) {
        assert!(self.run.is_none(), "a command is under way: its batch is not over");
        let store = &mut self.store;
        let words = [
            store.revision,
            store.compacted,
            store.live,
            store.live_bytes,
            self.budget,
            self.granted,
            u64::from(self.freeing),
            store.freed,
            store.trail.end(),
        ];
        let mut record = [0; 72];
        for (to, word) in record.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        store.tables[META].put(b"m", &record);
    }

    fn rebuild(&mut self) -> Result<(), Broken> {
        let broken = |what: &str| Broken { realm: "kv", what: what.into() };
        let (tables, trail) = (std::mem::take(&mut self.store.tables), std::mem::take(&mut self.store.trail));
        let (compacts, watched) = (self.leader.compacts, self.watched.get());
        *self = Kv::new();
        self.leader.compacts = compacts;
        self.watched.set(watched);
        (self.store.tables, self.store.trail) = (tables, trail);
        let Some(meta) = self.store.tables[META].get(b"m") else {
            let empty = self.store.tables.iter().all(Table::is_empty) && self.store.trail.is_empty();
            return if empty { Ok(()) } else { Err(broken("its counters are missing")) };
        };
        let (words, []) = meta.as_chunks::<8>() else { return Err(broken("its counters' size")) };
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().ok_or_else(|| broken("its counters' size"));
        self.store.revision = next()?;
        self.store.compacted = next()?;
        self.store.live = next()?;
        self.store.live_bytes = next()?;
        self.budget = next()?;
        self.granted = next()?;
        self.freeing = next()? == 1;
        self.store.freed = next()?;
        let end = next()?;
        if self.store.trail.is_empty() {
            self.store.trail.start_at(end);
        }
        let trail = &self.store.trail;
        if trail.end() != end || !(trail.first()..=end).contains(&self.store.freed) {
            return Err(broken("the numbers of its changes"));
        }
        self.store.past_bytes = trail.bytes_from(self.store.freed);
        if self.store.revision < self.store.compacted {
            return Err(broken("its revision is below the compacted one"));
        }
        let mut id = Vec::new();
        for (key, value) in self.store.tables[LEASES].ascend(Bound::Unbounded) {
            key.copy_to(&mut id);
            let lease = id.as_slice().try_into().map(u64::from_be_bytes);
            let ttl = value.try_into().map(u64::from_le_bytes);
            let (Ok(lease), Ok(ttl)) = (lease, ttl) else { return Err(broken("a lease's record")) };
            self.timers.set(lease, lease::span(ttl), Nanos(0));
        }
        Ok(())
    }

    fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.heard_of = self.heard_of.max(now);
        self.timers.touch(id, now)
    }

    fn lead(&mut self, now: Nanos) {
        self.heard_of = now;
        self.timers.lead(now);
        self.leader = Leader { compacts: self.leader.compacts, ..Leader::default() };
    }

    fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>) {
        self.heard_of = self.heard_of.max(now);
        let room = limit.saturating_sub(out.len());
        self.timers.due(now, room, |lease| out.push((ops::EXPIRE, lease.to_le_bytes().to_vec())));
        if let Some(revision) = self.wants_compaction()
            && out.len() < limit
        {
            self.leader.compaction = revision;
            out.push((ops::WRITE, ops::Op::Compact { revision }.encode()));
        }
        while self.freeing && self.leader.slices < SLICES && out.len() < limit {
            self.leader.slices += 1;
            out.push((ops::SLICE, Vec::new()));
        }
    }

    fn next_due(&self) -> Nanos {
        let frees = self.freeing && self.leader.slices < SLICES;
        if frees || self.wants_compaction().is_some() { Nanos(0) } else { self.timers.next_due() }
    }
}
