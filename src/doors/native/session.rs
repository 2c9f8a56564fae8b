//! One native connection.

use std::fmt::Display;
use std::io::Write as _;

use rkyv::rancor::Failure;

use crate::base::Nanos;
use crate::doors::native::Native;
use crate::doors::native::watches::{Ended, Step, UNREAD_MAX, Watches, say_ended};
use crate::doors::native::wire::{self, Ask, Fault, Front, Hello, REQUEST_MAX, Say, Welcome};
use crate::doors::watch::Handle;
use crate::doors::{Answer, Cx, Level, Outcome, Stop, Taken, Write};
use crate::realms::core::{self, Open};
use crate::realms::kv::ops;
use crate::realms::reply::{Reply, Status};
use crate::state::RealmId;

/// Small: there are many idle ones.
#[derive(Debug, Default)]
pub struct Session {
    greeted: bool,
    /// The exactly-once session that writes belong to; 0 for none.
    client: u64,
    ttl: Nanos,
    /// By request number.
    pub(super) watches: Vec<(u64, Handle)>,
    /// Those that this connection keeps alive.
    pub(super) leases: Vec<u64>,
    /// Slices of history under way for its watches.
    histories: u32,
    /// Some watch waits until the client has read what lies in front of it.
    waits_for_reader: bool,
}

/// Watches and leases of one connection.
const WATCHES_MAX: usize = 10_000;
const LEASES_MAX: usize = 10_000;

/// Slices of history under way at once for one connection: each may be as large as an answer can be.
const HISTORIES_MAX: u32 = 8;

/// How soon to look whether a client has read, so that its watches may go on.
const READER_RETRY: Nanos = Nanos(2_000_000);

/// What an outcome or answer is for: the two bits of a token above the request's number.
mod purpose {
    pub const REPLY: u64 = 0;
    pub const OPEN: u64 = 1;
    /// A watch that catches up with history.
    pub const HISTORY: u64 = 2;
    /// A watch that asks what revision now is.
    pub const NOW: u64 = 3;
}

fn token(purpose: u64, request: u64) -> u64 {
    purpose << 62 | request
}

impl Session {
    pub(super) fn on_bytes(&mut self, door: &mut Native, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        let mut rest = bytes;
        let stop = loop {
            let before = rest;
            match wire::take_frame(&mut rest, wire::BODY_MAX) {
                Ok(Front::Need(bytes)) => break Stop::Frame(bytes),
                Ok(Front::Frame(..)) if !cx.admits() => {
                    rest = before;
                    break Stop::Permits;
                }
                Ok(Front::Frame(head, body)) => {
                    if let Err(refusal) = self.on_frame(door, cx, &head, body) {
                        say_error(cx, head.request, &refusal);
                    }
                }
                Err(malformed) => {
                    wire::put_frame_with(cx.out(), Say::Error as u8, 0, |out| {
                        out.extend_from_slice(&(Fault::Malformed as u16).to_le_bytes());
                        out.extend_from_slice(malformed.to_string().as_bytes());
                    });
                    cx.hang_up("malformed frame head");
                }
            }
            if cx.is_hanging_up() {
                break Stop::Session;
            }
        };
        Taken { bytes: bytes.len() - rest.len(), stop }
    }

    fn on_frame(
        &mut self,
        door: &mut Native,
        cx: &mut Cx<'_>,
        head: &wire::Head,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let request = head.request;
        let ask = Ask::from_byte(head.kind).ok_or(Fault::UnknownKind)?;
        if self.greeted == (ask == Ask::Hello) {
            cx.hang_up("hello comes first, and once");
            return Err(Fault::Malformed.into());
        }
        if request >= REQUEST_MAX {
            return Err(Fault::Number.into());
        }
        match ask {
            Ask::Hello => self.on_hello(cx, request, body),
            Ask::Write => self.on_write(cx, request, body),
            Ask::Read => on_read(cx, Level::Linearizable, request, body),
            Ask::ReadLocal => on_read(cx, Level::Local, request, body),
            Ask::OpenSession => on_open(cx, request, body),
            Ask::CloseSession => self.on_close(cx, request, body),
            Ask::Watch => self.on_watch(door, cx, request, body),
            Ask::CancelWatch => self.on_cancel(door, cx, body),
            Ask::KeepAlive => self.on_keep_alive(door, cx, request, body),
            Ask::Ping => {
                wire::put_frame(cx.out(), Say::Pong as u8, request, &[]);
                Ok(())
            }
        }
    }

    fn on_hello(&mut self, cx: &mut Cx<'_>, request: u64, body: &[u8]) -> Result<(), Refusal> {
        let Some(hello) = Hello::decode(body) else {
            cx.hang_up("malformed hello");
            return Err(Fault::Malformed.into());
        };
        self.greeted = true;
        self.join(cx, hello.session, hello.ttl_ms);
        let welcome = Welcome { body_max: wire::BODY_MAX }.encode();
        wire::put_frame(cx.out(), Say::Welcome as u8, request, &welcome);
        Ok(())
    }

