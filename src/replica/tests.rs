//! A few replicas that talk at once and whose disks answer at once: the shape of things. Faults are the
//! simulator's.

mod disks;
mod laggards;
mod lease;
mod lost;
mod members;
mod unknown;

use super::*;
use crate::base::{ClusterId, Epoch, Incarnation, Index, Nanos, NodeId, Voice};
use crate::journal::{Builder, SlotState};
use crate::pipeline::parcel::{Base, Marks, StoreIn};

struct Small {
    nodes: Vec<Replica>,
    now: Nanos,
    /// Nodes that are cut off, and one whose disk takes no batch any more.
    cut: Vec<NodeId>,
    stuck: Option<NodeId>,
    told: Vec<String>,
    reads: Vec<(NodeId, u64, Option<Index>)>,
    /// What can be read back, from index 1 on, by nodes whose memory is full; and how often it was.
    disk: Vec<crate::journal::Batch>,
    fetches: usize,
}

impl Small {
    fn new(count: u8) -> Small {
        let mut world = Small {
            nodes: vec![],
            now: Nanos(0),
            cut: vec![],
            stuck: None,
            told: vec![],
            reads: vec![],
            disk: vec![],
            fetches: 0,
        };
        world.found(count, &Config::of_voters(count));
        world
    }

    /// Empty disks for nodes 1 to `count`, each an incarnation of its own number.
    fn found(&mut self, count: u8, config: &Config) {
        self.nodes = (1..=count)
            .map(|id| self.formatted(NodeId(id), Incarnation(u64::from(id)), config.clone(), count))
            .collect();
    }

    fn formatted(&self, me: NodeId, incarnation: Incarnation, config: Config, count: u8) -> Replica {
        let options = Options {
            me,
            cluster: ClusterId(7),
            timing: Timing::default(),
            window_bytes: 1 << 20,
            window_count: 8,
            cache_bytes: 1 << 20,
            seed: u64::from(me.0),
        };
        let marks = Marks { config, incarnation, ..Marks::default() };
        let found = Found { marks, heads: vec![], configs: vec![], debris: vec![], stateless: false };
        let mut node = Replica::new(options, found, self.now);
        for peer in (1..=count).map(NodeId).filter(|&peer| peer != me) {
            node.on_link_up(self.now, peer);
        }
        node
    }

    /// Carries out effects until nobody has any.
    fn settle(&mut self) {
        while self.step() {}
    }

    /// Carries out what everybody wants now. False: nobody wanted anything.
    fn step(&mut self) -> bool {
        let mut busy = false;
        for place in 0..self.nodes.len() {
            let me = NodeId(place as u8 + 1);
            self.nodes[place].go_on_with_plan(self.now, 0);
            self.nodes[place].flush(self.now);
            let effects: Vec<Effect> = self.nodes[place].poll_effects().collect();
            busy |= !effects.is_empty();
            for effect in effects {
                let node = &mut self.nodes[place];
                match effect {
                    Effect::Send { to, msg } if !self.cut.contains(&me) && !self.cut.contains(&to) => {
                        let mut bytes = Vec::new();
                        msg.encode(&mut bytes);
                        let msg = Msg::take(&mut &bytes[..]).unwrap().unwrap();
                        let voice = node.voice();
                        self.nodes[to.0 as usize - 1].on_message(self.now, voice, msg);
                    }
                    Effect::Tell(what) | Effect::Alarm(what) => self.told.push(what),
                    Effect::Store(StoreIn::Append { .. }) if self.stuck == Some(me) => {}
                    Effect::Store(StoreIn::Append { batch, .. }) => node.on_durable(self.now, batch.index()),
                    Effect::Store(StoreIn::Mark(marks)) => node.on_marked(self.now, &marks),
                    Effect::Store(StoreIn::Cut { after, .. }) => node.on_cut_done(self.now, after),
                    Effect::Store(StoreIn::Repair { batch }) => {
                        node.on_repaired(self.now, batch.index());
                        node.on_durable(self.now, node.last());
                    }
                    Effect::Store(StoreIn::Fetch { ticket, from, .. }) if !self.disk.is_empty() => {
                        self.fetches += 1;
                        node.on_fetched(self.now, ticket, &self.disk[from.0 as usize - 1..]);
                        node.flush(self.now);
                        node.evict(node.last());
                    }
                    Effect::ReadReady { id, index } => self.reads.push((me, id, Some(index))),
                    Effect::ReadFailed { id } => self.reads.push((me, id, None)),
                    Effect::Halt(why) => panic!("{why}"),
                    _ => {}
                }
            }
        }
        self.nodes.iter().for_each(|node| assert_eq!(node.invariants(), Ok(()), "node {}", node.me()));
        busy
    }

