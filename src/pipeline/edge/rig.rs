//! An edge without a world: its network is a table and its far ends are in the hands of whoever drives it. Tests, the
//! simulation of sessions and the fuzzers stand on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{Nanos, Origin};
use crate::doors::Bounds;
use crate::pipeline::behind::Behind;
use crate::pipeline::edge::{Doors, Edge, Lanes, Limits};
use crate::pipeline::lane::{Rx, Tx, lane};
use crate::pipeline::parcel::{Answers, Changes, EdgeIn, EdgeOut, Outcomes, Reads};
use crate::pipeline::ports::{Conn, Door, Ended, Net, NetEvent, Turn};
use crate::realms::machine::{Applied, Machine};
use crate::realms::{Effects, Stamp};
use crate::state::Command;

/// What the edge asked of its network. A slot is used once.
#[derive(Debug, Default)]
pub struct Wire {
    /// Sends that have not been answered with `Sent`.
    pub under_way: BTreeMap<u32, Vec<u8>>,
    pub sends: usize,
    pub paused: BTreeMap<u32, bool>,
    pub closed: Vec<u32>,
}

impl Net for Wire {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        assert!(!buffer.is_empty());
        self.sends += 1;
        assert!(self.under_way.insert(conn.slot, buffer).is_none(), "two sends at once");
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        self.paused.insert(conn.slot, paused);
    }

    fn close(&mut self, conn: Conn) {
        self.closed.push(conn.slot);
    }

    fn dial(&mut self, _: u64, _: SocketAddr) {
        unreachable!("edges dial nobody");
    }
}

pub struct Rig {
    pub edge: Edge,
    pub net: Wire,
    pub now: Nanos,
    /// What the edge sends to order, and to apply.
    pub order: Rx<EdgeIn>,
    pub apply: Rx<Reads>,
    /// What order and apply have to say to it.
    pub from_order: Tx<EdgeOut>,
    pub from_apply: Tx<EdgeOut>,
    behind: Behind,
}

/// The first connection of a slot.
pub fn conn(slot: u32) -> Conn {
    Conn { slot, generation: 1 }
}

impl Rig {
    /// Lanes from the edge hold `outward` parcels.
    pub fn new(origin: Origin, bounds: Bounds, limits: Limits, doors: Doors, outward: usize) -> Rig {
        let (to_order, order) = lane(outward);
        let (to_apply, apply) = lane(outward);
        let (from_order, order_in) = lane(256);
        let (from_apply, apply_in) = lane(1024);
        let lanes = Lanes { to_order, to_apply, from_order: order_in, from_apply: apply_in };
        let edge = Edge::new(origin, bounds, limits, doors, lanes);
        let behind = Behind::default();
        Rig { edge, net: Wire::default(), now: Nanos(1), order, apply, from_order, from_apply, behind }
    }

    pub fn connect(&mut self, conn: Conn, door: Door) {
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        self.edge.on_net(self.now, NetEvent::Accepted { conn, door, from, by: None }, &mut self.net);
    }

    pub fn bytes(&mut self, slot: u32, bytes: &[u8]) {
        self.edge.on_net(self.now, NetEvent::Bytes { conn: conn(slot), bytes }, &mut self.net);
    }

    /// The client's end closes or breaks.
    pub fn end(&mut self, slot: u32, why: Ended) {
        self.net.under_way.remove(&slot);
        self.edge.on_net(self.now, NetEvent::Ended { conn: conn(slot), why }, &mut self.net);
    }

    pub fn turn(&mut self) -> Turn {
        self.edge.turn(self.now, &mut self.net)
    }

    /// The network sends what is under way to one client.
    pub fn deliver(&mut self, slot: u32) -> Vec<u8> {
        let Some(bytes) = self.net.under_way.remove(&slot) else { return Vec::new() };
        let sent = NetEvent::Sent { conn: conn(slot), buffer: Vec::new() };
        self.edge.on_net(self.now, sent, &mut self.net);
        bytes
    }

    /// The same for all clients.
    pub fn deliver_all(&mut self) -> Vec<(u32, Vec<u8>)> {
        let slots: Vec<u32> = self.net.under_way.keys().copied().collect();
        slots.into_iter().map(|slot| (slot, self.deliver(slot))).collect()
    }

    /// Applies what one origin has in the log together, `first` being the sequence of its first command: what the edge
    /// is told of it, in order.
    pub fn apply(
        &mut self,
        machine: &mut Machine,
        stamp: &Stamp,
        origin: Origin,
        first: u64,
        commands: &[u8],
    ) -> Vec<EdgeOut> {
        let (mut told, mut changes) = (Vec::new(), Changes::default());
        let mut outcomes = Outcomes { index: stamp.index, ..Outcomes::default() };
        for (sequence, command) in (first..).zip(Command::all(commands)) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            let done = machine.apply(stamp, &command, &mut effects).expect("a command that it knows");
            if !effects.changes.is_empty() {
                changes.bytes.extend_from_slice(&effects.changes);
                changes.items.push((command.envelope.realm, changes.bytes.len() as u32));
            }
            if origin != self.edge.origin() || done != Applied::Done {
                continue;
            }
            outcomes.replies.extend_from_slice(&effects.reply);
            outcomes.items.push((sequence, outcomes.replies.len() as u32));
            self.behind.reach(sequence);
            while let Some(reads) = self.behind.ripe() {
                let next = Outcomes { index: stamp.index, ..Outcomes::default() };
                let mut outcomes = std::mem::replace(&mut outcomes, next);
                outcomes.changes = Arc::new(std::mem::take(&mut changes));
                told.push(EdgeOut::Outcomes(outcomes));
                told.push(EdgeOut::Answers(read(machine, &reads)));
            }
        }
        outcomes.changes = Arc::new(changes);
        told.push(EdgeOut::Outcomes(outcomes));
        told
    }

    /// Answers the local reads that are asked for and need not wait. Call it before `apply`, as the apply stage does.
    pub fn answer_local(&mut self, machine: &Machine) -> bool {
        let mut any = false;
        while let Some(reads) = self.apply.take() {
            any = true;
            let reads = self.behind.sift(reads);
            self.answer(machine, &reads);
        }
        any
    }

    pub fn answer(&mut self, machine: &Machine, reads: &Reads) {
        self.from_apply.send(EdgeOut::Answers(read(machine, reads)));
    }

    /// The state was replaced: of this lane it has all up to `upto`, and no client hears of that.
    pub fn jump(&mut self, machine: &Machine, upto: u64) {
        self.from_apply.send(EdgeOut::Unknown { below: upto + 1 });
        self.catch_up(machine, upto);
    }

    /// Reads behind writes that the state has by now.
    pub fn catch_up(&mut self, machine: &Machine, upto: u64) {
        self.behind.reach(upto);
        while let Some(reads) = self.behind.ripe() {
            self.answer(machine, &reads);
        }
    }
}

fn read(machine: &Machine, reads: &Reads) -> Answers {
    let (mut answers, mut start) = (Answers::default(), 0);
    for item in &reads.items {
        let query = &reads.queries[start..item.end as usize];
        start = item.end as usize;
        machine.read(item.realm, query, &mut answers.bytes);
        answers.items.push((item.tag, answers.bytes.len() as u32));
    }
    answers
}
