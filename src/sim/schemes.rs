//! Faults aimed at a moment: they do harm only there, and chance alone would hardly ever bring them there.

use crate::base::{Epoch, Index, Nanos, NodeId, PAGE};
use crate::pipeline::parcel::Ask;
use crate::pipeline::ports::File;
use crate::replica::Replica;
use crate::sim::atlas::Region;
use crate::sim::faults::Swarm;
use crate::sim::mischief::Undo;
use crate::sim::world::{Event, World};

/// Something that a node has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was made to give up the end of its log.
    Cut,
    /// The first batch behind such a cut is durable.
    Regrown,
    /// A peer's snapshot has taken the place of its log.
    Installed,
    /// It has promised a higher epoch; its disk need not know yet.
    Promised,
    /// It asks for votes.
    Stands,
    /// It has been elected.
    Reigns,
    /// It has committed in its epoch.
    Opened,
    /// It leads, and has proposed a change of members.
    Changed,
    /// It has verified a snapshot.
    Saved,
    /// It has told another to lead in its stead.
    Told,
}

const MOMENTS: [Moment; 8] = [
    Moment::Cut,
    Moment::Regrown,
    Moment::Regrown,
    Moment::Installed,
    Moment::Promised,
    Moment::Reigns,
    Moment::Changed,
    Moment::Saved,
];

/// What befalls a node then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Power,
    Crash,
    CutOff,
    /// Not it, but whoever led until now and has not heard yet.
    CutOffFormer,
    /// Not it, but that one stands still for a while.
    Hold(NodeId),
}

/// A moment that is waited for, at any node.
#[derive(Clone, Debug)]
pub struct Trap {
    moment: Moment,
    blow: Blow,
    /// So many times.
    left: u32,
    /// After this long at most.
    slack_us: u64,
}

/// What a node was at when it was last looked at.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    life: u64,
    cuts: u64,
    /// A cut has freed this place; the batch that comes there is waited for.
    regrows: Option<Index>,
    installs: u64,
    promised: Epoch,
    stands: Option<Epoch>,
    reigns: Option<Epoch>,
    opened: Option<Epoch>,
    change: Option<Index>,
    snapshot: Option<Index>,
    told: Option<Epoch>,
}

impl Sight {
    fn of(life: u64, replica: &Replica) -> Sight {
        let change =
            Some(replica.log().config_at()).filter(|at| replica.is_leader() && *at > replica.commit());
        Sight {
            life,
            cuts: replica.counts.cuts,
            regrows: None,
            installs: replica.counts.installs,
            promised: replica.promised(),
            stands: replica.stands(),
            reigns: replica.is_leader().then(|| replica.promised()),
            opened: replica.leads(),
            change,
            snapshot: replica.snapshots().last().map(|base| base.index),
            told: replica.has_told_heir().then(|| replica.promised()),
        }
    }

    /// What has come about since.
    fn passes(&mut self, now: Sight, replica: &Replica) -> Vec<Moment> {
        let mut regrows = self.regrows.filter(|at| *at <= replica.last().next());
        let regrown = regrows.is_some_and(|at| replica.durable() >= at);
        if now.cuts > self.cuts {
            regrows = Some(replica.last().next());
        } else if regrown {
            regrows = None;
        }
        let all = [
            (Moment::Cut, now.cuts > self.cuts),
            (Moment::Regrown, regrown),
            (Moment::Installed, now.installs > self.installs),
            (Moment::Promised, now.promised > self.promised),
            (Moment::Stands, now.stands > self.stands),
            (Moment::Reigns, now.reigns > self.reigns),
            (Moment::Opened, now.opened > self.opened),
            (Moment::Changed, now.change > self.change),
            (Moment::Saved, now.snapshot > self.snapshot),
            (Moment::Told, now.told > self.told),
        ];
        let same_life = now.life == self.life;
        *self = Sight { regrows, ..now };
        all.into_iter().filter(|(_, is_so)| *is_so && same_life).map(|(moment, _)| moment).collect()
    }
}

