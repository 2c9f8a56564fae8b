//! Threads that run worlds, one world each at a time. Outside the worlds: here is real time.

use std::panic;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::base::planted::Bug;
use crate::sim::run::{self, Run, Scheme};

/// A seed, whose it is, and the bug planted in its world.
pub type Job = (Option<Bug>, Scheme, u64);

type Outcome = (Job, Result<Run, String>);

/// Runs what `give` hands out until it has nothing more and all is done; `take` gets each result, or the words of
/// the assertion that failed. An assertion aborts a process that ships; here it is a finding: its thread stops for
/// good, and another takes its place. Once in a process: whoever has stopped there holds on to the hook.
pub fn work(
    threads: usize,
    give: impl FnMut() -> Option<Job> + Send + 'static,
    mut take: impl FnMut(Option<Bug>, u64, Result<Run, String>),
) {
    let give: Arc<Mutex<dyn FnMut() -> Option<Job> + Send>> = Arc::new(Mutex::new(give));
    let (tx, rx) = mpsc::channel::<Outcome>();
    let complaints = Mutex::new(tx.clone());
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let what = info.payload_as_str().unwrap_or("a panic without words");
        let why = format!("{what} ({})", place.unwrap_or_default());
        if let Ok(tx) = complaints.lock() {
            let _ = tx.send((JOB.get(), Err(why)));
        }
        loop {
            thread::park();
        }
    }));
    let mut running = 0;
    loop {
        // One job each: whoever is done, or has failed, leaves its place to a new thread.
        while running < threads.max(1) {
            let Some(job) = give.lock().expect("only this thread takes it")() else { break };
            let tx = tx.clone();
            thread::spawn(move || {
                JOB.set(job);
                plant(job.0);
                let _ = tx.send((job, Ok(run::run(job.1, job.2, false))));
            });
            running += 1;
        }
        if running == 0 {
            break;
        }
        let Ok(((bug, _, seed), result)) = rx.recv() else { break };
        running -= 1;
        take(bug, seed, result);
    }
}

thread_local! {
    static JOB: std::cell::Cell<Job> = const { std::cell::Cell::new((None, Scheme::Plain, 0)) };
}

#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    crate::base::planted::choose(bug);
}

#[cfg(not(feature = "planted"))]
pub fn plant(_: Option<Bug>) {}
