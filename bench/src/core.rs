//! *core*: commands through order, store, peer and apply on three nodes, made where an edge would make them. What
//! doors and clients cost is not in it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate::base::{ClusterId, Incarnation, Life, Nanos, NodeId, Origin, Voice};
use quorate::config::Runtime;
use quorate::drive::{self, Dir, Doorbell, Files, Setup};
use quorate::journal::{Expect, Params, format, open};
use quorate::pipeline::edge::Lanes;
use quorate::pipeline::node::{Core, Tuning};
use quorate::pipeline::parcel::{EdgeIn, EdgeOut, Intake};
use quorate::pipeline::ports::{DiskEvent, Door, NetEvent, Turn};
use quorate::pipeline::station::{Ports, Station};
use quorate::realms::register;
use quorate::replica::{Config, Member, Role};
use quorate::state::{Envelope, RealmId};

#[derive(clap::Args)]
pub struct Args {
    /// Where the nodes keep their logs; made, and removed at the end.
    #[arg(long, default_value = "core-bench-data")]
    data: PathBuf,
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Commands under way, over all nodes.
    #[arg(long, default_value_t = 1024)]
    outstanding: u64,
    /// Payload bytes of a command.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    #[arg(long, default_value_t = 5)]
    secs: u64,
    /// Batches not yet decided.
    #[arg(long, default_value_t = 4)]
    in_flight: u64,
}

struct Bench {
    core: Core,
    lanes: Lanes,
    origin: Origin,
    sent: u64,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicU64>,
    outstanding: u64,
    payload: Vec<u8>,
    finished: bool,
}

impl Bench {
    fn generate(&mut self) {
        while let Some(news) = self.lanes.from_apply.take() {
            if let EdgeOut::Outcomes(outcomes) = news {
                self.done.fetch_add(outcomes.items.len() as u64, Ordering::Relaxed);
            }
        }
        while self.lanes.from_order.take().is_some() {}
        let missing = self.outstanding - (self.sent - self.done.load(Ordering::Relaxed));
        if missing == 0 || self.lanes.to_order.room() == 0 {
            return;
        }
        let first = self.sent + 1;
        let mut commands = Vec::with_capacity(missing as usize * (self.payload.len() + 64));
        for _ in 0..missing {
            self.sent += 1;
            let envelope = Envelope {
                realm: RealmId::Register as u8,
                kind: register::WRITE,
                origin: self.origin,
                sequence: self.sent,
                ..Envelope::default()
            };
            envelope.write(&self.payload, &mut commands);
        }
        let intake = Intake { origin: self.origin, first, count: missing as u32, commands };
        self.lanes.to_order.send(EdgeIn::Intake(intake));
    }
}

impl Station for Bench {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        if self.core.on_net(now, &event, ports)
            && let NetEvent::Sent { conn, buffer } = event
        {
            self.core.peers.on_sent(conn, buffer);
        }
    }

    fn on_disk<P: Ports>(&mut self, now: Nanos, event: DiskEvent, ports: &mut P) {
        self.core.on_disk(now, event, ports);
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        self.generate();
        let turn = self.core.turn(now, ports.wall_ms(), ports);
        self.generate();
        self.finished = self.stop.load(Ordering::Relaxed) != 0 || self.core.order.halted().is_some();
        Turn { deadline: turn.deadline.min(now.plus(Nanos::from_millis(50))), ..turn }
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        true
    }

    fn on_stop(&mut self, _now: Nanos) {
        self.finished = true;
    }

    fn is_done(&self) -> bool {
        self.finished
    }
}

pub fn run(args: Args) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let listeners: Vec<TcpListener> = (0..args.nodes)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(|e| text(&e))?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
    let members = addresses.iter().enumerate();
    let config = Config::new(
        members
            .map(|(at, a)| {
                let id = at as u8 + 1;
                Member::new(NodeId(id), Incarnation(id.into()), Role::Voter, a.to_string())
            })
            .collect(),
    );
    let stop = Arc::new(AtomicU64::new(0));
    let mut counts = Vec::new();
    let mut threads = Vec::new();
    for (at, listener) in listeners.into_iter().enumerate() {
        let id = NodeId(at as u8 + 1);
        let done = Arc::new(AtomicU64::new(0));
        counts.push(done.clone());
        let (stop, config) = (stop.clone(), config.clone());
        let path = args.data.join(format!("node-{id}"));
        let (nodes, bytes, in_flight) = (u64::from(args.nodes), args.bytes, args.in_flight);
        let outstanding = args.outstanding / nodes;
        threads.push(std::thread::spawn(move || {
            let dir = Arc::new(Dir::open(&path).expect("data directory"));
            let mut files = Files::new(dir.clone());
            let params = Params::default();
            format(
                &mut files,
                ClusterId(1),
                Voice { id, incarnation: Incarnation(id.0.into()) },
                config,
                Life(0),
                &params,
            )
            .expect("format");
            let opened = open(&mut files, &params, Expect::default()).expect("open");
            let origin = Origin::new(id, 0, opened.marks.life);
            let mut tuning = Tuning { seed: u64::from(id.0), ..Tuning::default() };
            tuning.order.in_flight = in_flight;
            let (core, mut ends, _admin) =
                Core::new(drive::now(), opened, &mut files, &tuning, 1).expect("wire");
            let bell = Doorbell::new().expect("doorbell");
            let setup = Setup { listeners: vec![(Door::Peer, listener)], dir: Some(dir), ..Setup::new(bell) };
            let mut payload = register::write(7, 7);
            payload.resize(bytes, 0);
            let lanes = ends.remove(0);
            let bench =
                Bench { core, lanes, origin, sent: 0, done, stop, outstanding, payload, finished: false };
            let bench = drive::run(Runtime::Ring, setup, bench).expect("loop");
            let status = bench.core.order.status();
            (status, cpu_seconds())
        }));
    }
    let total = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let began = Instant::now();
    while total() == 0 && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(1));
    let (before, cpu, at) = (total(), process_cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(args.secs));
    let (ops, cpu, secs) = (total() - before, process_cpu() - cpu, at.elapsed().as_secs_f64());
    stop.store(1, Ordering::Relaxed);
    let mut batches = 0;
    for thread in threads {
        let (status, _) = thread.join().expect("node thread");
        batches = batches.max(status.commit.0);
        if let Some(why) = status.halted {
            return Err(why);
        }
    }
    println!("{:.0} commands/s, {:.2} us CPU each over all nodes", ops as f64 / secs, cpu * 1e6 / ops as f64);
    println!("{batches} batches in all, {:.0} commands each", total() as f64 / batches as f64);
    std::fs::remove_dir_all(&args.data).map_err(|e| text(&e))
}

fn cpu_seconds() -> f64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn process_cpu() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that outlives the call.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
