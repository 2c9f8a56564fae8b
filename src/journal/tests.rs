//! What recovery promises, over a disk in memory: whatever power loss or one damaged copy does to a log, what was
//! acknowledged is there, or is known to be missing, or the directory is refused.

mod damage;

use crate::base::{Chain, Epoch, Index, PAGE, Rng};
use crate::journal::test_disk::{Crash, TestDisk};
use crate::journal::{Batch, Expect, Log, OpenError, Params, SlotState, examine, open};
use crate::pipeline::parcel::{Base, Marks, StoreIn, StoreOut};
use crate::pipeline::ports::File;
use crate::pipeline::store::tests::{Rig, new_disk};
use damage::spoil;

/// Three batches to a segment, few bytes: every one can be flipped.
fn smallest() -> Params {
    Params { segment_bytes: 9 * PAGE as u64, header_slots: 5, window_batches: 3, ..Params::tiny() }
}

/// A log at rest: `count` batches, all acknowledged, the watermark behind them on disk.
fn at_rest(voters: u8, params: &Params, count: usize, bytes: usize) -> (TestDisk, Vec<Batch>) {
    let mut rig = Rig::new(new_disk(voters, params), params);
    let batches = (0..count).map(|_| rig.append(1, bytes)).collect();
    rig.settle();
    assert_eq!(rig.durable, Index(count as u64));
    (rig.disk, batches)
}

/// Present and the same, or unknown: never absent, never something else.
fn assert_nothing_denied(disk: &mut TestDisk, params: &Params, acked: &[Batch], what: &str) -> usize {
    let found = match examine(disk, params, Expect::default()) {
        Ok(found) => found,
        Err(error) => panic!("{what}: {error}"),
    };
    let mut unknown = 0;
    for batch in acked.iter().filter(|batch| batch.index() >= found.log.first()) {
        let slot =
            found.log.slot(batch.index()).unwrap_or_else(|| panic!("{what}: {} denied", batch.index()));
        assert!(slot.head.is_none_or(|head| head == *batch.head()), "{what}: {} is another", batch.index());
        unknown += usize::from(!slot.is_present());
    }
    assert!(found.log.last() <= acked.last().unwrap().index(), "{what}: more than was written");
    unknown
}

/// Found by killing leaders: a log of small batches under a snapshot is judged from its end to its start, and each
/// page was read with the megabyte behind it. Restarts took ten seconds.
#[test]
fn a_log_is_read_once_forwards_or_backwards() {
    let params =
        Params { segment_bytes: 2048 * PAGE as u64, header_slots: 900, window_batches: 8, ..Params::tiny() };
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let mut batches = Vec::new();
    for _ in 0..800 {
        batches.push(rig.append(1, 100));
        rig.settle();
    }
    let head = batches[790].head();
    let base = Base::of(head);
    rig.to.send(StoreIn::Mark(Marks { base, commit: head.index, ..rig.marks.clone() }));
    rig.settle();
    rig.disk.read = 0;
    let found = examine(&mut rig.disk, &params, Expect::default()).expect("it is whole");
    assert_eq!(found.report.present, 799, "the first says where the rest continue");
    let log = 1700 * PAGE as u64;
    assert!((log..4 * log).contains(&rig.disk.read), "{} bytes read of a log of {log}", rig.disk.read);
}

/// A run of random work with crashes; knows what must survive.
struct World {
    params: Params,
    rng: Rng,
    /// What the log holds, from `first`.
    log: Vec<Batch>,
    start: Base,
    acked: Index,
    marks: Marks,
    epoch: u64,
}

impl World {
    fn last(&self) -> Index {
        Index(self.start.index.0 + self.log.len() as u64)
    }

    fn batch_at(&self, index: Index) -> &Batch {
        &self.log[(index.0 - self.start.index.0 - 1) as usize]
    }

    fn cut_model(&mut self, after: Index) {
        self.log.truncate((after.0 - self.start.index.0) as usize);
        self.acked = self.acked.min(after);
    }

    fn base_at(&self, index: Index) -> Base {
        let head = self.batch_at(index).head();
        Base { index, epoch: head.epoch, chain: head.chain, ticks: head.ticks }
    }

