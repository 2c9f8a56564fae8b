//! One native connection.

use crate::base::Nanos;
use crate::doors::native::wire::{self, Ask, Fault, Front, Hello, Say, Welcome};
use crate::doors::{Answer, Cx, Level, Outcome, Stop, Taken, Write};
use crate::state::RealmId;

/// Small: there are many idle ones.
#[derive(Debug, Default)]
pub struct Session {
    greeted: bool,
    /// The exactly-once session that writes belong to; 0 for none.
    client: u64,
}

impl Session {
    pub(super) fn on_bytes(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        let mut rest = bytes;
        let stop = loop {
            let before = rest;
            match wire::take_frame(&mut rest, wire::BODY_MAX) {
                Ok(Front::Need(bytes)) => break Stop::Frame(bytes),
                Ok(Front::Frame(..)) if !cx.admits() => {
                    rest = before;
                    break Stop::Permits;
                }
                Ok(Front::Frame(head, body)) => self.on_frame(cx, &head, body),
                Err(malformed) => {
                    say_error(cx, 0, Fault::Malformed, &malformed.to_string());
                    cx.hang_up("malformed frame head");
                }
            }
            if cx.is_hanging_up() {
                break Stop::Session;
            }
        };
        Taken { bytes: bytes.len() - rest.len(), stop }
    }

    fn on_frame(&mut self, cx: &mut Cx<'_>, head: &wire::Head, body: &[u8]) {
        let request = head.request;
        let Some(ask) = Ask::from_byte(head.kind) else {
            return say_error(
                cx,
                request,
                Fault::UnknownKind,
                "no such kind of request; a newer server may know it",
            );
        };
        if self.greeted == (ask == Ask::Hello) {
            say_error(cx, request, Fault::Malformed, "hello comes first, and once");
            return cx.hang_up("no hello, or a second one");
        }
        match ask {
            Ask::Hello => self.on_hello(cx, request, body),
            Ask::Write => self.on_write(cx, request, body),
            Ask::Read => cx.read(RealmId::Kv, Level::Linearizable, request, |q| q.extend_from_slice(body)),
            Ask::ReadLocal => cx.read(RealmId::Kv, Level::Local, request, |q| q.extend_from_slice(body)),
            Ask::Ping => wire::put_frame(cx.out(), Say::Pong as u8, request, &[]),
            _ => say_error(cx, request, Fault::UnknownKind, "not yet"),
        }
    }

    fn on_hello(&mut self, cx: &mut Cx<'_>, request: u64, body: &[u8]) {
        let Some(hello) = Hello::decode(body) else {
            say_error(cx, request, Fault::Malformed, "this is no hello of a quorate client");
            return cx.hang_up("malformed hello");
        };
        self.greeted = true;
        self.client = hello.session;
        cx.alarm(Nanos::MAX);
        let welcome = Welcome { body_max: wire::BODY_MAX }.encode();
        wire::put_frame(cx.out(), Say::Welcome as u8, request, &welcome);
    }

    fn on_write(&mut self, cx: &mut Cx<'_>, request: u64, body: &[u8]) {
        let write = Write {
            realm: RealmId::Kv,
            kind: 1,
            feature: 0,
            principal: 0,
            session: self.client,
            request: if self.client == 0 { 0 } else { request },
        };
        cx.write(&write, request, |payload| payload.extend_from_slice(body));
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, request: u64, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Done { reply, .. } => wire::put_frame(cx.out(), Say::Reply as u8, request, reply),
            Outcome::Unknown => say_error(
                cx,
                request,
                Fault::Unknown,
                "this server cannot know whether it was carried out; send it again in its session, or look",
            ),
        }
    }

    pub(super) fn on_answer(&mut self, cx: &mut Cx<'_>, request: u64, answer: Answer<'_>) {
        match answer {
            Answer::Found(bytes) => wire::put_frame(cx.out(), Say::Reply as u8, request, bytes),
            Answer::Unconfirmed => {
                say_error(cx, request, Fault::Unconfirmed, "no quorum confirmed the read in time; ask again");
            }
        }
    }

    pub(super) fn on_alarm(&mut self, cx: &mut Cx<'_>) {
        if !self.greeted {
            cx.hang_up("no hello in time");
        }
    }
}

fn say_error(cx: &mut Cx<'_>, request: u64, fault: Fault, text: &str) {
    wire::put_frame_with(cx.out(), Say::Error as u8, request, |body| {
        body.extend_from_slice(&(fault as u16).to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    });
}
