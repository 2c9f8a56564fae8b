//! The command line as checked: what will be done, with every address resolved.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use quorate::base::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Access;
use crate::args;
use crate::clock::{MILLI, SECOND, run_number};
use crate::driver::{Protocol, ReadMode, STAMPED, Shape};
use crate::fault::{self, Fault, Harm, Node, Spread};
use crate::jobs::Job;
use crate::keys::Dist;
use crate::procfs;
use crate::source::{Pace, Writes};
use crate::workload::{self, How, Scale};

const DIGITS: usize = 8;
const CONNS_MAX: usize = 100_000;
const DEPTH_MAX: usize = 1 << 20;

/// A part of the window with a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub secs: u64,
    pub rate: f64,
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Phase, String> {
        let wanted = || format!("{text:?} is no SECONDS@RATE, as 10@5000 is");
        let (secs, rate) = text.split_once('@').ok_or_else(wanted)?;
        let phase =
            Phase { secs: secs.parse().map_err(|_| wanted())?, rate: rate.parse().map_err(|_| wanted())? };
        if phase.secs > 0 && phase.rate > 0.0 && phase.rate.is_finite() { Ok(phase) } else { Err(wanted()) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub workload: Option<String>,
    pub scale: Option<Scale>,
    /// Steps of its own instead of reads and writes of keys.
    pub job: Option<Job>,
    pub target: Protocol,
    /// Where the clients go.
    pub servers: Vec<SocketAddr>,
    pub pids: Vec<u32>,
    pub spread: Spread,
    /// All servers, where a cluster file names them.
    #[serde(skip)]
    pub nodes: Vec<Node>,
    pub fault: Option<Fault>,
    /// What the workload does to the servers unless told otherwise.
    pub harm: Option<Harm>,
    #[serde(skip)]
    pub restart: Option<String>,
    #[serde(skip)]
    pub snapshot: Option<String>,
    /// The disk under the servers' data, where a cluster file shows it.
    #[serde(skip)]
    pub disk: Option<String>,
    pub conns: usize,
    pub depth: usize,
    pub threads: usize,
    pub procs: usize,
    pub rate: f64,
    pub phases: Vec<Phase>,
    pub poisson: bool,
    pub keys: u64,
    pub prefix: String,
    pub key_size: usize,
    pub value_size: usize,
    pub dist: Dist,
    pub reads: f64,
    pub read_mode: ReadMode,
    pub writes: Writes,
    pub batch: usize,
    pub preload: bool,
    pub secs: u64,
    pub warmup: u64,
    pub timeout_ms: u64,
    pub seed: u64,
    pub tls: bool,
    pub authenticated: bool,
    #[serde(skip)]
    pub access: Access,
    /// What `access` is made of, for other processes of this run.
    #[serde(skip)]
    pub credentials: args::Credentials,
    #[serde(skip)]
    pub names: Vec<(String, SocketAddr)>,
}

impl Plan {
    pub fn from_args(args: &args::Run) -> Result<Plan, String> {
        if args.check && args.load.value_size < STAMPED {
            return Err(format!("--check needs --value-size {STAMPED} or more: values carry their number"));
        }
        if args.check && args.load.batch != 1 {
            return Err("--check and --batch exclude each other: a history has one key a line".into());
        }
        if args.check && args.load.no_preload {
            return Err(
                "--check needs the preload: every value must have been written within the history".into()
            );
        }
        let mut plan = Plan::of(&args.place, &args.load)?;
        if args.check && plan.writes != Writes::Update {
            return Err("--check reads a history of plain writes: not that of this workload".into());
        }
        let fault = &args.fault;
        if let Some(at) = fault.fault_at {
            if fault.fault.is_none() && fault.fault_cmd.is_none() {
                return Err("--fault-at needs --fault or --fault-cmd".into());
            }
            if at < 0.0 || at >= plan.secs as f64 {
                return Err(format!("--fault-at {at} lies outside of the window of {} s", plan.secs));
            }
            if fault.fault.is_some() && plan.nodes.is_empty() {
                return Err("--fault needs --cluster: it acts on a pid; or pass --fault-cmd".into());
            }
            let (harm, command, pause_secs) = (fault.fault, fault.fault_cmd.clone(), fault.pause_secs);
            plan.fault = Some(Fault { harm, at, pause_secs, command });
        }
        let harm = plan.fault.as_ref().and_then(|fault| fault.harm).or(plan.harm);
        if harm.is_some_and(Harm::needs_restart) && (plan.nodes.len() < 2 || fault.restart_cmd.is_none()) {
            return Err("this harm needs --cluster with several nodes, and --restart-cmd".into());
        }
        if let (None, Some(harm)) = (&plan.fault, plan.harm) {
            let at = plan.secs as f64 / 10.0;
            plan.fault = Some(Fault { harm: Some(harm), at, pause_secs: fault.pause_secs, command: None });
        }
        if plan.workload.as_deref() == Some("compact-load") && fault.fault_cmd.is_none() {
            return Err("this workload needs --fault-at and --fault-cmd: what compacts".into());
        }
        if plan.job == Some(Job::Restart) && (plan.nodes.is_empty() || fault.restart_cmd.is_none()) {
            return Err("this workload needs --cluster and --restart-cmd".into());
        }
        if plan.job == Some(Job::Storm) && plan.nodes.iter().filter(|node| node.pid > 0).count() < 2 {
            return Err("this workload kills a follower: it needs --cluster with several nodes".into());
        }
        (plan.restart, plan.snapshot) = (fault.restart_cmd.clone(), fault.snapshot_cmd.clone());
        if plan.workload.as_deref() == Some("restart-snap") && plan.snapshot.is_none() {
            return Err("this workload needs --snapshot-cmd".into());
        }
        Ok(plan)
    }

    pub fn of(place: &args::Place, typed: &args::Load) -> Result<Plan, String> {
        let mut args = typed.clone();
        let target = place.protocol();
        let (mut job, mut harm, mut writes) = (None, None, Writes::default());
        match typed.workload.as_ref().map(|name| workload::find(name)).transpose()? {
            Some(How::Load(load)) => {
                let load = load.scaled(typed.scale);
                (args.conns, args.depth, args.keys) =
                    (typed.clients.unwrap_or(load.conns), load.depth, load.keys);
                (args.value_size, args.dist) = (load.value_size, load.dist);
                args.reads = load.reads.unwrap_or(typed.reads);
                args.read_mode = typed.read_mode.or(load.read_mode);
                args.spread = typed.spread.or(Some(load.spread));
                (harm, writes) = (load.harm, load.writes);
                if args.rate == 0.0 && args.phases.is_empty() {
                    args.rate = load.rate;
                }
            }
            Some(How::Job(which, clients)) => {
                (args.conns, args.depth) = (typed.clients.unwrap_or(clients), 1);
                args.value_size = which.value_size();
                job = Some(which);
            }
            _ => {}
        }
        let (mut servers, mut pids, mut nodes) = (Vec::new(), place.pids.clone(), Vec::new());
        match &place.cluster {
            Some(file) => {
                (nodes, pids) = read_cluster(file, target)?;
                servers.extend(nodes.iter().map(|node| node.address));
            }
            None => {
                for name in &place.servers {
                    servers.push(resolve(name)?);
                }
            }
        }
        let names: Vec<(String, SocketAddr)> =
            place.servers.iter().cloned().zip(servers.iter().copied()).collect();
        let access = Access::read(&place.credentials, target, &names)?;
        let spread = args.spread.unwrap_or_default();
        if spread != Spread::All && servers.len() > 1 {
            if nodes.is_empty() {
                let unnamed = |(nth, &address): (usize, &SocketAddr)| Node {
                    id: nth as u64 + 1,
                    pid: 0,
                    address,
                    admin: None,
                };
                nodes = servers.iter().enumerate().map(unnamed).collect();
            }
            let leader = fault::leader(target, &nodes, &access)?.address;
            servers.retain(|&address| (address == leader) == (spread == Spread::Leader));
        }
        let data = place.cluster.as_ref().and_then(|file| file.parent().filter(|dir| dir.is_dir()));
        let mut prefix = args.prefix.clone().unwrap_or_else(|| target.prefix().into());
        if makes_all(writes, args.reads) {
            // Seconds: a key's length is part of what is measured.
            prefix.push_str(&format!("{}-", run_number() / 1_000_000));
        }
        let digits_least = args.keys.saturating_sub(1).max(1).ilog10() as usize + 1;
        let key_size = args.key_size.unwrap_or(prefix.len() + DIGITS.max(digits_least));
        let plan = Plan {
            workload: args.workload.clone(),
            scale: args.workload.is_some().then_some(args.scale),
            job,
            target,
            servers,
            pids,
            spread,
            nodes,
            fault: None,
            harm,
            restart: None,
            snapshot: None,
            disk: data.and_then(procfs::disk_of),
            conns: args.conns,
            depth: args.depth,
            threads: args.threads,
            procs: args.procs,
            rate: args.rate,
            phases: args.phases.clone(),
            poisson: args.poisson,
            keys: args.keys,
            key_size,
            value_size: args.value_size,
            dist: args.dist,
            reads: args.reads,
            read_mode: args.read_mode.unwrap_or(target.read_mode()),
            writes,
            batch: args.batch,
            preload: !args.no_preload,
            secs: if args.phases.is_empty() {
                args.secs
            } else {
                args.phases.iter().map(|one| one.secs).sum()
            },
            warmup: args.warmup,
            timeout_ms: args.timeout_ms,
            seed: args.seed,
            tls: access.tls.is_some(),
            authenticated: access.user.is_some() || access.token.is_some(),
            access,
            credentials: place.credentials.clone(),
            names,
            prefix,
        };
        plan.check(digits_least)?;
        Ok(plan)
    }

    fn check(&self, digits_least: usize) -> Result<(), String> {
        let no = |what: String| Err(what);
        if self.conns == 0 || self.conns > CONNS_MAX {
            return no(format!("--conns {} is not between 1 and {CONNS_MAX}", self.conns));
        }
        if self.depth == 0 || self.depth > DEPTH_MAX {
            return no(format!("--depth {} is not between 1 and {DEPTH_MAX}", self.depth));
        }
        if self.threads == 0 || self.procs == 0 || self.parts() > self.conns {
            return no(format!(
                "--threads {} in --procs {} are not between 1 and --conns {}",
                self.threads, self.procs, self.conns
            ));
        }
        if self.job.is_some() && (self.parts() > 1 || self.is_open()) {
            return no("this workload has steps of its own: no --threads, --procs, --rate or --phases".into());
        }
        if let Some(why) = self.job.and_then(|job| job.refuses(self.target)) {
            return no(why.into());
        }
        if !(0.0..=100.0).contains(&self.reads) {
            return no(format!("--reads {} is a percentage: 0 to 100", self.reads));
        }
        if self.rate < 0.0 || !self.rate.is_finite() {
            return no(format!("--rate {} is not a number of operations per second", self.rate));
        }
        if self.poisson && !self.is_open() {
            return no("--poisson needs an open loop: pass --rate".into());
        }
        if self.keys == 0 || self.secs == 0 || self.timeout_ms == 0 {
            return no("--keys, --secs and --timeout-ms must be at least 1".into());
        }
        if self.key_size < self.prefix.len() + digits_least {
            return no(format!(
                "--key-size {} has no room for the prefix {:?} and {digits_least} digits",
                self.key_size, self.prefix
            ));
        }
        if self.batch != 1 && (self.target != Protocol::Native || self.reads > 0.0 || self.batch == 0) {
            return no("--batch is for native writes alone: --target native --reads 0".into());
        }
        if self.read_mode == ReadMode::Leased && self.target != Protocol::Consul {
            return no("--read-mode leased is Consul's; take local or linearizable".into());
        }
        if self.target == Protocol::Zk && (!self.prefix.starts_with('/') || self.prefix.contains("//")) {
            return no(format!("--prefix {:?}: a ZooKeeper path begins with one /", self.prefix));
        }
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.rate > 0.0 || !self.phases.is_empty()
    }

    /// Whether each key is made by the one operation that uses it, so that none can be there before.
    pub fn makes_all_keys(&self) -> bool {
        makes_all(self.writes, self.reads)
    }

    /// Threads of all processes.
    pub fn parts(&self) -> usize {
        self.threads * self.procs
    }

    /// Which phase a second of the window belongs to.
    pub fn phase_at(&self, second: u64) -> Option<usize> {
        let mut end = 0;
        self.phases.iter().position(|phase| {
            end += phase.secs;
            second < end
        })
    }

    /// One thread's share of the schedule. The warm-up has the pace of what comes first.
    pub fn paces(&self, origin: u64) -> Vec<Pace> {
        let gap = |rate: f64| 1e9 * self.parts() as f64 / rate;
        let mut until = origin + self.warmup * SECOND;
        if self.phases.is_empty() {
            return vec![Pace { gap: gap(self.rate), until: until + self.secs * SECOND }];
        }
        let pace = |phase: &Phase| {
            until += phase.secs * SECOND;
            Pace { gap: gap(phase.rate), until }
        };
        self.phases.iter().map(pace).collect()
    }

    /// A workload's count at its scale, from that of the small one.
    pub fn scale_up(&self, small: u64) -> u64 {
        if self.scale == Some(Scale::Full) { small * 10 } else { small }
    }

    pub fn timeout(&self) -> u64 {
        self.timeout_ms * MILLI
    }

    pub fn shape(&self, checked: bool) -> Arc<Shape> {
        let mut rng = Rng::new(self.seed ^ 0x76616c7565);
        let value = (0..self.value_size).map(|_| b'a' + rng.below(26) as u8).collect();
        Arc::new(Shape {
            protocol: self.target,
            prefix: self.prefix.clone(),
            digits: self.key_size - self.prefix.len(),
            keys: self.keys,
            value,
            read_mode: self.read_mode,
            checked,
            batch: self.batch,
            access: self.access.clone(),
        })
    }
}

fn makes_all(writes: Writes, reads: f64) -> bool {
    writes == Writes::Insert && reads == 0.0
}

pub fn resolve(name: &str) -> Result<SocketAddr, String> {
    let mut found =
        name.to_socket_addrs().map_err(|error| format!("{name} is not an address (host:port): {error}"))?;
    found.next().ok_or_else(|| format!("{name} has no address"))
}

/// Every node that listens for this protocol, and the pids of all.
pub fn read_cluster(file: &Path, target: Protocol) -> Result<(Vec<Node>, Vec<u32>), String> {
    let name = file.display();
    let text =
        fs::read_to_string(file).map_err(|error| format!("{name}: {error}; is the cluster started?"))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    let list = json["nodes"].as_array().ok_or_else(|| format!("{name} has no list \"nodes\""))?;
    let (mut nodes, mut pids) = (Vec::new(), Vec::new());
    for node in list {
        let pid = node["pid"].as_u64().unwrap_or(0) as u32;
        if pid > 0 {
            pids.push(pid);
        }
        if let Some(address) = node[target.key()].as_str() {
            let admin = node["admin"].as_str().map(resolve).transpose()?;
            nodes.push(Node { id: node["id"].as_u64().unwrap_or(0), pid, address: resolve(address)?, admin });
        }
    }
    if nodes.is_empty() {
        return Err(format!("{name} names no node with the door \"{}\"", target.key()));
    }
    Ok((nodes, pids))
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    pub fn plan(flags: &str) -> Result<Plan, String> {
        let words = format!("loadgen run --target zk --servers 127.0.0.1:2181 {flags}");
        let cli = Cli::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Run(run) = cli.command else { panic!("not a run") };
        Plan::from_args(&run)
    }

    #[test]
    fn defaults_make_a_plan() {
        let plan = plan("").expect("valid");
        assert_eq!((plan.conns, plan.depth, plan.key_size), (32, 32, "/loadgen/k".len() + 8));
        assert!(!plan.is_open());
    }

    #[test]
    fn a_run_that_makes_its_keys_has_a_prefix_of_its_own() {
        let made = plan("--workload dbt-write-1 --prefix /a/k").expect("valid");
        assert!(made.makes_all_keys() && made.prefix.len() > "/a/k".len() + 9, "{}", made.prefix);
        let latest = plan("--workload ycsb-d --prefix /a/k").expect("valid");
        assert!(!latest.makes_all_keys() && latest.prefix == "/a/k", "its reads are of keys that were there");
    }

    #[test]
    fn what_cannot_be_done_is_refused_in_words() {
        for (flags, word) in [
            ("--conns 0", "--conns"),
            ("--reads 101", "percentage"),
            ("--poisson", "--rate"),
            ("--threads 40 --conns 32", "--threads"),
            ("--key-size 5", "--key-size"),
            ("--prefix a/b", "begins with one /"),
            ("--secs 0", "--secs"),
            ("--procs 8 --conns 4", "--procs"),
            ("--phases 5x100", "SECONDS@RATE"),
            ("--phases 5@0", "SECONDS@RATE"),
            ("--workload fanout --procs 2", "steps of its own"),
            ("--workload k8s-mix", "--target etcd"),
            ("--workload reconnect-storm", "--cluster with several nodes"),
        ] {
            let error = plan(flags).expect_err(flags);
            assert!(error.contains(word), "{flags}: {error}");
        }
    }

    #[test]
    fn a_cluster_file_gives_addresses_and_pids() {
        let dir = tempfile::tempdir().expect("scratch");
        let file = dir.path().join("cluster.json");
        fs::write(&file, r#"{"nodes":[{"id":1,"pid":11,"zk":"127.0.0.1:2181"},{"id":2,"pid":12}]}"#)
            .expect("write");
        let (nodes, pids) = read_cluster(&file, Protocol::Zk).expect("valid");
        assert_eq!((nodes.len(), nodes[0].pid, pids), (1, 11, vec![11, 12]));
        fs::write(&file, r#"{"nodes":[{"id":1,"pid":11}]}"#).expect("write");
        assert!(read_cluster(&file, Protocol::Zk).unwrap_err().contains("\"zk\""));
    }
}
