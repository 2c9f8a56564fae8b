//! Every workload of `loadgen list` runs for a second against what can take it: three nodes of quorate, or a server that
//! answers from a constant. What is asked, and in which shares, is what the workload says; how fast is nobody's business
//! here, so a slow machine changes nothing. This file is its own harness: the nodes are this program under another name.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{LOADGEN, Null, PATIENCE};

/// Errors that tell of the machine.
const SLOW: [&str; 2] = ["not sent at the end", "unanswered at the end"];

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Native,
    Zk,
    /// Consul's catalog, which quorate does not have.
    NullConsul,
}

use Door::{Native, NullConsul, Zk};

/// What must hold of a result.
enum Holds {
    /// Of all samples in these lanes, so many of a hundred are in each.
    Shares(&'static [(&'static str, f64)]),
    /// A figure lies there, ends included.
    Within(&'static str, f64, f64),
}

use Holds::{Shares, Within};

struct Case {
    name: &'static str,
    door: Door,
    flags: &'static str,
    /// Requests under way at once: those that the end of the window cut off are of no fixed kind.
    under_way: f64,
    holds: &'static [Holds],
    /// Servers are killed: it runs alone, what was under way there is lost, and whoever is dead is started again.
    harms: bool,
}

const fn case(
    name: &'static str,
    door: Door,
    flags: &'static str,
    under_way: f64,
    holds: &'static [Holds],
) -> Case {
    Case { name, door, flags, under_way, holds, harms: false }
}

const fn harm(name: &'static str, door: Door, flags: &'static str, holds: &'static [Holds]) -> Case {
    Case { name, door, flags, under_way: 2000.0, holds, harms: true }
}

const READS: Holds = Shares(&[("read", 100.0), ("write", 0.0)]);
const WRITES: Holds = Shares(&[("read", 0.0), ("write", 100.0)]);
const HALF: Holds = Shares(&[("read", 50.0), ("write", 50.0)]);
const MOSTLY_READS: Holds = Shares(&[("read", 95.0), ("write", 5.0)]);
const ANY: Holds = Within("samples", 1.0, f64::INFINITY);
/// An open loop asks as often as it was told, however slow the answers are.
const THOUSAND: Holds = Within("samples", 998.0, 1001.0);
const PHASES: &[Holds] = &[
    Within("create/samples", 1000.0, 1000.0),
    Within("set/samples", 1000.0, 1000.0),
    Within("get/samples", 1000.0, 1000.0),
    Within("delete/samples", 1000.0, 1000.0),
    Within("create_ephemeral/samples", 1000.0, 1000.0),
    Within("watch/samples", 1000.0, 1000.0),
    Within("delete_ephemeral/samples", 1000.0, 1000.0),
];

