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

/// Found by reading: a node whose snapshot turned out to be damaged while it was being elected led without a state.
#[test]
fn a_node_that_loses_its_state_while_it_stands_does_not_lead() {
    let mut world = Small::new(3);
    world.run(3_000);
    let gone = world.leader();
    world.cut = vec![gone];
    let now = world.now;
    let (first, second) = (NodeId(gone.0 % 3 + 1), NodeId((gone.0 + 1) % 3 + 1));
    world.node(first).on_link_down(now, gone, true);
    world.node(second).on_link_down(now, gone, true);
    let stands = |world: &Small| world.nodes.iter().find(|node| node.stands().is_some()).map(Replica::me);
    while stands(&world).is_none() {
        assert!(world.step());
    }
    let candidate = stands(&world).expect("just seen");
    world.node(candidate).on_load_failed(now, Index(0), "it is damaged");
    world.run(1_000);
    assert!(!world.node(candidate).is_leader());
}

/// Found by reading: the last part of a snapshot came after this node had begun to ask for leave to stand, and the leave
/// after that: it stood with a log that was about to be replaced.
#[test]
fn a_node_that_is_about_to_get_another_log_does_not_stand() {
    let (mut node, batches) = damaged(&[], &[]);
    append_from_leader(&mut node, &batches[7..]);
    let base = Base::of(batches[5].head());
    let config = Config::of_voters(3);
    let offer = Msg::Offer { epoch: Epoch(1), leads: true, base, length: 8, config, config_at: Index(0) };
    node.on_message(Nanos(2), FIRST, offer);
    let later = node.deadline();
    node.on_tick(later);
    assert!(node.is_asking());
    let bytes = vec![0; 8];
    node.on_message(later, FIRST, Msg::Part { epoch: Epoch(1), index: base.index, offset: 0, bytes });
    node.on_message(later, FIRST, Msg::PreVoted { epoch: Epoch(2), granted: true });
    assert_eq!((node.promised(), node.stands()), (Epoch(1), None));
}

/// Seed 141: the word that a snapshot had been installed was lost with a connection, and what was said from then on was
/// that less had come, so the leader waited for ever.
#[test]
fn what_a_fetched_snapshot_stands_for_has_arrived() {
    let (mut node, batches) = damaged(&[], &[]);
    append_from_leader(&mut node, &batches[7..]);
    let base = Base { index: Index(12), ..Base::of(batches[7].head()) };
    let config = Config::of_voters(3);
    let offer = Msg::Offer { epoch: Epoch(1), leads: true, base, length: 8, config, config_at: Index(0) };
    node.on_message(Nanos(2), FIRST, offer);
    let bytes = vec![0; 8];
    node.on_message(Nanos(3), FIRST, Msg::Part { epoch: Epoch(1), index: base.index, offset: 0, bytes });
    assert!(node.on_fetched_snapshot(Nanos(4), base.index, true));
    node.on_loaded(Nanos(5));
    node.on_restarted(Nanos(6));
    node.poll_effects().for_each(drop); // The connection breaks.
    let arrived = |effect: &Effect| matches!(effect, Effect::Send { msg: Msg::Appended { received, .. }, .. } if *received == base.index);
    assert!(append_from_leader(&mut node, &batches[3..4]).iter().any(arrived));
}

/// Found with a full disk, on a slow machine: a snapshot that could not be written was fetched again at once, 130 times
/// a second.
#[test]
fn a_snapshot_that_cannot_be_written_is_not_fetched_again_at_once() {
    let (mut node, batches) = damaged(&[6], &[]);
    let base = Base::of(batches[5].head());
    let fetched = |node: &mut Replica, now: Nanos| {
        let config = Config::of_voters(3);
        let offer = Msg::Offer { epoch: Epoch(1), leads: true, base, length: 8, config, config_at: Index(0) };
        node.on_message(now, FIRST, offer);
        let wanted = |effect| matches!(effect, Effect::Send { msg: Msg::Want { .. }, .. });
        node.poll_effects().any(wanted)
    };
    append_from_leader(&mut node, &batches[7..]);
    assert!(fetched(&mut node, Nanos(2)));
    assert!(node.on_fetched_snapshot(Nanos(3), base.index, false));
    assert!(!fetched(&mut node, Nanos(4)));
    let rested = Nanos(3).plus(node.options.timing.patience);
    assert!(fetched(&mut node, rested));
}

/// Found by reading: of too many disks the one of the lowest node was forgotten, however old its friends were, and an old
/// copy of it would have been listened to.
#[test]
fn a_member_is_not_forgotten_for_the_sake_of_strangers() {
    let mut world = Small::new(3);
    world.run(3_000);
    let member = world.nodes[0].voice();
    let node = &mut world.nodes[2];
    let standing =
        |promised| Standing { life: crate::base::Life(9), promised: Epoch(promised), last: Index(1_000) };
    assert!(node.on_hello(member, standing(90)).is_ok());
    for stranger in 1..200 {
        let voice = Voice { id: NodeId(9), incarnation: Incarnation(stranger) };
        assert!(node.on_hello(voice, standing(1)).is_ok());
    }
    assert!(node.on_hello(member, standing(80)).is_err(), "an old copy of its disk was put back");
}
