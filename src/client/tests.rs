//! The client against a real door behind real sockets, whose connections break whenever the test likes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::base::Rng;
use crate::doors::Bounds;
use crate::doors::native::tests::world::World;
use crate::pipeline::ports::Conn;

/// A server of one thread. Dropped, it ends.
struct Server {
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Connections to break, in thousandths of rounds in which something came.
    breaks: Arc<AtomicU32>,
    /// Whether commands are applied.
    applies: Arc<AtomicBool>,
    thread: Option<JoinHandle<World>>,
}

impl Server {
    fn start(seed: u64) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, breaks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let applies = Arc::new(AtomicBool::new(true));
        let (s, b, a) = (stop.clone(), breaks.clone(), applies.clone());
        let thread = Some(std::thread::spawn(move || serve(listener, seed, &s, &b, &a)));
        Server { at, stop, breaks, applies, thread }
    }

    fn config(&self) -> Config {
        Config::new([self.at.to_string()])
    }

    fn end(mut self) -> World {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(
    listener: TcpListener,
    seed: u64,
    stop: &AtomicBool,
    breaks: &AtomicU32,
    applies: &AtomicBool,
) -> World {
    let mut rng = Rng::new(seed);
    let mut world = World::new(Bounds::default());
    listener.set_nonblocking(true).unwrap();
    let mut sockets: Vec<(Conn, TcpStream)> = Vec::new();
    let mut slot = 0;
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true).unwrap();
            sockets.push((world.connect(slot), socket));
            slot += 1;
        }
        let mut busy = false;
        let mut kept = Vec::new();
        for (conn, mut socket) in sockets {
            let lives = match socket.read(&mut buffer) {
                Ok(0) => false,
                Ok(count) => {
                    busy = true;
                    world.bytes(conn, &buffer[..count]);
                    true
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            world.turn();
            if applies.load(Ordering::Relaxed) {
                world.apply();
            }
            world.turn();
            // Before the replies have gone: what was carried out, the client does not know.
            let breaks = busy && rng.below(1000) < u64::from(breaks.load(Ordering::Relaxed));
            let out = world.take_bytes(conn);
            socket.set_nonblocking(false).unwrap();
            if lives && !breaks && socket.write_all(&out).is_ok() && !world.net.closed.contains(&conn) {
                socket.set_nonblocking(true).unwrap();
                kept.push((conn, socket));
            } else {
                world.end(conn);
            }
        }
        sockets = kept;
        if !busy {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    world
}

fn put(key: &[u8], value: u64) -> Op {
    Op::Put(Put { key: key.to_vec(), value: value.to_le_bytes().to_vec(), ..Put::default() })
}

#[test]
fn a_session_writes_once_however_often_connections_break() {
    for seed in 0..5 {
        let server = Server::start(seed);
        let mut pipe =
            Pipe::connect(server.config().exactly_once(Session { window: 4, ..Session::default() })).unwrap();
        let history = History { key: b"k".to_vec(), revision: 2, ..History::default() };
        let watch = pipe.watch(history).unwrap();
        server.breaks.store(150, Ordering::Relaxed);
        let tickets: Vec<Ticket> = (0..300).map(|n| pipe.start_write(&[put(b"k", n)]).unwrap()).collect();
        for ticket in tickets {
            let reply = pipe.finish(ticket).unwrap();
            assert!(matches!(said::outcomes(&[put(b"k", 0)], &reply).unwrap()[..], [Outcome::Put { .. }]));
        }
        assert!(pipe.reconnects() > 3, "seed {seed}: {} reconnections", pipe.reconnects());
        server.breaks.store(0, Ordering::Relaxed);
        let mut revisions = Vec::new();
        while revisions.len() < 300 {
            let changes = pipe.next_changes(watch, Duration::from_secs(60)).unwrap().expect("more changes");
            assert_eq!(changes.changes.len(), 1);
            revisions.push(changes.revision);
        }
        assert_eq!(revisions, (2..302).collect::<Vec<u64>>(), "seed {seed}: every change once");
        pipe.cancel_watch(watch).unwrap();
        pipe.close_session().unwrap();
        assert_eq!(server.end().machine.kv().revision(), 301, "seed {seed}");
    }
}

#[test]
fn without_a_session_a_broken_write_is_told_to_be_unknown() {
    let server = Server::start(7);
    let mut pipe = Pipe::connect(server.config()).unwrap();
    server.breaks.store(500, Ordering::Relaxed);
    let (mut done, mut unknown) = (0, 0);
    for n in 0..100 {
        let ticket = pipe.start_write(&[put(b"k", n)]).unwrap();
        match pipe.finish(ticket) {
            Ok(_) => done += 1,
            Err(error) => {
                assert!(error.is_ambiguous(), "{error}");
                unknown += 1;
            }
        }
    }
    assert!(done > 10 && unknown > 10, "{done} done, {unknown} unknown");
    let revision = server.end().machine.kv().revision();
    assert!((done..=done + unknown).contains(&(revision - 1)));
}

#[test]
fn patience_ends() {
    let server = Server::start(8);
    let patience = Duration::from_millis(500);
    let mut client = Client::connect(server.config().timeout(patience)).unwrap();
    server.applies.store(false, Ordering::Relaxed);
    assert_eq!(client.put(b"k", b"v"), Err(Error::TimedOut(patience)));
    server.applies.store(true, Ordering::Relaxed);
    // On a machine with much else to do not every answer comes in time.
    let next = (0..60).find_map(|_| client.get(b"other").ok());
    assert!(next.expect("the connection goes on").is_none());
    let at = server.at;
    server.end();
    let error = client.get(b"k").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. } | Error::TimedOut(_)), "{error}");
    assert!(error.to_string().contains(&at.to_string()) || matches!(error, Error::TimedOut(_)));
}

