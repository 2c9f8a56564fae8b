//! Workloads with steps of their own: watches, sessions, creates, restarts. Each ends in figures and a histogram, which
//! are printed and stored as those of reads and writes are.

mod churn;
mod create;
mod discover;
mod elect;
mod expire;
mod fanout;
mod keep;
mod lock;
mod mix;
mod party;
mod phases;
mod restart;
mod storm;
mod wake;

use std::io;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, MILLI, SECOND};
use crate::crowd::{Talk, consul::Consul, etcd::Etcd, native::Native, zk::Zk};
use crate::driver::Protocol;
use crate::output::{histogram_json, round};
use crate::plan::Plan;
use crate::procfs::{self, Machine, Usage};
use crate::run::Trouble;
use party::Party;

const CONNECT_PATIENCE: u64 = 120 * SECOND;
const SESSION_MS: u32 = 30_000;
/// A key that is there already is as good as made.
const NODE_EXISTS: i32 = -110;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    Create,
    Fanout,
    Churn,
    Expire,
    Restart,
    Keep,
    Chain,
    Herd,
    Wake,
    Elect,
    Storm,
    /// Phases of one request at a time, or of all at once.
    Phases,
    Flood,
    Lists,
    Multis,
    Mixed,
    Kube,
    KubeChurn,
    Catalog,
    Discover,
}

impl Job {
    pub fn value_size(self) -> usize {
        match self {
            Job::Create | Job::Restart => 1024,
            Job::Fanout => 256,
            Job::Wake => 32,
            Job::Churn | Job::Expire | Job::Keep | Job::Storm => 0,
            Job::Chain | Job::Herd | Job::Elect | Job::Lists | Job::Multis => 16,
            Job::Phases | Job::Flood => 25,
            Job::Mixed => 256,
            Job::Kube | Job::KubeChurn => 2048,
            Job::Catalog => 0,
            Job::Discover => 128,
        }
    }

    /// Why it cannot be done over this protocol.
    pub fn refuses(self, target: Protocol) -> Option<&'static str> {
        let (speaks, why) = match self {
            Job::Churn | Job::Expire => {
                (target == Protocol::Zk, "this workload is made of ZooKeeper sessions: --target zk")
            }
            Job::Mixed | Job::Kube | Job::KubeChurn => (
                matches!(target, Protocol::Etcd | Protocol::Native),
                "this workload is made of transactions on revisions: --target etcd or native",
            ),
            Job::Catalog => {
                (target == Protocol::Consul, "this workload asks Consul's catalog: --target consul")
            }
            _ => return None,
        };
        (!speaks).then_some(why)
    }
}

/// What a job found.
pub struct Ended {
    pub figures: Map<String, Value>,
    pub latency: Histogram<u64>,
    pub partial: Vec<String>,
}

pub fn run(plan: &Plan, job: Job) -> Result<Ended, Trouble> {
    match plan.target {
        Protocol::Zk => run_with::<Zk>(plan, job),
        Protocol::Native => run_with::<Native>(plan, job),
        Protocol::Etcd => run_with::<Etcd>(plan, job),
        Protocol::Consul => run_with::<Consul>(plan, job),
    }
}

fn run_with<T: Talk>(plan: &Plan, job: Job) -> Result<Ended, Trouble> {
    match job {
        Job::Create => create::run::<T>(plan),
        Job::Fanout => fanout::run::<T>(plan),
        Job::Churn => churn::run::<T>(plan),
        Job::Expire => expire::run::<T>(plan),
        Job::Restart => restart::run(plan),
        Job::Keep => keep::run::<T>(plan),
        Job::Chain => lock::chain::<T>(plan),
        Job::Herd => lock::herd::<T>(plan),
        Job::Wake => wake::run::<T>(plan),
        Job::Elect => elect::run::<T>(plan),
        Job::Storm => storm::run::<T>(plan),
        Job::Phases => phases::run::<T>(plan, false),
        Job::Flood => phases::run::<T>(plan, true),
        Job::Lists => mix::run::<T, mix::Keeper<Lists>>(plan),
        Job::Multis => mix::run::<T, mix::Keeper<Multis>>(plan),
        Job::Mixed => mix::run::<T, mix::Mixed>(plan),
        Job::Kube => mix::run::<T, mix::Kube<Steady>>(plan),
        Job::KubeChurn => mix::run::<T, mix::Kube<Churning>>(plan),
        Job::Catalog => mix::run::<T, mix::Catalog>(plan),
        Job::Discover => discover::run::<T>(plan),
    }
}

