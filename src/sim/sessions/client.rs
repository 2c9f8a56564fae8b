//! A client as libraries make them: one session over changing connections, watches set anew on each, requests
//! answered in their order. It believes nothing that it has not been promised.

use std::collections::{BTreeMap, VecDeque};

use super::node::Node;
use super::{TIMEOUT_MS, Tally, Verdict};
use crate::base::{Nanos, Rng};
use crate::doors::zk::wire;
use crate::realms::tree::acl;
use crate::realms::tree::jute::{Reader, Stat, Write};
use crate::realms::tree::ops::{code, op};

const PATHS: u64 = 4;
const PING: Nanos = Nanos(333_000_000);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    Create,
    Set(String),
    Get(String, bool),
    Ping,
    Watches,
    Sync,
    Close,
}

pub struct Client {
    pub at: usize,
    rng: Rng,
    session: u64,
    last_zxid: i64,
    seat: Option<(usize, u32)>,
    open: bool,
    inbox: Vec<u8>,
    pending: VecDeque<(i32, Ask)>,
    xid: i32,
    /// Watches that have not fired, by path: the zxid of what was seen when they were set.
    watches: BTreeMap<String, i64>,
    /// Which zxid each path was last seen at or written with, on this connection.
    seen: BTreeMap<String, i64>,
    spoke: Nanos,
    /// Not before this does it do anything, not even ping.
    silent_until: Nanos,
    calm: bool,
}

fn path(n: u64) -> String {
    format!("/r{n}")
}

impl Client {
    pub fn new(at: usize, rng: Rng) -> Client {
        Client {
            at,
            rng,
            session: 0,
            last_zxid: 0,
            seat: None,
            open: false,
            inbox: Vec::new(),
            pending: VecDeque::new(),
            xid: 0,
            watches: BTreeMap::new(),
            seen: BTreeMap::new(),
            spoke: Nanos(0),
            silent_until: Nanos(0),
            calm: false,
        }
    }

    pub fn seat(&self) -> Option<(usize, u32)> {
        self.seat
    }

    pub fn watched(&self) -> impl Iterator<Item = (&String, i64)> {
        let heard = self.open && self.pending.is_empty();
        self.watches.iter().filter(move |_| heard).map(|(path, zxid)| (path, *zxid))
    }

    /// From now on it only stays alive.
    pub fn calm(&mut self) {
        (self.calm, self.silent_until) = (true, Nanos(0));
    }

    pub fn act(
        &mut self,
        now: Nanos,
        nodes: &mut [Node],
        doors: &[usize],
        heard: &mut BTreeMap<u64, Nanos>,
        tally: &mut Tally,
    ) {
        if self.silent_until > now {
            return;
        }
        let Some((at, slot)) = self.seat else {
            if self.rng.chance(0.05) {
                let at = *self.rng.pick(doors);
                self.connect(now, at, &mut nodes[at], heard, tally);
            }
            return;
        };
        if !self.open {
            return;
        }
        let node = &mut nodes[at];
        if !self.calm && self.rng.chance(0.001) {
            node.end(slot);
            return self.disconnected();
        }
        if !self.calm && self.rng.chance(0.0003) {
            // Longer than its timeout, or nearly so: it may or may not find its session again.
            node.end(slot);
            self.disconnected();
            let ms = self.rng.between(TIMEOUT_MS as u64 * 7 / 10, TIMEOUT_MS as u64 * 2);
            self.silent_until = now.plus(Nanos::from_millis(ms));
            return;
        }
        let mut out = Vec::new();
        if !self.calm && self.pending.len() < 6 && self.rng.chance(0.08) {
            self.ask_something(&mut out);
            // Some say much at once. (Seed 1: a ping between two writes showed a zxid that the second reply did not.)
            while self.pending.len() < 6 && self.rng.chance(0.4) {
                self.ask_something(&mut out);
            }
        } else if now.since(self.spoke) >= PING && self.pending.len() < 8 {
            self.ask(&mut out, Ask::Ping, op::PING, &[]);
        }
        if !out.is_empty() {
            self.say(now, node, slot, &out, heard);
        }
    }

    fn say(&mut self, now: Nanos, node: &mut Node, slot: u32, out: &[u8], heard: &mut BTreeMap<u64, Nanos>) {
        if node.bytes(slot, out, now) {
            // Whoever says goodbye is not kept alive by it.
            let leaves = self.pending.iter().any(|(_, ask)| *ask == Ask::Close);
            if node.serves() && self.session != 0 && !leaves {
                heard.insert(self.session, now);
            }
            self.spoke = now;
        } else {
            // Bytes on the way when the connection broke.
            node.end(slot);
            self.disconnected();
        }
    }

    fn disconnected(&mut self) {
        self.seat = None;
        self.open = false;
        self.inbox.clear();
        // What it does not know the fate of, it forgets: the next reads tell.
        self.pending.clear();
        self.seen.clear();
    }

    /// Replies come in the order of the requests, so a later one shows what is newer: a write by at least one.
    fn sees(&mut self, path: &str, mzxid: i64, is_write: bool) -> Verdict {
        match self.seen.insert(path.to_owned(), mzxid) {
            Some(before) if mzxid < before + i64::from(is_write) => {
                let what = if is_write { "written at" } else { "read at" };
                Err(format!(
                    "client {}: {path} was {what} {mzxid}, and shown at {before} before that",
                    self.at
                ))
            }
            _ => Ok(()),
        }
    }