#[test]
fn all_that_the_realm_can_do() {
    let server = Server::start(9);
    let mut client = Client::connect(server.config()).unwrap();
    let many: Vec<Op> = (0..2500).map(|n: u64| put(format!("n{n:04}").as_bytes(), n)).collect();
    for ops in many.chunks(500) {
        assert_eq!(client.batch(ops).unwrap().len(), 500);
    }
    // More than one reply's worth, both ways, with and without a limit, and by another order.
    let all = Range { key: b"n".to_vec(), end: b"o".to_vec(), ..Range::default() };
    let found = client.range(all.clone()).unwrap();
    assert_eq!((found.kvs.len(), found.more, found.count), (2500, false, 2500));
    assert!(found.kvs.is_sorted_by(|a, b| a.key < b.key));
    let back = client.range(Range { flags: flag::DESCEND, limit: 1700, ..all.clone() }).unwrap();
    assert_eq!((back.kvs.len(), back.more, &back.kvs[0].key[..]), (1700, true, &b"n2499"[..]));
    assert!(back.kvs.is_sorted_by(|a, b| a.key > b.key));
    let exact = client.range(Range { limit: 2500, ..all.clone() }).unwrap();
    assert_eq!((exact.kvs.len(), exact.more), (2500, false));
    let newest = Range { sort: Sort::Mod, flags: flag::DESCEND, limit: 3, ..all.clone() };
    let newest: Vec<u64> = client.range(newest).unwrap().kvs.iter().map(|kv| kv.modified).collect();
    assert_eq!(newest, [2501, 2500, 2499]);

    let (lease, ttl_s) = client.grant(Grant { lease: 0, ttl_s: 60 }).unwrap();
    client.put_with(Put { key: b"l".to_vec(), lease, ..Put::default() }).unwrap();
    assert_eq!(client.keep_alive(lease).unwrap().granted_s, ttl_s);
    assert_eq!(client.lease(lease, true).unwrap().keys, [b"l".to_vec()]);
    assert_eq!(client.leases().unwrap(), [lease]);
    assert_eq!(client.revoke(lease).unwrap(), 1);
    assert_eq!(client.keep_alive(lease), Err(Error::Refused(Status::LeaseNotFound)));

    let (_, before) =
        client.put_with(Put { key: b"n0000".to_vec(), flags: flag::BEFORE, ..Put::default() }).unwrap();
    assert_eq!(before.unwrap().value, 0u64.to_le_bytes());
    let is_new =
        Compare { key: b"t".to_vec(), end: Vec::new(), must_be: Must::Equal, target: Target::Version(0) };
    let then = vec![
        Step::Put(Put { key: b"t".to_vec(), ..Put::default() }),
        Step::Range(Range { key: b"t".to_vec(), ..Range::default() }),
    ];
    let txn = Txn { nodes: vec![Node { compares: vec![is_new], then, otherwise: Vec::new() }] };
    let (succeeded, steps) = client.txn(txn.clone()).unwrap();
    assert!(
        succeeded && matches!(&steps[1], Outcome::Ranged(found) if found.kvs[0].version == 1),
        "{steps:?}"
    );
    assert_eq!(client.txn(txn).unwrap(), (false, vec![]));

    let revision = client.totals().unwrap().revision;
    client.compact(revision).unwrap();
    assert_eq!(client.compact(revision), Err(Error::Refused(Status::Compacted)));
    assert_eq!(client.totals().unwrap().compacted, revision);
    let late = History { key: b"n".to_vec(), revision: 1, ..History::default() };
    assert_eq!(client.watch(late).map(|_| ()), Err(Error::Refused(Status::Compacted)));
    assert!(client.delete(b"t").unwrap());
    assert!(!client.delete(b"t").unwrap());
    assert_eq!(client.put(b"", b"v"), Err(Error::Refused(Status::KeyLength)));
    let large = client.put(b"k", &vec![0; 2 << 20]);
    assert!(matches!(large, Err(Error::TooLong { .. })), "{large:?}");
    client.local_reads(true);
    assert!(client.get(b"n0001").unwrap().is_some());
}
