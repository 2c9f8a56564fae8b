//! A batch: the unit of the log. One index, one epoch, many commands.
//!
//! These bytes are what peers exchange, disks hold and `apply` reads; every copy of a batch is the same to the
//! byte. What a node knows for itself (its watermark, the place on its disk) stands outside, in header blocks.

use crate::base::{Block, BlockMut, Chain, ClusterId, Epoch, Index, Nanos, sum};

/// Bytes of the head. Commands follow at once, each 16-byte aligned.
pub const BATCH_HEAD: usize = 128;

/// The most a batch may measure, head included. Larger would starve the window, smaller the disk.
pub const BATCH_MAX: usize = 2 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"QBAT");
const VERSION: u16 = 1;

/// What a batch says of itself, so that agreement need not read commands.
pub mod flag {
    /// Opens its epoch; carries no client command.
    pub const OPEN: u16 = 1;
    /// Holds exactly one command, a configuration.
    pub const CONFIG: u16 = 2;
    /// Its place is the index of a snapshot.
    pub const SNAPSHOT: u16 = 4;
}

/// The head, decoded. On the wire and on disk all numbers are little-endian.
///
/// ```text
///  0 magic u32 | 4 version u16 | 6 flags u16 | 8 cluster u128 | 24 epoch u64 | 32 index u64 | 40 wall_ms u64
/// 48 ticks u64 | 56 count u32 | 60 length u32 | 64 prev u128 | 80 chain u128 | 96 body crc u32 | 100 head crc u32
/// 104 zero
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    pub flags: u16,
    pub cluster: ClusterId,
    pub epoch: Epoch,
    pub index: Index,
    /// The leader's wall clock; shown to people, never compared.
    pub wall_ms: u64,
    /// Cluster time: monotone over all leaders; every deadline uses it.
    pub ticks: Nanos,
    /// Commands in the body.
    pub count: u32,
    /// Head and body, in bytes; a multiple of 16.
    pub length: u32,
    pub prev: Chain,
    pub chain: Chain,
    pub body_crc: u32,
}

/// Why bytes are no batch. From a peer: hang up. From a disk: damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("no batch starts here")]
    Magic,
    #[error("batch format {0}, this build reads up to {VERSION}; start a newer release")]
    Version(u16),
    #[error("batch head fails its checksum")]
    HeadSum,
    #[error("batch body fails its checksum")]
    BodySum,
    #[error("batch claims {claimed} bytes, {present} are present")]
    Length { claimed: usize, present: usize },
}

