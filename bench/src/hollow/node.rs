//! One node: its clients' frames into the log, and their answers once two nodes have them on disk.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;

use quorate::base::{Index, Nanos};
use quorate::doors::native::wire::{self, Ask, BODY_MAX, Front, Welcome};
use quorate::pipeline::ports::{Conn, DiskEvent, Door, NetEvent, Turn};
use quorate::pipeline::station::{Ports, Station};
use quorate::realms::kv::ops::Record;
use quorate::realms::reply::{self, Status};

use super::LEADER;
use super::links::{self, Links, Say};
use super::log::Log;

/// As the server's.
const BATCH_BYTES: usize = 512 << 10;
const IN_FLIGHT: u64 = 4;

/// In front of each client's frame in the log: `slot u32 | generation u32 | node u32 | frame's length u32`.
const STAMP: usize = 16;

pub struct Node {
    me: u8,
    leader: SocketAddr,
    dialled: bool,
    /// Made once this node can serve.
    ready: Option<PathBuf>,
    links: Links,
    /// Connections to other nodes: the leader's followers, or the leader.
    peers: Vec<Peer>,
    log: Log,
    /// Commands on their way into a batch, or to the leader.
    intake: Vec<u8>,
    pieces: VecDeque<(usize, u32)>,
    count: u32,
    decided: Index,
    reads: Reads,
    answers: Answers,
}

struct Peer {
    conn: Conn,
    durable: Index,
    told: Index,
}

/// Linearizable reads: those of this turn, and those under way by number.
#[derive(Default)]
struct Reads {
    fresh: Vec<(Conn, u64)>,
    asked: VecDeque<(u64, Vec<(Conn, u64)>)>,
    number: u64,
}

/// The same for everybody.
struct Answers {
    write: Vec<u8>,
    read: Vec<u8>,
}

impl Node {
    pub fn new(me: u8, leader: SocketAddr, ready: PathBuf) -> Node {
        let (mut write, mut read) = (Vec::new(), Vec::new());
        reply::bare(&mut write, Status::Ok, 1);
        let start = reply::begin(&mut read);
        read.extend_from_slice(&1u64.to_le_bytes());
        read.extend_from_slice(&1u64.to_le_bytes());
        let (key, value) = (&[b'k'; 17], &[b'v'; 100]);
        Record { key, value, modified: 1, create: 1, version: 1, lease: 0, flags: 0 }.write(true, &mut read);
        reply::finish(&mut read, start, Status::Ok, 0, 1);
        Node {
            me,
            leader,
            dialled: false,
            ready: Some(ready),
            links: Links::default(),
            peers: Vec::new(),
            log: Log::default(),
            intake: Vec::new(),
            pieces: VecDeque::new(),
            count: 0,
            decided: Index(0),
            reads: Reads::default(),
            answers: Answers { write, read },
        }
    }

    fn leads(&self) -> bool {
        self.me == LEADER
    }

    fn on_bytes(&mut self, conn: Conn, bytes: &[u8], ports: &mut impl Ports) {
        let Some(part) = self.links.part(conn) else { return };
        let mut whole = std::mem::take(part);
        let mut rest = bytes;
        if !whole.is_empty() {
            whole.extend_from_slice(bytes);
            rest = &whole;
        }
        if self.peers.iter().any(|peer| peer.conn == conn) {
            while let Some((say, number, payload)) = links::take(&mut rest) {
                self.on_peer(conn, say, number, payload, ports);
            }
        } else if self.leads() && rest.get(4..8).is_some_and(|say| say == (Say::Hello as u32).to_le_bytes()) {
            links::take(&mut rest);
            self.peers.push(Peer { conn, durable: Index(0), told: Index(0) });
        } else {
            self.take_frames(conn, &mut rest);
        }
        let rest = rest.to_vec();
        if let Some(part) = self.links.part(conn) {
            *part = rest;
        }
    }

