//! The stage against a network that only takes notes, and lanes whose other ends the test holds.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use super::rig::{Rig, conn as at};
use super::*;
use crate::base::{Index, Life, NodeId};
use crate::doors::native::wire::{self, Ask, Front, Hello, Say};
use crate::doors::zk;
use crate::pipeline::ports::{Door, Ended};
use crate::realms::kv::ops::{Op, Put, Query, Range};
use crate::state::Command;

/// What its clients were sent and nobody has looked at, and the rig itself.
struct World {
    rig: Rig,
    heard: BTreeMap<u32, Vec<u8>>,
}

impl Deref for World {
    type Target = Rig;
    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Rig {
        &mut self.rig
    }
}

impl World {
    fn new(bounds: Bounds, limits: Limits) -> World {
        let origin = Origin::new(NodeId(1), 2, Life(7));
        World { rig: Rig::new(origin, bounds, limits, Doors::default(), 4), heard: BTreeMap::new() }
    }

    fn connect(&mut self, slot: u32) {
        self.rig.connect(at(slot), Door::Native);
    }

    /// Connected and greeted.
    fn client(&mut self, slot: u32) {
        self.connect(slot);
        self.bytes(slot, &frame(Ask::Hello, 0, &Hello::default().encode()));
        self.turn();
        self.deliver();
        self.heard.clear();
        self.net.sends = 0;
    }

    /// The network sends everything.
    fn deliver(&mut self) {
        for (slot, bytes) in self.rig.deliver_all() {
            self.heard.entry(slot).or_default().extend_from_slice(&bytes);
        }
    }

    fn frames(&mut self, slot: u32) -> Vec<(u8, u64, Vec<u8>)> {
        self.deliver();
        let bytes = self.heard.remove(&slot).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Ok(Front::Frame(head, body)) = wire::take_frame(&mut rest, u32::MAX) {
            frames.push((head.kind, head.request, body.to_vec()));
        }
        assert!(rest.is_empty());
        frames
    }

    /// Connections, writes under way, their bytes, reads under way, connections that wait for permits.
    fn gauges(&self) -> (u64, u64, u64, u64, u64) {
        let c = self.edge.counters();
        let [writes, bytes, reads] = [&c.writes_pending, &c.write_bytes_pending, &c.reads_pending];
        (c.connections.read(), writes.read(), bytes.read(), reads.read(), c.parked_now.read())
    }

    fn intake(&mut self) -> Option<Intake> {
        match self.order.take() {
            Some(EdgeIn::Intake(intake)) => Some(intake),
            None => None,
            other => panic!("expected an intake, got {other:?}"),
        }
    }

    /// The log's word on these sequences.
    fn outcomes(&mut self, items: &[(u64, &[u8])]) {
        let mut outcomes = Outcomes { index: Index(5), ..Outcomes::default() };
        for (sequence, reply) in items {
            outcomes.replies.extend_from_slice(reply);
            outcomes.items.push((*sequence, outcomes.replies.len() as u32));
        }
        self.from_apply.send(EdgeOut::Outcomes(outcomes));
    }
}

fn frame(ask: Ask, request: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_frame(&mut out, ask as u8, request, body);
    out
}

/// A write of this value.
fn put(value: &[u8]) -> Vec<u8> {
    Op::Put(Put { key: b"k".to_vec(), value: value.to_vec(), ..Put::default() }).encode()
}

fn get(key: &[u8]) -> Vec<u8> {
    Query::Range(Range { key: key.to_vec(), ..Range::default() }).encode()
}

fn payloads(intake: &Intake) -> Vec<Vec<u8>> {
    Command::all(&intake.commands).map(|c| c.payload.to_vec()).collect()
}

#[test]
fn each_loss_of_the_leader_is_counted_once() {
    let mut world = World::new(Bounds::default(), Limits::default());
    for serving in [false, true, true, false, false, true, false] {
        world.from_order.send(EdgeOut::Serving(serving));
        world.turn();
    }
    assert_eq!(world.edge.counters().leaderless.read(), 2);
}

