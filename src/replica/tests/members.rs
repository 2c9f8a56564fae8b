//! Who is a member: incarnations, founders that have not met, plans of changes.

use super::*;
use crate::base::Life;

const OTHER: Incarnation = Incarnation(33);

impl Small {
    /// Node `id` comes back with an empty disk, formatted to join.
    fn wipe(&mut self, id: NodeId, incarnation: Incarnation) {
        let count = self.nodes.len() as u8;
        *self.node(id) = self.formatted(id, incarnation, Config::default(), count);
        for other in (1..=count).map(NodeId).filter(|&other| other != id) {
            let now = self.now;
            self.node(other).on_link_down(now, id, false);
            self.node(other).on_link_up(now, id);
        }
    }

    fn voice(&self, id: u8) -> Voice {
        self.nodes[usize::from(id) - 1].voice()
    }

    /// What a node says when it is told this by that voice.
    fn answers(&mut self, at: NodeId, from: Voice, msg: Msg) -> Vec<Msg> {
        let now = self.now;
        let node = self.node(at);
        node.on_message(now, from, msg);
        let mut said = Vec::new();
        loop {
            let effects: Vec<Effect> = node.poll_effects().collect();
            if effects.is_empty() {
                return said;
            }
            for effect in effects {
                match effect {
                    Effect::Send { msg, .. } => said.push(msg),
                    Effect::Store(StoreIn::Mark(marks)) => node.on_marked(now, &marks),
                    _ => {}
                }
            }
        }
    }
}

fn learner(id: u8, incarnation: Incarnation) -> Step {
    Step::Learner { id: NodeId(id), incarnation, address: String::new() }
}

fn grants(said: &[Msg]) -> bool {
    said.iter()
        .any(|msg| matches!(msg, Msg::Voted { granted: true, .. } | Msg::PreVoted { granted: true, .. }))
}

/// The hole that this closes: a wiped node followed, replayed the entry that had made its former life a learner,
/// and took that for leave to vote, in an epoch in which its former life had voted already.
#[test]
fn a_wiped_voter_gives_no_vote_until_the_log_names_its_new_disk() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let third = NodeId(if leader == NodeId(3) { 2 } else { 3 });
    let now = world.now;
    // The log tells of the former disk: learner, then voter again.
    let steps = vec![learner(third.0, Incarnation(third.0.into())), Step::Voter { id: third }];
    world.node(leader).begin_plan(now, 0, steps).unwrap();
    world.run(300);
    let former = world.voice(third.0);
    assert!(world.node(leader).config().is_voter(former));

    world.wipe(third, OTHER);
    world.run(1_000);
    let (epoch, claim) = (Epoch(50), Claim { history: Epoch(49), last: Index(1 << 20) });
    let asks = [Msg::PreVote { epoch, claim }, Msg::Vote { epoch, claim, resolve: false, transfer: true }];
    for ask in asks {
        let from = world.node(leader).voice();
        let said = world.answers(third, from, ask.clone());
        assert!(!grants(&said), "{ask:?} was granted: {said:?}");
    }
    assert!(world.node(third).promised() < epoch, "it has promised nothing either");

    // Only an entry that names it makes it a voter.
    world
        .node(leader)
        .begin_plan(now, 0, vec![learner(third.0, Incarnation::OPEN), Step::Voter { id: third }])
        .unwrap();
    world.run(1_000);
    let (old, new) = (former, world.voice(third.0));
    for node in &world.nodes {
        assert!(node.config().is_voter(new) && !node.config().names(old), "node {}", node.me());
    }
    let from = world.node(leader).voice();
    let said = world.answers(third, from, Msg::Vote { epoch, claim, resolve: false, transfer: true });
    assert!(grants(&said), "{said:?}");
}

/// Whoever counts does not count a disk that the configuration does not name, whatever it says.
#[test]
fn acknowledgements_and_answers_of_a_stranger_count_for_nothing() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|&id| id != leader).collect();
    world.cut = others.clone();
    let index = world.propose(leader);
    world.settle();
    let (now, epoch) = (world.now, world.node(leader).promised());
    let snapshot = Index(0);
    let acked = |probe| Msg::Appended { epoch, probe, received: index, durable: index, snapshot, binds: 0 };
    world.node(leader).read(now, 7);
    world.node(leader).flush(now);
    let stranger = Voice { id: others[0], incarnation: OTHER };
    world.answers(leader, stranger, acked(99));
    assert!(world.node(leader).commit() < index, "committed by a stranger");
    assert_eq!(world.node(leader).counts.strangers, 1);
    // The very same from the member counts.
    let member = world.voice(others[0].0);
    world.answers(leader, member, acked(99));
    assert_eq!(world.node(leader).commit(), index);
}

