//! A virtual disk: what is on the platter, what is still in flight, and all that can go wrong with either.
//!
//! A write lands when it completes; until then the platter holds what was there before. At a crash each write in
//! flight vanishes, lands whole, or lands in any subset of its 512-byte sectors. Beyond that the disk lies only
//! where the atlas permits, so that a good copy of everything stays on enough nodes and every loss is our bug.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::base::{Block, BlockMut, Index, Nanos, PAGE, Rng};
use crate::journal::{Batch, BatchHead};
use crate::pipeline::ports::{Disk, DiskEvent, DiskFault, File};
use crate::sim::atlas::Atlas;
use crate::sim::notes::Notes;

/// What a disk writes or loses as one piece.
pub const SECTOR: usize = 512;

/// How this disk behaves. All chances are per operation.
#[derive(Clone, Debug)]
pub struct Habits {
    pub latency_min_us: u64,
    /// Added to the minimum, exponentially distributed.
    pub latency_mean_us: u64,
    /// Multiplies every latency; 100 is a disk about to die.
    pub slowness: u64,
    /// Chance of a stall of up to a second.
    pub stall: f64,
    /// Half of the writes into segments that begin now end no sooner than this, and whatever comes later passes them.
    pub holds: Option<Nanos>,
    /// Reported done, never landed.
    pub lost_write: f64,
    /// Landed whole at another place, which keeps what does not fit.
    pub misdirected_write: f64,
    /// A read that returns another place's bytes.
    pub misdirected_read: f64,
    /// One bit of a read is wrong; the platter is not.
    pub flipped_read: f64,
    pub read_error: f64,
    pub write_error: f64,
    /// At a crash, the share of writes in flight that tear rather than vanish or land.
    pub tear: f64,
    /// No room for new files.
    pub full: bool,
    /// Every write and read fails until the faults end.
    pub dead: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            latency_min_us: 20,
            latency_mean_us: 80,
            slowness: 1,
            stall: 0.0,
            holds: None,
            lost_write: 0.0,
            misdirected_write: 0.0,
            misdirected_read: 0.0,
            flipped_read: 0.0,
            read_error: 0.0,
            write_error: 0.0,
            tear: 0.5,
            full: false,
            dead: false,
        }
    }
}

impl Habits {
    /// No lies and no errors from here on; the pace stays.
    pub fn reform(&mut self) {
        let pace = (self.latency_min_us, self.latency_mean_us, self.tear);
        *self = Habits { latency_min_us: pace.0, latency_mean_us: pace.1, tear: pace.2, ..Habits::default() };
    }
}

/// What the disk did wrong so far, by kind: a run in which a kind never happened proves nothing about it.
#[derive(Clone, Debug, Default)]
pub struct Misdeeds {
    pub lost: u64,
    pub misdirected: u64,
    pub torn: u64,
    pub vanished: u64,
    pub flipped: u64,
    pub errors: u64,
    pub stalls: u64,
    pub full: u64,
}

impl Misdeeds {
    pub fn total(&self) -> u64 {
        self.lost + self.misdirected + self.torn + self.flipped + self.errors + self.stalls + self.full
    }
}

#[derive(Debug)]
enum Work {
    Write { file: File, offset: u64, block: Block },
    Read { file: File, offset: u64, len: usize },
    Create { file: File, len: u64 },
    End { file: File, len: u64 },
    Remove { file: File },
}

/// A disk as it was at some time.
#[derive(Debug)]
pub struct Copy {
    platter: BTreeMap<File, Vec<u8>>,
    notes: Notes,
}

/// One node's disk. It outlives the node's processes.
pub struct VirtualDisk {
    platter: BTreeMap<File, Vec<u8>>,
    /// The bytes of the last snapshot that was removed: the next one begins with them.
    spare: Option<Vec<u8>>,
    flying: BTreeMap<u64, (u64, Work)>,
    /// Pages that cannot be read until they are written again.
    bad: BTreeSet<(File, usize)>,
    next: u64,
    rng: Rng,
    pub habits: Habits,
    pub atlas: Atlas,
    pub misdeeds: Misdeeds,
    /// Set by the world before it lets the node run.
    pub now: Nanos,
    /// Requests not yet in the world's heap: (when done, operation).
    pub outbox: Vec<(Nanos, u64)>,
    /// The machine dies at this many more writes through `Media`: a crash within recovery.
    pub crash_in: Option<u32>,
    /// That crash has come: every call fails until the world restarts the node.
    pub crashed: bool,
    /// What the disk has called durable, for oracles.
    pub notes: Notes,
    /// Files that have changed at rest: what was verified there may be so no more.
    pub struck: BTreeSet<File>,
    /// Two writes were under way to one place at a time: which of them would stay is anybody's guess.
    pub clash: Option<String>,
    /// Which of the disks that were in this machine, one after the other, this is.
    pub serial: u32,
    /// Every write lands whole, whatever is said of it: what another disk has lost may stand here alone.
    pub lands_all: bool,
}