    /// Writes belong to this exactly-once session from now on. Whether it lives, the log tells with the first of
    /// them. As long as the connection stands it is kept alive: the client need not send anything for that.
    fn join(&mut self, cx: &mut Cx<'_>, client: u64, ttl_ms: u32) {
        self.client = client;
        self.ttl = Nanos::from_millis(u64::from(ttl_ms.clamp(core::TTL_MS_MIN, core::TTL_MS_MAX)));
        self.set_alarm(cx);
    }

    fn set_alarm(&mut self, cx: &mut Cx<'_>) {
        let touch = if self.client == 0 { Nanos::MAX } else { cx.now.plus(Nanos(self.ttl.0 / 3)) };
        let look = if self.waits_for_reader { cx.now.plus(READER_RETRY) } else { Nanos::MAX };
        cx.alarm(touch.min(look));
    }

    fn on_write(&mut self, cx: &mut Cx<'_>, request: u64, body: &[u8]) -> Result<(), Refusal> {
        let archive = ops::Write::open(body).ok_or(Fault::Malformed)?;
        archive.check()?;
        if self.client != 0 && request == 0 {
            return Err(Fault::Number.into());
        }
        let write = Write {
            realm: RealmId::Kv,
            kind: ops::WRITE,
            feature: 0,
            principal: 0,
            session: self.client,
            request: if self.client == 0 { 0 } else { request },
        };
        cx.write(&write, token(purpose::REPLY, request), |payload| payload.extend_from_slice(body));
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Cx<'_>, request: u64, body: &[u8]) -> Result<(), Refusal> {
        let session = wire::number(body).ok_or(Fault::Malformed)?;
        if session != self.client || session == 0 {
            return Err(Fault::NoSession.into());
        }
        self.client = 0;
        self.set_alarm(cx);
        cx.write(&core_write(core::CLOSE), token(purpose::REPLY, request), |payload| {
            payload.extend_from_slice(body);
        });
        Ok(())
    }

    fn on_watch(
        &mut self,
        door: &mut Native,
        cx: &mut Cx<'_>,
        request: u64,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let ask = rkyv::access::<ops::ArchivedHistory, Failure>(body).map_err(|_| Fault::Malformed)?;
        if ask.key.is_empty() || ask.key.len() > ops::KEY_MAX {
            return Err(Status::KeyLength.into());
        }
        let Err(at) = self.find_watch(request) else { return Err(Fault::Number.into()) };
        if self.watches.len() >= WATCHES_MAX {
            return Err(Fault::TooManyWatches.into());
        }
        let handle = door.watches.open(cx.seat, request, ask).ok_or(Fault::TooManyWatches)?;
        self.watches.insert(at, (request, handle));
        if ask.revision.to_native() == 0 {
            // Asking for history is what makes this node tell changes.
            let now = ops::History { flags: ask.flags.to_native(), ..ops::History::default() };
            let query = ops::Query::History(now).encode();
            cx.read(RealmId::Kv, Level::Local, token(purpose::NOW, request), |out| {
                out.extend_from_slice(&query)
            });
        } else {
            self.catch_up(&mut door.watches, cx, request, handle);
        }
        Ok(())
    }

    fn on_cancel(&mut self, door: &mut Native, cx: &mut Cx<'_>, body: &[u8]) -> Result<(), Refusal> {
        let request = wire::number(body).ok_or(Fault::Malformed)?;
        let at = self.find_watch(request).map_err(|_| Fault::Number)?;
        let (_, handle) = self.watches.remove(at);
        let next = door.watches.next(handle);
        door.watches.close(handle);
        say_ended(cx, request, 0, next);
        Ok(())
    }

    /// The touch runs ahead of the read on the way to the leader, so a lease that is found was there when its
    /// holder was heard from.
    fn on_keep_alive(
        &mut self,
        door: &mut Native,
        cx: &mut Cx<'_>,
        request: u64,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let lease = wire::number(body).ok_or(Fault::Malformed)?;
        cx.touch(RealmId::Kv, lease);
        if self.leases.len() < LEASES_MAX && door.keepers.insert((lease, cx.seat), ()).is_none() {
            self.leases.push(lease);
        }
        let query = ops::Query::Lease { lease, keys: false, from: Vec::new() }.encode();
        cx.read(RealmId::Kv, Level::Linearizable, token(purpose::REPLY, request), |out| {
            out.extend_from_slice(&query);
        });
        Ok(())
    }

