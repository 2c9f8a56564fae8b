//! A glance at an archive: a few loads instead of a check of the whole.
//!
//! - The *key* of an archive, for looking ahead. Nothing may depend on what it says: of an archive that is broken, or
//!   larger than one operation, it may say anything.
//! - Whether an archive is *plain*: nothing but puts, or a range, lying as our own encoder lays them. Then it is as
//!   good as one that was checked. (`rkyv` checks byte by byte, which took an eighth of all CPU under small writes.)

use std::mem::offset_of;

use super::ops::{ArchivedOp, ArchivedPut, ArchivedQuery, ArchivedRange, ArchivedSort, ArchivedWrite};

/// The length of an archived vector: a pointer relative to itself, and a count.
const VECTOR: usize = 8;
/// In front of an enum's fields.
const TAG: usize = 1;

/// The key that a write's first operation puts.
pub fn put_key(write: &[u8]) -> Option<&[u8]> {
    let (op, _) = vector(write, write.len().checked_sub(VECTOR)?)?;
    let put = write.get(op..op + size_of::<ArchivedOp>())?[0] == 0;
    bytes(write, op + TAG + offset_of!(ArchivedPut, key)).filter(|_| put)
}

/// The key that a range begins with.
pub fn range_key(query: &[u8]) -> Option<&[u8]> {
    let root = query.len().checked_sub(size_of::<ArchivedQuery>())?;
    bytes(query, root + TAG + offset_of!(ArchivedRange, key)).filter(|_| query[root] == 0)
}

/// The archive, if it is plain.
pub fn plain_puts(write: &[u8]) -> Option<&ArchivedWrite> {
    let root = write.len().checked_sub(VECTOR)?;
    let (ops, count) = vector(write, root)?;
    let (all, []) = write.get(ops..root)?.as_chunks::<{ size_of::<ArchivedOp>() }>() else { return None };
    let mut end = 0;
    for (nth, op) in all.iter().enumerate() {
        let at = ops + nth * size_of::<ArchivedOp>() + TAG;
        let [key, value] = [offset_of!(ArchivedPut, key), offset_of!(ArchivedPut, value)];
        end = adjoining(write, at + key, end).and_then(|end| adjoining(write, at + value, end))?;
        if op[0] != 0 {
            return None;
        }
    }
    if end != ops || all.len() != count {
        return None;
    }
    // SAFETY: the root is a vector of `count` operations that fill the archive in front of it; each is a put by its
    // tag, the bytes of each key and value lie in the archive in front of them, and of numbers any bytes are valid.
    Some(unsafe { rkyv::access_unchecked::<ArchivedWrite>(write) })
}

/// The archive, if it is plain.
pub fn plain_range(query: &[u8]) -> Option<&ArchivedQuery> {
    let root = query.len().checked_sub(size_of::<ArchivedQuery>())?;
    let [key, end] = [offset_of!(ArchivedRange, key), offset_of!(ArchivedRange, end)];
    let bytes =
        adjoining(query, root + TAG + key, 0).and_then(|at| adjoining(query, root + TAG + end, at))?;
    let sort = query[root + TAG + offset_of!(ArchivedRange, sort)];
    if bytes != root || query[root] != 0 || sort > ArchivedSort::Value as u8 {
        return None;
    }
    // SAFETY: the root is a range by its tag, the bytes of key and end lie in front of it, the order is one that
    // there is, and of numbers any bytes are valid.
    Some(unsafe { rkyv::access_unchecked::<ArchivedQuery>(query) })
}

/// Where the vector at `at` ends, if its bytes begin at `start`.
fn adjoining(archive: &[u8], at: usize, start: usize) -> Option<usize> {
    vector(archive, at).filter(|(from, _)| *from == start).and_then(|(from, length)| from.checked_add(length))
}

fn bytes(archive: &[u8], at: usize) -> Option<&[u8]> {
    let (start, length) = vector(archive, at)?;
    archive.get(start..start.checked_add(length)?)
}

fn vector(archive: &[u8], at: usize) -> Option<(usize, usize)> {
    let head = archive.get(at..)?.first_chunk::<VECTOR>()?;
    let offset = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    Some((at.checked_add_signed(offset as isize)?, count as usize))
}

#[cfg(test)]
mod tests {
    use rkyv::rancor::Failure;

    use super::*;
    use crate::base::Rng;
    use crate::realms::kv::ops::{Delete, Op, Put, Query, Range, Sort, Txn, Write};