    fn run(&mut self, ms: u64) {
        let until = self.now.plus(Nanos::from_millis(ms));
        self.settle();
        while self.now < until {
            self.now = self.now.plus(Nanos::from_millis(10));
            for node in &mut self.nodes {
                if node.deadline() <= self.now {
                    node.on_tick(self.now);
                }
            }
            self.settle();
        }
    }

    fn leader(&self) -> NodeId {
        let leads = |node: &&Replica| node.leads().is_some() && !self.cut.contains(&node.me());
        let leaders: Vec<_> = self.nodes.iter().filter(leads).map(Replica::me).collect();
        assert_eq!(leaders.len(), 1, "one leader among those that can talk");
        leaders[0]
    }

    fn node(&mut self, id: NodeId) -> &mut Replica {
        &mut self.nodes[id.0 as usize - 1]
    }

    fn propose(&mut self, at: NodeId) -> Index {
        let now = self.now;
        let mut body = Builder::default();
        body.push(&[0; 64], 1);
        self.node(at).propose(now, 0, body, 0).unwrap()
    }
}

#[test]
fn one_node_commits_alone() {
    let mut world = Small::new(1);
    world.run(10);
    assert_eq!(world.leader(), NodeId(1));
    let index = world.propose(NodeId(1));
    world.run(10);
    assert_eq!(world.nodes[0].commit(), index);
}

#[test]
fn three_nodes_elect_replicate_and_outlive_their_leader() {
    let mut world = Small::new(3);
    world.run(3_000);
    let first = world.leader();
    for _ in 0..20 {
        world.propose(first);
    }
    world.run(300);
    assert!(world.nodes.iter().all(|node| node.commit() == Index(21) && node.durable() == Index(21)));

    world.cut = vec![first];
    world.propose(first); // Reaches nobody.
    world.run(4_000);
    let second = world.leader();
    assert_ne!(first, second);
    assert!(!world.node(first).is_leader(), "a leader without a quorum steps down");
    world.propose(second);
    world.run(300);

    world.cut.clear();
    world.run(3_000);
    let ends: Vec<_> =
        world.nodes.iter().map(|node| (node.commit(), node.log().chain(node.last()))).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    assert_eq!(world.node(first).counts.cuts, 1);
}

#[test]
fn a_refused_port_starts_an_election_at_once_and_the_higher_claim_wins() {
    let mut world = Small::new(3);
    world.run(3_000);
    let gone = world.leader();
    world.cut = vec![gone];
    let now = world.now;
    for id in (1..=3).map(NodeId).filter(|&id| id != gone) {
        world.node(id).on_link_down(now, gone, true);
    }
    world.settle();
    assert_ne!(world.leader(), gone);
    assert_eq!(world.now, now, "no time has passed");
}

/// Found by killing leaders: one follower in five heard of it so much later that it had refused the other's
/// question by then, and yielded to nobody: both waited for their patience to end.
#[test]
fn followers_that_learn_of_the_death_one_after_the_other_elect_at_once_too() {
    for higher_first in [true, false] {
        let mut world = Small::new(3);
        world.run(3_000);
        let gone = world.leader();
        world.cut = vec![gone];
        let now = world.now;
        let mut ids: Vec<NodeId> = (1..=3).map(NodeId).filter(|&id| id != gone).collect();
        if higher_first {
            ids.reverse();
        }
        for id in ids {
            world.node(id).on_link_down(now, gone, true);
            world.settle();
        }
        assert_ne!(world.leader(), gone);
        assert_eq!(world.now, now, "no time has passed");
    }
}

/// Found by killing leaders: what it had sent last came behind the news of its death, and it was followed again.
#[test]
fn a_dead_leaders_last_words_do_not_bring_it_back() {
    let mut world = Small::new(3);
    world.run(3_000);
    let gone = world.leader();
    let (first, second) = (NodeId(gone.0 % 3 + 1), NodeId((gone.0 + 1) % 3 + 1));
    let now = world.now;
    world.propose(gone);
    world.node(gone).flush(now);
    let said: Vec<Effect> = world.node(gone).poll_effects().collect();
    world.cut = vec![gone];
    world.node(first).on_link_down(now, gone, true);
    world.settle();
    for effect in said {
        if let Effect::Send { to, msg } = effect
            && to == first
        {
            let voice = world.node(gone).voice();
            world.node(first).on_message(now, voice, msg);
        }
    }
    world.node(second).on_link_down(now, gone, true);
    world.settle();
    assert_ne!(world.leader(), gone);
    assert_eq!(world.now, now, "no time has passed");
}

