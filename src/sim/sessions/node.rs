//! A node of this world: an edge with the ZooKeeper door, and a state that follows the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Entry, Flaw, NODES};
use crate::base::{Index, Life, Nanos, NodeId, Origin, Rng};
use crate::doors::Bounds;
use crate::doors::zk::{Board, Config, Zk};
use crate::pipeline::edge::{Doors, Edge, Lanes, Limits};
use crate::pipeline::lane::{Rx, Tx, lane};
use crate::pipeline::parcel::{Answers, Changes, EdgeIn, EdgeOut, Intake, Outcomes, Reads};
use crate::pipeline::ports::{Conn, Door, Ended, Net, NetEvent};
use crate::realms::Effects;
use crate::realms::machine::{Applied, Machine};
use crate::state::Command;
use crate::state::snapshot::{Loader, Slice};

/// How long a node may take to learn that it is cut off.
const NOTICE: Nanos = Nanos(3_000_000);

#[derive(Default)]
struct Wire {
    under_way: BTreeMap<u32, Vec<u8>>,
    closed: Vec<u32>,
}

impl Net for Wire {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        assert!(self.under_way.insert(conn.slot, buffer).is_none(), "two sends at once");
    }
    fn pause(&mut self, _: Conn, _: bool) {}
    fn close(&mut self, conn: Conn) {
        self.closed.push(conn.slot);
    }
    fn dial(&mut self, _: u64, _: SocketAddr) {
        unreachable!("edges dial nobody")
    }
}

pub struct Node {
    edge: Edge,
    wire: Wire,
    order: Rx<EdgeIn>,
    reads: Rx<Reads>,
    to_edge: Tx<EdgeOut>,
    news: Tx<EdgeOut>,
    pub machine: Machine,
    /// Entries of the log that it has applied.
    pub applied: usize,
    pub cut: bool,
    cut_at: Nanos,
    pub asleep_until: Nanos,
    /// Commands that are not in the log yet, in order.
    pub unconfirmed: Vec<Intake>,
    pub touched: Vec<Vec<(u8, u64)>>,
    /// Linearizable reads, and the log's length that they wait for.
    waiting: Vec<(usize, Reads)>,
    asked: Vec<Reads>,
    now: Nanos,
    slots: u32,
}

fn conn(slot: u32) -> Conn {
    Conn { slot, generation: 1 }
}

impl Node {
    pub fn new(at: usize, life: u64) -> Node {
        let (to_order, order) = lane(256);
        let (to_apply, reads) = lane(256);
        let (news, order_in) = lane(256);
        let (to_edge, apply_in) = lane(256);
        let lanes = Lanes { to_order, to_apply, from_order: order_in, from_apply: apply_in };
        let origin = Origin::new(NodeId(at as u8 + 1), 0, Life(life));
        let config = Config { timeout_ms: (100, 40_000), per_address_max: 0, ..Config::default() };
        let zk = Zk::new(origin, Arc::new(config), Arc::new(Board::new(1)));
        let doors = Doors { zk: Some(zk), ..Doors::default() };
        let mut node = Node {
            edge: Edge::new(origin, Bounds::default(), Limits::default(), doors, lanes),
            wire: Wire::default(),
            order,
            reads,
            to_edge,
            news,
            machine: Machine::new(),
            applied: 0,
            cut: false,
            cut_at: Nanos(0),
            asleep_until: Nanos(0),
            unconfirmed: Vec::new(),
            touched: Vec::new(),
            waiting: Vec::new(),
            asked: Vec::new(),
            now: Nanos(1),
            slots: 0,
        };
        node.news.send(EdgeOut::Serving(true));
        node.turn(Nanos(1));
        node
    }

    pub fn set_cut(&mut self, cut: bool, now: Nanos, flaw: Flaw) {
        (self.cut, self.cut_at) = (cut, now);
        if flaw != Flaw::DeafToCuts {
            self.news.send(EdgeOut::Serving(!cut));
        }
    }

    /// It has had the time to notice.
    pub fn is_surely_cut(&self, now: Nanos) -> bool {
        self.cut && self.asleep_until <= now && now.since(self.cut_at.max(self.asleep_until)) > NOTICE
    }

    pub fn serves(&self) -> bool {
        !self.cut
    }

    pub fn gone(&mut self, ids: Vec<(u8, u64)>) {
        self.news.send(EdgeOut::Gone(ids));
    }

    pub fn connect(&mut self) -> u32 {
        let slot = self.slots;
        self.slots += 1;
        let from = SocketAddr::from(([127, 0, 0, 1], 1000 + slot as u16));
        let event = NetEvent::Accepted { conn: conn(slot), door: Door::Zk, from, by: None };
        self.edge.on_net(self.now, event, &mut self.wire);
        slot
    }

    /// False: the node does not take them now.
    pub fn bytes(&mut self, slot: u32, bytes: &[u8], now: Nanos) -> bool {
        if self.asleep_until > now || self.wire.closed.contains(&slot) {
            return false;
        }
        self.now = now;
        self.edge.on_net(now, NetEvent::Bytes { conn: conn(slot), bytes }, &mut self.wire);
        true
    }

