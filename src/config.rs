//! What an operator says: `Args` as typed, in a file or as flags, and `Plan` as checked. No file is read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::base::{ClusterId, Nanos, NodeId};
use crate::doors::zk;
use crate::journal::{BATCH_HEAD, BATCH_MAX};
use crate::pipeline::layout::{self, Loop, Pin};
use crate::pipeline::ports::Door;
use crate::realms::tree::Settings;
use crate::state::ENVELOPE;
use crate::tls;

/// Which member of the drive runs the loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Our own loop on io_uring.
    #[default]
    Ring,
    /// A glommio executor.
    Glommio,
}

/// Where a door listens, if at all: ADDRESS:PORT or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    Off,
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        match text {
            "off" => Ok(Listen::Off),
            at => at
                .parse()
                .map(Listen::At)
                .map_err(|_| format!("{at:?} is no ADDRESS:PORT, such as 127.0.0.1:2181, nor off")),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Listen, String> {
        text.parse()
    }
}

/// Whether clients of doors in TLS must show certificates. Peers always must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    #[default]
    Required,
    /// Who shows one must show a good one.
    Optional,
}

/// Every key of the file is a flag too, and a flag wins. What is given in neither has the default that its help
/// names.
#[derive(Clone, Debug, Default, clap::Args, serde::Deserialize)]
#[group(skip)] // It is part of several commands' own `Args`.
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Args {
    /// This node's id, 1 to 255, unique in the cluster.
    #[arg(long)]
    pub node: Option<u8>,
    /// Directory of the log and the snapshots [default: ./quorate-data]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The cluster's name, 32 hexadecimal digits, drawn at random once and the same on every node. A cluster of
    /// one draws its own.
    #[arg(long)]
    pub cluster: Option<String>,
    /// The founding members with their peer addresses, this node among them, as ID=ADDR:PORT [default: this node
    /// alone]
    #[arg(long, value_delimiter = ',')]
    pub members: Option<Vec<String>>,
    /// Where peers are listened for [default: this node's address in `members`]
    #[arg(long)]
    pub peer: Option<SocketAddr>,
    /// Where the native door listens [default: 127.0.0.1:7411]
    #[arg(long)]
    pub native: Option<SocketAddr>,
    /// Where ZooKeeper's clients are listened for, or off [default: 127.0.0.1:2181]
    #[arg(long)]
    pub zk: Option<Listen>,
    /// Where ZooKeeper's clients are listened for in TLS; needs --tls-cert.
    #[arg(long)]
    pub zk_tls: Option<SocketAddr>,
    /// Bounds of the session timeouts that ZooKeeper's clients may have, in milliseconds [default: 4000,40000]
    #[arg(long, value_delimiter = ',')]
    pub zk_timeout_ms: Option<Vec<u32>>,
    /// Four-letter words that the ZooKeeper door answers, or * for all [default: srvr]
    #[arg(long, value_delimiter = ',')]
    pub zk_words: Option<Vec<String>>,
    /// USER:HASH of who may do everything at the ZooKeeper door (`superDigest` there)
    #[arg(long)]
    pub zk_super: Option<String>,
    /// Bytes of a ZooKeeper client's request at most (`jute.maxbuffer` there) [default: 1048575]
    #[arg(long)]
    pub zk_frame: Option<u32>,
    /// ZooKeeper connections from one address, 0 for any number [default: 60]
    #[arg(long)]
    pub zk_per_address: Option<u32>,
    /// Whether ZooKeeper's clients may make nodes with a time to live [default: as the cluster has it, at first yes]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub zk_ttl_nodes: Option<bool>,
    /// Whether the hard limits of ZooKeeper's quotas hold [default: as the cluster has it, at first no]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub zk_enforce_quota: Option<bool>,
    /// Where the admin door listens [default: 127.0.0.1:7470]
    #[arg(long)]
    pub admin: Option<SocketAddr>,
    /// PEM file of this node's certificate, intermediates behind it. With it the native and admin doors and the
    /// links between peers speak TLS. Peers look for the name node-ID.quorate in it.
    #[arg(long)]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long)]
    pub tls_key: Option<PathBuf>,
    /// PEM file of the authorities whose certificates are trusted, clients' and peers'.
    #[arg(long)]
    pub tls_ca: Option<PathBuf>,
    /// Whether a client must show a certificate [default: required]
    #[arg(long)]
    pub tls_clients: Option<Clients>,
    /// Allow doors and peers off loopback without TLS: anybody who reaches a port may then read and write.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub plaintext: Option<bool>,
    /// Cores to use [default: those of the machine]
    #[arg(long)]
    pub cores: Option<usize>,
    /// Whether loops are pinned to cores [default: auto, where each has one of its own]
    #[arg(long)]
    pub pin: Option<Pin>,
    /// What runs the loops [default: ring]
    #[arg(long)]
    pub runtime: Option<Runtime>,
    /// Whether the leader compacts the native realm's history as its budget runs out [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub kv_compacts: Option<bool>,
    /// Client connections per loop [default: 10000]
    #[arg(long)]
    pub connections: Option<usize>,
    /// Milliseconds between a leader's heartbeats [default: 100]
    #[arg(long)]
    pub heartbeat_ms: Option<u64>,
    /// Milliseconds without a leader before an election [default: 900]
    #[arg(long)]
    pub patience_ms: Option<u64>,
    /// Linearizable reads by the leader's clock, without asking the others: trusts that no node's clock runs a third
    /// faster than another's, nor stands still; a leader that dies is waited out. Take it away only from a node that has
    /// been stopped for one patience [default: no]
    #[arg(long)]
    pub lease_reads: Option<bool>,
    /// What is logged: error, warn, info, debug or trace [default: info]
    #[arg(long)]
    pub log: Option<String>,
}

