//! The end of a snapshot file: a seal that says how long it is and what it must hash to.
//!
//! ```text
//! data (as given) | zeros to a page | seal bytes (as given) | zeros to a page | trailer, one page
//! ```
//! The trailer is written last, after everything before it has been read back and found right. So a file with an
//! intact trailer was whole once; a file without one never was a snapshot.

use crate::base::{Block, BlockMut, Chain, ClusterId, Epoch, Index, Nanos, PAGE, sum};
use crate::pipeline::parcel::Base;
use crate::pipeline::ports::{DiskFault, File, Media};

const MAGIC: u32 = u32::from_le_bytes(*b"QSNP");
const VERSION: u16 = 1;

/// ```text
///  0 magic u32 | 4 crc u32 over all behind it | 8 version u16, zero | 16 cluster u128 | 32 index u64
/// 40 length u64 | 48 seal_length u64 | 56 zero | 64 data hash u128 | 80 seal hash u128 | 96 zero
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub cluster: ClusterId,
    pub index: Index,
    /// Bytes of data, from the file's start.
    pub length: u64,
    pub seal_length: u64,
    pub data: u128,
    pub seal: u128,
}

/// Why a snapshot file is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    #[error("{0} was never sealed; it is removed and taken anew")]
    Unsealed(File),
    #[error("{file} is damaged: {what}; another copy must come from a peer")]
    Damaged { file: File, what: &'static str },
    #[error("{file} has format {found}, this build reads up to {VERSION}; start the newer release again")]
    Version { file: File, found: u16 },
    #[error("{0}")]
    Disk(#[from] DiskFault),
}

impl Trailer {
    pub fn encode(&self) -> Block {
        let mut block = BlockMut::zeroed(PAGE);
        let out = block.bytes_mut();
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.index.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.length.to_le_bytes());
        out[48..56].copy_from_slice(&self.seal_length.to_le_bytes());
        out[64..80].copy_from_slice(&self.data.to_le_bytes());
        out[80..96].copy_from_slice(&self.seal.to_le_bytes());
        let crc = sum::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        block.freeze()
    }

    /// `None`: no trailer. `Err`: one of a format that this build does not know.
    pub fn decode(page: &[u8]) -> Result<Option<Trailer>, u16> {
        let Some(page) = page.first_chunk::<PAGE>() else { return Ok(None) };
        let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
        let u128_at = |at: usize| u128::from_le_bytes(page[at..at + 16].try_into().unwrap());
        let crc = u32::from_le_bytes(page[4..8].try_into().unwrap());
        if page[..4] != MAGIC.to_le_bytes() || crc != sum::crc32c(&page[8..]) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([page[8], page[9]]);
        if version != VERSION {
            return Err(version);
        }
        Ok(Some(Trailer {
            cluster: ClusterId(u128_at(16)),
            index: Index(u64_at(32)),
            length: u64_at(40),
            seal_length: u64_at(48),
            data: u128_at(64),
            seal: u128_at(80),
        }))
    }

    /// Where the seal bytes start.
    pub fn seal_offset(&self) -> u64 {
        whole(self.length)
    }

    /// Where the trailer itself lies; the file ends one page behind.
    pub fn offset(&self) -> u64 {
        whole(self.length).saturating_add(whole(self.seal_length))
    }
}

/// What a snapshot is sealed with: where the log goes on from behind it.
///
/// ```text
/// 0 index u64 | 8 epoch u64 | 16 ticks u64 | 24 chain u128
/// ```
pub fn seal(base: &Base) -> Block {
    let mut bytes = [0; SEAL];
    bytes[0..8].copy_from_slice(&base.index.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&base.epoch.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&base.ticks.0.to_le_bytes());
    bytes[24..40].copy_from_slice(&base.chain.0.to_le_bytes());
    Block::copy_of(&bytes)
}

const SEAL: usize = 40;

/// The reverse; `None` for a seal without it, as snapshots once had.
pub fn base_of(seal: &[u8]) -> Option<Base> {
    let seal: &[u8; SEAL] = seal.try_into().ok()?;
    let u64_at = |at: usize| u64::from_le_bytes(seal[at..at + 8].try_into().unwrap());
    Some(Base {
        index: Index(u64_at(0)),
        epoch: Epoch(u64_at(8)),
        ticks: Nanos(u64_at(16)),
        chain: Chain(u128::from_le_bytes(seal[24..40].try_into().unwrap())),
    })
}

/// Up to whole pages.
pub fn whole(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE as u64).saturating_mul(PAGE as u64)
}

/// A snapshot whose every byte has just been read and found right.
#[derive(Debug)]
pub struct Checked {
    pub trailer: Trailer,
    pub seal: Vec<u8>,
}

/// Reads a snapshot file from end to end, handing its data to `take` piece by piece, and checks it. Nothing that
/// `take` was given may be used before this has returned `Ok`.
pub fn check(
    media: &mut impl Media,
    cluster: ClusterId,
    index: Index,
    mut take: impl FnMut(&[u8]),
) -> Result<Checked, BadSnapshot> {
    let file = File::Snapshot(index);
    let damaged = |what| BadSnapshot::Damaged { file, what };
    let bytes = media.files()?.iter().find(|(name, _)| *name == file).map_or(0, |(_, bytes)| *bytes);
    let page = PAGE as u64;
    if bytes < page || !bytes.is_multiple_of(page) {
        return Err(BadSnapshot::Unsealed(file));
    }
    let mut last = BlockMut::zeroed(PAGE);
    media.read(file, bytes - page, last.bytes_mut())?;
    let trailer = match Trailer::decode(last.bytes()) {
        Ok(Some(trailer)) => trailer,
        Ok(None) => return Err(BadSnapshot::Unsealed(file)),
        Err(found) => return Err(BadSnapshot::Version { file, found }),
    };
    if (trailer.cluster, trailer.index, trailer.offset()) != (cluster, index, bytes - page) {
        return Err(damaged("its trailer belongs to another file"));
    }
    let mut hasher = sum::Hasher::default();
    let mut piece = BlockMut::zeroed(1 << 20);
    let mut at = 0;
    while at < trailer.length {
        let count = (whole(trailer.length) - at).min(piece.len() as u64) as usize;
        let into = &mut piece.bytes_mut()[..count];
        media.read(file, at, into)?;
        let used = &into[..count.min((trailer.length - at) as usize)];
        hasher.update(used);
        take(used);
        at += count as u64;
    }
    if hasher.digest() != trailer.data {
        return Err(damaged("its data do not have the hash that they were sealed with"));
    }
    let mut seal = BlockMut::zeroed(whole(trailer.seal_length) as usize);
    media.read(file, trailer.seal_offset(), seal.bytes_mut())?;
    let seal = seal.bytes()[..trailer.seal_length as usize].to_vec();
    if sum::hash128(&seal) != trailer.seal {
        return Err(damaged("its seal does not have the hash that it was sealed with"));
    }
    Ok(Checked { trailer, seal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_comes_back_and_every_flipped_byte_is_noticed() {
        let trailer = Trailer {
            cluster: ClusterId(7),
            index: Index(9),
            length: 5000,
            seal_length: 10,
            data: 1 << 100,
            seal: 3,
        };
        assert_eq!(trailer.offset(), 3 * PAGE as u64);
        let page = trailer.encode();
        assert_eq!(Trailer::decode(&page), Ok(Some(trailer)));
        for at in 0..PAGE {
            let mut bad = page.to_vec();
            bad[at] ^= 1;
            assert_eq!(Trailer::decode(&bad), Ok(None), "byte {at}");
        }
    }
}
