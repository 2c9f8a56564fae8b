//! Bad input, case by case: the answer that it is due, and nobody else disturbed.

use super::talks::{Client, bench, connect_frame, create, frames, number, path, read, set};
use crate::doors::zk::wire;
use crate::realms::tree::acl;
use crate::realms::tree::jute::Write;
use crate::realms::tree::ops::{code, op};

/// One request of a fresh session: the error answered, and whether the connection ended. A second session works on.
fn ask(code: i32, record: &[u8]) -> (Option<i32>, bool) {
    let mut bench = bench();
    let (mut client, mut other) = (Client::new(&mut bench), Client::new(&mut bench));
    client.send(&mut bench, code, record);
    bench.settle();
    let (out, closing) = bench.take(client.seat);
    assert_eq!(
        other.call(&mut bench, op::EXISTS, &read("/", false)).err,
        code::OK,
        "the other is undisturbed"
    );
    (frames(&out).first().map(|frame| frame.err), closing)
}

fn header(code: i32, done: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(code);
    out.put_bool(done);
    out.put_i32(-1);
    out
}

fn create_with(path: &[u8], list: Option<&[u8]>) -> Vec<u8> {
    let mut record = Vec::new();
    record.put_bytes(path);
    record.put_bytes(b"v");
    match list {
        Some(list) => record.extend_from_slice(list),
        None => record.put_i32(-1),
    }
    record.put_i32(0);
    record
}

