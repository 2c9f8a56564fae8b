//! The threads of a process: one per loop, started together, stopped together.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::config::Runtime;
use crate::drive::bell::Doorbell;
use crate::drive::setup::Setup;
use crate::pipeline::layout::Loop;
use crate::pipeline::station::Station;

/// Signals that end a server.
const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// The loops that run, and the signals that stop them.
pub struct Crew {
    runtime: Runtime,
    threads: Vec<Hand>,
}

struct Hand {
    name: String,
    bell: Arc<Doorbell>,
    thread: JoinHandle<Result<(), String>>,
}

impl Crew {
    /// Before any thread is started: from here on TERM and INT wait for `wait` instead of killing.
    pub fn new(runtime: Runtime) -> Crew {
        // SAFETY: the set is initialised by sigemptyset and only read afterwards.
        unsafe {
            let set = signals();
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
            // A peer that hangs up is an event, not a signal.
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
        Crew { runtime, threads: Vec::new() }
    }

    /// Starts a loop. `make` builds its station on its own thread; `judge` says how it ended.
    pub fn spawn<S: Station>(
        &mut self,
        place: &Loop,
        setup: Setup,
        make: impl FnOnce() -> S + Send + 'static,
        judge: impl FnOnce(S) -> Result<(), String> + Send + 'static,
    ) -> io::Result<()> {
        let (runtime, core, bell) = (self.runtime, place.core, setup.bell.clone());
        let body = move || {
            if let Some(core) = core {
                pin_to(core);
            }
            let ended = super::run(runtime, setup, make());
            // Whoever ends, ends all: `wait` sees it as it sees an operator's TERM.
            // SAFETY: a signal to this very process.
            unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
            ended.map_err(|e| format!("the loop's ring failed: {e}")).and_then(judge)
        };
        let thread = std::thread::Builder::new().name(place.name.clone()).spawn(body)?;
        self.threads.push(Hand { name: place.name.clone(), bell, thread });
        Ok(())
    }

    /// Until TERM, INT or the end of a loop; then stops all in the order in which they were started. A second
    /// signal ends the process at once.
    pub fn wait(self) -> Result<(), String> {
        let signal = next_signal();
        let ended = self.threads.iter().any(|hand| hand.thread.is_finished());
        tracing::info!("stopping {}", if ended { "because a loop has ended" } else { name_of(signal) });
        std::thread::spawn(move || {
            // The first loop to end sends another TERM, which is no order of anybody.
            while next_signal() == libc::SIGTERM {}
            tracing::warn!("interrupted again: leaving at once");
            std::process::exit(130);
        });
        let mut result = Ok(());
        for Hand { name, bell, thread } in self.threads {
            bell.stop();
            let ended = thread.join().unwrap_or_else(|_| Err("it panicked".into()));
            result = result.and(ended.map_err(|why| format!("loop {name}: {why}")));
        }
        result
    }
}

fn signals() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before sigaddset changes it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        SIGNALS.iter().for_each(|signal| assert_eq!(libc::sigaddset(&mut set, *signal), 0));
        set
    }
}

fn next_signal() -> libc::c_int {
    let (set, mut signal) = (signals(), 0);
    // SAFETY: both pointers name live values.
    assert_eq!(unsafe { libc::sigwait(&set, &mut signal) }, 0);
    signal
}

fn name_of(signal: libc::c_int) -> &'static str {
    if signal == libc::SIGINT { "on Ctrl-C" } else { "on TERM" }
}

/// Keeps this thread on one core; one that does not exist is reported, and the thread goes where it likes.
fn pin_to(core: usize) {
    // SAFETY: a cpu_set is plain bits, zero is none; the kernel reads it. CPU_SET asserts the bound.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result != 0 {
        tracing::warn!("cannot pin a loop to core {core}: {}; see `taskset -p`", io::Error::last_os_error());
    }
}