impl World {
    fn set_trap(&mut self, moment: Moment, blow: Blow, left: u32) {
        let slack_us = 1 << self.dice.between(0, 12);
        self.traps.push(Trap { moment, blow, left, slack_us });
    }

    /// A node has done something: is it what somebody waits for?
    pub(super) fn spring(&mut self, node: NodeId) {
        let machine = &mut self.machines[usize::from(node.0) - 1];
        let Some(process) = &machine.process else { return };
        let replica = process.core.order.replica();
        let moments = machine.sight.passes(Sight::of(machine.life, replica), replica);
        let life = machine.life;
        for moment in moments {
            let Some(nth) = self.traps.iter().position(|trap| trap.moment == moment) else { continue };
            let Trap { blow, slack_us, .. } = self.traps[nth];
            self.traps[nth].left -= 1;
            if self.traps[nth].left == 0 {
                self.traps.remove(nth);
            }
            self.say(|| format!("node {node} has come to {moment:?}: {blow:?}"));
            let after = Nanos(1_000 * self.dice.below(slack_us));
            if matches!(blow, Blow::CutOffFormer | Blow::Hold(_)) {
                self.strike(node, life, blow); // A moment later it would have heard.
            } else {
                self.schedule(after, Event::Strike { node, life, blow });
            }
        }
    }

    pub(super) fn strike(&mut self, node: NodeId, life: u64, blow: Blow) {
        if self.machine(node).life != life || self.machine(node).process.is_none() || !self.is_stormy() {
            return;
        }
        let long = self.while_others_elect();
        match blow {
            Blow::Power => self.crash(node, true, false),
            Blow::Crash => self.crash(node, false, false),
            Blow::CutOff => self.cut_off(&[node], long),
            Blow::Hold(heir) => {
                let Swarm { heartbeat_ms, patience_ms, .. } = self.swarm;
                let long =
                    Nanos::from_millis(self.dice.between(heartbeat_ms, (patience_ms / 2).max(heartbeat_ms)));
                self.pause(heir, long);
            }
            Blow::CutOffFormer => {
                let reigns = |id: NodeId| {
                    let process = self.machines[usize::from(id.0) - 1].process.as_ref();
                    process.is_some_and(|process| process.core.order.replica().is_leader())
                };
                let all: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
                let former: Vec<NodeId> = all.into_iter().filter(|&id| id != node && reigns(id)).collect();
                self.cut_off(&former, long);
            }
        }
    }

    fn while_others_elect(&mut self) -> Nanos {
        Nanos::from_millis(self.dice.between(self.swarm.patience_ms * 2, self.swarm.patience_ms * 6))
    }

    pub(super) fn at_moment(&mut self) {
        let (moment, blow) =
            (*self.dice.pick(&MOMENTS), *self.dice.pick(&[Blow::Power, Blow::Crash, Blow::CutOff]));
        self.set_trap(moment, blow, 1);
    }

    pub(super) fn short_reigns(&mut self) {
        let moment = *self.dice.pick(&[Moment::Reigns, Moment::Opened]);
        let blow = *self.dice.pick(&[Blow::Power, Blow::CutOff]);
        let left = self.dice.between(1, 3) as u32;
        self.set_trap(moment, blow, left);
    }

    /// A change of members that its leader may not live to see decided.
    pub(super) fn on_change(&mut self) {
        let blow = *self.dice.pick(&[Blow::CutOff, Blow::CutOff, Blow::Power]);
        self.set_trap(Moment::Changed, blow, 1);
    }

    pub(super) fn long_tail(&mut self, leader: NodeId) {
        let long = self.while_others_elect();
        let disk = &mut self.machine(leader).disk;
        disk.habits.stall = disk.habits.stall.max(0.3);
        self.cut_off(&[leader], long);
        self.schedule(long.plus(Nanos::from_millis(20)), Event::Undo(Undo::Disk(leader)));
        if self.dice.chance(0.5) {
            self.short_reigns();
        }
        if self.dice.chance(0.5) {
            // Those who have elected another meanwhile lose it just when the old one is back.
            self.schedule(long, Event::StrikeLeader(Blow::Power));
        }
    }

