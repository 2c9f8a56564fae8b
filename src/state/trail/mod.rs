//! The past of a table: what its records were before, in the order in which they were superseded.
//!
//! Entries are appended, read by number and let go of from the front; a number never changes. An entry may *follow*
//! an earlier one, as one change of a key follows another. The chains that this makes can be walked either way, and
//! skipped through, by `links`, which are derived: a snapshot does not hold them.
//!
//! Entries lie end to end in blocks that are counted by reference. `freeze` copies a pointer for each, the first
//! append afterwards copies the last block. Where a block ends follows from the entries in it, and only whole blocks
//! are let go of: so replicas have the same blocks, and the digest is a sum over blocks.

mod frozen;
mod links;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::sum::{hash64, hash128_seeded};
use crate::state::table::OutOfOrder;

pub use frozen::FrozenTrail;
use links::Links;

/// A block is full with the entry that reaches this. Eight thousand of them are 4 GiB: less than a millisecond to freeze.
const BLOCK_BYTES: usize = 512 << 10;
/// Room made for a full block.
const BLOCK_ROOM: usize = BLOCK_BYTES + (4 << 10);

#[derive(Default)]
pub struct Trail {
    /// In order. All but the last are full; none is empty.
    blocks: VecDeque<Arc<Block>>,
    /// The next entry's number.
    end: u64,
    bytes: u64,
    /// Of the full blocks.
    sum: u128,
    links: Links,
    /// Memory of a block that was let go of.
    spare: Option<Block>,
}

/// A run of entries: what a trail is kept in, and what a snapshot holds of it.
#[derive(Clone, Default)]
pub struct Block {
    /// The number of its first entry.
    pub first: u64,
    /// Where each entry ends, u32 LE.
    pub ends: Vec<[u8; 4]>,
    /// Per entry: how far back lies the one that it follows (see `distance`; 0: it follows none) | its body.
    pub bytes: Vec<u8>,
    /// Once it is full: what it adds to the digest.
    sum: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub number: u64,
    /// It may have been let go of.
    pub follows: Option<u64>,
    pub body: &'a [u8],
    /// What it takes in the trail.
    pub bytes: usize,
}

impl Block {
    fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Bytes before the entry at a place.
    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { u32::from_le_bytes(self.ends[at - 1]) as usize }
    }

    fn stored(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..u32::from_le_bytes(self.ends[at]) as usize]
    }

    fn entry(&self, at: usize) -> Entry<'_> {
        let (number, mut body) = (self.first + at as u64, self.stored(at));
        let bytes = body.len();
        let back = distance::take(&mut body).unwrap_or_default();
        Entry { number, follows: number.checked_sub(back).filter(|_| back > 0), body, bytes }
    }

    /// Names its entries and their numbers.
    fn content(&self) -> u128 {
        hash128_seeded(&self.bytes, self.first ^ hash64(self.ends.as_flattened()))
    }

    /// The block is full: nothing changes it any more.
    fn shut(&mut self) -> u128 {
        self.sum = self.content();
        self.sum
    }

    fn clear(&mut self, first: u64) {
        self.first = first;
        self.ends.clear();
        self.bytes.clear();
    }
}

