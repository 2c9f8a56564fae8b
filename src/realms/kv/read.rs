//! Answers to queries, each within a turn's share of records.

use std::ops::Bound;

use super::ops::{
    ArchivedHistory, ArchivedQuery, ArchivedRange, ArchivedSort, BEFORE, Query, Record, flag, said, within,
};
use super::store::{ATTACHED, LEASES, Next, Store, Version, emit_deletion};
use super::{Detail, Kv, VISITS};
use crate::realms::reply::{self, Status};

/// An answer is cut behind the record that makes it this long.
pub const ANSWER_BYTES: usize = 1 << 20;

/// A range on its way into a reply: one slice for a query, as many as it takes within a transaction.
pub(super) struct Gather {
    /// Where the reply begins.
    start: usize,
    count: u64,
    records: u32,
    more: bool,
}

impl Gather {
    pub fn begin(out: &mut Vec<u8>) -> Gather {
        let start = reply::begin(out);
        out.extend_from_slice(&[0; 16]);
        Gather { start, count: 0, records: 0, more: false }
    }

    /// Takes in the range from `from` on (against its order: up to `from`). `Some`: go on there; the second says
    /// that the answer is long enough.
    pub fn slice(
        &mut self,
        store: &Store,
        want: &ArchivedRange,
        from: Option<&[u8]>,
        at: u64,
        visits: &mut usize,
        out: &mut Vec<u8>,
    ) -> (Next, bool) {
        let flags = want.flags.to_native();
        let (limit, by_key) = (want.limit.to_native(), want.sort == ArchivedSort::Key);
        let back = by_key && flags & flag::DESCEND != 0;
        let mut full = None;
        let each = |key: &[u8], version: Version<'_>| {
            if !self.passes(want, &version) {
                self.count += 1;
                return true;
            }
            let over = by_key && limit > 0 && self.records == limit;
            if over && flags & (flag::COUNT | flag::COUNT_ONLY) == 0 {
                self.more = true;
                return false;
            }
            if !over && out.len() - self.start >= ANSWER_BYTES {
                full = Some(if back { [key, &[0]].concat() } else { key.to_vec() });
                return false;
            }
            self.count += 1;
            self.more |= over;
            if !over && flags & flag::COUNT_ONLY == 0 {
                // Values are needed for the order, and taken out afterwards.
                let with_value = flags & flag::KEYS_ONLY == 0 || want.sort == ArchivedSort::Value;
                version.emit(key, with_value, 0, out);
                self.records += 1;
            }
            true
        };
        let (key, end) = (want.key.as_slice(), want.end.as_slice());
        let next = if back {
            store.scan_back((key, from.unwrap_or(end)), at, visits, each)
        } else {
            store.scan((from.unwrap_or(key), end), at, visits, each)
        };
        let cut = full.is_some();
        (full.or(next), cut)
    }

    fn passes(&self, want: &ArchivedRange, version: &Version<'_>) -> bool {
        let (create, modified) = (version.create(), version.modified());
        let below = |max: u64, n: u64| max == 0 || n <= max;
        below(want.max_mod.to_native(), modified)
            && below(want.max_create.to_native(), create)
            && modified >= want.min_mod.to_native()
            && create >= want.min_create.to_native()
    }

    /// Completes the reply.
    pub fn finish(mut self, want: &ArchivedRange, next: Next, revision: u64, out: &mut Vec<u8>) {
        if want.sort != ArchivedSort::Key {
            self.sort(want, out);
        }
        let flags = u16::from(self.more) * said::MORE + u16::from(next.is_some()) * said::PARTIAL;
        let next = next.unwrap_or_default();
        out.extend_from_slice(&next);
        let body = self.start + reply::HEAD;
        out[body..body + 8].copy_from_slice(&self.count.to_le_bytes());
        out[body + 8..body + 12].copy_from_slice(&self.records.to_le_bytes());
        out[body + 12..body + 16].copy_from_slice(&(next.len() as u32).to_le_bytes());
        reply::finish(out, self.start, Status::Ok, flags, revision);
    }

    fn sort(&mut self, want: &ArchivedRange, out: &mut Vec<u8>) {
        let flags = want.flags.to_native();
        let gathered = out.split_off(self.start + reply::HEAD + 16);
        let mut rest = &gathered[..];
        let mut records = Vec::with_capacity(self.records as usize);
        while let Some(record) = Record::take(&mut rest) {
            records.push(record);
        }
        match want.sort {
            ArchivedSort::Key => {}
            ArchivedSort::Version => records.sort_by_key(|record| record.version),
            ArchivedSort::Create => records.sort_by_key(|record| record.create),
            ArchivedSort::Mod => records.sort_by_key(|record| record.modified),
            ArchivedSort::Value => records.sort_by(|a, b| a.value.cmp(b.value)),
        }
        if flags & flag::DESCEND != 0 {
            records.reverse();
        }
        let limit = want.limit.to_native() as usize;
        if limit > 0 && records.len() > limit {
            records.truncate(limit);
            self.more = true;
        }
        self.records = records.len() as u32;
        for record in records {
            record.write(flags & flag::KEYS_ONLY == 0, out);
        }
    }
}

