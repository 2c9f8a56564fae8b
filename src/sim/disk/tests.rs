use super::*;
use crate::base::{Chain, ClusterId, Epoch};
use crate::journal::Builder;
use crate::pipeline::ports::Media;

fn disk(seed: u64) -> VirtualDisk {
    let mut disk = VirtualDisk::new(Rng::new(seed), Atlas::none());
    Media::create(&mut disk, File::Segment(0), 16 * PAGE as u64).unwrap();
    disk
}

fn page(byte: u8) -> Block {
    Block::copy_of(&[byte; PAGE])
}

#[test]
fn a_write_is_not_there_before_it_completes() {
    let mut disk = disk(1);
    Disk::write(&mut disk, 7, File::Segment(0), 0, page(9));
    assert_eq!(disk.platter()[&File::Segment(0)][0], 0);
    let (_, operation) = disk.outbox.pop().unwrap();
    assert!(matches!(disk.complete(operation), Some(DiskEvent::Written { token: 7, result: Ok(()) })));
    assert_eq!(disk.platter()[&File::Segment(0)][PAGE - 1], 9);
    assert!(disk.complete(operation).is_none());
}

#[test]
fn a_crash_tears_at_sectors_and_nowhere_else() {
    let mut kinds = [false; 3];
    for seed in 0..200 {
        let mut disk = disk(seed);
        Disk::write(&mut disk, 1, File::Segment(0), PAGE as u64, page(9));
        disk.crash(true);
        let image = &disk.platter()[&File::Segment(0)];
        let landed: Vec<bool> = image[PAGE..2 * PAGE]
            .chunks(SECTOR)
            .map(|sector| {
                assert!(sector.iter().all(|&b| b == sector[0]), "seed {seed}: torn inside a sector");
                sector[0] == 9
            })
            .collect();
        let kind = if landed.iter().all(|&l| l) { 0 } else { 1 + usize::from(landed.contains(&true)) };
        kinds[kind] = true;
        assert!(image[..PAGE].iter().chain(&image[2 * PAGE..]).all(|&b| b == 0));
    }
    assert_eq!(kinds, [true; 3], "whole, vanished and torn all happen");
}

#[test]
fn writes_complete_in_any_order() {
    let mut disk = disk(3);
    for token in 0..20 {
        Disk::write(&mut disk, token, File::Segment(0), token % 4 * PAGE as u64, page(token as u8));
    }
    assert!(!disk.outbox.is_sorted_by_key(|(due, _)| *due));
}

#[test]
fn a_held_write_is_passed_by_what_comes_later() {
    let mut disk = disk(5);
    let until = Nanos::from_millis(900);
    disk.habits.holds = Some(until);
    (0..20)
        .for_each(|token| Disk::write(&mut disk, token, File::Segment(0), token % 8 * PAGE as u64, page(1)));
    let held = disk.outbox.iter().filter(|(due, _)| *due == until).count();
    assert!((1..20).contains(&held), "some are, some are not: {held}");
    disk.outbox.clear();
    Disk::write(&mut disk, 20, File::Super, 0, page(2));
    assert!(disk.outbox.iter().all(|(due, _)| *due < until), "the superblock says meanwhile what was cut");
}

#[test]
fn recovery_dies_at_the_write_it_was_told_to() {
    let mut disk = disk(4);
    disk.crash_in = Some(2);
    for n in 0..5 {
        let result = Media::write(&mut disk, File::Segment(0), n * PAGE as u64, &page(1));
        assert_eq!(result.is_ok(), n < 2);
    }
    assert!(disk.crashed);
    disk.crash(true);
    Media::write(&mut disk, File::Segment(0), 0, &page(1)).unwrap();
}

#[test]
fn without_leave_of_the_atlas_the_disk_does_not_lie() {
    let mut disk = disk(5);
    disk.habits.lost_write = 1.0;
    disk.habits.flipped_read = 1.0;
    Media::write(&mut disk, File::Segment(0), 0, &page(5)).unwrap();
    let mut back = [0; PAGE];
    Media::read(&mut disk, File::Segment(0), 0, &mut back).unwrap();
    assert_eq!(back, [5; PAGE]);
    disk.atlas = Atlas::everything();
    Media::write(&mut disk, File::Segment(0), 0, &page(6)).unwrap();
    Media::read(&mut disk, File::Segment(0), 0, &mut back).unwrap();
    let wrong = back.iter().map(|b| (b ^ 5).count_ones()).sum::<u32>();
    assert_eq!((wrong, disk.misdeeds.lost, disk.misdeeds.flipped), (1, 1, 1));
}

#[test]
fn a_write_into_a_place_that_another_is_still_on_its_way_to_is_noticed() {
    let mut disk = disk(6);
    Disk::write(&mut disk, 1, File::Segment(0), 0, page(1));
    Disk::write(&mut disk, 2, File::Segment(0), PAGE as u64, page(1));
    assert_eq!(disk.clash, None);
    Disk::write(&mut disk, 3, File::Segment(0), PAGE as u64, page(2));
    assert!(disk.clash.is_some());
}

#[test]
fn a_batch_on_a_page_that_cannot_be_read_is_told_by_nobody() {
    let mut disk = disk(7);
    let mut builder = Builder::default();
    builder.push(&[7; PAGE], 1);
    let batch = builder.seal(ClusterId(1), Epoch(1), Index(1), Chain::default(), 0, 1, Nanos(2));
    Media::write(&mut disk, File::Segment(0), 3 * PAGE as u64, batch.block()).unwrap();
    assert!(disk.tells(Index(1)) && !disk.tells(Index(2)));
    disk.spoil(File::Segment(0), 4); // Its second page.
    assert!(!disk.tells(Index(1)));
    Media::write(&mut disk, File::Segment(0), 3 * PAGE as u64, batch.block()).unwrap();
    assert!(disk.tells(Index(1)));
    disk.flip(File::Segment(0), 4 * PAGE as u64, 1);
    assert!(!disk.tells(Index(1)));
}