    fn connect(
        &mut self,
        now: Nanos,
        at: usize,
        node: &mut Node,
        heard: &mut BTreeMap<u64, Nanos>,
        tally: &mut Tally,
    ) {
        let slot = node.connect();
        self.seat = Some((at, slot));
        tally.returns += u64::from(self.session != 0);
        let mut out = Vec::new();
        let password = if self.session == 0 { [0; 16] } else { wire::password(self.session) };
        wire::framed(&mut out, |out| {
            out.put_i32(0);
            out.put_i64(self.last_zxid);
            out.put_i32(TIMEOUT_MS);
            out.put_i64(self.session as i64);
            out.put_bytes(&password);
            out.put_bool(false);
        });
        // Libraries send what waits right behind.
        if self.session != 0 && !self.watches.is_empty() {
            let mut record = Vec::new();
            record.put_i64(self.last_zxid);
            record.put_i32(self.watches.len() as i32);
            self.watches.keys().for_each(|path| record.put_bytes(path.as_bytes()));
            record.put_i32(0);
            record.put_i32(0);
            self.ask(&mut out, Ask::Watches, op::SET_WATCHES, &record);
        }
        // A handshake is no sign of life before the log has it.
        let session = std::mem::take(&mut self.session);
        self.say(now, node, slot, &out, heard);
        self.session = session;
    }

    fn ask_something(&mut self, out: &mut Vec<u8>) {
        let name = path(self.rng.below(PATHS));
        let mut record = Vec::new();
        match self.rng.below(100) {
            0..45 => {
                let watch = self.rng.chance(0.5);
                record.put_bytes(name.as_bytes());
                record.put_bool(watch);
                self.ask(out, Ask::Get(name, watch), op::GET_DATA, &record);
            }
            45..70 => {
                record.put_bytes(name.as_bytes());
                record.put_bytes(b"v");
                record.put_i32(-1);
                self.ask(out, Ask::Set(name), op::SET_DATA, &record);
            }
            70..90 => {
                let ephemeral = self.rng.chance(0.6);
                let name = if ephemeral { format!("/e{}-{}", self.at, self.xid) } else { name };
                record.put_bytes(name.as_bytes());
                record.put_bytes(b"c");
                record.extend_from_slice(acl::OPEN);
                record.put_i32(ephemeral.into());
                self.ask(out, Ask::Create, op::CREATE, &record);
            }
            90..96 => {
                record.put_bytes(b"/");
                self.ask(out, Ask::Sync, op::SYNC, &record);
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
            if self.seat.is_none() {
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
                    "client {} is told that its living session {:x} is over",
                    self.at, self.session
                ));
            }
            self.forget();
            return Ok(false);
        }
        if self.session != 0 && id != self.session {
            return Err(format!("client {} asked for session {:x} and got {id:x}", self.at, self.session));
        }
        (self.session, self.open, self.spoke) = (id, true, now);
        Ok(true)
    }

    /// The next connection is a new client's.
    fn forget(&mut self) {
        self.disconnected();
        self.session = 0;
        self.last_zxid = 0;
        self.watches.clear();
    }

    fn on_frame(&mut self, body: &[u8], tally: &mut Tally) -> Verdict {
        let mut reader = Reader::new(body);
        let broken = |why: crate::realms::tree::jute::Malformed| why.to_string();
        let xid = reader.i32().map_err(broken)?;
        let zxid = reader.i64().map_err(broken)?;
        let err = reader.i32().map_err(broken)?;
        if xid == wire::xid::EVENT {
            reader.i32().map_err(broken)?;
            reader.i32().map_err(broken)?;
            let path =
                String::from_utf8_lossy(reader.bytes().map_err(broken)?.unwrap_or_default()).into_owned();
            tally.events += 1;
            tally.missed += u64::from(zxid == -1);
            return match self.watches.remove(&path) {
                Some(seen) if zxid != -1 && zxid <= seen => {
                    Err(format!("client {}: an event of {path} at {zxid}, seen at {seen} already", self.at))
                }
                Some(_) => Ok(()),
                None => Err(format!("client {}: an event of {path} that it does not watch", self.at)),
            };
        }
        let Some((asked, ask)) = self.pending.pop_front() else {
            return Err(format!("client {}: a reply to nothing", self.at));
        };
        if asked != xid {
            return Err(format!("client {}: a reply to {xid} where {asked} is waited for", self.at));
        }
        if zxid > 0 && zxid < self.last_zxid {
            return Err(format!("client {}: from zxid {} back to {zxid}", self.at, self.last_zxid));
        }
        self.last_zxid = self.last_zxid.max(zxid);
        tally.replies += 1;
        match ask {
            Ask::Get(path, watch) if err == code::OK => {
                reader.bytes().map_err(broken)?;
                let mzxid = Stat::read(&mut reader).map_err(broken)?.mzxid;
                self.sees(&path, mzxid, false)?;
                if let Some(&seen) = self.watches.get(&path)
                    && mzxid > seen
                {
                    return Err(format!(
                        "client {}: {path} shows zxid {mzxid} before its event; the watch was set at {seen}",
                        self.at
                    ));
                }
                if watch {
                    self.watches.insert(path, mzxid);
                }
            }
            Ask::Set(path) if err == code::OK => {
                let mzxid = Stat::read(&mut reader).map_err(broken)?.mzxid;
                self.sees(&path, mzxid, true)?;
                if self.watches.get(&path).is_some_and(|&seen| mzxid > seen) {
                    return Err(format!(
                        "client {}: its own write of {path} is answered before its event",
                        self.at
                    ));
                }
            }
            Ask::Close => self.forget(),
            _ => {}
        }
        Ok(())
    }
}