/// Checked and complete.
#[derive(Clone, Debug)]
pub struct Plan {
    pub node: NodeId,
    pub data: PathBuf,
    pub cluster: Option<ClusterId>,
    pub members: Vec<(NodeId, SocketAddr)>,
    pub listen: Vec<(Door, SocketAddr)>,
    pub zk: zk::Config,
    pub admin: SocketAddr,
    /// `None`: everything is in the clear.
    pub tls: Option<(tls::Paths, Clients)>,
    pub loops: Vec<Loop>,
    pub runtime: Runtime,
    pub connections_max: usize,
    pub kv_compacts: bool,
    pub heartbeat: Nanos,
    pub patience: Nanos,
    pub lease_reads: bool,
    pub log: tracing::Level,
}

/// A value that cannot be used: which, why, what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct BadConfig {
    pub key: &'static str,
    pub why: String,
}

fn bad(key: &'static str, why: impl Into<String>) -> BadConfig {
    BadConfig { key, why: why.into() }
}

/// A frame goes into the log whole, with its envelope and its client's ids.
const _: () = assert!(zk::FRAME_LIMIT as usize + zk::IDS_MAX + ENVELOPE + 32 <= BATCH_MAX - BATCH_HEAD);

/// How many connections one loop's table may be asked to hold.
const CONNECTIONS_MAX: usize = 1 << 20;

impl Args {
    pub fn from_toml(text: &str) -> Result<Args, BadConfig> {
        toml::from_str(text).map_err(|e| bad("file", e.to_string()))
    }

