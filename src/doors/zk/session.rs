//! One connection: its handshake, and its requests in their order.
//!
//! Replies leave in the order in which requests came, and a read sees the writes before it and none behind it: it is
//! asked for as the state is between them, so all may be under way at once. A `sync` waits until what came before it is
//! answered, and a write behind a `sync` until that is; reads go along with it, as reads of its kind.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::roster::{Conn, Said};
use super::sort::{Class, Sort, check, class_of, is_table, watched_path};
use super::watches::{Kind, mode};
use super::{Zk, auth, silence, wire, words};
use crate::base::Nanos;
use crate::base::planted::{self, Bug};
use crate::doors::{Answer, Cx, Level, Outcome, Stop, Taken, Write};
use crate::realms::tree::acl::{Ids, OwnIds, Scheme};
use crate::realms::tree::jute::{Malformed, Reader, Write as _};
use crate::realms::tree::ops::{code, kind, op};
use crate::realms::tree::read::{Query, own};
use crate::state::RealmId;

/// How long a connection may take until its session is open.
const HANDSHAKE: Nanos = Nanos(10_000_000_000);

/// Requests of one connection without a reply, and bytes of those that wait for others: beyond, it is not read.
const WINDOW: usize = 16 << 10;
const HELD_MAX: usize = 4 << 20;

/// Bytes of replies that may gather for a client that does not read them.
const OUT_MAX: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(super) phase: Phase,
    pub(super) id: u64,
    pub(super) timeout_ms: i32,
    conn: Arc<Conn>,
    ids: OwnIds,
    pub(super) heard: Nanos,
    queue: VecDeque<Item>,
    /// Items at the front of the queue that wait for nothing but their answer.
    issued: usize,
    /// A quorum is asked now: for a `sync`, and for the reads behind it.
    is_syncing: bool,
    /// How much is asked now.
    asked: usize,
    /// The last write, by its number in this lane; 0: none.
    written: u64,
    /// What the last reply showed.
    shown: u64,
    held_bytes: usize,
    /// What the handshake said, until it is answered.
    pub(super) last_zxid: i64,
    pub(super) wants_flag: bool,
    /// The session went elsewhere before its handshake was answered.
    pub(super) lost: bool,
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
            conn: Arc::new(Conn::new(from, cx.now.0 / 1_000_000)),
            ids,
            heard: cx.now,
            queue: VecDeque::new(),
            issued: 0,
            is_syncing: false,
            asked: 0,
            written: 0,
            shown: 0,
            held_bytes: 0,
            last_zxid: 0,
            wants_flag: false,
            lost: false,
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Its certificate names it so.
    pub fn prove(&mut self, subject: &[u8]) {
        self.ids.add(Scheme::X509, subject);
    }

    pub fn ids(&self) -> Ids<'_> {
        self.ids.ids()
    }

    /// Its session is gone or somebody else's.
    pub fn lose(&mut self, cx: &mut Cx<'_>, why: &'static str) {
        match self.phase {
            // The outcome of its own handshake tells the rest.
            Phase::Opening => self.lost = true,
            // It said goodbye itself, and is about to hear the answer. Anything in front of that would be answered from a
            // state in which it has nothing any more.
            Phase::Leaving if self.queue.front().is_some_and(|first| first.code == op::CLOSE_SESSION) => {}
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
            self.conn.received.add(1);
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
        self.conn.received.add(1);
        door.lane().received.add(1);
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

    fn on_request(&mut self, door: &mut Zk, cx: &mut Cx<'_>, body: &[u8]) {
        door.lane().received.add(1);
        let Ok((head, record)) = wire::Head::split(body) else {
            return cx.hang_up("a request without a head");
        };
        if !cx.serving {
            return cx.hang_up("no leader that a quorum follows");
        }
        if head.code == op::PING && self.queue.is_empty() {
            return self.on_ping(door, cx, head.xid);
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

    /// Nothing is under way: what most clients say most of the time costs no queue.
    fn on_ping(&self, door: &Zk, cx: &mut Cx<'_>, xid: i32) {
        door.lane().sent.add(1);
        door.lane().latency(0);
        let now_ms = cx.now.0 / 1_000_000;
        self.conn.answered(Said { xid, code: op::PING, zxid: door.zxid, now_ms, us: 0 });
        let mut reply = [0; 20];
        reply[3] = 16;
        reply[4..8].copy_from_slice(&xid.to_be_bytes());
        reply[8..16].copy_from_slice(&door.zxid.to_be_bytes());
        cx.out().extend_from_slice(&reply);
    }

    fn on_auth(&mut self, door: &Zk, record: &[u8]) -> bool {
        let mut reader = Reader::new(record);
        let (Ok(_), Ok(scheme), Ok(shown)) = (reader.i32(), reader.bytes(), reader.bytes()) else {
            return false;
        };
        let address = self.conn.from.ip().to_canonical().to_string();
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
                Class::Write => !self.is_syncing,
                Class::Read => true,
                Class::Quorum => self.is_syncing,
            }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, code: i32, record: &[u8]) -> Step {
        let class = class_of(code);
        if self.asked == 0 {
            self.is_syncing = class == Class::Quorum && !planted::is(Bug::LocalSync);
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
            self.written = cx.write(&write, 0, |out| {
                out.extend_from_slice(ids);
                out.extend_from_slice(record);
            });
            return Step::Asked(None);
        }
        let query = Query { session: self.id, ids: self.ids.bytes(), code, record };
        match self.is_syncing {
            true => cx.read(RealmId::Tree, Level::Linearizable, 0, |out| query.write(out)),
            false => cx.read_after(RealmId::Tree, self.written, 0, |out| query.write(out)),
        }
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
        self.shown = door.saw(reply);
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
        self.shown = zxid;
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
                    door.count_watches();
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
        self.count_reply(door, &item, now);
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
        self.count_reply(door, &item, cx.now);
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
            // The door may have been told of changes that what is asked already will not show.
            _ if self.asked > 0 => self.shown as i64,
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

    /// Requests that are not answered yet, and never will be once the connection is gone.
    pub(super) fn unanswered(&self) -> u64 {
        self.queue.len() as u64
    }

    fn count_reply(&self, door: &Zk, item: &Item, now: Nanos) {
        let lane = door.lane();
        let us = now.since(item.since).0 / 1000;
        lane.sent.add(1);
        lane.outstanding.sub(1);
        lane.latency(us);
        let Item { xid, code, .. } = *item;
        self.conn.answered(Said { xid, code, zxid: door.zxid, now_ms: now.0 / 1_000_000, us });
    }
}
