//! Where operations come from: closed loop, open loop, and lists that must be worked off.

use quorate::base::Rng;
use serde::{Deserialize, Serialize};

use crate::driver::{Kind, Op};
use crate::keys::Picker;

#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// Send this; the time is its intended start.
    Op(Op, u64),
    /// Nothing before that time.
    At(u64),
    /// Nothing any more.
    Dry,
}

pub trait Source {
    /// Whether operations go to all connections in turn; otherwise one connection is filled first.
    const OPEN: bool;

    fn next(&mut self, now: u64) -> Next;
}

/// Keys that a scan reads at most.
const SCAN_MAX: u64 = 100;

/// Draws operations: kind, key, stamp.
pub struct Mix {
    rng: Rng,
    picker: Picker,
    read_share: f64,
    stamps: Stamps,
    writes: Writes,
    /// Keys that this source has inserted.
    inserted: u64,
    /// Which of them, among those of all sources.
    part: u64,
    parts: u64,
    /// As many of its newest may not be there yet.
    under_way: u64,
}

/// What those do that are no reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// A key that is there.
    #[default]
    Update,
    /// A new key; reads are of the newest.
    Insert,
    /// A new key; reads are of up to a hundred neighbours.
    ScanInsert,
    /// Read, then written if it is as it was.
    Rmw,
}

/// Numbers that no other thread of the run gives out.
pub struct Stamps(u64);

impl Stamps {
    pub fn new(thread: usize) -> Stamps {
        Stamps((thread as u64 + 1) << 40)
    }

    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Mix {
    pub fn new(rng: Rng, picker: Picker, read_percent: f64, stamps: Stamps) -> Mix {
        let read_share = read_percent / 100.0;
        Mix {
            rng,
            picker,
            read_share,
            stamps,
            writes: Writes::Update,
            inserted: 0,
            part: 0,
            parts: 1,
            under_way: 0,
        }
    }

    pub fn writes(self, writes: Writes, part: u64, parts: u64, under_way: u64) -> Mix {
        Mix { writes, part, parts, under_way, ..self }
    }

    /// Behind the keys that were there before; reads count back from the newest of this source.
    fn draw_new(&mut self, read: bool) -> u64 {
        if !read {
            self.inserted += 1;
            return self.picker.keys() + (self.inserted - 1) * self.parts + self.part;
        }
        let rank = self.picker.rank(&mut self.rng);
        match self.inserted.saturating_sub(self.under_way).checked_sub(rank + 1) {
            Some(nth) => self.picker.keys() + nth * self.parts + self.part,
            None => self.picker.keys() - 1 - rank % self.picker.keys(),
        }
    }

    fn draw(&mut self) -> Op {
        let read = self.read_share > 0.0 && (self.read_share >= 1.0 || self.rng.chance(self.read_share));
        let key = match self.writes {
            Writes::Insert => self.draw_new(read),
            Writes::ScanInsert if !read => self.draw_new(false),
            Writes::ScanInsert => {
                let key = self.picker.pick(false, &mut self.rng);
                return Op { kind: Kind::Scan, key, stamp: 1 + self.rng.below(SCAN_MAX) };
            }
            Writes::Update | Writes::Rmw => self.picker.pick(!read, &mut self.rng),
        };
        if read {
            Op { kind: Kind::Read, key, stamp: 0 }
        } else {
            let kind = match self.writes {
                Writes::Update => Kind::Write,
                Writes::Insert | Writes::ScanInsert => Kind::Create,
                Writes::Rmw => Kind::Rmw,
            };
            Op { kind, key, stamp: self.stamps.next() }
        }
    }
}

/// Every slot of every connection asks again as soon as it is answered.
pub struct Closed {
    pub mix: Mix,
    pub until: u64,
}

impl Source for Closed {
    const OPEN: bool = false;

    fn next(&mut self, now: u64) -> Next {
        if now >= self.until {
            return Next::Dry;
        }
        Next::Op(self.mix.draw(), now)
    }
}

/// Operations start when the schedule says, whatever the server does. No slot of the schedule is skipped.
pub struct Open {
    mix: Mix,
    pacer: Rng,
    /// The schedule's parts that are not over yet, last first.
    paces: Vec<Pace>,
    poisson: bool,
    next: f64,
}

/// A part of the schedule: so much between two starts, on average, until then.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub gap: f64,
    pub until: u64,
}

impl Open {
    /// `paces`: this source's share; starts lie between `from` and the end of the last.
    pub fn new(mix: Mix, mut pacer: Rng, mut paces: Vec<Pace>, poisson: bool, from: u64) -> Open {
        // Threads begin at different points of the period, or they would all send at once.
        let next = from as f64 + pacer.unit() * paces.first().map_or(0.0, |pace| pace.gap);
        paces.reverse();
        Open { mix, pacer, paces, poisson, next }
    }
}