    fn work(&mut self, rig: &mut Rig, turns: u64) {
        for _ in 0..turns {
            match self.rng.below(20) {
                0..=8 if rig.to.room() > 2 => {
                    let bytes = self.rng.below(9000) as usize;
                    let batch = rig.append(self.epoch, bytes);
                    self.log.push(batch);
                }
                9 if rig.to.room() > 2 => {
                    self.marks.promised.0 += 1;
                    self.marks.life = rig.marks.life;
                    self.marks.commit = self.acked;
                    rig.to.send(StoreIn::Mark(self.marks.clone()));
                }
                10 if self.rng.chance(0.3) => self.cut(rig),
                11 if self.rng.chance(0.3) => self.recycle(rig),
                12 if self.rng.chance(0.1) => self.restart(rig),
                _ if !rig.disk.asked.is_empty() => {
                    let nth = self.rng.below(rig.disk.asked.len() as u64) as usize;
                    rig.complete(nth);
                }
                _ => rig.turn(),
            }
            self.acked = rig.durable;
        }
    }

    /// Above what is committed; the order stage waits for the answer.
    fn cut(&mut self, rig: &mut Rig) {
        let low = self.marks.commit.max(self.start.index);
        let after = Index(self.rng.between(low.0, self.last().0));
        self.epoch += 1;
        rig.to.send(StoreIn::Cut { epoch: Epoch(self.epoch), after });
        let done = |rig: &Rig| rig.heard.iter().any(|out| matches!(out, StoreOut::CutDone { .. }));
        self.run_until(rig, done);
        self.cut_model(after);
        rig.next = after.next();
        rig.chain = match after == self.start.index {
            true => self.start.chain,
            false => self.batch_at(after).chain(),
        };
        rig.durable = rig.durable.min(after);
    }

    fn recycle(&mut self, rig: &mut Rig) {
        if self.acked <= self.start.index {
            return;
        }
        let index = Index(self.rng.between(self.start.index.0 + 1, self.acked.0));
        if index < self.marks.base.index {
            return;
        }
        self.marks.base = self.base_at(index);
        self.marks.commit = self.marks.commit.max(index);
        self.marks.life = rig.marks.life;
        rig.to.send(StoreIn::Mark(self.marks.clone()));
        self.run_until(rig, |rig| rig.heard.iter().any(|out| matches!(out, StoreOut::Marked(_))));
        rig.to.send(StoreIn::Recycle { below: index.next() });
    }

    fn restart(&mut self, rig: &mut Rig) {
        self.epoch += 1;
        let index = Index(self.last().0 + self.rng.below(10));
        let base = Base {
            index,
            epoch: Epoch(self.epoch),
            chain: Chain(u128::from(self.rng.next_u64())),
            ..Base::default()
        };
        rig.to.send(StoreIn::Restart {
            epoch: base.epoch,
            base,
            config: crate::replica::Config::of_voters(3),
            config_at: Index(1),
        });
        self.run_until(rig, |rig| rig.heard.iter().any(|out| matches!(out, StoreOut::Restarted { .. })));
        self.log.clear();
        (self.start, self.acked) = (base, index);
        (self.marks.base, self.marks.commit, self.marks.history) = (base, index, base.epoch);
        (rig.next, rig.chain, rig.durable) = (index.next(), base.chain, index);
    }

    fn run_until(&mut self, rig: &mut Rig, done: impl Fn(&Rig) -> bool) {
        rig.heard.clear();
        rig.turn();
        while !done(rig) {
            assert!(!rig.disk.asked.is_empty(), "nothing is in flight and no answer came");
            let nth = self.rng.below(rig.disk.asked.len() as u64) as usize;
            rig.complete(nth);
        }
        // Acknowledgements came before.
        self.acked = self.acked.max(rig.durable.min(self.last()));
    }