    fn take_frames(&mut self, conn: Conn, rest: &mut &[u8]) {
        loop {
            let before = *rest;
            let Ok(Front::Frame(head, body)) = wire::take_frame(rest, BODY_MAX) else { return };
            match Ask::from_byte(head.kind) {
                Some(Ask::Write) => {
                    let frame = &before[..wire::HEAD + body.len()];
                    for word in [conn.slot, conn.generation, u32::from(self.me), frame.len() as u32] {
                        self.intake.extend_from_slice(&word.to_le_bytes());
                    }
                    self.intake.extend_from_slice(frame);
                    self.intake.resize(self.intake.len().next_multiple_of(16), 0);
                    self.count += 1;
                }
                Some(Ask::Read) => self.reads.fresh.push((conn, head.request)),
                Some(ask) => {
                    let Some(out) = self.links.out(conn) else { return };
                    match ask {
                        Ask::ReadLocal => {
                            wire::put_frame(out, wire::Say::Reply as u8, head.request, &self.answers.read)
                        }
                        Ask::Hello => {
                            let welcome = Welcome { body_max: BODY_MAX }.encode();
                            wire::put_frame(out, wire::Say::Welcome as u8, head.request, &welcome);
                        }
                        _ => wire::put_frame(out, wire::Say::Pong as u8, head.request, &[]),
                    }
                }
                None => {}
            }
        }
    }

    fn on_peer(&mut self, conn: Conn, say: Say, number: u64, payload: &[u8], ports: &mut impl Ports) {
        match say {
            Say::Hello => {}
            Say::Forward => {
                self.intake.extend_from_slice(payload);
                self.count += number as u32;
                self.close_piece();
            }
            Say::Durable => {
                let peer = self.peers.iter_mut().find(|peer| peer.conn == conn).expect("a peer spoke");
                peer.durable = Index(number);
            }
            Say::Ask => self.say(conn, Say::Read, number, &[]),
            Say::Probe if self.leads() => self.confirm(number),
            Say::Probe => self.say(conn, Say::Probe, number, &[]),
            Say::Read => self.confirm(number),
            Say::Append => {
                self.log.take(payload, ports);
                self.decided = Index(number);
            }
            Say::Decided => self.decided = Index(number),
        }
    }

    fn say(&mut self, to: Conn, say: Say, number: u64, payload: &[u8]) {
        if let Some(out) = self.links.out(to) {
            links::put(out, say, number, payload);
        }
    }

    /// What the intake holds since the last piece travels as one.
    fn close_piece(&mut self) {
        let before: usize = self.pieces.iter().map(|piece| piece.0).sum();
        if self.intake.len() > before {
            self.pieces.push_back((self.intake.len() - before, std::mem::take(&mut self.count)));
        }
    }

    /// A quorum has said so: all reads up to this number may be answered.
    fn confirm(&mut self, number: u64) {
        while self.reads.asked.front().is_some_and(|asked| asked.0 <= number) {
            for (conn, request) in self.reads.asked.pop_front().expect("just seen").1 {
                if let Some(out) = self.links.out(conn) {
                    wire::put_frame(out, wire::Say::Reply as u8, request, &self.answers.read);
                }
            }
        }
    }

    fn ask_reads(&mut self) {
        if self.reads.fresh.is_empty() || self.peers.is_empty() {
            return;
        }
        self.reads.number += 1;
        let fresh = std::mem::take(&mut self.reads.fresh);
        self.reads.asked.push_back((self.reads.number, fresh));
        let say = if self.leads() { Say::Probe } else { Say::Ask };
        for at in 0..self.peers.len() {
            self.say(self.peers[at].conn, say, self.reads.number, &[]);
        }
    }

    /// Leader: batches of what has come in, as many as may be under way.
    fn propose(&mut self, now: Nanos, ports: &mut impl Ports) {
        self.close_piece();
        let mut from = 0;
        while !self.pieces.is_empty() && self.log.last.0 - self.decided.0 < IN_FLIGHT && self.peers.len() == 2
        {
            let (mut bytes, mut count) = (0, 0);
            while let Some((more, commands)) = self.pieces.front()
                && (bytes == 0 || bytes + more <= BATCH_BYTES)
            {
                (bytes, count) = (bytes + more, count + commands);
                self.pieces.pop_front();
            }
            let block = self.log.seal(&self.intake[from..from + bytes], count, now, ports);
            from += bytes;
            for at in 0..self.peers.len() {
                self.peers[at].told = self.decided;
                self.say(self.peers[at].conn, Say::Append, self.decided.0, &block);
            }
        }
        self.intake.drain(..from);
    }

