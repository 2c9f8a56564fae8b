//! Workloads by name: what was published, by whom, and how it is replayed. Published figures are context, never an
//! opponent: hardware differs by a decade.

use std::fmt::Write;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::driver::ReadMode;
use crate::fault::{Harm, Spread};
use crate::jobs::Job;
use crate::keys::Dist;
use crate::source::Writes;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// A tenth of the connections and keys: three servers and loadgen on one small host
    Small,
    /// As published
    Full,
}

/// What `run` is given in place of flags.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub conns: usize,
    pub depth: usize,
    pub keys: u64,
    pub value_size: usize,
    /// `None`: chosen with `--reads`.
    pub reads: Option<f64>,
    pub dist: Dist,
    /// `None`: what the system's own clients do.
    pub read_mode: Option<ReadMode>,
    pub spread: Spread,
    /// As it is at any scale.
    pub fixed: bool,
    /// Operations per second; 0: a closed loop.
    pub rate: f64,
    pub harm: Option<Harm>,
    pub writes: Writes,
}

#[derive(Clone, Copy, Debug)]
pub enum How {
    /// Reads and writes of keys.
    Load(Load),
    /// Steps of its own, by so many clients unless `--clients` says otherwise.
    Job(Job, usize),
}

pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    pub source: &'static str,
    pub published: &'static str,
    pub how: How,
}

const fn load(conns: usize, depth: usize, keys: u64, value_size: usize) -> Load {
    Load {
        conns,
        depth,
        keys,
        value_size,
        reads: None,
        dist: Dist::Uniform,
        read_mode: None,
        spread: Spread::All,
        fixed: false,
        rate: 0.0,
        harm: None,
        writes: Writes::Update,
    }
}

impl Load {
    const fn reads(self, percent: f64) -> Load {
        Load { reads: Some(percent), ..self }
    }

    const fn dist(self, dist: Dist) -> Load {
        Load { dist, ..self }
    }

    const fn mode(self, mode: ReadMode) -> Load {
        Load { read_mode: Some(mode), ..self }
    }

    const fn at_leader(self) -> Load {
        Load { spread: Spread::Leader, ..self }
    }

    const fn writes(self, writes: Writes) -> Load {
        Load { writes, ..self }
    }

    const fn rate(self, rate: f64) -> Load {
        Load { rate, ..self }
    }

    const fn harm(self, harm: Harm) -> Load {
        Load { harm: Some(harm), ..self }
    }

    const fn fixed(self) -> Load {
        Load { fixed: true, ..self }
    }

    const fn how(self) -> How {
        How::Load(self)
    }

    pub fn scaled(mut self, scale: Scale) -> Load {
        if scale == Scale::Small && !self.fixed {
            self.conns = self.conns.div_ceil(10);
            self.keys = self.keys.div_ceil(10);
        }
        self
    }
}

const LINEARIZABLE: ReadMode = ReadMode::Linearizable;
const LOCAL: ReadMode = ReadMode::Local;
const ZK10: &str = "Hunt et al., ZooKeeper, USENIX ATC 2010, section 5";
const SMOKE: &str = "phunt/zk-smoketest";
const ETCD: &str = "etcd docs, op-guide/performance (3.2.0, 3 x 8 vCPU)";
const TOOL: &str = "etcd-io/etcd, tools/benchmark";
const DBT: &str = "etcd-io/dbtester (3 x 16 vCPU)";
const YCSB: &str = "brianfrankcooper/YCSB, workloads/";
const K8S: &str = "kubernetes/apiserver, etcd robustness tests";
const KEEPER: &str = "ClickHouse/ClickHouse, programs/keeper-bench";
const OURS: &str = "ours";
const NONE: &str = "-";

const fn entry(
    name: &'static str,
    what: &'static str,
    source: &'static str,
    published: &'static str,
    how: How,
) -> Workload {
    Workload { name, what, source, published, how }
}

const ZK10_LOAD: Load = load(250, 100, 10_000, 1024).mode(LOCAL);
const ETCD_ONE: Load = load(1, 1, 10_000, 256);
const ETCD_MANY: Load = load(100, 10, 100_000, 256);
const YCSB_LOAD: Load = load(100, 1, 100_000, 1000).dist(Dist::Zipfian);
/// Nine writers with one write outstanding each: what `scripts/bench-failover` asks.
const NINE: Load = load(9, 1, 1000, 100).reads(0.0).fixed();

