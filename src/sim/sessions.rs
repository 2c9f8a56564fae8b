//! ZooKeeper's clients in virtual time: real bytes to real sessions, over real edges and state machines.
//!
//! Agreement has worlds of its own, and `guests` brings such clients into them. Here the log is one list, which every
//! node applies at its own pace, and what is left to the seed is what clients can notice: who lags, who is cut off, who
//! leads, whose state jumps, which connection breaks and where its client goes next. The oracles are the promises about
//! sessions and watches:
//!
//! - an ephemeral's owner has a session, and none that is alive is told that it is not (22, 23);
//! - nobody expires before its timeout has passed since any server heard it, nor much later (24);
//! - a node that is cut off answers nothing (25);
//! - an event comes before any reply that shows the change, once, and none is lost, over reconnects too (26);
//! - what a client sees never goes back, wherever it goes (13).

mod client;
pub(super) mod guests;
mod node;
mod roll;
mod visitor;

use std::collections::BTreeMap;

use crate::base::{Nanos, Origin, Rng};
use crate::realms::machine::{Applied, Machine};
use crate::realms::tree::ops::kind;
use crate::realms::{Effects, Stamp};
use crate::state::{Command, Envelope, RealmId};
use node::Node;
use visitor::Visitor;

const NODES: usize = 3;
const CLIENTS: usize = 8;
const TIMEOUT_MS: i32 = 1_000;
const STEP: Nanos = Nanos(1_000_000);
/// Steps with faults, and as many again at most to come to rest.
const STORM: u64 = 12_000;
/// How late an expiry may be: proposing, a turn, the log.
const LATE: Nanos = Nanos(100_000_000);

/// What is broken on purpose, so that an oracle must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Outcomes reach the edge before the changes that they caused.
    RepliesFirst,
    /// Now and then a change is not told.
    ChangeLost,
    /// A write is applied in front of reads that were asked before it.
    ReadsLate,
    /// An edge does not hear that the state was replaced.
    JumpUntold,
    /// A node that is cut off does not know it.
    DeafToCuts,
    /// The leader's clock for sessions runs ahead.
    EarlyExpiry,
    /// Signs of life of other nodes' clients do not reach the leader.
    TouchesLost,
}

/// Commands of one origin, decided together.
pub struct Entry {
    stamp: Stamp,
    commands: Vec<u8>,
    first: u64,
    origin: Origin,
}

/// Signs of life on their way to the leader: when they arrive, from whom, whose.
type Touch = (Nanos, usize, Vec<(u8, u64)>);

pub struct World {
    rng: Rng,
    flaw: Flaw,
    now: Nanos,
    log: Vec<Entry>,
    nodes: Vec<Node>,
    clients: Vec<Visitor>,
    /// The state at the log's end.
    judge: Machine,
    leader: usize,
    led_since: Nanos,
    /// When any serving node last took bytes of this session.
    heard: BTreeMap<u64, Nanos>,
    touches: Vec<Touch>,
    pub tally: Tally,
}

/// What a run came to: a world in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub replies: u64,
    pub events: u64,
    pub missed: u64,
    pub returns: u64,
    pub expired: u64,
    pub jumps: u64,
    pub cuts: u64,
    pub leaders: u64,
}

pub type Verdict = Result<(), String>;

/// One run. `Err` says which promise was broken, and when.
pub fn run(seed: u64, flaw: Flaw) -> Result<Tally, String> {
    let mut world = World::new(seed, flaw);
    let told = |world: &World, why: String| format!("seed {seed} at {} ms: {why}", world.now.as_millis());
    for _ in 0..STORM {
        world.mischief();
        world.step().map_err(|why| told(&world, why))?;
    }
    world.heal();
    for _ in 0..STORM {
        world.step().map_err(|why| told(&world, why))?;
    }
    world.check_rest().map_err(|why| told(&world, why))?;
    Ok(world.tally)
}

impl World {
    fn new(seed: u64, flaw: Flaw) -> World {
        let mut rng = Rng::new(seed);
        let mut world = World {
            flaw,
            now: Nanos(STEP.0),
            log: Vec::new(),
            nodes: (0..NODES).map(|at| Node::new(at, 1)).collect(),
            clients: (0..CLIENTS).map(|at| Visitor::new(at, rng.fork())).collect(),
            judge: Machine::new(),
            leader: 0,
            led_since: Nanos(0),
            heard: BTreeMap::new(),
            touches: Vec::new(),
            tally: Tally::default(),
            rng,
        };
        world.lead(0);
        world
    }

