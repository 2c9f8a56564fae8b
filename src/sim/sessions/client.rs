//! A client as libraries make them: one session over changing connections, watches set anew on each, requests
//! answered in their order. It believes nothing that it has not been promised. How its bytes travel is its world's
//! affair.

use std::collections::{BTreeMap, VecDeque};

use super::{Tally, Verdict};
use crate::base::{Nanos, Rng};
use crate::doors::zk::wire;
use crate::realms::tree::acl;
use crate::realms::tree::jute::{Malformed, Reader, Stat, Write};
use crate::realms::tree::ops::{code, op};

const PATHS: u64 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Create(String, bool),
    Set(String),
    Get(String, bool),
    /// Of an ephemeral of its own, which is there as long as its session.
    Own(String),
    Lasting(String),
    Ping,
    Watches,
    /// Which change somebody had been told of when it was asked.
    Sync(i64),
    Close,
}

/// A watch that stays: every change of its path is told.
#[derive(Default)]
struct Lasting {
    /// The version in which the path was last seen.
    seen: Option<i32>,
    /// Events since, and the zxid of the last one.
    events: i32,
    told: i64,
}

/// A node that its session may have made, by a connection that broke before the answer.
pub struct Doubt {
    pub path: String,
    pub until: Until,
}

/// It was made by then, or never.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The next answer that its session gets elsewhere.
    Answer,
    Zxid(i64),
    /// The end of this session.
    End(u64),
}

pub struct Client {
    pub at: usize,
    pub rng: Rng,
    timeout_ms: i32,
    pub session: u64,
    last_zxid: i64,
    is_off: bool,
    pub open: bool,
    inbox: Vec<u8>,
    /// Requests without an answer, by their numbers.
    pub(super) pending: VecDeque<(i32, Ask)>,
    xid: i32,
    /// Watches that have not fired, by path: the zxid of what was seen when they were set.
    watches: BTreeMap<String, i64>,
    lasting: BTreeMap<String, Lasting>,
    /// Which zxid each path was last seen at or written with, on this connection.
    seen: BTreeMap<String, i64>,
    own: Vec<String>,
    pub doubts: Vec<Doubt>,
    known: i64,
    /// The last of its own changes that it was told of.
    pub changed: i64,
    /// When it last sent, and when it last heard anything.
    pub spoke: Nanos,
    pub heard: Nanos,
}

fn path(n: u64) -> String {
    format!("/r{n}")
}

impl Client {
    pub fn new(at: usize, timeout_ms: i32, rng: Rng) -> Client {
        Client {
            at,
            rng,
            timeout_ms,
            session: 0,
            last_zxid: 0,
            is_off: true,
            open: false,
            inbox: Vec::new(),
            pending: VecDeque::new(),
            xid: 0,
            watches: BTreeMap::new(),
            lasting: BTreeMap::new(),
            seen: BTreeMap::new(),
            own: Vec::new(),
            doubts: Vec::new(),
            known: 0,
            changed: 0,
            spoke: Nanos(0),
            heard: Nanos(0),
        }
    }

    /// It has no connection, or wants none of the one that it has.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whoever says goodbye is not kept alive by it.
    pub fn leaves(&self) -> bool {
        self.pending.iter().any(|(_, ask)| *ask == Ask::Close)
    }

    /// Watches that wait for a change, if it has heard all that it asked for.
    pub fn watched(&self) -> impl Iterator<Item = (&String, i64)> {
        let heard = self.open && self.pending.is_empty();
        self.watches.iter().filter(move |_| heard).map(|(path, zxid)| (path, *zxid))
    }

    /// Ephemerals that must be there, if it has heard all that it asked for.
    pub fn owns(&self) -> impl Iterator<Item = &String> {
        let heard = self.open && self.pending.is_empty();
        self.own.iter().filter(move |_| heard)
    }

