//! Who follows whom in a trail, and short cuts.
//!
//! For every entry, as distances: the one that it follows, the one that follows it, and one further back in the same
//! chain, to jump to. Jumps are those of a skew-binary list: their lengths in a chain go 1, 1, 3, 1, 1, 3, 7, ..., so
//! that any place in a chain of n is reached in about 2 log2 n steps, and a new entry's jump follows from two others.
//! Those two lie anywhere in memory, as does the one that is told who follows it; so entries are linked late, many at a
//! time, when the processor can wait for all of them together.

use std::collections::VecDeque;

use crate::state::table::fetch;

/// Entries of one chunk: what grows is a list of chunks, not their content, which would have to be copied.
const CHUNK: usize = 4096;
/// Entries that wait to be linked.
pub(super) const LATE: u64 = 256;
/// Bits of a jump's distance: 134 million entries. A longer jump is not made.
const FAR: u32 = 27;
/// How many entries ahead memory is asked for that linking one will touch: the entry before it, then that one's jump.
const AHEAD: u64 = 12;

#[derive(Default)]
pub(super) struct Links {
    chunks: VecDeque<Box<[Link; CHUNK]>>,
    /// The first chunk's number: its first entry's, divided.
    front: u64,
    first: u64,
    end: u64,
    /// Up to here entries are linked.
    linked: u64,
}

/// Distances; 0: none.
#[derive(Clone, Copy, Default)]
struct Link {
    /// `u32::MAX`: so far that it is certainly gone.
    back: u32,
    next: u32,
    /// The rank above the distance. A jump of rank r is 2^r - 1 entries of the chain long.
    jump: u32,
}

impl Link {
    fn rank(self) -> u32 {
        self.jump >> FAR
    }

    fn back_from(self, number: u64) -> Option<u64> {
        number.checked_sub(u64::from(self.back)).filter(|_| self.back > 0)
    }

    fn jump_from(self, number: u64) -> Option<u64> {
        let distance = u64::from(self.jump & ((1 << FAR) - 1));
        number.checked_sub(distance).filter(|_| distance > 0)
    }

    fn set_jump(&mut self, rank: u32, distance: u64) {
        if distance < 1 << FAR && rank < 1 << (u32::BITS - FAR) {
            self.jump = rank << FAR | distance as u32;
        }
    }
}

impl Links {
    fn place(&self, number: u64) -> (usize, usize) {
        ((number / CHUNK as u64 - self.front) as usize, (number % CHUNK as u64) as usize)
    }

    fn at(&self, number: u64) -> Link {
        let (chunk, at) = self.place(number);
        self.chunks[chunk][at]
    }

    fn at_mut(&mut self, number: u64) -> &mut Link {
        let (chunk, at) = self.place(number);
        &mut self.chunks[chunk][at]
    }

    /// Entries come in order; the first may have any number.
    pub fn push(&mut self, number: u64, back: u64) {
        if self.chunks.is_empty() {
            (self.front, self.first, self.linked) = (number / CHUNK as u64, number, number);
        }
        if self.place(number).0 == self.chunks.len() {
            self.chunks.push_back(Box::new([Link::default(); CHUNK]));
        }
        *self.at_mut(number) = Link { back: u32::try_from(back).unwrap_or(u32::MAX), ..Link::default() };
        self.end = number + 1;
        if self.end - self.linked >= LATE {
            self.link_late();
        }
    }

    fn link_late(&mut self) {
        for number in self.linked.max(self.first)..self.end {
            let mut link = self.at(number);
            self.foresee(number + AHEAD);
            let Some(back) = link.back_from(number).filter(|back| *back >= self.first) else { continue };
            let before = self.at(back);
            // What is in the trail is in memory: 2^32 entries would be a hundred gigabytes.
            self.at_mut(back).next = (number - back) as u32;
            link.set_jump(1, number - back);
            if let Some(over) = before.jump_from(back).filter(|over| *over >= self.first) {
                let other = self.at(over);
                if other.rank() == before.rank()
                    && let Some(to) = other.jump_from(over)
                {
                    link.set_jump(before.rank() + 1, number - to);
                }
            }
            self.at_mut(number).jump = link.jump;
        }
        self.linked = self.end;
    }

    /// Asks for what linking this entry will touch.
    fn foresee(&self, number: u64) {
        let back = |number| self.at(number).back_from(number).filter(|back| *back >= self.first);
        if number + AHEAD < self.end
            && let Some(back) = back(number + AHEAD)
        {
            let (chunk, at) = self.place(back);
            fetch((&raw const self.chunks[chunk][at]).cast());
        }
        if number < self.end
            && let Some(back) = back(number)
            && let Some(over) = self.at(back).jump_from(back).filter(|over| *over >= self.first)
        {
            let (chunk, at) = self.place(over);
            fetch((&raw const self.chunks[chunk][at]).cast());
        }
    }

    pub fn let_go(&mut self, below: u64) {
        self.first = self.first.max(below);
        while self.front < below / CHUNK as u64 && self.chunks.len() > 1 {
            self.chunks.pop_front();
            self.front += 1;
        }
    }

    pub fn next(&self, number: u64) -> Option<u64> {
        let next = self.at(number).next;
        if next > 0 {
            return Some(number + u64::from(next));
        }
        (self.linked.max(number + 1)..self.end).find(|late| self.at(*late).back_from(*late) == Some(number))
    }

    pub fn back(&self, mut number: u64, limit: u64, steps: &mut usize) -> u64 {
        let limit = limit.max(self.first);
        let on = |to: Option<u64>| to.filter(|to| *to >= limit);
        loop {
            let link = self.at(number);
            match on(link.jump_from(number)).or_else(|| on(link.back_from(number))) {
                Some(to) => number = to,
                None => return number,
            }
            *steps += 1;
        }
    }
}
