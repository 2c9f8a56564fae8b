//! One lane of the door with a tree behind it. Nothing happens by itself: `apply` and `answer` are the log and the
//! state, so a test says in which order they come.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{Index, Life, Nanos, NodeId, Origin};
use crate::doors::zk::{Board, Config, Session, Zk};
use crate::doors::{Answer, Bounds, Crowd, Cx, Desk, Door, Link, Outcome, ReadItem, Seat, Who};
use crate::pipeline::behind::Behind;
use crate::pipeline::parcel::Reads;
use crate::realms::tree::Tree;
use crate::realms::{Effects, Flow, Realm, Stamp};
use crate::state::{Command, RealmId};

struct Peer {
    session: Session,
    link: Link,
    /// Bytes that the door has not taken yet.
    rest: Vec<u8>,
}

#[derive(Default)]
struct Floor {
    peers: BTreeMap<Seat, Peer>,
    now: Nanos,
    serving: bool,
}

pub struct Bench {
    pub door: Zk,
    pub tree: Tree,
    pub at: Stamp,
    floor: Floor,
    desk: Desk,
    behind: Behind,
    next: u32,
}

struct Room<'a> {
    floor: &'a mut Floor,
    desk: &'a mut Desk,
}

impl Room<'_> {
    /// As in an edge, nothing more is told to a session that is hanging up.
    fn with<R>(&mut self, seat: Seat, f: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> Option<R> {
        let peer = self.floor.peers.get_mut(&seat).filter(|peer| peer.link.closing.is_none())?;
        let mut cx = Cx::new(self.floor.now, seat, self.floor.serving, &mut peer.link, self.desk);
        Some(f(&mut peer.session, &mut cx))
    }
}

impl Crowd<Session> for Room<'_> {
    fn visit(&mut self, seat: Seat, f: impl FnOnce(&mut Session, &mut Cx<'_>)) -> bool {
        self.with(seat, f).is_some()
    }
}

impl Bench {
    pub fn new(config: Config) -> Bench {
        Bench::beside(config, Arc::new(Board::new(2)), 0)
    }

    /// One of a node's lanes, which share a board.
    pub fn beside(config: Config, board: Arc<Board>, lane: u8) -> Bench {
        let origin = Origin::new(NodeId(1), lane, Life(1));
        let at = Stamp { index: Index(0), wall_ms: 1_700_000_000_000, ticks: Nanos(0) };
        Bench {
            door: Zk::new(origin, Arc::new(config), board),
            tree: Tree::new(),
            at,
            floor: Floor { serving: true, ..Floor::default() },
            desk: Desk::new(origin, Bounds::default()),
            behind: Behind::default(),
            next: 0,
        }
    }

    pub fn connect(&mut self, from: SocketAddr) -> Seat {
        let seat = Seat { slot: self.next, generation: 1 };
        self.next += 1;
        let mut link = Link::default();
        let mut cx = Cx::new(self.floor.now, seat, self.floor.serving, &mut link, &mut self.desk);
        let session = self.door.open(&mut cx, from);
        self.floor.peers.insert(seat, Peer { session, link, rest: Vec::new() });
        seat
    }

    pub fn set_now(&mut self, now: Nanos) {
        self.floor.now = now;
        self.at.ticks = now;
    }

    pub fn set_serving(&mut self, serving: bool) {
        self.floor.serving = serving;
        let mut room = Room { floor: &mut self.floor, desk: &mut self.desk };
        let seats: Vec<Seat> = room.floor.peers.keys().copied().collect();
        for seat in seats {
            let door = &mut self.door;
            room.with(seat, |session, cx| door.on_serving(session, cx));
        }
    }

    /// Bytes from the client; what the door leaves is kept.
    pub fn bytes(&mut self, seat: Seat, bytes: &[u8]) {
        let Some(peer) = self.floor.peers.get_mut(&seat) else { return };
        peer.rest.extend_from_slice(bytes);
        self.offer(seat);
    }

    fn offer(&mut self, seat: Seat) {
        let Some(peer) = self.floor.peers.get_mut(&seat) else { return };
        let rest = std::mem::take(&mut peer.rest);
        let (door, mut room) = (&mut self.door, Room { floor: &mut self.floor, desk: &mut self.desk });
        let Some(taken) = room.with(seat, |session, cx| door.on_bytes(session, cx, &rest)) else { return };
        self.floor.peers.get_mut(&seat).expect("it is there").rest = rest[taken.bytes..].to_vec();
    }

    /// The state was replaced by a snapshot.
    pub fn jump(&mut self) {
        self.door.on_jump(&mut Room { floor: &mut self.floor, desk: &mut self.desk });
    }

