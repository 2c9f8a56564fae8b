//! The frame of a snapshot: all tables of all realms at one index, in chunks that are checked one by one.
//!
//! ```text
//! chunk   0 magic u32 | 4 version u16 | 6 kind u16 | 8 index u64 | 16 number u64 | 24 records u32 | 28 length u32
//!         32 crc u32 of the body | 36 crc u32 of the head before it | 40 body | zeros up to the next page
//! record  0 realm u8 | 1 table u8 | 2 key length u16 | 4 value length u32 | key | value
//! closing record, the last chunk's: 0 realm u8 | 1 table u8 | 2 zero u16 | 4 zero u32 | records u64 | digest u128
//! ```
//! Records come by realm, table and key; a chunk ends after `CHUNK_RECORDS` of them, or with the one that fills
//! `CHUNK_BYTES`, whatever the slices in which it was gathered: the same state gives the same bytes on every
//! replica. A realm's trail counts as its table `TRAIL`, and each of its blocks is a chunk of its own, as it lies in
//! memory:
//! ```text
//! block   0 realm u8 | 1 table u8 | 2 zero u16 | 4 zero u32 | 8 number of the first entry u64 | per entry its end u32 | bytes
//! ```
//! The closing chunk names every table with its count and digest, and a loader checks them.

use super::table::{Builder, Frozen, OutOfOrder, Table};
use super::trail::{self, FrozenTrail, Trail};
use crate::base::{Block, BlockMut, Index, PAGE, sum};

pub const CHUNK_RECORDS: u32 = 4096;
pub const CHUNK_BYTES: usize = 256 << 10;
/// A chunk's body never exceeds this: one record above `CHUNK_BYTES` at most, and no record is that large.
const BODY_MAX: usize = 16 << 20;
const HEAD: usize = 40;
const RECORD: usize = 8;
const CLOSING: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"QSNP");
/// 2: versions of keys in a trail; 3: trails in blocks; 4: sessions with the time of their last handshake.
const VERSION: u16 = 4;
const RECORDS: u16 = 1;
const CLOSE: u16 = 2;
const BLOCK: u16 = 3;
/// In a block's chunk, before the ends of its entries.
const BLOCK_HEAD: usize = 16;

/// Stands for a realm's trail where others name a table.
pub const TRAIL: u8 = 0x80;

/// What a snapshot is made of.
pub enum Part {
    Table(Frozen),
    Trail(FrozenTrail),
}

/// What comes of loading one.
pub enum Loaded {
    Table(Table),
    Trail(Trail),
}

/// Every table of every realm as it was at one index; hands itself out in chunks.
pub struct View {
    index: Index,
    /// By realm and place, in that order; the next one last.
    parts: Vec<(u8, u8, Part)>,
    closing: Vec<u8>,
    closing_count: u32,
    number: u64,
    chunk: BlockMut,
    records: u32,
    done: bool,
}

/// What a slice of work came to.
#[derive(Debug)]
pub enum Slice {
    /// The chunk is not full yet.
    More,
    /// The next chunk. It goes where the one before it ends, padding included.
    Chunk(Block),
    /// All chunks are out.
    End,
}

/// A snapshot that must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("no chunk of a snapshot starts at byte {at}")]
    Magic { at: u64 },
    #[error(
        "snapshot format {version}, this build reads {VERSION}; start the release that wrote it, or a newer one"
    )]
    Version { version: u16 },
    #[error("chunk {number} of the snapshot fails its checksum")]
    Sum { number: u64 },
    #[error("chunk {number} of the snapshot is out of place")]
    Misplaced { number: u64 },
    #[error("chunk {number} of the snapshot: {source}")]
    Order { number: u64, source: OutOfOrder },
    #[error("chunk {number} of the snapshot does not hold what its head says")]
    Shape { number: u64 },
    #[error("table {table} of realm {realm} has another count or digest than the snapshot says")]
    Digest { realm: u8, table: u8 },
    #[error("the snapshot ends before its closing chunk")]
    Short,
}

impl From<Frozen> for Part {
    fn from(table: Frozen) -> Part {
        Part::Table(table)
    }
}

impl Part {
    fn sum(&self) -> (u64, u128) {
        match self {
            Part::Table(table) => (table.len(), table.digest()),
            Part::Trail(trail) => (trail.len(), trail.digest()),
        }
    }
}

