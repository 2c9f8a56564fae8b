//! The stage over a disk in memory.

use super::*;
use crate::base::{Chain, ClusterId, NodeId, Rng};
use crate::journal::test_disk::{Crash, TestDisk};
use crate::journal::{Builder, Expect, Opened, Params, flag, format, open};
use crate::pipeline::lane::lane;
use crate::pipeline::parcel::{Base, Marks};
use crate::replica::Config;

pub const CLUSTER: ClusterId = ClusterId(0xc1);

/// A store, its disk, and both ends of its lanes.
pub struct Rig {
    pub store: Store,
    pub disk: TestDisk,
    pub to: Tx<StoreIn>,
    pub from: Rx<StoreOut>,
    pub marks: Marks,
    pub now: Nanos,
    pub heard: Vec<StoreOut>,
    pub durable: Index,
    pub chain: Chain,
    pub next: Index,
}

pub fn new_disk(voters: u8, params: &Params) -> TestDisk {
    let mut disk = TestDisk::default();
    format(&mut disk, CLUSTER, NodeId(1), Config::of_voters(voters), params).unwrap();
    disk
}

pub fn batch(index: Index, prev: Chain, epoch: u64, bytes: usize) -> Batch {
    let mut builder = Builder::default();
    builder.push(&vec![index.0 as u8; bytes.next_multiple_of(16)], 1);
    builder.seal(CLUSTER, Epoch(epoch), index, prev, flag::OPEN, 1, Nanos(2))
}

impl Rig {
    pub fn new(disk: TestDisk, params: &Params) -> Rig {
        Rig::open(disk, params).0
    }

    pub fn open(mut disk: TestDisk, params: &Params) -> (Rig, crate::journal::Report) {
        let Opened { marks, log, snapshots, report, .. } =
            open(&mut disk, params, Expect::default()).unwrap();
        let last = log.slots().last().and_then(|slot| slot.head);
        let chain = last.map_or(log.start().chain, |head| head.chain);
        let (next, durable) = (log.last().next(), log.durable());
        let (to, store_rx) = lane(64);
        let (store_tx, from) = lane(64);
        let store = Store::new(log, snapshots, store_rx, store_tx);
        let now = Nanos(1);
        (Rig { store, disk, to, from, marks, now, heard: Vec::new(), durable, chain, next }, report)
    }

    pub fn turn(&mut self) {
        // Twice, with a quiet moment between: a dry pipeline then writes its watermark.
        self.store.turn(self.now, &mut self.disk);
        self.now = self.now.plus(Nanos::from_millis(10));
        self.store.turn(self.now, &mut self.disk);
        while let Some(out) = self.from.take() {
            if let StoreOut::Durable { upto, .. } = out {
                self.durable = upto;
            }
            self.heard.push(out);
        }
    }

    pub fn append(&mut self, epoch: u64, bytes: usize) -> Batch {
        let batch = batch(self.next, self.chain, epoch, bytes);
        (self.next, self.chain) = (self.next.next(), batch.chain());
        self.to.send(StoreIn::Append { epoch: Epoch(epoch), batch: batch.clone() });
        batch
    }

    /// Lets one request in flight come true.
    pub fn complete(&mut self, nth: usize) {
        let event = self.disk.complete(nth);
        self.store.on_disk(self.now, event, &mut self.disk);
        self.turn();
    }

    /// Until nothing is in flight.
    pub fn settle(&mut self) {
        self.turn();
        while !self.disk.asked.is_empty() {
            self.complete(0);
        }
        self.turn();
    }

    pub fn crash(mut self, rng: &mut Rng, how: Crash) -> TestDisk {
        self.disk.crash(rng, how);
        self.disk
    }
}

