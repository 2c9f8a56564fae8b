//! The ZooKeeper door: frames of a captured conversation, broken, through an edge with a state behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use quorate::base::{Index, Life, Nanos, NodeId, Origin, Rng};
use quorate::doors::Bounds;
use quorate::doors::zk::{Board, Config, Zk, wire};
use quorate::pipeline::edge::{Doors, Edge, Lanes, Limits};
use quorate::pipeline::lane::{Rx, Tx, lane};
use quorate::pipeline::parcel::{Answers, Changes, EdgeIn, EdgeOut, Outcomes, Reads};
use quorate::pipeline::ports::{Conn, Door, Net, NetEvent};
use quorate::realms::machine::{Applied, Machine};
use quorate::realms::tree::import::{log::Log, snapshot};
use quorate::realms::{Effects, Stamp};
use quorate::state::Command;

use super::{number, spoil};

/// What a client of the reference sent, and the reference's server understood.
const TALK: &str = include_str!("../../../src/doors/zk/golden/talk.txt");

fn requests() -> &'static Vec<Vec<u8>> {
    static REQUESTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let lines = TALK.lines().filter_map(|line| line.strip_prefix("> "));
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).expect("hex"), 16).expect("hex");
        lines.map(|hex| hex.as_bytes().chunks(2).map(byte).collect()).collect()
    })
}

#[derive(Default)]
struct Notes {
    under_way: BTreeMap<u32, Vec<u8>>,
    closed: Vec<u32>,
}

impl Net for Notes {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        assert!(!buffer.is_empty() && self.under_way.insert(conn.slot, buffer).is_none());
    }
    fn pause(&mut self, _: Conn, _: bool) {}
    fn close(&mut self, conn: Conn) {
        self.closed.push(conn.slot);
    }
    fn dial(&mut self, _: u64, _: SocketAddr) {
        panic!("edges dial nobody");
    }
}

struct World {
    edge: Edge,
    net: Notes,
    now: Nanos,
    order: Rx<EdgeIn>,
    apply: Rx<Reads>,
    to_edge: Tx<EdgeOut>,
    _news: Tx<EdgeOut>,
    machine: Machine,
    index: Index,
    board: Arc<Board>,
    /// What each connection was sent.
    heard: BTreeMap<u32, Vec<u8>>,
}

impl World {
    fn new() -> World {
        let (to_order, order) = lane(64);
        let (to_apply, apply) = lane(64);
        let (mut news, order_in) = lane(64);
        let (to_edge, apply_in) = lane(256);
        let lanes = Lanes { to_order, to_apply, from_order: order_in, from_apply: apply_in };
        let origin = Origin::new(NodeId(1), 0, Life(7));
        let board = Arc::new(Board::new(1));
        let config = Config { words: vec!["*".into()], ..Config::default() };
        let doors = Doors { zk: Some(Zk::new(origin, Arc::new(config), board.clone())), ..Doors::default() };
        news.send(EdgeOut::Serving(true));
        let edge = Edge::new(origin, Bounds::default(), Limits::default(), doors, lanes);
        let mut world = World {
            edge,
            net: Notes::default(),
            now: Nanos(1),
            order,
            apply,
            to_edge,
            _news: news,
            machine: Machine::new(),
            index: Index(0),
            board,
            heard: BTreeMap::new(),
        };
        world.settle(); // It serves from here on.
        world
    }

    fn connect(&mut self, slot: u32) {
        let from = "127.0.0.1:9".parse().expect("an address");
        let event = NetEvent::Accepted { conn: conn(slot), door: Door::Zk, from, by: None };
        self.edge.on_net(self.now, event, &mut self.net);
    }

    fn bytes(&mut self, slot: u32, bytes: &[u8]) {
        if !self.net.closed.contains(&slot) && !bytes.is_empty() {
            self.edge.on_net(self.now, NetEvent::Bytes { conn: conn(slot), bytes }, &mut self.net);
        }
    }

    /// Log, state and network until nobody wants anything.
    fn settle(&mut self) {
        loop {
            self.now = Nanos(self.now.0 + 1_000_000);
            self.edge.turn(self.now, &mut self.net);
            let mut busy = false;
            while let Some(parcel) = self.order.take() {
                busy = true;
                match parcel {
                    EdgeIn::Intake(intake) => self.run(intake.first, &intake.commands),
                    EdgeIn::Reads(reads) => self.answer(&reads),
                    EdgeIn::Touches(_) => {}
                }
            }
            while let Some(reads) = self.apply.take() {
                busy = true;
                self.answer(&reads);
            }
            for (slot, mut buffer) in std::mem::take(&mut self.net.under_way) {
                busy = true;
                self.heard.entry(slot).or_default().extend_from_slice(&buffer);
                buffer.clear();
                self.edge.on_net(self.now, NetEvent::Sent { conn: conn(slot), buffer }, &mut self.net);
            }
            if !busy {
                return;
            }
        }
    }

