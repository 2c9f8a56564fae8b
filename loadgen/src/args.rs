//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::driver::{Protocol, ReadMode};
use crate::fault::{Harm, Spread};
use crate::keys::Dist;
use crate::ladder::Objective;
use crate::plan::Phase;
use crate::systems::{System, Where};
use crate::workload::Scale;

/// Loads ZooKeeper, etcd, Consul and quorate over their own protocols, and measures honestly.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check failed, 2 usage, 3 cannot connect, \
4 partial (what was measured is printed), 5 invalid run (late sends, or the client was the limit)";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Put load on a cluster and measure it
    Run(Box<Run>),
    /// The workloads that go by a name, their sources and published figures
    List,
    /// Compare two systems, interleaved, with an interval
    Compare(Box<Compare>),
    /// Make a results folder's README.md and report.html from its raw files
    Report(Report),
    /// Print what this machine is, as the env.json of a results folder
    Env(Env),
    /// Check a stored history again
    Verify(Verify),
    /// What thousands of ZooKeeper sessions cost that only ping
    Idle(Box<crate::sessions::Idle>),
    /// Answer a protocol validly from a constant: the ceiling of the client
    Null(Null),
    /// One process of a run with --procs
    #[command(hide = true)]
    Part,
}

#[derive(Args, Clone, Debug)]
pub struct Run {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub load: Load,

    /// Record the history and check it: lost writes, revisions, real-time order, linearizability
    #[arg(long)]
    pub check: bool,
    /// Keep the history here, for `loadgen verify`
    #[arg(long, value_name = "FILE", requires = "check")]
    pub history: Option<PathBuf>,

    #[command(flatten)]
    pub fault: Fault,
    #[command(flatten)]
    pub programs: Where,

    /// First measure what this client can do at most, against a null server, for so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 0)]
    pub ceiling: u64,
    /// Write result.json, histogram logs, percentiles and the series into this new folder
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,

    /// Find the highest rate that keeps this, as in p99<=5ms: a closed loop first, then open loops at shares of its rate
    #[arg(long, value_name = "OBJECTIVE", conflicts_with_all = ["rate", "phases", "check", "fault", "fault_cmd", "ceiling"])]
    pub ladder: Option<Objective>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Harm to the servers during the window.
#[derive(Args, Clone, Debug)]
pub struct Fault {
    /// What happens to the leader
    #[arg(long, value_enum, requires = "fault_at")]
    pub fault: Option<Harm>,
    /// A command that does the harm instead
    #[arg(long, value_name = "CMD", conflicts_with = "fault", requires = "fault_at")]
    pub fault_cmd: Option<String>,
    /// When, in seconds from the beginning of the window
    #[arg(long, value_name = "S")]
    pub fault_at: Option<f64>,
    /// How long a pause lasts
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub pause_secs: f64,
    /// Workload restart-snap: has every server take a snapshot, and returns when they have
    #[arg(long, value_name = "CMD")]
    pub snapshot_cmd: Option<String>,
    /// Starts killed servers again and returns when they were started; $LOADGEN_NODE is the id of the one, where it is one
    #[arg(long, value_name = "CMD")]
    pub restart_cmd: Option<String>,
}

#[derive(Args, Debug)]
pub struct Report {
    /// A results folder; with --claims the folder of all results folders
    pub dir: PathBuf,
    /// Make DIR/README.md from all folders in it, and the table of figures of the README.md above it
    #[arg(long)]
    pub claims: bool,
    /// Write nothing; fail if what is there differs from what the raw files say
    #[arg(long)]
    pub check: bool,
}

#[derive(Args, Debug)]
pub struct Env {
    /// Where the servers' data will lie
    #[arg(long, default_value = ".")]
    pub data: PathBuf,
}

#[derive(Args, Debug)]
pub struct Compare {
    /// One system: a name (quorate-native, quorate-zk, zookeeper, etcd, consul), which is then started on fresh data
    /// for every run, or TARGET=CLUSTER.json of one that runs, as in native=quorate-data/cluster.json
    #[arg(long)]
    pub a: String,
    /// The other
    #[arg(long)]
    pub b: String,
    /// Pairs of runs, in the order A B B A
    #[arg(long, default_value_t = 5)]
    pub pairs: usize,
    /// Leave out the two runs of A that show how much noise there is
    #[arg(long)]
    pub no_noise: bool,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub place: Where,
    /// Keep each run's folder below this one, as runs/WORKLOAD/SYSTEM/PAIR
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Place {
    pub fn protocol(&self) -> Protocol {
        self.system.map(System::target).or(self.target).expect("the command line has one of them")
    }
}

/// Whom to ask.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The protocol to speak
    #[arg(long, value_enum, required_unless_present = "system")]
    pub target: Option<Protocol>,
    /// A system by name: it is started on fresh data for this run, unless --cluster or --servers say where it runs
    #[arg(long, value_enum, conflicts_with = "target")]
    pub system: Option<System>,

