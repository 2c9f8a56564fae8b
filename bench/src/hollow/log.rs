//! The log: one file used over and over, each batch beside a frame of one page, as the server writes them.

use std::collections::VecDeque;

use quorate::base::{Block, BlockMut, Chain, ClusterId, Epoch, Index, Nanos, PAGE, sum};
use quorate::journal::{BATCH_HEAD, Batch, Builder};
use quorate::pipeline::ports::{Disk, File};

pub const FILE: File = File::Segment(0);
/// A power of two: frames in front, batches behind them.
pub const BYTES: u64 = 64 << 20;
const FRAMES: u64 = 1024;
const PAGES: u64 = BYTES / PAGE as u64;

#[derive(Default)]
pub struct Log {
    pub last: Index,
    chain: Chain,
    /// Where the next batch goes.
    page: u64,
    /// Batches on their way to the disk, and how many writes of each are still out.
    flight: VecDeque<(Index, u8)>,
    pub durable: Index,
    /// From `decided` + 1 on.
    pub batches: VecDeque<Batch>,
    pub decided: Index,
}

impl Log {
    pub fn seal(&mut self, commands: &[u8], count: u32, now: Nanos, disk: &mut impl Disk) -> Block {
        let mut builder = Builder::with_capacity(BATCH_HEAD + commands.len());
        builder.push(commands, count);
        let batch = builder.seal(ClusterId(1), Epoch(1), self.last.next(), self.chain, 0, 0, now);
        let block = batch.block().clone();
        self.append(batch, disk);
        block
    }

    /// A follower's copy, checked as the server checks it.
    pub fn take(&mut self, bytes: &[u8], disk: &mut impl Disk) {
        let batch = Batch::open(Block::copy_of(bytes)).expect("the leader seals whole batches");
        assert!(batch.index() == self.last.next() && batch.head().prev == self.chain);
        self.append(batch, disk);
    }

    fn append(&mut self, batch: Batch, disk: &mut impl Disk) {
        let block = batch.block().clone();
        let pages = (block.padded().len() / PAGE) as u64;
        if self.page < FRAMES || self.page + pages > PAGES {
            self.page = FRAMES;
        }
        (self.last, self.chain) = (batch.index(), batch.chain());
        let mut frame = BlockMut::zeroed(PAGE);
        frame.bytes_mut()[8..8 + BATCH_HEAD].copy_from_slice(&block[..BATCH_HEAD]);
        let crc = sum::crc32c(&frame.bytes()[8..]);
        frame.bytes_mut()[..4].copy_from_slice(&crc.to_le_bytes());
        disk.write(self.last.0, FILE, self.page * PAGE as u64, block);
        disk.write(self.last.0, FILE, self.last.0 % FRAMES * PAGE as u64, frame.freeze());
        self.page += pages;
        self.flight.push_back((self.last, 2));
        self.batches.push_back(batch);
    }

    /// True: more is durable than before.
    pub fn on_written(&mut self, index: u64) -> bool {
        let before = self.durable;
        let first = self.flight.front().expect("a write is out").0.0;
        self.flight[(index - first) as usize].1 -= 1;
        while let Some((index, 0)) = self.flight.front().copied() {
            self.flight.pop_front();
            self.durable = index;
        }
        self.durable > before
    }

    /// The next batch of those up to `upto` whose clients wait.
    pub fn next_decided(&mut self, upto: Index) -> Option<Batch> {
        if self.decided >= upto.min(self.last) {
            return None;
        }
        self.decided = self.decided.next();
        self.batches.pop_front()
    }
}
