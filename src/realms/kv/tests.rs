mod large;
mod model;

use super::ops::*;
use super::*;
use crate::base::Rng;
use crate::realms::reply::Reply;
use crate::state::{Envelope, RealmId};
use model::{Model, Out, Rec};

/// Applies a command to its end; also says in how many turns.
fn apply_kind(kv: &mut Kv, kind: u8, payload: &[u8], effects: &mut Effects) -> u32 {
    let envelope = Envelope { realm: RealmId::Kv as u8, kind, ..Envelope::default() };
    let mut turns = 1;
    while kv.apply(&Stamp::default(), &Command { envelope, payload }, effects) == Flow::Again {
        turns += 1;
    }
    turns
}

fn apply(kv: &mut Kv, op: &Op) -> Effects {
    let mut effects = Effects { wanted: true, ..Effects::default() };
    apply_kind(kv, WRITE, &op.clone().encode(), &mut effects);
    effects
}

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Op {
    Op::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn read(kv: &Kv, query: &Query) -> Vec<u8> {
    let mut out = Vec::new();
    kv.read(&query.encode(), &mut out);
    out
}

fn rec(record: Record<'_>) -> Rec {
    let Record { modified, create, version, lease, .. } = record;
    Rec { key: record.key.into(), value: record.value.into(), modified, create, version, lease }
}

fn recs(bytes: &[u8]) -> Vec<Rec> {
    let mut rest = bytes;
    let all = std::iter::from_fn(|| Record::take(&mut rest)).map(rec).collect();
    assert!(rest.is_empty(), "bytes left behind the records");
    all
}

fn range_out(reply: &Reply<'_>) -> Out {
    let found = Found::open(reply.body).unwrap();
    assert_eq!((found.next.len(), reply.flags & said::PARTIAL), (0, 0));
    let records = recs(found.bytes);
    assert_eq!(records.len(), found.records as usize);
    Out::Range { count: found.count, records, more: reply.flags & said::MORE != 0 }
}

fn node_out(txn: &Txn, at: usize, reply: &Reply<'_>) -> Out {
    let succeeded = reply.flags & said::SUCCEEDED != 0;
    let node = &txn.nodes[at];
    let mut rest = reply.body;
    let steps = if succeeded { &node.then } else { &node.otherwise };
    let outs = steps.iter().map(|step| {
        let reply = Reply::take(&mut rest).unwrap();
        match step {
            Step::Put(_) => Out::Put(recs(reply.body).pop()),
            Step::Delete(_) => deleted(&reply),
            Step::Range(_) => range_out(&reply),
            Step::Node(next) => node_out(txn, *next as usize, &reply),
        }
    });
    let outs = outs.collect();
    assert!(rest.is_empty(), "replies left over");
    Out::Txn(succeeded, outs)
}

fn deleted(reply: &Reply<'_>) -> Out {
    Out::Deleted(u64::from_le_bytes(reply.body[..8].try_into().unwrap()), recs(&reply.body[8..]))
}

fn out_of(op: &Op, bytes: &[u8]) -> (Out, u64) {
    let mut rest = bytes;
    let reply = Reply::take(&mut rest).unwrap();
    assert!(rest.is_empty(), "one reply for one operation");
    let out = match op {
        _ if reply.status != Status::Ok => Out::Refused(reply.status),
        Op::Put(_) => Out::Put(recs(reply.body).pop()),
        Op::Delete(_) | Op::Revoke { .. } => deleted(&reply),
        Op::Txn(txn) => node_out(txn, 0, &reply),
        Op::Grant(_) | Op::Compact { .. } => Out::Done,
    };
    (out, reply.revision)
}

/// Few keys, so that operations meet; some with zero bytes, some the beginning of another.
fn some_key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(6) {
        0 => b"a".to_vec(),
        1 => b"a\0".to_vec(),
        2 => b"a\0b".to_vec(),
        3 => vec![0xff; rng.between(1, 3) as usize],
        _ => format!("k{:02}", rng.below(12)).into_bytes(),
    }
}

fn some_range(rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    match rng.below(5) {
        0 => (vec![0], vec![0]),
        1 => (b"k".to_vec(), b"l".to_vec()),
        2 => (some_key(rng), vec![0]),
        3 => (some_key(rng), some_key(rng)),
        _ => (some_key(rng), vec![]),
    }
}

