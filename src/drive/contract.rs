//! What every member of the drive must do, as tests that run on each.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::{Block, Index, Nanos, Rng};
use crate::config::Runtime;
use crate::drive::{Dir, Doorbell, Setup, run};
use crate::observe::LoopCounters;
use crate::pipeline::lane::{Rx, Tx, lane_with_bell};
use crate::pipeline::ports::{Conn, DiskEvent, Door, Ended, File, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};

#[path = "../../tests/support/ports.rs"]
#[allow(dead_code, reason = "the tests of whole servers use its other half")]
mod ports;

const EACH: [Runtime; 2] = [Runtime::Ring, Runtime::Glommio];

/// For what comes as soon as this machine gets round to it. Only a failure takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything worth checking, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Until `count` lines begin so.
    fn wait_for(&self, count: usize, start: &str) {
        let begin = Instant::now();
        while self.lines().iter().filter(|line| line.starts_with(start)).count() < count {
            assert!(begin.elapsed() < PATIENCE, "not {count} times {start:?}: {:?}", self.lines());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A station for tests. What it does with a connection depends on the door that it came in by:
/// native: sends everything back; zk: the same, but pauses 50 ms after every 100,000 bytes; etcd: answers the
/// first bytes with a megabyte, or with a few bytes if the first of them is a 1, and closes; consul: never sends, pauses from the first byte on.
#[derive(Default)]
struct Probe {
    conns: BTreeMap<Conn, Talk>,
    dials: Vec<SocketAddr>,
    /// What to do on the disk, one after the other.
    script: Vec<Step>,
    /// Answers to come before the next step.
    awaiting: usize,
    inbox: Option<Rx<u32>>,
    /// Wakes itself at this time, once.
    alarm: Option<Nanos>,
    log: Log,
    stopping: bool,
}

#[derive(Default)]
struct Talk {
    door: Option<Door>,
    gathered: Vec<u8>,
    spare: Option<Vec<u8>>,
    sending: bool,
    since_pause: usize,
    resume_at: Option<Nanos>,
}

enum Step {
    Create(File, u64),
    Write(File, u64, Block),
    End(File, u64),
    /// Several at once, answered in any order.
    Writes(Vec<(File, u64, Block)>),
    Read(File, u64, usize),
    Remove(File),
}

impl Probe {
    fn flush<P: Ports>(&mut self, conn: Conn, ports: &mut P) {
        let Some(talk) = self.conns.get_mut(&conn) else { return };
        if talk.sending || talk.gathered.is_empty() {
            return;
        }
        let next = talk.spare.take().unwrap_or_default();
        assert!(next.is_empty(), "a buffer comes back emptied");
        talk.sending = true;
        ports.send(conn, std::mem::replace(&mut talk.gathered, next));
    }

    fn step<P: Ports>(&mut self, ports: &mut P) {
        if self.script.is_empty() {
            self.log.push("script done");
            return;
        }
        self.awaiting = 1;
        match self.script.remove(0) {
            Step::Create(file, len) => ports.create(1, file, len),
            Step::Write(file, at, block) => ports.write(1, file, at, block),
            Step::Writes(all) => {
                self.awaiting = all.len();
                (1..).zip(all).for_each(|(token, (file, at, block))| ports.write(token, file, at, block));
            }
            Step::Read(file, at, len) => ports.read(1, file, at, len),
            Step::End(file, len) => ports.end(1, file, len),
            Step::Remove(file) => ports.remove(1, file),
        }
    }
}

impl Station for Probe {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        match event {
            NetEvent::Accepted { conn, door, from, .. } => {
                assert!(from.ip().is_loopback() && from.port() != 0);
                self.conns.insert(conn, Talk { door: Some(door), ..Talk::default() });
                self.log.push(format!("accepted {door:?}"));
            }
            NetEvent::Dialled { token, conn, .. } => {
                self.conns.insert(conn, Talk::default());
                self.log.push(format!("dialled {token}"));
                ports.send(conn, b"hello".to_vec());
                self.conns.get_mut(&conn).unwrap().sending = true;
            }
            NetEvent::DialFailed { token, why } => self.log.push(format!("dial {token} {why:?}")),
            NetEvent::Bytes { conn, bytes } => {
                let talk = self.conns.get_mut(&conn).expect("bytes only while open");
                assert!(talk.resume_at.is_none(), "bytes during a pause");
                talk.gathered.extend_from_slice(bytes);
                talk.since_pause += bytes.len();
                match talk.door {
                    Some(Door::Zk) if talk.since_pause > 100_000 => {
                        talk.since_pause = 0;
                        talk.resume_at = Some(now.plus(Nanos::from_millis(50)));
                        ports.pause(conn, true);
                    }
                    Some(Door::Etcd) => {
                        ports.send(conn, vec![7; if bytes[0] == 1 { 100 } else { 1 << 20 }]);
                        ports.close(conn);
                        self.conns.remove(&conn);
                    }
                    Some(Door::Consul) => {
                        talk.resume_at = Some(now.plus(Nanos::from_millis(100)));
                        ports.pause(conn, true);
                    }
                    _ => {}
                }
            }
            NetEvent::Sent { conn, buffer } => {
                let talk = self.conns.get_mut(&conn).expect("told of the end before");
                assert!(buffer.is_empty() && std::mem::take(&mut talk.sending));
                talk.spare = Some(buffer);
            }
            NetEvent::Ended { conn, why } => {
                let talk = self.conns.remove(&conn).expect("ended once");
                let heard = if talk.door == Some(Door::Consul) { talk.gathered.len() } else { 0 };
                self.log.push(format!("ended {why:?} {heard}"));
            }
        }
    }

    fn on_disk<P: Ports>(&mut self, _: Nanos, event: DiskEvent, ports: &mut P) {
        let (word, result) = match event {
            DiskEvent::Written { token, result } => (format!("written {token}"), result),
            DiskEvent::Created { result, .. } => ("created".into(), result),
            DiskEvent::Removed { result, .. } => ("removed".into(), result),
            DiskEvent::Read { result: Ok(block), .. } => {
                (format!("read {} {:x}", block.len(), crate::base::sum::crc32c(&block)), Ok(()))
            }
            DiskEvent::Read { result: Err(e), .. } => ("read".into(), Err(e)),
        };
        self.log.push(result.map_or_else(|e| e.to_string(), |()| word));
        self.awaiting -= 1;
        if self.awaiting == 0 {
            self.step(ports);
        }
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        (0..).zip(std::mem::take(&mut self.dials)).for_each(|(token, to)| ports.dial(token, to));
        if !self.script.is_empty() && self.log.0.lock().unwrap().is_empty() {
            self.log.push("script");
            self.step(ports);
        }
        while let Some(n) = self.inbox.as_mut().and_then(Rx::take) {
            self.log.push(format!("parcel {n}"));
        }
        if self.alarm.is_some_and(|at| at <= now) {
            self.alarm = None;
            self.log.push("alarm");
        }
        let mut deadline = self.alarm.unwrap_or(Nanos::MAX);
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let talk = self.conns.get_mut(&conn).unwrap();
            match talk.resume_at {
                Some(at) if at <= now => {
                    talk.resume_at = None;
                    ports.pause(conn, false);
                }
                Some(at) => deadline = deadline.min(at),
                None => {}
            }
            if talk.door != Some(Door::Consul) {
                self.flush(conn, ports);
            }
        }
        Turn { again: false, deadline }
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        self.conns.values().any(|talk| talk.sending && !talk.gathered.is_empty())
    }

    fn on_stop(&mut self, _: Nanos) {
        self.stopping = true;
    }

    fn is_done(&self) -> bool {
        self.stopping || self.log.0.lock().unwrap().last().is_some_and(|line| line == "script done")
    }
}

