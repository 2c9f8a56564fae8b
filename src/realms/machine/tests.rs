use super::*;
use crate::base::{Life, NodeId, Origin, Rng};
use crate::realms::core::{self, Open};
use crate::realms::kv::ops::{self, Found, Op, Put, Query, Range};
use crate::realms::register;
use crate::realms::reply::{Reply, Status};
use crate::state::snapshot::{Loader, Slice};

fn envelope(realm: RealmId, kind: u8) -> Envelope {
    Envelope { realm: realm as u8, kind, ..Envelope::default() }
}

/// Applies one command and returns its reply.
fn apply(machine: &mut Machine, envelope: Envelope, payload: &[u8]) -> Result<(Applied, Vec<u8>), Halt> {
    let mut effects = Effects { wanted: true, ..Effects::default() };
    let applied = machine.apply(&Stamp::default(), &Command { envelope, payload }, &mut effects)?;
    Ok((applied, effects.reply))
}

fn write(machine: &mut Machine, envelope: Envelope, value: u64) -> (Applied, Vec<u8>) {
    let put = Put { key: b"key".into(), value: value.to_le_bytes().into(), ..Put::default() };
    apply(machine, envelope, &Op::Put(put).encode()).unwrap()
}

fn revision(reply: &[u8]) -> u64 {
    Reply::take(&mut &reply[..]).unwrap().revision
}

/// Value and revision as a reader sees them.
fn value(machine: &Machine) -> (u64, u64) {
    let mut answer = Vec::new();
    let query = Query::Range(Range { key: b"key".into(), ..Range::default() });
    machine.read(RealmId::Kv as u8, &query.encode(), &mut answer);
    let reply = Reply::take(&mut &answer[..]).unwrap();
    let mut bytes = Found::open(reply.body).unwrap().bytes;
    let record = ops::Record::take(&mut bytes).unwrap();
    (u64::from_le_bytes(record.value.try_into().unwrap()), reply.revision)
}

fn status(reply: &[u8]) -> Status {
    Reply::take(&mut &reply[..]).unwrap().status
}

