//! loadgen: load for coordination servers, measured honestly.
//!
//! `args` → `plan` → `run`: threads with an `engine` each, which takes operations from a `source`, speaks through
//! a `driver` and writes what ended into its `book`. `jobs` have steps of their own, with a `crowd` of watching clients.
//! `null` holds servers that answer from a constant; `report` makes tables and pages from what was stored.

mod access;
pub mod args;
mod book;
mod ceiling;
mod clock;
mod compare;
mod crowd;
mod driver;
mod engine;
mod env;
mod fault;
mod fold;
mod history;
mod jobs;
mod keys;
mod ladder;
mod null;
pub mod output;
mod part;
mod pipe;
mod plain;
pub mod plan;
mod poll;
mod procfs;
mod progress;
mod record;
mod report;
mod results;
mod run;
mod sessions;
mod source;
mod systems;
mod verify;
mod wgl;
mod whois;
mod worker;
mod workload;

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::Command;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::run::Trouble;

/// How the program ends; the numbers are for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    CheckFailed = 1,
    Usage = 2,
    CannotConnect = 3,
    Partial = 4,
    Invalid = 5,
}

/// Why there is no result at all.
pub struct Failure {
    pub exit: Exit,
    pub why: String,
}

impl Failure {
    fn new(exit: Exit, why: impl Into<String>) -> Failure {
        Failure { exit, why: why.into() }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Connect(why) | Trouble::Prepare(why) => Failure::new(Exit::CannotConnect, why),
            Trouble::Local(why) => Failure::new(Exit::Partial, why),
        }
    }
}

pub fn main(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run_command(&args),
        Command::List => {
            print!("{}", workload::list());
            Ok(Exit::Done)
        }
        Command::Compare(args) => compare_command(&args),
        Command::Report(args) => report::command(&args),
        Command::Env(args) => {
            println!("{:#}", env::json(&args.data));
            Ok(Exit::Done)
        }
        Command::Verify(args) => verify_command(&args),
        Command::Idle(args) => {
            let figures =
                sessions::run(&args).map_err(|error| Failure::new(Exit::Partial, error.to_string()))?;
            print!("{figures}");
            Ok(Exit::Done)
        }
        Command::Null(args) => null_command(&args),
        Command::Part => {
            part::obey().map_err(|why| Failure::new(Exit::Usage, why))?;
            Ok(Exit::Done)
        }
    }
}

fn run_command(args: &args::Run) -> Result<Exit, Failure> {
    if let (Some(system), None, true) =
        (args.place.system, &args.place.cluster, args.place.servers.is_empty())
    {
        let started = systems::Running::start(system, &args.programs)
            .map_err(|why| Failure::new(Exit::CannotConnect, why))?;
        let mut args = args.clone();
        args.place.cluster = Some(started.cluster());
        return run_there(&args);
    }
    run_there(args)
}

fn run_there(args: &args::Run) -> Result<Exit, Failure> {
    let plan = Plan::from_args(args).map_err(|why| Failure::new(Exit::Usage, why))?;
    if let Some(dir) = &args.results {
        results::claim(dir).map_err(|why| Failure::new(Exit::Usage, why))?;
    }
    if let Some(objective) = &args.ladder {
        return ladder_command(args, &plan, objective);
    }
    let ceiling = ceiling::measure(&plan, args.ceiling).map_err(Failure::from)?;
    if let Some(job) = plan.job {
        return job_command(args, &plan, job, ceiling);
    }
    let mut progress = Progress::new();
    let history = args.check.then(|| {
        let name = format!("loadgen-{}.jsonl", std::process::id());
        args.history.clone().unwrap_or_else(|| std::env::temp_dir().join(name))
    });
    let measured = run::run(&plan, history.as_ref(), &mut progress);
    progress.clear();
    let mut measured = run::Measured { ceiling, ..measured.map_err(Failure::from)? };
    let report = history.as_ref().and_then(|path| {
        let checked = check_history(path, &measured.history, args.history.is_some());
        // The figures stand, and say that nothing vouches for them.
        checked.map_err(|why| measured.notes.push(format!("the history was not checked: {why}"))).ok()
    });
    if let Some(dir) = &args.results {
        let json = output::json(&plan, &measured, report.as_ref());
        if let Err(error) = results::write(dir, &plan, &measured, &json) {
            let why = format!("{}: {error}; the figures printed here are not stored whole", dir.display());
            eprintln!("loadgen: {why}");
            measured.notes.push(why);
        }
    }
    if args.json {
        println!("{}", output::json(&plan, &measured, report.as_ref()));
    } else {
        print!("{}", output::table(&plan, &measured, report.as_ref()));
    }
    if report.is_some_and(|report| !report.passed()) {
        return Ok(Exit::CheckFailed);
    }
    let faults = output::faults(&plan, &measured);
    Ok(match (faults.partial.is_empty(), faults.invalid.is_empty()) {
        (false, _) => Exit::Partial,
        (true, false) => Exit::Invalid,
        (true, true) => Exit::Done,
    })
}