    /// What it has to say now: requests, as likely as it is eager, or that it is alive. `known`: the last change that
    /// anybody has been told of.
    pub fn talk(&mut self, now: Nanos, eager: f64, known: i64) -> Vec<u8> {
        self.known = known;
        let mut out = Vec::new();
        let ping = Nanos::from_millis(self.timeout_ms as u64 / 3);
        if eager > 0.0 && self.pending.len() < 6 && self.rng.chance(eager) {
            self.ask_something(&mut out);
            // Some say much at once. (Seed 1: a ping between two writes showed a zxid that the second reply did not.)
            while self.pending.len() < 6 && self.rng.chance(0.4) {
                self.ask_something(&mut out);
            }
        } else if now.since(self.spoke) >= ping && self.pending.len() < 8 {
            self.ask(&mut out, Ask::Ping, op::PING, &[]);
        }
        out
    }

    pub fn disconnected(&mut self) {
        self.is_off = true;
        self.open = false;
        self.inbox.clear();
        // What it does not know the fate of, it forgets: the next reads tell.
        for (_, ask) in self.pending.drain(..) {
            match ask {
                Ask::Create(path, false) if path.starts_with("/p") => {
                    self.doubts.push(Doubt { path, until: Until::Answer })
                }
                Ask::Lasting(path) => drop(self.lasting.remove(&path)),
                _ => {}
            }
        }
        self.seen.clear();
    }

    /// Replies come in the order of the requests, so a later one shows what is newer: a write by at least one.
    fn sees(&mut self, path: &str, mzxid: i64, is_write: bool) -> Verdict {
        match self.seen.insert(path.to_owned(), mzxid) {
            Some(before) if mzxid < before + i64::from(is_write) => {
                let what = if is_write { "written at" } else { "read at" };
                Err(format!(
                    "13: client {}: {path} was {what} {mzxid}, and shown at {before} before that",
                    self.at
                ))
            }
            _ => Ok(()),
        }
    }

    /// A new connection's first bytes.
    pub fn connect(&mut self, now: Nanos) -> Vec<u8> {
        (self.is_off, self.heard) = (false, now);
        let mut out = Vec::new();
        let password = if self.session == 0 { [0; 16] } else { wire::password(self.session) };
        wire::framed(&mut out, |out| {
            out.put_i32(0);
            out.put_i64(self.last_zxid);
            out.put_i32(self.timeout_ms);
            out.put_i64(self.session as i64);
            out.put_bytes(&password);
            out.put_bool(false);
        });
        // Libraries send what waits right behind.
        if self.session != 0 && !(self.watches.is_empty() && self.lasting.is_empty()) {
            let mut record = Vec::new();
            record.put_i64(self.last_zxid);
            record.put_i32(self.watches.len() as i32);
            self.watches.keys().for_each(|path| record.put_bytes(path.as_bytes()));
            record.put_i32(0);
            record.put_i32(0);
            // Of those that stay nobody tells what was missed.
            self.lasting.values_mut().for_each(|watch| *watch = Lasting::default());
            let code = if self.lasting.is_empty() { op::SET_WATCHES } else { op::SET_WATCHES2 };
            if code == op::SET_WATCHES2 {
                record.put_i32(self.lasting.len() as i32);
                self.lasting.keys().for_each(|path| record.put_bytes(path.as_bytes()));
                record.put_i32(0);
            }
            self.ask(&mut out, Ask::Watches, code, &record);
        }
        out
    }

