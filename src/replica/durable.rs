//! What this node's disk holds of its log: how far it is durable, what of it is damaged, and how that is healed.

use crate::base::{Index, Nanos, NodeId, Voice};
use crate::journal::Batch;
use crate::pipeline::parcel::{Marks, StoreIn};
use crate::replica::Msg;
use crate::replica::core::{Effect, Replica};

/// Batches that peers have asked for and that are being read, at most.
const WANTED_MAX: usize = 64;

impl Replica {
    /// The store's word: these batches are on stable media.
    pub fn on_durable(&mut self, now: Nanos, upto: Index) {
        // Told before a cut was carried out, it speaks of batches that the cut takes away.
        let upto = self.cutting.map_or(upto, |after| upto.min(after)).min(self.log.last());
        self.written = self.written.max(upto);
        self.settle_durable();
        self.tidy(now);
    }

    /// Durable is what is written, up to the first slot that is damaged or whose repair is not on the disk yet.
    pub(super) fn settle_durable(&mut self) {
        let base = self.log.base().index;
        let before = self.durable;
        self.durable =
            self.log.first_missing().map_or(self.written, |bad| bad.prev().min(self.written)).max(base);
        if self.durable > before {
            self.tell_durable();
        }
    }

    /// The log has no spare segment, or has one again. A follower that appended on would have to stop.
    pub fn on_full(&mut self, now: Nanos, full: bool) {
        self.full = full;
        self.refusing = self.refusing.filter(|_| full);
        if !full {
            self.point_out();
        }
        self.tidy(now);
    }

    /// A batch that was on the disk cannot be read back. It counts as held, and is fetched from others.
    pub fn on_damage(&mut self, now: Nanos, index: Index) {
        // Said of what was there before a repair that is under way, it is old news.
        let is_news = !self.log.is_mending(index) && !self.log.is_unknown(index);
        if is_news && index > self.log.base().index && index <= self.log.last() {
            match self.log.batch(index).cloned() {
                Some(batch) => self.rewrite(batch), // The intact copy is in memory.
                None => {
                    self.log.lose(index);
                    self.stand_back(now);
                    self.ask_for_unknown();
                }
            }
            self.settle_durable();
        }
        self.tidy(now);
    }

    /// What the superblock is to hold. Never more than this node's own disk does.
    pub(super) fn marks(&self) -> Marks {
        let head = self.durable.max(self.log.base().index);
        let commit = self.commit.min(head);
        let (config_at, config) = self.log.config_of(commit).clone();
        Marks {
            promised: self.promised,
            vote: self.vote,
            history: self.log.epoch(head).unwrap_or_default(),
            commit,
            base: self.log.base(),
            config,
            config_at,
            incarnation: self.incarnation,
            life: self.life,
        }
    }

    /// Writes an intact copy over a damaged one.
    pub(super) fn repair(&mut self, batch: Batch) {
        self.log.resolve(&batch);
        self.rewrite(batch);
    }

    /// The content is known and the disk's copy is not whole: until it is, nothing from here on counts as durable.
    pub(super) fn rewrite(&mut self, batch: Batch) {
        self.counts.repairs += 1;
        self.log.mend(batch.index());
        self.log.remember(&batch);
        self.out.push(Effect::Store(StoreIn::Repair { batch }));
    }

    /// The store has rewritten a damaged slot. Another repair before it may still be under way.
    pub fn on_repaired(&mut self, now: Nanos, index: Index) {
        self.log.mended(index);
        self.settle_durable();
        self.tidy(now);
    }

    /// Anybody's intact copy will do, if it is certainly the same batch.
    pub(super) fn ask_for_unknown(&mut self) {
        let Some(index) = self.log.first_unknown() else { return };
        let ids: Vec<NodeId> = self.peers.iter().filter(|peer| peer.link).map(|peer| peer.id).collect();
        ids.into_iter().for_each(|id| self.say(id, Msg::Ask { index }));
    }

