//! What a client hears.

use std::sync::Arc;

use super::bench::Bench;
use crate::base::{Life, Nanos, NodeId, Origin};
use crate::doors::Seat;
use crate::doors::zk::{Board, Config, wire};
use crate::realms::tree::acl;
use crate::realms::tree::jute::{Reader, Stat, Write};
use crate::realms::tree::ops::{code, kind, op};
use crate::state::{Command, Envelope};

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
    pub body: Vec<u8>,
}

pub struct Client {
    pub seat: Seat,
    xid: i32,
    session: u64,
}

pub fn bench() -> Bench {
    Bench::new(Config { words: vec!["*".into()], ..Config::default() })
}

pub fn connect_frame(last_zxid: i64, session: u64, password: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::framed(&mut out, |out| {
        out.put_i32(0);
        out.put_i64(last_zxid);
        out.put_i32(10_000);
        out.put_i64(session as i64);
        out.put_bytes(password);
        out.put_bool(false);
    });
    out
}

pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Some((body, size)) = wire::take_frame(rest, u32::MAX >> 1).unwrap() {
        let mut reader = Reader::new(body);
        frames.push(Frame {
            xid: reader.i32().unwrap(),
            zxid: reader.i64().unwrap(),
            err: reader.i32().unwrap(),
            body: reader.rest().to_vec(),
        });
        rest = &rest[size..];
    }
    assert!(rest.is_empty(), "half a frame");
    frames
}

impl Client {
    pub fn new(bench: &mut Bench) -> Client {
        let seat = bench.connect("10.0.0.7:999".parse().unwrap());
        bench.bytes(seat, &connect_frame(0, 0, &[0; 16]));
        bench.settle();
        let (out, closing) = bench.take(seat);
        assert!(!closing);
        assert_eq!(out.len(), 4 + 37);
        let session = u64::from_be_bytes(out[12..20].try_into().unwrap());
        assert_eq!(out[24..40], wire::password(session));
        Client { seat, xid: 0, session }
    }

    /// Sends without waiting; returns the xid.
    pub fn send(&mut self, bench: &mut Bench, code: i32, record: &[u8]) -> i32 {
        self.xid += 1;
        self.send_as(bench, self.xid, code, record)
    }

    pub fn send_as(&mut self, bench: &mut Bench, xid: i32, code: i32, record: &[u8]) -> i32 {
        let mut out = Vec::new();
        wire::framed(&mut out, |out| {
            out.put_i32(xid);
            out.put_i32(code);
            out.extend_from_slice(record);
        });
        bench.bytes(self.seat, &out);
        xid
    }

    pub fn hear(&self, bench: &mut Bench) -> Vec<Frame> {
        frames(&bench.take(self.seat).0)
    }

    /// Sends, lets everything happen, and takes the one reply.
    pub fn call(&mut self, bench: &mut Bench, code: i32, record: &[u8]) -> Frame {
        let xid = self.send(bench, code, record);
        bench.settle();
        let mut heard = self.hear(bench);
        let reply = heard.pop().expect("a reply");
        assert_eq!((reply.xid, heard), (xid, vec![]));
        reply
    }
}

pub fn create(path: &str) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_bytes(b"v");
    record.extend_from_slice(acl::OPEN);
    record.put_i32(0);
    record
}

pub fn set(path: &str) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_bytes(b"w");
    record.put_i32(-1);
    record
}

pub fn path(path: &str) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record
}

pub fn number(text: &str, number: i32) -> Vec<u8> {
    let mut record = path(text);
    record.put_i32(number);
    record
}

pub fn read(text: &str, watch: bool) -> Vec<u8> {
    let mut record = path(text);
    record.put_bool(watch);
    record
}

fn events(heard: &[Frame]) -> Vec<(i64, i32, String)> {
    let events = heard.iter().filter(|frame| frame.xid == -1).map(|frame| {
        let mut reader = Reader::new(&frame.body);
        let kind = reader.i32().unwrap();
        assert_eq!(reader.i32(), Ok(3));
        (frame.zxid, kind, String::from_utf8(reader.bytes().unwrap().unwrap().to_vec()).unwrap())
    });
    events.collect()
}

