//! What a ZooKeeper server keeps on its disk, read as a tree: the newest snapshot, and the log behind it.
//!
//! The reference takes its snapshots while it writes, so a snapshot may hold some of what the log says again:
//! every transaction is applied as if it might have been applied before. Nothing here touches a file: `snapshot`
//! and `log` decode bytes, and say at which offset they cannot.

pub mod log;
pub mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use super::jute::Malformed;
use super::node::{Head, Kind};
use super::{Tree, acl, paths, store::PATH_MAX};
use crate::base::Nanos;
use log::{Entry, Txn};

/// Bytes that are not what a server of the reference writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct Damaged {
    pub offset: u64,
    pub what: String,
}

impl Damaged {
    fn new(offset: usize, what: impl Into<String>) -> Damaged {
        Damaged { offset: offset as u64, what: what.into() }
    }

    fn malformed(offset: usize, why: Malformed) -> Damaged {
        Damaged::new(offset, why.to_string())
    }
}

/// A node as the reference keeps it. `cversion` counts its children's creations, `owner` is a session's id, or says
/// that the node is a container or has a time to live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<u8>,
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub owner: i64,
    pub pzxid: i64,
}

const CONTAINER: i64 = i64::MIN;
/// The top byte of the owner of a node with a time to live; its low five bytes are that time in milliseconds.
const TTL: u64 = 0xff << 56;
const TTL_MAX: u64 = (1 << 40) - 1;

/// A list that allows nothing: for numbers that a fuzzy snapshot uses and does not explain.
const CLOSED: &[u8] = b"\0\0\0\x01\0\0\0\0\0\0\0\x05world\0\0\0\x06anyone";

/// A server's state, on its way from snapshot and log to a tree.
#[derive(Debug, Default)]
pub struct State {
    /// By path; the root's is empty.
    pub nodes: BTreeMap<Vec<u8>, Node>,
    /// Timeout in milliseconds by session.
    pub sessions: BTreeMap<i64, i32>,
    /// Of the last transaction.
    pub zxid: i64,
    /// Transactions that were applied from the log.
    pub applied: u64,
    /// What the reference says the tree hashes to, and after which transaction.
    pub digest: Option<(i64, u64)>,
}

impl Node {
    fn is_ephemeral(&self) -> bool {
        self.owner != 0 && self.owner != CONTAINER && self.owner as u64 & TTL != TTL
    }

    fn kind(&self) -> Kind {
        match self.owner {
            0 => Kind::Plain,
            CONTAINER => Kind::Container,
            owner if owner as u64 & TTL == TTL => {
                // Its time begins anew: clocks of two systems do not compare.
                Kind::Ttl { ms: owner as u64 & TTL_MAX, written: Nanos(0) }
            }
            owner => Kind::Ephemeral { session: owner as u64 },
        }
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    paths::split(path).0
}

impl State {
    /// What a server has that never wrote anything.
    pub fn empty() -> State {
        let mut state = State::default();
        let open = list_of(None);
        for (path, acl) in
            [("", &open), ("/zookeeper", &open), ("/zookeeper/quota", &open), ("/zookeeper/config", &open)]
        {
            let node = Node { data: Some(Vec::new()), acl: acl.clone(), ..Node::default() };
            state.nodes.insert(path.as_bytes().to_vec(), node);
        }
        state
    }

    /// Applies a transaction of the log; what the snapshot holds already is passed over.
    pub fn apply(&mut self, entry: &Entry<'_>) {
        if entry.zxid <= self.zxid {
            return;
        }
        self.run(entry, &entry.txn);
        self.zxid = entry.zxid;
        self.applied += 1;
        self.digest = entry.digest.map(|digest| (entry.zxid, digest)).or(self.digest);
    }

    fn run(&mut self, entry: &Entry<'_>, txn: &Txn<'_>) {
        match txn {
            Txn::Create { path, data, acl, owner, parent_cversion } => {
                let owner = owner.unwrap_or(entry.session);
                self.create(entry, path, *data, acl, owner, *parent_cversion);
            }
            Txn::Delete { path } => self.delete(path, entry.zxid),
            Txn::SetData { path, data, version } => {
                if let Some(node) = self.nodes.get_mut(*path) {
                    node.data = data.map(<[u8]>::to_vec);
                    (node.version, node.mtime, node.mzxid) = (*version, entry.time, entry.zxid);
                }
            }
            Txn::SetAcl { path, acl, version } => {
                if let Some(node) = self.nodes.get_mut(*path) {
                    (node.acl, node.aversion) = (acl.to_vec(), *version);
                }
            }
            Txn::Open { timeout_ms } => {
                self.sessions.insert(entry.session, *timeout_ms);
            }
            Txn::Close { paths } => {
                self.sessions.remove(&entry.session);
                // The list may lack what the snapshot got from later transactions, and the other way round.
                let own = self.nodes.iter().filter(|(_, node)| node.owner == entry.session);
                let mut all: BTreeSet<Vec<u8>> = own.map(|(path, _)| path.clone()).collect();
                all.extend(paths.iter().map(|path| path.to_vec()));
                all.iter().for_each(|path| self.delete(path, entry.zxid));
            }
            Txn::Multi(parts) => {
                // All or nothing: one that failed stands for all.
                if !parts.contains(&Txn::Failed) {
                    parts.iter().for_each(|part| self.run(entry, part));
                }
            }
            Txn::Nothing | Txn::Failed => {}
        }
    }

