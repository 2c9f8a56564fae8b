//! The stage over a disk in memory.

use super::*;
use crate::base::{Chain, ClusterId, Incarnation, Life, NodeId, Rng, Voice};
use crate::journal::test_disk::{Ask, Crash, TestDisk};
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
    let me = Voice { id: NodeId(1), incarnation: Incarnation(1) };
    format(&mut disk, CLUSTER, me, Config::of_voters(voters), Life(0), params).unwrap();
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
    assert_eq!(again.marks.life.0, 2);
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
    let params = Params { segments: 3, ..Params::tiny() }; // None is to be made.
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

/// Found by reading: two followers commit without the leader's disk, a snapshot covers what that disk still writes, and
/// the segment was given away under the write.
#[test]
fn a_segment_that_is_still_written_to_is_not_recycled() {
    let params = Params { window_batches: 16, window_bytes: 1 << 20, ..Params::tiny() };
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let batches: Vec<Batch> = (0..8).map(|_| rig.append(1, 3000)).collect();
    rig.turn();
    let place = rig.store.log.place(Index(2)).unwrap();
    let stuck = |rig: &Rig, nth: usize| {
        let body = (File::Segment(place.file), place.body_offset());
        matches!(rig.disk.asked[nth].1, Ask::Write { file, offset, .. } if (file, offset) == body)
    };
    let all_others = |rig: &mut Rig| {
        while let Some(nth) = (0..rig.disk.asked.len()).find(|&nth| !stuck(rig, nth)) {
            rig.complete(nth);
        }
    };
    all_others(&mut rig);
    assert_eq!(rig.durable, Index(1));
    let base = Base::of(batches[5].head());
    rig.to.send(StoreIn::Mark(Marks { commit: base.index, base, ..rig.marks.clone() }));
    rig.to.send(StoreIn::Recycle { below: base.index.next() });
    (0..8).for_each(|_| drop(rig.append(1, 3000)));
    rig.turn();
    all_others(&mut rig);
    rig.settle();
    assert_eq!((rig.durable, rig.store.log.first()), (Index(16), Index(5)));
}

/// Found by reading: the marks of a snapshot that covers a damaged slot had to wait for others under way, and the next
/// ones, with what had been committed meanwhile, took their place. The store knew the damage still, and stopped.
#[test]
fn marks_that_rebase_over_damage_may_name_what_is_decided_behind_it() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let batches: Vec<Batch> = (0..20).map(|_| rig.append(1, 100)).collect();
    rig.settle();
    let (_, file, page) = rig.store.log.lies(Index(5)).unwrap();
    rig.disk.files.get_mut(&File::Segment(file)).unwrap()[page as usize * 4096 + 130] ^= 1;
    let (mut rig, report) = Rig::open(rig.disk, &params);
    assert_eq!((report.unknown, rig.durable), (vec![Index(5)], Index(4)));
    let base = Base::of(batches[7].head());
    let marks = Marks { incarnation: Incarnation(1), life: Life(2), ..rig.store.log.sup().marks.clone() };
    rig.to.send(StoreIn::Mark(Marks { promised: Epoch(7), ..marks.clone() }));
    rig.to.send(StoreIn::Mark(Marks { promised: Epoch(7), commit: base.index, base, ..marks.clone() }));
    rig.to.send(StoreIn::Mark(Marks { promised: Epoch(8), commit: Index(18), base, ..marks }));
    rig.settle();
    assert_eq!(rig.durable, Index(20));
    let (rig, report) = Rig::open(rig.disk, &params);
    assert_eq!((rig.marks.commit, report.unknown.len()), (Index(18), 0));
}

fn failed(rig: &Rig) -> Option<&DiskFault> {
    rig.heard.iter().find_map(|out| match out {
        StoreOut::Failed(fault) => Some(fault),
        _ => None,
    })
}

