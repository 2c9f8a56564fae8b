//! Elections from outside: who promised, who voted for whom, who leads by whose promises.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Epoch, Incarnation, Index, NodeId, Voice};
use crate::replica::{Claim, Member, Replica, Role};
use crate::sim::disk::VirtualDisk;
use crate::sim::notes::Notes;
use crate::sim::oracles::Oracles;

/// What is remembered of all elections so far.
#[derive(Default)]
pub struct Ballots {
    pub leaders: BTreeMap<Epoch, NodeId>,
    /// What the logs of those who stood were like when they stood: until the election is over they stay so.
    stood: BTreeMap<(Epoch, NodeId), Claim>,
    /// Incarnations that some configuration has named, and founders that none has named yet.
    named: BTreeSet<Voice>,
    open: BTreeSet<NodeId>,
}

impl Oracles {
    /// 6: promises and lives never go back, whatever happens to the node.
    pub(super) fn look_at_promise(&mut self, replica: &Replica, own: &VirtualDisk) -> Result<(), String> {
        let me = replica.me();
        let view = self.views.entry(me).or_default();
        if replica.promised() < own.notes.promised {
            let (now, was) = (replica.promised(), own.notes.promised);
            return Err(format!("6: node {me} has promised {now}, its disk has said {was}"));
        }
        let life = replica.life().0;
        if view.fresh && life <= view.life {
            return Err(format!("6: node {me} opened life {life} after life {}", view.life));
        }
        view.life = life;
        view.promised = replica.promised();
        Ok(())
    }

    /// Whom the configurations of this log name.
    pub(super) fn look_at_names(&mut self, replica: &Replica) {
        let view = self.views.entry(replica.me()).or_default();
        let newest = Some((replica.log().config_at(), replica.log().configs().len()));
        if view.configs == newest {
            return;
        }
        view.configs = newest;
        for member in replica.log().configs().iter().flat_map(|(_, config)| config.members()) {
            let voice = Voice { id: member.id, incarnation: member.incarnation };
            if member.incarnation != Incarnation::OPEN {
                self.ballots.named.insert(voice);
            } else if !self.ballots.named.iter().any(|voice| voice.id == member.id) {
                self.ballots.open.insert(member.id);
            }
        }
        let named = &self.ballots.named;
        self.ballots.open.retain(|id| !named.iter().any(|voice| voice.id == *id));
    }

    /// 5: what a node says of its log in an election is what its log is. 6: one vote in an epoch, by a disk that a
    /// configuration names. 4: a vote goes to nobody whose log falls short of what the voter's disk holds: so whoever
    /// is elected holds all that a majority does.
    pub(super) fn look_at_votes(&mut self, replica: &Replica, own: &VirtualDisk) -> Result<(), String> {
        let (me, log, promised) = (replica.me(), replica.log(), replica.promised());
        if let Some((epoch, first, second)) = own.notes.voted_twice {
            return Err(format!("6: node {me} voted for {first} and for {second} in epoch {epoch}"));
        }
        let last = log.last();
        let true_claim = Claim { history: log.epoch(last).unwrap_or_default(), last };
        if replica.is_asking() && log.first_unknown().is_none() && replica.says() != true_claim {
            let said = replica.says();
            return Err(format!("5: node {me} asks for votes with {said:?}, its log says {true_claim:?}"));
        }
        if self.views[&me].fresh {
            // It stood, its disk does not know, and so nobody has heard of it.
            self.ballots.stood.retain(|(epoch, id), _| *id != me || *epoch <= own.notes.promised);
        }
        if let Some(epoch) = replica.stands() {
            self.ballots.stood.entry((epoch, me)).or_insert(true_claim);
        }
        let view = self.views.get_mut(&me).expect("looked at before");
        let vote = replica.vote().map(|voice| (promised, voice));
        if std::mem::replace(&mut view.vote, vote) == vote || view.fresh {
            return Ok(());
        }
        let Some((epoch, to)) = vote else { return Ok(()) };
        let (named, open) = (&self.ballots.named, &self.ballots.open);
        // A learner that nobody has heard yet: whichever disk it has, its vote counts for nobody before the log names
        // that disk as a voter's (seed 2352).
        let learns = |member: &Member| {
            member.id == me && member.role == Role::Learner && member.incarnation == Incarnation::OPEN
        };
        let learns = replica.config().members().iter().any(learns);
        if !named.contains(&replica.voice()) && !open.contains(&me) && !learns {
            return Err(format!(
                "6: node {} votes in epoch {epoch}, and no configuration names it: whoever had its id before may \
                 have voted, too",
                replica.voice()
            ));
        }
        let stood = self.ballots.stood.get(&(epoch, to.id));
        if let Some(&claim) = stood.filter(|claim| **claim < view.head) {
            let head = view.head;
            return Err(format!(
                "4: node {me} votes for {} in epoch {epoch}: {claim:?} against {head:?}",
                to.id
            ));
        }
        Ok(())
    }

