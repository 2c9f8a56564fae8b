//! The stage between lanes whose other ends the test holds.

use super::*;
use crate::base::{Chain, ClusterId, Epoch};
use crate::journal::Builder;
use crate::pipeline::lane::lane;
use crate::pipeline::parcel::ReadItem;
use crate::realms::kv::ops::{Op, Put, WRITE, Write};
use crate::realms::tree::acl::{self, OwnIds};
use crate::realms::tree::jute::Write as _;
use crate::realms::tree::ops::{kind, op};
use crate::realms::tree::read::Query;
use crate::state::RealmId;

struct World {
    apply: Apply,
    order: (Tx<ApplyIn>, Rx<ApplyOut>),
    edge: (Tx<Reads>, Rx<EdgeOut>),
    last: Index,
    next: u64,
}

fn origin() -> Origin {
    Origin::new(NodeId(1), 0, Life(1))
}

fn seconds(count: u64) -> Nanos {
    Nanos::from_millis(count * 1000)
}

impl World {
    fn new() -> World {
        let (to_apply, from_order) = lane(16);
        let (to_order, news) = lane(16);
        let (reads, edge_in) = lane(16);
        let (edge_out, heard) = lane(64);
        let lanes = ApplyLanes { order: (to_order, from_order), edges: vec![(edge_out, edge_in)] };
        let apply = Apply::new(Machine::new(), NodeId(1), Life(1), Base::default(), 1024, lanes);
        World { apply, order: (to_apply, news), edge: (reads, heard), last: Index(0), next: 1 }
    }

    /// One batch with commands of the lane: (kind, session, payload).
    fn decide(&mut self, ticks: Nanos, commands: &[(u8, u64, Vec<u8>)]) {
        let mut bytes = Vec::new();
        for &(kind, session, ref payload) in commands {
            let (realm, sequence) = (RealmId::Tree as u8, self.next);
            let origin = origin();
            Envelope { realm, kind, session, origin, sequence, ..Envelope::default() }
                .write(payload, &mut bytes);
            self.next += 1;
        }
        let mut builder = Builder::default();
        builder.push(&bytes, commands.len() as u32);
        self.seal(1, builder, 0, ticks);
    }

    /// One batch that writes these keys of the other realm.
    fn put(&mut self, keys: impl Iterator<Item = u64>) {
        let mut builder = Builder::default();
        for key in keys {
            let put = Put { key: key.to_be_bytes().to_vec(), value: vec![7; 100], ..Put::default() };
            let (realm, kind, sequence) = (RealmId::Kv as u8, WRITE, self.next);
            let envelope = Envelope { realm, kind, origin: origin(), sequence, ..Envelope::default() };
            let mut bytes = Vec::new();
            envelope.write(&Write { ops: vec![Op::Put(put)] }.encode(), &mut bytes);
            builder.push(&bytes, 1);
            self.next += 1;
        }
        self.seal(1, builder, 0, Nanos(0));
    }

    /// Its reign begins.
    fn lead(&mut self) {
        self.order.0.send(ApplyIn::Leading(Some(Epoch(1))));
        self.seal(1, Builder::default(), flag::OPEN, Nanos(0));
    }

    fn seal(&mut self, epoch: u64, builder: Builder, flags: u16, ticks: Nanos) {
        self.last = self.last.next();
        let batch = builder.seal(ClusterId(1), Epoch(epoch), self.last, Chain::default(), flags, 7, ticks);
        self.order.0.send(ApplyIn::Committed(vec![batch]));
    }

    fn open(&mut self, ticks: Nanos) -> u64 {
        // Which id it will be, another state tells.
        let mut twin = Machine::new();
        let envelope = Envelope {
            realm: RealmId::Tree as u8,
            kind: kind::OPEN_SESSION,
            origin: origin(),
            sequence: self.next,
            ..Envelope::default()
        };
        let payload = 10_000i32.to_be_bytes();
        let mut effects = Effects { wanted: true, ..Effects::default() };
        let stamp = Stamp { index: Index(1), wall_ms: 7, ticks };
        let done = twin.apply(&stamp, &Command { envelope, payload: &payload }, &mut effects).unwrap();
        assert_eq!(done, Applied::Done);
        self.decide(ticks, &[(kind::OPEN_SESSION, 0, payload.to_vec())]);
        u64::from_be_bytes(effects.reply[12..20].try_into().unwrap())
    }

