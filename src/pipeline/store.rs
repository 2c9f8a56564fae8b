//! The stage that owns the disk: appends, acknowledges what is durable, cuts, repairs, recycles, keeps the
//! superblock and the snapshot files.
//!
//! Several batches are in flight; each waits for its body and its frame together. Durable is reported without a
//! gap. A cut or restart first waits for everything in flight, then for the superblock, and nothing is written
//! into the freed place before. Any failed write is final: this stage says so and falls silent.

mod marks;
mod ops;
mod reads;
mod snapshots;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Index, Nanos};
use crate::journal::{Batch, Log, NoPlace};
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::parcel::{StoreIn, StoreOut};
use crate::pipeline::ports::{Disk, DiskEvent, DiskFault, File, Turn};
use marks::{Restart, Supers};
use ops::{Op, Ops};
use reads::Fetch;
use snapshots::Snapshots;

/// Answers kept back while order's lane is full; more are not produced.
const OUT_MAX: usize = 64;

/// Fetches under way; further ones wait in the lane. Each may hold a megabyte.
const FETCHES_MAX: usize = 8;

/// Repairs at once.
const REPAIRS_MAX: usize = 64;

/// How long a dry pipeline waits for the next batch before it writes its watermark.
const QUIET: Nanos = Nanos(3_000_000);

/// After a segment could not be made, how long until the next try.
const RETRY: Nanos = Nanos(1_000_000_000);

pub struct Store {
    log: Log,
    rx: Rx<StoreIn>,
    tx: Tx<StoreOut>,
    out: VecDeque<StoreOut>,
    /// Taken from the lane, but it must wait for what is in flight. All behind it waits too.
    waiting: Option<StoreIn>,
    ops: Ops,
    flight: VecDeque<Flight>,
    flight_bytes: usize,
    /// Grows when the log's end is moved: completions from before are stale.
    fence: u32,
    /// Everything appended up to here is on stable media; damage found at open is not counted.
    written: Index,
    /// The highest index acknowledged, and the reign of its batch.
    reported: Index,
    reign: Epoch,
    unknown: BTreeSet<Index>,
    repairs: BTreeMap<Index, Batch>,
    reads: Vec<Fetch>,
    next_fetch: u64,
    /// The watermark that some frame on disk carries.
    marked: Index,
    /// The durable head that waits for a watermark, and when it has waited long enough.
    quiet: (Index, Nanos),
    supers: Supers,
    spare: Spare,
    snapshots: Snapshots,
    /// The disk has said something since the last turn.
    heard: bool,
    failed: bool,
}

/// A batch on its way to the disk.
#[derive(Debug)]
struct Flight {
    index: Index,
    epoch: Epoch,
    bytes: usize,
    /// Writes that have not come back.
    left: usize,
}

/// The making of segments ahead of need.
#[derive(Debug, Default)]
struct Spare {
    making: bool,
    /// The last try failed: when to try again, and why it failed.
    blocked: Option<(Nanos, DiskFault)>,
    told_full: bool,
}

