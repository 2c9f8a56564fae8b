//! Slots that every disk has lost: torn by one loss of power under load, or damaged for good.

use super::*;
use crate::journal::Batch;

/// The first batches of epoch 1.
pub(super) fn chain_of(count: u64) -> Vec<Batch> {
    let mut prev = Base::default().chain;
    let seal = |index| {
        let mut body = Builder::default();
        body.push(&[index as u8; 64], 1);
        let batch = body.seal(ClusterId(7), Epoch(1), Index(index), prev, 0, 0, Nanos(index));
        prev = batch.chain();
        batch
    };
    (1..=count).map(seal).collect()
}

/// Three nodes that come back with eight batches of epoch 1 each, of which each has this of the last.
fn after_power_loss(last: [Option<SlotState>; 3]) -> Small {
    let mut world = Small::new(3);
    let batches = chain_of(8);
    world.nodes = (1u8..=3)
        .zip(last)
        .map(|(id, last)| {
            let mut node = world.formatted(NodeId(id), Incarnation(id.into()), Config::of_voters(3), 3);
            let marks = Marks { promised: Epoch(1), ..node.marks() };
            let mut heads: Vec<_> =
                batches[..7].iter().map(|batch| (Some(*batch.head()), SlotState::Present)).collect();
            heads.extend(last.map(|state| (Some(*batches[7].head()), state)));
            let found = Found { marks, heads, configs: vec![], debris: vec![], stateless: false };
            node = Replica::new(node.options.clone(), found, Nanos(0));
            (1..=3).filter(|&other| other != id).for_each(|other| node.on_link_up(Nanos(0), NodeId(other)));
            let whole = if last == Some(SlotState::Present) { 8 } else { 7 };
            node.on_fetched(Nanos(0), 0, &batches[..whole]);
            node
        })
        .collect();
    world
}

const TORN: Option<SlotState> = Some(SlotState::Unknown { torn: true });
const SPOILT: Option<SlotState> = Some(SlotState::Unknown { torn: false });
const WHOLE: Option<SlotState> = Some(SlotState::Present);

/// Found by reading: two torn slots of three kept the third from proving anything, and the cluster stayed down.
#[test]
fn a_slot_that_power_loss_tore_everywhere_is_cut_without_an_operator() {
    for last in [[TORN, TORN, TORN], [TORN, None, TORN], [TORN, TORN, None]] {
        let mut world = after_power_loss(last);
        world.run(20_000);
        let leader = world.leader();
        world.propose(leader);
        world.run(1_000);
        let ends: Vec<_> =
            world.nodes.iter().map(|node| (node.commit(), node.log().chain(node.last()))).collect();
        assert!(ends.iter().all(|end| *end == ends[0] && end.0 > Index(8)), "{ends:?}");
        assert!(world.nodes.iter().any(|node| node.counts.absences > 0), "{last:?}");
    }
}

/// One whole copy is enough, and it is never cut: its node may have acknowledged it.
#[test]
fn a_slot_of_which_one_whole_copy_is_left_is_brought_back() {
    for last in [[TORN, WHOLE, TORN], [SPOILT, SPOILT, WHOLE], [WHOLE, TORN, SPOILT]] {
        let mut world = after_power_loss(last);
        let chain = world.nodes.iter().find_map(|node| node.log().chain(Index(8)));
        world.run(20_000);
        world.leader();
        assert!(world.nodes.iter().all(|node| node.log().chain(Index(8)) == chain), "{last:?}");
        assert!(world.nodes.iter().all(|node| node.counts.absences == 0), "{last:?}");
    }
}

/// With a voter missing nothing is known: it may be the one that has the copy.
#[test]
fn nothing_is_cut_before_every_voter_has_spoken() {
    let mut world = after_power_loss([TORN, TORN, WHOLE]);
    world.cut = vec![NodeId(3)];
    world.run(10_000);
    assert!(world.nodes.iter().all(|node| node.leads().is_none() && node.counts.absences == 0));
    world.cut.clear();
    world.run(10_000);
    world.leader();
}

/// What a disk did hold may have been committed. When nobody has it any more the cluster says so and stops.
#[test]
#[should_panic(expected = "no other voter has a whole copy")]
fn a_batch_that_is_damaged_everywhere_stops_the_cluster() {
    after_power_loss([SPOILT, TORN, SPOILT]).run(20_000);
}

/// Seed 575: alone, a node whose disk could not cut a torn slot by itself asked nobody, and stood for ever.
#[test]
fn alone_a_torn_slot_is_cut_and_a_damaged_one_stops_the_node() {
    let alone = |state: SlotState| {
        let world = Small::new(1);
        let node = world.formatted(NodeId(1), Incarnation(1), Config::of_voters(1), 1);
        let mut body = Builder::default();
        body.push(&[1; 64], 1);
        let batch = body.seal(ClusterId(7), Epoch(1), Index(1), Base::default().chain, 0, 0, Nanos(1));
        let marks = Marks { promised: Epoch(1), ..node.marks() };
        let heads = vec![(Some(*batch.head()), state)];
        let found = Found { marks, heads, configs: vec![], debris: vec![], stateless: false };
        let mut node = Replica::new(node.options.clone(), found, Nanos(0));
        node.on_tick(node.deadline());
        node.poll_effects().collect::<Vec<_>>()
    };
    let torn = alone(SlotState::Unknown { torn: true });
    assert!(
        torn.iter().any(|e| matches!(e, Effect::Store(StoreIn::Cut { after: Index(0), .. }))),
        "{torn:?}"
    );
    let spoilt = alone(SlotState::Unknown { torn: false });
    assert!(spoilt.iter().any(|e| matches!(e, Effect::Halt(why) if why.contains("batch 1 is damaged"))));
}

/// Found by reading: what voters had said of one lost slot was counted for an earlier one that was lost meanwhile. Two
/// that lacked batch 8 were said to lack batch 6, which they had, and with a third it was cut.
#[test]
fn what_voters_said_of_a_slot_says_nothing_of_one_before_it() {
    let mut world = Small::new(5);
    let batches = chain_of(8);
    let marks = Marks { promised: Epoch(1), ..world.node(NodeId(1)).marks() };
    let whole = batches[..7].iter().map(|batch| (Some(*batch.head()), SlotState::Present));
    let heads = whole.chain([(Some(*batches[7].head()), SlotState::Unknown { torn: false })]).collect();
    let found = Found { marks, heads, configs: vec![], debris: vec![], stateless: false };
    let mut node = Replica::new(world.node(NodeId(1)).options(), found, Nanos(0));
    let voice = |id: u8| Voice { id: NodeId(id), incarnation: Incarnation(id.into()) };
    (2..=5).for_each(|id| node.on_link_up(Nanos(0), NodeId(id)));
    node.on_tick(node.deadline());
    let epoch = Epoch(2);
    (2..=3).for_each(|id| node.on_message(Nanos(1), voice(id), Msg::PreVoted { epoch, granted: true }));
    assert_eq!(node.promised(), epoch);
    let word = |last| Msg::Voted {
        epoch,
        granted: false,
        claim: Claim { history: Epoch(1), last: Index(last) },
        unsure: None,
        torn: false,
        stateless: false,
    };
    node.on_message(Nanos(2), voice(2), word(7));
    node.on_message(Nanos(2), voice(3), word(7));
    node.on_damage(Nanos(3), Index(6));
    node.on_message(Nanos(4), voice(4), word(5));
    assert_eq!((node.counts.absences, node.last()), (0, Index(8)));
}
