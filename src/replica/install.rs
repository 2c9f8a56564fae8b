//! Snapshots: which ones stand, when the log below may go, and how a lagging member gets one.

use crate::base::planted::{self, Bug};
use crate::base::{BlockMut, Epoch, Index, Nanos, NodeId, PAGE};
use crate::journal::snapshot;
use crate::pipeline::parcel::{Base, StoreIn};
use crate::replica::core::{Effect, Replica};
use crate::replica::{Config, Member, Msg};

/// Bytes of a snapshot file in one message.
pub const PART: usize = 256 << 10;

/// A snapshot on its way to this disk.
#[derive(Clone, Debug)]
pub struct Install {
    pub from: NodeId,
    pub base: Base,
    /// Of the whole file.
    pub length: u64,
    pub config: Config,
    pub config_at: Index,
    /// What has arrived.
    offset: u64,
    stage: Stage,
    asked_at: Nanos,
    /// Nobody answers any more: a new offer of the same snapshot goes on where this one stopped.
    stalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fetching,
    /// All bytes are here; the store reads them back.
    Verifying,
    /// Apply starts over from it.
    Loading,
    /// The journal begins anew behind it.
    Restarting,
}

impl Install {
    pub(super) fn new(from: NodeId, base: Base, length: u64, config: Config, config_at: Index) -> Install {
        Install {
            from,
            base,
            length,
            config,
            config_at,
            offset: 0,
            stage: Stage::Fetching,
            asked_at: Nanos(0),
            stalled: false,
        }
    }
}

impl Replica {
    /// This node begins to write a snapshot of its own: the file is for that one, and to fetch the same is needless.
    pub fn on_saving(&mut self, index: Index) {
        self.saving = Some(index);
        if !self.restarting() && self.install.as_ref().is_some_and(|install| install.base.index == index) {
            self.abandon_install();
        }
    }

    /// It could not be written.
    pub fn on_snapshot_lost(&mut self) {
        self.saving = None;
    }

    /// A local snapshot was written, read back and verified.
    pub fn on_snapshot(&mut self, now: Nanos, base: Base) {
        self.saving = None;
        if self.snapshots.last().is_none_or(|last| last.index < base.index) {
            self.snapshots.push(base);
            self.counts.snapshots += 1;
            self.answer_append();
        }
        self.tidy(now);
    }

    /// Snapshots of this disk that were read back and found right.
    pub fn snapshots(&self) -> &[Base] {
        &self.snapshots
    }

    /// Up to where a majority of the members has verified snapshots.
    pub(super) fn recyclable(&self) -> Index {
        if !self.is_leader() {
            return self.recycle;
        }
        self.saved_by_majority(None)
    }

    /// The same, with one counted that is about to get the newest.
    fn saved_by_majority(&self, with: Option<NodeId>) -> Index {
        let me = self.options.me;
        let own = self.snapshots.last().map_or(Index(0), |base| base.index);
        let saved = |member: &Member| match self.speaking(member) {
            _ if member.id == me => own,
            Some(peer) if with != Some(peer.id) => peer.snapshot,
            Some(_) => own,
            None => Index(0),
        };
        // Of a change that is not decided yet either side may come to count.
        let since = self.log.config_of(self.commit).0;
        let in_force = self.log.configs().iter().filter(|(at, _)| *at >= since);
        in_force.map(|(_, config)| config.quorum_index(saved)).min().unwrap_or_default()
    }

    /// Order: there is room for the log above this.
    pub fn set_floor(&mut self, floor: Index) {
        self.floor = floor;
    }

    /// What lies above this in the log some member lacks. A log is caught up with in less time than a snapshot is
    /// fetched, and nobody knows which of us the next leader will be: so all keep it, as far as there is room.
    pub(super) fn kept(&self) -> Index {
        if !self.is_leader() {
            return self.kept;
        }
        let slowest = self.config().members().iter().map(|member| self.matched(member)).min();
        slowest.unwrap_or_default()
    }

