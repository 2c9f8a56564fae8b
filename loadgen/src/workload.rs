//! Workloads by name: what was published, by whom, and how it is replayed. Published figures are context, never an
//! opponent: hardware differs by a decade.

use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::driver::ReadMode;
use crate::keys::Dist;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
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
}

pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    pub source: &'static str,
    pub published: &'static str,
    /// `None`: not yet.
    pub load: Option<Load>,
}

const fn load(conns: usize, depth: usize, keys: u64, value_size: usize, reads: f64) -> Option<Load> {
    Some(Load { conns, depth, keys, value_size, reads: Some(reads), dist: Dist::Uniform, read_mode: None })
}

const fn with(load: Option<Load>, dist: Dist, read_mode: Option<ReadMode>) -> Option<Load> {
    match load {
        Some(load) => Some(Load { dist, read_mode, ..load }),
        None => None,
    }
}

const LINEARIZABLE: Option<ReadMode> = Some(ReadMode::Linearizable);
const LOCAL: Option<ReadMode> = Some(ReadMode::Local);
const ZK10: &str = "Hunt et al., ZooKeeper, USENIX ATC 2010, section 5";
const ETCD: &str = "etcd docs, op-guide/performance (3.2.0, 3 x 8 vCPU)";
const DBT: &str = "etcd-io/dbtester (3 x 16 vCPU)";
const YCSB: &str = "brianfrankcooper/YCSB, workloads/";
const NONE: &str = "-";

const fn entry(
    name: &'static str,
    what: &'static str,
    source: &'static str,
    published: &'static str,
    load: Option<Load>,
) -> Workload {
    Workload { name, what, source, published, load }
}

