//! Versions of keys, and the log of which key changed when: what every operation of the realm is made of.

use std::cell::Cell;
use std::ops::Bound;

use super::keys;
use super::ops::{KEY_MAX, RECORD};
use crate::state::Table;
use crate::state::table;

/// Places of the realm's tables.
pub const VERSIONS: usize = 0;
pub const LOG: usize = 1;
pub const LEASES: usize = 2;
pub const ATTACHED: usize = 3;
pub const META: usize = 4;
pub const TABLES: usize = 5;

/// Bytes of a stored version before its value: create u64 | version u64 | lease u64, as they go out in a record.
const HEAD: usize = 24;
/// Older versions of a key that a scan steps over before it looks for the next key instead.
const STEPS: usize = 4;

const _: () = assert!(keys::longest(KEY_MAX) <= table::KEY_MAX);

/// The newest version of any key, also one that a command under way has just written.
pub const NOW: u64 = u64::MAX;

pub struct Store {
    /// `VERSIONS`: see `keys`; value: see `HEAD`. A version of 0 is a deletion.
    /// `LOG`: revision u64 BE, sub u32 BE: the key that changed.
    /// `LEASES`: lease u64 BE: ttl_s u64. `ATTACHED`: lease u64 BE, key: nothing. `META`: see `super::Kv::settle`.
    pub tables: [Table; TABLES],
    /// The last one that is through.
    pub revision: u64,
    /// Nothing below it can be read.
    pub compacted: u64,
    /// Keys that exist, and the bytes of their newest versions in the table.
    pub live: u64,
    pub live_bytes: u64,
    stem: Vec<u8>,
    record: Vec<u8>,
    /// For readers.
    spare: Cell<Vec<u8>>,
}

/// One version of a key.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    pub modified: u64,
    stored: &'a [u8],
}

/// What a version says of itself besides its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub modified: u64,
    pub create: u64,
    pub version: u64,
    pub lease: u64,
    /// Bytes that it takes in the table.
    size: u64,
}

impl Facts {
    /// Of the version that lies at `key` of the table, if it is one of the key with this stem, and lives.
    fn of(key: crate::state::Key<'_>, stored: &[u8], stem: &[u8]) -> Option<Facts> {
        if !keys::is_of(&key, stem) {
            return None;
        }
        let found = Version { modified: revision_of(key), stored };
        found.lives().then(|| Facts {
            modified: found.modified,
            create: found.create(),
            version: found.version(),
            lease: found.lease(),
            size: (stem.len() + 8 + stored.len()) as u64,
        })
    }
}

impl<'a> Version<'a> {
    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.stored[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
    }

    pub fn create(&self) -> u64 {
        self.word(0)
    }

    pub fn version(&self) -> u64 {
        self.word(8)
    }

    pub fn lease(&self) -> u64 {
        self.word(16)
    }

    pub fn value(&self) -> &'a [u8] {
        &self.stored[HEAD..]
    }

    pub fn lives(&self) -> bool {
        self.version() != 0
    }

    /// Appends the record that clients get: the stored bytes, its key and its lengths.
    #[inline]
    pub fn emit(&self, key: &[u8], with_value: bool, flags: u16, out: &mut Vec<u8>) {
        let value = if with_value { self.value() } else { &[] };
        let mut head = [0; RECORD];
        head[..8].copy_from_slice(&self.modified.to_le_bytes());
        head[8..32].copy_from_slice(&self.stored[..HEAD]);
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
    Version { modified: revision, stored: &[0; HEAD] }.emit(key, true, 0, out);
}

/// Where a scan stopped because its visits were used up.
pub type Next = Option<Vec<u8>>;

pub fn log_key(revision: u64, sub: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&revision.to_be_bytes());
    key[8..].copy_from_slice(&sub.to_be_bytes());
    key
}

pub fn log_place(key: crate::state::Key<'_>) -> (u64, u32) {
    let (head, tail) = key.parts();
    let mut place = [0; 12];
    for (to, from) in place.iter_mut().zip(head.iter().chain(tail)) {
        *to = *from;
    }
    let joint = u128::from_be_bytes(std::array::from_fn(|at| if at < 4 { 0 } else { place[at - 4] }));
    ((joint >> 32) as u64, joint as u32)
}

impl Store {
    pub fn new() -> Store {
        Store {
            tables: Default::default(),
            revision: 1,
            compacted: 0,
            live: 0,
            live_bytes: 0,
            stem: Vec::new(),
            record: Vec::new(),
            spare: Cell::default(),
        }
    }