    /// The newest snapshot that the log may stand on, if that is newer than the one it stands on. `keep` batches
    /// stay in the log for members that lag a little, and more if there is room for those that lag much.
    pub fn next_base(&self, keep: u64, room: bool) -> Option<Base> {
        let kept = if room { self.kept().max(self.floor) } else { Index(u64::MAX) };
        let upto = self.recyclable().min(kept);
        let spare = self.commit.0.saturating_sub(keep);
        // A slot that this disk lost below it may be gone from all logs: it is not waited for.
        let lost = self.log.first_missing().unwrap_or(Index(u64::MAX));
        let fits =
            |index: Index| index <= upto && (index.0 <= spare || lost <= index) && index <= self.applied;
        let base = self.snapshots.iter().rev().find(|base| fits(base.index))?;
        (base.index > self.log.base().index && self.install.is_none()).then_some(*base)
    }

    /// The log stands on this verified snapshot from now on. A damaged slot that it covers is not missed any more.
    pub fn rebase(&mut self, now: Nanos, base: Base) {
        assert!(base.index <= self.commit);
        let old = self.older_snapshots(base.index);
        self.snapshots.retain(|snapshot| snapshot.index >= base.index);
        self.log.rebase(base);
        self.written = self.written.max(base.index);
        self.settle_durable();
        self.marks_dirty = true;
        self.out.push(Effect::Rebased { base, old });
        self.tidy(now);
    }

    /// Snapshot files that one at `index` makes needless: the base's too, of which the copy here may be damaged.
    fn older_snapshots(&self, index: Index) -> Vec<Index> {
        let mut old: Vec<Index> = self.snapshots.iter().map(|own| own.index).collect();
        old.push(self.log.base().index);
        old.sort();
        old.dedup();
        old.retain(|&older| older.0 > 0 && older < index);
        old.extend(planted::is(Bug::PurgeLastSnapshot).then_some(index));
        old
    }

    /// A fetch that has come to a stand while the log went on past it: what is there of the file would be in the way
    /// of this node's own snapshot at that place, and later be removed in its stead.
    pub(super) fn shed_install(&mut self) {
        let lost = self.log.first_unknown();
        let passed = |install: &&Install| {
            let base = install.base.index;
            install.stage == Stage::Fetching && base <= self.commit && lost.is_none_or(|lost| lost > base)
        };
        if !self.stateless && self.install.as_ref().filter(passed).is_some() {
            self.abandon_install();
        }
    }

    /// What has come of a snapshot under way is of no use any more.
    pub(super) fn abandon_install(&mut self) {
        if let Some(install) = self.install.take() {
            self.out.push(Effect::Drop(install.base.index));
        }
    }

    /// Leader: this follower lacks what the log no longer has.
    pub(super) fn offer_snapshot(&mut self, now: Nanos, place: usize) {
        let (base, upto) = (self.log.base(), self.saved_by_majority(Some(self.peers[place].id)));
        let newest = self.snapshots.iter().rev().find(|own| own.index <= upto && own.index >= base.index);
        let base = newest.copied().unwrap_or(base);
        self.peers[place].fetch(base.index, now);
        self.offer(self.peers[place].id, base);
    }

    /// A peer asked for this snapshot, and this disk cannot read it. Another one must be made; but that may need the
    /// word of the very peers that wait for this one, so somebody who has it should lead.
    pub fn on_unreadable_snapshot(&mut self, now: Nanos, index: Index) {
        self.snapshots.retain(|own| own.index != index);
        self.snapshot_wanted |= self.is_leader();
        let heir = self.peers.iter().filter(|peer| peer.link && peer.snapshot >= self.log.base().index);
        if self.is_leader()
            && index == self.log.base().index
            && let Some(heir) = heir.max_by_key(|peer| (peer.matched, peer.id)).map(|peer| peer.id)
        {
            self.out.push(Effect::Tell(format!(
                "the snapshot at {index} cannot be read for a peer; node {heir} has one, and is asked to lead"
            )));
            let _ = self.transfer(now, heir);
        }
    }

    fn offer(&mut self, to: NodeId, base: Base) {
        let (config_at, config) = self.log.config_of(base.index).clone();
        let (epoch, leads) = (self.promised, self.is_leader());
        // The order stage fills in the length: it knows the file.
        self.say(to, Msg::Offer { epoch, leads, base, length: 0, config, config_at });
    }

