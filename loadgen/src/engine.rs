//! The event loop of one thread: connections, slots, time-outs. It asks a source what to send and hands what
//! ended to the book. Nothing here allocates per operation.

mod link;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access::Tls;
use crate::book::{Book, Ended};
use crate::clock::{Clock, MILLI, SECOND};
use crate::driver::{Done, Driver, Op, Shape, Verdict};
use crate::pipe::{Filled, Pipe};
use crate::poll::{Poll, Ready};
use crate::record::{CODE_HANG_UP, CODE_MALFORMED, CODE_TIMEOUT, CODE_UNANSWERED};
use crate::source::{Next, Source};
use link::{FREE, Link, Slot, State};

/// Slots each connection has at least, so that preparing a lone client's keys does not take one round trip each.
const SLOTS_MIN: usize = 64;
/// Sent later than this after it could have been: the client is too slow.
const LATE: u64 = MILLI;
/// Connections that an open loop writes to in one turn. Each costs a system call: what is due of a higher rate goes out
/// as several operations on each of these, and the next turn is the next ones'. More would be late by the turn alone.
const ROW: usize = 64;
const BEAT_AFTER: u64 = 8 * SECOND;
const BACKOFF_MAX: u64 = 100 * MILLI;
/// After a refusal that says "later".
const REFUSED_PAUSE: u64 = 10 * MILLI;
/// How long a run that is to end waits for what is under way.
const STOP_PATIENCE: u64 = SECOND;

pub struct Settings {
    pub servers: Vec<SocketAddr>,
    pub tls: Option<Tls>,
    /// Connections of this thread; their ids and servers begin at `first`.
    pub conns: usize,
    pub first: usize,
    pub depth: usize,
    pub timeout: u64,
    /// Set by somebody who wants the run to end early.
    pub stop: Arc<AtomicBool>,
}

/// Which server kept a run from beginning, and how.
#[derive(Debug)]
pub struct Refused {
    pub server: SocketAddr,
    pub why: String,
}

pub struct Engine<D> {
    clock: Clock,
    poll: Poll,
    settings: Settings,
    links: Vec<Link<D>>,
    /// Outstanding operations allowed for each connection in this phase.
    depth: usize,
    idle: VecDeque<usize>,
    dirty: Vec<usize>,
    outstanding: usize,
    /// Since when a slot has been free, after all were taken.
    unblocked_at: u64,
    /// What was refused, and when it is asked again: a link, its generation, a slot.
    refused: VecDeque<(u64, usize, u32, u32)>,
    next_scan: u64,
    next_retry: u64,
    ready: Vec<Ready>,
    done: Vec<Done>,
    trouble: Option<Refused>,
    wrong_protocol: bool,
    /// Operations that have ended, however.
    ended: u64,
    pub book: Book,
}

impl<D: Driver> Engine<D> {
    pub fn new(clock: Clock, settings: Settings, shape: &Arc<Shape>, book: Book) -> io::Result<Engine<D>> {
        let slots = settings.depth.max(SLOTS_MIN);
        let links = (0..settings.conns)
            .map(|nth| Link {
                id: (settings.first + nth) as u32,
                driver: D::new(shape, slots),
                pipe: None,
                state: State::Down { retry_at: 0 },
                server: (settings.first + nth) % settings.servers.len(),
                generation: 0,
                slots: vec![FREE; slots],
                free: (0..slots as u32).rev().collect(),
                busy: 0,
                in_idle: false,
                in_dirty: false,
                wants_write: false,
                backoff: 0,
                last_send: 0,
                oldest: 0,
            })
            .collect();
        Ok(Engine {
            clock,
            poll: Poll::open()?,
            depth: settings.depth,
            settings,
            links,
            idle: VecDeque::new(),
            dirty: Vec::new(),
            outstanding: 0,
            unblocked_at: 0,
            refused: VecDeque::new(),
            next_scan: 0,
            next_retry: 0,
            ready: Vec::new(),
            done: Vec::new(),
            trouble: None,
            wrong_protocol: false,
            ended: 0,
            book,
        })
    }

    /// Opens every connection; the error says which server refused and why.
    pub fn connect(&mut self, patience: u64) -> Result<(), Refused> {
        let deadline = self.clock.now() + patience;
        loop {
            let now = self.clock.now();
            self.on_time(now);
            if self.links.iter().all(|link| link.state == State::Ready) {
                return Ok(());
            }
            if self.wrong_protocol || now >= deadline || self.settings.stop.load(Ordering::Relaxed) {
                return Err(self.trouble.take().unwrap_or_else(|| self.silent_server()));
            }
            if let Err(error) = self.turn(deadline) {
                return Err(Refused { server: self.settings.servers[0], why: format!("epoll: {error}") });
            }
        }
    }