impl VirtualDisk {
    pub fn new(rng: Rng, atlas: Atlas) -> VirtualDisk {
        VirtualDisk {
            platter: BTreeMap::new(),
            spare: None,
            flying: BTreeMap::new(),
            bad: BTreeSet::new(),
            next: 0,
            rng,
            habits: Habits::default(),
            atlas,
            misdeeds: Misdeeds::default(),
            now: Nanos(0),
            outbox: Vec::new(),
            crash_in: None,
            crashed: false,
            notes: Notes::default(),
            struck: BTreeSet::new(),
            clash: None,
            serial: 0,
            lands_all: false,
        }
    }

    /// All that the disk holds and is known to have held: what a copy of it would be.
    pub fn copy(&self) -> Copy {
        Copy { platter: self.platter.clone(), notes: self.notes.clone() }
    }

    /// An old copy is put back in its place.
    pub fn put_back(&mut self, copy: Copy) {
        self.flying.clear();
        self.bad.clear();
        self.platter = copy.platter;
        self.notes.put_back(copy.notes);
        self.atlas.sure = self.notes.sure;
        self.serial += 1;
    }

    /// The durable bytes, for oracles and for damage at rest.
    pub fn platter(&self) -> &BTreeMap<File, Vec<u8>> {
        &self.platter
    }

    pub fn platter_mut(&mut self) -> &mut BTreeMap<File, Vec<u8>> {
        &mut self.platter
    }

    /// Whether a whole batch of this index lies anywhere on it, on pages that can be read.
    pub fn tells(&self, index: Index) -> bool {
        self.platter.iter().any(|(file, image)| {
            image.chunks(PAGE).enumerate().any(|(page, bytes)| {
                let Ok(head) = BatchHead::decode(bytes) else { return false };
                let length = head.length as usize;
                let is_whole = |body: &[u8]| Batch::check(body).is_ok_and(|head| head.index == index);
                head.index == index
                    && image.get(page * PAGE..page * PAGE + length).is_some_and(is_whole)
                    && !self.is_bad(*file, page..page + length.div_ceil(PAGE))
            })
        })
    }

    fn is_bad(&self, file: File, pages: Range<usize>) -> bool {
        self.bad.range((file, pages.start)..(file, pages.end)).next().is_some()
    }

    /// Requests that it has failed.
    pub fn complaints(&self) -> u64 {
        self.misdeeds.errors + self.misdeeds.full
    }

    /// Writes under way.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Everything gone: a new disk in the old machine.
    pub fn wipe(&mut self) {
        self.platter.clear();
        self.flying.clear();
        self.bad.clear();
        (self.crash_in, self.crashed) = (None, false);
        self.notes.begin_anew();
        self.atlas.sure = self.notes.sure;
        self.serial += 1;
    }

    /// A bit at rest changes.
    pub fn flip(&mut self, file: File, byte: u64, bit: usize) {
        if let Some(byte) = self.platter.get_mut(&file).and_then(|image| image.get_mut(byte as usize)) {
            *byte ^= 1 << bit;
            self.misdeeds.flipped += 1;
            self.struck.insert(file);
        }
    }

    /// From here on this page cannot be read.
    pub fn spoil(&mut self, file: File, page: usize) {
        self.bad.insert((file, page));
    }

