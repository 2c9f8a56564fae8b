//! The frame: one 4 KiB block of a segment's header zone, the node's own word on its log.
//!
//! Each batch gets one, written beside its body and awaited with it. It repeats the batch's head and those of the
//! batches before it, each with its place, so a head survives in its body, its own frame and the frames that
//! follow. A *state* frame belongs to no batch: it opens a segment, or carries the durable watermark once the
//! pipeline has run dry.

use std::collections::VecDeque;

use crate::base::{Block, BlockMut, ClusterId, Index, Life, NodeId, PAGE, sum};
use crate::journal::layout::Place;
use crate::journal::{BATCH_HEAD, BatchHead};

/// Heads in one frame: this batch's and the last ones before it.
pub const HEADS_MAX: usize = 24;

const MAGIC: u32 = u32::from_le_bytes(*b"QFRM");
pub const VERSION: u16 = 1;
const FIXED: usize = 128;
const ENTRY: usize = BATCH_HEAD + 16;
const _: () = assert!(FIXED + HEADS_MAX * ENTRY <= PAGE);

/// A head and its place, in the form in which frames carry it.
#[derive(Clone, Copy, Debug)]
pub struct Entry([u8; ENTRY]);

impl Entry {
    pub fn new(head: &BatchHead, place: Place) -> Entry {
        let mut bytes = [0; ENTRY];
        bytes[..BATCH_HEAD].copy_from_slice(&head.encode());
        bytes[BATCH_HEAD..BATCH_HEAD + 4].copy_from_slice(&place.file.to_le_bytes());
        bytes[BATCH_HEAD + 4..BATCH_HEAD + 8].copy_from_slice(&place.slot.to_le_bytes());
        bytes[BATCH_HEAD + 8..BATCH_HEAD + 12].copy_from_slice(&place.page.to_le_bytes());
        Entry(bytes)
    }
}

/// A frame's fixed part.
///
/// ```text
///  0 magic u32 | 4 crc u32 over all behind it | 8 version u16 | 10 kind u16 | 12 count u32 | 16 cluster u128
/// 32 node u8, zero | 40 life u64 | 48 sequence u64 | 56 file u32 | 60 slot u32 | 64 era u64
/// 72 after u64 | 80 watermark u64 | 88 index u64 | 96 first u64 | 104 generation u64 | 112 zero
/// 128 entries, newest first, each: head 128 | file u32 | slot u32 | page u32 | zero u32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub cluster: ClusterId,
    pub node: NodeId,
    /// The life of the node that wrote it.
    pub life: Life,
    /// The use of the segment that it belongs to.
    pub sequence: u64,
    /// Where it was meant to go: elsewhere it is a misdirected write.
    pub file: u32,
    pub slot: u32,
    /// Grows whenever the log's end is decided anew: at every open, cut and restart. What an older era wrote
    /// above `after` is no longer part of the log.
    pub era: u64,
    pub after: Index,
    /// All up to here was on stable media when this was written.
    pub watermark: Index,
    /// The batch that this is the frame of; of a state frame, the log's end.
    pub index: Index,
    /// The first index of the segment.
    pub first: Index,
    /// The superblock's generation when this was written: an older superblock was rolled back.
    pub generation: u64,
    /// Heads that follow; `encode` goes by the heads that it is given.
    pub count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Batch,
    State,
}

/// Why a block of the header zone is no frame of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// Never written.
    Blank,
    Damaged,
    /// Intact, of a format that this build does not know.
    Version(u16),
}

impl Frame {
    /// `heads` end with the newest; as many of the last as fit are taken.
    pub fn encode(&self, heads: &VecDeque<Entry>) -> Block {
        let mut block = BlockMut::zeroed(PAGE);
        let out = block.bytes_mut();
        let count = heads.len().min(HEADS_MAX);
        let kind: u16 = match self.kind {
            Kind::Batch => 1,
            Kind::State => 2,
        };
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&kind.to_le_bytes());
        out[12..16].copy_from_slice(&(count as u32).to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster.0.to_le_bytes());
        out[32] = self.node.0;
        out[40..48].copy_from_slice(&self.life.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        out[56..60].copy_from_slice(&self.file.to_le_bytes());
        out[60..64].copy_from_slice(&self.slot.to_le_bytes());
        out[64..72].copy_from_slice(&self.era.to_le_bytes());
        out[72..80].copy_from_slice(&self.after.0.to_le_bytes());
        out[80..88].copy_from_slice(&self.watermark.0.to_le_bytes());
        out[88..96].copy_from_slice(&self.index.0.to_le_bytes());
        out[96..104].copy_from_slice(&self.first.0.to_le_bytes());
        out[104..112].copy_from_slice(&self.generation.to_le_bytes());
        for (nth, entry) in heads.iter().rev().take(count).enumerate() {
            out[FIXED + nth * ENTRY..][..ENTRY].copy_from_slice(&entry.0);
        }
        let crc = sum::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        block.freeze()
    }