#[test]
fn what_is_appended_is_there_after_a_restart() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let written: Vec<Batch> = (0..30).map(|n| rig.append(1, 100 + n * 300)).collect();
    rig.settle();
    assert_eq!(rig.durable, Index(30));
    let (mut again, report) = Rig::open(rig.disk, &params);
    assert_eq!((report.present, report.unknown.len(), report.cut), (30, 0, None));
    assert_eq!(again.marks.incarnation.0, 2);
    let read = again.store.log.read(&mut again.disk, Index(1), usize::MAX).unwrap();
    assert_eq!(read.len(), 30);
    assert!(read.iter().zip(&written).all(|(a, b)| a.head() == b.head()));
    // And it goes on from there.
    again.append(2, 500);
    again.settle();
    assert_eq!(again.durable, Index(31));
}

#[test]
fn durable_has_no_gap_and_waits_for_the_frame() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    (0..3).for_each(|_| drop(rig.append(1, 100)));
    rig.turn();
    // The first also opens the segment: state frame, body, frame; then body, frame of each.
    assert_eq!(rig.disk.asked.len(), 7);
    (0..4).for_each(|_| rig.complete(3)); // All of the second and third.
    assert_eq!(rig.durable, Index(0));
    rig.complete(1); // The first one's body.
    rig.complete(0);
    assert_eq!(rig.durable, Index(0));
    rig.complete(0); // Its frame.
    assert_eq!(rig.durable, Index(3));
}

#[test]
fn a_cut_waits_for_writes_in_flight_and_is_remembered() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let kept: Vec<Batch> = (0..2).map(|_| rig.append(1, 100)).collect();
    (0..2).for_each(|_| drop(rig.append(1, 100)));
    rig.to.send(StoreIn::Cut { epoch: Epoch(2), after: Index(2) });
    (rig.next, rig.chain) = (Index(3), kept[1].chain());
    let new = rig.append(2, 5000);
    rig.settle(); // The disk itself refuses a second write over one in flight.
    assert!(rig.heard.iter().any(|out| matches!(out, StoreOut::CutDone { after: Index(2), .. })));
    assert_eq!(rig.durable, Index(3));
    let (mut again, report) = Rig::open(rig.disk, &params);
    assert_eq!((report.present, report.cut), (3, None));
    let read = again.store.log.read(&mut again.disk, Index(1), usize::MAX).unwrap();
    assert_eq!(read[2].head(), new.head());
}

#[test]
fn marks_restart_and_recycle() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let batches: Vec<Batch> = (0..20).map(|_| rig.append(1, 3000)).collect();
    rig.settle();
    let at = batches[14].head();
    let base = Base { index: at.index, epoch: at.epoch, chain: at.chain, ticks: at.ticks };
    rig.marks = Marks { promised: Epoch(7), commit: Index(18), base, ..rig.marks };
    rig.to.send(StoreIn::Mark(rig.marks.clone()));
    rig.to.send(StoreIn::Recycle { below: Index(16) });
    rig.settle();
    assert!(rig.heard.iter().any(|out| matches!(out, StoreOut::Marked(marks) if *marks == rig.marks)));
    assert!(rig.store.log.first() > Index(10), "{:?}", rig.store.log.first());
    let (rig, report) = Rig::open(rig.disk, &params);
    assert_eq!((rig.marks.promised, rig.marks.base), (Epoch(7), base));
    assert_eq!((rig.store.log.last(), report.unknown.len()), (Index(20), 0));
    // A snapshot of somebody else's takes its place.
    let mut rig = rig;
    let base = Base { index: Index(90), epoch: Epoch(8), chain: Chain(77), ticks: Nanos(5) };
    rig.to.send(StoreIn::Restart {
        epoch: Epoch(8),
        base,
        config: Config::of_voters(3),
        config_at: Index(1),
    });
    (rig.next, rig.chain) = (Index(91), Chain(77));
    rig.append(8, 100);
    rig.settle();
    assert_eq!(rig.durable, Index(91));
    let (rig, report) = Rig::open(rig.disk, &params);
    assert_eq!((rig.marks.base, report.present, rig.store.log.last()), (base, 1, Index(91)));
}