struct Lists;

impl mix::Mostly for Lists {
    const WEIGHTS: [u64; 4] = [20, 2, 2, 75];
    const NAME: usize = 10;
    const WRITES: bool = false;
}

struct Multis;

impl mix::Mostly for Multis {
    const WEIGHTS: [u64; 4] = [20, 5, 5, 70];
    const NAME: usize = 50;
    const WRITES: bool = true;
}

struct Steady;

impl mix::Traffic for Steady {
    const WRITES: [u64; 3] = [90, 5, 5];
    const READS: bool = true;
}

struct Churning;

impl mix::Traffic for Churning {
    const WRITES: [u64; 3] = [0, 40, 60];
    const READS: bool = false;
}

/// Costs between two points in time.
struct Meter {
    servers: Vec<(u32, Option<Usage>)>,
    machine: Machine,
    client_cpu_us: u64,
    since: u64,
}

impl Meter {
    fn start(plan: &Plan, clock: Clock) -> Meter {
        Meter {
            servers: plan.pids.iter().map(|&pid| (pid, procfs::usage(pid))).collect(),
            machine: Machine::now(plan.disk.as_deref()),
            client_cpu_us: procfs::own_cpu_us(),
            since: clock.now(),
        }
    }

    /// Writes what was used since, divided by `ops`.
    fn stop(&self, plan: &Plan, clock: Clock, ops: u64, into: &mut Map<String, Value>) {
        let secs = (clock.now() - self.since) as f64 / 1e9;
        let per_op = |cpu: u64| if ops == 0 { Value::Null } else { round(cpu as f64 / ops as f64) };
        let pairs: Vec<(u32, Usage, Usage)> = self
            .servers
            .iter()
            .filter_map(|&(pid, before)| Some((pid, before?, procfs::usage(pid)?)))
            .collect();
        if !pairs.is_empty() {
            let cpu: u64 = pairs.iter().map(|(_, before, after)| after.cpu_us - before.cpu_us).sum();
            into.insert("server_cpu_us_per_op".into(), per_op(cpu));
            into.insert("server_cpu_percent".into(), round(cpu as f64 / 1e4 / secs));
        }
        into.insert("client_cpu_us_per_op".into(), per_op(procfs::own_cpu_us() - self.client_cpu_us));
        into.insert("servers".into(), pairs.iter().map(crate::output::server_json).collect());
        let machine = Machine::now(plan.disk.as_deref()).since(&self.machine);
        crate::output::machine_json(plan, &machine, secs, into);
    }
}

fn local(error: io::Error) -> Trouble {
    Trouble::Local(error.to_string())
}

fn millis(nanos: u64) -> Value {
    round(nanos as f64 / MILLI as f64)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// The whole result, as it is printed and stored.
pub fn json(plan: &Plan, ended: &Ended) -> Value {
    let mut object = histogram_json(&ended.latency);
    object.insert("job".into(), json!(plan.job));
    object.insert("clients".into(), plan.conns.into());
    object.extend(ended.figures.clone());
    object.insert("invalid".into(), json!([]));
    object.insert("partial".into(), json!(ended.partial));
    object.insert("plan".into(), json!(plan));
    Value::Object(object)
}

/// One figure a line.
pub fn text(plan: &Plan, ended: &Ended) -> String {
    let mut text = format!(
        "{:?}, {}, {} clients on {} server(s)\n",
        plan.target,
        plan.workload.as_deref().unwrap_or_default(),
        plan.conns,
        plan.servers.len()
    );
    if let Value::Object(object) = json(plan, ended) {
        for (name, value) in object.iter().filter(|(_, value)| value.is_number()) {
            text.push_str(&format!("{name:<28} {value:>14}\n"));
        }
        for (name, kind) in object.iter().filter(|(_, value)| value["samples"].is_number()) {
            let cell = |field: &str| kind[field].as_f64().unwrap_or(0.0);
            text.push_str(&format!(
                "{name:<18} {:>10.0} ops/s  p50 {:>8.0} us  p99 {:>8.0} us  {} errors\n",
                cell("ops_per_s"),
                cell("p50_us"),
                cell("p99_us"),
                cell("errors")
            ));
        }
    }
    ended.partial.iter().for_each(|why| text.push_str(&format!("PARTIAL: {why}\n")));
    text
}
