//! Sessions: who they are is replicated, when they were last heard from is the leader's soft knowledge.

use std::ops::Bound;

use crate::base::{Nanos, NodeId, Origin};
use crate::state::timers::ById;
use crate::state::{Table, Timers};

/// What is replicated of a session: timeout u32, owner u64, cluster time of its last handshake u64, little-endian,
/// under its id u64, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub timeout_ms: u32,
    /// The edge that may speak for it.
    pub owner: Origin,
    /// Cluster time of its last handshake: it does not run out within its timeout after that.
    pub since: Nanos,
}

/// Bytes of that record.
const RECORD: usize = 20;

/// All sessions in a form that a command finds quickly; the table of the realm holds the same.
#[derive(Default)]
pub struct Sessions {
    live: ById<Session>,
    timers: Timers,
    /// The id given last, 0 before the first.
    pub last_id: u64,
}

/// No session's id has this top byte: the reference marks TTL nodes with it.
const TTL_MARK: u8 = 0xff;

impl Sessions {
    /// What a table holds; its values are the realm's own. `None`: one of them cannot be.
    pub fn of(table: &Table) -> Option<Sessions> {
        let mut sessions = Sessions::default();
        for (key, value) in table.ascend(Bound::Unbounded) {
            let value: [u8; RECORD] = value.to_vec().try_into().ok()?;
            let u64_at = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
            let (timeout, _) = value.split_first_chunk::<4>()?;
            let session = Session {
                timeout_ms: u32::from_le_bytes(*timeout),
                owner: Origin(u64_at(4)),
                since: Nanos(u64_at(12)),
            };
            let id = u64::from_be_bytes(key.to_vec().try_into().ok()?);
            sessions.live.insert(id, session);
            sessions.timers.set(id, session.span(), Nanos(0));
        }
        Some(sessions)
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub fn find(&self, id: u64) -> Option<Session> {
        self.live.get(&id).copied()
    }

    /// An id for a new session of this owner. The lower seven bytes count on from the wall clock at the first
    /// one, so that ids of a cluster founded anew do not meet clients of the old one.
    pub fn next_id(&mut self, owner: Origin, wall_ms: u64) -> u64 {
        const LOW: u64 = (1 << 56) - 1;
        let count = if self.last_id == 0 { (wall_ms << 16) & LOW } else { (self.last_id + 1) & LOW };
        // The count alone tells sessions apart; the top byte only says where one was born.
        let NodeId(node) = owner.node();
        let node = if node == TTL_MARK { 0 } else { node };
        self.last_id = u64::from(node) << 56 | count.max(1);
        self.last_id
    }

    /// A new session, or a new owner or timeout for an old one: its time starts in full.
    pub fn put(&mut self, table: &mut Table, id: u64, session: Session) {
        let mut record = [0; RECORD];
        record[..4].copy_from_slice(&session.timeout_ms.to_le_bytes());
        record[4..12].copy_from_slice(&session.owner.0.to_le_bytes());
        record[12..].copy_from_slice(&session.since.0.to_le_bytes());
        table.put(&id.to_be_bytes(), &record);
        self.live.insert(id, session);
        self.timers.set(id, session.span(), session.since);
    }

    /// False: it was gone already.
    pub fn close(&mut self, table: &mut Table, id: u64) -> bool {
        self.timers.remove(id);
        table.remove(&id.to_be_bytes());
        self.live.remove(&id).is_some()
    }

    pub fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.timers.touch(id, now)
    }

    pub fn lead(&mut self, now: Nanos) {
        self.timers.lead(now);
    }

    pub fn due(&mut self, now: Nanos, limit: usize, expire: impl FnMut(u64)) {
        self.timers.due(now, limit, expire);
    }

    /// As its leader sees it.
    pub fn end_of(&self, id: u64) -> Option<Nanos> {
        self.timers.left(id, Nanos(0))
    }

    pub fn next_due(&self) -> Nanos {
        self.timers.next_due()
    }
}

impl Session {
    /// It may have run out by this cluster time, for all that the log knows.
    pub fn may_end(&self, now: Nanos) -> bool {
        now >= self.since.plus(self.span())
    }

    fn span(&self) -> Nanos {
        Nanos::from_millis(self.timeout_ms.into())
    }
}

/// Ids in a table of sessions, in order.
pub fn ids(table: &Table) -> impl Iterator<Item = u64> {
    table.ascend(Bound::Unbounded).map(|(key, _)| {
        let key: [u8; 8] = key.to_vec().try_into().expect("ids have eight bytes");
        u64::from_be_bytes(key)
    })
}
