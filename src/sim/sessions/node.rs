//! A node of this world: an edge with the ZooKeeper door, and a state that follows the log.

use std::sync::Arc;

use super::{Entry, Flaw, NODES};
use crate::base::{Index, Life, Nanos, NodeId, Origin, Rng};
use crate::doors::Bounds;
use crate::doors::zk::{Board, Config, Zk};
use crate::pipeline::edge::rig::{Rig, conn};
use crate::pipeline::edge::{Doors, Limits};
use crate::pipeline::parcel::{EdgeIn, EdgeOut, Intake, Outcomes, Reads};
use crate::pipeline::ports::{Door, Ended};
use crate::realms::machine::Machine;
use crate::state::snapshot::{Loader, Slice};

/// How long a node may take to learn that it is cut off.
const NOTICE: Nanos = Nanos(3_000_000);

pub struct Node {
    rig: Rig,
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
    slots: u32,
}

impl Node {
    pub fn new(at: usize, life: u64) -> Node {
        let origin = Origin::new(NodeId(at as u8 + 1), 0, Life(life));
        let config = Config { timeout_ms: (100, 40_000), per_address_max: 0, ..Config::default() };
        let zk = Zk::new(origin, Arc::new(config), Arc::new(Board::new(1)));
        let doors = Doors { zk: Some(zk), ..Doors::default() };
        let mut node = Node {
            rig: Rig::new(origin, Bounds::default(), Limits::default(), doors, 256),
            machine: Machine::new(),
            applied: 0,
            cut: false,
            cut_at: Nanos(0),
            asleep_until: Nanos(0),
            unconfirmed: Vec::new(),
            touched: Vec::new(),
            waiting: Vec::new(),
            asked: Vec::new(),
            slots: 0,
        };
        node.rig.from_order.send(EdgeOut::Serving(true));
        node.turn(Nanos(1));
        node
    }

    pub fn set_cut(&mut self, cut: bool, now: Nanos, flaw: Flaw) {
        (self.cut, self.cut_at) = (cut, now);
        if flaw != Flaw::DeafToCuts {
            self.rig.from_order.send(EdgeOut::Serving(!cut));
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
        self.rig.from_order.send(EdgeOut::Gone(ids));
    }

    pub fn connect(&mut self) -> u32 {
        let slot = self.slots;
        self.slots += 1;
        self.rig.connect(conn(slot), Door::Zk);
        slot
    }

    /// False: the node does not take them now.
    pub fn bytes(&mut self, slot: u32, bytes: &[u8], now: Nanos) -> bool {
        if self.asleep_until > now || self.rig.net.closed.contains(&slot) {
            return false;
        }
        self.rig.now = now;
        self.rig.bytes(slot, bytes);
        true
    }

    /// The client's end breaks.
    pub fn end(&mut self, slot: u32) {
        if !self.rig.net.closed.contains(&slot) {
            self.rig.end(slot, Ended::Broken);
        }
    }

    pub fn turn(&mut self, now: Nanos) {
        self.rig.now = now;
        self.rig.turn();
        while let Some(parcel) = self.rig.order.take() {
            match parcel {
                EdgeIn::Intake(intake) => self.unconfirmed.push(intake),
                EdgeIn::Touches(ids) => self.touched.push(ids),
                EdgeIn::Reads(reads) => self.asked.push(reads),
            }
        }
    }

    /// What has been sent to a client, and whether that was the last.
    pub fn take(&mut self, slot: u32) -> (Vec<u8>, bool) {
        (self.rig.deliver(slot), self.rig.net.closed.contains(&slot))
    }

    fn has_room(&self) -> bool {
        self.rig.from_apply.room() > 512
    }

    pub fn apply_next(&mut self, log: &[Entry], flaw: Flaw, rng: &mut Rng) {
        let Some(entry) = log.get(self.applied) else { return };
        if !self.has_room() {
            return;
        }
        if flaw != Flaw::ReadsLate {
            self.rig.answer_local(&self.machine);
        }
        let Entry { stamp, origin, first, commands } = entry;
        let told = self.rig.apply(&mut self.machine, stamp, *origin, *first, commands);
        self.applied += 1;
        for parcel in told {
            match parcel {
                EdgeOut::Outcomes(outcomes) if flaw == Flaw::RepliesFirst => {
                    let late = Outcomes {
                        index: outcomes.index,
                        changes: outcomes.changes.clone(),
                        ..Outcomes::default()
                    };
                    let early = Outcomes { changes: Arc::default(), ..outcomes };
                    self.rig.from_apply.send(EdgeOut::Outcomes(early));
                    self.rig.from_apply.send(EdgeOut::Outcomes(late));
                }
                EdgeOut::Outcomes(outcomes) if flaw == Flaw::ChangeLost && rng.chance(0.02) => {
                    let silent = Outcomes { changes: Arc::default(), ..outcomes };
                    self.rig.from_apply.send(EdgeOut::Outcomes(silent));
                }
                parcel => self.rig.from_apply.send(parcel),
            }
        }
    }

    /// Takes over the state at the log's end.
    pub fn jump(&mut self, judge: &mut Machine, end: usize, flaw: Flaw) {
        if !self.has_room() {
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
        machine.lead(self.rig.now);
        (self.machine, self.applied) = (machine, end);
        self.unconfirmed.retain(|intake| intake.first > self.machine.core().applied_of(intake.origin));
        let upto = self.machine.core().applied_of(self.rig.edge.origin());
        match flaw {
            Flaw::JumpUntold => self.rig.catch_up(&self.machine, upto),
            _ => self.rig.jump(&self.machine, upto),
        }
    }

    /// Local reads now; linearizable ones when the log as it was when they were asked is applied.
    pub fn answer(&mut self, reaches: bool, end: usize) {
        if !self.has_room() {
            return;
        }
        self.rig.answer_local(&self.machine);
        if reaches {
            self.waiting.extend(std::mem::take(&mut self.asked).into_iter().map(|reads| (end, reads)));
        }
        let applied = self.applied;
        let (due, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= applied);
        self.waiting = later;
        let due: Vec<(usize, Reads)> = due;
        due.iter().for_each(|(_, reads)| self.rig.answer(&self.machine, reads));
    }
}

const _: () = assert!(NODES < 255);