    /// Bytes that compaction could free: old versions, deletions, and the log.
    pub fn history_bytes(&self) -> u64 {
        self.tables[VERSIONS].bytes() + self.tables[LOG].bytes() - self.live_bytes
    }

    /// The version of `key` that counts at a revision, if the key exists then.
    pub fn at(&self, key: &[u8], revision: u64) -> Option<Version<'_>> {
        let mut stem = self.spare.take();
        keys::stem(key, &mut stem);
        let found = self.version_at(&mut stem, revision);
        self.spare.set(stem);
        found.filter(Version::lives)
    }

    /// The same by its stem, deletions included.
    #[inline]
    pub fn version_at(&self, stem: &mut Vec<u8>, revision: u64) -> Option<Version<'_>> {
        keys::set_revision(stem, revision);
        let found = self.tables[VERSIONS].first_from(stem);
        keys::clear_revision(stem);
        let (stored_key, stored) = found?;
        if !keys::is_of(&stored_key, stem) {
            return None;
        }
        Some(Version { modified: revision_of(stored_key), stored })
    }

    /// What a key's newest version says. The stem stays in `self.stem`.
    fn newest(&mut self, key: &[u8]) -> Option<Facts> {
        let mut stem = std::mem::take(&mut self.stem);
        keys::stem(key, &mut stem);
        keys::set_revision(&mut stem, NOW);
        let found = self.tables[VERSIONS].first_from(&stem);
        keys::clear_revision(&mut stem);
        let facts = found.and_then(|(at, stored)| Facts::of(at, stored, &stem));
        self.stem = stem;
        facts
    }

    /// Writes a new version of a key; returns what was there before. Leases are the caller's affair, but for the
    /// number that goes into the record: it is made of what was there.
    pub fn put(&mut self, revision: u64, sub: u32, key: &[u8], value: &[u8], lease: u64) -> Option<Facts> {
        keys::stem(key, &mut self.stem);
        let length = self.stem.len();
        keys::set_revision(&mut self.stem, revision);
        let (stored_key, mut before) = (&self.stem, None);
        // The newest version so far is what the new one comes to lie in front of.
        self.tables[VERSIONS].put_before(stored_key, &mut self.record, |next, record| {
            before = next.and_then(|(at, stored)| Facts::of(at, stored, &stored_key[..length]));
            let (create, version) =
                before.map_or((revision, 1), |facts: Facts| (facts.create, facts.version + 1));
            record.clear();
            for word in [create, version, lease] {
                record.extend_from_slice(&word.to_le_bytes());
            }
            record.extend_from_slice(value);
        });
        self.tables[LOG].put(&log_key(revision, sub), key);
        self.live_bytes += (self.stem.len() + self.record.len()) as u64;
        match before {
            Some(facts) => self.live_bytes -= facts.size,
            None => self.live += 1,
        }
        before
    }

    /// Marks a key as deleted; returns what was there before. None: it did not exist, and nothing is written.
    pub fn delete(&mut self, revision: u64, sub: u32, key: &[u8]) -> Option<Facts> {
        let before = self.newest(key)?;
        self.record.clear();
        self.record.resize(HEAD, 0);
        self.write(revision, sub, key);
        self.live -= 1;
        self.live_bytes -= before.size;
        Some(before)
    }

    /// Writes `self.record` as the version of `self.stem`, and the log's word of it.
    fn write(&mut self, revision: u64, sub: u32, key: &[u8]) {
        keys::set_revision(&mut self.stem, revision);
        self.tables[VERSIONS].put(&self.stem, &self.record);
        self.tables[LOG].put(&log_key(revision, sub), key);
    }

    /// The version that `put` wrote last.
    pub fn written(&self, revision: u64) -> Version<'_> {
        Version { modified: revision, stored: &self.record }
    }

    /// A version by its exact revision.
    pub fn exactly(&self, key: &[u8], revision: u64) -> Option<Version<'_>> {
        let mut stem = Vec::with_capacity(key.len() + 16);
        keys::stem(key, &mut stem);
        keys::set_revision(&mut stem, revision);
        self.tables[VERSIONS].get(&stem).map(|stored| Version { modified: revision, stored })
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
        let table = &self.tables[VERSIONS];
        let (mut stem, mut limit, mut key) = (Vec::new(), Vec::new(), Vec::new());
        keys::stem(from, &mut stem);
        let bounded = end != [0];
        keys::stem(end, &mut limit);
        let mut walk = table.ascend(Bound::Included(&stem));
        // The stem of the key that was decided last, and how many older versions of it were passed over.
        let (mut decided, mut passed) = (Vec::new(), 0);
        while let Some((stored_key, stored)) = walk.next() {
            if bounded && stored_key.order(&limit).is_ge() {
                return None;
            }
            let old = !decided.is_empty() && keys::is_of(&stored_key, &decided);
            if *visits == 0 && !old {
                keys::split(stored_key, &mut key);
                keys::plain(&mut key);
                return Some(key);
            }
            *visits = visits.saturating_sub(1);
            if old {
                passed += 1;
                if passed > STEPS {
                    // A key that changes all the time: go on behind its oldest version.
                    keys::set_revision(&mut decided, 0);
                    walk = table.ascend(Bound::Excluded(&decided));
                    keys::clear_revision(&mut decided);
                    passed = 0;
                }
                continue;
            }
            let modified = keys::split(stored_key, &mut stem);
            let version = if modified <= at {
                Some(Version { modified, stored })
            } else {
                // Too new: the one that counts lies further on among its versions.
                let found = self.version_at(&mut stem, at);
                keys::set_revision(&mut stem, at);
                walk = table.ascend(Bound::Excluded(&stem));
                keys::clear_revision(&mut stem);
                found
            };
            std::mem::swap(&mut stem, &mut decided);
            passed = 0;
            if let Some(version) = version.filter(Version::lives) {
                key.clear();
                key.extend_from_slice(&decided);
                keys::plain(&mut key);
                if !each(&key, version) {
                    return None;
                }
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
        let table = &self.tables[VERSIONS];
        let (mut low, mut stem, mut key) = (Vec::new(), Vec::new(), Vec::new());
        keys::stem(from, &mut low);
        keys::stem(end, &mut stem);
        let mut walk =
            table.descend(if end == [0] { Bound::Unbounded } else { Bound::Excluded(stem.as_slice()) });
        while let Some((stored_key, _)) = walk.next() {
            if stored_key.order(&low).is_lt() {
                return None;
            }
            if *visits == 0 {
                // The key after this one was the last decided.
                keys::split(stored_key, &mut key);
                keys::plain(&mut key);
                key.push(0);
                return Some(key);
            }
            *visits -= 1;
            keys::split(stored_key, &mut stem);
            let version = self.version_at(&mut stem, at);
            walk = table.descend(Bound::Excluded(&stem));
            if let Some(version) = version.filter(Version::lives) {
                key.clear();
                key.extend_from_slice(&stem);
                keys::plain(&mut key);
                if !each(&key, version) {
                    return None;
                }
            }
        }
        None
    }

    /// Looks at the next entries of the log that a compaction has overtaken, from `place` on, and frees what
    /// they have superseded. Returns the place to go on from; `None`: all is freed.
    pub fn free(&mut self, place: (u64, u32), entries: usize) -> Option<(u64, u32)> {
        let mut next = place;
        let (mut key, mut older) = (Vec::new(), Vec::new());
        for _ in 0..entries {
            let entry = self.tables[LOG].first_from(&log_key(next.0, next.1));
            let (revision, sub) = match entry {
                Some((at, changed)) => {
                    key.clear();
                    key.extend_from_slice(changed);
                    log_place(at)
                }
                None => return None,
            };
            if revision > self.compacted {
                return None;
            }
            let mut stem = std::mem::take(&mut self.stem);
            keys::stem(&key, &mut stem);
            keys::set_revision(&mut stem, revision);
            let mut walk = self.tables[VERSIONS].ascend(Bound::Included(&stem));
            let own = walk.next();
            let deletion = own.is_some_and(|(at, stored)| {
                at == *stem.as_slice() && !(Version { modified: revision, stored }).lives()
            });
            // All versions before the last one are gone already: their successors' entries came earlier.
            let predecessor = walk.next().filter(|(at, _)| keys::is_of(at, &stem[..stem.len() - 8]));
            if let Some((at, _)) = predecessor {
                at.copy_to(&mut older);
                self.tables[VERSIONS].remove(&older);
            }
            if revision < self.compacted {
                if deletion {
                    self.tables[VERSIONS].remove(&stem);
                }
                self.tables[LOG].remove(&log_key(revision, sub));
            }
            self.stem = stem;
            next = (revision, sub + 1);
        }
        Some(next)
    }
}

fn revision_of(stored: crate::state::Key<'_>) -> u64 {
    let (head, tail) = stored.parts();
    if let Some(bytes) = tail.last_chunk::<8>() {
        return !u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().rev().zip(head.iter().chain(tail).rev()) {
        *to = *from;
    }
    !u64::from_be_bytes(bytes)
}
