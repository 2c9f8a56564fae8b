use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::base::Rng;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Records = std::vec::IntoIter<(Vec<u8>, Vec<u8>)>;

fn check(table: &Table, model: &Model) {
    assert_eq!(table.len(), model.len() as u64);
    let bytes: usize = model.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert_eq!(table.bytes(), bytes as u64);
    let up = table.ascend(Bound::Unbounded).map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert!(up.eq(model.iter().map(|(k, v)| (k.clone(), v.clone()))), "ascending");
    let down = table.descend(Bound::Unbounded).map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert!(down.eq(model.iter().rev().map(|(k, v)| (k.clone(), v.clone()))), "descending");
    let mut again = Table::new();
    model.iter().for_each(|(k, v)| {
        again.put(k, v);
    });
    assert_eq!(table.digest(), again.digest(), "digest");
}

/// Keys of several shapes: dense, with long common beginnings, of very different lengths.
fn key(rng: &mut Rng, space: u64) -> Vec<u8> {
    let n = rng.below(space);
    match n % 5 {
        0 => n.to_be_bytes().to_vec(),
        1 => format!("/registry/pods/default/some-deployment-{n:08}").into_bytes(),
        2 => vec![b'x'; (n % 300) as usize],
        3 => [vec![b'y'; 200 + (n % 7) as usize], n.to_le_bytes().to_vec()].concat(),
        _ => n.to_le_bytes()[..(n % 8) as usize].to_vec(),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(200) {
        0 => rng.below(200_000),
        1..=5 => rng.below(9_000),
        _ => rng.below(200),
    };
    let byte = rng.next_u64() as u8;
    vec![byte; len as usize]
}

#[test]
fn a_table_does_what_a_btreemap_does() {
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let (mut table, mut model) = (Table::new(), Model::new());
        let space = *rng.pick(&[40, 400, 20_000]);
        for round in 0..8 {
            // Rounds that mostly write and rounds that mostly remove: pages split and merge.
            let removes = if round % 2 == 0 { 0.2 } else { 0.8 };
            for _ in 0..1_500 {
                let key = key(&mut rng, space);
                if rng.chance(removes) {
                    assert_eq!(table.remove(&key), model.remove(&key).is_some());
                } else {
                    let value = value(&mut rng);
                    assert_eq!(table.put(&key, &value), model.insert(key, value).is_some());
                }
            }
            check(&table, &model);
            for _ in 0..200 {
                let key = key(&mut rng, space);
                table.foresee(&[key.clone(), Vec::new(), vec![0xff; 300]]);
                assert_eq!(table.get(&key), model.get(&key).map(Vec::as_slice));
                let first = table.first_from(&key).map(|(k, v)| (k.to_vec(), v.to_vec()));
                assert_eq!(first, model.range(key.clone()..).next().map(|(k, v)| (k.clone(), v.clone())));
                for bound in [Bound::Included(key.as_slice()), Bound::Excluded(key.as_slice())] {
                    let up = table.ascend(bound).take(5).map(|(k, _)| k.to_vec());
                    assert!(up.eq(
                        model.range::<[u8], _>((bound, Bound::Unbounded)).take(5).map(|(k, _)| k.clone())
                    ));
                    let down = table.descend(bound).take(5).map(|(k, _)| k.to_vec());
                    let expected = model.range::<[u8], _>((Bound::Unbounded, bound)).rev();
                    assert!(down.eq(expected.take(5).map(|(k, _)| k.clone())));
                }
            }
        }
        for key in model.keys() {
            assert!(table.remove(key));
        }
        assert_eq!((table.len(), table.bytes(), table.digest()), (0, 0, 0), "seed {seed}");
    }
}

#[test]
fn a_frozen_view_keeps_its_moment() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let (mut table, mut model) = (Table::new(), Model::new());
        let mut views: Vec<(Frozen, Records)> = Vec::new();
        for step in 0..20_000 {
            let key = key(&mut rng, 3_000);
            if rng.chance(0.3) {
                assert_eq!(table.remove(&key), model.remove(&key).is_some());
            } else {
                let value = value(&mut rng);
                table.put(&key, &value);
                model.insert(key, value);
            }
            if step % 4_000 == 3_000 {
                let frozen = table.freeze();
                assert_eq!((frozen.len(), frozen.digest()), (table.len(), table.digest()));
                views.push((frozen, model.clone().into_iter().collect::<Vec<_>>().into_iter()));
            }
            for (frozen, expected) in &mut views {
                let next = frozen.next().map(|(k, v)| (k.to_vec(), v.to_vec()));
                assert_eq!(next, expected.next());
            }
        }
        for (frozen, expected) in &mut views {
            for record in expected {
                let (k, v) = frozen.next().expect("the view ended early");
                assert!(k == *record.0 && v == record.1);
            }
            assert!(frozen.next().is_none());
        }
        drop(views);
        check(&table, &model);
    }
}

