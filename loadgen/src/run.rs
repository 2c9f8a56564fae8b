//! One run: connect, prepare the keys, warm up, measure, wait for what is late.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use quorate::base::Rng;

use crate::book::{Book, Tick};
use crate::ceiling::Ceiling;
use crate::clock::{Clock, MILLI, SECOND};
use crate::driver::consul::Consul;
use crate::driver::etcd::Etcd;
use crate::driver::native::Native;
use crate::driver::zk::Zk;
use crate::driver::{Driver, Kind, Op, Protocol, Shape, Verdict};
use crate::engine::{Engine, Settings};
use crate::fault;
use crate::history::Scribe;
use crate::keys::Picker;
use crate::plan::Plan;
use crate::procfs::{self, Machine, Usage};
use crate::record::{Gap, Tally};
use crate::results::Packed;
use crate::source::{Closed, List, Mix, Next, Open, Source, Stamps};

const CONNECT_PATIENCE: u64 = 5 * SECOND;
/// An operation that was due but found no slot may still be sent for so long after the window.
const UNSENT_GRACE: u64 = SECOND;
/// How often a key that could not be prepared is tried again.
const PREPARE_TRIES: usize = 5;

#[derive(Debug)]
pub enum Trouble {
    Connect(String),
    Prepare(String),
    /// Our own machine: files, epoll.
    Local(String),
}

/// One second of the window.
#[derive(Clone, Debug)]
pub struct Second {
    pub nth: u64,
    pub ops: u64,
    pub errors: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Debug)]
pub struct Measured {
    /// Length of the window.
    pub secs: f64,
    pub total: Tally,
    pub series: Vec<Second>,
    /// Each second's histograms; what ended after the window is the last.
    pub packed: Vec<(u64, Packed)>,
    /// `None` without writes.
    pub max_gap: Option<u64>,
    /// When the longest gap began, from the beginning of the window.
    pub gap_at: u64,
    /// Per pid, before and after.
    pub servers: Vec<(u32, Usage, Usage)>,
    /// Each second, the sum of all servers.
    pub server_series: Vec<Usage>,
    pub client_cpu_us: u64,
    /// What the servers' disk and the loopback interface did, whoever caused it.
    pub machine: Machine,
    /// The harm that was done, or why it could not be.
    pub fault: Option<Result<fault::Done, String>>,
    pub ceiling: Option<Ceiling>,
    /// Parts of the history, one for each thread.
    pub history: Vec<PathBuf>,
}

struct Shared {
    barrier: Barrier,
    failed: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
    /// When the warm-up begins.
    origin: AtomicU64,
}