#[test]
fn reads_are_confirmed_by_a_quorum_only() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let follower = (1..=3).map(NodeId).find(|&id| id != leader).unwrap();
    let now = world.now;
    let commit = world.node(leader).commit();
    world.node(leader).read(now, 1);
    world.node(follower).read(now, 2);
    world.settle();
    world.reads.sort();
    let mut want = vec![(leader, 1, Some(commit)), (follower, 2, Some(commit))];
    want.sort();
    assert_eq!(world.reads, want);

    world.reads.clear();
    world.cut = vec![leader];
    world.node(leader).read(now, 3);
    world.run(4_000);
    assert_eq!(world.reads, [(leader, 3, None)]);
}

/// Found by reading: a question that was lost with a connection was waited for at the head of the queue, and no later
/// answer of the same leader was taken any more.
#[test]
fn a_lost_read_does_not_hold_up_the_next_ones() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let follower = (1..=3).map(NodeId).find(|&id| id != leader).unwrap();
    let now = world.now;
    world.node(follower).read(now, 1);
    world.node(follower).poll_effects().for_each(drop); // The connection breaks.
    world.node(follower).read(now, 2);
    world.settle();
    let commit = world.node(leader).commit();
    assert_eq!(world.reads, [(follower, 1, None), (follower, 2, Some(commit))]);
    // Nor does the last one wait for ever.
    world.reads.clear();
    world.node(follower).read(now, 3);
    world.node(follower).poll_effects().for_each(drop);
    world.run(3_000);
    assert_eq!(world.reads, [(follower, 3, None)]);
}

/// Found by reading: a read that came before a new leader had committed was forgotten when it was deposed.
#[test]
fn a_read_that_came_too_early_fails_with_its_leader() {
    let mut world = Small::new(3);
    world.run(3_000);
    let gone = world.leader();
    world.cut = vec![gone];
    let (now, other) = (world.now, NodeId(gone.0 % 3 + 1));
    let third = NodeId(other.0 % 3 + 1);
    world.node(other).on_link_down(now, gone, true);
    world.node(third).on_link_down(now, gone, true);
    // Elected, and cut off before anybody has its first batch.
    for _ in 0..8 {
        if world.nodes.iter().any(|node| node.is_leader() && node.me() != gone) {
            break;
        }
        world.step();
    }
    let new = world.nodes.iter().find(|node| node.is_leader() && node.me() != gone).expect("elected").me();
    assert!(world.node(new).leads().is_none());
    world.node(new).read(now, 7);
    world.cut = vec![gone, new];
    world.run(3_000);
    assert_eq!(world.reads, [(new, 7, None)]);
}

/// Found by reading: of a batch that was damaged on the disk and still in memory the replica took no notice, and the
/// store waited for its repair, acknowledging nothing more.
#[test]
fn a_damaged_batch_that_is_still_in_memory_is_written_back() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let index = world.propose(leader);
    world.run(300);
    let now = world.now;
    world.node(leader).on_damage(now, index);
    assert_eq!(world.node(leader).durable(), index.prev());
    assert!(world.node(leader).is_leader());
    world.settle();
    assert_eq!((world.node(leader).durable(), world.node(leader).counts.repairs), (index, 1));
}

#[test]
fn leadership_is_handed_over_without_a_gap() {
    let mut world = Small::new(3);
    world.run(3_000);
    let first = world.leader();
    let heir = world.node(first).best_heir().unwrap();
    let now = world.now;
    world.propose(first);
    world.node(first).transfer(now, heir).unwrap();
    world.settle();
    assert_eq!(world.leader(), heir);
    assert!(world.node(heir).promised() > Epoch(1));
}

/// The followers commit without the leader's disk; the leader gives up soon all the same, and says why.
#[test]
fn a_leader_whose_disk_stands_still_hands_over() {
    let mut world = Small::new(3);
    world.run(3_000);
    let slow = world.leader();
    world.stuck = Some(slow);
    let index = world.propose(slow);
    world.run(300);
    let (commit, durable) = (world.node(slow).commit(), world.node(slow).durable());
    assert!(commit >= index && durable < index, "batch {index}, committed {commit}, durable {durable}");
    assert_eq!(world.leader(), slow, "a moment is no reason");
    world.run(1_500);
    assert_ne!(world.leader(), slow);
    assert!(world.told[0].contains(&format!("owes batch {index}")), "{:?}", world.told);
}