    /// A node without a state of its own, or with damage that a snapshot would cover. Where nobody leads, whoever has
    /// one that the logs may stand on gives it: it is decided, whoever leads next.
    pub(super) fn on_need(&mut self, now: Nanos, from: NodeId, epoch: Epoch, above: Index) {
        if self.leader().is_none() {
            let safe = self.recycle.max(self.log.base().index);
            let fits = |own: &&Base| own.index <= safe && own.index > above;
            if let Some(base) = self.snapshots.iter().rev().find(fits).copied() {
                self.offer(from, base);
            }
            return;
        }
        // One that a majority will have when the follower has it, for its log may go then. Without counting the
        // follower itself two of three that lost their copies would wait for each other for ever.
        let upto = self.saved_by_majority(Some(from));
        let newest = self.snapshots.iter().rev().find(|own| own.index <= upto).copied();
        let newest = newest.filter(|newest| newest.index > above);
        self.snapshot_wanted |= newest.is_none() && above.0 > 0 && self.is_leader();
        let Some(newest) = newest else { return }; // It asks again.
        if self.is_leader()
            && epoch == self.promised
            && let Some(place) = self.peers.iter().position(|peer| peer.id == from)
        {
            self.peers[place].fetch(newest.index, now);
            self.offer(from, newest);
        }
    }

    pub(super) fn on_offer(&mut self, now: Nanos, from: NodeId, epoch: Epoch, leads: bool, offer: Install) {
        if leads && !self.heed(now, from, epoch) || self.cutting.is_some() || self.loading() {
            return;
        }
        let base = offer.base.index;
        // From one among equals only what takes nothing from this log.
        if !leads && (self.leader().is_some() || base > self.log.last() || !self.log.continues(&offer.base)) {
            return;
        }
        // A damaged slot that nobody has in a log any more is covered by the snapshot, be it applied here or not: the
        // next one may need this very node's word to be decided.
        let covers = self.log.first_unknown().is_some_and(|lost| lost <= base);
        let useful = base > self.commit || self.stateless || covers;
        if !useful || offer.base.index < self.log.base().index {
            return self.point_out(); // It is not needed after all.
        }
        if self.saving == Some(base) || now < self.install_rest {
            return; // This node's own of the same place is coming; or the offer is made again when it has rested.
        }
        match &mut self.install {
            // The same snapshot, perhaps from a new leader: identical bytes, so go on where we were.
            Some(under_way) if under_way.base == offer.base && under_way.length == offer.length => {
                under_way.from = from;
                under_way.stalled = false;
            }
            _ => {
                self.abandon_install();
                self.install = Some(offer);
            }
        }
        self.want(now);
    }

    fn want(&mut self, now: Nanos) {
        let epoch = self.promised;
        let Some(install) = self.install.as_mut().filter(|install| install.stage == Stage::Fetching) else {
            return;
        };
        install.asked_at = now;
        let (to, index, offset) = (install.from, install.base.index, install.offset);
        self.say(to, Msg::Want { epoch, index, offset });
    }

    pub(super) fn on_part(
        &mut self,
        now: Nanos,
        from: NodeId,
        epoch: Epoch,
        index: Index,
        offset: u64,
        bytes: &[u8],
    ) {
        if epoch == self.promised && self.leader() == Some(from) && self.hinted != Some(from) {
            self.hear_leader(now);
        }
        let Some(install) = &mut self.install else { return };
        let fits = install.from == from && install.base.index == index && install.stage == Stage::Fetching;
        let end = offset + bytes.len() as u64;
        // Whole pages, but for the end.
        let whole = end == install.length || bytes.len().is_multiple_of(PAGE) && end < install.length;
        if !fits || offset != install.offset || bytes.is_empty() || !whole {
            return;
        }
        let mut block = BlockMut::with_capacity(bytes.len());
        block.extend(bytes);
        install.offset += bytes.len() as u64;
        let done = install.offset == install.length;
        let (length, base) = (install.length, install.base);
        if done {
            install.stage = Stage::Verifying;
        }
        self.out.push(Effect::Store(StoreIn::SnapshotChunk { index, offset, block: block.freeze() }));
        if done {
            let seal = snapshot::seal(&base);
            self.out.push(Effect::Store(StoreIn::SnapshotSeal { index, length, seal }));
        } else {
            self.want(now);
        }
    }

