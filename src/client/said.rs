//! Replies, taken apart and owned.

use super::error::Error;
use crate::realms::kv::ops::said as flags;
use crate::realms::kv::ops::{Found, Op, RECORD, Record, Step, Txn};
use crate::realms::reply::{Reply, Status};

/// A key and its value at some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kv {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// When it was last put, and when it was created.
    pub modified: u64,
    pub created: u64,
    /// Puts since it was created.
    pub version: u64,
    /// 0: none.
    pub lease: u64,
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key as it was before, if asked for and any.
    Put {
        revision: u64,
        before: Option<Kv>,
    },
    Deleted(Deleted),
    Ranged(Ranged),
    /// Of a transaction: which branch ran, and what its steps came to.
    Txn {
        revision: u64,
        succeeded: bool,
        steps: Vec<Outcome>,
    },
    Granted {
        lease: u64,
        ttl_s: u64,
    },
    Revoked {
        deleted: u64,
    },
    Compacted,
    /// The operation changed nothing; others of the same frame may have.
    Refused(Status),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub revision: u64,
    pub count: u64,
    /// Those deleted, if asked for.
    pub before: Vec<Kv>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranged {
    /// The store's revision when it answered.
    pub revision: u64,
    /// Keys in the range, where that was asked for or the limit was not reached.
    pub count: u64,
    pub kvs: Vec<Kv>,
    /// There are more than the limit.
    pub more: bool,
    /// The server visited a part only: go on from this key.
    pub next: Option<Vec<u8>>,
}

/// A lease as its servers know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub lease: u64,
    pub granted_s: u64,
    pub left_ms: u64,
    pub keys: Vec<Vec<u8>>,
}

/// The store as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub revision: u64,
    pub compacted: u64,
    pub keys: u64,
    pub history_bytes: u64,
    pub history_budget: u64,
    pub leases: u64,
}

const STRANGE: Error = Error::Protocol("a reply of another shape");

impl From<Record<'_>> for Kv {
    fn from(record: Record<'_>) -> Kv {
        Kv {
            key: record.key.to_vec(),
            value: record.value.to_vec(),
            modified: record.modified,
            created: record.create,
            version: record.version,
            lease: record.lease,
        }
    }
}

/// The one reply to a query.
pub(crate) fn one(mut bytes: &[u8]) -> Result<Reply<'_>, Error> {
    let reply = Reply::take(&mut bytes).ok_or(STRANGE)?;
    if reply.status == Status::Ok { Ok(reply) } else { Err(Error::Refused(reply.status)) }
}

/// The replies to a command's operations, which tell their shapes.
pub(crate) fn outcomes(ops: &[Op], mut bytes: &[u8]) -> Result<Vec<Outcome>, Error> {
    let input = &mut bytes;
    let first = Reply::take(&mut &input[..]).ok_or(STRANGE)?;
    let outcomes: Result<Vec<Outcome>, Error> = ops.iter().map(|op| outcome(op, input)).collect();
    match outcomes {
        // One refusal for the whole frame: its session or its form was at fault.
        Err(_) if first.status != Status::Ok => Err(Error::Refused(first.status)),
        other => other,
    }
}

fn outcome(op: &Op, input: &mut &[u8]) -> Result<Outcome, Error> {
    let reply = Reply::take(input).ok_or(STRANGE)?;
    if reply.status != Status::Ok {
        return Ok(Outcome::Refused(reply.status));
    }
    let body = reply.body;
    Ok(match op {
        Op::Put(_) => put(&reply),
        Op::Delete(_) => Outcome::Deleted(deleted(&reply)?),
        Op::Txn(ask) => txn(ask, 0, &reply)?,
        Op::Grant(_) => Outcome::Granted { lease: word(body, 0)?, ttl_s: word(body, 8)? },
        Op::Revoke { .. } => Outcome::Revoked { deleted: word(body, 0)? },
        Op::Compact { .. } => Outcome::Compacted,
    })
}

