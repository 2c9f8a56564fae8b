//! Cold start from a log or a snapshot: writes fill it, every server is killed, the page cache is dropped where we may, and a command
//! of the user's starts them again. How long until the first read and the first write?

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

use super::{Ended, millis};
use crate::clock::{Clock, SECOND};
use crate::fault;
use crate::plan::Plan;
use crate::record::histogram;
use crate::run::{self, Trouble, Watch};

const PATIENCE: u64 = 300 * SECOND;
const DEPTH: usize = 32;
const KEYS: u64 = 10_000;

struct Silent;

impl Watch for Silent {
    fn on_second(&mut self, _plan: &Plan, _done: u64, _tally: &crate::record::Tally) {}
}

pub fn run(plan: &Plan) -> Result<Ended, Trouble> {
    let command = plan.restart.as_ref().expect("checked with the plan");
    let fill = Plan { job: None, depth: DEPTH, keys: KEYS, reads: 0.0, warmup: 0, ..plan.clone() };
    let filled = run::run(&fill, None, &mut Silent)?;
    let log_bytes: u64 = filled
        .servers
        .iter()
        .map(|(_, before, after)| after.disk_write_bytes - before.disk_write_bytes)
        .sum();
    if let Some(command) = &plan.snapshot {
        fault::shell("--snapshot-cmd", command, None).map_err(Trouble::Local)?;
    }
    for &pid in &plan.pids {
        if let Some(pid) = Pid::from_raw(pid as i32) {
            // One that is dead already is as dead as we want it.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let cold = fs::write("/proc/sys/vm/drop_caches", "3").is_ok();

    let clock = Clock::start();
    let mut child = Command::new("sh")
        .args(["-c", command])
        // Ours is the result's alone.
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Trouble::Local(format!("--restart-cmd: {error}")))?;
    let probe = |reads: f64| Plan {
        job: None,
        conns: 1,
        depth: 1,
        threads: 1,
        procs: 1,
        keys: 1,
        reads,
        preload: false,
        warmup: 0,
        secs: 1,
        timeout_ms: 1000,
        fault: None,
        ..plan.clone()
    };
    let (mut reads_at, mut writes_at, mut tries) = (0, 0, 0u64);
    while clock.now() < PATIENCE && (reads_at == 0 || writes_at == 0) {
        tries += 1;
        if reads_at == 0 && run::answers(&probe(100.0)) {
            reads_at = clock.now();
        }
        if writes_at == 0 && run::answers(&probe(0.0)) {
            writes_at = clock.now();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait().map_err(|error| Trouble::Local(format!("--restart-cmd: {error}")))?;
    let mut partial = Vec::new();
    if !ended.success() {
        partial.push(format!("--restart-cmd ended with {ended}"));
    }
    let mut figures = Map::new();
    for (name, at) in [("reads_after_ms", reads_at), ("writes_after_ms", writes_at)] {
        if at == 0 {
            partial.push(format!("{name}: nothing within {} s", PATIENCE / SECOND));
        } else {
            figures.insert(name.into(), millis(at));
        }
    }
    figures.insert("written_ops".into(), filled.total.write.ok.into());
    figures.insert("written_bytes_all_servers".into(), log_bytes.into());
    figures.insert("cold".into(), Value::Bool(cold));
    figures.insert("tries".into(), tries.into());
    figures.insert("errors".into(), filled.total.errors().into());
    Ok(Ended { figures, latency: histogram(), partial })
}
