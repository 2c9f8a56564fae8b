//! The same ports on a glommio executor: a task per connection reads, a task per request writes, and one task,
//! which never waits inside a station's call, drives the station.
//!
//! Smaller than the ring and slower: bytes pass through one more copy and every request is a task of its own. An
//! idle connection owns a receive buffer here, and `Setup::buffers` means nothing.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ::glommio::io::{DmaFile, OpenOptions};
use ::glommio::net::{TcpListener as Listener, TcpStream};
use ::glommio::{LocalExecutorBuilder, Placement, spawn_local, timer};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, future};

use crate::base::{Block, BlockMut, Nanos, PAGE};
use crate::drive::bell::Doorbell;
use crate::drive::dir::{Dir, fault};
use crate::drive::setup::Setup;
use crate::drive::slow::Slow;
use crate::drive::{clock, socket};
use crate::observe::LoopCounters;
use crate::pipeline::ports::{Conn, Disk, DiskEvent, DiskFault, Door, Ended, File, Net, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};

const BUFFER: usize = 16 << 10;
const TURNS: usize = 8;
const LINGER: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_millis(500);
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Registered buffers of the executor, which its direct files use.
const IO_MEMORY: usize = 1 << 20;

/// What tasks tell the one that drives the station.
enum Event {
    Accepted(Door, TcpStream),
    Dialled(u64, io::Result<TcpStream>),
    Bytes(Rc<Talk>, Vec<u8>),
    Resumed(Rc<Talk>),
    Sent(Rc<Talk>, Vec<u8>, io::Result<()>),
    Ended(Rc<Talk>, Ended),
    Disk(DiskEvent),
}

#[derive(Default)]
struct Queue {
    events: RefCell<VecDeque<Event>>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Closed by the station: what is still to be sent goes out.
    Closing,
    Dead,
}

/// A connection.
struct Talk {
    conn: Conn,
    stream: RefCell<TcpStream>,
    phase: Cell<Phase>,
    paused: Cell<bool>,
    sending: Cell<bool>,
    /// Bytes that came during a pause; their reader waits for its buffer.
    held: RefCell<Option<Vec<u8>>>,
    /// The reader's buffer, when the station has seen what was in it.
    seen: RefCell<Option<Vec<u8>>>,
    reader: RefCell<Option<Waker>>,
}

impl Talk {
    fn fd(&self) -> i32 {
        self.stream.borrow().as_raw_fd()
    }

    fn shutdown(&self, how: libc::c_int) {
        // SAFETY: the stream owns the descriptor and outlives this borrow.
        socket::shutdown(unsafe { BorrowedFd::borrow_raw(self.fd()) }, how);
    }

    fn give_back(&self, buffer: Vec<u8>) {
        *self.seen.borrow_mut() = Some(buffer);
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The station has closed it, or it has ended; nothing is left to be sent.
    fn part(self: &Rc<Self>) {
        self.shutdown(libc::SHUT_WR);
        let talk = self.clone();
        spawn_local(async move {
            timer::sleep(LINGER).await;
            talk.phase.set(Phase::Dead);
            talk.shutdown(libc::SHUT_RDWR);
        })
        .detach();
    }
}

/// The ports of a station on this executor.
struct Executor {
    queue: Rc<Queue>,
    talks: HashMap<u32, Rc<Talk>>,
    free: Vec<u32>,
    generation: u32,
    connections_max: usize,
    dial_limit: Duration,
    dir: Option<Arc<Dir>>,
    slow: Option<Slow>,
    files: Rc<RefCell<HashMap<File, Rc<DmaFile>>>>,
    disk_pending: Rc<Cell<u64>>,
    counters: Arc<LoopCounters>,
}

/// Runs a station on this thread until it is done.
pub fn run<S: Station>(setup: Setup, station: S) -> io::Result<S> {
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY);
    let executor = builder.make().map_err(|e| io::Error::other(e.to_string()))?;
    executor.run(drive(setup, station))
}

