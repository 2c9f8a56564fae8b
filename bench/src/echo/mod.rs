//! The floor under every door: whole frames, sent back as they came, on the server's own loop, and a client on
//! the same loop that keeps a number of frames outstanding on each of its connections.
//!
//! A frame is a head of 16 bytes that begins with the body's length (u32, little-endian), then the body.

mod client;
mod server;

use std::net::{SocketAddr, TcpListener};

use hdrhistogram::Histogram;
use quorate::base::Nanos;
use quorate::config::Runtime;
use quorate::drive::{self, Doorbell, Setup};
use quorate::pipeline::ports::Door;

/// Bytes of a frame's head.
const HEAD: usize = 16;

#[derive(clap::Args)]
pub struct Args {
    /// Only serve, until killed, at this address; another program is the client.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Only be the client of the server at this address.
    #[arg(long, conflicts_with = "listen")]
    to: Option<SocketAddr>,
    /// Which loop runs both sides.
    #[arg(long, default_value = "ring")]
    runtime: Runtime,
    #[arg(long, default_value_t = 32)]
    conns: usize,
    /// Frames outstanding on each connection.
    #[arg(long, default_value_t = 32)]
    depth: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 112)]
    body: usize,
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
}

pub fn run(args: Args) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("{e}; the loop needs io_uring and a free port");
    if let Some(to) = args.to {
        let seen = attack(&args, to).map_err(fault)?;
        print(&args, &seen, None);
        return Ok(());
    }
    let listener = TcpListener::bind(args.listen.unwrap_or("127.0.0.1:0".parse().expect("an address")));
    let listener = listener.map_err(|e| format!("cannot listen: {e}; pass another --listen"))?;
    let at = listener.local_addr().map_err(fault)?;
    let bell = Doorbell::new().map_err(fault)?;
    let mut setup = Setup::new(bell.clone());
    setup.listeners.push((Door::Native, listener));
    let counters = setup.counters.clone();
    if args.listen.is_some() {
        println!("echo listens at {at}");
        drive::run(args.runtime, setup, server::Echo::default()).map_err(fault)?;
        return Ok(());
    }
    let runtime = args.runtime;
    let server = std::thread::spawn(move || {
        let echo = drive::run(runtime, setup, server::Echo::default())?;
        Ok::<_, std::io::Error>((echo.frames, thread_cpu()))
    });
    let seen = attack(&args, at).map_err(fault)?;
    bell.stop();
    let (frames, cpu) = server.join().expect("the server does not panic").map_err(fault)?;
    print(&args, &seen, Some((frames, cpu)));
    for number in counters.all().filter(|number| number.value > 0) {
        print!("{} {}  ", number.name, number.value);
    }
    println!();
    Ok(())
}

/// What the client saw.
struct Seen {
    latency_ns: Histogram<u64>,
    secs: f64,
    cpu: Nanos,
}

fn attack(args: &Args, to: SocketAddr) -> std::io::Result<Seen> {
    let setup = Setup::new(Doorbell::new()?);
    let span = Nanos((args.secs * 1e9) as u64);
    let client = client::Client::new(to, args.conns, args.depth, args.body, span);
    let before = thread_cpu();
    let client = drive::run(args.runtime, setup, client)?;
    assert!(client.fault.is_none(), "{}", client.fault.unwrap_or_default());
    Ok(Seen { latency_ns: client.latency_ns, secs: span.0 as f64 / 1e9, cpu: thread_cpu().since(before) })
}

fn print(args: &Args, seen: &Seen, server: Option<(u64, Nanos)>) {
    let count = seen.latency_ns.len();
    let us = |q: f64| seen.latency_ns.value_at_quantile(q) as f64 / 1000.0;
    println!(
        "{:?} {} x {} x {} B: {:.0} frames/s, p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, client {:.3} us CPU per frame",
        args.runtime,
        args.conns,
        args.depth,
        HEAD + args.body,
        count as f64 / seen.secs,
        us(0.5),
        us(0.99),
        us(0.999),
        seen.cpu.0 as f64 / 1000.0 / count as f64,
    );
    if let Some((frames, cpu)) = server {
        println!("server: {frames} frames, {:.3} us CPU per frame", cpu.0 as f64 / 1000.0 / frames as f64);
    }
}

fn thread_cpu() -> Nanos {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct that the pointer names.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) }, 0);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// Connections by slot: what both sides keep.
struct Table<T>(Vec<Option<T>>);

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(Vec::new())
    }
}

impl<T> Table<T> {
    fn insert(&mut self, slot: u32, value: T) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(value);
    }

    fn at(&mut self, slot: u32) -> Option<&mut T> {
        self.0.get_mut(slot as usize)?.as_mut()
    }

    fn remove(&mut self, slot: u32) {
        self.0[slot as usize] = None;
    }
}

/// Length of the longest run of whole frames at the front, and how many they are.
fn whole_frames(bytes: &[u8]) -> (usize, u64) {
    let (mut at, mut count) = (0, 0);
    while let Some(head) = bytes.get(at..at + HEAD) {
        let body = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if bytes.len() - at < HEAD + body {
            break;
        }
        at += HEAD + body;
        count += 1;
    }
    (at, count)
}
