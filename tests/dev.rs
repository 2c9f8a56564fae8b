//! `quorate dev` as a user starts it: real processes, real ports.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use support::cluster::{QUORATE, free_offset, get, is_node, signal};
use support::within;

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

fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(120), look).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

fn cluster(dir: &Path) -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(dir.join("cluster.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).expect("written by rename: never half");
    Some(value["nodes"].as_array().unwrap().clone())
}

fn pids(nodes: &[serde_json::Value]) -> Vec<i32> {
    nodes.iter().map(|node| node["pid"].as_i64().unwrap() as i32).collect()
}

fn is_ready(node: &serde_json::Value) -> bool {
    get(admin(node), "/readyz").starts_with("HTTP/1.1 200 ")
}

fn admin(node: &serde_json::Value) -> std::net::SocketAddr {
    node["admin"].as_str().unwrap().parse().unwrap()
}

/// Goal: three nodes come up as a cluster, die and return singly, stop together, and continue.
#[test]
fn a_local_cluster_lives_dies_and_continues() {
    let (scratch, offset) = (scratch(), free_offset());
    let dir = &scratch.path().join("dev");
    let mut dev = start(dir, &["--nodes", "3", "--port-offset", &offset.to_string()]);
    let nodes = until("three ready nodes", || cluster(dir));
    assert_eq!(nodes.len(), 3);
    let third = |base: u16| serde_json::Value::from(format!("127.0.0.1:{}", base + offset + 2));
    assert_eq!((&nodes[2]["native"], &nodes[2]["admin"]), (&third(7411), &third(7470)));
    assert!(nodes[0].get("etcd").is_none(), "a door that does not listen has no key");
    nodes.iter().for_each(|node| until("readiness", || is_ready(node).then_some(())));
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
    until("its return", || is_ready(&again[1]).then_some(()));

    signal(dev.0.id() as i32, libc::SIGTERM);
    assert!(until("its end", || dev.0.try_wait().unwrap()).success());
    assert!(!pids(&again).iter().any(|pid| is_node(*pid, dir)) && cluster(dir).is_none());

    // The same cluster again, without naming its size or ports; and nodes that do not outlive a killed `dev`.
    let mut dev = start(dir, &[]);
    let nodes = until("three ready nodes again", || cluster(dir));
    assert_eq!(nodes[2]["native"], third(7411));
    let epoch = until("a status", || {
        let answer = get(admin(&nodes[0]), "/status");
        serde_json::from_str::<serde_json::Value>(answer.split_once("\r\n\r\n")?.1).ok()?["epoch"].as_u64()
    });
    assert!(epoch > 1, "the first life's epoch was forgotten");
    dev.0.kill().unwrap();
    until("the nodes' end", || (!pids(&nodes).iter().any(|pid| is_node(*pid, dir))).then_some(()));
}

#[test]
fn one_node_needs_no_peers() {
    let scratch = scratch();
    let dir = &scratch.path().join("dev");
    let _dev = start(dir, &["--port-offset", &free_offset().to_string()]);
    let nodes = until("a ready node", || cluster(dir));
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].get("peer").is_none());
}