impl BatchHead {
    /// Reads and checks a head. The body is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<BatchHead, Malformed> {
        let Some(head) = bytes.first_chunk::<BATCH_HEAD>() else {
            return Err(Malformed::Length { claimed: BATCH_HEAD, present: bytes.len() });
        };
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let u128_at = |at: usize| u128::from_le_bytes(head[at..at + 16].try_into().unwrap());
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        if u32_at(0) != MAGIC {
            return Err(Malformed::Magic);
        }
        if u32_at(100) != sum::crc32c(&head[..100]) || head[104..] != [0; 24] {
            return Err(Malformed::HeadSum);
        }
        if u16_at(4) != VERSION {
            return Err(Malformed::Version(u16_at(4)));
        }
        let length = u32_at(60) as usize;
        if !(BATCH_HEAD..=BATCH_MAX).contains(&length) || !length.is_multiple_of(16) {
            return Err(Malformed::Length { claimed: length, present: bytes.len() });
        }
        Ok(BatchHead {
            flags: u16_at(6),
            cluster: ClusterId(u128_at(8)),
            epoch: Epoch(u64_at(24)),
            index: Index(u64_at(32)),
            wall_ms: u64_at(40),
            ticks: Nanos(u64_at(48)),
            count: u32_at(56),
            length: u32_at(60),
            prev: Chain(u128_at(64)),
            chain: Chain(u128_at(80)),
            body_crc: u32_at(96),
        })
    }

    pub fn encode(&self) -> [u8; BATCH_HEAD] {
        let mut head = [0; BATCH_HEAD];
        head[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        head[4..6].copy_from_slice(&VERSION.to_le_bytes());
        head[6..8].copy_from_slice(&self.flags.to_le_bytes());
        head[8..24].copy_from_slice(&self.cluster.0.to_le_bytes());
        head[24..32].copy_from_slice(&self.epoch.0.to_le_bytes());
        head[32..40].copy_from_slice(&self.index.0.to_le_bytes());
        head[40..48].copy_from_slice(&self.wall_ms.to_le_bytes());
        head[48..56].copy_from_slice(&self.ticks.0.to_le_bytes());
        head[56..60].copy_from_slice(&self.count.to_le_bytes());
        head[60..64].copy_from_slice(&self.length.to_le_bytes());
        head[64..80].copy_from_slice(&self.prev.0.to_le_bytes());
        head[80..96].copy_from_slice(&self.chain.0.to_le_bytes());
        head[96..100].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = sum::crc32c(&head[..100]);
        head[100..104].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// The link that this head and body must carry.
    fn link(&self, body: &[u8]) -> Chain {
        // The chain covers what the head says before the chain itself; the checksums follow from the rest.
        sum::link(self.prev, &self.encode()[..80], body)
    }
}

/// A sealed batch: checked once, shared from then on.
#[derive(Clone, Debug)]
pub struct Batch {
    head: BatchHead,
    block: Block,
}

impl Batch {
    /// Takes bytes from a disk or a peer. Head, length, body checksum and chain are all checked: after this
    /// the commands are what some leader sealed.
    pub fn open(block: Block) -> Result<Batch, Malformed> {
        Ok(Batch { head: Batch::check(&block)?, block })
    }

    /// The same checks, for bytes that are not kept.
    pub fn check(bytes: &[u8]) -> Result<BatchHead, Malformed> {
        let head = BatchHead::decode(bytes)?;
        if head.length as usize != bytes.len() {
            return Err(Malformed::Length { claimed: head.length as usize, present: bytes.len() });
        }
        let body = &bytes[BATCH_HEAD..];
        if sum::crc32c(body) != head.body_crc || head.link(body) != head.chain {
            return Err(Malformed::BodySum);
        }
        Ok(head)
    }

    pub fn head(&self) -> &BatchHead {
        &self.head
    }

    pub fn index(&self) -> Index {
        self.head.index
    }

    pub fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    pub fn chain(&self) -> Chain {
        self.head.chain
    }

    pub fn has(&self, flag: u16) -> bool {
        self.head.flags & flag != 0
    }

    /// Head and body: what goes to peers, and padded to pages, to the disk.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The commands, end to end.
    pub fn body(&self) -> &[u8] {
        &self.block[BATCH_HEAD..]
    }
}

/// A batch under way: commands are copied in once, then it is sealed.
#[derive(Debug)]
pub struct Builder {
    block: BlockMut,
    count: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::with_capacity(BATCH_HEAD)
    }
}

impl Builder {
    pub fn with_capacity(bytes: usize) -> Builder {
        let mut block = BlockMut::with_capacity(bytes);
        block.grow(BATCH_HEAD);
        Builder { block, count: 0 }
    }

    /// Appends whole commands, `count` of them, each padded to 16 bytes.
    pub fn push(&mut self, commands: &[u8], count: u32) {
        assert!(commands.len().is_multiple_of(16), "commands are padded to 16 bytes");
        assert!(self.len() + commands.len() <= BATCH_MAX, "a batch holds at most {BATCH_MAX} bytes");
        self.block.extend(commands);
        self.count += count;
    }

    /// Head and body so far.
    pub fn len(&self) -> usize {
        self.block.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Seals: the leader's stamps, the place in the log, both sums, the chain.
    #[expect(clippy::too_many_arguments, reason = "each is one field of the head")]
    pub fn seal(
        mut self,
        cluster: ClusterId,
        epoch: Epoch,
        index: Index,
        prev: Chain,
        flags: u16,
        wall_ms: u64,
        ticks: Nanos,
    ) -> Batch {
        let mut head = BatchHead {
            flags,
            cluster,
            epoch,
            index,
            wall_ms,
            ticks,
            count: self.count,
            length: self.block.len() as u32,
            prev,
            chain: Chain::default(),
            body_crc: sum::crc32c(&self.block.bytes()[BATCH_HEAD..]),
        };
        head.chain = head.link(&self.block.bytes()[BATCH_HEAD..]);
        self.block.bytes_mut()[..BATCH_HEAD].copy_from_slice(&head.encode());
        Batch { head, block: self.block.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Batch {
        let mut builder = Builder::default();
        builder.push(&[9; 160], 2);
        builder.seal(ClusterId(5), Epoch(2), Index(7), Chain(3), flag::OPEN, 11, Nanos(12))
    }

    #[test]
    fn a_sealed_batch_opens_to_the_same() {
        let batch = sample();
        let again = Batch::open(Block::copy_of(batch.block())).unwrap();
        assert_eq!(again.head(), batch.head());
        assert_eq!(again.body(), &[9; 160]);
        assert!(again.has(flag::OPEN) && !again.has(flag::CONFIG));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let batch = sample();
        for at in 0..batch.block().len() {
            let mut bytes = batch.block().to_vec();
            bytes[at] ^= 0x10;
            assert!(Batch::open(Block::copy_of(&bytes)).is_err(), "byte {at}");
        }
    }
}