/// A probe on a thread of its own, with a listener per door.
struct Rig {
    bell: Arc<Doorbell>,
    native: SocketAddr,
    zk: SocketAddr,
    etcd: SocketAddr,
    consul: SocketAddr,
    log: Log,
    thread: JoinHandle<Probe>,
}

fn rig(runtime: Runtime, probe: Probe, change: impl FnOnce(&mut Setup)) -> Rig {
    let bell = Doorbell::new().unwrap();
    let mut setup = Setup::new(bell.clone());
    let mut at = Vec::new();
    for door in [Door::Native, Door::Zk, Door::Etcd, Door::Consul] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        at.push(listener.local_addr().unwrap());
        setup.listeners.push((door, listener));
    }
    change(&mut setup);
    let log = probe.log.clone();
    let thread = std::thread::spawn(move || run(runtime, setup, probe).unwrap());
    Rig { bell, native: at[0], zk: at[1], etcd: at[2], consul: at[3], log, thread }
}

impl Rig {
    fn stop(self) -> Vec<String> {
        self.bell.stop();
        self.thread.join().unwrap().log.lines()
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// Sends from a thread of its own while the answer is read: both directions fill up.
fn round_trip(to: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(to);
    std::thread::scope(|s| {
        let mut out = stream.try_clone().unwrap();
        s.spawn(move || out.write_all(bytes).unwrap());
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == bytes, "bytes were lost, repeated or swapped");
    });
}

/// A connection that is answered: those before it may have ended without having left their slots yet.
fn served(to: SocketAddr) -> TcpStream {
    let begin = Instant::now();
    loop {
        let mut stream = connect(to);
        if stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0])).is_ok() {
            return stream;
        }
        assert!(begin.elapsed() < PATIENCE, "every connection is turned away");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn bytes_come_back_in_order_also_when_sends_are_partial() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        let bytes = random_bytes(1, 8 << 20);
        std::thread::scope(|s| {
            for n in 0..4 {
                let (bytes, native) = (&bytes, rig.native);
                s.spawn(move || round_trip(native, &bytes[..bytes.len() >> n]));
            }
        });
        rig.stop();
    }
}