    fn lead(&mut self, at: usize) {
        while self.nodes[at].applied < self.log.len() {
            self.nodes[at].turn(self.now);
            self.nodes[at].apply_next(&self.log, self.flaw, &mut self.rng);
        }
        self.leader = at;
        self.led_since = self.now;
        self.touches.clear();
        self.nodes[at].machine.lead(self.now);
        self.tally.leaders += 1;
    }

    fn mischief(&mut self) {
        let at = self.rng.below(NODES as u64) as usize;
        if self.rng.chance(0.002) {
            let cut = !self.nodes[at].cut;
            if !cut || self.nodes.iter().filter(|node| node.cut).count() == 0 {
                self.cut(at, cut);
            }
        }
        if self.rng.chance(0.0008) && !self.nodes[at].cut {
            self.lead(at);
        }
        if self.rng.chance(0.006) && self.nodes[at].applied < self.log.len() && at != self.leader {
            self.nodes[at].jump(&mut self.judge, self.log.len(), self.flaw);
            self.tally.jumps += 1;
        }
        let slept = self.nodes[at].asleep_until;
        if self.rng.chance(0.003) && self.now.since(slept) > Nanos::from_millis(300) {
            let lag = self.rng.below(300);
            self.nodes[at].asleep_until = self.now.plus(Nanos::from_millis(lag));
        }
    }

    fn cut(&mut self, at: usize, cut: bool) {
        self.nodes[at].set_cut(cut, self.now, self.flaw);
        self.tally.cuts += u64::from(cut);
        if cut && at == self.leader {
            let other = (at + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
            self.lead(other);
        }
    }

    /// Faults end. Clients that left for good stay away.
    fn heal(&mut self) {
        for at in 0..NODES {
            self.nodes[at].asleep_until = Nanos(0);
            if self.nodes[at].cut {
                self.cut(at, false);
            }
        }
        self.clients.iter_mut().for_each(Visitor::calm);
    }

    fn step(&mut self) -> Verdict {
        self.now = self.now.plus(STEP);
        for at in 0..CLIENTS {
            let doors: Vec<usize> = (0..NODES).filter(|&node| self.rng.chance(0.9) || node == 0).collect();
            let client = &mut self.clients[at];
            client.act(self.now, &mut self.nodes, &doors, &mut self.heard, &mut self.tally);
        }
        for at in 0..NODES {
            self.turn(at)?;
        }
        self.take_touches();
        self.expire()?;
        for at in 0..CLIENTS {
            let Some((node, slot)) = self.clients[at].seat else { continue };
            let (bytes, closed) = self.nodes[node].take(slot);
            if self.nodes[node].is_surely_cut(self.now) && !bytes.is_empty() {
                return Err(format!("node {node} is cut off and speaks to client {at}"));
            }
            let judge = &self.judge;
            let lives = |session: u64| judge.tree().has_session(session);
            self.clients[at].hear(&bytes, closed, self.now, lives, &mut self.tally)?;
        }
        Ok(())
    }

    fn turn(&mut self, at: usize) -> Verdict {
        let node = &mut self.nodes[at];
        if node.asleep_until > self.now {
            return Ok(());
        }
        node.turn(self.now);
        let reaches = !node.cut;
        if reaches {
            for intake in std::mem::take(&mut node.unconfirmed) {
                // A change of leaders may put it there twice: the state machines drop the second.
                let twice = self.rng.chance(0.02);
                for _ in 0..=usize::from(twice) {
                    self.decide(intake.origin, intake.first, intake.commands.clone());
                }
            }
        }
        let node = &mut self.nodes[at];
        let delay = Nanos::from_millis(self.rng.below(20));
        for ids in std::mem::take(&mut node.touched) {
            if reaches && !(self.flaw == Flaw::TouchesLost && at != self.leader) {
                self.touches.push((self.now.plus(delay), at, ids));
            }
        }
        let upto = match self.rng.chance(0.8) {
            true => self.rng.below(4) as usize,
            false => 0,
        };
        if reaches {
            for _ in 0..upto {
                self.nodes[at].apply_next(&self.log, self.flaw, &mut self.rng);
            }
        }
        let end = self.log.len();
        self.nodes[at].answer(reaches, end);
        Ok(())
    }

    /// Into the log, and into the state at its end.
    fn decide(&mut self, origin: Origin, first: u64, commands: Vec<u8>) {
        let stamp = Stamp {
            index: crate::base::Index(self.log.len() as u64 + 1),
            wall_ms: 1_700_000_000_000 + self.now.as_millis(),
            ticks: self.now,
        };
        for command in Command::all(&commands) {
            let mut effects = Effects { wanted: true, ..Effects::default() };
            let done = self.judge.apply(&stamp, &command, &mut effects);
            assert!(matches!(done, Ok(Applied::Done | Applied::Dropped(_))), "{done:?}");
            // A handshake in the log is a sign of life.
            let id = match command.envelope.kind {
                kind::OPEN_SESSION => effects.reply.get(12..20),
                kind::ATTACH_SESSION => command.payload.get(..8),
                _ => None,
            };
            if let Some(id) = id.and_then(|id| id.try_into().ok()) {
                self.heard.insert(u64::from_be_bytes(id), self.now);
            }
        }
        self.log.push(Entry { stamp, commands, first, origin });
    }

    fn take_touches(&mut self) {
        let (now, leader) = (self.now, self.leader);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.touches).into_iter().partition(|touch| touch.0 <= now);
        self.touches = later;
        for (_, from, mut ids) in due {
            ids.retain(|&(realm, id)| !self.nodes[leader].machine.touch(realm, id, now));
            if ids.is_empty() || self.nodes[from].cut {
                continue;
            }
            // What a leader that lags does not know yet, it looks at again.
            match self.nodes[leader].applied == self.log.len() {
                true => self.nodes[from].gone(ids),
                false => self.touches.push((now, from, ids)),
            }
        }
    }

