//! Transactions over snapshots that may hold them already.

use super::log::{Entry, Txn};
use super::*;

fn entry(zxid: i64, session: i64, txn: Txn<'_>) -> Entry<'_> {
    Entry { session, zxid, time: 1000 + zxid, txn, digest: None }
}

fn create(path: &str, owner: Option<i64>, parent_cversion: i32) -> Txn<'_> {
    Txn::Create { path: path.as_bytes(), data: Some(b"x"), acl: list_of(None), owner, parent_cversion }
}

fn node<'a>(state: &'a State, path: &str) -> &'a Node {
    &state.nodes[path.as_bytes()]
}

#[test]
fn applied_twice_is_applied_once() {
    let run = |state: &mut State| {
        let all = [
            entry(1, 7, Txn::Open { timeout_ms: 4000 }),
            entry(2, 7, create("/a", Some(0), 1)),
            entry(3, 7, create("/a/e", None, 1)),
            entry(4, 7, create("/a/b", Some(0), 2)),
            entry(5, 7, Txn::SetData { path: b"/a/b", data: None, version: 1 }),
            entry(6, 7, Txn::Delete { path: b"/a/b" }),
            entry(7, 7, Txn::Multi(vec![create("/a/c", Some(0), 3), Txn::Delete { path: b"/a/none" }])),
            entry(8, 7, Txn::Multi(vec![create("/a/d", Some(0), 4), Txn::Failed])),
            entry(9, 8, Txn::Close { paths: vec![b"/a/other"] }),
        ];
        all.iter().for_each(|entry| state.apply(entry));
    };
    let mut once = State::empty();
    run(&mut once);
    let (parent, ephemeral) = (node(&once, "/a"), node(&once, "/a/e"));
    assert_eq!((parent.cversion, parent.pzxid, parent.czxid), (3, 9, 2));
    assert_eq!((ephemeral.owner, ephemeral.ctime, once.zxid, once.applied), (7, 1003, 9, 9));
    assert!(!once.nodes.contains_key(&b"/a/d"[..]), "a part of it failed");

    // A fuzzy snapshot: all of it is there, and its name is from the beginning.
    let mut twice = State { nodes: once.nodes.clone(), sessions: once.sessions.clone(), ..State::default() };
    run(&mut twice);
    assert_eq!(twice.nodes, once.nodes);
    assert_eq!(twice.sessions, once.sessions);
}

#[test]
fn a_session_takes_its_ephemerals_along() {
    let mut state = State::empty();
    for entry in [
        entry(1, 7, Txn::Open { timeout_ms: 4000 }),
        entry(2, 8, Txn::Open { timeout_ms: 4000 }),
        entry(3, 7, create("/e7", None, 1)),
        entry(4, 8, create("/e8", None, 2)),
        entry(5, 9, create("/orphan", None, 3)),
        // An old release names no paths.
        entry(6, 7, Txn::Close { paths: vec![] }),
    ] {
        state.apply(&entry);
    }
    assert!(!state.nodes.contains_key(&b"/e7"[..]));
    state.drop_orphans();
    assert!(state.nodes.contains_key(&b"/e8"[..]) && !state.nodes.contains_key(&b"/orphan"[..]));
    state.drop_sessions();
    assert!(!state.nodes.contains_key(&b"/e8"[..]) && state.sessions.is_empty());
}

#[test]
fn owners_say_what_a_node_lives_by() {
    let kind = |owner| Node { owner, ..Node::default() }.kind();
    assert_eq!(kind(0), Kind::Plain);
    assert_eq!(kind(i64::MIN), Kind::Container);
    assert_eq!(kind(0x0100_0000_0000_0005), Kind::Ephemeral { session: 0x0100_0000_0000_0005 });
    assert_eq!(kind((0xff00_0000_0000_0000u64 | 5000) as i64), Kind::Ttl { ms: 5000, written: Nanos(0) });
}

#[test]
fn sums_are_the_references() {
    assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    let mut crc = Crc32::default();
    crc.update(b"123456789");
    assert_eq!(!crc.0, 0xcbf4_3926);
}