impl Shared {
    /// Everybody has come to the end of a step. `false`: somebody failed, and all give up.
    fn meet(&self, step: Result<(), Trouble>) -> bool {
        if let Err(trouble) = step {
            self.trouble.lock().expect("no thread panics with it").get_or_insert(trouble);
            self.failed.store(true, Ordering::SeqCst);
        }
        self.barrier.wait();
        let go = !self.failed.load(Ordering::SeqCst);
        self.barrier.wait(); // Nobody may fail the next step before all have looked.
        go
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

/// Whether one operation of this plan's kind succeeds now.
pub fn answers(plan: &Plan) -> bool {
    match plan.target {
        Protocol::Zk => answers_with::<Zk>(plan),
        Protocol::Native => answers_with::<Native>(plan),
        Protocol::Etcd => answers_with::<Etcd>(plan),
        Protocol::Consul => answers_with::<Consul>(plan),
    }
    .is_some()
}

fn answers_with<D: Driver>(plan: &Plan) -> Option<()> {
    let clock = Clock::start();
    let settings =
        Settings { servers: plan.servers.clone(), conns: 1, first: 0, depth: 1, timeout: plan.timeout() };
    let (send, _ticks) = channel();
    let book = Book::new(false, send, Arc::default(), None);
    let mut engine = Engine::<D>::new(clock, settings, &plan.shape(false), book).ok()?;
    engine.connect(plan.timeout()).ok()?;
    engine.book.failures = Some(Vec::new());
    let kind = if plan.reads > 0.0 { Kind::Read } else { Kind::Write };
    let mut one = List([Op { kind, key: 0, stamp: 1 }].into_iter());
    engine.drive(&mut one, u64::MAX, clock.now() + plan.timeout()).ok()?;
    engine.abandon();
    engine.book.failures.as_ref()?.is_empty().then_some(())
}

fn run_with<D: Driver>(
    plan: &Plan,
    history: Option<&PathBuf>,
    watch: &mut dyn Watch,
) -> Result<Measured, Trouble> {
    let clock = Clock::start();
    let shape = plan.shape(history.is_some());
    let shared = Shared {
        barrier: Barrier::new(plan.threads + 1),
        failed: AtomicBool::new(false),
        trouble: Mutex::new(None),
        origin: AtomicU64::new(0),
    };
    let gap = Arc::new(Gap::default());
    let (send, ticks) = channel();
    let parts: Vec<PathBuf> = (0..plan.threads)
        .filter_map(|thread| history.map(|path| path.with_extension(format!("part{thread}"))))
        .collect();
    thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (shape, gap, send) = (shape.clone(), gap.clone(), send.clone());
            let (shared, part) = (&shared, parts.get(thread).cloned());
            scope.spawn(move || {
                let scribe = part.map(|path| {
                    Scribe::create(&path, plan.read_mode)
                        .map_err(|error| Trouble::Local(format!("{}: {error}", path.display())))
                });
                let (scribe, made) = match scribe.transpose() {
                    Ok(scribe) => (scribe, Ok(())),
                    Err(trouble) => (None, Err(trouble)),
                };
                let book = Book::new(plan.is_open(), send, gap, scribe);
                Worker::<D> { plan, shape, clock, thread, shared, engine: None }.work(book, made);
            });
        }
        drop(send);
        let measured = conduct(plan, clock, &shared, &gap, &ticks, watch);
        measured.map(|measured| Measured { history: parts.clone(), ..measured })
    })
    .ok_or_else(|| {
        let trouble = shared.trouble.lock().expect("no thread panics with it").take();
        trouble.unwrap_or_else(|| Trouble::Local("a thread ended early".into()))
    })
}

