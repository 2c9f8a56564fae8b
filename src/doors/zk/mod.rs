//! The ZooKeeper door: what unmodified ZooKeeper clients speak, over the tree realm.
//!
//! `wire` is the bytes, `handshake` how a connection gets its session, `session` its requests in their order by
//! their `sort`, `watches` who is to be told of what, `tables` what requests do to them, `words` the four-letter
//! commands, `pages` the same for the admin door, `board`, `roster` and `lists` what they show. A session of the protocol
//! outlives connections: it lives in the realm, and a connection only speaks for it.

mod auth;
mod board;
mod handshake;
pub mod lists;
pub mod pages;
mod roster;
mod session;
mod sort;
mod tables;
#[cfg(test)]
mod tests;
mod watches;
pub mod wire;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::planted::{self, Bug};
use crate::base::{Identity, Index, Nanos, Origin};
use crate::doors::{Answer, Crowd, Cx, Door, Outcome, Seat, Taken, Write};
use crate::realms::tree::acl::{self, perm};
use crate::realms::tree::changes::{self, Change};
use crate::realms::tree::ops::kind;
use crate::realms::tree::{Settings, paths, read::event};
use crate::state::RealmId;
use crate::state::timers::ById;

pub use board::{Board, Count, Lane, Mode};
pub use session::Session;
use watches::{Kind, Watches};
pub use wire::{FRAME_LIMIT, FRAME_MAX};

pub use crate::realms::tree::acl::IDS_MAX;

/// What an operator may set; the same for all lanes of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bounds of what a client may ask for as its session's timeout.
    pub timeout_ms: (i32, i32),
    /// Bytes of a frame's body at most (`jute.maxbuffer`).
    pub frame_max: u32,
    /// Connections from one address; 0 for any number.
    pub per_address_max: u32,
    /// Four-letter words that are answered; the others are known but refused.
    pub words: Vec<String>,
    /// `user:hash` of who may do everything.
    pub super_digest: Option<String>,
    /// Shown by `conf`, in order.
    pub shown: Vec<(String, String)>,
    /// Where this node takes clients, if others of an ensemble are to tell theirs.
    pub announced: Option<String>,
    /// What the operator wants of the realm's settings; all replicas follow the last to say.
    pub settings: Option<Settings>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            timeout_ms: (4_000, 40_000),
            frame_max: wire::FRAME_MAX,
            per_address_max: 60,
            words: vec!["srvr".into()],
            super_digest: None,
            shown: Vec::new(),
            announced: None,
            settings: None,
        }
    }
}

/// What the ZooKeeper sessions of one edge lane share.
pub struct Zk {
    origin: Origin,
    config: Arc<Config>,
    board: Arc<Board>,
    watches: Watches,
    /// The connection that speaks for a session here.
    seats: ById<Seat>,
    /// The session that each connection speaks for; 0 until it is open.
    spoken: BTreeMap<Seat, u64>,
    /// The highest that this lane has seen applied.
    zxid: u64,
    told: Vec<Seat>,
    /// The event under way, as all who are told receive it.
    event: Vec<u8>,
    /// When a session last asked anything of it.
    now: Nanos,
}

impl Zk {
    /// `origin` is the lane's: sessions are owned by it.
    pub fn new(origin: Origin, config: Arc<Config>, board: Arc<Board>) -> Zk {
        Zk {
            origin,
            config,
            board,
            watches: Watches::default(),
            seats: ById::default(),
            spoken: BTreeMap::new(),
            zxid: 0,
            told: Vec::new(),
            event: Vec::new(),
            now: Nanos(0),
        }
    }

    /// What this node has to say once it serves. Nobody waits for the outcomes.
    pub fn announce(&self, cx: &mut Cx<'_>) {
        let write =
            |kind| Write { realm: RealmId::Tree, kind, feature: 0, principal: 0, session: 0, request: 0 };
        if let Some(address) = &self.config.announced {
            cx.write(&write(kind::ANNOUNCE), 0, |out| out.extend_from_slice(address.as_bytes()));
        }
        if let Some(settings) = self.config.settings {
            cx.write(&write(kind::SETTINGS), 0, |out| out.push(settings.to_byte()));
        }
    }

