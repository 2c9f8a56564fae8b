//! Reads by the leader's clock, and what has to stand still for them.

use super::*;
use crate::replica::core::State;
use crate::replica::lease::Heard;

const MS: u64 = 1_000_000;

impl Small {
    /// Three nodes with the lease on, a leader that has it, and the other two.
    fn leased() -> (Small, NodeId, [NodeId; 2]) {
        let mut world = Small::new(3);
        world.nodes.iter_mut().for_each(|node| node.options.timing.lease = true);
        world.run(4000);
        let leader = world.leader();
        let soon = Nanos(world.now.0 + 100 * MS);
        assert!(world.node(leader).has_lease(soon));
        let others = [1, 2, 3].map(NodeId).into_iter().filter(|&id| id != leader);
        (world, leader, others.collect::<Vec<_>>().try_into().unwrap())
    }

    /// Who has answered read `id` at `at`, and for the leader's side nobody is asked.
    fn reads_alone(&mut self, at: NodeId, id: u64) -> bool {
        let now = self.now;
        self.node(at).read(now, id);
        self.node(at).on_tick(Nanos(now.0 + 1));
        self.node(at)
            .poll_effects()
            .any(|effect| matches!(effect, Effect::ReadReady { id: of, .. } if of == id))
    }
}

#[test]
fn a_leader_that_was_answered_reads_alone_and_only_for_so_long() {
    let (mut world, leader, _) = Small::leased();
    world.cut = vec![leader]; // It hears nobody from here on.
    assert!(world.reads_alone(leader, 1));
    world.now = Nanos(world.now.0 + 500 * MS);
    assert!(world.reads_alone(leader, 2));
    world.now = Nanos(world.now.0 + 200 * MS); // Three quarters of 900 ms have passed since it was last answered.
    assert!(!world.reads_alone(leader, 3));
}

/// Stopped between the clock and the socket, a leader would answer what came after its lease had ended.
#[test]
fn a_read_waits_for_a_later_look_at_the_clock() {
    let (mut world, leader, _) = Small::leased();
    let now = world.now;
    let node = world.node(leader);
    node.read(now, 1);
    node.on_tick(now);
    let ready = |effect: &Effect| matches!(effect, Effect::ReadReady { .. });
    assert!(!node.poll_effects().any(|effect| ready(&effect)));
    assert_eq!(node.deadline(), now.plus(Nanos(1)), "it asks for that look");
    node.on_tick(now.plus(Nanos(1)));
    assert!(node.poll_effects().any(|effect| ready(&effect)));
}

#[test]
fn a_refused_port_does_not_end_what_binds_a_follower() {
    let (mut world, leader, [one, two]) = Small::leased();
    world.cut = vec![leader];
    let heard = world.now;
    for follower in [one, two] {
        world.node(follower).on_link_down(heard, leader, true);
    }
    world.run(700);
    assert!(world.nodes.iter().all(|node| node.me() == leader || !node.is_leader()), "{:?}", world.now);
    world.run(1200);
    assert_ne!(world.leader(), leader);
}

/// Without the lease the same hint brings a new leader at once.
#[test]
fn without_the_lease_a_refused_port_is_news() {
    let mut world = Small::new(3);
    world.run(4000);
    let leader = world.leader();
    world.cut = vec![leader];
    let now = world.now;
    for follower in [1, 2, 3].map(NodeId).into_iter().filter(|&id| id != leader) {
        world.node(follower).on_link_down(now, leader, true);
    }
    world.run(100);
    assert_ne!(world.leader(), leader);
}

#[test]
fn a_node_that_has_just_started_helps_nobody_for_a_while() {
    let (mut world, leader, [one, two]) = Small::leased();
    let now = world.now;
    world.cut = vec![leader];
    // Restarted, it knows of no leader; the other one has waited long enough and asks.
    world.nodes[one.0 as usize - 1].listened = Heard::at_start(now);
    let (epoch, claim) = (Epoch(world.node(two).promised().0 + 1), world.node(two).claim());
    let voice = world.node(two).voice();
    let ask = Msg::Vote { epoch, claim, resolve: false, transfer: false };
    world.node(one).state = State::Follower { leader: None };
    world.node(one).on_message(now, voice, ask.clone());
    assert!(world.node(one).promised() < epoch, "it is bound by what it may have said before");
    world.node(one).on_tick(Nanos(now.0 + 10 * MS));
    world.node(one).on_message(Nanos(now.0 + 1000 * MS), voice, ask);
    assert_eq!(world.node(one).promised(), epoch);
}

/// Found by reading: only a candidate whose epoch was news was refused. One that this node had heard of already, from
/// somebody who had promised it, got its vote, and led while the leader before still answered by its clock.
#[test]
fn whoever_is_bound_votes_for_nobody_in_an_epoch_that_it_knows_either() {
    let (mut world, leader, [one, two]) = Small::leased();
    let now = world.now;
    world.cut = vec![leader];
    let epoch = Epoch(world.node(two).promised().0 + 1);
    let (claim, voice) = (world.node(two).claim(), world.node(two).voice());
    let word = Msg::Voted { epoch, granted: false, claim, unsure: None, torn: false, stateless: false };
    world.node(one).on_message(now, voice, word);
    assert_eq!(world.node(one).promised(), epoch);
    let ask = |transfer| Msg::Vote { epoch, claim, resolve: false, transfer };
    world.node(one).on_message(now, voice, ask(false));
    assert_eq!(world.node(one).vote(), None);
    world.node(one).on_message(now, voice, ask(true));
    assert_eq!(world.node(one).vote(), Some(voice), "the leader has sent this one");
}

#[test]
fn a_lease_ends_when_an_heir_is_told() {
    let (mut world, leader, [heir, _]) = Small::leased();
    let now = world.now;
    let node = world.node(leader);
    node.transfer(now, heir).unwrap();
    node.flush(now);
    assert!(node.poll_effects().any(|e| matches!(e, Effect::Send { msg: Msg::TakeOver { .. }, .. })));
    // The word is on its way; whoever hears it stands with everybody's leave, also much later.
    assert!(!world.reads_alone(leader, 1));
    world.run(100);
    assert!(!world.node(leader).has_lease(Nanos(now.0 + 100 * MS)), "nor is it renewed");
}

#[test]
fn who_has_the_lease_off_binds_itself_to_nobody() {
    let (mut world, leader, [one, two]) = Small::leased();
    for follower in [one, two] {
        world.node(follower).options.timing.lease = false;
    }
    world.run(1000);
    assert!(!world.reads_alone(leader, 1));
    // Asked the ordinary way it is answered.
    world.run(10);
    assert!(world.reads.iter().any(|&(at, id, index)| (at, id) == (leader, 1) && index.is_some()));
}

/// Seed 352: a read that came while the lease stood and was looked at after it had lapsed asked for a look at the
/// clock, again and again.
#[test]
fn a_read_that_a_lease_did_not_live_to_answer_goes_the_long_way() {
    let (mut world, leader, _) = Small::leased();
    world.cut = vec![leader];
    let later = Nanos(world.now.0 + 800 * MS);
    let now = world.now;
    let node = world.node(leader);
    node.read(now, 1);
    node.on_tick(later);
    assert!(node.deadline() > later, "{:?}", node.deadline());
}