#[test]
fn a_learner_joins_and_becomes_a_voter() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let follower = (1..=3).map(NodeId).find(|&id| id != leader).unwrap();
    let now = world.now;
    let member = world.node(leader).config().member(follower).unwrap().clone();
    let voice = world.node(follower).voice();
    let less = world.node(leader).config().with(Member { role: Role::Learner, ..member.clone() });
    world.node(leader).propose_config(now, 0, &less).unwrap();
    assert_eq!(world.node(leader).propose_config(now, 0, &less), Err(Refusal::Pending));
    world.settle();
    assert_eq!(world.node(follower).config().majority(), 2);
    assert!(!world.node(follower).config().is_voter(voice));
    let again = less.with(member);
    world.node(leader).propose_config(now, 0, &again).unwrap();
    world.run(300);
    assert!(world.node(follower).config().is_voter(voice));
}

const FIRST: Voice = Voice { id: NodeId(1), incarnation: Incarnation(1) };

/// A node whose disk holds eight batches of epoch 1, with damage, and these batches whole.
fn damaged(heads_lost: &[u64], bodies_lost: &[u64]) -> (Replica, Vec<crate::journal::Batch>) {
    let cluster = ClusterId(7);
    let mut prev = Marks::default().base.chain;
    let mut batches = Vec::new();
    for index in 1..=8 {
        let mut body = Builder::default();
        body.push(&[index as u8; 64], 1);
        let batch = body.seal(cluster, Epoch(1), Index(index), prev, 0, 0, Nanos(index));
        prev = batch.chain();
        batches.push(batch);
    }
    let config = Config::of_voters(3);
    let incarnation = Incarnation(2);
    let marks = Marks { promised: Epoch(1), config, incarnation, ..Marks::default() };
    let heads = batches.iter().map(|batch| {
        let index = batch.index().0;
        let head_lost = heads_lost.contains(&index);
        let state = match head_lost || bodies_lost.contains(&index) {
            true => SlotState::Unknown { torn: false },
            false => SlotState::Present,
        };
        ((!head_lost).then_some(*batch.head()), state)
    });
    let options = Options {
        me: NodeId(2),
        cluster,
        timing: Timing::default(),
        window_bytes: 1 << 20,
        window_count: 8,
        cache_bytes: 1 << 20,
        seed: 1,
    };
    let found = Found { marks, heads: heads.collect(), configs: vec![], debris: vec![], stateless: false };
    let mut node = Replica::new(options, found, Nanos(0));
    node.on_link_up(Nanos(0), NodeId(1));
    (node, batches)
}

fn append_from_leader(node: &mut Replica, batches: &[crate::journal::Batch]) -> Vec<Effect> {
    let first = batches[0].head();
    let msg = Msg::Append {
        epoch: Epoch(1),
        probe: 1,
        commit: Index(0),
        prev: first.index.prev(),
        prev_epoch: Epoch(1),
        prev_chain: first.prev,
        recycle: Index(0),
        kept: Index(0),
        answer: true,
        batches: batches.to_vec(),
    };
    node.on_message(Nanos(1), FIRST, msg);
    node.poll_effects().collect()
}

/// Found by reading: of two repairs under way the later one came back first, and all up to it was acknowledged.
#[test]
fn an_acknowledgement_waits_for_every_repair_before_it() {
    let (mut node, batches) = damaged(&[], &[5, 7]);
    assert_eq!(node.durable(), Index(4));
    let effects = append_from_leader(&mut node, &batches[4..]);
    let repairs = effects.iter().filter(|e| matches!(e, Effect::Store(StoreIn::Repair { .. }))).count();
    assert_eq!(repairs, 2);
    node.on_repaired(Nanos(2), Index(7));
    node.on_durable(Nanos(2), Index(8));
    assert_eq!(node.durable(), Index(4));
    node.on_repaired(Nanos(3), Index(5));
    node.on_durable(Nanos(3), Index(8));
    assert_eq!(node.durable(), Index(8));
}

