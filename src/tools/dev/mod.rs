//! `quorate dev`: a cluster of local processes, which never outlive this one.
//!
//! The directory holds a configuration, a log file and a data directory per node, `cluster.json` while all of it
//! runs, and a socket by which `quorate dev restart` speaks to this process.

mod desk;
mod nodes;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::tools::http;
use desk::Desk;
use nodes::{Node, Plan};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many nodes [default: as many as DIR holds, 1 for a new one]
    #[arg(long)]
    nodes: Option<u8>,
    /// Directory of the cluster; one that exists continues.
    #[arg(long, default_value = "./quorate-data", global = true)]
    data: PathBuf,
    /// Moves every port.
    #[arg(long)]
    port_offset: Option<u16>,
    /// Client connections of each node [default: what its configuration says]
    #[arg(long)]
    connections: Option<usize>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start a node of a running `quorate dev` again, after it died.
    Restart {
        /// The node's id.
        id: u8,
    },
}

/// How long a cluster may take to find a leader.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may take to hand over and stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often children, requests and signals are looked after.
const ROUND: Duration = Duration::from_millis(50);

pub fn run(args: Args) -> Result<(), String> {
    if let Some(Action::Restart { id }) = args.action {
        return desk::ask(&args.data, &format!("restart {id}")).map(|answer| println!("{answer}"));
    }
    block_signals();
    let dir = args.data;
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| at(&dir, e))?;
    let dir = dir.canonicalize().map_err(|e| at(&dir, e))?;
    let _lock = lock(&dir)?;
    let _ = std::fs::remove_file(dir.join("cluster.json"));
    let plan = Plan::prepare(&dir, args.nodes, args.port_offset, args.connections)?;
    let desk = Desk::open(&dir)?;

    let mut nodes = Vec::new();
    for at in &plan.nodes {
        nodes.push(Node::start(at)?);
    }
    if let Err(why) = await_ready(&mut nodes) {
        stop(&mut nodes);
        return Err(why);
    }
    write_cluster(&dir, &nodes)?;
    print!("{}", table(&nodes));
    println!("ready; {} lists them; Ctrl-C stops them", dir.join("cluster.json").display());
    while !signalled(ROUND) {
        for node in &mut nodes {
            if let Some(how) = node.poll_death() {
                eprintln!(
                    "node {} has died ({how}); its log is {}; start it with `quorate dev restart {} --data {}`",
                    node.plan.id,
                    node.plan.log.display(),
                    node.plan.id,
                    dir.display()
                );
            }
        }
        desk.serve(|request| restart(&dir, &mut nodes, request));
    }
    let _ = std::fs::remove_file(dir.join("cluster.json"));
    stop(&mut nodes);
    Ok(())
}

fn await_ready(nodes: &mut [Node]) -> Result<(), String> {
    let begin = Instant::now();
    let mut ready = vec![false; nodes.len()];
    while ready.contains(&false) {
        if signalled(ROUND) {
            return Err("stopped before every node was ready".into());
        }
        if begin.elapsed() > READY_PATIENCE {
            let late: Vec<_> = nodes.iter().zip(&ready).filter(|(_, ready)| !**ready).collect();
            let late: Vec<_> = late.iter().map(|(node, _)| node.plan.log.display().to_string()).collect();
            return Err(format!("not ready after {READY_PATIENCE:?}; see {}", late.join(", ")));
        }
        for (node, ready) in nodes.iter_mut().zip(&mut ready) {
            if let Some(how) = node.poll_death() {
                return Err(format!("node {} did not start ({how}): {}", node.plan.id, node.last_words()));
            }
            let answer =
                http::ask(&http::Door::plain(node.plan.admin()), "GET", "/readyz", Duration::from_secs(2));
            *ready = *ready || answer.is_ok_and(|(code, _)| code == 200);
        }
    }
    Ok(())
}

/// A request of `quorate dev restart`, and what is answered.
fn restart(dir: &Path, nodes: &mut [Node], request: &str) -> Result<String, String> {
    let id = request.strip_prefix("restart ").and_then(|id| id.parse::<u8>().ok());
    let node = nodes.iter_mut().find(|node| Some(node.plan.id) == id);
    let node = node.ok_or_else(|| format!("no such node: {request}"))?;
    if node.poll_death().is_none() && node.is_alive() {
        return Err(format!("node {} runs as process {}; end it first", node.plan.id, node.pid()));
    }
    *node = Node::start(&node.plan)?;
    let answer = format!("node {} runs as process {}", node.plan.id, node.pid());
    write_cluster(dir, nodes)?;
    Ok(answer)
}

/// TERM first, so that leadership is handed over and clients are told; then by force.
fn stop(nodes: &mut [Node]) {
    nodes.iter().filter(|node| node.is_alive()).for_each(|node| node.signal(libc::SIGTERM));
    let begin = Instant::now();
    while nodes.iter_mut().any(|node| node.poll_death().is_none() && node.is_alive()) {
        if begin.elapsed() > STOP_PATIENCE {
            nodes.iter().filter(|node| node.is_alive()).for_each(|node| {
                eprintln!("node {} does not stop; killing it", node.plan.id);
                node.signal(libc::SIGKILL);
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whole or not at all: readers see the old file or the new one.
fn write_cluster(dir: &Path, nodes: &[Node]) -> Result<(), String> {
    let (part, whole) = (dir.join("cluster.json.new"), dir.join("cluster.json"));
    let list: Vec<_> = nodes.iter().map(Node::json).collect();
    let text = format!("{:#}\n", serde_json::json!({ "nodes": list }));
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &whole)).map_err(|e| at(&whole, e))
}

fn table(nodes: &[Node]) -> String {
    let mut text = String::from("node      pid");
    nodes[0].plan.ports.iter().for_each(|(door, _)| text += &format!("{door:>8}"));
    for node in nodes {
        text += &format!("\n{:>4} {:>8}", node.plan.id, node.pid());
        node.plan.ports.iter().for_each(|(_, port)| text += &format!("{port:>8}"));
    }
    text + "\n"
}

/// One `quorate dev` per directory.
fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join("dev.lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(|e| at(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another `quorate dev` runs in {}; stop it or pass another --data", dir.display()))
        }
        Err(TryLockError::Error(e)) => Err(at(&path, e)),
    }
}

fn at(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}; check --data", path.display())
}

const SIGNALS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

fn signal_set() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before sigaddset changes it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        SIGNALS.iter().for_each(|signal| assert_eq!(libc::sigaddset(&mut set, *signal), 0));
        set
    }
}

fn block_signals() {
    // SAFETY: the set is live and only read.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signal_set(), std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Waits for a signal to stop, for at most `span`.
fn signalled(span: Duration) -> bool {
    let limit = libc::timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
    // SAFETY: set and limit are live and only read; no info is asked for.
    unsafe { libc::sigtimedwait(&signal_set(), std::ptr::null_mut(), &limit) > 0 }
}