fn some_revision(rng: &mut Rng, model: &Model) -> u64 {
    if rng.chance(0.5) { 0 } else { rng.between(model.compacted.saturating_sub(1), model.revision + 1) }
}

fn some_flags(rng: &mut Rng, among: &[u16]) -> u16 {
    among.iter().filter(|_| rng.chance(0.3)).sum()
}

fn some_put(rng: &mut Rng) -> Put {
    let flags = some_flags(rng, &[flag::BEFORE, flag::KEEP_VALUE, flag::KEEP_LEASE]);
    let lease = if rng.chance(0.3) { rng.below(5) } else { 0 };
    let value = if rng.chance(0.5) { vec![rng.next_u64() as u8; rng.below(20) as usize] } else { vec![] };
    Put { key: some_key(rng), value, lease, flags }
}

fn some_delete(rng: &mut Rng) -> Delete {
    let (key, end) = if rng.chance(0.7) { (some_key(rng), vec![]) } else { some_range(rng) };
    Delete { key, end, flags: some_flags(rng, &[flag::BEFORE]) }
}

fn some_find(rng: &mut Rng, model: &Model) -> Range {
    let (key, end) = some_range(rng);
    let sort = *rng.pick(&[Sort::Key, Sort::Key, Sort::Version, Sort::Create, Sort::Mod, Sort::Value]);
    // What cannot be told apart has no order to be compared.
    let sort = if matches!(sort, Sort::Key | Sort::Mod) { sort } else { Sort::Mod };
    let bound = |rng: &mut Rng| if rng.chance(0.8) { 0 } else { rng.below(model.revision + 2) };
    Range {
        key,
        end,
        revision: some_revision(rng, model),
        limit: if rng.chance(0.5) { 0 } else { rng.between(1, 6) as u32 },
        flags: flag::COUNT + some_flags(rng, &[flag::KEYS_ONLY, flag::COUNT_ONLY, flag::DESCEND]),
        sort,
        min_mod: bound(rng),
        max_mod: bound(rng),
        min_create: bound(rng),
        max_create: bound(rng),
    }
}

fn some_compare(rng: &mut Rng) -> Compare {
    let (key, end) = if rng.chance(0.7) { (some_key(rng), vec![]) } else { some_range(rng) };
    let number = rng.below(4);
    let target = match rng.below(5) {
        0 => Target::Version(number),
        1 => Target::Create(number * 10),
        2 => Target::Mod(number * 20),
        3 => Target::Lease(number),
        _ => Target::Value(vec![number as u8]),
    };
    Compare {
        key,
        end,
        must_be: *rng.pick(&[Must::Equal, Must::Greater, Must::Less, Must::NotEqual]),
        target,
    }
}

fn some_txn(rng: &mut Rng, model: &Model) -> Txn {
    let mut nodes = vec![Node::default()];
    let mut at = 0;
    while at < nodes.len() {
        let compares = (0..rng.below(3)).map(|_| some_compare(rng)).collect();
        let mut branch = |rng: &mut Rng| {
            let mut steps = Vec::new();
            for _ in 0..rng.below(4) {
                steps.push(match rng.below(10) {
                    0..4 => Step::Put(some_put(rng)),
                    4..6 => Step::Delete(some_delete(rng)),
                    6..9 => {
                        let mut range = some_find(rng, model);
                        // Equal revisions within a transaction have no order by revision.
                        range.sort = Sort::Key;
                        Step::Range(range)
                    }
                    _ if nodes.len() < 4 => {
                        nodes.push(Node::default());
                        Step::Node(nodes.len() as u32 - 1)
                    }
                    _ => Step::Put(some_put(rng)),
                });
            }
            steps
        };
        let (then, otherwise) = (branch(rng), branch(rng));
        nodes[at] = Node { compares, then, otherwise };
        at += 1;
    }
    Txn { nodes }
}

fn some_op(rng: &mut Rng, model: &Model) -> Op {
    match rng.below(20) {
        0..8 => Op::Put(some_put(rng)),
        8..11 => Op::Delete(some_delete(rng)),
        11..16 => Op::Txn(some_txn(rng, model)),
        16..18 => Op::Grant(Grant { lease: rng.between(1, 4), ttl_s: rng.below(100) }),
        18 => Op::Revoke { lease: rng.between(1, 5) },
        _ => Op::Compact { revision: rng.between(model.compacted, model.revision + 1) },
    }
}

/// Sorted by revision only: the model does not keep the order within one.
fn by_revision(mut events: Vec<Rec>) -> Vec<Rec> {
    events.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
    events
}

