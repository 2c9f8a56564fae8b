//! One connection: its handshake, and its requests in their order.
//!
//! Replies leave in the order in which requests came. What goes to the log or the state at the same time must be
//! of one kind: writes keep their order among themselves, reads theirs, but a read must see the writes before it
//! and none behind it. So a request of another kind waits until those before it are answered; after a `sync`,
//! reads go along with it, as reads of its kind.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::watches::{Kind, mode};
use super::{Zk, auth, silence, wire, words};
use crate::base::Nanos;
use crate::doors::{Answer, Cx, Level, Outcome, Stop, Taken, Write};
use crate::realms::tree::acl::{Ids, OwnIds, Scheme};
use crate::realms::tree::jute::{Malformed, Reader, Write as _, strings};
use crate::realms::tree::ops::{Change, Parts, Watched, code, kind, op};
use crate::realms::tree::read::{Query, event, own};
use crate::state::RealmId;

/// How long a connection may take until its session is open.
const HANDSHAKE: Nanos = Nanos(10_000_000_000);

/// Requests of one connection without a reply, and bytes of those that wait for others: beyond, it is not read.
const WINDOW: usize = 16 << 10;
const HELD_MAX: usize = 4 << 20;

/// Bytes of replies that may gather for a client that does not read them.
const OUT_MAX: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    Greeting,
    /// A four-letter word waits for numbers.
    Word(words::Word),
    /// Its session is being opened or attached.
    Opening,
    Open,
    /// A reply that ends the connection is on its way: what comes now is not looked at.
    Leaving,
}

/// What may be under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Write,
    /// Answered from this node's state.
    Read,
    /// Answered after a quorum check: sync, and reads behind it.
    Quorum,
}

/// A request without a reply.
#[derive(Debug)]
struct Item {
    xid: i32,
    code: i32,
    since: Nanos,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Its record, until those before it have been answered.
    Held(Box<[u8]>),
    /// In the log, or asked of the state. For a read that sets watches: what the answer needs for that.
    Asked(Option<Box<[u8]>>),
    /// Answered when it is first: an error, and the body.
    Ready { err: i32, body: Vec<u8>, last: bool },
    /// Closes without a word when it is first.
    Hang,
}

/// One connection's state.
pub struct Session {
    phase: Phase,
    id: u64,
    timeout_ms: i32,
    from: SocketAddr,
    ids: OwnIds,
    heard: Nanos,
    queue: VecDeque<Item>,
    /// Items at the front of the queue that wait for nothing but their answer.
    issued: usize,
    /// What is asked now, and how many of it.
    class: Class,
    asked: usize,
    held_bytes: usize,
    /// What the handshake said, until it is answered.
    last_zxid: i64,
    wants_flag: bool,
    /// The session went elsewhere before its handshake was answered.
    lost: bool,
}

