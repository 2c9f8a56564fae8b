//! Damage at rest: one copy of anything, whole stretches, files cut short. What was acknowledged is whole, or known to
//! be missing, or the directory is refused.

use super::{assert_nothing_denied, at_rest, smallest};
use crate::base::{Chain, Index, PAGE, Rng};
use crate::journal::test_disk::TestDisk;
use crate::journal::{Expect, OpenError, Params, examine};
use crate::pipeline::parcel::StoreIn;
use crate::pipeline::ports::File;
use crate::pipeline::store::tests::Rig;

#[test]
fn every_single_byte_flipped() {
    flip_every_byte();
}

pub(super) fn flip_every_byte() {
    let params = smallest();
    let (disk, batches) = at_rest(3, &params, 5, 1500);
    let mut damaged = 0;
    let mut spoilt = disk.clone();
    for (&file, bytes) in &disk.files {
        for at in 0..bytes.len() {
            spoilt.files.get_mut(&file).unwrap()[at] ^= 0x20;
            damaged += assert_nothing_denied(&mut spoilt, &params, &batches, &format!("{file} byte {at}"));
            spoilt.files.get_mut(&file).unwrap()[at] ^= 0x20;
        }
    }
    assert!(damaged > 5 * 1500, "flips in bodies make their slots unknown: {damaged}");
}

#[test]
fn alone_a_flipped_byte_loses_nothing_silently() {
    flip_every_byte_alone();
}

pub(super) fn flip_every_byte_alone() {
    let params = smallest();
    let (disk, batches) = at_rest(1, &params, 4, 300);
    let mut refused = 0;
    let mut spoilt = disk.clone();
    for (&file, bytes) in &disk.files {
        for at in 0..bytes.len() {
            spoilt.files.get_mut(&file).unwrap()[at] ^= 1;
            match examine(&mut spoilt, &params, Expect::default()) {
                Ok(found) => {
                    assert_eq!(found.log.last(), Index(4), "{file} byte {at}");
                    assert!(
                        found.log.slots().zip(&batches).all(|(slot, batch)| slot.head == Some(*batch.head()))
                    );
                }
                Err(OpenError::Lost { .. }) => refused += 1,
                Err(error) => panic!("{file} byte {at}: {error}"),
            }
            spoilt.files.get_mut(&file).unwrap()[at] ^= 1;
        }
    }
    assert!(refused > 4 * 300, "{refused}");
}

#[test]
fn a_short_or_missing_file_is_named() {
    let params = smallest();
    let (disk, _) = at_rest(3, &params, 5, 1500);
    for (&file, bytes) in &disk.files {
        for len in (0..bytes.len()).step_by(512) {
            let mut short = disk.clone();
            short.files.get_mut(&file).unwrap().truncate(len);
            let need = bytes.len() as u64;
            let expected = OpenError::Truncated { file, have: len as u64, need };
            assert_eq!(examine(&mut short, &params, Expect::default()).unwrap_err(), expected);
        }
        let mut without = disk.clone();
        without.files.remove(&file);
        let error = examine(&mut without, &params, Expect::default()).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. } | OpenError::SuperMissing { .. }), "{error}");
    }
}

fn place(disk: &mut TestDisk, params: &Params, index: Index) -> crate::journal::Place {
    let found = examine(disk, params, Expect::default()).unwrap();
    found.log.held(index).unwrap().place.unwrap()
}

/// Overwrites one page with something else.
pub(super) fn spoil(disk: &mut TestDisk, file: u32, offset: u64, rng: &mut Rng) {
    let bytes = &mut disk.files.get_mut(&File::Segment(file)).unwrap()[offset as usize..][..PAGE];
    match rng.below(3) {
        0 => bytes.fill(0),
        1 => bytes.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8),
        _ => bytes[rng.below(100) as usize] ^= 1 << rng.below(8),
    }
}

/// Goal: of every batch one copy may be damaged, body or frame, all at once: nothing is denied, and copies from
/// elsewhere make it whole again, in whatever order they come.
#[test]
fn any_one_copy_of_every_batch_may_be_damaged() {
    damage_one_copy_each(60);
}

