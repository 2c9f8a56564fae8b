//! Keys as they are, and the trail of what they were: what every operation of the realm is made of.
//!
//! A key's newest record lies in the table of keys, and the next one takes its place. What it was goes into the
//! trail: entry n says which key the n-th change was of, when, and what the key was before. So a version is either
//! its key's newest or lies in the entry of the change that superseded it, and each record knows its own change.

use std::ops::Bound;

use super::ops::{KEY_MAX, RECORD};
use crate::state::table;
use crate::state::trail::Entry;
use crate::state::{Table, Trail};

/// Places of the realm's tables.
pub const KEYS: usize = 0;
pub const LEASES: usize = 1;
pub const ATTACHED: usize = 2;
pub const META: usize = 3;
pub const TABLES: usize = 4;

/// In a record of `KEYS`, before what clients get: the number of the change that made it, u64.
const CHANGE: usize = 8;
/// Bytes of a version before its value: mod u64 | create u64 | version u64 | lease u64, as they go out in a record.
const HEAD: usize = 32;
/// Bytes of an entry before its key: revision u64 | key length u16, with `DELETION` or without.
const FRONT: usize = 10;
/// The change was a deletion.
const DELETION: u16 = 1 << 15;

const _: () = assert!(KEY_MAX <= table::KEY_MAX && KEY_MAX < DELETION as usize);

/// The newest version of any key, also one that a command under way has just written.
pub const NOW: u64 = u64::MAX;

pub struct Store {
    /// `KEYS`: key: change u64, version (see `HEAD`). A version of 0 is a deletion that is not compacted yet.
    /// `LEASES`: lease u64 BE: ttl_s u64. `ATTACHED`: lease u64 BE, key: nothing. `META`: see `super::Kv::settle`.
    pub tables: [Table; TABLES],
    /// By change: see `Change`. Each follows the change before it of the same key.
    pub trail: Trail,
    /// The last one that is through.
    pub revision: u64,
    /// Nothing below it can be read.
    pub compacted: u64,
    /// Changes below this have been compacted one by one. The trail lets go of them in its own time.
    pub freed: u64,
    /// Keys that exist, and the bytes of their records.
    pub live: u64,
    pub live_bytes: u64,
    /// Bytes of the changes from `freed` on.
    pub past_bytes: u64,
    record: Vec<u8>,
}

/// One version of a key: what lies behind `CHANGE` in `KEYS`, or behind the key in an entry.
#[derive(Clone, Copy)]
pub struct Version<'a>(&'a [u8]);

/// What a key was before a write.
#[derive(Clone, Copy)]
pub struct Before {
    pub lease: u64,
    /// The write's own change, whose entry holds it.
    change: u64,
}

/// An entry of the trail taken apart.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub revision: u64,
    pub key: &'a [u8],
    pub deletion: bool,
    /// What it superseded: a version, maybe that of a deletion, or nothing.
    before: &'a [u8],
}

impl<'a> Change<'a> {
    pub fn of(entry: Entry<'a>) -> Change<'a> {
        let (front, rest) = entry.body.split_at(FRONT);
        let length = u16::from_le_bytes([front[8], front[9]]);
        let (key, before) = rest.split_at(usize::from(length & !DELETION));
        Change { revision: revision_of(entry.body), key, deletion: length & DELETION != 0, before }
    }

    /// What the key was, if it was.
    pub fn before(&self) -> Option<Version<'a>> {
        (!self.before.is_empty()).then_some(Version(self.before)).filter(Version::lives)
    }
}

impl<'a> Version<'a> {
    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.0[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
    }

    pub fn modified(&self) -> u64 {
        self.word(0)
    }

    pub fn create(&self) -> u64 {
        self.word(8)
    }

    pub fn version(&self) -> u64 {
        self.word(16)
    }

    pub fn lease(&self) -> u64 {
        self.word(24)
    }

    pub fn value(&self) -> &'a [u8] {
        &self.0[HEAD..]
    }

    pub fn lives(&self) -> bool {
        self.version() != 0
    }

    /// Appends the record that clients get: the stored bytes, its key and its lengths.
    #[inline]
    pub fn emit(&self, key: &[u8], with_value: bool, flags: u16, out: &mut Vec<u8>) {
        let value = if with_value { self.value() } else { &[] };
        let mut head = [0; RECORD];
        head[..HEAD].copy_from_slice(&self.0[..HEAD]);
        head[32..34].copy_from_slice(&(key.len() as u16).to_le_bytes());
        head[34..36].copy_from_slice(&flags.to_le_bytes());
        head[36..40].copy_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(key);
        out.extend_from_slice(value);
        let body = key.len() + value.len();
        out.extend_from_slice(&[0; 7][..body.next_multiple_of(8) - body]);
    }
}