async fn drive<S: Station>(setup: Setup, mut station: S) -> io::Result<S> {
    let slow = match &setup.dir {
        Some(dir) => Some(Slow::start(dir.clone(), setup.bell.clone())?),
        None => None,
    };
    let mut ports = Executor {
        queue: Rc::default(),
        talks: HashMap::new(),
        free: Vec::new(),
        generation: 0,
        connections_max: setup.connections_max,
        dial_limit: Duration::from_nanos(setup.dial_limit.0),
        dir: setup.dir,
        slow,
        files: Rc::default(),
        disk_pending: Rc::default(),
        counters: setup.counters,
    };
    for (door, listener) in setup.listeners {
        spawn_local(accept(door, listener, ports.queue.clone())).detach();
    }
    let (bell, mut stopping) = (setup.bell, false);
    loop {
        bell.wake();
        let now = ports.take_in(&mut station);
        if !stopping && bell.is_stopping() {
            stopping = true;
            station.on_stop(now);
        }
        let mut turn = Turn::IDLE;
        for _ in 0..TURNS {
            turn = station.turn(now, &mut ports);
            if !turn.again {
                break;
            }
        }
        if station.is_done() {
            break;
        }
        ports.counters.rounds.add(1);
        ports.counters.connections.set(ports.talks.len() as u64);
        ports.counters.disk_pending.set(ports.disk_pending.get());
        if turn.again {
            future::yield_now().await;
        } else {
            park(&bell, &ports.queue, turn.deadline).await;
            ports.counters.parks.add(1);
        }
    }
    let until = clock::now().plus(Nanos(FAREWELL.as_nanos() as u64));
    while clock::now() < until
        && (ports.disk_pending.get() > 0 || ports.talks.values().any(|talk| talk.sending.get()))
    {
        timer::sleep(Duration::from_millis(1)).await;
        ports.take_in(&mut station);
    }
    Ok(station)
}

/// Until an event, the doorbell or the deadline.
async fn park(bell: &Arc<Doorbell>, queue: &Queue, deadline: Nanos) {
    let woken = poll_fn(|cx| {
        if !queue.events.borrow().is_empty() {
            return Poll::Ready(());
        }
        bell.set_waker(cx.waker().clone());
        if !bell.sleep() {
            return Poll::Ready(());
        }
        *queue.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    });
    if deadline == Nanos::MAX {
        return woken.await;
    }
    let late = async {
        timer::sleep(Duration::from_nanos(deadline.since(clock::now()).0)).await;
    };
    woken.or(late).await;
}

async fn accept(door: Door, listener: TcpListener, queue: Rc<Queue>) {
    // SAFETY: the descriptor is a listening socket that nobody else owns any more.
    let listener = unsafe { Listener::from_raw_fd(listener.into_raw_fd()) };
    loop {
        match listener.accept().await {
            Ok(stream) => queue.push(Event::Accepted(door, stream)),
            Err(_) => timer::sleep(ACCEPT_REST).await, // Too many open files, say.
        }
    }
}

async fn receive(talk: Rc<Talk>, queue: Rc<Queue>) {
    let mut buffer = vec![0; BUFFER];
    let why = loop {
        buffer.resize(BUFFER, 0);
        let read = poll_fn(|cx| Pin::new(&mut *talk.stream.borrow_mut()).poll_read(cx, &mut buffer)).await;
        match read {
            Ok(0) => break Ended::Closed,
            Ok(_) if talk.phase.get() == Phase::Closing => {}
            Ok(len) => {
                buffer.truncate(len);
                queue.push(Event::Bytes(talk.clone(), buffer));
                buffer = poll_fn(|cx| {
                    *talk.reader.borrow_mut() = Some(cx.waker().clone());
                    talk.seen.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
                })
                .await;
            }
            Err(e) => break reason(&e),
        }
    };
    queue.push(Event::Ended(talk, why));
}

/// A reset and a broken pipe are word from the other side's kernel: the process is gone.
fn reason(why: &io::Error) -> Ended {
    match why.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Closed,
        io::ErrorKind::ConnectionRefused => Ended::Refused,
        _ => Ended::Broken,
    }
}

impl Ports for Executor {
    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }
}

impl Executor {
    fn take_in<S: Station>(&mut self, station: &mut S) -> Nanos {
        let now = clock::now();
        let count = self.queue.events.borrow().len();
        for _ in 0..count {
            let event = self.queue.events.borrow_mut().pop_front().expect("counted");
            self.on_event(now, event, station);
        }
        while let Some(event) = self.slow.as_mut().and_then(Slow::poll) {
            station.on_disk(now, event, self);
        }
        now
    }