fn list(entries: &[(i32, &[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(entries.len() as i32);
    for (perms, scheme, id) in entries {
        out.put_i32(*perms);
        out.put_bytes(scheme);
        out.put_bytes(id);
    }
    out
}

#[test]
fn a_frame_may_be_as_long_as_the_references() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    let head = 8 + 4 + 2 + 4 + acl::OPEN.len() + 4;
    let mut record = path("/a");
    record.put_bytes(&vec![b'x'; wire::FRAME_MAX as usize - head]);
    record.extend_from_slice(acl::OPEN);
    record.put_i32(0);
    assert_eq!(record.len() + 8, 1_048_575);
    assert_eq!(client.call(&mut bench, op::CREATE, &record).err, code::OK);
    bench.bytes(client.seat, &1_048_576i32.to_be_bytes());
    assert_eq!(bench.take(client.seat), (vec![], true), "one byte more is none");
}

#[test]
fn a_session_is_opened_once_and_before_all_else() {
    // A request where a handshake must be: its bytes are no handshake, or one of a session that nobody has.
    let mut bench = bench();
    let seat = bench.connect("10.0.0.7:999".parse().unwrap());
    let mut out = Vec::new();
    wire::framed(&mut out, |out| {
        out.put_i32(1);
        out.put_i32(op::CREATE);
        out.extend_from_slice(&create("/a"));
    });
    bench.bytes(seat, &out);
    bench.settle();
    assert!(bench.take(seat).1);
    // A second handshake reads as a request with an operation of 0.
    let client = Client::new(&mut bench);
    bench.bytes(client.seat, &connect_frame(0, 0, &[0; 16]));
    bench.settle();
    let (out, closing) = bench.take(client.seat);
    assert_eq!((frames(&out)[0].err, closing), (code::UNIMPLEMENTED, true));
}

#[test]
fn timeouts_are_brought_within_bounds() {
    for (asked, granted) in [(0, 4_000), (-5, 4_000), (i32::MIN, 4_000), (5_000, 5_000), (i32::MAX, 40_000)] {
        let mut bench = bench();
        let seat = bench.connect("10.0.0.7:999".parse().unwrap());
        let mut frame = connect_frame(0, 0, &[0; 16]);
        frame[16..20].copy_from_slice(&asked.to_be_bytes());
        bench.bytes(seat, &frame);
        bench.settle();
        let out = bench.take(seat).0;
        assert_eq!(i32::from_be_bytes(out[8..12].try_into().unwrap()), granted, "asked for {asked}");
    }
}

#[test]
fn reserved_numbers_are_numbers() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    for xid in [-1, -2, -4, -8, 0, i32::MIN, i32::MAX] {
        client.send_as(&mut bench, xid, op::EXISTS, &read("/", false));
        bench.settle();
        let heard = client.hear(&mut bench);
        assert_eq!((heard.len(), heard[0].xid, heard[0].err), (1, xid, code::OK));
    }
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let long = [b"/".to_vec(), vec![b'a'; 1_000_000]].concat();
    let deep = b"/a".repeat(100_000);
    let bad: [&[u8]; 17] = [
        b"",
        b"a",
        b"//",
        b"//a",
        b"/a//b",
        b"/.",
        b"/..",
        b"/a/.",
        b"/a/",
        b"/a\0b",
        b"/a\x01",
        b"/a\x7f",
        "/\u{85}".as_bytes(),
        "/\u{e000}".as_bytes(),
        "/\u{fff0}".as_bytes(),
        b"/\xed\xa0\x80",
        b"/\xff\xfe",
    ];
    for path in bad {
        let (err, closing) = ask(op::CREATE, &create_with(path, Some(acl::OPEN)));
        let shown = String::from_utf8_lossy(path);
        // A parent that is not there is told first.
        assert!(matches!(err, Some(code::BAD_ARGUMENTS | code::NO_NODE)) && !closing, "{shown}: {err:?}");
        let (err, closing) = ask(op::GET_DATA, &[&create_with(path, None)[..4 + path.len()], &[0]].concat());
        assert!((path.is_empty() || err == Some(code::NO_NODE)) && !closing, "{shown}: {err:?}");
    }
    for path in [&long, &deep] {
        let (err, closing) = ask(op::CREATE, &create_with(path, Some(acl::OPEN)));
        assert!(matches!(err, Some(code::BAD_ARGUMENTS | code::NO_NODE)) && !closing, "{err:?}");
    }
}

#[test]
fn lists_that_cannot_be_are_refused() {
    let bad = [
        list(&[]),
        list(&[(31, b"nosuch", b"x")]),
        list(&[(31, b"world", b"nobody")]),
        list(&[(31, b"digest", b"no colon")]),
        list(&[(31, b"ip", b"nonsense")]),
        list(&[(31, b"auth", b"")]),
    ];
    for list in &bad {
        assert_eq!(ask(op::CREATE, &create_with(b"/a", Some(list))), (Some(code::INVALID_ACL), false));
    }
    assert_eq!(ask(op::CREATE, &create_with(b"/a", None)), (Some(code::INVALID_ACL), false));
    let mut huge = path("/a");
    huge.put_bytes(b"v");
    huge.put_i32(i32::MAX);
    assert_eq!(ask(op::CREATE, &huge), (None, true), "more entries than the frame could hold");
    let nine = list(&vec![(31, &b"world"[..], &b"anyone"[..]); 40_000]);
    assert_eq!(ask(op::CREATE, &create_with(b"/a", Some(&nine))), (Some(code::OK), false), "all the same");
}

#[test]
fn multis_are_not_nested_and_may_be_long() {
    let mut nested = header(op::MULTI, false);
    nested.extend_from_slice(&header(-1, true));
    nested.extend_from_slice(&header(-1, true));
    assert_eq!(ask(op::MULTI, &nested), (Some(code::MARSHALLING_ERROR), false));

    let mut long = Vec::new();
    let parts = 48_000;
    for _ in 0..parts {
        long.extend_from_slice(&header(op::CHECK, false));
        long.extend_from_slice(&number("/", -1));
    }
    long.extend_from_slice(&header(-1, true));
    assert!(long.len() + 8 <= wire::FRAME_MAX as usize);
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    let reply = client.call(&mut bench, op::MULTI, &long);
    assert_eq!((reply.err, reply.body.len()), (code::OK, (parts + 1) * 9));
}

#[test]
fn a_hundred_thousand_watches_at_once_are_a_hundred_thousand_watches() {
    let mut record = Vec::new();
    record.put_i64(0);
    let count = 100_000;
    record.put_i32(0);
    record.put_i32(count);
    for n in 0..count {
        record.put_bytes(format!("/{n:x}").as_bytes());
    }
    record.put_i32(0);
    assert!(record.len() + 8 <= wire::FRAME_MAX as usize);
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    assert_eq!(client.call(&mut bench, op::SET_WATCHES, &record).err, code::OK);
    assert_eq!(bench.door.watches.len(), count as usize);
    bench.end(client.seat);
    assert!(bench.door.watches.is_empty(), "they go with their connection");
}

#[test]
fn a_flood_of_pings_waits_for_its_reader() {
    let mut bench = bench();
    let mut client = Client::new(&mut bench);
    let mut flood = Vec::new();
    for _ in 0..500_000 {
        wire::framed(&mut flood, |out| {
            out.put_i32(-2);
            out.put_i32(op::PING);
        });
    }
    bench.bytes(client.seat, &flood);
    let (out, closing) = bench.take(client.seat);
    assert!(
        !closing && out.len() <= (8 << 20) + 64,
        "{} bytes wait for a client that does not read",
        out.len()
    );
    let first = frames(&out).len();
    assert!(first < 500_000);
    // It reads, and is heard on.
    bench.bytes(client.seat, &[]);
    let rest = bench.take(client.seat).0;
    assert_eq!(first + frames(&rest).len(), 500_000);
    assert_eq!(client.call(&mut bench, op::SET_DATA, &set("/zookeeper")).err, code::OK);
}

#[test]
fn short_records_of_every_operation_are_marshalling_errors() {
    let whole: [(i32, Vec<u8>); 14] = [
        (op::CREATE, create("/a")),
        (op::CREATE2, create("/a")),
        (op::DELETE, number("/a", 0)),
        (op::EXISTS, read("/a", true)),
        (op::GET_DATA, read("/a", true)),
        (op::SET_DATA, set("/a")),
        (op::GET_ACL, path("/a")),
        (op::GET_CHILDREN, read("/a", true)),
        (op::GET_CHILDREN2, read("/a", true)),
        (op::SYNC, path("/a")),
        (op::ADD_WATCH, number("/a", 0)),
        (op::REMOVE_WATCHES, number("/a", 3)),
        (op::GET_ALL_CHILDREN_NUMBER, path("/a")),
        (op::GET_EPHEMERALS, path("/a")),
    ];
    for (code, record) in whole {
        for end in 0..record.len() {
            let mut bench = bench();
            let mut client = Client::new(&mut bench);
            client.send(&mut bench, code, &record[..end]);
            bench.settle();
            let (out, closing) = bench.take(client.seat);
            match frames(&out).first().map(|frame| frame.err) {
                Some(err) => assert_eq!((err, closing), (code::MARSHALLING_ERROR, false), "{code} at {end}"),
                // A length within it reaches beyond the frame.
                None => assert!(closing, "{code} at {end}"),
            }
        }
    }
}