    /// Opens a session for a client whose certificate, if any, was found good: its subject is an id from the start.
    pub fn admit(&mut self, cx: &mut Cx<'_>, from: SocketAddr, by: Option<&Identity>) -> Session {
        let mut session = self.open(cx, from);
        if let Some(by) = by {
            session.prove(by.subject.as_bytes());
        }
        session
    }

    /// Once a turn: makes the list of watches if somebody asks for it.
    pub fn show(&self) {
        let lists = &self.board.lists;
        if let Some(slot) = lists.watches.get(usize::from(self.origin.lane())) {
            slot.fill(lists.asked(), || {
                let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
                let by_seat = self.watches.by_seat();
                by_seat.map(|(seat, own)| (self.session_of(seat), own.map(text).collect())).collect()
            });
        }
    }

    fn lane(&self) -> &Lane {
        self.board.lane(self.origin.lane())
    }

    /// By the stages' clock.
    fn now_ms(&self) -> u64 {
        self.now.0 / 1_000_000
    }

    fn session_of(&self, seat: Seat) -> u64 {
        self.spoken.get(&seat).copied().unwrap_or(0)
    }

    /// The tables of watches have changed.
    fn count_watches(&self) {
        let lane = self.lane();
        lane.watches.set(self.watches.len() as u64);
        let (count, connections, paths) = self.watches.breadth();
        lane.data_watches.set(count as u64);
        lane.watching.set(connections as u64);
        lane.watched_paths.set(paths as u64);
    }

    /// A reply or change of the realm shows how far it is.
    fn saw(&mut self, reply: &[u8]) -> u64 {
        let zxid = reply.first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head));
        self.zxid = self.zxid.max(zxid);
        zxid
    }

    /// Tells those who watch `path` in one table, if they may read it.
    fn tell(
        &mut self,
        crowd: &mut impl Crowd<Session>,
        zxid: u64,
        kind: Kind,
        what: u8,
        path: &[u8],
        list: &[u8],
    ) {
        self.told.clear();
        self.watches.fire(kind, path, &mut self.told);
        self.send(crowd, zxid, what, path, list);
    }

    fn send(&mut self, crowd: &mut impl Crowd<Session>, zxid: u64, what: u8, path: &[u8], list: &[u8]) {
        if self.told.is_empty() {
            return;
        }
        if planted::is(Bug::ForgetOneWatch) && self.told.len() > 1 {
            self.told.pop();
        }
        self.event.clear();
        wire::write_event(&mut self.event, zxid as i64, what, path);
        for &seat in &self.told {
            crowd.visit(seat, |session, cx| {
                if acl::allows(list, perm::READ, session.ids()) {
                    cx.out().extend_from_slice(&self.event);
                }
            });
        }
        self.lane().events.add(self.told.len() as u64);
        self.count_watches();
    }

    /// A deletion is told in both tables, but once to each connection.
    fn tell_deleted(&mut self, crowd: &mut impl Crowd<Session>, zxid: u64, path: &[u8], list: &[u8]) {
        self.told.clear();
        self.watches.fire(Kind::Data, path, &mut self.told);
        self.watches.fire(Kind::Child, path, &mut self.told);
        self.told.sort_unstable();
        self.told.dedup();
        self.send(crowd, zxid, event::DELETED, path, list);
    }

    fn tell_parent(&mut self, crowd: &mut impl Crowd<Session>, zxid: u64, path: &[u8], list: &[u8]) {
        let parent = paths::split(path).0;
        let parent = if parent.is_empty() { b"/" } else { parent };
        self.tell(crowd, zxid, Kind::Child, event::CHILDREN_CHANGED, parent, list);
    }

    fn hang_up_on(&mut self, id: u64, why: &'static str, crowd: &mut impl Crowd<Session>) {
        if let Some(&seat) = self.seats.get(&id) {
            crowd.visit(seat, |session, cx| session.lose(cx, why));
        }
    }
}

