//! Sessions: who they are is replicated, when they were last heard from is the leader's soft knowledge.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Bound;

use super::ops::kind;
use crate::base::{Nanos, NodeId, Origin};
use crate::state::Table;

/// Deadlines are looked at in steps of this: what expires late is this late at most.
const STEP_MS: u64 = 20;

/// Session ids spread well enough with a multiplication; it is the same on every machine.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("sessions are numbers");
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (id ^ (id >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

pub type ById<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// What is replicated of a session: 16 bytes in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub timeout_ms: u32,
    /// The edge that may speak for it.
    pub owner: Origin,
}

struct Live {
    session: Session,
    /// Leader only: never before this.
    deadline: Nanos,
    /// Leader only: its end is in the log or on the way there.
    expiring: bool,
    /// Leader only: the step of the wheel that counts for it; entries elsewhere are left over.
    step: u64,
}

/// Not in the wheel yet: it waits in `fresh` for the next look at the clock.
const FRESH: u64 = u64::MAX;

/// Neither there nor waiting, as on a follower.
const NOWHERE: u64 = u64::MAX - 1;

impl Live {
    fn new(session: Session) -> Live {
        Live { session, deadline: Nanos::MAX, expiring: false, step: NOWHERE }
    }
}

#[derive(Default)]
pub struct Sessions {
    /// Id (u64, big-endian) to timeout u32 and owner u64.
    table: Table,
    /// The same, and the leader's timers.
    live: ById<Live>,
    last_id: u64,
    leading: bool,
    /// Leader only: sessions to be looked at, by time in steps.
    wheel: BTreeMap<u64, Vec<u64>>,
    /// Leader only: opened or attached since the clock was last seen.
    fresh: Vec<u64>,
}

/// Ids of sessions never have this top byte: the reference marks TTL nodes with it.
const TTL_MARK: u8 = 0xff;

impl Sessions {
    pub fn load(table: Table, last_id: u64) -> Sessions {
        let mut sessions = Sessions { last_id, ..Sessions::default() };
        for (key, value) in table.ascend(Bound::Unbounded) {
            let id = u64::from_be_bytes(key.to_vec().try_into().expect("ids have eight bytes"));
            let session = Session {
                timeout_ms: u32::from_le_bytes(value[..4].try_into().unwrap()),
                owner: Origin(u64::from_le_bytes(value[4..12].try_into().unwrap())),
            };
            sessions.live.insert(id, Live::new(session));
        }
        sessions.table = table;
        sessions
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub fn get(&self, id: u64) -> Option<Session> {
        self.live.get(&id).map(|live| live.session)
    }

    /// All, by id.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.table
            .ascend(Bound::Unbounded)
            .map(|(key, _)| u64::from_be_bytes(key.to_vec().try_into().expect("ids have eight bytes")))
    }

    /// A new session of this owner. The lower seven bytes count on from the wall clock at the first one, so
    /// that ids of a cluster founded anew do not meet clients of the old one.
    pub fn open(&mut self, timeout_ms: u32, owner: Origin, wall_ms: u64) -> u64 {
        const LOW: u64 = (1 << 56) - 1;
        let count = if self.last_id == 0 { (wall_ms << 16) & LOW } else { (self.last_id + 1) & LOW };
        // The count alone tells sessions apart; the top byte only says where one was born.
        let NodeId(node) = owner.node();
        let node = if node == TTL_MARK { 0 } else { node };
        let id = u64::from(node) << 56 | count.max(1);
        self.last_id = id;
        self.insert(id, Session { timeout_ms, owner });
        id
    }

    /// Adds a session by its own id: an imported one.
    pub fn insert(&mut self, id: u64, session: Session) {
        self.put(id, session);
        self.live.insert(id, Live::new(session));
        self.greet(id);
    }

    /// Another edge, or the same one again, speaks for it, perhaps with another timeout. False: it is gone.
    pub fn attach(&mut self, id: u64, session: Session) -> bool {
        let Some(live) = self.live.get_mut(&id) else { return false };
        live.session = session;
        self.put(id, session);
        self.greet(id);
        true
    }

    /// Its time starts when somebody next looks at the clock.
    fn greet(&mut self, id: u64) {
        let live = self.live.get_mut(&id).expect("just written");
        if !self.leading || live.step == FRESH {
            return;
        }
        live.step = FRESH;
        self.fresh.push(id);
        // A node that led once and is not asked any more must not gather the ids of all times.
        if self.fresh.len() > 2 * self.live.len() + 1024 {
            self.fresh.retain(|id| self.live.contains_key(id));
        }
    }

    fn put(&mut self, id: u64, session: Session) {
        let mut record = [0; 12];
        record[..4].copy_from_slice(&session.timeout_ms.to_le_bytes());
        record[4..].copy_from_slice(&session.owner.0.to_le_bytes());
        self.table.put(&id.to_be_bytes(), &record);
    }

    /// False: it was gone already.
    pub fn close(&mut self, id: u64) -> bool {
        self.live.remove(&id);
        self.table.remove(&id.to_be_bytes())
    }

    pub fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.welcome(now);
        match self.live.get_mut(&id) {
            Some(live) if !live.expiring => {
                live.deadline = now.plus(timeout(live.session));
                true
            }
            _ => false,
        }
    }

    pub fn lead(&mut self, now: Nanos) {
        self.leading = true;
        self.wheel.clear();
        self.fresh.clear();
        let ids: Vec<u64> = self.ids().collect();
        for id in ids {
            self.live.get_mut(&id).expect("the table and the map hold the same").expiring = false;
            self.start(id, now);
        }
    }

    /// Starts its timer in full.
    fn start(&mut self, id: u64, now: Nanos) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.deadline = now.plus(timeout(live.session));
        live.step = step_of(live.deadline);
        self.wheel.entry(live.step).or_default().push(id);
    }

    fn welcome(&mut self, now: Nanos) {
        while let Some(id) = self.fresh.pop() {
            self.start(id, now);
        }
    }

    pub fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>) {
        self.welcome(now);
        while out.len() < limit
            && let Some(entry) = self.wheel.first_entry()
            && start_of(*entry.key()) <= now
        {
            let (step, mut ids) = entry.remove_entry();
            while out.len() < limit
                && let Some(id) = ids.pop()
            {
                let Some(live) = self.live.get_mut(&id) else { continue };
                if live.expiring || live.step != step {
                    continue;
                }
                if live.deadline <= now {
                    live.expiring = true;
                    out.push((kind::EXPIRE_SESSION, id.to_be_bytes().to_vec()));
                } else {
                    // It was heard from since.
                    live.step = step_of(live.deadline);
                    self.wheel.entry(live.step).or_default().push(id);
                }
            }
            if !ids.is_empty() {
                self.wheel.insert(step, ids);
            }
        }
    }

    pub fn next_due(&self) -> Nanos {
        if !self.fresh.is_empty() {
            return Nanos(0);
        }
        self.wheel.keys().next().map_or(Nanos::MAX, |&step| start_of(step))
    }
}

fn timeout(session: Session) -> Nanos {
    Nanos::from_millis(session.timeout_ms.into())
}

fn start_of(step: u64) -> Nanos {
    Nanos(step.saturating_mul(STEP_MS * 1_000_000))
}

/// The first step at or after a time.
fn step_of(time: Nanos) -> u64 {
    time.0.div_ceil(STEP_MS * 1_000_000)
}
