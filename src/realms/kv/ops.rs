//! What clients ask of the `kv` realm, and the layout of what it answers.
//!
//! **Requests** are rkyv archives without alignment (a command's payload or a query may begin at any byte): the
//! payload of a `WRITE` command is a `Write`, a query is a `Query`. They are validated wherever they are opened.
//!
//! **Replies** have a fixed layout, so that a stored record goes out by copying its parts. A `WRITE` command gets
//! one reply (see `realms::reply`) for each of its operations, end to end; a query gets one. Bodies:
//!
//! ```text
//! Put         records: what was there before, if asked for and any
//! Delete      deleted u64 | records: what was there before, if asked for
//! Range       count u64 | records u32 | next u32 | records | key to go on from (`next` bytes of it; none: complete)
//! Txn         flags bit 0: it succeeded | one reply per executed step, nested ones likewise
//! Grant       lease u64 | ttl_s u64
//! Revoke      deleted u64
//! Compact     nothing
//! History     next revision u64 | next sub u32 | zero u32 | groups
//! Lease       lease u64 | granted_s u64 | left_ms u64 | keys u32 | next u32 | records without values | next key
//! Leases      count u64 | leases u64 each | the last one is where to go on from, if flags say `PARTIAL`
//! Totals      compacted u64 | keys u64 | history bytes u64 | budget u64 | leases u64
//! ```
//! A record, always a multiple of 8 bytes:
//! ```text
//! 0 mod u64 | 8 create u64 | 16 version u64 | 24 lease u64 | 32 key length u16 | 34 flags u16 | 36 value length u32
//! 40 key | value | zeros
//! ```
//! **Changes** (what watchers get, and what `History` returns) are groups, one for each revision, in order:
//! ```text
//! 0 revision u64 | 8 events u32 | 12 length u32: of all events | events
//! ```
//! A group of more than `GROUP_BYTES` comes without its events, and their number is `EVENTS_UNTOLD`: `History`
//! tells them. An event is a record: a put as it was written, a deletion with version, create, lease and value zero. Where
//! `BEFORE` is set in its flags, another record follows that says what it replaced.

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use super::peek;
pub use super::records::{BEFORE, Found, Group, RECORD, Record};
use crate::realms::reply::Status;

/// The one kind of command that clients may express: a `Write`.
pub const WRITE: u8 = 1;
/// The leader's clock has run out for a lease. Payload: lease u64.
pub const EXPIRE: u8 = 2;
/// Frees a slice of what is compacted. No payload.
pub const SLICE: u8 = 3;
/// Sets the budget of the history. Payload: bytes u64.
pub const BUDGET: u8 = 4;

/// Longest key.
pub const KEY_MAX: usize = 16_000;
/// Compares, and operations of either branch, on one level of a transaction.
pub const TXN_MAX: usize = 128;
/// Changes of one revision that are told at once.
pub const GROUP_BYTES: usize = 1 << 20;
/// Stands for the number of events in a group that had more.
pub const EVENTS_UNTOLD: u32 = u32::MAX;
/// Longest time to live that a lease may ask for, in seconds.
pub const TTL_S_MAX: u64 = 9_000_000_000;
/// The shortest that it is given.
pub const TTL_S_MIN: u64 = 2;

/// Flags of `Put`, `Delete` and `Range`.
pub mod flag {
    /// Return what was there before.
    pub const BEFORE: u16 = 1;
    /// Keep the old value; the key must exist.
    pub const KEEP_VALUE: u16 = 2;
    /// Keep the old lease; the key must exist.
    pub const KEEP_LEASE: u16 = 4;
    /// Leave values out.
    pub const KEYS_ONLY: u16 = 8;
    /// No records, only their count.
    pub const COUNT_ONLY: u16 = 16;
    /// From the highest down.
    pub const DESCEND: u16 = 32;
    /// Count what lies behind the limit as well.
    pub const COUNT: u16 = 64;
}

/// Flags of replies.
pub mod said {
    /// The transaction's compares held.
    pub const SUCCEEDED: u16 = 1;
    /// There are more records than the limit.
    pub const MORE: u16 = 2;
    /// A turn's share was visited before the end was reached: count and records are of that part. Ask again from
    /// the key given, at this reply's revision.
    pub const PARTIAL: u16 = 4;
}

