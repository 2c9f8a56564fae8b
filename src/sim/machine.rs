//! One machine: a disk that outlives its processes, clocks of its own, and at times a process that runs the
//! shipping stages on virtual ports.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::Origin;
use crate::base::{Block, ClusterId, Incarnation, Nanos, NodeId};
use crate::doors::Bounds;
use crate::doors::zk::{Board, Config, Zk};
use crate::journal::{self, Expect, OpenError, Report};
use crate::pipeline::edge::{Doors, Edge, Lanes, Limits};
use crate::pipeline::node::{AdminEnd, Core, Tuning};
use crate::pipeline::parcel::{EdgeIn, Intake, ReadItem, Reads};
use crate::pipeline::ports::{Conn, Disk, DiskEvent, Door, File, Net, NetEvent};
use crate::pipeline::station::Ports;
use crate::realms::register;
use crate::replica::Replica;
use crate::sim::check::Ask;
use crate::sim::clients::{Desk, Request, Ticket};
use crate::sim::disk::VirtualDisk;
use crate::sim::faults::Swarm;
use crate::sim::net::{NetNews, NodeNet, as_guest, node_at};
use crate::sim::schemes::Sight;
use crate::state::{Envelope, RealmId};

pub const CLUSTER: ClusterId = ClusterId(0x51a7);

/// What a machine's clocks say: the monotonic one drifts, the wall clock jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: Nanos,
    local: Nanos,
    /// Per thousand.
    rate: u64,
    wall_ms: i64,
}

impl Clock {
    pub fn new(local: Nanos) -> Clock {
        Clock { since: Nanos(0), local, rate: 1000, wall_ms: 1_700_000_000_000 }
    }

    pub fn local(&self, now: Nanos) -> Nanos {
        Nanos(self.local.0 + (now.0 - self.since.0) / 1000 * self.rate)
    }

    /// When this clock shows `local`, or a little later.
    pub fn global(&self, local: Nanos) -> Nanos {
        let span = local.0.saturating_sub(self.local.0);
        Nanos(
            self.since.0.saturating_add(span / self.rate * 1000).saturating_add(1_000_000 / self.rate + 1000),
        )
    }

    pub fn drift(&mut self, now: Nanos, rate: u64) {
        *self = Clock { local: self.local(now), since: now, rate, ..*self };
    }

    pub fn jump(&mut self, ms: i64) {
        self.wall_ms += ms;
    }

    pub fn wall_ms(&self, now: Nanos) -> u64 {
        (self.wall_ms + now.as_millis() as i64).max(0) as u64
    }
}

/// Something that has happened to a process that stands still.
#[derive(Debug)]
pub enum News {
    Net(NetNews),
    Disk(DiskEvent),
}

pub struct Process {
    pub core: Core,
    pub desks: Vec<Desk>,
    pub edges: Vec<Lanes>,
    /// Where clients of the ZooKeeper door come in, in worlds that have any.
    pub front: Option<Edge>,
    pub admin: AdminEnd,
    pub serving: bool,
}

pub struct Machine {
    pub id: NodeId,
    /// Of its present disk.
    pub incarnation: Incarnation,
    pub disk: VirtualDisk,
    pub process: Option<Process>,
    /// Grows with every start and end of a process: events of an earlier life are dropped.
    pub life: u64,
    pub clock: Clock,
    pub paused_until: Nanos,
    /// Time that a turn takes is multiplied by it.
    pub slowness: u64,
    /// When the next turn is due.
    pub wake: Nanos,
    /// What its disk had failed when this life began.
    pub complaints: u64,
    /// Turns in a row that asked for another at once.
    pub spins: u32,
    pub backlog: VecDeque<News>,
    /// What it was at when it was last looked at.
    pub sight: Sight,
    /// A member of the cluster, or about to be: restarted when it dies.
    pub wanted: bool,
}

/// The ports of one machine for one call.
pub struct VirtualPorts<'a> {
    pub disk: &'a mut VirtualDisk,
    pub net: NodeNet<'a>,
    pub wall_ms: u64,
}

impl Net for VirtualPorts<'_> {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        self.net.send(conn, buffer);
    }
    fn pause(&mut self, conn: Conn, paused: bool) {
        self.net.pause(conn, paused);
    }
    fn close(&mut self, conn: Conn) {
        self.net.close(conn);
    }
    fn dial(&mut self, token: u64, to: SocketAddr) {
        self.net.dial(token, to);
    }
}

impl Disk for VirtualPorts<'_> {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        Disk::write(self.disk, token, file, offset, block);
    }
    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        Disk::read(self.disk, token, file, offset, len);
    }
    fn create(&mut self, token: u64, file: File, len: u64) {
        Disk::create(self.disk, token, file, len);
    }
    fn end(&mut self, token: u64, file: File, len: u64) {
        Disk::end(self.disk, token, file, len);
    }
    fn remove(&mut self, token: u64, file: File) {
        Disk::remove(self.disk, token, file);
    }
}

impl Ports for VirtualPorts<'_> {
    fn wall_ms(&self) -> u64 {
        self.wall_ms
    }
}

