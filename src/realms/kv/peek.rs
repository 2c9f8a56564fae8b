//! A glance at the key of an archive, for looking ahead: a few loads instead of a check of the whole.
//!
//! Nothing may depend on what it says. Of an archive that is broken, or larger than one operation, it may say
//! anything; whoever acts on an archive opens it.

use std::mem::offset_of;

use super::ops::{ArchivedOp, ArchivedPut, ArchivedQuery, ArchivedRange};

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
    use super::*;
    use crate::realms::kv::ops::{Delete, Op, Put, Query, Range, Write};

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
}
