//! Members that were away, and what the others keep for them.

use super::*;

/// A leader, a follower that was away for 40 batches, and the other one; all of it decided and applied.
fn one_was_away() -> (Small, NodeId, NodeId, NodeId) {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let (away, other) = (NodeId(leader.0 % 3 + 1), NodeId((leader.0 + 1) % 3 + 1));
    world.cut = vec![away];
    for _ in 0..40 {
        world.propose(leader);
    }
    world.run(300);
    for id in [leader, other] {
        assert_eq!(world.node(id).commit(), Index(41));
        world.node(id).applied = Index(41);
    }
    (world, leader, away, other)
}

/// Found by killing leaders: what was read for a follower was the oldest in a memory that was full, so it went
/// first, and every message of a few batches cost a read of a megabyte. Two seconds without a leader's majority.
#[test]
fn what_the_disk_has_read_for_a_laggard_outlives_a_full_memory() {
    let (mut world, leader, away, _) = one_was_away();
    world.disk =
        (1..=41).map(|index| world.node(leader).batch(Index(index)).expect("in memory").clone()).collect();
    world.node(leader).options.cache_bytes = 0;
    world.node(leader).evict(Index(41));
    assert!(world.node(leader).batch(Index(40)).is_none());
    world.cut.clear();
    world.run(3_000);
    assert_eq!(world.node(away).last(), Index(41));
    assert!(world.fetches <= 2, "{} reads for 40 batches", world.fetches);
}

/// Seed 4296: the word that it wanted the snapshot was lost with the follower's connection, the leader's own one stood,
/// and the leader waited for it for ever.
#[test]
fn who_does_not_fetch_what_it_was_offered_is_asked_anew() {
    let (mut world, leader, away, other) = one_was_away();
    let now = world.now;
    for id in [leader, other] {
        let base = Base::of(world.node(id).log().head(Index(20)).expect("it is there"));
        world.node(id).on_snapshot(now, base);
    }
    world.run(300);
    let place = world.node(leader).peers.iter().position(|peer| peer.id == away).expect("a member");
    world.node(leader).peers[place].probe_from(Index(1)); // It said once that it had nothing.
    world.node(leader).offer_snapshot(now, place);
    world.run(10); // It does not get there.
    world.cut.clear();
    world.run(10_000);
    assert_eq!(world.node(away).last(), Index(41));
}

/// Found by reading: whoever asked for a snapshot was given no time to begin with it. Its next heartbeat's answer, after
/// long silence, had the leader take the offer for lost.
#[test]
fn who_asks_for_a_snapshot_has_a_patience_to_fetch_it() {
    let (mut world, leader, away, other) = one_was_away();
    for id in [leader, other] {
        let base = Base::of(world.node(id).log().head(Index(20)).expect("it is there"));
        let now = world.now;
        world.node(id).on_snapshot(now, base);
    }
    world.run(1_000); // They hear of each other's.
    let (now, from) = (world.now, world.node(away).voice());
    let node = world.node(leader);
    let place = node.peers.iter().position(|peer| peer.id == away).expect("a member");
    (node.peers[place].moved_at, node.peers[place].matched) = (Nanos(0), Index(1));
    let epoch = node.promised();
    node.on_message(now, from, Msg::Need { epoch, above: Index(0) });
    assert_eq!(node.peers[place].mode, crate::replica::peer::Mode::Snapshot(Index(20)));
    let (received, durable, snapshot) = (Index(1), Index(1), Index(0));
    node.on_message(now, from, Msg::Appended { epoch, probe: 0, received, durable, snapshot, binds: 0 });
    assert_eq!(node.peers[place].mode, crate::replica::peer::Mode::Snapshot(Index(20)), "it fetches that");
}

#[test]
fn the_log_that_a_member_lacks_is_kept_as_far_as_there_is_room() {
    let (mut world, leader, _, other) = one_was_away();
    let now = world.now;
    for at in [10, 20] {
        for id in [leader, other] {
            let head = *world.node(id).log().head(Index(at)).expect("it is there");
            let base = Base::of(&head);
            world.node(id).on_snapshot(now, base);
        }
    }
    world.run(300);
    for id in [leader, other] {
        let node = world.node(id);
        let next = |node: &Replica, room| node.next_base(0, room).map(|base| base.index);
        assert_eq!((next(node, true), next(node, false)), (None, Some(Index(20))), "node {id}");
        node.set_floor(Index(10)); // There is no room for what lies below.
        assert_eq!(next(node, true), Some(Index(10)), "node {id}");
    }
    world.cut.clear();
    world.run(3_000);
    for id in [leader, other] {
        assert_eq!(world.node(id).next_base(0, true).map(|base| base.index), Some(Index(20)), "node {id}");
    }
}
