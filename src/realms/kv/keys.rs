//! How a key and a revision become one key of the table of versions.
//!
//! A key's versions lie together, the newest first: the key, escaped so that none is the beginning of another,
//! then the revision turned upside down. A zero byte becomes `00 ff`, the end is `00 01`; order is kept.

use crate::state::Key;

const END: [u8; 2] = [0, 1];
/// Bytes behind the escaped key: its end and the revision.
const TAIL: usize = END.len() + 8;

/// The part that all versions of `key` share.
pub fn stem(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if key.contains(&0) {
        for &byte in key {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
    } else {
        out.extend_from_slice(key);
    }
    out.extend_from_slice(&END);
}

/// Makes a stem the key of one version.
pub fn set_revision(stem: &mut Vec<u8>, revision: u64) {
    stem.extend_from_slice(&(!revision).to_be_bytes());
}

/// Takes the revision off again.
pub fn clear_revision(stored: &mut Vec<u8>) {
    stored.truncate(stored.len() - 8);
}

/// Of a version's key in the table: the revision, and into `out` the stem.
pub fn split(stored: Key<'_>, out: &mut Vec<u8>) -> u64 {
    stored.copy_to(out);
    let revision = out.last_chunk::<8>().map_or(0, |bytes| !u64::from_be_bytes(*bytes));
    clear_revision(out);
    revision
}

/// Turns a stem into the key that a client knows.
pub fn plain(stem: &mut Vec<u8>) {
    stem.truncate(stem.len() - END.len());
    if stem.contains(&0) {
        let mut after_zero = false;
        stem.retain(|&byte| {
            let escape = after_zero && byte == 0xff;
            after_zero = byte == 0;
            !escape
        });
    }
}

/// Whether a version's key belongs to this stem.
pub fn is_of(stored: &Key<'_>, stem: &[u8]) -> bool {
    stored.len() == stem.len() + 8 && stored.starts_with(stem)
}

/// Bytes of the longest key in the table of versions.
pub const fn longest(key: usize) -> usize {
    2 * key + TAIL
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_by_key_then_newest_first(
            a in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 254, 255]), 1..6),
            b in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 254, 255]), 1..6),
            x in any::<u64>(), y in any::<u64>(),
        ) {
            let stored = |key: &[u8], revision| {
                let mut out = Vec::new();
                stem(key, &mut out);
                set_revision(&mut out, revision);
                out
            };
            let expected = a.cmp(&b).then(y.cmp(&x));
            prop_assert_eq!(stored(&a, x).cmp(&stored(&b, y)), expected);
            let mut table = crate::state::Table::new();
            table.put(&stored(&a, x), b"");
            let mut back = Vec::new();
            let revision = split(table.ascend(std::ops::Bound::Unbounded).next().unwrap().0, &mut back);
            plain(&mut back);
            prop_assert_eq!((back, revision), (a, x));
        }
    }
}
