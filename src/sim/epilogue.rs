//! Two losses that no rule makes good, each after all else has been proved: a whole disk put back to what it was,
//! and every copy of one batch damaged. Both must be noticed and told; neither may be guessed away.

use std::collections::BTreeSet;

use crate::base::{Index, Nanos, NodeId, Voice};
use crate::journal::{self, BatchHead, Expect, flag};
use crate::pipeline::ports::File;
use crate::replica::{Replica, Role};
use crate::sim::disk::Copy;
use crate::sim::machine::CLUSTER;
use crate::sim::phases::Phase;
use crate::sim::world::World;

/// An old copy that nobody refuses in this time is taken for the disk itself.
const NOTICE_MAX: Nanos = Nanos(5_000_000_000);

#[derive(Debug, Default)]
pub struct Epilogue {
    /// A disk as it was when peace began: whose, which of them, and where its log ended.
    copy: Option<(NodeId, u32, Index, Copy)>,
    /// It is back: as whom, and since when.
    back: Option<(Voice, Nanos)>,
    /// The batch that nobody has whole any more; 0: every snapshot under a log is damaged.
    lost: Index,
    /// Somebody has said so.
    told: Option<String>,
}

impl Epilogue {
    pub fn hear(&mut self, why: &str) {
        self.told = Some(why.to_owned());
    }
}

impl World {
    pub(super) fn copy_a_disk(&mut self) {
        if !self.swarm.puts_back {
            return;
        }
        let runs = |node: NodeId| self.machines[usize::from(node.0) - 1].process.as_ref();
        let fit: Vec<NodeId> =
            (1..=self.swarm.voters).map(NodeId).filter(|&node| runs(node).is_some()).collect();
        if fit.is_empty() {
            return;
        }
        let node = *self.dice.pick(&fit);
        let machine = &self.machines[usize::from(node.0) - 1];
        let last = machine.process.as_ref().expect("just seen").core.order.replica().last();
        self.epilogue.copy = Some((node, machine.disk.serial, last, machine.disk.copy()));
    }

    /// All is well; whether something is still to be done to this world, or under way.
    pub(super) fn goes_on(&mut self) -> bool {
        if !self.agenda.is_empty() || self.epilogue.back.is_some() {
            return true;
        }
        let Some((node, serial, last, copy)) = self.epilogue.copy.take() else { return false };
        let Some(leader) = self.leader() else { return true };
        let machine = &self.machines[usize::from(node.0) - 1];
        let Some(process) = &machine.process else { return false };
        let voice = process.core.order.replica().voice();
        let votes = process.core.order.replica().config().is_voter(voice);
        // The leader has heard of more than what the copy holds, and keeps on leading without this node.
        let older = machine.disk.serial == serial && last.0 + 2 < self.oracles.decided().0;
        if node == leader || !votes || !older || self.swarm.cursed.is_some_and(|cursed| cursed != node) {
            return false;
        }
        let heard = self.machines[usize::from(leader.0) - 1].replica().map(|r| r.known_to_hold(voice));
        if heard.is_none_or(|held| held <= last) {
            self.epilogue.copy = Some((node, serial, last, copy)); // It has not heard of more yet, and soon will.
            return true;
        }
        self.say(|| format!("an old copy of node {node}'s disk is put back: its log ended at {last}"));
        self.kill(node, true);
        self.oracles.forget(node);
        self.machine(node).disk.put_back(copy);
        self.start_after(node, Nanos::from_millis(50));
        self.epilogue.back = Some((voice, self.now));
        self.tally.disks_put_back += 1;
        true
    }

    /// 6: who remembers more of a disk than it presents refuses it, and goes on doing so until it is replaced.
    pub(super) fn watch_the_copy(&mut self) {
        let Some((voice, since)) = self.epilogue.back else { return };
        let leader = self.leader();
        let replica = leader.and_then(|id| self.machines[usize::from(id.0) - 1].process.as_ref());
        if replica.is_some_and(|process| process.core.order.replica().refuses(voice)) {
            let node = voice.id;
            self.say(|| format!("node {node} is refused, and gets a new disk"));
            self.epilogue.back = None;
            self.kill(node, true);
            self.oracles.forget(node);
            self.format(node, crate::replica::Config::default());
            self.start_after(node, Nanos::from_millis(50));
            self.agenda.push_back((node, Some(Role::Learner)));
            self.agenda.push_back((node, Some(Role::Voter)));
            self.enter(Phase::Rest); // Time to catch up anew.
        } else if self.now.since(since) > NOTICE_MAX {
            self.fail(format!("6: nobody refuses node {}, whose disk was put back to an old copy", voice.id));
        }
    }

