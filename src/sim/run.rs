//! One seed from start to end, and what it came to.

use crate::sim::tally::Tally;
use crate::sim::world::World;

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
pub fn run(seed: u64, print: bool) -> Run {
    let mut world = World::new(seed);
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
        for seed in 1..=6 {
            let (first, second) = (run(seed, false), run(seed, false));
            assert_eq!((first.hash, &first.failure), (second.hash, &second.failure), "seed {seed}");
        }
        assert_ne!(run(1, false).hash, run(2, false).hash);
    }
}