    /// 1: one leader per epoch, and only after a majority has promised it durably: those very disks that the
    /// configuration names.
    pub(super) fn look_at_reign<'a>(
        &mut self,
        replica: &Replica,
        disk: &impl Fn(NodeId) -> Option<&'a VirtualDisk>,
    ) -> Result<(), String> {
        if !replica.is_leader() {
            return Ok(());
        }
        let (me, epoch) = (replica.me(), replica.promised());
        match self.ballots.leaders.get(&epoch) {
            Some(&other) if other != me => {
                return Err(format!("1: nodes {other} and {me} both lead epoch {epoch}"));
            }
            Some(_) => {}
            None => {
                // The configuration in force when it stood: its first own batch changes nothing in it.
                let config = replica.config();
                let promised = |m: &&Member| {
                    let notes = disk(m.id).and_then(|disk| disk.notes.of_member(m));
                    notes.is_some_and(|notes| notes.promised >= epoch)
                };
                let count = config.voters().filter(promised).count();
                if count < config.majority() {
                    return Err(format!("1: node {me} leads epoch {epoch} by {count} durable promises"));
                }
                self.ballots.leaders.insert(epoch, me);
            }
        }
        Ok(())
    }

    /// 4, 7: a leader counts nobody further than what that one's disk holds of this very log, and nobody who has not
    /// heard of its epoch: what was said to an earlier reign counts for nothing.
    pub(super) fn look_at_words<'a>(
        &mut self,
        replica: &Replica,
        disk: &impl Fn(NodeId) -> Option<&'a VirtualDisk>,
    ) -> Result<(), String> {
        let (me, epoch, log) = (replica.me(), replica.promised(), replica.log());
        for (voice, upto) in replica.counted() {
            let view = self.views.get_mut(&me).expect("looked at before");
            let known = view.counted.entry(voice).or_default();
            if upto == Index(0) || std::mem::replace(known, (epoch, upto)) == (epoch, upto) {
                continue;
            }
            let notes = &disk(voice.id).expect("a node has a disk").notes;
            let any = |test: &dyn Fn(&Notes) -> bool| notes.any_of(voice.incarnation, &test);
            if !any(&|notes| notes.promised >= epoch) {
                return Err(format!(
                    "4: node {me} leads epoch {epoch} and counts batch {upto} of node {}, whose disk has not promised \
                     that epoch",
                    voice.id
                ));
            }
            let base = self.views.get(&voice.id).map_or(Index(0), |view| view.base);
            let base = base.max(self.bases.get(&voice.id).copied().unwrap_or_default());
            let Some(chain) = log.chain(upto).filter(|_| upto > base) else { continue };
            if !any(&|notes| notes.holds(upto, chain)) {
                return Err(format!(
                    "7: node {me} counts batch {upto} of node {}, whose disk has not got it",
                    voice.id
                ));
            }
        }
        Ok(())
    }

    /// 19: what was once durable here is claimed for good, unless a leader had it cut: damage is never taken for
    /// absence, not even of a batch that was never decided.
    pub(super) fn look_at_claim(&mut self, replica: &Replica) -> Result<(), String> {
        let (me, log) = (replica.me(), replica.log());
        let view = self.views.get_mut(&me).expect("looked at before");
        let moved = (replica.counts.cuts, replica.counts.installs);
        if moved != view.moved || replica.is_starting_over() {
            (view.moved, view.head) = (moved, Claim::default());
        }
        let (said, head) = (replica.says(), view.head);
        if said < head && !replica.is_starting_over() {
            return Err(format!("19: node {me} claims {said:?}, its disk has held {head:?}"));
        }
        if let Some(history) = log.epoch(replica.durable()) {
            view.head = head.max(Claim { history, last: replica.durable() });
        }
        Ok(())
    }
}