/// The payload of a `WRITE` command: operations, each a transaction of its own with a revision of its own.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Write {
    pub ops: Vec<Op>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Op {
    Put(Put),
    Delete(Delete),
    Txn(Txn),
    Grant(Grant),
    Revoke { lease: u64 },
    Compact { revision: u64 },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Put {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// 0: none.
    pub lease: u64,
    pub flags: u16,
}

/// All keys from `key` to before `end`. No `end`: the key alone. A zero byte for `end`: no upper bound.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Delete {
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    pub flags: u16,
}

/// A range of keys, as in `Delete`. Zeros mean: no limit, no filter, the newest revision, by key.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Range {
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    pub revision: u64,
    pub limit: u32,
    pub flags: u16,
    pub sort: Sort,
    pub min_mod: u64,
    pub max_mod: u64,
    pub min_create: u64,
    pub max_create: u64,
}

/// What a range is ordered by. Other orders than by key hold within one reply: who gets a `PARTIAL` one merges.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[rkyv(derive(Clone, Copy, PartialEq, Eq))]
pub enum Sort {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Nodes of a tree, the root first; a step into a node names one that comes later.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Txn {
    pub nodes: Vec<Node>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub compares: Vec<Compare>,
    /// If all compares hold.
    pub then: Vec<Step>,
    pub otherwise: Vec<Step>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Step {
    Put(Put),
    Delete(Delete),
    Range(Range),
    /// Another node of the transaction.
    Node(u32),
}

/// Holds if it holds for every key of the range; for none, all but values count as zero.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Compare {
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    pub must_be: Must,
    pub target: Target,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Clone, Copy, PartialEq, Eq))]
pub enum Must {
    Equal,
    Greater,
    Less,
    NotEqual,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Target {
    Version(u64),
    Create(u64),
    Mod(u64),
    Lease(u64),
    Value(Vec<u8>),
}

/// `lease` 0: the realm chooses.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Grant {
    pub lease: u64,
    pub ttl_s: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Query {
    Range(Range),
    History(History),
    /// A lease and, with `keys`, the keys attached to it from `from` on.
    Lease {
        lease: u64,
        keys: bool,
        from: Vec<u8>,
    },
    /// Leases above `after`.
    Leases {
        after: u64,
    },
    Totals,
}

/// Events of a range since a revision, for watchers that are behind.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct History {
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    /// The first revision wanted; 0: what comes after this query. Events of one revision are split only if there are more than a turn may visit:
    /// then `sub` tells how many of it to pass over.
    pub revision: u64,
    pub sub: u32,
    /// `BEFORE`, or nothing.
    pub flags: u16,
}

impl Write {
    pub fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<Failure>(self).expect("an archive in memory").into_vec()
    }

    /// Checks an archive. `None`: it is none.
    pub fn open(payload: &[u8]) -> Option<&ArchivedWrite> {
        peek::plain_puts(payload).or_else(|| rkyv::access::<ArchivedWrite, Failure>(payload).ok())
    }
}

impl History {
    pub fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<Failure>(self).expect("an archive in memory").into_vec()
    }
}

impl Op {
    /// The payload of a command with this operation alone.
    pub fn encode(self) -> Vec<u8> {
        Write { ops: vec![self] }.encode()
    }
}

impl Query {
    pub fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<Failure>(self).expect("an archive in memory").into_vec()
    }

    /// Checks an archive. `None`: it is none.
    pub fn open(query: &[u8]) -> Option<&ArchivedQuery> {
        peek::plain_range(query).or_else(|| rkyv::access::<ArchivedQuery, Failure>(query).ok())
    }
}

fn key_fits(key: &[u8]) -> Result<(), Status> {
    if key.is_empty() || key.len() > KEY_MAX { Err(Status::KeyLength) } else { Ok(()) }
}

impl ArchivedWrite {
    /// What can be refused without looking at the state. The edge asks before it lets a command into the log;
    /// `apply` asks again.
    pub fn check(&self) -> Result<(), Status> {
        self.ops.iter().try_for_each(ArchivedOp::check)
    }
}