fn open(machine: &mut Machine, window: u16) -> u64 {
    let payload = Open { window, ttl_ms: 10_000 }.encode();
    let (_, reply) = apply(machine, envelope(RealmId::Core, core::OPEN), &payload).unwrap();
    let body = Reply::take(&mut &reply[..]).unwrap().body;
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

/// The machine that a snapshot of this one would give.
fn reloaded(machine: &mut Machine) -> Machine {
    let digest = machine.digest();
    let (mut view, mut loader) = (machine.freeze(Index(1)), Loader::new(Index(1)));
    loop {
        match view.advance(1_000) {
            Slice::More => {}
            Slice::Chunk(block) => drop(loader.feed(block.padded()).unwrap()),
            Slice::End => break,
        }
    }
    let mut loaded = Machine::new();
    loaded.install(loader.finish().unwrap()).unwrap();
    assert_eq!(loaded.digest(), digest);
    loaded
}

#[test]
fn what_this_build_does_not_know_halts_it() {
    let mut machine = Machine::new();
    let feature = Envelope { feature: FEATURE + 1, ..envelope(RealmId::Register, register::WRITE) };
    assert_eq!(apply(&mut machine, feature, &[]), Err(Halt::Feature { needed: FEATURE + 1 }));
    for (realm, kind) in [(RealmId::Register as u8, 99), (9, 1), (RealmId::Catalog as u8, 1)] {
        let unknown = Envelope { realm, kind, ..Envelope::default() };
        assert_eq!(apply(&mut machine, unknown, &[]), Err(Halt::Unknown { realm, kind }));
    }
}

#[test]
fn an_origin_counts_its_commands() {
    let mut machine = Machine::new();
    let stamped = |life, sequence| Envelope {
        origin: Origin::new(NodeId(1), 0, Life(life)),
        sequence,
        ..envelope(RealmId::Kv, ops::WRITE)
    };
    let expect = |machine: &mut Machine, life, sequence, applied| {
        assert_eq!(write(machine, stamped(life, sequence), 5).0, applied, "life {life}, sequence {sequence}");
    };
    expect(&mut machine, 1, 2, Applied::Dropped(Admission::Early));
    expect(&mut machine, 1, 1, Applied::Done);
    expect(&mut machine, 1, 1, Applied::Dropped(Admission::Repeated));
    expect(&mut machine, 1, 3, Applied::Dropped(Admission::Early));
    let mut machine = reloaded(&mut machine);
    expect(&mut machine, 1, 2, Applied::Done);
    // The node's next life ends this one, for all of its lanes.
    expect(&mut machine, 2, 1, Applied::Done);
    expect(&mut machine, 1, 3, Applied::Dropped(Admission::Fenced));
    let fence = [&[1][..], &4u64.to_le_bytes()].concat();
    let _ = apply(&mut machine, envelope(RealmId::Core, core::FENCE), &fence).unwrap();
    let mut machine = reloaded(&mut machine);
    expect(&mut machine, 2, 2, Applied::Dropped(Admission::Fenced));
    expect(&mut machine, 4, 1, Applied::Done);
}

#[test]
fn a_request_that_comes_again_gets_its_first_result() {
    let mut machine = Machine::new();
    let session = open(&mut machine, 2);
    let asked = |request| Envelope { session, request, ..envelope(RealmId::Kv, ops::WRITE) };
    let first = write(&mut machine, asked(1), 10).1;
    let second = write(&mut machine, asked(2), 20).1;
    assert_eq!(write(&mut machine, asked(1), 10).1, first);
    let mut machine = reloaded(&mut machine);
    assert_eq!(write(&mut machine, asked(2), 20).1, second);
    assert_eq!(revision(&first), 2);
    // The third moves the window over the first.
    assert_eq!(revision(&write(&mut machine, asked(3), 30).1), 4);
    assert_eq!(status(&write(&mut machine, asked(1), 10).1), Status::Stale);
    // Gone is gone: never a second execution.
    let _ = apply(&mut machine, envelope(RealmId::Core, core::EXPIRE), &session.to_le_bytes()).unwrap();
    assert_eq!(status(&write(&mut machine, asked(3), 30).1), Status::SessionGone);
    assert_eq!(value(&machine), (30, 4));
}

#[test]
fn a_window_may_be_used_out_of_order_and_with_gaps() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut machine = Machine::new();
        let window = rng.between(1, 9);
        let session = open(&mut machine, window as u16);
        let (mut executed, mut acknowledged) = (std::collections::BTreeMap::new(), 0);
        let mut high = 0;
        for _ in 0..400 {
            // A client sends nothing beyond what it has outstanding; copies of old ones may float about.
            let request = rng.between(1.max(acknowledged.max(20u64) - 20), acknowledged + window);
            let envelope = Envelope { session, request, ..envelope(RealmId::Kv, ops::WRITE) };
            let reply = write(&mut machine, envelope, request).1;
            match status(&reply) {
                Status::Ok => {
                    let revision = revision(&reply);
                    let known = *executed.entry(request).or_insert(revision);
                    assert_eq!(known, revision, "seed {seed}: request {request} was executed twice");
                }
                Status::Stale => assert!(request + window <= high.max(request), "seed {seed}"),
                other => panic!("seed {seed}: {other}"),
            }
            high = high.max(request);
            while executed.contains_key(&(acknowledged + 1)) {
                acknowledged += 1;
            }
            if rng.chance(0.02) {
                machine = reloaded(&mut machine);
            }
        }
        assert_eq!(value(&machine).1, executed.len() as u64 + 1);
    }
}

#[test]
fn results_are_state_on_replicas_where_nobody_waits() {
    let mut replicas = [Machine::new(), Machine::new()];
    let session = replicas.each_mut().map(|machine| open(machine, 4))[0];
    for request in 1..=600u64 {
        let asked = Envelope { session, request, ..envelope(RealmId::Kv, ops::WRITE) };
        let payload = Op::Put(Put { key: request.to_be_bytes().into(), ..Put::default() }).encode();
        for (at, machine) in replicas.iter_mut().enumerate() {
            let mut effects = Effects { wanted: at == 0, ..Effects::default() };
            let applied = machine.apply(
                &Stamp::default(),
                &Command { envelope: asked, payload: &payload },
                &mut effects,
            );
            assert_eq!((applied, effects.wanted), (Ok(Applied::Done), at == 0));
            // Batches of different sizes, one digest.
            if request % (3 + at as u64) == 0 {
                machine.end_batch();
            }
        }
    }
    let [one, two] = &mut replicas;
    assert_eq!(one.digest(), two.digest());
}

#[test]
fn a_session_that_is_not_heard_of_is_proposed_to_expire() {
    let mut machine = Machine::new();
    let session = open(&mut machine, 1);
    machine.lead(Nanos::from_millis(1_000));
    assert!(machine.touch(RealmId::Core as u8, session, Nanos::from_millis(5_000)));
    let mut out = Vec::new();
    assert_eq!(machine.due(Nanos::from_millis(14_999), 10, &mut out), 0);
    assert_eq!(machine.due(Nanos::from_millis(15_000), 10, &mut out), 1);
    assert!(!machine.touch(RealmId::Core as u8, session, Nanos::from_millis(15_000)));
    let command = Command::all(&out).next().unwrap();
    let _ = apply(&mut machine, command.envelope, command.payload).unwrap();
    assert!(!machine.touch(RealmId::Core as u8, session, Nanos::from_millis(15_001)));
    assert_eq!(machine.next_due(), Nanos::MAX);
}
