//! The realm's rules, one command after the other, as a client's bytes ask for them.

mod random;
mod world;

use super::acl::{self, Scheme, perm};
use super::jute::{Reader, Stat, Write};
use super::ops::{code, kind, op};
use super::store::table;
use super::{ENDING_NODES, Settings};
use crate::base::Nanos;
use crate::realms::Realm;
use world::*;

#[test]
fn a_fresh_tree_looks_like_the_references() {
    let world = World::new();
    let root = world.stat("/").unwrap();
    assert_eq!((root.cversion, root.num_children, root.pzxid), (-1, 1, 0));
    let zookeeper = world.stat("/zookeeper").unwrap();
    assert_eq!((zookeeper.cversion, zookeeper.num_children), (-2, 2));
    assert_eq!(world.children("/"), ["zookeeper"]);
    assert_eq!(world.query(op::GET_ALL_CHILDREN_NUMBER, &versioned("/", 0)), (0, vec![0, 0, 0, 3]));
}

#[test]
fn children_count_in_both_versions_and_number_sequences() {
    let mut world = World::new();
    world.create("/x", 0).unwrap();
    assert_eq!(world.delete("/x", -1), 0);
    let root = world.stat("/").unwrap();
    assert_eq!((root.cversion, root.num_children), (1, 1));
    assert_eq!(world.create("/s-", 2).unwrap(), "/s-0000000001");
    world.create("/p", 0).unwrap();
    world.create("/p/a", 0).unwrap();
    world.create("/p/b", 0).unwrap();
    assert_eq!(world.create("/p/n-", 2).unwrap(), "/p/n-0000000002");
    assert_eq!(world.create("/p/", 2).unwrap(), "/p/0000000003");
    assert_eq!(world.create("/p/b", 0), Err(code::NODE_EXISTS));
    assert_eq!(world.create("/p/n-", 3).unwrap(), "/p/n-0000000004", "a failed create takes no number");
    assert_eq!(world.children("/p"), ["0000000003", "a", "b", "n-0000000002", "n-0000000004"]);
}

#[test]
fn stats_keep_who_changed_what_when() {
    let mut world = World::new();
    world.create("/n", 0).unwrap();
    let made = world.tree.zxid() as i64;
    let stat = world.set("/n", b"", 0).unwrap();
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (made, made + 1, made));
    assert_eq!((stat.version, stat.data_length), (1, 0));
    assert_eq!(stat.mtime, world.at.wall_ms as i64);
    assert_eq!(world.set("/n", b"", 0), Err(code::BAD_VERSION));
    assert_eq!(world.tree.zxid() as i64, made + 2, "a refused command has its zxid too");
    assert_eq!(world.delete("/n", 0), code::BAD_VERSION);
    assert_eq!(world.stat("/n").unwrap(), stat);
}

#[test]
fn checks_come_in_the_references_order() {
    let mut world = World::new();
    world.create("/e", 1).unwrap();
    for (path, flags, err) in [
        ("/a", 9, code::BAD_ARGUMENTS),
        ("", 0, code::BAD_ARGUMENTS),
        ("a", 0, code::BAD_ARGUMENTS),
        ("a/b", 0, code::NO_NODE),
        ("/no/b", 0, code::NO_NODE),
        ("/e/", 0, code::BAD_ARGUMENTS),
        ("/e//b", 0, code::NO_NODE),
        ("//b", 0, code::BAD_ARGUMENTS),
        ("/a\0", 0, code::BAD_ARGUMENTS),
        ("/..", 0, code::BAD_ARGUMENTS),
        ("/", 0, code::NODE_EXISTS),
        ("/e", 0, code::NODE_EXISTS),
        ("/e/b", 0, code::NO_CHILDREN_FOR_EPHEMERALS),
    ] {
        assert_eq!(world.create(path, flags), Err(err), "{path:?}");
    }
    let no_acl = create_record("/no/b", b"", &0i32.to_be_bytes(), 0);
    assert_eq!(world.client(op::CREATE, &no_acl).0, code::INVALID_ACL, "the list before the parent");
    for (path, err) in [
        ("/", code::BAD_ARGUMENTS),
        ("/zookeeper/quota", code::BAD_ARGUMENTS),
        ("x", code::BAD_ARGUMENTS),
        ("/no/x", code::NO_NODE),
        ("/e/", code::NO_NODE),
        ("/no", code::NO_NODE),
    ] {
        assert_eq!(world.delete(path, -1), err, "{path:?}");
    }
    world.create("/d", 0).unwrap();
    world.create("/d/c", 0).unwrap();
    assert_eq!(world.delete("/d", 5), code::BAD_VERSION, "the version before emptiness");
    assert_eq!(world.delete("/d", 0), code::NOT_EMPTY);
    assert_eq!(world.set("/d/", b"", -1), Err(code::BAD_ARGUMENTS));
    assert_eq!(world.stat("d"), Err(code::NO_NODE));
}

