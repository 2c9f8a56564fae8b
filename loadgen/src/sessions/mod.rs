//! ZooKeeper sessions in numbers: what thousands of clients cost that do next to nothing.
//!
//! `idle` pings; `fanout` watches one node that is written once; `expire-mass` dies with its ephemerals while a
//! bystander works. One thread, blocking sockets, so that a client costs a system call per message and no more; a
//! process holds as many sessions as it may open files, and several processes share a load.

mod client;

use std::io;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::clock::{Clock, MILLI, SECOND};
use crate::plan::resolve;
use crate::poll::Poll;
use crate::procfs;
use client::{Client, join};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Every session pings each third of its timeout
    Idle,
    /// Every session watches one node; time from a write of it to the last notification
    Fanout,
    /// All sessions with their ephemerals are cut off at once; time to their end, and what a bystander feels
    ExpireMass,
}

#[derive(Args, Debug)]
pub struct Crowd {
    #[arg(value_enum)]
    pub what: What,
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
    /// Writes of the watched node
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Ephemerals of each session that dies
    #[arg(long, default_value_t = 10)]
    pub ephemerals: usize,
    /// Processes whose CPU time is counted
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
}

/// Sockets that are opened and wait for their handshake together.
const WAVE: usize = 256;
const PATIENCE_NS: u64 = 60 * SECOND;

pub fn run(args: &Crowd) -> io::Result<String> {
    let other = |why: String| io::Error::other(why);
    let servers: Vec<SocketAddr> =
        args.addr.iter().map(|at| resolve(at)).collect::<Result<_, _>>().map_err(other)?;
    if args.sessions == 0 {
        return Err(other("no sessions: pass --sessions".into()));
    }
    let mut crowd = join(&servers, args.sessions, args.timeout_ms, WAVE)?;
    match args.what {
        What::Idle => idle(args, &mut crowd),
        What::Fanout => fanout(args, &servers, crowd),
        What::ExpireMass => expire_mass(args, &servers, crowd),
    }
}

fn cpu_us(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| procfs::usage(*pid)).map(|usage| usage.cpu_us).sum()
}

/// The replies to a round are read in the next: each costs the client one read and one write.
fn idle(args: &Crowd, crowd: &mut [Client]) -> io::Result<String> {
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

fn fanout(args: &Crowd, servers: &[SocketAddr], mut crowd: Vec<Client>) -> io::Result<String> {
    let mut writer = Client::open(servers[0], args.timeout_ms)?;
    let path = format!("/fanout-{}", std::process::id());
    writer.create(&path, 0)?;
    for client in crowd.iter_mut() {
        client.sync(&path)?; // Its server may not have the node yet.
    }
    let mut poll = Poll::open()?;
    for (at, client) in crowd.iter().enumerate() {
        poll.add(client.socket(), at, false)?;
    }
    let clock = Clock::start();
    let mut spans = Vec::new();
    let cpu = cpu_us(&args.server_pid);
    for _ in 0..args.rounds {
        for wave in crowd.chunks_mut(WAVE) {
            wave.iter_mut().try_for_each(|client| client.ask_exists(&path))?;
            wave.iter_mut().try_for_each(|client| client.hear_reply().map(drop))?;
        }
        let start = clock.now();
        writer.set(&path)?;
        let (mut heard, mut ready) = (0, Vec::new());
        while heard < crowd.len() {
            if clock.now() - start > PATIENCE_NS {
                return Err(io::Error::other(format!("{heard} of {} notifications came", crowd.len())));
            }
            ready.clear();
            poll.wait(Some(SECOND), &mut ready)?;
            for event in &ready {
                heard += usize::from(crowd[event.token].hear_event()?);
            }
        }
        spans.push((clock.now() - start) as f64 / 1e6);
    }
    let cpu = (cpu_us(&args.server_pid) - cpu) as f64 / (args.rounds * crowd.len()) as f64;
    spans.sort_by(f64::total_cmp);
    writer.delete(&path)?;
    Ok(format!(
        "fanout: {} sessions, {} rounds; write to last notification ms: min {:.1}, median {:.1}, max {:.1}; \
         servers {cpu:.1} us per session and round, setting the watch included\n",
        crowd.len(),
        args.rounds,
        spans[0],
        spans[spans.len() / 2],
        spans[spans.len() - 1]
    ))
}

fn expire_mass(args: &Crowd, servers: &[SocketAddr], mut crowd: Vec<Client>) -> io::Result<String> {
    let mut bystander = Client::open(servers[0], 30_000)?;
    let path = format!("/mass-{}", std::process::id());
    bystander.create(&path, 0)?;
    let own = format!("{path}-bystander");
    bystander.create(&own, 0)?;
    for (nth, wave) in crowd.chunks_mut(WAVE).enumerate() {
        for (at, client) in wave.iter_mut().enumerate() {
            for n in 0..args.ephemerals {
                client.ask_create(&format!("{path}/{}-{n}", nth * WAVE + at), 1)?;
            }
        }
        for client in wave.iter_mut() {
            (0..args.ephemerals).try_for_each(|_| client.hear_reply().map(drop))?;
        }
    }
    // All are heard once more, together; then nobody is.
    let clock = Clock::start();
    let mut first = u64::MAX;
    for wave in crowd.chunks_mut(WAVE) {
        wave.iter_mut().try_for_each(Client::ping)?;
        first = first.min(clock.now());
        for client in wave.iter_mut() {
            client.hear_reply()?;
        }
    }
    let last = clock.now();
    let timeout = crowd[0].timeout_ms() as u64 * MILLI;
    drop(crowd);
    let whole = bystander.children(&path)?;
    let (mut began, mut worst_read, mut worst_write, mut usual) = (None, 0, 0, Vec::new());
    loop {
        let start = clock.now();
        bystander.set(&own)?;
        let wrote = clock.now();
        let left = bystander.children(&path)?;
        let read = clock.now();
        if left < whole && began.is_none() {
            began = Some(read);
        }
        if began.is_some() {
            (worst_write, worst_read) = (worst_write.max(wrote - start), worst_read.max(read - wrote));
        } else {
            usual.push(wrote - start);
        }
        if left == 0 {
            break;
        }
        if read > last + timeout + PATIENCE_NS {
            return Err(io::Error::other(format!("{left} of {whole} ephemerals are still there")));
        }
        clock.sleep_until(clock.now() + MILLI);
    }
    let end = clock.now();
    let began = began.unwrap_or(end);
    usual.sort_unstable();
    let ms = |ns: u64| ns as f64 / 1e6;
    Ok(format!(
        "expire-mass: {} sessions x {}, timeout {} ms; first end {:.0} ms after the first could end, last {:.0} ms \
         after the last should; a bystander's longest write {:.1} ms, read {:.1} ms meanwhile (median write before \
         {:.2} ms)\n",
        args.sessions,
        args.ephemerals,
        timeout / MILLI,
        began as f64 / 1e6 - ms(first + timeout),
        ms(end) - ms(last + timeout),
        ms(worst_write),
        ms(worst_read),
        ms(usual.get(usual.len() / 2).copied().unwrap_or(0)),
    ))
}