impl ArchivedOp {
    pub fn check(&self) -> Result<(), Status> {
        match self {
            ArchivedOp::Put(put) => put.check(),
            ArchivedOp::Delete(delete) => delete.check(),
            ArchivedOp::Txn(txn) => txn.check(),
            ArchivedOp::Grant(grant) if grant.ttl_s.to_native() > TTL_S_MAX => Err(Status::LeaseTooLong),
            ArchivedOp::Grant(_) | ArchivedOp::Revoke { .. } | ArchivedOp::Compact { .. } => Ok(()),
        }
    }
}

impl ArchivedPut {
    pub fn check(&self) -> Result<(), Status> {
        key_fits(&self.key)?;
        let flags = self.flags.to_native();
        if flags & flag::KEEP_VALUE != 0 && !self.value.is_empty() {
            return Err(Status::ValueGiven);
        }
        if flags & flag::KEEP_LEASE != 0 && self.lease.to_native() != 0 {
            return Err(Status::LeaseGiven);
        }
        Ok(())
    }
}

impl ArchivedDelete {
    pub fn check(&self) -> Result<(), Status> {
        key_fits(&self.key)
    }
}

impl ArchivedRange {
    pub fn check(&self) -> Result<(), Status> {
        key_fits(&self.key)
    }
}

impl ArchivedTxn {
    pub fn check(&self) -> Result<(), Status> {
        let mut named = vec![false; self.nodes.len()];
        if named.is_empty() {
            return Err(Status::Malformed);
        }
        named[0] = true;
        self.check_node(0, TXN_MAX, &mut named)?;
        for (at, node) in self.nodes.iter().enumerate() {
            if !named[at] {
                return Err(Status::Malformed);
            }
            if at == 0 {
                for branch in [&node.then, &node.otherwise] {
                    self.check_keys(branch)?;
                }
            }
        }
        Ok(())
    }

    /// `budget`: operations that this level may have. Nodes only name later ones, each once: this ends.
    fn check_node(&self, at: usize, budget: usize, named: &mut [bool]) -> Result<(), Status> {
        let node = &self.nodes[at];
        let widest = node.compares.len().max(node.then.len()).max(node.otherwise.len());
        let left = budget.checked_sub(widest).ok_or(Status::TooManyOps)?;
        for compare in node.compares.iter() {
            key_fits(&compare.key)?;
        }
        for step in node.then.iter().chain(node.otherwise.iter()) {
            match step {
                ArchivedStep::Put(put) => put.check()?,
                ArchivedStep::Delete(delete) => delete.check()?,
                ArchivedStep::Range(range) => range.check()?,
                ArchivedStep::Node(next) => {
                    let next = next.to_native() as usize;
                    if next <= at || named.get(next) != Some(&false) {
                        return Err(Status::Malformed);
                    }
                    named[next] = true;
                    self.check_node(next, left, named)?;
                }
            }
        }
        Ok(())
    }

    /// No key of a branch may be put twice, or put and deleted, whatever way the compares below go; the two
    /// branches of a nested node exclude each other.
    fn check_keys<'a>(&'a self, branch: &'a [ArchivedStep]) -> Result<Touched<'a>, Status> {
        let mut touched = Touched::default();
        for step in branch {
            match step {
                ArchivedStep::Put(put) => {
                    let key = put.key.as_slice();
                    touched.join(Touched { puts: vec![key], deletes: Vec::new() })?;
                }
                ArchivedStep::Delete(delete) => {
                    let range = (delete.key.as_slice(), delete.end.as_slice());
                    touched.join(Touched { puts: Vec::new(), deletes: vec![range] })?;
                }
                ArchivedStep::Range(_) => {}
                ArchivedStep::Node(next) => {
                    let node = &self.nodes[next.to_native() as usize];
                    let mut either = self.check_keys(&node.then)?;
                    let other = self.check_keys(&node.otherwise)?;
                    either.puts.extend(other.puts);
                    either.deletes.extend(other.deletes);
                    either.puts.sort_unstable();
                    either.puts.dedup();
                    touched.join(either)?;
                }
            }
        }
        Ok(touched)
    }
}

