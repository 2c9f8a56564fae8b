//! Who leads, and harm done to it: SIGKILL or SIGSTOP at a second of the window, or a command of the user's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use quorate::tls::Socket;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Access;
use crate::driver::Protocol;
use crate::driver::consul::token_header;

const PATIENCE: Duration = Duration::from_secs(2);
const ELECTION: Duration = Duration::from_secs(20);
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
}

impl Fault {
    /// Does the harm now; returns what was done. A pause ends before this returns.
    pub fn act(&self, target: Protocol, nodes: &[Node], access: &Access, at_s: f64) -> Result<Done, String> {
        if let Some(command) = &self.command {
            let status = Command::new("sh").args(["-c", command]).status();
            return match status {
                Ok(status) if status.success() => Ok(Done { what: "command".into(), node: None, at_s }),
                Ok(status) => Err(format!("--fault-cmd ended with {status}")),
                Err(error) => Err(format!("--fault-cmd: {error}")),
            };
        }
        let harm = self.harm.expect("a fault is a harm or a command");
        let node = leader(target, nodes, access)?;
        let signal = |signal| {
            let pid = Pid::from_raw(node.pid as i32).ok_or("a pid of 0")?;
            kill_process(pid, signal).map_err(|error| format!("pid {}: {error}", node.pid))
        };
        match harm {
            Harm::Kill => signal(Signal::KILL)?,
            Harm::Pause => {
                signal(Signal::STOP)?;
                thread::sleep(Duration::from_secs_f64(self.pause_secs));
                signal(Signal::CONT)?;
            }
        }
        Ok(Done { what: format!("{harm:?}").to_lowercase(), node: Some(node.id), at_s })
    }
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