#[test]
fn a_turns_writes_are_one_parcel_and_its_replies_one_send() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    w.client(1);
    for n in 0..3 {
        w.bytes(0, &frame(Ask::Write, 10 + n, &put(&[n as u8; 20])));
    }
    w.bytes(1, &frame(Ask::Write, 99, &put(b"x")));
    w.turn();
    let intake = w.intake().unwrap();
    assert_eq!((intake.first, intake.count, intake.origin.lane()), (1, 4, 2));
    assert_eq!(payloads(&intake), [put(&[0; 20]), put(&[1; 20]), put(&[2; 20]), put(b"x")]);
    let sequences: Vec<u64> = Command::all(&intake.commands).map(|c| c.envelope.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert!(w.intake().is_none());

    w.outcomes(&[(1, b"a"), (2, b"bb"), (3, b""), (4, b"d")]);
    w.turn();
    assert_eq!(w.net.sends, 2, "one per connection");
    let reply = Say::Reply as u8;
    assert_eq!(w.frames(0), [(reply, 10, b"a".to_vec()), (reply, 11, b"bb".to_vec()), (reply, 12, vec![])]);
    assert_eq!(w.frames(1), [(reply, 99, b"d".to_vec())]);
}

#[test]
fn frames_cut_anywhere_are_put_together() {
    let mut stream = Vec::new();
    for n in 0..20u64 {
        stream.extend(frame(Ask::Write, n, &put(&vec![n as u8; (n * 37 % 90) as usize])));
    }
    for step in [1, 2, 7, 15, 16, 17, 64, 333] {
        let mut w = World::new(Bounds::default(), Limits::default());
        w.client(0);
        stream.chunks(step).for_each(|piece| w.bytes(0, piece));
        w.turn();
        let got = payloads(&w.intake().unwrap());
        let want: Vec<Vec<u8>> = (0..20u64).map(|n| put(&vec![n as u8; (n * 37 % 90) as usize])).collect();
        assert_eq!(got, want, "in pieces of {step}");
    }
}

#[test]
fn without_permits_a_connection_waits_and_goes_on() {
    let mut w = World::new(Bounds { writes: 2, ..Bounds::default() }, Limits::default());
    w.client(0);
    w.client(1);
    let burst: Vec<u8> = (0..5).flat_map(|n| frame(Ask::Write, n, &put(b"x"))).collect();
    w.bytes(0, &burst);
    w.bytes(1, &frame(Ask::Write, 77, &put(b"y")));
    w.turn();
    assert_eq!(w.intake().unwrap().count, 2);
    assert_eq!(w.net.paused.get(&0), Some(&true));
    let bytes = 2 * crate::state::command::size_of_command(put(b"x").len());
    assert_eq!(w.gauges(), (2, 2, bytes as u64, 0, 2));
    w.turn();
    assert!(w.intake().is_none(), "nothing enters without a permit");
    // Two come back: both go to the connection that waits longest, which then stands behind the other.
    w.outcomes(&[(1, b""), (2, b"")]);
    w.turn();
    assert_eq!(payloads(&w.intake().unwrap()), [put(b"x"), put(b"x")]);
    w.outcomes(&[(3, b""), (4, b"")]);
    w.turn();
    assert_eq!(payloads(&w.intake().unwrap()), [put(b"y"), put(b"x")]);
    assert_eq!(w.net.paused.get(&0), Some(&false), "all of its input is taken");
    assert_eq!(w.edge.counters().parked.read(), 3);
}