#[test]
fn a_record_made_of_the_one_before_it_lies_where_a_put_would_lay_it() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let (mut table, mut model) = (Table::new(), Model::new());
        let mut views: Vec<(Frozen, Records)> = Vec::new();
        let space = *rng.pick(&[3, 50, 4_000]);
        let mut record = Vec::new();
        for step in 0..12_000u64 {
            let key = key(&mut rng, space);
            // Mostly of the same size: written in place, over what a frozen view may still hold.
            let add = if rng.chance(0.7) { vec![step as u8; 20] } else { value(&mut rng) };
            let mut seen = None;
            table.put_over(&key, &mut record, |before, record| {
                seen = before.map(<[u8]>::to_vec);
                record.clear();
                record.extend_from_slice(&add);
                record.push(before.map_or(0, |before| before.len() as u8));
            });
            let made = [add, vec![seen.as_ref().map_or(0, |before| before.len() as u8)]].concat();
            assert_eq!(seen, model.insert(key.clone(), made), "seed {seed} step {step}");
            if rng.chance(0.2) {
                assert!(table.remove(&key) && model.remove(&key).is_some());
            }
            if step % 3_000 == 2_000 {
                views.push((table.freeze(), model.clone().into_iter().collect::<Vec<_>>().into_iter()));
            }
            for (frozen, expected) in &mut views {
                assert_eq!(frozen.next().map(|(k, v)| (k.to_vec(), v.to_vec())), expected.next());
            }
        }
        for (frozen, expected) in &mut views {
            for (key, value) in expected {
                let (k, v) = frozen.next().expect("the view ended early");
                assert!(k == *key.as_slice() && v == value);
            }
            assert!(frozen.next().is_none());
        }
        drop(views);
        check(&table, &model);
    }
}

#[test]
fn a_page_is_released_once_it_is_read() {
    let mut table = Table::new();
    for n in 0..10_000u64 {
        table.put(&n.to_be_bytes(), &[1; 100]);
    }
    let first = |table: &Table| match &table.root {
        Node::Inner(inner) => match &inner.children {
            Children::Leaves(pages) => Arc::downgrade(&pages[0]),
            Children::Inners(inners) => match &inners[0].children {
                Children::Leaves(pages) => Arc::downgrade(&pages[0]),
                Children::Inners(_) => panic!("higher than expected"),
            },
        },
        Node::Leaf(_) => panic!("lower than expected"),
    };
    let old = first(&table);
    let mut frozen = table.freeze();
    table.put(&1u64.to_be_bytes(), &[2; 100]);
    assert!(old.upgrade().is_some(), "the view holds what the table replaced");
    for _ in 0..200 {
        frozen.next();
    }
    assert!(old.upgrade().is_none(), "read, and nobody's");
}

#[test]
fn ascending_keys_fill_their_pages() {
    let mut table = Table::new();
    for n in 0..100_000u64 {
        table.put(&n.to_be_bytes(), &[7; 40]);
    }
    let Node::Inner(root) = &table.root else { panic!("one page") };
    let (mut pages, mut bytes) = (0, 0);
    let mut add = |inner: &Inner| match &inner.children {
        Children::Leaves(leaves) => leaves.iter().for_each(|page| {
            pages += 1;
            bytes += page.len();
        }),
        Children::Inners(_) => panic!("higher than expected"),
    };
    match &root.children {
        Children::Inners(inners) => inners.iter().for_each(|inner| add(inner)),
        Children::Leaves(_) => add(root),
    }
    assert!(bytes < 100_000 * 60, "{bytes} bytes in {pages} pages");
}

#[test]
fn sorted_records_load_into_the_same_table() {
    let mut rng = Rng::new(5);
    for size in [0, 1, 2, 100, 30_000] {
        let (mut table, mut model) = (Table::new(), Model::new());
        for _ in 0..size {
            let (key, value) = (key(&mut rng, 100_000), value(&mut rng));
            table.put(&key, &value);
            model.insert(key, value);
        }
        let mut builder = Builder::new();
        for (key, value) in &model {
            builder.push(key, value).unwrap();
        }
        let mut loaded = builder.finish();
        assert_eq!(loaded.digest(), table.digest());
        check(&loaded, &model);
        for _ in 0..2_000 {
            let (key, value) = (key(&mut rng, 100_000), value(&mut rng));
            loaded.put(&key, &value);
            model.insert(key, value);
        }
        check(&loaded, &model);
    }
    let mut builder = Builder::new();
    builder.push(b"b", b"").unwrap();
    assert_eq!(builder.push(b"b", b""), Err(OutOfOrder { at: 1 }));
    assert_eq!(builder.push(b"a", b""), Err(OutOfOrder { at: 1 }));
}

proptest! {
    #[test]
    fn keys_compare_like_bytes(records in prop::collection::btree_map("[ab\0]{0,6}", any::<u8>(), 1..60), probe in "[ab\0]{0,6}") {
        let mut table = Table::new();
        for (key, value) in &records {
            table.put(key.as_bytes(), &[*value]);
        }
        for (key, _) in table.ascend(Bound::Unbounded) {
            let whole = key.to_vec();
            prop_assert_eq!(key.order(probe.as_bytes()), whole.as_slice().cmp(probe.as_bytes()));
            prop_assert_eq!(key.starts_with(probe.as_bytes()), whole.starts_with(probe.as_bytes()));
            prop_assert_eq!(key == *probe.as_bytes(), whole == probe.as_bytes());
        }
        prop_assert_eq!(table.get(probe.as_bytes()).is_some(), records.contains_key(&probe));
    }
}