    #[test]
    fn it_sees_the_keys_of_real_archives_and_survives_others() {
        for length in [0, 1, 3, 17, 300, 16_000] {
            let key = vec![b'k'; length];
            let put = Put { key: key.clone(), value: vec![7; 2 * length + 1], lease: 5, ..Put::default() };
            let one = Op::Put(put.clone()).encode();
            assert_eq!(put_key(&one), Some(&key[..]));
            let more = Write { ops: vec![Op::Put(put), Op::Delete(Delete::default())] }.encode();
            assert_eq!(put_key(&more), Some(&key[..]));
            let range = Range { key: key.clone(), end: vec![9; 5], ..Range::default() };
            assert_eq!(range_key(&Query::Range(range).encode()), Some(&key[..]));
            for bytes in [&one, &more] {
                (0..bytes.len().min(400)).for_each(|end| {
                    let (_, _) = (put_key(&bytes[..end]), range_key(&bytes[end..]));
                });
            }
        }
        assert_eq!(put_key(&Op::Delete(Delete { key: b"k".into(), ..Delete::default() }).encode()), None);
        assert_eq!(range_key(&Query::Totals.encode()), None);
        assert_eq!((put_key(&[0xff; 64]), range_key(&[0xff; 64])), (None, None));
    }

    fn some_puts(rng: &mut Rng) -> Vec<u8> {
        let put = |rng: &mut Rng| Put {
            key: vec![b'k'; rng.below(40) as usize],
            value: vec![7; rng.below(4) as usize * 50],
            lease: rng.next_u64(),
            flags: rng.next_u64() as u16,
        };
        Write { ops: (0..rng.below(5)).map(|_| Op::Put(put(rng))).collect() }.encode()
    }

    fn some_range(rng: &mut Rng) -> Vec<u8> {
        let sort = *rng.pick(&[Sort::Key, Sort::Version, Sort::Create, Sort::Mod, Sort::Value]);
        let (key, end) = (vec![b'k'; rng.below(40) as usize], vec![b'l'; rng.below(3) as usize]);
        Query::Range(Range { key, end, revision: rng.next_u64(), sort, ..Range::default() }).encode()
    }

    #[test]
    fn what_our_encoder_makes_is_plain_and_what_is_plain_passes_the_check() {
        let mut rng = Rng::new(6);
        let checks = |bytes: &[u8]| rkyv::access::<ArchivedWrite, Failure>(bytes).is_ok();
        let asks = |bytes: &[u8]| rkyv::access::<ArchivedQuery, Failure>(bytes).is_ok();
        let (mut bent_but_plain, mut bent_ranges) = (0, 0);
        let rounds = if cfg!(miri) { 10 } else { 2_000 };
        for _ in 0..rounds {
            let (write, range) = (some_puts(&mut rng), some_range(&mut rng));
            assert!(plain_puts(&write).is_some() && plain_range(&range).is_some());
            for _ in 0..20 {
                let mut bent = [write.clone(), range.clone()];
                for bytes in &mut bent {
                    // The numbers and pointers lie at the end.
                    let tail = rng.between(1, (bytes.len() as u64).min(70)) as usize;
                    let at = bytes.len() - tail;
                    bytes[at] ^= 1 << rng.below(8);
                }
                let [write, range] = bent;
                if plain_puts(&write).is_some() {
                    assert!(checks(&write), "{write:?}");
                    bent_but_plain += 1;
                }
                if plain_range(&range).is_some() {
                    assert!(asks(&range), "{range:?}");
                    bent_ranges += 1;
                }
            }
            for cut in 0..write.len().min(60) {
                let _ = (plain_puts(&write[cut..]), plain_puts(&write[..cut]));
                let _ = (
                    plain_range(&range[cut.min(range.len())..]),
                    plain_range(&range[..cut.min(range.len())]),
                );
            }
        }
        let enough = rounds / 2;
        assert!(bent_but_plain > enough && bent_ranges > enough, "{bent_but_plain} {bent_ranges}");
        for other in [Op::Delete(Delete::default()), Op::Txn(Txn::default()), Op::Revoke { lease: 1 }] {
            assert!(plain_puts(&other.encode()).is_none());
        }
        assert!(plain_range(&Query::Totals.encode()).is_none() && plain_range(&[]).is_none());
        assert!(plain_puts(&[]).is_none() && plain_puts(&[0xff; 99]).is_none());
    }
}
