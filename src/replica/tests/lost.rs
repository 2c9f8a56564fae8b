//! What has to be had from others where nobody leads, and what is said when nobody has it. And full logs, in which what
//! is needed stands behind what does not fit.

use super::*;
use crate::replica::{Refusal, install};

fn base_at(node: &Replica, index: u64) -> Base {
    let head = node.log().head(Index(index)).unwrap();
    Base::of(head)
}

fn sends(node: &mut Replica) -> Vec<Msg> {
    let sent = |effect| match effect {
        Effect::Send { msg, .. } => Some(msg),
        _ => None,
    };
    node.poll_effects().filter_map(sent).collect()
}

/// Seed 9132: two nodes had lost different slots, and each had what the other lacked, above its own lost one.
#[test]
fn a_batch_above_a_lost_slot_is_given_to_whoever_asks() {
    let (mut node, batches) = damaged(&[], &[3]);
    node.on_message(Nanos(1), FIRST, Msg::Ask { index: Index(3) });
    assert!(sends(&mut node).is_empty(), "that one it has not got");
    node.on_message(Nanos(1), FIRST, Msg::Ask { index: Index(5) });
    node.on_fetched(Nanos(2), 1, &batches[4..5]);
    assert!(
        sends(&mut node).iter().any(|msg| matches!(msg, Msg::Have { batch } if batch.index() == Index(5)))
    );
}

/// Seed 9780: the only node whose log allowed it to lead had lost its snapshot, and only leaders gave any.
#[test]
fn a_snapshot_comes_from_anybody_where_nobody_leads() {
    let (mut giver, _) = damaged(&[], &[]);
    let base = base_at(&giver, 6);
    giver.on_snapshot(Nanos(1), base);
    giver.recycle = base.index;
    sends(&mut giver);
    giver.on_message(Nanos(1), FIRST, Msg::Need { epoch: Epoch(1), above: Index(0) });
    let offers = sends(&mut giver);
    let offer = offers.into_iter().find(|msg| matches!(msg, Msg::Offer { leads: false, .. })).unwrap();

    let (mut taker, _) = damaged(&[], &[]);
    taker.on_load_failed(Nanos(1), Index(0), "it is damaged");
    sends(&mut taker);
    taker.on_message(Nanos(2), FIRST, offer);
    assert!(sends(&mut taker).iter().any(|msg| matches!(msg, Msg::Want { index: Index(6), .. })));
    assert_eq!(taker.leader(), None, "whoever gives it does not lead by that");
    let bytes = vec![0; install::PART];
    taker.on_message(Nanos(3), FIRST, Msg::Part { epoch: Epoch(0), index: base.index, offset: 0, bytes });
}

#[test]
#[should_panic(expected = "no other member has a whole one")]
fn when_every_snapshot_is_lost_somebody_says_so() {
    let mut world = Small::new(3);
    world.nodes.iter_mut().for_each(|node| node.stateless = true);
    world.run(20_000);
}

/// Seed 39.
#[test]
fn alone_a_node_without_its_snapshot_says_so() {
    let mut world = Small::new(1);
    world.nodes[0].stateless = true;
    let deadline = world.nodes[0].deadline();
    world.nodes[0].on_tick(deadline);
    assert!(world.nodes[0].poll_effects().any(|effect| matches!(effect, Effect::Halt(_))));
}

/// Seed 1191.
#[test]
fn no_change_of_members_goes_into_a_full_log() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let now = world.now;
    let node = world.node(leader);
    let four = node.config().with(Member::new(NodeId(4), Incarnation(4), Role::Learner, ""));
    node.on_full(now, true);
    assert_eq!(node.propose_config(now, 0, &four), Err(Refusal::Full));
    node.on_full(now, false);
    assert!(node.propose_config(now, 0, &four).is_ok());
}

/// Seed 7028: what the leader cannot decide without this node is taken in the end; the rest is not.
#[test]
fn a_full_log_takes_what_is_not_decided_after_a_while() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let others: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|&id| id != leader).collect();
    let now = world.now;
    others.iter().for_each(|&id| world.node(id).on_full(now, true));
    let index = world.propose(leader);
    world.run(900);
    assert!(others.iter().all(|&id| world.node(id).last() < index));
    world.run(4_000);
    let leader = world.leader();
    assert!(world.node(leader).commit() >= index, "both had to take it, or nobody could have decided");
}

