//! A tree, a client of it, and what both say.

use super::super::Tree;
use super::super::acl::{self, OwnIds, Scheme};
use super::super::changes::{self, Change as Event};
use super::super::jute::{Reader, Stat, Write, strings};
use super::super::ops::{kind, op};
use super::super::read::Query;
use crate::base::{Index, Life, Nanos, NodeId, Origin};
use crate::realms::{Effects, Flow, Realm, Stamp};
use crate::state::{Command, Envelope, Table};

pub struct World {
    pub tree: Tree,
    pub at: Stamp,
    pub session: u64,
    pub origin: Origin,
    pub ids: OwnIds,
    pub events: Vec<String>,
}

/// err and body.
pub type Reply = (i32, Vec<u8>);

pub fn origin(node: u8) -> Origin {
    Origin::new(NodeId(node), 0, Life(1))
}

impl World {
    /// A fresh tree with one session.
    pub fn new() -> World {
        let at = Stamp { index: Index(1), wall_ms: 1_700_000_000_000, ticks: Nanos(0) };
        let mut ids = OwnIds::default();
        assert!(ids.add(Scheme::Ip, b"127.0.0.1"));
        let mut world =
            World { tree: Tree::new(), at, session: 0, origin: origin(1), ids, events: Vec::new() };
        world.session = world.open();
        world
    }

    pub fn open(&mut self) -> u64 {
        let (err, body) = self.command(kind::OPEN_SESSION, &10_000i32.to_be_bytes());
        assert_eq!(err, 0);
        u64::from_be_bytes(body[..8].try_into().unwrap())
    }

    /// The end of a session, its time having passed.
    pub fn expire(&mut self, id: u64) {
        self.at.ticks = self.at.ticks.plus(Nanos::from_millis(10_000));
        self.command(kind::EXPIRE_SESSION, &id.to_be_bytes());
    }

    pub fn command(&mut self, kind: u8, payload: &[u8]) -> Reply {
        self.at.index = self.at.index.next();
        self.at.wall_ms += 1;
        let envelope = Envelope {
            realm: 2,
            kind,
            session: self.session,
            origin: self.origin,
            sequence: self.at.index.0,
            ..Envelope::default()
        };
        let mut effects = Effects { wanted: true, ..Effects::default() };
        let flow = self.tree.apply(&self.at, &Command { envelope, payload }, &mut effects);
        assert_eq!(flow, Flow::Done);
        if !effects.changes.is_empty() {
            for change in changes::all(&effects.changes).1 {
                self.events.push(match change {
                    Event::Created { path, .. } => format!("+{}", String::from_utf8_lossy(path)),
                    Event::Deleted { path, .. } => format!("-{}", String::from_utf8_lossy(path)),
                    Event::Data { path, .. } => format!("={}", String::from_utf8_lossy(path)),
                    Event::Ended { .. } => "ended".into(),
                    Event::Moved { .. } => "moved".into(),
                });
            }
        }
        let Some(head) = effects.reply.get(..12) else { return (0, Vec::new()) };
        let err = i32::from_be_bytes(head[8..].try_into().unwrap());
        assert!(err == 0 || effects.reply.len() == 12, "an error has no body");
        (err, effects.reply[12..].to_vec())
    }

    pub fn client(&mut self, code: i32, record: &[u8]) -> Reply {
        let payload = [self.ids.bytes(), record].concat();
        self.command(code as u8, &payload)
    }

    pub fn create(&mut self, path: &str, flags: i32) -> Result<String, i32> {
        let (err, body) = self.client(op::CREATE, &create_record(path, b"data", acl::OPEN, flags));
        match err {
            0 => Ok(String::from_utf8(Reader::new(&body).bytes().unwrap().unwrap().to_vec()).unwrap()),
            err => Err(err),
        }
    }

    pub fn delete(&mut self, path: &str, version: i32) -> i32 {
        self.client(op::DELETE, &versioned(path, version)).0
    }

    pub fn set(&mut self, path: &str, data: &[u8], version: i32) -> Result<Stat, i32> {
        let mut record = Vec::new();
        record.put_bytes(path.as_bytes());
        record.put_bytes(data);
        record.put_i32(version);
        let (err, body) = self.client(op::SET_DATA, &record);
        if err == 0 { Ok(Stat::read(&mut Reader::new(&body)).unwrap()) } else { Err(err) }
    }

    pub fn query(&self, code: i32, record: &[u8]) -> Reply {
        let (mut query, mut out) = (Vec::new(), Vec::new());
        Query { session: self.session, ids: self.ids.bytes(), code, record }.write(&mut query);
        self.tree.read(&query, &mut out);
        (i32::from_be_bytes(out[8..12].try_into().unwrap()), out[12..].to_vec())
    }

    pub fn stat(&self, path: &str) -> Result<Stat, i32> {
        let (err, body) = self.query(op::EXISTS, &watched(path));
        if err == 0 { Ok(Stat::read(&mut Reader::new(&body)).unwrap()) } else { Err(err) }
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let (err, body) = self.query(op::GET_CHILDREN, &watched(path));
        assert_eq!(err, 0);
        strings(&body).map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    pub fn data(&self, path: &str) -> String {
        let (err, body) = self.query(op::GET_DATA, &watched(path));
        assert_eq!(err, 0);
        String::from_utf8(Reader::new(&body).bytes().unwrap().unwrap_or_default().to_vec()).unwrap()
    }

    pub fn multi(&mut self, parts: &[(i32, Vec<u8>)]) -> Reply {
        let mut record = Vec::new();
        for (code, part) in parts {
            crate::realms::tree::multi::header(*code, -1, &mut record);
            record.extend_from_slice(part);
        }
        crate::realms::tree::multi::end(&mut record);
        self.client(op::MULTI, &record)
    }
}

pub fn create_record(path: &str, data: &[u8], list: &[u8], flags: i32) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_bytes(data);
    record.extend_from_slice(list);
    record.put_i32(flags);
    record
}

pub fn versioned(path: &str, version: i32) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_i32(version);
    record
}

pub fn watched(path: &str) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_bool(false);
    record
}

pub fn list(perms: i32, scheme: &str, id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(1);
    out.put_i32(perms);
    out.put_bytes(scheme.as_bytes());
    out.put_bytes(id.as_bytes());
    out
}

/// The errors that a failed multi's results carry.
pub fn results(body: &[u8]) -> Vec<i32> {
    let mut reader = Reader::new(body);
    let mut errs = Vec::new();
    loop {
        let (code, done, err) = (reader.i32().unwrap(), reader.bool().unwrap(), reader.i32().unwrap());
        if done {
            return errs;
        }
        assert_eq!(code, op::ERROR);
        assert_eq!(reader.i32(), Ok(err));
        errs.push(err);
    }
}

pub fn digest(tree: &mut Tree) -> Vec<u128> {
    tree.settle();
    tree.tables().iter().map(Table::digest).collect()
}
