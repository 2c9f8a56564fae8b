//! Which nodes a command speaks to, by their admin doors, and who leads by their own word.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::tls;
use crate::tools::http::{self, Door};

#[derive(Clone, clap::Args)]
pub struct Nodes {
    /// Admin doors of the cluster's nodes [default: 127.0.0.1:7470]
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS:PORT")]
    admin: Vec<String>,
    /// The cluster.json of a `quorate dev`, which names all its admin doors.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    cluster: Option<PathBuf>,
    /// PEM file of the authorities of the admin doors' certificates, where those speak TLS.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM files of the certificate to show there, and of its key.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// For one node to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// For a cluster to have a leader, or to carry out what it has accepted.
pub const SETTLES: Duration = Duration::from_secs(15);

/// What a node says of itself, or why it does not.
pub struct Said {
    pub door: Door,
    pub status: Result<Value, String>,
}

impl Said {
    pub fn number(&self, key: &str) -> Option<u64> {
        self.status.as_ref().ok()?[key].as_u64()
    }

    /// The epoch in which this node leads, by its own word.
    fn leads(&self) -> Option<u64> {
        let node = self.number("node")?;
        (self.number("leader") == Some(node)).then(|| self.number("epoch")).flatten()
    }
}

impl Nodes {
    pub fn doors(&self) -> Result<Vec<Door>, String> {
        let named = match &self.cluster {
            None if self.admin.is_empty() => vec!["127.0.0.1:7470".to_owned()],
            None => self.admin.clone(),
            Some(file) => {
                let at = |why: String| format!("{}: {why}; check --cluster", file.display());
                let text = std::fs::read_to_string(file).map_err(|e| at(e.to_string()))?;
                let value: Value = serde_json::from_str(&text).map_err(|e| at(e.to_string()))?;
                let nodes = value["nodes"].as_array().cloned().unwrap_or_default();
                let doors = nodes.iter().filter_map(|node| node["admin"].as_str().map(str::to_owned));
                let doors: Vec<_> = doors.collect();
                if doors.is_empty() {
                    return Err(at("it names no admin door".into()));
                }
                doors
            }
        };
        let tls = match &self.tls_ca {
            None => None,
            Some(ca) => {
                let own = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
                Some(tls::client(ca, own).map_err(|e| e.to_string())?)
            }
        };
        let resolve = |name: &String| {
            let found = name.to_socket_addrs().ok().and_then(|mut all| all.next());
            let host = name.rsplit_once(':').map_or(&name[..], |(host, _)| host).to_owned();
            found
                .map(|at| Door { at, host, tls: tls.clone() })
                .ok_or_else(|| format!("--admin {name}: not an ADDRESS:PORT, such as 127.0.0.1:7470"))
        };
        named.iter().map(resolve).collect()
    }

    /// All at once: a node that hangs holds nobody up.
    pub fn ask_all(&self) -> Result<Vec<Said>, String> {
        let ask = |door: Door| std::thread::spawn(move || Said { status: status(&door), door });
        let asked: Vec<_> = self.doors()?.into_iter().map(ask).collect();
        asked
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread that asks panicked".into()))
            .collect()
    }

    /// The leader's admin door and what it says, as soon as there is one. Of several that believe to lead, the one
    /// of the latest epoch does.
    pub fn leader(&self) -> Result<Said, String> {
        let begin = Instant::now();
        loop {
            let said = self.ask_all()?;
            let why = whereabouts(&said);
            let leading = said.into_iter().filter(|said| said.leads().is_some());
            if let Some(leader) = leading.max_by_key(Said::leads) {
                return Ok(leader);
            }
            // Without anybody there, or with a leader elsewhere, waiting helps nobody.
            if begin.elapsed() > SETTLES || !why.may_change {
                return Err(why.text);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asks the leader to do something, and returns its answer.
    pub fn order(&self, method: &str, target: &str) -> Result<(Said, Value), String> {
        let leader = self.leader()?;
        let asked = http::ask(&leader.door, method, target, PATIENCE);
        let (code, body) = asked.map_err(|e| unreached(leader.door.at, &e))?;
        let value: Value = serde_json::from_str(&body).unwrap_or_default();
        match code {
            200 => Ok((leader, value)),
            _ => {
                Err(format!("{} refuses: {}", leader.door.at, value["error"].as_str().unwrap_or(body.trim())))
            }
        }
    }

    /// Until `done` is content with what some node says.
    pub fn await_said(&self, what: &str, done: impl Fn(&[Said]) -> bool) -> Result<Vec<Said>, String> {
        let begin = Instant::now();
        loop {
            let said = self.ask_all()?;
            if done(&said) {
                return Ok(said);
            }
            if begin.elapsed() > SETTLES {
                return Err(format!(
                    "{what} was accepted, and is not there after {SETTLES:?}; see `quorate status`"
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn status(door: &Door) -> Result<Value, String> {
    let at = door.at;
    let (code, body) = http::ask(door, "GET", "/status", PATIENCE).map_err(|e| unreached(at, &e))?;
    let value: Option<Value> = serde_json::from_str(&body).ok();
    match (code, value) {
        (200, Some(value)) if value["node"].is_u64() => Ok(value),
        (_, Some(value)) if value["error"].is_string() => {
            Err(format!("{at}: {}", value["error"].as_str().unwrap_or_default()))
        }
        _ => Err(format!("{at} answers, but it is no quorate admin door; check --admin (usually port 7470)")),
    }
}

pub fn unreached(at: SocketAddr, why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::InvalidData => format!("{at}: no TLS: {why}; check --tls-ca and --tls-cert"),
        _ => format!(
            "{at} does not answer: {why}; check --admin, whether the node runs, and whether it wants --tls-ca"
        ),
    }
}

struct Whereabouts {
    text: String,
    may_change: bool,
}

/// Why none of these leads, for people.
fn whereabouts(said: &[Said]) -> Whereabouts {
    let failures: Vec<&str> =
        said.iter().filter_map(|said| said.status.as_ref().err()).map(|why| &why[..]).collect();
    if failures.len() == said.len() {
        return Whereabouts { text: failures.join("\n"), may_change: false };
    }
    let followed = said.iter().filter_map(|said| said.number("leader")).next();
    if let Some(leader) = followed {
        let known = said.iter().any(|said| said.number("node") == Some(leader));
        let text = format!("node {leader} leads; name its admin door too, with --admin");
        // One that is named and does not say so is being elected or deposed right now.
        return Whereabouts { text, may_change: known || failures.len() < said.len() - 1 };
    }
    let text = format!(
        "there is no leader: {} of {} nodes named answer; a majority of the voters must run and reach each other",
        said.len() - failures.len(),
        said.len()
    );
    Whereabouts { text, may_change: true }
}