/// The main thread's part. `None`: a thread failed, its trouble is in `shared`.
fn conduct(
    plan: &Plan,
    clock: Clock,
    shared: &Shared,
    gap: &Gap,
    ticks: &Receiver<Tick>,
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

    let mut fold = Fold {
        plan,
        start,
        pending: BTreeMap::new(),
        total: Tally::default(),
        series: Vec::new(),
        packed: Vec::new(),
    };
    for second in 1..=plan.warmup {
        clock.sleep_until(origin + second * SECOND);
        fold.take(ticks, watch, origin);
    }
    clock.sleep_until(start);
    let before: Vec<Option<Usage>> = plan.pids.iter().map(|&pid| procfs::usage(pid)).collect();
    let client_before = procfs::own_cpu_us();
    let machine_before = Machine::now(plan.disk.as_deref());
    let fault = plan.fault.clone().map(|fault| {
        let (nodes, target) = (plan.nodes.clone(), plan.target);
        thread::spawn(move || {
            clock.sleep_until(start + (fault.at * 1e9) as u64);
            fault.act(target, &nodes, (clock.now() - start) as f64 / 1e9)
        })
    });
    let mut server_series = Vec::new();
    let mut last = before.clone();
    for second in 1..=plan.secs {
        clock.sleep_until(start + second * SECOND);
        for (seen, &pid) in last.iter_mut().zip(&plan.pids) {
            // A server that died keeps what it had used.
            *seen = procfs::usage(pid).or(*seen);
        }
        server_series.push(sum(&last));
        if second < plan.secs {
            fold.take(ticks, watch, origin);
        }
    }
    let client_cpu_us = procfs::own_cpu_us() - client_before;
    let machine = Machine::now(plan.disk.as_deref()).since(&machine_before);
    gap.on_write(end);
    // The threads hang up when they have waited for what is late.
    while let Ok(tick) = ticks.recv() {
        fold.add(tick, watch, origin);
    }
    fold.finish(watch, origin);
    let servers = plan.pids.iter().zip(before).zip(last);
    Some(Measured {
        secs: plan.secs as f64,
        total: fold.total,
        series: fold.series,
        packed: fold.packed,
        max_gap: (plan.reads < 100.0).then(|| gap.longest()),
        gap_at: gap.since().saturating_sub(start),
        servers: servers.filter_map(|((&pid, before), after)| Some((pid, before?, after?))).collect(),
        server_series,
        client_cpu_us,
        machine,
        fault: fault.map(|thread| thread.join().unwrap_or_else(|_| Err("the fault's thread died".into()))),
        ceiling: None,
        history: Vec::new(),
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

/// Puts the threads' ticks together, second by second.
struct Fold<'a> {
    plan: &'a Plan,
    start: u64,
    pending: BTreeMap<u64, (usize, Tally)>,
    total: Tally,
    series: Vec<Second>,
    packed: Vec<(u64, Packed)>,
}

impl Fold<'_> {
    fn take(&mut self, ticks: &Receiver<Tick>, watch: &mut dyn Watch, origin: u64) {
        while let Ok(tick) = ticks.try_recv() {
            self.add(tick, watch, origin);
        }
    }

    fn add(&mut self, tick: Tick, watch: &mut dyn Watch, origin: u64) {
        let entry = self.pending.entry(tick.from).or_default();
        entry.0 += 1;
        entry.1.merge(&tick.tally);
        while let Some(first) = self.pending.first_entry()
            && first.get().0 == self.plan.threads
        {
            let (from, (_, tally)) = first.remove_entry();
            self.close(from, tally, watch, origin);
        }
    }

    fn finish(&mut self, watch: &mut dyn Watch, origin: u64) {
        while let Some((from, (_, tally))) = self.pending.pop_first() {
            self.close(from, tally, watch, origin);
        }
    }

    fn close(&mut self, from: u64, tally: Tally, watch: &mut dyn Watch, origin: u64) {
        let end = self.start + self.plan.secs * SECOND;
        watch.on_second(self.plan, from.saturating_sub(origin) / SECOND + 1, &tally);
        if from + SECOND / 2 < self.start {
            return; // The warm-up's.
        }
        let nth = (from + SECOND / 2 - self.start) / SECOND;
        self.packed.push((nth, Packed::of(&tally)));
        if from + SECOND / 2 < end {
            self.total.merge(&tally);
            let all = tally.all();
            self.series.push(Second {
                nth,
                ops: all.ok,
                errors: all.errors,
                p50: all.latency.value_at_quantile(0.5),
                p99: all.latency.value_at_quantile(0.99),
                max: all.latency.max(),
            });
        } else {
            // What ended after the window counts in latencies and errors, not in throughput.
            let mut late = tally;
            (late.read.ok, late.write.ok) = (0, 0);
            self.total.merge(&late);
        }
    }
}

/// Meetings before the load: connected, roots made, keys made.
const STEPS: usize = 3;

struct Worker<'a, D> {
    plan: &'a Plan,
    shape: Arc<Shape>,
    clock: Clock,
    thread: usize,
    shared: &'a Shared,
    engine: Option<Engine<D>>,
}