    /// After a crash: compares, then settles what is unknown as peers would.
    fn reopen(&mut self, disk: TestDisk, spoilt: Option<Index>, seed: u64) -> Rig {
        let (mut rig, report) = Rig::open(disk, &self.params);
        let log = rig.store.log();
        for index in (log.first().0.max(self.start.index.0 + 1)..=self.acked.0).map(Index) {
            let slot = log.slot(index).unwrap_or_else(|| panic!("seed {seed}: acknowledged {index} denied"));
            let whole = slot.is_present() || Some(index) == spoilt;
            assert!(whole, "seed {seed}: acknowledged {index} unknown without damage");
            assert_eq!(
                slot.head,
                Some(*self.batch_at(index).head()),
                "seed {seed}: {index} is another batch"
            );
        }
        assert!(log.first() <= self.marks.base.index.next().max(self.start.index.next()));
        for slot in log.slots().filter(|slot| !slot.is_present()) {
            let torn = slot.state == SlotState::Unknown { torn: true };
            assert!(torn || Some(slot.index) == spoilt, "seed {seed}: {}", slot.index);
        }
        assert!(log.last() <= self.last(), "seed {seed}: more than was ever appended");
        if let Some(index) = spoilt.filter(|index| report.unknown.contains(index)) {
            rig.to.send(StoreIn::Repair { batch: self.batch_at(index).clone() });
            rig.settle();
        }
        // What is left of the unacknowledged end: the first unknown is cut, as by certain absence elsewhere.
        let log = rig.store.log();
        let sound = log.first_unknown().map_or(log.last(), Index::prev);
        let last = log.last();
        self.cut_model(sound);
        (rig.next, rig.chain) = (
            sound.next(),
            if sound == self.start.index { self.start.chain } else { self.batch_at(sound).chain() },
        );
        rig.durable = sound;
        self.acked = sound;
        self.marks = rig.marks.clone();
        if sound < last {
            self.epoch += 1;
            rig.to.send(StoreIn::Cut { epoch: Epoch(self.epoch), after: sound });
            self.run_until(&mut rig, |rig| {
                rig.heard.iter().any(|out| matches!(out, StoreOut::CutDone { .. }))
            });
        }
        rig
    }
}

/// Goal: power loss at any moment, again and again, and a damaged copy of something acknowledged: never is it denied.
#[test]
fn what_was_acknowledged_outlives_power_loss() {
    let seen = power_loss(0..400);
    let Seen { cuts, torn, wraps, repairs } = seen;
    assert!(cuts > 50 && torn > 50 && wraps > 20 && repairs > 50, "the test tests: {seen:?}");
}

#[derive(Debug, Default)]
struct Seen {
    cuts: usize,
    torn: usize,
    wraps: usize,
    repairs: usize,
}

fn power_loss(seeds: std::ops::Range<u64>) -> Seen {
    let mut seen = Seen::default();
    for seed in seeds {
        let params = Params::tiny();
        let mut world = World {
            params,
            rng: Rng::new(seed),
            log: Vec::new(),
            start: Base::default(),
            acked: Index(0),
            marks: Marks::default(),
            epoch: 1,
        };
        let mut rig = Rig::new(new_disk(3, &params), &params);
        world.marks = rig.marks.clone();
        for _ in 0..6 {
            let turns = world.rng.between(1, 120);
            world.work(&mut rig, turns);
            let how = Crash { vanish: world.rng.unit() / 2.0, tear: world.rng.unit() / 2.0 };
            let mut rng = world.rng.fork();
            let promised = rig.heard.iter().rev().find_map(|out| match out {
                StoreOut::Marked(marks) => Some(marks.promised),
                _ => None,
            });
            let held = rig.store.log().held(world.acked).and_then(|held| held.place);
            let mut disk = rig.crash(&mut rng, how);
            let mut spoilt = None;
            if let Some(place) = held.filter(|_| rng.chance(0.3)) {
                // Only one of its copies.
                let body = rng.chance(0.7);
                let offset = if body { place.body_offset() } else { place.frame_offset() };
                spoil(&mut disk, place.file, offset, &mut rng);
                spoilt = Some(world.acked).filter(|_| body);
            }
            let before = examine(&mut disk, &params, Expect::default()).unwrap();
            assert!(before.sup.marks.promised >= promised.unwrap_or_default(), "seed {seed}");
            seen.cuts += usize::from(before.report.cut.is_some());
            seen.torn += before.report.unknown.len();
            seen.wraps += usize::from(before.files.iter().any(|file| file.sequence > 8));
            seen.repairs += usize::from(spoilt.is_some());
            recovery_survives_its_own_crashes(&disk, &params, seed);
            rig = world.reopen(disk, spoilt, seed);
        }
    }
    seen
}

