//! Carrying out faults, and taking them back.

use crate::base::{Incarnation, Nanos, NodeId, PAGE};
use crate::pipeline::parcel::Ask;
use crate::pipeline::ports::File;
use crate::replica::{Config, Replica, Role, Step};
use crate::sim::faults::Fault;
use crate::sim::net::address;
use crate::sim::phases::Phase;
use crate::sim::schemes::Blow;
use crate::sim::world::{Event, World};

/// The end of a fault that lasts.
#[derive(Debug)]
pub enum Undo {
    /// These links are whole again.
    Links(Vec<(NodeId, NodeId)>),
    /// Dials to the node that lives are answered by itself again.
    Reject,
    /// The end of everybody's reach to this node.
    Reach(NodeId),
    Speed(NodeId),
    Disk(NodeId),
    Clock(NodeId),
    /// Cut and restored in turn, so many times more.
    Flap(NodeId, NodeId, u32),
    Storm(u32),
    /// A snapshot rots as soon as one may; after so many looks it is given up.
    RotSnapshot(u32),
    /// Whoever leads is asked to hand over to this node.
    HandBack(NodeId),
    /// The second part of `Forgetful`, and the third: this leader, and who has not heard it.
    Deafen(NodeId, NodeId),
    Forget(NodeId, NodeId),
    /// What a page held is put back, on this disk and not on one that has replaced it.
    Rollback {
        node: NodeId,
        disk: u32,
        file: File,
        page: usize,
        old: Vec<u8>,
    },
}

impl World {
    /// One fault of those that this world has.
    pub fn inject(&mut self) {
        let fault = *self.dice.pick(&self.swarm.kinds);
        let running: Vec<NodeId> =
            self.machines.iter().filter(|machine| machine.process.is_some()).map(|m| m.id).collect();
        if running.is_empty() {
            return;
        }
        let node = *self.dice.pick(&running);
        let leader = self.leader().unwrap_or(node);
        self.say(|| format!("fault: {fault:?} (node {node}, leader {leader})"));
        self.tally.faults += 1;
        let long = Nanos::from_millis(self.dice.between(1, self.swarm.patience_ms * 6));
        match fault {
            Fault::Crash => self.crash(node, false, false),
            Fault::PowerLoss => self.crash(node, true, false),
            Fault::CrashAll => running.into_iter().for_each(|node| self.crash(node, true, false)),
            Fault::CrashInRecovery => self.crash(node, true, true),
            Fault::Pause => self.pause(node, long),
            Fault::SlowCore => {
                self.net.shake(node);
                self.machine(node).slowness = 100;
                self.schedule(long, Event::Undo(Undo::Speed(node)));
            }
            Fault::Isolate => self.cut_off(&[node], long),
            Fault::IsolateLeader => self.cut_off(&[leader], long),
            Fault::Minority => {
                let count = (running.len().saturating_sub(1)) / 2;
                let mut some = running;
                while some.len() > count {
                    some.swap_remove(self.dice.below(some.len() as u64) as usize);
                }
                self.cut_off(&some, long);
            }
            Fault::Ring => {
                let count = running.len();
                let far = |a: usize, b: usize| a != b && (a + 1) % count != b && (b + 1) % count != a;
                self.cut_where(&running, long, far);
            }
            Fault::Bridge => {
                let middle = self.dice.below(running.len() as u64) as usize;
                self.cut_where(&running, long, |a, b| {
                    a != middle && b != middle && (a < middle) != (b < middle)
                });
            }
            Fault::OneWay => {
                let other = *self.dice.pick(&running);
                self.cut(vec![(node, other)], long);
            }
            Fault::Flap => {
                let other = *self.dice.pick(&running);
                self.undo(Undo::Flap(node, other, 6));
            }
            Fault::Swizzle => self.swizzle(&running, long),
            Fault::CloseLeaderLinks => self.break_links(&[leader]),
            Fault::Reject => {
                self.net.rejects = Some(leader);
                self.break_links(&[leader]);
                self.schedule(long, Event::Undo(Undo::Reject));
            }
            Fault::Storm => self.undo(Undo::Storm(5)),
            Fault::Rot | Fault::BadSector | Fault::Rollback => self.damage(node, fault, long),
            Fault::DeadDisk if self.machine(node).disk.lands_all => {} // It would cost this one its snapshot.
            Fault::DeadDisk if self.rotted.is_some_and(|other| other != node) => {}
            Fault::DeadDisk => {
                self.machine(node).disk.habits.dead = true;
                self.schedule(long, Event::Undo(Undo::Disk(node)));
            }
            Fault::FullDisk => {
                self.machine(node).disk.habits.full = true;
                self.schedule(long, Event::Undo(Undo::Disk(node)));
            }
            Fault::SlowDisk => {
                self.machine(node).disk.habits.slowness = 100;
                self.schedule(long, Event::Undo(Undo::Disk(node)));
            }
            Fault::WallJump => {
                let years = *self.dice.pick(&[-10, -1, 1, 10]);
                let ms = if self.dice.chance(0.5) { years * 31_557_600_000 } else { years * 360_000 };
                self.machine(node).clock.jump(ms);
            }
            Fault::Drift => {
                let (now, rate) = (self.now, self.dice.between(900, 1100));
                self.machine(node).clock.drift(now, rate);
                self.schedule(long, Event::Undo(Undo::Clock(node)));
                self.wake(node, Nanos(0));
            }
            Fault::Transfer => {
                self.ask(leader, Ask::Transfer(None));
                // Perhaps it never hears what has become of it.
                let soon = Nanos(1000 * self.dice.between(1, 20_000));
                self.schedule(soon, Event::Undo(Undo::Reach(leader)));
            }
            Fault::Snapshot => self.ask(leader, Ask::Snapshot),
            Fault::Members => self.plan_change(),
            Fault::Wipe => self.replace_disk(),
            Fault::RotTail => self.rot_tail(node),
            Fault::RotBoth => self.rot_both(node),
            Fault::RotSnapshot => self.undo(Undo::RotSnapshot(50)),
            Fault::LoneTail => self.lone_tail(leader),
            Fault::AtMoment => self.at_moment(),
            Fault::ShortReigns => self.short_reigns(),
            Fault::LongTail => self.long_tail(leader),
            Fault::TwoReigns => self.two_reigns(leader),
            Fault::Forgetful => self.forgetful(leader),
            Fault::LateWords => self.late_words(node, leader),
            Fault::LateWrite => self.late_write(),
        }
    }