const CASES: &[Case] = &[
    case("zk10-ratio", Zk, "--clients 2 --reads 20", 200.0, &[Shares(&[("read", 20.0), ("write", 80.0)])]),
    case("zk10-leader", Zk, "--clients 2 --reads 80", 200.0, &[Shares(&[("read", 80.0), ("write", 20.0)])]),
    case("zk10-create", Zk, "", 20.0, &[ANY]),
    case("zkdoc-ratio", Zk, "--clients 2 --reads 50", 200.0, &[HALF]),
    case("zklat-sync", Zk, "", 1.0, PHASES),
    case("zklat-async", Native, "", 1.0, PHASES),
    case("etcd-put-1", Native, "", 1.0, &[WRITES]),
    case("etcd-put-1k-leader", Native, "--clients 3", 30.0, &[WRITES]),
    case("etcd-put-1k-all", Native, "--clients 3", 30.0, &[WRITES]),
    case("etcd-get-1-lin", Native, "", 1.0, &[READS]),
    case("etcd-get-1-ser", Native, "", 1.0, &[READS]),
    case("etcd-get-1k-lin", Zk, "--clients 3", 30.0, &[READS]),
    case("etcd-get-1k-ser", Zk, "--clients 3", 30.0, &[READS]),
    case("etcd-txn-mixed", Native, "--clients 8", 8.0, &[HALF]),
    case("etcd-watch-latency", Native, "--clients 8", 8.0, &[Within("samples", 1.0, 808.0)]),
    case("etcd-lease-keepalive", Native, "--clients 8", 8.0, &[ANY]),
    case("dbt-write-sweep", Native, "--clients 10", 10.0, &[WRITES]),
    case("dbt-write-best", Native, "--clients 10", 10.0, &[WRITES]),
    case("dbt-write-qps", Native, "", 10.0, &[WRITES, THOUSAND]),
    case("dbt-write-3m", Native, "--clients 10 --no-preload", 10.0, &[WRITES]),
    case("dbt-read-best", Native, "--clients 10", 10.0, &[READS]),
    case("dbt-write-1k", Native, "--clients 10 --no-preload", 10.0, &[WRITES]),
    case("dbt-write-1", Native, "--no-preload", 1.0, &[WRITES]),
    case("dbt-read-1k", Zk, "--clients 10", 10.0, &[READS]),
    case(
        "kb-read",
        Zk,
        "--clients 8",
        8.0,
        // Of 99.
        &[Shares(&[("list", 20.2), ("create", 2.02), ("set", 2.02), ("multi", 75.76)])],
    ),
    case(
        "kb-write70",
        Native,
        "--clients 8",
        8.0,
        &[Shares(&[("list", 20.0), ("create", 5.0), ("set", 5.0), ("multi", 70.0)])],
    ),
    case("ycsb-a", Native, "", 10.0, &[HALF]),
    case("ycsb-b", Zk, "", 10.0, &[MOSTLY_READS]),
    case("ycsb-c", Native, "", 10.0, &[READS]),
    case("ycsb-d", Native, "", 10.0, &[MOSTLY_READS]),
    case("ycsb-e", Native, "", 10.0, &[MOSTLY_READS]),
    case("ycsb-f", Native, "", 10.0, &[HALF]),
    case("consul-bench", NullConsul, "--reads 30", 64.0, &[Shares(&[("read", 30.0), ("write", 70.0)])]),
    // Each client in turn.
    case(
        "consul-catalog",
        NullConsul,
        "--clients 8",
        8.0,
        &[Shares(&[("register", 50.0), ("deregister", 50.0)])],
    ),
    case("consul-watch", Native, "--clients 8", 8.0, &[Within("samples", 1.0, 808.0)]),
    case(
        "k8s-mix",
        Native,
        "--clients 8",
        8.0,
        &[
            Shares(&[("update", 90.0), ("delete", 5.0), ("create", 5.0)]),
            Shares(&[("list", 85.0), ("get", 15.0)]),
        ],
    ),
    case(
        "k8s-churn",
        Native,
        "--clients 8",
        8.0,
        &[
            Shares(&[("update", 0.0), ("delete", 40.0), ("create", 60.0)]),
            Within("list/samples", 0.0, 0.0),
            Within("get/samples", 0.0, 0.0),
        ],
    ),
    // However many wait, a handover is asked for by one; of a herd each asks.
    case("lock-chain", Native, "--clients 20", 20.0, &[ANY, Within("asked_per_handover", 1.0, 8.0)]),
    case("lock-herd", Native, "--clients 20", 20.0, &[ANY, Within("asked_per_handover", 15.0, 60.0)]),
    // Once more, while the key and the sessions of the first are there.
    case("lock-herd", Native, "--clients 2", 2.0, &[ANY]),
    case("elect", Native, "", 10.0, &[ANY, Within("elections", 1.0, f64::INFINITY)]),
    case("fanout", Zk, "--clients 50", 50.0, &[Within("samples", 50.0, 50.0), Within("writes", 1.0, 1.0)]),
    case(
        "discover",
        Native,
        "--clients 60",
        60.0,
        // A heartbeat each three seconds, ten changes a second.
        &[Within("heartbeat/samples", 1.0, 40.0), Within("samples", 1.0, 11.0)],
    ),
    case("session-churn", Zk, "--clients 8", 8.0, &[ANY]),
    case("expire-mass", Zk, "--clients 20", 20.0, &[Within("all_gone_ms", 5_000.0, 60_000.0), ANY]),
    harm("failover-pause", Native, "--fault pause --pause-secs 0.3 --fault-at 0.2", &[WRITES]),
    harm("compact-load", Native, "--fault-cmd SNAPSHOT --fault-at 0.3", &[HALF, THOUSAND]),
    harm("failover-kill", Zk, "--fault kill --fault-at 0.2 --timeout-ms 1000", &[WRITES]),
    harm("zk10-faults", Zk, "--clients 3 --restart-cmd RESTART", &[Within("fault/whole_after_ms", 1.0, 1e6)]),
    harm("rolling", Native, "--restart-cmd RESTART", &[WRITES, Within("fault/whole_after_ms", 1.0, 1e6)]),
    harm(
        "reconnect-storm",
        Native,
        "--clients 60",
        &[Within("held", 20.0, 20.0), Within("sessions_lost", 0.0, 0.0)],
    ),
    harm(
        "catchup-log",
        Zk,
        "--pause-secs 0.3 --restart-cmd RESTART",
        &[WRITES, THOUSAND, Within("fault/in_sync_ms", 0.1, 1e6)],
    ),
    harm("restart-log", Zk, "--clients 3 --restart-cmd RESTART-ALL", &[Within("writes_after_ms", 1.0, 1e6)]),
    harm(
        "restart-snap",
        Native,
        "--clients 3 --restart-cmd RESTART-ALL --snapshot-cmd SNAPSHOT",
        &[Within("reads_after_ms", 1.0, 1e6)],
    ),
    harm(
        "catchup-snap",
        Native,
        "--pause-secs 0.3 --restart-cmd REJOIN",
        &[WRITES, Within("fault/in_sync_ms", 0.1, 1e6)],
    ),
];

