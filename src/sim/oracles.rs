//! What must be true at every moment, read off the nodes from outside. Each check names the invariant that it
//! stands for; the table in `README.md` names the planted bug that turns it red.

mod ballots;

use std::collections::BTreeMap;

use crate::base::{Chain, Epoch, Index, NodeId, PAGE, Voice, sum};
use crate::journal::snapshot::Trailer;
use crate::journal::{Batch, Log};
use crate::pipeline::ports::File;
use crate::replica::{Claim, Config, Member, Replica};
use crate::sim::disk::VirtualDisk;
use ballots::Ballots;

/// What is remembered of one node, over all its lives.
#[derive(Clone, Debug, Default)]
struct View {
    /// As of the last look in this life.
    commit: Index,
    durable: Index,
    last: Index,
    base: Index,
    /// All decided batches up to here were durable on this node at some time: it never loses them again.
    kept: Index,
    /// Highest promise this node was seen to hold.
    promised: Epoch,
    life: u64,
    fresh: bool,
    /// Newest snapshot that it calls verified.
    snapshot: Index,
    /// The furthest that its log was durable since a leader last had it cut: cuts and installs up to then.
    head: Claim,
    moved: (u64, u64),
    vote: Option<(Epoch, Voice)>,
    /// Leader: how far each other voice was counted, in which epoch.
    counted: BTreeMap<Voice, (Epoch, Index)>,
    /// Damaged slots, and how often the disk had lied when they were seen to be.
    damaged: BTreeMap<Index, u64>,
    /// The configurations last looked at: the newest, and how many.
    configs: Option<(Index, usize)>,
}

#[derive(Default)]
pub struct Oracles {
    /// What was decided at 1, 2, ...: its chain and epoch.
    decided: Vec<(Chain, Epoch)>,
    ballots: Ballots,
    /// Batches that the leader of their own epoch has appended.
    proposed: BTreeMap<Index, Vec<Chain>>,
    views: BTreeMap<NodeId, View>,
    /// The last base of a disk that was replaced: late words of it may still speak of it.
    bases: BTreeMap<NodeId, Index>,
    /// Newest snapshot that a disk of each node has had; a disk replaced since does not undo what was counted.
    snapshots: BTreeMap<NodeId, Index>,
    /// Configurations that some leader has counted by, by where they came in.
    configs: BTreeMap<Index, Config>,
    /// State digests by index.
    digests: BTreeMap<Index, (NodeId, u128)>,
}

impl Oracles {
    pub fn decided(&self) -> Index {
        Index(self.decided.len() as u64)
    }

    pub fn leaders(&self) -> &BTreeMap<Epoch, NodeId> {
        &self.ballots.leaders
    }

    pub fn epoch(&self, index: Index) -> Option<Epoch> {
        self.decided.get((index.0 as usize).checked_sub(1)?).map(|(_, epoch)| *epoch)
    }

    pub fn chain(&self, index: Index) -> Option<Chain> {
        self.decided.get((index.0 as usize).checked_sub(1)?).map(|(chain, _)| *chain)
    }

    /// This node's disk is to be a new one: what it held goes by the world's doing, and what it acknowledged was true.
    pub fn forget(&mut self, node: NodeId) {
        if let Some(view) = self.views.remove(&node) {
            self.bases.insert(node, view.base);
        }
    }

    /// A process has started: its memory is what recovery found.
    pub fn restarted(&mut self, node: NodeId) {
        let view = self.views.entry(node).or_default();
        *view = View {
            kept: view.kept,
            promised: view.promised,
            life: view.life,
            base: view.base,
            head: view.head,
            fresh: true,
            ..View::default()
        };
    }

