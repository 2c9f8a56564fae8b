//! The log on disk: batches, blocks, the superblock, recovery. Pure over bytes: whoever calls brings the media.

mod batch;

pub use batch::{BATCH_HEAD, BATCH_MAX, Batch, BatchHead, Builder, Malformed, flag};