#[test]
fn a_failed_write_is_final() {
    let params = Params::tiny();
    // Body, frame, the frame that opens the segment; then the superblock.
    for nth in 0..4 {
        let mut rig = Rig::new(new_disk(3, &params), &params);
        rig.append(1, 100);
        rig.to.send(StoreIn::Mark(Marks { promised: Epoch(3), ..rig.marks.clone() }));
        rig.turn();
        let event = rig.disk.refuse(nth, "input/output error");
        rig.store.on_disk(rig.now, event, &mut rig.disk);
        rig.settle();
        assert!(failed(&rig).is_some() && rig.store.is_failed());
        assert_eq!(rig.durable, Index(0));
        let said = rig.heard.len();
        rig.append(1, 100);
        rig.settle();
        assert_eq!((rig.heard.len(), rig.disk.asked.len()), (said, 0), "it falls silent");
    }
}

#[test]
fn a_full_disk_is_announced_and_the_spare_goes_on() {
    let params = Params::tiny();
    let mut disk = new_disk(3, &params);
    disk.capacity = Some(disk.files.values().map(|bytes| bytes.len() as u64).sum());
    let mut rig = Rig::new(disk, &params);
    let is_full = |rig: &Rig| {
        rig.heard.iter().rev().find_map(|out| match out {
            StoreOut::Full(full) => Some(*full),
            _ => None,
        })
    };
    (0..4).for_each(|_| drop(rig.append(1, 100)));
    rig.settle();
    assert_eq!((is_full(&rig), rig.durable), (Some(true), Index(4)), "with a whole segment left");
    rig.append(1, 100); // Into the spare.
    rig.settle();
    assert_eq!(rig.durable, Index(5));
    // Room comes back: the next try, a second later, finds it.
    rig.disk.capacity = None;
    rig.now = rig.now.plus(Nanos::from_millis(1_001));
    rig.settle();
    rig.settle();
    assert_eq!(is_full(&rig), Some(false));
    // Full again, and this time to the end.
    rig.disk.capacity = Some(0);
    let mut appended = 5;
    while failed(&rig).is_none() && appended < 40 {
        rig.append(1, 100);
        rig.settle();
        appended += 1;
    }
    assert_eq!(rig.durable, Index(16), "four segments of four");
    let reason = &failed(&rig).unwrap().reason;
    assert!(reason.contains("the log is full") && reason.contains("no space left"), "{reason}");
    // Nothing is lost by it, and with room the log goes on.
    rig.disk.capacity = None;
    let (mut again, report) = Rig::open(rig.disk, &params);
    assert_eq!((report.present, report.unknown.len()), (16, 0));
    again.append(2, 100);
    again.settle();
    assert_eq!(again.durable, Index(17));
}

#[test]
fn batches_are_fetched_and_damage_is_named_then_repaired() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let batches: Vec<Batch> = (0..12).map(|n| rig.append(1, 100 + n * 700)).collect();
    rig.settle();
    let fetch = |rig: &mut Rig, from: u64, bytes: usize| {
        rig.heard.clear();
        rig.to.send(StoreIn::Fetch { ticket: 9, from: Index(from), bytes });
        rig.settle();
        match rig.heard.pop() {
            Some(StoreOut::Fetched { ticket: 9, batches, damaged }) => {
                (batches.iter().map(|batch| batch.index().0).collect::<Vec<_>>(), damaged)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetch(&mut rig, 3, usize::MAX), ((3..=12).collect(), None));
    assert_eq!(fetch(&mut rig, 3, 1), (vec![3], None));
    assert_eq!(fetch(&mut rig, 13, 1000), (vec![], None));
    let (_, file, page) = rig.store.log.lies(Index(6)).unwrap();
    rig.disk.files.get_mut(&File::Segment(file)).unwrap()[page as usize * 4096 + 700] ^= 1;
    assert_eq!(fetch(&mut rig, 3, usize::MAX), (vec![3, 4, 5], Some(Index(6))));
    assert_eq!(fetch(&mut rig, 6, 10), (vec![], Some(Index(6))));
    assert_eq!(fetch(&mut rig, 7, usize::MAX), ((7..=12).collect(), None));
    rig.to.send(StoreIn::Repair { batch: batches[5].clone() });
    rig.settle();
    assert!(rig.heard.iter().any(|out| matches!(out, StoreOut::Repaired { index: Index(6) })));
    assert_eq!(fetch(&mut rig, 3, usize::MAX), ((3..=12).collect(), None));
}

#[test]
fn a_watermark_follows_when_the_pipeline_runs_dry() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    (0..3).for_each(|_| drop(rig.append(1, 100)));
    rig.settle();
    let found = crate::journal::examine(&mut rig.disk, &params, Expect::default()).unwrap();
    assert_eq!(found.report.watermark, Index(3));
}