    /// These, and for what they leave open, `file`'s.
    pub fn or(self, file: Args) -> Args {
        Args {
            node: self.node.or(file.node),
            data: self.data.or(file.data),
            cluster: self.cluster.or(file.cluster),
            members: self.members.or(file.members),
            peer: self.peer.or(file.peer),
            native: self.native.or(file.native),
            zk: self.zk.or(file.zk),
            zk_tls: self.zk_tls.or(file.zk_tls),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_ca: self.tls_ca.or(file.tls_ca),
            tls_clients: self.tls_clients.or(file.tls_clients),
            zk_timeout_ms: self.zk_timeout_ms.or(file.zk_timeout_ms),
            zk_words: self.zk_words.or(file.zk_words),
            zk_super: self.zk_super.or(file.zk_super),
            zk_frame: self.zk_frame.or(file.zk_frame),
            zk_per_address: self.zk_per_address.or(file.zk_per_address),
            zk_ttl_nodes: self.zk_ttl_nodes.or(file.zk_ttl_nodes),
            zk_enforce_quota: self.zk_enforce_quota.or(file.zk_enforce_quota),
            admin: self.admin.or(file.admin),
            plaintext: self.plaintext.or(file.plaintext),
            cores: self.cores.or(file.cores),
            pin: self.pin.or(file.pin),
            runtime: self.runtime.or(file.runtime),
            kv_compacts: self.kv_compacts.or(file.kv_compacts),
            connections: self.connections.or(file.connections),
            heartbeat_ms: self.heartbeat_ms.or(file.heartbeat_ms),
            patience_ms: self.patience_ms.or(file.patience_ms),
            lease_reads: self.lease_reads.or(file.lease_reads),
            log: self.log.or(file.log),
        }
    }

    /// All three files or none.
    fn tls(&self) -> Result<Option<(tls::Paths, Clients)>, BadConfig> {
        let (cert, key, ca) = (&self.tls_cert, &self.tls_key, &self.tls_ca);
        match (cert.clone(), key.clone(), ca.clone()) {
            (Some(cert), Some(key), Some(ca)) => {
                Ok(Some((tls::Paths { cert, key, ca }, self.tls_clients.unwrap_or_default())))
            }
            (None, None, None) if self.zk_tls.is_some() => {
                Err(bad("zk-tls", "needs --tls-cert, --tls-key and --tls-ca"))
            }
            (None, None, None) => Ok(None),
            (None, ..) => Err(bad("tls-cert", "is missing; TLS needs certificate, key and authorities")),
            (_, None, _) => Err(bad("tls-key", "is missing; TLS needs certificate, key and authorities")),
            (.., None) => Err(bad("tls-ca", "is missing; TLS needs certificate, key and authorities")),
        }
    }

    fn zk_config(&self, at: Option<SocketAddr>) -> Result<zk::Config, BadConfig> {
        let usual = zk::Config::default();
        let timeout_ms = match self.zk_timeout_ms.as_deref() {
            None => usual.timeout_ms,
            Some(&[low, high]) if low >= 1 && low <= high && high <= i32::MAX as u32 => {
                (low as i32, high as i32)
            }
            Some(_) => return Err(bad("zk-timeout-ms", "the shortest and the longest, as 4000,40000")),
        };
        if self.zk_super.as_ref().is_some_and(|digest| !digest.contains(':')) {
            return Err(bad("zk-super", "a user, a colon, the hash that ZooKeeper's clients would show"));
        }
        let frame_max = self.zk_frame.unwrap_or(usual.frame_max);
        if !(1024..=zk::FRAME_LIMIT).contains(&frame_max) {
            return Err(bad(
                "zk-frame",
                format!("from 1024 to {}: a request must fit into a batch", zk::FRAME_LIMIT),
            ));
        }
        let usual_settings = Settings::default();
        let settings = (self.zk_ttl_nodes.is_some() || self.zk_enforce_quota.is_some()).then(|| Settings {
            ttl_nodes: self.zk_ttl_nodes.unwrap_or(usual_settings.ttl_nodes),
            enforce_quota: self.zk_enforce_quota.unwrap_or(usual_settings.enforce_quota),
        });
        let shared = self.members.as_ref().is_some_and(|members| members.len() > 1);
        Ok(zk::Config {
            timeout_ms,
            frame_max,
            per_address_max: self.zk_per_address.unwrap_or(usual.per_address_max),
            words: self.zk_words.clone().unwrap_or(usual.words),
            super_digest: self.zk_super.clone(),
            shown: self.shown(timeout_ms, at),
            announced: at.filter(|_| shared).map(|at| at.to_string()),
            settings,
        })
    }