    /// The machine loses power, or (`power` false) only the process dies and the kernel finishes what it has.
    /// Nothing of this life completes any more.
    pub fn crash(&mut self, power: bool) {
        self.outbox.clear();
        self.crashed = false;
        self.crash_in = None;
        // Operations under way have no order among themselves.
        let mut flying: Vec<_> =
            std::mem::take(&mut self.flying).into_values().map(|(_, work)| work).collect();
        while !flying.is_empty() {
            let work = flying.swap_remove(self.rng.below(flying.len() as u64) as usize);
            match work {
                Work::Write { file, offset, block } => {
                    if power {
                        self.land_at_crash(file, offset, &block);
                    } else if self.lands_all || self.rng.chance(0.7) {
                        self.land(file, offset, block.padded(), |_| true);
                    }
                }
                Work::Create { file, len } => {
                    // The name appears only when the file is whole: a driver renames it into place.
                    if self.rng.chance(0.5) {
                        self.platter.entry(file).or_insert_with(|| vec![0; len as usize]);
                    }
                }
                Work::Remove { file } => {
                    if self.rng.chance(0.5) {
                        self.take_away(file);
                    }
                }
                // A cut piece by piece, or not begun.
                Work::End { file, len } => {
                    if let Some(image) = self.platter.get_mut(&file) {
                        let surplus = (image.len() as u64).saturating_sub(len) / PAGE as u64;
                        image.truncate(len as usize + self.rng.below(surplus + 1) as usize * PAGE);
                    }
                }
                Work::Read { .. } => {}
            }
        }
    }

    fn land_at_crash(&mut self, file: File, offset: u64, block: &Block) {
        if self.lands_all {
            self.land(file, offset, block.padded(), |_| true);
        } else if self.rng.chance(self.habits.tear) {
            self.misdeeds.torn += 1;
            let share = self.rng.unit();
            let sectors = block.padded().len() / SECTOR;
            let chosen: Vec<bool> = (0..sectors).map(|_| self.rng.chance(share)).collect();
            self.land(file, offset, block.padded(), |sector| chosen[sector]);
        } else if self.rng.chance(0.5) {
            self.land(file, offset, block.padded(), |_| true);
        } else {
            self.misdeeds.vanished += 1;
        }
    }

    /// Puts the chosen sectors on the platter. A write to a file that has gone meanwhile goes nowhere.
    fn land(&mut self, file: File, offset: u64, bytes: &[u8], chosen: impl Fn(usize) -> bool) {
        let Some(image) = self.platter.get_mut(&file) else { return };
        if matches!(file, File::Snapshot(_)) && image.len() < offset as usize + bytes.len() {
            image.resize(offset as usize + bytes.len(), 0);
        }
        // Behind a batch's end lies padding, which nothing vouches for and nobody misses.
        let needed = BatchHead::decode(bytes).map_or(bytes.len(), |head| head.length as usize);
        let (mut all, mut any) = (true, false);
        for (n, sector) in bytes.chunks(SECTOR).enumerate() {
            let at = offset as usize + n * SECTOR;
            if chosen(n) && at + sector.len() <= image.len() {
                image[at..at + sector.len()].copy_from_slice(sector);
                any = true;
            } else {
                // What is lost may have been there before: padding, above all, or the few bytes of a batch's last
                // sector (seed 172).
                let counts = &sector[..needed.saturating_sub(n * SECTOR).min(sector.len())];
                all &= image.get(at..at + counts.len()) == Some(counts);
            }
        }
        for page in offset as usize / PAGE..(offset as usize + bytes.len()) / PAGE {
            self.bad.remove(&(file, page));
        }
        if all {
            self.note(file, offset, bytes);
        } else if bytes.len() == PAGE && BatchHead::decode(bytes).is_err() && any {
            // Two writes of a frame, each torn, can leave the first one whole: recovery that died while it healed.
            let page = image[offset as usize..offset as usize + PAGE].to_vec();
            self.note(file, offset, &page);
        }
    }

    /// The one copy of the superblock that may be lost here proves nothing: its twin does.
    fn note(&mut self, file: File, offset: u64, bytes: &[u8]) {
        if file == File::Super && self.atlas.is_spare(offset) {
            return;
        }
        self.notes.take(file, offset, bytes);
        self.atlas.sure = self.notes.sure;
    }