    /// The client's end breaks.
    pub fn end(&mut self, slot: u32) {
        if !self.wire.closed.contains(&slot) {
            self.wire.under_way.remove(&slot);
            let why = Ended::Broken;
            self.edge.on_net(self.now, NetEvent::Ended { conn: conn(slot), why }, &mut self.wire);
        }
    }

    pub fn turn(&mut self, now: Nanos) {
        self.now = now;
        self.edge.turn(now, &mut self.wire);
        while let Some(parcel) = self.order.take() {
            match parcel {
                EdgeIn::Intake(intake) => self.unconfirmed.push(intake),
                EdgeIn::Touches(ids) => self.touched.push(ids),
                EdgeIn::Reads(reads) => self.asked.push(reads),
            }
        }
    }

    /// What has been sent to a client, and whether that was the last.
    pub fn take(&mut self, slot: u32) -> (Vec<u8>, bool) {
        let bytes = self.wire.under_way.remove(&slot).unwrap_or_default();
        if !bytes.is_empty() {
            let event = NetEvent::Sent { conn: conn(slot), buffer: Vec::new() };
            self.edge.on_net(self.now, event, &mut self.wire);
        }
        (bytes, self.wire.closed.contains(&slot))
    }

    pub fn apply_next(&mut self, log: &[Entry], flaw: Flaw, rng: &mut Rng) {
        let Some(entry) = log.get(self.applied) else { return };
        if self.to_edge.room() < 8 {
            return;
        }
        let mut changes = Changes::default();
        let mut outcomes = Outcomes { index: entry.stamp.index, ..Outcomes::default() };
        for (sequence, command) in (entry.first..).zip(Command::all(&entry.commands)) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            let done =
                self.machine.apply(&entry.stamp, &command, &mut effects).expect("it knows all commands");
            let lost = flaw == Flaw::ChangeLost && rng.chance(0.02);
            if !effects.changes.is_empty() && !lost {
                changes.bytes.extend_from_slice(&effects.changes);
                changes.items.push((command.envelope.realm, changes.bytes.len() as u32));
            }
            if entry.origin == self.edge.origin() && done == Applied::Done {
                outcomes.replies.extend_from_slice(&effects.reply);
                outcomes.items.push((sequence, outcomes.replies.len() as u32));
            }
        }
        self.applied += 1;
        if flaw == Flaw::RepliesFirst {
            let late = Outcomes { index: outcomes.index, changes: Arc::new(changes), ..Outcomes::default() };
            self.to_edge.send(EdgeOut::Outcomes(outcomes));
            self.to_edge.send(EdgeOut::Outcomes(late));
            return;
        }
        outcomes.changes = Arc::new(changes);
        self.to_edge.send(EdgeOut::Outcomes(outcomes));
    }

    /// Takes over the state at the log's end.
    pub fn jump(&mut self, judge: &mut Machine, end: usize, flaw: Flaw) {
        if self.to_edge.room() < 8 {
            return;
        }
        let mut view = judge.freeze(Index(end as u64));
        let mut loader = Loader::new(Index(end as u64));
        loop {
            match view.advance(usize::MAX) {
                Slice::More => {}
                Slice::Chunk(block) => {
                    loader.feed(&block).expect("its own chunks");
                }
                Slice::End => break,
            }
        }
        let mut machine = Machine::new();
        machine.install(loader.finish().expect("a whole snapshot")).expect("a state that was one");
        machine.lead(self.now);
        (self.machine, self.applied) = (machine, end);
        self.unconfirmed.retain(|intake| intake.first > self.machine.core().applied_of(intake.origin));
        if flaw != Flaw::JumpUntold {
            let below = self.machine.core().applied_of(self.edge.origin()) + 1;
            self.to_edge.send(EdgeOut::Unknown { below });
        }
    }

    /// Local reads now; linearizable ones when the log as it was when they were asked is applied.
    pub fn answer(&mut self, reaches: bool, end: usize) {
        if self.to_edge.room() < 8 {
            return;
        }
        while let Some(reads) = self.reads.take() {
            self.read(&reads);
        }
        if reaches {
            self.waiting.extend(std::mem::take(&mut self.asked).into_iter().map(|reads| (end, reads)));
        }
        let applied = self.applied;
        let (due, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= applied);
        self.waiting = later;
        let due: Vec<(usize, Reads)> = due;
        due.iter().for_each(|(_, reads)| self.read(reads));
    }

    fn read(&mut self, reads: &Reads) {
        let mut answers = Answers::default();
        let mut start = 0;
        for item in &reads.items {
            let query = &reads.queries[start..item.end as usize];
            start = item.end as usize;
            self.machine.read(item.realm, query, &mut answers.bytes);
            answers.items.push((item.tag, answers.bytes.len() as u32));
        }
        self.to_edge.send(EdgeOut::Answers(answers));
    }
}

const _: () = assert!(NODES < 255);
