//! One thread of load: it connects, makes its share of the keys, and drives its engine through warm-up and window.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate::base::Rng;

use crate::book::Book;
use crate::clock::{Clock, SECOND};
use crate::driver::{Driver, Kind, Op, Shape, Verdict};
use crate::engine::{Engine, Settings};
use crate::history::Scribe;
use crate::keys::Picker;
use crate::plan::Plan;
use crate::record::code_name;
use crate::run::{Shared, Trouble};
use crate::source::{Closed, List, Mix, Next, Open, Source, Stamps};
use crate::whois;

const CONNECT_PATIENCE: u64 = 5 * SECOND;
/// An operation that was due but found no slot may still be sent for so long after the window.
const UNSENT_GRACE: u64 = SECOND;
/// How often a key that could not be prepared is tried again.
const PREPARE_TRIES: usize = 5;

/// Meetings before the load: connected, roots made, keys made.
pub const STEPS: usize = 3;

pub struct Worker<'a, D> {
    pub plan: &'a Plan,
    pub shape: Arc<Shape>,
    pub clock: Clock,
    /// Among the threads of all processes.
    pub thread: usize,
    pub shared: &'a Shared,
    pub engine: Option<Engine<D>>,
}

impl<D: Driver> Worker<'_, D> {
    pub fn work(mut self, book: Book, made: Result<(), Trouble>) {
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
        let share = |nth: usize| plan.conns * nth / plan.parts();
        let settings = Settings {
            servers: plan.servers.clone(),
            tls: plan.access.tls.clone(),
            conns: share(thread + 1) - share(thread),
            first: share(thread),
            depth: plan.depth,
            timeout: plan.timeout(),
            stop: self.shared.stop.clone(),
        };
        let mut engine = Engine::new(self.clock, settings, &self.shape, book)
            .map_err(|error| Trouble::Local(format!("epoll: {error}")))?;
        engine.connect(CONNECT_PATIENCE).map_err(|refused| {
            let tls = plan.access.tls.is_some();
            Trouble::Connect(whois::explain(refused.to_string(), refused.server, plan.target, tls))
        })?;
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
        if !self.plan.preload || self.plan.makes_all_keys() {
            return Ok(());
        }
        let mine = (self.thread as u64..self.plan.keys).step_by(self.plan.parts());
        self.work_off(mine.clone().map(|key| Op { kind: Kind::Create, key, stamp: 0 }).collect())?;
        if self.shape.checked {
            let mut stamps = Stamps::new(self.thread + self.plan.parts());
            self.work_off(mine.map(|key| Op { kind: Kind::Write, key, stamp: stamps.next() }).collect())?;
        }
        Ok(())
    }

    fn work_off(&mut self, mut list: Vec<Op>) -> Result<(), Trouble> {
        self.engine().set_depth(None);
        self.engine().book.failures = Some(Vec::new());
        let (clock, target) = (self.clock, self.plan.target);
        let patience = self.plan.timeout() + SECOND;
        for _ in 0..PREPARE_TRIES {
            let engine = self.engine();
            let mut source = List(list.drain(..).peekable());
            loop {
                let before = engine.ended();
                engine
                    .drive(&mut source, u64::MAX, clock.now() + patience)
                    .map_err(|error| Trouble::Local(format!("epoll: {error}")))?;
                if source.0.peek().is_none() || engine.ended() == before {
                    break;
                }
            }
            if let Some(op) = source.0.next() {
                let why = engine.trouble().unwrap_or("no answer".into());
                return Err(Trouble::Prepare(format!("key {} could not be prepared; {why}", op.key)));
            }
            drop(source);
            engine.abandon();
            let failures = std::mem::take(engine.book.failures.as_mut().expect("set above"));
            let Some(first) = failures.first() else {
                engine.book.failures = None;
                return Ok(());
            };
            if let Verdict::Failed(code) = first.verdict {
                return Err(Trouble::Prepare(format!(
                    "the server refuses to {} with {}",
                    match first.op.kind {
                        Kind::Root => "make the directory of the keys".into(),
                        Kind::Audit => format!("read key {}", first.op.key),
                        _ => format!("write key {}", first.op.key),
                    },
                    code_name(target, code)
                )));
            }
            list = failures.iter().map(|failure| failure.op).collect();
        }
        let why = self.engine().trouble().unwrap_or("no answer".into());
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
        let picker = Picker::new(plan.dist, plan.keys, self.thread as u64, plan.parts() as u64);
        let under_way = (plan.conns * plan.depth) as u64;
        let mix = Mix::new(rng, picker, plan.reads, Stamps::new(self.thread)).writes(
            plan.writes,
            self.thread as u64,
            plan.parts() as u64,
            under_way,
        );
        let engine = self.engine();
        engine.set_depth(Some(plan.depth));
        engine.book.begin(origin, (start, end));
        self.clock.sleep_until(origin);
        let driven = if plan.is_open() {
            let mut open = Open::new(mix, pacer, plan.paces(origin), plan.poisson, origin);
            self.drive(&mut open, end + UNSENT_GRACE.min(plan.timeout()), end)
        } else {
            self.drive(&mut Closed { mix, until: end }, end, end)
        };
        driven?;
        let checked = self.shape.checked;
        self.engine().book.end();
        if let Some(trouble) = self.engine().trouble() {
            *self.shared.last_trouble.lock().expect("no thread panics with it") = Some(trouble);
        }
        // What was measured stands, whatever becomes of the history.
        if checked && let Err(trouble) = self.read_all() {
            self.shared.note(format!("the keys could not be read back: {}", trouble.why()));
        }
        if let Some(Err(error)) = self.engine().book.scribe.take().map(Scribe::finish) {
            self.shared.note(format!("the history is not whole: {error}"));
        }
        Ok(())
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
        let mine = (self.thread as u64..self.plan.keys).step_by(self.plan.parts());
        self.work_off(mine.map(|key| Op { kind: Kind::Audit, key, stamp: 0 }).collect())
    }
}
