//! One run: connect, prepare the keys, warm up, measure, wait for what is late.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::book::{Book, Tick};
use crate::ceiling::Ceiling;
use crate::clock::{Clock, MILLI, SECOND};
use crate::driver::consul::Consul;
use crate::driver::etcd::Etcd;
use crate::driver::native::Native;
use crate::driver::zk::Zk;
use crate::driver::{Driver, Kind, Op, Protocol, ReadMode};
use crate::engine::{Engine, Settings};
use crate::fault;
use crate::fold::{Fold, Second};
use crate::history::Scribe;
use crate::part::Crew;
use crate::plan::Plan;
use crate::procfs::{self, Machine, Usage};
use crate::record::{Gap, Tally};
use crate::results::Packed;
use crate::source::List;
use crate::worker::{STEPS, Worker};

#[derive(Debug, Serialize, Deserialize)]
pub enum Trouble {
    Connect(String),
    Prepare(String),
    /// Our own machine: files, epoll.
    Local(String),
}

impl Trouble {
    pub fn why(self) -> String {
        match self {
            Trouble::Connect(why) | Trouble::Prepare(why) | Trouble::Local(why) => why,
        }
    }
}

/// Set by an interrupt from the keyboard or a kind kill: the run ends early, and what it has measured is kept. A
/// second one ends it at once.
pub fn stop_flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let make = || {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Where signals cannot be caught they end the program, as they always did.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone());
            let _ = signal_hook::flag::register(signal, flag.clone());
        }
        flag
    };
    FLAG.get_or_init(make).clone()
}

/// Until then, or until somebody wants to stop.
fn sleep(clock: Clock, until: u64, stopped: &impl Fn() -> bool) {
    while clock.now() < until && !stopped() {
        clock.sleep_until(until.min(clock.now() + 50 * MILLI));
    }
}

#[derive(Debug)]
pub struct Measured {
    /// Length of the window.
    pub secs: f64,
    pub total: Tally,
    /// One for each phase of the plan.
    pub phases: Vec<Tally>,
    pub series: Vec<Second>,
    /// Each second's histograms; what ended after the window is the last.
    pub packed: Vec<(u64, Packed)>,
    /// `None` without writes.
    pub max_gap: Option<u64>,
    /// When the longest gap began, from the beginning of the window.
    pub gap_at: u64,
    /// With a fault: all times without an acknowledged write that are worth telling.
    pub without_writes: Vec<(u64, u64)>,
    /// Per pid, before and after.
    pub servers: Vec<(u32, Usage, Usage)>,
    /// Each second, the sum of all servers.
    pub server_series: Vec<Usage>,
    pub client_cpu_us: u64,
    /// What the servers' disk and the loopback interface did, whoever caused it.
    pub machine: Machine,
    /// The same for each second.
    pub machine_series: Vec<Machine>,
    /// The harm that was done, or why it could not be.
    pub fault: Option<Result<fault::Done, String>>,
    pub ceiling: Option<Ceiling>,
    /// Parts of the history, one for each thread.
    pub history: Vec<PathBuf>,
    /// What the servers did last that they should not have.
    pub last_trouble: Option<String>,
    /// Why this is less than was asked for.
    pub notes: Vec<String>,
}

/// What the threads of a run have in common.
pub struct Shared {
    barrier: Barrier,
    failed: AtomicBool,
    pub trouble: Mutex<Option<Trouble>>,
    /// When the warm-up begins.
    pub origin: AtomicU64,
    pub stop: Arc<AtomicBool>,
    pub last_trouble: Mutex<Option<String>>,
    pub notes: Mutex<Vec<String>>,
}

impl Shared {
    pub fn new(members: usize) -> Shared {
        Shared {
            barrier: Barrier::new(members),
            failed: AtomicBool::new(false),
            trouble: Mutex::new(None),
            origin: AtomicU64::new(0),
            stop: stop_flag(),
            last_trouble: Mutex::new(None),
            notes: Mutex::new(Vec::new()),
        }
    }

    /// Everybody has come to the end of a step. `false`: somebody failed, and all give up.
    pub fn meet(&self, step: Result<(), Trouble>) -> bool {
        self.meet_and(step, |_| Ok(()))
    }

    /// As `meet`, and one member has the last word when all have come: whoever speaks for this process elsewhere.
    pub fn meet_and(
        &self,
        step: Result<(), Trouble>,
        last_word: impl FnOnce(bool) -> Result<(), Trouble>,
    ) -> bool {
        self.fail_if(step);
        self.barrier.wait();
        self.fail_if(last_word(!self.failed.load(Ordering::SeqCst)));
        self.barrier.wait();
        let go = !self.failed.load(Ordering::SeqCst);
        self.barrier.wait(); // Nobody may fail the next step before all have looked.
        go
    }

    fn fail_if(&self, step: Result<(), Trouble>) {
        if let Err(trouble) = step {
            self.trouble.lock().expect("no thread panics with it").get_or_insert(trouble);
            self.failed.store(true, Ordering::SeqCst);
        }
    }