#[test]
fn replies_leave_in_the_order_of_requests_whatever_they_wait_for() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    client.send(&mut bench, op::CREATE, &create("/a"));
    client.send(&mut bench, op::GET_DATA, &read("/a", false));
    client.send_as(&mut bench, -2, op::PING, &[]);
    client.send(&mut bench, op::SET_DATA, &set("/a"));
    client.send(&mut bench, op::GET_DATA, &read("/a", false));
    client.send(&mut bench, op::SYNC, &path("/x"));
    client.send(&mut bench, op::EXISTS, &read("/a", false));
    client.send(&mut bench, op::WHO_AM_I, &[]);
    assert!(client.hear(&mut bench).is_empty(), "the ping waits behind the write");
    bench.settle();
    let heard = client.hear(&mut bench);
    assert_eq!(heard.iter().map(|f| f.xid).collect::<Vec<_>>(), [1, 2, -2, 3, 4, 5, 6, 7]);
    assert!(heard.iter().all(|f| f.err == 0));
    assert_eq!(
        &heard[1].body[..5],
        b"\0\0\0\x01v",
        "the read sees the write before it and not the one behind"
    );
    assert_eq!(&heard[4].body[..5], b"\0\0\0\x01w");
    assert_eq!(heard[5].body, path("/x"));
    assert_eq!(Stat::read(&mut Reader::new(&heard[6].body)).unwrap().version, 1);
    assert!(heard.windows(2).all(|two| two[0].zxid <= two[1].zxid));
}

/// A session once waited for each write before it asked to read behind it: a commit for every change of kind.
#[test]
fn reads_between_writes_go_out_with_them() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    client.call(&mut bench, op::CREATE, &create("/x"));
    for _ in 0..3 {
        client.send(&mut bench, op::GET_DATA, &read("/x", true));
        client.send(&mut bench, op::SET_DATA, &set("/x"));
    }
    assert!(bench.apply(), "all three writes are in the log at once");
    let heard = client.hear(&mut bench);
    let shown: Vec<_> = heard.iter().map(|frame| frame.xid).collect();
    assert_eq!(shown, [2, -1, 3, 4, -1, 5, 6, -1, 7], "each watch is set before the next write fires it");
    let version = |at: usize| Stat::read(&mut Reader::new(&heard[at].body[5..])).unwrap().version;
    assert_eq!([version(0), version(3), version(6)], [0, 1, 2]);
    assert!(!bench.apply() && !bench.answer());
}

#[test]
fn an_event_comes_before_the_reply_that_caused_it() {
    let mut bench = bench();
    let (mut one, mut two) = (Client::new(&mut bench), Client::new(&mut bench));
    assert_eq!(one.call(&mut bench, op::EXISTS, &read("/w", true)).err, code::NO_NODE);
    assert_eq!(one.call(&mut bench, op::GET_CHILDREN, &read("/", true)).err, 0);
    assert_eq!(one.call(&mut bench, op::GET_DATA, &read("/w", true)).err, code::NO_NODE);
    one.send(&mut bench, op::CREATE, &create("/w"));
    bench.settle();
    let heard = one.hear(&mut bench);
    let zxid = heard[2].zxid;
    assert_eq!(events(&heard), [(zxid, 1, "/w".into()), (zxid, 4, "/".into())]);
    assert_eq!(heard[2].err, 0);
    assert!(two.call(&mut bench, op::SET_DATA, &set("/w")).err == 0);
    assert!(one.hear(&mut bench).is_empty(), "once is once");
    one.call(&mut bench, op::GET_DATA, &read("/w", true));
    one.call(&mut bench, op::GET_CHILDREN2, &read("/w", true));
    two.send(&mut bench, op::DELETE, &number("/w", -1));
    bench.settle();
    let kinds: Vec<_> = events(&one.hear(&mut bench)).into_iter().map(|e| (e.1, e.2)).collect();
    assert_eq!(kinds, [(2, "/w".to_string())], "a deletion is told once");
}