pub const ALL: &[Workload] = &[
    entry(
        "zk10-ratio",
        "250 clients, 100 outstanding each, 1 KB; the share of reads is swept with --reads",
        ZK10,
        "3 servers: 87k/s all reads, 21k/s all writes",
        Some(Load {
            conns: 250,
            depth: 100,
            keys: 10_000,
            value_size: 1024,
            reads: None,
            dist: Dist::Uniform,
            read_mode: LOCAL,
        }),
    ),
    entry(
        "zkdoc-ratio",
        "910 clients, 1 KB; the share of reads is swept with --reads",
        "ZooKeeper overview page (3.2, 3 servers)",
        "about 23k/s at 0 %, 41k/s at 50 %, 88k/s at 100 % reads (read off a chart)",
        Some(Load {
            conns: 910,
            depth: 100,
            keys: 10_000,
            value_size: 1024,
            reads: None,
            dist: Dist::Uniform,
            read_mode: LOCAL,
        }),
    ),
    entry(
        "etcd-put-1",
        "one client, 256 B",
        ETCD,
        "583/s, 1.6 ms",
        with(load(1, 1, 10_000, 256, 0.0), Dist::Sequential, None),
    ),
    entry(
        "etcd-put-1k-all",
        "1,000 clients on 100 connections, 256 B",
        ETCD,
        "50,104/s, 20 ms",
        with(load(100, 10, 100_000, 256, 0.0), Dist::Sequential, None),
    ),
    entry(
        "etcd-get-1-lin",
        "one client, linearizable",
        ETCD,
        "1,353/s, 0.7 ms",
        with(load(1, 1, 10_000, 256, 100.0), Dist::Uniform, LINEARIZABLE),
    ),
    entry(
        "etcd-get-1-ser",
        "one client, serializable",
        ETCD,
        "2,909/s, 0.3 ms",
        with(load(1, 1, 10_000, 256, 100.0), Dist::Uniform, LOCAL),
    ),
    entry(
        "etcd-get-1k-lin",
        "1,000 clients on 100 connections, linearizable",
        ETCD,
        "141,578/s, 5.5 ms",
        with(load(100, 10, 100_000, 256, 100.0), Dist::Uniform, LINEARIZABLE),
    ),
    entry(
        "etcd-get-1k-ser",
        "1,000 clients on 100 connections, serializable",
        ETCD,
        "185,758/s, 2.2 ms",
        with(load(100, 10, 100_000, 256, 100.0), Dist::Uniform, LOCAL),
    ),
    entry(
        "dbt-write-1k",
        "1,000 clients, distinct keys, 1 KB",
        DBT,
        "etcd 3.1 27,390/s, ZooKeeper 3.4.9 16,854/s, Consul 0.7.4 8,588/s",
        with(load(1000, 1, 1_000_000, 1024, 0.0), Dist::Sequential, None),
    ),
    entry(
        "dbt-write-1",
        "one client, distinct keys, 1 KB",
        DBT,
        "etcd 3.3.0 571/s, ZooKeeper 3.5.3-beta 517/s",
        with(load(1, 1, 100_000, 1024, 0.0), Dist::Sequential, None),
    ),
    entry(
        "dbt-read-1k",
        "1,000 clients read one key, linearizable",
        DBT,
        NONE,
        with(load(1000, 1, 1, 1024, 100.0), Dist::Uniform, LINEARIZABLE),
    ),
    entry(
        "ycsb-a",
        "50 % reads, zipfian, 1 KB",
        YCSB,
        NONE,
        with(load(100, 1, 100_000, 1000, 50.0), Dist::Zipfian, None),
    ),
    entry(
        "ycsb-b",
        "95 % reads, zipfian, 1 KB",
        YCSB,
        NONE,
        with(load(100, 1, 100_000, 1000, 95.0), Dist::Zipfian, None),
    ),
    entry(
        "ycsb-c",
        "100 % reads, zipfian, 1 KB",
        YCSB,
        NONE,
        with(load(100, 1, 100_000, 1000, 100.0), Dist::Zipfian, None),
    ),
    entry(
        "consul-bench",
        "64 connections, one key, 36 B; puts, or gets with --reads 100",
        "hashicorp/consul, bench/results-0.7.1.md (3 x 8 cores)",
        "put 3,780/s, p99 48.9 ms; get 7,525/s, p99 22.8 ms",
        Some(Load {
            conns: 64,
            depth: 1,
            keys: 1,
            value_size: 36,
            reads: None,
            dist: Dist::Uniform,
            read_mode: None,
        }),
    ),
    entry(
        "zk10-create",
        "synchronous create of 1 KB, asynchronous delete",
        ZK10,
        "3 servers: 776/s one worker, 2,074/s ten",
        None,
    ),
    entry("zk10-leader", "zk10-ratio with all clients at the leader", ZK10, "a figure only", None),
    entry("zk10-faults", "kill and recover under 30 % writes", ZK10, "election under 200 ms", None),
    entry(
        "zklat-sync",
        "create, set, get, delete, watch in turn, synchronous",
        "phunt/zk-smoketest",
        "create 1.42 to 1.77 ms",
        None,
    ),
    entry("zklat-async", "the same, all requests in flight", "phunt/zk-smoketest", NONE, None),
    entry("etcd-put-1k-leader", "1,000 clients at the leader", ETCD, "44,341/s, 22 ms", None),
    entry("etcd-txn-mixed", "transactions that read or write", "etcd-io/etcd, tools/benchmark", NONE, None),
    entry("etcd-watch-latency", "from a put to its watchers", "etcd-io/etcd, tools/benchmark", NONE, None),
    entry(
        "etcd-lease-keepalive",
        "one lease per client, kept alive in a loop",
        "etcd-io/etcd, tools/benchmark",
        NONE,
        None,
    ),
    entry("dbt-write-sweep", "writes by 1 to 1,000 clients", DBT, NONE, None),
    entry("ycsb-d", "95 % reads of the latest, 5 % inserts", YCSB, NONE, None),
    entry("ycsb-e", "95 % scans, 5 % inserts", YCSB, NONE, None),
    entry("ycsb-f", "read, or read, modify and write", YCSB, NONE, None),
    entry(
        "consul-catalog",
        "services registered and deregistered",
        "hashicorp/consul, docs, scale",
        NONE,
        None,
    ),
    entry("consul-watch", "blocking queries on one prefix", "hashicorp/consul, docs", NONE, None),
    entry(
        "k8s-mix",
        "guarded transactions, lists and watches",
        "kubernetes/apiserver, etcd robustness tests",
        NONE,
        None,
    ),
    entry("k8s-churn", "creates and deletes", "kubernetes/apiserver, etcd robustness tests", NONE, None),
    entry("lock-chain", "contenders on one lock, predecessor watch", "ours", NONE, None),
    entry("lock-herd", "contenders on one lock, all watch one node", "ours", NONE, None),
    entry("elect", "candidates, the holder dies", "ours", NONE, None),
    entry("fanout", "one key, many watchers", "ours", NONE, None),
    entry("discover", "services with heartbeats and subscribers", "ours", NONE, None),
    entry("session-churn", "connect, one ephemeral, close", "ours", NONE, None),
    entry("expire-mass", "half of 10,000 sessions are cut", "ours", NONE, None),
    entry("reconnect-storm", "a server that holds many sessions dies", "ours", NONE, None),
    entry(
        "failover-kill",
        "the leader is killed under load",
        "ours",
        "ZooKeeper election under 200 ms",
        None,
    ),
    entry("failover-pause", "the leader is stopped under load", "ours", NONE, None),
    entry("rolling", "all servers restarted in turn", "ours", NONE, None),
    entry("restart-log", "cold start from a log", "ours", NONE, None),
    entry("restart-snap", "cold start from a snapshot", "ours", NONE, None),
    entry("catchup-log", "a follower was away", "ours", "etcd docs: 100 MB in 15 s", None),
    entry("catchup-snap", "an empty follower joins", "ours", NONE, None),
    entry("compact-load", "snapshot or compaction under load", "ours", NONE, None),
];

impl Load {
    pub fn scaled(mut self, scale: Scale) -> Load {
        if scale == Scale::Small {
            self.conns = self.conns.div_ceil(10);
            self.keys = self.keys.div_ceil(10);
        }
        self
    }
}

pub fn find(name: &str) -> Result<Load, String> {
    match ALL.iter().find(|workload| workload.name == name) {
        Some(Workload { load: Some(load), .. }) => Ok(*load),
        Some(_) => Err(format!("workload {name} is not replayed yet; `loadgen list` shows which are")),
        None => Err(format!("there is no workload {name}; `loadgen list` shows all")),
    }
}

pub fn list() -> String {
    let mut text = String::new();
    for workload in ALL {
        let mark = if workload.load.is_some() { "" } else { "  (not yet)" };
        let _ = writeln!(text, "{}{mark}", workload.name);
        let _ = writeln!(text, "    {}", workload.what);
        let _ = writeln!(text, "    source: {}; published: {}", workload.source, workload.published);
    }
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
        let small = find("zk10-ratio").expect("replayed").scaled(Scale::Small);
        assert_eq!((small.conns, small.depth, small.keys), (25, 100, 1000));
        assert_eq!(find("etcd-put-1").expect("replayed").scaled(Scale::Small).conns, 1);
        assert!(find("rolling").unwrap_err().contains("not replayed yet"));
        assert!(find("nothing").unwrap_err().contains("no workload"));
    }
}
