//! The core realm: what keeps a command from being executed twice, for all other realms.
//!
//! - *Origins*: every edge lane numbers its commands without a gap. One counter per lane drops what comes again
//!   (a batch forwarded twice over a change of leaders) and what comes too early (something before it got lost:
//!   the edge sends all of it again). A newer life of a node fences its older ones.
//! - *Sessions* of native clients: the results of the last W requests, W being how many a client may have
//!   outstanding. A request that comes again gets its stored result.
//!
//! Counters and results are kept in memory and mirrored into the table before anybody looks at it: a batch
//! touches the same few of them many times over.

use std::ops::Bound;

use super::reply::{self, Status};
use super::{Broken, Effects, Flow, Realm, Stamp};
use crate::base::{Life, Nanos, NodeId, Origin};
use crate::state::timers::ById;
use crate::state::{Command, Table, Timers};

/// Kinds of commands. Clients may express `OPEN` and `CLOSE` only.
pub const CONFIG: u8 = 1;
pub const SNAPSHOT: u8 = 2;
/// Payload: node u8, life u64. Commands of its earlier lives count for nothing from here on.
pub const FENCE: u8 = 3;
/// Payload: `Open`. Reply body: session u64, window u16, zero u16, ttl_ms u32 as granted.
pub const OPEN: u8 = 4;
/// Payload: session u64.
pub const CLOSE: u8 = 5;
/// As `CLOSE`, but by the leader's clock.
pub const EXPIRE: u8 = 6;

/// Requests that a session may have outstanding.
pub const WINDOW_MAX: u16 = 1024;
/// A longer result is not stored.
pub const RESULT_MAX: usize = 16 * 1024;
/// Bytes of all stored results together; beyond it, results are not stored.
pub const RESULTS_MAX: usize = 64 << 20;
pub const SESSIONS_MAX: usize = 100_000;
/// Shorter would expire sessions over a change of leaders.
pub const TTL_MS_MIN: u32 = 2_000;
pub const TTL_MS_MAX: u32 = 24 * 3_600_000;
/// Sessions whose results wait to be mirrored, at the end of a batch. Mirroring all of them takes 0.1 ms.
const DIRTY_MAX: usize = 256;
/// Stands for the length of a result that was not stored.
const LOST: u32 = u32::MAX;

mod tag {
    pub const CONFIG: u8 = b'c';
    pub const FENCE: u8 = b'f';
    pub const NEXT: u8 = b'n';
    pub const ORIGIN: u8 = b'o';
    pub const SESSION: u8 = b's';
}

/// What a client asks of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub window: u16,
    pub ttl_ms: u32,
}

/// Whether a command may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Fresh,
    /// Applied before: its outcome went out then.
    Repeated,
    /// One before it is missing.
    Early,
    /// From a life of its node that is over.
    Fenced,
}

/// What a session knows of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    New,
    Answered(&'a [u8]),
    Refused(Status),
}

/// Commands that were dropped, for the metrics; each node counts its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    pub repeated: u64,
    pub early: u64,
    pub fenced: u64,
    /// Requests answered from a stored result.
    pub answered: u64,
}

pub struct Core {
    /// `o` origin u64 BE: counter u64. `f` node u8: life u64. `s` session u64 BE: see `Session::encode`.
    /// `n`: next session u64. `c`: the configuration's payload.
    tables: [Table; 1],
    origins: Vec<(Origin, u64)>,
    /// Where the last command's origin stands: the next one's is most likely the same.
    latest: usize,
    origins_dirty: bool,
    sessions: ById<Session>,
    dirty: Vec<u64>,
    /// Bytes of all stored results.
    stored: usize,
    timers: Timers,
    pub drops: Drops,
}

#[derive(Default)]
struct Session {
    window: u16,
    ttl_ms: u32,
    /// The highest request seen.
    high: u64,
    /// Request `r` in slot `r % window`.
    slots: Vec<Slot>,
    dirty: bool,
}