    /// Without a leader to send it: a damaged slot from whoever holds it, or a snapshot that covers it, or the one
    /// under this log. A slot is read once more, too: a disk that failed every request for a while lost nothing.
    pub(super) fn ask_for_what_is_lost(&mut self) {
        self.ask_for_unknown();
        let lost = self.log.first_unknown();
        if let Some(from) = lost {
            let ticket = u64::from(self.options.me.0);
            self.out.push(Effect::Store(StoreIn::Fetch { ticket, from, bytes: 1 }));
        }
        if self.stateless || lost.is_some() {
            let above = if self.stateless { Index(0) } else { lost.expect("just seen").prev() };
            let ids: Vec<NodeId> = self.peers.iter().filter(|peer| peer.link).map(|peer| peer.id).collect();
            ids.into_iter().for_each(|id| self.say(id, Msg::Need { epoch: self.promised, above }));
        }
    }

    /// Damaged slots that could be read after all.
    pub(super) fn recover(&mut self, batches: &[Batch]) {
        for batch in batches {
            if self.log.is_unknown(batch.index()) && self.log.fits(batch) {
                self.log.resolve(batch);
                self.log.mended(batch.index());
                self.settle_durable();
            }
        }
    }

    /// Also of what lies above a slot that is lost here: to whoever asks it is the same batch or none.
    pub(super) fn on_ask(&mut self, from: NodeId, index: Index) {
        if self.log.is_unknown(index) || index <= self.log.base().index || index > self.written {
            return;
        }
        match self.log.batch(index) {
            Some(batch) => {
                let batch = batch.clone();
                self.say(from, Msg::Have { batch });
            }
            None => {
                // From the disk. Sent when it comes: where memory is full it would be gone before the next question.
                let ticket = u64::from(from.0);
                self.wanted.retain(|wanted| *wanted != (from, index));
                if self.wanted.len() == WANTED_MAX {
                    self.wanted.remove(0); // It will ask again.
                }
                self.wanted.push((from, index));
                self.out.push(Effect::Store(StoreIn::Fetch { ticket, from: index, bytes: 1 }));
            }
        }
    }

    /// Batches that the disk was asked for, for a peer or, with any other ticket, for whoever goes through the log.
    pub fn on_fetched(&mut self, now: Nanos, ticket: u64, batches: &[Batch]) {
        self.recover(batches);
        self.hand_on(batches);
        let place = self.peers.iter().position(|peer| u64::from(peer.id.0) == ticket);
        match place {
            Some(place) => {
                // The log may have changed since they were asked for.
                let still =
                    batches.iter().take_while(|batch| self.log.chain(batch.index()) == Some(batch.chain()));
                let still = still.count();
                self.peers[place].fetching = false;
                self.peers[place].take_ahead(&batches[..still]);
            }
            None => batches.iter().for_each(|batch| self.log.remember(batch)),
        }
        self.tidy(now);
    }

    /// Those that peers have asked for.
    fn hand_on(&mut self, batches: &[Batch]) {
        for batch in batches {
            let index = batch.index();
            let asked = self.wanted.extract_if(.., |(_, wanted)| *wanted == index);
            let askers: Vec<NodeId> = asked.map(|(from, _)| from).collect();
            if self.log.chain(index) == Some(batch.chain()) && !self.log.is_unknown(index) {
                askers.into_iter().for_each(|from| self.say(from, Msg::Have { batch: batch.clone() }));
            }
        }
    }

    pub(super) fn on_have(&mut self, now: Nanos, from: Voice, batch: Batch) {
        if !self.log.is_unknown(batch.index()) || self.cutting.is_some() {
            return;
        }
        if self.log.fits(&batch) {
            self.repair(batch);
            self.shed_install();
            self.ask_for_unknown();
        } else if self.log.first_unknown() == Some(batch.index()) && self.log.contradicts(&batch) {
            self.on_other_batch(now, from, batch.index());
        }
    }
}