#[test]
fn persistent_watches_stay_until_removed() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    assert_eq!(client.call(&mut bench, op::ADD_WATCH, &number("/r", 1)).body, [0; 4]);
    assert_eq!(client.call(&mut bench, op::ADD_WATCH, &number("/p", 0)).err, 0);
    assert_eq!(client.call(&mut bench, op::ADD_WATCH, &number("/p", 2)).err, code::MARSHALLING_ERROR);
    for path in ["/r", "/r/x", "/p", "/p/x"] {
        client.send(&mut bench, op::CREATE, &create(path));
    }
    bench.settle();
    let kinds: Vec<_> = events(&client.hear(&mut bench)).into_iter().map(|e| (e.1, e.2)).collect();
    let expected = [(1, "/r"), (1, "/r/x"), (1, "/p"), (4, "/p")];
    assert_eq!(kinds, expected.map(|(kind, path)| (kind, path.to_string())));
    assert_eq!(client.call(&mut bench, op::CHECK_WATCHES, &number("/p", 1)).err, code::NO_WATCHER);
    assert_eq!(client.call(&mut bench, op::CHECK_WATCHES, &number("/p", 4)).err, 0);
    assert_eq!(client.call(&mut bench, op::REMOVE_WATCHES, &number("/p", 3)).err, 0);
    assert_eq!(client.call(&mut bench, op::REMOVE_WATCHES, &number("/p", 3)).err, code::NO_WATCHER);
    assert_eq!(client.call(&mut bench, op::REMOVE_WATCHES, &number("/r", 5)).err, 0);
    assert_eq!(client.call(&mut bench, op::SET_DATA, &set("/r/x")).err, 0);
}

#[test]
fn events_go_only_to_those_who_may_read() {
    let mut bench = bench();
    let (mut one, mut two) = (Client::new(&mut bench), Client::new(&mut bench));
    let mut auth = Vec::new();
    auth.put_i32(0);
    auth.put_bytes(b"digest");
    auth.put_bytes(b"u:p");
    one.send_as(&mut bench, -4, op::AUTH, &auth);
    assert_eq!(one.hear(&mut bench), [Frame { xid: -4, zxid: 0, err: 0, body: vec![] }]);
    for client in [&mut one, &mut two] {
        client.call(&mut bench, op::EXISTS, &read("/mine", true));
    }
    let mut record = path("/mine");
    record.put_nullable(None);
    record.put_i32(1);
    record.put_i32(31);
    record.put_bytes(b"auth");
    record.put_bytes(b"");
    record.put_i32(0);
    one.send(&mut bench, op::CREATE, &record);
    bench.settle();
    assert_eq!(events(&one.hear(&mut bench)).len(), 1);
    assert!(two.hear(&mut bench).is_empty());
    assert_eq!(two.call(&mut bench, op::GET_DATA, &read("/mine", false)).err, code::NO_AUTH);
    let who = one.call(&mut bench, op::WHO_AM_I, &[]).body;
    assert!(who.ends_with(b"digest\0\0\0\x01u"));
}

#[test]
fn a_session_moves_with_its_password_and_its_old_connection_goes() {
    let mut bench = bench();
    let mut old = Client::new(&mut bench);
    old.call(&mut bench, op::CREATE, &create("/a"));
    let reattach = |bench: &mut Bench, session, password: [u8; 16], last| {
        let seat = bench.connect("10.0.0.8:1".parse().unwrap());
        bench.bytes(seat, &connect_frame(last, session, &password));
        bench.settle();
        (seat, bench.take(seat))
    };
    let zeros = {
        let mut out = Vec::new();
        wire::write_connected(&mut out, 0, 0, &[0; 16], true);
        out
    };
    let (_, heard) = reattach(&mut bench, old.session, [1; 16], 0);
    assert_eq!(heard, (zeros.clone(), true), "a wrong password");
    let unknown = old.session + 99;
    let (_, heard) = reattach(&mut bench, unknown, wire::password(unknown), 0);
    assert_eq!(heard, (zeros, true), "an unknown session");
    let (_, heard) = reattach(&mut bench, old.session, wire::password(old.session), 1 << 40);
    assert_eq!(heard, (vec![], true), "a client ahead of us hears nothing");
    let (seat, (out, closing)) = reattach(&mut bench, old.session, wire::password(old.session), 2);
    assert_eq!((out.len(), closing), (41, false));
    assert!(bench.take(old.seat).1, "the old connection ends");
    bench.end(old.seat);
    let mut new = Client { seat, xid: 0, session: old.session };
    assert_eq!(new.call(&mut bench, op::SET_DATA, &set("/a")).err, 0);

    // Another edge takes the session.
    let mut payload = new.session.to_be_bytes().to_vec();
    payload.extend_from_slice(&5000i32.to_be_bytes());
    let origin = Origin::new(NodeId(2), 0, Life(1));
    let envelope =
        Envelope { realm: 2, kind: kind::ATTACH_SESSION, origin, sequence: 1, ..Envelope::default() };
    bench.command(&Command { envelope, payload: &payload });
    assert!(bench.take(new.seat).1);
}

