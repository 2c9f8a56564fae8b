//! Snapshot files: chunks in order as they are given, then read back whole, then sealed.
//!
//! What is read back is hashed and compared with what was given, so a sealed file is one whose every byte the
//! disk has returned right once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ops::{Op, Ops};
use crate::base::planted::{self, Bug};
use crate::base::{Block, BlockMut, ClusterId, Index, Nanos, PAGE, sum};
use crate::journal::snapshot::{Trailer, whole};
use crate::pipeline::parcel::{StoreIn, StoreOut};
use crate::pipeline::ports::{Disk, DiskFault, File};

/// Chunk writes of one file in flight.
const WRITES_MAX: usize = 4;

/// Chunks of one file that wait for their writes.
const CHUNKS_MAX: usize = 64;

/// Read back in pieces of this, and so many bytes a second: at full speed it took the disk from the log.
const PIECE: usize = 256 << 10;
const CHECK_RATE: u64 = 512 << 20;

/// What an operation on a snapshot file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Of a file that was left over, before it is made anew.
    Remove,
    /// For good.
    Leave,
    Create,
    Chunk,
    /// Reading back for the seal.
    Check,
    /// The file may have been another's, and longer.
    End,
    Seal,
    /// The seal itself, read back.
    CheckSeal,
    Read {
        ticket: u64,
        offset: u64,
        len: usize,
    },
}

#[derive(Debug)]
pub struct Snapshots {
    cluster: ClusterId,
    files: BTreeSet<Index>,
    writing: BTreeMap<Index, Writing>,
    /// Files that are being removed: nothing is written under their names until they are gone.
    leaving: BTreeSet<Index>,
    lives: u32,
    /// As of the last turn.
    now: Nanos,
}

#[derive(Debug, Default)]
struct Writing {
    /// Tells this writing of a file from an earlier one of the same index.
    life: u32,
    /// Given up: removed as soon as nothing of it is under way.
    leaving: bool,
    chunks: VecDeque<(u64, Block)>,
    /// End of the chunks given so far, and their hash.
    length: u64,
    given: sum::Hasher,
    created: bool,
    under_way: usize,
    sealing: Option<Sealing>,
}

#[derive(Debug)]
struct Sealing {
    seal: Block,
    /// What has been read back so far, and since when.
    checked: u64,
    begun: Nanos,
    found: sum::Hasher,
    ended: bool,
    tail: Option<Block>,
}

impl Sealing {
    /// When the next piece may be read back.
    fn due(&self) -> Nanos {
        self.begun.plus(Nanos::for_bytes(self.checked, CHECK_RATE))
    }
}

impl Snapshots {
    pub fn new(cluster: ClusterId, files: Vec<Index>) -> Snapshots {
        Snapshots {
            cluster,
            files: files.into_iter().collect(),
            writing: BTreeMap::new(),
            leaving: BTreeSet::new(),
            lives: 0,
            now: Nanos(0),
        }
    }

    /// What is under way, in words.
    pub fn doing(&self) -> String {
        let writing = self.writing.iter().map(|(index, file)| {
            let (left, sealing) = (file.chunks.len(), file.sealing.as_ref().map(|sealing| sealing.checked));
            format!("{index}: {} bytes, {left} chunks to write, sealing {sealing:?}", file.length)
        });
        format!("snapshot files {:?}, leaving {:?}", writing.collect::<Vec<_>>(), self.leaving)
    }

    /// Reads on what has rested; returns when the next piece is due.
    pub fn turn(&mut self, now: Nanos, ops: &mut Ops, disk: &mut impl Disk) -> Nanos {
        self.now = now;
        let resting =
            |file: &Writing| file.sealing.as_ref().filter(|_| file.under_way == 0).map(Sealing::due);
        let due = |(&index, file): (&Index, &Writing)| Some((resting(file)?, index));
        while let Some((at, index)) = self.writing.iter().filter_map(due).min() {
            if at > now {
                return at;
            }
            self.step(index, ops, disk);
        }
        Nanos::MAX
    }

