//! Where things lie in the files of a data directory: sizes, zones, slots.
//!
//! A segment is a header zone of 4 KiB frames, then a body zone. The first two frames are the segment's *state*
//! frames, written in turn, so that a torn one leaves the other. From the third on slot and index go in step:
//! slot `2 + (index - first)` belongs to the batch `index`, whatever was cut and written anew in between.

use crate::base::{Index, PAGE};
use crate::journal::BATCH_MAX;

/// Frames of the header zone that belong to the segment, not to a batch.
pub const STATE_SLOTS: u32 = 2;

/// Sizes and limits of a log. `segment_bytes`, `header_slots` and `window_batches` are fixed when a directory is
/// formatted: recovery goes by what its superblock says. The others are this run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Bytes of one segment file; whole pages.
    pub segment_bytes: u64,
    /// Frames in a segment's header zone, the two state frames included.
    pub header_slots: u32,
    /// Batches in flight at most. Recovery never cuts more.
    pub window_batches: u32,
    /// Bytes in flight at most; one batch may always go.
    pub window_bytes: usize,
    /// Segment files of a new directory: one to write, the rest spare.
    pub segments: u32,
    /// Segment files at most: the log's quota on the disk.
    pub segments_max: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            segment_bytes: 32 << 20,
            header_slots: 2050,
            window_batches: 16,
            window_bytes: 8 << 20,
            segments: 2,
            segments_max: 128,
        }
    }
}

impl Params {
    /// A ring so small that a test wraps it many times: four batches or ten pages to a segment.
    pub fn tiny() -> Params {
        Params {
            segment_bytes: 64 << 10,
            header_slots: 6,
            window_batches: 4,
            window_bytes: 64 << 10,
            segments: 2,
            segments_max: 32,
        }
    }

    /// What is wrong with these sizes, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        let page = PAGE as u64;
        if !self.segment_bytes.is_multiple_of(page) || self.segment_bytes > 1 << 32 {
            return Err("segment_bytes must be whole pages of 4096 bytes, and at most 4 GiB");
        }
        if self.header_slots <= STATE_SLOTS || u64::from(self.header_slots) * page >= self.segment_bytes {
            return Err("header_slots must leave room for a batch in the header zone and in the body zone");
        }
        if self.window_batches == 0 || self.segments < 2 || self.segments_max < self.segments {
            return Err(
                "window_batches must be at least 1, segments at least 2, segments_max at least segments",
            );
        }
        Ok(())
    }

    /// The largest batch that fits a segment.
    pub fn batch_max(&self) -> usize {
        BATCH_MAX.min((self.segment_pages() - self.header_slots) as usize * PAGE)
    }

    pub fn segment_pages(&self) -> u32 {
        (self.segment_bytes / PAGE as u64) as u32
    }

    /// What a batch takes of the log at the least, however small it is: its share of a segment.
    pub fn slot_bytes(&self) -> u64 {
        self.segment_bytes / u64::from(self.slots())
    }

    /// All that the log may take.
    pub fn log_bytes(&self) -> u64 {
        self.segment_bytes * u64::from(self.segments_max)
    }

    /// How many batches one segment takes at most.
    pub fn slots(&self) -> u32 {
        self.header_slots - STATE_SLOTS
    }
}

/// Where a batch lies: its body from `page` on, its frame in `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: u32,
    pub slot: u32,
    pub page: u32,
}

impl Place {
    pub fn body_offset(self) -> u64 {
        u64::from(self.page) * PAGE as u64
    }

    pub fn frame_offset(self) -> u64 {
        u64::from(self.slot) * PAGE as u64
    }
}

impl Place {
    /// Whether a segment of these sizes has such a place at all.
    pub fn is_within(self, params: &Params) -> bool {
        (STATE_SLOTS..params.header_slots).contains(&self.slot)
            && (params.header_slots..params.segment_pages()).contains(&self.page)
    }
}

/// Pages that a batch of `length` bytes takes.
pub fn pages(length: u32) -> u32 {
    length.div_ceil(PAGE as u32)
}

/// A segment file in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub file: u32,
    /// Grows with every use of any file: tells this use's frames from an earlier one's.
    pub sequence: u64,
    /// The index whose frame is in the first slot behind the state frames.
    pub first: Index,
    /// Which state frame to write next, 0 or 1: not the one that holds the newest.
    pub state_slot: u32,
}

impl Segment {
    /// The slot of `index`, if this segment's header zone reaches that far.
    pub fn slot_of(&self, index: Index, params: &Params) -> Option<u32> {
        let nth = index.0.checked_sub(self.first.0)?;
        (nth < u64::from(params.slots())).then(|| STATE_SLOTS + nth as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(Params::default().check(), Ok(()));
        assert_eq!(Params::tiny().check(), Ok(()));
        assert!(Params { header_slots: 2, ..Params::tiny() }.check().is_err());
        assert!(Params { header_slots: 16, ..Params::tiny() }.check().is_err());
        assert!(Params { segment_bytes: 65_000, ..Params::tiny() }.check().is_err());
        assert_eq!(Params::tiny().batch_max(), 40 << 10);
    }
}
