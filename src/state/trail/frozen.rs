//! A trail as it was at one moment, read once from front to back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Block;

/// Hands out its blocks in order and lets go of them.
pub struct FrozenTrail {
    /// Blocks still to be read.
    blocks: VecDeque<Arc<Block>>,
    count: u64,
    bytes: u64,
    digest: u128,
}

impl FrozenTrail {
    pub(super) fn new(blocks: VecDeque<Arc<Block>>, count: u64, bytes: u64, digest: u128) -> FrozenTrail {
        FrozenTrail { blocks, count, bytes, digest }
    }

    /// Entries in all, read or not.
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn digest(&self) -> u128 {
        self.digest
    }
}

/// Blocks as `Trail::load` takes them.
impl Iterator for FrozenTrail {
    type Item = Arc<Block>;

    fn next(&mut self) -> Option<Arc<Block>> {
        self.blocks.pop_front()
    }
}