    /// Looks at a node after it has done something.
    pub fn look<'a>(
        &mut self,
        replica: &Replica,
        disk: impl Fn(NodeId) -> Option<&'a VirtualDisk>,
    ) -> Result<(), String> {
        let me = replica.me();
        let own = disk(me).expect("a node that runs has a disk");
        self.look_at_promise(replica, own)?;
        self.look_at_names(replica);
        self.look_at_votes(replica, own)?;
        self.look_at_reign(replica, &disk)?;
        self.look_at_claim(replica)?;
        self.look_at_words(replica, &disk)?;
        self.look_at_durable(replica, own)?;
        self.look_at_commit(replica, &disk)?;
        self.look_at_config(replica)?;
        self.look_at_kept(replica)?;
        self.look_at_base(replica, &disk)?;
        self.views.get_mut(&me).expect("looked at above").fresh = false;
        Ok(())
    }

    /// 7, 16: what a node calls durable its disk has called durable, body and frame, without a gap.
    /// 3: every batch was proposed by the leader of its epoch.
    fn look_at_durable(&mut self, replica: &Replica, own: &VirtualDisk) -> Result<(), String> {
        let me = replica.me();
        let log = replica.log();
        let view = self.views.entry(me).or_default();
        let from = view.durable.min(replica.durable()).max(log.base().index);
        for index in (from.0 + 1..=replica.durable().0).map(Index) {
            let Some(chain) = log.chain(index) else {
                return Err(format!("7: node {me} calls {index} durable and does not know what it is"));
            };
            if let Some(part) = own.notes.lacks(index, chain) {
                return Err(format!(
                    "16: node {me} calls {index} durable before its disk does: its {part} is not"
                ));
            }
        }
        view.durable = replica.durable();
        // Also what it appended in the very turn in which it stepped down.
        let from = view.last.min(log.last()).max(log.base().index);
        for index in (from.0 + 1..=log.last().0).map(Index) {
            if let (Some(head), Some(before)) = (log.head(index), log.chain(index.prev()))
                && head.prev != before
            {
                return Err(format!("2: node {me} has a batch {index} that does not continue its log"));
            }
            if let (Some(epoch), Some(chain)) = (log.epoch(index), log.chain(index))
                && self.ballots.leaders.get(&epoch) == Some(&me)
            {
                let all = self.proposed.entry(index).or_default();
                if !all.contains(&chain) {
                    all.push(chain);
                }
            }
        }
        view.last = log.last();
        Ok(())
    }

    /// 2: committed prefixes are the same everywhere. 4, 8, 16: what a leader commits is durable on a majority of
    /// the configuration in force there.
    fn look_at_commit<'a>(
        &mut self,
        replica: &Replica,
        disk: &impl Fn(NodeId) -> Option<&'a VirtualDisk>,
    ) -> Result<(), String> {
        let me = replica.me();
        let log = replica.log();
        let before = self.views[&me].commit;
        let from = before.max(log.base().index);
        if replica.is_leader() && replica.commit() > before {
            let (epoch, at) = (replica.promised(), replica.commit());
            if at > log.base().index && log.epoch(at) != Some(epoch) {
                return Err(format!("4: node {me} leads epoch {epoch} and counts {at} of an older one"));
            }
        }
        for index in (from.0 + 1..=replica.commit().0).map(Index) {
            let (Some(chain), Some(epoch)) = (log.chain(index), log.epoch(index)) else {
                return Err(format!("2: node {me} commits {index} and does not know what it is"));
            };
            if let Some(&(known, by)) = self.decided.get(index.0 as usize - 1) {
                if known != chain {
                    return Err(format!(
                        "2: at {index} node {me} commits a batch of epoch {epoch}, another of epoch {by} is decided"
                    ));
                }
                continue;
            }
            if self.decided().next() != index {
                return Err(format!(
                    "2: node {me} commits {index}, nobody has committed {}",
                    self.decided().next()
                ));
            }
            if !self.proposed.get(&index).is_some_and(|all| all.contains(&chain)) {
                return Err(format!(
                    "3: at {index} node {me} commits what no leader of epoch {epoch} proposed"
                ));
            }
            let (_, config) = log.config_of(index);
            let holds = |m: &&Member| {
                let notes = disk(m.id).and_then(|disk| disk.notes.of_member(m));
                notes.is_some_and(|notes| notes.holds(index, chain))
                    || self.views.get(&m.id).is_some_and(|view| view.base >= index)
            };
            let count = config.voters().filter(holds).count();
            // A later configuration in the log may be what decided it.
            let later = log.configs().iter().filter(|(at, _)| *at > index && *at <= replica.commit());
            let by_later = later
                .map(|(_, config)| config)
                .any(|config| config.voters().filter(holds).count() >= config.majority());
            if count < config.majority() && !by_later {
                return Err(format!(
                    "8: node {me} commits {index} of epoch {epoch}; {count} of {} voters have it on disk",
                    config.voters().count()
                ));
            }
            self.decided.push((chain, epoch));
            self.proposed = self.proposed.split_off(&index);
        }
        if log.base().index.0 > 0
            && let Some(chain) = self.chain(log.base().index)
            && chain != log.base().chain
        {
            return Err(format!("20: node {me} stands on a snapshot at {} of another log", log.base().index));
        }
        let view = self.views.get_mut(&me).expect("looked at above");
        view.commit = view.commit.max(replica.commit());
        Ok(())
    }

    /// 8: a configuration goes with the batch that brought it in, and a leader has one change under way at most.
    fn look_at_config(&mut self, replica: &Replica) -> Result<(), String> {
        let (me, log) = (replica.me(), replica.log());
        let (at, last) = (log.config_at(), log.last().max(log.base().index));
        // One that came with a snapshot or a superblock may be ahead of the log: it is decided.
        if at > last && at > self.decided() {
            return Err(format!("8: node {me} obeys a configuration of {at}, its log ends at {last}"));
        }
        if replica.is_leader() && self.configs.last_key_value().is_none_or(|(known, _)| *known != at) {
            self.configs.insert(at, log.config().clone());
        }
        let pending = log.configs().iter().filter(|(at, _)| *at > replica.commit()).count();
        if replica.is_leader() && log.epoch(at) == Some(replica.promised()) && pending > 1 {
            return Err(format!("8: node {me} leads with {pending} changes of members under way"));
        }
        Ok(())
    }

    /// 5, 17, 19: what was decided and durable here is here for good, or known to be damaged.
    fn look_at_kept(&mut self, replica: &Replica) -> Result<(), String> {
        let me = replica.me();
        let log = replica.log();
        let view = self.views.get_mut(&me).expect("looked at above");
        if log.last().max(log.base().index) < view.kept {
            return Err(format!(
                "5: node {me} once held the decided batch {}, its log now ends at {}",
                view.kept,
                log.last()
            ));
        }
        if let Some(chain) = log.chain(view.kept)
            && view.kept.0 > 0
            && view.kept > log.base().index
            && self.decided[view.kept.0 as usize - 1].0 != chain
        {
            return Err(format!("5: node {me} replaced the decided batch {}", view.kept));
        }
        view.kept = view.kept.max(log.base().index.min(Index(self.decided.len() as u64)));
        while let Some(&(chain, _)) = self.decided.get(view.kept.0 as usize)
            && view.kept < replica.durable()
            && log.chain(view.kept.next()) == Some(chain)
        {
            view.kept = view.kept.next();
        }
        Ok(())
    }

    /// 20: the log is let go only below a snapshot that lies on a majority of disks.
    fn look_at_base<'a>(
        &mut self,
        replica: &Replica,
        disk: &impl Fn(NodeId) -> Option<&'a VirtualDisk>,
    ) -> Result<(), String> {
        let me = replica.me();
        let base = replica.log().base().index;
        let newest =
            disk(me).into_iter().flat_map(|disk| disk.platter().keys()).filter_map(|file| match file {
                File::Snapshot(index) => Some(*index),
                _ => None,
            });
        if let Some(newest) = newest.max() {
            let known = self.snapshots.entry(me).or_default();
            *known = newest.max(*known);
        }
        let view = self.views.get_mut(&me).expect("looked at above");
        let own = disk(me).expect("a node that runs has a disk");
        let (own, struck) = (own.platter(), &own.struck);
        if let Some(verified) =
            replica.snapshots().last().map(|base| base.index).filter(|&v| v > view.snapshot)
        {
            view.snapshot = verified;
            let file = File::Snapshot(verified);
            if !struck.contains(&file) && !own.get(&file).is_some_and(|image| is_whole(image)) {
                return Err(format!(
                    "20: node {me} calls a snapshot at {verified} verified, and it is not whole"
                ));
            }
        }
        if base.0 > 0 && !replica.is_stateless() && !own.contains_key(&File::Snapshot(base)) {
            return Err(format!("20: node {me} stands on a snapshot at {base} that its disk does not have"));
        }
        if base <= view.base {
            return Ok(());
        }
        view.base = base;
        if base > replica.commit() || base > Index(self.decided.len() as u64) {
            return Err(format!("20: node {me} stands on a snapshot at {base}, which is not decided"));
        }
        let has = |m: &&Member| self.snapshots.get(&m.id).is_some_and(|newest| *newest >= base);
        // The leader counted by the configuration that was in force there; this node may not have come so far.
        let own = replica.log().configs().iter().map(|(_, config)| config);
        let since = replica.log().config_of(base).0;
        let mut configs = own.chain(self.configs.range(since..).map(|(_, config)| config));
        let enough = |config: &Config| config.voters().filter(has).count() >= config.majority();
        // A learner or a newcomer may not know of the others yet; the leader that sent it here does.
        if replica.config().is_voter(replica.voice()) && !configs.any(enough) {
            return Err(format!(
                "20: node {me} lets go of the log up to {base}, and few have a snapshot: {:?}",
                self.snapshots
            ));
        }
        Ok(())
    }

    /// 19: what a node that has just opened its directory calls present is there, and is what stood there.
    pub fn opened(&self, node: NodeId, log: &Log, disk: &VirtualDisk) -> Result<(), String> {
        for slot in log.slots().filter(|slot| slot.is_present()) {
            let (Some(head), Some(place)) = (slot.head, log.place(slot.index)) else { continue };
            let image = disk.platter().get(&File::Segment(place.file));
            let start = place.body_offset() as usize;
            let there = image.and_then(|image| image.get(start..start + head.length as usize));
            if there.and_then(|bytes| Batch::check(bytes).ok()) != Some(head) {
                return Err(format!(
                    "19: node {node} calls batch {} present, its disk has not got it",
                    slot.index
                ));
            }
        }
        Ok(())
    }

    /// 18: what a node takes for repaired is whole on its disk, unless that disk has lied since.
    pub fn healed(&mut self, replica: &Replica, log: &Log, disk: &VirtualDisk) -> Result<(), String> {
        let me = replica.me();
        let lies = disk.misdeeds.total();
        let view = self.views.entry(me).or_default();
        let missing = |index: Index| replica.log().is_unknown(index) || replica.log().is_mending(index);
        let (still, healed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut view.damaged).into_iter().partition(|(index, _)| missing(*index));
        view.damaged = still.into_iter().collect();
        for index in replica.log().all_missing() {
            view.damaged.entry(index).or_insert(lies);
        }
        for (index, before) in healed {
            let Some(head) = replica.log().head(index).filter(|_| before == lies) else { continue };
            let Some(place) = log.place(index) else { continue };
            let image = disk.platter().get(&File::Segment(place.file));
            let start = place.body_offset() as usize;
            let there = image.and_then(|image| image.get(start..start + head.length as usize));
            if there.and_then(|bytes| Batch::check(bytes).ok()).as_ref() != Some(head) {
                return Err(format!("18: node {me} calls batch {index} repaired, its disk has not got it"));
            }
        }
        Ok(())
    }

    /// 10: equal state at equal index.
    pub fn digest(&mut self, node: NodeId, index: Index, digest: u128) -> Result<(), String> {
        match self.digests.get(&index) {
            Some(&(other, known)) if known != digest => {
                Err(format!("10: at {index} the states of nodes {other} and {node} differ"))
            }
            Some(_) => Ok(()),
            None => {
                self.digests.insert(index, (node, digest));
                Ok(())
            }
        }
    }
}

/// Whether a snapshot file holds, byte for byte, what its trailer vouches for.
fn is_whole(image: &[u8]) -> bool {
    let Some(Ok(Some(trailer))) = image.len().checked_sub(PAGE).map(|at| Trailer::decode(&image[at..]))
    else {
        return false;
    };
    image.get(..trailer.length as usize).is_some_and(|data| sum::hash128(data) == trailer.data)
}