/// Goal: recovery cut off at any of its writes, then done again, decides the same. Seed 74: a body that had been cut two
/// eras ago came back once the frames that named another in its place counted no more.
fn recovery_survives_its_own_crashes(disk: &TestDisk, params: &Params, seed: u64) {
    let mut whole = disk.clone();
    whole.writes = 0;
    let reference = open(&mut whole, params, Expect::default()).unwrap();
    for stop in 1..=whole.writes {
        let mut again = disk.clone();
        again.writes_left = Some(stop);
        open(&mut again, params, Expect::default()).unwrap_err();
        again.writes_left = None;
        let opened = open(&mut again, params, Expect::default()).unwrap();
        // A torn healing may complete the torn frame that it heals, and that one may know more: seed 100.
        let (known, knew) = (opened.log.watermark(), reference.log.watermark());
        assert!(known >= knew, "seed {seed}, stopped at write {stop}");
        let heads = |log: &Log| log.slots().map(|slot| (slot.head, slot.is_present())).collect::<Vec<_>>();
        assert_eq!(heads(&opened.log), heads(&reference.log), "seed {seed}, stopped at write {stop}");
        let same = opened.log.slots().eq(reference.log.slots());
        assert!(same || known > knew, "seed {seed}, stopped at write {stop}");
    }
}

/// What was cut lies behind what replaced it, whole: only the chain and the era tell that it is no longer the log.
#[test]
fn what_was_cut_stays_cut() {
    leave_a_cut_batch_behind();
}

fn leave_a_cut_batch_behind() {
    let params = Params::tiny();
    let mut rig = Rig::new(new_disk(3, &params), &params);
    let batches: Vec<Batch> = (0..4).map(|_| rig.append(1, 300)).collect();
    rig.to.send(StoreIn::Cut { epoch: Epoch(2), after: Index(2) });
    (rig.next, rig.chain) = (Index(3), batches[1].chain());
    let new = rig.append(2, 300);
    rig.settle();
    let mut disk = rig.disk;
    // Even if the frame that was cut with it is gone, so that nothing calls it dead.
    let slot = crate::journal::layout::STATE_SLOTS as usize + 3;
    disk.files.get_mut(&File::Segment(0)).unwrap()[slot * PAGE + 9] ^= 1;
    let (rig, report) = Rig::open(disk, &params);
    assert_eq!((rig.store.log().last(), report.unknown.len()), (Index(3), 0));
    assert_eq!(rig.store.log().slot(Index(3)).unwrap().head, Some(*new.head()));
}