fn ladder_command(args: &args::Run, plan: &Plan, objective: &ladder::Objective) -> Result<Exit, Failure> {
    if plan.job.is_some() {
        return Err(Failure::new(Exit::Usage, "--ladder is for loads of reads and writes"));
    }
    let mut progress = Progress::new();
    let climbed = ladder::climb(plan, objective, args.results.as_deref(), &mut progress);
    progress.clear();
    let mut climbed = climbed.map_err(Failure::from)?;
    if let Some(dir) = &args.results
        && let Err(error) = results::write_ladder(dir, &climbed.json)
    {
        eprintln!("loadgen: {}: {error}; the figures printed here are not stored whole", dir.display());
        climbed.partial = true;
    }
    if args.json {
        println!("{}", climbed.json);
    } else {
        print!("{}", climbed.text);
    }
    Ok(match (climbed.partial, climbed.invalid) {
        (true, _) => Exit::Partial,
        (false, true) => Exit::Invalid,
        (false, false) => Exit::Done,
    })
}

fn job_command(
    args: &args::Run,
    plan: &Plan,
    job: jobs::Job,
    ceiling: Option<ceiling::Ceiling>,
) -> Result<Exit, Failure> {
    if args.check || args.fault.fault_at.is_some() {
        return Err(Failure::new(Exit::Usage, "this workload takes neither --check nor --fault-at"));
    }
    let mut ended = jobs::run(plan, job).map_err(Failure::from)?;
    if let Some(ceiling) = ceiling {
        let bound = ended.figures.get("ops_per_s").and_then(serde_json::Value::as_f64);
        let bound = bound.is_some_and(|ops| ops > ceiling.ops_per_s * ceiling::SHARE_MAX);
        ended.figures.insert("ceiling".into(), serde_json::json!(ceiling));
        ended.figures.insert("client_bound".into(), bound.into());
    }
    let json = jobs::json(plan, &ended);
    if let Some(dir) = &args.results
        && let Err(error) = results::write_job(dir, &json, &ended.latency)
    {
        let why = format!("{}: {error}; the figures printed here are not stored whole", dir.display());
        eprintln!("loadgen: {why}");
        ended.partial.push(why);
    }
    if args.json {
        println!("{}", jobs::json(plan, &ended))
    } else {
        print!("{}", jobs::text(plan, &ended))
    }
    Ok(if ended.partial.is_empty() { Exit::Done } else { Exit::Partial })
}

/// Puts the threads' parts together and verifies the whole.
fn check_history(path: &Path, parts: &[PathBuf], keep: bool) -> Result<verify::Report, String> {
    let local = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut whole = File::create(path).map_err(local)?;
    for part in parts {
        std::io::copy(&mut File::open(part).map_err(local)?, &mut whole).map_err(local)?;
        std::fs::remove_file(part).map_err(local)?;
    }
    let lines = verify::load(path)?;
    if !keep {
        std::fs::remove_file(path).map_err(local)?;
    }
    Ok(verify::verify(lines))
}

fn compare_command(args: &args::Compare) -> Result<Exit, Failure> {
    let outcome = compare::compare(args)?;
    if args.json {
        println!("{}", outcome.json);
    } else {
        print!("{}", outcome.text);
    }
    Ok(outcome.exit)
}

fn verify_command(args: &args::Verify) -> Result<Exit, Failure> {
    let lines = verify::load(&args.file).map_err(|why| Failure::new(Exit::Usage, why))?;
    let report = verify::verify(lines);
    if args.json {
        println!("{}", serde_json::json!(report));
    } else {
        print!("{}", report.text());
    }
    Ok(if report.passed() { Exit::Done } else { Exit::CheckFailed })
}

fn null_command(args: &args::Null) -> Result<Exit, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let address = plan::resolve(&args.listen).map_err(usage)?;
    let listener = TcpListener::bind(address)
        .map_err(|error| usage(format!("{address}: {error}; pass another --listen")))?;
    let address = listener.local_addr().map_err(|error| usage(error.to_string()))?;
    println!("listening on {address}");
    let _ = std::io::stdout().flush();
    let stall = args.stall_at.zip(args.stall_ms).map(|(at, length)| null::Stall {
        at: Duration::from_secs_f64(at),
        length: Duration::from_millis(length),
    });
    null::serve(args.protocol, listener, args.value_size, stall)
        .map_err(|error| Failure::new(Exit::Partial, error.to_string()))?;
    Ok(Exit::Done)
}