#[test]
fn a_session_ends_with_all_its_ephemerals_in_one_command() {
    let mut world = World::new();
    let keeper = world.session;
    world.create("/p", 0).unwrap();
    world.session = world.open();
    world.create("/p/e1", 1).unwrap();
    world.create("/p/e2", 1).unwrap();
    world.create("/p/stays", 0).unwrap();
    assert_eq!(world.stat("/p/e1").unwrap().ephemeral_owner as u64, world.session);
    let gone = world.session;
    world.session = keeper;
    world.events.clear();
    world.expire(gone);
    assert_eq!(world.events, ["-/p/e1", "-/p/e2", "ended"]);
    assert_eq!(world.children("/p"), ["stays"]);
    assert_eq!(world.stat("/p").unwrap().pzxid, world.tree.zxid() as i64);
    world.session = gone;
    assert_eq!(world.create("/late", 0), Err(code::SESSION_EXPIRED));
    world.events.clear();
    world.expire(gone);
    assert!(world.events.is_empty(), "the second end of a session is none");
}

/// Its end was on the way when its client came back: it has been told that its session goes on, and it does.
#[test]
fn a_session_that_has_come_back_does_not_end() {
    let mut world = World::new();
    let (keeper, second) = (world.session, world.open());
    let mut payload = Vec::new();
    payload.put_i64(second as i64);
    payload.put_i32(10_000);
    world.at.ticks = Nanos::from_millis(9_999);
    assert_eq!(world.command(kind::ATTACH_SESSION, &payload).0, 0);
    world.at.ticks = Nanos::from_millis(10_000);
    for session in [keeper, second] {
        world.command(kind::EXPIRE_SESSION, &session.to_be_bytes());
    }
    assert!(world.tree.has_session(second) && !world.tree.has_session(keeper));
    world.at.ticks = Nanos::from_millis(19_998);
    world.command(kind::EXPIRE_SESSION, &second.to_be_bytes());
    assert!(world.tree.has_session(second), "9,999 ms after its handshake");
    world.expire(second);
    assert!(!world.tree.has_session(second));
}

/// Parents are written once for all their children that go: by turns, with a quota, and the root.
#[test]
fn parents_of_ephemerals_that_go_together_are_right() {
    let mut world = World::new();
    let keeper = world.session;
    for path in ["/p", "/q", "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits"] {
        world.create(path, 0).unwrap();
    }
    world.create("/zookeeper/quota/q/zookeeper_stats", 0).unwrap();
    world.session = world.open();
    for path in ["/e", "/p/e1", "/p/e2", "/q/e1", "/q/e2", "/q/e3"] {
        world.create(path, 1).unwrap();
    }
    world.create("/q/stays", 0).unwrap();
    let gone = std::mem::replace(&mut world.session, keeper);
    world.events.clear();
    world.expire(gone);
    let told = ["-/e", "-/p/e1", "-/p/e2", "-/q/e1", "-/q/e2", "-/q/e3", "ended"];
    assert_eq!(world.events, told);
    let zxid = world.tree.zxid() as i64;
    for (path, children, cversion) in [("/", 3, 3), ("/p", 0, 4), ("/q", 1, 7)] {
        let stat = world.stat(path).unwrap();
        assert_eq!((stat.num_children, stat.cversion, stat.pzxid), (children, cversion, zxid), "{path}");
    }
    let usage = world.data("/zookeeper/quota/q/zookeeper_stats");
    assert!(usage.starts_with("count=2,"), "{usage}");
    world.tree.audit().unwrap();
}

