//! `quorate dev` as a user starts it: real processes, real ports.

#![cfg(feature = "drive")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap()
}

fn start(dir: &Path, more: &[&str]) -> Dev {
    let mut command = Command::new(QUORATE);
    command.args(["dev", "--data"]).arg(dir).args(more).stdout(Stdio::null());
    Dev(command.spawn().unwrap())
}

fn restart(dir: &Path, id: &str) -> Output {
    Command::new(QUORATE).args(["dev", "restart", id, "--data"]).arg(dir).output().unwrap()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cluster(dir: &Path) -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(dir.join("cluster.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).expect("written by rename: never half");
    Some(value["nodes"].as_array().unwrap().clone())
}

fn pids(nodes: &[serde_json::Value]) -> Vec<i32> {
    nodes.iter().map(|node| node["pid"].as_i64().unwrap() as i32).collect()
}

/// Running, and not merely waiting to be reaped.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: no pointers; the process is one that this test started.
    unsafe { libc::kill(pid, signal) };
}

/// Empty while nobody answers.
fn get(at: &str, path: &str) -> String {
    let mut all = String::new();
    let asked = TcpStream::connect(at).and_then(|mut stream| {
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut all)
    });
    if asked.is_ok() { all } else { String::new() }
}

/// Goal: three nodes come up as a cluster, die and return singly, stop together, and continue.
#[test]
fn a_local_cluster_lives_dies_and_continues() {
    let (scratch, offset) = (scratch(), "21000");
    let dir = &scratch.path().join("dev");
    let mut dev = start(dir, &["--nodes", "3", "--port-offset", offset]);
    let nodes = until("three ready nodes", || cluster(dir));
    assert_eq!(nodes.len(), 3);
    assert_eq!(
        (&nodes[2]["native"], &nodes[2]["admin"]),
        (&"127.0.0.1:28413".into(), &"127.0.0.1:28472".into())
    );
    assert!(nodes[0].get("etcd").is_none(), "a door that does not listen has no key");
    for node in &nodes {
        let ready = get(node["admin"].as_str().unwrap(), "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    }
    let second = Command::new(QUORATE).args(["dev", "--data"]).arg(dir).output().unwrap();
    assert!(
        !second.status.success() && String::from_utf8_lossy(&second.stderr).contains("another `quorate dev`")
    );

    let before = pids(&nodes);
    let refused = restart(dir, "2");
    assert!(!refused.status.success(), "a node that runs was started again");
    signal(before[1], libc::SIGKILL);
    let again = until("a new process", || restart(dir, "2").status.success().then(|| cluster(dir)).flatten());
    assert!(pids(&again)[1] != before[1] && pids(&again)[0] == before[0]);
    until("its return", || get("127.0.0.1:28471", "/readyz").starts_with("HTTP/1.1 200 ").then_some(()));

    signal(dev.0.id() as i32, libc::SIGTERM);
    assert!(until("its end", || dev.0.try_wait().unwrap()).success());
    assert!(pids(&again).iter().all(|pid| !is_running(*pid)) && cluster(dir).is_none());

    // The same cluster again, without naming its size or ports; and nodes that do not outlive a killed `dev`.
    let mut dev = start(dir, &[]);
    let nodes = until("three ready nodes again", || cluster(dir));
    assert_eq!(nodes[2]["native"], "127.0.0.1:28413");
    let status = get("127.0.0.1:28470", "/status");
    assert!(!status.contains("\"epoch\":1,"), "the first life's epoch was forgotten: {status}");
    dev.0.kill().unwrap();
    until("the nodes' end", || pids(&nodes).iter().all(|pid| !is_running(*pid)).then_some(()));
}

#[test]
fn one_node_needs_no_peers() {
    let scratch = scratch();
    let dir = &scratch.path().join("dev");
    let _dev = start(dir, &["--port-offset", "22000"]);
    let nodes = until("a ready node", || cluster(dir));
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].get("peer").is_none());
}