impl Source for Open {
    const OPEN: bool = true;

    fn next(&mut self, now: u64) -> Next {
        let mut intended = self.next as u64;
        let gap = loop {
            let Some(pace) = self.paces.last() else { return Next::Dry };
            if intended < pace.until {
                break pace.gap;
            }
            // What a slow pace had laid beyond its end begins with the next one.
            intended =
                intended.min(pace.until + self.paces.iter().rev().nth(1).map_or(0, |next| next.gap as u64));
            self.next = self.next.min(intended as f64);
            self.paces.pop();
        };
        if intended > now {
            return Next::At(intended);
        }
        self.next += if self.poisson { -(1.0 - self.pacer.unit()).ln() * gap } else { gap };
        Next::Op(self.mix.draw(), intended)
    }
}

/// A list that is worked off once, as fast as the connections take it.
pub struct List<I>(pub I);

impl<I: Iterator<Item = Op>> Source for List<I> {
    const OPEN: bool = false;

    fn next(&mut self, now: u64) -> Next {
        match self.0.next() {
            Some(op) => Next::Op(op, now),
            None => Next::Dry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Dist;

    fn mix(reads: f64) -> Mix {
        Mix::new(Rng::new(1), Picker::new(Dist::Uniform, 10, 0, 1), reads, Stamps::new(0))
    }

    fn pace(rate: f64, until: u64) -> Vec<Pace> {
        vec![Pace { gap: 1e9 / rate, until }]
    }

    #[test]
    fn each_phase_has_its_rate() {
        let paces =
            [pace(1000.0, 1_000_000_000), pace(10.0, 2_000_000_000), pace(500.0, 3_000_000_000)].concat();
        let mut open = Open::new(mix(0.0), Rng::new(9), paces, false, 0);
        let mut counts = [0; 3];
        while let Next::Op(_, at) = open.next(u64::MAX) {
            counts[(at / 1_000_000_000) as usize] += 1;
        }
        assert!((999..=1000).contains(&counts[0]) && (9..=10).contains(&counts[1]), "{counts:?}");
        assert!((498..=500).contains(&counts[2]), "{counts:?}");
    }

    fn starts(poisson: bool) -> Vec<u64> {
        let mut open = Open::new(mix(0.0), Rng::new(9), pace(1000.0, 15_000_000_000), poisson, 5_000_000_000);
        let mut all = Vec::new();
        while let Next::Op(_, at) = open.next(u64::MAX) {
            all.push(at);
        }
        all
    }

    #[test]
    fn a_constant_rate_has_every_slot() {
        let all = starts(false);
        assert_eq!(all.len(), 10_000);
        assert!(all.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread_of_its_law() {
        let all = starts(true);
        assert!((9_700..10_300).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((0.93..1.07).contains(&(spread / mean)), "{spread} {mean}");
        assert_eq!(all, starts(true), "seeded");
    }

    #[test]
    fn an_early_caller_is_told_when() {
        let mut open = Open::new(mix(0.0), Rng::new(9), pace(10.0, 1_000_000_000), false, 1_000);
        let Next::At(at) = open.next(0) else { panic!("too early for an operation") };
        assert!(matches!(open.next(at), Next::Op(_, intended) if intended == at));
    }

    #[test]
    fn inserts_are_new_keys_and_reads_find_what_is_there() {
        let picker = Picker::new(Dist::Latest, 1000, 0, 1);
        let mix = Mix::new(Rng::new(1), picker, 50.0, Stamps::new(0));
        let mut mix = mix.writes(Writes::Insert, 1, 3, 20);
        let mut made = Vec::new();
        let mut new = 0;
        for _ in 0..10_000 {
            let op = mix.draw();
            if op.kind == Kind::Create {
                assert_eq!(op.key, 1000 + made.len() as u64 * 3 + 1);
                made.push(op.key);
            } else {
                let settled = &made[..made.len().saturating_sub(20)];
                assert!(op.key < 1000 || settled.contains(&op.key), "{} is not there yet", op.key);
                new += u64::from(op.key >= 1000);
            }
        }
        assert!(new > 3_000, "{new}");
    }

    #[test]
    fn the_read_share_is_kept() {
        let mut mix = mix(30.0);
        let reads = (0..10_000).filter(|_| mix.draw().kind == Kind::Read).count();
        assert!((2_850..3_150).contains(&reads), "{reads}");
    }
}