impl Kv {
    /// The revision that a query reads at.
    pub(super) fn readable(&self, revision: u64) -> Result<u64, Status> {
        match revision {
            0 => Ok(self.store.revision),
            r if r > self.store.revision => Err(Status::FutureRevision),
            r if r < self.store.compacted => Err(Status::Compacted),
            r => Ok(r),
        }
    }

    pub(super) fn answer(&self, query: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let result = match Query::open(query) {
            None => Err(Status::Malformed),
            Some(ArchivedQuery::Range(want)) => self.range(want, out),
            Some(ArchivedQuery::History(want)) => self.history(want, out),
            Some(ArchivedQuery::Lease { lease, keys, from }) => {
                self.lease(lease.to_native(), *keys, from, out);
                Ok(())
            }
            Some(ArchivedQuery::Leases { after }) => {
                self.leases(after.to_native(), out);
                Ok(())
            }
            Some(ArchivedQuery::Totals) => {
                self.totals(out);
                Ok(())
            }
        };
        if let Err(status) = result {
            out.truncate(start);
            reply::bare(out, status, self.store.revision);
        }
    }

    fn range(&self, want: &ArchivedRange, out: &mut Vec<u8>) -> Result<(), Status> {
        want.check()?;
        let at = self.readable(want.revision.to_native())?;
        let mut gather = Gather::begin(out);
        let (next, _) = gather.slice(&self.store, want, None, at, &mut { VISITS }, out);
        gather.finish(want, next, self.store.revision, out);
        Ok(())
    }

    fn history(&self, want: &ArchivedHistory, out: &mut Vec<u8>) -> Result<(), Status> {
        let (first, sub) = (want.revision.to_native(), want.sub.to_native());
        let wanted = want.flags.to_native() & BEFORE != 0;
        let detail = if wanted { Detail::Before } else { Detail::Changes };
        self.watched.set(self.watched.get().max(detail));
        let first = if first == 0 { self.store.revision + 1 } else { first };
        if first < self.store.compacted {
            return Err(Status::Compacted);
        }
        if first > self.store.revision + 1 {
            return Err(Status::FutureRevision);
        }
        let (from, end) = (want.key.as_slice(), want.end.as_slice());
        let start = reply::begin(out);
        out.extend_from_slice(&[0; 16]);
        let mut group: Option<(u64, usize, u32)> = None;
        let mut next = (self.store.revision + 1, 0);
        let mut partial = false;
        let begin = self.store.first_of(first);
        for (seen, (number, change)) in self.store.changes(begin + u64::from(sub)).enumerate() {
            let revision = change.revision;
            if revision > self.store.revision {
                break; // A command under way.
            }
            let new = group.is_none_or(|(current, _, _)| current != revision);
            if new {
                close_group(group.take(), out);
            }
            if seen >= VISITS || out.len() - start >= ANSWER_BYTES {
                // Between two revisions, unless this one alone is too much for a turn.
                next = match group.take() {
                    Some((current, at, _)) if current != first => {
                        out.truncate(at);
                        (current, 0)
                    }
                    open => {
                        close_group(open, out);
                        // `first` began at `begin`; any other that is begun here has been told nothing of.
                        (revision, if revision == first { (number - begin) as u32 } else { 0 })
                    }
                };
                partial = true;
                break;
            }
            if new {
                group = Some((revision, out.len(), 0));
                out.extend_from_slice(&[0; 16]);
            }
            if !within(change.key, from, end) {
                continue;
            }
            match self.store.made(number, &change) {
                _ if change.deletion => emit_deletion(change.key, revision, out),
                Some(version) => version.emit(change.key, true, 0, out),
                None => continue,
            }
            if wanted
                && revision > self.store.compacted
                && let Some(before) = change.before()
            {
                before.emit(change.key, true, BEFORE, out);
            }
            if let Some((_, _, events)) = &mut group {
                *events += 1;
            }
        }
        close_group(group, out);
        let body = start + reply::HEAD;
        out[body..body + 8].copy_from_slice(&next.0.to_le_bytes());
        out[body + 8..body + 12].copy_from_slice(&next.1.to_le_bytes());
        reply::finish(out, start, Status::Ok, u16::from(partial) * said::PARTIAL, self.store.revision);
        Ok(())
    }

