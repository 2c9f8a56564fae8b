//! Seeded: bytes that no client sends, and clients that do everything at any time.

use std::collections::BTreeMap;

use super::world::World;
use crate::base::{Nanos, Rng};
use crate::doors::Bounds;
use crate::doors::native::wire::{self, Ask, Hello, REQUEST_MAX, Say};
use crate::pipeline::parcel::EdgeOut;
use crate::pipeline::ports::Conn;
use crate::realms::core::Open;
use crate::realms::kv::ops::{self, Delete, Grant, Group, History, Op, Put, Query, Range, Record};
use crate::realms::reply::{Reply, Status};

fn frame(ask: Ask, request: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_frame(&mut out, ask as u8, request, body);
    out
}

#[test]
fn no_bytes_break_the_door() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut w = World::new(Bounds { writes: 1 + rng.below(20) as usize, ..Bounds::default() });
        for slot in 0..4 {
            let conn = w.connect(slot);
            let mut stream = frame(Ask::Hello, 0, &Hello::default().encode());
            for n in 1..rng.between(2, 30) {
                let body = some_body(&mut rng);
                stream.extend(frame(
                    *rng.pick(&[Ask::Write, Ask::Read, Ask::Watch, Ask::KeepAlive]),
                    n,
                    &body,
                ));
                if rng.chance(0.1) {
                    let kind = rng.below(256) as u8;
                    wire::put_frame(&mut stream, kind, rng.next_u64(), &body);
                }
            }
            for _ in 0..rng.below(6) {
                let at = rng.below(stream.len() as u64) as usize;
                stream[at] ^= 1 << rng.below(8);
            }
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(rng.between(1, rest.len() as u64) as usize);
                w.bytes(conn, piece);
                rest = tail;
                if rng.chance(0.3) {
                    w.settle();
                }
            }
        }
        w.settle();
        let pending = w.edge.counters().writes_pending.read() + w.edge.counters().reads_pending.read();
        assert_eq!(pending, 0, "seed {seed}: a request was never answered");
    }
}

