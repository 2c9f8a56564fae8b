//! What a disk has called durable, read off the bytes as they land: the oracles' own books, kept apart from what
//! the node believes. A write that the disk reported and lost counts, since nobody could know better.

use std::collections::BTreeMap;

use crate::base::{Chain, Epoch, Index, PAGE, Voice};
use crate::journal::{BatchHead, Frame, Kind, Super};
use crate::pipeline::ports::File;

#[derive(Debug, Default)]
pub struct Notes {
    bodies: BTreeMap<Index, Vec<Chain>>,
    frames: BTreeMap<Index, Vec<Chain>>,
    /// Highest promise in any superblock copy.
    pub promised: Epoch,
    /// Votes in superblock copies; two in one epoch are a violation, kept for the oracle to find.
    pub votes: BTreeMap<Epoch, Voice>,
    pub voted_twice: Option<(Epoch, Voice, Voice)>,
    /// Uses of segment files beyond their first.
    pub wraps: u64,
    uses: BTreeMap<u32, u64>,
    /// Of the disk that was here before: it may have been counted, and be gone since.
    former: Option<Box<Notes>>,
}

impl Notes {
    /// The disk was replaced.
    pub fn begin_anew(&mut self) {
        self.former = Some(Box::new(std::mem::take(self)));
    }

    /// This batch has been durable here, be it on a disk that was replaced since.
    pub fn ever_held(&self, index: Index, chain: Chain) -> bool {
        self.holds(index, chain) || self.former.as_ref().is_some_and(|former| former.ever_held(index, chain))
    }

    /// All sectors of a write have landed, or were said to have.
    pub fn take(&mut self, file: File, offset: u64, bytes: &[u8]) {
        match file {
            File::Segment(nth) => self.take_segment(nth, bytes),
            File::Super => self.take_super(offset, bytes),
            File::Snapshot(_) => {}
        }
    }

    fn take_segment(&mut self, nth: u32, bytes: &[u8]) {
        if let Ok(head) = BatchHead::decode(bytes) {
            let chains = self.bodies.entry(head.index).or_default();
            if !chains.contains(&head.chain) {
                chains.push(head.chain);
            }
            return;
        }
        if bytes.len() != PAGE {
            return;
        }
        let Ok(frame) = Frame::decode(bytes) else { return };
        let used = self.uses.entry(nth).or_insert(frame.sequence);
        if *used < frame.sequence {
            *used = frame.sequence;
            self.wraps += 1;
        }
        if frame.kind == Kind::Batch
            && let Some((head, _)) = frame.heads(bytes).next()
        {
            let chains = self.frames.entry(head.index).or_default();
            if !chains.contains(&head.chain) {
                chains.push(head.chain);
            }
        }
    }

    fn take_super(&mut self, offset: u64, bytes: &[u8]) {
        let copy = (0..4u16).find(|&copy| Super::offset(copy) == offset);
        let Some(Ok(sup)) = copy.map(|copy| Super::decode(bytes, copy)) else { return };
        let marks = sup.marks;
        self.promised = self.promised.max(marks.promised);
        if let Some(vote) = marks.vote {
            let before = *self.votes.entry(marks.promised).or_insert(vote);
            if before != vote {
                self.voted_twice = Some((marks.promised, before, vote));
            }
        }
    }

    /// Body and frame of this batch have been durable here at some time.
    pub fn holds(&self, index: Index, chain: Chain) -> bool {
        self.lacks(index, chain).is_none()
    }

    /// What of this batch has never been durable here.
    pub fn lacks(&self, index: Index, chain: Chain) -> Option<&'static str> {
        let has = |map: &BTreeMap<Index, Vec<Chain>>| map.get(&index).is_some_and(|all| all.contains(&chain));
        let body = (!has(&self.bodies)).then_some("body");
        body.or((!has(&self.frames)).then_some("frame"))
    }
}
