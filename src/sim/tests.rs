//! What operators are promised of a node that fails alone, in worlds where nothing else goes wrong.

use crate::base::{Nanos, NodeId, Rng};
use crate::sim::disk::Habits;
use crate::sim::faults::{Fault, Swarm};
use crate::sim::net::Weather;
use crate::sim::world::World;

/// Three voters, and nothing that disturbs them.
fn calm(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let mut swarm = Swarm::draw(&mut rng);
    (swarm.voters, swarm.cursed, swarm.kinds) = (3, None, vec![Fault::WallJump]);
    (swarm.habits, swarm.weather) = (Habits::default(), Weather::default());
    (swarm.puts_back, swarm.is_doomed) = (false, false);
    swarm.faults = u64::MAX; // So the storm, of wall clocks only, lasts its ten seconds.
    World::of(seed, swarm, rng)
}

fn until(world: &mut World, what: &str, is_so: impl Fn(&World) -> bool) {
    while !is_so(world) {
        assert!(world.step(), "the run ended, and still not: {what}; {:?}", world.failure);
    }
}

/// Goal: a replica whose state differs from that of all others stops, and says what to do.
#[test]
fn a_replica_whose_state_differs_is_quarantined() {
    let mut world = calm(7);
    until(&mut world, "clients are served", |world| world.clients.acked > 100);
    world.machine(NodeId(2)).process.as_mut().expect("it runs").core.apply.tamper();
    while world.step() {}
    let why = world.failure.clone().expect("it stops");
    for word in
        ["node 2 halts", "this replica's state differs from that of 2 others", "quarantined", "wipe it"]
    {
        assert!(why.contains(word), "{why}");
    }
}

/// Goal (34): a leader that cannot write makes way within one election time-out, and says what failed.
#[test]
fn a_leader_whose_disk_fails_makes_way() {
    for seed in 1..=8 {
        let mut world = calm(seed);
        until(&mut world, "clients are served", |world| {
            world.clients.acked > 100 && world.leader().is_some()
        });
        let old = world.leader().expect("just seen");
        world.machine(old).disk.habits.dead = true;
        let since = world.now;
        let patience = Nanos::from_millis(world.swarm.patience_ms);
        until(&mut world, "it stops with its disk", |world| world.tally.halts == 1);
        assert!(world.now.since(since) < Nanos(2 * patience.0), "seed {seed}");
        until(&mut world, "another leads", |world| world.leader().is_some_and(|leader| leader != old));
        assert!(world.now.since(since) < Nanos(10 * 2 * patience.0), "seed {seed}");
        assert_eq!(world.failure, None, "seed {seed}");
    }
}
