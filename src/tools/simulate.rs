//! `quorate simulate`: worlds by their seeds, on as many threads as asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::base::planted::Bug;
use crate::sim::run::{self, Run, Scheme};
use crate::sim::tally::Tally;
use crate::tools::crew;

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
    /// Worlds with ZooKeeper sessions in them; their seeds are their own.
    #[arg(long)]
    pub sessions: bool,
    /// Print what happens, line by line; with --seed.
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Plant this bug; the run ends at the first seed that finds it. `list` names all.
    #[arg(long)]
    pub bug: Option<String>,
    /// Plant every bug in turn, and print a table of the first seeds that find them.
    #[arg(long, conflicts_with_all = ["bug", "seed"])]
    pub bugs: bool,
    /// Threads to spread seeds over.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// Seeds over which every kind of event must have happened.
const ENOUGH: u64 = 300;

/// Exit status 1 if any seed failed; with bugs planted, if any of them was not found.
pub fn run(args: Args) -> Result<(), String> {
    let bugs = args.planted()?;
    match args.seed {
        Some(seed) => args.run_one(seed, bugs.first().copied()),
        None if bugs.is_empty() => args.sweep(),
        None => args.hunt(&bugs),
    }
}

impl Args {
    fn run_one(&self, seed: u64, bug: Option<Bug>) -> Result<(), String> {
        crew::plant(bug);
        let run = run::run(self.scheme(bug), seed, self.trace);
        println!("seed {seed}: trace {:016x}, {}", run.hash, run.shape);
        verdict(u64::from(complain(self.scheme(bug), seed, &Ok(run))))
    }

    /// A bug has its own kind of worlds.
    fn scheme(&self, bug: Option<Bug>) -> Scheme {
        match bug.map_or(self.sessions, Bug::is_of_sessions) {
            true => Scheme::Sessions,
            false => Scheme::Plain,
        }
    }

    /// Bugs to plant: none, one by its name, or all.
    fn planted(&self) -> Result<Vec<Bug>, String> {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        let bugs = match &self.bug {
            Some(name) => vec![Bug::from_name(name).ok_or(format!("the bugs are: {}", names.join(" ")))?],
            None if self.bugs => Bug::ALL.to_vec(),
            None => Vec::new(),
        };
        if bugs.is_empty() || cfg!(feature = "planted") {
            return Ok(bugs);
        }
        let what = self.bug.as_ref().map_or("--bugs".into(), |name| format!("--bug {name}"));
        Err(format!(
            "this build has no planted bugs; run `cargo run --release --features planted -- simulate {what} \
             --seeds {}`",
            self.seeds
        ))
    }

    fn sweep(&self) -> Result<(), String> {
        let scheme = self.scheme(None);
        let started = Instant::now();
        let mut next = self.first..self.first + self.seeds;
        let (mut done, mut failures, mut tally) = (0, 0, Tally::default());
        crew::work(
            self.threads,
            move || next.next().map(|seed| (None, scheme, seed)),
            |_, seed, result| {
                done += 1;
                if let Ok(run) = &result {
                    tally.add(&run.tally);
                }
                failures += u64::from(complain(scheme, seed, &result));
            },
        );
        print!("{tally}");
        let missing: Vec<&str> =
            tally.required(scheme).iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
        let seconds = started.elapsed().as_secs_f64();
        println!("{seconds:.1} s, {:.1} seeds/s", done as f64 / seconds);
        if self.seeds >= ENOUGH && !missing.is_empty() {
            println!("never happened: {}", missing.join(", "));
            failures += 1;
        }
        println!("{done} seeds, {failures} failures");
        verdict(failures)
    }

    /// Each bug's seeds one after the other, until one finds it; several bugs side by side.
    fn hunt(&self, bugs: &[Bug]) -> Result<(), String> {
        let hunts: Vec<Hunt> = bugs.iter().map(|&bug| Hunt { bug, next: self.first, busy: false }).collect();
        let hunts = Arc::new(Mutex::new(hunts));
        let last = self.first + self.seeds;
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        let give = {
            let hunts = hunts.clone();
            move || {
                let mut hunts = hunts.lock().expect("no thread dies holding it");
                let hunt = hunts.iter_mut().find(|hunt| !hunt.busy)?;
                hunt.busy = true;
                let scheme = match hunt.bug.is_of_sessions() {
                    true => Scheme::Sessions,
                    false => Scheme::Plain,
                };
                Some((Some(hunt.bug), scheme, hunt.next))
            }
        };
        crew::work(self.threads, give, |bug, seed, result| {
            let bug = bug.expect("every job of a hunt has a bug");
            let mut hunts = hunts.lock().expect("no thread dies holding it");
            let place = hunts.iter().position(|hunt| hunt.bug == bug).expect("it was given out");
            let why = result.map_or_else(Some, |run| run.failure);
            let hunt = &mut hunts[place];
            (hunt.next, hunt.busy) = (seed + 1, false);
            match why {
                Some(why) => found.push((bug, seed, why)),
                None if seed + 1 == last => missed.push(bug),
                None => return,
            }
            hunts.remove(place);
        });
        found.sort_by_key(|(bug, ..)| Bug::ALL.iter().position(|other| other == bug));
        println!("| bug | first seed | what it says |\n|---|---:|---|");
        for (bug, seed, why) in &found {
            let why: String = why.chars().take(110).collect();
            println!("| {} | {seed} | {} |", bug.name(), why.replace('|', "/").replace('\n', " "));
        }
        println!("\n| oracle | planted bugs that turn it red first |\n|---|---|");
        let mut by_oracle: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (bug, _, why) in &found {
            by_oracle.entry(oracle(why)).or_default().push(bug.name());
        }
        for (oracle, bugs) in by_oracle {
            println!("| {oracle} | {} |", bugs.join(", "));
        }
        let names: Vec<&str> = missed.iter().map(|bug| bug.name()).collect();
        println!("\n{} of {} bugs found within {} seeds", found.len(), bugs.len(), self.seeds);
        match names.is_empty() {
            true => Ok(()),
            false => Err(format!("not found: {}", names.join(" "))),
        }
    }
}

/// Which check has spoken: an invariant by its number, or code that stopped by itself.
fn oracle(why: &str) -> String {
    let (head, _) = why.split_once(": ").unwrap_or((why, ""));
    let is_number = |part: &str| part == "A" || part.parse::<u32>().is_ok();
    match head.split(", ").all(is_number) {
        true => head.to_owned(),
        false if why.starts_with("node") => "a node that stops or will not start".into(),
        false => "an assertion of the code".into(),
    }
}

/// Where the search for one bug stands.
struct Hunt {
    bug: Bug,
    next: u64,
    /// One of its seeds is being run.
    busy: bool,
}

fn verdict(failures: u64) -> Result<(), String> {
    match failures {
        0 => Ok(()),
        1 => Err("a promise was broken; replay the seed with --seed and --trace".into()),
        _ => Err("promises were broken; replay a seed with --seed and --trace".into()),
    }
}

/// True if it failed.
fn complain(scheme: Scheme, seed: u64, result: &Result<Run, String>) -> bool {
    let why = match result {
        Ok(run) => run.failure.as_ref(),
        Err(why) => Some(why),
    };
    if let Some(why) = why {
        let worlds = if scheme == Scheme::Sessions { " --sessions" } else { "" };
        println!("seed {seed} failed: {why}\n  quorate simulate{worlds} --seed {seed} --trace");
    }
    why.is_some()
}
