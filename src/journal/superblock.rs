//! The superblock: what a node must never forget, in four copies of two generations.
//!
//! A new generation goes to the pair that holds the last but one, one copy after the other, and names its
//! predecessor by hash. So a crash leaves the previous generation whole, and at most one copy torn: damage of any
//! single copy besides still leaves the newest generation readable. Writing both copies at once would save a
//! flush and lose that: a torn pair and one rotten copy of the other leave nothing to decide by.

use crate::base::planted::{self, Bug};
use crate::base::{
    Block, BlockMut, Chain, ClusterId, Epoch, Incarnation, Index, Life, NodeId, PAGE, Voice, sum,
};
use crate::journal::OpenError;
use crate::journal::layout::Params;
use crate::pipeline::parcel::{Base, Marks};
use crate::pipeline::ports::{File, Media};
use crate::replica::Config;

/// Bytes of one copy: 16 members with addresses of 255 bytes fit.
pub const COPY: usize = 2 * PAGE;
pub const COPIES: usize = 4;
pub const FILE_BYTES: u64 = (COPY * COPIES) as u64;

const MAGIC: u32 = u32::from_le_bytes(*b"QSUP");
pub const VERSION: u16 = 2;
const ERAS: usize = 224;
/// Earlier eras that are remembered.
const ERAS_MAX: usize = 8;
const FIXED: usize = ERAS + 16 * ERAS_MAX;

/// One generation's content.
///
/// ```text
///   0 magic u32 | 4 crc u32 over all behind it | 8 version u16 | 10 copy u16 | 12 length u32 in use
///  16 cluster u128 | 32 node u8, vote u8, zero | 40 generation u64 | 48 parent u128 | 64 era u64 | 72 after u64
///  80 segment_bytes u64 | 88 header_slots u32 | 92 window_batches u32 | 96 promised u64 | 104 history u64
/// 112 commit u64 | 120 base index u64 | 128 base epoch u64 | 136 base ticks u64 | 144 base chain u128
/// 160 config_at u64 | 168 life u64 | 176 recycled u64 | 184 watermark u64 |
/// 192 files u32 | 196 eras u32 | 200 incarnation u64 | 208 vote's incarnation u64 | 216 zero | 224 eras: (era u64, after u64) x 8 | 352 configuration
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Super {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub generation: u64,
    /// Hash of the generation before.
    pub parent: u128,
    /// See `Frame::era`; the newest, and where its log began.
    pub era: u64,
    pub after: Index,
    /// Eras before it of which perhaps no frame tells, and that began lower than all later ones.
    pub older: Vec<(u64, Index)>,
    pub segment_bytes: u64,
    pub header_slots: u32,
    pub window_batches: u32,
    /// Batches up to here were given up; written with whatever else changes next.
    pub recycled: Index,
    /// All up to here has been durable: what is bad there was damaged later.
    pub watermark: Index,
    /// Segment files that may have been written to: 0 up to this. One that is missing or short is lost.
    pub files: u32,
    pub marks: Marks,
}

/// Why a copy cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCopy {
    Blank,
    /// No magic number: torn, rotten, or never ours.
    Strange,
    Damaged,
    Version(u16),
}