impl Trail {
    /// The number of the first entry that is left, or of the next one.
    pub fn first(&self) -> u64 {
        self.blocks.front().map_or(self.end, |block| block.first)
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Entries.
    pub fn len(&self) -> u64 {
        self.end - self.first()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the entries from a number on.
    pub fn bytes_from(&self, number: u64) -> u64 {
        let of = |block: &Arc<Block>| {
            let before = number.saturating_sub(block.first).min(block.ends.len() as u64) as usize;
            (block.bytes.len() - block.start(before)) as u64
        };
        self.blocks.iter().map(of).sum()
    }

    /// Equal for equal entries with equal numbers.
    pub fn digest(&self) -> u128 {
        match self.blocks.back() {
            Some(open) if !open.is_full() => self.sum.wrapping_add(open.content()),
            _ => self.sum,
        }
    }

    /// An empty trail goes on at this number.
    pub fn start_at(&mut self, number: u64) {
        assert!(self.is_empty(), "entries have their numbers");
        self.end = number;
        self.links = Links::default();
    }

    /// Appends an entry, whose body comes in parts. Returns the bytes it takes.
    pub fn push(&mut self, follows: Option<u64>, parts: &[&[u8]]) -> usize {
        let back = follows.map_or(0, |other| self.end - other);
        self.append(back, |bytes| {
            distance::write(back, bytes);
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        })
    }

    /// Takes the next block of a frozen trail: the number of its first entry, where its entries end, and their bytes.
    pub fn load(&mut self, first: u64, ends: &[[u8; 4]], bytes: &[u8]) -> Result<(), OutOfOrder> {
        let refused = OutOfOrder { at: self.len() };
        if self.is_empty() {
            self.start_at(first);
        }
        // Blocks end where appending would have ended them, or replicas would let go of different ones.
        if first != self.end || ends.is_empty() || self.blocks.back().is_some_and(|block| !block.is_full()) {
            return Err(refused);
        }
        let mut start = 0;
        for (number, end) in (first..).zip(ends) {
            let end = u32::from_le_bytes(*end) as usize;
            let mut stored = bytes.get(start..end).filter(|_| start < BLOCK_BYTES).ok_or(refused)?;
            let back = distance::take(&mut stored).filter(|back| *back <= number).ok_or(refused)?;
            self.links.push(number, back);
            start = end;
        }
        if start != bytes.len() {
            return Err(refused);
        }
        let mut block = Block { first, ends: ends.to_vec(), bytes: bytes.to_vec(), sum: 0 };
        if block.is_full() {
            self.sum = self.sum.wrapping_add(block.shut());
        }
        self.bytes += bytes.len() as u64;
        self.end = block.end();
        self.blocks.push_back(Arc::new(block));
        Ok(())
    }

    fn append(&mut self, back: u64, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.blocks.back().is_none_or(|block| block.is_full()) {
            self.open();
        }
        let block = self.blocks.back_mut().map(Arc::make_mut).expect("just opened");
        let before = block.bytes.len();
        write(&mut block.bytes);
        let after = block.bytes.len();
        block.ends.push((after as u32).to_le_bytes());
        if block.is_full() {
            self.sum = self.sum.wrapping_add(block.shut());
        }
        self.bytes += (after - before) as u64;
        self.links.push(self.end, back);
        self.end += 1;
        after - before
    }

    fn open(&mut self) {
        let mut block = self.spare.take().unwrap_or_default();
        block.clear(self.end);
        if !self.blocks.is_empty() {
            block.bytes.reserve(BLOCK_ROOM); // A short history grows as it needs.
        }
        self.blocks.push_back(Arc::new(block));
    }

    /// Lets go of the full blocks that lie below a number.
    pub fn let_go(&mut self, below: u64) {
        let gone = |block: &Arc<Block>| block.is_full() && block.end() <= below;
        while self.blocks.front().is_some_and(gone)
            && let Some(block) = self.blocks.pop_front()
        {
            self.sum = self.sum.wrapping_sub(block.sum);
            self.bytes -= block.bytes.len() as u64;
            // Of the usual size, and in no frozen view.
            self.spare = Arc::into_inner(block).filter(|block| block.bytes.capacity() <= 2 * BLOCK_ROOM);
            self.links.let_go(self.first());
        }
    }

    fn block(&self, number: u64) -> Option<usize> {
        let (first, last) = (self.blocks.front()?, self.blocks.back()?);
        if number < first.first || number >= self.end {
            return None;
        }
        // Whoever compacts reads at the front, whoever has just written at the end.
        if number < first.end() {
            return Some(0);
        }
        if number >= last.first {
            return Some(self.blocks.len() - 1);
        }
        Some(self.blocks.partition_point(|block| block.first <= number) - 1)
    }

    pub fn entry(&self, number: u64) -> Option<Entry<'_>> {
        let block = &self.blocks[self.block(number)?];
        Some(block.entry((number - block.first) as usize))
    }

    /// Entries from a number on.
    pub fn from(&self, number: u64) -> impl Iterator<Item = Entry<'_>> {
        let number = number.max(self.first());
        let at = self.block(number).unwrap_or(self.blocks.len());
        self.blocks.range(at..).flat_map(move |block| {
            let skip = number.saturating_sub(block.first) as usize;
            (skip..block.ends.len()).map(|at| block.entry(at))
        })
    }

    /// The first entry whose body `below` does not say of what it says of all before it.
    pub fn search(&self, below: impl Fn(&[u8]) -> bool) -> u64 {
        let blocks = self.blocks.partition_point(|block| below(block.entry(0).body));
        let Some(block) = blocks.checked_sub(1).map(|at| &self.blocks[at]) else { return self.first() };
        let (mut low, mut high) = (0, block.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if below(block.entry(middle).body) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        block.first + low as u64
    }

    /// The entry that follows this one.
    pub fn next(&self, number: u64) -> Option<u64> {
        self.links.next(number)
    }

    /// Back along the chain from an entry at or behind `limit`: the first of its chain that is not before it. Every
    /// step adds one to `steps`; there are about twice as many as the chain's length has binary digits, and up to
    /// `links::LATE` among its newest entries.
    pub fn back(&self, number: u64, limit: u64, steps: &mut usize) -> u64 {
        self.links.back(number, limit, steps)
    }

    /// The trail as it is now, for good.
    pub fn freeze(&self) -> FrozenTrail {
        FrozenTrail::new(self.blocks.clone(), self.len(), self.bytes, self.digest())
    }
}

/// Small numbers in few bytes: seven bits in each, the lowest first, all but the last with the eighth set.
mod distance {
    pub fn write(mut number: u64, out: &mut Vec<u8>) {
        while number >= 128 {
            out.push(number as u8 | 128);
            number >>= 7;
        }
        out.push(number as u8);
    }

    /// Takes one off the front.
    pub fn take(input: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for (at, &byte) in input.iter().enumerate().take(10) {
            number |= u64::from(byte & 127) << (7 * at);
            if byte < 128 {
                *input = &input[at + 1..];
                return Some(number);
            }
        }
        None
    }
}
