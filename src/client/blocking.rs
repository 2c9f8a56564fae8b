//! One call per operation.

use std::time::Duration;

use super::config::Config;
use super::error::Error;
use super::pipe::Pipe;
use super::said::{self, Deleted, Kv, Lease, Outcome, Ranged, Totals};
use super::watch::{Changes, WatchId};
use crate::realms::kv::ops::{Delete, Grant, History, Op, Put, Query, Range, Sort, Txn, flag};

/// A client that waits for every answer. All reads are linearizable unless `local_reads` says otherwise.
pub struct Client {
    pipe: Pipe,
    local: bool,
}

const STRANGE: Error = Error::Protocol("a reply to another operation");

impl Client {
    pub fn connect(config: Config) -> Result<Client, Error> {
        Ok(Client { pipe: Pipe::connect(config)?, local: false })
    }

    /// The pipe under this client, for many requests at once.
    pub fn pipe(&mut self) -> &mut Pipe {
        &mut self.pipe
    }

    /// Reads are answered from the server's own state, which may lag behind; faster, and possible without a quorum.
    pub fn local_reads(&mut self, local: bool) {
        self.local = local;
    }

    /// Returns the revision of the change.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        let put = Put { key: key.to_vec(), value: value.to_vec(), ..Put::default() };
        Ok(self.put_with(put)?.0)
    }

    /// With a lease or flags. Returns the revision and, if asked for, what was there before.
    pub fn put_with(&mut self, put: Put) -> Result<(u64, Option<Kv>), Error> {
        match self.operate(Op::Put(put))? {
            Outcome::Put { revision, before } => Ok((revision, before)),
            _ => Err(STRANGE),
        }
    }

    /// True if it was there.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.delete_range(Delete { key: key.to_vec(), ..Delete::default() })?.count > 0)
    }

    pub fn delete_range(&mut self, delete: Delete) -> Result<Deleted, Error> {
        match self.operate(Op::Delete(delete))? {
            Outcome::Deleted(deleted) => Ok(deleted),
            _ => Err(STRANGE),
        }
    }

    /// Whether the compares held, and what the branch's steps came to.
    pub fn txn(&mut self, txn: Txn) -> Result<(bool, Vec<Outcome>), Error> {
        match self.operate(Op::Txn(txn))? {
            Outcome::Txn { succeeded, steps, .. } => Ok((succeeded, steps)),
            _ => Err(STRANGE),
        }
    }

    /// Forgets the history below a revision.
    pub fn compact(&mut self, revision: u64) -> Result<(), Error> {
        self.operate(Op::Compact { revision }).map(|_| ())
    }

    /// Returns the lease's id and the time to live that was granted, in seconds.
    pub fn grant(&mut self, grant: Grant) -> Result<(u64, u64), Error> {
        match self.operate(Op::Grant(grant))? {
            Outcome::Granted { lease, ttl_s } => Ok((lease, ttl_s)),
            _ => Err(STRANGE),
        }
    }

    /// Returns how many keys went with it.
    pub fn revoke(&mut self, lease: u64) -> Result<u64, Error> {
        match self.operate(Op::Revoke { lease })? {
            Outcome::Revoked { deleted } => Ok(deleted),
            _ => Err(STRANGE),
        }
    }

    /// To be called well within the lease's time to live, which counts from the call's beginning.
    pub fn keep_alive(&mut self, lease: u64) -> Result<Lease, Error> {
        let ticket = self.pipe.start_keep_alive(lease)?;
        let bytes = self.pipe.finish(ticket)?;
        Ok(said::lease(&said::one(&bytes)?)?.0)
    }

    /// A lease and, with `keys`, all keys attached to it.
    pub fn lease(&mut self, lease: u64, keys: bool) -> Result<Lease, Error> {
        let (mut all, mut next) =
            said::lease(&said::one(&self.query(&Query::Lease { lease, keys, from: Vec::new() })?)?)?;
        while let Some(from) = next {
            let bytes = self.query(&Query::Lease { lease, keys, from })?;
            let (part, after) = said::lease(&said::one(&bytes)?)?;
            all.keys.extend(part.keys);
            next = after;
        }
        Ok(all)
    }

    pub fn leases(&mut self) -> Result<Vec<u64>, Error> {
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(lease) = after {
            let bytes = self.query(&Query::Leases { after: lease })?;
            let (part, next) = said::leases(&said::one(&bytes)?)?;
            all.extend(part);
            after = next;
        }
        Ok(all)
    }

    pub fn get(&mut self, key: &[u8]) -> Result<Option<Kv>, Error> {
        Ok(self.range_once(&Range { key: key.to_vec(), ..Range::default() })?.kvs.pop())
    }

    /// All of a range, as of one revision. A range too large for one reply is read in parts.
    pub fn range(&mut self, mut range: Range) -> Result<Ranged, Error> {
        let limit = range.limit as usize;
        let back = range.flags & flag::DESCEND != 0;
        let mut all = self.range_once(&range)?;
        if range.revision == 0 {
            range.revision = all.revision;
        }
        while let Some(from) = all.next.take() {
            if range.sort == Sort::Key {
                let end = if back { &mut range.end } else { &mut range.key };
                *end = from;
                // With the limit reached, one more tells whether there are more.
                range.limit = if limit == 0 { 0 } else { (limit - all.kvs.len()).max(1) as u32 };
            } else {
                range.key = from; // Sorted within each part: all parts are needed.
            }
            let part = self.range_once(&range)?;
            all.count += part.count;
            all.kvs.extend(part.kvs);
            (all.more, all.next) = (all.more || part.more, part.next);
            if range.sort == Sort::Key && limit > 0 && all.kvs.len() > limit {
                all.next = None;
            }
        }
        match range.sort {
            Sort::Key => {}
            Sort::Version => all.kvs.sort_by_key(|kv| kv.version),
            Sort::Create => all.kvs.sort_by_key(|kv| kv.created),
            Sort::Mod => all.kvs.sort_by_key(|kv| kv.modified),
            Sort::Value => all.kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if range.sort != Sort::Key && back {
            all.kvs.reverse();
        }
        if limit > 0 && all.kvs.len() > limit {
            all.kvs.truncate(limit);
            all.more = true;
        }
        Ok(all)
    }

    /// One reply's worth of a range: see `Ranged::next`.
    pub fn range_once(&mut self, range: &Range) -> Result<Ranged, Error> {
        let bytes = self.query(&Query::Range(range.clone()))?;
        said::ranged(&said::one(&bytes)?)
    }

    pub fn totals(&mut self) -> Result<Totals, Error> {
        let bytes = self.query(&Query::Totals)?;
        said::totals(&said::one(&bytes)?)
    }

    /// Several operations in one command of the log; each has its own outcome.
    pub fn batch(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, Error> {
        let ticket = self.pipe.start_write(ops)?;
        let bytes = self.pipe.finish(ticket)?;
        said::outcomes(ops, &bytes)
    }

    /// See `Pipe::watch`.
    pub fn watch(&mut self, history: History) -> Result<WatchId, Error> {
        self.pipe.watch(history)
    }

    pub fn next_changes(&mut self, watch: WatchId, timeout: Duration) -> Result<Option<Changes>, Error> {
        self.pipe.next_changes(watch, timeout)
    }

    pub fn cancel_watch(&mut self, watch: WatchId) -> Result<(), Error> {
        self.pipe.cancel_watch(watch)
    }

    fn operate(&mut self, op: Op) -> Result<Outcome, Error> {
        match self.batch(&[op])?.pop() {
            Some(Outcome::Refused(status)) => Err(Error::Refused(status)),
            Some(outcome) => Ok(outcome),
            None => Err(STRANGE),
        }
    }

    fn query(&mut self, query: &Query) -> Result<Vec<u8>, Error> {
        let ticket = self.pipe.start_query(query, self.local)?;
        self.pipe.finish(ticket)
    }
}
