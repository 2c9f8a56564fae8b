//! The stage over a network that only notes what is asked of it.

use super::*;
use crate::base::{Epoch, Incarnation, Index};
use crate::pipeline::lane::lane;
use crate::pipeline::ports::Door;

#[derive(Default)]
struct Wires {
    closed: Vec<Conn>,
    paused: Vec<(Conn, bool)>,
}

impl Net for Wires {
    fn send(&mut self, _: Conn, _: Vec<u8>) {}
    fn pause(&mut self, conn: Conn, paused: bool) {
        self.paused.push((conn, paused));
    }
    fn close(&mut self, conn: Conn) {
        self.closed.push(conn);
    }
    fn dial(&mut self, _: u64, _: SocketAddr) {}
}

const CLUSTER: ClusterId = ClusterId(7);
const STANDING: Standing = Standing { life: Life(1), promised: Epoch(1), last: Index(1) };

fn voice(id: u8) -> Voice {
    Voice { id: NodeId(id), incarnation: Incarnation(id.into()) }
}

fn conn(slot: u32) -> Conn {
    Conn { slot, generation: 1 }
}

fn stage(news: usize) -> (Peers, Rx<PeerOut>, Wires) {
    let ((_, rx), (tx, out)) = (lane(8), lane(news));
    (Peers::new(voice(1), CLUSTER, STANDING, rx, tx), out, Wires::default())
}

impl Peers {
    fn accept(&mut self, wires: &mut Wires, conn: Conn) {
        let from = "127.0.0.1:9".parse().unwrap();
        self.on_net(Nanos(1), &NetEvent::Accepted { conn, door: Door::Peer, from, by: None }, wires);
    }

    fn hear(&mut self, wires: &mut Wires, conn: Conn, bytes: &[u8]) {
        self.on_net(Nanos(1), &NetEvent::Bytes { conn, bytes }, wires);
    }
}

fn hello(id: u8, call: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let from = voice(id);
    Hello { cluster: CLUSTER, from, to: NodeId(1), standing: STANDING, call, address: None }
        .encode(&mut bytes);
    bytes
}

fn says(epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Msg::TakeOver { epoch: Epoch(epoch) }.encode(&mut bytes);
    bytes
}

/// Found by reading: of so many callers the one with the lowest number was forgotten, a member's above all, and what was
/// left of its earlier call passed for news.
#[test]
fn who_is_connected_is_not_forgotten_for_those_who_come_and_go() {
    let (mut peers, _out, mut wires) = stage(1_000);
    peers.accept(&mut wires, conn(1));
    peers.hear(&mut wires, conn(1), &hello(2, 5));
    for passer in 0..2 * VOICES_MAX as u32 {
        let from = Voice { id: NodeId(9), incarnation: Incarnation(u64::from(passer) + 1) };
        let mut bytes = Vec::new();
        Hello { cluster: CLUSTER, from, to: NodeId(1), standing: STANDING, call: 1, address: None }
            .encode(&mut bytes);
        peers.accept(&mut wires, conn(10 + passer));
        peers.hear(&mut wires, conn(10 + passer), &bytes);
        peers.on_net(Nanos(1), &NetEvent::Ended { conn: conn(10 + passer), why: Ended::Closed }, &mut wires);
    }
    assert!(peers.heard.len() <= VOICES_MAX);
    peers.accept(&mut wires, conn(2));
    wires.closed.clear();
    peers.hear(&mut wires, conn(2), &hello(2, 4));
    assert_eq!(wires.closed, [conn(2)], "it is the earlier call, and not taken for a new one");
}

/// Found by reading: what still lay in an earlier connection was handed on behind what came on the later one. A batch
/// that a voter had held once, and replaced since, then counted as what it held when it gave its promise.
#[test]
fn a_later_call_ends_the_earlier_ones() {
    let (mut peers, mut out, mut wires) = stage(64);
    for (slot, id, call) in [(1, 2, 1), (2, 3, 1), (3, 2, 2)] {
        peers.accept(&mut wires, conn(slot));
        peers.hear(&mut wires, conn(slot), &hello(id, call));
    }
    assert_eq!(wires.closed, [conn(1)]);
    for slot in 1..=3 {
        peers.hear(&mut wires, conn(slot), &says(slot.into()));
    }
    let mut heard = Vec::new();
    while let Some(news) = out.take() {
        if let PeerOut::Message { from, msg: Msg::TakeOver { epoch } } = news {
            heard.push((from, epoch));
        }
    }
    assert_eq!(heard, [(voice(3), Epoch(2)), (voice(2), Epoch(3))]);
}

/// Found by reading: with its lane full the stage paused the connections that it had, and read from new ones.
#[test]
fn a_connection_that_comes_while_all_are_paused_is_paused_too() {
    let (mut peers, mut out, mut wires) = stage(1);
    peers.accept(&mut wires, conn(1));
    peers.hear(&mut wires, conn(1), &[hello(2, 1), says(1)].concat());
    peers.turn(Nanos(2), &mut wires);
    peers.accept(&mut wires, conn(2));
    assert_eq!(wires.paused, [(conn(1), true), (conn(2), true)]);
    while out.take().is_some() {
        peers.turn(Nanos(3), &mut wires);
    }
    assert_eq!(wires.paused[2..], [(conn(1), false), (conn(2), false)]);
}

/// Found by reading: each word of leaving was remembered by itself, for as long as the peer was not dialled again.
#[test]
fn who_leaves_is_remembered_once() {
    let (mut peers, _, mut wires) = stage(64);
    peers.accept(&mut wires, conn(1));
    peers.hear(&mut wires, conn(1), &hello(2, 1));
    let mut leaves = Vec::new();
    Msg::Leaving.encode(&mut leaves);
    (0..9).for_each(|_| peers.hear(&mut wires, conn(1), &leaves));
    assert_eq!(peers.leaving.len(), 1);
}