/// The record of a deletion.
pub fn emit_deletion(key: &[u8], revision: u64, out: &mut Vec<u8>) {
    Version(&head(revision, 0, 0, 0)).emit(key, true, 0, out);
}

/// Where a scan stopped because its visits were used up.
pub type Next = Option<Vec<u8>>;

/// The records of a moment: which changes are too late for it.
struct Moment {
    at: u64,
    /// The first change above it, once somebody asked.
    limit: Option<u64>,
}

fn head(modified: u64, create: u64, version: u64, lease: u64) -> [u8; HEAD] {
    let words = [modified, create, version, lease].map(u64::to_le_bytes);
    let mut head = [0; HEAD];
    head.copy_from_slice(words.as_flattened());
    head
}

fn revision_of(body: &[u8]) -> u64 {
    body.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A record of `KEYS`: its change and its version.
#[inline]
fn opened(record: &[u8]) -> (u64, Version<'_>) {
    let (change, version) = record.split_at(CHANGE);
    (change.try_into().map_or(0, u64::from_le_bytes), Version(version))
}

/// Appends a change to the trail.
fn note(trail: &mut Trail, revision: u64, key: &[u8], deletion: bool, before: Option<&[u8]>) -> u64 {
    let mut front = [0; FRONT];
    front[..8].copy_from_slice(&revision.to_le_bytes());
    let length = key.len() as u16 | if deletion { DELETION } else { 0 };
    front[8..].copy_from_slice(&length.to_le_bytes());
    let (follows, before) = match before.map(opened) {
        Some((change, version)) => (Some(change), version.0),
        None => (None, &[][..]),
    };
    trail.push(follows, &[&front, key, before]) as u64
}

impl Store {
    pub fn new() -> Store {
        Store {
            tables: Default::default(),
            trail: Trail::default(),
            revision: 1,
            compacted: 0,
            freed: 0,
            live: 0,
            live_bytes: 0,
            past_bytes: 0,
            record: Vec::new(),
        }
    }

    /// Bytes that compaction could free: former records, deletions, and the log of changes.
    pub fn history_bytes(&self) -> u64 {
        self.tables[KEYS].bytes() - self.live_bytes + self.past_bytes
    }

    /// The version of `key` that counts at a revision, if the key exists then.
    pub fn at(&self, key: &[u8], revision: u64) -> Option<Version<'_>> {
        let record = self.tables[KEYS].get(key)?;
        self.version_at(record, &mut Moment { at: revision, limit: None }, &mut 0)
    }

    /// The same for a record of `KEYS`. Every version passed over adds one to `steps`.
    #[inline]
    fn version_at<'a>(
        &'a self,
        record: &'a [u8],
        moment: &mut Moment,
        steps: &mut usize,
    ) -> Option<Version<'a>> {
        let (change, version) = opened(record);
        if version.modified() <= moment.at {
            return Some(version).filter(Version::lives);
        }
        let limit =
            *moment.limit.get_or_insert_with(|| self.trail.search(|body| revision_of(body) <= moment.at));
        let superseder = self.trail.back(change, limit, steps);
        self.trail.entry(superseder).and_then(|entry| Change::of(entry).before())
    }

    /// Writes a new version of a key; returns what was there before. Leases are the caller's affair, but for the
    /// number that goes into the record.
    pub fn put(&mut self, revision: u64, key: &[u8], value: &[u8], lease: u64) -> Option<Before> {
        let change = self.trail.end();
        let trail = &mut self.trail;
        let (mut before, mut size, mut noted) = (None, 0, 0);
        self.tables[KEYS].put_over(key, &mut self.record, |old, record| {
            let former = old.map(|old| opened(old).1).filter(Version::lives);
            let (create, version) =
                former.map_or((revision, 1), |former| (former.create(), former.version() + 1));
            before = former.map(|former| Before { lease: former.lease(), change });
            size = former.map_or(0, |former| key.len() + CHANGE + former.0.len());
            record.clear();
            record.extend_from_slice(&change.to_le_bytes());
            record.extend_from_slice(&head(revision, create, version, lease));
            record.extend_from_slice(value);
            // Behind the record: its bytes are read again soon, and would be waited for behind those of the trail,
            // which go to memory that is not in the caches.
            noted = note(trail, revision, key, false, old);
        });
        self.past_bytes += noted;
        self.live += u64::from(before.is_none());
        self.live_bytes = self.live_bytes + (key.len() + self.record.len()) as u64 - size as u64;
        before
    }

    /// Marks a key as deleted; returns what was there before. None: it did not exist, and nothing is written.
    pub fn delete(&mut self, revision: u64, key: &[u8]) -> Option<Before> {
        let record = self.tables[KEYS].get(key)?;
        let version = Some(opened(record).1).filter(Version::lives)?;
        let before = Before { lease: version.lease(), change: self.trail.end() };
        self.live -= 1;
        self.live_bytes -= (key.len() + record.len()) as u64;
        self.past_bytes += note(&mut self.trail, revision, key, true, Some(record));
        self.record.clear();
        self.record.extend_from_slice(&before.change.to_le_bytes());
        self.record.extend_from_slice(&head(revision, 0, 0, 0));
        self.tables[KEYS].put(key, &self.record);
        Some(before)
    }

    /// The version that `put` wrote last.
    pub fn written(&self) -> Version<'_> {
        Version(&self.record[CHANGE..])
    }

    /// What was there before a write of which nothing is compacted yet.
    pub fn former(&self, before: Before) -> Option<Version<'_>> {
        self.trail.entry(before.change).and_then(|entry| Change::of(entry).before())
    }

    /// The first change of a revision, or of the next one that has any.
    pub fn first_of(&self, revision: u64) -> u64 {
        self.trail.search(|body| revision_of(body) < revision)
    }

    /// Changes from one on, in order.
    pub fn changes(&self, from: u64) -> impl Iterator<Item = (u64, Change<'_>)> {
        self.trail.from(from).map(|entry| (entry.number, Change::of(entry)))
    }

    /// What a change has made of its key; a deletion's version does not live.
    pub fn made(&self, number: u64, change: &Change<'_>) -> Option<Version<'_>> {
        match self.trail.next(number) {
            Some(next) => self.trail.entry(next).map(|entry| Version(Change::of(entry).before)),
            None => self.tables[KEYS].get(change.key).map(|record| opened(record).1),
        }
    }

    /// Walks the keys of a range as they are at a revision, in order, until `each` says false. Every record
    /// looked at takes one off `visits`; `Some`: they were used up in front of that key.
    pub fn scan(
        &self,
        range: (&[u8], &[u8]),
        at: u64,
        visits: &mut usize,
        mut each: impl FnMut(&[u8], Version<'_>) -> bool,
    ) -> Next {
        let (from, end) = range;
        if end.is_empty() {
            *visits = visits.saturating_sub(1);
            if let Some(found) = self.at(from, at) {
                each(from, found);
            }
            return None;
        }
        let mut key = Vec::new();
        let mut moment = Moment { at, limit: None };
        for (stored_key, record) in self.tables[KEYS].ascend(Bound::Included(from)) {
            if end != [0] && stored_key.order(end).is_ge() {
                return None;
            }
            stored_key.copy_to(&mut key);
            if *visits == 0 {
                return Some(key);
            }
            let mut steps = 1;
            let version = self.version_at(record, &mut moment, &mut steps);
            *visits = visits.saturating_sub(steps);
            if version.is_some_and(|version| !each(&key, version)) {
                return None;
            }
        }
        None
    }

    /// As `scan`, from the end down. `Some`: go on with this key for the end.
    pub fn scan_back(
        &self,
        range: (&[u8], &[u8]),
        at: u64,
        visits: &mut usize,
        mut each: impl FnMut(&[u8], Version<'_>) -> bool,
    ) -> Next {
        let (from, end) = range;
        if end.is_empty() {
            return self.scan(range, at, visits, each);
        }
        let mut key = Vec::new();
        let mut moment = Moment { at, limit: None };
        let top = if end == [0] { Bound::Unbounded } else { Bound::Excluded(end) };
        for (stored_key, record) in self.tables[KEYS].descend(top) {
            if stored_key.order(from).is_lt() {
                return None;
            }
            stored_key.copy_to(&mut key);
            if *visits == 0 {
                key.push(0); // The key after this one was the last decided.
                return Some(key);
            }
            let mut steps = 1;
            let version = self.version_at(record, &mut moment, &mut steps);
            *visits = visits.saturating_sub(steps);
            if version.is_some_and(|version| !each(&key, version)) {
                return None;
            }
        }
        None
    }

    /// Looks at the next changes that a compaction has overtaken and frees what they have superseded. True: all is
    /// freed.
    pub fn free(&mut self, changes: usize) -> bool {
        let (mut freed, mut bytes) = (self.freed, 0);
        let mut through = false;
        for entry in self.trail.from(freed).take(changes) {
            let change = Change::of(entry);
            through = change.revision >= self.compacted;
            if through {
                break;
            }
            let newest = |record: &[u8]| opened(record).0 == entry.number;
            if change.deletion && self.tables[KEYS].get(change.key).is_some_and(newest) {
                self.tables[KEYS].remove(change.key);
            }
            bytes += entry.bytes as u64;
            freed += 1;
        }
        through |= freed == self.trail.end();
        (self.freed, self.past_bytes) = (freed, self.past_bytes - bytes);
        self.trail.let_go(freed);
        through
    }
}
