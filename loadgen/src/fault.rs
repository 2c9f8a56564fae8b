//! Who leads, and harm done to it: SIGKILL or SIGSTOP at a second of the window, or a command of the user's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use quorate::tls::Socket;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Access;
use crate::driver::consul::token_header;
use crate::driver::{Kind, Op, Protocol, ReadMode};
use crate::plan::Plan;
use crate::run;

const PATIENCE: Duration = Duration::from_secs(2);
const ELECTION: Duration = Duration::from_secs(20);
/// How long a server that was started again may take.
const RETURN: Duration = Duration::from_secs(60);
const ANSWER_MAX: u64 = 4 << 20;

/// Where the clients go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Evenly over all servers
    #[default]
    All,
    /// All to the leader
    Leader,
    /// Evenly over all but the leader
    Followers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Harm {
    /// SIGKILL
    Kill,
    /// SIGSTOP, and SIGCONT after --pause-secs
    Pause,
    /// Every server in turn: SIGTERM, then --restart-cmd, until it answers again
    Roll,
    /// The followers in turn, then the leader: SIGKILL, then --restart-cmd, until it answers again
    Each,
    /// A follower: SIGKILL, --restart-cmd after --pause-secs, until it has what was written meanwhile
    Away,
}

impl Harm {
    pub fn needs_restart(self) -> bool {
        matches!(self, Harm::Roll | Harm::Each | Harm::Away)
    }
}

/// One server of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub id: u64,
    pub pid: u32,
    pub address: SocketAddr,
    /// Where quorate tells its state.
    pub admin: Option<SocketAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    pub harm: Option<Harm>,
    /// Seconds into the window.
    pub at: f64,
    pub pause_secs: f64,
    pub command: Option<String>,
}

/// What was done, and when.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    pub what: String,
    pub node: Option<u64>,
    /// From the beginning of the window.
    pub at_s: f64,
    /// From the first harm until all servers were as before; `None`: that was not waited for.
    pub whole_after_ms: Option<f64>,
    /// From the restart of one that was away until it had caught up.
    pub in_sync_ms: Option<f64>,
}

impl Fault {
    /// Does the harm now; returns what was done. A pause ends before this returns, and who was killed to come again
    /// is there again.
    pub fn act(&self, plan: &Plan, at_s: f64) -> Result<Done, String> {
        let mut done =
            Done { what: "command".into(), node: None, at_s, whole_after_ms: None, in_sync_ms: None };
        if let Some(command) = &self.command {
            shell("--fault-cmd", command, None)?;
            return Ok(done);
        }
        let harm = self.harm.expect("a fault is a harm or a command");
        done.what = format!("{harm:?}").to_lowercase();
        let leader = leader(plan.target, &plan.nodes, &plan.access)?;
        let followers = plan.nodes.iter().filter(|node| node.id != leader.id);
        let began = Instant::now();
        match harm {
            Harm::Kill => signal(&leader, Signal::KILL)?,
            Harm::Pause => {
                signal(&leader, Signal::STOP)?;
                thread::sleep(Duration::from_secs_f64(self.pause_secs));
                signal(&leader, Signal::CONT)?;
            }
            Harm::Roll => {
                for node in followers.chain([&leader]) {
                    signal(node, Signal::TERM)?;
                    come_back(plan, node)?;
                }
            }
            Harm::Each => {
                for node in followers.chain([&leader]) {
                    signal(node, Signal::KILL)?;
                    come_back(plan, node)?;
                }
            }
            Harm::Away => {
                let node = followers.into_iter().next().ok_or("there is no follower")?;
                signal(node, Signal::KILL)?;
                thread::sleep(Duration::from_secs_f64(self.pause_secs));
                done.in_sync_ms = Some(catch_up(plan, node)?);
                done.node = Some(node.id);
            }
        }
        if harm.needs_restart() {
            done.whole_after_ms = Some(began.elapsed().as_secs_f64() * 1e3);
        }
        done.node = done.node.or((!harm.needs_restart()).then_some(leader.id));
        Ok(done)
    }
}

/// `node`: whom it is about, for the command in `$LOADGEN_NODE`.
pub fn shell(flag: &str, command: &str, node: Option<u64>) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdout(Stdio::null());
    if let Some(node) = node {
        shell.env("LOADGEN_NODE", node.to_string());
    }
    match shell.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{flag} ended with {status}")),
        Err(error) => Err(format!("{flag}: {error}")),
    }
}

fn signal(node: &Node, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(node.pid as i32).ok_or("a pid of 0")?;
    kill_process(pid, signal).map_err(|error| format!("pid {}: {error}", node.pid))
}

/// Starts it again when it has ended, and waits until it answers.
fn come_back(plan: &Plan, node: &Node) -> Result<(), String> {
    let command = plan.restart.as_deref().ok_or("--restart-cmd is missing")?;
    let until = Instant::now() + RETURN;
    // A zombie's parent has still to be told; what it held is free all the same.
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid)).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while is_there() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    shell("--restart-cmd", command, Some(node.id))?;
    while Instant::now() < until {
        if run::answers(&run::probe(plan, node.address, ReadMode::Local)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("node {} does not answer within {} s", node.id, RETURN.as_secs()))
}

