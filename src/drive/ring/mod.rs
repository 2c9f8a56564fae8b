//! A loop on a bare io_uring: one ring carries the sockets, the log writes and the doorbell of one thread.
//!
//! A round: take in what has completed, let the station turn, hand its requests to the kernel, and sleep if there
//! is nothing more to do. The hand-over and the sleep are one system call.

mod buffers;
mod disk;
mod kernel;
mod net;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use io_uring::types::Timespec;
use io_uring::{opcode, types};

use crate::base::Nanos;
use crate::drive::bell::Doorbell;
use crate::drive::clock;
use crate::drive::setup::Setup;
use crate::drive::slow::Slow;
use crate::observe::LoopCounters;
use crate::pipeline::ports::{Conn, DiskEvent, Door, Ended, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};

use buffers::Buffers;
use kernel::{Done, Kernel, Kind, tag};
use sockets::{Phase, Sockets};

/// Turns in a row before the loop looks at the ring again.
const TURNS: usize = 8;

/// Rounds in a row that brought nothing but signs of life, from which on these are let gather: thousands of idle
/// clients then cost a few hundred rounds a second. A request or a timer that comes meanwhile waits so long at most.
const QUIET_ROUNDS: u32 = 16;
const GATHER: Nanos = Nanos(4_000_000);
const GATHER_MAX: usize = 64;

/// How long the last sends of a station that is done may take.
const FAREWELL: Nanos = Nanos(500_000_000);

/// What a loop with `count` receive buffers registers with the kernel or has it lock: buffers and both queues.
pub const fn footprint(count: u16) -> usize {
    Buffers::footprint(count) + kernel::QUEUES
}

/// Whether this machine gives what a ring needs.
pub fn probe() -> io::Result<()> {
    let kernel = Kernel::new(Arc::default())?;
    Buffers::register(kernel.ring(), 1).map(drop)
}

/// An event that came without the kernel.
enum Ready {
    Sent(Conn, Vec<u8>),
    DialFailed(u64),
    Resumed(Conn),
    Release(u32),
    Disk(DiskEvent),
}

/// The ports of a station on this ring.
pub struct Ring {
    kernel: Kernel,
    sockets: Sockets,
    files: Option<disk::Files>,
    disk_pending: u64,
    listeners: Vec<(Door, TcpListener)>,
    /// Closed connections, and when they are cut. All have the same time, so these are in order.
    lingering: VecDeque<(Nanos, Conn)>,
    /// Listeners that failed, and when to try them again.
    resting: Vec<(Nanos, usize)>,
    ready: VecDeque<Ready>,
    /// A connection was closed behind a send that is under way: its end is to be told to the other side.
    parting: bool,
    dial_limit: Box<Timespec>,
    bell: Arc<Doorbell>,
    /// Where the kernel puts the doorbell's count.
    rung: Box<u64>,
    counters: Arc<LoopCounters>,
}

impl Ports for Ring {
    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }
}

/// Runs a station on this thread until it is done.
pub fn run<S: Station>(setup: Setup, mut station: S) -> io::Result<S> {
    // Declared in this order, the ring is dropped before the memory that it was given.
    let (mut buffers, mut ring) = Ring::new(setup)?;
    ring.serve(&mut buffers, &mut station);
    ring.part(&mut buffers, &mut station);
    Ok(station)
}

impl Ring {
    fn new(setup: Setup) -> io::Result<(Buffers, Ring)> {
        let kernel = Kernel::new(setup.counters.clone())?;
        let buffers = Buffers::register(kernel.ring(), setup.buffers)?;
        let files = match setup.dir {
            Some(dir) => Some(disk::Files::new(dir.clone(), Slow::start(dir, setup.bell.clone())?)),
            None => None,
        };
        setup.counters.connections_max.set(setup.connections_max as u64);
        let mut ring = Ring {
            kernel,
            sockets: Sockets::new(setup.connections_max),
            files,
            disk_pending: 0,
            listeners: setup.listeners,
            lingering: VecDeque::new(),
            resting: Vec::new(),
            ready: VecDeque::new(),
            parting: false,
            dial_limit: Box::new(
                Timespec::new()
                    .sec(setup.dial_limit.0 / 1_000_000_000)
                    .nsec((setup.dial_limit.0 % 1_000_000_000) as u32),
            ),
            bell: setup.bell,
            rung: Box::new(0),
            counters: setup.counters,
        };
        ring.listen_to_bell();
        (0..ring.listeners.len()).for_each(|listener| ring.start_accept(listener));
        Ok((buffers, ring))
    }