fn some_body(rng: &mut Rng) -> Vec<u8> {
    let key = vec![b'a' + rng.below(3) as u8];
    let mut body = match rng.below(4) {
        0 => Op::Put(Put { key, value: vec![7; rng.below(200) as usize], ..Put::default() }).encode(),
        1 => Query::Range(Range { key, ..Range::default() }).encode(),
        2 => history(&key, rng.below(9)),
        _ => (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect(),
    };
    if rng.chance(0.3) && !body.is_empty() {
        let at = rng.below(body.len() as u64) as usize;
        body[at] = rng.next_u64() as u8;
    }
    if rng.chance(0.1) {
        body.truncate(rng.below(body.len() as u64 + 1) as usize);
    }
    body
}

fn history(key: &[u8], revision: u64) -> Vec<u8> {
    let history = History { key: key.to_vec(), end: b"z".to_vec(), revision, ..History::default() };
    rkyv::to_bytes::<rkyv::rancor::Failure>(&history).unwrap().into_vec()
}

/// A client with an exactly-once session, and what it knows.
#[derive(Default)]
struct Client {
    conn: Option<Conn>,
    session: u64,
    /// Number of the last write, and of the last other request.
    write: u64,
    other: u64,
    /// Without an answer, by number: what to send again, if anything.
    open: BTreeMap<u64, Option<Vec<u8>>>,
    /// Key that only this client writes, and how often it did so.
    puts: u64,
    /// Events of its watch by revision: the key's version.
    watch: Option<u64>,
    seen: Vec<(u64, u64)>,
    from: u64,
}

const FREE: u64 = REQUEST_MAX / 2;

impl Client {
    fn reconnect(&mut self, w: &mut World, slot: u32) {
        if let Some(conn) = self.conn.take() {
            w.end(conn);
        }
        let conn = w.connect(slot);
        self.conn = Some(conn);
        w.bytes(conn, &frame(Ask::Hello, FREE, &Hello { session: self.session, ttl_ms: 5000 }.encode()));
        self.open.retain(|_, again| again.is_some());
        self.open.values().flatten().for_each(|frame| w.bytes(conn, frame));
        if self.watch.is_some() {
            self.other += 1;
            self.watch = Some(FREE + self.other);
            self.from = self.seen.last().map_or(1, |(revision, _)| revision + 1);
            self.open.insert(FREE + self.other, None);
            w.bytes(conn, &frame(Ask::Watch, FREE + self.other, &history(b"a", self.from)));
        }
    }

    fn ask(&mut self, w: &mut World, ask: Ask, body: &[u8], again: bool) -> u64 {
        let number = if again {
            self.write += 1;
            self.write
        } else {
            self.other += 1;
            FREE + self.other
        };
        let bytes = frame(ask, number, body);
        w.bytes(self.conn.unwrap(), &bytes);
        self.open.insert(number, again.then_some(bytes));
        number
    }

    fn listen(&mut self, w: &mut World, seed: u64) {
        let Some(conn) = self.conn else { return };
        for (head, body) in w.frames(conn) {
            match Say::from_byte(head.kind).unwrap() {
                Say::Welcome | Say::LeaseGone => {}
                Say::Event => {
                    assert_eq!(Some(head.request), self.watch, "seed {seed}");
                    for group in Group::all(&body) {
                        for record in Record::all(group.bytes) {
                            self.seen.push((group.revision, record.modified));
                        }
                    }
                }
                say => {
                    assert!(self.open.remove(&head.request).is_some(), "seed {seed}: {say:?} comes twice");
                    if say == Say::Reply && self.session == 0 && head.request > FREE {
                        let reply = Reply::take(&mut &body[..]).unwrap();
                        if reply.status == Status::Ok && reply.body.len() == 16 {
                            self.session = u64::from_le_bytes(*reply.body.first_chunk().unwrap());
                        }
                    }
                    assert!(say != Say::Error || head.request > FREE, "seed {seed}: a write failed");
                }
            }
        }
        assert!(!w.net.closed.contains(&conn), "seed {seed}: hung up on");
    }
}

/// Each client puts its own key and counts; connections break at any time. In the end the key's version is the
/// count: nothing was lost, nothing was done twice. A watch has seen every revision once, in order.
#[test]
fn everything_is_done_once_and_told_once() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut w = World::new(Bounds { writes: 1 + rng.below(12) as usize, ..Bounds::default() });
        let mut clients: Vec<Client> = (0..3).map(|_| Client::default()).collect();
        for (slot, client) in clients.iter_mut().enumerate() {
            client.reconnect(&mut w, slot as u32);
            client.ask(&mut w, Ask::OpenSession, &Open { window: 64, ttl_ms: 5000 }.encode(), false);
            w.settle();
            client.listen(&mut w, seed);
            assert!(client.session > 0);
        }
        for _ in 0..200 {
            let slot = rng.below(3) as usize;
            let client = &mut clients[slot];
            let key = vec![b'a' + slot as u8];
            match rng.below(12) {
                0..5 if client.open.len() < 40 => {
                    let ops = (0..rng.between(1, 3))
                        .map(|_| Op::Put(Put { key: key.clone(), value: vec![1; 20], ..Put::default() }))
                        .collect::<Vec<_>>();
                    client.puts += ops.len() as u64;
                    client.ask(&mut w, Ask::Write, &ops::Write { ops }.encode(), true);
                }
                5 => {
                    let query = Query::Range(Range { key, ..Range::default() }).encode();
                    client.ask(&mut w, *rng.pick(&[Ask::Read, Ask::ReadLocal]), &query, false);
                }
                6 if client.watch.is_none() => {
                    client.from = rng.between(1, 4);
                    let number = client.ask(&mut w, Ask::Watch, &history(b"a", client.from), false);
                    client.watch = Some(number);
                }
                7 => {
                    let gone = Delete { key: b"x".to_vec(), ..Delete::default() };
                    client.ask(&mut w, Ask::Write, &Op::Delete(gone).encode(), true);
                }
                8 => {
                    let grant = Op::Grant(Grant { lease: 0, ttl_s: 5 });
                    client.ask(&mut w, Ask::Write, &grant.encode(), true);
                    client.ask(&mut w, Ask::KeepAlive, &rng.below(5).to_le_bytes(), false);
                    w.say(EdgeOut::Gone(vec![(1, rng.below(5))]));
                }
                9 if rng.chance(0.5) => client.reconnect(&mut w, slot as u32),
                10 => w.now = w.now.plus(Nanos::from_millis(rng.below(100))),
                _ => {
                    w.turn();
                }
            }
            if rng.chance(0.3) {
                w.apply();
            }
            clients.iter_mut().for_each(|client| client.listen(&mut w, seed));
        }
        w.settle();
        for (slot, client) in clients.iter_mut().enumerate() {
            client.listen(&mut w, seed);
            assert!(client.open.is_empty(), "seed {seed}: no answer to {:?}", client.open.keys());
            let query = Query::Range(Range { key: vec![b'a' + slot as u8], ..Range::default() }).encode();
            let mut reply = Vec::new();
            w.machine.read(1, &query, &mut reply);
            let body = Reply::take(&mut &reply[..]).unwrap().body;
            let version = Record::all(&body[16..]).next().map_or(0, |record| record.version);
            assert_eq!(version, client.puts, "seed {seed} client {slot}");
            let revisions: Vec<u64> = client.seen.iter().map(|(revision, _)| *revision).collect();
            if client.watch.is_some() {
                let first = *revisions.first().unwrap_or(&2);
                let all: Vec<u64> = (first..=w.machine.kv().revision()).collect();
                assert_eq!(revisions, all, "seed {seed} client {slot}: events lost or repeated");
                assert!(first <= 4 || client.from > 1, "seed {seed}: events before {first} are missing");
            }
        }
        let counters = w.edge.counters();
        assert_eq!((counters.writes_pending.read(), counters.reads_pending.read()), (0, 0), "seed {seed}");
    }
}