/// Starts it again, writes a key elsewhere, and waits until it has that key. In milliseconds from its start.
fn catch_up(plan: &Plan, node: &Node) -> Result<f64, String> {
    let command = plan.restart.clone().ok_or("--restart-cmd is missing")?;
    let other = plan.nodes.iter().find(|other| other.id != node.id).ok_or("there is one server only")?;
    let began = Instant::now();
    // A value that no earlier run can have left there.
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let mark = Op { kind: Kind::Write, key: plan.keys, stamp };
    let elsewhere = run::probe(plan, other.address, ReadMode::Local);
    run::ask_one(&elsewhere, Op { kind: Kind::Create, ..mark });
    run::ask_one(&elsewhere, mark).ok_or("the key that shows who is in sync could not be written")?;
    let id = node.id;
    let started = thread::spawn(move || shell("--restart-cmd", &command, Some(id)));
    let here = run::probe(plan, node.address, ReadMode::Local);
    let look = Op { kind: Kind::Read, ..mark };
    while began.elapsed() < RETURN {
        if run::ask_one(&here, look) == Some(mark.stamp) {
            started.join().map_err(|_| "the thread of --restart-cmd died")??;
            return Ok(began.elapsed().as_secs_f64() * 1e3);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(format!("node {} has not caught up within {} s", node.id, RETURN.as_secs()))
}

/// The node that leads; waits for an election under way.
pub fn leader(target: Protocol, nodes: &[Node], access: &Access) -> Result<Node, String> {
    if let [only] = nodes {
        return Ok(only.clone());
    }
    let until = Instant::now() + ELECTION;
    loop {
        if let Some(node) = nodes.iter().find(|node| leads(target, node, access)) {
            return Ok(node.clone());
        }
        if Instant::now() > until {
            return Err(format!("no server says that it leads within {} s", ELECTION.as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn leads(target: Protocol, node: &Node, access: &Access) -> bool {
    if let Some(admin) = node.admin {
        let status = http(admin, "/status", &Access::default())
            .and_then(|text| serde_json::from_str::<Value>(&text).ok());
        return status.is_some_and(|status| status["leader"].as_u64() == Some(node.id));
    }
    let said = match target {
        Protocol::Zk => exchange(node.address, b"srvr", access).map(|text| text.contains("Mode: leader")),
        Protocol::Etcd => {
            http(node.address, "/metrics", access).map(|text| text.contains("\netcd_server_is_leader 1\n"))
        }
        Protocol::Consul => http(node.address, "/v1/agent/self", access).map(|text| consul_leads(&text)),
        Protocol::Native => None,
    };
    said.unwrap_or(false)
}

fn consul_leads(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|json| json["Stats"]["consul"]["leader"] == "true")
}

fn http(address: SocketAddr, path: &str, access: &Access) -> Option<String> {
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
        token_header(access)
    );
    let answer = exchange(address, request.as_bytes(), access)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|code| *code == "200")?;
    Some(body.to_string())
}

/// Says something and hears all of the answer.
fn exchange(address: SocketAddr, request: &[u8], access: &Access) -> Option<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (name, tls) = match &access.tls {
        Some(tls) => (tls.name(address).to_str().into_owned(), Some(&tls.plain)),
        None => (String::new(), None),
    };
    let mut socket = Socket::new(stream, &name, tls).ok()?;
    socket.write_all(request).ok()?;
    socket.push().ok()?;
    let mut answer = Vec::new();
    socket.take(ANSWER_MAX).read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection after the other with the same words.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a guest");
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    fn node(id: u64, answer: &'static str) -> Node {
        Node { id, pid: 1, address: server(answer), admin: None }
    }

    #[test]
    fn each_system_tells_in_its_own_way_who_leads() {
        const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
        let etcd = concat!("HTTP/1.1 200 OK\r\n\r\n", "# TYPE x\netcd_server_is_leader 1\n");
        let consul = concat!("HTTP/1.1 200 OK\r\n\r\n", r#"{"Stats":{"consul":{"leader":"true"}}}"#);
        for (target, follows, leads) in [
            (Protocol::Zk, "Zxid: 0x1\nMode: follower\n", "Zxid: 0x1\nMode: leader\n"),
            (Protocol::Etcd, OK, etcd),
            (Protocol::Consul, OK, consul),
        ] {
            let nodes = [node(1, follows), node(2, leads), node(3, follows)];
            assert_eq!(leader(target, &nodes, &Access::default()).expect("one leads").id, 2, "{target:?}");
        }
        let mut nodes = [node(1, OK), node(2, "HTTP/1.1 200 OK\r\n\r\n{\"leader\":2}")];
        nodes.iter_mut().for_each(|node| node.admin = Some(node.address));
        assert_eq!(leader(Protocol::Native, &nodes, &Access::default()).expect("one leads").id, 2);
    }
}
