//! What an edge lane gathers from its sessions in one turn, and who waits for what.
//!
//! Writes gather in the very bytes that go to the order stage; nothing is allocated per operation. A write is
//! known by its sequence, which is gapless, so the waiting ones are a queue; reads come back in any order, so
//! they lie in a slab. Both are bounded by permits.

use std::collections::VecDeque;

use crate::base::{Nanos, Origin};
use crate::doors::{Level, Seat, Stop};
use crate::state::{Envelope, RealmId};

/// How much one edge lane lets in.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Writes without an outcome.
    pub writes: usize,
    /// Bytes of those writes, envelopes included.
    pub write_bytes: usize,
    /// Reads without an answer.
    pub reads: usize,
    /// Bytes of queries gathered in one turn.
    pub query_bytes: usize,
    /// Touches gathered in one turn; more are dropped and counted (a touch is soft: the next will do).
    pub touches: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            writes: 64 << 10,
            write_bytes: 16 << 20,
            reads: 64 << 10,
            query_bytes: 4 << 20,
            touches: 64 << 10,
        }
    }
}

/// What a door says of a write; the edge adds origin and sequence.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub realm: RealmId,
    pub kind: u8,
    /// The feature level that the command needs.
    pub feature: u16,
    pub principal: u32,
    /// 0 where the door has none.
    pub session: u64,
    /// The client's number within its session; 0 for none.
    pub request: u64,
}

/// A query under way: the edge knows by its tag who asked.
#[derive(Clone, Copy, Debug)]
pub struct ReadItem {
    /// Returned with the answer.
    pub tag: u64,
    pub realm: u8,
    /// Where its query ends; it begins where the one before it ends.
    pub end: u32,
    /// The write of this lane that the state must have; 0: none.
    pub after: u64,
}

/// How much `Door::on_bytes` has taken, and why it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    pub stop: Stop,
}

/// One connection's side of a `Cx`, kept by the edge.
#[derive(Debug)]
pub struct Link {
    /// What goes out at the end of the turn. Owns memory only while it holds something.
    pub out: Vec<u8>,
    /// Set: the session wants the connection closed after `out`.
    pub closing: Option<&'static str>,
    /// When `on_alarm` is due.
    pub alarm: Nanos,
}

/// What a session can ask for during a call.
pub struct Cx<'a> {
    pub now: Nanos,
    pub seat: Seat,
    /// Whether this node hears from a leader that a quorum follows.
    pub serving: bool,
    link: &'a mut Link,
    desk: &'a mut Desk,
}

#[derive(Debug)]
struct Waiting {
    seat: Seat,
    token: u64,
    since: Nanos,
    bytes: u32,
}

#[derive(Debug)]
struct Asked {
    generation: u32,
    /// The next free entry, where this one is free.
    next_free: u32,
    waiting: Option<Who>,
}

/// Who waits, for what and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub seat: Seat,
    pub token: u64,
    pub since: Nanos,
    /// Of a read.
    pub level: Level,
}

/// Queries gathered for one level.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    pub items: Vec<ReadItem>,
    pub bytes: Vec<u8>,
}

const NONE: u32 = u32::MAX;

/// Buffers kept for reuse, and the largest worth keeping: a turn's replies to a busy connection fit.
const POOL: usize = 256;
/// So many are kept if they are small: an event for thousands of watchers needs one each.
const POOL_SMALL: usize = 4096;
const SMALL: usize = 1 << 10;
const POOLED_BYTES_MAX: usize = 256 << 10;

/// One lane's gathering place.
#[derive(Debug)]
pub struct Desk {
    origin: Origin,
    /// The next write's sequence.
    next: u64,
    bounds: Bounds,
    pub(crate) commands: Vec<u8>,
    pub(crate) count: u32,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    pub(crate) local: Queries,
    pub(crate) linear: Queries,
    asked: Vec<Asked>,
    free: u32,
    reading: usize,
    pub(crate) touches: Vec<(u8, u64)>,
    pub(crate) touches_dropped: u64,
    /// Commands and queries so far.
    pub(crate) issued: u64,
    pub(crate) evicted: Vec<(Seat, &'static str)>,
    pool: Vec<Vec<u8>>,
}

impl Default for Link {
    fn default() -> Link {
        Link { out: Vec::new(), closing: None, alarm: Nanos::MAX }
    }
}

impl<'a> Cx<'a> {
    pub fn new(now: Nanos, seat: Seat, serving: bool, link: &'a mut Link, desk: &'a mut Desk) -> Cx<'a> {
        Cx { now, seat, serving, link, desk }
    }

    /// Whether another request may enter: a write or a read. Ask before each frame that makes one.
    pub fn admits(&self) -> bool {
        self.desk.admits()
    }