    fn start(&mut self, token: u64, work: Work) {
        let mut us = self.habits.latency_min_us;
        us += (-(1.0 - self.rng.unit()).ln() * self.habits.latency_mean_us as f64) as u64;
        if let Work::Write { block, .. } = &work {
            us += block.padded().len() as u64 / 1000; // About a gigabyte a second.
        }
        us *= self.habits.slowness;
        if self.rng.chance(self.habits.stall) {
            self.misdeeds.stalls += 1;
            us += self.rng.below(1_000_000);
        }
        let mut due = self.now.plus(Nanos(us * 1000));
        if let (Some(until), Work::Write { file: File::Segment(_), .. }) = (self.habits.holds, &work)
            && self.rng.chance(0.5)
        {
            due = due.max(until);
        }
        self.next += 1;
        self.flying.insert(self.next, (token, work));
        self.outbox.push((due, self.next));
    }

    /// The world's clock has come to an operation's end. `None`: a crash came first.
    pub fn complete(&mut self, operation: u64) -> Option<DiskEvent> {
        let (token, work) = self.flying.remove(&operation)?;
        Some(match work {
            Work::Write { file, offset, block } => {
                DiskEvent::Written { token, result: self.finish_write(file, offset, &block) }
            }
            Work::Read { file, offset, len } => {
                let mut into = BlockMut::zeroed(len);
                let result = self.finish_read(file, offset, into.bytes_mut());
                DiskEvent::Read { token, result: result.map(|()| into.freeze()) }
            }
            Work::Create { file, len } => DiskEvent::Created { token, result: self.finish_create(file, len) },
            Work::End { file, len } => DiskEvent::Written { token, result: self.finish_end(file, len) },
            Work::Remove { file } => {
                self.take_away(file);
                DiskEvent::Removed { token, result: Ok(()) }
            }
        })
    }

    fn finish_write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault> {
        let bytes = block.padded();
        let fault = |reason: &str| fault("write", file, offset, reason);
        if self.habits.dead {
            self.misdeeds.errors += 1;
            if self.lands_all {
                self.land(file, offset, bytes, |_| true);
            }
            return Err(fault("input/output error"));
        }
        if self.rng.chance(self.habits.write_error) {
            self.misdeeds.errors += 1;
            // What a failed write left behind is anybody's guess.
            self.land_at_crash(file, offset, block);
            return Err(fault("input/output error"));
        }
        match self.platter.get(&file) {
            None => return Err(fault("no such file")),
            Some(_) if matches!(file, File::Snapshot(_)) => {}
            Some(image) if offset as usize + bytes.len() > image.len() => {
                return Err(fault("beyond the end of the file"));
            }
            Some(_) => {}
        }
        let lost = self.rng.chance(self.habits.lost_write);
        let misdirected = self.rng.chance(self.habits.misdirected_write);
        if (lost || misdirected) && self.may_lose(file, offset, bytes) {
            self.note(file, offset, bytes); // As far as anybody was told.
            if misdirected && let Some((file, offset)) = self.elsewhere(file, offset, bytes.len()) {
                self.misdeeds.misdirected += 1;
                self.struck.insert(file);
                self.land(file, offset, bytes, |_| true);
                return Ok(());
            }
            if lost {
                self.misdeeds.lost += 1;
                return Ok(());
            }
        }
        self.land(file, offset, bytes, |_| true);
        Ok(())
    }