#[derive(Clone, Default)]
struct Slot {
    /// 0: empty.
    request: u64,
    result: Vec<u8>,
    lost: bool,
}

impl Open {
    pub fn encode(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[0..2].copy_from_slice(&self.window.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.ttl_ms.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Open> {
        let bytes: &[u8; 8] = bytes.try_into().ok()?;
        let window = u16::from_le_bytes([bytes[0], bytes[1]]);
        Some(Open { window, ttl_ms: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) })
    }
}

fn tagged(tag: u8, id: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn word(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

impl Session {
    /// `window u16 | zero u16 | ttl_ms u32 | high u64`, then per kept request in slot order
    /// `request u64 | length u32 | result`.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u32::from(self.window).to_le_bytes());
        out.extend_from_slice(&self.ttl_ms.to_le_bytes());
        out.extend_from_slice(&self.high.to_le_bytes());
        for slot in self.slots.iter().filter(|slot| slot.request > 0) {
            out.extend_from_slice(&slot.request.to_le_bytes());
            let len = if slot.lost { LOST } else { slot.result.len() as u32 };
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&slot.result);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Session> {
        let (head, mut rest) = bytes.split_first_chunk::<16>()?;
        let window = u16::from_le_bytes([head[0], head[1]]);
        let ttl_ms = u32::from_le_bytes(head[4..8].try_into().ok()?);
        let high = word(&head[8..16])?;
        let mut session =
            Session { window: (window > 0).then_some(window)?, ttl_ms, high, ..Session::default() };
        while let Some((head, tail)) = rest.split_first_chunk::<12>() {
            let request = word(&head[..8])?;
            let len = u32::from_le_bytes(head[8..12].try_into().ok()?);
            let (result, tail) = tail.split_at_checked(if len == LOST { 0 } else { len as usize })?;
            *session.slot_mut(request) = Slot { request, result: result.to_vec(), lost: len == LOST };
            rest = tail;
        }
        rest.is_empty().then_some(session)
    }

    fn slot_mut(&mut self, request: u64) -> &mut Slot {
        let at = (request % u64::from(self.window)) as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        &mut self.slots[at]
    }

    fn span(&self) -> Nanos {
        Nanos::from_millis(u64::from(self.ttl_ms))
    }
}

impl Default for Core {
    fn default() -> Core {
        Core::new()
    }
}

impl Core {
    pub fn new() -> Core {
        Core {
            tables: [Table::new()],
            origins: Vec::new(),
            latest: 0,
            origins_dirty: false,
            sessions: ById::default(),
            dirty: Vec::new(),
            stored: 0,
            timers: Timers::default(),
            drops: Drops::default(),
        }
    }

    /// Whether a command with this stamp is the next of its origin. Commands of the leader itself have none.
    #[inline]
    pub fn admit(&mut self, origin: Origin, sequence: u64) -> Admission {
        if origin == Origin::default() {
            return Admission::Fresh;
        }
        if self.origins.get(self.latest).is_none_or(|(known, _)| *known != origin) {
            match self.origins.iter().position(|(known, _)| *known == origin) {
                Some(at) => self.latest = at,
                None => return self.admit_first(origin, sequence),
            }
        }
        let counter = &mut self.origins[self.latest].1;
        if sequence <= *counter {
            self.drops.repeated += 1;
            return Admission::Repeated;
        }
        if sequence > *counter + 1 {
            self.drops.early += 1;
            return Admission::Early;
        }
        *counter = sequence;
        self.origins_dirty = true;
        Admission::Fresh
    }

    fn admit_first(&mut self, origin: Origin, sequence: u64) -> Admission {
        if origin.life() < self.fence(origin.node()) {
            self.drops.fenced += 1;
            return Admission::Fenced;
        }
        if sequence != 1 {
            self.drops.early += 1;
            return Admission::Early;
        }
        self.raise_fence(origin.node(), origin.life());
        self.latest = self.origins.len();
        self.origins.push((origin, 1));
        self.origins_dirty = true;
        Admission::Fresh
    }

    fn fence(&self, node: NodeId) -> Life {
        Life(self.tables[0].get(&[tag::FENCE, node.0]).and_then(word).unwrap_or(0))
    }

    fn raise_fence(&mut self, node: NodeId, life: Life) {
        if life <= self.fence(node) {
            return;
        }
        self.tables[0].put(&[tag::FENCE, node.0], &life.0.to_le_bytes());
        let table = &mut self.tables[0];
        self.origins.retain(|(origin, _)| {
            let stays = origin.node() != node || origin.life() >= life;
            if !stays {
                table.remove(&tagged(tag::ORIGIN, origin.0));
            }
            stays
        });
        self.latest = 0;
    }

    /// The newest life of any node that has written. A new cluster over this state must begin above it.
    pub fn newest_life(&self) -> Life {
        (0..=u8::MAX).map(|node| self.fence(NodeId(node))).max().unwrap_or_default()
    }

    /// The last sequence applied of an origin; 0 for none.
    pub fn applied_of(&self, origin: Origin) -> u64 {
        self.origins.iter().find(|(known, _)| *known == origin).map_or(0, |(_, counter)| *counter)
    }

    /// What to do with a request of a session.
    pub fn request(&mut self, session: u64, request: u64, now: Nanos) -> Request<'_> {
        let Some(known) = self.sessions.get(&session) else { return Request::Refused(Status::SessionGone) };
        self.timers.touch(session, now);
        if let Some(slot) = known.slots.get((request % u64::from(known.window)) as usize) {
            if slot.request == request {
                self.drops.answered += 1;
                return if slot.lost {
                    Request::Refused(Status::ResultLost)
                } else {
                    Request::Answered(&slot.result)
                };
            }
            if slot.request > request {
                return Request::Refused(Status::Stale);
            }
        }
        if request.saturating_add(u64::from(known.window)) <= known.high {
            return Request::Refused(Status::Stale);
        }
        Request::New
    }

    /// Keeps the result of a request that was just executed.
    pub fn answer(&mut self, session: u64, request: u64, result: &[u8]) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.high = known.high.max(request);
        let slot = known.slot_mut(request);
        self.stored -= slot.result.len();
        slot.request = request;
        slot.result.clear();
        slot.lost = result.len() > RESULT_MAX || self.stored + result.len() > RESULTS_MAX;
        if !slot.lost {
            slot.result.extend_from_slice(result);
            self.stored += result.len();
        }
        if !std::mem::replace(&mut known.dirty, true) {
            self.dirty.push(session);
        }
    }

    /// The batch is through: bounds what `settle` will have to do.
    pub fn end_batch(&mut self) {
        if self.dirty.len() > DIRTY_MAX {
            self.mirror_sessions();
        }
    }

    fn mirror_sessions(&mut self) {
        for id in self.dirty.drain(..) {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.dirty = false;
                self.tables[0].put(&tagged(tag::SESSION, id), &session.encode());
            }
        }
    }