impl Loaded {
    fn sum(&self) -> (u64, u128) {
        match self {
            Loaded::Table(table) => (table.len(), table.digest()),
            Loaded::Trail(trail) => (trail.len(), trail.digest()),
        }
    }

    fn empty(place: u8) -> Loaded {
        if place == TRAIL { Loaded::Trail(Trail::default()) } else { Loaded::Table(Table::new()) }
    }
}

impl View {
    /// `parts` by realm and place, ascending.
    pub fn new(index: Index, mut parts: Vec<(u8, u8, Part)>) -> View {
        assert!(parts.is_sorted_by_key(|(realm, place, _)| (*realm, *place)));
        let mut closing = Vec::new();
        for (realm, place, part) in &parts {
            let (count, digest) = part.sum();
            closing.extend_from_slice(&[*realm, *place, 0, 0, 0, 0, 0, 0]);
            closing.extend_from_slice(&count.to_le_bytes());
            closing.extend_from_slice(&digest.to_le_bytes());
        }
        let closing_count = parts.len() as u32;
        parts.reverse();
        let chunk = BlockMut::with_capacity(0);
        View { index, parts, closing, closing_count, number: 0, chunk, records: 0, done: false }
    }

    pub fn index(&self) -> Index {
        self.index
    }

    /// Goes on for at most `visits` records.
    pub fn advance(&mut self, visits: usize) -> Slice {
        for _ in 0..visits {
            let Some((realm, place, part)) = self.parts.last_mut() else {
                if self.records > 0 {
                    return Slice::Chunk(self.seal(RECORDS));
                }
                if std::mem::replace(&mut self.done, true) {
                    return Slice::End;
                }
                self.records = self.closing_count;
                self.chunk = BlockMut::with_capacity(HEAD + self.closing.len());
                self.chunk.grow(HEAD);
                self.chunk.extend(&self.closing);
                return Slice::Chunk(self.seal(CLOSE));
            };
            let next = match part {
                Part::Table(table) => table.next(),
                // Its blocks are chunks of their own.
                Part::Trail(_) if self.records > 0 => return Slice::Chunk(self.seal(RECORDS)),
                Part::Trail(trail) => {
                    if let Some(block) = trail.next() {
                        let place = (*realm, *place);
                        return Slice::Chunk(self.block(place, &block));
                    }
                    None
                }
            };
            let Some((key, value)) = next else {
                self.parts.pop();
                continue;
            };
            if self.records == 0 {
                self.chunk = BlockMut::with_capacity(CHUNK_BYTES + 8 * PAGE);
                self.chunk.grow(HEAD);
            }
            let mut head = [0; RECORD];
            head[0] = *realm;
            head[1] = *place;
            head[2..4].copy_from_slice(&(key.len() as u16).to_le_bytes());
            head[4..8].copy_from_slice(&(value.len() as u32).to_le_bytes());
            let (front, tail) = key.parts();
            for piece in [&head[..], front, tail, value] {
                self.chunk.extend(piece);
            }
            self.records += 1;
            if self.records == CHUNK_RECORDS || self.chunk.len() >= HEAD + CHUNK_BYTES {
                return Slice::Chunk(self.seal(RECORDS));
            }
        }
        Slice::More
    }

    fn block(&mut self, (realm, place): (u8, u8), block: &trail::Block) -> Block {
        let ends = block.ends.as_flattened();
        self.chunk = BlockMut::with_capacity(HEAD + BLOCK_HEAD + ends.len() + block.bytes.len());
        self.chunk.grow(HEAD);
        let mut head = [0; BLOCK_HEAD];
        (head[0], head[1]) = (realm, place);
        head[8..].copy_from_slice(&block.first.to_le_bytes());
        [&head[..], ends, &block.bytes].into_iter().for_each(|piece| self.chunk.extend(piece));
        self.records = block.ends.len() as u32;
        self.seal(BLOCK)
    }

