//! The realm as simply as it can be said: every version of every key in a list, no slices, no bytes.

use std::collections::BTreeMap;

use super::super::ops::*;
use crate::realms::reply::Status;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub modified: u64,
    pub create: u64,
    pub version: u64,
    pub lease: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Refused(Status),
    Put(Option<Rec>),
    Deleted(u64, Vec<Rec>),
    Range { count: u64, records: Vec<Rec>, more: bool },
    Txn(bool, Vec<Out>),
    Done,
}

#[derive(Clone, Default)]
pub struct Model {
    pub revision: u64,
    pub compacted: u64,
    /// Deletions are versions with version 0.
    pub keys: BTreeMap<Vec<u8>, Vec<Rec>>,
    pub leases: BTreeMap<u64, u64>,
}

impl Model {
    pub fn new() -> Model {
        Model { revision: 1, ..Model::default() }
    }

    pub fn at(&self, key: &[u8], revision: u64) -> Option<&Rec> {
        let versions = self.keys.get(key)?;
        versions.iter().rev().find(|rec| rec.modified <= revision).filter(|rec| rec.version > 0)
    }

    pub fn span(&self, key: &[u8], end: &[u8], revision: u64) -> Vec<Rec> {
        let keys = self.keys.keys().filter(|k| within(k, key, end));
        keys.filter_map(|k| self.at(k, revision).cloned()).collect()
    }

    /// Events in order; those of one revision in the order they were made.
    pub fn events(&self, from: u64) -> Vec<Rec> {
        let mut all: Vec<Rec> =
            self.keys.values().flatten().filter(|rec| rec.modified >= from).cloned().collect();
        all.sort_by_key(|rec| rec.modified);
        all
    }

    fn write(&mut self, key: &[u8], value: Option<(&[u8], u64)>) -> Option<Rec> {
        let before = self.at(key, u64::MAX).cloned();
        let modified = self.revision + 1;
        let rec = match value {
            Some((value, lease)) => Rec {
                key: key.into(),
                value: value.into(),
                modified,
                create: before.as_ref().map_or(modified, |rec| rec.create),
                version: before.as_ref().map_or(1, |rec| rec.version + 1),
                lease,
            },
            None => Rec { key: key.into(), value: vec![], modified, create: 0, version: 0, lease: 0 },
        };
        if value.is_some() || before.is_some() {
            self.keys.entry(key.into()).or_default().push(rec);
        }
        before
    }

    pub fn apply(&mut self, op: &Op) -> Out {
        let before = self.clone();
        let bytes = op.clone().encode();
        let result = match Write::open(&bytes).map(|write| write.check()) {
            Some(Ok(())) => self.carry_out(op),
            Some(Err(status)) => Err(status),
            None => Err(Status::Malformed),
        };
        result.unwrap_or_else(|status| {
            *self = before;
            Out::Refused(status)
        })
    }

    fn carry_out(&mut self, op: &Op) -> Result<Out, Status> {
        let out = match op {
            Op::Put(put) => {
                self.may(put)?;
                self.put(put)
            }
            Op::Delete(delete) => self.delete(delete),
            Op::Txn(txn) => {
                let mut chosen = Vec::new();
                self.choose(txn, 0, &mut chosen)?;
                self.node(txn, 0, &chosen)
            }
            Op::Grant(grant) => {
                if self.leases.contains_key(&grant.lease) {
                    return Err(Status::LeaseExists);
                }
                self.leases.insert(grant.lease, grant.ttl_s.max(TTL_S_MIN));
                Out::Done
            }
            Op::Revoke { lease } => {
                self.leases.remove(lease).ok_or(Status::LeaseNotFound)?;
                let all = self.span(b"\0", b"\0", u64::MAX);
                let held: Vec<Rec> = all.into_iter().filter(|rec| rec.lease == *lease).collect();
                for rec in &held {
                    self.write(&rec.key, None);
                }
                Out::Deleted(held.len() as u64, vec![])
            }
            Op::Compact { revision } => {
                if *revision <= self.compacted {
                    return Err(Status::Compacted);
                }
                if *revision > self.revision {
                    return Err(Status::FutureRevision);
                }
                self.compacted = *revision;
                for versions in self.keys.values_mut() {
                    let keep = versions.iter().rposition(|rec| rec.modified <= *revision).unwrap_or(0);
                    versions.drain(..keep);
                    if versions.first().is_some_and(|rec| rec.version == 0 && rec.modified < *revision) {
                        versions.remove(0);
                    }
                }
                self.keys.retain(|_, versions| !versions.is_empty());
                Out::Done
            }
        };
        if self.keys.values().flatten().any(|rec| rec.modified > self.revision) {
            self.revision += 1;
        }
        Ok(out)
    }