impl Holds {
    /// Bounds are for a second.
    fn broken_by(&self, result: &Value, secs: u32, under_way: f64) -> Option<String> {
        let figure = |name: &str| name.split('/').try_fold(result, |value, part| value.get(part))?.as_f64();
        match self {
            Within(name, least, most) => {
                let (found, most) = (figure(name), most * f64::from(secs));
                (!found.is_some_and(|found| (*least..=most).contains(&found)))
                    .then(|| format!("{name} is {found:?}, not {least} to {most}"))
            }
            Shares(lanes) => {
                let count = |lane: &str| figure(&format!("{lane}/samples")).unwrap_or(f64::NAN);
                let all: f64 = lanes.iter().map(|(lane, _)| count(lane)).sum();
                if all.is_nan() || all <= 0.0 {
                    return Some(format!("nothing in {lanes:?}"));
                }
                lanes.iter().find_map(|(lane, percent)| {
                    let share = percent / 100.0;
                    // Six standard deviations of a fair draw: one in half a billion is further off.
                    let spread = 6.0 * (all * share * (1.0 - share)).sqrt();
                    let allowed = if spread > 0.0 { spread + under_way } else { 0.0 };
                    let off = (count(lane) - share * all).abs();
                    (off.is_nan() || off > allowed)
                        .then(|| format!("{} of {all} are {lane}, not {percent} %", count(lane)))
                })
            }
        }
    }
}

/// Three nodes that end with this.
struct Cluster {
    dir: tempfile::TempDir,
    dev: Child,
}

/// What an admin door answers; empty while it does not.
fn ask(at: SocketAddr, path: &str) -> String {
    let mut all = String::new();
    let asked = TcpStream::connect_timeout(&at, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut all)
    });
    if asked.is_ok() { all } else { String::new() }
}

fn quorate() -> PathBuf {
    std::env::current_exe().expect("a file")
}

impl Cluster {
    fn start() -> Cluster {
        let mut offset = 10_000 + std::process::id() % 8_000;
        for _ in 0..20 {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("scratch");
            let log = fs::File::create(dir.path().join("dev.log")).expect("a file");
            let dev = Command::new(quorate())
                .args(["dev", "--nodes", "3", "--port-offset", &offset.to_string(), "--data"])
                .arg(dir.path().join("data"))
                .stdout(log.try_clone().expect("a file"))
                .stderr(log)
                .spawn()
                .expect("this program starts");
            let mut cluster = Cluster { dir, dev };
            let since = Instant::now();
            while since.elapsed() < PATIENCE {
                if cluster.file().exists() {
                    return cluster;
                }
                if cluster.dev.try_wait().expect("ours").is_some() {
                    break; // Somebody had one of the ports.
                }
                thread::sleep(Duration::from_millis(20));
            }
            eprintln!("{}", fs::read_to_string(cluster.dir.path().join("dev.log")).unwrap_or_default());
            offset = 10_000 + (offset + 97) % 8_000;
        }
        panic!("three nodes do not start");
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.data().join("cluster.json")
    }

