//! Three nodes of `quorate dev`, and everything that may be done to them from outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::small_disk::SmallDisk;
use super::{ports, within};

pub const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// How long a node may take to start and catch up, on a slow machine that does other things too. It ends a test that
/// would wait for ever, and judges nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// For one answer of an admin door.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Node {
    pub id: u64,
    pub pid: i32,
    pub native: String,
    pub admin: SocketAddr,
}

/// A running cluster. Whatever becomes of the test, its processes end with it; its directory stays if it failed.
pub struct Cluster {
    pub dir: PathBuf,
    dev: Child,
    /// Under one of the nodes; let go when no process is left that has files there.
    pub disk: Option<SmallDisk>,
    /// What is being done, for whoever reads a failure.
    doing: String,
}

impl Cluster {
    pub fn start(name: &str) -> Cluster {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/blackbox");
        std::fs::create_dir_all(&root).unwrap();
        let dir = root.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        for _ in 0..20 {
            let offset = free_offset().to_string();
            let mut command = Command::new(QUORATE);
            command.args(["dev", "--nodes", "3", "--port-offset", &offset, "--data"]).arg(&dir);
            let dev = command.stdout(Stdio::null()).spawn().unwrap();
            let mut cluster = Cluster { dir: dir.clone(), dev, disk: None, doing: "starting".into() };
            let ready = within(PATIENCE, || match cluster.dev.try_wait().unwrap() {
                Some(_) => Some(false),
                None => dir.join("cluster.json").exists().then_some(true),
            });
            match ready {
                Some(true) => return cluster,
                Some(false) => drop(cluster), // Somebody listens on a port by now.
                None => panic!("three nodes were not ready after {PATIENCE:?}"),
            }
            let _ = std::fs::remove_dir_all(&dir);
        }
        panic!("three nodes did not start, twenty times");
    }

    /// Names what comes now; a failure tells it.
    pub fn doing(&mut self, what: impl Into<String>) {
        self.doing = what.into();
    }