    /// A cluster.json, as `quorate dev` and `scripts/peers` write it: addresses and pids
    #[arg(long, value_name = "FILE", conflicts_with_all = ["servers", "pids"])]
    pub cluster: Option<PathBuf>,
    /// Addresses, separated by commas; clients are spread evenly over them
    #[arg(long, value_name = "LIST", required_unless_present_any = ["cluster", "system"], value_delimiter = ',')]
    pub servers: Vec<String>,
    /// The servers' process ids, to measure their CPU
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub pids: Vec<u32>,

    #[command(flatten)]
    pub credentials: Credentials,
}

/// How to get in.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// Speak TLS, and trust servers with a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Show this certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Whom the servers' certificates must name [default: the host as given]
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_name: Option<String>,
    /// zk: digest authentication, and keys that only this user may touch; etcd: its user. Also $LOADGEN_USER
    #[arg(long, value_name = "NAME:PASSWORD")]
    pub user: Option<String>,
    /// consul: the ACL token. Also $LOADGEN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// What to ask.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// A workload by name, in place of the flags that describe one (see `loadgen list`)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["conns", "depth", "keys", "value_size", "dist"])]
    pub workload: Option<String>,
    /// How much of the workload
    #[arg(long, value_enum, default_value_t = Scale::Small, requires = "workload")]
    pub scale: Scale,
    /// So many clients instead of the workload's number
    #[arg(long, value_name = "N", requires = "workload")]
    pub clients: Option<usize>,
    /// Which servers the clients go to
    #[arg(long, value_enum)]
    pub spread: Option<Spread>,

    /// Connections
    #[arg(long, default_value_t = 32)]
    pub conns: usize,
    /// Operations outstanding on each connection
    #[arg(long, default_value_t = 32)]
    pub depth: usize,
    /// Threads, each with its share of the connections
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Processes, each with so many threads and its share of the connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub procs: usize,
    /// Operations per second over all connections, started on schedule (open loop); 0: closed loop
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Rates that follow each other in one window, as in 10@5000,5@20000: ten seconds at 5,000/s, then five at 20,000
    #[arg(long, value_name = "SECS@RATE,...", value_delimiter = ',', conflicts_with_all = ["rate", "secs"])]
    pub phases: Vec<Phase>,
    /// Open loop: exponentially distributed gaps instead of constant ones
    #[arg(long)]
    pub poisson: bool,

    /// How many keys
    #[arg(long, default_value_t = 10_000)]
    pub keys: u64,
    /// What keys begin with [default: /loadgen/k for zk, else loadgen/k]
    #[arg(long)]
    pub prefix: Option<String>,
    /// Length of a key in bytes, prefix included [default: prefix and 8 digits]
    #[arg(long)]
    pub key_size: Option<usize>,
    /// Length of a value in bytes
    #[arg(long, default_value_t = 100)]
    pub value_size: usize,
    /// How keys are chosen
    #[arg(long, value_enum, default_value_t = Dist::Uniform)]
    pub dist: Dist,
    /// Percentage of reads
    #[arg(long, default_value_t = 0.0)]
    pub reads: f64,
    /// What a read promises; zk linearizable: sync, then get [default: local for zk, leased for consul,
    /// else linearizable]
    #[arg(long, value_enum)]
    pub read_mode: Option<ReadMode>,
    /// native: writes in one request, to neighbouring keys; each counts as an operation
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// The keys are there already: do not create them
    #[arg(long)]
    pub no_preload: bool,

    /// Length of the measured window in seconds
    #[arg(long, default_value_t = 10)]
    pub secs: u64,
    /// Seconds of the same load before the window, not measured
    #[arg(long, default_value_t = 2)]
    pub warmup: u64,
    /// An operation without an answer for this long has failed
    #[arg(long, default_value_t = 10_000)]
    pub timeout_ms: u64,
    /// All chance comes from this
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args, Debug)]
pub struct Verify {
    /// JSON lines: client, op, key, value, start_ns, end_ns, outcome, revision
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Null {
    #[arg(long, value_enum)]
    pub protocol: Protocol,
    /// Where to listen; port 0 takes a free one and prints it
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Bytes of the value that reads return
    #[arg(long, default_value_t = 100)]
    pub value_size: usize,
    /// Fall silent once, this many seconds after the first operation
    #[arg(long, value_name = "S", requires = "stall_ms")]
    pub stall_at: Option<f64>,
    /// Stay silent for so long
    #[arg(long, value_name = "N", requires = "stall_at")]
    pub stall_ms: Option<u64>,
}
