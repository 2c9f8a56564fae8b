use super::*;
use crate::base::Rng;

/// What a trail should be: entries with what they follow, by number.
#[derive(Default)]
struct Model {
    first: u64,
    entries: Vec<(Option<u64>, Vec<u8>)>,
}

impl Model {
    fn get(&self, number: u64) -> (Option<u64>, &[u8]) {
        let (follows, body) = &self.entries[number as usize];
        (*follows, body)
    }

    fn check(&self, trail: &Trail) {
        assert_eq!((trail.end(), trail.first() <= self.first), (self.entries.len() as u64, true));
        let seen: Vec<_> = trail.from(self.first).map(|e| (e.number, e.follows, e.body.to_vec())).collect();
        let expected = (self.first..trail.end()).map(|n| {
            let (follows, body) = self.get(n);
            (n, follows, body.to_vec())
        });
        assert!(seen.into_iter().eq(expected), "entries");
        let bytes = |from: u64| trail.from(from).map(|entry| entry.bytes as u64).sum::<u64>();
        assert_eq!((trail.bytes(), trail.bytes_from(self.first)), (bytes(0), bytes(self.first)));
    }

    /// Chains by brute force.
    fn check_chains(&self, trail: &Trail, rng: &mut Rng) {
        let end = self.entries.len() as u64;
        let mut next = vec![None; self.entries.len()];
        for n in 0..end {
            if let Some(follows) = self.get(n).0 {
                next[follows as usize] = Some(n);
            }
        }
        (self.first..end).for_each(|n| assert_eq!(trail.next(n), next[n as usize]));
        for _ in 0..300 {
            let from = rng.between(self.first, end - 1);
            let limit = rng.between(self.first, from);
            let (mut expected, mut length) = (from, 0u32);
            while let Some(before) = self.get(expected).0.filter(|before| *before >= limit) {
                (expected, length) = (before, length + 1);
            }
            let mut steps = 0;
            assert_eq!(trail.back(from, limit, &mut steps), expected, "from {from} to {limit}");
            let most = links::LATE as usize + 3 * (33 - length.leading_zeros() as usize);
            assert!(steps <= most, "{steps} steps over {length}");
        }
    }
}

/// A few chains, some of them busy.
fn grow(trail: &mut Trail, model: &mut Model, heads: &mut [Option<u64>], rng: &mut Rng, count: u64) {
    for _ in 0..count {
        let chain = if rng.chance(0.5) { 0 } else { rng.below(heads.len() as u64) as usize };
        let size = if rng.chance(0.001) { 300_000 } else { rng.below(200) };
        let body = vec![rng.next_u64() as u8; size as usize];
        let follows = heads[chain].filter(|_| rng.chance(0.99));
        heads[chain] = Some(trail.end());
        let cut = body.len() / 3;
        let bytes = trail.push(follows, &[&body[..cut], &body[cut..]]);
        assert!(bytes > body.len() && bytes <= body.len() + 4);
        model.entries.push((follows, body));
    }
}

fn copy(trail: &Trail) -> Trail {
    let (frozen, mut loaded) = (trail.freeze(), Trail::default());
    loaded.start_at(trail.first());
    frozen.for_each(|block| loaded.load(block.first, &block.ends, &block.bytes).unwrap());
    loaded
}

#[test]
fn a_trail_does_what_a_list_does() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let (mut trail, mut model) = (Trail::default(), Model::default());
        let mut heads = vec![None; *rng.pick(&[1, 3, 5_000])];
        for _ in 0..8 {
            let count = rng.below(6_000);
            grow(&mut trail, &mut model, &mut heads, &mut rng, count + 1);
            model.first = rng.between(model.first, trail.end() - 1);
            trail.let_go(model.first);
            model.check(&trail);
            model.check_chains(&trail, &mut rng);
            // A copy has the same blocks: it lets go of the same, and goes on alike.
            let loaded = copy(&trail);
            assert_eq!((loaded.digest(), loaded.bytes()), (trail.digest(), trail.bytes()), "seed {seed}");
            model.check_chains(&loaded, &mut rng);
            if rng.chance(0.5) {
                trail = loaded;
            }
            for _ in 0..20 {
                let wanted = rng.between(trail.first(), trail.end());
                let all = trail.end();
                let found = trail.search(|body| {
                    (trail.first()..all)
                        .find(|n| std::ptr::eq(trail.entry(*n).unwrap().body, body))
                        .is_some_and(|n| n < wanted)
                });
                assert_eq!(found, wanted);
            }
        }
    }
}

#[test]
fn a_frozen_trail_keeps_its_moment() {
    let mut rng = Rng::new(4);
    let (mut trail, mut model, mut heads) = (Trail::default(), Model::default(), vec![None; 10]);
    grow(&mut trail, &mut model, &mut heads, &mut rng, 30_000);
    let (first, end, digest) = (trail.first(), trail.end(), trail.digest());
    let mut frozen = trail.freeze();
    let mut number = first;
    while number < end {
        grow(&mut trail, &mut model, &mut heads, &mut rng, 10_000);
        trail.let_go(trail.end() - 3_000);
        let block = frozen.next().unwrap();
        assert_eq!(block.first, number);
        for at in 0..block.ends.len() {
            let (follows, body) = model.get(number);
            let entry = block.entry(at);
            assert_eq!((entry.number, entry.follows, entry.body), (number, follows, body));
            number += 1;
        }
    }
    assert!(number == end && frozen.next().is_none() && frozen.digest() == digest);
    assert!(trail.first() > first && trail.digest() != digest);
}

#[test]
fn what_does_not_go_on_from_the_last_entry_is_refused() {
    let ends = |all: &[u32]| all.iter().map(|end| end.to_le_bytes()).collect::<Vec<_>>();
    let mut trail = Trail::default();
    for (first, list, bytes, what) in [
        (7, &[][..], &[][..], "no entries"),
        (7, &[0], &[], "no distance"),
        (7, &[1], &[8], "it follows what never was"),
        (7, &[1], &[0, 0], "bytes behind the last entry"),
        (7, &[2], &[0], "bytes that are not there"),
        (7, &[2, 1], &[0, 0], "an entry that ends before it begins"),
    ] {
        assert!(Trail::default().load(first, &ends(list), bytes).is_err(), "{what}");
    }
    let full = vec![0; BLOCK_BYTES];
    let late = ends(&[BLOCK_BYTES as u32, BLOCK_BYTES as u32 + 1]);
    assert!(Trail::default().load(7, &late, &[&full[..], &[0]].concat()).is_err(), "it was full before");
    trail.load(7, &ends(&[BLOCK_BYTES as u32]), &full).unwrap();
    assert!(trail.load(9, &ends(&[1]), &[0]).is_err(), "a gap");
    assert!(trail.load(7, &ends(&[1]), &[0]).is_err(), "again");
    trail.load(8, &ends(&[3]), &[1, 5, 5]).unwrap();
    assert_eq!((trail.len(), trail.next(7), trail.entry(8).unwrap().follows), (2, Some(8), Some(7)));
    assert!(trail.load(9, &ends(&[1]), &[0]).is_err(), "the one before it is not full");
}