#[test]
fn outcomes_for_the_gone_give_their_permits_back() {
    let mut w = World::new(Bounds { writes: 1, ..Bounds::default() }, Limits::default());
    w.client(0);
    w.bytes(0, &frame(Ask::Write, 1, &put(b"x")));
    w.turn();
    w.end(0, Ended::Closed);
    // The slot's next owner must not get the reply.
    w.rig.connect(Conn { slot: 0, generation: 2 }, Door::Native);
    w.outcomes(&[(1, b"reply")]);
    w.turn();
    assert_eq!(w.gauges(), (1, 0, 0, 0, 0));
    assert_eq!(w.frames(0), []);
}

#[test]
fn what_no_outcome_tells_is_unknown() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    (0..4).for_each(|n| w.bytes(0, &frame(Ask::Write, n, &put(b"x"))));
    w.turn();
    w.from_apply.send(EdgeOut::Unknown { below: 2 });
    // A jump over 2; a repeat of 1; then all is told.
    w.outcomes(&[(3, b"c")]);
    w.outcomes(&[(1, b"late"), (3, b"late"), (4, b"d")]);
    w.turn();
    let kinds: Vec<(u8, u64)> = w.frames(0).into_iter().map(|(kind, request, _)| (kind, request)).collect();
    let (reply, error) = (Say::Reply as u8, Say::Error as u8);
    assert_eq!(kinds, [(error, 0), (error, 1), (reply, 2), (reply, 3)]);
    assert_eq!(w.edge.counters().writes_unknown.read(), 2);
}

#[test]
fn local_reads_go_to_apply_and_linearizable_ones_to_order() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    w.bytes(0, &frame(Ask::ReadLocal, 1, &get(b"one")));
    w.bytes(0, &frame(Ask::Read, 2, &get(b"two")));
    w.bytes(0, &frame(Ask::ReadLocal, 3, &get(b"three")));
    w.turn();
    let local = w.apply.take().unwrap();
    assert_eq!(
        (local.lane, &local.queries[..], local.items.len()),
        (2, &[get(b"one"), get(b"three")].concat()[..], 2)
    );
    let Some(EdgeIn::Reads(linear)) = w.order.take() else { panic!("no reads for order") };
    assert_eq!(linear.queries, get(b"two"));
    let mut answers = Answers::default();
    for item in &local.items {
        answers.bytes.push(b'!');
        answers.items.push((item.tag, answers.bytes.len() as u32));
    }
    w.from_apply.send(EdgeOut::Answers(answers));
    w.from_order.send(EdgeOut::ReadsFailed(linear.items.iter().map(|item| item.tag).collect()));
    w.turn();
    let frames = w.frames(0);
    assert_eq!(frames[0].0, Say::Error as u8);
    assert_eq!(&frames[1..], [(Say::Reply as u8, 1, b"!".to_vec()), (Say::Reply as u8, 3, b"!".to_vec())]);
    assert_eq!(w.gauges(), (1, 0, 0, 0, 0));
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_then_cut() {
    let limits = Limits { out_high_bytes: 100, out_max_bytes: 1000, ..Limits::default() };
    let mut w = World::new(Bounds::default(), limits);
    w.client(0);
    let ping = frame(Ask::Ping, 1, b"");
    w.bytes(0, &ping.repeat(20));
    assert_eq!(w.net.paused.get(&0), Some(&true), "320 bytes of replies wait");
    w.turn();
    w.deliver();
    w.turn();
    assert_eq!(w.net.paused.get(&0), Some(&false));
    assert_eq!(w.frames(0).len(), 20);
    // Now the network takes one send and no more, while answers keep coming.
    w.bytes(0, &frame(Ask::Write, 5, &put(b"x")).repeat(30));
    w.turn();
    for sequence in 1..=30 {
        w.outcomes(&[(sequence, &[0; 64])]);
        w.turn();
    }
    assert_eq!(w.net.closed, [0]);
    assert_eq!(w.edge.counters().cut_output.read(), 1);
    assert_eq!(w.gauges().0, 0);
}