pub(super) fn damage_one_copy_each(seeds: u64) {
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let params = Params::tiny();
        let bytes = rng.between(100, 9000) as usize;
        let (mut disk, batches) = at_rest(3, &params, 20, bytes);
        let places: Vec<_> = batches.iter().map(|batch| place(&mut disk, &params, batch.index())).collect();
        let mut bodies = 0;
        for place in &places {
            let whole = disk.clone();
            let body = rng.chance(0.5);
            bodies += usize::from(body);
            let offset = if body { place.body_offset() } else { place.frame_offset() };
            if rng.chance(0.3) {
                // Another write came here by mistake: whole, and in the wrong place.
                let other = places[rng.below(places.len() as u64) as usize];
                let from = if body { other.body_offset() } else { other.frame_offset() };
                let page = disk.files[&File::Segment(other.file)][from as usize..][..PAGE].to_vec();
                disk.files.get_mut(&File::Segment(place.file)).unwrap()[offset as usize..][..PAGE]
                    .copy_from_slice(&page);
            }
            if disk.files == whole.files {
                spoil(&mut disk, place.file, offset, &mut rng);
            }
        }
        assert_eq!(assert_nothing_denied(&mut disk, &params, &batches, &format!("seed {seed}")), bodies);
        let (mut rig, report) = Rig::open(disk, &params);
        let mut missing = report.unknown.clone();
        while !missing.is_empty() {
            let index = missing.swap_remove(rng.below(missing.len() as u64) as usize);
            // Another batch of the same index is not taken.
            let wrong = crate::pipeline::store::tests::batch(index, Chain(9), 1, 10);
            rig.to.send(StoreIn::Repair { batch: wrong });
            rig.to.send(StoreIn::Repair { batch: batches[index.0 as usize - 1].clone() });
            rig.settle();
        }
        assert_eq!(rig.durable, Index(20), "seed {seed}");
        let (mut again, report) = Rig::open(rig.disk, &params);
        assert_eq!((report.present, report.bad_frames), (20, 0), "seed {seed}");
        let read = again.store.log().read(&mut again.disk, Index(1), usize::MAX).unwrap();
        assert!(read.iter().zip(&batches).all(|(a, b)| a.head() == b.head()));
    }
}

/// Goal: both copies of many neighbours gone, even all that names them: still nothing below a watermark is denied,
/// and all of it can be written anew.
#[test]
fn whole_stretches_may_be_lost() {
    lose_stretches(200);
}

fn lose_stretches(seeds: u64) {
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let params = Params::tiny();
        let (mut disk, batches) = at_rest(3, &params, 40, rng.clone().between(100, 9000) as usize);
        // A mark puts the watermark into the superblock as well: the last segment may then go whole.
        let (mut rig, _) = Rig::open(disk, &params);
        rig.settle();
        disk = rig.disk;
        for _ in 0..rng.between(1, 3) {
            let file = rng.below(disk.files.len() as u64 - 1) as u32;
            let pages = params.segment_pages() as u64;
            let from = rng.below(pages);
            for page in from..rng.between(from, pages) {
                spoil(&mut disk, file, page * PAGE as u64, &mut rng);
            }
        }
        assert_nothing_denied(&mut disk, &params, &batches, &format!("seed {seed}"));
        let (mut rig, report) = Rig::open(disk, &params);
        let mut missing = report.unknown.clone();
        while !missing.is_empty() {
            let index = missing.swap_remove(rng.below(missing.len() as u64) as usize);
            rig.to.send(StoreIn::Repair { batch: batches[index.0 as usize - 1].clone() });
            rig.settle();
        }
        assert_eq!(rig.durable, Index(40), "seed {seed}");
        (rig.next, rig.chain) = (Index(41), batches[39].chain());
        rig.append(2, 700);
        rig.settle();
        assert_eq!(rig.durable, Index(41), "seed {seed}");
        let (_, report) = Rig::open(rig.disk, &params);
        assert_eq!((report.present, report.unknown.len()), (41, 0), "seed {seed}");
    }
}
