use super::*;
use crate::base::{Incarnation, NodeId, Origin};
use crate::realms::core::{self, Open};
use crate::realms::register;
use crate::realms::reply::Reply;
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
    apply(machine, envelope, &register::write(1, value)).unwrap()
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
        origin: Origin::new(NodeId(1), 0, Incarnation(life)),
        sequence,
        ..envelope(RealmId::Register, register::WRITE)
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