impl Door for Zk {
    type Session = Session;

    fn open(&mut self, cx: &mut Cx<'_>, from: SocketAddr) -> Session {
        let max = self.config.per_address_max;
        if self.board.come(from.ip().to_canonical()) > max && max > 0 {
            self.lane().rejected.add(1);
            cx.hang_up("too many connections from this address");
        }
        self.lane().connections.add(1);
        self.spoken.insert(cx.seat, 0);
        let session = Session::new(cx, from);
        self.lane().enter(cx.seat, session.conn().clone());
        session
    }

    fn on_bytes(&mut self, session: &mut Session, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        self.now = cx.now;
        session.on_bytes(self, cx, bytes)
    }

    fn on_outcome(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, outcome: Outcome<'_>) {
        session.on_outcome(self, cx, token, outcome);
    }

    fn on_answer(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>) {
        session.on_answer(self, cx, token, answer);
    }

    fn on_alarm(&mut self, session: &mut Session, cx: &mut Cx<'_>) {
        session.on_alarm(cx);
    }

    fn on_serving(&mut self, _: &mut Session, cx: &mut Cx<'_>) {
        // As the reference does: clients look for a server that hears a leader, and keep their sessions.
        if !cx.serving {
            cx.hang_up("no leader that a quorum follows");
        }
    }

    fn on_ended(&mut self, session: &mut Session, seat: Seat) {
        self.watches.forget(seat);
        self.spoken.remove(&seat);
        if self.seats.get(&session.id()) == Some(&seat) {
            self.seats.remove(&session.id());
        }
        self.board.go(session.conn().from.ip().to_canonical());
        self.lane().leave(seat);
        self.lane().connections.sub(1);
        self.lane().outstanding.sub(session.unanswered());
        self.count_watches();
    }

    /// Nobody can tell which events the watches of these connections have missed: their clients come back, and
    /// learn it by setting them anew.
    fn on_jump(&mut self, crowd: &mut impl Crowd<Session>) {
        for &seat in self.spoken.keys() {
            crowd.visit(seat, |_, cx| cx.hang_up("the state was replaced by a snapshot"));
        }
    }

    fn on_changes(&mut self, _: Index, changes: &[u8], crowd: &mut impl Crowd<Session>) {
        let zxid = self.saw(changes);
        for change in changes::all(changes).1 {
            match change {
                Change::Created { path, list, parent_list } if !self.watches.is_empty() => {
                    self.tell(crowd, zxid, Kind::Data, event::CREATED, path, list);
                    self.tell_parent(crowd, zxid, path, parent_list);
                }
                Change::Deleted { path, list, parent_list } if !self.watches.is_empty() => {
                    self.tell_deleted(crowd, zxid, path, list);
                    self.tell_parent(crowd, zxid, path, parent_list);
                }
                Change::Data { path, list } if !self.watches.is_empty() => {
                    self.tell(crowd, zxid, Kind::Data, event::DATA_CHANGED, path, list);
                }
                Change::Created { .. } | Change::Deleted { .. } | Change::Data { .. } => {}
                Change::Ended { session } => self.hang_up_on(session, "its session has ended", crowd),
                Change::Moved { session, origin } if origin != self.origin.0 => {
                    self.hang_up_on(session, "its session is served elsewhere", crowd);
                }
                Change::Moved { .. } => {}
            }
        }
    }

    fn on_gone(&mut self, _: RealmId, id: u64, crowd: &mut impl Crowd<Session>) {
        self.hang_up_on(id, "its session has expired", crowd);
    }

    fn serves(&self, realm: RealmId) -> bool {
        realm == RealmId::Tree
    }
}

/// Nobody hears of a session for longer than its timeout: its connection is dead, whatever the network says.
fn silence(timeout_ms: i32) -> Nanos {
    Nanos::from_millis(timeout_ms.max(1) as u64)
}