impl<D: Driver> Worker<'_, D> {
    fn work(mut self, book: Book, made: Result<(), Trouble>) {
        let connected = made.and_then(|()| self.connect(book));
        if !self.shared.meet(connected) {
            return;
        }
        let roots = self.prepare_roots();
        if !self.shared.meet(roots) {
            return;
        }
        let keys = self.prepare_keys();
        if !self.shared.meet(keys) {
            return;
        }
        self.shared.meet(Ok(())); // The main thread has chosen the time.
        let done = self.measure();
        if let Err(trouble) = done {
            self.shared.trouble.lock().expect("no thread panics with it").get_or_insert(trouble);
        }
    }

    fn engine(&mut self) -> &mut Engine<D> {
        self.engine.as_mut().expect("made by `connect`, the first step")
    }

    fn connect(&mut self, book: Book) -> Result<(), Trouble> {
        let (plan, thread) = (self.plan, self.thread);
        let share = |nth: usize| plan.conns * nth / plan.threads;
        let settings = Settings {
            servers: plan.servers.clone(),
            conns: share(thread + 1) - share(thread),
            first: share(thread),
            depth: plan.depth,
            timeout: plan.timeout(),
        };
        let mut engine = Engine::new(self.clock, settings, &self.shape, book)
            .map_err(|error| Trouble::Local(format!("epoll: {error}")))?;
        engine.connect(CONNECT_PATIENCE).map_err(Trouble::Connect)?;
        self.engine = Some(engine);
        Ok(())
    }

    fn prepare_roots(&mut self) -> Result<(), Trouble> {
        if !self.plan.preload || self.thread > 0 {
            return Ok(());
        }
        for key in 0..D::roots(&self.shape) {
            self.work_off(vec![Op { kind: Kind::Root, key, stamp: 0 }])?;
        }
        Ok(())
    }

    /// Creates this thread's share of the keys. With a history each is also written, so that whatever a read
    /// finds was written within that history.
    fn prepare_keys(&mut self) -> Result<(), Trouble> {
        if !self.plan.preload {
            return Ok(());
        }
        let mine = (self.thread as u64..self.plan.keys).step_by(self.plan.threads);
        self.work_off(mine.clone().map(|key| Op { kind: Kind::Create, key, stamp: 0 }).collect())?;
        if self.shape.checked {
            let mut stamps = Stamps::new(self.thread + self.plan.threads);
            self.work_off(mine.map(|key| Op { kind: Kind::Write, key, stamp: stamps.next() }).collect())?;
        }
        Ok(())
    }

    fn work_off(&mut self, mut list: Vec<Op>) -> Result<(), Trouble> {
        self.engine().set_depth(None);
        self.engine().book.failures = Some(Vec::new());
        for _ in 0..PREPARE_TRIES {
            let engine = self.engine();
            engine
                .drive(&mut List(list.drain(..)), u64::MAX, u64::MAX)
                .map_err(|error| Trouble::Local(format!("epoll: {error}")))?;
            let failures = std::mem::take(engine.book.failures.as_mut().expect("set above"));
            let Some(first) = failures.first() else {
                engine.book.failures = None;
                return Ok(());
            };
            if let Verdict::Failed(code) = first.verdict {
                return Err(Trouble::Prepare(format!(
                    "the server refuses to {} with code {code}",
                    match first.op.kind {
                        Kind::Root => "make the directory of the keys".into(),
                        _ => format!("write key {}", first.op.key),
                    }
                )));
            }
            list = failures.iter().map(|failure| failure.op).collect();
        }
        let why = self.engine().trouble().unwrap_or("no answer").to_string();
        Err(Trouble::Prepare(format!("keys could not be made in {PREPARE_TRIES} attempts; last: {why}")))
    }

    fn measure(&mut self) -> Result<(), Trouble> {
        let plan = self.plan;
        let origin = self.shared.origin.load(Ordering::SeqCst);
        let start = origin + plan.warmup * SECOND;
        let end = start + plan.secs * SECOND;
        let mut seeds = Rng::new(plan.seed);
        let mut rng = (0..=self.thread).map(|_| seeds.fork()).last().expect("at least one");
        let pacer = rng.fork();
        let picker = Picker::new(plan.dist, plan.keys, self.thread as u64, plan.threads as u64);
        let mix = Mix::new(rng, picker, plan.reads, Stamps::new(self.thread));
        let engine = self.engine();
        engine.set_depth(Some(plan.depth));
        engine.book.begin(origin, (start, end));
        self.clock.sleep_until(origin);
        let driven = if plan.is_open() {
            let rate = plan.rate / plan.threads as f64;
            let mut open = Open::new(mix, pacer, rate, plan.poisson, origin, end);
            self.drive(&mut open, end + UNSENT_GRACE.min(plan.timeout()), end)
        } else {
            self.drive(&mut Closed { mix, until: end }, end, end)
        };
        driven?;
        let checked = self.shape.checked;
        self.engine().book.end();
        if checked {
            self.read_all()?;
        }
        match self.engine().book.scribe.take().map(Scribe::finish) {
            Some(Err(error)) => Err(Trouble::Local(format!("the history could not be written: {error}"))),
            _ => Ok(()),
        }
    }

    fn drive<S: Source>(&mut self, source: &mut S, issue_until: u64, end: u64) -> Result<(), Trouble> {
        let (clock, timeout) = (self.clock, self.plan.timeout());
        let engine = self.engine();
        engine
            .drive(source, issue_until, end + timeout)
            .map_err(|error| Trouble::Local(format!("epoll: {error}")))?;
        engine.abandon();
        while let Next::Op(op, intended) = source.next(u64::MAX) {
            engine.book.on_unsent(&op, intended, clock.now());
        }
        Ok(())
    }

    /// After the load: what is there now? An acknowledged write that is missing shows here.
    fn read_all(&mut self) -> Result<(), Trouble> {
        let mine = (self.thread as u64..self.plan.keys).step_by(self.plan.threads);
        self.work_off(mine.map(|key| Op { kind: Kind::Audit, key, stamp: 0 }).collect())
    }
}