    fn may(&self, put: &Put) -> Result<(), Status> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Status::LeaseNotFound);
        }
        let keeps = put.flags & (flag::KEEP_VALUE | flag::KEEP_LEASE) != 0;
        if keeps && self.at(&put.key, u64::MAX).is_none() { Err(Status::KeyNotFound) } else { Ok(()) }
    }

    fn put(&mut self, put: &Put) -> Out {
        let old = self.at(&put.key, u64::MAX).cloned();
        let keeps = |flag| old.as_ref().filter(|_| put.flags & flag != 0);
        let value = keeps(flag::KEEP_VALUE).map_or(put.value.clone(), |rec| rec.value.clone());
        let lease = keeps(flag::KEEP_LEASE).map_or(put.lease, |rec| rec.lease);
        let before = self.write(&put.key, Some((&value, lease)));
        Out::Put(before.filter(|_| put.flags & flag::BEFORE != 0))
    }

    fn delete(&mut self, delete: &Delete) -> Out {
        let mut gone = self.span(&delete.key, &delete.end, u64::MAX);
        for rec in &gone {
            self.write(&rec.key, None);
        }
        let count = gone.len() as u64;
        if delete.flags & flag::BEFORE == 0 {
            gone.clear();
        }
        Out::Deleted(count, gone)
    }

    pub fn readable(&self, revision: u64) -> Result<(), Status> {
        match revision {
            0 => Ok(()),
            r if r > self.revision => Err(Status::FutureRevision),
            r if r < self.compacted => Err(Status::Compacted),
            _ => Ok(()),
        }
    }

    /// A range without bounds on what one answer may hold.
    pub fn range(&self, range: &Range) -> Out {
        let at = if range.revision == 0 { u64::MAX } else { range.revision };
        let mut records = self.span(&range.key, &range.end, at);
        let count = records.len() as u64;
        let most = |max: u64| if max == 0 { u64::MAX } else { max };
        records.retain(|rec| (range.min_mod..=most(range.max_mod)).contains(&rec.modified));
        records.retain(|rec| (range.min_create..=most(range.max_create)).contains(&rec.create));
        match range.sort {
            Sort::Key => {}
            Sort::Version => records.sort_by_key(|rec| rec.version),
            Sort::Create => records.sort_by_key(|rec| rec.create),
            Sort::Mod => records.sort_by_key(|rec| rec.modified),
            Sort::Value => records.sort_by_key(|rec| rec.value.clone()),
        }
        if range.flags & flag::DESCEND != 0 {
            records.reverse();
        }
        if range.flags & flag::COUNT_ONLY != 0 {
            return Out::Range { count, records: vec![], more: false };
        }
        let more = range.limit > 0 && records.len() > range.limit as usize;
        if more {
            records.truncate(range.limit as usize);
        }
        if range.flags & flag::KEYS_ONLY != 0 {
            records.iter_mut().for_each(|rec| rec.value.clear());
        }
        Out::Range { count, records, more }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let judge = |order: std::cmp::Ordering| match compare.must_be {
            Must::Equal => order.is_eq(),
            Must::Greater => order.is_gt(),
            Must::Less => order.is_lt(),
            Must::NotEqual => order.is_ne(),
        };
        let one = |rec: Option<&Rec>| match &compare.target {
            Target::Version(n) => judge(rec.map_or(0, |rec| rec.version).cmp(n)),
            Target::Create(n) => judge(rec.map_or(0, |rec| rec.create).cmp(n)),
            Target::Mod(n) => judge(rec.map_or(0, |rec| rec.modified).cmp(n)),
            Target::Lease(n) => judge(rec.map_or(0, |rec| rec.lease).cmp(n)),
            Target::Value(value) => rec.is_some_and(|rec| judge(rec.value.cmp(value))),
        };
        let found = self.span(&compare.key, &compare.end, u64::MAX);
        if found.is_empty() { one(None) } else { found.iter().all(|rec| one(Some(rec))) }
    }

    /// Which way each node goes, by the state before anything is written, and whether it may go there.
    fn choose(&self, txn: &Txn, at: usize, chosen: &mut Vec<(usize, bool)>) -> Result<(), Status> {
        let node = &txn.nodes[at];
        let succeeded = node.compares.iter().all(|compare| self.holds(compare));
        chosen.push((at, succeeded));
        for step in if succeeded { &node.then } else { &node.otherwise } {
            match step {
                Step::Put(put) => self.may(put)?,
                Step::Range(range) => self.readable(range.revision)?,
                Step::Delete(_) => {}
                Step::Node(next) => self.choose(txn, *next as usize, chosen)?,
            }
        }
        Ok(())
    }

    fn node(&mut self, txn: &Txn, at: usize, chosen: &[(usize, bool)]) -> Out {
        let succeeded = chosen.contains(&(at, true));
        let node = &txn.nodes[at];
        let steps = if succeeded { &node.then } else { &node.otherwise };
        let outs = steps.iter().map(|step| match step {
            Step::Put(put) => self.put(put),
            Step::Delete(delete) => self.delete(delete),
            Step::Range(range) => self.range(range),
            Step::Node(next) => self.node(txn, *next as usize, chosen),
        });
        Out::Txn(succeeded, outs.collect())
    }
}