    pub(super) fn lone_tail(&mut self, leader: NodeId) {
        let patience = self.swarm.patience_ms;
        let long = Nanos::from_millis(self.dice.between(patience * 3 / 2, patience * 3));
        let tears = self.dice.chance(0.5);
        let habits = &mut self.machine(leader).disk.habits;
        if tears {
            (habits.slowness, habits.tear) = (30, 1.0);
        } else {
            habits.stall = 1.0;
        }
        self.cut_off(&[leader], long);
        self.schedule(long.plus(Nanos::from_millis(20)), Event::Undo(Undo::Disk(leader)));
        if tears {
            let (life, soon) = (self.machine(leader).life, Nanos(1_000 * self.dice.between(500, 8_000)));
            self.schedule(soon, Event::Strike { node: leader, life, blow: Blow::Power });
        }
    }

    pub(super) fn late_write(&mut self) {
        let Some(leader) = self.leader() else { return };
        let patience = self.swarm.patience_ms;
        let long = Nanos::from_millis(self.dice.between(patience * 5 / 2, patience * 4));
        let after = Nanos::from_millis(self.dice.between(patience / 2, patience * 2));
        self.machine(leader).disk.habits.holds = Some(self.now.plus(long).plus(after));
        self.cut_off(&[leader], long);
        self.schedule(long, Event::Undo(Undo::Disk(leader)));
    }

    pub(super) fn two_reigns(&mut self, leader: NodeId) {
        self.set_trap(Moment::Stands, Blow::CutOffFormer, 1);
        let heirs = (1..=self.swarm.voters).map(NodeId).filter(|&id| id != leader);
        let heirs: Vec<NodeId> = heirs.collect();
        let heir = self.dice.pick(&heirs);
        // Half of the heirs take their time when they have been told.
        let heir = Some(*heir).filter(|_| self.dice.chance(0.5));
        if let Some(heir) = heir {
            self.set_trap(Moment::Told, Blow::Hold(heir), 1);
        }
        self.ask(leader, Ask::Transfer(heir));
    }

    /// What `node` has said is under way while the others go through two elections that it does not hear of.
    pub(super) fn late_words(&mut self, node: NodeId, leader: NodeId) {
        if node == leader {
            return;
        }
        let long = self.while_others_elect();
        let until = self.now.plus(long);
        self.net.clog(node, leader, until);
        let others: Vec<NodeId> = self.machines.iter().map(|m| m.id).filter(|&id| id != node).collect();
        let back = others.iter().filter(|&&id| id != leader).map(|&id| (node, id));
        let links = others.iter().map(|&id| (id, node)).chain(back).collect();
        self.cut(links, long.plus(Nanos::from_millis(self.swarm.patience_ms)));
        self.ask(leader, Ask::Transfer(None));
        self.schedule(Nanos(long.0 / 2), Event::Undo(Undo::HandBack(leader)));
    }

    /// All fall silent, so that all logs become the same.
    pub(super) fn forgetful(&mut self, leader: NodeId) {
        let runs = |id: &NodeId| *id != leader && self.machines[usize::from(id.0) - 1].process.is_some();
        let others: Vec<NodeId> = (1..=self.swarm.voters).map(NodeId).filter(runs).collect();
        if others.len() + 1 < usize::from(self.swarm.voters) {
            return;
        }
        let other = *self.dice.pick(&others);
        self.quiet_until = self.now.plus(Nanos::from_millis(50 + 5 * self.swarm.patience_ms));
        self.schedule(Nanos::from_millis(50), Event::Undo(Undo::Deafen(leader, other)));
    }

    /// One of them does not hear the leader any more: soon it would lead itself, and the others refuse.
    pub(super) fn deafen(&mut self, leader: NodeId, other: NodeId) {
        let patience = self.swarm.patience_ms;
        self.cut(vec![(leader, other), (other, leader)], Nanos::from_millis(4 * patience));
        self.schedule(Nanos::from_millis(5 * patience / 2), Event::Undo(Undo::Forget(leader, other)));
    }

