//! The tree realm: znodes, sessions and their rules, as ZooKeeper's clients know them.
//!
//! It speaks jute: a command's payload is the ids of the connection and the client's record as it came, a reply
//! is what follows the xid on the wire (`zxid i64, err i32, body`), a query is written by `read::Query`. Watches
//! are not its affair: `changes` says what happened, the edges know who watches.
//!
//! One command, one zxid, whether it succeeds or not; only what moves a session without changing the tree has
//! none.

pub mod acl;
mod apply;
pub mod changes;
mod create;
pub mod jute;
mod multi;
mod node;
pub mod ops;
pub mod paths;
mod quota;
pub mod read;
pub mod session;
mod store;
#[cfg(test)]
mod tests;

pub use store::PATH_MAX;

use crate::base::Nanos;
use crate::realms::{Effects, Realm, Stamp};
use crate::state::{Command, Table};
use session::Sessions;
use store::Store;

/// What must be the same on all replicas, and is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// TTL nodes are allowed.
    pub ttl_nodes: bool,
    /// Hard limits of quotas are enforced.
    pub enforce_quota: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { ttl_nodes: true, enforce_quota: false }
    }
}

impl Settings {
    pub fn to_byte(self) -> u8 {
        u8::from(self.ttl_nodes) | u8::from(self.enforce_quota) << 1
    }

    pub fn from_byte(byte: u8) -> Settings {
        Settings { ttl_nodes: byte & 1 != 0, enforce_quota: byte & 2 != 0 }
    }
}

pub struct Tree {
    store: Store,
    sessions: Sessions,
    settings: Settings,
    /// Of the last command.
    zxid: u64,
    /// Cluster time of the last command.
    ticks: Nanos,
    /// Leader only: its own clock and cluster time when its reign began.
    reign: Option<(Nanos, Nanos)>,
    /// Leader only: when containers and TTL nodes are looked at next.
    reap_at: Nanos,
    pub reap_every: Nanos,
    meta: Table,
    scratch: apply::Scratch,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// The tree of a cluster that was just founded.
    pub fn new() -> Tree {
        Tree::of(Store::founded(), Sessions::default(), Table::new())
    }

    fn of(store: Store, sessions: Sessions, meta: Table) -> Tree {
        Tree {
            store,
            sessions,
            settings: Settings::default(),
            zxid: 0,
            ticks: Nanos(0),
            reign: None,
            reap_at: Nanos::MAX,
            reap_every: Nanos::from_millis(60_000),
            meta,
            scratch: apply::Scratch::default(),
        }
    }

    pub fn zxid(&self) -> u64 {
        self.zxid
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Writes down what is kept outside the tables between freezes.
    pub fn settle(&mut self) {
        let mut record = [0; 25];
        record[..8].copy_from_slice(&self.zxid.to_le_bytes());
        record[8..16].copy_from_slice(&self.sessions.last_id().to_le_bytes());
        record[16..24].copy_from_slice(&self.ticks.0.to_le_bytes());
        record[24] = self.settings.to_byte();
        self.meta.put(b"tree", &record);
    }

    /// The tables after `settle`, in the order of the snapshot's sections: nodes, lists, sessions, the rest.
    pub fn tables(&self) -> [&Table; 4] {
        let [nodes, acls] = self.store.tables();
        [nodes, acls, self.sessions.table(), &self.meta]
    }

    /// A tree from the tables of a snapshot.
    pub fn load([nodes, acls, sessions, meta]: [Table; 4]) -> Option<Tree> {
        let record: [u8; 25] = meta.get(b"tree")?.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
        let sessions = Sessions::load(sessions, u64_at(8));
        let mut tree = Tree::of(Store::load(nodes, acls), sessions, meta);
        tree.zxid = u64_at(0);
        tree.ticks = Nanos(u64_at(16));
        tree.settings = Settings::from_byte(record[24]);
        Some(tree)
    }

    /// Equal for equal state.
    pub fn digest(&mut self) -> u128 {
        self.settle();
        self.tables().iter().fold(0, |sum: u128, table| sum.rotate_left(31).wrapping_add(table.digest()))
    }

    /// Cluster time now, at the least.
    fn ticks_at(&self, now: Nanos) -> Option<Nanos> {
        self.reign.map(|(began, ticks)| ticks.plus(now.since(began)))
    }
}

impl Realm for Tree {
    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) {
        self.execute(at, command, effects);
    }

    fn read(&self, query: &[u8], out: &mut Vec<u8>) {
        self.answer(query, out);
    }

    fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.sessions.touch(id, now)
    }

    fn lead(&mut self, now: Nanos) {
        self.sessions.lead(now);
        self.reign = Some((now, self.ticks));
        self.reap_at = now.plus(self.reap_every);
    }

    fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>) {
        self.sessions.due(now, limit, out);
        let Some(ticks) = self.ticks_at(now) else { return };
        if now < self.reap_at || out.len() >= limit {
            return;
        }
        self.reap_at = now.plus(self.reap_every);
        for path in self.store.mortals() {
            if out.len() >= limit {
                break;
            }
            if self.is_due(path, ticks) {
                out.push((ops::kind::REAP, path.clone()));
            }
        }
    }

    fn next_due(&self) -> Nanos {
        let reap =
            if self.reign.is_some() && !self.store.mortals().is_empty() { self.reap_at } else { Nanos::MAX };
        self.sessions.next_due().min(reap)
    }
}