impl Super {
    pub fn encode(&self, copy: u16) -> Block {
        let mut config = Vec::new();
        self.marks.config.encode(&mut config);
        let length = FIXED + config.len();
        assert!(length <= COPY, "a configuration of {} bytes does not fit the superblock", config.len());
        let mut block = BlockMut::zeroed(COPY);
        let out = block.bytes_mut();
        let marks = &self.marks;
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&copy.to_le_bytes());
        out[12..16].copy_from_slice(&(length as u32).to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster.0.to_le_bytes());
        out[32] = self.node.0;
        let vote = marks.vote.unwrap_or_default();
        out[33] = vote.id.0;
        out[48..64].copy_from_slice(&self.parent.to_le_bytes());
        out[88..92].copy_from_slice(&self.header_slots.to_le_bytes());
        out[196..200].copy_from_slice(&(self.older.len() as u32).to_le_bytes());
        for (nth, (era, after)) in self.older.iter().enumerate() {
            out[ERAS + nth * 16..][..8].copy_from_slice(&era.to_le_bytes());
            out[ERAS + nth * 16 + 8..][..8].copy_from_slice(&after.0.to_le_bytes());
        }
        out[192..196].copy_from_slice(&self.files.to_le_bytes());
        out[92..96].copy_from_slice(&self.window_batches.to_le_bytes());
        out[144..160].copy_from_slice(&marks.base.chain.0.to_le_bytes());
        let numbers = [
            (40, self.generation),
            (64, self.era),
            (72, self.after.0),
            (80, self.segment_bytes),
            (96, marks.promised.0),
            (104, marks.history.0),
            (112, marks.commit.0),
            (120, marks.base.index.0),
            (128, marks.base.epoch.0),
            (136, marks.base.ticks.0),
            (160, marks.config_at.0),
            (168, marks.life.0),
            (176, self.recycled.0),
            (184, self.watermark.0),
            (200, marks.incarnation.0),
            (208, vote.incarnation.0),
        ];
        for (at, number) in numbers {
            out[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        out[FIXED..length].copy_from_slice(&config);
        let crc = sum::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        block.freeze()
    }

    pub fn decode(bytes: &[u8], copy: u16) -> Result<Super, BadCopy> {
        let Some(bytes) = bytes.first_chunk::<COPY>() else { return Err(BadCopy::Damaged) };
        let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let u128_at = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap());
        if u32_at(0) != MAGIC {
            let blank = bytes.iter().all(|&byte| byte == 0);
            return Err(if blank { BadCopy::Blank } else { BadCopy::Strange });
        }
        if u32_at(4) != sum::crc32c(&bytes[8..]) {
            return Err(BadCopy::Damaged);
        }
        if u16_at(8) != VERSION {
            return Err(BadCopy::Version(u16_at(8)));
        }
        let length = u32_at(12) as usize;
        let eras = u32_at(196) as usize;
        if u16_at(10) != copy || !(FIXED..=COPY).contains(&length) || eras > ERAS_MAX {
            return Err(BadCopy::Damaged);
        }
        let mut rest = &bytes[FIXED..length];
        let config = Config::decode(&mut rest).ok_or(BadCopy::Damaged)?;
        Ok(Super {
            cluster: ClusterId(u128_at(16)),
            node: NodeId(bytes[32]),
            generation: u64_at(40),
            parent: u128_at(48),
            era: u64_at(64),
            after: Index(u64_at(72)),
            older: (0..eras).map(|n| (u64_at(ERAS + n * 16), Index(u64_at(ERAS + n * 16 + 8)))).collect(),
            segment_bytes: u64_at(80),
            header_slots: u32_at(88),
            window_batches: u32_at(92),
            recycled: Index(u64_at(176)),
            watermark: Index(u64_at(184)),
            files: u32_at(192),
            marks: Marks {
                promised: Epoch(u64_at(96)),
                vote: Some(Voice { id: NodeId(bytes[33]), incarnation: Incarnation(u64_at(208)) })
                    .filter(|vote| vote.id.0 != 0),
                history: Epoch(u64_at(104)),
                commit: Index(u64_at(112)),
                base: Base {
                    index: Index(u64_at(120)),
                    epoch: Epoch(u64_at(128)),
                    chain: Chain(u128_at(144)),
                    ticks: crate::base::Nanos(u64_at(136)),
                },
                config,
                config_at: Index(u64_at(160)),
                incarnation: Incarnation(u64_at(200)),
                life: Life(u64_at(168)),
            },
        })
    }

    /// Names this generation for its successor; the same for both copies.
    pub fn hash(&self) -> u128 {
        let block = self.encode(0);
        sum::hash128(&block[12..])
    }