pub const ALL: &[Workload] = &[
    entry(
        "zk10-ratio",
        "250 clients, 100 outstanding each, 1 KB; the share of reads is swept with --reads",
        ZK10,
        "3 servers: 87k/s all reads, 21k/s all writes",
        ZK10_LOAD.how(),
    ),
    entry(
        "zk10-leader",
        "zk10-ratio with all clients at the leader",
        ZK10,
        "a figure only",
        ZK10_LOAD.at_leader().how(),
    ),
    entry(
        "zk10-create",
        "synchronous create of 1 KB, then its delete without waiting; --clients 1 or 10",
        ZK10,
        "3 servers: 776/s one worker, 2,074/s ten",
        How::Job(Job::Create, 10),
    ),
    entry(
        "zk10-faults",
        "30 % writes; the followers, then the leader, are killed and come back (--cluster, --restart-cmd)",
        ZK10,
        "5 servers: election under 200 ms, throughput never sampled as zero",
        ZK10_LOAD.reads(70.0).harm(Harm::Each).how(),
    ),
    entry(
        "zkdoc-ratio",
        "910 clients, 1 KB; the share of reads is swept with --reads",
        "ZooKeeper overview page (3.2, 3 servers)",
        "about 23k/s at 0 %, 41k/s at 50 %, 88k/s at 100 % reads (read off a chart)",
        load(910, 100, 10_000, 1024).mode(LOCAL).how(),
    ),
    entry(
        "zklat-sync",
        "create, set, get, delete, then ephemerals: create, watch, delete; 1,000 nodes (full: 10,000) of 25 B, one at a time",
        SMOKE,
        "5 servers, 100 B: create 1.42 to 1.77 ms, set 1.35 to 1.41, get 0.19 to 0.22, delete 1.33 to 1.35",
        How::Job(Job::Phases, 1),
    ),
    entry(
        "zklat-async",
        "the same, all requests of a phase at once (etcd: 100, Consul: 16)",
        SMOKE,
        NONE,
        How::Job(Job::Flood, 1),
    ),
    entry(
        "etcd-put-1",
        "one client at the leader, 256 B",
        ETCD,
        "583/s, 1.6 ms",
        ETCD_ONE.reads(0.0).dist(Dist::Sequential).at_leader().how(),
    ),
    entry(
        "etcd-put-1k-leader",
        "1,000 clients on 100 connections at the leader, 256 B",
        ETCD,
        "44,341/s, 22 ms",
        ETCD_MANY.reads(0.0).dist(Dist::Sequential).at_leader().how(),
    ),
    entry(
        "etcd-put-1k-all",
        "1,000 clients on 100 connections, 256 B",
        ETCD,
        "50,104/s, 20 ms",
        ETCD_MANY.reads(0.0).dist(Dist::Sequential).how(),
    ),
    entry(
        "etcd-get-1-lin",
        "one client, linearizable",
        ETCD,
        "1,353/s, 0.7 ms",
        ETCD_ONE.reads(100.0).mode(LINEARIZABLE).how(),
    ),
    entry(
        "etcd-get-1-ser",
        "one client, serializable",
        ETCD,
        "2,909/s, 0.3 ms",
        ETCD_ONE.reads(100.0).mode(LOCAL).how(),
    ),
    entry(
        "etcd-get-1k-lin",
        "1,000 clients on 100 connections, linearizable",
        ETCD,
        "141,578/s, 5.5 ms",
        ETCD_MANY.reads(100.0).mode(LINEARIZABLE).how(),
    ),
    entry(
        "etcd-get-1k-ser",
        "1,000 clients on 100 connections, serializable",
        ETCD,
        "185,758/s, 2.2 ms",
        ETCD_MANY.reads(100.0).mode(LOCAL).how(),
    ),
    entry(
        "etcd-txn-mixed",
        "transactions that read 100 records or write one, half and half unless --reads; keys and values of 256 B",
        "etcd-io/etcd, tools/benchmark and tools/rw-heatmaps",
        NONE,
        How::Job(Job::Mixed, 100),
    ),
    entry(
        "etcd-watch-latency",
        "100 watchers of one key, 100 puts/s of 32 B: from each put to each watcher",
        TOOL,
        NONE,
        How::Job(Job::Wake, 100),
    ),
    entry(
        "etcd-lease-keepalive",
        "one lease (zk: session) per client, kept alive in a loop, by --clients",
        TOOL,
        NONE,
        How::Job(Job::Keep, 100),
    ),
    entry(
        "dbt-write-sweep",
        "creates (zk) or puts of new keys, each key once, 1 KB, by --clients 1 to 1,000",
        DBT,
        "2017Q2, read off a chart, at 10/100/1,000: etcd 1.8k/10.7k/36.1k, ZooKeeper 2.9k/17.8k/12.5k, \
         Consul 1.7k/7.7k/5.8k",
        load(1000, 1, 1_000_000, 1024).reads(0.0).writes(Writes::Insert).how(),
    ),
    entry(
        "dbt-write-best",
        "each key created once, 1 KB, by as many clients as were best for etcd; 700 for ZooKeeper, 500 for Consul: --clients",
        DBT,
        "2018Q1: etcd 3.3.0 35,258/s, ZooKeeper 3.5.3-beta 16,842/s, Consul 1.0.2 5,588/s",
        load(1000, 1, 1_000_000, 1024).reads(0.0).writes(Writes::Insert).how(),
    ),
    entry(
        "dbt-write-qps",
        "100 clients, each key created once, 1 KB, at 1,000/s",
        DBT,
        "2017Q2, mean: etcd 4.6 ms, ZooKeeper 2.8 ms, Consul 49.6 ms",
        load(100, 1, 1_000_000, 1024).reads(0.0).writes(Writes::Insert).rate(1000.0).how(),
    ),
    entry(
        "dbt-write-3m",
        "1,000 clients (ZooKeeper, Consul: --clients 500), each key created once, 1 KB; three million in all: choose --secs",
        DBT,
        "2017Q1: etcd 3.1 21,738/s, ZooKeeper 3.4.9 906/s, Consul 0.7.4 1,270/s",
        load(1000, 1, 3_000_000, 1024).reads(0.0).writes(Writes::Insert).how(),
    ),
    entry(
        "dbt-read-best",
        "1,000 clients (ZooKeeper 700, Consul 500: --clients) read one key, linearizable",
        DBT,
        "2017Q2: etcd 117,348/s, ZooKeeper 89,830/s, Consul 70,124/s",
        load(1000, 1, 1, 1024).reads(100.0).mode(LINEARIZABLE).how(),
    ),
    entry(
        "dbt-write-1k",
        "1,000 clients, each key created once, 1 KB",
        DBT,
        "etcd 3.1 27,390/s, ZooKeeper 3.4.9 16,854/s, Consul 0.7.4 8,588/s",
        load(1000, 1, 1_000_000, 1024).reads(0.0).writes(Writes::Insert).how(),
    ),
    entry(
        "dbt-write-1",
        "one client, each key created once, 1 KB",
        DBT,
        "etcd 3.3.0 571/s, ZooKeeper 3.5.3-beta 517/s",
        load(1, 1, 100_000, 1024).reads(0.0).writes(Writes::Insert).how(),
    ),
    entry(
        "dbt-read-1k",
        "1,000 clients read one key, linearizable",
        DBT,
        NONE,
        load(1000, 1, 1, 1024).reads(100.0).mode(LINEARIZABLE).how(),
    ),
    entry(
        "kb-read",
        "20 lists, 2 creates, 2 sets, 75 multis of ten gets (of 99); small nodes",
        KEEPER,
        NONE,
        How::Job(Job::Lists, 30),
    ),
    entry(
        "kb-write70",
        "20 lists, 5 creates, 5 sets, 70 multis of two writes, creates and sets alike",
        KEEPER,
        NONE,
        How::Job(Job::Multis, 30),
    ),
    entry("ycsb-a", "50 % reads, zipfian, 1 KB", YCSB, NONE, YCSB_LOAD.reads(50.0).how()),
    entry("ycsb-b", "95 % reads, zipfian, 1 KB", YCSB, NONE, YCSB_LOAD.reads(95.0).how()),
    entry("ycsb-c", "100 % reads, zipfian, 1 KB", YCSB, NONE, YCSB_LOAD.reads(100.0).how()),
    entry(
        "ycsb-d",
        "95 % reads of the latest, 5 % inserts, 1 KB",
        YCSB,
        NONE,
        YCSB_LOAD.reads(95.0).dist(Dist::Latest).writes(Writes::Insert).how(),
    ),
    entry(
        "ycsb-e",
        "95 % scans of 1 to 100 keys, 5 % inserts; zipfian, 1 KB (zk: children and gets; Consul: recurse over 100)",
        YCSB,
        NONE,
        YCSB_LOAD.reads(95.0).writes(Writes::ScanInsert).how(),
    ),
    entry(
        "ycsb-f",
        "50 % reads, 50 % reads that are followed by a write if nobody else wrote meanwhile; zipfian, 1 KB",
        YCSB,
        NONE,
        YCSB_LOAD.reads(50.0).writes(Writes::Rmw).how(),
    ),
    entry(
        "consul-bench",
        "64 connections, one key, 36 B; puts, or gets with --reads 100",
        "hashicorp/consul, bench/results-0.7.1.md (3 x 8 cores)",
        "put 3,780/s, p99 48.9 ms; get 7,525/s, p99 22.8 ms",
        load(64, 1, 1, 36).how(),
    ),
    entry(
        "consul-catalog",
        "--clients instances that register and deregister, each in turn (consul)",
        "hashicorp/consul, docs, architecture/scale",
        NONE,
        How::Job(Job::Catalog, 100),
    ),
    entry(
        "consul-watch",
        "--clients blocking queries (watches) of one key, 100 puts/s: from the oldest unseen put to the wake",
        "hashicorp/consul, docs",
        NONE,
        How::Job(Job::Wake, 100),
    ),
    entry(
        "k8s-mix",
        "2 kB objects; half of the clients write on revisions seen last (90 updates, 5 deletes, 5 creates), half list, watch and get (etcd, native)",
        K8S,
        NONE,
        How::Job(Job::Kube, 100),
    ),
    entry(
        "k8s-churn",
        "60 creates and 40 deletes of 2 kB objects on revisions seen last (etcd, native)",
        K8S,
        NONE,
        How::Job(Job::KubeChurn, 100),
    ),
    entry(
        "lock-chain",
        "--clients contenders on one lock, hold 0, each watches the one before it (numbers by the client)",
        OURS,
        NONE,
        How::Job(Job::Chain, 100),
    ),
    entry(
        "lock-herd",
        "--clients contenders on one lock, all watch one key; released when all wait",
        OURS,
        NONE,
        How::Job(Job::Herd, 100),
    ),
    entry(
        "elect",
        "--clients candidates; the holder resigns, or dies and its session of 5 s runs out (Consul: resigns)",
        OURS,
        NONE,
        How::Job(Job::Elect, 10),
    ),
    entry(
        "fanout",
        "one key, --clients watchers spread over the servers, a write of 256 B each second",
        OURS,
        NONE,
        How::Job(Job::Fanout, 1000),
    ),
    entry(
        "discover",
        "--clients instances, ten a service, with heartbeats every 3 s for a TTL of 10 s; a subscriber each; 10 changes/s: until it is told",
        OURS,
        NONE,
        How::Job(Job::Discover, 1000),
    ),
    entry(
        "session-churn",
        "connect, one ephemeral, close, by --clients at a time (zk)",
        OURS,
        NONE,
        How::Job(Job::Churn, 100),
    ),
    entry(
        "expire-mass",
        "--clients sessions x 10 ephemerals, half of them cut at once; others write 1,000/s (zk)",
        OURS,
        NONE,
        How::Job(Job::Expire, 10_000),
    ),
    entry(
        "reconnect-storm",
        "--clients sessions or leases over all servers, a follower is killed (--cluster): until 99 % go on elsewhere",
        OURS,
        NONE,
        How::Job(Job::Storm, 3000),
    ),
    entry(
        "failover-kill",
        "nine writers; with --fault kill --fault-at S the leader is killed",
        OURS,
        "ZooKeeper elects in under 200 ms (its paper of 2010)",
        NINE.how(),
    ),
    entry("failover-pause", "the same with --fault pause: the leader is stopped", OURS, NONE, NINE.how()),
    entry(
        "rolling",
        "nine writers; all servers are stopped and started in turn (--cluster, --restart-cmd)",
        OURS,
        NONE,
        NINE.harm(Harm::Roll).how(),
    ),
    entry(
        "restart-log",
        "a log of --secs of writes, all servers killed, then --restart-cmd: until it reads and writes",
        OURS,
        NONE,
        How::Job(Job::Restart, 32),
    ),
    entry(
        "restart-snap",
        "the same, and --snapshot-cmd has every server take a snapshot before they are killed (ZooKeeper, etcd: by count alone)",
        OURS,
        NONE,
        How::Job(Job::Restart, 32),
    ),
    entry(
        "catchup-log",
        "1,000 writes/s at the leader; a follower is away for --pause-secs: until it is in sync (--cluster, --restart-cmd)",
        OURS,
        "etcd docs: 100 MB in 15 s at 10 MB/s",
        load(9, 16, 1000, 1024).reads(0.0).rate(1000.0).fixed().at_leader().harm(Harm::Away).how(),
    ),
    entry(
        "catchup-snap",
        "the same, with a --restart-cmd that wipes the follower's data first and has it join again",
        OURS,
        NONE,
        load(9, 16, 1000, 1024).reads(0.0).rate(1000.0).fixed().at_leader().harm(Harm::Away).how(),
    ),
    entry(
        "compact-load",
        "1,000 operations/s, half of them writes, while --fault-cmd compacts at --fault-at: p99.9 before and after (not ZooKeeper: no request compacts it)",
        OURS,
        NONE,
        load(9, 16, 10_000, 1024).reads(50.0).rate(1000.0).fixed().how(),
    ),
];