    fn on_event<S: Station>(&mut self, now: Nanos, event: Event, station: &mut S) {
        match event {
            Event::Accepted(door, stream) => {
                let Ok(from) = stream.peer_addr() else { return };
                if let Some(conn) = self.insert(stream) {
                    self.counters.accepted.add(1);
                    station.on_net(now, NetEvent::Accepted { conn, door, from, by: None }, self);
                }
            }
            Event::Dialled(token, dialled) => {
                let why = dialled.as_ref().err().map_or(Ended::Broken, reason);
                let event = match dialled.ok().and_then(|stream| self.insert(stream)) {
                    Some(conn) => NetEvent::Dialled { token, conn, by: None },
                    None => NetEvent::DialFailed { token, why },
                };
                station.on_net(now, event, self);
            }
            Event::Bytes(talk, buffer) if talk.phase.get() == Phase::Open => {
                if talk.paused.get() {
                    *talk.held.borrow_mut() = Some(buffer);
                    return;
                }
                self.counters.bytes_in.add(buffer.len() as u64);
                station.on_net(now, NetEvent::Bytes { conn: talk.conn, bytes: &buffer }, self);
                talk.give_back(buffer);
            }
            Event::Bytes(talk, buffer) => talk.give_back(buffer),
            Event::Resumed(talk) => {
                let held = talk.held.borrow_mut().take();
                if let Some(buffer) = held {
                    self.on_event(now, Event::Bytes(talk, buffer), station);
                }
            }
            Event::Sent(talk, mut buffer, sent) => {
                talk.sending.set(false);
                match (talk.phase.get(), sent) {
                    (Phase::Open, Ok(())) => {
                        self.counters.bytes_out.add(buffer.len() as u64);
                        buffer.clear();
                        station.on_net(now, NetEvent::Sent { conn: talk.conn, buffer }, self);
                    }
                    // The reader hears of it too, and tells.
                    (Phase::Open, Err(_)) => talk.shutdown(libc::SHUT_RDWR),
                    (Phase::Closing, _) => talk.part(),
                    (Phase::Dead, _) => {}
                }
            }
            Event::Ended(talk, why) => {
                let was = talk.phase.replace(Phase::Dead);
                talk.shutdown(libc::SHUT_RDWR);
                self.talks.remove(&talk.conn.slot);
                self.free.push(talk.conn.slot);
                if was == Phase::Open {
                    station.on_net(now, NetEvent::Ended { conn: talk.conn, why }, self);
                }
            }
            Event::Disk(event) => {
                self.disk_pending.set(self.disk_pending.get() - 1);
                station.on_disk(now, event, self);
            }
        }
    }

    fn insert(&mut self, stream: TcpStream) -> Option<Conn> {
        if self.talks.len() >= self.connections_max {
            self.counters.accepts_refused.add(1);
            return None;
        }
        // SAFETY: the stream owns the descriptor and outlives this borrow.
        socket::no_delay(unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) });
        let slot = self.free.pop().unwrap_or(self.talks.len() as u32);
        self.generation = self.generation.wrapping_add(1);
        let conn = Conn { slot, generation: self.generation };
        let talk = Rc::new(Talk {
            conn,
            stream: RefCell::new(stream),
            phase: Cell::new(Phase::Open),
            paused: Cell::new(false),
            sending: Cell::new(false),
            held: RefCell::default(),
            seen: RefCell::default(),
            reader: RefCell::default(),
        });
        self.talks.insert(slot, talk.clone());
        spawn_local(receive(talk, self.queue.clone())).detach();
        Some(conn)
    }

    fn find(&self, conn: Conn) -> Option<Rc<Talk>> {
        let talk = self.talks.get(&conn.slot)?;
        (talk.conn == conn && talk.phase.get() == Phase::Open).then(|| talk.clone())
    }

    /// Runs a disk operation as a task and queues its answer.
    fn operate(&self, work: impl Future<Output = DiskEvent> + 'static) {
        self.disk_pending.set(self.disk_pending.get() + 1);
        let queue = self.queue.clone();
        spawn_local(async move { queue.push(Event::Disk(work.await)) }).detach();
    }

    fn opener(&self, file: File) -> impl Future<Output = io::Result<Rc<DmaFile>>> + use<> {
        let (files, dir) =
            (self.files.clone(), self.dir.clone().expect("a station with a disk has a directory"));
        async move {
            if let Some(open) = files.borrow().get(&file) {
                return Ok(open.clone());
            }
            // With O_DSYNC a write has come through when it is on stable media, as with RWF_DSYNC on the ring.
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_DSYNC);
            let open = Rc::new(options.dma_open(dir.path().join(file.to_string())).await?);
            files.borrow_mut().insert(file, open.clone());
            Ok(open)
        }
    }
}

