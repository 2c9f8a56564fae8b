//! Makes a data directory: segments first, the superblock last, so that an interrupted format is no directory.

use crate::base::{Block, Chain, ClusterId, Epoch, Index, Life, Nanos, Voice, sum};
use crate::journal::OpenError;
use crate::journal::layout::Params;
use crate::journal::snapshot::{self, Trailer};
use crate::journal::superblock::{FILE_BYTES, Super};
use crate::pipeline::parcel::{Base, Marks};
use crate::pipeline::ports::{File, Media};
use crate::replica::Config;

/// Makes a new, empty log for an incarnation of a node, drawn at random. `config` is the founding configuration, or
/// empty for a node that joins: until the log names this incarnation it gives no vote, since whoever had its id
/// before may have voted already. `life` is where its lives start: above all that its id ever had, or commands
/// that it stamps are taken for old ones. The wall clock, in milliseconds, is.
pub fn format(
    media: &mut impl Media,
    cluster: ClusterId,
    me: Voice,
    config: Config,
    life: Life,
    params: &Params,
) -> Result<(), OpenError> {
    make(media, cluster, me, config, life, params, None)
}

/// As `format`, but the log stands on a snapshot from the start: `chunks` are its data, in order. Every founding
/// member must be given the same ones, or they are different clusters' members.
pub fn format_behind(
    media: &mut impl Media,
    cluster: ClusterId,
    me: Voice,
    config: Config,
    life: Life,
    params: &Params,
    chunks: impl Iterator<Item = Block>,
) -> Result<(), OpenError> {
    const FIRST: Index = Index(1);
    let file = File::Snapshot(FIRST);
    if let Some((file, _)) = media.files()?.first() {
        return Err(OpenError::Exists { file: *file });
    }
    // The snapshot first: a directory that has its superblock is whole.
    let mut hasher = sum::Hasher::default();
    let mut length = 0;
    media.create(file, 0)?;
    for chunk in chunks {
        media.write(file, length, &chunk)?;
        hasher.update(&chunk);
        length += chunk.len() as u64;
    }
    let data = hasher.digest();
    let base = Base { index: FIRST, epoch: Epoch(1), chain: Chain(data), ticks: Nanos(0) };
    let seal = snapshot::seal(&base);
    let (seal_length, hash) = (seal.len() as u64, sum::hash128(&seal));
    let trailer = Trailer { cluster, index: FIRST, length, seal_length, data, seal: hash };
    media.write(file, trailer.seal_offset(), &seal)?;
    media.write(file, trailer.offset(), &trailer.encode())?;
    snapshot::check(media, cluster, FIRST, |_| {})?;
    format_on(media, (cluster, me), config, life, base, params)
}

/// The same where the snapshot's file is there already, sealed for this cluster.
pub fn format_on(
    media: &mut impl Media,
    (cluster, me): (ClusterId, Voice),
    config: Config,
    life: Life,
    base: Base,
    params: &Params,
) -> Result<(), OpenError> {
    make(media, cluster, me, config, life, params, Some(base))
}

fn make(
    media: &mut impl Media,
    cluster: ClusterId,
    me: Voice,
    config: Config,
    life: Life,
    params: &Params,
    behind: Option<Base>,
) -> Result<(), OpenError> {
    params.check().map_err(OpenError::Params)?;
    let base = behind.unwrap_or_default();
    let own = File::Snapshot(base.index);
    if let Some((file, _)) = media.files()?.iter().find(|(file, _)| behind.is_none() || *file != own) {
        return Err(OpenError::Exists { file: *file });
    }
    for nth in 0..params.segments {
        media.create(File::Segment(nth), params.segment_bytes)?;
    }
    let founding = Super {
        cluster,
        node: me.id,
        generation: 1,
        parent: 0,
        era: 1,
        after: base.index,
        older: Vec::new(),
        segment_bytes: params.segment_bytes,
        header_slots: params.header_slots,
        window_batches: params.window_batches,
        recycled: base.index,
        watermark: base.index,
        files: params.segments,
        marks: Marks {
            config,
            incarnation: me.incarnation,
            life,
            promised: base.epoch,
            history: base.epoch,
            commit: base.index,
            base,
            ..Marks::default()
        },
    };
    media.create(File::Super, FILE_BYTES)?;
    founding.write(media)?;
    // Two generations from the start: no state of the four copies needs an exception.
    founding.successor().write(media)
}