    /// Two of three disks hold it.
    fn decide(&mut self) {
        let best = self.peers.iter().map(|peer| peer.durable).max().unwrap_or_default();
        self.decided = self.decided.max(best.min(self.log.durable));
        for at in 0..self.peers.len() {
            if self.peers[at].told < self.decided {
                self.peers[at].told = self.decided;
                self.say(self.peers[at].conn, Say::Decided, self.decided.0, &[]);
            }
        }
    }

    fn answer_writes(&mut self) {
        while let Some(batch) = self.log.next_decided(self.decided) {
            let mut rest = batch.body();
            while let Some((stamp, frame)) = rest.split_first_chunk::<STAMP>() {
                let word =
                    |at: usize| u32::from_le_bytes([stamp[at], stamp[at + 1], stamp[at + 2], stamp[at + 3]]);
                let length = word(12) as usize;
                if word(8) == u32::from(self.me)
                    && let Some(out) = self.links.out(Conn { slot: word(0), generation: word(4) })
                {
                    let request = frame[8..16].try_into().map_or(0, u64::from_le_bytes);
                    wire::put_frame(out, wire::Say::Reply as u8, request, &self.answers.write);
                }
                rest = &frame[length.next_multiple_of(16)..];
            }
        }
    }
}

impl Station for Node {
    fn on_net<P: Ports>(&mut self, _: Nanos, event: NetEvent<'_>, ports: &mut P) {
        match event {
            NetEvent::Accepted { conn, door: Door::Native | Door::Peer, .. } => self.links.open(conn),
            NetEvent::Accepted { .. } => {}
            NetEvent::Bytes { conn, bytes } => self.on_bytes(conn, bytes, ports),
            NetEvent::Sent { conn, buffer } => self.links.on_sent(conn, buffer),
            NetEvent::Ended { conn, .. } => {
                self.links.close(conn);
                assert!(self.peers.iter().all(|peer| peer.conn != conn), "a node is gone: the run is over");
            }
            NetEvent::Dialled { conn, .. } => {
                self.links.open(conn);
                self.peers.push(Peer { conn, durable: Index(0), told: Index(0) });
                self.say(conn, Say::Hello, u64::from(self.me), &[]);
            }
            NetEvent::DialFailed { token, .. } => ports.dial(token, self.leader),
        }
    }

    fn on_disk<P: Ports>(&mut self, _: Nanos, event: DiskEvent, _: &mut P) {
        let DiskEvent::Written { token, result } = event else { unreachable!("only writes are asked for") };
        result.expect("the disk works");
        if self.log.on_written(token) && !self.leads() {
            let (leader, durable) = (self.peers[0].conn, self.log.durable.0);
            self.say(leader, Say::Durable, durable, &[]);
        }
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        if self.ready.is_some() {
            if !self.leads() && !std::mem::replace(&mut self.dialled, true) {
                ports.dial(0, self.leader);
            }
            if self.peers.len() == if self.leads() { 2 } else { 1 }
                && let Some(path) = self.ready.take()
            {
                std::fs::write(path, "").expect("the data directory is there");
            }
        }
        if self.leads() {
            self.decide();
            self.propose(now, ports);
        } else if !self.intake.is_empty() && !self.peers.is_empty() {
            let (intake, count) = (std::mem::take(&mut self.intake), std::mem::take(&mut self.count));
            self.say(self.peers[0].conn, Say::Forward, u64::from(count), &intake);
            self.intake = intake;
            self.intake.clear();
        }
        self.answer_writes();
        self.ask_reads();
        self.links.flush(ports);
        Turn::IDLE
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        self.links.awaits_sent()
    }

    fn on_stop(&mut self, _: Nanos) {}

    fn is_done(&self) -> bool {
        false
    }
}
