//! *hollow*: the least that three nodes must do for a durable write. A leader that never changes puts what it gets
//! into batches of the server's own form, every node writes a batch and its frame with synced direct writes on the
//! server's own loop, and two copies on disk are a quorum. Nothing is parsed beyond a frame's head, nothing is kept
//! but the log, and the server's agreement is not called: what the server needs more than this is its own price.
//!
//! It speaks the native framing to `loadgen` and answers every read with one made-up record.

mod links;
mod log;
mod node;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::config::Runtime;
use quorate::drive::{self, Dir, Doorbell, Files, Setup};
use quorate::pipeline::ports::{Door, Media};

const NODES: u8 = 3;
const NATIVE: u16 = 7411;
const PEER: u16 = 7400;
const LEADER: u8 = 1;

#[derive(clap::Args)]
pub struct Args {
    /// Where the nodes keep their logs; made if missing, and emptied.
    #[arg(long)]
    data: PathBuf,
    /// Moves every port.
    #[arg(long, default_value_t = 0)]
    port_offset: u16,
    /// Be this node; given to the processes that the program starts.
    #[arg(long, hide = true)]
    node: Option<u8>,
}

impl Args {
    fn at(&self, base: u16, node: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], base + self.port_offset + u16::from(node) - 1))
    }

    fn dir(&self, node: u8) -> PathBuf {
        self.data.join(format!("node-{node}"))
    }
}

pub fn run(args: Args) -> Result<(), String> {
    match args.node {
        Some(node) => serve(&args, node),
        None => found(&args),
    }
}

/// Starts the nodes, says where they are, and ends them when it is told to end.
fn found(args: &Args) -> Result<(), String> {
    block_term();
    let cluster = args.data.join("cluster.json");
    let _ = std::fs::remove_file(&cluster);
    let mut nodes: Vec<Child> = Vec::new();
    let mut entries = Vec::new();
    for node in 1..=NODES {
        let _ = std::fs::remove_dir_all(args.dir(node));
        std::fs::create_dir_all(args.dir(node)).map_err(|e| at(&args.dir(node), e))?;
        let child = start(args, node).map_err(|e| format!("node {node} does not start: {e}"))?;
        let native = args.at(NATIVE, node);
        entries.push(format!(r#"{{"id":{node},"pid":{},"native":"{native}"}}"#, child.id()));
        nodes.push(child);
    }
    let begin = Instant::now();
    let ready = |node| args.dir(node).join("ready").exists();
    while !(1..=NODES).all(ready) {
        let dead = nodes.iter_mut().any(|node| node.try_wait().is_ok_and(|end| end.is_some()));
        if dead || begin.elapsed() > Duration::from_secs(30) {
            end(&mut nodes);
            return Err("a node did not get ready; is a port taken? pass another --port-offset".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let part = args.data.join("cluster.json.new");
    let text = format!("{{\"nodes\":[{}]}}\n", entries.join(","));
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &cluster)).map_err(|e| at(&part, e))?;
    println!("ready; {} lists the nodes; Ctrl-C stops them", cluster.display());
    await_term();
    let _ = std::fs::remove_file(&cluster);
    end(&mut nodes);
    Ok(())
}

fn start(args: &Args, node: u8) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("hollow").arg("--data").arg(&args.data).stdin(Stdio::null()).process_group(0);
    command.arg("--port-offset").arg(args.port_offset.to_string()).arg("--node").arg(node.to_string());
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn()
}

fn end(nodes: &mut [Child]) {
    for node in nodes {
        let _ = node.kill();
        let _ = node.wait();
    }
}

fn serve(args: &Args, node: u8) -> Result<(), String> {
    let fault = |e: &dyn std::fmt::Display| e.to_string();
    let bind = |at: SocketAddr| TcpListener::bind(at).map_err(|e| format!("port {at}: {e}"));
    let dir = Arc::new(Dir::open(&args.dir(node)).map_err(|e| fault(&e))?);
    Files::new(dir.clone()).create(log::FILE, log::BYTES).map_err(|e| fault(&e))?;
    let mut listeners = vec![(Door::Native, bind(args.at(NATIVE, node))?)];
    if node == LEADER {
        listeners.push((Door::Peer, bind(args.at(PEER, node))?));
    }
    let bell = Doorbell::new().map_err(|e| fault(&e))?;
    let setup = Setup { listeners, dir: Some(dir), ..Setup::new(bell) };
    let ready = args.dir(node).join("ready");
    let station = node::Node::new(node, args.at(PEER, LEADER), ready);
    drive::run(Runtime::Ring, setup, station).map_err(|e| fault(&e))?;
    Ok(())
}

fn at(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}; check --data", path.display())
}

fn term() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before sigaddset changes it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        [libc::SIGTERM, libc::SIGINT]
            .iter()
            .for_each(|signal| assert_eq!(libc::sigaddset(&mut set, *signal), 0));
        set
    }
}

fn block_term() {
    // SAFETY: the set is live and only read.
    assert_eq!(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &term(), std::ptr::null_mut()) }, 0);
}

fn await_term() {
    let mut signal = 0;
    // SAFETY: both pointers are to live values.
    unsafe { libc::sigwait(&term(), &mut signal) };
}
