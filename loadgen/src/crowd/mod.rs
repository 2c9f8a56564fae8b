//! A crowd: thousands of clients in one thread that hold sessions, watches and keys and do little else. Steps are the
//! jobs'; here are sockets, greetings, heartbeats. What each connection says is its `Talk`'s affair.

pub mod consul;
pub mod etcd;
pub mod native;
pub mod zk;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use crate::access::Access;
use crate::clock::{Clock, MILLI, SECOND};
use crate::driver::Malformed;
use crate::pipe::{Filled, Pipe};
use crate::poll::{Poll, Ready};

/// Connections that greet at the same time: a server's backlog is short.
const GREETING_MAX: usize = 48;
const BUFFER: usize = 2 << 10;
const SCAN: u64 = 100 * MILLI;

#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// What ephemeral keys hang on: a lease, a session. Where the connection has one already: a ping.
    Open,
    /// It shall live on.
    KeepAlive,
    /// Ephemeral keys need `Open` first.
    Make {
        key: &'a str,
        ephemeral: bool,
    },
    Put(&'a str),
    Drop(&'a str),
    /// Makes an ephemeral key that must not exist; `HELD` if it does.
    Acquire(&'a str),
    /// Tell of every change of this key, or of the next one where `ONE_SHOT`.
    Watch(&'a str),
    /// Tell of the next change of this key, once.
    WatchOnce(&'a str),
    /// Tell of changes below this key; `once`: of the next alone.
    WatchBelow {
        key: &'a str,
        once: bool,
    },
    /// `revision` 0: the newest. `stale`: whatever the asked server has.
    Get {
        key: &'a str,
        revision: u64,
        stale: bool,
    },
    /// What lies below this key: names (zk, Consul) or at most so many records.
    List {
        below: &'a str,
        limit: u32,
        stale: bool,
    },
    /// Several in one request.
    All(&'a [Part<'a>]),
    /// Puts or deletes a key if its revision is still this one (0: if it is not there). Otherwise `CHANGED`, and the
    /// value of the answer is the revision that it has. etcd and native.
    Guard {
        key: &'a str,
        revision: u64,
        put: bool,
    },
    /// An instance of a service joins or leaves a catalog. Consul.
    Register(&'a str),
    Deregister(&'a str),
    /// How many keys lie below this one.
    Count(&'a str),
    /// The session ends.
    Bye,
}

/// A part of a request that is several.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Get(&'a str),
    Make(&'a str),
    Put(&'a str),
    /// So many records from this key on. etcd and native.
    Page(&'a str, u32),
}

/// The range of all keys below one.
fn below(key: &str) -> (Vec<u8>, Vec<u8>) {
    (format!("{key}/").into_bytes(), format!("{key}0").into_bytes())
}

/// Nobody waits for the answer.
pub const NO_TAG: u32 = u32::MAX;

/// Somebody else holds the lock.
pub const HELD: i32 = -110;
/// `WatchOnce` found nothing there, and will not tell when there is.
pub const UNWATCHED: i32 = 404;
/// Somebody else has changed it since.
pub const CHANGED: i32 = -103;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Greeted: it may ask.
    Ready,
    /// `code` 0: done. `value`: what was asked for, where that is a number.
    Done { tag: u32, code: i32, value: i64 },
    /// A watched key has changed.
    Fired,
    /// The connection is gone; it is not dialled again.
    Lost,
}

#[derive(Clone, Debug)]
pub struct Manner {
    pub value: Vec<u8>,
    pub session_ms: u32,
    pub access: Access,
}

/// One connection's side of a protocol, for coordination instead of throughput.
pub trait Talk {
    /// Whether a watch must be set again after it has fired.
    const ONE_SHOT: bool;
    /// Whether each change is told of by itself; otherwise several may come as one.
    const TELLS_ALL: bool;

    fn new(manner: &Manner) -> Self;

    fn hello(&mut self, out: &mut Vec<u8>);

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>);

    /// Returns how many bytes it took off the front.
    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed>;

    /// Says that the client lives, and its lease with it.
    fn beat(&mut self, out: &mut Vec<u8>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Connecting,
    Greeting,
    Ready,
    Gone,
}

struct Member<T> {
    talk: T,
    pipe: Option<Pipe>,
    state: State,
    server: SocketAddr,
    wants_write: bool,
    last_send: u64,
}

/// Something that a member heard, and when.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub member: usize,
    pub said: Said,
    pub now: u64,
}

pub struct Crowd<T> {
    pub clock: Clock,
    poll: Poll,
    manner: Manner,
    members: Vec<Member<T>>,
    waiting: VecDeque<usize>,
    greeting: usize,
    next_scan: u64,
    ready: Vec<Ready>,
    said: Vec<Said>,
    trouble: Option<String>,
}

impl<T: Talk> Crowd<T> {
    pub fn new(clock: Clock, manner: Manner) -> io::Result<Crowd<T>> {
        Ok(Crowd {
            clock,
            poll: Poll::open()?,
            manner,
            members: Vec::new(),
            waiting: VecDeque::new(),
            greeting: 0,
            next_scan: 0,
            ready: Vec::new(),
            said: Vec::new(),
            trouble: None,
        })
    }

    /// One more; it dials when its turn comes.
    pub fn add(&mut self, server: SocketAddr) -> usize {
        let at = self.members.len();
        self.members.push(Member {
            talk: T::new(&self.manner),
            pipe: None,
            state: State::Waiting,
            server,
            wants_write: false,
            last_send: 0,
        });
        self.waiting.push_back(at);
        at
    }

    /// The same member with a new connection and a new session.
    pub fn renew(&mut self, at: usize) {
        self.members[at].talk = T::new(&self.manner);
        self.members[at].pipe = None;
        self.members[at].state = State::Waiting;
        self.waiting.push_back(at);
    }

    /// The same member on a new connection: it goes on with its session where the protocol can.
    pub fn redial(&mut self, at: usize, server: SocketAddr) {
        self.members[at].server = server;
        self.members[at].pipe = None;
        self.members[at].state = State::Waiting;
        self.waiting.push_back(at);
    }

    pub fn server(&self, at: usize) -> SocketAddr {
        self.members[at].server
    }

    /// Ends a connection without a word.
    pub fn cut(&mut self, at: usize) {
        self.leave_greeting(at);
        self.members[at].pipe = None;
        self.members[at].state = State::Gone;
    }

    /// When it last said anything.
    pub fn last_send(&self, at: usize) -> u64 {
        self.members[at].last_send
    }

    pub fn trouble(&mut self) -> String {
        self.trouble.take().unwrap_or_else(|| "no answer".into())
    }

    /// Puts a question into its connection's buffer and sends it. Of a member that is gone nothing is heard.
    pub fn ask(&mut self, at: usize, ask: Ask<'_>, tag: u32) {
        let member = &mut self.members[at];
        if let (Some(pipe), State::Ready) = (&mut member.pipe, member.state) {
            member.talk.ask(ask, tag, &mut pipe.out);
            self.flush(at);
        }
    }

    /// Waits for what comes, at most until `until`, and appends it.
    pub fn turn(&mut self, until: u64, heard: &mut Vec<Heard>) -> io::Result<()> {
        let now = self.clock.now();
        self.dial(heard);
        if now >= self.next_scan {
            self.next_scan = now + SCAN;
            self.scan(now);
        }
        let wait = until.min(self.next_scan).saturating_sub(self.clock.now());
        self.poll.wait(Some(wait), &mut self.ready)?;
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            self.on_ready(event, heard);
        }
        self.ready = ready;
        Ok(())
    }

    fn dial(&mut self, heard: &mut Vec<Heard>) {
        while self.greeting < GREETING_MAX
            && let Some(at) = self.waiting.pop_front()
        {
            let member = &mut self.members[at];
            let tls = self.manner.access.tls.as_ref();
            let opened = Pipe::connect_sized(member.server, tls, BUFFER).and_then(|pipe| {
                self.poll.add(pipe.socket(), at, true)?;
                Ok(pipe)
            });
            self.greeting += 1;
            member.state = State::Connecting;
            match opened {
                Ok(pipe) => member.pipe = Some(pipe),
                Err(error) => self.lose(at, error.to_string(), heard),
            }
        }
    }

    /// Heartbeats in time: a third of what the server allows.
    fn scan(&mut self, now: u64) {
        let after = u64::from(self.manner.session_ms) * MILLI / 3;
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if member.state == State::Ready
                && now.saturating_sub(member.last_send) + SCAN > after.min(8 * SECOND)
                && let Some(pipe) = &mut member.pipe
            {
                member.talk.beat(&mut pipe.out);
                member.last_send = now;
                self.flush(at);
            }
        }
    }

    fn flush(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(pipe) = &mut member.pipe else { return };
        member.last_send = self.clock.now();
        // A broken socket is met again by the next read.
        let sent = pipe.flush().unwrap_or(true);
        if sent == member.wants_write {
            member.wants_write = !sent;
            let _ = self.poll.modify(pipe.socket(), at, !sent);
        }
    }

    fn on_ready(&mut self, event: Ready, heard: &mut Vec<Heard>) {
        let at = event.token;
        let member = &mut self.members[at];
        let Some(pipe) = &mut member.pipe else { return };
        if member.state == State::Connecting {
            if let Err(error) = pipe.connected() {
                return self.lose(at, error.to_string(), heard);
            }
            member.talk.hello(&mut pipe.out);
            member.state = State::Greeting;
            member.wants_write = true; // As it was registered.
            self.flush(at);
            // Some protocols have nothing to wait for.
            return self.hear(at, heard);
        }
        if event.writable && member.wants_write {
            self.flush(at);
        }
        if !event.readable {
            return;
        }
        let Some(pipe) = &mut self.members[at].pipe else { return };
        match pipe.fill() {
            Ok(Filled::Some) => self.hear(at, heard),
            Ok(Filled::Nothing) => {}
            Ok(Filled::Closed) => self.lose(at, "the server closed the connection".into(), heard),
            Err(error) => self.lose(at, error.to_string(), heard),
        }
    }

    fn hear(&mut self, at: usize, heard: &mut Vec<Heard>) {
        let now = self.clock.now();
        let member = &mut self.members[at];
        let Some(pipe) = &mut member.pipe else { return };
        let (input, out) = pipe.both();
        match member.talk.hear(input, out, &mut self.said) {
            Ok(taken) => pipe.consume(taken),
            Err(malformed) => {
                self.said.clear();
                return self.lose(at, malformed.0, heard);
            }
        }
        let answers = pipe.has_output() && !member.wants_write;
        let mut all = std::mem::take(&mut self.said);
        for said in all.drain(..) {
            if matches!(said, Said::Done { tag: NO_TAG, .. }) {
                continue;
            }
            if said == Said::Ready {
                self.leave_greeting(at);
                self.members[at].state = State::Ready;
            }
            heard.push(Heard { member: at, said, now });
        }
        self.said = all;
        if answers {
            self.flush(at);
        }
    }

    fn leave_greeting(&mut self, at: usize) {
        if matches!(self.members[at].state, State::Connecting | State::Greeting) {
            self.greeting -= 1;
        }
    }

    fn lose(&mut self, at: usize, why: String, heard: &mut Vec<Heard>) {
        self.trouble = Some(format!("{}: {why}", self.members[at].server));
        self.cut(at);
        heard.push(Heard { member: at, said: Said::Lost, now: self.clock.now() });
    }
}
