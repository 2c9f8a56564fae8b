//! Who speaks: which incarnation of a node, whether it may count, and whether it is what it was.
//!
//! Two checks keep a replaced disk from voting in its predecessor's stead. Whoever *counts* (votes, promises,
//! acknowledgements, answers to probes) counts only incarnations that the configuration in question names; whoever
//! is *asked* gives no vote unless its own log's configuration names it. Questions and a leader's word are heard
//! from anybody: what they are worth is decided by epochs and logs.

use std::collections::BTreeMap;

use crate::base::{Epoch, Index, Life, NodeId, Voice};
use crate::replica::core::{Replica, State};
use crate::replica::{Member, Msg};

/// Incarnations that are remembered; beyond them those are forgotten that are no members.
const VOICES_MAX: usize = 64;

/// What one incarnation has been known to hold. It never holds less, unless its disk was put back to what it was.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    life: Life,
    promised: Epoch,
    /// Decided, and acknowledged by it.
    held: Index,
    /// It has presented less than that.
    refused: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Voices(BTreeMap<Voice, Known>);

impl Voices {
    pub fn refused(&self) -> Vec<Voice> {
        self.0.iter().filter(|(_, known)| known.refused).map(|(voice, _)| *voice).collect()
    }
}

/// How a node presents itself when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub life: Life,
    /// On its disk.
    pub promised: Epoch,
    /// Its log's last index.
    pub last: Index,
}

impl Replica {
    pub fn voice(&self) -> Voice {
        Voice { id: self.options.me, incarnation: self.incarnation }
    }

    /// What to present to others.
    pub fn standing(&self) -> Standing {
        Standing { life: self.life, promised: self.marked.0, last: self.log.last() }
    }

    fn known(&mut self, voice: Voice) -> &mut Known {
        let all = &self.voices.0;
        if all.len() >= VOICES_MAX && !all.contains_key(&voice) {
            // A member's rollback is noticed by what is remembered of it; strangers' disks may be many, and count for nothing.
            let stranger = all.keys().find(|&&other| !self.config().names(other)).copied();
            match stranger {
                Some(stranger) => drop(self.voices.0.remove(&stranger)),
                None => drop(self.voices.0.pop_first()),
            }
        }
        self.voices.0.entry(voice).or_default()
    }

    /// A node has connected. The error says why it is not listened to.
    pub fn on_hello(&mut self, voice: Voice, standing: Standing) -> Result<(), String> {
        let known = self.known(voice);
        let Standing { life, promised, last } = standing;
        known.refused = life < known.life || promised < known.promised || last < known.held;
        if known.refused {
            return Err(format!(
                "node {voice} presents life {life}, promise {promised} and a log that ends at {last}; it was known \
                 with life {}, promise {} and the decided batch {}. An old copy of its data directory was put back: \
                 format a new one and replace the member",
                known.life, known.promised, known.held
            ));
        }
        (known.life, known.promised) = (life, promised);
        Ok(())
    }

    /// How much of what is decided that voice is known to hold.
    pub fn known_to_hold(&self, voice: Voice) -> Index {
        self.voices.0.get(&voice).map_or(Index(0), |known| known.held)
    }

    /// Nothing that it says is listened to.
    pub(super) fn is_refused(&self, voice: Voice) -> bool {
        self.voices.0.get(&voice).is_some_and(|known| known.refused)
    }

    /// Whether the answers of this voice count here at all. A peer's progress is that of one incarnation: with
    /// another it starts over.
    pub(super) fn counts(&mut self, voice: Voice, msg: &Msg) -> bool {
        let since = self.log.config_of(self.commit).0;
        let mut in_force = self.log.configs().iter().rev().take_while(|(at, _)| *at >= since);
        let named = in_force.any(|(_, config)| config.names(voice));
        if named
            && let Some(peer) = self.peer_mut(voice.id)
            && peer.incarnation != Some(voice.incarnation)
        {
            let (next, now) = (peer.next, peer.heard);
            peer.begin(next, now);
            peer.incarnation = Some(voice.incarnation);
        }
        if let Msg::Voted { epoch, .. }
        | Msg::Appended { epoch, .. }
        | Msg::Mismatch { epoch, .. }
        | Msg::Alive { epoch, .. } = *msg
        {
            let known = self.known(voice);
            known.promised = known.promised.max(epoch); // It leaves only once it is on the disk.
        }
        named
    }

    /// It has acknowledged this much, of which some is decided.
    pub(super) fn remember_held(&mut self, voice: Voice, durable: Index) {
        let decided = durable.min(self.commit);
        let known = self.known(voice);
        known.held = known.held.max(decided);
    }

    /// Which incarnation of a node speaks: this one of this node, of others the last one heard.
    pub(super) fn heard_of(&self, id: NodeId) -> Option<crate::base::Incarnation> {
        if id == self.options.me {
            return Some(self.incarnation);
        }
        self.peer(id)?.incarnation
    }

    /// What a member is known to hold, in this reign, by the incarnation that is meant.
    pub(super) fn matched(&self, member: &Member) -> Index {
        if member.id == self.options.me {
            return if member.is(self.incarnation) { self.durable } else { Index(0) };
        }
        self.speaking(member).map_or(Index(0), |peer| peer.matched)
    }

    /// The peer behind a member, if it is the incarnation that is meant.
    pub(super) fn speaking(&self, member: &Member) -> Option<&super::peer::Peer> {
        self.peer(member.id).filter(|peer| peer.incarnation.is_some_and(|incarnation| member.is(incarnation)))
    }

    /// This incarnation may vote: the configuration in its log names it.
    pub(super) fn may_vote(&self) -> bool {
        self.config().names(self.voice())
    }

    /// This incarnation may stand, and count itself.
    pub(super) fn may_stand(&self) -> bool {
        self.config().is_voter(self.voice()) && !matches!(self.state, State::Leader(_))
    }
}