fn write_snapshot(rig: &mut Rig, index: Index, chunks: &[Vec<u8>]) -> u64 {
    let mut offset = 0;
    for chunk in chunks {
        let block = crate::base::Block::copy_of(chunk);
        rig.to.send(StoreIn::SnapshotChunk { index, offset, block });
        offset += chunk.len().next_multiple_of(crate::base::PAGE) as u64;
    }
    offset
}

fn sealed(rig: &Rig) -> Option<bool> {
    rig.heard.iter().find_map(|out| match out {
        StoreOut::SnapshotSealed { verified, .. } => Some(*verified),
        _ => None,
    })
}

#[test]
fn a_snapshot_is_read_back_before_it_is_sealed() {
    let params = Params::tiny();
    let chunks = [vec![1; 8192], vec![2; 4096], vec![3; 4096]];
    let seal = crate::base::Block::copy_of(b"closing words");
    let mut rig = Rig::new(new_disk(3, &params), &params);
    for attempt in 0..2 {
        // The second attempt finds the first one's file.
        let length = write_snapshot(&mut rig, Index(7), &chunks);
        rig.to.send(StoreIn::SnapshotSeal { index: Index(7), length, seal: seal.clone() });
        rig.settle();
        assert_eq!(sealed(&rig), Some(true), "attempt {attempt}");
        let mut data = Vec::new();
        let checked =
            crate::journal::snapshot::check(&mut rig.disk, CLUSTER, Index(7), |b| data.extend_from_slice(b));
        assert_eq!((checked.unwrap().seal, data), (b"closing words".to_vec(), chunks.concat()));
        rig.heard.clear();
    }
    rig.to.send(StoreIn::SnapshotRead { ticket: 4, index: Index(7), offset: 8190, len: 5 });
    rig.settle();
    let bytes = rig.heard.iter().find_map(|out| match out {
        StoreOut::SnapshotBytes { ticket: 4, offset: 8190, block, .. } => Some(block.to_vec()),
        _ => None,
    });
    assert_eq!(bytes.unwrap(), [1, 1, 2, 2, 2]);
    for at in [5, 9000, 16384 + 3] {
        let mut spoilt = rig.disk.clone();
        spoilt.files.get_mut(&File::Snapshot(Index(7))).unwrap()[at] ^= 1;
        assert!(crate::journal::snapshot::check(&mut spoilt, CLUSTER, Index(7), |_| ()).is_err());
    }
    rig.to.send(StoreIn::SnapshotRemove { index: Index(7) });
    rig.settle();
    assert!(!rig.disk.files.contains_key(&File::Snapshot(Index(7))));
    // A shorter one is written over it, and ends where it should.
    rig.heard.clear();
    let length = write_snapshot(&mut rig, Index(9), &chunks[1..]);
    rig.settle();
    assert_eq!(
        rig.disk.files[&File::Snapshot(Index(9))].len(),
        16384 + 4096,
        "it begins with the old one's bytes"
    );
    rig.to.send(StoreIn::SnapshotSeal { index: Index(9), length, seal });
    rig.settle();
    assert_eq!(sealed(&rig), Some(true));
    crate::journal::snapshot::check(&mut rig.disk, CLUSTER, Index(9), |_| ()).unwrap();
}

/// The next snapshot is written over what a removed one left: a late write of that one would land in it.
#[test]
fn a_snapshot_that_failed_is_removed_when_its_last_write_has_come_back() {
    let params = Params { segments: 3, ..Params::tiny() };
    let mut rig = Rig::new(new_disk(3, &params), &params);
    write_snapshot(&mut rig, Index(7), &[vec![1; 4096], vec![2; 4096], vec![3; 4096]]);
    rig.turn();
    rig.complete(0);
    assert_eq!(rig.disk.asked.len(), 3, "the file is there, and its chunks are under way");
    let event = rig.disk.refuse(1, "input/output error");
    rig.store.on_disk(rig.now, event, &mut rig.disk);
    rig.turn();
    assert_eq!(sealed(&rig), Some(false));
    rig.to.send(StoreIn::SnapshotRemove { index: Index(7) });
    rig.turn();
    rig.complete(0);
    let removes = |rig: &Rig| rig.disk.asked.iter().any(|(_, ask)| matches!(ask, Ask::Remove { .. }));
    assert!(!removes(&rig));
    rig.complete(0);
    assert!(removes(&rig));
    rig.settle();
    assert!(!rig.disk.files.contains_key(&File::Snapshot(Index(7))));
}

