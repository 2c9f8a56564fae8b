//! What a node whose disk is full or damaged asks of the others.

use super::*;

/// Seed 137: with its memory full a node let go of what it had read for a peer before that peer asked again, and
/// three nodes with a damaged batch each waited for one another for ever.
#[test]
fn a_batch_that_a_peer_asks_for_goes_out_when_the_disk_has_read_it() {
    let (mut node, batches) = damaged(&[], &[]);
    node.on_message(Nanos(1), FIRST, Msg::Ask { index: Index(5) });
    let fetched = |effect: &Effect| matches!(effect, Effect::Store(StoreIn::Fetch { from: Index(5), .. }));
    assert!(node.poll_effects().any(|effect| fetched(&effect)));
    node.on_fetched(Nanos(2), 1, &batches[4..5]);
    node.evict(Index(9));
    let sent = |effect: &Effect| matches!(effect, Effect::Send { to: NodeId(1), msg: Msg::Have { batch } } if batch.index() == Index(5));
    assert!(node.poll_effects().any(|effect| sent(&effect)));
    node.on_fetched(Nanos(3), 1, &batches[4..5]);
    assert!(!node.poll_effects().any(|effect| sent(&effect)), "nobody asked for it twice");
}

/// Seeds 232 and 257: a disk was full when the snapshot was due, the log filled up to its last segment, and the next
/// snapshot lay behind what did not fit any more.
#[test]
fn a_log_that_stays_full_asks_for_a_snapshot_in_its_place() {
    let mut world = Small::new(3);
    world.run(4000);
    let leader = world.leader();
    let follower = NodeId(leader.0 % 3 + 1);
    let now = world.now;
    world.node(follower).on_full(now, true);
    let refused = world.propose(leader);
    world.run(2000);
    assert!(world.node(follower).last() < refused);
    assert!(!world.node(leader).is_snapshot_wanted());
    world.run(4000);
    assert!(world.node(leader).is_snapshot_wanted(), "there is none above what the follower has");
}
