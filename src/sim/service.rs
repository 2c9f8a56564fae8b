//! What clients ask of nodes, and what nodes answer them.

use crate::base::{Nanos, NodeId};
use crate::pipeline::parcel::EdgeOut;
use crate::realms::register::Reply;
use crate::sim::clients::Ticket;
use crate::sim::phases::{GOAL, Phase};
use crate::sim::world::{Event, World};

impl World {
    /// What the node tells its edges.
    pub(super) fn hear(&mut self, node: NodeId) {
        let now = self.now;
        let machine = &mut self.machines[usize::from(node.0) - 1];
        let life = machine.life;
        let Some(process) = &mut machine.process else { return };
        let mut done: Vec<(Ticket, Option<Reply>)> = Vec::new();
        let mut lost: Vec<Ticket> = Vec::new();
        for (desk, lanes) in process.desks.iter_mut().zip(&mut process.edges) {
            while let Some(news) = lanes.from_apply.take().or_else(|| lanes.from_order.take()) {
                match news {
                    EdgeOut::Outcomes(outcomes) => {
                        let mut start = 0;
                        for (sequence, end) in outcomes.items {
                            let bytes = &outcomes.replies[start..end as usize];
                            start = end as usize;
                            done.extend(desk.commands.remove(&sequence).map(|at| (at, Reply::decode(bytes))));
                        }
                    }
                    EdgeOut::Answers(answers) => {
                        let mut start = 0;
                        for (tag, end) in answers.items {
                            let bytes = &answers.bytes[start..end as usize];
                            start = end as usize;
                            done.extend(desk.reads.remove(&tag).map(|at| (at, Reply::decode(bytes))));
                        }
                    }
                    EdgeOut::ReadsFailed(tags) => {
                        lost.extend(tags.iter().filter_map(|tag| desk.reads.remove(tag)));
                    }
                    EdgeOut::Unknown { below } => {
                        let rest = desk.commands.split_off(&below);
                        lost.extend(std::mem::replace(&mut desk.commands, rest).into_values());
                    }
                    EdgeOut::Serving(serving) => process.serving = serving,
                    _ => {}
                }
            }
        }
        for (at, outcome) in done {
            if outcome == Some(Reply::Stale) && !self.clients.waits_for(at) {
                continue; // A request that was given up came behind the client's next.
            }
            let Some(Reply::Done { before, revision }) = outcome else {
                return self.fail(format!("node {node} answers client {} with {outcome:?}", at.client));
            };
            if self.clients.on_reply(now, at, life, before, revision) {
                let rest = Nanos(1_000 * self.rng.between(1, self.clients.manners.rest_us));
                self.schedule(rest, Event::Client(at.client));
            }
        }
        let doors = self.doors();
        for at in lost {
            if self.clients.on_unknown(at, &doors) {
                self.schedule(Nanos::from_millis(1), Event::Client(at.client));
            }
        }
    }

    pub(super) fn step_client(&mut self, client: usize) {
        if self.phase >= Phase::Rest && !self.clients.waits(client) {
            return;
        }
        if self.is_hushed() && !self.clients.waits(client) {
            return self.schedule(Nanos::from_millis(100), Event::Client(client));
        }
        if self.now < self.quiet_until && self.is_stormy() && !self.clients.waits(client) {
            return self.schedule(Nanos::from_millis(20), Event::Client(client));
        }
        let enough = match self.phase {
            Phase::Storm => self.clients.acked >= 2 * GOAL,
            _ => self.is_served(),
        };
        if enough && !self.clients.waits(client) && self.rng.chance(0.9) {
            // All that the run wants of clients is done; the rest of the world goes on.
            return self.schedule(Nanos::from_millis(100), Event::Client(client));
        }
        let doors = self.doors();
        let (request, again) = self.clients.step(self.now, client, &doors);
        if let Some(request) = request {
            let now = self.now;
            let machine = self.machine(request.node);
            let taken = machine.paused_until <= now
                && machine.process.as_mut().is_some_and(|process| process.submit(&request));
            if taken {
                self.wake(request.node, Nanos(2_000));
            } else {
                self.clients.on_refused(client, &doors);
                return self.schedule(Nanos::from_millis(20), Event::Client(client));
            }
        }
        self.schedule(Nanos(again.0.saturating_sub(self.now.0)), Event::Client(client));
    }
}
