//! quorate's own protocol: framed archives, pipelined, replies in any order, matched by the request's number.
//!
//! All keys of a run have one length, and all values: an archive is made once and copied, with key and value
//! written over its bytes.

use std::sync::Arc;

use quorate::doors::native::wire::{self, Ask, BODY_MAX, Fault, Front, HEAD, Hello, Say, Welcome};
use quorate::realms::kv::ops::{
    Compare, Found, Must, Node, Op as KvOp, Put, Query, Range, Record, Step, Target, Txn, Write, said,
};
use quorate::realms::reply::{Reply, Status};

use super::{Done, Driver, Kind, Malformed, Op, ReadMode, Rmw, STAMPED, Shape, Verdict, stamp_of};

/// A whole frame in which only the request's number, keys and stamps change.
struct Template {
    frame: Vec<u8>,
    keys: Vec<usize>,
    values: Vec<usize>,
}

pub struct Native {
    shape: Arc<Shape>,
    write: Template,
    read: Template,
    audit: Template,
    kinds: Vec<Kind>,
    rmws: Vec<Rmw>,
    ready: bool,
    key: Vec<u8>,
}

impl Driver for Native {
    fn new(shape: &Arc<Shape>, depth: usize) -> Native {
        let (keys, values) = (vec![0; shape.key_len()], shape.value.clone());
        let flipped = vec![0xff; shape.key_len()];
        let write = |key: &[u8], value: &[u8]| {
            let put = Put { key: key.into(), value: value.into(), ..Put::default() };
            Write { ops: vec![KvOp::Put(put); shape.batch] }.encode()
        };
        let read = |key: &[u8]| Query::Range(Range { key: key.into(), ..Range::default() }).encode();
        let bent: Vec<u8> = values.iter().map(|byte| !byte).collect();
        let find_keys = differing(&read(&keys), &read(&flipped), keys.len());
        let template = |ask: Ask, body: Vec<u8>, keys: &[usize], values: &[usize]| {
            let mut frame = Vec::new();
            wire::put_frame(&mut frame, ask as u8, 0, &body);
            let behind = |at: &[usize]| at.iter().map(|at| at + HEAD).collect();
            Template { frame, keys: behind(keys), values: behind(values) }
        };
        let reads = match shape.read_mode {
            ReadMode::Local => Ask::ReadLocal,
            ReadMode::Linearizable | ReadMode::Leased => Ask::Read,
        };
        Native {
            write: template(
                Ask::Write,
                write(&keys, &values),
                &differing(&write(&keys, &values), &write(&flipped, &values), keys.len()),
                &differing(&write(&keys, &values), &write(&keys, &bent), values.len()),
            ),
            read: template(reads, read(&keys), &find_keys, &[]),
            audit: template(Ask::Read, read(&keys), &find_keys, &[]),
            kinds: vec![Kind::Read; depth],
            rmws: vec![Rmw::default(); depth],
            ready: false,
            key: Vec::with_capacity(shape.key_len()),
            shape: shape.clone(),
        }
    }

