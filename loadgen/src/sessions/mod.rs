//! ZooKeeper sessions in numbers: what thousands of clients cost that do nothing but ping.
//!
//! One thread, blocking sockets, so that a client costs a system call per message and no more; a process holds as many
//! sessions as it may open files, and several processes share a load. What watches and dies is among the `jobs`.

mod client;

use std::io;
use std::net::SocketAddr;

use clap::Args;

use crate::clock::{Clock, MILLI, SECOND};
use crate::plan::resolve;
use crate::procfs;
use client::{Client, join};

#[derive(Args, Debug)]
pub struct Idle {
    /// Servers of one cluster; sessions are spread over them in turn
    #[arg(long, value_delimiter = ',', required = true)]
    pub addr: Vec<String>,
    #[arg(long, default_value_t = 10_000)]
    pub sessions: usize,
    #[arg(long, default_value_t = 10_000)]
    pub timeout_ms: i32,
    /// How long to ping
    #[arg(long, default_value_t = 20)]
    pub secs: u64,
    /// Processes whose CPU time is counted
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
}

/// Sockets that are opened and wait for their handshake together.
const WAVE: usize = 256;

pub fn run(args: &Idle) -> io::Result<String> {
    let other = |why: String| io::Error::other(why);
    let servers: Vec<SocketAddr> =
        args.addr.iter().map(|at| resolve(at)).collect::<Result<_, _>>().map_err(other)?;
    if args.sessions == 0 {
        return Err(other("no sessions: pass --sessions".into()));
    }
    let mut crowd = join(&servers, args.sessions, args.timeout_ms, WAVE)?;
    idle(args, &mut crowd)
}

fn cpu_us(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| procfs::usage(*pid)).map(|usage| usage.cpu_us).sum()
}

/// The replies to a round are read in the next: each costs the client one read and one write.
fn idle(args: &Idle, crowd: &mut [Client]) -> io::Result<String> {
    let clock = Clock::start();
    let period = args.timeout_ms as u64 * MILLI / 3;
    let gap = period / crowd.len() as u64;
    let (mut sent, mut answered) = (0u64, 0u64);
    // One round first, so that every session has pinged once when counting begins.
    let (begin, end) = (period, period + args.secs * SECOND);
    let mut from = None;
    while clock.now() < end {
        let due = clock.now() / gap.max(1);
        while sent < due {
            let at = sent as usize % crowd.len();
            let client = &mut crowd[at];
            answered += client.take_pings()?;
            client.ping()?;
            sent += 1;
        }
        if from.is_none() && clock.now() >= begin {
            from = Some((clock.now(), sent, cpu_us(&args.server_pid), procfs::own_cpu_us()));
        }
        clock.sleep_until(clock.now() + MILLI);
    }
    let Some((at, before, server, own)) = from else {
        return Err(io::Error::other("too short: raise --secs"));
    };
    let span = (clock.now() - at) as f64 / 1e9;
    let server = (cpu_us(&args.server_pid) - server) as f64 / 1e6;
    let own = (procfs::own_cpu_us() - own) as f64 / 1e6;
    let pings = sent - before;
    clock.sleep_until(clock.now() + SECOND);
    for client in crowd.iter_mut() {
        answered += client.take_pings()?;
    }
    Ok(format!(
        "idle: {} sessions, timeout {} ms, {pings} pings in {span:.1} s; servers {:.1} % of a core, {:.2} us per ping; \
         this client {:.1} %; {answered} of {sent} pings answered\n",
        crowd.len(),
        args.timeout_ms,
        server / span * 100.0,
        server * 1e6 / pings as f64,
        own / span * 100.0,
    ))
}