    /// What the `conf` word shows, in the reference's names and order.
    fn shown(&self, timeout_ms: (i32, i32), at: Option<SocketAddr>) -> Vec<(String, String)> {
        let data = self.data.as_ref().map_or("./quorate-data".into(), |data| data.display().to_string());
        let port = |at: Option<SocketAddr>| at.map_or(-1, |at| i32::from(at.port())).to_string();
        let shown = [
            ("clientPort", port(at)),
            ("secureClientPort", port(self.zk_tls)),
            ("dataDir", data.clone()),
            ("dataLogDir", data),
            ("tickTime", (timeout_ms.0 / 2).to_string()),
            (
                "maxClientCnxns",
                self.zk_per_address.unwrap_or(zk::Config::default().per_address_max).to_string(),
            ),
            ("minSessionTimeout", timeout_ms.0.to_string()),
            ("maxSessionTimeout", timeout_ms.1.to_string()),
            ("clientPortListenBacklog", "-1".into()),
            ("serverId", self.node.unwrap_or(1).to_string()),
        ];
        shown.map(|(key, value)| (key.to_string(), value)).to_vec()
    }

    /// Checks everything that can be checked without touching the machine, which has `online` cores.
    pub fn plan(self, online: usize) -> Result<Plan, BadConfig> {
        let node = self.node.unwrap_or(1);
        if node == 0 {
            return Err(bad("node", "0 is nobody; ids go from 1 to 255"));
        }
        let members = members(self.members.as_deref().unwrap_or_default())?;
        let own = members.iter().find(|(id, _)| id.0 == node).map(|(_, at)| *at);
        if !members.is_empty() && own.is_none() {
            return Err(bad("members", format!("node {node} is not among them; add {node}=ADDRESS:PORT")));
        }
        let peer = self.peer.or(own);
        let cluster = self.cluster.as_deref().map(cluster).transpose()?;
        if members.len() > 1 && cluster.is_none() {
            return Err(bad(
                "cluster",
                "several members need its name, 32 hexadecimal digits, the same on every node; \
                 draw one with `openssl rand -hex 16`",
            ));
        }
        let native = self.native.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7411)));
        let admin = self.admin.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7470)));
        let mut listen = vec![(Door::Native, native)];
        let zk_at = match self.zk {
            Some(Listen::At(at)) => Some(at),
            Some(Listen::Off) => None,
            None => Some(SocketAddr::from(([127, 0, 0, 1], 2181))),
        };
        listen.extend(zk_at.map(|at| (Door::Zk, at)));
        listen.extend(self.zk_tls.map(|at| (Door::ZkTls, at)));
        listen.extend(peer.map(|at| (Door::Peer, at)));
        let tls = self.tls()?;
        let zk = self.zk_config(zk_at)?;
        if !self.plaintext.unwrap_or(false) {
            // Doors in TLS are safe to show, unless anybody may come in.
            let proven = matches!(tls, Some((_, Clients::Required)));
            let safe = |door: &Door| match door {
                Door::Zk => false,
                Door::Peer | Door::ZkTls => tls.is_some(),
                _ => proven,
            };
            let doors = listen.iter().filter(|(door, _)| !safe(door)).map(|(_, at)| at);
            let open = doors.chain((!proven).then_some(&admin)).find(|at| !at.ip().is_loopback());
            if let Some(open) = open {
                return Err(bad(
                    "plaintext",
                    format!(
                        "{open} can be reached from other hosts, without TLS or by clients without certificates; give \
                         --tls-cert, --tls-key and --tls-ca, listen on 127.0.0.1, or pass --plaintext"
                    ),
                ));
            }
        }
        let cores = self.cores.unwrap_or(online);
        if cores == 0 {
            return Err(bad("cores", "at least 1; leave it out to use those of the machine"));
        }
        let connections_max = self.connections.unwrap_or(10_000);
        if !(1..=CONNECTIONS_MAX).contains(&connections_max) {
            return Err(bad("connections", format!("from 1 to {CONNECTIONS_MAX}")));
        }
        let heartbeat = self.heartbeat_ms.unwrap_or(100);
        let patience = self.patience_ms.unwrap_or(900);
        if heartbeat == 0 || patience < 3 * heartbeat {
            return Err(bad(
                "patience-ms",
                format!(
                    "{patience} is less than three heartbeats of {heartbeat} ms: one late packet would depose the leader"
                ),
            ));
        }
        let log = self.log.as_deref().unwrap_or("info");
        Ok(Plan {
            node: NodeId(node),
            data: self.data.unwrap_or_else(|| "./quorate-data".into()),
            cluster,
            members,
            listen,
            zk,
            admin,
            tls,
            loops: layout::gathered(&layout::layout(cores, online, self.pin.unwrap_or_default())),
            runtime: self.runtime.unwrap_or_default(),
            connections_max,
            kv_compacts: self.kv_compacts.unwrap_or(true),
            heartbeat: Nanos::from_millis(heartbeat),
            patience: Nanos::from_millis(patience),
            lease_reads: self.lease_reads.unwrap_or(false),
            log: log.parse().map_err(|_| {
                bad("log", format!("no level {log:?}; one of error, warn, info, debug, trace"))
            })?,
        })
    }
}

