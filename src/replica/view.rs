//! What others may know of a replica.

use crate::base::{Epoch, Incarnation, Index, Life, Nanos, NodeId, Voice};
use crate::journal::Batch;
use crate::replica::core::{Replica, State};
use crate::replica::log::Log;
use crate::replica::{Claim, Config};

impl Replica {
    #[cfg(test)]
    pub fn options(&self) -> crate::replica::Options {
        self.options.clone()
    }

    /// The state must come from a peer.
    pub fn is_stateless(&self) -> bool {
        self.stateless
    }

    pub fn me(&self) -> NodeId {
        self.options.me
    }

    pub fn cluster(&self) -> crate::base::ClusterId {
        self.options.cluster
    }

    pub fn promised(&self) -> Epoch {
        self.promised
    }

    pub fn commit(&self) -> Index {
        self.commit
    }

    pub fn durable(&self) -> Index {
        self.durable
    }

    pub fn last(&self) -> Index {
        self.log.last()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn config(&self) -> &Config {
        self.log.config()
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.state, State::Leader(_))
    }

    /// A follower waits for a snapshot that is not made yet.
    pub fn is_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted
    }

    /// The epoch this node leads and has committed in: it may answer for the cluster.
    pub fn leads(&self) -> Option<Epoch> {
        match &self.state {
            State::Leader(reign) if self.commit >= reign.start => Some(self.promised),
            _ => None,
        }
    }

    /// What is under way, in words: of this node, or of its dealings with a peer.
    pub fn doing(&self, with: Option<NodeId>) -> String {
        match with {
            Some(id) => format!("treats it as {:?}", self.peer(id)),
            None => format!(
                "cuts {:?}, installs {:?}, has verified {}, promises ({}, {:?}), on disk {:?}, holds {} answers back, follows \
                 {:?}, gone by its port {:?}, refuses {:?}, links {:?}",
                self.cutting,
                self.install,
                self.verified,
                self.promised,
                self.vote,
                self.marked,
                self.held.len(),
                self.leader(),
                self.hinted,
                self.voices.refused(),
                self.peers.iter().filter(|peer| peer.link).map(|peer| peer.id.0).collect::<Vec<_>>()
            ),
        }
    }

    /// Up to where the log is decided, by all that this node was ever told: its own log may not reach so far yet.
    pub fn decided(&self) -> Index {
        self.decided.max(self.commit)
    }

    pub fn life(&self) -> Life {
        self.life
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub fn peers_up(&self) -> usize {
        self.peers.iter().filter(|peer| peer.link).count()
    }

    /// Leader: this member has all but the last few batches, the one that made it a member among them.
    pub fn is_caught_up(&self, id: NodeId) -> bool {
        let held = self.config().member(id).map_or(Index(0), |member| self.matched(member));
        held >= self.log.config_at() && held.0 + 64 > self.log.last().0
    }

    /// A quorum stands behind what this node says: heartbeats of clients may be answered as alive.
    pub fn is_serving(&self, now: Nanos) -> bool {
        match &self.state {
            State::Leader(_) => self.leads().is_some(),
            State::Follower { leader: Some(_) } => self.leader_lives(now),
            _ => false,
        }
    }

    pub fn leader(&self) -> Option<NodeId> {
        match &self.state {
            State::Leader(_) => Some(self.options.me),
            State::Follower { leader } => *leader,
            _ => None,
        }
    }

    /// The batch, if it is in memory.
    pub fn batch(&self, index: Index) -> Option<&Batch> {
        self.log.batch(index)
    }

    // What only an oracle wants to know.

    /// What it would say of its log in an election.
    pub fn says(&self) -> Claim {
        self.claim()
    }

    pub fn vote(&self) -> Option<Voice> {
        self.vote
    }

    /// It asks whether it should stand, or stands.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_) | State::Candidate(_))
    }

    /// The epoch for which it asks for votes.
    pub fn stands(&self) -> Option<Epoch> {
        match &self.state {
            State::Candidate(ballot) if !ballot.resolve => Some(ballot.epoch),
            _ => None,
        }
    }

    /// Leader: how far each of the others counts as having come.
    pub fn counted(&self) -> impl Iterator<Item = (Voice, Index)> {
        let peers = self.peers.iter().filter(|_| self.is_leader());
        peers.filter_map(|peer| Some((Voice { id: peer.id, incarnation: peer.incarnation? }, peer.matched)))
    }

    /// The log that was here is as good as gone: a fetched snapshot takes its place.
    pub fn is_starting_over(&self) -> bool {
        self.restarting()
    }

    /// Nothing that this voice says is listened to: it was known to hold more.
    pub fn refuses(&self, voice: Voice) -> bool {
        self.is_refused(voice)
    }

    /// Somebody was told to lead, and has not yet.
    pub fn has_told_heir(&self) -> bool {
        matches!(&self.state, State::Leader(reign) if reign.heir.is_some_and(|(heir, _)| heir == NodeId(0)))
    }

    /// The follower that is furthest, to hand over to.
    pub fn best_heir(&self) -> Option<NodeId> {
        let fit = self.config().voters().filter_map(|member| self.speaking(member));
        fit.filter(|peer| peer.link).max_by_key(|peer| (peer.matched, peer.id)).map(|peer| peer.id)
    }
}