#[test]
fn a_stalled_send_is_cut() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    w.client(1);
    w.bytes(0, &frame(Ask::Ping, 1, b""));
    let deadline = w.turn().deadline;
    assert!(deadline < Nanos::MAX);
    w.now = deadline.plus(Nanos::from_millis(61_000));
    w.turn();
    assert_eq!(w.net.closed, [0]);
    assert_eq!(w.edge.counters().cut_stalled.read(), 1);
}

#[test]
fn silence_instead_of_hello_is_hung_up_on_after_five_seconds() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.connect(0);
    w.client(1);
    let deadline = w.turn().deadline;
    assert_eq!(deadline, Nanos(1).plus(Nanos::from_millis(5_000)));
    w.now = deadline;
    w.turn();
    assert_eq!(w.net.closed, [0]);
    w.bytes(0, b"too late");
    assert_eq!(w.gauges().0, 1);
}

#[test]
fn a_last_word_is_sent_before_hanging_up() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    w.bytes(0, &frame(Ask::Ping, 1, b""));
    w.turn(); // The pong is under way.
    w.bytes(0, &[0xff; 16]);
    w.turn();
    assert!(w.net.closed.is_empty(), "the error waits behind the pong");
    w.deliver();
    w.turn();
    assert_eq!(w.net.closed, [0]);
    let frames = w.frames(0);
    assert_eq!((frames[0].0, frames[1].0), (Say::Pong as u8, Say::Error as u8));
}

#[test]
fn a_full_lane_holds_the_turns_work_back() {
    let mut w = World::new(Bounds::default(), Limits::default());
    w.client(0);
    for n in 0..4 {
        w.bytes(0, &frame(Ask::Write, n, &put(b"x")));
        assert!(w.turn().deadline > Nanos::from_millis(1_000));
    }
    w.bytes(0, &frame(Ask::Write, 4, &put(b"y")));
    assert!(w.turn().deadline < Nanos::from_millis(1), "it looks again soon");
    w.bytes(0, &frame(Ask::Write, 5, &put(b"z")));
    (0..4).for_each(|_| assert_eq!(w.intake().unwrap().count, 1));
    w.turn();
    let intake = w.intake().unwrap();
    assert_eq!((intake.first, payloads(&intake)), (5, vec![put(b"y"), put(b"z")]));
}

#[test]
fn too_many_connections_are_turned_away() {
    let mut w = World::new(Bounds::default(), Limits { connections: 2, ..Limits::default() });
    (0..3).for_each(|slot| w.connect(slot));
    assert_eq!((w.net.closed.clone(), w.edge.counters().refused.read()), (vec![2], 1));
}

/// The door refuses while it opens: once such a guest stayed, unheard for ever.
#[test]
fn whom_the_door_refuses_at_once_is_hung_up_on() {
    let mut w = World::new(Bounds::default(), Limits::default());
    let origin = Origin::new(NodeId(1), 2, Life(7));
    let config = zk::Config { per_address_max: 1, ..zk::Config::default() };
    w.edge.doors.zk = Some(zk::Zk::new(origin, config.into(), zk::Board::new(1).into()));
    for slot in 0..2 {
        w.rig.connect(at(slot), Door::Zk);
    }
    w.turn();
    assert_eq!(w.net.closed, [1]);
}

#[test]
fn idle_connections_own_no_buffers() {
    let mut w = World::new(Bounds::default(), Limits::default());
    (0..2000).for_each(|slot| w.client(slot));
    w.bytes(7, &frame(Ask::Write, 1, &put(b"x"))[..9]);
    assert_eq!(w.edge.floor.buffers(), 1, "one has half a frame");
    w.bytes(7, &frame(Ask::Write, 1, &put(b"x"))[9..]);
    w.turn();
    w.outcomes(&[(1, b"")]);
    w.turn();
    w.deliver();
    assert_eq!(w.edge.floor.buffers(), 0);
    let place = floor::Floor::place_bytes();
    assert!(place <= 320, "a connection takes {place} bytes");
}
