//! Keeps `depth` frames outstanding on each connection, for a time, and notes how long each took.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hdrhistogram::Histogram;
use quorate::base::Nanos;
use quorate::drive;
use quorate::pipeline::ports::{Conn, DiskEvent, NetEvent, Turn};
use quorate::pipeline::station::{Ports, Station};

use super::{HEAD, Table, whole_frames};

pub struct Client {
    to: SocketAddr,
    conns: usize,
    dialled: bool,
    frame: Vec<u8>,
    depth: usize,
    span: Nanos,
    end: Nanos,
    talks: Table<Talk>,
    dirty: Vec<Conn>,
    pub latency_ns: Histogram<u64>,
    pub fault: Option<String>,
}

#[derive(Default)]
struct Talk {
    /// When the frames now outstanding were sent: (time, how many).
    sent: VecDeque<(Nanos, u64)>,
    /// Frames to send with the next write.
    owed: u64,
    buffer: Option<Vec<u8>>,
    part: Vec<u8>,
}

impl Client {
    pub fn new(to: SocketAddr, conns: usize, depth: usize, body: usize, span: Nanos) -> Client {
        let mut frame = vec![0; HEAD + body];
        frame[..4].copy_from_slice(&(body as u32).to_le_bytes());
        Client {
            to,
            conns,
            dialled: false,
            frame,
            depth,
            span,
            end: Nanos::MAX,
            talks: Table::default(),
            dirty: Vec::new(),
            latency_ns: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("3 digits"),
            fault: None,
        }
    }
}

impl Station for Client {
    fn on_net<P: Ports>(&mut self, _: Nanos, event: NetEvent<'_>, _: &mut P) {
        match event {
            NetEvent::Dialled { conn, .. } => {
                let talk = Talk { owed: self.depth as u64, buffer: Some(Vec::new()), ..Talk::default() };
                self.talks.insert(conn.slot, talk);
                self.dirty.push(conn);
            }
            NetEvent::Bytes { conn, bytes } => {
                let Some(talk) = self.talks.at(conn.slot) else { return };
                let mut count = if talk.part.is_empty() {
                    let (whole, count) = whole_frames(bytes);
                    talk.part.extend_from_slice(&bytes[whole..]);
                    count
                } else {
                    talk.part.extend_from_slice(bytes);
                    let (whole, count) = whole_frames(&talk.part);
                    talk.part.drain(..whole);
                    count
                };
                talk.owed += count;
                let now = drive::now();
                while count > 0 {
                    let (at, left) = talk.sent.front_mut().expect("an answer to nothing");
                    let part = count.min(*left);
                    self.latency_ns.saturating_record_n(now.since(*at).0, part);
                    (*left, count) = (*left - part, count - part);
                    if *left == 0 {
                        talk.sent.pop_front();
                    }
                }
                self.dirty.push(conn);
            }
            NetEvent::Sent { conn, buffer } => {
                let Some(talk) = self.talks.at(conn.slot) else { return };
                talk.buffer = Some(buffer);
                self.dirty.push(conn);
            }
            other => self.fault = Some(format!("the server is gone: {other:?}")),
        }
    }

    fn on_disk<P: Ports>(&mut self, _: Nanos, _: DiskEvent, _: &mut P) {
        unreachable!("the client has no disk")
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        if !self.dialled {
            (self.dialled, self.end) = (true, now.plus(self.span));
            (0..self.conns as u64).for_each(|token| ports.dial(token, self.to));
        }
        for conn in self.dirty.drain(..) {
            let Some(talk) = self.talks.at(conn.slot) else { continue };
            if talk.owed == 0 {
                continue;
            }
            let Some(mut buffer) = talk.buffer.take() else { continue };
            (0..talk.owed).for_each(|_| buffer.extend_from_slice(&self.frame));
            talk.sent.push_back((drive::now(), talk.owed));
            talk.owed = 0;
            ports.send(conn, buffer);
        }
        Turn { again: false, deadline: self.end }
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        true
    }

    fn on_stop(&mut self, now: Nanos) {
        self.end = now;
    }

    fn is_done(&self) -> bool {
        self.fault.is_some() || self.dialled && drive::now() >= self.end
    }
}