    fn silent_server(&self) -> Refused {
        let link = self.links.iter().find(|link| link.state != State::Ready).expect("one is not ready");
        let why = "it accepts connections but does not answer".into();
        Refused { server: self.settings.servers[link.server], why }
    }

    /// How many operations each connection may have outstanding from now on.
    pub fn set_depth(&mut self, depth: Option<usize>) {
        self.depth = depth.unwrap_or(SLOTS_MIN.max(self.settings.depth));
        for at in 0..self.links.len() {
            self.offer(at);
        }
    }

    /// Sends what the source gives until `issue_until`, then waits for answers until `give_up_at`.
    pub fn drive<S: Source>(&mut self, source: &mut S, issue_until: u64, give_up_at: u64) -> io::Result<()> {
        let (mut dry, mut give_up_at) = (false, give_up_at);
        loop {
            let now = self.clock.now();
            self.on_time(now);
            if !dry && self.settings.stop.load(Ordering::Relaxed) {
                (dry, give_up_at) = (true, give_up_at.min(now + STOP_PATIENCE));
            }
            let mut wake = issue_until;
            if !dry {
                dry = now >= issue_until;
                match self.issue(source, now) {
                    Next::Dry => dry = true,
                    Next::At(at) => wake = wake.min(at),
                    Next::Op(..) => {}
                }
            }
            if (dry && self.outstanding == 0) || now >= give_up_at {
                return Ok(());
            }
            self.wait(if dry { give_up_at } else { wake.min(give_up_at) })?;
            let mut ready = std::mem::take(&mut self.ready);
            for event in ready.drain(..) {
                if let Some(now) = self.on_ready(event)
                    && !S::OPEN
                    && !dry
                {
                    // A closed loop asks again before it looks at other connections: that is its shape.
                    dry = matches!(self.issue(source, now), Next::Dry);
                }
            }
            self.ready = ready;
        }
    }

    /// What is still outstanding will not be waited for: it counts at its age.
    pub fn abandon(&mut self) {
        let now = self.clock.now();
        for at in 0..self.links.len() {
            if self.links[at].busy > 0 {
                self.lose(at, now, CODE_UNANSWERED);
            }
        }
    }