#[test]
fn few_receive_buffers_are_enough() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |setup| setup.buffers = 2);
        let bytes = random_bytes(2, 1 << 20);
        std::thread::scope(|s| {
            (0..8).for_each(|_| drop(s.spawn(|| round_trip(rig.native, &bytes))));
        });
        rig.stop();
    }
}

#[test]
fn a_pause_stops_the_bytes_and_loses_none() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        let begin = Instant::now();
        round_trip(rig.zk, &random_bytes(3, 2 << 20));
        assert!(begin.elapsed() > Duration::from_millis(100), "no pause was kept");
        rig.stop();
    }
}

#[test]
fn a_paused_connection_that_ends_is_heard_out() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        let mut stream = connect(rig.consul);
        for _ in 0..50 {
            stream.write_all(&[1; 1000]).unwrap();
        }
        drop(stream);
        rig.log.wait_for(1, "ended");
        let log = rig.stop();
        assert_eq!(log, ["accepted Consul", "ended Closed 50000"]);
    }
}

#[test]
fn a_close_lets_what_was_sent_go_out() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        for _ in 0..20 {
            let mut stream = connect(rig.etcd);
            // More than it will read: unread bytes must not turn the close into a reset.
            stream.write_all(&[0; 50_000]).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 1 << 20);
        }
        let log = rig.stop();
        assert!(log.iter().all(|line| line == "accepted Etcd"), "a closed connection ended again: {log:?}");
    }
}

