//! More than one turn's share of everything.

use super::*;

fn key(n: u32) -> Vec<u8> {
    format!("key-{n:06}").into_bytes()
}

fn filled(count: u32) -> Kv {
    let mut kv = Kv::new();
    let mut effects = Effects::default();
    for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
        let ops = chunk.iter().map(|&n| put(key(n), n.to_le_bytes())).collect();
        apply_kind(&mut kv, WRITE, &Write { ops }.encode(), &mut effects);
    }
    kv
}

/// All of a range, page by page as a client would read it.
fn pages(kv: &Kv, mut range: Range) -> (Vec<Rec>, u64, u32) {
    let (mut records, mut count, mut turns) = (Vec::new(), 0, 0);
    loop {
        let bytes = read(kv, &Query::Range(range.clone()));
        let reply = Reply::take(&mut &bytes[..]).unwrap();
        assert_eq!(reply.status, Status::Ok);
        let found = Found::open(reply.body).unwrap();
        records.extend(recs(found.bytes));
        count += found.count;
        turns += 1;
        if found.next.is_empty() {
            return (records, count, turns);
        }
        assert!(found.records as usize <= VISITS);
        let side = if range.flags & flag::DESCEND != 0 { &mut range.end } else { &mut range.key };
        *side = found.next.to_vec();
    }
}

fn all(flags: u16) -> Range {
    Range { key: vec![0], end: vec![0], flags, ..Range::default() }
}

#[test]
fn long_ranges_come_in_pages_either_way() {
    let kv = filled(3_500);
    let (up, count, turns) = pages(&kv, all(0));
    assert_eq!((up.len(), count, turns), (3_500, 3_500, 4));
    assert!(up.iter().enumerate().all(|(n, rec)| rec.key == key(n as u32)));
    let (mut down, count, _) = pages(&kv, all(flag::DESCEND));
    down.reverse();
    assert_eq!((down, count), (up, 3_500));
    assert_eq!(pages(&kv, all(flag::COUNT_ONLY)).1, 3_500);
}

#[test]
fn an_answer_is_bounded_in_bytes() {
    let mut kv = Kv::new();
    for n in 0..10 {
        apply(&mut kv, &put(key(n), vec![n as u8; 400_000]));
    }
    for flags in [0, flag::DESCEND] {
        let (records, count, turns) = pages(&kv, all(flags));
        assert_eq!((records.len(), count), (10, 10));
        assert!(turns >= 4, "{turns}");
    }
    let bytes = history(&kv, 1);
    let reply = Reply::take(&mut &bytes[..]).unwrap();
    assert_eq!(reply.flags, said::PARTIAL);
    assert_eq!(u64::from_le_bytes(reply.body[..8].try_into().unwrap()), 5);
}

#[test]
fn a_key_with_a_long_past_does_not_hide_its_neighbours() {
    let mut kv = filled(10);
    for n in 0..5_000u32 {
        apply(&mut kv, &put(key(4), n.to_le_bytes()));
    }
    for revision in [11, 12, 3_000, 0] {
        let (records, _, turns) = pages(&kv, Range { revision, ..all(0) });
        assert_eq!((records.len(), turns), (10, 1), "at revision {revision}");
        let (down, _, turns) = pages(&kv, Range { revision, ..all(flag::DESCEND) });
        assert_eq!((down.len(), turns), (10, 1), "at revision {revision}");
    }
}

#[test]
fn a_long_deletion_takes_turns_and_shows_only_when_it_is_through() {
    let mut kv = filled(2_600);
    history(&kv, 0);
    let op = Op::Delete(Delete { key: key(100), end: key(2_500), flags: flag::BEFORE });
    let payload = op.encode();
    let envelope = Envelope { realm: RealmId::Kv as u8, kind: WRITE, ..Envelope::default() };
    let command = Command { envelope, payload: &payload };
    let mut effects = Effects { wanted: true, ..Effects::default() };
    let revision = kv.revision();
    let mut turns = 1;
    while kv.apply(&Stamp::default(), &command, &mut effects) == Flow::Again {
        turns += 1;
        assert_eq!(pages(&kv, all(0)).0.len(), 2_600, "half a deletion is seen");
        assert_eq!(pages(&kv, all(flag::DESCEND)).0.len(), 2_600, "half a deletion is seen");
        let bytes = history(&kv, revision + 1);
        assert_eq!(Reply::take(&mut &bytes[..]).unwrap().body.len(), 16, "half a deletion is told");
    }
    assert!(turns >= 10, "{turns}");
    assert_eq!((kv.revision(), pages(&kv, all(0)).0.len()), (revision + 1, 200));
    let reply = Reply::take(&mut &effects.reply[..]).unwrap();
    assert_eq!(deleted(&reply), Out::Deleted(2_400, (100..2_500).map(|n| rec_of(n, revision)).collect()));
    assert_eq!(Group::take(&mut &effects.changes[..]).map(|group| group.events), Some(2_400));
}

fn rec_of(n: u32, _: u64) -> Rec {
    let modified = u64::from(n) + 2;
    Rec { key: key(n), value: n.to_le_bytes().into(), modified, create: modified, version: 1, lease: 0 }
}