    /// The process stands still.
    pub(super) fn pause(&mut self, node: NodeId, long: Nanos) {
        let until = self.now.plus(long);
        self.net.shake(node);
        let machine = self.machine(node);
        machine.paused_until = until;
        let life = machine.life;
        self.schedule(long, Event::Resume { node, life });
    }

    pub fn is_stormy(&self) -> bool {
        self.phase == Phase::Storm
    }

    pub fn undo(&mut self, undo: Undo) {
        self.net.now = self.now;
        match undo {
            Undo::Links(links) => {
                for (a, b) in links {
                    self.net.set_cut(a, b, false);
                }
            }
            Undo::Reject => self.net.rejects = None,
            Undo::Reach(node) => {
                if self.phase == Phase::Storm && self.dice.chance(0.5) {
                    let long = Nanos::from_millis(self.dice.between(1, 2 * self.swarm.patience_ms));
                    self.cut_off(&[node], long);
                }
            }
            Undo::Speed(node) => self.machine(node).slowness = 1,
            Undo::Disk(node) => {
                let stall = if self.is_stormy() { self.swarm.habits.stall } else { 0.0 };
                let habits = &mut self.machine(node).disk.habits;
                (habits.dead, habits.full, habits.slowness, habits.stall) = (false, false, 1, stall);
                habits.holds = None;
            }
            Undo::Clock(node) => {
                let now = self.now;
                self.machine(node).clock.drift(now, 1000);
                self.wake(node, Nanos(0));
            }
            Undo::Flap(a, b, left) => {
                let cut = left > 0 && self.phase == Phase::Storm && !self.net.is_cut(a, b);
                self.net.set_cut(a, b, cut);
                self.net.set_cut(b, a, cut);
                if left > 0 {
                    let after = Nanos::from_millis(self.dice.between(1, self.swarm.patience_ms));
                    self.schedule(after, Event::Undo(Undo::Flap(a, b, left - 1)));
                }
            }
            Undo::Storm(left) => {
                if self.phase == Phase::Storm && left > 0 {
                    let all: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
                    self.break_links(&all);
                    let after = Nanos::from_millis(self.dice.between(1, 60));
                    self.schedule(after, Event::Undo(Undo::Storm(left - 1)));
                }
            }
            Undo::RotSnapshot(left) => {
                if self.is_stormy() && left > 0 && !self.rot_snapshot() {
                    let soon = Nanos::from_millis(20);
                    self.schedule(soon, Event::Undo(Undo::RotSnapshot(left - 1)));
                }
            }
            Undo::HandBack(node) if self.is_stormy() => self.hand_back(node),
            Undo::Deafen(leader, other) if self.is_stormy() => self.deafen(leader, other),
            Undo::Forget(leader, other) if self.is_stormy() => self.forget(leader, other),
            Undo::HandBack(_) | Undo::Deafen(..) | Undo::Forget(..) => {}
            Undo::Rollback { node, disk: serial, file, page, old } => {
                let storm = self.phase == Phase::Storm;
                let disk = &mut self.machine(node).disk;
                if storm
                    && disk.serial == serial
                    && disk.may_damage(file, (page * PAGE) as u64, PAGE)
                    && let Some(image) = disk.platter_mut().get_mut(&file)
                    && let Some(place) = image.get_mut(page * PAGE..(page + 1) * PAGE)
                {
                    place.copy_from_slice(&old);
                    disk.misdeeds.flipped += 1;
                }
            }
        }
    }