    /// The store has read a fetched snapshot back. True: this one was ours to load.
    pub fn on_fetched_snapshot(&mut self, now: Nanos, index: Index, verified: bool) -> bool {
        let Some(install) = self
            .install
            .as_mut()
            .filter(|i| i.base.index == index && (i.stage == Stage::Verifying || !verified))
        else {
            return false;
        };
        if verified {
            install.stage = Stage::Loading;
            let (base, length) = (install.base, install.length);
            self.out.push(Effect::Load { base, length });
        } else {
            self.abandon_install(); // Damaged on the way or on the disk: from the start.
            self.install_rest = now.plus(self.options.timing.patience);
            self.point_out();
        }
        self.tidy(now);
        true
    }

    /// Apply has loaded it and its digest is right. The log begins anew behind it, unless it already continues it.
    pub fn on_loaded(&mut self, now: Nanos) {
        let Some(install) = self.install.as_mut().filter(|install| install.stage == Stage::Loading) else {
            return;
        };
        install.stage = Stage::Restarting;
        let base = install.base;
        if self.log.continues(&base) {
            // What is durable above it was acknowledged: it stays.
            self.install = None;
            self.counts.installs += 1;
            self.regain_state();
            self.snapshots.retain(|own| own.index != base.index);
            self.snapshots.push(base);
            self.snapshots.sort_by_key(|own| own.index);
            self.raise_commit(base.index);
            self.rebase(now, base);
            self.point_out();
        } else {
            let (config, config_at) = (install.config.clone(), install.config_at);
            let epoch = self.promised;
            self.out.push(Effect::Store(StoreIn::Restart { epoch, base, config, config_at }));
        }
        self.tidy(now);
    }

    /// The snapshot that apply was told to load is damaged, or the bytes of it that a peer sent were: it is fetched
    /// again. `base`: which. Where nobody else can have a copy the node stops.
    pub fn on_load_failed(&mut self, now: Nanos, base: Index, why: &str) {
        let others = self.config().voters().any(|member| member.id != self.options.me);
        if !others && self.install.is_none() {
            self.out.push(Effect::Halt(format!(
                "{why}; there is no other voter to take a copy from, so the state cannot be had again"
            )));
            return;
        }
        self.out.push(Effect::Drop(base));
        if self
            .install
            .take_if(|install| install.base.index == base && install.stage == Stage::Loading)
            .is_none()
        {
            self.snapshots.retain(|own| own.index != base);
            self.stateless = true;
            self.stand_back(now);
        }
        self.point_out();
        self.tidy(now);
    }

    /// A peer's snapshot is in the place of the own one, which was damaged, if it was.
    fn regain_state(&mut self) {
        self.counts.refetches += u64::from(std::mem::take(&mut self.stateless));
    }

    pub fn on_restarted(&mut self, now: Nanos) {
        let Some(install) = self.install.take() else { return };
        let base = install.base;
        self.counts.installs += 1;
        self.regain_state();
        let old = self.older_snapshots(base.index);
        self.out.extend(old.into_iter().map(Effect::Drop));
        self.log = super::log::Log::new(base, install.config_at, install.config);
        self.written = base.index;
        self.durable = base.index;
        self.verified = Index(0);
        self.snapshots = vec![base];
        self.commit = self.commit.max(base.index);
        self.marks_dirty = true;
        self.out.push(Effect::Committed(self.commit));
        self.point_out();
        self.tidy(now);
    }

    /// An install goes on, and appends must wait. One whose source has fallen silent does not count.
    pub(super) fn installing(&mut self, now: Nanos) -> bool {
        let patience = self.options.timing.patience;
        let Some(install) = &mut self.install else { return false };
        if install.stage == Stage::Fetching && now.since(install.asked_at) > patience {
            install.stalled = true;
        }
        !install.stalled
    }

    /// The journal is beginning anew: what this log says of its base is no longer so.
    pub(super) fn restarting(&self) -> bool {
        self.install.as_ref().is_some_and(|install| install.stage == Stage::Restarting)
    }

    /// Past the point of return of an install: the old log is as good as gone.
    pub(super) fn loading(&self) -> bool {
        self.install.as_ref().is_some_and(|install| install.stage != Stage::Fetching)
    }
}
