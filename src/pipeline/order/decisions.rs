//! What agreement decided, carried out; what was applied, recycled; replicas compared.

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Index, Nanos, NodeId, PAGE};
use crate::journal::{Batch, flag};
use crate::observe::Published;
use crate::pipeline::order::{FEED_BYTES, FOR_APPLY, Order, StageSpans};
use crate::pipeline::parcel::{Answer, ApplyIn, EdgeOut, Member, StoreIn};
use crate::pipeline::peer::PeerIn;
use crate::replica::{Effect, Msg, Role};

impl Order {
    /// The log takes nothing but a snapshot.
    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn latencies(&self) -> [(&'static str, Published); 3] {
        let StageSpans { commit, disk, apply } = &self.spans;
        [("commit", commit), ("disk", disk), ("apply", apply)].map(|(name, spans)| (name, spans.published()))
    }

    /// Nobody waits for what its last turn gave to the peers, if it gave them anything.
    pub fn says_only_news(&self) -> bool {
        self.only_news
    }

    pub(super) fn carry_out(&mut self, now: Nanos) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.extend(self.replica.poll_effects());
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, msg: Msg::Offer { epoch, leads, base, config, config_at, .. } } => {
                    // Without a file there is nothing to offer yet; the follower is probed again.
                    if let Some(&length) = self.lengths.get(&base.index) {
                        self.outbox.push((to, Msg::Offer { epoch, leads, base, length, config, config_at }));
                    }
                }
                Effect::Send { to, msg } => self.outbox.push((to, msg)),
                Effect::Store(work) => {
                    if let StoreIn::Append { batch, .. } = &work {
                        self.spans.disk.begin(batch.index().0, now);
                    }
                    self.lanes.store.0.post(work);
                }
                Effect::Committed(_) => {}
                Effect::Leading { epoch } => self.on_leading(now, epoch),
                Effect::Following { leader } => self.on_following(leader),
                Effect::ReadReady { id, index } => {
                    // It is true of all that was asked before, too; and answers come in the order of asking.
                    if self.tickets.contains_key(&id) {
                        let later = self.tickets.split_off(&(id + 1));
                        let due = std::mem::replace(&mut self.tickets, later);
                        let reads = due.into_values().flat_map(|waiting| waiting.reads).collect();
                        self.lanes.apply.0.post(ApplyIn::ReadAt { index, reads });
                    }
                }
                Effect::ReadFailed { id } => {
                    // What was asked later is asked again behind it. (Worlds with sessions, seed 224: a broken link let a
                    // later ticket come back first, and a session gave one read the answer of another.)
                    if self.tickets.contains_key(&id) {
                        let failed = self.tickets.split_off(&id);
                        failed.into_values().rev().for_each(|waiting| self.homeless.push_front(waiting));
                    }
                }
                Effect::Load { base, length } => {
                    self.lengths.insert(base.index, length);
                    self.loading = true;
                    self.lanes.apply.0.post(ApplyIn::Load { base, length });
                }
                Effect::Rebased { base, old } => self.rebased.push_back((base, old)),
                Effect::Drop(index) => {
                    self.lengths.remove(&index);
                    self.lanes.store.0.post(StoreIn::SnapshotRemove { index });
                }
                Effect::Tell(what) => tracing::warn!(node = %self.replica.me(), "{what}"),
                Effect::Alarm(why) => tracing::error!(node = %self.replica.me(), "{why}"),
                Effect::Halt(why) => self.halt(why),
            }
        }
        self.effects = effects;
    }

    pub(super) fn on_leading(&mut self, now: Nanos, epoch: Epoch) {
        tracing::info!(node = %self.replica.me(), %epoch, "leading");
        self.queue.clear();
        self.next.clear();
        self.snapshot_asked = false;
        self.clock_at = now;
        self.spans.commit.forget();
        self.lanes.apply.0.post(ApplyIn::Leading(Some(epoch)));
        self.resubmit();
    }

    pub(super) fn on_following(&mut self, leader: Option<NodeId>) {
        self.queue.clear();
        self.next.clear();
        self.spans.commit.forget();
        self.lanes.apply.0.post(ApplyIn::Leading(None));
        if let Some(leader) = leader {
            tracing::info!(node = %self.replica.me(), %leader, epoch = %self.replica.promised(), "following");
            self.resubmit();
        }
    }

    /// Hands decided batches to apply, from memory or, after a restart or for a long lag, from the disk.
    pub(super) fn feed_apply(&mut self, now: Nanos) {
        let last = self.replica.last();
        let commit = if planted::is(Bug::ApplyUncommitted) { last } else { self.replica.commit() };
        while self.fed < commit && !self.loading && self.lanes.apply.0.room() > 8 {
            let from = self.fed.next();
            let upto = commit.0.min(self.fed.0 + self.limits.feed as u64);
            let batches: Vec<Batch> =
                (from.0..=upto).map_while(|index| self.replica.batch(Index(index)).cloned()).collect();
            if batches.is_empty() {
                if !self.fetching
                    && !self.replica.log().is_unknown(from)
                    && from > self.replica.log().base().index
                {
                    self.fetching = true;
                    self.lanes.store.0.post(StoreIn::Fetch { ticket: FOR_APPLY, from, bytes: FEED_BYTES });
                }
                break;
            }
            for batch in &batches {
                // What it takes of the log: whole pages, its frame, and what its slot leaves unused.
                let bytes = (batch.block().padded().len() + PAGE) as u64;
                self.log_bytes += bytes.max(self.limits.slot_bytes);
                self.spans.apply.begin(batch.index().0, now);
                if batch.has(flag::SNAPSHOT) {
                    self.snapshots.push_back((batch.index(), self.log_bytes));
                }
            }
            self.fed = Index(self.fed.0 + batches.len() as u64);
            self.lanes.apply.0.post(ApplyIn::Committed(batches));
        }
        self.replica.evict(self.fed);
    }

    pub(super) fn tend(&mut self, now: Nanos) {
        let serving = self.replica.is_serving(now) || (planted::is(Bug::ServeCutOff) && self.serving);
        if serving != self.serving {
            self.serving = serving;
            self.tell_edges(|| EdgeOut::Serving(serving));
        }
        if self.replica.is_leader() && now >= self.clock_at {
            self.clock_at = now.plus(Nanos::from_millis(10));
            self.lanes.apply.0.post(ApplyIn::Clock(self.replica.cluster_time(now)));
        } else if now >= self.clock_at {
            self.clock_at = now.plus(Nanos::from_millis(10));
        }
        while self.snapshots.len() > 1 && self.log_bytes - self.snapshots[0].1 > self.limits.keep_bytes {
            self.snapshots.pop_front();
        }
        self.replica.set_floor(self.snapshots.front().map_or(Index(0), |&(index, _)| index));
        // Where there is no room for more log, whoever lags takes a snapshot.
        let keep = if self.full { 0 } else { self.limits.keep };
        if self.rebased.is_empty()
            && let Some(base) = self.replica.next_base(keep, !self.full)
        {
            self.replica.rebase(now, base);
            self.carry_out(now);
        }
    }

    /// The superblock holds `base`: what lies below it may go.
    pub(super) fn recycle(&mut self, base: Index) {
        while self.rebased.front().is_some_and(|rebased| rebased.0.index <= base) {
            let (new, old) = self.rebased.pop_front().expect("just seen");
            self.lanes.store.0.post(StoreIn::Recycle { below: new.index.next() });
            for index in old {
                self.lengths.remove(&index);
                self.lanes.store.0.post(StoreIn::SnapshotRemove { index });
            }
        }
    }

    pub(super) fn tell_edges(&mut self, parcel: impl Fn() -> EdgeOut) {
        self.lanes.edges.iter_mut().for_each(|edge| edge.tx.post(parcel()));
    }

    /// Links to whoever the configuration in force names.
    pub(super) fn greet_members(&mut self) {
        if self.greeted == self.replica.met() {
            return;
        }
        let member = |member: &crate::replica::Member| Member {
            node: member.id,
            votes: member.role == Role::Voter,
            address: member.address.clone(),
        };
        let members = self.replica.config().members().iter().map(member).collect();
        self.lanes.apply.0.post(ApplyIn::Members(members));
        self.greeted = self.replica.met();
        let addresses = self.replica.fellows().into_iter().filter_map(|member| {
            let (id, address) = (member.id, &member.address);
            let found = address.parse().ok();
            if found.is_none() {
                tracing::error!(node = %id, address, "this member's address is not of the form ip:port");
            }
            found.map(|address| (id, address))
        });
        let others = addresses.collect();
        let own = self.replica.config().member(self.replica.me());
        let own = own.and_then(|member| member.address.parse().ok());
        self.lanes.peer.0.post(PeerIn::Members { others, own });
    }

    /// Digests of one index from several replicas must be equal. Whoever stands alone against two others stops.
    pub(super) fn compare(&mut self, from: NodeId, index: Index, digest: u128) {
        let seen = self.digests.entry(index).or_default();
        if !seen.iter().any(|&(id, _)| id == from) {
            seen.push((from, digest));
        }
        let me = self.replica.me();
        let mine = seen.iter().find(|&&(id, _)| id == me).map(|&(_, digest)| digest);
        if let Some(mine) = mine {
            let against: Vec<u128> = seen.iter().map(|&(_, d)| d).filter(|&d| d != mine).collect();
            let alone = seen.len() - against.len() == 1;
            if against.len() >= 2 && alone && against.windows(2).all(|pair| pair[0] == pair[1]) {
                self.halt(format!(
                    "after batch {index} this replica's state differs from that of {} others; it is quarantined. \
                     Keep its data directory for analysis, wipe it and let the node join anew",
                    against.len()
                ));
            } else if !against.is_empty() {
                tracing::error!(%index, "replicas disagree about the state");
            }
        }
        while self.digests.len() > 64 {
            self.digests.pop_first();
        }
    }

    pub(super) fn halt(&mut self, why: String) {
        tracing::error!(node = %self.replica.me(), "{why}");
        if self.halted.is_none() {
            self.halted = Some(why);
            self.lanes.peer.0.post(PeerIn::Leave);
            self.tell_edges(|| EdgeOut::Serving(false));
        }
    }
}

impl From<Result<(), crate::replica::Refusal>> for Answer {
    fn from(result: Result<(), crate::replica::Refusal>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
