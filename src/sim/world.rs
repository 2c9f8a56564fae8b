//! The world: a heap of events by virtual time, and what each of them does to the nodes.
//!
//! A run has three phases. In the storm anything may happen, and nothing that was answered may be lost. Then
//! faults end and the world must heal: clients are served again within a bound. At last the clients fall silent
//! and all members must come to rest, equal.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::base::{Incarnation, Life, Nanos, NodeId, Rng, Voice};
use crate::journal;
use crate::pipeline::edge::Edge;
use crate::pipeline::ports::{Door, NetEvent, Turn};
use crate::replica::{Config, Member, Replica, Role};
use crate::sim::atlas::Atlas;
use crate::sim::clients::{Clients, Manners};
use crate::sim::disk::VirtualDisk;
use crate::sim::epilogue::Epilogue;
use crate::sim::faults::Swarm;
use crate::sim::machine::{CLUSTER, Clock, Machine, News, VirtualPorts, with_event};
use crate::sim::mischief::Undo;
use crate::sim::net::{NetNews, NetWork, VirtualNet, address, as_guest, guest};
use crate::sim::oracles::Oracles;
use crate::sim::phases::Phase;
use crate::sim::schemes::{Blow, Trap};
use crate::sim::sessions::guests::Guests;
use crate::sim::tally::Tally;

/// Turns in a row after which a node asked for another at once: more is a loop that never sleeps.
const SPINS_MAX: u32 = 20_000;
/// Seeds of worlds with guests are not those of worlds without.
const GUESTS: u64 = 0x7a6b << 32;
/// Machines: the founding members and two that may join.
pub const SPARES: u8 = 2;

#[derive(Debug)]
pub enum Event {
    Turn { node: NodeId, life: u64, due: Nanos },
    Disk { node: NodeId, life: u64, operation: u64 },
    Net(NetWork),
    Client(usize),
    Guest(usize),
    Fault,
    Undo(Undo),
    Start { node: NodeId, life: u64 },
    Resume { node: NodeId, life: u64 },
    Strike { node: NodeId, life: u64, blow: Blow },
    StrikeLeader(Blow),
    Agenda,
}