    fn turn(&mut self, until: u64) -> io::Result<()> {
        self.wait(until)?;
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            self.on_ready(event);
        }
        self.ready = ready;
        Ok(())
    }

    fn wait(&mut self, until: u64) -> io::Result<()> {
        let again = self.refused.front().map_or(u64::MAX, |(at, ..)| *at);
        let until = until.min(self.next_scan).min(self.next_retry).min(self.book.next_tick()).min(again);
        let timeout = until.saturating_sub(self.clock.now());
        self.poll.wait(Some(timeout), &mut self.ready)
    }

    /// Fills free slots. `Op`: every slot is taken.
    fn issue<S: Source>(&mut self, source: &mut S, now: u64) -> Next {
        let mut last = Next::Op(FREE.op, 0);
        let (mut nth, mut reached) = (0, 0);
        while let Some(&at) = self.idle.get(nth) {
            let link = &mut self.links[at];
            if link.state != State::Ready || link.busy >= self.depth {
                link.in_idle = false;
                self.idle.remove(nth);
                nth = if nth < self.idle.len() { nth } else { 0 };
                continue;
            }
            match source.next(now) {
                Next::Op(op, intended) => {
                    self.send(at, op, intended, now, S::OPEN);
                    if S::OPEN {
                        nth += 1;
                        reached = reached.max(nth);
                        nth = if nth < self.idle.len().min(ROW) { nth } else { 0 };
                    }
                }
                other => {
                    last = other;
                    break;
                }
            }
        }
        self.idle.rotate_left(reached.min(self.idle.len()));
        while let Some(at) = self.dirty.pop() {
            self.links[at].in_dirty = false;
            self.flush(at, now);
        }
        last
    }

    fn send(&mut self, at: usize, op: Op, intended: u64, now: u64, open: bool) {
        let link = &mut self.links[at];
        let pipe = link.pipe.as_mut().expect("a ready link has a pipe");
        let tag = link.free.pop().expect("fewer busy than slots");
        link.slots[tag as usize] = Slot { op, intended, sent: now, asked: now, busy: true };
        if link.busy == 0 {
            link.oldest = now;
        }
        link.busy += 1;
        link.last_send = now;
        self.outstanding += 1;
        link.driver.encode(&op, tag, &mut pipe.out);
        if !link.in_dirty {
            link.in_dirty = true;
            self.dirty.push(at);
        }
        let blocked = open && self.unblocked_at > intended;
        let late = open && now.saturating_sub(intended.max(self.unblocked_at)) > LATE;
        self.book.on_send(intended, blocked, late);
    }

    fn flush(&mut self, at: usize, now: u64) {
        let link = &mut self.links[at];
        let Some(pipe) = link.pipe.as_mut() else { return };
        let sent = match pipe.flush() {
            Ok(sent) => sent,
            Err(error) => return self.complain(at, now, CODE_HANG_UP, error.to_string()),
        };
        if sent == link.wants_write {
            link.wants_write = !sent;
            let token = token(at, link.generation);
            if let Err(error) = self.poll.modify(pipe.socket(), token, !sent) {
                self.complain(at, now, CODE_HANG_UP, error.to_string());
            }
        }
    }

    /// Returns the time of the read when operations may have ended.
    fn on_ready(&mut self, event: Ready) -> Option<u64> {
        let at = event.token & 0xffff_ffff;
        if self.links[at].generation as usize != event.token >> 32 || self.links[at].pipe.is_none() {
            return None;
        }
        if matches!(self.links[at].state, State::Connecting { .. }) {
            self.greet(at);
            return None;
        }
        if event.writable && self.links[at].wants_write {
            let now = self.clock.now();
            self.flush(at, now);
        }
        if event.readable { self.receive(at) } else { None }
    }

    fn greet(&mut self, at: usize) {
        let now = self.clock.now();
        let link = &mut self.links[at];
        let pipe = link.pipe.as_mut().expect("a connecting link has a pipe");
        if let Err(error) = pipe.connected() {
            return self.complain(at, now, CODE_HANG_UP, error.to_string());
        }
        link.driver.hello(&mut pipe.out);
        link.state = State::Greeting { since: now };
        link.wants_write = true; // As it was registered; `flush` takes it back.
        self.flush(at, now);
        self.note_ready(at);
    }

    /// Some protocols have nothing to wait for.
    fn note_ready(&mut self, at: usize) {
        let link = &mut self.links[at];
        if matches!(link.state, State::Greeting { .. }) && link.driver.ready() {
            link.state = State::Ready;
            link.backoff = 0;
            link.last_send = self.clock.now();
            self.offer(at);
        }
    }

    fn receive(&mut self, at: usize) -> Option<u64> {
        let link = &mut self.links[at];
        let pipe = link.pipe.as_mut()?;
        let filled = pipe.fill();
        let now = self.clock.now();
        match filled {
            Ok(Filled::Some) => {}
            Ok(Filled::Nothing) => return None,
            Ok(Filled::Closed) => {
                self.complain(at, now, CODE_HANG_UP, "the server closed the connection".into());
                return Some(now);
            }
            Err(error) => {
                // A certificate that is not trusted will not be better a second later.
                let refused = error.kind() == io::ErrorKind::Other;
                self.wrong_protocol |= refused && link.is_first_greeting();
                self.complain(at, now, CODE_HANG_UP, error.to_string());
                return Some(now);
            }
        }
        let (input, out) = pipe.both();
        match link.driver.decode(input, out, &mut self.done) {
            Ok(taken) => pipe.consume(taken),
            Err(malformed) => {
                self.wrong_protocol |= link.is_first_greeting();
                self.done.clear();
                self.complain(at, now, CODE_MALFORMED, malformed.0);
                return Some(now);
            }
        }
        let answers = pipe.has_output() && !link.wants_write;
        let mut done = std::mem::take(&mut self.done);
        for end in done.drain(..) {
            self.finish(at, end, now);
        }
        self.done = done;
        if answers {
            self.flush(at, now);
        }
        self.note_ready(at);
        self.offer(at);
        Some(now)
    }

    fn finish(&mut self, at: usize, end: Done, now: u64) {
        let link = &mut self.links[at];
        let slot = &mut link.slots[end.tag as usize];
        if !slot.busy {
            return;
        }
        if let Verdict::Later(code) = end.verdict {
            self.book.on_refusal(slot.intended);
            self.refused.push_back((now + REFUSED_PAUSE, at, link.generation, end.tag));
            let server = self.settings.servers[link.server];
            self.trouble.get_or_insert_with(|| Refused { server, why: format!("it refuses with {code}") });
            return;
        }
        slot.busy = false;
        self.ended += 1;
        link.busy -= 1;
        link.free.push(end.tag);
        self.outstanding -= 1;
        self.book.on_end(&Ended {
            client: link.id,
            op: slot.op,
            intended: slot.intended,
            sent: slot.sent,
            now,
            verdict: end.verdict,
            revision: end.revision,
            stamp: end.stamp,
        });
    }

    /// Puts a link with a free slot in the row of those that may be asked.
    fn offer(&mut self, at: usize) {
        let link = &mut self.links[at];
        if link.state == State::Ready && link.busy < self.depth && !link.in_idle {
            if self.idle.is_empty() {
                self.unblocked_at = self.clock.now();
            }
            link.in_idle = true;
            self.idle.push_back(at);
        }
    }

    fn complain(&mut self, at: usize, now: u64, code: i32, why: String) {
        self.trouble = Some(Refused { server: self.settings.servers[self.links[at].server], why });
        self.lose(at, now, code);
    }

    /// The connection is gone: what was outstanding on it has an unknown outcome. The next server is tried.
    fn lose(&mut self, at: usize, now: u64, code: i32) {
        for tag in 0..self.links[at].slots.len() {
            if self.links[at].slots[tag].busy {
                let end = Done { tag: tag as u32, verdict: Verdict::Unknown(code), revision: 0, stamp: 0 };
                self.finish(at, end, now);
            }
        }
        self.book.on_loss();
        let link = &mut self.links[at];
        if let Some(pipe) = link.pipe.take() {
            self.book.on_bytes(pipe.bytes_in, pipe.bytes_out);
        }
        link.state = State::Down { retry_at: now + link.backoff };
        link.backoff = (link.backoff * 2).clamp(MILLI, BACKOFF_MAX);
        link.server = (link.server + 1) % self.settings.servers.len();
        self.next_retry = self.next_retry.min(now);
    }

    fn on_time(&mut self, now: u64) {
        if now >= self.book.next_tick() {
            for link in &mut self.links {
                if let Some(pipe) = &mut link.pipe {
                    self.book.on_bytes(pipe.bytes_in, pipe.bytes_out);
                    pipe.bytes_in = 0;
                    pipe.bytes_out = 0;
                }
            }
            self.book.tick(now);
        }
        if now >= self.next_retry {
            self.retry(now);
        }
        self.ask_again(now);
        if now >= self.next_scan {
            self.next_scan = now + (self.settings.timeout / 50).clamp(MILLI, 50 * MILLI);
            self.scan(now);
        }
    }

    /// What was refused is asked again on the same connection, if that is still there.
    fn ask_again(&mut self, now: u64) {
        while let Some(&(due, at, generation, tag)) = self.refused.front()
            && due <= now
        {
            self.refused.pop_front();
            let link = &mut self.links[at];
            let slot = &mut link.slots[tag as usize];
            if link.generation != generation || link.state != State::Ready || !slot.busy {
                continue;
            }
            let Some(pipe) = link.pipe.as_mut() else { continue };
            (slot.asked, link.last_send) = (now, now);
            link.driver.encode(&slot.op, tag, &mut pipe.out);
            self.flush(at, now);
        }
    }

    fn retry(&mut self, now: u64) {
        self.next_retry = u64::MAX;
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            let State::Down { retry_at } = link.state else { continue };
            if retry_at > now {
                self.next_retry = self.next_retry.min(retry_at);
                continue;
            }
            link.generation = link.generation.wrapping_add(1);
            let tls = self.settings.tls.as_ref();
            let opened = Pipe::connect(self.settings.servers[link.server], tls).and_then(|pipe| {
                self.poll.add(pipe.socket(), token(at, link.generation), true)?;
                Ok(pipe)
            });
            match opened {
                Ok(pipe) => {
                    link.pipe = Some(pipe);
                    link.state = State::Connecting { since: now };
                }
                Err(error) => self.complain(at, now, CODE_HANG_UP, error.to_string()),
            }
        }
    }

    fn scan(&mut self, now: u64) {
        let timeout = self.settings.timeout;
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            let overdue = match link.state {
                State::Down { .. } => false,
                State::Connecting { since } | State::Greeting { since } => now - since > timeout,
                State::Ready => link.is_overdue(now, timeout),
            };
            if overdue {
                self.complain(at, now, CODE_TIMEOUT, format!("no answer within {} ms", timeout / MILLI));
            } else if link.state == State::Ready && link.busy == 0 && now - link.last_send > BEAT_AFTER {
                link.last_send = now;
                if let Some(pipe) = link.pipe.as_mut() {
                    link.driver.beat(&mut pipe.out);
                }
                self.flush(at, now);
            }
        }
    }

    /// The last thing that went wrong with a connection.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.as_ref().map(Refused::to_string)
    }

    pub fn ended(&self) -> u64 {
        self.ended
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.why)
    }
}

fn token(at: usize, generation: u32) -> usize {
    at | (generation as usize) << 32
}

#[cfg(test)]
mod tests;
