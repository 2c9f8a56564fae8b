//! The fault atlas: which node may lose its copy of what.
//!
//! Every region (a batch of the log, a snapshot, a copy of the superblock) may be damaged on a minority of the
//! members at most, drawn from the seed and the region. So whatever was acknowledged keeps an intact copy on the
//! rest of each majority, and a cluster that loses it, or does not heal, has a bug. Damage may fall on all nodes
//! in disjoint regions at once, which is the harder case. Worlds that break this rule do so by name.

use crate::base::{Index, NodeId, PAGE};
use crate::journal::{BATCH_MAX, BatchHead, COPIES, COPY, Frame, Kind};
use crate::pipeline::ports::File;

#[derive(Clone, Debug)]
pub struct Atlas {
    node: NodeId,
    members: u8,
    seed: u64,
    leave: Leave,
    /// The node whose disk may vanish altogether: it is in every region's minority.
    cursed: Option<NodeId>,
    /// Up to here this disk's superblock says that all was durable: there both copies of a batch may go.
    pub sure: Index,
}

/// Batches in a row that suffer the same kind of damage on one node.
const STRETCH: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Nothing,
    Minority,
    Everything,
}

impl Atlas {
    /// This disk never lies.
    pub fn none() -> Atlas {
        Atlas { node: NodeId(0), members: 0, seed: 0, leave: Leave::Nothing, cursed: None, sure: Index(0) }
    }

    /// This disk may lie anywhere: for tests of the disk itself.
    pub fn everything() -> Atlas {
        Atlas { leave: Leave::Everything, ..Atlas::none() }
    }

    /// The share of one of nodes 1 to `members`.
    pub fn of(node: NodeId, members: u8, seed: u64, cursed: Option<NodeId>) -> Atlas {
        Atlas { node, members, seed, leave: Leave::Minority, cursed, sure: Index(0) }
    }

    /// Whether this node is in the minority that may lose the region.
    fn allows(&self, region: u64) -> bool {
        match self.leave {
            Leave::Nothing => false,
            Leave::Everything => true,
            Leave::Minority => {
                let minority = usize::from(self.members.saturating_sub(1) / 2);
                let weight = |node: NodeId| match self.cursed == Some(node) {
                    true => 0,
                    false => {
                        mix(self.seed ^ region.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(node.0) << 56)
                            | 1
                    }
                };
                let mine = weight(self.node);
                let before =
                    (1..=self.members).filter(|&n| NodeId(n) != self.node && weight(NodeId(n)) < mine);
                before.count() < minority
            }
        }
    }

    /// Whether what page `page` of this image holds may be lost here.
    pub fn allows_page(&self, file: File, image: &[u8], page: usize) -> bool {
        match (self.leave, file) {
            (Leave::Nothing, _) => false,
            (Leave::Everything, _) => true,
            (_, File::Super) => page / (COPY / PAGE) == self.spare_copy(),
            (_, File::Snapshot(index)) => self.allows(index.0 << 8 | 1),
            (_, File::Segment(_)) => {
                let here = &image[page * PAGE..][..PAGE];
                match region_of(here) {
                    Some(region) => self.allows_region(region),
                    None => match batch_over(image, page) {
                        Some(head) => self.allows_region(Region::Body(head.index.0)),
                        // Nothing there yet, or the rest of something recycled.
                        None => self.zone(page as u64) == Zone::Bodies && self.allows((page as u64) << 8 | 3),
                    },
                }
            }
        }
    }

    /// Whether these bytes may be lost on their way to a file.
    pub fn allows_bytes(&self, file: File, offset: u64, bytes: &[u8]) -> bool {
        match (self.leave, file) {
            (Leave::Nothing, _) => false,
            (Leave::Everything, _) => true,
            (_, File::Super) => offset as usize / COPY == self.spare_copy(),
            (_, File::Snapshot(index)) => self.allows(index.0 << 8 | 1),
            (_, File::Segment(_)) => region_of(bytes).is_some_and(|region| self.allows_region(region)),
        }
    }

    pub fn allows_region(&self, region: Region) -> bool {
        match region {
            Region::Frame(index) => match self.zone(index / STRETCH) {
                // Beside a whole body a frame is not missed, on however many nodes.
                Zone::Frames => mix(self.seed ^ index) & 1 == 1,
                Zone::Both => index <= self.sure.0 && self.allows(index << 8 | 2),
                Zone::States | Zone::Bodies => false,
            },
            Region::Body(index) => match self.zone(index / STRETCH) {
                Zone::Bodies => self.allows(index << 8 | 2),
                Zone::Both => index <= self.sure.0 && self.allows(index << 8 | 2),
                Zone::Frames | Zone::States => false,
            },
            Region::State(sequence) => {
                self.zone(1 << 40 | sequence) == Zone::States && self.allows(sequence << 8 | 4)
            }
        }
    }

    /// One kind of copy per stretch of the log: two of one batch lost on one node, where no watermark has passed it
    /// yet, look like power loss, and no journal could tell. Once the superblock vouches for the batch both may go.
    fn zone(&self, stretch: u64) -> Zone {
        match mix(self.seed ^ u64::from(self.node.0) << 32 ^ stretch.rotate_left(13)) % 6 {
            0 => Zone::Frames,
            1 => Zone::States,
            2 => Zone::Both,
            _ => Zone::Bodies,
        }
    }

    /// The superblock copy at this offset is the one that may be damaged here.
    pub fn is_spare(&self, offset: u64) -> bool {
        self.leave == Leave::Minority && offset as usize / COPY == self.spare_copy()
    }

    /// The one superblock copy that may be damaged here.
    fn spare_copy(&self) -> usize {
        (mix(self.seed ^ u64::from(self.node.0) << 40) % COPIES as u64) as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Frames,
    States,
    Bodies,
    Both,
}

/// A piece of the log that is lost as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    Frame(u64),
    State(u64),
    Body(u64),
}

/// What begins here, if anything does.
fn region_of(bytes: &[u8]) -> Option<Region> {
    if let Ok(head) = BatchHead::decode(bytes) {
        return Some(Region::Body(head.index.0));
    }
    let frame = Frame::decode(bytes.get(..PAGE)?).ok()?;
    Some(match frame.kind {
        Kind::Batch => Region::Frame(frame.index.0),
        Kind::State => Region::State(frame.sequence),
    })
}

/// The batch whose pages include this one.
fn batch_over(image: &[u8], page: usize) -> Option<BatchHead> {
    let first = page.saturating_sub(BATCH_MAX / PAGE);
    (first..=page).rev().find_map(|start| {
        let head = BatchHead::decode(&image[start * PAGE..]).ok()?;
        (start * PAGE + head.length as usize > page * PAGE).then_some(head)
    })
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_may_be_lost_on_a_minority_only() {
        for members in [1, 3, 4, 5] {
            for region in 0..500 {
                let losers = (1..=members)
                    .filter(|&n| Atlas::of(NodeId(n), members, 77, Some(NodeId(2))).allows(region))
                    .collect::<Vec<_>>();
                assert_eq!(losers.len(), usize::from((members - 1) / 2));
                assert!(members < 3 || losers.contains(&2));
            }
        }
    }

    #[test]
    fn different_regions_fall_on_different_nodes() {
        let losers: std::collections::BTreeSet<u8> = (0..100)
            .flat_map(|region| (1..=3).filter(move |&n| Atlas::of(NodeId(n), 3, 5, None).allows(region)))
            .collect();
        assert_eq!(losers.len(), 3);
    }
}