    fn seal(&mut self, kind: u16) -> Block {
        let mut chunk = std::mem::replace(&mut self.chunk, BlockMut::with_capacity(0));
        let body = &chunk.bytes()[HEAD..];
        let (length, crc) = (body.len() as u32, sum::crc32c(body));
        let head = &mut chunk.bytes_mut()[..HEAD];
        head[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        head[4..6].copy_from_slice(&VERSION.to_le_bytes());
        head[6..8].copy_from_slice(&kind.to_le_bytes());
        head[8..16].copy_from_slice(&self.index.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.number.to_le_bytes());
        head[24..28].copy_from_slice(&self.records.to_le_bytes());
        head[28..32].copy_from_slice(&length.to_le_bytes());
        head[32..36].copy_from_slice(&crc.to_le_bytes());
        let crc = sum::crc32c(&head[..36]);
        head[36..40].copy_from_slice(&crc.to_le_bytes());
        self.number += 1;
        self.records = 0;
        let padding = chunk.len().next_multiple_of(PAGE) - chunk.len();
        chunk.grow(padding); // Chunks lie end to end on whole pages.
        chunk.freeze()
    }
}

/// Takes a snapshot's bytes as they come and builds its tables.
pub struct Loader {
    index: Index,
    /// Bytes of a chunk that is not complete yet.
    waiting: Vec<u8>,
    /// Where it begins in the snapshot.
    at: u64,
    number: u64,
    parts: Vec<(u8, u8, Loaded)>,
    open: Option<(u8, u8, Growing)>,
    complete: bool,
}

enum Growing {
    Table(Builder),
    Trail(Trail),
}

impl Growing {
    fn finish(self) -> Loaded {
        match self {
            Growing::Table(builder) => Loaded::Table(builder.finish()),
            Growing::Trail(trail) => Loaded::Trail(trail),
        }
    }
}

struct ChunkHead {
    kind: u16,
    index: Index,
    number: u64,
    records: u32,
    length: usize,
    crc: u32,
}

impl ChunkHead {
    /// Bytes of the chunk with the zeros behind it.
    fn whole(&self) -> usize {
        (HEAD + self.length).next_multiple_of(PAGE)
    }

    fn decode(head: &[u8; HEAD], at: u64, expected: u64) -> Result<ChunkHead, Damaged> {
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        if u32_at(0) != MAGIC {
            return Err(Damaged::Magic { at });
        }
        if u32_at(36) != sum::crc32c(&head[..36]) {
            return Err(Damaged::Sum { number: expected });
        }
        if u16_at(4) != VERSION {
            return Err(Damaged::Version { version: u16_at(4) });
        }
        let length = u32_at(28) as usize;
        if length > BODY_MAX {
            return Err(Damaged::Shape { number: expected });
        }
        let (kind, index) = (u16_at(6), Index(u64_at(8)));
        Ok(ChunkHead { kind, index, number: u64_at(16), records: u32_at(24), length, crc: u32_at(32) })
    }
}

impl Loader {
    /// For the snapshot at `index`.
    pub fn new(index: Index) -> Loader {
        let (waiting, parts) = (Vec::new(), Vec::new());
        Loader { index, waiting, at: 0, number: 0, parts, open: None, complete: false }
    }

    /// Takes the next bytes, however they are cut. True: the closing chunk has come and all is as it says.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Damaged> {
        // Of a chunk that lies in several pieces only that much is copied together.
        while !self.complete && !self.waiting.is_empty() {
            let mut waiting = std::mem::take(&mut self.waiting);
            let whole = waiting.first_chunk().map(|head| ChunkHead::decode(head, self.at, self.number));
            let wanted = whole.transpose()?.map_or(HEAD, |head| head.whole());
            let (piece, rest) = bytes.split_at(bytes.len().min(wanted - waiting.len()));
            waiting.extend_from_slice(piece);
            bytes = rest;
            let taken = self.chunks(&waiting)?;
            if taken < waiting.len() {
                self.waiting = waiting;
            }
            if bytes.is_empty() {
                return Ok(self.complete);
            }
        }
        let taken = self.chunks(bytes)?;
        self.waiting.extend_from_slice(&bytes[taken..]);
        Ok(self.complete)
    }

    /// Takes the whole chunks that these bytes begin with, and says how many bytes that were.
    fn chunks(&mut self, bytes: &[u8]) -> Result<usize, Damaged> {
        let mut taken = 0;
        while !self.complete
            && let Some(head) = bytes[taken..].first_chunk::<HEAD>()
        {
            let head = ChunkHead::decode(head, self.at, self.number)?;
            let Some(chunk) = bytes[taken..].get(..head.whole()) else { break };
            // Whoever takes a copy vouches for all of its bytes: the zeros behind a chunk are part of it.
            if chunk[HEAD + head.length..].iter().any(|&byte| byte != 0) {
                return Err(Damaged::Sum { number: self.number });
            }
            self.chunk(&head, &chunk[HEAD..HEAD + head.length])?;
            self.at += chunk.len() as u64;
            taken += chunk.len();
        }
        Ok(taken)
    }

