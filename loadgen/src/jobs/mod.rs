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
mod phases;
mod restart;
mod storm;
mod wake;

use std::io;
use std::ops::Range;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, MILLI, SECOND};
use crate::crowd::{
    Ask, Crowd, Heard, Manner, Said, Talk, consul::Consul, etcd::Etcd, native::Native, zk::Zk,
};
use crate::driver::Protocol;
use crate::output::{histogram_json, round};
use crate::plan::Plan;
use crate::procfs::{self, Machine, Usage};
use crate::record::{code_name, histogram, record};
use crate::run::Trouble;

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
}

impl Job {
    fn is_guarded(self) -> bool {
        matches!(self, Job::Mixed | Job::Kube | Job::KubeChurn)
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
    if matches!(job, Job::Churn | Job::Expire) && plan.target != Protocol::Zk {
        return Err(Trouble::Prepare("this workload is made of ZooKeeper sessions: --target zk".into()));
    }
    if job.is_guarded() && !matches!(plan.target, Protocol::Etcd | Protocol::Native) {
        return Err(Trouble::Prepare(
            "this workload is made of transactions on revisions: --target etcd or native".into(),
        ));
    }
    if job == Job::Catalog && plan.target != Protocol::Consul {
        return Err(Trouble::Prepare("this workload asks Consul's catalog: --target consul".into()));
    }
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

struct WorkedOff {
    errors: u64,
    /// Watches that told of something meanwhile.
    fired: u64,
}

/// A crowd with the steps that jobs have in common.
struct Party<'a, T> {
    plan: &'a Plan,
    clock: Clock,
    crowd: Crowd<T>,
    heard: Vec<Heard>,
}

impl<'a, T: Talk> Party<'a, T> {
    fn new(plan: &'a Plan, session_ms: u32) -> Result<Party<'a, T>, Trouble> {
        let clock = Clock::start();
        let manner = Manner { value: vec![b'v'; plan.value_size], session_ms, access: plan.access.clone() };
        let crowd = Crowd::new(clock, manner).map_err(local)?;
        Ok(Party { plan, clock, crowd, heard: Vec::new() })
    }

    /// Connects `count` members, spread evenly over the servers; the first of them has the number returned.
    fn invite(&mut self, count: usize) -> Result<usize, Trouble> {
        let servers = &self.plan.servers;
        let first = (0..count).map(|nth| self.crowd.add(servers[nth % servers.len()])).min().unwrap_or(0);
        let until = self.clock.now() + CONNECT_PATIENCE;
        let mut missing = count;
        self.hear_until(until, |_, heard| {
            missing -= usize::from(heard.said == Said::Ready);
            if heard.said == Said::Lost { Err(()) } else { Ok(missing == 0) }
        })
        .map_err(|why| {
            Trouble::Connect(why.unwrap_or("the servers do not greet all clients in time".into()))
        })?;
        Ok(first)
    }

    /// Waits until one that has dialled anew is greeted.
    fn greet(&mut self, member: usize) -> Result<(), Trouble> {
        let greeted = self.hear_until(self.clock.now() + self.plan.timeout(), |_, heard| match heard.said {
            Said::Ready if heard.member == member => Ok(true),
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        greeted.map_err(|why| Trouble::Connect(why.unwrap_or("the server does not greet in time".into())))
    }

    /// A session or lease for each of these members.
    fn open_all(&mut self, first: usize, count: usize) -> Result<(), Trouble> {
        const TAG: u32 = 0x7fff_0002;
        (first..first + count).for_each(|member| self.crowd.ask(member, Ask::Open, TAG));
        let (mut missing, mut refused) = (count, 0);
        let until = self.clock.now() + CONNECT_PATIENCE;
        let opened = self.hear_until(until, |_, heard| match heard.said {
            Said::Done { tag: TAG, code, .. } => {
                refused = code;
                missing -= 1;
                if code == 0 { Ok(missing == 0) } else { Err(()) }
            }
            Said::Lost => Err(()),
            _ => Ok(false),
        });
        opened.map_err(|why| {
            let why = match refused {
                0 => why.unwrap_or("no answer in time".into()),
                code => code_name(self.plan.target, code),
            };
            Trouble::Prepare(format!("{missing} sessions or leases could not be opened: {why}"))
        })
    }

    /// Hands out what is heard until `enough` says so; `Err(None)`: time is up; `Err(Some)`: `enough` gave up.
    fn hear_until(
        &mut self,
        until: u64,
        mut enough: impl FnMut(&mut Crowd<T>, Heard) -> Result<bool, ()>,
    ) -> Result<(), Option<String>> {
        loop {
            self.crowd.turn(until, &mut self.heard).map_err(|error| Some(error.to_string()))?;
            for heard in std::mem::take(&mut self.heard) {
                match enough(&mut self.crowd, heard) {
                    Ok(false) => {}
                    // What else was heard in this turn is of the step that is over.
                    Ok(true) => return Ok(()),
                    Err(()) => return Err(Some(self.crowd.trouble())),
                }
            }
            if self.clock.now() >= until {
                return Err(None);
            }
        }
    }

    /// Lets time pass, with heartbeats; what is heard is nobody's.
    fn pause(&mut self, nanos: u64) {
        let _ = self.hear_until(self.clock.now() + nanos, |_, _| Ok(false));
    }

    /// Asks once and waits for the answer; a failure is the server's word against the whole job.
    fn demand(&mut self, member: usize, ask: Ask<'_>, what: &str) -> Result<u64, Trouble> {
        const TAG: u32 = 0x7fff_0001;
        self.crowd.ask(member, ask, TAG);
        let until = self.clock.now() + self.plan.timeout();
        let (mut failed, mut at) = (0, 0);
        let waited = self.hear_until(until, |_, heard| match heard.said {
            Said::Done { tag: TAG, code, .. } if heard.member == member => {
                (failed, at) = (code, heard.now);
                Ok(true)
            }
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        match waited {
            Ok(()) if failed == 0 || failed == NODE_EXISTS => Ok(at),
            Ok(()) => {
                let code = code_name(self.plan.target, failed);
                Err(Trouble::Prepare(format!("the server refuses to {what} with {code}")))
            }
            Err(why) => {
                Err(Trouble::Prepare(format!("{what}: {}", why.unwrap_or("no answer in time".into()))))
            }
        }
    }

    /// Asks once for what has a number for its answer.
    fn look(&mut self, member: usize, ask: Ask<'_>) -> Result<i64, Trouble> {
        const TAG: u32 = 0x7fff_0003;
        self.crowd.ask(member, ask, TAG);
        let mut found = None;
        let waited = self.hear_until(self.clock.now() + self.plan.timeout(), |_, heard| match heard.said {
            Said::Done { tag: TAG, value, .. } if heard.member == member => {
                found = Some(value);
                Ok(true)
            }
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        let no_answer = |why: Option<String>| Trouble::Prepare(why.unwrap_or("no answer in time".into()));
        waited.map_err(no_answer)?;
        found.ok_or_else(|| no_answer(None))
    }

    /// Has these members ask `count` things, each so many at a time, with the thing's number for a tag.
    fn work_off(
        &mut self,
        members: Range<usize>,
        count: usize,
        flight: usize,
        mut ask: impl FnMut(&mut Crowd<T>, usize, usize),
        latency: &mut Histogram<u64>,
    ) -> Result<WorkedOff, Trouble> {
        let clock = self.clock;
        let (mut since, mut next, mut missing) = (vec![0; count], 0, count);
        let mut done = WorkedOff { errors: 0, fired: 0 };
        let mut ask_next = |crowd: &mut Crowd<T>, member: usize, since: &mut Vec<u64>| {
            if next < count {
                since[next] = clock.now();
                ask(crowd, member, next);
                next += 1;
            }
        };
        let at_once = flight.saturating_mul(members.len()).min(count);
        for member in members.cycle().take(at_once) {
            ask_next(&mut self.crowd, member, &mut since);
        }
        if count == 0 {
            return Ok(done);
        }
        loop {
            let before = missing;
            let worked = self.hear_until(clock.now() + self.plan.timeout(), |crowd, heard| {
                match heard.said {
                    Said::Done { tag, code, .. } if (tag as usize) < count => {
                        record(latency, heard.now - since[tag as usize]);
                        done.errors += u64::from(code != 0 && code != NODE_EXISTS);
                        missing -= 1;
                        ask_next(crowd, heard.member, &mut since);
                    }
                    Said::Fired => done.fired += 1,
                    Said::Lost => return Err(()),
                    _ => {}
                }
                Ok(missing == 0)
            });
            match worked {
                Ok(()) => return Ok(done),
                // As long as answers come it is only slow.
                Err(None) if missing < before => {}
                Err(why) => {
                    let why = why.unwrap_or("no answer in time".into());
                    return Err(Trouble::Prepare(format!("{missing} of {count} requests: {why}")));
                }
            }
        }
    }

    /// Makes keys, by all clients.
    fn make_all(&mut self, first: usize, count: usize, key: impl Fn(usize) -> String) -> Result<(), Trouble> {
        let members = first..first + self.plan.conns;
        let make = |crowd: &mut Crowd<T>, member, nth| {
            crowd.ask(member, Ask::Make { key: &key(nth), ephemeral: false }, nth as u32);
        };
        match self.work_off(members, count, 1, make, &mut histogram())?.errors {
            0 => Ok(()),
            errors => Err(Trouble::Prepare(format!("{errors} of {count} keys could not be made"))),
        }
    }

    /// Where keys lie, made if the protocol has directories.
    fn make_root(&mut self, member: usize) -> Result<String, Trouble> {
        let prefix = &self.plan.prefix;
        let root = prefix.rsplit_once('/').map_or("loadgen", |(root, _)| root).to_string();
        if self.plan.target == Protocol::Zk {
            self.demand(
                member,
                Ask::Make { key: &root, ephemeral: false },
                "make the directory of the keys",
            )?;
        }
        Ok(root)
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
    }
    ended.partial.iter().for_each(|why| text.push_str(&format!("PARTIAL: {why}\n")));
    text
}
