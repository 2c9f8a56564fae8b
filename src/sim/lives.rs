//! How processes begin and end: a directory is opened or refuses, a process dies alone or with its machine.

use crate::base::{Nanos, NodeId};
use crate::journal::OpenError;
use crate::sim::phases::Phase;
use crate::sim::world::{Event, World};

impl World {
    pub fn start_after(&mut self, node: NodeId, after: Nanos) {
        let life = self.machine(node).life;
        self.schedule(after, Event::Start { node, life });
    }

    pub(super) fn start(&mut self, node: NodeId) {
        let (now, swarm, seed) = (self.now, self.swarm.clone(), self.dice.next_u64());
        let guests = self.guests.is_some();
        let machine = self.machine(node);
        machine.life += 1;
        let lies = machine.disk.misdeeds.misdirected;
        let opened = machine.open(now, &swarm, seed, guests);
        self.say(|| format!("node {node} starts: {opened:?}"));
        match opened {
            Ok(report) => {
                self.tally.recovered(&report);
                self.oracles.restarted(node);
                let machine = &self.machines[usize::from(node.0) - 1];
                let process = machine.process.as_ref().expect("just opened");
                // A frame that was healed may have gone astray since.
                if machine.disk.misdeeds.misdirected == lies
                    && let Err(why) = self.oracles.opened(node, process.core.store.log(), &machine.disk)
                {
                    return self.fail(why);
                }
                self.net.start(node);
                self.wake(node, Nanos(0));
            }
            Err(why) => self.on_refusal(node, why),
        }
    }

    /// A directory that will not open.
    fn on_refusal(&mut self, node: NodeId, why: OpenError) {
        let dead = self.machine(node).disk.habits.dead;
        let again = Nanos::from_millis(self.dice.between(20, 200));
        if self.machine(node).disk.crashed {
            self.tally.crashes_in_recovery += 1;
            self.machine(node).disk.crash(true);
        } else if self.phase == Phase::Doomed && matches!(why, OpenError::Lost { .. }) {
            return self.epilogue.hear(&why.to_string());
        } else if !dead && !matches!(why, OpenError::Disk(_)) {
            return self.fail(format!("node {node} will not start: {why}"));
        }
        self.machine(node).life += 1;
        self.start_after(node, again);
    }

    /// The process ends, with its machine's power or without.
    pub fn kill(&mut self, node: NodeId, power: bool) {
        let doors = self.doors();
        let machine = &mut self.machines[usize::from(node.0) - 1];
        machine.life += 1;
        machine.backlog.clear();
        machine.wake = Nanos::MAX;
        machine.paused_until = Nanos(0);
        let Some(process) = machine.process.take() else { return };
        machine.disk.crash(power);
        self.tally.ended(&process.core);
        let mut free = Vec::new();
        for desk in &process.desks {
            for at in desk.orphans() {
                if self.clients.on_unknown(at, &doors) {
                    free.push(at.client);
                }
            }
        }
        self.net.now = self.now;
        self.net.stop(node, power);
        for client in free {
            self.schedule(Nanos::from_millis(1), Event::Client(client));
        }
        self.say(|| format!("node {node} is gone{}", if power { ", with its power" } else { "" }));
    }
}