    /// They start anew.
    pub(super) fn forget(&mut self, leader: NodeId, other: NodeId) {
        if self.leader() != Some(leader) {
            return;
        }
        let runs = |m: &&crate::sim::machine::Machine| m.process.is_some() && m.id != leader && m.id != other;
        let rest: Vec<NodeId> = self.machines.iter().filter(runs).map(|m| m.id).collect();
        for node in rest {
            self.tally.crashes += 1;
            self.kill(node, false);
            let soon = Nanos(1_000 * self.dice.between(100, 3_000));
            self.start_after(node, soon);
        }
        self.cut_off(&[leader], Nanos::from_millis(2 * self.swarm.patience_ms));
    }

    pub(super) fn hand_back(&mut self, node: NodeId) {
        if let Some(leader) = self.leader().filter(|&leader| leader != node) {
            self.ask(leader, Ask::Transfer(Some(node)));
        }
    }

    // Disks.

    pub(super) fn rot_tail(&mut self, node: NodeId) {
        // Of what is not decided this may be the only copy, and then nobody could tell what became of it.
        let decided = self.oracles.decided();
        let index = self.replica_of(node).map(|replica| replica.durable().min(decided));
        if index.is_some_and(|index| self.rot(node, index, false)) {
            self.rotted = Some(node);
            self.crash(node, true, false);
        }
    }

    pub(super) fn rot_both(&mut self, node: NodeId) {
        let sure = self.machine(node).disk.notes.sure;
        let Some(replica) = self.replica_of(node) else { return };
        let (base, upto) = (replica.log().base().index, replica.durable().min(sure));
        for _ in 0..20 {
            let index = Index(self.dice.between(base.0, upto.0.max(base.0)));
            if self.rot(node, index, true) {
                if self.dice.chance(0.5) {
                    self.crash(node, true, false);
                }
                return;
            }
        }
    }

    /// The one that a log stands on, of a node that may lose it, while all others have lost nothing. False: there is none.
    pub(super) fn rot_snapshot(&mut self) -> bool {
        let base = |node: NodeId| Some(self.replica_of(node)?.log().base().index).filter(|index| index.0 > 0);
        let fits = |&(node, index): &(NodeId, Index)| {
            let disk = &self.machines[usize::from(node.0) - 1].disk;
            disk.may_damage(File::Snapshot(index), 0, PAGE) && self.others_are_sound(node)
        };
        let all = (1..=self.swarm.voters).map(NodeId);
        let fit: Vec<(NodeId, Index)> =
            all.filter_map(|node| Some((node, base(node)?))).filter(fits).collect();
        if fit.is_empty() {
            return false;
        }
        let (node, index) = *self.dice.pick(&fit);
        let at = self.dice.below(64);
        self.machine(node).disk.flip(File::Snapshot(index), at, 3);
        self.say(|| format!("  snapshot {index} of node {node}"));
        self.crash(node, true, false);
        true
    }

    fn replica_of(&self, node: NodeId) -> Option<&Replica> {
        Some(self.machines[usize::from(node.0) - 1].process.as_ref()?.core.order.replica())
    }

    /// One bit of a batch's body, and of its frame, where the atlas permits it.
    fn rot(&mut self, node: NodeId, index: Index, frame_too: bool) -> bool {
        let machine = &mut self.machines[usize::from(node.0) - 1];
        let place = machine.process.as_ref().and_then(|process| process.core.store.log().place(index));
        let Some(place) = place else { return false };
        let atlas = &machine.disk.atlas;
        let allowed = atlas.allows_region(Region::Body(index.0))
            && (!frame_too || atlas.allows_region(Region::Frame(index.0)));
        if allowed {
            let name = File::Segment(place.file);
            let disk = &mut machine.disk;
            disk.flip(name, place.body_offset() + self.dice.below(64), 3);
            if frame_too {
                disk.flip(name, place.frame_offset() + self.dice.below(64), 5);
            }
            self.say(|| format!("  batch {index} of node {node}"));
        }
        allowed
    }
}