/// One vote an epoch: another disk of the same node is another candidate.
#[test]
fn a_vote_is_for_an_incarnation() {
    let mut world = Small::new(5);
    let (epoch, claim) = (Epoch(9), Claim { history: Epoch(8), last: Index(9) });
    let vote = Msg::Vote { epoch, claim, resolve: false, transfer: true };
    let first = Voice { id: NodeId(3), incarnation: Incarnation(3) };
    assert!(grants(&world.answers(NodeId(5), first, vote.clone())));
    assert!(grants(&world.answers(NodeId(5), first, vote.clone())), "the same vote, asked for again");
    let second = Voice { incarnation: OTHER, ..first };
    assert!(!grants(&world.answers(NodeId(5), second, vote)));
}

/// A disk was put back to what it was a while ago: its node has forgotten promises and batches, and is not heard.
#[test]
fn an_old_copy_of_a_disk_is_refused() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let other = NodeId(leader.0 % 3 + 1);
    for _ in 0..5 {
        world.propose(leader);
    }
    world.run(500);
    let (voice, epoch) = (world.voice(other.0), world.node(leader).promised());
    let good = Standing { life: Life(7), promised: epoch, last: Index(6) };
    world.node(leader).on_hello(voice, good).unwrap();
    for bad in [
        Standing { life: Life(6), ..good },
        Standing { promised: Epoch(epoch.0 - 1), ..good },
        Standing { last: Index(4), ..good },
    ] {
        let why = world.node(leader).on_hello(voice, bad).unwrap_err();
        assert!(why.contains("was put back"), "{why}");
        let commit = world.node(leader).commit();
        let now = world.now;
        world.cut = vec![NodeId(1), NodeId(2), NodeId(3)];
        world.propose(leader);
        world.settle();
        let (received, durable) = (commit.next(), commit.next());
        let msg = Msg::Appended { epoch, probe: 1, received, durable, snapshot: Index(0), binds: 0 };
        world.node(leader).on_message(now, voice, msg);
        assert_eq!(world.node(leader).commit(), commit, "it was refused and counts all the same");
        world.cut.clear();
        let last = world.node(other).last();
        world.node(leader).on_hello(voice, Standing { last, ..good }).unwrap();
        world.run(200);
    }
    // A new disk of the same node has another name and its own memory.
    let fresh = Standing { life: Life(8), promised: Epoch(0), last: Index(0) };
    world.node(leader).on_hello(Voice { incarnation: OTHER, ..voice }, fresh).unwrap();
}

/// Founders that were formatted apart: nobody leads before all have met, then the log names them.
#[test]
fn founders_without_names_meet_first() {
    let open = |id| Member::new(NodeId(id), Incarnation::OPEN, Role::Voter, "");
    let mut world = Small::new(3);
    world.found(3, &Config::new((1..=3).map(open).collect()));
    world.cut = vec![NodeId(3)];
    world.run(5_000);
    assert!(world.nodes.iter().all(|node| node.leads().is_none()), "two of three would do for a wiped third");
    world.cut.clear();
    world.run(5_000);
    let leader = world.leader();
    let named = Config::of_voters(3);
    assert!(
        world.nodes.iter().all(|node| node.config().members() == named.members()),
        "{:?}",
        world.nodes[0].config()
    );
    // From here on a majority is one, and a founder that lost its disk is nobody.
    let third = NodeId(if leader == NodeId(3) { 2 } else { 3 });
    *world.node(third) = world.formatted(third, OTHER, Config::new((1..=3).map(open).collect()), 3);
    let index = world.propose(leader);
    world.run(300);
    assert_eq!(world.node(leader).commit(), index);
    assert!(world.node(leader).counts.strangers > 0);
}