    /// Asks for the next slice of a watch's history, unless the client has enough to read already.
    pub(super) fn catch_up(&mut self, watches: &mut Watches, cx: &mut Cx<'_>, request: u64, handle: Handle) {
        if cx.out_len() > UNREAD_MAX || self.histories >= HISTORIES_MAX {
            watches.wait(handle);
            self.waits_for_reader = true;
            return self.set_alarm(cx);
        }
        self.histories += 1;
        let query = watches.history(handle);
        cx.read(RealmId::Kv, Level::Local, token(purpose::HISTORY, request), |out| {
            out.extend_from_slice(&query)
        });
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, token: u64, outcome: Outcome<'_>) {
        let request = token & (REQUEST_MAX - 1);
        match outcome {
            Outcome::Done { reply, .. } => {
                if token >> 62 == purpose::OPEN {
                    self.on_opened(cx, reply);
                }
                wire::put_frame(cx.out(), Say::Reply as u8, request, reply);
            }
            Outcome::Unknown => say_error(cx, request, &Fault::Unknown.into()),
        }
    }

    fn on_opened(&mut self, cx: &mut Cx<'_>, mut reply: &[u8]) {
        let Some(Reply { status: Status::Ok, body, .. }) = Reply::take(&mut reply) else { return };
        let Some((session, open)) = body.split_first_chunk::<8>() else { return };
        if let Some(open) = Open::decode(open) {
            self.join(cx, u64::from_le_bytes(*session), open.ttl_ms);
        }
    }

    pub(super) fn on_answer(&mut self, door: &mut Native, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>) {
        let request = token & (REQUEST_MAX - 1);
        self.histories -= u32::from(token >> 62 == purpose::HISTORY);
        let Answer::Found(bytes) = answer else {
            return say_error(cx, request, &Fault::Unconfirmed.into());
        };
        if token >> 62 == purpose::REPLY {
            return wire::put_frame(cx.out(), Say::Reply as u8, request, bytes);
        }
        let Ok(at) = self.find_watch(request) else { return }; // Cancelled meanwhile.
        let (_, handle) = self.watches[at];
        let step = if token >> 62 == purpose::NOW {
            door.watches.on_now(handle, cx, bytes)
        } else {
            door.watches.on_history(handle, cx, bytes)
        };
        match step {
            Step::Live => {}
            Step::More => self.catch_up(&mut door.watches, cx, request, handle),
            Step::Ended(Ended { code, revision }) => {
                self.watches.remove(at);
                door.watches.close(handle);
                say_ended(cx, request, code, revision);
            }
        }
    }

    pub(super) fn on_alarm(&mut self, door: &mut Native, cx: &mut Cx<'_>) {
        if !self.greeted {
            return cx.hang_up("no hello in time");
        }
        if self.client != 0 {
            cx.touch(RealmId::Core, self.client);
        }
        if self.waits_for_reader && cx.out_len() <= UNREAD_MAX {
            self.waits_for_reader = false;
            for at in 0..self.watches.len() {
                let (request, handle) = self.watches[at];
                if door.watches.go_on(handle) {
                    self.catch_up(&mut door.watches, cx, request, handle);
                }
                if self.waits_for_reader {
                    break;
                }
            }
        }
        self.set_alarm(cx);
    }

    /// Where it stands, or where it would.
    fn find_watch(&self, request: u64) -> Result<usize, usize> {
        self.watches.binary_search_by_key(&request, |(known, _)| *known)
    }

    pub(super) fn forget_watch(&mut self, request: u64) {
        if let Ok(at) = self.find_watch(request) {
            self.watches.remove(at);
        }
    }
}

fn on_read(cx: &mut Cx<'_>, level: Level, request: u64, body: &[u8]) -> Result<(), Refusal> {
    ops::Query::open(body).ok_or(Fault::Malformed)?;
    cx.read(RealmId::Kv, level, token(purpose::REPLY, request), |query| query.extend_from_slice(body));
    Ok(())
}

fn on_open(cx: &mut Cx<'_>, request: u64, body: &[u8]) -> Result<(), Refusal> {
    Open::decode(body).ok_or(Fault::Malformed)?;
    cx.write(&core_write(core::OPEN), token(purpose::OPEN, request), |payload| {
        payload.extend_from_slice(body)
    });
    Ok(())
}

fn core_write(kind: u8) -> Write {
    Write { realm: RealmId::Core, kind, feature: 0, principal: 0, session: 0, request: 0 }
}

/// Why a frame was not taken: by the door's own rules, or by the realm's.
pub(super) enum Refusal {
    Door(Fault),
    Realm(Status),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Door(fault)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Realm(status)
    }
}

fn say_error(cx: &mut Cx<'_>, request: u64, refusal: &Refusal) {
    let (code, text): (u16, &dyn Display) = match refusal {
        Refusal::Door(fault) => (*fault as u16, fault),
        Refusal::Realm(status) => (*status as u16, status),
    };
    wire::put_frame_with(cx.out(), Say::Error as u8, request, |out| {
        out.extend_from_slice(&code.to_le_bytes());
        let _ = write!(out, "{text}"); // Into memory: it cannot fail.
    });
}
