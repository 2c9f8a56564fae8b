//! What this client can do at most: the same load against a null server, before the real one is asked. A figure of more
//! than half of it says as much about the client as about the server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde::Serialize;

use crate::jobs::Job;
use crate::plan::{self, Plan};
use crate::run::{self, Trouble, Watch};

/// A figure above this share of the ceiling is marked.
pub const SHARE_MAX: f64 = 0.5;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ceiling {
    pub ops_per_s: f64,
    pub p99_us: f64,
    pub client_cpu_us_per_op: f64,
    pub null_cpu_us_per_op: f64,
    pub secs: u64,
}

/// Ends with its owner.
struct Null(Child);

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Silent;

impl Watch for Silent {
    fn on_second(&mut self, _plan: &Plan, _done: u64, _tally: &crate::record::Tally) {}
}

/// `None` for jobs: their pace is not the client's.
pub fn measure(plan: &Plan, secs: u64) -> Result<Option<Ceiling>, Trouble> {
    if secs == 0 || plan.job.is_some_and(|job| job != Job::Create) {
        return Ok(None);
    }
    let trouble = |what: String| Trouble::Local(format!("the null server: {what}"));
    let program = std::env::current_exe().map_err(|error| trouble(error.to_string()))?;
    let child = Command::new(program)
        .args(["null", "--protocol", plan.target.key(), "--listen", "127.0.0.1:0"])
        .args(["--value-size", &plan.value_size.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| trouble(error.to_string()))?;
    let mut null = Null(child);
    let mut line = String::new();
    BufReader::new(null.0.stdout.take().expect("piped"))
        .read_line(&mut line)
        .map_err(|error| trouble(error.to_string()))?;
    let address = line.trim().strip_prefix("listening on ").unwrap_or_default();
    let probe = Plan {
        job: None,
        servers: vec![plan::resolve(address).map_err(trouble)?],
        pids: vec![null.0.id()],
        nodes: Vec::new(),
        fault: None,
        rate: 0.0,
        phases: Vec::new(),
        poisson: false,
        preload: false,
        warmup: 0,
        secs,
        ..plan.clone()
    };
    let measured = run::run(&probe, None, &mut Silent)?;
    let ops = measured.total.ok() * plan.batch as u64;
    let per_op = |cpu: u64| cpu as f64 / ops.max(1) as f64;
    let null_cpu: u64 = measured.servers.iter().map(|(_, before, after)| after.cpu_us - before.cpu_us).sum();
    Ok(Some(Ceiling {
        ops_per_s: ops as f64 / measured.secs,
        p99_us: measured.total.all().latency.value_at_quantile(0.99) as f64 / 1e3,
        client_cpu_us_per_op: per_op(measured.client_cpu_us),
        null_cpu_us_per_op: per_op(null_cpu),
        secs,
    }))
}