/// What the literature has besides: known by name, not replayed yet.
const NOT_YET: &str = "zk10-bcast zk10-barrier zkdoc-faults zksmoke zklat-cores zkbrown zab-tput zab-lat etcd-demo-get \
    etcd-watch-mem etcd-rw-heatmap rk-create rk-mixed consul-scale-10k k8s-events k8s-nodelease \
    k8s-list-storm lock-many stm-lock queue config-blob failover-cut transfer disk-slow";

pub fn find(name: &str) -> Result<How, String> {
    match ALL.iter().find(|workload| workload.name == name).map(|workload| workload.how) {
        Some(how) => Ok(how),
        None if NOT_YET.split(' ').any(|known| known == name) => {
            Err(format!("workload {name} is not replayed yet"))
        }
        None => Err(format!("there is no workload {name}; `loadgen list` shows all")),
    }
}

/// What a workload is, in words.
pub fn what(name: &str) -> Option<&'static str> {
    ALL.iter().find(|workload| workload.name == name).map(|workload| workload.what)
}

/// What was published, for a table; `None`: nothing.
pub fn published(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name && workload.published != NONE)
}

pub fn list() -> String {
    let mut text = String::new();
    for workload in ALL {
        let _ = writeln!(text, "{}", workload.name);
        let _ = writeln!(text, "    {}", workload.what);
        let size = |scale: Scale, load: Load| {
            let load = load.scaled(scale);
            let name = format!("{scale:?}").to_lowercase();
            format!("{name}: {} connections x {}, {} keys", load.conns, load.depth, load.keys)
        };
        let _ = match workload.how {
            How::Job(_, clients) => writeln!(text, "    {clients} clients unless --clients says otherwise"),
            How::Load(load) if load.writes == Writes::Insert && load.reads == Some(0.0) => {
                let all = load.scaled(Scale::Small);
                let (small, full, depth) = (all.conns, load.conns, load.depth);
                writeln!(
                    text,
                    "    small: {small} connections x {depth}; full: {full}; keys as they come, new in every run"
                )
            }
            How::Load(load) if load.fixed => {
                writeln!(text, "    {}; full: the same", size(Scale::Small, load))
            }
            How::Load(load) => {
                writeln!(text, "    {}; {}", size(Scale::Small, load), size(Scale::Full, load))
            }
        };
        let _ = writeln!(text, "    source: {}; published: {}", workload.source, workload.published);
    }
    let _ = writeln!(text, "not yet: {}", NOT_YET.replace(' ', ", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_small_is_a_tenth() {
        for (nth, workload) in ALL.iter().enumerate() {
            assert!(ALL[nth + 1..].iter().all(|other| other.name != workload.name), "{}", workload.name);
        }
        let small = |name: &str| match find(name).expect("replayed") {
            How::Load(load) => load.scaled(Scale::Small),
            other => panic!("{other:?}"),
        };
        let ratio = small("zk10-ratio");
        assert_eq!((ratio.conns, ratio.depth, ratio.keys), (25, 100, 1000));
        assert_eq!((small("etcd-put-1").conns, small("failover-kill").conns), (1, 9));
        assert!(find("disk-slow").unwrap_err().contains("not replayed yet"));
        assert!(find("nothing").unwrap_err().contains("no workload"));
        let text = list();
        assert!(text.contains(
            "    small: 25 connections x 100, 1000 keys; full: 250 connections x 100, 10000 keys\n"
        ));
        assert!(text.contains("discover\n"));
    }
}