    fn create(
        &mut self,
        entry: &Entry<'_>,
        path: &[u8],
        data: Option<&[u8]>,
        acl: &[u8],
        owner: i64,
        parent_cversion: i32,
    ) {
        let zxid = entry.zxid;
        let Some(parent) = self.nodes.get_mut(parent_of(path)) else { return };
        let cversion = if parent_cversion == -1 { parent.cversion.wrapping_add(1) } else { parent_cversion };
        let known = self.nodes.contains_key(path);
        let parent = self.nodes.get_mut(parent_of(path)).expect("just seen");
        // Of one that is there already the snapshot knows at least as much, but for what is the parent's.
        if (parent_cversion != -1 || !known) && cversion > parent.cversion {
            (parent.cversion, parent.pzxid) = (cversion, parent.pzxid.max(zxid));
        }
        if known {
            self.nodes.get_mut(path).expect("just seen").acl = acl.to_vec();
            return;
        }
        let node = Node {
            data: data.map(<[u8]>::to_vec),
            acl: acl.to_vec(),
            czxid: zxid,
            mzxid: zxid,
            ctime: entry.time,
            mtime: entry.time,
            owner,
            pzxid: zxid,
            ..Node::default()
        };
        self.nodes.insert(path.to_vec(), node);
    }

    fn delete(&mut self, path: &[u8], zxid: i64) {
        if paths::is_root(path) {
            return;
        }
        self.nodes.remove(path);
        if let Some(parent) = self.nodes.get_mut(parent_of(path)) {
            parent.pzxid = parent.pzxid.max(zxid);
        }
    }

    /// Leaves the sessions behind, and their ephemerals.
    pub fn drop_sessions(&mut self) {
        self.sessions.clear();
        self.drop_orphans();
    }

    /// Ephemerals whose session is not known any more: the reference deletes them when it starts.
    pub fn drop_orphans(&mut self) {
        let sessions = &self.sessions;
        self.nodes.retain(|_, node| !node.is_ephemeral() || sessions.contains_key(&node.owner));
    }

    /// Whether the tree hashes to what the reference last said. `None`: it did not say, or not of this state.
    pub fn digest_holds(&self) -> Option<bool> {
        let (zxid, digest) = self.digest?;
        (zxid == self.zxid).then(|| self.hash() == digest)
    }

    /// The reference's digest, version 2: a sum over the nodes, so their order does not matter.
    pub fn hash(&self) -> u64 {
        let counted = self.nodes.iter().filter(|(path, _)| !path.starts_with(b"/zookeeper/"));
        counted.fold(0, |sum, (path, node)| sum.wrapping_add(u64::from(node_hash(path, node))))
    }

    /// The tree of a fresh cluster that goes on from here.
    pub fn into_tree(self) -> Result<Tree, String> {
        let mut tree = Tree::new();
        let mut children: BTreeMap<&[u8], u32> = BTreeMap::new();
        for path in self.nodes.keys().filter(|path| !path.is_empty()) {
            let parent = parent_of(path);
            if !self.nodes.contains_key(parent) {
                return Err(format!("node {} has no parent", String::from_utf8_lossy(path)));
            }
            *children.entry(parent).or_default() += 1;
        }
        for (path, node) in &self.nodes {
            if path.len() > PATH_MAX {
                let shown = String::from_utf8_lossy(&path[..60]);
                return Err(format!("the path {shown}... has {} bytes, the limit is {PATH_MAX}", path.len()));
            }
            // Who the members are is this cluster's own affair.
            if path == b"/zookeeper/config" {
                continue;
            }
            let head = Head {
                kind: node.kind(),
                acl: tree.store.acl_number(if node.acl.is_empty() { CLOSED } else { &node.acl }),
                czxid: node.czxid as u64,
                mzxid: node.mzxid as u64,
                pzxid: node.pzxid as u64,
                ctime: node.ctime as u64,
                mtime: node.mtime as u64,
                created: node.cversion as u32 as u64,
                version: node.version,
                aversion: node.aversion,
                children: children.get(&path[..]).copied().unwrap_or(0),
            };
            tree.store.put(if path.is_empty() { b"/" } else { path }, &head, node.data.as_deref());
        }
        tree.store.sweep();
        for (&id, &timeout_ms) in &self.sessions {
            tree.import_session(id as u64, timeout_ms.max(1) as u32);
        }
        tree.zxid = self.zxid as u64;
        tree.config_stale = true;
        Ok(tree)
    }
}

fn node_hash(path: &[u8], node: &Node) -> u32 {
    let mut crc = Crc32::default();
    crc.update(path);
    crc.update(node.data.as_deref().unwrap_or_default());
    for number in [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime] {
        crc.update(&number.to_be_bytes());
    }
    for number in [node.version, node.cversion, node.aversion] {
        crc.update(&number.to_be_bytes());
    }
    crc.update(&node.owner.to_be_bytes());
    !crc.0
}

/// The usual CRC-32, bit by bit: it runs once in a cluster's life.
struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Crc32 {
        Crc32(u32::MAX)
    }
}

impl Crc32 {
    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 ^= u32::from(byte);
            for _ in 0..8 {
                self.0 = self.0 >> 1 ^ (0xedb8_8320 & (self.0 & 1).wrapping_neg());
            }
        }
    }
}

/// The sum that the reference puts over snapshots and log entries.
pub fn adler32(bytes: &[u8]) -> i64 {
    let (mut low, mut high) = (1u32, 0u32);
    // So many bytes cannot overflow 32 bits.
    for part in bytes.chunks(5552) {
        for &byte in part {
            low += u32::from(byte);
            high += low;
        }
        (low, high) = (low % 65521, high % 65521);
    }
    i64::from(high << 16 | low)
}

/// A list as nodes keep it; null is one that allows everything.
fn list_of(vector: Option<&[u8]>) -> Vec<u8> {
    vector.unwrap_or(acl::OPEN).to_vec()
}

#[cfg(test)]
mod tests;