    /// Puts a command into the log. `payload` appends its bytes behind the envelope; nothing else may be done
    /// to the vector. Returns the sequence; `token` comes back with the outcome.
    pub fn write(&mut self, write: &Write, token: u64, payload: impl FnOnce(&mut Vec<u8>)) -> u64 {
        self.desk.write(self.now, write, self.seat, token, payload)
    }

    /// Asks the state. `query` appends the realm's form of the question; `token` comes back with the answer.
    pub fn read(&mut self, realm: RealmId, level: Level, token: u64, query: impl FnOnce(&mut Vec<u8>)) {
        let who = Who { seat: self.seat, token, since: self.now, level };
        self.desk.read(realm, who, 0, query);
    }

    /// Asks the state of this node as it is between this write and the lane's next one; 0: as it is now. Either way
    /// the answer shows no write of this lane that is issued later.
    pub fn read_after(&mut self, realm: RealmId, write: u64, token: u64, query: impl FnOnce(&mut Vec<u8>)) {
        let who = Who { seat: self.seat, token, since: self.now, level: Level::Local };
        self.desk.read(realm, who, write, query);
    }

    /// Says that the client behind this session or lease was heard from. Softly: it reaches the leader a moment
    /// later or is lost, and only a refusal is answered (`Door::on_gone`).
    pub fn touch(&mut self, realm: RealmId, id: u64) {
        self.desk.touch(realm, id);
    }

    /// Where replies are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if self.link.out.capacity() == 0 {
            self.link.out = self.desk.pooled();
        }
        &mut self.link.out
    }

    /// Bytes that wait to be sent, besides those the network has already.
    pub fn out_len(&self) -> usize {
        self.link.out.len()
    }

    /// Closes this connection once what is in `out` has gone. No further byte is taken from it.
    pub fn hang_up(&mut self, why: &'static str) {
        self.link.closing.get_or_insert(why);
    }

    pub fn is_hanging_up(&self) -> bool {
        self.link.closing.is_some()
    }

    /// Closes another connection of this lane, at the end of the turn.
    pub fn evict(&mut self, seat: Seat, why: &'static str) {
        self.desk.evicted.push((seat, why));
    }

    /// Sets when `Door::on_alarm` is called; it replaces what was set before. `Nanos::MAX`: never. A time that
    /// is not ahead means soon, not at once: a session must not keep its lane in a circle.
    pub fn alarm(&mut self, at: Nanos) {
        self.link.alarm = at.max(Nanos(self.now.0 + 1));
    }
}

impl Desk {
    pub fn new(origin: Origin, bounds: Bounds) -> Desk {
        Desk {
            origin,
            next: 1,
            bounds,
            commands: Vec::new(),
            count: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            local: Queries::default(),
            linear: Queries::default(),
            asked: Vec::new(),
            free: NONE,
            reading: 0,
            touches: Vec::new(),
            touches_dropped: 0,
            issued: 0,
            evicted: Vec::new(),
            pool: Vec::new(),
        }
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Writes that wait for their outcome, and their bytes.
    pub fn writing(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting_bytes)
    }

    /// Reads that wait for their answer.
    pub fn reading(&self) -> usize {
        self.reading
    }

    /// Sequence of the oldest write without an outcome; the next one's if there is none.
    pub fn oldest(&self) -> u64 {
        self.next - self.waiting.len() as u64
    }

    /// The turn's commands: (sequence of the first, how many, their bytes). `spare` takes their place.
    pub fn take_commands(&mut self, spare: Vec<u8>) -> (u64, u32, Vec<u8>) {
        let count = std::mem::take(&mut self.count);
        (self.next - u64::from(count), count, std::mem::replace(&mut self.commands, spare))
    }

    /// Who waits for `sequence`, which must be the oldest.
    pub(crate) fn settle(&mut self, sequence: u64) -> (Seat, u64, Nanos) {
        assert_eq!(sequence, self.oldest(), "outcomes come in the order of the writes");
        let waiting = self.waiting.pop_front().expect("an outcome for a write that was never issued");
        self.waiting_bytes -= waiting.bytes as usize;
        (waiting.seat, waiting.token, waiting.since)
    }

    /// Who asked under `tag`; `None` if that is answered already.
    pub(crate) fn answered(&mut self, tag: u64) -> Option<Who> {
        let (at, generation) = (tag as u32, (tag >> 32) as u32);
        let asked = self.asked.get_mut(at as usize).filter(|a| a.generation == generation)?;
        let who = asked.waiting.take()?;
        asked.generation = asked.generation.wrapping_add(1);
        asked.next_free = std::mem::replace(&mut self.free, at);
        self.reading -= 1;
        Some(who)
    }

    pub(crate) fn admits(&self) -> bool {
        self.waiting.len() < self.bounds.writes
            && self.waiting_bytes < self.bounds.write_bytes
            && self.reading < self.bounds.reads
            && self.local.bytes.len() + self.linear.bytes.len() < self.bounds.query_bytes
    }

