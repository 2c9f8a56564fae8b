//! An edge, the realms, and in place of a log a queue that the test lets run.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{Index, Life, Nanos, NodeId, Origin};
use crate::doors::Bounds;
use crate::doors::native::wire::{self, Front, Head};
use crate::pipeline::edge::{Doors, Edge, Lanes, Limits};
use crate::pipeline::lane::{Rx, Tx, lane};
use crate::pipeline::parcel::{Answers, Changes, EdgeIn, EdgeOut, Intake, Outcomes, Reads};
use crate::pipeline::ports::{Conn, Door, Ended, Net, NetEvent};
use crate::realms::kv::ops;
use crate::realms::{Applied, Effects, Machine, Stamp};
use crate::state::{Command, Envelope, RealmId};

/// What the edge asked of the network.
#[derive(Default)]
pub struct Wires {
    pub sending: BTreeMap<Conn, Vec<u8>>,
    pub closed: Vec<Conn>,
    /// Nothing goes out to these.
    pub stuck: Vec<Conn>,
}

impl Net for Wires {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        assert!(self.sending.insert(conn, buffer).is_none(), "two sends at once");
    }
    fn pause(&mut self, _conn: Conn, _paused: bool) {}
    fn close(&mut self, conn: Conn) {
        self.closed.push(conn);
    }
    fn dial(&mut self, _token: u64, _to: SocketAddr) {
        panic!("edges dial nobody");
    }
}

pub struct World {
    pub edge: Edge,
    pub machine: Machine,
    pub net: Wires,
    pub now: Nanos,
    pub index: u64,
    /// Commands in the log and not applied, one line of text for each that was logged since last asked.
    pub log: VecDeque<Intake>,
    pub logged: Vec<String>,
    order: Rx<EdgeIn>,
    apply: Rx<Reads>,
    from_order: Tx<EdgeOut>,
    from_apply: Tx<EdgeOut>,
    waiting_reads: VecDeque<Reads>,
    pub touched: Vec<(u8, u64)>,
    /// Bytes sent, by connection.
    got: BTreeMap<Conn, Vec<u8>>,
    generation: u32,
}

impl World {
    pub fn new(bounds: Bounds) -> World {
        World::with(bounds, Machine::new(), 1, 0)
    }

    /// A later life of the node, over the same state.
    pub fn with(bounds: Bounds, machine: Machine, life: u64, index: u64) -> World {
        let (to_order, order) = lane(64);
        let (to_apply, apply) = lane(64);
        let (from_order, order_in) = lane(64);
        let (from_apply, apply_in) = lane(64);
        let lanes = Lanes { to_order, to_apply, from_order: order_in, from_apply: apply_in };
        let origin = Origin::new(NodeId(1), 0, Life(life));
        World {
            edge: Edge::new(origin, bounds, Limits::default(), Doors::default(), lanes),
            machine,
            net: Wires::default(),
            now: Nanos(1_000_000_000),
            index,
            log: VecDeque::new(),
            logged: Vec::new(),
            order,
            apply,
            from_order,
            from_apply,
            waiting_reads: VecDeque::new(),
            touched: Vec::new(),
            got: BTreeMap::new(),
            generation: 0,
        }
    }

    pub fn connect(&mut self, slot: u32) -> Conn {
        self.generation += 1;
        let conn = Conn { slot, generation: self.generation };
        let from = "127.0.0.1:9".parse().unwrap();
        self.edge.on_net(
            self.now,
            NetEvent::Accepted { conn, door: Door::Native, from, by: None },
            &mut self.net,
        );
        conn
    }

    pub fn bytes(&mut self, conn: Conn, bytes: &[u8]) {
        self.edge.on_net(self.now, NetEvent::Bytes { conn, bytes }, &mut self.net);
    }

    pub fn end(&mut self, conn: Conn) {
        self.edge.on_net(self.now, NetEvent::Ended { conn, why: Ended::Closed }, &mut self.net);
        self.got.remove(&conn);
        self.net.sending.remove(&conn);
    }

    /// A turn of the edge; what was sent arrives.
    pub fn turn(&mut self) -> bool {
        let turn = self.edge.turn(self.now, &mut self.net);
        let free = |conn: &Conn| !self.net.stuck.contains(conn);
        let conns: Vec<Conn> = self.net.sending.keys().copied().filter(free).collect();
        for &conn in &conns {
            let mut buffer = self.net.sending.remove(&conn).unwrap();
            self.got.entry(conn).or_default().extend_from_slice(&buffer);
            buffer.clear();
            self.edge.on_net(self.now, NetEvent::Sent { conn, buffer }, &mut self.net);
        }
        self.take_lanes();
        turn.again || !conns.is_empty()
    }