    pub fn note(&self, note: String) {
        self.notes.lock().expect("no thread panics with it").push(note);
    }
}

/// What the main thread shows while it waits.
pub trait Watch {
    fn on_second(&mut self, plan: &Plan, done: u64, tally: &Tally);
}

/// `history`: a path per thread is made from it, when a history is wanted.
pub fn run(plan: &Plan, history: Option<&PathBuf>, watch: &mut dyn Watch) -> Result<Measured, Trouble> {
    match plan.target {
        Protocol::Zk => run_with::<Zk>(plan, history, watch),
        Protocol::Native => run_with::<Native>(plan, history, watch),
        Protocol::Etcd => run_with::<Etcd>(plan, history, watch),
        Protocol::Consul => run_with::<Consul>(plan, history, watch),
    }
}

/// One client that asks one server, and is not measured.
pub fn probe(plan: &Plan, server: SocketAddr, read_mode: ReadMode) -> Plan {
    Plan {
        job: None,
        servers: vec![server],
        conns: 1,
        depth: 1,
        threads: 1,
        procs: 1,
        reads: 100.0,
        read_mode,
        preload: false,
        timeout_ms: 1000,
        fault: None,
        ..plan.clone()
    }
}

/// Whether one operation of this plan's kind succeeds now.
pub fn answers(plan: &Plan) -> bool {
    let kind = if plan.reads > 0.0 { Kind::Read } else { Kind::Write };
    ask_one(plan, Op { kind, key: 0, stamp: 1 }).is_some()
}

/// The stamp that was read, if this operation succeeds.
pub fn ask_one(plan: &Plan, op: Op) -> Option<u64> {
    match plan.target {
        Protocol::Zk => ask_one_with::<Zk>(plan, op),
        Protocol::Native => ask_one_with::<Native>(plan, op),
        Protocol::Etcd => ask_one_with::<Etcd>(plan, op),
        Protocol::Consul => ask_one_with::<Consul>(plan, op),
    }
}

fn ask_one_with<D: Driver>(plan: &Plan, op: Op) -> Option<u64> {
    let clock = Clock::start();
    let settings = Settings {
        servers: plan.servers.clone(),
        tls: plan.access.tls.clone(),
        conns: 1,
        first: 0,
        depth: 1,
        timeout: plan.timeout(),
        stop: Arc::default(),
    };
    let (send, _ticks) = channel();
    let book = Book::new(false, send, Arc::default(), None);
    let mut engine = Engine::<D>::new(clock, settings, &plan.shape(true), book).ok()?;
    engine.connect(plan.timeout()).ok()?;
    engine.book.failures = Some(Vec::new());
    engine.drive(&mut List([op].into_iter()), u64::MAX, clock.now() + plan.timeout()).ok()?;
    engine.abandon();
    engine.book.failures.as_ref()?.is_empty().then_some(engine.book.last_stamp)
}

fn run_with<D: Driver>(
    plan: &Plan,
    history: Option<&PathBuf>,
    watch: &mut dyn Watch,
) -> Result<Measured, Trouble> {
    let clock = Clock::start();
    let gap = Arc::new(if plan.fault.is_some() { Gap::keeping() } else { Gap::default() });
    let (send, ticks) = channel();
    let parts: Vec<PathBuf> = (0..plan.parts())
        .filter_map(|thread| history.map(|path| path.with_extension(format!("part{thread}"))))
        .collect();
    let crew = match plan.procs {
        1 => None,
        _ => Some(Crew::hire(plan, history, clock).map_err(Trouble::Local)?),
    };
    let shared = Shared::new(1 + if crew.is_some() { plan.procs } else { plan.threads });
    thread::scope(|scope| {
        match &crew {
            Some(crew) => crew.lead(scope, &shared, &send),
            None => {
                for thread in 0..plan.threads {
                    let (gap, send, shared) = (gap.clone(), send.clone(), &shared);
                    scope.spawn(move || labour::<D>(plan, history, clock, thread, gap, send, shared));
                }
            }
        }
        drop(send);
        let measured = conduct(plan, clock, &shared, &gap, &ticks, crew.as_ref(), watch);
        if let (None, Some(crew)) = (&measured, &crew) {
            crew.dismiss();
        }
        measured.map(|measured| Measured { history: parts.clone(), ..measured })
    })
    .ok_or_else(|| {
        let trouble = shared.trouble.lock().expect("no thread panics with it").take();
        trouble.unwrap_or_else(|| Trouble::Local("a thread ended early".into()))
    })
}

/// One thread of load, from the first connection to the last answer. `thread` counts over all processes.
pub fn labour<D: Driver>(
    plan: &Plan,
    history: Option<&PathBuf>,
    clock: Clock,
    thread: usize,
    gap: Arc<Gap>,
    send: Sender<Tick>,
    shared: &Shared,
) {
    let scribe = history.map(|path| path.with_extension(format!("part{thread}"))).map(|path| {
        Scribe::create(&path, plan.read_mode)
            .map_err(|error| Trouble::Local(format!("{}: {error}", path.display())))
    });
    let (scribe, made) = match scribe.transpose() {
        Ok(scribe) => (scribe, Ok(())),
        Err(trouble) => (None, Err(trouble)),
    };
    let book = Book::new(plan.is_open(), send, gap, scribe);
    let shape = plan.shape(history.is_some());
    Worker::<D> { plan, shape, clock, thread, shared, engine: None }.work(book, made);
}

