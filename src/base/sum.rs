//! Checksums. CRC32C finds damage; the 128-bit hash names content. Neither defends against a forger.

use super::Chain;

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Continues `sum` over more bytes.
pub fn crc32c_append(sum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(sum, bytes)
}

pub fn hash64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Another hash for every seed.
pub fn hash128_seeded(bytes: &[u8], seed: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(bytes, seed)
}

pub fn hash128(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// The chain through a batch: its predecessor's link, the header's own fields, the body.
pub fn link(prev: Chain, head: &[u8], body: &[u8]) -> Chain {
    let mut joint = [0u8; 48];
    joint[..16].copy_from_slice(&prev.0.to_le_bytes());
    joint[16..32].copy_from_slice(&hash128(head).to_le_bytes());
    joint[32..].copy_from_slice(&hash128(body).to_le_bytes());
    Chain(hash128(&joint))
}

/// `hash128` over bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(xxhash_rust::xxh3::Xxh3);

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn digest(&self) -> u128 {
        self.0.digest128()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({:032x})", self.digest())
    }
}