#[test]
fn a_state_that_jumped_ends_every_connection() {
    let mut bench = bench();
    let (one, two) = (Client::new(&mut bench), Client::new(&mut bench));
    bench.jump();
    assert!(bench.take(one.seat).1 && bench.take(two.seat).1, "nobody knows what their watches missed");
}

#[test]
fn an_address_is_counted_over_all_lanes() {
    let board = Arc::new(Board::new(2));
    let config = Config { per_address_max: 2, words: vec!["*".into()], ..Config::default() };
    let mut lanes = [0, 1].map(|lane| Bench::beside(config.clone(), board.clone(), lane));
    let connect = |bench: &mut Bench, from: &str| {
        let seat = bench.connect(from.parse().unwrap());
        (seat, bench.take(seat).1)
    };
    assert!(!connect(&mut lanes[0], "10.0.0.7:1").1);
    let (second, refused) = connect(&mut lanes[1], "10.0.0.7:2");
    assert!(!refused && !connect(&mut lanes[0], "10.0.0.8:3").1);
    let (third, refused) = connect(&mut lanes[0], "10.0.0.7:3");
    assert!(refused, "the third from there");
    lanes[0].end(third);
    lanes[1].end(second);
    assert!(!connect(&mut lanes[1], "10.0.0.7:4").1, "two have gone");

    // And shown over all lanes.
    let (asks, _) = connect(&mut lanes[0], "10.0.0.9:5");
    lanes[0].bytes(asks, b"cons");
    let shown = String::from_utf8(lanes[0].take(asks).0).unwrap();
    for from in ["10.0.0.7:1", "10.0.0.7:4", "10.0.0.8:3", "10.0.0.9:5"] {
        let asked = u8::from(from.starts_with("10.0.0.9"));
        let line = format!(" /{from}[0](queued=0,recved={asked},sent=0)\n");
        assert!(shown.contains(&line), "{shown}");
    }
}

#[test]
fn a_connection_is_listed_with_what_it_did() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    client.call(&mut bench, op::GET_CHILDREN, &read("/", false));
    let seat = bench.connect("10.0.0.9:5".parse().unwrap());
    bench.bytes(seat, b"cons");
    let shown = String::from_utf8(bench.take(seat).0).unwrap();
    let line = format!(
        " /10.0.0.7:999[1](queued=0,recved=2,sent=2,sid=0x{:x},lop=GETC,est=0,to=10000,lcxid=0x1,lzxid=0x1,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n",
        client.session
    );
    assert!(shown.starts_with(&line), "{shown}\n{line}");
}

#[test]
fn goodbye_is_answered_and_expiry_is_not() {
    let mut bench = bench();
    let (mut one, two) = (Client::new(&mut bench), Client::new(&mut bench));
    one.send(&mut bench, op::CLOSE_SESSION, &[]);
    one.send(&mut bench, op::CREATE, &create("/late"));
    bench.settle();
    let (out, closing) = bench.take(one.seat);
    let heard = frames(&out);
    assert_eq!((heard.len(), heard[0].err, closing), (1, 0, true));
    bench.set_now(Nanos::from_millis(20_000));
    let envelope = Envelope { realm: 2, kind: kind::EXPIRE_SESSION, ..Envelope::default() };
    bench.command(&Command { envelope, payload: &two.session.to_be_bytes() });
    assert_eq!(bench.take(two.seat), (vec![], true));
}