    /// The leader's timers, held against what the servers have really heard.
    fn expire(&mut self) -> Verdict {
        let leader = &mut self.nodes[self.leader];
        if leader.asleep_until > self.now || leader.applied < self.log.len() {
            return Ok(());
        }
        let ahead = if self.flaw == Flaw::EarlyExpiry { Nanos::from_millis(500) } else { Nanos(0) };
        let mut commands = Vec::new();
        leader.machine.due(self.now.plus(ahead), 16, &mut commands);
        if commands.is_empty() {
            return Ok(());
        }
        let timeout = Nanos::from_millis(TIMEOUT_MS as u64);
        for command in Command::all(&commands) {
            let Envelope { realm, .. } = command.envelope;
            let (true, Ok(id)) = (realm == RealmId::Tree as u8, command.payload.try_into()) else { continue };
            let id = u64::from_be_bytes(id);
            let heard = self.heard.get(&id).copied().unwrap_or(Nanos(0));
            if self.now.since(heard) < timeout {
                let span = self.now.since(heard).as_millis();
                return Err(format!("session {id:x} expires {span} ms after a server heard it"));
            }
            let due = heard.max(self.led_since).plus(timeout);
            // A leader that slept could not see it sooner.
            if self.now.since(due) > LATE.plus(Nanos::from_millis(320)) {
                return Err(format!("session {id:x} expires {} ms late", self.now.since(due).as_millis()));
            }
            self.tally.expired += 1;
        }
        self.decide(Origin::default(), 0, commands);
        self.judge.tree().audit()
    }

    /// Everything is applied, everybody is served: what is still watched has not changed.
    fn check_rest(&self) -> Verdict {
        self.judge.tree().audit()?;
        for Visitor { client, .. } in &self.clients {
            for (path, seen) in client.watched() {
                let stands = self.judge.tree().mzxid(path.as_bytes());
                if stands != Some(seen) {
                    return Err(format!(
                        "client {}'s watch of {path} was set at zxid {seen}, the node is at {stands:?}, and no event came",
                        client.at
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_keep_their_promises() {
        let mut sum = Tally::default();
        for seed in 1..=12 {
            let tally = run(seed, Flaw::None).unwrap();
            sum.replies += tally.replies;
            sum.events += tally.events;
            sum.missed += tally.missed;
            sum.returns += tally.returns;
            sum.expired += tally.expired;
            sum.jumps += tally.jumps;
            sum.cuts += tally.cuts;
        }
        assert!(sum.replies > 20_000 && sum.events > 1_000 && sum.returns > 200, "{sum:?}");
        assert!(sum.missed > 20 && sum.expired > 20 && sum.jumps > 20 && sum.cuts > 50, "{sum:?}");
    }

    #[test]
    fn every_flaw_is_found() {
        let flaws = [
            (Flaw::RepliesFirst, "before its event"),
            (Flaw::ChangeLost, ""),
            (Flaw::ReadsLate, ""),
            (Flaw::JumpUntold, ""),
            (Flaw::DeafToCuts, "is cut off and speaks"),
            (Flaw::EarlyExpiry, "after a server heard it"),
            (Flaw::TouchesLost, "after a server heard it"),
        ];
        for (flaw, word) in flaws {
            let found = (1..=12).find_map(|seed| run(seed, flaw).err());
            let why = found.unwrap_or_else(|| panic!("{flaw:?} is not found"));
            assert!(why.contains(word), "{flaw:?}: {why}");
        }
    }
}