#[test]
fn a_snapshot_is_read_back_at_a_pace() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let length = write_snapshot(&mut rig, Index(7), &vec![vec![1; 256 << 10]; 4]);
    rig.settle();
    let seal = crate::base::Block::copy_of(b"closing words");
    rig.to.send(StoreIn::SnapshotSeal { index: Index(7), length, seal });
    let begun = rig.now;
    for piece in 1..4 {
        // While the clock stands it rests.
        let deadline = loop {
            let turn = rig.store.turn(rig.now, &mut rig.disk);
            if rig.disk.asked.is_empty() {
                break turn.deadline;
            }
            let event = rig.disk.complete(0);
            rig.store.on_disk(rig.now, event, &mut rig.disk);
        };
        assert_eq!(deadline.since(begun), Nanos(piece * 1_000_000_000 / 2048), "piece {piece}");
        rig.now = deadline;
    }
    assert_eq!(sealed(&rig), None);
    rig.settle();
    assert_eq!(sealed(&rig), Some(true));
}

/// Found by seed 267: a node stopped for want of room for a snapshot.
#[test]
fn a_snapshot_that_finds_no_room_is_lost_and_the_log_goes_on() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    rig.append(1, 100);
    rig.settle();
    rig.disk.capacity = Some(0);
    let length = write_snapshot(&mut rig, Index(1), &[vec![1; 4096], vec![2; 4096]]);
    rig.settle();
    let seal = crate::base::Block::copy_of(&[]);
    rig.to.send(StoreIn::SnapshotSeal { index: Index(1), length, seal });
    rig.append(1, 100);
    rig.settle();
    assert_eq!((sealed(&rig), failed(&rig), rig.durable), (Some(false), None, Index(2)));
}

/// True if the store noticed that a chunk did not land as it was given.
fn notices_a_chunk_gone_wrong() -> bool {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let length = write_snapshot(&mut rig, Index(7), &[vec![1; 8192]]);
    rig.settle();
    rig.disk.files.get_mut(&File::Snapshot(Index(7))).unwrap()[100] ^= 1;
    let seal = crate::base::Block::copy_of(&[]);
    rig.to.send(StoreIn::SnapshotSeal { index: Index(7), length, seal });
    rig.settle();
    let unsealed = crate::journal::snapshot::check(&mut rig.disk, CLUSTER, Index(7), |_| ()).is_err();
    sealed(&rig) == Some(false) && unsealed
}

#[test]
fn a_chunk_gone_wrong_is_noticed() {
    assert!(notices_a_chunk_gone_wrong());
}

#[cfg(feature = "planted")]
#[test]
fn planted_bugs_of_the_store_are_found() {
    use crate::base::planted::{Bug, choose};
    choose(Some(Bug::SkipReadBack));
    assert!(!notices_a_chunk_gone_wrong());
    choose(Some(Bug::ForgiveFailedFlush));
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let red = std::panic::catch_unwind(a_failed_write_is_final).is_err();
    std::panic::set_hook(silent);
    choose(None);
    assert!(red);
}

/// Short reigns, each with a batch of its own, used up the last segment before any had seen its snapshot.
#[test]
fn what_has_come_so_far_goes_past_the_limit() {
    let params = Params { segments_max: 3, ..Params::tiny() };
    let mut rig = Rig::new(new_disk(3, &params), &params);
    for _ in 0..30 {
        rig.append(1, 100);
        rig.settle();
    }
    assert_eq!((failed(&rig).is_none(), rig.durable), (true, Index(30)));
    let full = rig.heard.iter().filter(|out| matches!(out, StoreOut::Full(true))).count();
    assert_eq!(full, 1, "it was said, and whoever heard it asked for nothing more");
}