    fn chunk(&mut self, head: &ChunkHead, body: &[u8]) -> Result<(), Damaged> {
        let number = self.number;
        if sum::crc32c(body) != head.crc {
            return Err(Damaged::Sum { number });
        }
        if head.index != self.index || head.number != number {
            return Err(Damaged::Misplaced { number });
        }
        self.number += 1;
        match head.kind {
            RECORDS => self.records(head.records, body, number),
            BLOCK => self.block(head.records, body, number),
            CLOSE => self.close(head.records, body, number),
            _ => Err(Damaged::Shape { number }),
        }
    }

    fn records(&mut self, count: u32, mut body: &[u8], number: u64) -> Result<(), Damaged> {
        for _ in 0..count {
            let Some((head, rest)) = body.split_first_chunk::<RECORD>() else {
                return Err(Damaged::Shape { number });
            };
            let (realm, place) = (head[0], head[1]);
            let key = usize::from(u16::from_le_bytes([head[2], head[3]]));
            let value = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let Some((record, rest)) = rest.split_at_checked(key + value) else {
                return Err(Damaged::Shape { number });
            };
            body = rest;
            let Some(Growing::Table(table)) = self.part(realm, place) else {
                return Err(Damaged::Misplaced { number });
            };
            let pushed = table.push(&record[..key], &record[key..]);
            pushed.map_err(|source| Damaged::Order { number, source })?;
        }
        if body.is_empty() { Ok(()) } else { Err(Damaged::Shape { number }) }
    }

    fn block(&mut self, count: u32, body: &[u8], number: u64) -> Result<(), Damaged> {
        let shape = Damaged::Shape { number };
        let (head, rest) = body.split_first_chunk::<BLOCK_HEAD>().ok_or(shape.clone())?;
        let (ends, bytes) = rest.split_at_checked(count as usize * 4).ok_or(shape)?;
        let first = u64::from_le_bytes(head[8..].try_into().unwrap());
        let Some(Growing::Trail(trail)) = self.part(head[0], head[1]) else {
            return Err(Damaged::Misplaced { number });
        };
        let loaded = trail.load(first, ends.as_chunks().0, bytes);
        loaded.map_err(|source| Damaged::Order { number, source })
    }

    /// The part under way; `None` if that one's turn is over.
    fn part(&mut self, realm: u8, place: u8) -> Option<&mut Growing> {
        let current = self.open.as_ref().map(|(r, p, _)| (*r, *p));
        if current != Some((realm, place)) {
            if current.is_some_and(|current| current > (realm, place)) {
                return None;
            }
            self.shut();
            let part = match place {
                TRAIL => Growing::Trail(Trail::default()),
                _ => Growing::Table(Builder::new()),
            };
            self.open = Some((realm, place, part));
        }
        self.open.as_mut().map(|(_, _, part)| part)
    }

    fn shut(&mut self) {
        if let Some((realm, place, part)) = self.open.take() {
            self.parts.push((realm, place, part.finish()));
        }
    }

    fn close(&mut self, count: u32, body: &[u8], number: u64) -> Result<(), Damaged> {
        self.shut();
        if body.len() != count as usize * CLOSING {
            return Err(Damaged::Shape { number });
        }
        let mut named = Vec::new();
        let mut loaded = std::mem::take(&mut self.parts).into_iter().peekable();
        for said in body.as_chunks::<CLOSING>().0 {
            let (realm, place) = (said[0], said[1]);
            let count = u64::from_le_bytes(said[8..16].try_into().unwrap());
            let digest = u128::from_le_bytes(said[16..32].try_into().unwrap());
            let found = loaded.next_if(|(r, p, _)| (*r, *p) == (realm, place));
            let (_, _, part) = found.unwrap_or((realm, place, Loaded::empty(place)));
            if part.sum() != (count, digest) {
                return Err(Damaged::Digest { realm, table: place });
            }
            named.push((realm, place, part));
        }
        if let Some((realm, table, _)) = loaded.next() {
            return Err(Damaged::Digest { realm, table });
        }
        self.parts = named;
        self.complete = true;
        Ok(())
    }

    /// Tables and trails, by realm and place.
    pub fn finish(self) -> Result<Vec<(u8, u8, Loaded)>, Damaged> {
        if self.complete { Ok(self.parts) } else { Err(Damaged::Short) }
    }
}

#[cfg(test)]
mod tests;
