//! The log's table in memory: which batch lies where, which files are in use, where the next batch goes.
//!
//! It decides places and writes frames; it does no I/O and knows nothing of what is in flight: `Store` orders the
//! writes, `recover` builds the table from what a disk holds.

use std::collections::{BTreeSet, VecDeque};

use crate::base::{Block, ClusterId, Index};
use crate::journal::frame::{Entry, Frame, HEADS_MAX, Kind};
use crate::journal::layout::{Params, Place, STATE_SLOTS, Segment, pages};
use crate::journal::superblock::Super;
use crate::journal::{Batch, BatchHead};
use crate::pipeline::parcel::Base;
use crate::pipeline::ports::File;

/// What this node knows of one place in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub index: Index,
    /// The batch's head, if any copy of it has survived.
    pub head: Option<BatchHead>,
    pub state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Readable and whole.
    Present,
    /// Something was here. This node never denies it; an intact copy or proof of absence must come from others.
    Unknown {
        /// Above every durable watermark: it may be a write that power loss tore before it was acknowledged.
        torn: bool,
    },
}

impl Slot {
    pub fn is_present(&self) -> bool {
        self.state == SlotState::Present
    }
}

/// A slot and its place. A slot may have none: then only a watermark vouches that there was a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub slot: Slot,
    pub place: Option<Place>,
}

impl Held {
    /// Where the body behind this one starts.
    fn end_page(&self) -> Option<u32> {
        Some(self.place?.page + pages(self.slot.head?.length))
    }
}

/// A write that the log asks for.
#[derive(Debug)]
pub struct Write {
    pub file: File,
    pub offset: u64,
    pub block: Block,
}

/// Why a batch finds no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// No segment file is free.
    Full,
    /// A repaired batch's place is not known until its neighbour is repaired.
    Later,
}

#[derive(Debug)]
pub struct Log {
    pub(crate) params: Params,
    /// What the superblock says, on disk now. `Store` replaces it when a newer generation is.
    pub(crate) sup: Super,
    /// The point that the first held batch continues.
    pub(crate) start: Base,
    pub(crate) held: VecDeque<Held>,
    /// In order of their first index.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) free: VecDeque<u32>,
    /// Files made so far: 0 up to this.
    pub(crate) files: u32,
    pub(crate) next_sequence: u64,
    /// The newest heads, as frames repeat them.
    pub(crate) recent: VecDeque<Entry>,
    /// All up to here is on stable media, without a gap or damage. `Store` moves it.
    pub(crate) durable: Index,
    /// The watermark that recovery found: what is bad below it was once durable.
    pub(crate) floor: Index,
}

impl Log {
    pub fn params(&self) -> &Params {
        &self.params
    }

    pub fn start(&self) -> Base {
        self.start
    }

    /// The first index held.
    pub fn first(&self) -> Index {
        self.start.index.next()
    }

    /// The last index held, known or not.
    pub fn last(&self) -> Index {
        Index(self.start.index.0 + self.held.len() as u64)
    }

    pub fn durable(&self) -> Index {
        self.durable
    }

    /// All up to here has been on stable media, though some of it may be damaged now.
    pub fn watermark(&self) -> Index {
        self.durable.max(self.floor)
    }