/// What changes say happened, and what they say was there before.
fn told(bytes: &[u8]) -> (Vec<Rec>, Vec<Option<Rec>>) {
    let (mut events, mut befores) = (Vec::new(), Vec::new());
    for group in Group::all(bytes) {
        let (had, mut count) = (events.len(), 0);
        for record in Record::all(group.bytes) {
            if record.flags & BEFORE != 0 {
                *befores.last_mut().unwrap() = Some(rec(record));
            } else {
                assert_eq!(record.modified, group.revision);
                events.push(rec(record));
                befores.push(None);
                count += 1;
            }
        }
        assert!(count == group.events && events.len() > had, "a group with the wrong number of events");
    }
    (events, befores)
}

fn history(kv: &Kv, revision: u64) -> Vec<u8> {
    read(kv, &Query::History(History { key: vec![0], end: vec![0], revision, sub: 0, flags: BEFORE }))
}

fn reload(kv: &mut Kv) -> Kv {
    kv.settle();
    let mut loaded = Kv::new();
    for (from, to) in kv.tables().iter().zip(loaded.tables_mut()) {
        let mut builder = crate::state::table::Builder::new();
        let mut frozen = from.freeze();
        while let Some((key, value)) = frozen.next() {
            builder.push(&key.to_vec(), value).unwrap();
        }
        *to = builder.finish();
    }
    for block in kv.store.trail.freeze() {
        loaded.store.trail.load(block.first, &block.ends, &block.bytes).unwrap();
    }
    loaded.rebuild().unwrap();
    loaded
}

fn digests(kv: &mut Kv) -> Vec<u128> {
    kv.settle();
    kv.tables().iter().map(Table::digest).chain([kv.store.trail.digest()]).collect()
}

#[test]
fn the_realm_does_what_the_model_does() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (mut kv, mut model) = (Kv::new(), Model::new());
        history(&kv, 0);
        // Another replica: it hears of no client, is loaded from snapshots, and must stay the same.
        let mut twin = Kv::new();
        for step in 0..400 {
            let op = some_op(&mut rng, &model);
            let (revision, before) = (model.revision, model.clone());
            let expected = model.apply(&op);
            let effects = apply(&mut kv, &op);
            let (out, answered_at) = out_of(&op, &effects.reply);
            assert_eq!(out, expected, "seed {seed}, step {step}: {op:?}");
            assert_eq!((kv.revision(), answered_at), (model.revision, model.revision), "seed {seed}, {op:?}");
            // Watchers are told just what changed.
            let (events, befores) = told(&effects.changes);
            assert_eq!(by_revision(events.clone()), by_revision(model.events(revision + 1)), "seed {seed}");
            for (event, old) in events.iter().zip(befores) {
                assert_eq!(old.as_ref(), before.at(&event.key, revision), "seed {seed}");
            }
            let mut quiet = Effects::default();
            apply_kind(&mut twin, WRITE, &op.clone().encode(), &mut quiet);
            assert!(quiet.changes.is_empty());
            if rng.chance(0.02) {
                twin = reload(&mut twin);
            }
            if rng.chance(0.1) {
                for kv in [&mut kv, &mut twin] {
                    apply_kind(kv, SLICE, &[], &mut Effects::default());
                }
            }
            let find = some_find(&mut rng, &model);
            let bytes = read(&kv, &Query::Range(find.clone()));
            let reply = Reply::take(&mut &bytes[..]).unwrap();
            match model.readable(find.revision) {
                Ok(()) if find.sort == Sort::Mod => assert_same_but_order(&range_out(&reply), &model, &find),
                Ok(()) => assert_eq!(range_out(&reply), model.range(&find), "seed {seed}: {find:?}"),
                Err(status) => assert_eq!(reply.status, status, "seed {seed}: {find:?}"),
            }
        }
        assert_eq!(digests(&mut kv), digests(&mut twin), "seed {seed}");
        check_history(&kv, &model);
        // What was compacted is freed in the end, and nothing else.
        while kv.freeing {
            apply_kind(&mut kv, SLICE, &[], &mut Effects::default());
        }
        let left = |versions: &&Vec<Rec>| {
            versions.last().is_some_and(|rec| rec.version > 0 || rec.modified >= model.compacted)
        };
        let keys = model.keys.values().filter(left).count();
        assert_eq!(kv.store.tables[store::KEYS].len(), keys as u64, "seed {seed}");
        let changes = model.keys.values().flatten().filter(|rec| rec.modified >= model.compacted).count();
        assert_eq!(kv.store.trail.end() - kv.store.freed, changes as u64, "seed {seed}");
        let live = model.span(b"\0", b"\0", u64::MAX);
        assert_eq!(kv.store.live, live.len() as u64, "seed {seed}");
        assert_eq!(
            kv.store.tables[store::ATTACHED].len(),
            live.iter().filter(|rec| rec.lease > 0).count() as u64
        );
        check_history(&kv, &model);
        let all = live.iter().map(|rec| rec.key.clone()).collect::<Vec<_>>();
        for key in all {
            apply(&mut kv, &Op::Delete(Delete { key, ..Delete::default() }));
        }
        assert_eq!((kv.store.live, kv.store.live_bytes), (0, 0), "seed {seed}");
    }
}