    /// A disk is lost and not yet made good: what others tear then may be the last copies, and nobody could tell
    /// whether it was acknowledged. Of five one more may lose what it likes.
    fn spare_the_last_copies(&mut self) {
        let blank =
            |node| self.agenda.iter().any(|(other, role)| *other == node && *role == Some(Role::Voter));
        let lost = self.swarm.cursed.filter(|&node| blank(node));
        for machine in &mut self.machines {
            let free = self.swarm.voters > 3 && lost.is_some_and(|lost| machine.id.0 == lost.0 % 5 + 1);
            machine.disk.lands_all = lost.is_some_and(|lost| lost != machine.id) && !free;
        }
    }

    pub fn crash(&mut self, node: NodeId, power: bool, again: bool) {
        self.tally.crashes += 1;
        self.kill(node, power);
        if again {
            let writes = self.dice.below(8) as u32;
            self.machine(node).disk.crash_in = Some(writes);
        }
        let after = Nanos::from_millis(self.dice.between(1, self.swarm.patience_ms * 3));
        self.start_after(node, after);
    }

    // Links.

    pub(super) fn cut(&mut self, links: Vec<(NodeId, NodeId)>, long: Nanos) {
        self.net.now = self.now;
        for &(a, b) in &links {
            self.net.set_cut(a, b, true);
        }
        self.schedule(long, Event::Undo(Undo::Links(links)));
    }

