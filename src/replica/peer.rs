//! What this node knows of another member: its link, and, while leading, how far it has come.

use std::collections::VecDeque;

use crate::base::planted::{self, Bug};
use crate::base::{Incarnation, Index, Nanos, NodeId};
use crate::journal::Batch;
use crate::replica::Member;
use crate::replica::core::{Replica, State};

/// How batches go to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Finding where the logs agree: one empty append at a time.
    Probing,
    /// They agree: send without waiting, within the window.
    Streaming,
    /// What it lacks is no longer in the log: it fetches the snapshot at this index.
    Snapshot(Index),
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub id: NodeId,
    /// Which incarnation of it speaks; all below is that one's.
    pub incarnation: Option<Incarnation>,
    /// A connection stands.
    pub link: bool,
    /// Last answer in this epoch.
    pub heard: Nanos,
    pub mode: Mode,
    /// The next batch to send.
    pub next: Index,
    /// Durable there, by its own word in this epoch.
    pub matched: Index,
    /// Highest probe sent, and answered.
    pub probe_sent: u64,
    pub probe_acked: u64,
    /// For how long its answers bind it.
    pub binds: u32,
    /// The commit point last told.
    pub commit_sent: Index,
    /// Its newest verified snapshot.
    pub snapshot: Index,
    /// Last append of any kind sent, and last time that `matched` grew or all was there.
    pub sent_at: Nanos,
    pub moved_at: Nanos,
    /// Batches under way: index and bytes.
    pub window: VecDeque<(Index, usize)>,
    pub window_bytes: usize,
    /// Batches are being read from the disk for it.
    pub fetching: bool,
    /// What was read, from `next` on. In the log's cache it would be the oldest, so the first to go.
    pub ahead: VecDeque<Batch>,
}

impl Peer {
    fn new(id: NodeId, now: Nanos) -> Peer {
        Peer {
            id,
            incarnation: None,
            link: false,
            heard: now,
            mode: Mode::Probing,
            next: Index(1),
            matched: Index(0),
            probe_sent: 0,
            probe_acked: 0,
            binds: 0,
            commit_sent: Index(0),
            snapshot: Index(0),
            sent_at: Nanos(0),
            moved_at: now,
            window: VecDeque::new(),
            window_bytes: 0,
            fetching: false,
            ahead: VecDeque::new(),
        }
    }

    /// A new reign: nothing that it said before counts.
    pub fn begin(&mut self, next: Index, now: Nanos) {
        let matched = if planted::is(Bug::KeepMatches) { self.matched } else { Index(0) };
        let (link, incarnation) = (self.link, self.incarnation);
        *self = Peer { link, incarnation, next, matched, ..Peer::new(self.id, now) };
    }

    /// Start over from `next`: find out what it has.
    pub fn probe_from(&mut self, next: Index) {
        self.mode = Mode::Probing;
        self.go_on_from(next);
        self.commit_sent = Index(0);
        self.window.clear();
        self.window_bytes = 0;
        self.sent_at = Nanos(0); // At once.
    }

    /// It is offered this snapshot, and has a patience from now to begin with it.
    pub fn fetch(&mut self, index: Index, now: Nanos) {
        self.mode = Mode::Snapshot(index);
        self.moved_at = now;
    }

    /// What comes before `next` is sent, or was never needed.
    pub fn go_on_from(&mut self, next: Index) {
        self.next = next;
        while self.ahead.front().is_some_and(|batch| batch.index() < next) {
            self.ahead.pop_front();
        }
        if self.ahead.front().is_some_and(|batch| batch.index() > next) {
            self.ahead.clear();
        }
    }

    /// Batches from the disk, if they are those that come next.
    pub fn take_ahead(&mut self, batches: &[Batch]) {
        if batches.first().is_some_and(|batch| batch.index() == self.next) {
            self.ahead = batches.iter().cloned().collect();
        }
    }

    pub fn read_ahead(&self, index: Index) -> Option<&Batch> {
        self.ahead.get(index.0.checked_sub(self.ahead.front()?.index().0)? as usize)
    }

    /// It has everything up to `upto`: room in the window again.
    pub fn arrived(&mut self, upto: Index) {
        while self.window.front().is_some_and(|&(index, _)| index <= upto) {
            self.window_bytes -= self.window.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }
}

impl Replica {
    /// All whom this node deals with: the members, and whoever leaves by an entry that is not decided yet, since it
    /// must hear of that and its word still counts.
    pub fn fellows(&self) -> Vec<&Member> {
        let before = self.log.config_of(self.commit).0;
        let in_force = self.log.configs().iter().rev().filter(|(at, _)| *at >= before);
        let mut fellows: Vec<&Member> = Vec::new();
        for member in in_force.flat_map(|(_, config)| config.members()) {
            if member.id != self.options.me && !fellows.iter().any(|fellow| fellow.id == member.id) {
                fellows.push(member);
            }
        }
        fellows.sort_by_key(|member| member.id);
        fellows
    }

    /// For which configurations `fellows` speaks.
    pub fn met(&self) -> Option<(Index, Index, u64)> {
        self.met
    }

    /// Keeps the list of peers in step with the configurations in force.
    pub(super) fn meet_peers(&mut self, now: Nanos) {
        let in_force = Some((self.log.config_of(self.commit).0, self.log.config_at(), self.counts.installs));
        if self.met == in_force {
            return;
        }
        self.met = in_force;
        let ids: Vec<NodeId> = self.fellows().iter().map(|member| member.id).collect();
        self.peers.retain(|peer| ids.contains(&peer.id));
        for id in ids {
            if self.peer(id).is_none() {
                let mut peer = Peer::new(id, now);
                peer.next = self.log.last().next();
                peer.link = self.links.contains(&id);
                self.peers.push(peer);
            }
        }
        self.peers.sort_by_key(|peer| peer.id);
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    pub(super) fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    /// A connection to this peer stands. What was sent on an earlier one may be lost.
    pub fn on_link_up(&mut self, now: Nanos, id: NodeId) {
        self.links.retain(|&up| up != id);
        self.links.push(id);
        if let Some(peer) = self.peer_mut(id) {
            peer.link = true;
            peer.probe_sent = 0;
            let next = peer.matched.next().max(Index(1));
            let next = if peer.matched.0 == 0 { peer.next } else { next };
            peer.probe_from(next);
        }
        self.hinted = self.hinted.filter(|&gone| gone != id);
        self.repeat_to(now, id);
        self.tidy(now);
    }

    /// The connection is gone. `refused`: the node's machine answers, its process does not.
    pub fn on_link_down(&mut self, now: Nanos, id: NodeId, refused: bool) {
        self.pass_time(now);
        self.links.retain(|&up| up != id);
        if let Some(peer) = self.peer_mut(id) {
            peer.link = false;
            peer.fetching = false;
            if let Mode::Snapshot(_) = peer.mode {
                peer.mode = Mode::Probing;
            }
        }
        let mine = matches!(self.state, State::Follower { leader } if leader == Some(id));
        if refused && mine && self.hinted.is_none() {
            self.hinted = Some(id);
            self.counts.hints += 1;
            self.lose_patience(now);
        }
        self.tidy(now);
    }
}