/// Sizes and times of a node in this world.
pub fn tuning(swarm: &Swarm, seed: u64) -> Tuning {
    let mut tuning = Tuning { seed, ..Tuning::default() };
    tuning.timing.heartbeat = Nanos::from_millis(swarm.heartbeat_ms);
    tuning.timing.patience = Nanos::from_millis(swarm.patience_ms);
    tuning.timing.lease = swarm.lease;
    tuning.order.batch_bytes = swarm.batch_bytes;
    tuning.order.in_flight = swarm.in_flight;
    tuning.order.snapshot_bytes = swarm.snapshot_bytes;
    tuning.order.snapshot_most = swarm.params.log_bytes() / 2;
    tuning.order.slot_bytes = 0; // By its share of so small a segment each batch would call for a snapshot.
    tuning.order.keep = swarm.keep;
    tuning.order.keep_bytes = swarm.params.log_bytes() / 4;
    tuning.window_bytes = 64 << 10;
    tuning.window_count = 8;
    tuning.cache_bytes = 64 << 10;
    tuning.digest_every = 16;
    tuning
}

impl Machine {
    pub fn new(id: NodeId, disk: VirtualDisk, clock: Clock) -> Machine {
        Machine {
            id,
            incarnation: Incarnation::OPEN,
            disk,
            process: None,
            life: 0,
            clock,
            paused_until: Nanos(0),
            slowness: 1,
            wake: Nanos::MAX,
            complaints: 0,
            spins: 0,
            backlog: VecDeque::new(),
            sight: Sight::default(),
            wanted: true,
        }
    }

    pub fn replica(&self) -> Option<&Replica> {
        self.process.as_ref().map(|process| process.core.order.replica())
    }

    /// Opens the directory and wires the stages. What recovery found comes back. `guests`: it has a door for them.
    pub fn open(&mut self, now: Nanos, swarm: &Swarm, seed: u64, guests: bool) -> Result<Report, OpenError> {
        let expect = Expect { cluster: Some(CLUSTER), node: Some(self.id) };
        self.disk.now = now;
        self.complaints = self.disk.complaints();
        let opened = journal::open(&mut self.disk, &swarm.params, expect)?;
        let report = opened.report.clone();
        let life = opened.marks.life;
        let local = self.clock.local(now);
        let lanes = usize::from(swarm.lanes) + usize::from(guests);
        let (core, mut edges, admin) = Core::new(local, opened, &mut self.disk, &tuning(swarm, seed), lanes)?;
        let front = if guests { edges.pop() } else { None };
        let front = front.map(|lanes| front_door(Origin::new(self.id, swarm.lanes, life), lanes));
        let desks = (0..swarm.lanes).map(|lane| Desk::new(self.id, lane, life)).collect();
        self.process = Some(Process { core, desks, edges, front, admin, serving: false });
        Ok(report)
    }
}

impl Process {
    /// Puts a client's request into a lane. False: the lane is full, nothing has happened.
    pub fn submit(&mut self, request: &Request) -> bool {
        let place = request.client % self.desks.len();
        let ticket = Ticket { client: request.client, ticket: request.ticket };
        let (desk, lanes) = (&mut self.desks[place], &mut self.edges[place]);
        let (kind, payload) = match request.ask {
            Ask::Read => {
                let room = if request.local { lanes.to_apply.room() } else { lanes.to_order.room() };
                if room == 0 {
                    return false;
                }
                let tag = desk.next_tag;
                desk.next_tag += 1;
                desk.reads.insert(tag, ticket);
                let queries = register::query(request.register);
                let item =
                    ReadItem { tag, realm: RealmId::Register as u8, end: queries.len() as u32, after: 0 };
                let reads = Reads { lane: desk.lane, items: vec![item], queries };
                match request.local {
                    true => lanes.to_apply.send(reads),
                    false => lanes.to_order.send(EdgeIn::Reads(reads)),
                }
                return true;
            }
            Ask::Write(value) => (register::WRITE, register::write(request.register, value)),
            Ask::Swap { from, to } => (register::SWAP, register::swap(request.register, from, to)),
        };
        if lanes.to_order.room() == 0 {
            return false;
        }
        let sequence = desk.next;
        desk.next += 1;
        desk.commands.insert(sequence, ticket);
        let envelope = Envelope {
            realm: RealmId::Register as u8,
            kind,
            origin: desk.origin,
            sequence,
            session: if request.number > 0 { request.client as u64 + 1 } else { 0 },
            request: request.number,
            ..Envelope::default()
        };
        let mut commands = Vec::new();
        envelope.write(&payload, &mut commands);
        let intake = Intake { origin: desk.origin, first: sequence, count: 1, commands };
        lanes.to_order.send(EdgeIn::Intake(intake));
        true
    }
}

fn front_door(origin: Origin, lanes: Lanes) -> Edge {
    let config = Config { timeout_ms: (100, 40_000), per_address_max: 0, ..Config::default() };
    let zk = Zk::new(origin, Arc::new(config), Arc::new(Board::new(origin.lane() + 1)));
    let doors = Doors { zk: Some(zk), ..Doors::default() };
    Edge::new(origin, Bounds::default(), Limits::default(), doors, lanes)
}

/// The port's form of an event; bytes are borrowed for the call.
pub fn with_event<R>(news: NetNews, call: impl FnOnce(NetEvent<'_>) -> R) -> R {
    match news {
        NetNews::Accepted { conn, from } => {
            let is_guest = node_at(from).and_then(as_guest).is_some();
            let door = if is_guest { Door::Zk } else { Door::Peer };
            call(NetEvent::Accepted { conn, door, from, by: None })
        }
        NetNews::Dialled { token, conn } => call(NetEvent::Dialled { token, conn, by: None }),
        NetNews::DialFailed { token, why } => call(NetEvent::DialFailed { token, why }),
        NetNews::Bytes { conn, bytes } => call(NetEvent::Bytes { conn, bytes: &bytes }),
        NetNews::Sent { conn, buffer } => call(NetEvent::Sent { conn, buffer }),
        NetNews::Ended { conn, why } => call(NetEvent::Ended { conn, why }),
    }
}