#[test]
fn only_the_edge_that_owns_a_session_may_write_for_it() {
    let mut world = World::new();
    let mut payload = Vec::new();
    payload.put_i64(world.session as i64);
    payload.put_i32(5000);
    let before = world.tree.zxid();
    world.origin = origin(2);
    assert_eq!(world.create("/a", 0), Err(code::SESSION_MOVED));
    assert_eq!(world.command(kind::ATTACH_SESSION, &payload).0, 0);
    assert_eq!(world.events.pop().as_deref(), Some("moved"));
    assert!(world.create("/a", 0).is_ok());
    world.origin = origin(1);
    assert_eq!(world.delete("/a", -1), code::SESSION_MOVED);
    assert_eq!(world.tree.zxid(), before + 3, "moving has no zxid");
    payload[0] = 77;
    assert_eq!(world.command(kind::ATTACH_SESSION, &payload).0, code::SESSION_EXPIRED);
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut world = World::new();
    world.create("/m", 0).unwrap();
    let before = digest(&mut world.tree);
    let private = list(31, "digest", "u:h");
    world.events.clear();
    let (err, body) = world.multi(&[
        (op::CREATE, create_record("/m/a", b"1", &private, 1)),
        (op::CREATE2, create_record("/m/a", b"2", acl::OPEN, 0)),
        (op::DELETE, versioned("/m", -1)),
    ]);
    assert_eq!((err, results(&body)), (0, vec![0, code::NODE_EXISTS, -2]));
    assert!(world.events.is_empty(), "a failed multi fires nothing");
    let zxid = world.tree.zxid;
    world.tree.zxid -= 1;
    assert_eq!(digest(&mut world.tree), before, "nothing of it is left");
    world.tree.zxid = zxid;

    let (err, body) = world.multi(&[
        (op::CREATE, create_record("/m/p", b"", acl::OPEN, 0)),
        (op::CREATE2, create_record("/m/p/s-", b"", acl::OPEN, 2)),
        (op::SET_DATA, {
            let mut record = Vec::new();
            record.put_bytes(b"/m/p");
            record.put_nullable(None);
            record.put_i32(0);
            record
        }),
        (op::CHECK, versioned("/m/p", 1)),
        (op::DELETE, versioned("/m/p/s-0000000000", 0)),
    ]);
    assert_eq!(err, 0);
    assert_eq!(world.events, ["+/m/p", "+/m/p/s-0000000000", "=/m/p", "-/m/p/s-0000000000"]);
    let zxid = world.tree.zxid() as i64;
    let stat = world.stat("/m/p").unwrap();
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (zxid, zxid, zxid));
    assert_eq!(&body[..9], &[0, 0, 0, 1, 0, 0, 0, 0, 0]);

    assert_eq!(world.multi(&[]), (0, vec![255, 255, 255, 255, 1, 255, 255, 255, 255]));
    assert_eq!(world.multi(&[(op::GET_DATA, watched("/m"))]).0, code::MARSHALLING_ERROR);
    assert_eq!(world.multi(&[(op::SET_ACL, watched("/m"))]).0, code::MARSHALLING_ERROR);
}

