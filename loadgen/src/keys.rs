//! Which key comes next. Seeded: the same seed asks for the same keys.

use clap::ValueEnum;
use quorate::base::Rng;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dist {
    /// Every key alike.
    Uniform,
    /// Few keys are asked often (YCSB's constant 0.99), scattered over the key space.
    Zipfian,
    /// Writes go to one key after the other, reads mostly to those written last.
    Latest,
    /// One key after the other.
    Sequential,
}

const THETA: f64 = 0.99;

/// Ranks from 0, rank 0 the most frequent: Gray et al., "Quickly generating billion-record synthetic
/// databases", as YCSB has it.
#[derive(Clone, Debug)]
struct Zipf {
    items: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    second: f64,
}

impl Zipf {
    fn new(items: u64) -> Zipf {
        let zeta: f64 = (1..=items).map(|rank| (rank as f64).powf(-THETA)).sum();
        let zeta2 = 1.0 + 0.5f64.powf(THETA);
        Zipf {
            items,
            zeta,
            alpha: 1.0 / (1.0 - THETA),
            eta: (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - zeta2 / zeta),
            second: zeta2,
        }
    }

    fn rank(&self, rng: &mut Rng) -> u64 {
        let unit = rng.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < self.second {
            return 1.min(self.items - 1);
        }
        let rank = self.items as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items - 1)
    }
}

#[derive(Clone, Debug)]
pub struct Picker {
    dist: Dist,
    keys: u64,
    zipf: Option<Zipf>,
    /// The last key written, for `Latest`; the last key used, for `Sequential`.
    last: u64,
    stride: u64,
}

impl Picker {
    /// `part` of `parts` generators: sequential ones share the keys out, so that none is written twice.
    pub fn new(dist: Dist, keys: u64, part: u64, parts: u64) -> Picker {
        assert!(keys > 0);
        let zipf = matches!(dist, Dist::Zipfian | Dist::Latest).then(|| Zipf::new(keys));
        Picker { dist, keys, zipf, last: (keys + part).wrapping_sub(parts), stride: parts }
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// A rank by the law of a distribution that has one, else 0.
    pub fn rank(&self, rng: &mut Rng) -> u64 {
        self.zipf.as_ref().map_or(0, |zipf| zipf.rank(rng))
    }

    pub fn pick(&mut self, write: bool, rng: &mut Rng) -> u64 {
        match (self.dist, &self.zipf) {
            (Dist::Zipfian, Some(zipf)) => scatter(zipf.rank(rng)) % self.keys,
            (Dist::Latest, Some(zipf)) if !write => {
                (self.last % self.keys + self.keys - zipf.rank(rng)) % self.keys
            }
            (Dist::Uniform, _) => rng.below(self.keys),
            _ => {
                self.last = self.last.wrapping_add(self.stride);
                self.last % self.keys
            }
        }
    }
}

/// Popular ranks must not be neighbours: neighbours may share a page or a parent.
fn scatter(rank: u64) -> u64 {
    let z = (rank.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (rank >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(dist: Dist, write: bool) -> Vec<u64> {
        let mut picker = Picker::new(dist, 100, 0, 1);
        let mut rng = Rng::new(7);
        let mut counts = vec![0; 100];
        for _ in 0..100_000 {
            counts[picker.pick(write, &mut rng) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_asks_every_key_alike() {
        let counts = counts(Dist::Uniform, false);
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn zipfian_asks_the_first_rank_as_often_as_the_formula_says() {
        let mut counts = counts(Dist::Zipfian, false);
        counts.sort_unstable();
        // 1 / zeta(100, 0.99) is 0.189.
        assert!((18_400..19_400).contains(&counts[99]), "{counts:?}");
        assert!(counts[98] * 100 / counts[99] > 45, "rank 1 is about half of rank 0");
    }

    #[test]
    fn sequential_parts_cover_all_keys_without_overlap() {
        let mut rng = Rng::new(1);
        let mut seen = vec![0; 12];
        for part in 0..3 {
            let mut picker = Picker::new(Dist::Sequential, 12, part, 3);
            for _ in 0..4 {
                seen[picker.pick(true, &mut rng) as usize] += 1;
            }
        }
        assert_eq!(seen, vec![1; 12]);
    }

    #[test]
    fn latest_reads_near_the_last_write() {
        let mut picker = Picker::new(Dist::Latest, 1000, 0, 1);
        let mut rng = Rng::new(3);
        for _ in 0..501 {
            picker.pick(true, &mut rng);
        }
        let near = (0..1000).filter(|_| (450..=500).contains(&picker.pick(false, &mut rng))).count();
        assert!(near > 500, "{near}");
    }
}