    fn ask_something(&mut self, out: &mut Vec<u8>) {
        let name = path(self.rng.below(PATHS));
        let mut record = Vec::new();
        match self.rng.below(100) {
            0..40 => {
                let watch = self.rng.chance(0.5);
                record.put_bytes(name.as_bytes());
                record.put_bool(watch);
                self.ask(out, Ask::Get(name, watch), op::GET_DATA, &record);
            }
            40..44 if !self.own.is_empty() => {
                let name = self.rng.pick(&self.own).clone();
                record.put_bytes(name.as_bytes());
                record.put_bool(false);
                self.ask(out, Ask::Own(name), op::GET_DATA, &record);
            }
            40..47 => {
                record.put_bytes(name.as_bytes());
                record.put_i32(0);
                self.ask(out, Ask::Lasting(name), op::ADD_WATCH, &record);
            }
            47..70 => {
                record.put_bytes(name.as_bytes());
                record.put_bytes(b"v");
                record.put_i32(-1);
                self.ask(out, Ask::Set(name), op::SET_DATA, &record);
            }
            70..90 => {
                let ephemeral = self.rng.chance(0.5);
                let name = match self.rng.chance(0.3) {
                    true => name,
                    false => format!("/{}{}-{}", if ephemeral { 'e' } else { 'p' }, self.at, self.xid),
                };
                let ephemeral = ephemeral && name.starts_with("/e");
                record.put_bytes(name.as_bytes());
                record.put_bytes(b"c");
                record.extend_from_slice(acl::OPEN);
                record.put_i32(ephemeral.into());
                self.ask(out, Ask::Create(name, ephemeral), op::CREATE, &record);
            }
            90..96 => {
                record.put_bytes(b"/");
                self.ask(out, Ask::Sync(self.known), op::SYNC, &record);
            }
            96..98 => self.ask(out, Ask::Close, op::CLOSE_SESSION, &[]),
            _ => self.ask(out, Ask::Ping, op::PING, &[]),
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>, ask: Ask, code: i32, record: &[u8]) {
        self.xid += 1;
        let xid = if ask == Ask::Ping { wire::xid::PING } else { self.xid };
        wire::framed(out, |out| {
            out.put_i32(xid);
            out.put_i32(code);
            out.extend_from_slice(record);
        });
        self.pending.push_back((xid, ask));
    }

    /// What came, and whether it was the last. `lives`: whether a session is alive at the log's end.
    pub fn hear(
        &mut self,
        bytes: &[u8],
        closed: bool,
        now: Nanos,
        lives: impl Fn(u64) -> bool,
        tally: &mut Tally,
    ) -> Verdict {
        if !bytes.is_empty() {
            self.heard = now;
        }
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Some((body, size)) = wire::take_frame(rest, u32::MAX >> 1).map_err(|why| why.to_string())? {
            rest = &rest[size..];
            if self.open {
                self.on_frame(body, tally)?;
            } else if !self.on_connected(body, now, &lives)? {
                return Ok(());
            }
            if self.is_off {
                return Ok(());
            }
        }
        self.inbox = rest.to_vec();
        if closed {
            self.disconnected();
        }
        Ok(())
    }

    /// False: the session is over.
    fn on_connected(&mut self, body: &[u8], now: Nanos, lives: impl Fn(u64) -> bool) -> Result<bool, String> {
        let mut reader = Reader::new(body);
        let mut field = || reader.i32().map_err(|why| why.to_string());
        let (_, timeout) = (field()?, field()?);
        let id = reader.i64().map_err(|why| why.to_string())? as u64;
        if timeout <= 0 {
            if lives(self.session) {
                return Err(format!(
                    "22: client {} is told that its living session {:x} is over",
                    self.at, self.session
                ));
            }
            self.forget();
            return Ok(false);
        }
        if self.session != 0 && id != self.session {
            return Err(format!(
                "22: client {} asked for session {:x} and got {id:x}",
                self.at, self.session
            ));
        }
        (self.session, self.open, self.spoke) = (id, true, now);
        Ok(true)
    }

    /// The next connection is a new client's.
    fn forget(&mut self) {
        self.disconnected();
        let session = self.session;
        self.doubts.iter_mut().filter(|doubt| doubt.until == Until::Answer).for_each(|doubt| {
            doubt.until = Until::End(session);
        });
        self.session = 0;
        self.last_zxid = 0;
        self.watches.clear();
        self.lasting.clear();
        self.own.clear();
    }

    fn on_event(&mut self, zxid: i64, path: String, tally: &mut Tally) -> Verdict {
        tally.events += 1;
        tally.missed += u64::from(zxid == -1);
        let at = self.at;
        let lasts = self.lasting.contains_key(&path);
        if let Some(watch) = self.lasting.get_mut(&path).filter(|_| zxid != -1) {
            if zxid <= watch.told {
                return Err(format!(
                    "26: client {at}: an event of {path} at {zxid}, behind one at {}",
                    watch.told
                ));
            }
            (watch.told, watch.events) = (zxid, watch.events + 1);
        }
        match self.watches.remove(&path) {
            Some(seen) if zxid != -1 && zxid <= seen => {
                Err(format!("26: client {at}: an event of {path} at {zxid}, seen at {seen} already"))
            }
            None if !lasts => Err(format!("26: client {at}: an event of {path} that it does not watch")),
            _ => Ok(()),
        }
    }

    fn on_frame(&mut self, body: &[u8], tally: &mut Tally) -> Verdict {
        let mut reader = Reader::new(body);
        let broken = |why: Malformed| why.to_string();
        let xid = reader.i32().map_err(broken)?;
        let zxid = reader.i64().map_err(broken)?;
        let err = reader.i32().map_err(broken)?;
        if xid == wire::xid::EVENT {
            reader.i32().map_err(broken)?;
            reader.i32().map_err(broken)?;
            let path = reader.bytes().map_err(broken)?.unwrap_or_default();
            return self.on_event(zxid, String::from_utf8_lossy(path).into_owned(), tally);
        }
        let Some((asked, ask)) = self.pending.pop_front() else {
            return Err(format!("client {}: a reply to nothing", self.at));
        };
        if asked != xid {
            return Err(format!("client {}: a reply to {xid} where {asked} is waited for", self.at));
        }
        if zxid > 0 && zxid < self.last_zxid {
            return Err(format!("13: client {}: from zxid {} back to {zxid}", self.at, self.last_zxid));
        }
        self.last_zxid = self.last_zxid.max(zxid);
        if zxid > 0 {
            self.doubts.iter_mut().filter(|doubt| doubt.until == Until::Answer).for_each(|doubt| {
                doubt.until = Until::Zxid(zxid);
            });
        }
        tally.replies += 1;
        match ask {
            Ask::Get(path, watch) if err == code::OK => {
                reader.bytes().map_err(broken)?;
                let stat = Stat::read(&mut reader).map_err(broken)?;
                self.on_data(path, watch, &stat)?;
            }
            Ask::Own(path) if err != code::OK => {
                return Err(format!("23: client {}: its session lives, its {path} answers {err}", self.at));
            }
            Ask::Sync(known) if zxid < known => {
                return Err(format!(
                    "12: client {}: a sync shows zxid {zxid}, and {known} had been answered before it was asked",
                    self.at
                ));
            }
            Ask::Set(path) if err == code::OK => {
                self.changed = zxid;
                let mzxid = Stat::read(&mut reader).map_err(broken)?.mzxid;
                self.sees(&path, mzxid, true)?;
                if self.watches.get(&path).is_some_and(|&seen| mzxid > seen) {
                    return Err(format!(
                        "26: client {}: its own write of {path} is answered before its event",
                        self.at
                    ));
                }
            }
            Ask::Create(path, true) if err == code::OK => self.own.push(path),
            Ask::Lasting(path) => {
                self.lasting.entry(path).or_default();
            }
            Ask::Close => self.forget(),
            _ => {}
        }
        Ok(())
    }

    /// A node as it is shown: whoever watches it has been told of what led there.
    fn on_data(&mut self, path: String, watch: bool, stat: &Stat) -> Verdict {
        let (at, mzxid) = (self.at, stat.mzxid);
        self.sees(&path, mzxid, false)?;
        if let Some(&seen) = self.watches.get(&path)
            && mzxid > seen
        {
            return Err(format!(
                "26: client {at}: {path} shows zxid {mzxid} before its event; the watch was set at {seen}"
            ));
        }
        if let Some(lasting) = self.lasting.get_mut(&path) {
            let events = std::mem::take(&mut lasting.events);
            if let Some(version) = lasting.seen
                && stat.version - version != events
            {
                return Err(format!(
                    "26: client {at}: {path} went from version {version} to {}, with {events} events to a watch that \
                     stays",
                    stat.version
                ));
            }
            lasting.seen = Some(stat.version);
        }
        if watch {
            self.watches.insert(path, mzxid);
        }
        Ok(())
    }
}
