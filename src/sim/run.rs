//! One seed from start to end, and what it came to.

use crate::sim::tally::Tally;
use crate::sim::world::World;

/// Which worlds the seeds are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Nodes and clients of the register realm.
    #[default]
    Plain,
    /// ZooKeeper sessions besides.
    Sessions,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    /// Names the whole course of events: equal for equal seeds.
    pub hash: u64,
    pub failure: Option<String>,
    pub tally: Tally,
    /// What the world looked like, in a line.
    pub shape: String,
}

/// Runs the world of this seed. With `print`, line by line.
pub fn run(scheme: Scheme, seed: u64, print: bool) -> Run {
    let mut world = match scheme {
        Scheme::Plain => World::new(seed),
        Scheme::Sessions => World::with_guests(seed),
    };
    world.trace.print = print;
    if print {
        println!("{:#?}", world.swarm);
    }
    world.run();
    world.close_books();
    let shape = format!(
        "{} voters, {} operations answered, {} faults, {} crashes in {:.1} s",
        world.swarm.voters,
        world.clients.acked,
        world.tally.faults,
        world.tally.crashes,
        world.now.0 as f64 / 1e9
    );
    Run { seed, hash: world.trace.hash, failure: world.failure.take(), tally: world.tally.clone(), shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is random comes from the seed: a failure can be replayed.
    #[test]
    fn a_seed_run_twice_is_the_same_run() {
        for (scheme, seed) in
            [Scheme::Plain, Scheme::Sessions].into_iter().flat_map(|s| (1..=4).map(move |n| (s, n)))
        {
            let (first, second) = (run(scheme, seed, false), run(scheme, seed, false));
            assert_eq!((first.hash, &first.failure), (second.hash, &second.failure), "{scheme:?} {seed}");
        }
        assert_ne!(run(Scheme::Plain, 1, false).hash, run(Scheme::Plain, 2, false).hash);
    }
}