/// Found by reading: a slot lost below a snapshot that everybody has recycled to was waited for, for ever.
#[test]
fn a_slot_lost_below_the_own_snapshot_is_not_waited_for() {
    let (mut node, batches) = damaged(&[], &[3]);
    let head = batches[5].head();
    let base = Base::of(head);
    node.on_snapshot(Nanos(1), base);
    assert!(node.next_base(0, true).is_none(), "nothing says yet that it is committed");
    let config = Config::of_voters(3);
    let offer = Msg::Offer { epoch: Epoch(1), leads: true, base, length: 8, config, config_at: Index(0) };
    node.on_message(Nanos(2), FIRST, offer);
    let bytes = vec![0; 8];
    node.on_message(Nanos(3), FIRST, Msg::Part { epoch: Epoch(1), index: base.index, offset: 0, bytes });
    assert!(node.on_fetched_snapshot(Nanos(4), base.index, true));
    node.on_loaded(Nanos(5));
    assert_eq!((node.durable(), node.log().first_missing()), (Index(8), None));
    node.on_durable(Nanos(7), Index(8));
    assert_eq!(node.durable(), Index(8));
}

/// Found by seeds 76 and 119: a snapshot that failed to load stopped the node, though others had it.
#[test]
fn a_snapshot_that_cannot_be_loaded_is_asked_for_again() {
    let (mut node, _) = damaged(&[], &[]);
    let append = |node: &mut Replica| {
        let msg = Msg::Append {
            epoch: Epoch(1),
            probe: 2,
            commit: Index(0),
            prev: node.last(),
            prev_epoch: Epoch(1),
            prev_chain: node.log().chain(node.last()).unwrap(),
            recycle: Index(0),
            kept: Index(0),
            answer: true,
            batches: vec![],
        };
        node.on_message(Nanos(1), FIRST, msg);
        let effects: Vec<Effect> = node.poll_effects().collect();
        effects.iter().any(|e| matches!(e, Effect::Send { msg: Msg::Need { .. }, .. }))
    };
    assert!(!append(&mut node));
    node.on_load_failed(Nanos(1), Index(0), "it is damaged");
    assert!(node.is_stateless());
    assert!(append(&mut node), "a node without a state says so");
}

/// What each lacks another could have given it, and none of them can: a batch is lost on one, the snapshot over it on
/// another, and the third came to neither. All waited, and nobody said for what.
#[test]
fn a_cluster_that_nobody_can_lead_says_so_once() {
    let batches = unknown::chain_of(8);
    let node = |world: &Small, id: u8, base: usize, slots: &[SlotState]| {
        let fresh = world.formatted(NodeId(id), Incarnation(id.into()), Config::of_voters(3), 3);
        let mut marks = Marks { promised: Epoch(1), ..fresh.marks() };
        if base > 0 {
            marks.base = Base::of(batches[base - 1].head());
        }
        let heads =
            batches[base..].iter().map(|batch| Some(*batch.head())).zip(slots.iter().copied()).collect();
        let found = Found { marks, heads, configs: vec![], debris: vec![], stateless: base > 0 };
        let mut node = Replica::new(fresh.options(), found, Nanos(0));
        (1..=3).filter(|&other| other != id).for_each(|other| node.on_link_up(Nanos(0), NodeId(other)));
        node
    };
    let (here, lost) = (SlotState::Present, SlotState::Unknown { torn: false });
    let mut world = Small::new(3);
    world.nodes = vec![
        node(&world, 1, 0, &[here, here, here, here, lost, here, here, here]),
        node(&world, 2, 6, &[here, here]),
        node(&world, 3, 0, &[here, here, here]),
    ];
    world.run(20_000);
    assert_eq!(world.told.len(), world.nodes.iter().filter(|node| node.impasse().is_some()).count());
    assert!(!world.told.is_empty(), "somebody says it");
    for told in &world.told {
        for word in
            ["node 1 has lost batch 5", "node 2 has lost the snapshot", "node 3 ends at batch 3", "restore"]
        {
            assert!(told.contains(word), "{told}");
        }
    }
    // Something has changed, and still nobody can lead: that is told anew.
    let before = world.told.len();
    world.cut = vec![NodeId(3)];
    world.run(20_000);
    assert!(
        world.told.len() > before && world.told[before].contains("node 3 does not answer"),
        "{:?}",
        world.told
    );
    // The disk has come back.
    world.cut.clear();
    world.nodes[1].stateless = false;
    world.run(20_000);
    assert!(world.nodes[1].is_leader());
    assert!(world.nodes.iter().all(|node| node.impasse().is_none()));
}

/// Those who wait for a majority to come back know no more than that: nothing is said of their logs.
#[test]
fn a_minority_does_not_judge() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    world.cut = vec![leader, NodeId(leader.0 % 3 + 1)];
    world.run(20_000);
    assert!(world.told.is_empty(), "{:?}", world.told);
}