    fn finish_read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        let fault = |reason: &str| fault("read", file, offset, reason);
        let image = self.platter.get(&file).ok_or_else(|| fault("no such file"))?;
        let from = image
            .get(offset as usize..offset as usize + into.len())
            .ok_or_else(|| fault("beyond the end of the file"))?;
        into.copy_from_slice(from);
        let pages = offset as usize / PAGE..(offset as usize + into.len()) / PAGE;
        let bad = self.is_bad(file, pages);
        let error = self.rng.chance(self.habits.read_error) && self.may_damage(file, offset, into.len());
        if self.habits.dead || bad || error {
            self.misdeeds.errors += 1;
            return Err(fault("input/output error"));
        }
        if self.rng.chance(self.habits.misdirected_read)
            && self.may_damage(file, offset, into.len())
            && let Some((file, offset)) = self.elsewhere(file, offset, into.len())
        {
            self.misdeeds.misdirected += 1;
            into.copy_from_slice(&self.platter[&file][offset as usize..offset as usize + into.len()]);
        } else if !into.is_empty() && self.rng.chance(self.habits.flipped_read) {
            let bit = self.rng.below(into.len() as u64 * 8) as usize;
            if self.may_damage(file, offset + (bit / 8 / PAGE * PAGE) as u64, PAGE) {
                self.misdeeds.flipped += 1;
                into[bit / 8] ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    fn finish_create(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        if self.habits.full {
            self.misdeeds.full += 1;
            return Err(fault("create", file, 0, "no space left on device"));
        }
        if self.habits.dead {
            self.misdeeds.errors += 1;
            return Err(fault("create", file, 0, "input/output error"));
        }
        let spare = self.spare.take_if(|_| matches!(file, File::Snapshot(_)));
        self.platter.insert(file, spare.unwrap_or_else(|| vec![0; len as usize]));
        Ok(())
    }

    fn finish_end(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        if self.habits.dead {
            self.misdeeds.errors += 1;
            return Err(fault("end", file, len, "input/output error"));
        }
        let image = self.platter.get_mut(&file).ok_or_else(|| fault("end", file, len, "no such file"))?;
        image.truncate(len as usize);
        Ok(())
    }

    /// As the drive does it: without its last page nobody takes a spare for the snapshot that it was.
    fn take_away(&mut self, file: File) {
        let Some(mut image) = self.platter.remove(&file) else { return };
        if matches!(file, File::Snapshot(_)) && self.spare.is_none() {
            image.truncate(image.len().saturating_sub(PAGE));
            self.spare = Some(image);
        }
    }

    /// Whether the atlas lets this node lose what these pages hold.
    pub fn may_damage(&self, file: File, offset: u64, len: usize) -> bool {
        let Some(image) = self.platter.get(&file) else { return false };
        let pages = offset as usize / PAGE..(offset as usize + len).div_ceil(PAGE);
        pages.into_iter().all(|page| self.atlas.allows_page(file, image, page))
    }

    /// Whether it lets it lose these bytes on their way there, and with them what they replace.
    fn may_lose(&self, file: File, offset: u64, bytes: &[u8]) -> bool {
        self.may_damage(file, offset, bytes.len()) && self.atlas.allows_bytes(file, offset, bytes)
    }

    /// Another place of the same length that this node may lose: of the same file, or of any.
    fn elsewhere(&mut self, file: File, offset: u64, len: usize) -> Option<(File, u64)> {
        for _ in 0..8 {
            let other = if self.rng.chance(0.5) {
                file
            } else {
                let names: Vec<File> = self.platter.keys().copied().collect();
                *self.rng.pick(&names)
            };
            let Some(pages) = (self.platter[&other].len() / PAGE).checked_sub(len.div_ceil(PAGE)) else {
                continue;
            };
            let at = self.rng.below(pages as u64 + 1) * PAGE as u64;
            if (other, at) != (file, offset) && self.may_damage(other, at, len) {
                return Some((other, at));
            }
        }
        None
    }

    /// One more synchronous write; true when the machine dies in the midst of it.
    fn count_down(&mut self) -> bool {
        match &mut self.crash_in {
            Some(0) => self.crashed = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.crashed
    }
}

fn fault(operation: &'static str, file: File, offset: u64, reason: &str) -> DiskFault {
    DiskFault { operation, file, offset, reason: reason.to_owned() }
}

impl Disk for VirtualDisk {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        assert!(offset.is_multiple_of(PAGE as u64), "{file}: a direct write at {offset} is not on a page");
        let end = offset + block.padded().len() as u64;
        let meets = |work: &Work| match work {
            Work::Write { file: other, offset: at, block } => {
                *other == file && *at < end && offset < at + block.padded().len() as u64
            }
            _ => false,
        };
        if self.flying.values().any(|(_, work)| meets(work)) {
            self.clash = Some(format!("{file} at offset {offset}"));
        }
        self.start(token, Work::Write { file, offset, block });
    }

    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        assert!(offset.is_multiple_of(PAGE as u64), "{file}: a direct read at {offset} is not on a page");
        self.start(token, Work::Read { file, offset, len });
    }

    fn create(&mut self, token: u64, file: File, len: u64) {
        self.start(token, Work::Create { file, len });
    }

    fn end(&mut self, token: u64, file: File, len: u64) {
        self.start(token, Work::End { file, len });
    }

    fn remove(&mut self, token: u64, file: File) {
        let writes = |work: &Work| matches!(work, Work::Write { file: other, .. } if *other == file);
        if self.flying.values().any(|(_, work)| writes(work)) {
            self.clash = Some(format!("{file}, which is removed"));
        }
        self.start(token, Work::Remove { file });
    }
}

mod media;
#[cfg(test)]
mod tests;