    fn open(&mut self, at: &Stamp, open: Open, effects: &mut Effects) {
        if self.sessions.len() >= SESSIONS_MAX {
            return reply::bare(&mut effects.reply, Status::TooManySessions, 0);
        }
        let id = self.tables[0].get(&[tag::NEXT]).and_then(word).unwrap_or(1);
        self.tables[0].put(&[tag::NEXT], &(id + 1).to_le_bytes());
        let window = open.window.clamp(1, WINDOW_MAX);
        let ttl_ms = open.ttl_ms.clamp(TTL_MS_MIN, TTL_MS_MAX);
        let session = Session { window, ttl_ms, ..Session::default() };
        self.tables[0].put(&tagged(tag::SESSION, id), &session.encode());
        self.timers.set(id, session.span(), at.ticks);
        self.sessions.insert(id, session);
        let start = reply::begin(&mut effects.reply);
        effects.reply.extend_from_slice(&id.to_le_bytes());
        effects.reply.extend_from_slice(&Open { window, ttl_ms }.encode());
        reply::finish(&mut effects.reply, start, Status::Ok, 0, 0);
    }

    fn close(&mut self, id: u64) -> Status {
        let Some(session) = self.sessions.remove(&id) else { return Status::SessionGone };
        self.stored -= session.slots.iter().map(|slot| slot.result.len()).sum::<usize>();
        self.timers.remove(id);
        self.tables[0].remove(&tagged(tag::SESSION, id));
        Status::Ok
    }
}