fn put(reply: &Reply<'_>) -> Outcome {
    Outcome::Put { revision: reply.revision, before: Record::all(reply.body).next().map(Kv::from) }
}

fn deleted(reply: &Reply<'_>) -> Result<Deleted, Error> {
    let count = word(reply.body, 0)?;
    let before = Record::all(&reply.body[8..]).map(Kv::from).collect();
    Ok(Deleted { revision: reply.revision, count, before })
}

pub(crate) fn ranged(reply: &Reply<'_>) -> Result<Ranged, Error> {
    let found = Found::open(reply.body).ok_or(STRANGE)?;
    let kvs: Vec<Kv> = Record::all(found.bytes).map(Kv::from).collect();
    if kvs.len() != found.records as usize || found.bytes.len() < kvs.len() * RECORD {
        return Err(STRANGE);
    }
    let partial = reply.flags & flags::PARTIAL != 0;
    Ok(Ranged {
        revision: reply.revision,
        count: found.count,
        kvs,
        more: reply.flags & flags::MORE != 0,
        next: partial.then(|| found.next.to_vec()),
    })
}

fn txn(ask: &Txn, node: usize, reply: &Reply<'_>) -> Result<Outcome, Error> {
    let succeeded = reply.flags & flags::SUCCEEDED != 0;
    let node = ask.nodes.get(node).ok_or(STRANGE)?;
    let mut input = reply.body;
    let mut steps = Vec::new();
    for step in if succeeded { &node.then } else { &node.otherwise } {
        let reply = Reply::take(&mut input).ok_or(STRANGE)?;
        steps.push(match step {
            _ if reply.status != Status::Ok => Outcome::Refused(reply.status),
            Step::Put(_) => put(&reply),
            Step::Delete(_) => Outcome::Deleted(deleted(&reply)?),
            Step::Range(_) => Outcome::Ranged(ranged(&reply)?),
            Step::Node(next) => txn(ask, *next as usize, &reply)?,
        });
    }
    Ok(Outcome::Txn { revision: reply.revision, succeeded, steps })
}

/// A lease, and where its keys go on.
pub(crate) fn lease(reply: &Reply<'_>) -> Result<(Lease, Option<Vec<u8>>), Error> {
    let body = reply.body;
    let tail = body.get(32..).ok_or(STRANGE)?;
    let next = (word(body, 24)? >> 32) as usize;
    let (records, next) =
        tail.split_at_checked(tail.len().checked_sub(next).ok_or(STRANGE)?).ok_or(STRANGE)?;
    let keys = Record::all(records).map(|record| record.key.to_vec()).collect();
    let lease = Lease { lease: word(body, 0)?, granted_s: word(body, 8)?, left_ms: word(body, 16)?, keys };
    Ok((lease, (!next.is_empty()).then(|| next.to_vec())))
}

/// Leases, and after which one to go on.
pub(crate) fn leases(reply: &Reply<'_>) -> Result<(Vec<u64>, Option<u64>), Error> {
    let words = reply.body.get(8..).ok_or(STRANGE)?; // Behind how many there are in all.
    let (words, []) = words.as_chunks::<8>() else { return Err(STRANGE) };
    let leases: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let partial = reply.flags & flags::PARTIAL != 0;
    let last = leases.last().copied();
    Ok((leases, if partial { last } else { None }))
}

pub(crate) fn totals(reply: &Reply<'_>) -> Result<Totals, Error> {
    let body = reply.body;
    Ok(Totals {
        revision: reply.revision,
        compacted: word(body, 0)?,
        keys: word(body, 8)?,
        history_bytes: word(body, 16)?,
        history_budget: word(body, 24)?,
        leases: word(body, 32)?,
    })
}

fn word(body: &[u8], at: usize) -> Result<u64, Error> {
    body.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes).ok_or(STRANGE)
}
