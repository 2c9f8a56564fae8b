//! The tables of the realm, what is derived from them, and the way back out of a failed multi.
//!
//! All that replicas agree on lies in tables. Which session owns which ephemerals, which nodes may one day be
//! reaped, which paths have quotas and which number a list has are worked out from them, and again after a load.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::node::{Head, Kind, Node};
use super::{acl, paths, quota};
use crate::state::Table;

/// Lists that need no table: nearly every node has the first.
pub const OPEN_ACL: u32 = 0;
const READ_ONLY_ACL: u32 = 1;
const FIRST_OWN_ACL: u32 = 2;

/// Bytes of a path at most: the store's bound for keys.
pub const PATH_MAX: usize = crate::state::table::KEY_MAX;

/// A key, and the record that it had.
type Undo = (Vec<u8>, Option<Vec<u8>>);

/// Places of the realm's tables.
pub mod table {
    /// Key of a path to record of a node.
    pub const NODES: usize = 0;
    /// Number of a list (u32, big-endian) to how many nodes use it (u64, little-endian) and the list.
    pub const ACLS: usize = 1;
    /// See `session`.
    pub const SESSIONS: usize = 2;
    /// Counters and settings.
    pub const META: usize = 3;
    pub const COUNT: usize = 4;
}

use table::{ACLS, NODES};

#[derive(Default)]
pub struct Store {
    pub tables: [Table; table::COUNT],
    /// By session: paths of its ephemerals.
    ephemerals: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    ephemeral_count: u64,
    /// Paths of containers and TTL nodes.
    mortals: BTreeSet<Vec<u8>>,
    /// Paths under a quota.
    quotas: BTreeSet<Vec<u8>>,
    acl_numbers: BTreeMap<Vec<u8>, u32>,
    /// Lists that nobody used any more at some point of this command.
    unused: Vec<u32>,
    /// Old records, newest last, while a multi is under way.
    undo: Option<Vec<Undo>>,
    record: Vec<u8>,
}

/// Calls `f` with the key of a path, without touching the heap for ordinary paths.
fn with_key<R>(path: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    let mut near = [0; 256];
    let mut far = Vec::new();
    let key: &mut [u8] = match near.get_mut(..path.len().max(1)) {
        Some(near) => near,
        None => {
            far.resize(path.len(), 0);
            &mut far
        }
    };
    paths::fill_key(path, key);
    f(key)
}

impl Store {
    /// A tree with the nodes that every server has.
    pub fn founded() -> Store {
        let mut store = Store::default();
        let head = |acl, children| Head {
            kind: Kind::Plain,
            acl,
            czxid: 0,
            mzxid: 0,
            pzxid: 0,
            ctime: 0,
            mtime: 0,
            created: 0,
            version: 0,
            aversion: 0,
            children,
        };
        store.put(b"/", &head(OPEN_ACL, 1), Some(b""));
        store.put(b"/zookeeper", &head(OPEN_ACL, 2), Some(b""));
        store.put(b"/zookeeper/quota", &head(OPEN_ACL, 0), Some(b""));
        // Empty as long as there is one node; `kind::CONFIG` fills it.
        let config = Head { aversion: -1, ..head(READ_ONLY_ACL, 0) };
        store.put(b"/zookeeper/config", &config, Some(b""));
        store
    }