#[test]
fn a_short_farewell_is_followed_by_the_end_at_once() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        let farewell = || {
            let mut stream = connect(rig.etcd);
            stream.write_all(&[1]).unwrap();
            let (mut all, begin) = (Vec::new(), Instant::now());
            stream.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 100);
            begin.elapsed()
        };
        // One that waits for another event never comes sooner; any other does once this machine has the time.
        let begin = Instant::now();
        while farewell() >= Duration::from_millis(4) {
            assert!(begin.elapsed() < PATIENCE, "the end waits for another event");
        }
        rig.stop();
    }
}

/// The kernel says of each send that it is done, mostly before it would sleep. That alone is worth no round.
#[test]
fn a_message_and_its_answer_cost_the_ring_one_call() {
    if !io_uring::IoUring::new(1).is_ok_and(|ring| ring.params().is_feature_min_timeout()) {
        return; // Before 6.12.
    }
    let counters = Arc::new(LoopCounters::default());
    let rig = rig(Runtime::Ring, Probe::default(), |setup| setup.counters = counters.clone());
    let mut stream = connect(rig.native);
    stream.set_nodelay(true).unwrap();
    for n in 0..200u8 {
        stream.write_all(&[n; 100]).unwrap();
        let mut back = [0; 100];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, [n; 100]);
    }
    rig.stop();
    assert!(counters.enters.read() < 300, "{} calls for 200 messages", counters.enters.read());
}

#[test]
fn slots_are_used_again_under_other_names() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |setup| setup.connections_max = 3);
        (0..50).for_each(|_| drop(served(rig.native)));
        let log = rig.stop();
        assert_eq!(log.iter().filter(|line| *line == "accepted Native").count(), 50);
    }
}

#[test]
fn a_full_table_turns_connections_away_and_recovers() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |setup| setup.connections_max = 2);
        let first = [served(rig.native), served(rig.native)];
        let mut third = connect(rig.native);
        let told = third.read(&mut [0]).map_err(|why| why.kind());
        assert!(matches!(told, Ok(0) | Err(ErrorKind::ConnectionReset)), "the third was taken: {told:?}");
        drop(first);
        served(rig.native);
        rig.stop();
    }
}

#[test]
fn dials_tell_refused_from_lost() {
    for runtime in EACH {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let shut = ports::free_port();
        // A listener whose queue is full takes no more: what a machine that is gone looks like.
        let full = full_listener();
        let dials = vec![open.local_addr().unwrap(), shut, full.0];
        let probe = Probe { dials, ..Probe::default() };
        let rig = rig(runtime, probe, |setup| setup.dial_limit = Nanos::from_millis(300));
        let (mut taken, _) = open.accept().unwrap();
        let mut hello = [0; 5];
        taken.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        drop(taken);
        rig.log.wait_for(4, "");
        let mut log = rig.stop();
        log.sort();
        assert_eq!(log, ["dial 1 Refused", "dial 2 Broken", "dialled 0", "ended Closed 0"]);
    }
}

fn full_listener() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: no pointers; listening again only changes the length of the queue.
    unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) };
    let at = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(100)) {
        queued.push(stream);
    }
    (at, listener, queued)
}

#[test]
fn a_reset_is_word_from_the_other_side() {
    for runtime in EACH {
        let rig = rig(runtime, Probe::default(), |_| {});
        let mut stream = connect(rig.native);
        stream.write_all(&[5; 100_000]).unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        drop(stream); // With unread bytes: as when a process is killed.
        rig.log.wait_for(1, "ended");
        assert_eq!(rig.stop(), ["accepted Native", format!("ended {:?} 0", Ended::Closed).as_str()]);
    }
}