#[test]
fn lists_guard_nodes_and_are_counted() {
    let mut world = World::new();
    assert!(world.ids.add(Scheme::Digest, b"u:h"));
    let own = create_record("/mine", b"secret", &list(31, "auth", ""), 0);
    assert_eq!(world.client(op::CREATE, &own).0, 0);
    let (err, body) = world.query(op::GET_ACL, &versioned("/mine", 0));
    assert_eq!((err, &body[..body.len() - 68]), (0, &list(31, "digest", "u:h")[..]));
    let clean = std::mem::take(&mut world.ids);
    assert_eq!(world.query(op::GET_DATA, &watched("/mine")).0, code::NO_AUTH);
    assert_eq!(world.stat("/mine"), Err(code::NO_AUTH));
    assert_eq!(world.create("/mine/c", 0), Err(code::NO_AUTH));
    assert_eq!(world.set("/mine", b"", 7), Err(code::NO_AUTH), "permission before the version");
    assert_eq!(world.delete("/mine", -1), 0, "deleting asks the parent");
    world.ids = clean;
    assert_eq!(world.tree.store.tables[table::ACLS].len(), 0, "nobody uses the list any more");

    assert_eq!(world.client(op::CREATE, &own).0, 0);
    let mut set = Vec::new();
    set.put_bytes(b"/mine");
    set.extend_from_slice(&list(perm::READ, "world", "anyone"));
    set.put_i32(0);
    let (err, body) = world.client(op::SET_ACL, &set);
    let stat = Stat::read(&mut Reader::new(&body)).unwrap();
    assert_eq!((err, stat.aversion, stat.version), (0, 1, 0));
    assert_eq!(world.client(op::SET_ACL, &set).0, code::NO_AUTH);
    assert_eq!(world.tree.store.tables[table::ACLS].len(), 0);
}

#[test]
fn containers_and_ttl_nodes_are_reaped_when_they_are_due() {
    let mut world = World::new();
    world.create("/c", 4).unwrap();
    world.create("/c/x", 0).unwrap();
    let mut ttl = create_record("/t", b"", acl::OPEN, 5);
    ttl.put_i64(1000);
    assert_eq!(world.client(op::CREATE_TTL, &ttl).0, 0);
    assert_eq!(world.stat("/t").unwrap().ephemeral_owner, 0);
    let mut due = Vec::new();
    world.tree.lead(Nanos(5));
    let minute = |n: u64| Nanos::from_millis(60_000 * n + 1);
    world.tree.touch(world.session, minute(1));
    world.tree.due(minute(1), 100, &mut due);
    assert_eq!(due, [(kind::REAP, b"/t".to_vec())], "the container has a child");
    assert_eq!(world.delete("/c/x", -1), 0);
    due.clear();
    world.tree.touch(world.session, minute(2));
    world.tree.due(minute(2), 100, &mut due);
    assert_eq!(due.len(), 2);
    world.create("/c/y", 0).unwrap();
    world.at.ticks = Nanos::from_millis(1001);
    world.set("/t", b"", -1).unwrap();
    for (kind, path) in &due {
        world.command(*kind, path);
    }
    assert_eq!(world.children("/"), ["c", "t", "zookeeper"], "neither is due when its command comes");
    world.at.ticks = Nanos::from_millis(2002);
    world.events.clear();
    world.command(kind::REAP, b"/t");
    assert_eq!(world.events, ["-/t"]);
    world.command(kind::SETTINGS, &[Settings { ttl_nodes: false, enforce_quota: true }.to_byte()]);
    assert_eq!(world.client(op::CREATE_TTL, &ttl).0, code::UNIMPLEMENTED);
}

#[test]
fn quotas_count_and_hold() {
    let mut world = World::new();
    world.create("/q", 0).unwrap();
    world.create("/q/a", 0).unwrap();
    world.create("/zookeeper/quota/q", 0).unwrap();
    let limits = create_record(
        "/zookeeper/quota/q/zookeeper_limits",
        b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3",
        acl::OPEN,
        0,
    );
    assert_eq!(world.client(op::CREATE, &limits).0, 0);
    world.create("/zookeeper/quota/q/zookeeper_stats", 0).unwrap();
    let stats = |world: &World| world.data("/zookeeper/quota/q/zookeeper_stats");
    assert_eq!(stats(&world), "count=2,bytes=8");
    assert_eq!(world.stat("/zookeeper/quota/q/zookeeper_stats").unwrap().version, 0);
    world.create("/q/b", 0).unwrap();
    world.create("/q/over", 0).unwrap();
    assert_eq!(stats(&world), "count=4,bytes=16", "limits are not enforced unless asked for");
    world.delete("/q/over", -1);
    world.command(kind::SETTINGS, &[Settings { ttl_nodes: true, enforce_quota: true }.to_byte()]);
    assert_eq!(world.create("/q/over", 0), Err(code::QUOTA_EXCEEDED));
    assert!(world.set("/q/a", b"12345678", -1).is_ok());
    assert_eq!(world.set("/q/b", b"123456789", -1), Err(code::QUOTA_EXCEEDED));
    assert_eq!(stats(&world), "count=3,bytes=16");
    world.delete("/zookeeper/quota/q/zookeeper_limits", -1);
    assert!(world.create("/q/over", 0).is_ok());
}

