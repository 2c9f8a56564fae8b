//! What operators are promised of a node that fails alone, in worlds where nothing else goes wrong.

use crate::base::{Index, Nanos, NodeId, Rng};
use crate::journal::{self, Expect};
use crate::pipeline::ports::File;
use crate::sim::disk::Habits;
use crate::sim::faults::{Fault, Swarm};
use crate::sim::machine::CLUSTER;
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

/// A batch is lost on one node, the snapshot over it on another, and the third came to neither: each of these losses the
/// others make good, and all together nobody does. Nobody stops, so nobody used to say anything.
#[test]
fn a_cluster_that_nobody_can_lead_says_so() {
    let [holder, saver, late] = [1, 2, 3].map(NodeId);
    let (mut world, lost) = (1..50).find_map(|seed| bereft(seed, [holder, saver, late])).expect("one fits");
    while world.step() {}
    assert_eq!(world.failure, None);
    assert_eq!((world.tally.impasses, world.leader()), (1, None));
    let said = world.machines.iter().find_map(|machine| machine.replica()?.impasse()).expect("counted");
    let words = [
        format!("node {holder} has lost batch {lost}"),
        format!("node {saver} has lost the snapshot"),
        format!("the log of node {late} ends"),
    ];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

/// They come back from a loss of power so, if the disk of one stood on an earlier snapshot than the other's.
fn bereft(seed: u64, [holder, saver, late]: [NodeId; 3]) -> Option<(World, Index)> {
    let mut world = calm(seed);
    until(&mut world, "clients are served", |world| world.clients.acked > 100 && world.leader().is_some());
    world.kill(late, true);
    let place = |node: NodeId| usize::from(node.0) - 1;
    let ended = world.machines[place(saver)].replica()?.last();
    world.machine(holder).disk.habits.slowness = 20;
    let base = |world: &World, node| {
        let store = &world.machines[place(node)].process.as_ref().expect("it runs").core.store;
        store.log().sup().marks.base.index
    };
    until(&mut world, "one stands on a later snapshot than the other", |world| {
        base(world, holder) > ended && base(world, saver) > base(world, holder)
    });
    let lost = base(&world, saver);
    let lies = world.machines[place(holder)].process.as_ref()?.core.store.log().place(lost)?;
    world.kill(holder, true);
    world.kill(saver, true);
    let expect = Expect { cluster: Some(CLUSTER), node: Some(holder) };
    let params = world.swarm.params;
    let disk = &mut world.machine(holder).disk;
    disk.habits.slowness = 1;
    let found = journal::examine(disk, &params, expect).ok()?;
    let whole = found.log.slot(lost).is_some_and(|slot| slot.is_present());
    disk.flip(File::Segment(lies.file), lies.body_offset(), 0);
    world.machine(saver).disk.flip(File::Snapshot(lost), 0, 0);
    [holder, saver, late].into_iter().for_each(|node| world.start_after(node, Nanos::from_millis(10)));
    (found.sup.marks.base.index < lost && whole).then_some((world, lost))
}
