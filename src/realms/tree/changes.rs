//! What a command changed, for those who watch.
//!
//! ```text
//! command = zxid u64, changes until the end
//! change  = 1 created | 2 deleted   path, list of the node, list of its parent
//!         | 3 data changed          path, list of the node
//!         | 10 session ended        session u64
//!         | 11 session moved        session u64, origin u64
//! path, list = length u32, bytes
//! ```
//! Numbers are big-endian. The lists are those at the time of the change: an event goes only to who may read.
//! The usual one, which lets everybody do everything, is written as no bytes at all.

use super::acl;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Created {
        path: &'a [u8],
        list: &'a [u8],
        parent_list: &'a [u8],
    },
    Deleted {
        path: &'a [u8],
        list: &'a [u8],
        parent_list: &'a [u8],
    },
    Data {
        path: &'a [u8],
        list: &'a [u8],
    },
    /// Closed or expired: whoever serves it hangs up.
    Ended {
        session: u64,
    },
    /// Attached by another edge: whoever else serves it hangs up.
    Moved {
        session: u64,
        origin: u64,
    },
}

impl Change<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Change::Created { path, list, parent_list } => {
                out.push(1);
                put(path, out);
                put_list(list, out);
                put_list(parent_list, out);
            }
            Change::Deleted { path, list, parent_list } => {
                out.push(2);
                put(path, out);
                put_list(list, out);
                put_list(parent_list, out);
            }
            Change::Data { path, list } => {
                out.push(3);
                put(path, out);
                put_list(list, out);
            }
            Change::Ended { session } => {
                out.push(10);
                out.extend_from_slice(&session.to_be_bytes());
            }
            Change::Moved { session, origin } => {
                out.push(11);
                out.extend_from_slice(&session.to_be_bytes());
                out.extend_from_slice(&origin.to_be_bytes());
            }
        }
    }
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_list(list: &[u8], out: &mut Vec<u8>) {
    put(if list == acl::OPEN { b"" } else { list }, out);
}

/// Reads one command's changes: its zxid, then each. The bytes are the realm's own, so they are not doubted.
pub fn all(bytes: &[u8]) -> (u64, impl Iterator<Item = Change<'_>>) {
    let mut rest = bytes;
    let zxid = take_u64(&mut rest);
    let changes = std::iter::from_fn(move || {
        let (&what, tail) = rest.split_first()?;
        rest = tail;
        Some(match what {
            1 => Change::Created {
                path: take(&mut rest),
                list: take_list(&mut rest),
                parent_list: take_list(&mut rest),
            },
            2 => Change::Deleted {
                path: take(&mut rest),
                list: take_list(&mut rest),
                parent_list: take_list(&mut rest),
            },
            3 => Change::Data { path: take(&mut rest), list: take_list(&mut rest) },
            10 => Change::Ended { session: take_u64(&mut rest) },
            11 => Change::Moved { session: take_u64(&mut rest), origin: take_u64(&mut rest) },
            what => unreachable!("the realm writes no change {what}"),
        })
    });
    (zxid, changes)
}

fn take_u64(rest: &mut &[u8]) -> u64 {
    let (head, tail) = rest.split_first_chunk::<8>().expect("eight bytes of a change");
    *rest = tail;
    u64::from_be_bytes(*head)
}

fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (head, tail) = rest.split_first_chunk::<4>().expect("a length in a change");
    let (bytes, tail) = tail.split_at(u32::from_be_bytes(*head) as usize);
    *rest = tail;
    bytes
}

fn take_list<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    match take(rest) {
        b"" => acl::OPEN,
        list => list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_written() {
        let changes = [
            Change::Created { path: b"/a", list: acl::OPEN, parent_list: acl::READ_ONLY },
            Change::Deleted { path: b"/a", list: acl::READ_ONLY, parent_list: acl::OPEN },
            Change::Data { path: b"/", list: acl::OPEN },
            Change::Ended { session: 7 },
            Change::Moved { session: 8, origin: 9 },
        ];
        let mut out = 42u64.to_be_bytes().to_vec();
        changes.iter().for_each(|change| change.write(&mut out));
        let (zxid, back) = all(&out);
        assert_eq!((zxid, back.collect::<Vec<_>>()), (42, changes.to_vec()));
    }
}
