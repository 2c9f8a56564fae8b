//! A trail as it was at one moment, read once from front to back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Block;

/// Hands out entries by number and lets go of each block behind it.
pub struct FrozenTrail {
    /// Blocks still to be read.
    blocks: VecDeque<Arc<Block>>,
    /// The next entry of the first.
    at: usize,
    count: u64,
    bytes: u64,
    digest: u128,
    key: [u8; 8],
}

impl FrozenTrail {
    pub(super) fn new(blocks: VecDeque<Arc<Block>>, count: u64, bytes: u64, digest: u128) -> FrozenTrail {
        FrozenTrail { blocks, at: 0, count, bytes, digest, key: [0; 8] }
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

    /// The next entry as `Trail::load` takes it: its number, u64 BE, and what is stored of it.
    #[allow(clippy::should_implement_trait)] // It lends: an iterator could not let blocks go.
    pub fn next(&mut self) -> Option<(&[u8], &[u8])> {
        if self.blocks.front().is_some_and(|block| self.at == block.ends.len()) {
            self.blocks.pop_front();
            self.at = 0;
        }
        let block = self.blocks.front()?;
        self.key = (block.first + self.at as u64).to_be_bytes();
        self.at += 1;
        Some((&self.key, block.stored(self.at - 1)))
    }
}