/// Goal: a directory that is not ours, or not ours to read, is refused by name, and not a byte of it is changed.
#[test]
fn bad_directories_are_named_and_left_alone() {
    let params = Params::tiny();
    let (disk, _) = at_rest(3, &params, 5, 300);
    let refuse = |disk: &TestDisk, expect: Expect| {
        let mut disk = TestDisk { writes: 0, ..disk.clone() };
        let before = disk.files.clone();
        let error = open(&mut disk, &params, expect).unwrap_err();
        assert!(disk.files == before && disk.writes == 0, "{error}: something was written");
        error
    };
    let nobody = Expect::default();
    assert_eq!(refuse(&TestDisk::default(), nobody), OpenError::NotFormatted);

    let mut foreign = TestDisk::default();
    foreign.files.insert(File::Super, b"something else entirely\n".repeat(2000));
    assert_eq!(refuse(&foreign, nobody), OpenError::Strange { file: File::Super, offset: 0 });

    let mut unfinished = new_disk(3, &params);
    unfinished.files.get_mut(&File::Super).unwrap().fill(0);
    assert_eq!(refuse(&unfinished, nobody), OpenError::Unfinished);
    let mut wiped = disk.clone();
    wiped.files.get_mut(&File::Super).unwrap().fill(0);
    assert!(matches!(refuse(&wiped, nobody), OpenError::SuperDamaged { .. }), "its log is in use");

    let other = crate::base::ClusterId(99);
    let error = refuse(&disk, Expect { cluster: Some(other), node: None });
    assert!(
        matches!(error, OpenError::OtherCluster { file: File::Super, expected, .. } if expected == other)
    );
    let error = refuse(&disk, Expect { cluster: None, node: Some(crate::base::NodeId(2)) });
    assert!(matches!(error, OpenError::OtherNode { file: File::Super, .. }), "{error}");

    // A segment of another cluster among ours.
    let mut mixed = disk.clone();
    let mut theirs = TestDisk::default();
    theirs.files.insert(File::Segment(0), disk.files[&File::Segment(0)].clone());
    let page = &mut theirs.files.get_mut(&File::Segment(0)).unwrap()[2 * PAGE..3 * PAGE];
    page[16] ^= 1;
    let crc = crate::base::sum::crc32c(&page[8..]);
    page[4..8].copy_from_slice(&crc.to_le_bytes());
    mixed.files.extend(theirs.files);
    let error = refuse(&mixed, nobody);
    assert!(matches!(error, OpenError::OtherCluster { file: File::Segment(0), offset: 8192, .. }), "{error}");

    // Written by a newer release.
    for (file, at) in [(File::Super, 0), (File::Segment(0), 2 * PAGE)] {
        let mut newer = disk.clone();
        let len = if file == File::Super { crate::journal::COPY } else { PAGE };
        let block = &mut newer.files.get_mut(&file).unwrap()[at..at + len];
        block[8] = 9;
        let crc = crate::base::sum::crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        let expected = OpenError::Newer {
            file,
            offset: at as u64,
            found: 9,
            known: if file == File::Super { 2 } else { 1 },
        };
        assert_eq!(refuse(&newer, nobody), expected);
    }

    // A superblock from before, put back.
    let mut rig = Rig::new(disk.clone(), &params);
    (0..3).for_each(|_| drop(rig.append(1, 300)));
    rig.settle();
    let mut old = rig.disk;
    old.files.insert(File::Super, disk.files[&File::Super].clone());
    assert!(matches!(refuse(&old, nobody), OpenError::RolledBack { .. }));

    let mut read_only = disk.clone();
    read_only.read_only = true;
    let error = refuse(&read_only, nobody);
    assert!(error.to_string().contains("read-only") && error.to_string().contains("super"), "{error}");

    let config = crate::replica::Config::of_voters(3);
    let mut again = disk.clone();
    let error = crate::journal::format(
        &mut again,
        other,
        crate::base::Voice { id: crate::base::NodeId(1), incarnation: crate::base::Incarnation(1) },
        config,
        crate::base::Life(0),
        &params,
    )
    .unwrap_err();
    assert!(matches!(error, OpenError::Exists { .. }) && again.files == disk.files);
}

/// Every planted bug of the journal turns one of these properties red.
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    use crate::base::planted::{Bug, choose};
    use damage::{damage_one_copy_each, flip_every_byte, flip_every_byte_alone};
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = |bug, property: fn()| {
        choose(Some(bug));
        let red = std::panic::catch_unwind(property).is_err();
        choose(None);
        red
    };
    let power: fn() = || drop(power_loss(0..100));
    let one_copy: fn() = || damage_one_copy_each(20);
    let cases: [(Bug, fn()); 14] = [
        (Bug::SkipChainCheck, leave_a_cut_batch_behind),
        (Bug::AckBeforeFlush, power),
        (Bug::AckWithGap, power),
        (Bug::AckWithoutHeader, power),
        (Bug::LateWriteOnReusedSlot, power),
        (Bug::SkipCompletionFence, power),
        (Bug::MarkBeforeFlush, power),
        (Bug::RecycleTooMuch, power),
        (Bug::OldestSuperblock, power),
        (Bug::OverwriteSuperblock, power),
        (Bug::NackCorruptSlot, flip_every_byte),
        (Bug::CutAtFirstBadSum, one_copy),
        (Bug::SkipPositionCheck, one_copy),
        (Bug::IgnoreWatermark, flip_every_byte_alone),
    ];
    let missed: Vec<Bug> =
        cases.into_iter().filter(|&(bug, property)| !found(bug, property)).map(|(bug, _)| bug).collect();
    std::panic::set_hook(silent);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