    pub(super) fn cut_off(&mut self, some: &[NodeId], long: Nanos) {
        let all: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
        let inside = |node: &NodeId| some.contains(node);
        let pairs = all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b)));
        let links = pairs.filter(|(a, b)| inside(a) != inside(b)).collect();
        self.cut(links, long);
    }

    fn cut_where(&mut self, nodes: &[NodeId], long: Nanos, far: impl Fn(usize, usize) -> bool) {
        let mut links = Vec::new();
        for (n, a) in nodes.iter().enumerate() {
            links.extend(nodes.iter().enumerate().filter(|(m, _)| far(n, *m)).map(|(_, b)| (*a, *b)));
        }
        self.cut(links, long);
    }

    /// Held one after the other, let go in another order.
    fn swizzle(&mut self, nodes: &[NodeId], long: Nanos) {
        for a in nodes {
            for b in nodes.iter().filter(|b| *b != a) {
                let until = self.now.plus(Nanos(self.dice.below(long.0.max(1)) + 1));
                self.net.clog(*a, *b, until);
            }
        }
    }

    /// Connections of these nodes break; the nodes live on.
    fn break_links(&mut self, nodes: &[NodeId]) {
        self.net.now = self.now;
        let all: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
        for &a in nodes {
            for &b in all.iter().filter(|&&b| b != a) {
                self.net.reset(a, b);
            }
        }
    }

    // Disks.

    /// Damage at rest, where the atlas permits it.
    fn damage(&mut self, node: NodeId, fault: Fault, long: Nanos) {
        for _ in 0..20 {
            let disk = &self.machines[usize::from(node.0) - 1].disk;
            let files: Vec<(File, usize)> =
                disk.platter().iter().map(|(file, image)| (*file, image.len() / PAGE)).collect();
            let (file, pages) = *self.dice.pick(&files);
            if pages == 0 {
                continue;
            }
            let page = self.dice.below(pages as u64) as usize;
            if !disk.may_damage(file, (page * PAGE) as u64, PAGE) {
                continue;
            }
            let image = &disk.platter()[&file][page * PAGE..(page + 1) * PAGE];
            if image.iter().all(|&byte| byte == 0) && self.dice.chance(0.9) {
                continue; // Damage to nothing shows nothing.
            }
            self.say(|| format!("  {file}, page {page} of node {node}"));
            match fault {
                Fault::Rollback => {
                    let (old, disk) = (image.to_vec(), self.machine(node).disk.serial);
                    let undo = Undo::Rollback { node, disk, file, page, old };
                    return self.schedule(long, Event::Undo(undo));
                }
                Fault::BadSector => self.machine(node).disk.spoil(file, page),
                _ => {
                    let bit = self.dice.below(PAGE as u64 * 8) as usize;
                    self.machine(node).disk.flip(file, (page * PAGE * 8 + bit) as u64 / 8, bit % 8);
                }
            }
            return;
        }
    }

    /// The cursed node comes back with an empty disk, and joins anew.
    fn replace_disk(&mut self) {
        let Some(node) = self.swarm.cursed else { return };
        if !self.agenda.is_empty() || self.machines[usize::from(node.0) - 1].process.is_none() {
            return; // One at a time.
        }
        if !self.others_are_sound(node) {
            return; // What another one has lost may stand on this disk alone.
        }
        self.tally.crashes += 1;
        self.kill(node, true);
        self.oracles.forget(node);
        self.format(node, Config::default());
        let after = Nanos::from_millis(self.dice.between(1, 500));
        self.start_after(node, after);
        self.agenda.push_back((node, Some(Role::Learner)));
        self.agenda.push_back((node, Some(Role::Voter)));
        self.spare_the_last_copies();
        if self.dice.chance(0.5) {
            // Then the others have to elect, and the new disk is asked before anybody has named it.
            let soon = Nanos(after.0 + self.dice.below(50_000_000));
            self.schedule(soon, Event::StrikeLeader(Blow::Power));
        }
    }

    /// All other members run, and have lost nothing.
    pub(super) fn others_are_sound(&self, node: NodeId) -> bool {
        let mut others = self.machines.iter().filter(|machine| machine.wanted && machine.id != node);
        // Founders that have not met are needed all together; one that is lost before is founded again, not replaced.
        let met = |replica: &Replica| !replica.config().is_open();
        let sound = |replica: &Replica| {
            let settled = replica.log().config_at() <= replica.commit();
            met(replica) && settled && replica.log().first_missing().is_none() && !replica.is_stateless()
        };
        others.all(|machine| machine.replica().is_some_and(sound))
    }

    // Members.

    pub(super) fn ask(&mut self, node: NodeId, ask: Ask) {
        let Some(process) = &mut self.machine(node).process else { return };
        while process.admin.answers.take().is_some() {}
        if process.admin.asks.room() > 0 {
            process.admin.asks.send((0, ask));
            self.wake(node, Nanos(0));
        }
    }

    /// A newcomer for the highest founding member, or that one back in place of the newcomer.
    fn plan_change(&mut self) {
        if !self.agenda.is_empty() {
            return;
        }
        let old = NodeId(self.swarm.voters);
        let new = NodeId(self.swarm.voters + 1);
        let (out, into) = if self.machine(old).wanted { (old, new) } else { (new, old) };
        if self.swarm.cursed == Some(out) || self.swarm.cursed == Some(into) {
            return;
        }
        self.oracles.forget(into);
        self.format(into, Config::default());
        self.machine(into).wanted = true;
        self.start_after(into, Nanos(0));
        if self.dice.chance(0.5) {
            self.on_change();
        }
        self.agenda.push_back((into, Some(Role::Learner)));
        self.agenda.push_back((into, Some(Role::Voter)));
        self.agenda.push_back((out, None));
    }

    /// Asks the leader for what is still to be changed, all of it or the next step, until it is committed.
    pub fn work_on_agenda(&mut self) {
        self.spare_the_last_copies();
        if self.agenda.is_empty() {
            return;
        }
        let Some(leader) = self.leader() else { return };
        let Some(process) = &self.machines[usize::from(leader.0) - 1].process else { return };
        let replica = process.core.order.replica();
        if replica.leads().is_none() || replica.log().config_at() > replica.commit() {
            return;
        }
        let config = replica.config();
        let is_so = |&(node, role): &(NodeId, Option<Role>)| {
            let incarnation = self.machines[usize::from(node.0) - 1].incarnation;
            let member = config.member(node);
            member.map(|member| member.role) == role
                && (role != Some(Role::Voter)
                    || member.is_some_and(|member| member.incarnation == incarnation))
        };
        // A plan may have been through several of them since the last look: what counts is each node's last.
        let all: Vec<(NodeId, Option<Role>)> = self.agenda.iter().copied().collect();
        let is_done = |count: &usize| {
            let head = &all[..*count];
            head.iter().all(|(node, _)| head.iter().rev().find(|item| item.0 == *node).is_some_and(is_so))
        };
        if let Some(done) = (1..=all.len()).rev().find(is_done) {
            for (node, role) in self.agenda.drain(..done).collect::<Vec<_>>() {
                self.say(|| format!("member {node} is now {role:?}"));
                if role.is_none() && !all.iter().any(|(other, role)| *other == node && role.is_some()) {
                    self.machine(node).wanted = false;
                    self.kill(node, false);
                }
            }
            return;
        }
        let step = |&(id, role): &(NodeId, Option<Role>)| match role {
            Some(Role::Learner) => {
                Step::Learner { id, incarnation: Incarnation::OPEN, address: address(id).to_string() }
            }
            Some(Role::Voter) => Step::Voter { id },
            None => Step::Remove { id },
        };
        let count = if self.seed.is_multiple_of(2) { 1 } else { all.len() };
        let steps: Vec<Step> = all[..count].iter().map(step).collect();
        // An operator in a hurry asks twice.
        for _ in 0..if self.dice.chance(0.3) { 2 } else { 1 } {
            self.ask(leader, Ask::Members(steps.clone()));
        }
    }

    // Peace.

    /// All faults end; what they have left behind stays.
    pub fn calm(&mut self) {
        self.net.now = self.now;
        self.net.heal();
        self.traps.clear();
        let now = self.now;
        for machine in &mut self.machines {
            machine.disk.habits.reform();
            machine.disk.crash_in = None;
            machine.clock.drift(now, 1000);
            machine.slowness = 1;
        }
        let idle: Vec<NodeId> = self
            .machines
            .iter()
            .filter(|machine| machine.wanted && machine.process.is_none())
            .map(|machine| machine.id)
            .collect();
        idle.into_iter().for_each(|node| self.start_after(node, Nanos::from_millis(10)));
    }
}