    /// Reads one page of a header zone. What it says is not yet held against where it was found.
    pub fn decode(page: &[u8]) -> Result<Frame, BadFrame> {
        let Some(page) = page.first_chunk::<PAGE>() else { return Err(BadFrame::Damaged) };
        let u16_at = |at: usize| u16::from_le_bytes(page[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
        if u32_at(0) != MAGIC {
            let blank = page.iter().all(|&byte| byte == 0);
            return Err(if blank { BadFrame::Blank } else { BadFrame::Damaged });
        }
        if u32_at(4) != sum::crc32c(&page[8..]) {
            return Err(BadFrame::Damaged);
        }
        if u16_at(8) != VERSION {
            return Err(BadFrame::Version(u16_at(8)));
        }
        let kind = match u16_at(10) {
            1 => Kind::Batch,
            2 => Kind::State,
            _ => return Err(BadFrame::Damaged),
        };
        let count = u32_at(12);
        if count as usize > HEADS_MAX || (kind == Kind::Batch && count == 0) {
            return Err(BadFrame::Damaged);
        }
        Ok(Frame {
            kind,
            cluster: ClusterId(u128::from_le_bytes(page[16..32].try_into().unwrap())),
            node: NodeId(page[32]),
            life: Life(u64_at(40)),
            sequence: u64_at(48),
            file: u32_at(56),
            slot: u32_at(60),
            era: u64_at(64),
            after: Index(u64_at(72)),
            watermark: Index(u64_at(80)),
            index: Index(u64_at(88)),
            first: Index(u64_at(96)),
            generation: u64_at(104),
            count,
        })
    }

    /// The heads that `page`, which this frame was decoded from, repeats; newest first.
    pub fn heads<'a>(&self, page: &'a [u8]) -> impl Iterator<Item = (BatchHead, Place)> + 'a {
        page[FIXED..FIXED + self.count as usize * ENTRY].chunks_exact(ENTRY).filter_map(|entry| {
            let u32_at = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            let head = BatchHead::decode(entry).ok()?;
            let (file, slot) = (u32_at(BATCH_HEAD), u32_at(BATCH_HEAD + 4));
            Some((head, Place { file, slot, page: u32_at(BATCH_HEAD + 8) }))
        })
    }

    pub fn new(kind: Kind, index: Index) -> Frame {
        Frame {
            kind,
            cluster: ClusterId::default(),
            node: NodeId::default(),
            life: Life::default(),
            sequence: 0,
            file: 0,
            slot: 0,
            era: 0,
            after: Index(0),
            watermark: Index(0),
            index,
            first: Index(0),
            generation: 0,
            count: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Chain, Epoch, Nanos};
    use crate::journal::Builder;

    fn heads(count: u64) -> VecDeque<Entry> {
        let head = |n| {
            let batch = Builder::default().seal(ClusterId(1), Epoch(1), Index(n), Chain(0), 0, 0, Nanos(0));
            Entry::new(batch.head(), Place { file: 3, slot: n as u32, page: 7 })
        };
        (1..=count).map(head).collect()
    }

    fn sample() -> Frame {
        Frame {
            cluster: ClusterId(1),
            node: NodeId(2),
            sequence: 9,
            file: 3,
            slot: 30,
            era: 4,
            after: Index(5),
            watermark: Index(6),
            first: Index(1),
            generation: 8,
            ..Frame::new(Kind::Batch, Index(30))
        }
    }

    #[test]
    fn a_frame_comes_back_with_its_newest_heads_first() {
        let page = sample().encode(&heads(30));
        let again = Frame::decode(&page).unwrap();
        assert_eq!(again, Frame { count: HEADS_MAX as u32, ..sample() });
        let found: Vec<u64> = again.heads(&page).map(|(head, _)| head.index.0).collect();
        assert_eq!(found, (7..=30).rev().collect::<Vec<_>>());
        assert_eq!(again.heads(&page).next().unwrap().1, Place { file: 3, slot: 30, page: 7 });
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let page = sample().encode(&heads(3));
        for at in 0..PAGE {
            let mut bad = page.to_vec();
            bad[at] ^= 0x40;
            assert_eq!(Frame::decode(&bad), Err(BadFrame::Damaged), "byte {at}");
        }
        assert_eq!(Frame::decode(&[0; PAGE]), Err(BadFrame::Blank));
    }
}