impl Realm for Core {
    fn knows(&self, kind: u8) -> bool {
        (CONFIG..=EXPIRE).contains(&kind)
    }

    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> Flow {
        let payload = command.payload;
        let status = match command.envelope.kind {
            CONFIG => {
                self.tables[0].put(&[tag::CONFIG], payload);
                Status::Ok
            }
            SNAPSHOT => Status::Ok, // Its place in the log is all it says.
            FENCE => match payload.split_first().map(|(node, life)| (NodeId(*node), word(life))) {
                Some((node, Some(life))) => {
                    self.raise_fence(node, Life(life));
                    Status::Ok
                }
                _ => Status::Malformed,
            },
            OPEN => match Open::decode(payload) {
                Some(open) => {
                    self.open(at, open, effects);
                    return Flow::Done;
                }
                None => Status::Malformed,
            },
            CLOSE | EXPIRE => word(payload).map_or(Status::Malformed, |id| self.close(id)),
            _ => Status::Malformed,
        };
        reply::bare(&mut effects.reply, status, 0);
        Flow::Done
    }

    /// Whether a session (u64) is there: an empty reply, or `SessionGone`.
    fn read(&self, query: &[u8], out: &mut Vec<u8>) {
        let status = match word(query) {
            Some(id) if self.sessions.contains_key(&id) => Status::Ok,
            Some(_) => Status::SessionGone,
            None => Status::Malformed,
        };
        reply::bare(out, status, 0);
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    fn settle(&mut self) {
        self.mirror_sessions();
        if std::mem::take(&mut self.origins_dirty) {
            for (origin, counter) in &self.origins {
                self.tables[0].put(&tagged(tag::ORIGIN, origin.0), &counter.to_le_bytes());
            }
        }
    }

    fn rebuild(&mut self) -> Result<(), Broken> {
        let broken = |what: &str| Broken { realm: "core", what: what.into() };
        let table = std::mem::take(&mut self.tables[0]);
        let drops = self.drops;
        *self = Core { tables: [table], drops, ..Core::new() };
        for (key, value) in self.tables[0].ascend(Bound::Unbounded) {
            let key = key.to_vec();
            match key[0] {
                tag::ORIGIN => {
                    let origin = key[1..].try_into().map(u64::from_be_bytes);
                    let origin = Origin(origin.map_err(|_| broken("an origin's key"))?);
                    self.origins.push((origin, word(value).ok_or_else(|| broken("an origin's counter"))?));
                }
                tag::SESSION => {
                    let id = key[1..].try_into().map(u64::from_be_bytes);
                    let id = id.map_err(|_| broken("a session's key"))?;
                    let session = Session::decode(value).ok_or_else(|| broken("a session's record"))?;
                    self.stored += session.slots.iter().map(|slot| slot.result.len()).sum::<usize>();
                    self.timers.set(id, session.span(), Nanos(0));
                    self.sessions.insert(id, session);
                }
                tag::CONFIG | tag::FENCE | tag::NEXT => {}
                _ => return Err(broken("a record of an unknown sort")),
            }
        }
        Ok(())
    }

    fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.timers.touch(id, now)
    }

    fn lead(&mut self, now: Nanos) {
        self.timers.lead(now);
    }

    fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>) {
        self.timers.due(now, limit, |id| out.push((EXPIRE, id.to_le_bytes().to_vec())));
    }

    fn next_due(&self) -> Nanos {
        self.timers.next_due()
    }
}