    /// The generation after this one, to be changed and written.
    pub fn successor(&self) -> Super {
        Super { generation: self.generation + 1, parent: self.hash(), ..self.clone() }
    }

    /// The log's end is decided anew: what earlier eras wrote above `after` is no longer part of it.
    pub fn begin_era(&mut self, after: Index) {
        self.older.push((self.era, self.after));
        self.older.retain(|older| older.1 < after);
        let surplus = self.older.len().saturating_sub(ERAS_MAX);
        self.older.drain(..surplus);
        self.era += 1;
        self.after = after;
    }

    /// The two copies that this generation is written to: one after the other, never both at once.
    pub fn copies(&self) -> [u16; 2] {
        let pair = match planted::is(Bug::OverwriteSuperblock) {
            false => (self.generation % 2) as u16 * 2,
            true => 0,
        };
        [pair, pair + 1]
    }

    pub fn offset(copy: u16) -> u64 {
        u64::from(copy) * COPY as u64
    }

    /// Writes it while no loop runs yet.
    pub fn write(&self, media: &mut impl Media) -> Result<(), OpenError> {
        for copy in self.copies() {
            media.write(File::Super, Super::offset(copy), &self.encode(copy))?;
        }
        Ok(())
    }

    pub fn params(&self, run: &Params) -> Params {
        Params {
            segment_bytes: self.segment_bytes,
            header_slots: self.header_slots,
            window_batches: self.window_batches,
            ..*run
        }
    }
}

/// The four copies as found.
pub type Copies = [Result<Super, BadCopy>; COPIES];

/// Reads all copies. A copy on a bad sector counts as damaged.
pub fn read(media: &mut impl Media) -> Copies {
    std::array::from_fn(|copy| {
        let mut block = BlockMut::zeroed(COPY);
        match media.read(File::Super, Super::offset(copy as u16), block.bytes_mut()) {
            Ok(()) => Super::decode(block.bytes(), copy as u16),
            Err(_) => Err(BadCopy::Damaged),
        }
    })
}

/// Decides which generation counts: the newest, if both its copies are intact, or if one is and it continues an
/// intact copy of the generation before. Then whatever is missing is what one torn write and one damaged copy can
/// explain. With fewer the newest may have been another, and nothing is guessed.
pub fn choose(copies: &Copies) -> Result<Super, OpenError> {
    for (copy, found) in copies.iter().enumerate() {
        if let Err(BadCopy::Version(found)) = found {
            let offset = Super::offset(copy as u16);
            return Err(OpenError::Newer { file: File::Super, offset, found: *found, known: VERSION });
        }
    }
    if copies.iter().all(|copy| copy == &Err(BadCopy::Blank)) {
        return Err(OpenError::Unfinished);
    }
    if copies.iter().all(|copy| matches!(copy, Err(BadCopy::Strange | BadCopy::Blank))) {
        return Err(OpenError::Strange { file: File::Super, offset: 0 });
    }
    let good = || copies.iter().flatten();
    let damaged = |why| OpenError::SuperDamaged { offset: first_bad(copies), why };
    if planted::is(Bug::OldestSuperblock) {
        return good().min_by_key(|copy| copy.generation).cloned().ok_or(damaged("no copy is intact"));
    }
    let newest = good().max_by_key(|copy| copy.generation).ok_or(damaged("no copy is intact"))?;
    let same = good().filter(|copy| *copy == newest).count();
    if good().any(|copy| copy.generation == newest.generation && copy != newest) {
        return Err(damaged("two copies of one generation differ"));
    }
    let before = || good().filter(|copy| copy.generation + 1 == newest.generation);
    if before().any(|copy| copy.hash() != newest.parent) {
        return Err(damaged("the newest generation does not continue the one before"));
    }
    match same {
        2 => Ok(newest.clone()),
        1 if before().next().is_some() => Ok(newest.clone()),
        _ => Err(damaged("too few copies are intact to know which is the newest")),
    }
}

