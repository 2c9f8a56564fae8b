//! Makes a data directory: segments first, the superblock last, so that an interrupted format is no directory.

use crate::base::{ClusterId, Incarnation, Index, NodeId};
use crate::journal::OpenError;
use crate::journal::layout::Params;
use crate::journal::superblock::{FILE_BYTES, Super};
use crate::pipeline::parcel::Marks;
use crate::pipeline::ports::{File, Media};
use crate::replica::Config;

/// Makes a new, empty log for `node`. `config` is the founding configuration, or empty for a node that joins: it
/// starts blank, since whoever had its id before may have voted already. `life` is where its incarnations start:
/// above all that its id ever had, or the others take it for an old backup. The wall clock, in milliseconds, is.
pub fn format(
    media: &mut impl Media,
    cluster: ClusterId,
    node: NodeId,
    config: Config,
    life: Incarnation,
    params: &Params,
) -> Result<(), OpenError> {
    params.check().map_err(OpenError::Params)?;
    if let Some((file, _)) = media.files()?.first() {
        return Err(OpenError::Exists { file: *file });
    }
    for nth in 0..params.segments {
        media.create(File::Segment(nth), params.segment_bytes)?;
    }
    let blank = config.members().is_empty();
    let founding = Super {
        cluster,
        node,
        generation: 1,
        parent: 0,
        era: 1,
        after: Index(0),
        older: Vec::new(),
        segment_bytes: params.segment_bytes,
        header_slots: params.header_slots,
        window_batches: params.window_batches,
        recycled: Index(0),
        watermark: Index(0),
        files: params.segments,
        marks: Marks { blank, config, incarnation: life, ..Marks::default() },
    };
    media.create(File::Super, FILE_BYTES)?;
    founding.write(media)?;
    // Two generations from the start: no state of the four copies needs an exception.
    founding.successor().write(media)
}
