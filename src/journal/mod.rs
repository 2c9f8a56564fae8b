//! The log on disk: batches, segments, the superblock, recovery. Pure over bytes: whoever calls brings the media.

mod batch;
mod error;
mod format;
mod frame;
mod layout;
mod log;
mod recover;
mod scan;
pub mod snapshot;
pub mod superblock;
#[cfg(test)]
pub(crate) mod test_disk;
#[cfg(test)]
mod tests;

pub use batch::{BATCH_HEAD, BATCH_MAX, Batch, BatchHead, Builder, Malformed, flag};
pub use error::OpenError;
pub use format::{format, format_behind, format_on};
pub use frame::{BadFrame, Entry as HeadCopy, Frame, Kind};
pub use layout::{Params, Place};
pub use log::{Log, NoPlace, Slot, SlotState, Write};
pub use recover::{Cut, Examined, Expect, Opened, Report, examine, open};
pub use scan::FileSeen;
pub use superblock::{COPIES, COPY, Super};