/// Records of one revision may come in any order among themselves.
fn assert_same_but_order(out: &Out, model: &Model, find: &Range) {
    let (Out::Range { count, records, more }, Out::Range { count: c, records: r, more: m }) =
        (out, model.range(find))
    else {
        panic!("not a range");
    };
    assert_eq!((*count, records.len(), *more), (c, r.len(), m));
    let revisions = |records: &[Rec]| records.iter().map(|rec| rec.modified).collect::<Vec<_>>();
    assert_eq!(revisions(records), revisions(&r));
}

fn check_history(kv: &Kv, model: &Model) {
    let first = model.compacted.max(1);
    for from in [first, model.revision.max(first), (first + model.revision) / 2] {
        let bytes = history(kv, from);
        let reply = Reply::take(&mut &bytes[..]).unwrap();
        assert_eq!((reply.status, reply.flags), (Status::Ok, 0));
        let next = u64::from_le_bytes(reply.body[..8].try_into().unwrap());
        assert_eq!(next, model.revision + 1);
        let (events, befores) = told(&reply.body[16..]);
        assert_eq!(by_revision(events.clone()), by_revision(model.events(from)));
        for (event, old) in events.iter().zip(befores) {
            if event.modified > model.compacted {
                assert_eq!(old.as_ref(), model.at(&event.key, event.modified - 1));
            }
        }
    }
    let status = |revision| Reply::take(&mut &history(kv, revision)[..]).map(|reply| reply.status);
    assert_eq!(status(model.revision + 1), Some(Status::Ok));
    assert_eq!(status(model.revision + 2), Some(Status::FutureRevision));
    if model.compacted > 1 {
        let bytes = history(kv, model.compacted - 1);
        assert_eq!(Reply::take(&mut &bytes[..]).unwrap().status, Status::Compacted);
    }
}

#[test]
fn operations_of_one_command_are_transactions_of_their_own() {
    let mut kv = Kv::new();
    history(&kv, 0);
    let ops = vec![put("a", "1"), put("", "2"), put("a", "3"), Op::Revoke { lease: 9 }];
    let mut effects = Effects { wanted: true, ..Effects::default() };
    apply_kind(&mut kv, WRITE, &Write { ops }.encode(), &mut effects);
    let mut rest = &effects.reply[..];
    let replies: Vec<_> =
        std::iter::from_fn(|| Reply::take(&mut rest)).map(|r| (r.status, r.revision)).collect();
    let expected = [(Status::Ok, 2), (Status::KeyLength, 2), (Status::Ok, 3), (Status::LeaseNotFound, 3)];
    assert_eq!(replies, expected);
    let groups: Vec<_> = Group::all(&effects.changes).map(|group| (group.revision, group.events)).collect();
    assert_eq!(groups, [(2, 1), (3, 1)]);
}

#[test]
fn garbage_is_refused_and_changes_nothing() {
    let mut kv = Kv::new();
    apply(&mut kv, &put("a", "1"));
    let before = digests(&mut kv);
    let mut rng = Rng::new(1);
    for kind in [WRITE, EXPIRE, BUDGET] {
        for _ in 0..200 {
            let garbage: Vec<u8> = (0..rng.below(7)).map(|_| rng.next_u64() as u8).collect();
            let mut effects = Effects { wanted: true, ..Effects::default() };
            apply_kind(&mut kv, kind, &garbage, &mut effects);
            assert_ne!(Reply::take(&mut &effects.reply[..]).unwrap().status, Status::Ok);
            let mut out = Vec::new();
            kv.read(&garbage, &mut out);
            assert_eq!(Reply::take(&mut &out[..]).unwrap().status, Status::Malformed);
        }
    }
    assert_eq!(digests(&mut kv), before);
}