    fn roots(_shape: &Shape) -> u64 {
        0
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        self.ready = false;
        wire::put_frame(out, Ask::Hello as u8, 0, &Hello::default().encode());
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn encode(&mut self, op: &Op, tag: u32, out: &mut Vec<u8>) {
        self.kinds[tag as usize] = op.kind;
        if op.kind == Kind::Scan {
            self.key.clear();
            self.shape.push_key(op.key, &mut self.key);
            let limit = op.stamp as u32;
            let range = Range { key: self.key.clone(), end: vec![0], limit, ..Range::default() };
            let ask = if self.shape.read_mode == ReadMode::Local { Ask::ReadLocal } else { Ask::Read };
            return wire::put_frame(out, ask as u8, u64::from(tag), &Query::Range(range).encode());
        }
        let template = match op.kind {
            Kind::Root | Kind::Create | Kind::Write => &self.write,
            Kind::Read => &self.read,
            Kind::Audit => &self.audit,
            Kind::Scan => unreachable!("sent above"),
            Kind::Rmw => {
                self.rmws[tag as usize] = Rmw { key: op.key, stamp: op.stamp, ..Rmw::default() };
                &self.read
            }
        };
        let from = out.len();
        out.extend_from_slice(&template.frame);
        let frame = &mut out[from..];
        frame[8..16].copy_from_slice(&u64::from(tag).to_le_bytes());
        for (nth, &at) in template.keys.iter().enumerate() {
            self.key.clear();
            // Neighbours of the last key are the first ones; a new key lies behind them all.
            let key = if nth == 0 { op.key } else { (op.key + nth as u64) % self.shape.keys };
            self.shape.push_key(key, &mut self.key);
            frame[at..at + self.key.len()].copy_from_slice(&self.key);
        }
        if self.shape.value.len() >= STAMPED {
            for &at in &template.values {
                frame[at..at + STAMPED].copy_from_slice(&op.stamp.to_le_bytes());
            }
        }
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<usize, Malformed> {
        let mut rest = input;
        loop {
            match wire::take_frame(&mut rest, BODY_MAX) {
                Ok(Front::Need(_)) => return Ok(input.len() - rest.len()),
                Ok(Front::Frame(head, body)) => self.on_frame(&head, body, out, done)?,
                Err(malformed) => return Err(Malformed(malformed.to_string())),
            }
        }
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        wire::put_frame(out, Ask::Ping as u8, self.kinds.len() as u64, &[]);
    }
}

impl Native {
    fn on_frame(
        &mut self,
        head: &wire::Head,
        body: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), Malformed> {
        if head.kind == Say::Pong as u8 {
            return Ok(());
        }
        if !self.ready {
            if head.kind != Say::Welcome as u8 || Welcome::decode(body).is_none() {
                return Err(Malformed("the server does not answer as quorate does".into()));
            }
            self.ready = true;
            return Ok(());
        }
        let stray = || Malformed(format!("a reply to request {}, which was never sent", head.request));
        let tag = head.request as u32;
        let kind = *self.kinds.get(head.request as usize).ok_or_else(stray)?;
        let mut end = Done { tag, verdict: Verdict::Ok, revision: 0, stamp: 0 };
        if head.kind == Say::Reply as u8 {
            let mut rest = body;
            let reply =
                Reply::take(&mut rest).ok_or_else(|| Malformed("a reply that does not parse".into()))?;
            end.revision = reply.revision;
            if reply.status != Status::Ok {
                end.verdict = Verdict::Failed(reply.status as i32);
            } else if kind == Kind::Rmw {
                match self.on_rmw(tag, &reply, out) {
                    Some(again) => end.stamp = again,
                    None => return Ok(()),
                }
            } else if kind.is_read() && self.shape.checked {
                // The revision that counts is the key's, not the realm's.
                let record = Found::open(reply.body).and_then(|found| Record::take(&mut { found.bytes }));
                end.revision = record.map_or(0, |record| record.modified);
                end.stamp = record.map_or(0, |record| stamp_of(record.value));
            }
        } else if head.kind == Say::Error as u8 {
            let code = body.first_chunk().map_or(0, |code| u16::from_le_bytes(*code));
            end.verdict = if code == Fault::Unknown as u16 {
                Verdict::Unknown(i32::from(code))
            } else {
                Verdict::Failed(i32::from(code))
            };
        } else {
            return Err(Malformed(format!("a frame of kind {}, which nobody asked for", head.kind)));
        }
        done.push(end);
        Ok(())
    }
}

impl Native {
    /// How often it began again, once it is done.
    fn on_rmw(&mut self, tag: u32, reply: &Reply<'_>, out: &mut Vec<u8>) -> Option<u64> {
        let mut rmw = self.rmws[tag as usize];
        if !rmw.writing {
            let record = Found::open(reply.body).and_then(|found| Record::take(&mut { found.bytes }));
            let (mut key, mut value) = (Vec::new(), Vec::new());
            self.shape.push_key(rmw.key, &mut key);
            self.shape.push_value(rmw.stamp, &mut value);
            let target = Target::Mod(record.map_or(0, |record| record.modified));
            let same = Compare { key: key.clone(), end: Vec::new(), must_be: Must::Equal, target };
            let then = vec![Step::Put(Put { key, value, ..Put::default() })];
            let node = Node { compares: vec![same], then, otherwise: Vec::new() };
            let body = KvOp::Txn(Txn { nodes: vec![node] }).encode();
            wire::put_frame(out, Ask::Write as u8, u64::from(tag), &body);
            rmw.writing = true;
        } else if reply.flags & said::SUCCEEDED == 0 {
            let again = rmw.again + 1;
            self.encode(&Op { kind: Kind::Rmw, key: rmw.key, stamp: rmw.stamp }, tag, out);
            rmw = Rmw { again, ..self.rmws[tag as usize] };
        } else {
            return Some(rmw.again);
        }
        self.rmws[tag as usize] = rmw;
        None
    }
}

/// Where two archives differ: the beginnings of runs of `length` bytes.
fn differing(one: &[u8], other: &[u8], length: usize) -> Vec<usize> {
    assert_eq!(one.len(), other.len());
    let mut found = Vec::new();
    let mut at = 0;
    while at < one.len() {
        if length > 0 && one[at] != other[at] {
            found.push(at);
            at += length;
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use quorate::realms::kv::ops::{ArchivedOp, ArchivedQuery};
    use quorate::realms::reply;

    use super::*;
    use crate::access::Access;
    use crate::driver::Protocol;

    fn driver(batch: usize, value: usize) -> Native {
        let shape = Shape {
            protocol: Protocol::Native,
            prefix: "loadgen/k".into(),
            digits: 4,
            keys: 1000,
            value: vec![b'v'; value],
            read_mode: ReadMode::Local,
            checked: true,
            batch,
            access: Access::default(),
        };
        Native::new(&Arc::new(shape), 8)
    }

    fn body(frame: &[u8]) -> (wire::Head, &[u8]) {
        match wire::take_frame(&mut { frame }, BODY_MAX) {
            Ok(Front::Frame(head, body)) => (head, body),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn patched_templates_are_archives_with_the_right_keys() {
        for (batch, value) in [(1, 100), (3, 8), (2, 0), (1, 3)] {
            let mut native = driver(batch, value);
            let mut out = Vec::new();
            native.encode(&Op { kind: Kind::Write, key: 998, stamp: 0x55 }, 5, &mut out);
            let (head, body) = body(&out);
            assert_eq!((head.kind, head.request), (Ask::Write as u8, 5));
            let write = Write::open(body).expect("an archive");
            assert_eq!(write.ops.len(), batch);
            for (nth, op) in write.ops.iter().enumerate() {
                let ArchivedOp::Put(put) = op else { panic!("not a put") };
                assert_eq!(put.key.as_slice(), format!("loadgen/k{:04}", (998 + nth) % 1000).as_bytes());
                assert_eq!(put.value.len(), value);
                assert_eq!(stamp_of(&put.value), if value >= 8 { 0x55 } else { 0 });
            }
        }
        let mut out = Vec::new();
        driver(1, 100).encode(&Op { kind: Kind::Create, key: 1005, stamp: 1 }, 1, &mut out);
        let write = Write::open(body(&out).1).expect("an archive");
        let ArchivedOp::Put(put) = &write.ops[0] else { panic!("not a put") };
        assert_eq!(put.key.as_slice(), b"loadgen/k1005", "a new key is new, not one of the first again");
        let mut out = Vec::new();
        driver(1, 100).encode(&Op { kind: Kind::Audit, key: 7, stamp: 0 }, 1, &mut out);
        let (head, body) = body(&out);
        assert_eq!(head.kind, Ask::Read as u8);
        let ArchivedQuery::Range(range) = Query::open(body).expect("an archive") else {
            panic!("not a range")
        };
        assert_eq!(range.key.as_slice(), b"loadgen/k0007");
    }

    #[test]
    fn replies_are_matched_by_number_and_faults_keep_their_meaning() {
        let mut native = driver(1, 16);
        let (mut out, mut done) = (Vec::new(), Vec::new());
        native.hello(&mut out);
        let mut input = Vec::new();
        wire::put_frame(&mut input, Say::Welcome as u8, 0, &Welcome { body_max: 9 }.encode());
        for tag in 0..3 {
            native.encode(&Op { kind: Kind::Write, key: 1, stamp: 1 }, tag, &mut out);
        }
        wire::put_frame_with(&mut input, Say::Reply as u8, 2, |body| reply::bare(body, Status::Ok, 77));
        wire::put_frame(&mut input, Say::Error as u8, 0, &(Fault::Unknown as u16).to_le_bytes());
        wire::put_frame(&mut input, Say::Error as u8, 1, &(Fault::Unconfirmed as u16).to_le_bytes());
        assert_eq!(native.decode(&input, &mut out, &mut done), Ok(input.len()));
        let ends: Vec<_> = done.iter().map(|end| (end.tag, end.verdict, end.revision)).collect();
        assert_eq!(
            ends,
            [
                (2, Verdict::Ok, 77),
                (0, Verdict::Unknown(Fault::Unknown as i32), 0),
                (1, Verdict::Failed(Fault::Unconfirmed as i32), 0)
            ]
        );
    }
}