impl Store {
    /// `snapshots` are the snapshot files that recovery saw.
    pub fn new(log: Log, snapshots: Vec<Index>, rx: Rx<StoreIn>, tx: Tx<StoreOut>) -> Store {
        let base = log.sup().marks.base.index;
        let lost = log.slots().filter(|slot| !slot.is_present() && slot.index > base);
        let unknown = lost.map(|slot| slot.index).collect();
        Store {
            rx,
            tx,
            out: VecDeque::new(),
            waiting: None,
            ops: Ops::default(),
            flight: VecDeque::new(),
            flight_bytes: 0,
            fence: 0,
            written: log.last(),
            reported: log.durable(),
            reign: Epoch(0),
            unknown,
            repairs: BTreeMap::new(),
            reads: Vec::new(),
            next_fetch: 0,
            marked: log.durable(),
            quiet: (log.durable(), Nanos(0)),
            supers: Supers::default(),
            spare: Spare::default(),
            snapshots: Snapshots::new(log.cluster(), snapshots),
            heard: false,
            failed: false,
            log,
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The disk failed and this stage has stopped.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// The disk has said something that order may wait for.
    pub fn has_news(&self) -> bool {
        self.heard
    }

    /// What is under way, in words.
    pub fn doing(&self) -> String {
        let waiting: String = format!("{:?}", self.waiting).chars().take(80).collect();
        format!("store: waits with {waiting}; {}; {}", self.ops.doing(), self.snapshots.doing())
    }

    /// Nothing is in flight and nothing waits to be.
    pub fn is_idle(&self) -> bool {
        self.ops.is_empty() && self.waiting.is_none() && self.rx.is_empty() && self.out.is_empty()
    }

    pub fn on_disk(&mut self, now: Nanos, event: DiskEvent, disk: &mut impl Disk) {
        self.heard = true;
        let (token, result) = match event {
            DiskEvent::Written { token, result }
            | DiskEvent::Created { token, result }
            | DiskEvent::Removed { token, result } => (token, result.map(|()| None)),
            DiskEvent::Read { token, result } => (token, result.map(Some)),
        };
        // Only what this life, this use of the token, asked for: anything else is stale.
        let Some(op) = self.ops.take(token).filter(|_| !self.failed) else { return };
        let result = match op {
            Op::Append { .. } | Op::Super if planted::is(Bug::ForgiveFailedFlush) => {
                Ok(result.unwrap_or(None))
            }
            _ => result,
        };
        match (op, result) {
            (Op::Append { fence, index }, Ok(_)) => self.on_appended(fence, index),
            (Op::State(watermark), Ok(_)) => self.marked = self.marked.max(watermark),
            (Op::Super, Ok(_)) => self.on_super(disk),
            (Op::Repair(index), Ok(_)) => self.on_repaired(index),
            (Op::Create, result) => self.on_created(now, result.map(|_| ()), disk),
            (Op::Fetch(id), result) => self.on_fetched(id, result.ok().flatten(), disk),
            (Op::Snapshot(index, life, step), result) => {
                self.snapshots.on_disk((index, life, step), result, &mut self.ops, disk, &mut self.out);
            }
            (_, Err(fault)) => self.fail(fault),
        }
    }

    pub fn turn(&mut self, now: Nanos, disk: &mut impl Disk) -> Turn {
        self.heard = false;
        if self.failed {
            self.flush();
            return Turn::IDLE;
        }
        while self.out.len() < OUT_MAX {
            let Some(parcel) = self.waiting.take().or_else(|| self.rx.take()) else { break };
            self.waiting = self.accept(now, parcel, disk);
            if self.waiting.is_some() || self.failed {
                break;
            }
        }
        self.report();
        self.keep_spare(now, disk);
        if !self.repairs.is_empty() && !self.supers.moves_end() {
            self.start_repairs(disk);
        }
        let quiet = self.mark_when_dry(now, disk);
        let check = self.snapshots.turn(now, &mut self.ops, disk);
        self.flush();
        // Once that time has come it is tried when a segment is wanted, not before.
        let retry = self.spare.blocked.as_ref().map(|(at, _)| *at).filter(|at| *at > now);
        let deadline = retry.unwrap_or(Nanos::MAX).min(quiet).min(check);
        // A full lane is looked at again when its receiver has made room: it rings, or shares this loop.
        Turn { again: !self.out.is_empty() && self.tx.room() > 0, deadline }
    }

    /// Takes a parcel, or gives it back because it must wait.
    fn accept(&mut self, now: Nanos, parcel: StoreIn, disk: &mut impl Disk) -> Option<StoreIn> {
        match parcel {
            StoreIn::Append { epoch, batch } => return self.append(now, epoch, batch, disk),
            StoreIn::Mark(marks) => {
                if planted::is(Bug::MarkBeforeFlush) {
                    self.out.push_back(StoreOut::Marked(marks.clone()));
                }
                self.supers.mark(marks, &self.log, &mut self.ops, disk);
            }
            StoreIn::Cut { epoch, after } => {
                if !self.is_drained() {
                    return Some(StoreIn::Cut { epoch, after });
                }
                self.reign = epoch;
                self.supers.cut(epoch, after, &self.log, &mut self.ops, disk);
            }
            StoreIn::Restart { epoch, base, config, config_at } => {
                if !self.is_drained() {
                    return Some(StoreIn::Restart { epoch, base, config, config_at });
                }
                self.reign = epoch;
                let restart = Restart { epoch, base, config, config_at };
                self.supers.restart(restart, &self.log, &mut self.ops, disk);
            }
            StoreIn::Recycle { below } => {
                // The base that makes it needless must be durable, and nothing under way into a freed file: a batch that
                // a majority has, and this disk not yet, may lie below a snapshot already.
                let base = self.log.sup().marks.base.index;
                assert!(
                    below <= self.supers.coming_base().unwrap_or(base).next(),
                    "recycling above the base"
                );
                let early = self.flight.front().is_some_and(|flight| flight.index < below);
                if below > base.next() || early || self.ops.touch_old_segments() || self.supers.moves_end() {
                    return Some(StoreIn::Recycle { below });
                }
                let surplus =
                    u64::from(planted::is(Bug::RecycleTooMuch)) * u64::from(self.log.params().slots());
                self.log.recycle(Index(below.0 + surplus));
            }
            StoreIn::Repair { batch } => {
                let crowded = self.repairs.len() >= REPAIRS_MAX && self.ops.touch_repairs();
                if self.supers.moves_end() || crowded {
                    return Some(StoreIn::Repair { batch });
                }
                self.repair(batch, disk);
            }
            StoreIn::Fetch { ticket, from, bytes } => {
                if self.fetches() >= FETCHES_MAX {
                    return Some(StoreIn::Fetch { ticket, from, bytes });
                }
                self.fetch(ticket, from, bytes, disk);
            }
            StoreIn::SnapshotChunk { .. }
            | StoreIn::SnapshotSeal { .. }
            | StoreIn::SnapshotRead { .. }
            | StoreIn::SnapshotRemove { .. } => {
                return self.snapshots.accept(parcel, &mut self.ops, disk);
            }
        }
        None
    }

    /// No write of the log is under way and the superblock is at rest: its end may be moved.
    fn is_drained(&self) -> bool {
        let hasty = planted::is(Bug::LateWriteOnReusedSlot) || planted::is(Bug::SkipCompletionFence);
        (hasty || self.flight.is_empty() && !self.ops.touch_log()) && self.supers.is_idle()
    }

    fn append(&mut self, now: Nanos, epoch: Epoch, batch: Batch, disk: &mut impl Disk) -> Option<StoreIn> {
        let bytes = batch.block().padded().len();
        let params = self.log.params();
        let crowded = self.flight.len() >= params.window_batches as usize
            || (!self.flight.is_empty() && self.flight_bytes + bytes > params.window_bytes);
        // A cut or restart under way moves the end that this would be appended to.
        if crowded || self.supers.moves_end() {
            return Some(StoreIn::Append { epoch, batch });
        }
        let index = batch.index();
        let writes = match self.log.append(&batch) {
            Ok(writes) => writes,
            Err(_) => {
                self.spare.blocked = self.spare.blocked.take().filter(|(at, _)| *at > now);
                self.keep_spare(now, disk);
                if !self.spare.making {
                    self.fail_full();
                }
                return Some(StoreIn::Append { epoch, batch });
            }
        };
        self.reign = epoch;
        self.flight.push_back(Flight { index, epoch, bytes, left: writes.len() });
        self.flight_bytes += bytes;
        let frame = writes.len() - 1;
        for (nth, write) in writes.into_iter().enumerate() {
            let mut op = Op::Append { fence: self.fence, index };
            if nth == frame && planted::is(Bug::AckWithoutHeader) {
                op = Op::State(Index(0));
                self.flight.back_mut().expect("just put there").left -= 1;
            }
            self.ops.write(op, write, disk);
        }
        if planted::is(Bug::AckBeforeFlush) {
            self.written = index;
            self.raise_durable();
        }
        None
    }

    fn on_appended(&mut self, fence: u32, index: Index) {
        // Of a log whose end has been moved since: it counts for nothing.
        if fence != self.fence && !planted::is(Bug::SkipCompletionFence) {
            return;
        }
        let Some(front) = self.flight.front().map(|flight| flight.index) else { return };
        let nth = index.0.checked_sub(front.0).map(|nth| nth as usize);
        let Some(flight) = nth.and_then(|nth| self.flight.get_mut(nth)) else { return };
        flight.left = flight.left.saturating_sub(1);
        if flight.left == 0 && planted::is(Bug::AckWithGap) {
            self.written = self.written.max(index);
        }
        while self.flight.front().is_some_and(|flight| flight.left == 0) {
            let done = self.flight.pop_front().expect("just seen");
            self.flight_bytes -= done.bytes;
            self.written = self.written.max(done.index);
            self.reign = done.epoch;
        }
        self.raise_durable();
    }

    /// Durable ends in front of the first damaged slot: an acknowledgement covers all below it.
    fn raise_durable(&mut self) {
        let sound = self.unknown.first().map_or(self.written, |bad| bad.prev().min(self.written));
        self.log.durable = self.log.durable.max(sound);
    }

    fn report(&mut self) {
        if self.log.durable > self.reported {
            self.reported = self.log.durable;
            self.out.push_back(StoreOut::Durable { epoch: self.reign, upto: self.reported });
        }
    }

    /// The pipeline has run dry: the last acknowledgement is out, so write behind it how far all is durable. The
    /// next batch's frame would carry it anyway; without a next batch nothing else would. Waits a moment for that
    /// batch: a lone writer would pay for three writes instead of two. Returns when to look again.
    fn mark_when_dry(&mut self, now: Nanos, disk: &mut impl Disk) -> Nanos {
        let dry = self.flight.is_empty() && self.waiting.is_none() && self.rx.is_empty();
        if dry
            && !self.supers.moves_end()
            && self.log.durable > self.marked
            && !self.ops.touch_state()
            && self.log.has_segment()
        {
            if self.quiet.0 != self.log.durable {
                self.quiet = (self.log.durable, now.plus(QUIET));
            }
            if now < self.quiet.1 {
                return self.quiet.1;
            }
            let write = self.log.state_frame();
            self.ops.write(Op::State(self.log.durable), write, disk);
        }
        Nanos::MAX
    }

    fn repair(&mut self, batch: Batch, disk: &mut impl Disk) {
        let index = batch.index();
        if !self.unknown.contains(&index) {
            // Whole already, or no longer part of the log. Say so only if it is this very batch.
            if self.log.slot(index).is_some_and(|slot| slot.head.as_ref() == Some(batch.head())) {
                self.out.push_back(StoreOut::Repaired { index });
            }
            return;
        }
        if planted::is(Bug::RepairInMemory) && self.unknown.remove(&index) {
            self.log.set_present(index);
            self.out.push_back(StoreOut::Repaired { index });
            return;
        }
        if self.log.fits(&batch) {
            self.repairs.insert(index, batch);
            self.start_repairs(disk);
        }
    }

    /// Writes those whose place is known. One that must wait for its neighbour is tried again after each.
    fn start_repairs(&mut self, disk: &mut impl Disk) {
        for index in self.repairs.keys().copied().collect::<Vec<_>>() {
            if self.ops.repairing(index) {
                continue;
            }
            match self.log.repair(&self.repairs[&index]) {
                Ok(writes) => {
                    for write in writes {
                        self.ops.write(Op::Repair(index), write, disk);
                    }
                }
                Err(NoPlace::Full | NoPlace::Later) => {}
            }
        }
    }

    fn on_repaired(&mut self, index: Index) {
        if self.ops.repairing(index) {
            return; // Its body or its frame is still under way.
        }
        if self.repairs.remove(&index).is_some() && self.unknown.remove(&index) {
            self.log.set_present(index);
            self.raise_durable();
            self.out.push_back(StoreOut::Repaired { index });
            // Said once more: whoever heard of the damage has counted back.
            self.out.push_back(StoreOut::Durable { epoch: self.reign, upto: self.log.durable });
        }
    }

    fn on_super(&mut self, disk: &mut impl Disk) {
        let Some(done) = self.supers.on_written(&mut self.ops, disk) else { return };
        self.log.set_super(done.sup);
        if let Some(marks) = done.marks {
            // What a snapshot stands for needs no repair.
            self.unknown = self.unknown.split_off(&marks.base.index.next());
            self.repairs = self.repairs.split_off(&marks.base.index.next());
            self.raise_durable();
            self.out.push_back(StoreOut::Marked(marks));
        }
        if let Some((epoch, after)) = done.cut {
            self.log.cut(after);
            self.end_moved();
            self.out.push_back(StoreOut::CutDone { epoch, after });
        }
        if let Some(Restart { epoch, base, .. }) = done.restart {
            self.log.restart(base);
            self.end_moved();
            self.out.push_back(StoreOut::Restarted { epoch });
        }
        if done.files.is_some() {
            self.log.add_file();
            (self.spare.making, self.spare.blocked) = (false, None);
        }
        self.supers.start(&self.log, &mut self.ops, disk);
    }

    fn end_moved(&mut self) {
        self.fence += 1;
        self.flight.clear();
        self.flight_bytes = 0;
        self.written = self.log.last();
        self.reported = self.log.durable;
        self.marked = self.log.durable;
        self.unknown.retain(|&index| self.log.slot(index).is_some());
        self.repairs.retain(|index, _| self.unknown.contains(index));
    }

    /// Makes the next segment before it is needed, and tells whether writes can go on being taken.
    fn keep_spare(&mut self, now: Nanos, disk: &mut impl Disk) {
        let (_, free) = self.log.space();
        let files = self.log.next_file();
        let may_try = self.spare.blocked.as_ref().is_none_or(|(at, _)| now >= *at);
        // One is made while there still is another: should it fail the last is kept back, be the current one nearly
        // full by then, and the next try does not wait for its use.
        let few = free <= 1;
        // What has come so far without a place must go in: the limit bounds what is asked for, and short reigns, each
        // with a batch of its own, may use up the last segment before any of them has lived to see a snapshot.
        let within = files < self.log.params().segments_max || free == 0;
        if few && !self.spare.making && may_try && within {
            self.spare.making = true;
            let file = File::Segment(self.log.next_file());
            self.ops.create(Op::Create, file, self.log.params().segment_bytes, disk);
        }
        // Where no further one can be had, the last is kept for what makes room: a reign's first batch, a snapshot.
        let last = files >= self.log.params().segments_max || self.spare.blocked.is_some();
        let full = free <= usize::from(last) && !self.spare.making;
        if full != self.spare.told_full {
            // While one is being made nothing is said: that is no reason to refuse, nor yet to resume.
            if full || free > 0 {
                self.spare.told_full = full;
                self.out.push_back(StoreOut::Full(full));
            }
        }
    }

    fn on_created(&mut self, now: Nanos, result: Result<(), DiskFault>, disk: &mut impl Disk) {
        match result {
            // Before its first use the superblock counts it: a file that it counts and that is gone is a loss.
            Ok(()) => self.supers.count_files(self.log.next_file() + 1, &self.log, &mut self.ops, disk),
            // The log that exists goes on; only the spare is missing.
            Err(fault) => {
                self.spare.making = false;
                self.spare.blocked = Some((now.plus(RETRY), fault));
            }
        }
    }

    fn fail_full(&mut self) {
        let (segments, _) = self.log.space();
        let why = match &self.spare.blocked {
            Some((_, fault)) => format!("no further one could be made: {}", fault.reason),
            None => format!("{} is their limit", self.log.params().segments_max),
        };
        self.fail(DiskFault {
            operation: "append",
            file: self.log.last_file(),
            offset: self.log.params().segment_bytes,
            reason: format!(
                "the log is full: {segments} segments are in use and {why}; free disk space or raise the limit, \
                 then start again"
            ),
        });
    }

    fn fail(&mut self, fault: DiskFault) {
        self.failed = true;
        self.waiting = None;
        self.out.clear(); // What was not yet said is not said: only the failure counts now.
        self.out.push_back(StoreOut::Failed(fault));
        self.flush();
    }

    fn flush(&mut self) {
        while self.tx.room() > 0 {
            let Some(parcel) = self.out.pop_front() else { break };
            self.tx.send(parcel);
        }
    }
}