/// Keys that a branch changes.
#[derive(Default)]
struct Touched<'a> {
    puts: Vec<&'a [u8]>,
    deletes: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Touched<'a> {
    fn join(&mut self, more: Touched<'a>) -> Result<(), Status> {
        let clash = more.puts.iter().any(|key| self.puts.contains(key))
            || more.puts.iter().any(|key| self.deletes.iter().any(|(from, end)| within(key, from, end)))
            || self.puts.iter().any(|key| more.deletes.iter().any(|(from, end)| within(key, from, end)));
        if clash {
            return Err(Status::DuplicateKey);
        }
        self.puts.extend(more.puts);
        self.deletes.extend(more.deletes);
        Ok(())
    }
}

/// Whether `key` lies in the range that `from` and `end` stand for.
pub fn within(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == from,
        [0] => key >= from,
        _ => key >= from && key < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Step {
        Step::Put(Put { key: key.into(), ..Put::default() })
    }

    fn delete(key: &str, end: &str) -> Step {
        Step::Delete(Delete { key: key.into(), end: end.into(), flags: 0 })
    }

    fn check(nodes: Vec<Node>) -> Result<(), Status> {
        let bytes = Op::Txn(Txn { nodes }).encode();
        Write::open(&bytes).unwrap().check()
    }

    fn node(then: Vec<Step>, otherwise: Vec<Step>) -> Node {
        Node { compares: Vec::new(), then, otherwise }
    }

    #[test]
    fn requests_are_read_from_any_byte_and_never_trusted() {
        let write =
            Write { ops: vec![Op::Put(Put { key: b"k".into(), value: b"v".into(), lease: 3, flags: 1 })] };
        let bytes = write.encode();
        for shift in 0..16 {
            let shifted = [vec![0; shift], bytes.clone()].concat();
            let opened = Write::open(&shifted[shift..]).unwrap();
            assert!(opened.check().is_ok());
            let ArchivedOp::Put(put) = &opened.ops[0] else { panic!("another operation") };
            assert_eq!(
                (put.key.as_slice(), put.value.as_slice(), put.lease.to_native()),
                (&b"k"[..], &b"v"[..], 3)
            );
        }
        for cut in 0..bytes.len() {
            if let Some(opened) = Write::open(&bytes[..cut]) {
                let _ = opened.check();
            }
        }
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0x80;
            if let Some(opened) = Write::open(&bent) {
                let _ = opened.check();
            }
        }
    }

    #[test]
    fn a_transaction_changes_a_key_once() {
        assert_eq!(check(vec![node(vec![put("a"), put("b")], vec![put("a")])]), Ok(()));
        assert_eq!(check(vec![node(vec![put("a"), put("a")], vec![])]), Err(Status::DuplicateKey));
        assert_eq!(check(vec![node(vec![put("b"), delete("a", "c")], vec![])]), Err(Status::DuplicateKey));
        assert_eq!(check(vec![node(vec![delete("a", "\0"), put("b")], vec![])]), Err(Status::DuplicateKey));
        assert_eq!(check(vec![node(vec![delete("a", "c"), delete("b", ""), put("c")], vec![])]), Ok(()));
        // Both branches of a nested node may put the same key, but not one that the outer branch puts.
        let inner = node(vec![put("x")], vec![put("x")]);
        assert_eq!(check(vec![node(vec![Step::Node(1), put("y")], vec![]), inner.clone()]), Ok(()));
        let clash = vec![node(vec![Step::Node(1), put("x")], vec![]), inner];
        assert_eq!(check(clash), Err(Status::DuplicateKey));
    }

    #[test]
    fn nodes_form_a_tree_of_bounded_width() {
        assert_eq!(check(vec![]), Err(Status::Malformed));
        assert_eq!(check(vec![node(vec![Step::Node(0)], vec![])]), Err(Status::Malformed));
        assert_eq!(check(vec![node(vec![Step::Node(9)], vec![])]), Err(Status::Malformed));
        assert_eq!(check(vec![node(vec![], vec![]), node(vec![], vec![])]), Err(Status::Malformed));
        let wide: Vec<Step> = (0..129).map(|n| put(&n.to_string())).collect();
        assert_eq!(check(vec![node(wide[..128].to_vec(), vec![])]), Ok(()));
        assert_eq!(check(vec![node(wide, vec![])]), Err(Status::TooManyOps));
        assert_eq!(check(vec![node(vec![put("")], vec![])]), Err(Status::KeyLength));
    }
}