fn members(typed: &[String]) -> Result<Vec<(NodeId, SocketAddr)>, BadConfig> {
    let mut all = Vec::new();
    for text in typed {
        let parsed = text.split_once('=').and_then(|(id, at)| Some((id.parse().ok()?, at.parse().ok()?)));
        let Some((id @ 1.., at)) = parsed else {
            return Err(bad("members", format!("{text:?} is not ID=ADDRESS:PORT, such as 2=10.0.0.2:7400")));
        };
        if all.iter().any(|(other, _)| *other == NodeId(id)) {
            return Err(bad("members", format!("node {id} stands there twice")));
        }
        all.push((NodeId(id), at));
    }
    if all.len() > crate::replica::MEMBERS_MAX {
        return Err(bad("members", format!("at most {}", crate::replica::MEMBERS_MAX)));
    }
    Ok(all)
}

fn cluster(text: &str) -> Result<ClusterId, BadConfig> {
    let id = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    let id = id.filter(|id| *id != 0);
    id.map(ClusterId).ok_or_else(|| bad("cluster", format!("{text:?} is not 32 hexadecimal digits, or zero")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    fn typed(flags: &[&str]) -> Args {
        let command = Args::augment_args(clap::Command::new("t").no_binary_name(true));
        Args::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
    }

    #[test]
    fn every_key_is_a_flag_and_flags_win() {
        let file = Args::from_toml(
            "node = 2\ndata = 'd'\ncluster = '0123456789abcdef0123456789abcdef'\n\
             members = ['1=127.0.0.1:7400', '2=127.0.0.1:7401']\npeer = '127.0.0.1:9'\nnative = '127.0.0.1:1'\n\
             admin = '127.0.0.1:2'\nzk-tls = '127.0.0.1:3'\nplaintext = false\ntls-cert = 'c'\n\
             tls-key = 'k'\ntls-ca = 'a'\ntls-clients = 'optional'\ncores = 1\npin = 'no'\nruntime = 'ring'\n\
             connections = 7\nheartbeat-ms = 50\npatience-ms = 500\nlog = 'warn'",
        );
        let plan = file.clone().unwrap().plan(8).unwrap();
        assert_eq!(plan.listen[1], (Door::Zk, "127.0.0.1:2181".parse().unwrap()), "on unless switched off");
        assert_eq!((plan.node, plan.loops.len(), plan.connections_max), (NodeId(2), 1, 7));
        assert_eq!(plan.listen[2], (Door::ZkTls, "127.0.0.1:3".parse().unwrap()));
        assert_eq!(plan.listen[3], (Door::Peer, "127.0.0.1:9".parse().unwrap()));
        let flags =
            typed(&["--node", "1", "--cores", "4", "--log", "debug", "--members", "1=[::1]:1,3=[::1]:3"]);
        let plan = flags.or(file.unwrap()).plan(8).unwrap();
        assert_eq!((plan.node, plan.loops.len(), plan.log), (NodeId(1), 3, tracing::Level::DEBUG));
        assert_eq!(plan.members[1], (NodeId(3), "[::1]:3".parse().unwrap()));

        // A key that `or` forgets, or that only one form knows, shows here.
        let command = Args::augment_args(clap::Command::new("t"));
        for flag in command.get_arguments().filter_map(|arg| arg.get_long()).filter(|l| *l != "help") {
            let known = Args::from_toml(&format!("{flag} = {{}}")).unwrap_err().why;
            assert!(!known.contains("unknown field"), "{flag}: {known}");
        }
    }

    #[test]
    fn the_example_can_be_used() {
        let plan = Args::from_toml(include_str!("../examples/quorate.toml")).unwrap().plan(2).unwrap();
        assert!(plan.tls.is_some() && plan.members.len() == 3 && plan.listen.len() == 4);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        for (text, key, remedy) in [
            ("node = 0", "node", "from 1 to 255"),
            ("nodes = 3", "file", "unknown field"),
            ("members = ['2=127.0.0.1:7400']", "members", "add 1=ADDRESS:PORT"),
            ("members = ['1']", "members", "such as"),
            ("members = ['1=127.0.0.1:1', '1=127.0.0.1:2']", "members", "twice"),
            ("members = ['1=127.0.0.1:1', '2=127.0.0.1:2']", "cluster", "openssl rand"),
            ("cluster = 'x'", "cluster", "32 hexadecimal"),
            ("native = '0.0.0.0:7411'", "plaintext", "--plaintext"),
            ("tls-cert = 'c'\ntls-ca = 'a'", "tls-key", "missing"),
            ("zk-tls = '127.0.0.1:1'", "zk-tls", "--tls-cert"),
            ("zk = 'on'", "file", "nor off"),
            ("cores = 0", "cores", "leave it out"),
            ("connections = 0", "connections", "from 1"),
            ("patience-ms = 100", "patience-ms", "three heartbeats"),
            ("log = 'loud'", "log", "one of error"),
        ] {
            let refused = Args::from_toml(text).and_then(|args| args.plan(2)).unwrap_err();
            assert_eq!(refused.key, key, "{text}");
            assert!(refused.why.contains(remedy), "{text}: {refused}");
        }
        let open = "native = '0.0.0.0:7411'\nadmin = '0.0.0.0:7470'\n";
        let tls = "tls-cert = 'c'\ntls-key = 'k'\ntls-ca = 'a'\n";
        let may = |text: String| Args::from_toml(&text).unwrap().plan(2).map(drop);
        assert_eq!(may(format!("{open}plaintext = true")), Ok(()));
        assert_eq!(may(format!("{open}{tls}")), Ok(()));
        assert_eq!(may(format!("{open}{tls}tls-clients = 'optional'")).unwrap_err().key, "plaintext");
        assert_eq!(may(format!("{open}{tls}zk = '0.0.0.0:2181'")).unwrap_err().key, "plaintext");
        assert_eq!(may(format!("{open}{tls}zk = 'off'")), Ok(()));
        assert_eq!(may(format!("{open}{tls}zk-tls = '0.0.0.0:2281'")), Ok(()));
    }
}