/// Found by sessions in clusters: whoever had run out with a read and its goodbye under way was told that its ephemeral
/// was not there.
#[test]
fn a_read_in_front_of_a_goodbye_is_answered_before_it_or_never() {
    for runs_out in [false, true] {
        let mut bench = bench();
        let mut client = Client::new(&mut bench);
        let mut own = create("/own");
        own.truncate(own.len() - 4);
        own.put_i32(1);
        client.call(&mut bench, op::CREATE, &own);
        client.send(&mut bench, op::EXISTS, &read("/own", false));
        client.send(&mut bench, op::CLOSE_SESSION, &[]);
        if runs_out {
            bench.set_now(Nanos::from_millis(20_000));
            let envelope = Envelope { realm: 2, kind: kind::EXPIRE_SESSION, ..Envelope::default() };
            bench.command(&Command { envelope, payload: &client.session.to_be_bytes() });
        }
        bench.settle();
        let (out, closing) = bench.take(client.seat);
        let heard: Vec<(i32, i32)> = frames(&out).iter().map(|frame| (frame.xid, frame.err)).collect();
        let expected = if runs_out { vec![] } else { vec![(2, code::OK), (3, code::OK)] };
        assert_eq!((heard, closing), (expected, true));
    }
}

/// Found by reading: what a connection took with it into its end was outstanding for ever.
#[test]
fn requests_of_a_connection_that_ended_are_outstanding_no_more() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    for _ in 0..3 {
        client.send(&mut bench, op::CREATE, &create("/left"));
    }
    let outstanding = |bench: &Bench| bench.door.lane().outstanding.get();
    assert_eq!(outstanding(&bench), 3);
    bench.end(client.seat);
    assert_eq!(outstanding(&bench), 0);
}

#[test]
fn a_client_catches_up_with_its_watches() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    client.call(&mut bench, op::CREATE, &create("/old"));
    let since = client.call(&mut bench, op::CREATE, &create("/same")).zxid;
    client.call(&mut bench, op::SET_DATA, &set("/old"));
    let mut record = Vec::new();
    record.put_i64(since);
    for paths in [&["/old", "/same"][..], &["/not"], &[], &["/keep"], &[]] {
        record.put_i32(paths.len() as i32);
        paths.iter().for_each(|path| record.put_bytes(path.as_bytes()));
    }
    client.send_as(&mut bench, -8, op::SET_WATCHES2, &record);
    bench.settle();
    let heard = client.hear(&mut bench);
    assert_eq!(events(&heard), [(-1, 3, "/old".into())]);
    assert_eq!((heard[1].xid, heard[1].err, heard[1].body.len()), (-8, 0, 0));
    client.send(&mut bench, op::SET_DATA, &set("/same"));
    client.send(&mut bench, op::CREATE, &create("/not"));
    client.send(&mut bench, op::CREATE, &create("/keep"));
    client.send(&mut bench, op::CREATE, &create("/keep/x"));
    bench.settle();
    let kinds: Vec<_> = events(&client.hear(&mut bench)).into_iter().map(|e| (e.1, e.2)).collect();
    assert_eq!(
        kinds,
        [(3, "/same"), (1, "/not"), (1, "/keep"), (4, "/keep")].map(|(kind, path)| (kind, path.to_string()))
    );
}