    /// Damages every copy of one batch above all snapshots, on disks that are known to have held it. False: there
    /// is none.
    pub(super) fn lose_all_copies(&mut self) -> bool {
        let nodes: Vec<NodeId> = self.machines.iter().filter(|m| m.wanted).map(|m| m.id).collect();
        let (params, decided) = (self.swarm.params, self.oracles.decided());
        let (mut from, mut upto, mut places) = (Index(0), decided, Vec::new());
        for &node in &nodes {
            let expect = Expect { cluster: Some(CLUSTER), node: Some(node) };
            let disk = &mut self.machine(node).disk;
            let Ok(found) = journal::examine(disk, &params, expect) else { return false };
            // Of the members of today: who left may have a copy, and is waited for.
            if !found.report.unknown.is_empty() {
                return false; // It would have to find out about that one first.
            }
            let changes = |head: &BatchHead| head.flags & flag::CONFIG != 0;
            let newest = found.log.slots().filter_map(|slot| slot.head).filter(changes).last();
            from = from.max(found.sup.marks.base.index).max(newest.map_or(Index(0), |head| head.index));
            upto = upto.min(found.sup.watermark);
            places.push((node, found.sup.marks.base.index, found.log));
        }
        let all = places.iter().all(|(_, base, _)| base.0 > 0);
        if all && self.dice.chance(0.5) {
            return self.lose_all_snapshots(places.into_iter().map(|(node, base, _)| (node, base)).collect());
        }
        if from >= upto {
            return false;
        }
        let lost = Index(self.dice.between(from.0 + 1, upto.0));
        self.say(|| format!("every copy of batch {lost} is damaged"));
        for (node, _, log) in &places {
            let Some(place) = log.place(lost) else { return false };
            let disk = &mut self.machine(*node).disk;
            disk.flip(File::Segment(place.file), place.body_offset(), 0);
        }
        for node in nodes {
            self.start_after(node, Nanos::from_millis(10));
        }
        self.epilogue.lost = lost;
        self.tally.all_copies_lost += 1;
        true
    }

    /// Damages the snapshot under each log.
    fn lose_all_snapshots(&mut self, bases: Vec<(NodeId, Index)>) -> bool {
        self.say(|| format!("every snapshot is damaged: {bases:?}"));
        for (node, base) in bases {
            self.machine(node).disk.flip(File::Snapshot(base), 0, 0);
            self.start_after(node, Nanos::from_millis(10));
        }
        self.epilogue.lost = Index(0);
        self.tally.all_snapshots_lost += 1;
        true
    }

    /// 5, 19: nobody leads, nobody gives the batch up, and somebody says which one it is.
    pub(super) fn watch_the_doomed(&mut self, too_long: bool) {
        let lost = self.epilogue.lost;
        let name = if lost.0 == 0 { "snapshot".into() } else { format!("batch {lost} ") };
        if let Some(why) = &self.epilogue.told {
            if !why.contains(&name) {
                let why = format!("19: every copy of {name} is damaged, and what is said of it is: {why}");
                return self.fail(why);
            }
            return self.enter(Phase::Over);
        }
        for machine in &self.machines {
            let Some(process) = &machine.process else { continue };
            let replica = process.core.order.replica();
            if replica.is_leader() || replica.last() < lost {
                let (node, last) = (machine.id, replica.last());
                let leads = if replica.is_leader() { "leads" } else { "does not lead" };
                return self.fail(format!(
                    "19: every copy of {name} is damaged; node {node} {leads}, and its log ends at {last}"
                ));
            }
        }
        if too_long {
            self.fail(format!("19: every copy of {name} is damaged, and nobody says so"));
        }
    }

    /// Nobody leads, and all disks together do not have what was decided: a batch is lost on one, the snapshot over it
    /// on another, and no third came so far. The world may end so, but only in words: whoever waits must have said why.
    pub(super) fn ends_unled(&mut self) -> bool {
        if self.leader().is_some() || self.is_all_somewhere() {
            return false;
        }
        let replicas = self.machines.iter().filter_map(|machine| machine.replica());
        if replicas.filter_map(Replica::impasse).next().is_some() {
            self.tally.impasses += 1;
            self.enter(Phase::Over);
        } else {
            let why = self.unrest();
            self.fail(format!("19: what was decided is lost, so nobody can lead, and nobody says so: {why}"));
        }
        true
    }

    /// A whole snapshot, or the beginning of all, and every decided batch behind it lie on one disk or another, where
    /// their journals find them.
    fn is_all_somewhere(&mut self) -> bool {
        let params = self.swarm.params;
        let (mut from, mut whole) = (Index(0), BTreeSet::new());
        for machine in &mut self.machines {
            let expect = Expect { cluster: Some(CLUSTER), node: Some(machine.id) };
            let Ok(found) = journal::examine(&mut machine.disk, &params, expect) else { continue };
            let base = found.sup.marks.base.index; // What lies below it yet belongs to no log any more.
            let present = found.log.slots().filter(|slot| slot.is_present() && slot.index > base);
            whole.extend(present.map(|slot| slot.index));
            let files: Vec<File> = machine.disk.platter().keys().copied().collect();
            for file in files {
                let File::Snapshot(index) = file else { continue };
                if index > from && journal::snapshot::check(&mut machine.disk, CLUSTER, index, |_| {}).is_ok()
                {
                    from = index;
                }
            }
        }
        (from.0 + 1..=self.oracles.decided().0).all(|index| whole.contains(&Index(index)))
    }

    /// The batch that this node lacks was never decided, and no disk of the world tells one of its index whole: one held
    /// it alone, or with others whose writes power loss has torn, and lost it to damage.
    pub(super) fn is_dead_end(&self, node: NodeId) -> bool {
        let process = self.machines[usize::from(node.0) - 1].process.as_ref();
        let Some(lost) = process.and_then(|process| process.core.order.replica().log().first_unknown())
        else {
            return false;
        };
        lost > self.oracles.decided() && !self.machines.iter().any(|machine| machine.disk.tells(lost))
    }
}