#[test]
fn a_transaction_may_span_more_than_a_turn() {
    let mut kv = filled(2_500);
    let find = Range { sort: Sort::Create, limit: 1, flags: flag::DESCEND, ..all(0) };
    let then = vec![
        Step::Put(Put { key: b"key-new".into(), ..Put::default() }),
        Step::Range(find),
        Step::Delete(Delete { key: key(0), end: key(1_000), flags: 0 }),
        Step::Range(all(flag::COUNT_ONLY)),
    ];
    let txn = Txn { nodes: vec![Node { then, ..Node::default() }] };
    let reply = apply(&mut kv, &Op::Txn(txn.clone())).reply;
    let Out::Txn(true, outs) = node_out(&txn, 0, &Reply::take(&mut &reply[..]).unwrap()) else {
        panic!("refused")
    };
    let Out::Range { count: 2_501, records, more: true } = &outs[1] else { panic!("{:?}", outs[1]) };
    assert_eq!((records.len(), &records[0].key[..]), (1, &b"key-new"[..]));
    assert_eq!(outs[2], Out::Deleted(1_000, vec![]));
    assert_eq!(outs[3], Out::Range { count: 1_501, records: vec![], more: false });
    assert_eq!(kv.revision(), 2_502);
}

#[test]
fn a_lease_with_many_keys_ends_in_one_revision() {
    let mut kv = Kv::new();
    apply(&mut kv, &Op::Grant(Grant { lease: 5, ttl_s: 10 }));
    for n in 0..1_500 {
        apply(&mut kv, &Op::Put(Put { key: key(n), lease: 5, ..Put::default() }));
    }
    let revision = kv.revision();
    history(&kv, 0);
    let mut effects = Effects { wanted: true, ..Effects::default() };
    let turns = apply_kind(&mut kv, EXPIRE, &5u64.to_le_bytes(), &mut effects);
    assert!(turns >= 6, "{turns}");
    assert_eq!((kv.revision(), kv.store.live, kv.store.tables[store::ATTACHED].len()), (revision + 1, 0, 0));
    assert_eq!(Group::take(&mut &effects.changes[..]).map(|group| group.events), Some(1_500));
}

#[test]
fn history_is_told_in_slices_without_gap_or_repetition() {
    let mut kv = filled(1_700);
    apply(&mut kv, &Op::Delete(Delete { key: vec![0], end: vec![0], flags: 0 }));
    apply(&mut kv, &put("last", ""));
    let (mut revision, mut sub, mut seen, mut slices) = (1, 0, Vec::new(), 0);
    loop {
        let want = History { key: vec![0], end: vec![0], revision, sub, flags: 0 };
        let bytes = read(&kv, &Query::History(want));
        let reply = Reply::take(&mut &bytes[..]).unwrap();
        seen.extend(told(&reply.body[16..]).0.into_iter().map(|rec| (rec.modified, rec.key)));
        revision = u64::from_le_bytes(reply.body[..8].try_into().unwrap());
        sub = u32::from_le_bytes(reply.body[8..12].try_into().unwrap());
        slices += 1;
        if reply.flags & said::PARTIAL == 0 {
            break;
        }
    }
    assert_eq!((revision, seen.len()), (kv.revision() + 1, 3_401));
    assert!(seen.is_sorted() && slices >= 4, "{slices}");
    seen.dedup();
    assert_eq!(seen.len(), 3_401);
}

#[test]
fn compaction_frees_in_slices_and_hides_at_once() {
    let mut kv = filled(3_000);
    let mut effects = Effects::default();
    for n in 0..3_000 {
        apply_kind(&mut kv, WRITE, &put(key(n), "new").encode(), &mut effects);
    }
    let revision = kv.revision();
    apply(&mut kv, &Op::Compact { revision });
    let bytes = read(&kv, &Query::Range(Range { revision: revision - 1, ..all(0) }));
    assert_eq!(Reply::take(&mut &bytes[..]).unwrap().status, Status::Compacted);
    let mut slices = 0;
    while kv.freeing {
        let before = kv.store.freed;
        apply_kind(&mut kv, SLICE, &[], &mut effects);
        assert!(kv.store.freed - before <= SLICE_FREES as u64);
        slices += 1;
        kv = reload(&mut kv);
    }
    assert!(slices >= 6_000 / SLICE_FREES, "{slices}");
    let left = kv.store.trail.end() - kv.store.freed;
    assert_eq!((kv.store.tables[store::KEYS].len(), left), (3_000, 1));
    assert_eq!(pages(&kv, all(0)).0.len(), 3_000);
}

#[test]
fn a_group_too_long_to_be_told_says_so() {
    let mut kv = Kv::new();
    history(&kv, 0);
    let ops = (0..900).map(|n| put([vec![b'x'; 2_000], key(n)].concat(), "")).collect();
    apply_kind(&mut kv, WRITE, &Write { ops }.encode(), &mut Effects::default());
    let effects = apply(&mut kv, &Op::Delete(Delete { key: vec![0], end: vec![0], flags: 0 }));
    let group = Group::take(&mut &effects.changes[..]).unwrap();
    assert_eq!((group.events, group.bytes.len(), group.revision), (EVENTS_UNTOLD, 0, kv.revision()));
    let bytes = history(&kv, kv.revision());
    let reply = Reply::take(&mut &bytes[..]).unwrap();
    assert!(reply.flags == said::PARTIAL && told(&reply.body[16..]).0.len() > 200);
}