#[test]
fn sessions_expire_when_nobody_hears_from_them_and_never_early() {
    let mut world = World::new();
    let ms = Nanos::from_millis;
    world.tree.lead(ms(7));
    let second = world.open();
    let mut due = Vec::new();
    world.tree.due(ms(100), 10, &mut due);
    assert!(world.tree.touch(second, ms(4000)));
    world.tree.due(ms(10_006), 10, &mut due);
    assert!(due.is_empty());
    assert!(world.tree.next_due() <= ms(10_007));
    world.tree.due(ms(10_007), 10, &mut due);
    assert_eq!(due, [(kind::EXPIRE_SESSION, world.session.to_be_bytes().to_vec())]);
    assert!(!world.tree.touch(world.session, ms(10_028)), "its end is on the way");
    due.clear();
    world.tree.due(ms(13_999), 10, &mut due);
    assert!(due.is_empty());
    world.tree.due(ms(14_000), 10, &mut due);
    assert_eq!(due.len(), 1);
    world.tree.lead(ms(20_000));
    assert!(world.tree.touch(world.session, ms(20_001)), "a new reign starts anew");
}

/// 128 at a time, whatever they had, ended ten thousand sessions 600 ms late.
#[test]
fn many_sessions_end_together_but_no_more_nodes_than_others_can_wait_for() {
    let mut world = World::new();
    let ids: Vec<u64> = (0..3000).map(|_| world.open()).collect();
    world.tree.lead(Nanos(0));
    let mut due = Vec::new();
    world.tree.due(Nanos::from_millis(60_000), 1024, &mut due);
    assert_eq!(due.len(), 1024, "none has an ephemeral");
    for n in 0..60_000 {
        world.session = ids[n % ids.len()];
        world.create(&format!("/e{n}"), 1).unwrap();
    }
    world.tree.lead(Nanos(0));
    due.clear();
    world.tree.due(Nanos::from_millis(60_000), 1024, &mut due);
    assert_eq!(due.len(), ENDING_NODES / 20, "the mean of all sessions is 19, as one has none");
    let ended = due.len();
    world.tree.due(Nanos::from_millis(60_000), 1024, &mut due);
    assert_eq!(due.len(), ended, "until those have ended");
}

#[test]
fn a_returning_client_learns_what_it_missed() {
    let mut world = World::new();
    for path in ["/same", "/changed", "/gone", "/parent"] {
        world.create(path, 0).unwrap();
    }
    let since = world.tree.zxid() as i64;
    world.set("/changed", b"x", -1).unwrap();
    world.delete("/gone", -1);
    world.create("/parent/new", 0).unwrap();
    let mut record = Vec::new();
    record.put_i64(since);
    for paths in [&["/same", "/changed", "/gone"][..], &["/no", "/same"], &["/same", "/parent", "/gone"]] {
        record.put_i32(paths.len() as i32);
        paths.iter().for_each(|path| record.put_bytes(path.as_bytes()));
    }
    assert_eq!(world.query(op::SET_WATCHES, &record), (0, vec![0, 3, 2, 0, 1, 0, 4, 2]));
}

#[test]
fn what_does_not_parse_changes_nothing() {
    let mut world = World::new();
    let before = digest(&mut world.tree);
    for code in [op::CREATE, op::DELETE, op::SET_DATA, op::SET_ACL, op::MULTI, op::CHECK] {
        for payload in [&b""[..], b"\0", b"\0\0", b"\0\0\0\0\0\x05/", b"\xff\xff\xff"] {
            let (err, _) = world.command(code as u8, payload);
            assert!(err == code::MARSHALLING_ERROR, "{code} {payload:?} {err}");
        }
    }
    let mut query = Vec::new();
    let mut out = Vec::new();
    for _ in 0..40 {
        world.tree.read(&query, &mut out);
        query.push(0);
    }
    world.tree.zxid = 1;
    assert_eq!(digest(&mut world.tree), before);
}