fn first_bad(copies: &Copies) -> u64 {
    Super::offset(copies.iter().position(Result::is_err).unwrap_or(0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Params;
    use crate::journal::test_disk::TestDisk;

    fn disk() -> TestDisk {
        let mut disk = TestDisk::default();
        let config = Config::of_voters(3);
        let me = Voice { id: NodeId(2), incarnation: Incarnation(2) };
        crate::journal::format(&mut disk, ClusterId(5), me, config, Life(0), &Params::tiny()).unwrap();
        disk
    }

    fn tear(disk: &mut TestDisk, block: &Block, copy: u16, sectors: std::ops::Range<usize>) {
        let at = Super::offset(copy) as usize + sectors.start * 512;
        let bytes = &block.padded()[sectors.start * 512..sectors.end * 512];
        disk.files.get_mut(&File::Super).unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn spoil(disk: &mut TestDisk, copy: u16) {
        disk.files.get_mut(&File::Super).unwrap()[Super::offset(copy) as usize + 100] ^= 4;
    }

    /// Goal: whatever one crash and one damaged copy do, the generation that was last acknowledged is read, or the
    /// one that was being written.
    #[test]
    fn one_torn_write_and_one_damaged_copy_are_survived() {
        for generations in 0..3 {
            for stage in 0..4 {
                for spoilt in 0..5 {
                    let mut disk = disk();
                    let mut acked = choose(&read(&mut disk)).unwrap();
                    for _ in 0..generations {
                        acked = acked.successor();
                        acked.write(&mut disk).unwrap();
                    }
                    let mut next = acked.successor();
                    next.marks.promised = Epoch(9);
                    let [first, second] = next.copies();
                    // Nothing, a torn first copy, a whole first, a torn second.
                    let whole = COPY / 512;
                    for (copy, sectors) in
                        [(first, 0..[0, 3, whole, whole][stage]), (second, 0..[0, 0, 0, 1][stage])]
                    {
                        let sectors = if sectors.end == 1 { 0..1 } else { sectors };
                        tear(&mut disk, &next.encode(copy), copy, sectors);
                    }
                    if spoilt < 4 {
                        spoil(&mut disk, spoilt);
                    }
                    let chosen = choose(&read(&mut disk)).unwrap();
                    assert!(chosen == acked || chosen == next, "{generations} {stage} {spoilt}");
                }
            }
        }
    }

    #[test]
    fn a_lost_write_of_either_copy_is_survived() {
        for lost in 0..2 {
            let mut disk = disk();
            let next = choose(&read(&mut disk)).unwrap().successor();
            let copy = next.copies()[1 - lost];
            disk.write(File::Super, Super::offset(copy), &next.encode(copy)).unwrap();
            assert_eq!(choose(&read(&mut disk)).unwrap(), next);
        }
    }

    #[test]
    fn what_cannot_be_known_is_not_guessed() {
        let refuse = |spoilt: &[u16]| {
            let mut disk = disk();
            spoilt.iter().for_each(|&copy| spoil(&mut disk, copy));
            choose(&read(&mut disk))
        };
        let newest = choose(&read(&mut disk())).unwrap().copies();
        let other = [newest[0] ^ 2, newest[1] ^ 2];
        assert!(matches!(refuse(&[newest[0], other[0], other[1]]), Err(OpenError::SuperDamaged { .. })));
        assert!(matches!(refuse(&[0, 1, 2, 3]), Err(OpenError::SuperDamaged { .. })));
        assert!(refuse(&[newest[0], other[0]]).is_ok());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let sup = choose(&read(&mut disk())).unwrap();
        let bytes = sup.encode(1);
        assert_eq!(Super::decode(&bytes, 1), Ok(sup));
        for at in 0..COPY {
            let mut bad = bytes.to_vec();
            bad[at] ^= 2;
            assert!(Super::decode(&bad, 1).is_err(), "byte {at}");
        }
        assert_eq!(Super::decode(&bytes, 2), Err(BadCopy::Damaged));
    }
}