    /// Takes a parcel for snapshot files, or gives it back because it must wait.
    pub fn accept(&mut self, parcel: StoreIn, ops: &mut Ops, disk: &mut impl Disk) -> Option<StoreIn> {
        match parcel {
            StoreIn::SnapshotChunk { index, offset, block } => {
                let crowded = |file: &Writing| file.leaving || file.chunks.len() >= CHUNKS_MAX || offset == 0;
                if self.leaving.contains(&index) {
                    return Some(StoreIn::SnapshotChunk { index, offset, block });
                }
                if self.writing.get(&index).is_some_and(crowded) {
                    // From the start again: the writes of the first attempt must come back before.
                    if offset == 0 {
                        self.accept(StoreIn::SnapshotRemove { index }, ops, disk);
                    }
                    return Some(StoreIn::SnapshotChunk { index, offset, block });
                }
                self.chunk(index, offset, block, ops, disk);
            }
            StoreIn::SnapshotSeal { index, length, seal } => {
                let file = self.writing.get_mut(&index).filter(|file| !file.leaving)?; // Or lost meanwhile.
                assert_eq!(file.length, length, "snapshot {index} is sealed at another length than it has");
                let (begun, found) = (self.now, sum::Hasher::default());
                file.sealing = Some(match planted::is(Bug::SkipReadBack) {
                    false => Sealing { seal, checked: 0, begun, found, ended: false, tail: None },
                    true => {
                        let found = file.given.clone();
                        Sealing { seal, checked: length, begun, found, ended: false, tail: None }
                    }
                });
                self.step(index, ops, disk);
            }
            StoreIn::SnapshotRead { ticket, index, offset, len } => {
                let start = offset - offset % PAGE as u64;
                let end = whole(offset + len as u64);
                let step = Step::Read { ticket, offset, len };
                ops.read(
                    Op::Snapshot(index, 0, step),
                    File::Snapshot(index),
                    start,
                    (end - start) as usize,
                    disk,
                );
            }
            StoreIn::SnapshotRemove { index } => {
                if let Some(file) = self.writing.get_mut(&index) {
                    file.leaving = true;
                    file.chunks.clear();
                    self.step(index, ops, disk);
                } else if self.files.remove(&index) {
                    self.leave(index, ops, disk);
                }
            }
            _ => unreachable!("only parcels for snapshots come here"),
        }
        None
    }

    fn chunk(&mut self, index: Index, offset: u64, block: Block, ops: &mut Ops, disk: &mut impl Disk) {
        if offset == 0 {
            self.lives += 1;
            let (life, name) = (self.lives, File::Snapshot(index));
            self.writing.insert(index, Writing { life, under_way: 1, ..Writing::default() });
            if self.files.insert(index) {
                ops.create(Op::Snapshot(index, life, Step::Create), name, 0, disk);
            } else {
                ops.remove(Op::Snapshot(index, life, Step::Remove), name, disk);
            }
        }
        let Some(file) = self.writing.get_mut(&index) else { return }; // Of a file that could not be written.
        assert_eq!(offset, file.length, "chunks of snapshot {index} come in order");
        // A chunk counts with the zeros that fill its last page: they are in the file, and the next one lies behind.
        file.given.update(block.padded());
        file.length += block.padded().len() as u64;
        file.chunks.push_back((offset, block));
        self.step(index, ops, disk);
    }

    fn leave(&mut self, index: Index, ops: &mut Ops, disk: &mut impl Disk) {
        self.leaving.insert(index);
        ops.remove(Op::Snapshot(index, 0, Step::Leave), File::Snapshot(index), disk);
    }

    /// Does whatever can be done next for one file.
    fn step(&mut self, index: Index, ops: &mut Ops, disk: &mut impl Disk) {
        let (cluster, name, now) = (self.cluster, File::Snapshot(index), self.now);
        let Some(file) = self.writing.get_mut(&index) else { return };
        let life = file.life;
        if file.leaving && file.under_way == 0 {
            self.writing.remove(&index);
            self.files.remove(&index);
            return self.leave(index, ops, disk);
        }
        if !file.created || file.leaving {
            return;
        }
        while file.under_way < WRITES_MAX {
            let Some((offset, block)) = file.chunks.pop_front() else { break };
            file.under_way += 1;
            ops.write_at(Op::Snapshot(index, life, Step::Chunk), name, offset, block, disk);
        }
        let length = file.length;
        let Some(sealing) = file.sealing.as_mut().filter(|_| file.under_way == 0) else { return };
        if sealing.checked < length && sealing.due() > now {
            return; // `turn` goes on.
        }
        file.under_way = 1;
        if sealing.checked < length {
            let count = (whole(length) - sealing.checked).min(PIECE as u64) as usize;
            ops.read(Op::Snapshot(index, life, Step::Check), name, sealing.checked, count, disk);
            return;
        }
        if !sealing.ended {
            return ops.end(Op::Snapshot(index, life, Step::End), name, whole(length), disk);
        }
        let trailer = Trailer {
            cluster,
            index,
            length,
            seal_length: sealing.seal.len() as u64,
            data: sealing.found.digest(),
            seal: sum::hash128(&sealing.seal),
        };
        let mut tail = BlockMut::with_capacity(sealing.seal.padded().len() + PAGE);
        tail.extend(sealing.seal.padded());
        tail.extend(&trailer.encode());
        let tail = tail.freeze();
        sealing.tail = Some(tail.clone());
        ops.write_at(Op::Snapshot(index, life, Step::Seal), name, trailer.seal_offset(), tail, disk);
    }