/// A replacement in one request: the leader that began it is gone after the first step, the next one goes on.
#[test]
fn a_plan_outlives_its_leader() {
    let mut world = Small::new(4);
    world.found(4, &Config::of_voters(3));
    world.wipe(NodeId(4), Incarnation(4));
    world.run(3_000);
    let leader = world.leader();
    let gone = NodeId(leader.0 % 3 + 1);
    let now = world.now;
    world.cut = vec![NodeId(4)];
    let steps = vec![learner(4, Incarnation::OPEN), Step::Voter { id: NodeId(4) }, Step::Remove { id: gone }];
    let plan = world.node(leader).begin_plan(now, 0, steps.clone()).unwrap();
    assert_eq!(world.node(leader).begin_plan(now, 0, steps), Err(Refusal::Pending));
    world.run(300);
    assert_eq!(world.node(leader).plan_progress(plan), Progress::UnderWay);
    world.cut.push(leader);
    world.run(4_000);
    let next = world.leader();
    assert_ne!(next, leader);
    world.cut = vec![];
    world.run(5_000);
    let heir = world.leader();
    let ids: Vec<u8> = world.node(heir).config().voters().map(|member| member.id.0).collect();
    let wanted: Vec<u8> = (1..=4).filter(|&id| id != gone.0).collect();
    assert_eq!(ids, wanted);
    let stays: Vec<&Replica> = world.nodes.iter().filter(|node| node.me() != gone).collect();
    assert!(stays.iter().all(|node| node.plan_progress(plan) == Progress::Done));
    assert!(stays.iter().all(|node| node.config().plan.steps.is_empty()));
}

#[test]
fn an_impossible_plan_is_refused_whole_and_one_under_way_can_be_given_up() {
    let mut world = Small::new(3);
    world.run(3_000);
    let (leader, now) = (world.leader(), world.now);
    let node = world.node(leader);
    let remove = |id| Step::Remove { id: NodeId(id) };
    assert_eq!(node.begin_plan(now, 0, vec![remove(1), remove(2), remove(3)]), Err(Refusal::TwoAtOnce));
    assert_eq!(node.begin_plan(now, 0, vec![Step::Voter { id: NodeId(9) }]), Err(Refusal::NotReady));
    let newcomer = vec![learner(9, Incarnation::OPEN), Step::Voter { id: NodeId(9) }];
    let plan = node.begin_plan(now, 0, newcomer).unwrap();
    world.run(300);
    let now = world.now;
    let end = world.node(leader).begin_plan(now, 0, vec![]).unwrap();
    world.run(300);
    assert_eq!(world.node(leader).plan_progress(plan), Progress::Replaced);
    assert_eq!(world.node(leader).plan_progress(end), Progress::Done);
}

/// The last step of a removal needs the voters that were, too: the new ones alone could be a minority of them.
#[test]
fn a_change_of_voters_is_decided_by_both_majorities() {
    let mut world = Small::new(4);
    world.run(3_000);
    let leader = world.leader();
    let others: Vec<NodeId> = (1..=4).map(NodeId).filter(|&id| id != leader).collect();
    let now = world.now;
    world.cut = others[1..].to_vec();
    // Of four voters one goes. The leader and one more are a majority of the three that stay, not of the four.
    let at = world.node(leader).begin_plan(now, 0, vec![Step::Remove { id: others[2] }]).unwrap();
    world.settle();
    assert!(world.node(leader).commit() < at);
    world.cut.clear();
    world.run(300);
    assert!(world.node(leader).commit() >= at);
}

/// Found by reading: where the others had decided a change before this disk had it, the superblock never heard of it, and
/// after a restart it had to be proven by a majority of those before.
#[test]
fn a_change_that_was_decided_without_this_disk_is_marked_when_the_disk_has_it() {
    let mut world = Small::new(3);
    world.run(3_000);
    let slow = world.leader();
    world.stuck = Some(slow);
    let with = world.node(slow).config().with(Member::new(NodeId(4), Incarnation(4), Role::Learner, ""));
    let now = world.now;
    let index = world.node(slow).propose_config(now, 0, &with).unwrap();
    world.run(300);
    let node = world.node(slow);
    assert!(node.commit() >= index && node.durable() < index);
    assert!(node.marks().config_at < index);
    node.on_durable(now, index);
    let marked =
        |effect: &Effect| matches!(effect, Effect::Store(StoreIn::Mark(marks)) if marks.config_at == index);
    assert_eq!(node.poll_effects().filter(marked).count(), 1);
    node.on_durable(now, index);
    assert_eq!(node.poll_effects().filter(marked).count(), 0, "once is enough");
}