    fn serve<S: Station>(&mut self, buffers: &mut Buffers, station: &mut S) {
        let (mut done, mut stopping) = (Vec::new(), false);
        let (mut quiet, mut before) = (0, Nanos(0));
        loop {
            self.bell.wake();
            let now = self.take_in(&mut done, buffers, station);
            // Few signs of life are answered at once: letting them gather would save nothing.
            let often = now.since(before) < GATHER;
            before = now;
            if !stopping && self.bell.is_stopping() {
                stopping = true;
                station.on_stop(now);
            }
            let mut turn = Turn::IDLE;
            for _ in 0..TURNS {
                turn = station.turn(now, self);
                if !turn.again {
                    break;
                }
            }
            if station.is_done() {
                return;
            }
            self.counters.rounds.add(1);
            self.counters.connections.set(self.sockets.in_use() as u64);
            self.counters.disk_pending.set(self.disk_pending);
            let deadline = turn.deadline.min(self.next_time());
            let idle = !turn.again && self.ready.is_empty();
            quiet = if station.is_quiet() && (often || quiet >= QUIET_ROUNDS) { quiet + 1 } else { 0 };
            if idle && self.bell.sleep() {
                let wait = if deadline == Nanos::MAX { deadline } else { deadline.since(now) };
                if quiet >= QUIET_ROUNDS && self.sockets.in_use() > GATHER_MAX && wait > Nanos(0) {
                    self.kernel.gather(GATHER_MAX, GATHER);
                } else if std::mem::take(&mut self.parting) || station.awaits_sent() {
                    self.kernel.park(wait);
                } else {
                    self.kernel.park_past_prompt(wait);
                }
            } else {
                self.kernel.submit();
            }
        }
    }

    /// All that has come since the last round. Returns the time of this one.
    fn take_in<S: Station>(&mut self, done: &mut Vec<Done>, buffers: &mut Buffers, station: &mut S) -> Nanos {
        let now = clock::now();
        self.kernel.reap(done);
        for done in done.drain(..) {
            match done.kind {
                Kind::Ignored => {}
                Kind::Bell => self.listen_to_bell(),
                Kind::Accept => self.on_accept(now, done, station),
                Kind::Receive => self.on_receive(now, done, buffers, station),
                Kind::Send => self.on_send(now, done, station),
                Kind::Connect => self.on_connect(now, done, station),
                Kind::Disk => self.on_disk(now, done, station),
            }
        }
        for _ in 0..self.ready.len() {
            match self.ready.pop_front().expect("counted") {
                Ready::Sent(conn, buffer) => station.on_net(now, NetEvent::Sent { conn, buffer }, self),
                Ready::DialFailed(token) => {
                    station.on_net(now, NetEvent::DialFailed { token, why: Ended::Broken }, self);
                }
                Ready::Resumed(conn) => self.on_resumed(now, conn, station),
                Ready::Release(slot) => self.release_if_done(slot),
                Ready::Disk(event) => station.on_disk(now, event, self),
            }
        }
        while let Some(event) = self.files.as_mut().and_then(|files| files.slow.poll()) {
            station.on_disk(now, event, self);
        }
        self.on_time(now);
        now
    }

    fn listen_to_bell(&mut self) {
        let read = opcode::Read::new(types::Fd(self.bell.fd()), (&raw mut *self.rung).cast(), 8).build();
        // SAFETY: `rung` is read by nobody and stays in its box until the ring is drained.
        unsafe { self.kernel.push(read.user_data(tag(Kind::Bell, 0))) };
    }

    /// The end: what was sent goes out, within bounds; then the kernel gives all memory back.
    fn part<S: Station>(&mut self, buffers: &mut Buffers, station: &mut S) {
        let (until, mut done) = (clock::now().plus(FAREWELL), Vec::new());
        loop {
            let sending = self.sockets.all().any(|(_, s)| s.sending && s.phase != Phase::Dead);
            let left = until.since(clock::now());
            if left.0 == 0 || !sending && self.disk_pending == 0 {
                break;
            }
            self.kernel.park(left);
            self.take_in(&mut done, buffers, station);
        }
        self.kernel.drain();
    }
}