/// Seed 2057: word of damage that came after the repair had begun made the slot unknown for good, and the leader was
/// told for ever that all behind it had arrived.
#[test]
fn what_was_lost_after_it_was_verified_is_wanted_again() {
    let (mut node, batches) = damaged(&[], &[5]);
    append_from_leader(&mut node, &batches[4..]);
    node.on_damage(Nanos(2), Index(5));
    assert_eq!(node.log().first_unknown(), None, "that was before the repair");
    node.on_repaired(Nanos(3), Index(5));
    node.options.cache_bytes = 0; // While it is in memory it is simply written again.
    node.evict(Index(8));
    node.on_damage(Nanos(4), Index(5));
    assert_eq!(node.log().first_unknown(), Some(Index(5)));
    let effects = append_from_leader(&mut node, &batches[3..4]);
    let mut received = effects.iter().filter_map(|effect| match effect {
        Effect::Send { msg: Msg::Appended { received, .. }, .. } => Some(*received),
        _ => None,
    });
    assert_eq!(received.next_back(), Some(Index(4)));
}

/// Found by reading: a slot of which nothing was left was cut off and appended again. In between, this node denied
/// what it may have acknowledged.
#[test]
fn an_unreadable_end_is_replaced_by_the_leaders_and_never_cut() {
    let (mut node, batches) = damaged(&[7, 8], &[]);
    let effects = append_from_leader(&mut node, &batches[6..]);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Store(StoreIn::Cut { .. }))), "{effects:?}");
    let repairs = effects.iter().filter(|e| matches!(e, Effect::Store(StoreIn::Repair { .. }))).count();
    assert_eq!((repairs, node.counts.cuts), (2, 0));
}

/// Found by seeds 14, 26 and 166: a node that joined, and led after all had lost power, knew of no configuration
/// for its first batches and never committed again.
#[test]
fn a_joiner_that_leads_commits() {
    let mut world = Small::new(3);
    world.run(3_000);
    let leader = world.leader();
    let joiner = world.nodes.iter().map(Replica::me).find(|&id| id != leader).unwrap();
    let node = world.node(leader);
    let four = node.config().with(Member::new(NodeId(4), Incarnation(4), Role::Learner, ""));
    let five = four.with(Member::new(NodeId(4), Incarnation(4), Role::Voter, ""));
    let now = world.now;
    world.node(leader).propose_config(now, 0, &four).unwrap();
    world.run(300);
    let now = world.now;
    world.node(leader).propose_config(now, 0, &five).unwrap();
    world.run(300);
    // Its twin that has the same log from its first batch on, and no founding configuration.
    let batches: Vec<crate::journal::Batch> = {
        let node = world.node(leader);
        (1..=node.last().0).map(|index| node.batch(Index(index)).unwrap().clone()).collect()
    };
    let found = Found {
        marks: Marks { promised: Epoch(1), incarnation: Incarnation(4), ..Marks::default() },
        heads: batches.iter().map(|batch| (Some(*batch.head()), SlotState::Present)).collect(),
        configs: batches.iter().filter(|batch| batch.has(crate::journal::flag::CONFIG)).cloned().collect(),
        debris: vec![],
        stateless: false,
    };
    let options = Options { me: NodeId(4), ..world.node(joiner).options() };
    let mut twin = Replica::new(options, found, Nanos(0));
    let voice = |id: u8| Voice { id: NodeId(id), incarnation: Incarnation(id.into()) };
    let others: Vec<Voice> = (1..=3).map(voice).collect();
    others.iter().for_each(|other| twin.on_link_up(Nanos(0), other.id));
    twin.on_tick(twin.deadline());
    let (epoch, last) = (Epoch(twin.promised().0 + 1), twin.last());
    for &from in &others {
        twin.on_message(Nanos(1), from, Msg::PreVoted { epoch, granted: true });
    }
    let marks = |twin: &mut Replica| {
        let wanted = |effect: Effect| match effect {
            Effect::Store(StoreIn::Mark(marks)) => Some(marks),
            _ => None,
        };
        twin.poll_effects().filter_map(wanted).next_back()
    };
    let written = marks(&mut twin).expect("it stands");
    twin.on_marked(Nanos(2), &written);
    for &from in &others {
        let claim = Claim { history: Epoch(1), last };
        twin.on_message(
            Nanos(3),
            from,
            Msg::Voted { epoch, granted: true, claim, unsure: None, torn: false, stateless: false },
        );
    }
    assert!(twin.is_leader());
    let end = twin.last();
    twin.on_durable(Nanos(4), end);
    for &from in &others {
        let said =
            Msg::Appended { epoch, probe: 1, received: end, durable: end, snapshot: Index(0), binds: 0 };
        twin.on_message(Nanos(5), from, said);
    }
    assert_eq!(twin.commit(), end);
}