    pub fn alarm(&mut self, seat: Seat) {
        let (door, mut room) = (&mut self.door, Room { floor: &mut self.floor, desk: &mut self.desk });
        room.with(seat, |session, cx| door.on_alarm(session, cx));
    }

    /// Everything written so far goes through the log as one batch. True if there was anything.
    pub fn apply(&mut self) -> bool {
        let (first, count, commands) = self.desk.take_commands(Vec::new());
        if count == 0 {
            return false;
        }
        self.answer_local();
        self.at.index = self.at.index.next();
        self.at.wall_ms += 1;
        let mut outcomes = Vec::new();
        for (sequence, command) in (first..).zip(Command::all(&commands)) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            assert_eq!(self.tree.apply(&self.at, &command, &mut effects), Flow::Done);
            outcomes.push((sequence, effects));
            self.behind.reach(sequence);
            if let Some(reads) = self.behind.ripe() {
                self.hand_out(&mut outcomes);
                self.answer_all(&reads.items, &reads.queries);
            }
        }
        self.hand_out(&mut outcomes);
        self.offer_all();
        true
    }

    /// Changes first, then outcomes.
    fn hand_out(&mut self, outcomes: &mut Vec<(u64, Effects)>) {
        let mut room = Room { floor: &mut self.floor, desk: &mut self.desk };
        for (_, effects) in outcomes.iter().filter(|(_, effects)| !effects.changes.is_empty()) {
            self.door.on_changes(self.at.index, &effects.changes, &mut room);
        }
        for (sequence, effects) in outcomes.drain(..) {
            let (seat, token, _) = room.desk.settle(sequence);
            let (door, at) = (&mut self.door, self.at.index);
            room.with(seat, |session, cx| {
                door.on_outcome(session, cx, token, Outcome::Done { at, reply: &effects.reply });
            });
        }
    }

    /// A command from elsewhere: the leader's, or another edge's.
    pub fn command(&mut self, command: &Command<'_>) {
        let mut effects = Effects { wanted: true, ..Effects::default() };
        self.at.index = self.at.index.next();
        assert_eq!(self.tree.apply(&self.at, command, &mut effects), Flow::Done);
        let mut room = Room { floor: &mut self.floor, desk: &mut self.desk };
        if !effects.changes.is_empty() {
            self.door.on_changes(self.at.index, &effects.changes, &mut room);
        }
    }

    /// Everything asked so far is answered, but for what waits for a write. True if there was anything.
    pub fn answer(&mut self) -> bool {
        let linear = std::mem::take(&mut self.desk.linear);
        self.answer_all(&linear.items, &linear.bytes);
        let any = self.answer_local();
        self.offer_all();
        any || !linear.items.is_empty()
    }

    fn answer_local(&mut self) -> bool {
        let local = std::mem::take(&mut self.desk.local);
        let any = !local.items.is_empty();
        let reads = self.behind.sift(Reads { lane: 0, items: local.items, queries: local.bytes });
        self.answer_all(&reads.items, &reads.queries);
        any
    }

    fn answer_all(&mut self, items: &[ReadItem], queries: &[u8]) {
        let mut start = 0;
        for item in items {
            assert_eq!(item.realm, RealmId::Tree as u8);
            let mut reply = Vec::new();
            self.tree.read(&queries[start..item.end as usize], &mut reply);
            start = item.end as usize;
            let Some(Who { seat, token, .. }) = self.desk.answered(item.tag) else { continue };
            let (door, mut room) = (&mut self.door, Room { floor: &mut self.floor, desk: &mut self.desk });
            room.with(seat, |session, cx| door.on_answer(session, cx, token, Answer::Found(&reply)));
        }
    }

    fn offer_all(&mut self) {
        let seats: Vec<Seat> = self.floor.peers.keys().copied().collect();
        seats.into_iter().for_each(|seat| self.offer(seat));
    }

    /// Log and state until nobody wants anything.
    pub fn settle(&mut self) {
        while self.apply() | self.answer() {}
        let evicted: Vec<_> = self.desk.evicted.drain(..).collect();
        for (seat, why) in evicted {
            if let Some(peer) = self.floor.peers.get_mut(&seat) {
                peer.link.closing.get_or_insert(why);
            }
        }
    }

    /// What has gathered for a client, and whether its connection ends with that.
    pub fn take(&mut self, seat: Seat) -> (Vec<u8>, bool) {
        let Some(peer) = self.floor.peers.get_mut(&seat) else { return (Vec::new(), true) };
        (std::mem::take(&mut peer.link.out), peer.link.closing.is_some())
    }

    pub fn end(&mut self, seat: Seat) {
        if let Some(mut peer) = self.floor.peers.remove(&seat) {
            self.door.on_ended(&mut peer.session, seat);
        }
    }
}