    /// Reads of /x, by the write that each waits for.
    fn read(&mut self, after: &[u64]) {
        let mut reads = Reads::default();
        let mut record = Vec::new();
        record.put_bytes(b"/x");
        record.put_bool(false);
        for &after in after {
            let ids = OwnIds::default();
            Query { session: 1, ids: ids.bytes(), code: op::GET_DATA, record: &record }
                .write(&mut reads.queries);
            let end = reads.queries.len() as u32;
            reads.items.push(ReadItem { tag: after, realm: RealmId::Tree as u8, end, after });
        }
        self.edge.0.send(reads);
    }

    /// What the edge is told: outcomes by their sequences, answers by what they waited for and what they show.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(parcel) = self.edge.1.take() {
            match parcel {
                EdgeOut::Outcomes(outcomes) => {
                    told.extend(outcomes.items.iter().map(|(sequence, _)| format!("write {sequence}")));
                }
                EdgeOut::Answers(answers) => {
                    let mut start = 0;
                    for &(after, end) in &answers.items {
                        let answer = &answers.bytes[start..end as usize];
                        start = end as usize;
                        let data = answer.get(16..17).map_or("nothing".into(), String::from_utf8_lossy);
                        told.push(format!("read after {after}: {data}"));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        told
    }
}

fn with_ids(record: Vec<u8>) -> Vec<u8> {
    [OwnIds::default().bytes(), &record].concat()
}

fn create(data: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(b"/x");
    record.put_bytes(data);
    record.extend_from_slice(acl::OPEN);
    record.put_i32(0);
    with_ids(record)
}

fn set(data: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(b"/x");
    record.put_bytes(data);
    record.put_i32(-1);
    with_ids(record)
}

#[test]
fn reads_are_answered_between_the_writes_of_a_batch() {
    let mut world = World::new();
    let session = world.open(seconds(1));
    world.apply.turn(Nanos(0));
    assert_eq!(world.told(), ["write 1"]);
    // They are in the lane before the writes are decided, as the edge has sent them first.
    world.read(&[0, 2, 3, 4]);
    let (create_op, set_op) = (op::CREATE as u8, op::SET_DATA as u8);
    world.decide(
        seconds(1),
        &[(create_op, session, create(b"a")), (set_op, session, set(b"b")), (set_op, session, set(b"c"))],
    );
    world.read(&[0, 4]);
    world.apply.turn(Nanos(0));
    let wanted = [
        "read after 0: nothing",
        "read after 0: nothing",
        "write 2",
        "read after 2: a",
        "write 3",
        "read after 3: b",
        "write 4",
        "read after 4: c",
        "read after 4: c",
    ];
    assert_eq!(world.told(), wanted);
}

#[test]
fn parts_of_a_batch_wait_for_room() {
    let mut world = World::new();
    let session = world.open(seconds(1));
    let mut commands = vec![(op::CREATE as u8, session, create(b"a"))];
    commands.extend((0..100).map(|_| (op::SET_DATA as u8, session, set(b"b"))));
    world.decide(seconds(1), &commands);
    let after: Vec<u64> = (2..=102).collect();
    world.read(&after);
    let mut told = Vec::new();
    for turn in 0..10 {
        let deadline = world.apply.turn(Nanos(0)).deadline;
        assert!(turn > 0 || deadline < Nanos::from_millis(1), "nobody rings when there is room");
        told.extend(world.told());
    }
    assert_eq!(world.apply.turn(Nanos(0)).deadline, Nanos::MAX);
    let mut wanted = vec!["write 1".to_owned(), "write 2".into(), "read after 2: a".into()];
    wanted.extend((3..=102).flat_map(|n| [format!("write {n}"), format!("read after {n}: b")]));
    assert_eq!(told, wanted);
}

/// A session lives on its own node before the leader has applied that it was opened: its touch waits.
#[test]
fn touches_of_sessions_that_are_not_applied_yet_wait() {
    let mut world = World::new();
    let from = NodeId(2);
    world.lead();
    let session = world.open(seconds(1));
    world.order.0.send(ApplyIn::Clock(seconds(5)));
    let touch = |session, at| ApplyIn::Touches { from, at, ids: vec![(RealmId::Tree as u8, session)] };
    world.order.0.send(touch(session, seconds(5)));
    let gone = |world: &mut World| {
        let mut gone = Vec::new();
        while let Some(parcel) = world.order.1.take() {
            if let ApplyOut::Gone { to, ids } = parcel {
                gone.push((to, ids));
            }
        }
        gone
    };
    world.apply.turn(Nanos(0));
    assert_eq!(gone(&mut world), []);
    let ends: Vec<_> = world.apply.machine().tree().session_ends().collect();
    assert_eq!(ends, [(session, 15_000)], "it counts from the touch on");
    // With all applied, a stranger is gone.
    world.order.0.send(touch(session + 1, seconds(5)));
    world.apply.turn(Nanos(0));
    assert_eq!(gone(&mut world), [(from, vec![(RealmId::Tree as u8, session + 1)])]);
}

/// All nodes start anew, or a leader dies with the first write after a rest: who leads next lacks what was decided, and
/// counted from the time that its state was at. Every session ended in the first second of such a reign. And one that had
/// led before went on from where its clock had got to by itself.
#[test]
fn a_reign_counts_from_its_first_batch() {
    let mut world = World::new();
    let ends = |world: &World| world.apply.machine().tree().session_ends().collect::<Vec<_>>();
    world.order.0.send(ApplyIn::Leading(Some(Epoch(2))));
    world.order.0.send(ApplyIn::Clock(seconds(100)));
    let session = world.open(seconds(1));
    world.seal(1, Builder::default(), flag::OPEN, seconds(60));
    world.apply.turn(Nanos(0));
    world.seal(2, Builder::default(), flag::OPEN, seconds(100));
    world.apply.turn(Nanos(0));
    assert_eq!(ends(&world), [(session, 110_000)]);
    world.order.0.send(ApplyIn::Clock(seconds(500)));
    world.order.0.send(ApplyIn::Leading(None));
    world.order.0.send(ApplyIn::Leading(Some(Epoch(4))));
    world.seal(4, Builder::default(), flag::OPEN, seconds(101));
    world.apply.turn(Nanos(0));
    assert_eq!(ends(&world), [(session, 111_000)]);
    let mut due = 0;
    while let Some(parcel) = world.order.1.take() {
        due += usize::from(matches!(parcel, ApplyOut::Due { .. }));
    }
    assert_eq!(due, 0, "nobody was to end");
}

/// The clock is told every ten milliseconds: a sign of life once counted from the last time before it, and its session
/// ended that much early.
#[test]
fn a_touch_counts_from_when_it_came() {
    let mut world = World::new();
    world.lead();
    let session = world.open(seconds(1));
    world.order.0.send(ApplyIn::Clock(seconds(5)));
    let ids = vec![(RealmId::Tree as u8, session)];
    world.order.0.send(ApplyIn::Touches { from: NodeId(1), at: Nanos(5_009_000_000), ids });
    world.apply.turn(Nanos(0));
    let ends: Vec<_> = world.apply.machine().tree().session_ends().collect();
    assert_eq!(ends, [(session, 15_009)]);
}

/// Found by restarts with 2 GiB of state: order comes before apply in a round, so apply's next read of a snapshot lay
/// in the lane until a heartbeat woke the loop. A megabyte per 100 ms.
#[test]
fn news_that_order_acts_upon_ask_for_a_turn() {
    let mut world = World::new();
    assert!(!world.apply.turn(Nanos(0)).again);
    let base = Base { index: Index(5), ..Base::default() };
    world.order.0.send(ApplyIn::Load { base, length: 3 << 20 });
    assert!(world.apply.turn(Nanos(0)).again, "it wants the first piece");
    assert!(matches!(world.order.1.take(), Some(ApplyOut::Store(_))));
    assert!(!world.apply.turn(Nanos(0)).again);
}

/// The first writes after a snapshot began copied thousands of pages in one turn of several milliseconds.
#[test]
fn a_turn_that_copies_what_a_snapshot_holds_applies_fewer_commands() {
    let mut world = World::new();
    let in_one_turn = |world: &mut World| {
        world.apply.turn(Nanos(0));
        while world.order.1.take().is_some() {}
        world.told().len()
    };
    for thousand in 0..30 {
        world.put((0..1000).map(|key| thousand * 1000 + key));
        while in_one_turn(&mut world) > 0 {}
    }
    let everywhere = |world: &mut World| world.put((0..2000).map(|key| key * 15));
    everywhere(&mut world);
    assert_eq!(in_one_turn(&mut world), COMMANDS_PER_TURN);
    while in_one_turn(&mut world) > 0 {}
    world.seal(1, Builder::default(), flag::SNAPSHOT, Nanos(0));
    everywhere(&mut world);
    let first = in_one_turn(&mut world);
    assert!((100..COMMANDS_PER_TURN / 2).contains(&first), "{first} commands");
}