    fn write(
        &mut self,
        now: Nanos,
        write: &Write,
        seat: Seat,
        token: u64,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let sequence = self.next;
        let envelope = Envelope {
            realm: write.realm as u8,
            kind: write.kind,
            feature: write.feature,
            principal: write.principal,
            session: write.session,
            request: write.request,
            origin: self.origin,
            sequence,
        };
        let start = envelope.begin(&mut self.commands);
        payload(&mut self.commands);
        Envelope::finish(&mut self.commands, start);
        let bytes = (self.commands.len() - start) as u32;
        self.waiting.push_back(Waiting { seat, token, since: now, bytes });
        self.waiting_bytes += bytes as usize;
        self.next += 1;
        self.count += 1;
        self.issued += 1;
        sequence
    }

    fn read(&mut self, realm: RealmId, who: Who, after: u64, query: impl FnOnce(&mut Vec<u8>)) {
        let tag = self.ask(who);
        let queries = match who.level {
            Level::Local => &mut self.local,
            Level::Linearizable => &mut self.linear,
        };
        query(&mut queries.bytes);
        queries.items.push(ReadItem { tag, realm: realm as u8, end: queries.bytes.len() as u32, after });
    }

    fn ask(&mut self, who: Who) -> u64 {
        self.reading += 1;
        self.issued += 1;
        if self.free == NONE {
            let at = self.asked.len() as u64;
            self.asked.push(Asked { generation: 0, next_free: NONE, waiting: Some(who) });
            return at;
        }
        let at = self.free;
        let asked = &mut self.asked[at as usize];
        self.free = asked.next_free;
        asked.waiting = Some(who);
        u64::from(asked.generation) << 32 | u64::from(at)
    }

    fn touch(&mut self, realm: RealmId, id: u64) {
        if self.touches.len() < self.bounds.touches {
            self.touches.push((realm as u8, id));
        } else {
            self.touches_dropped += 1;
        }
    }

    /// An empty buffer, with memory if one is at hand.
    pub(crate) fn pooled(&mut self) -> Vec<u8> {
        self.pool.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let room = if buffer.capacity() <= SMALL { POOL_SMALL } else { POOL };
        if (1..=POOLED_BYTES_MAX).contains(&buffer.capacity()) && self.pool.len() < room {
            buffer.clear();
            self.pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Life, NodeId};
    use crate::state::Command;

    fn desk(bounds: Bounds) -> Desk {
        Desk::new(Origin::new(NodeId(1), 0, Life(1)), bounds)
    }

    const PUT: Write =
        Write { realm: RealmId::Kv, kind: 1, feature: 0, principal: 0, session: 0, request: 0 };

    #[test]
    fn writes_are_commands_with_gapless_sequences_and_settle_in_order() {
        let mut desk = desk(Bounds::default());
        let mut link = Link::default();
        let seat = Seat { slot: 3, generation: 1 };
        let mut cx = Cx::new(Nanos(0), seat, true, &mut link, &mut desk);
        assert_eq!(cx.write(&PUT, 70, |p| p.extend_from_slice(b"abc")), 1);
        assert_eq!(cx.write(&PUT, 71, |_| {}), 2);
        let (first, count, bytes) = desk.take_commands(Vec::new());
        assert_eq!((first, count), (1, 2));
        let commands: Vec<_> =
            Command::all(&bytes).map(|c| (c.envelope.sequence, c.payload.to_vec())).collect();
        assert_eq!(commands, [(1, b"abc".to_vec()), (2, vec![])]);
        assert_eq!(desk.settle(1), (seat, 70, Nanos(0)));
        assert_eq!(desk.oldest(), 2);
        assert_eq!(desk.settle(2), (seat, 71, Nanos(0)));
        assert_eq!(desk.writing(), (0, 0));
    }

    #[test]
    fn a_tag_is_good_for_one_answer() {
        let mut desk = desk(Bounds::default());
        let seat = Seat { slot: 1, generation: 0 };
        let who = |token| Who { seat, token, since: Nanos(3), level: Level::Local };
        let first = desk.ask(who(9));
        assert_eq!(desk.answered(first), Some(who(9)));
        let second = desk.ask(who(10));
        assert_eq!(second as u32, first as u32, "the slot is used again");
        assert_eq!(desk.answered(first), None, "a late repeat finds nobody");
        assert_eq!(desk.answered(second), Some(who(10)));
        assert_eq!(desk.reading(), 0);
    }

    #[test]
    fn permits_end_and_come_back() {
        let mut desk = desk(Bounds { writes: 2, ..Bounds::default() });
        let seat = Seat { slot: 1, generation: 0 };
        (0..2).for_each(|n| {
            assert!(desk.admits());
            desk.write(Nanos(0), &PUT, seat, n, |_| {});
        });
        assert!(!desk.admits());
        desk.settle(1);
        assert!(desk.admits());
    }
}
