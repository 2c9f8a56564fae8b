//! `quorate simulate`: worlds by their seeds, on as many threads as asked for.

use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use crate::base::planted::Bug;
use crate::sim::run::{self, Run};
use crate::sim::tally::Tally;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// Only this seed.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    pub seed: Option<u64>,
    /// Print what happens, line by line; with --seed.
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Plant this bug first; the run ends at the first seed that finds it. `list` names all.
    #[arg(long)]
    pub bug: Option<String>,
    /// Threads to spread seeds over.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Seeds over which every kind of event must have happened.
const ENOUGH: u64 = 300;

/// Exit status 1 if any seed failed.
pub fn run(args: Args) -> Result<(), String> {
    let bug = args.bug()?;
    match args.seed {
        Some(seed) => args.run_one(seed, bug),
        None => args.run_all(bug),
    }
}

impl Args {
    fn run_one(&self, seed: u64, bug: Option<Bug>) -> Result<(), String> {
        plant(bug);
        let run = run::run(seed, self.trace);
        report(&run);
        println!("seed {seed}: trace {:016x}, {}", run.hash, run.shape);
        verdict(u64::from(run.failure.is_some()))
    }

    fn bug(&self) -> Result<Option<Bug>, String> {
        let Some(name) = &self.bug else { return Ok(None) };
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        let Some(bug) = Bug::from_name(name) else {
            return Err(format!("the bugs are: {}", names.join(" ")));
        };
        if cfg!(feature = "planted") {
            return Ok(Some(bug));
        }
        Err(format!(
            "this build has no planted bugs; run `cargo run --release --features planted -- simulate --bug {name} \
             --seeds {}`",
            self.seeds
        ))
    }

    /// Seeds are handed out one by one. A failed assertion of ours aborts a process that ships; here it is a
    /// finding: its thread stops for good, the next seed gets a new one.
    fn run_all(&self, bug: Option<Bug>) -> Result<(), String> {
        let started = Instant::now();
        let last = self.first + self.seeds;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.store(self.first, Ordering::Relaxed);
        let (tx, rx) = mpsc::channel::<Result<Run, (u64, String)>>();
        let spawn = {
            let tx = tx.clone();
            move || {
                let tx = tx.clone();
                thread::spawn(move || {
                    plant(bug);
                    loop {
                        let seed = NEXT.fetch_add(1, Ordering::Relaxed);
                        if seed >= last {
                            return;
                        }
                        SEED.set(seed);
                        if tx.send(Ok(run::run(seed, false))).is_err() {
                            return;
                        }
                    }
                });
            }
        };
        let complaints = Mutex::new(tx.clone());
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
            let what = info.payload_as_str().unwrap_or("a panic without words");
            let why = format!("{what} ({})", place.unwrap_or_default());
            if let Ok(tx) = complaints.lock() {
                let _ = tx.send(Err((SEED.get(), why)));
            }
            loop {
                thread::park();
            }
        }));
        (0..self.threads.max(1)).for_each(|_| spawn());
        let (mut done, mut failures, mut tally) = (0, 0, Tally::default());
        while done < self.seeds {
            let Ok(result) = rx.recv() else { break };
            done += 1;
            let found = match result {
                Ok(run) => {
                    tally.add(&run.tally);
                    report(&run)
                }
                Err((seed, why)) => {
                    spawn();
                    complain(seed, &why)
                }
            };
            failures += u64::from(found);
            if found && bug.is_some() {
                println!("{} is found after {done} seeds", bug.map_or("", Bug::name));
                return verdict(failures);
            }
        }
        print!("{tally}");
        let missing: Vec<&str> =
            tally.required().iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
        let seconds = started.elapsed().as_secs_f64();
        println!("{:.1} s, {:.1} seeds/s", seconds, done as f64 / seconds);
        if self.seeds >= ENOUGH && bug.is_none() && !missing.is_empty() {
            println!("never happened: {}", missing.join(", "));
            failures += 1;
        }
        println!("{done} seeds, {failures} failures");
        verdict(failures)
    }
}

thread_local! {
    static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn verdict(failures: u64) -> Result<(), String> {
    match failures {
        0 => Ok(()),
        1 => Err("a promise was broken; replay the seed with --seed and --trace".into()),
        _ => Err("promises were broken; replay a seed with --seed and --trace".into()),
    }
}

/// True if it failed.
fn report(run: &Run) -> bool {
    match &run.failure {
        Some(why) => complain(run.seed, why),
        None => false,
    }
}

fn complain(seed: u64, why: &str) -> bool {
    println!("seed {seed} failed: {why}\n  quorate simulate --seed {seed} --trace");
    true
}

#[cfg(feature = "planted")]
fn plant(bug: Option<Bug>) {
    crate::base::planted::choose(bug);
}

#[cfg(not(feature = "planted"))]
fn plant(_: Option<Bug>) {}
