//! What a disk has called durable, read off the bytes as they land: the oracles' own books, kept apart from what
//! the node believes. A write that the disk reported and lost counts, since nobody could know better.

use std::collections::BTreeMap;

use crate::base::{Chain, Epoch, Incarnation, Index, PAGE, Voice};
use crate::journal::{BatchHead, Frame, Kind, Super};
use crate::pipeline::ports::File;
use crate::replica::Member;

#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Which one the disk was formatted as.
    pub incarnation: Incarnation,
    /// Up to here its newest superblock says that all was durable.
    pub sure: Index,
    generation: u64,
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

    /// Of this disk or one that was here before: the one that was formatted as this.
    pub fn of(&self, incarnation: Incarnation) -> Option<&Notes> {
        match self.incarnation == incarnation {
            true => Some(self),
            false => self.former.as_ref()?.of(incarnation),
        }
    }

    /// That disk, at this time or before it was put back to what it was.
    pub fn any_of(&self, incarnation: Incarnation, test: &impl Fn(&Notes) -> bool) -> bool {
        self.incarnation == incarnation && test(self)
            || self.former.as_ref().is_some_and(|former| former.any_of(incarnation, test))
    }

    /// The disk was put back to when it held this.
    pub fn put_back(&mut self, old: Notes) {
        self.former = Some(Box::new(std::mem::replace(self, old)));
    }

    /// Of the disk that a configuration means: while it names none, any that stands here.
    pub fn of_member(&self, member: &Member) -> Option<&Notes> {
        if member.incarnation == Incarnation::OPEN { Some(self) } else { self.of(member.incarnation) }
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
        if sup.generation >= self.generation {
            self.generation = sup.generation;
            self.sure = sup.watermark.max(marks.commit).max(marks.base.index);
        }
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