#[test]
fn a_lease_expires_by_command_and_takes_its_keys_along() {
    let mut kv = Kv::new();
    let grant = |kv: &mut Kv, lease, ttl_s| {
        let reply = apply(kv, &Op::Grant(Grant { lease, ttl_s })).reply;
        let body = Reply::take(&mut &reply[..]).unwrap().body.to_vec();
        (u64::from_le_bytes(body[..8].try_into().unwrap()), u64::from_le_bytes(body[8..].try_into().unwrap()))
    };
    assert_eq!(grant(&mut kv, 7, 10), (7, 10));
    assert_eq!(grant(&mut kv, 8, 0), (8, TTL_S_MIN));
    let (chosen, _) = grant(&mut kv, 0, 10);
    assert!(chosen > 8 && chosen <= i64::MAX as u64);
    apply(&mut kv, &Op::Put(Put { key: b"k".into(), lease: 7, ..Put::default() }));
    let mut kv = reload(&mut kv);
    history(&kv, 0);
    let second = Nanos::from_millis(1_000);
    kv.lead(second);
    assert!(kv.touch(7, Nanos::from_millis(5_000)) && !kv.touch(99, second));
    let mut due = Vec::new();
    kv.due(Nanos::from_millis(14_999), 10, &mut due);
    let expiring: Vec<u64> =
        due.iter().map(|(_, id)| u64::from_le_bytes(id[..].try_into().unwrap())).collect();
    assert_eq!(expiring, [8, chosen]);
    kv.due(Nanos::from_millis(15_000), 10, &mut due);
    assert_eq!((due[2].0, &due[2].1[..]), (EXPIRE, &7u64.to_le_bytes()[..]));
    assert!(!kv.touch(7, Nanos::from_millis(15_000)), "too late");
    let mut effects = Effects { wanted: true, ..Effects::default() };
    apply_kind(&mut kv, EXPIRE, &7u64.to_le_bytes(), &mut effects);
    assert_eq!(kv.revision(), 3);
    assert_eq!(
        Group::all(&effects.changes).map(|group| (group.revision, group.events)).collect::<Vec<_>>(),
        [(3, 1)]
    );
    let bytes = read(&kv, &Query::Lease { lease: 7, keys: true, from: vec![] });
    assert_eq!(Reply::take(&mut &bytes[..]).unwrap().status, Status::LeaseNotFound);
    let bytes = read(&kv, &Query::Leases { after: 0 });
    assert_eq!(
        Reply::take(&mut &bytes[..]).unwrap().body[..16],
        [2u64.to_le_bytes(), 8u64.to_le_bytes()].concat()
    );
}

#[test]
fn over_its_budget_the_realm_compacts_or_refuses() {
    let mut kv = Kv::new();
    apply_kind(&mut kv, BUDGET, &20_000u64.to_le_bytes(), &mut Effects::default());
    kv.lead(Nanos(0));
    kv.compact_by_itself(false);
    let refused = |kv: &mut Kv| {
        let reply = apply(kv, &put("hot", vec![0; 100])).reply;
        Reply::take(&mut &reply[..]).unwrap().status == Status::NoSpace
    };
    let mut writes = 0;
    while !refused(&mut kv) {
        writes += 1;
        assert!(writes < 1_000, "the budget is not kept");
    }
    // Deletions and compaction go on.
    let reply = apply(&mut kv, &Op::Delete(Delete { key: b"hot".into(), ..Delete::default() })).reply;
    assert_eq!(Reply::take(&mut &reply[..]).unwrap().status, Status::Ok);
    assert!(refused(&mut kv));
    assert_eq!(kv.next_due(), Nanos::MAX);
    kv.compact_by_itself(true);
    let mut commands = 0;
    for _ in 0..2_000 {
        refused(&mut kv);
        let mut due = Vec::new();
        if kv.next_due() == Nanos(0) {
            kv.due(Nanos(0), 10, &mut due);
        }
        for (kind, payload) in due {
            commands += 1;
            apply_kind(&mut kv, kind, &payload, &mut Effects::default());
        }
    }
    assert!(!refused(&mut kv) && kv.history_bytes().0 < 20_000, "{:?}", kv.history_bytes());
    assert!(commands > 10, "{commands}");
}