    /// The node of a path as clients write it; malformed paths name no node.
    pub fn node(&self, path: &[u8]) -> Option<Node<'_>> {
        if path.len() > PATH_MAX || path.first().is_some_and(|&b| b != b'/') {
            return None;
        }
        with_key(path, |key| self.tables[NODES].get(key)).map(Node::new)
    }

    pub fn acl_list(&self, number: u32) -> &[u8] {
        match number {
            OPEN_ACL => acl::OPEN,
            READ_ONLY_ACL => acl::READ_ONLY,
            _ => &self.tables[ACLS].get(&number.to_be_bytes()).expect("a node's list is in the table")[8..],
        }
    }

    /// The number of a list, which is new if need be. Nobody uses it until a node is written with it.
    pub fn acl_number(&mut self, list: &[u8]) -> u32 {
        if list == acl::OPEN {
            return OPEN_ACL;
        }
        if list == acl::READ_ONLY {
            return READ_ONLY_ACL;
        }
        if let Some(&number) = self.acl_numbers.get(list) {
            return number;
        }
        let number = self.free_acl();
        self.tables[ACLS].put(&number.to_be_bytes(), &[&[0; 8], list].concat());
        self.acl_numbers.insert(list.to_vec(), number);
        self.unused.push(number);
        number
    }

    /// The number after the highest in use; once those are at an end, the first gap.
    fn free_acl(&self) -> u32 {
        let highest = self.tables[ACLS].descend(Bound::Unbounded).next().map(|(key, _)| acl_of(&key));
        let Some(highest) = highest else { return FIRST_OWN_ACL };
        if highest < u32::MAX {
            return highest + 1;
        }
        let mut free = FIRST_OWN_ACL;
        for (key, _) in self.tables[ACLS].ascend(Bound::Unbounded) {
            if acl_of(&key) != free {
                break;
            }
            free += 1;
        }
        free
    }

    fn count_acl(&mut self, number: u32, up: bool) {
        if number < FIRST_OWN_ACL {
            return;
        }
        let value = self.tables[ACLS].get(&number.to_be_bytes()).expect("a node's list is in the table");
        let mut value = value.to_vec();
        let users = u64::from_le_bytes(value[..8].try_into().unwrap());
        let users = if up { users + 1 } else { users - 1 };
        if users == 0 {
            self.unused.push(number);
        }
        value[..8].copy_from_slice(&users.to_le_bytes());
        self.tables[ACLS].put(&number.to_be_bytes(), &value);
    }

    /// Forgets lists without users. Not before the end of a command: a multi may yet be taken back.
    pub fn sweep(&mut self) {
        while let Some(number) = self.unused.pop() {
            let key = number.to_be_bytes();
            let Some(value) = self.tables[ACLS].get(&key) else { continue };
            if value[..8] == [0; 8] {
                self.acl_numbers.remove(&value[8..]);
                self.tables[ACLS].remove(&key);
            }
        }
    }

    /// Writes a node, new or not, with all that depends on it but its parent.
    pub fn put(&mut self, path: &[u8], head: &Head, data: Option<&[u8]>) {
        with_key(path, |key| {
            let old = self.tables[NODES].get(key).map(Node::new);
            let (known, old_acl) = (old.is_some(), old.map(Node::acl));
            if let Some(undo) = &mut self.undo {
                undo.push((key.to_vec(), self.tables[NODES].get(key).map(<[u8]>::to_vec)));
            }
            head.write(data, &mut self.record);
            self.tables[NODES].put(key, &self.record);
            if !known {
                self.adopt(path, head.kind);
            }
            if old_acl != Some(head.acl) {
                self.count_acl(head.acl, true);
                if let Some(old) = old_acl {
                    self.count_acl(old, false);
                }
            }
        });
    }

    /// Writes a node that is known not to be there.
    pub fn insert(&mut self, path: &[u8], head: &Head, data: Option<&[u8]>) {
        with_key(path, |key| {
            if let Some(undo) = &mut self.undo {
                undo.push((key.to_vec(), None));
            }
            head.write(data, &mut self.record);
            let known = self.tables[NODES].put(key, &self.record);
            assert!(!known, "an insert found a node in its place");
        });
        self.adopt(path, head.kind);
        self.count_acl(head.acl, true);
    }

    /// Writes a node that is known to be there, of the same kind and with the same list.
    pub fn replace(&mut self, path: &[u8], head: &Head, data: Option<&[u8]>) {
        with_key(path, |key| {
            if let Some(undo) = &mut self.undo {
                undo.push((key.to_vec(), self.tables[NODES].get(key).map(<[u8]>::to_vec)));
            }
            head.write(data, &mut self.record);
            let known = self.tables[NODES].put(key, &self.record);
            assert!(known, "a replacement found no node");
        });
    }

    /// Writes the head of a node that is there; its data stays.
    pub fn put_head(&mut self, path: &[u8], head: &Head) {
        with_key(path, |key| {
            let old = self.tables[NODES].get(key).expect("the node is there");
            if let Some(undo) = &mut self.undo {
                undo.push((key.to_vec(), Some(old.to_vec())));
            }
            head.write(Node::new(old).data(), &mut self.record);
            self.tables[NODES].put(key, &self.record);
        });
    }

    pub fn remove(&mut self, path: &[u8]) {
        with_key(path, |key| {
            let node = Node::new(self.tables[NODES].get(key).expect("the node is there"));
            let (kind, list) = (node.kind(), node.acl());
            if let Some(undo) = &mut self.undo {
                undo.push((key.to_vec(), self.tables[NODES].get(key).map(<[u8]>::to_vec)));
            }
            self.tables[NODES].remove(key);
            self.disown(path, kind);
            self.count_acl(list, false);
        });
    }

    /// Takes all ephemerals of a session off the lists; `remove_disowned` takes each out of the table.
    pub fn disown_all(&mut self, session: u64) -> BTreeSet<Vec<u8>> {
        let own = self.ephemerals.remove(&session).unwrap_or_default();
        self.ephemeral_count -= own.len() as u64;
        own
    }

    /// Removes an ephemeral with this list. Not within a multi: a session does not end there.
    pub fn remove_disowned(&mut self, path: &[u8], list: u32) {
        assert!(self.undo.is_none(), "a session ends in the middle of a multi");
        let known = with_key(path, |key| self.tables[NODES].remove(key));
        assert!(known, "an ephemeral was listed and not there");
        if let Some(path) = quota::limited_path(path) {
            self.quotas.remove(path);
        }
        self.count_acl(list, false);
    }

    fn adopt(&mut self, path: &[u8], kind: Kind) {
        match kind {
            Kind::Plain => {}
            Kind::Ephemeral { session } => {
                self.ephemerals.entry(session).or_default().insert(path.to_vec());
                self.ephemeral_count += 1;
            }
            Kind::Container | Kind::Ttl { .. } => {
                self.mortals.insert(path.to_vec());
            }
        }
        if let Some(path) = quota::limited_path(path) {
            self.quotas.insert(path.to_vec());
        }
    }

    fn disown(&mut self, path: &[u8], kind: Kind) {
        match kind {
            Kind::Plain => {}
            Kind::Ephemeral { session } => {
                let own = self.ephemerals.get_mut(&session).expect("ephemerals are listed by session");
                own.remove(path);
                if own.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemeral_count -= 1;
            }
            Kind::Container | Kind::Ttl { .. } => {
                self.mortals.remove(path);
            }
        }
        if let Some(path) = quota::limited_path(path) {
            self.quotas.remove(path);
        }
    }

    /// From here on everything can be taken back.
    pub fn begin(&mut self) {
        self.undo = Some(Vec::new());
    }

    pub fn keep(&mut self) {
        self.undo = None;
    }

    /// Takes back everything since `begin`.
    pub fn take_back(&mut self) {
        let mut path = Vec::new();
        for (key, old) in self.undo.take().expect("a multi is under way").into_iter().rev() {
            paths::path_of(&key, &mut path);
            let new = self.tables[NODES]
                .get(&key)
                .map(|record| (Node::new(record).kind(), Node::new(record).acl()));
            match (new, old) {
                (Some((kind, list)), None) => {
                    self.tables[NODES].remove(&key);
                    self.disown(&path, kind);
                    self.count_acl(list, false);
                }
                (new, Some(old)) => {
                    let node = Node::new(&old);
                    self.tables[NODES].put(&key, &old);
                    match new {
                        None => {
                            self.adopt(&path, node.kind());
                            self.count_acl(node.acl(), true);
                        }
                        Some((_, list)) if list != node.acl() => {
                            self.count_acl(node.acl(), true);
                            self.count_acl(list, false);
                        }
                        Some(_) => {}
                    }
                }
                (None, None) => unreachable!("something was written there"),
            }
        }
    }

    pub fn ephemerals_of(&self, session: u64) -> impl Iterator<Item = &[u8]> {
        self.ephemerals.get(&session).into_iter().flatten().map(Vec::as_slice)
    }

    pub fn ephemeral_owners(&self) -> impl Iterator<Item = (u64, &BTreeSet<Vec<u8>>)> {
        self.ephemerals.iter().map(|(&session, paths)| (session, paths))
    }

    pub fn ephemeral_count(&self) -> u64 {
        self.ephemeral_count
    }

    pub fn mortals(&self) -> &BTreeSet<Vec<u8>> {
        &self.mortals
    }

    pub fn quotas(&self) -> &BTreeSet<Vec<u8>> {
        &self.quotas
    }

    /// Names of a node's children, in order of their bytes.
    pub fn children(&self, path: &[u8], mut each: impl FnMut(&[u8])) {
        let mut start = if paths::is_root(path) { Vec::new() } else { path.to_vec() };
        start.push(0);
        let mut name = Vec::new();
        for (key, _) in self.tables[NODES].prefixed(&start) {
            if key.len() > start.len() {
                key.copy_to(&mut name);
                each(&name[start.len()..]);
            }
        }
    }

    /// All that lies below a node: how many nodes, and how many bytes of data they hold.
    pub fn below(&self, path: &[u8]) -> (u64, u64) {
        let (mut count, mut bytes) = (0, 0);
        let mut add = |start: &[u8]| {
            for (key, record) in self.tables[NODES].prefixed(start).filter(|(key, _)| key.len() > 1) {
                debug_assert!(!key.is_empty());
                count += 1;
                bytes += Node::new(record).data().map_or(0, <[u8]>::len) as u64;
            }
        };
        if paths::is_root(path) {
            add(b"");
        } else {
            add(&[path, b"\0"].concat());
            add(&[path, b"/"].concat());
        }
        (count, bytes)
    }

    /// Works out again what the tables imply.
    pub fn rebuild(&mut self) -> Result<(), &'static str> {
        let tables = std::mem::take(&mut self.tables);
        *self = Store::default();
        let (mut flat, mut path) = (Vec::new(), Vec::new());
        for (key, record) in tables[NODES].ascend(Bound::Unbounded) {
            key.copy_to(&mut flat);
            if !flat.contains(&0) {
                return Err("a key is no node's");
            }
            let node = Node::checked(record).ok_or("a node's record is short")?;
            paths::path_of(&flat, &mut path);
            self.adopt(&path, node.kind());
        }
        for (key, value) in tables[ACLS].ascend(Bound::Unbounded) {
            if key.len() != 4 || value.len() < 12 {
                return Err("an access list's record is short");
            }
            self.acl_numbers.insert(value[8..].to_vec(), acl_of(&key));
        }
        self.tables = tables;
        Ok(())
    }
}

fn acl_of(key: &crate::state::Key<'_>) -> u32 {
    u32::from_be_bytes(key.to_vec().try_into().expect("numbers of lists have four bytes"))
}
