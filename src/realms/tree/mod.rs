//! The tree realm: znodes, sessions and their rules, as ZooKeeper's clients know them.
//!
//! It speaks jute: a command's payload is the ids of the connection and the client's record as it came, a reply
//! is what follows the xid on the wire (`zxid i64, err i32, body`), a query is written by `read::Query`. Watches
//! are not its affair: `changes` says what happened, the edges know who watches.
//!
//! One command, one zxid, whether it succeeds or not; only what moves a session without changing the tree has
//! none.

pub mod acl;
mod ahead;
mod apply;
pub mod changes;
mod config;
mod create;
pub mod import;
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
use crate::realms::{Broken, Effects, Flow, Member, Realm, Stamp};
use crate::state::{Command, Table};
use ops::kind;
use session::Sessions;
use store::{Store, table};

/// Bytes of the record of counters.
const META: usize = 17;

/// Ephemerals that may be in the log to be deleted, their sessions having run out: a few milliseconds of work. Ten
/// thousand sessions with ten each are gone after a dozen rounds of this size; of twice that, others wait 70 ms.
const ENDING_NODES: usize = 8192;

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

/// Kinds of commands that the realm knows, besides those of clients.
const OWN_KINDS: std::ops::RangeInclusive<u8> = kind::OPEN_SESSION..=kind::ANNOUNCE;

pub struct Tree {
    store: Store,
    sessions: Sessions,
    settings: Settings,
    /// Of the last command.
    zxid: u64,
    leading: bool,
    /// Leader only: ends of sessions that are in the log and not applied.
    ending: usize,
    /// Who belongs to the cluster, as this node knows it; a leader keeps `/zookeeper/config` true to it.
    members: Vec<Member>,
    /// `/zookeeper/config` may not say what it should: a leader looks.
    config_stale: bool,
    /// Leader only: when containers and TTL nodes are looked at next.
    reap_at: Nanos,
    pub reap_every: Nanos,
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
        let mut tree = Tree {
            store: Store::founded(),
            sessions: Sessions::default(),
            settings: Settings::default(),
            zxid: 0,
            leading: false,
            ending: 0,
            members: Vec::new(),
            config_stale: false,
            reap_at: Nanos::MAX,
            reap_every: Nanos::from_millis(60_000),
            scratch: apply::Scratch::default(),
        };
        tree.settle();
        tree
    }

    pub fn zxid(&self) -> u64 {
        self.zxid
    }

    /// How many more sessions may be on their way out. Clients' commands queue behind them.
    fn may_end(&self) -> usize {
        let mean = self.store.ephemeral_count() as usize / self.sessions.len().max(1);
        (ENDING_NODES / (mean + 1)).max(1).saturating_sub(self.ending)
    }

    /// For monitoring: znodes, ephemerals, bytes, sessions.
    pub fn facts(&self) -> [u64; 4] {
        let nodes = &self.store.tables[table::NODES];
        [nodes.len(), self.store.ephemeral_count(), nodes.bytes(), self.sessions.len() as u64]
    }

    /// For monitoring: by session, when it ends if nobody hears of it, in milliseconds of the cluster's clock. It is the
    /// leader who knows.
    pub fn session_ends(&self) -> impl Iterator<Item = (u64, u64)> {
        let ids = session::ids(&self.store.tables[table::SESSIONS]);
        ids.filter_map(|id| Some((id, self.sessions.end_of(id)?.as_millis())))
    }

    /// For monitoring: paths by session.
    pub fn ephemerals(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = &[u8]>)> {
        self.store.ephemeral_owners().map(|(session, own)| (session, own.iter().map(Vec::as_slice)))
    }

    /// For the simulator's oracles: whether a session lives.
    pub fn has_session(&self, id: u64) -> bool {
        self.sessions.find(id).is_some()
    }

    /// For the simulator's oracles: cluster time of a session's last handshake.
    pub fn handshake_of(&self, id: u64) -> Option<Nanos> {
        self.sessions.find(id).map(|session| session.since)
    }

    /// For the simulator's oracles: which command wrote a node's data last.
    pub fn mzxid(&self, path: &[u8]) -> Option<i64> {
        self.store.node(path).map(|node| node.head().mzxid as i64)
    }

    /// For the simulator's oracles: an ephemeral's owner is alive.
    pub fn audit(&self) -> Result<(), String> {
        match self.store.ephemeral_owners().find(|(session, _)| self.sessions.find(*session).is_none()) {
            None => Ok(()),
            Some((session, paths)) => {
                Err(format!("session {session:x} is over and has {} ephemerals", paths.len()))
            }
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }
}