    fn take_lanes(&mut self) {
        while let Some(parcel) = self.order.take() {
            match parcel {
                EdgeIn::Intake(intake) => {
                    for command in Command::all(&intake.commands) {
                        let e = command.envelope;
                        self.logged.push(format!(
                            "log {}: realm {} kind {} session {} request {}, {} bytes",
                            e.sequence,
                            e.realm,
                            e.kind,
                            e.session,
                            e.request,
                            command.payload.len()
                        ));
                    }
                    self.log.push_back(intake);
                }
                EdgeIn::Reads(reads) => self.waiting_reads.push_back(reads),
                EdgeIn::Touches(ids) => self.touched.extend(ids),
            }
        }
        while let Some(reads) = self.apply.take() {
            self.waiting_reads.push_back(reads);
        }
    }

    /// The log moves on by one parcel, and every read that waits is answered. False: there was nothing.
    pub fn apply(&mut self) -> bool {
        let mut moved = false;
        if let Some(intake) = self.log.pop_front() {
            self.apply_parcel(&intake);
            moved = true;
        }
        while let Some(reads) = self.waiting_reads.pop_front() {
            let mut answers = Answers::default();
            let mut start = 0;
            for item in &reads.items {
                let query = &reads.queries[start..item.end as usize];
                start = item.end as usize;
                self.machine.read(item.realm, query, &mut answers.bytes);
                answers.items.push((item.tag, answers.bytes.len() as u32));
            }
            self.from_apply.send(EdgeOut::Answers(answers));
            moved = true;
        }
        moved
    }

    fn apply_parcel(&mut self, intake: &Intake) {
        self.index += 1;
        let index = Index(self.index);
        let stamp = Stamp { index, wall_ms: 0, ticks: self.now };
        let mut outcomes = Outcomes { index, ..Outcomes::default() };
        let mut changes = Changes::default();
        for command in Command::all(&intake.commands) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            let applied = loop {
                match self.machine.apply(&stamp, &command, &mut effects).expect("commands of this build") {
                    Applied::Again => {}
                    applied => break applied,
                }
            };
            assert_eq!(applied, Applied::Done, "stamps are gapless");
            outcomes.replies.extend_from_slice(&effects.reply);
            outcomes.items.push((command.envelope.sequence, outcomes.replies.len() as u32));
            if !effects.changes.is_empty() {
                changes.bytes.extend_from_slice(&effects.changes);
                changes.items.push((command.envelope.realm, changes.bytes.len() as u32));
            }
        }
        self.machine.end_batch();
        outcomes.changes = Arc::new(changes);
        self.from_apply.send(EdgeOut::Outcomes(outcomes));
    }

    /// The state is replaced by one in which this write has happened too, elsewhere.
    pub fn jump(&mut self, write: &[u8]) {
        self.index += 1;
        let stamp = Stamp { index: Index(self.index), wall_ms: 0, ticks: self.now };
        let envelope = Envelope { realm: RealmId::Kv as u8, kind: ops::WRITE, ..Envelope::default() };
        let mut effects = Effects::default();
        let applied = self.machine.apply(&stamp, &Command { envelope, payload: write }, &mut effects);
        assert_eq!(applied, Ok(Applied::Done));
        self.from_apply.send(EdgeOut::Unknown { below: 1 });
    }

    pub fn say(&mut self, news: EdgeOut) {
        self.from_order.send(news);
    }

    /// Until nothing moves any more.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let turned = self.turn();
            if !self.apply() && !turned {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub fn take_bytes(&mut self, conn: Conn) -> Vec<u8> {
        self.got.remove(&conn).unwrap_or_default()
    }

    pub fn frames(&mut self, conn: Conn) -> Vec<(Head, Vec<u8>)> {
        let bytes = self.take_bytes(conn);
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Ok(Front::Frame(head, body)) = wire::take_frame(&mut rest, u32::MAX) {
            frames.push((head, body.to_vec()));
        }
        assert!(rest.is_empty(), "the server sent half a frame");
        frames
    }
}