#[test]
fn bad_input_gets_the_answer_that_it_is_due() {
    let ask = |code: i32, record: &[u8]| {
        let mut bench = bench();
        let mut client = Client::new(&mut bench);
        client.send(&mut bench, code, record);
        bench.settle();
        let (out, closing) = bench.take(client.seat);
        (frames(&out).first().map(|frame| frame.err), closing)
    };
    for code in [op::CHECK, op::DELETE_CONTAINER, 0, 999, -10] {
        assert_eq!(ask(code, &number("/a", 0)), (Some(code::UNIMPLEMENTED), true), "operation {code}");
    }
    assert_eq!(ask(op::CREATE, &path("/a")), (Some(code::MARSHALLING_ERROR), false), "a short record");
    assert_eq!(ask(op::GET_DATA, &[0xff, 0xff, 0xff, 0xf0]), (None, true), "a negative length");
    assert_eq!(ask(op::GET_DATA, &[0x7f, 0, 0, 0]), (None, true), "a length beyond the frame");
    assert_eq!(ask(op::MULTI, &[0, 0, 0, 14, 0]), (Some(code::MARSHALLING_ERROR), false), "half a header");
    let mut trailing = read("/", false);
    trailing.extend_from_slice(b"more");
    assert_eq!(ask(op::GET_DATA, &trailing), (Some(0), false), "what follows a record is ignored");
    let mut huge = Vec::new();
    huge.put_i64(0);
    huge.put_i32(i32::MAX);
    assert_eq!(ask(op::SET_WATCHES, &huge), (None, true), "a vector longer than the frame");
    assert_eq!(ask(op::SASL, &(-1i32).to_be_bytes()), (Some(0), false));
    let mut auth = Vec::new();
    auth.put_i32(0);
    auth.put_bytes(b"nosuch");
    auth.put_bytes(b"");
    assert_eq!(ask(op::AUTH, &auth), (Some(code::AUTH_FAILED), true));
}

#[test]
fn nothing_but_a_handshake_or_a_word_opens_a_connection() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\x20\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x04\0\0\0\0"] {
        let mut bench = bench();
        let seat = bench.connect("10.0.0.7:999".parse().unwrap());
        bench.bytes(seat, bytes);
        bench.settle();
        assert_eq!(bench.take(seat), (vec![], true), "{bytes:?}");
    }
}

#[test]
fn words_are_answered_if_they_are_allowed() {
    let say = |words: &str, word: &str, serving: bool| {
        let mut bench = Bench::new(Config { words: vec![words.into()], ..Config::default() });
        let seat = bench.connect("10.0.0.7:999".parse().unwrap());
        bench.set_serving(serving);
        if !serving {
            bench.end(seat);
        }
        let seat = bench.connect("10.0.0.7:999".parse().unwrap());
        bench.bytes(seat, word.as_bytes());
        bench.settle();
        let (out, closing) = bench.take(seat);
        assert!(closing, "{word} ends the connection");
        String::from_utf8(out).unwrap()
    };
    assert_eq!(say("*", "ruok", false), "imok");
    assert_eq!(say("srvr", "ruok", true), "ruok is not executed because it is not in the whitelist.\n");
    assert_eq!(say("*", "srvr", false), "This ZooKeeper instance is not currently serving requests\n");
    let srvr = say("srvr", "srvr", true);
    assert!(srvr.starts_with("Zookeeper version: 3.9.5-"), "{srvr}");
    assert!(srvr.contains("\nZxid: 0x0\nMode: standalone\nNode count: 5\n"), "{srvr}");
    let mntr = say("*", "mntr", true);
    assert!(mntr.contains("zk_znode_count\t5\n") && mntr.contains("zk_server_state\tstandalone\n"), "{mntr}");
    assert!(say("*", "envi", true).contains("zookeeper.version=3.9.5"));
    assert_eq!(say("*", "wchs", true), "0 connections watching 0 paths\nTotal watches:0\n");
}

#[test]
fn without_a_leader_nobody_is_served_and_the_silent_are_cut() {
    let mut bench = bench();
    let client = Client::new(&mut bench);
    bench.set_now(Nanos::from_millis(9_999));
    bench.alarm(client.seat);
    assert!(!bench.take(client.seat).1);
    bench.set_now(Nanos::from_millis(10_000));
    bench.alarm(client.seat);
    assert!(bench.take(client.seat).1);

    let mut client2 = Client::new(&mut bench);
    bench.set_serving(false);
    client2.send_as(&mut bench, -2, op::PING, &[]);
    assert_eq!(bench.take(client2.seat), (vec![], true), "no ping is answered as alive");
}