impl Realm for Tree {
    fn knows(&self, kind: u8) -> bool {
        use ops::op::*;
        const CLIENT: [i32; 10] = [
            CREATE,
            DELETE,
            SET_DATA,
            SET_ACL,
            CHECK,
            MULTI,
            CREATE2,
            CREATE_CONTAINER,
            CREATE_TTL,
            RECONFIG,
        ];
        OWN_KINDS.contains(&kind) || CLIENT.contains(&kind.into())
    }

    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> Flow {
        self.execute(at, command, effects);
        Flow::Done
    }

    fn foresee(&mut self, kind: u8, payloads: &[&[u8]]) {
        if !OWN_KINDS.contains(&kind) {
            self.look_ahead(payloads, Tree::record_of);
        }
    }

    fn foresee_reads(&mut self, queries: &[&[u8]]) {
        self.look_ahead(queries, Tree::record_of_query);
    }

    fn read(&self, query: &[u8], out: &mut Vec<u8>) {
        self.answer(query, out);
    }

    fn tables(&self) -> &[Table] {
        &self.store.tables
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.store.tables
    }

    fn settle(&mut self) {
        let mut record = [0; META];
        record[..8].copy_from_slice(&self.zxid.to_le_bytes());
        record[8..16].copy_from_slice(&self.sessions.last_id.to_le_bytes());
        record[16] = self.settings.to_byte();
        self.store.tables[table::META].put(b"tree", &record);
    }

    fn rebuild(&mut self) -> Result<(), Broken> {
        let broken = |what: &str| Broken { realm: "tree", what: what.into() };
        let tables = &mut self.store.tables;
        let Some(record) = tables[table::META].get(b"tree").and_then(|r| <[u8; META]>::try_from(r).ok())
        else {
            if tables.iter().all(Table::is_empty) {
                *self = Tree::new();
                return Ok(());
            }
            return Err(broken("its counters are missing"));
        };
        let u64_at = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
        self.sessions =
            Sessions::of(&tables[table::SESSIONS]).ok_or_else(|| broken("a session's record is short"))?;
        self.sessions.last_id = u64_at(8);
        self.zxid = u64_at(0);
        self.settings = Settings::from_byte(record[16]);
        self.store.rebuild().map_err(broken)
    }

    fn touch(&mut self, id: u64, now: Nanos) -> bool {
        self.sessions.touch(id, now)
    }

    fn lead(&mut self, now: Nanos) {
        self.sessions.lead(now);
        self.leading = true;
        self.ending = 0;
        self.config_stale = true;
        self.reap_at = now.plus(self.reap_every);
    }

    fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>) {
        if std::mem::take(&mut self.config_stale) {
            out.extend(self.config_due().map(|text| (kind::CONFIG, text)));
        }
        let limit = limit.saturating_sub(out.len());
        let before = out.len();
        self.sessions.due(now, limit.min(self.may_end()), |id| {
            out.push((kind::EXPIRE_SESSION, id.to_be_bytes().to_vec()));
        });
        self.ending += out.len() - before;
        if now < self.reap_at || out.len() >= limit {
            return;
        }
        self.reap_at = now.plus(self.reap_every);
        for path in self.store.mortals() {
            if out.len() >= limit {
                break;
            }
            if self.is_due(path, now) {
                out.push((kind::REAP, path.clone()));
            }
        }
    }

    fn next_due(&self) -> Nanos {
        let reap = if self.leading && !self.store.mortals().is_empty() { self.reap_at } else { Nanos::MAX };
        if self.config_stale && self.leading { Nanos(0) } else { self.sessions.next_due().min(reap) }
    }
}