    pub fn slot(&self, index: Index) -> Option<&Slot> {
        self.held(index).map(|held| &held.slot)
    }

    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.held.iter().map(|held| &held.slot)
    }

    /// Where a batch lies, if that is known.
    pub fn place(&self, index: Index) -> Option<Place> {
        self.held(index)?.place
    }

    pub(crate) fn held(&self, index: Index) -> Option<&Held> {
        self.held.get(index.0.checked_sub(self.first().0)? as usize)
    }

    pub(crate) fn held_mut(&mut self, index: Index) -> Option<&mut Held> {
        let nth = index.0.checked_sub(self.first().0)? as usize;
        self.held.get_mut(nth)
    }

    pub fn cluster(&self) -> ClusterId {
        self.sup.cluster
    }

    /// The superblock as it is on disk.
    pub fn sup(&self) -> &Super {
        &self.sup
    }

    pub(crate) fn set_super(&mut self, sup: Super) {
        self.sup = sup;
    }

    pub(crate) fn set_present(&mut self, index: Index) {
        if let Some(held) = self.held_mut(index) {
            held.slot.state = SlotState::Present;
        }
    }

    /// It was whole, and read back damaged.
    pub(crate) fn set_unknown(&mut self, index: Index) {
        if let Some(held) = self.held_mut(index) {
            held.slot.state = SlotState::Unknown { torn: false };
        }
    }

    /// Where a present batch's body lies: file and page.
    pub(crate) fn lies(&self, index: Index) -> Option<(BatchHead, u32, u32)> {
        self.lay(index).filter(|_| self.slot(index).is_some_and(Slot::is_present))
    }

    /// The same, whatever can be read there.
    pub(crate) fn lay(&self, index: Index) -> Option<(BatchHead, u32, u32)> {
        let held = self.held(index)?;
        let (head, place) = (held.slot.head?, held.place?);
        Some((head, place.file, place.page))
    }

    pub(crate) fn has_segment(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The number that the next segment file is made under.
    pub(crate) fn next_file(&self) -> u32 {
        self.files
    }

    /// That file is there now, and free.
    pub(crate) fn add_file(&mut self) {
        self.free.push_back(self.files);
        self.files += 1;
    }

    pub(crate) fn last_file(&self) -> File {
        File::Segment(self.segments.back().map_or(0, |segment| segment.file))
    }

    /// Files in use and free, the spare ones.
    pub fn space(&self) -> (usize, usize) {
        (self.segments.len(), self.free.len())
    }

    /// Gives the next batch its place: the writes to make, all of which its acknowledgement waits for.
    pub fn append(&mut self, batch: &Batch) -> Result<Vec<Write>, NoPlace> {
        let head = *batch.head();
        assert_eq!(head.index, self.last().next(), "batches are appended in order");
        assert!(batch.block().len() <= self.params.batch_max(), "a batch must fit one segment");
        if let Some(prev) =
            self.held.back().map_or(Some(self.start.chain), |held| Some(held.slot.head?.chain))
        {
            assert_eq!(prev, head.prev, "batch {} does not continue this log", head.index);
        }
        let mut writes = Vec::with_capacity(3);
        let place = match self.next_place(head.index, head.length) {
            Some(place) => place,
            None => {
                let segment = self.open_segment(head.index).ok_or(NoPlace::Full)?;
                self.segments.push_back(segment);
                writes.push(self.state_frame());
                Place { file: segment.file, slot: STATE_SLOTS, page: self.params.header_slots }
            }
        };
        let slot = Slot { index: head.index, head: Some(head), state: SlotState::Present };
        self.held.push_back(Held { slot, place: Some(place) });
        self.recent.push_back(Entry::new(&head, place));
        if self.recent.len() > HEADS_MAX {
            self.recent.pop_front();
        }
        let frame =
            Frame { slot: place.slot, ..self.frame(Kind::Batch, head.index, self.segments.len() - 1) };
        writes.push(body(place, batch));
        writes.push(Write {
            file: File::Segment(place.file),
            offset: place.frame_offset(),
            block: frame.encode(&self.recent),
        });
        Ok(writes)
    }

    /// A frame with the durable watermark, into the state slot that does not hold the newest one.
    pub fn state_frame(&mut self) -> Write {
        let nth = self.segments.len() - 1;
        let slot = self.segments[nth].state_slot;
        self.segments[nth].state_slot = 1 - slot;
        let frame = Frame { slot, ..self.frame(Kind::State, self.last(), nth) };
        Write {
            file: File::Segment(frame.file),
            offset: u64::from(slot) * crate::base::PAGE as u64,
            block: frame.encode(&self.recent),
        }
    }

    fn frame(&self, kind: Kind, index: Index, nth: usize) -> Frame {
        let segment = &self.segments[nth];
        Frame {
            cluster: self.sup.cluster,
            node: self.sup.node,
            life: self.sup.marks.life,
            sequence: segment.sequence,
            file: segment.file,
            era: self.sup.era,
            after: self.sup.after,
            watermark: self.watermark(),
            first: segment.first,
            generation: self.sup.generation,
            ..Frame::new(kind, index)
        }
    }

    /// Behind the last batch, if there is room in its segment.
    fn next_place(&self, index: Index, length: u32) -> Option<Place> {
        let segment = self.segments.back()?;
        let page = match self.held.back() {
            Some(held) if held.place.is_some_and(|place| place.file == segment.file) => held.end_page()?,
            _ if segment.first == index => self.params.header_slots,
            _ => return None,
        };
        let slot = segment.slot_of(index, &self.params)?;
        (page + pages(length) <= self.params.segment_pages()).then_some(Place {
            file: segment.file,
            slot,
            page,
        })
    }

    fn open_segment(&mut self, first: Index) -> Option<Segment> {
        let file = self.free.pop_front()?;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Some(Segment { file, sequence, first, state_slot: 0 })
    }

    /// The rewrites that heal the slot of `batch`. It must be the batch that was there, as far as that is known.
    pub fn repair(&mut self, batch: &Batch) -> Result<Vec<Write>, NoPlace> {
        let head = *batch.head();
        let place = match self.held(head.index).expect("the caller has looked").place {
            Some(place) => place,
            None => self.place_of(head.index, head.length)?,
        };
        let held = self.held_mut(head.index).expect("the caller has looked");
        held.place = Some(place);
        held.slot.head = Some(head);
        let frame = self.frame_again(head.index);
        self.recall();
        Ok(vec![body(place, batch), frame])
    }

    /// Whether `batch` can be what was in its slot.
    pub fn fits(&self, batch: &Batch) -> bool {
        let head = batch.head();
        let Some(held) = self.held(head.index) else { return false };
        if let Some(known) = held.slot.head {
            return known == *head;
        }
        let chain = |index: Index| match self.held(index) {
            Some(held) => held.slot.head.map(|head| head.chain),
            None => (index == self.start.index).then_some(self.start.chain),
        };
        let next = self.held(head.index.next()).and_then(|held| held.slot.head);
        head.cluster == self.sup.cluster
            && batch.block().len() <= self.params.batch_max()
            && chain(head.index.prev()).is_none_or(|prev| prev == head.prev)
            && next.is_none_or(|next| next.prev == head.chain)
    }

    /// The frame of a held batch, made anew, with as many heads before it as are known without a gap.
    pub(crate) fn frame_again(&self, index: Index) -> Write {
        let place =
            self.held(index).and_then(|held| held.place).expect("only batches with a place have frames");
        let nth = self.segment_of(place.file).expect("a place lies in a segment in use");
        let frame = Frame { slot: place.slot, ..self.frame(Kind::Batch, index, nth) };
        Write {
            file: File::Segment(place.file),
            offset: place.frame_offset(),
            block: frame.encode(&self.heads_up_to(index)),
        }
    }

    fn heads_up_to(&self, index: Index) -> VecDeque<Entry> {
        let mut heads = VecDeque::new();
        let mut at = index;
        while heads.len() < HEADS_MAX {
            let Some(held) = self.held(at) else { break };
            let (Some(head), Some(place)) = (held.slot.head, held.place) else { break };
            heads.push_front(Entry::new(&head, place));
            at = at.prev();
        }
        heads
    }

    /// Recomputes the newest heads after the log's end has changed.
    pub(crate) fn recall(&mut self) {
        self.recent = self.heads_up_to(self.last());
    }

    fn segment_of(&self, file: u32) -> Option<usize> {
        self.segments.iter().position(|segment| segment.file == file)
    }

    /// Where a batch without a known place belongs, worked out from its neighbours. A stretch of which nothing is
    /// left gets a segment of its own.
    fn place_of(&mut self, index: Index, length: u32) -> Result<Place, NoPlace> {
        let params = self.params;
        let covering =
            self.segments.iter().rev().find(|s| s.first <= index && s.slot_of(index, &params).is_some());
        if let Some(segment) = covering.copied() {
            let slot = segment.slot_of(index, &params).expect("it covers the index");
            let before =
                self.held(index.prev()).filter(|held| held.place.is_some_and(|p| p.file == segment.file));
            let next = self.held(index.next()).and_then(|held| held.place);
            let page = match before.and_then(Held::end_page) {
                Some(page) => Some(page),
                None if segment.first == index => Some(params.header_slots),
                None => {
                    next.filter(|p| p.file == segment.file).and_then(|p| p.page.checked_sub(pages(length)))
                }
            };
            // The batch behind it, where it lies in this segment, bounds it; so does the segment's end.
            let bound = next.filter(|p| p.file == segment.file).map_or(params.segment_pages(), |p| p.page);
            match page {
                Some(page) if page >= params.header_slots && page + pages(length) <= bound => {
                    return Ok(Place { file: segment.file, slot, page });
                }
                // What is known contradicts itself, or the segment was full: it lay in another one.
                Some(_) => {}
                None => return Err(NoPlace::Later),
            }
        }
        let segment = self.open_segment(index).ok_or(NoPlace::Full)?;
        let at = self.segments.partition_point(|s| s.first <= index);
        self.segments.insert(at, segment);
        Ok(Place { file: segment.file, slot: STATE_SLOTS, page: params.header_slots })
    }

    /// Forgets all above `after`. The superblock must say so durably before anything is appended.
    pub fn cut(&mut self, after: Index) {
        let keep = after.0.saturating_sub(self.start.index.0) as usize;
        self.held.truncate(keep);
        self.durable = self.durable.min(after);
        self.floor = self.floor.min(after);
        self.release();
        self.recall();
    }

    /// Forgets everything: the log goes on behind `base`.
    pub fn restart(&mut self, base: Base) {
        self.held.clear();
        self.start = base;
        self.durable = base.index;
        self.floor = base.index;
        self.release();
        self.recall();
    }

    /// Gives back whole segments of batches below `below`; returns how many files came free.
    pub fn recycle(&mut self, below: Index) -> usize {
        let before = self.free.len();
        // The segments' last batches, in order: a segment ends where the next one begins.
        while self.segments.len() > 1 && self.segments[1].first <= below {
            let end = self.segments[1].first;
            if self.first() < end {
                // A batch of which nothing is known cannot be what the log goes on from.
                let Some(head) = self.held(end.prev()).and_then(|held| held.slot.head) else { break };
                self.held.drain(..(end.0 - self.first().0) as usize);
                self.start = Base::of(&head);
            }
            self.release();
        }
        self.free.len() - before
    }

    /// Files without a held batch become free.
    pub(crate) fn release(&mut self) {
        let used: BTreeSet<u32> = self.held.iter().filter_map(|held| Some(held.place?.file)).collect();
        let free = &mut self.free;
        self.segments.retain(|segment| {
            let in_use = used.contains(&segment.file);
            if !in_use {
                free.push_back(segment.file);
            }
            in_use
        });
    }
}

fn body(place: Place, batch: &Batch) -> Write {
    Write { file: File::Segment(place.file), offset: place.body_offset(), block: batch.block().clone() }
}