    fn run(&mut self, first: u64, commands: &[u8]) {
        self.index = self.index.next();
        let stamp = Stamp { index: self.index, wall_ms: self.index.0, ticks: self.now };
        let mut outcomes = Outcomes { index: self.index, ..Outcomes::default() };
        let mut changes = Changes::default();
        for (sequence, command) in (first..).zip(Command::all(commands)) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            let done = self.machine.apply(&stamp, &command, &mut effects).expect("a command that it knows");
            assert_eq!(done, Applied::Done);
            if !effects.changes.is_empty() {
                changes.bytes.extend_from_slice(&effects.changes);
                changes.items.push((command.envelope.realm, changes.bytes.len() as u32));
            }
            outcomes.replies.extend_from_slice(&effects.reply);
            outcomes.items.push((sequence, outcomes.replies.len() as u32));
        }
        outcomes.changes = Arc::new(changes);
        self.to_edge.send(EdgeOut::Outcomes(outcomes));
    }

    fn answer(&mut self, reads: &Reads) {
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

    /// Frames of at least a head each, and nothing half. Words are text.
    fn frames(&mut self, slot: u32) -> usize {
        let bytes = self.heard.remove(&slot).unwrap_or_default();
        let (mut rest, mut count) = (&bytes[..], 0);
        while let Some((body, size)) = wire::take_frame(rest, u32::MAX >> 1).expect("a frame's length") {
            assert!(body.len() >= 16, "a frame without a head");
            rest = &rest[size..];
            count += 1;
        }
        assert!(rest.is_empty(), "half a frame was sent");
        count
    }
}

fn conn(slot: u32) -> Conn {
    Conn { slot, generation: 1 }
}

/// One connection says what it likes, in any pieces; the other is served as if nothing were.
pub fn session(rng: &mut Rng) -> bool {
    let all = requests();
    let mut world = World::new();
    world.connect(0);
    world.bytes(0, &all[0]);
    world.connect(1);
    let mut stream = if rng.chance(0.9) { all[0].clone() } else { Vec::new() };
    for _ in 0..rng.below(8) {
        let mut frame = rng.pick(&all[1..]).clone();
        if rng.chance(0.6) {
            let length = frame.len();
            let mut body = frame.split_off(4);
            spoil(rng, &mut body);
            // Mostly a frame of the right length whose inside is broken: what lies behind its border is reached.
            let said = if rng.chance(0.9) { body.len() as i32 } else { number(rng) as i32 };
            frame = [&said.to_be_bytes()[..], &body].concat();
            assert!(frame.len() < length + 200);
        }
        stream.extend_from_slice(&frame);
    }
    let is_word = stream.len() >= 4 && stream[..4].is_ascii() && stream[0] != 0;
    let mut at = 0;
    while at < stream.len() {
        let end = (at + rng.between(1, 200) as usize).min(stream.len());
        world.bytes(1, &stream[at..end]);
        at = end;
        if rng.chance(0.3) {
            world.settle();
        }
    }
    world.settle();
    let lives = !world.net.closed.contains(&1);
    if !is_word {
        world.frames(1);
    }
    world.frames(0);
    // The other pings and reads.
    world.bytes(0, b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b");
    world.bytes(0, b"\0\0\0\x0e\0\0\0\x01\0\0\0\x03\0\0\0\x01/\0");
    world.settle();
    assert_eq!(world.frames(0), 2, "the other connection is served");
    for slot in [0, 1] {
        if !world.net.closed.contains(&slot) {
            let why = quorate::pipeline::ports::Ended::Closed;
            world.edge.on_net(world.now, NetEvent::Ended { conn: conn(slot), why }, &mut world.net);
        }
    }
    world.settle();
    let lane = world.board.lane(0);
    assert_eq!((lane.watches.get(), lane.connections.get(), world.board.conns().len()), (0, 0, 0));
    lives
}

const SNAPSHOT: &[u8] = include_bytes!("../../../src/tools/import/zookeeper/captured/version-2/snapshot.f");
const LOG: &[u8] = include_bytes!("../../../src/tools/import/zookeeper/captured/version-2/log.11");

/// Files of the reference: what is accepted has the sums that it says.
pub fn import(rng: &mut Rng) -> bool {
    let mut bytes = if rng.chance(0.5) { SNAPSHOT.to_vec() } else { LOG.to_vec() };
    spoil(rng, &mut bytes);
    if bytes.starts_with(b"ZKSN") {
        return snapshot::read(&bytes, 1).is_ok_and(|state| state.into_tree().is_ok());
    }
    let Ok(Some(mut log)) = Log::open(&bytes) else { return false };
    let mut last = 0;
    while let Ok(quorate::realms::tree::import::log::Next::Entry(_)) = log.step() {
        assert!(log.offset() > last && log.offset() <= bytes.len() as u64);
        last = log.offset();
    }
    last > 0
}