    /// Flags with the commands that stand for their names.
    fn flags(&self, flags: &str) -> Vec<String> {
        let (program, data) = (quorate().display().to_string(), self.data().display().to_string());
        let restart = format!("{program} dev restart $LOADGEN_NODE --data {data}");
        let command = |word: &str| match word {
            "RESTART" => restart.clone(),
            "RESTART-ALL" => {
                format!("for id in 1 2 3; do {program} dev restart $id --data {data} & done; wait")
            }
            "REJOIN" => {
                format!("{}/../scripts/rejoin {data} $LOADGEN_NODE {program}", env!("CARGO_MANIFEST_DIR"))
            }
            "SNAPSHOT" => format!(
                "rm -f {data}/saved && {program} snapshot save --cluster {data}/cluster.json {data}/saved"
            ),
            other => other.into(),
        };
        flags.split_whitespace().map(command).collect()
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        let text = fs::read_to_string(self.file()).expect("written by rename: never half");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let nodes = value["nodes"].as_array().expect("a list").iter();
        nodes.map(|node| node["admin"].as_str().expect("a door").parse().expect("an address")).collect()
    }

    /// All nodes run and have a leader. That a cluster was whole once says nothing of now.
    fn await_ready(&self) -> Result<(), String> {
        let since = Instant::now();
        loop {
            let nodes = self.nodes();
            let waits: Vec<String> = nodes.iter().map(|at| ask(*at, "/readyz")).collect();
            if waits.iter().all(|said| said.starts_with("HTTP/1.1 200 ")) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("the nodes are not ready: {waits:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often each node has lost its leader, by its own count. Another life counts from nothing.
    fn leaderless(&self) -> Vec<Vec<String>> {
        let wanted = ["quorate_edge_leaderless_total", "quorate_life "];
        let of = |page: String| {
            page.lines()
                .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
                .map(str::to_string)
                .collect()
        };
        self.nodes().into_iter().map(|at| of(ask(at, "/metrics"))).collect()
    }

    /// Whoever is dead is started again; those that run say so, and nothing else.
    fn heal(&self) {
        for id in ["1", "2", "3"] {
            let mut restart = Command::new(quorate());
            restart.args(["dev", "restart", id, "--data"]).arg(self.data());
            let _ = restart.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.dev.id().to_string()).status();
        let _ = self.dev.wait();
    }
}

/// Times that a change of leaders may spoil one case.
const TRIES: usize = 5;

/// What a server says, or its client, when it has lost its leader.
const LEADERLESS: [&str; 4] = [
    "connection lost",
    "the server closed the connection",
    "it may or may not have been carried out",
    "no quorum confirmed the read",
];

/// Why a run did not show what it should.
enum Wrong {
    /// Its requests ended as they do when a server loses its leader.
    Sent(String),
    /// No answer came while it lasted, and no error.
    Silent(String),
    Broken(String),
}

/// A node of a machine with much else to do loses its leader, and sends its clients away: that is asked again, under other
/// keys, if the nodes say that it was so. And where not one answer came, a longer run is waited for. All else is wrong.
fn measure(case: &Case, cluster: &Cluster, consul: &str) -> Result<(), String> {
    let (mut told, mut secs) = (Vec::new(), 1);
    for nth in 0..TRIES {
        cluster.await_ready()?;
        let before = cluster.leaderless();
        let why = match measure_once(case, nth, secs, cluster, consul) {
            Ok(()) => return Ok(()),
            Err(Wrong::Sent(why)) if cluster.leaderless() != before => format!("a leader was lost: {why}"),
            Err(Wrong::Silent(why)) if secs < 32 => {
                secs *= 4;
                why
            }
            Err(Wrong::Sent(why) | Wrong::Silent(why) | Wrong::Broken(why)) => return Err(why),
        };
        println!("{:<22} again, after try {}: {why}", case.name, nth + 1);
        told.push(why);
        if case.harms {
            cluster.heal();
        }
    }
    Err(told.join("; "))
}

fn measure_once(case: &Case, nth: usize, secs: u32, cluster: &Cluster, consul: &str) -> Result<(), Wrong> {
    let mut command = Command::new(LOADGEN);
    command.args(["run", "--json", "--warmup", "0", "--workload", case.name, "--secs", &secs.to_string()]);
    let (target, prefix) = match case.door {
        Native => ("native", ""),
        Zk => ("zk", "/"),
        NullConsul => ("consul", ""),
    };
    command.args(["--target", target, "--prefix", &format!("{prefix}{}-{nth}/k", case.name)]);
    match case.door {
        NullConsul => command.args(["--servers", consul]),
        _ => command.arg("--cluster").arg(cluster.file()),
    };
    let output = command.args(cluster.flags(case.flags)).output().expect("loadgen starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_leaderless = |text: &str| LEADERLESS.iter().any(|word| text.contains(word));
    let result: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        let why = format!("no result ({error}): {said}");
        if is_leaderless(&said) { Wrong::Sent(why) } else { Wrong::Broken(why) }
    })?;
    // What a slow machine does not send or answer in time is an error of an open loop, as it is meant to be.
    let codes = result["error_codes"].as_object().cloned().unwrap_or_default();
    let slow: u64 = SLOW.iter().filter_map(|code| codes.get(*code)?.as_u64()).sum();
    let errors = result["errors"].as_u64().unwrap_or(0);
    if !case.harms && errors > slow {
        let why = format!("{errors} errors: {} {}", result["error_codes"], result["last_error"]);
        // Jobs count their errors; some say what the last one was.
        let kinds = codes.keys().map(String::as_str).chain(result["last_error"].as_str());
        let is_foreign = kinds.filter(|kind| !SLOW.contains(kind)).any(|kind| !is_leaderless(kind));
        return Err(if is_foreign { Wrong::Broken(why) } else { Wrong::Sent(why) });
    }
    let broken = case.holds.iter().find_map(|holds| holds.broken_by(&result, secs, case.under_way));
    broken.map_or(Ok(()), |why| {
        let why = format!("{why}; partial: {}; {said}", result["partial"]);
        let silent = errors == 0 && result["samples"] == 0;
        Err(if silent { Wrong::Silent(why) } else { Wrong::Broken(why) })
    })
}

fn listed() -> BTreeSet<String> {
    let output = Command::new(LOADGEN).arg("list").output().expect("loadgen starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().filter(|line| !line.starts_with(' ') && !line.starts_with("not yet"));
    names.map(str::to_string).collect()
}

/// `only`: those whose name contains it.
fn run(only: &str) -> Vec<String> {
    let cases: BTreeSet<String> = CASES.iter().map(|case| case.name.to_string()).collect();
    assert_eq!(listed(), cases, "each workload of the list has its case here");
    let (cluster, consul) = (Cluster::start(), Null::start("consul"));
    let wrong = Mutex::new(Vec::new());
    let check = |case: &Case| {
        let since = Instant::now();
        let found = measure(case, &cluster, &consul.1);
        println!(
            "{:<22} {:>5} ms {}",
            case.name,
            since.elapsed().as_millis(),
            found.as_ref().map_or("WRONG", |()| "ok")
        );
        if let Err(why) = found {
            wrong.lock().expect("nobody panics with it").push(format!("{}: {why}", case.name));
        }
    };
    let wanted =
        |harms: bool| CASES.iter().filter(move |case| case.harms == harms && case.name.contains(only));
    let queue = Mutex::new(wanted(false).rev());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("nobody panics with it").next();
                    match next {
                        Some(case) => check(case),
                        None => break,
                    }
                }
            });
        }
    });
    for case in wanted(true) {
        check(case);
        cluster.heal();
    }
    wrong.into_inner().expect("nobody panics with it")
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| ["dev", "serve", "format", "snapshot"].contains(&word.as_str())) {
        return match quorate::tools::run(clap::Parser::parse()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("quorate: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let only = words.first().filter(|word| !word.starts_with('-')).map_or("", String::as_str);
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let wrong = run(only);
    wrong.iter().for_each(|why| eprintln!("{why}"));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