/// The main thread's part. `None`: a thread failed, its trouble is in `shared`.
fn conduct(
    plan: &Plan,
    clock: Clock,
    shared: &Shared,
    gap: &Gap,
    ticks: &Receiver<Tick>,
    crew: Option<&Crew>,
    watch: &mut dyn Watch,
) -> Option<Measured> {
    for _ in 0..STEPS {
        if !shared.meet(Ok(())) {
            return None;
        }
    }
    let origin = clock.now() + 20 * MILLI;
    let (start, end) = (origin + plan.warmup * SECOND, origin + (plan.warmup + plan.secs) * SECOND);
    gap.on_write(start);
    shared.origin.store(origin, Ordering::SeqCst);
    shared.meet(Ok(()));

    let mut fold = Fold::new(plan, plan.parts(), origin);
    let stopped = || shared.stop.load(Ordering::Relaxed);
    for second in 1..=plan.warmup {
        sleep(clock, origin + second * SECOND, &stopped);
        fold.take(ticks, watch);
    }
    sleep(clock, start, &stopped);
    let before: Vec<Option<Usage>> = plan.pids.iter().map(|&pid| procfs::usage(pid)).collect();
    let client_cpu = || procfs::own_cpu_us() + crew.map_or(0, Crew::cpu_us);
    let client_before = client_cpu();
    let machine_before = Machine::now(plan.disk.as_deref());
    let fault = plan.fault.clone().map(|fault| {
        let plan = plan.clone();
        thread::spawn(move || {
            clock.sleep_until(start + (fault.at * 1e9) as u64);
            fault.act(&plan, (clock.now() - start) as f64 / 1e9)
        })
    });
    let (mut server_series, mut machine_series, mut machine_last) = (Vec::new(), Vec::new(), machine_before);
    let mut last = before.clone();
    for second in 1..=plan.secs {
        sleep(clock, start + second * SECOND, &stopped);
        for (seen, &pid) in last.iter_mut().zip(&plan.pids) {
            // A server that died keeps what it had used.
            *seen = procfs::usage(pid).or(*seen);
        }
        server_series.push(sum(&last));
        let machine_now = Machine::now(plan.disk.as_deref());
        machine_series.push(machine_now.since(&machine_last));
        machine_last = machine_now;
        if stopped() {
            break;
        }
        if second < plan.secs {
            fold.take(ticks, watch);
        }
    }
    let client_cpu_us = client_cpu() - client_before;
    let machine = Machine::now(plan.disk.as_deref()).since(&machine_before);
    let now = clock.now();
    if stopped() && now < end {
        if now < start + MILLI {
            let nothing = Trouble::Local("it was ended before anything was measured".into());
            shared.trouble.lock().expect("no thread panics with it").get_or_insert(nothing);
            return None;
        }
        shared.note(format!("it was ended after {:.1} of {} s", (now - start) as f64 / 1e9, plan.secs));
        if let Some(crew) = crew {
            crew.interrupt();
        }
    }
    let end = end.min(now);
    gap.on_write(end);
    // The threads hang up when they have waited for what is late.
    while let Ok(tick) = ticks.recv() {
        fold.add(tick, watch);
    }
    fold.finish(watch);
    let (longest, since) = crew.map_or((gap.longest(), gap.since()), Crew::longest_gap);
    let notes = std::mem::take(&mut *shared.notes.lock().expect("no thread panics with it"));
    let servers = plan.pids.iter().zip(before).zip(last);
    Some(Measured {
        secs: (end - start) as f64 / 1e9,
        total: fold.total,
        phases: fold.phases,
        series: fold.series,
        packed: fold.packed,
        max_gap: (plan.reads < 100.0).then_some(longest),
        gap_at: since.saturating_sub(start),
        without_writes: crew.map_or_else(|| gap.kept(), Crew::gaps),
        servers: servers.filter_map(|((&pid, before), after)| Some((pid, before?, after?))).collect(),
        server_series,
        client_cpu_us,
        machine,
        machine_series,
        fault: fault.map(|thread| thread.join().unwrap_or_else(|_| Err("the fault's thread died".into()))),
        ceiling: None,
        history: Vec::new(),
        last_trouble: shared.last_trouble.lock().expect("no thread panics with it").take(),
        notes,
    })
}

fn sum(all: &[Option<Usage>]) -> Usage {
    all.iter().flatten().fold(Usage::default(), |sum, one| Usage {
        cpu_us: sum.cpu_us + one.cpu_us,
        rss_kb: sum.rss_kb + one.rss_kb,
        disk_write_bytes: sum.disk_write_bytes + one.disk_write_bytes,
        context_switches: sum.context_switches + one.context_switches,
    })
}