    fn lease(&self, id: u64, keys: bool, from: &[u8], out: &mut Vec<u8>) {
        let Some(ttl) = self.lease_ttl(id) else {
            return reply::bare(out, Status::LeaseNotFound, self.store.revision);
        };
        let start = reply::begin(out);
        let left = self.timers.left(id, self.heard_of).map_or(0, |left| left.as_millis());
        for word in [id, ttl, left, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let (mut count, mut next) = (0u32, Vec::new());
        if keys {
            let first = super::lease::attached(id, from);
            let mut key = Vec::new();
            for (stored, _) in self.store.tables[ATTACHED].ascend(Bound::Included(&first)) {
                if !stored.starts_with(&id.to_be_bytes()) {
                    break;
                }
                stored.copy_to(&mut key);
                if count as usize == VISITS {
                    next = key[8..].to_vec();
                    break;
                }
                if let Some(version) = self.store.at(&key[8..], self.store.revision) {
                    version.emit(&key[8..], false, 0, out);
                    count += 1;
                }
            }
        }
        let body = start + reply::HEAD;
        out[body + 24..body + 28].copy_from_slice(&count.to_le_bytes());
        out[body + 28..body + 32].copy_from_slice(&(next.len() as u32).to_le_bytes());
        out.extend_from_slice(&next);
        let flags = u16::from(!next.is_empty()) * said::PARTIAL;
        reply::finish(out, start, Status::Ok, flags, self.store.revision);
    }

    fn leases(&self, after: u64, out: &mut Vec<u8>) {
        let table = &self.store.tables[LEASES];
        let start = reply::begin(out);
        out.extend_from_slice(&table.len().to_le_bytes());
        let mut partial = false;
        for (seen, (key, _)) in table.ascend(Bound::Excluded(&after.to_be_bytes())).enumerate() {
            if seen == VISITS {
                partial = true;
                break;
            }
            let mut id = [0; 8];
            let (head, tail) = key.parts();
            id.iter_mut().zip(head.iter().chain(tail)).for_each(|(to, from)| *to = *from);
            out.extend_from_slice(&u64::from_be_bytes(id).to_le_bytes());
        }
        let flags = u16::from(partial) * said::PARTIAL;
        reply::finish(out, start, Status::Ok, flags, self.store.revision);
    }

    fn totals(&self, out: &mut Vec<u8>) {
        let start = reply::begin(out);
        let leases = self.store.tables[LEASES].len();
        let words = [self.store.compacted, self.store.live, self.store.history_bytes(), self.budget, leases];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        reply::finish(out, start, Status::Ok, 0, self.store.revision);
    }
}

/// Writes a group's head; one without events is left out.
fn close_group(group: Option<(u64, usize, u32)>, out: &mut Vec<u8>) {
    let Some((revision, at, events)) = group else { return };
    if events == 0 {
        out.truncate(at);
        return;
    }
    super::write::close_group(revision, at, events, out);
}
