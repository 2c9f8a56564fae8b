//! A znode as it lies in the store.
//!
//! ```text
//!  0 kind u8 | 1 null u8 | 2 zero u16 | 4 acl u32 | 8 czxid | 16 mzxid | 24 pzxid | 32 ctime | 40 mtime
//! 48 created u64 | 56 version i32 | 60 aversion i32 | 64 children u32
//! 68 ephemeral: session u64; TTL: milliseconds u64, cluster time of the last write u64
//!    data
//! ```
//! Numbers are little-endian. `created` counts the children ever created: it numbers sequential names, and with
//! `children` gives the cversion that clients see. It has 64 bits, so names grow wider where the reference's
//! counter turns negative and then sticks.

use super::jute::Stat;
use crate::base::Nanos;

const FIXED: usize = 68;

/// What a node lives by. The store keeps the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Until somebody deletes it.
    Plain,
    /// As long as a session.
    Ephemeral { session: u64 },
    /// Until its last child has gone.
    Container,
    /// Until it has had neither child nor write for so long.
    Ttl { ms: u64, written: Nanos },
}

impl Kind {
    fn tail(self) -> usize {
        match self {
            Kind::Plain | Kind::Container => 0,
            Kind::Ephemeral { .. } => 8,
            Kind::Ttl { .. } => 16,
        }
    }
}

/// A record, borrowed from the store.
#[derive(Clone, Copy)]
pub struct Node<'a>(&'a [u8]);

/// The fields of a record but its data, for changing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    /// The list's number in the table of lists.
    pub acl: u32,
    pub czxid: u64,
    pub mzxid: u64,
    pub pzxid: u64,
    pub ctime: u64,
    pub mtime: u64,
    /// Children ever created.
    pub created: u64,
    pub version: i32,
    pub aversion: i32,
    pub children: u32,
}

impl<'a> Node<'a> {
    pub fn new(record: &'a [u8]) -> Node<'a> {
        debug_assert!(record.len() >= FIXED);
        Node(record)
    }

    /// As `new`, for records that came with a snapshot.
    pub fn checked(record: &'a [u8]) -> Option<Node<'a>> {
        let tail = match record.first()? {
            0 | 2 => 0,
            1 => 8,
            3 => 16,
            _ => return None,
        };
        (record.len() >= FIXED + tail).then_some(Node(record))
    }

    fn u64_at(self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn u32_at(self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    pub fn kind(self) -> Kind {
        match self.0[0] {
            0 => Kind::Plain,
            1 => Kind::Ephemeral { session: self.u64_at(FIXED) },
            2 => Kind::Container,
            3 => Kind::Ttl { ms: self.u64_at(FIXED), written: Nanos(self.u64_at(FIXED + 8)) },
            kind => unreachable!("no node is of kind {kind}"),
        }
    }

    pub fn acl(self) -> u32 {
        self.u32_at(4)
    }

    pub fn children(self) -> u32 {
        self.u32_at(64)
    }

    pub fn head(self) -> Head {
        Head {
            kind: self.kind(),
            acl: self.acl(),
            czxid: self.u64_at(8),
            mzxid: self.u64_at(16),
            pzxid: self.u64_at(24),
            ctime: self.u64_at(32),
            mtime: self.u64_at(40),
            created: self.u64_at(48),
            version: self.u32_at(56) as i32,
            aversion: self.u32_at(60) as i32,
            children: self.children(),
        }
    }

    pub fn data(self) -> Option<&'a [u8]> {
        (self.0[1] == 0).then(|| &self.0[FIXED + self.kind().tail()..])
    }

    pub fn stat(self) -> Stat {
        self.head().stat(self.data())
    }
}

impl Head {
    pub fn stat(&self, data: Option<&[u8]>) -> Stat {
        Stat {
            czxid: self.czxid as i64,
            mzxid: self.mzxid as i64,
            ctime: self.ctime as i64,
            mtime: self.mtime as i64,
            version: self.version,
            cversion: (self.created as i32).wrapping_mul(2).wrapping_sub(self.children as i32),
            aversion: self.aversion,
            ephemeral_owner: match self.kind {
                Kind::Ephemeral { session } => session as i64,
                _ => 0,
            },
            data_length: data.map_or(0, <[u8]>::len) as i32,
            num_children: self.children as i32,
            pzxid: self.pzxid as i64,
        }
    }

    /// Replaces what `out` holds by the record.
    pub fn write(&self, data: Option<&[u8]>, out: &mut Vec<u8>) {
        out.clear();
        let mut fixed = [0; FIXED];
        fixed[0] = match self.kind {
            Kind::Plain => 0,
            Kind::Ephemeral { .. } => 1,
            Kind::Container => 2,
            Kind::Ttl { .. } => 3,
        };
        fixed[1] = data.is_none().into();
        fixed[4..8].copy_from_slice(&self.acl.to_le_bytes());
        for (at, value) in [
            (8, self.czxid),
            (16, self.mzxid),
            (24, self.pzxid),
            (32, self.ctime),
            (40, self.mtime),
            (48, self.created),
        ] {
            fixed[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        fixed[56..60].copy_from_slice(&self.version.to_le_bytes());
        fixed[60..64].copy_from_slice(&self.aversion.to_le_bytes());
        fixed[64..68].copy_from_slice(&self.children.to_le_bytes());
        out.extend_from_slice(&fixed);
        match self.kind {
            Kind::Plain | Kind::Container => {}
            Kind::Ephemeral { session } => out.extend_from_slice(&session.to_le_bytes()),
            Kind::Ttl { ms, written } => {
                out.extend_from_slice(&ms.to_le_bytes());
                out.extend_from_slice(&written.0.to_le_bytes());
            }
        }
        out.extend_from_slice(data.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_every_field_of_every_kind() {
        let kinds = [
            Kind::Plain,
            Kind::Ephemeral { session: 0x0100_0000_0000_0007 },
            Kind::Container,
            Kind::Ttl { ms: 5000, written: Nanos(77) },
        ];
        for kind in kinds {
            for data in [None, Some(&b""[..]), Some(&b"some data"[..])] {
                let head = Head {
                    kind,
                    acl: 9,
                    czxid: 1,
                    mzxid: 2,
                    pzxid: 3,
                    ctime: 4,
                    mtime: 5,
                    created: 6,
                    version: 7,
                    aversion: -8,
                    children: 2,
                };
                let mut record = Vec::new();
                head.write(data, &mut record);
                let node = Node::new(&record);
                assert_eq!((node.head(), node.data()), (head, data));
                assert_eq!(node.stat().cversion, 10);
            }
        }
    }
}
