use super::*;
use crate::base::Rng;

fn tables(rng: &mut Rng, sizes: &[u64]) -> Vec<Table> {
    let fill = |&size: &u64| {
        let mut table = Table::new();
        for _ in 0..size {
            let key = rng.below(1 << 40).to_be_bytes();
            let long = if rng.chance(0.001) { 400_000 } else { 200 };
            table.put(
                &key[..rng.between(3, 8) as usize],
                &vec![rng.next_u64() as u8; rng.below(long) as usize],
            );
        }
        table
    };
    sizes.iter().map(fill).collect()
}

fn view(tables: &[Table]) -> View {
    let part = |(at, table): (usize, &Table)| (at as u8 / 2, at as u8 % 2, table.freeze().into());
    View::new(Index(7), tables.iter().enumerate().map(part).collect())
}

fn written(tables: &[Table], slice: usize) -> Vec<u8> {
    chunks(view(tables), slice)
}

fn chunks(mut view: View, slice: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        match view.advance(slice) {
            Slice::More => {}
            Slice::Chunk(block) => out.extend_from_slice(block.padded()),
            Slice::End => return out,
        }
    }
}

fn load(bytes: &[u8]) -> Result<Vec<(u8, u8, Table)>, Damaged> {
    let table = |(realm, place, part)| match part {
        Loaded::Table(table) => (realm, place, table),
        Loaded::Trail(_) => panic!("a trail"),
    };
    Ok(parts(bytes)?.into_iter().map(table).collect())
}

fn parts(bytes: &[u8]) -> Result<Vec<(u8, u8, Loaded)>, Damaged> {
    let mut loader = Loader::new(Index(7));
    for piece in bytes.chunks(10_000) {
        loader.feed(piece)?;
    }
    loader.finish()
}

#[test]
fn a_trail_comes_back_with_its_numbers_and_chains() {
    let mut rng = Rng::new(9);
    for start in [0, 77] {
        let mut trail = Trail::default();
        trail.start_at(start);
        let mut heads = vec![None; 3_000];
        for n in 0..40_000u64 {
            let chain = rng.below(heads.len() as u64) as usize;
            let follows = heads[chain].replace(trail.end());
            trail.push(follows, &[&vec![n as u8; rng.below(60) as usize]]);
        }
        trail.let_go(start + 20_000);
        let part = || vec![(1, 3, Table::new().freeze().into()), (1, TRAIL, Part::Trail(trail.freeze()))];
        let bytes = chunks(View::new(Index(7), part()), 1_000);
        assert_eq!(bytes, chunks(View::new(Index(7), part()), 33));
        let Some((1, TRAIL, Loaded::Trail(loaded))) = parts(&bytes).unwrap().pop() else { panic!() };
        assert!(loaded.first() > start && loaded.first() == trail.first() && loaded.end() == trail.end());
        assert!(loaded.from(0).eq(trail.from(0)));
        for n in trail.first()..trail.end() {
            let next = |trail: &Trail| (trail.next(n), trail.back(n, 0, &mut 0));
            assert_eq!(next(&loaded), next(&trail));
        }
        let mut bent = bytes.clone();
        bent[5_000] ^= 1;
        assert!(parts(&bent).is_err());
    }
}

#[test]
fn what_is_written_loads_and_slices_do_not_show() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let tables = tables(&mut rng, &[10_000, 0, 1, 3_000, 0]);
        let bytes = written(&tables, 1_000);
        assert_eq!(bytes, written(&tables, 1 + seed as usize * 37));
        let loaded = load(&bytes).unwrap();
        assert_eq!(loaded.len(), tables.len());
        for ((realm, place, loaded), (at, table)) in loaded.iter().zip(tables.iter().enumerate()) {
            assert_eq!((usize::from(realm * 2 + place), loaded.digest()), (at, table.digest()));
            assert_eq!((loaded.len(), loaded.bytes()), (table.len(), table.bytes()));
        }
    }
}

#[test]
fn order_of_writing_does_not_show() {
    let (mut up, mut down) = (Table::new(), Table::new());
    for n in 0..5_000u64 {
        up.put(&n.to_be_bytes(), &n.to_le_bytes());
        down.put(&(4_999 - n).to_be_bytes(), b"an earlier value");
    }
    for n in 0..5_000u64 {
        down.put(&n.to_be_bytes(), &n.to_le_bytes());
    }
    assert_eq!(written(&[up], 1_000), written(&[down], 1_000));
}

#[test]
fn any_flipped_byte_and_any_cut_is_found() {
    let mut rng = Rng::new(3);
    let tables = tables(&mut rng, &[600, 5]);
    let bytes = written(&tables, 100);
    for _ in 0..3_000 {
        let mut bent = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        bent[at] ^= 1 << rng.below(8);
        assert!(load(&bent).is_err(), "a bit at {at} changed");
    }
    for _ in 0..50 {
        assert!(load(&bytes[..rng.below(bytes.len() as u64 - PAGE as u64) as usize]).is_err());
    }
    let mut other = Loader::new(Index(8));
    assert_eq!(other.feed(&bytes), Err(Damaged::Misplaced { number: 0 }));
}

#[test]
fn a_chunk_left_out_or_repeated_is_found() {
    let mut rng = Rng::new(4);
    let tables = tables(&mut rng, &[9_000]);
    let mut view = view(&tables);
    let mut chunks = Vec::new();
    loop {
        match view.advance(5_000) {
            Slice::More => {}
            Slice::Chunk(block) => chunks.push(block.padded().to_vec()),
            Slice::End => break,
        }
    }
    assert!(chunks.len() > 3);
    assert!(load(&chunks.concat()).is_ok());
    let without: Vec<_> = [&chunks[..1], &chunks[2..]].concat();
    assert!(matches!(load(&without.concat()), Err(Damaged::Misplaced { number: 1 })));
    let twice: Vec<_> = [&chunks[..2], &chunks[1..]].concat();
    assert!(matches!(load(&twice.concat()), Err(Damaged::Misplaced { number: 2 })));
}