#[test]
fn a_parcel_wakes_the_loop_and_so_does_its_deadline() {
    for runtime in EACH {
        let bell = Doorbell::new().unwrap();
        let (mut tx, rx): (Tx<u32>, Rx<u32>) = lane_with_bell(1024, bell.clone());
        let alarm = Some(crate::drive::now().plus(Nanos::from_millis(200)));
        let probe = Probe { inbox: Some(rx), alarm, ..Probe::default() };
        let log = probe.log.clone();
        let mut setup = Setup::new(bell.clone());
        setup.buffers = 2;
        let thread = std::thread::spawn(move || run(runtime, setup, probe).unwrap());
        for n in 0..500 {
            tx.send(n);
            let sent = Instant::now();
            if n % 10 == 0 {
                while tx.room() < 1024 {
                    assert!(sent.elapsed() < PATIENCE, "parcel {n} woke nobody");
                    std::thread::yield_now();
                }
            }
        }
        log.wait_for(1, "alarm");
        bell.stop();
        thread.join().unwrap();
        let log = log.lines();
        assert_eq!(log.iter().filter(|line| line.starts_with("parcel")).count(), 500);
        assert_eq!(log.iter().filter(|line| *line == "alarm").count(), 1);
    }
}

#[test]
fn the_disk_does_what_it_is_told_and_says_what_it_could_not() {
    for runtime in EACH {
        let at = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
        let dir = Arc::new(Dir::open(at.path()).unwrap());
        let (segment, gone) = (File::Segment(1), File::Snapshot(Index(9)));
        let (old, new) = (File::Snapshot(Index(2)), File::Snapshot(Index(3)));
        let blocks: Vec<Block> = (0..16).map(|n| Block::copy_of(&random_bytes(n, 60_000))).collect();
        let whole: Vec<u8> = blocks.iter().flat_map(|b| b.padded().to_vec()).collect();
        let writes = (0..).zip(&blocks).map(|(n, b)| (segment, n * 61_440, b.clone())).collect();
        let script = vec![
            Step::Create(segment, 1 << 20),
            Step::Create(segment, 1 << 20),
            Step::Read(segment, 0, 1 << 20),
            Step::Writes(writes),
            Step::Read(segment, 0, whole.len()),
            Step::Read(segment, 1 << 20, 4096),
            Step::Read(gone, 0, 4096),
            Step::Write(gone, 0, blocks[0].clone()),
            Step::Remove(segment),
            Step::Read(segment, 0, 4096),
            // A snapshot is written over one that was removed, and ends where it should.
            Step::Create(old, 0),
            Step::Write(old, 0, blocks[0].clone()),
            Step::Remove(old),
            Step::Create(new, 0),
            Step::Read(new, 4096, 4096),
            Step::Write(new, 0, blocks[1].clone()),
            Step::End(new, 8192),
            Step::Read(new, 4096, 4096),
            Step::Read(new, 8192, 4096),
        ];
        let probe = Probe { script, ..Probe::default() };
        let bell = Doorbell::new().unwrap();
        let setup = Setup { dir: Some(dir.clone()), ..Setup::new(bell) };
        let log = run(runtime, setup, probe).unwrap().log.lines();
        let has = |text: &str| assert!(log.iter().any(|l| l.contains(text)), "no {text:?} in {log:#?}");
        has("created");
        has("creation of segment-00001 at offset 0 failed: it exists already");
        has(&format!("read {} {:x}", 1 << 20, crate::base::sum::crc32c(&vec![0; 1 << 20])));
        (1..=16).for_each(|token| has(&format!("written {token}")));
        has(&format!("read {} {:x}", whole.len(), crate::base::sum::crc32c(&whole)));
        has("read of segment-00001 at offset 1048576 failed: only 0 of 4096 bytes were moved");
        has("read of snapshot-00000000000000000009 at offset 0 failed");
        has("write of snapshot-00000000000000000009 at offset 0 failed");
        has("removed");
        has("read of segment-00001 at offset 0 failed: No such file");
        let page = |of: &Block| format!("read 4096 {:x}", crate::base::sum::crc32c(&of.padded()[4096..8192]));
        has(&page(&blocks[0]));
        has(&page(&blocks[1]));
        has("read of snapshot-00000000000000000003 at offset 8192 failed: only 0 of 4096 bytes were moved");
    }
}
