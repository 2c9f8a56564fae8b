//! The ZooKeeper door: frames of a captured conversation, broken, through an edge with a state behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use quorate::base::{Index, Life, Nanos, NodeId, Origin, Rng};
use quorate::doors::Bounds;
use quorate::doors::zk::{Board, Config, Zk, wire};
use quorate::pipeline::edge::rig::{Rig, conn};
use quorate::pipeline::edge::{Doors, Limits};
use quorate::pipeline::parcel::{EdgeIn, EdgeOut};
use quorate::pipeline::ports::{Door, Ended};
use quorate::realms::Stamp;
use quorate::realms::machine::Machine;
use quorate::realms::tree::import::{log::Log, snapshot};

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

struct World {
    rig: Rig,
    machine: Machine,
    index: Index,
    board: Arc<Board>,
    /// What each connection was sent.
    heard: BTreeMap<u32, Vec<u8>>,
}

impl World {
    fn new() -> World {
        let origin = Origin::new(NodeId(1), 0, Life(7));
        let board = Arc::new(Board::new(1));
        let config = Config { words: vec!["*".into()], ..Config::default() };
        let doors = Doors { zk: Some(Zk::new(origin, Arc::new(config), board.clone())), ..Doors::default() };
        let mut rig = Rig::new(origin, Bounds::default(), Limits::default(), doors, 64);
        rig.from_order.send(EdgeOut::Serving(true));
        let mut world =
            World { rig, machine: Machine::new(), index: Index(0), board, heard: BTreeMap::new() };
        world.settle(); // It serves from here on.
        world
    }

    fn bytes(&mut self, slot: u32, bytes: &[u8]) {
        if !self.rig.net.closed.contains(&slot) && !bytes.is_empty() {
            self.rig.bytes(slot, bytes);
        }
    }

    /// Log, state and network until nobody wants anything.
    fn settle(&mut self) {
        loop {
            self.rig.now = Nanos(self.rig.now.0 + 1_000_000);
            self.rig.turn();
            let mut busy = self.rig.answer_local(&self.machine);
            while let Some(parcel) = self.rig.order.take() {
                busy = true;
                match parcel {
                    EdgeIn::Intake(intake) => self.run(intake.first, &intake.commands),
                    EdgeIn::Reads(reads) => self.rig.answer(&self.machine, &reads),
                    EdgeIn::Touches(_) => {}
                }
            }
            for (slot, bytes) in self.rig.deliver_all() {
                busy = true;
                self.heard.entry(slot).or_default().extend_from_slice(&bytes);
            }
            if !busy {
                return;
            }
        }
    }

    fn run(&mut self, first: u64, commands: &[u8]) {
        self.index = self.index.next();
        let stamp = Stamp { index: self.index, wall_ms: self.index.0, ticks: self.rig.now };
        let origin = self.rig.edge.origin();
        for parcel in self.rig.apply(&mut self.machine, &stamp, origin, first, commands) {
            self.rig.from_apply.send(parcel);
        }
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

/// One connection says what it likes, in any pieces; the other is served as if nothing were.
pub fn session(rng: &mut Rng) -> bool {
    let all = requests();
    let mut world = World::new();
    world.rig.connect(conn(0), Door::Zk);
    world.bytes(0, &all[0]);
    world.rig.connect(conn(1), Door::Zk);
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
    let lives = !world.rig.net.closed.contains(&1);
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
        if !world.rig.net.closed.contains(&slot) {
            world.rig.end(slot, Ended::Closed);
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
