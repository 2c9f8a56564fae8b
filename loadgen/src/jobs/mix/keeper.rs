//! ClickHouse's keeper-bench: lists, creates (four of five of which remove an older one instead), sets, and requests
//! of several parts. The tree: ten leaves, and ten directories of ten nodes. What the parts of multis create lies
//! where no list looks.

use std::collections::VecDeque;
use std::marker::PhantomData;

use quorate::base::Rng;

use super::{MIX, Mix, Outcome};
use crate::clock::run_number;
use crate::crowd::{Ask, Crowd, Part, Talk};
use crate::jobs::{NODE_EXISTS, Party};
use crate::run::Trouble;

const WIDE: u64 = 10;
/// Of those that would create.
const REMOVE: f64 = 0.8;
const GETS: usize = 10;

/// Weights of list, create, set and multi, and how long a name is.
pub trait Mostly {
    const WEIGHTS: [u64; 4];
    const NAME: usize;
    /// Whether a multi writes twice instead of reading ten times.
    const WRITES: bool;
}

pub struct Keeper<M> {
    root: String,
    rng: Rng,
    next: u64,
    /// What each client has created and not removed, and what it creates or removes now.
    made: Vec<VecDeque<String>>,
    creating: Vec<Option<String>>,
    mostly: PhantomData<M>,
}

impl<M: Mostly> Keeper<M> {
    fn node(&mut self) -> String {
        format!("{}/dir-{}/node-{}", self.root, self.rng.below(WIDE), self.rng.below(WIDE))
    }

    fn name(&mut self, dir: &str) -> String {
        self.next += 1;
        format!("{}/{dir}/{:0width$}", self.root, self.next, width = M::NAME)
    }
}

impl<T: Talk, M: Mostly> Mix<T> for Keeper<M> {
    const LANES: &'static [&'static str] = &["list", "create", "set", "multi"];

    fn prepare(party: &mut Party<'_, T>, first: usize) -> Result<Keeper<M>, Trouble> {
        // Each run has a tree of its own: what another left would be in its lists.
        let root = format!("{}/keeper-{}", party.make_root(first)?, run_number());
        let mut tree = vec![root.clone(), format!("{root}/multi")];
        tree.extend((0..WIDE).map(|leaf| format!("{root}/leaf-{leaf}")));
        for dir in 0..WIDE {
            tree.push(format!("{root}/dir-{dir}"));
            tree.extend((0..WIDE).map(|node| format!("{root}/dir-{dir}/node-{node}")));
        }
        for key in &tree {
            party.demand(first, Ask::Make { key, ephemeral: false }, "make the tree")?;
        }
        let clients = party.plan.conns;
        Ok(Keeper {
            root,
            rng: Rng::new(party.plan.seed),
            next: 0,
            made: vec![VecDeque::new(); clients],
            creating: vec![None; clients],
            mostly: PhantomData,
        })
    }

    fn ask(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize) -> usize {
        let member = first + nth;
        let mut drawn = self.rng.below(M::WEIGHTS.iter().sum());
        let lane = M::WEIGHTS.iter().position(|weight| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let lane = lane.expect("below the sum of all");
        match lane {
            0 => {
                let dir = format!("{}/dir-{}", self.root, self.rng.below(WIDE));
                crowd.ask(member, Ask::List { below: &dir, limit: 0, stale: false }, MIX);
            }
            1 => {
                let removed = if self.rng.chance(REMOVE) { self.made[nth].pop_front() } else { None };
                if let Some(key) = removed {
                    crowd.ask(member, Ask::Drop(&key), MIX);
                } else {
                    let dir = format!("dir-{}", self.rng.below(WIDE));
                    let key = self.name(&dir);
                    crowd.ask(member, Ask::Make { key: &key, ephemeral: false }, MIX);
                    self.creating[nth] = Some(key);
                }
            }
            2 => {
                let key = self.node();
                crowd.ask(member, Ask::Put(&key), MIX);
            }
            _ if M::WRITES => {
                let drawn: Vec<(bool, String)> = (0..2)
                    .map(|_| match self.rng.chance(0.5) {
                        true => (true, self.name("multi")),
                        false => (false, self.node()),
                    })
                    .collect();
                let mut parts: Vec<Part<'_>> = drawn
                    .iter()
                    .map(|(make, key)| if *make { Part::Make(key) } else { Part::Put(key) })
                    .collect();
                if drawn[0].1 == drawn[1].1 {
                    parts.truncate(1); // etcd and Consul take a key once.
                }
                crowd.ask(member, Ask::All(&parts), MIX);
            }
            _ => {
                let keys: Vec<String> = (0..GETS).map(|_| self.node()).collect();
                let parts: Vec<Part<'_>> = keys.iter().map(|key| Part::Get(key)).collect();
                crowd.ask(member, Ask::All(&parts), MIX);
            }
        }
        lane
    }

    fn on_done(&mut self, _: &mut Crowd<T>, _first: usize, nth: usize, code: i32, _value: i64) -> Outcome {
        if let Some(key) = self.creating[nth].take()
            && matches!(code, 0 | NODE_EXISTS)
        {
            self.made[nth].push_back(key);
        }
        Outcome::of(code)
    }
}