impl Session {
    pub fn new(cx: &mut Cx<'_>, from: SocketAddr) -> Session {
        cx.alarm(cx.now.plus(HANDSHAKE));
        let mut ids = OwnIds::default();
        ids.add(Scheme::Ip, from.ip().to_canonical().to_string().as_bytes());
        Session {
            phase: Phase::Greeting,
            id: 0,
            timeout_ms: 0,
            from,
            ids,
            heard: cx.now,
            queue: VecDeque::new(),
            issued: 0,
            class: Class::Write,
            asked: 0,
            held_bytes: 0,
            last_zxid: 0,
            wants_flag: false,
            lost: false,
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn from(&self) -> SocketAddr {
        self.from
    }

    pub fn ids(&self) -> Ids<'_> {
        self.ids.ids()
    }

    /// Its session is gone or somebody else's.
    pub fn lose(&mut self, cx: &mut Cx<'_>, why: &'static str) {
        match self.phase {
            // The outcome of its own handshake tells the rest.
            Phase::Opening => self.lost = true,
            // It said goodbye itself, and is about to hear the answer.
            Phase::Leaving => {}
            _ => cx.hang_up(why),
        }
    }

    pub fn on_alarm(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Open && self.phase != Phase::Leaving {
            return cx.hang_up("no handshake within ten seconds");
        }
        let until = self.heard.plus(silence(self.timeout_ms));
        if cx.now >= until {
            return cx.hang_up("silent for its session's timeout");
        }
        cx.alarm(until);
    }

    pub fn on_bytes(&mut self, door: &mut Zk, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        let mut taken = 0;
        let stop = loop {
            let rest = &bytes[taken..];
            if cx.is_hanging_up() || self.phase == Phase::Leaving {
                taken = bytes.len();
                break Stop::Frame(1);
            }
            if self.phase == Phase::Greeting
                && let Some(word) = rest.first_chunk::<4>().and_then(words::Word::of)
            {
                self.on_word(door, cx, word);
                taken = bytes.len();
                break Stop::Session;
            }
            let frame = match wire::take_frame(rest, door.config.frame_max) {
                Err(_) => {
                    cx.hang_up("a frame of impossible length");
                    continue;
                }
                Ok(None) => break Stop::Frame(wire::frame_size(rest)),
                Ok(Some(frame)) => frame,
            };
            let full = self.queue.len() >= WINDOW || self.held_bytes >= HELD_MAX || cx.out_len() >= OUT_MAX;
            if matches!(self.phase, Phase::Opening | Phase::Word(_)) || full {
                break Stop::Session;
            }
            if !cx.admits() {
                break Stop::Permits;
            }
            let (body, size) = frame;
            taken += size;
            match self.phase {
                Phase::Greeting => self.on_connect(door, cx, body),
                _ => self.on_request(door, cx, body),
            }
        };
        if taken > 0 && self.phase == Phase::Open {
            self.heard = cx.now;
            cx.touch(RealmId::Tree, self.id);
        }
        Taken { bytes: taken, stop }
    }

    fn on_word(&mut self, door: &mut Zk, cx: &mut Cx<'_>, word: words::Word) {
        if !door.config.words.iter().any(|known| known == word.name() || known == "*") {
            words::refuse(word, cx.out());
            return cx.hang_up("a four-letter word that is not allowed");
        }
        if let Some(text) = words::at_once(word, door, cx.serving) {
            cx.out().extend_from_slice(text.as_bytes());
            return cx.hang_up("a four-letter word");
        }
        self.phase = Phase::Word(word);
        let code = if word == words::Word::Dump { own::DUMP } else { own::FACTS };
        let query = Query { session: 0, ids: self.ids.bytes(), code, record: &[] };
        cx.read(RealmId::Tree, Level::Local, 0, |out| query.write(out));
    }

    fn on_connect(&mut self, door: &mut Zk, cx: &mut Cx<'_>, body: &[u8]) {
        let Ok(connect) = wire::Connect::read(body) else {
            return cx.hang_up("a handshake that does not parse");
        };
        if !cx.serving {
            return cx.hang_up("no leader that a quorum follows");
        }
        let (low, high) = door.config.timeout_ms;
        self.timeout_ms = connect.timeout_ms.max(low).min(high);
        self.last_zxid = connect.last_zxid;
        self.wants_flag = connect.read_only.is_some();
        let write = |kind| Write {
            realm: RealmId::Tree,
            kind,
            feature: 0,
            principal: 0,
            session: connect.session,
            request: 0,
        };
        if connect.session == 0 {
            let timeout = self.timeout_ms.to_be_bytes();
            self.phase = Phase::Opening;
            cx.write(&write(kind::OPEN_SESSION), 0, |out| out.extend_from_slice(&timeout));
            return;
        }
        if connect.password != Some(&wire::password(connect.session)[..]) {
            return self.refuse(cx, "a wrong session password");
        }
        // The old connection of this session, if it is here, must not see what is asked from now on.
        if let Some(old) = door.seats.insert(connect.session, cx.seat)
            && old != cx.seat
        {
            cx.evict(old, "its session has a new connection");
        }
        self.id = connect.session;
        self.phase = Phase::Opening;
        let timeout = self.timeout_ms.to_be_bytes();
        cx.write(&write(kind::ATTACH_SESSION), 0, |out| {
            out.extend_from_slice(&connect.session.to_be_bytes());
            out.extend_from_slice(&timeout);
        });
    }

    /// Tells the client that its session is gone.
    fn refuse(&mut self, cx: &mut Cx<'_>, why: &'static str) {
        wire::write_connected(cx.out(), 0, 0, &[0; 16], self.wants_flag);
        self.phase = Phase::Leaving;
        cx.hang_up(why);
    }

    fn on_connected(&mut self, door: &mut Zk, cx: &mut Cx<'_>, reply: &[u8]) {
        let zxid = door.saw(reply);
        let mut reader = Reader::new(&reply[8..]);
        let (Ok(0), Ok(id)) = (reader.i32(), reader.i64()) else {
            return self.refuse(cx, "its session is unknown");
        };
        if self.lost {
            return cx.hang_up("its session is served elsewhere");
        }
        self.id = id as u64;
        door.seats.insert(self.id, cx.seat);
        door.peers.insert(cx.seat, (self.from, self.id));
        if self.last_zxid > zxid as i64 {
            // It has seen what this cluster has never done: another one's client, or older state than it knows.
            return cx.hang_up("the client is ahead of this cluster");
        }
        wire::write_connected(cx.out(), self.timeout_ms, self.id, &wire::password(self.id), self.wants_flag);
        self.phase = Phase::Open;
        self.heard = cx.now;
        cx.alarm(cx.now.plus(silence(self.timeout_ms)));
    }

    fn on_request(&mut self, door: &mut Zk, cx: &mut Cx<'_>, body: &[u8]) {
        door.lane().received.add(1);
        let Ok((head, record)) = wire::Head::split(body) else {
            return cx.hang_up("a request without a head");
        };
        if !cx.serving {
            return cx.hang_up("no leader that a quorum follows");
        }
        door.lane().outstanding.add(1);
        let item = Item { xid: head.xid, code: head.code, since: cx.now, step: Step::Hang };
        let ready = |err, last| Step::Ready { err, body: Vec::new(), last };
        let step = match check(head.code, record) {
            Ok(Sort::Asked) => {
                if self.issued == self.queue.len() && self.may_ask(head.code) {
                    let step = self.ask(cx, head.code, record);
                    self.queue.push_back(Item { step, ..item });
                    self.issued += 1;
                    return;
                }
                self.held_bytes += record.len();
                Step::Held(record.into())
            }
            Ok(Sort::Table) => {
                self.held_bytes += record.len();
                Step::Held(record.into())
            }
            Ok(Sort::Ping) => ready(code::OK, false),
            Ok(Sort::WhoAmI) => Step::Ready { err: code::OK, body: self.who_am_i(), last: false },
            Ok(Sort::Auth) => match self.on_auth(door, record) {
                true => ready(code::OK, false),
                false => {
                    door.lane().auth_failed.add(1);
                    ready(code::AUTH_FAILED, true)
                }
            },
            // Not configured: answered as a reference does that has it switched off.
            Ok(Sort::Sasl) => {
                Step::Ready { err: code::OK, body: (-1i32).to_be_bytes().to_vec(), last: false }
            }
            Ok(Sort::Unknown) => ready(code::UNIMPLEMENTED, true),
            Err(Malformed::Length { .. }) => Step::Hang,
            Err(Malformed::Short | Malformed::Multi(_)) => ready(code::MARSHALLING_ERROR, false),
        };
        if matches!(step, Step::Ready { last: true, .. } | Step::Hang) {
            self.phase = Phase::Leaving;
        }
        self.queue.push_back(Item { step, ..item });
        self.pump(door, cx);
    }

    fn on_auth(&mut self, door: &Zk, record: &[u8]) -> bool {
        let mut reader = Reader::new(record);
        let (Ok(_), Ok(scheme), Ok(shown)) = (reader.i32(), reader.bytes(), reader.bytes()) else {
            return false;
        };
        let address = self.from.ip().to_canonical().to_string();
        let super_digest = door.config.super_digest.as_deref();
        let (scheme, shown) = (scheme.unwrap_or_default(), shown.unwrap_or_default());
        auth::take(scheme, shown, address.as_bytes(), super_digest, &mut self.ids)
    }

    fn who_am_i(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i32(self.ids().iter().count() as i32);
        for (scheme, id) in self.ids().iter() {
            body.put_bytes(scheme.name());
            body.put_bytes(match scheme {
                Scheme::Digest => id.split(|&b| b == b':').next().unwrap_or_default(),
                _ => id,
            });
        }
        body
    }

    /// Whether a request of this code may go along with what is asked now.
    fn may_ask(&self, code: i32) -> bool {
        self.asked == 0
            || match class_of(code) {
                Class::Write => self.class == Class::Write,
                Class::Read => self.class != Class::Write,
                Class::Quorum => self.class == Class::Quorum,
            }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, code: i32, record: &[u8]) -> Step {
        let class = class_of(code);
        if self.asked == 0 {
            self.class = class;
        }
        self.asked += 1;
        if class == Class::Write {
            let kind = if code == op::CLOSE_SESSION { kind::CLOSE_SESSION } else { code as u8 };
            let write =
                Write { realm: RealmId::Tree, kind, feature: 0, principal: 0, session: self.id, request: 0 };
            if code == op::CLOSE_SESSION {
                self.phase = Phase::Leaving;
            }
            let ids = self.ids.bytes();
            cx.write(&write, 0, |out| {
                out.extend_from_slice(ids);
                out.extend_from_slice(record);
            });
            return Step::Asked(None);
        }
        let level = if self.class == Class::Quorum { Level::Linearizable } else { Level::Local };
        let query = Query { session: self.id, ids: self.ids.bytes(), code, record };
        cx.read(RealmId::Tree, level, 0, |out| query.write(out));
        Step::Asked(match code {
            op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => watched_path(record),
            op::SET_WATCHES | op::SET_WATCHES2 => Some(record.into()),
            _ => None,
        })
    }

    pub fn on_outcome(&mut self, door: &mut Zk, cx: &mut Cx<'_>, _: u64, outcome: Outcome<'_>) {
        let Outcome::Done { reply, .. } = outcome else {
            return cx.hang_up("the fate of a write is unknown");
        };
        if self.phase == Phase::Opening {
            return self.on_connected(door, cx, reply);
        }
        door.saw(reply);
        let item = self.answered(door, cx.now);
        let err = reply.get(8..12).map_or(0, |err| i32::from_be_bytes(err.try_into().expect("four bytes")));
        if err == code::SESSION_MOVED {
            return cx.hang_up("its session is served elsewhere");
        }
        wire::write_reply(cx.out(), item.xid, reply);
        if item.code == op::CLOSE_SESSION {
            return cx.hang_up("the client said goodbye");
        }
        self.pump(door, cx);
    }

    pub fn on_answer(&mut self, door: &mut Zk, cx: &mut Cx<'_>, _: u64, answer: Answer<'_>) {
        let Answer::Found(reply) = answer else {
            return cx.hang_up("no quorum confirmed a read");
        };
        let zxid = door.saw(reply);
        if let Phase::Word(word) = self.phase {
            words::answer(word, door, zxid, &reply[12..], cx.out());
            return cx.hang_up("a four-letter word");
        }
        let item = self.answered(door, cx.now);
        let err = reply.get(8..12).map_or(0, |err| i32::from_be_bytes(err.try_into().expect("four bytes")));
        let Step::Asked(note) = item.step else { unreachable!("the first item was asked") };
        match (item.code, note) {
            (op::SET_WATCHES | op::SET_WATCHES2, Some(record)) => {
                self.take_watches(door, cx, item.code, &record, &reply[12..]);
                wire::write_reply(cx.out(), item.xid, &reply[..12]);
            }
            (_, Some(path)) => {
                let table = match item.code {
                    op::GET_CHILDREN | op::GET_CHILDREN2 => Kind::Child,
                    _ => Kind::Data,
                };
                if err == code::OK || (item.code == op::EXISTS && err == code::NO_NODE) {
                    door.watches.add(table, &path, cx.seat, mode::ONCE);
                    door.lane().watches.set(door.watches.len() as u64);
                }
                wire::write_reply(cx.out(), item.xid, reply);
            }
            (_, None) => wire::write_reply(cx.out(), item.xid, reply),
        }
        self.pump(door, cx);
    }

    /// Takes the first item, which has its answer, out of the queue.
    fn answered(&mut self, door: &Zk, now: Nanos) -> Item {
        let item = self.queue.pop_front().expect("an answer to a request");
        assert!(matches!(item.step, Step::Asked(_)), "what is ready does not stay in front");
        self.issued -= 1;
        self.asked -= 1;
        count_reply(door, &item, now);
        item
    }

    /// Answers what is first and needs nobody, then asks what may be asked.
    fn pump(&mut self, door: &mut Zk, cx: &mut Cx<'_>) {
        loop {
            while let Some(first) = self.queue.front() {
                match &first.step {
                    Step::Asked(_) => break,
                    Step::Held(_) if !is_table(first.code) => break,
                    _ => {}
                }
                let item = self.queue.pop_front().expect("just seen");
                self.issued = self.issued.saturating_sub(1);
                self.finish(door, cx, item);
            }
            if !self.ask_next(cx) {
                return;
            }
        }
    }

    /// Asks for one more; false if nothing more may be asked now.
    fn ask_next(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(code) = self.queue.get(self.issued).map(|next| next.code) else { return false };
        let may = !is_table(code) && self.may_ask(code);
        let next = &mut self.queue[self.issued];
        match &mut next.step {
            Step::Asked(_) => unreachable!("it is beyond those asked"),
            Step::Ready { .. } | Step::Hang => {
                // It waits only for its turn, and what comes behind need not wait for that.
                self.issued += 1;
                true
            }
            Step::Held(_) if !may => false,
            Step::Held(record) => {
                let record = std::mem::take(record);
                self.held_bytes -= record.len();
                let step = self.ask(cx, code, &record);
                self.queue[self.issued].step = step;
                self.issued += 1;
                true
            }
        }
    }

    /// The first item needs no answer from outside.
    fn finish(&mut self, door: &mut Zk, cx: &mut Cx<'_>, item: Item) {
        count_reply(door, &item, cx.now);
        let (err, body, last) = match item.step {
            Step::Hang => return cx.hang_up("a record that cannot be"),
            Step::Ready { err, body, last } => (err, body, last),
            Step::Held(record) => {
                self.held_bytes -= record.len();
                let (err, body) = self.on_table(door, cx, item.code, &record);
                (err, body, false)
            }
            Step::Asked(_) => unreachable!("it waits for its answer"),
        };
        let zxid = match item.code {
            op::AUTH | op::SASL => 0,
            // What the reference says of a request that never reached its state.
            _ if err == code::UNIMPLEMENTED => -1,
            _ => door.zxid as i64,
        };
        wire::framed(cx.out(), |out| {
            wire::write_head(out, item.xid, zxid, err);
            out.extend_from_slice(&body);
        });
        if last {
            cx.hang_up("a request that ends the connection");
        }
    }

    /// Operations on the tables of watches alone.
    fn on_table(&mut self, door: &mut Zk, cx: &mut Cx<'_>, code: i32, record: &[u8]) -> (i32, Vec<u8>) {
        let mut reader = Reader::new(record);
        let (Ok(path), Ok(which)) = (reader.bytes(), reader.i32()) else {
            return (code::MARSHALLING_ERROR, Vec::new());
        };
        // Null is a path that nothing happens at, as in the reference.
        let path = path.unwrap_or(b"\0");
        let (seat, watches) = (cx.seat, &mut door.watches);
        if code == op::ADD_WATCH {
            match which {
                0 => {
                    watches.add(Kind::Data, path, seat, mode::PERSISTENT);
                    watches.add(Kind::Child, path, seat, mode::PERSISTENT);
                }
                1 => watches.add(Kind::Data, path, seat, mode::RECURSIVE),
                _ => return (code::MARSHALLING_ERROR, Vec::new()),
            }
            door.lane().watches.set(door.watches.len() as u64);
            return (code::OK, vec![0; 4]);
        }
        // Checking looks at one table where removing clears two.
        let places: &[(Kind, u8)] = match which {
            1 => &[(Kind::Child, mode::ONCE)],
            2 => &[(Kind::Data, mode::ONCE)],
            3 => &[(Kind::Child, mode::ANY), (Kind::Data, mode::ANY)],
            4 => &[(Kind::Data, mode::PERSISTENT), (Kind::Child, mode::PERSISTENT)],
            5 => &[(Kind::Data, mode::RECURSIVE)],
            _ => return (code::MARSHALLING_ERROR, Vec::new()),
        };
        let mut found = false;
        for &(kind, modes) in places {
            found |= match code {
                op::REMOVE_WATCHES => watches.remove(kind, path, seat, modes),
                _ => watches.modes(kind, path, seat) & modes != 0,
            };
        }
        door.lane().watches.set(door.watches.len() as u64);
        (if found { code::OK } else { code::NO_WATCHER }, Vec::new())
    }

    /// A returning client's watches: what has happened meanwhile is told at once, the others are set.
    fn take_watches(&mut self, door: &mut Zk, cx: &mut Cx<'_>, code: i32, record: &[u8], missed: &[u8]) {
        let mut reader = Reader::new(record);
        let _since = reader.i64();
        let tables: &[(Kind, u8)] = &[
            (Kind::Data, mode::ONCE),
            (Kind::Data, mode::ONCE),
            (Kind::Child, mode::ONCE),
            (Kind::Data, mode::PERSISTENT),
            (Kind::Data, mode::RECURSIVE),
        ];
        let count = if code == op::SET_WATCHES2 { 5 } else { 3 };
        let mut missed = missed.iter();
        for &(kind, modes) in &tables[..count] {
            let Ok(vector) = reader.string_vector() else { return };
            for path in strings(vector) {
                match missed.next() {
                    Some(&event::NONE) | None => {
                        door.watches.add(kind, path, cx.seat, modes);
                        if modes == mode::PERSISTENT {
                            door.watches.add(Kind::Child, path, cx.seat, modes);
                        }
                    }
                    Some(&what) => wire::write_event(cx.out(), -1, what, path),
                }
            }
        }
        door.lane().watches.set(door.watches.len() as u64);
    }
}

fn count_reply(door: &Zk, item: &Item, now: Nanos) {
    let lane = door.lane();
    lane.sent.add(1);
    lane.outstanding.sub(1);
    lane.latency(now.since(item.since).0 / 1000);
}

/// The path to watch, if the read asks for it.
fn watched_path(record: &[u8]) -> Option<Box<[u8]>> {
    let read = Watched::read(&mut Reader::new(record)).ok()?;
    if read.watch { read.path.map(Into::into) } else { None }
}

/// What kind of request a code makes.
enum Sort {
    /// Of the log or the state.
    Asked,
    /// Of the tables of watches; everything else keeps its place before and behind it.
    Table,
    Ping,
    Auth,
    WhoAmI,
    Sasl,
    Unknown,
}

fn is_table(code: i32) -> bool {
    matches!(code, op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES)
}

fn class_of(code: i32) -> Class {
    match code {
        op::SYNC => Class::Quorum,
        op::EXISTS
        | op::GET_DATA
        | op::GET_ACL
        | op::GET_CHILDREN
        | op::GET_CHILDREN2
        | op::MULTI_READ
        | op::SET_WATCHES
        | op::SET_WATCHES2
        | op::GET_EPHEMERALS
        | op::GET_ALL_CHILDREN_NUMBER => Class::Read,
        _ => Class::Write,
    }
}

/// Whether the record is what its code says, before it has any effect.
fn check(code: i32, record: &[u8]) -> Result<Sort, Malformed> {
    let mut reader = Reader::new(record);
    match code {
        op::PING => return Ok(Sort::Ping),
        op::AUTH => return Ok(Sort::Auth),
        op::SASL => return Ok(Sort::Sasl),
        op::WHO_AM_I => return Ok(Sort::WhoAmI),
        op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES => {
            reader.bytes()?;
            reader.i32()?;
            return Ok(Sort::Table);
        }
        op::CLOSE_SESSION => {}
        op::CREATE
        | op::CREATE2
        | op::CREATE_CONTAINER
        | op::CREATE_TTL
        | op::DELETE
        | op::SET_DATA
        | op::SET_ACL => {
            Change::read(code, &mut reader)?;
        }
        op::RECONFIG => {
            for _ in 0..3 {
                reader.bytes()?;
            }
            reader.i64()?;
        }
        op::MULTI => {
            if Parts::check(record)? {
                return Err(Malformed::Multi(op::GET_DATA));
            }
        }
        op::MULTI_READ => {
            if !Parts::check(record)? && Parts::new(record).next().is_some() {
                return Err(Malformed::Multi(op::CREATE));
            }
        }
        op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => {
            Watched::read(&mut reader)?;
        }
        op::GET_ACL | op::SYNC | op::GET_EPHEMERALS | op::GET_ALL_CHILDREN_NUMBER => {
            reader.bytes()?;
        }
        op::SET_WATCHES | op::SET_WATCHES2 => {
            reader.i64()?;
            for _ in 0..if code == op::SET_WATCHES2 { 5 } else { 3 } {
                reader.string_vector()?;
            }
        }
        // Among them: check outside a multi, and deleteContainer, which is not for clients.
        _ => return Ok(Sort::Unknown),
    }
    Ok(Sort::Asked)
}