impl Net for Executor {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        let Some(talk) = self.find(conn) else { return };
        assert!(!talk.sending.replace(true), "a second send before the first came back");
        let queue = self.queue.clone();
        spawn_local(async move {
            let mut sent = 0;
            let result = loop {
                if sent == buffer.len() {
                    break Ok(());
                }
                let part = poll_fn(|cx| {
                    AsyncWrite::poll_write(Pin::new(&mut *talk.stream.borrow_mut()), cx, &buffer[sent..])
                });
                match part.await {
                    Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => sent += n,
                    Err(e) => break Err(e),
                }
            };
            queue.push(Event::Sent(talk, buffer, result));
        })
        .detach();
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        let Some(talk) = self.find(conn) else { return };
        talk.paused.set(paused);
        if !paused && talk.held.borrow().is_some() {
            self.queue.push(Event::Resumed(talk));
        }
    }

    fn close(&mut self, conn: Conn) {
        let Some(talk) = self.find(conn) else { return };
        talk.phase.set(Phase::Closing);
        let held = talk.held.borrow_mut().take();
        held.into_iter().for_each(|buffer| talk.give_back(buffer));
        if !talk.sending.get() {
            talk.part();
        }
    }

    fn dial(&mut self, token: u64, to: SocketAddr) {
        let (queue, limit) = (self.queue.clone(), self.dial_limit);
        spawn_local(async move {
            let dialled = TcpStream::connect_timeout(to, limit).await.map_err(io::Error::from);
            queue.push(Event::Dialled(token, dialled));
        })
        .detach();
    }
}

impl Disk for Executor {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        self.counters.disk_writes.add(1);
        self.counters.disk_write_bytes.add(block.padded().len() as u64);
        let open = self.opener(file);
        self.operate(async move {
            let write = async {
                let open = open.await?;
                let mut buffer = open.alloc_dma_buffer(block.padded().len());
                buffer.as_bytes_mut().copy_from_slice(block.padded());
                let moved = open.write_at(buffer, offset).await?;
                check(moved, block.padded().len())
            };
            DiskEvent::Written { token, result: told("write", file, offset, write.await) }
        });
    }

    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        self.counters.disk_reads.add(1);
        let open = self.opener(file);
        self.operate(async move {
            let read = async {
                let bytes = open.await?.read_at_aligned(offset, len).await?;
                check(bytes.len(), len)?;
                let mut block = BlockMut::with_capacity(len);
                block.extend(&bytes);
                Ok(block.freeze())
            };
            DiskEvent::Read { token, result: told("read", file, offset, read.await) }
        });
    }

    fn create(&mut self, token: u64, file: File, len: u64) {
        self.slow.as_mut().expect("a station with a disk has a directory").create(token, file, len);
    }

    fn end(&mut self, token: u64, file: File, len: u64) {
        self.slow.as_mut().expect("a station with a disk has a directory").end(token, file, len);
    }

    fn remove(&mut self, token: u64, file: File) {
        self.files.borrow_mut().remove(&file);
        self.slow.as_mut().expect("a station with a disk has a directory").remove(token, file);
    }
}

fn check(moved: usize, wanted: usize) -> io::Result<()> {
    let short = || io::Error::other(format!("only {moved} of {wanted} bytes were moved"));
    if moved == wanted { Ok(()) } else { Err(short()) }
}

fn told<T>(operation: &'static str, file: File, offset: u64, result: io::Result<T>) -> Result<T, DiskFault> {
    assert!(offset.is_multiple_of(PAGE as u64), "whole pages only");
    result.map_err(|e| fault(operation, file, offset, e))
}