    pub fn nodes(&self) -> Vec<Node> {
        let text = std::fs::read_to_string(self.dir.join("cluster.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let node = |node: &serde_json::Value| Node {
            id: node["id"].as_u64().unwrap(),
            pid: node["pid"].as_i64().unwrap() as i32,
            native: node["native"].as_str().unwrap().into(),
            admin: node["admin"].as_str().unwrap().parse().unwrap(),
        };
        value["nodes"].as_array().unwrap().iter().map(node).collect()
    }

    pub fn node(&self, id: u64) -> Node {
        self.nodes().into_iter().find(|node| node.id == id).unwrap()
    }

    pub fn servers(&self) -> Vec<String> {
        self.nodes().into_iter().map(|node| node.native).collect()
    }

    /// Who leads by its own word, of those that answer: the latest epoch's.
    pub fn leader_of(&self, ids: &[u64]) -> Option<u64> {
        let nodes = self.nodes().into_iter().filter(|node| ids.contains(&node.id));
        let leading = nodes.filter_map(|node| {
            let status = node.status()?;
            (status["leader"].as_u64() == Some(node.id)).then(|| (status["epoch"].as_u64(), node.id))
        });
        leading.max().map(|(_, id)| id)
    }

    pub fn leader(&self) -> u64 {
        within(PATIENCE, || self.leader_of(&[1, 2, 3])).expect("a leader")
    }

    pub fn follower(&self) -> u64 {
        let leader = self.leader();
        (1..=3).find(|id| *id != leader).unwrap()
    }

    /// By SIGKILL, and gone when this returns.
    pub fn kill(&self, ids: &[u64]) {
        let pids: Vec<i32> = ids.iter().map(|id| self.node(*id).pid).collect();
        pids.iter().filter(|pid| is_node(**pid, &self.dir)).for_each(|pid| signal(*pid, libc::SIGKILL));
        let gone = within(PATIENCE, || (!pids.iter().any(|pid| is_node(*pid, &self.dir))).then_some(()));
        gone.expect("killed processes end");
    }

    pub fn restart(&self, id: u64) {
        let mut said = String::new();
        let started = within(PATIENCE, || {
            let mut command = Command::new(QUORATE);
            command.args(["dev", "restart", &id.to_string(), "--data"]).arg(&self.dir);
            let output = command.output().unwrap();
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(())
        });
        started.unwrap_or_else(|| panic!("node {id} was not started again: {said}"));
    }

    pub fn await_ready(&self, ids: &[u64]) {
        for id in ids {
            let ready = within(PATIENCE, || self.node(*id).is_ready().then_some(()));
            ready.unwrap_or_else(|| {
                panic!("node {id} is not ready after {PATIENCE:?}; its log:\n{}", self.log_of(*id))
            });
        }
    }

    pub fn data_of(&self, id: u64) -> PathBuf {
        self.dir.join(format!("node-{id}"))
    }

    /// Asks the leader to hand over; it may refuse.
    pub fn transfer_to(&self, id: u64) {
        ask(self.node(self.leader()).admin, "POST", &format!("/transfer?to={id}"));
    }

    /// Asks a node's admin door for a change; waits for no answer that takes long.
    pub fn post(&self, id: u64, path: &str) -> String {
        ask(self.node(id).admin, "POST", path)
    }

    pub fn log_of(&self, id: u64) -> String {
        std::fs::read_to_string(self.dir.join(format!("node-{id}.log"))).unwrap_or_default()
    }
}

/// All nodes hold and have applied the same, once nobody writes.
pub fn await_agreement(nodes: &[Node]) {
    let mut seen = Vec::new();
    let agreed = within(PATIENCE, || {
        let state = |node: &Node| {
            let status = node.status()?;
            let number = |key: &str| status[key].as_u64();
            Some((number("applied")?, number("commit")?, number("unknown")?, number("leader")?))
        };
        seen = nodes.iter().map(state).collect();
        let first = seen[0]?;
        (seen.iter().all(|other| *other == Some(first)) && first.2 == 0 && first.0 == first.1).then_some(())
    });
    agreed.unwrap_or_else(|| panic!("nodes do not agree: applied, commit, unknown, leader are {seen:?}"));
}

impl Node {
    pub fn status(&self) -> Option<serde_json::Value> {
        let answer = get(self.admin, "/status");
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    pub fn is_ready(&self) -> bool {
        get(self.admin, "/readyz").starts_with("HTTP/1.1 200 ")
    }

    pub fn signal(&self, number: i32) {
        signal(self.pid, number);
    }
}

impl Drop for Cluster {
    /// `dev` takes its nodes along, however it ends.
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.dir.join("cluster.json")).unwrap_or_default();
        let pids = if text.is_empty() { Vec::new() } else { self.nodes().iter().map(|n| n.pid).collect() };
        let _ = self.dev.kill();
        let _ = self.dev.wait();
        within(PATIENCE, || (!pids.iter().any(|pid| is_node(*pid, &self.dir))).then_some(()));
        drop(self.disk.take());
        if std::thread::panicking() {
            eprintln!("failed while {}; the data is kept in {}", self.doing, self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// An offset whose twelve ports nobody has, held until this process ends.
pub fn free_offset() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..160 {
        let nth = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = 8_000 + 100 * (nth % 160) as u16;
        if ports::hold([2181, 7400, 7411, 7470].into_iter().flat_map(|base| base + offset..base + offset + 3))
        {
            return offset;
        }
    }
    panic!("no twelve free ports");
}

pub fn signal(pid: i32, number: i32) {
    // SAFETY: no pointers; the process is one that this test's `dev` started and has not been told to replace.
    unsafe { libc::kill(pid, number) };
}

/// Running, not merely waiting to be reaped, and not another process that was given this number since.
pub fn is_node(pid: i32, dir: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or(dir.into());
    String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy())
}

pub fn get(at: SocketAddr, path: &str) -> String {
    ask(at, "GET", path)
}

/// Empty while nobody answers.
fn ask(at: SocketAddr, method: &str, path: &str) -> String {
    let mut all = String::new();
    let asked = TcpStream::connect_timeout(&at, ANSWER).and_then(|mut stream| {
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut all)
    });
    if asked.is_ok() { all } else { String::new() }
}