    /// An operation has ended. A snapshot that cannot be written (the disk may be full) is lost, and no more: the log
    /// goes on without it.
    pub fn on_disk(
        &mut self,
        (index, life, step): (Index, u32, Step),
        result: Result<Option<Block>, DiskFault>,
        ops: &mut Ops,
        disk: &mut impl Disk,
        out: &mut VecDeque<StoreOut>,
    ) {
        if let Step::Read { ticket, offset, len } = step {
            // An empty block says that these bytes cannot be had from this disk.
            let skip = offset as usize % PAGE;
            let block = match result.ok().flatten() {
                Some(block) if skip == 0 && block.len() == len => block,
                read => {
                    Block::copy_of(read.as_ref().and_then(|block| block.get(skip..skip + len)).unwrap_or(&[]))
                }
            };
            out.push_back(StoreOut::SnapshotBytes { ticket, index, offset, block });
            return;
        }
        if step == Step::Leave {
            self.leaving.remove(&index);
            return; // A file that would not go is found at the next open.
        }
        let Some(file) = self.writing.get_mut(&index).filter(|file| file.life == life) else { return };
        file.under_way -= 1;
        let block = match result {
            _ if file.leaving => return self.step(index, ops, disk),
            Ok(block) => block,
            Err(fault) => {
                tracing::error!("{fault}; the snapshot at {index} is given up, the log stays as it is");
                // It goes when its other writes have come back: they must not land in what the next one is written over.
                (file.leaving, file.chunks) = (true, VecDeque::new());
                out.push_back(StoreOut::SnapshotSealed { index, verified: false });
                return self.step(index, ops, disk);
            }
        };
        match step {
            Step::Remove => {
                file.under_way += 1;
                ops.create(Op::Snapshot(index, life, Step::Create), File::Snapshot(index), 0, disk);
            }
            Step::Create => file.created = true,
            Step::Chunk => out.push_back(StoreOut::SnapshotWritten { index }),
            Step::Check => {
                let sealing = file.sealing.as_mut().expect("it is read back for the seal");
                let block = block.expect("a read brings bytes");
                let left = (file.length - sealing.checked).min(block.len() as u64) as usize;
                sealing.found.update(&block[..left]);
                sealing.checked += block.len() as u64;
                if sealing.checked >= file.length && sealing.found.digest() != file.given.digest() {
                    return self.end(index, false, out);
                }
            }
            Step::End => file.sealing.as_mut().expect("it is about to be sealed").ended = true,
            Step::Seal => {
                let sealing = file.sealing.as_ref().expect("it was just written");
                let len = sealing.tail.as_ref().map_or(0, |tail| tail.len());
                let op = Op::Snapshot(index, life, Step::CheckSeal);
                file.under_way += 1;
                return ops.read(op, File::Snapshot(index), whole(file.length), len, disk);
            }
            Step::CheckSeal => {
                let tail = file.sealing.as_ref().and_then(|sealing| sealing.tail.as_deref());
                let verified = tail == block.as_deref();
                return self.end(index, verified, out);
            }
            Step::Read { .. } | Step::Leave => {}
        }
        self.step(index, ops, disk);
    }

    fn end(&mut self, index: Index, verified: bool, out: &mut VecDeque<StoreOut>) {
        self.writing.remove(&index);
        out.push_back(StoreOut::SnapshotSealed { index, verified });
    }
}