/// Orders by time, then by a tie drawn from the seed, then by age.
struct Entry(Reverse<(Nanos, u32, u64)>, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.0 == other.0
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// The run in one number, and with `print` line by line.
#[derive(Debug, Default)]
pub struct Trace {
    pub hash: u64,
    pub print: bool,
    /// What was last printed of each node.
    shown: [String; 16],
}

impl Trace {
    fn take(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

pub struct World {
    pub seed: u64,
    pub swarm: Swarm,
    pub now: Nanos,
    heap: BinaryHeap<Entry>,
    count: u64,
    /// For ties and the length of turns.
    pub(super) rng: Rng,
    /// For what goes wrong, and when.
    pub dice: Rng,
    pub machines: Vec<Machine>,
    pub net: VirtualNet,
    pub clients: Clients,
    pub guests: Option<Box<Guests>>,
    pub oracles: Oracles,
    pub tally: Tally,
    pub trace: Trace,
    pub phase: Phase,
    pub(super) since: Nanos,
    pub(super) since_storm: Nanos,
    pub(super) acked_before: u64,
    /// Changes of members still to be made, one after the other.
    pub agenda: VecDeque<(NodeId, Option<Role>)>,
    /// Whose last batch has rotted: elsewhere it may stand on one disk only, which must not die then (seed 9313).
    pub(super) rotted: Option<NodeId>,
    /// Clients begin nothing new until then.
    pub quiet_until: Nanos,
    /// Moments that are waited for.
    pub traps: Vec<Trap>,
    pub epilogue: Epilogue,
    pub failure: Option<String>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let swarm = Swarm::draw(&mut rng);
        World::of(seed, swarm, rng)
    }

    /// One into which clients of the ZooKeeper door come, too.
    pub fn with_guests(seed: u64) -> World {
        let mut rng = Rng::new(seed ^ GUESTS);
        let swarm = Guests::swarm(&mut rng);
        let guests = Guests::new(&mut rng, &swarm);
        let mut world = World::of(seed, swarm, rng);
        for at in 0..guests.len() {
            world.net.start(guest(at));
            world.schedule(Nanos::from_millis(300), Event::Guest(at));
        }
        world.guests = Some(Box::new(guests));
        world
    }

    /// A world with these faults and sizes.
    pub fn of(seed: u64, swarm: Swarm, mut rng: Rng) -> World {
        let members = swarm.voters;
        let mut net = VirtualNet::new(rng.fork());
        net.weather = swarm.weather.clone();
        let nodes: Vec<NodeId> = (1..=members).map(NodeId).collect();
        let manners = Manners {
            count: rng.between(4, 24) as usize,
            registers: rng.between(1, 6) as u32,
            reads: 0.1 + 0.6 * rng.unit(),
            swaps: rng.unit(),
            local: 0.3 * rng.unit(),
            rest_us: 1 << rng.between(2, 14),
            timeout: Nanos::from_millis(rng.between(200, 2_000)),
            resends: if rng.chance(0.5) { rng.unit() } else { 0.0 },
        };
        let clients = Clients::new(rng.fork(), manners, &nodes);
        let machines = (1..=members + SPARES)
            .map(|id| {
                let atlas = Atlas::of(NodeId(id), members, seed, swarm.cursed);
                let mut disk = VirtualDisk::new(rng.fork(), atlas);
                disk.habits = swarm.habits.clone();
                let mut machine = Machine::new(NodeId(id), disk, Clock::new(Nanos(rng.below(1 << 40))));
                machine.wanted = id <= members;
                machine
            })
            .collect();
        let mut world = World {
            seed,
            now: Nanos(1),
            heap: BinaryHeap::new(),
            count: 0,
            dice: rng.fork(),
            rng,
            machines,
            net,
            clients,
            guests: None,
            oracles: Oracles::default(),
            tally: Tally::default(),
            trace: Trace::default(),
            phase: Phase::Storm,
            since: Nanos(0),
            since_storm: Nanos(0),
            acked_before: 0,
            agenda: VecDeque::new(),
            rotted: None,
            quiet_until: Nanos(0),
            traps: Vec::new(),
            epilogue: Epilogue::default(),
            failure: None,
            swarm,
        };
        world.found();
        world
    }

    /// Formats the founding members' disks and starts everything.
    fn found(&mut self) {
        // Half of the worlds know their founders' disks beforehand, as `quorate dev` could; the others must meet.
        let named = self.seed % 4 < 2;
        let founder = |id: NodeId| {
            let incarnation = if named { self.next_incarnation(id) } else { Incarnation::OPEN };
            Member::new(id, incarnation, Role::Voter, address(id).to_string())
        };
        let config = Config::new((1..=self.swarm.voters).map(NodeId).map(founder).collect());
        for id in (1..=self.swarm.voters).map(NodeId) {
            self.format(id, config.clone());
            let after = Nanos(self.dice.below(5_000_000));
            self.start_after(id, after);
        }
        for client in 0..self.clients.len() {
            let at = Nanos(self.dice.below(200_000_000));
            self.schedule(at, Event::Client(client));
        }
        self.schedule(Nanos::from_millis(50), Event::Agenda);
        self.next_fault();
    }

    /// A new disk for a member; with an empty configuration for one that joins.
    pub fn format(&mut self, node: NodeId, config: Config) {
        let params = self.swarm.params;
        let life = Life(self.now.as_millis() * 1_000);
        let incarnation = self.next_incarnation(node);
        self.machine(node).incarnation = incarnation;
        let disk = &mut self.machine(node).disk;
        disk.wipe();
        let habits = std::mem::take(&mut disk.habits);
        journal::format(disk, CLUSTER, Voice { id: node, incarnation }, config, life, &params)
            .expect("an honest, empty disk takes a format");
        disk.habits = habits;
        disk.notes.incarnation = incarnation;
    }

    /// What a disk formatted now would draw.
    fn next_incarnation(&self, node: NodeId) -> Incarnation {
        let mut rng = Rng::new(self.seed ^ u64::from(node.0) << 56 ^ self.now.0.rotate_left(8));
        Incarnation(rng.next_u64().max(1))
    }

    pub fn machine(&mut self, node: NodeId) -> &mut Machine {
        &mut self.machines[usize::from(node.0) - 1]
    }

    /// Who leads, as far as it knows itself: the one of the highest epoch.
    pub fn leader(&self) -> Option<NodeId> {
        let replicas = self.machines.iter().filter_map(|m| Some(m.process.as_ref()?.core.order.replica()));
        replicas.filter(|r| r.is_leader()).max_by_key(|r| r.promised()).map(|r| r.me())
    }

    /// Nodes that a client may turn to.
    pub(super) fn doors(&self) -> Vec<NodeId> {
        self.machines.iter().filter(|machine| machine.wanted).map(|machine| machine.id).collect()
    }

    pub fn schedule(&mut self, after: Nanos, event: Event) {
        let at = self.now.plus(after);
        self.count += 1;
        let tie = self.rng.next_u64() as u32;
        self.heap.push(Entry(Reverse((at, tie, self.count)), event));
    }

    pub fn fail(&mut self, why: String) {
        if self.failure.is_none() {
            self.failure = Some(why);
        }
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace.print {
            println!("{:>14.6} {}", self.now.0 as f64 / 1e9, what());
        }
    }

    /// Runs to the end, or to the first failure.
    pub fn run(&mut self) {
        while self.step() {}
    }

    /// The next event. False: it is over.
    pub fn step(&mut self) -> bool {
        let Some(Entry(Reverse((at, ..)), event)) = self.heap.pop() else {
            self.fail("nothing is left to happen".into());
            return false;
        };
        self.now = self.now.max(at);
        self.tally.events += 1;
        self.trace.take(self.now.0);
        self.happen(event);
        self.gather();
        self.watch_links();
        self.advance();
        self.phase != Phase::Over && self.failure.is_none()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn { node, life, due } => {
                let machine = self.machine(node);
                if machine.life == life && machine.wake == due {
                    self.turn(node);
                }
            }
            Event::Disk { node, life, operation } => {
                let machine = self.machine(node);
                if machine.life == life
                    && let Some(news) = machine.disk.complete(operation)
                {
                    self.trace.take(operation);
                    self.tell(node, News::Disk(news));
                }
            }
            Event::Net(work) => {
                self.net.now = self.now;
                if let Some((node, news)) = self.net.fire(work) {
                    self.trace.take(u64::from(node.0));
                    match as_guest(node) {
                        Some(at) => self.tell_guest(at, news),
                        None => self.tell(node, News::Net(news)),
                    }
                }
            }
            Event::Client(client) => self.step_client(client),
            Event::Guest(at) => self.step_guest(at),
            Event::Fault => {
                if self.phase == Phase::Storm {
                    self.inject();
                    self.next_fault();
                }
            }
            Event::Undo(undo) => self.undo(undo),
            Event::Start { node, life } => {
                let machine = self.machine(node);
                if machine.life == life && machine.process.is_none() && machine.wanted {
                    self.start(node);
                }
            }
            Event::Resume { node, life } => {
                let now = self.now;
                let machine = self.machine(node);
                if machine.life == life && machine.paused_until <= now {
                    for news in std::mem::take(&mut machine.backlog) {
                        self.tell(node, news);
                    }
                    self.wake(node, Nanos(0));
                }
            }
            Event::Strike { node, life, blow } => self.strike(node, life, blow),
            Event::StrikeLeader(blow) => {
                if let Some(leader) = self.leader() {
                    let life = self.machine(leader).life;
                    self.strike(leader, life, blow);
                }
            }
            Event::Agenda => {
                self.work_on_agenda();
                self.schedule(Nanos::from_millis(50), Event::Agenda);
            }
        }
    }

    fn next_fault(&mut self) {
        let mean = self.swarm.calm_us as f64;
        let us = (-(1.0 - self.dice.unit()).ln() * mean) as u64 + 1_000;
        self.schedule(Nanos(us * 1_000), Event::Fault);
    }

    /// Requests that nodes have made of disks and net go into the heap.
    fn gather(&mut self) {
        for place in 0..self.machines.len() {
            let machine = &mut self.machines[place];
            let (node, life) = (machine.id, machine.life);
            for (due, operation) in std::mem::take(&mut machine.disk.outbox) {
                self.schedule(Nanos(due.0.saturating_sub(self.now.0)), Event::Disk { node, life, operation });
            }
        }
        for (due, work) in std::mem::take(&mut self.net.outbox) {
            self.schedule(Nanos(due.0.saturating_sub(self.now.0)), Event::Net(work));
        }
    }

    // Nodes.

    fn tell(&mut self, node: NodeId, news: News) {
        let now = self.now;
        let machine = &mut self.machines[usize::from(node.0) - 1];
        if machine.paused_until > now {
            return machine.backlog.push_back(news);
        }
        if let News::Net(NetNews::Bytes { conn, .. }) = &news
            && let Some((at, current)) = self.net.guest_behind(node, *conn)
        {
            self.overhear(node, at, current);
        }
        let machine = &mut self.machines[usize::from(node.0) - 1];
        let Some(process) = &mut machine.process else { return };
        let local = machine.clock.local(now);
        machine.disk.now = now;
        let wall_ms = machine.clock.wall_ms(now);
        let mut ports = VirtualPorts { disk: &mut machine.disk, net: self.net.of(node), wall_ms };
        match news {
            News::Disk(event) => process.core.on_disk(local, event, &mut ports),
            News::Net(news) => with_event(news, |event| {
                if let Some(front) = process.front.as_mut().filter(|front| is_for(front, &event)) {
                    return front.on_net(local, event, &mut ports);
                }
                let peers = process.core.on_net(local, &event, &mut ports);
                if let NetEvent::Sent { conn, buffer } = event
                    && peers
                {
                    process.core.peers.on_sent(conn, buffer);
                }
            }),
        }
        let cost = Nanos(1_000 * self.rng.between(1, 10) * self.machine(node).slowness);
        self.wake(node, cost);
    }

    /// A turn is due at once, or when what it costs has passed.
    pub fn wake(&mut self, node: NodeId, after: Nanos) {
        let now = self.now;
        let machine = self.machine(node);
        let due = now.plus(after).max(machine.paused_until);
        if machine.wake <= due && machine.wake >= now {
            return; // One is under way already.
        }
        machine.wake = due;
        let life = machine.life;
        self.schedule(Nanos(due.0 - now.0), Event::Turn { node, life, due });
    }

    fn turn(&mut self, node: NodeId) {
        let now = self.now;
        let machine = &mut self.machines[usize::from(node.0) - 1];
        machine.wake = Nanos::MAX;
        if machine.paused_until > now {
            return self.wake(node, Nanos(0));
        }
        let Some(process) = &mut machine.process else { return };
        let local = machine.clock.local(now);
        machine.disk.now = now;
        self.net.now = now;
        let wall_ms = machine.clock.wall_ms(now);
        let mut ports = VirtualPorts { disk: &mut machine.disk, net: self.net.of(node), wall_ms };
        let said = process.front.as_ref().map_or(0, |front| front.counters().sends.read());
        let mut turn = Turn::IDLE;
        if let Some(front) = &mut process.front {
            turn = turn.and(front.turn(local, &mut ports));
        }
        turn = turn.and(process.core.turn(local, wall_ms, &mut ports));
        if let Some(front) = &mut process.front {
            turn = turn.and(front.turn(local, &mut ports));
        }
        let spoke = process.front.as_ref().is_some_and(|front| front.counters().sends.read() > said);
        self.tally.turns += 1;
        let replica = process.core.order.replica();
        let (commit, last) = (replica.commit().0, replica.last().0);
        self.trace.take(commit << 32 ^ last << 8 ^ u64::from(node.0));
        if self.trace.print {
            let text = describe(replica);
            if self.trace.shown[usize::from(node.0)] != text {
                println!("{:>14.6}   node {node}: {text}", now.0 as f64 / 1e9);
                self.trace.shown[usize::from(node.0)] = text;
            }
        }
        let again = turn.again;
        machine.spins = if turn.again || turn.deadline <= local { machine.spins + 1 } else { 0 };
        if machine.spins > SPINS_MAX {
            let why = format!("36: node {node} turns and turns: {}", self.doing(node));
            return self.fail(why);
        }
        let deadline = machine.clock.global(turn.deadline);
        self.judge(node);
        self.judge_sessions(node, spoke);
        self.hear(node);
        self.spring(node);
        if again {
            let cost = Nanos(1_000 * self.rng.between(1, 10) * self.machine(node).slowness);
            self.wake(node, cost);
        } else if deadline < Nanos(u64::MAX / 2) {
            self.wake(node, Nanos(deadline.0.saturating_sub(now.0)));
        }
    }

    /// A leader whose lease stands while this node has committed in a later epoch.
    fn reads_alone_beside(&self, node: NodeId) -> Option<NodeId> {
        let epoch = self.machines[usize::from(node.0) - 1].replica()?.leads()?;
        let alone = |machine: &&Machine| {
            let now = machine.clock.local(self.now);
            machine.replica().is_some_and(|other| other.promised() < epoch && other.has_lease(now))
        };
        self.machines.iter().find(alone).map(|machine| machine.id)
    }

    /// Holds the node's state against what must be true.
    fn judge(&mut self, node: NodeId) {
        let machines = &self.machines;
        let machine = &machines[usize::from(node.0) - 1];
        let Some(process) = &machine.process else { return };
        let disk = |id: NodeId| machines.get(usize::from(id.0) - 1).map(|machine| &machine.disk);
        if let Err(why) = self.oracles.look(process.core.order.replica(), disk) {
            return self.fail(why);
        }
        let (replica, log) = (process.core.order.replica(), process.core.store.log());
        if let Err(why) = self.oracles.healed(replica, log, &machine.disk) {
            return self.fail(why);
        }
        if let Err(why) = process.core.order.replica().invariants() {
            return self.fail(format!("A: node {node}: {why}"));
        }
        if let Some(clash) = &machine.disk.clash {
            return self
                .fail(format!("7: node {node} writes to {clash} while an earlier write to it is in flight"));
        }
        if let Some(other) = self.reads_alone_beside(node) {
            return self
                .fail(format!("9: node {node} leads, and node {other} may still answer reads by its clock"));
        }
        let Some(why) = process.core.order.halted().map(str::to_owned) else { return };
        self.say(|| format!("node {node} halts: {why}"));
        if self.phase == Phase::Doomed {
            self.epilogue.hear(&why);
        } else if self.is_dead_end(node) {
            // It is right: its promise is to say so and to stop. The world cannot go on.
            self.tally.dead_ends += 1;
            return self.enter(Phase::Over);
        } else if machine.disk.complaints() == machine.complaints {
            return self.fail(format!(
                "node {node} halts and its disk has not failed in this life: {why}; {}",
                self.doing(node)
            ));
        }
        self.tally.halts += 1;
        self.kill(node, false);
        let after = Nanos::from_millis(self.dice.between(20, 500));
        self.start_after(node, after);
    }
}

/// News of a client's connection.
fn is_for(front: &Edge, event: &NetEvent<'_>) -> bool {
    match event {
        NetEvent::Accepted { door, .. } => *door == Door::Zk,
        _ => event.conn().is_some_and(|conn| front.seats(conn)),
    }
}

/// A node's state in a line.
fn describe(replica: &Replica) -> String {
    let log = replica.log();
    format!(
        "epoch {} {} base {} commit {} durable {} last {} unknown {:?} config {} at {}",
        replica.promised(),
        match replica.leader() {
            Some(leader) if leader == replica.me() => "leads".into(),
            Some(leader) => format!("follows {leader}"),
            None => "seeks".into(),
        },
        log.base().index,
        replica.commit(),
        replica.durable(),
        log.last(),
        log.first_unknown().map(|index| index.0),
        replica.config().voters().map(|member| member.id.to_string()).collect::<Vec<_>>().join(","),
        log.config_at(),
    )
}
