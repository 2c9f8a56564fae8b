//! The loop against a server that answers from a constant, or with what the test has it say.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use super::*;
use crate::driver::consul::Consul;
use crate::driver::native::Native;
use crate::driver::{Kind, Protocol, ReadMode};
use crate::null;
use crate::source::List;

fn shape(protocol: Protocol) -> Arc<Shape> {
    Arc::new(Shape {
        protocol,
        prefix: "loadgen/k".into(),
        digits: 8,
        keys: 1000,
        value: vec![b'v'; 8],
        read_mode: ReadMode::Leased,
        checked: false,
        batch: 1,
        access: crate::access::Access::default(),
    })
}

fn engine<D: Driver>(listener: &TcpListener, protocol: Protocol, conns: usize) -> Engine<D> {
    let settings = Settings {
        servers: vec![listener.local_addr().expect("bound")],
        tls: None,
        conns,
        first: 0,
        depth: 64,
        timeout: 60 * SECOND,
        stop: Arc::default(),
    };
    let mut book = Book::new(true, channel().0, Arc::default(), None);
    book.failures = Some(Vec::new());
    Engine::new(Clock::start(), settings, &shape(protocol), book).expect("epoll")
}

/// So many operations, all due since the beginning.
struct Due(u64);

impl Source for Due {
    const OPEN: bool = true;

    fn next(&mut self, _now: u64) -> Next {
        if self.0 == 0 {
            return Next::Dry;
        }
        self.0 -= 1;
        Next::Op(Op { kind: Kind::Write, key: self.0, stamp: 1 }, 0)
    }
}

/// A turn that wrote to each of 500 connections took so long that what was due meanwhile was late.
#[test]
fn what_is_due_goes_out_on_a_row_of_connections_and_the_next_turn_is_the_next_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut engine = engine::<Native>(&listener, Protocol::Native, 200);
    thread::spawn(move || null::serve(Protocol::Native, listener, 8, None));
    engine.connect(60 * SECOND).expect("all are greeted");
    engine.set_depth(Some(64));
    let busy = |engine: &Engine<Native>| engine.links.iter().map(|link| link.busy).collect::<Vec<_>>();
    let count = |all: &[usize], wanted: usize| all.iter().filter(|busy| **busy == wanted).count();
    let now = engine.clock.now();
    engine.issue(&mut Due(10 * 64), now);
    let first = busy(&engine);
    assert_eq!((count(&first, 10), count(&first, 0)), (64, 200 - 64), "{first:?}");
    // Few are due: each goes to a connection of its own, and those come first that have waited longest.
    engine.issue(&mut Due(5), now);
    let second = busy(&engine);
    assert_eq!((count(&second, 10), count(&second, 1)), (64, 5), "{second:?}");
    // More than a row takes goes to others as well.
    engine.issue(&mut Due(70 * 64), now);
    assert_eq!(engine.outstanding, 80 * 64 + 5);
    assert!(busy(&engine).iter().all(|busy| *busy <= 64));
    engine.drive(&mut Due(0), 0, engine.clock.now() + 60 * SECOND).expect("driven");
    assert_eq!((engine.outstanding, engine.ended()), (0, 80 * 64 + 5));
}

/// Consul without a leader answered at once, and a closed loop made 79,000 errors of that in seconds.
#[test]
fn a_refusal_for_want_of_a_leader_is_asked_again_and_is_no_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut engine = engine::<Consul>(&listener, Protocol::Consul, 1);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a guest");
        for (status, body) in
            [(200, "\"\""), (500, "No cluster leader"), (500, "No cluster leader"), (200, "true")]
        {
            let mut seen = Vec::new();
            while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                let mut some = [0; 1024];
                let count = stream.read(&mut some).expect("a request");
                assert!(count > 0, "the client hung up");
                seen.extend_from_slice(&some[..count]);
            }
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} OK\r\nContent-Length: {length}\r\n\r\n{body}").expect("sent");
        }
        stream
    });
    engine.connect(60 * SECOND).expect("greeted");
    let began = engine.clock.now();
    engine.book.begin(began, (began, u64::MAX));
    let mut list = List([Op { kind: Kind::Write, key: 1, stamp: 1 }].into_iter());
    engine.drive(&mut list, u64::MAX, began + 60 * SECOND).expect("driven");
    assert_eq!((engine.outstanding, engine.ended()), (0, 1));
    assert!(engine.book.failures.as_ref().is_some_and(Vec::is_empty), "{:?}", engine.book.failures);
    assert!(engine.clock.now() - began >= 2 * REFUSED_PAUSE, "it waits before it asks again");
    assert!(engine.trouble().is_some_and(|why| why.contains("500")));
    drop(server);
}
