//! What stages ask of the world, and what it tells them. `drive` and `sim` both answer to this, nothing else does.
//!
//! Asking never blocks: an answer comes later through the stage's `on_*`. The one exception is `Media`, which
//! recovery and the tools use before a loop runs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{Block, Identity, Index, Nanos};

/// A connection of this loop. The generation tells a reused slot from the connection that had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn {
    pub slot: u32,
    pub generation: u32,
}

/// Which listener a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    Peer,
    Native,
    Zk,
    /// The ZooKeeper door's listener for TLS. A station sees `Zk`.
    ZkTls,
    Etcd,
    Consul,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other side closed, or its process died: a reset is its kernel's word for a death with bytes unread.
    Closed,
    /// The network gave up: time-out, unreachable.
    Broken,
    /// Nobody listens there: the process is gone, its machine is not.
    Refused,
}

/// News of sockets.
#[derive(Debug)]
pub enum NetEvent<'a> {
    /// A listener of `door` took a connection. `by`: whom its certificate names, if it has shown one.
    Accepted { conn: Conn, door: Door, from: SocketAddr, by: Option<Arc<Identity>> },
    /// `Net::dial` with this token has come through, to whomever `by` names; `None`: in the clear.
    Dialled { token: u64, conn: Conn, by: Option<Arc<Identity>> },
    /// `Net::dial` with this token has not.
    DialFailed { token: u64, why: Ended },
    /// Bytes in the order sent. The slice is only valid during the call.
    Bytes { conn: Conn, bytes: &'a [u8] },
    /// The buffer given to `send` has gone out whole and comes back, emptied, for its next use.
    Sent { conn: Conn, buffer: Vec<u8> },
    /// Gone; no further event for it. A buffer in flight is lost with it.
    Ended { conn: Conn, why: Ended },
}

impl NetEvent<'_> {
    /// Of what happened on a connection that is known already.
    pub fn conn(&self) -> Option<Conn> {
        match self {
            NetEvent::Bytes { conn, .. } | NetEvent::Sent { conn, .. } | NetEvent::Ended { conn, .. } => {
                Some(*conn)
            }
            NetEvent::Accepted { .. } | NetEvent::Dialled { .. } | NetEvent::DialFailed { .. } => None,
        }
    }
}

/// Sockets of one loop.
pub trait Net {
    /// Sends all of `buffer`. At most one send per connection is under way: wait for `Sent`.
    fn send(&mut self, conn: Conn, buffer: Vec<u8>);
    /// Stops (or resumes) taking bytes from it: back-pressure.
    fn pause(&mut self, conn: Conn, paused: bool);
    /// Closes after what was sent has gone out. No `Ended` follows.
    fn close(&mut self, conn: Conn);
    /// Connects; the answer is `Dialled` or `DialFailed`.
    fn dial(&mut self, token: u64, to: SocketAddr);
    /// What was asked for so far, of disk and network, starts now: something long comes next. Otherwise it starts
    /// when the turn is over.
    fn start(&mut self) {}
}

/// A file of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The superblock's copies.
    Super,
    /// A log segment, by its place in the ring of segments.
    Segment(u32),
    /// The snapshot at an index.
    Snapshot(Index),
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            File::Super => write!(f, "super"),
            File::Segment(n) => write!(f, "segment-{n:05}"),
            File::Snapshot(index) => write!(f, "snapshot-{:020}", index.0),
        }
    }
}

/// What a disk operation failed with. Final for the data directory: a failed flush is never tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} of {file} at offset {offset} failed: {reason}")]
pub struct DiskFault {
    pub operation: &'static str,
    pub file: File,
    pub offset: u64,
    pub reason: String,
}

/// News of the disk, by the token of the request.
#[derive(Debug)]
pub enum DiskEvent {
    /// Written and on stable media.
    Written {
        token: u64,
        result: Result<(), DiskFault>,
    },
    /// Read; as many bytes as asked for.
    Read {
        token: u64,
        result: Result<Block, DiskFault>,
    },
    /// Created, filled with zeros, on stable media with its directory entry.
    Created {
        token: u64,
        result: Result<(), DiskFault>,
    },
    Removed {
        token: u64,
        result: Result<(), DiskFault>,
    },
}

/// The disk of one loop. Offsets and lengths are whole pages. Requests under way together may land in any order.
pub trait Disk {
    /// Writes `block`'s pages at `offset`; the answer comes when they are on stable media. Only snapshot files
    /// are written at their end, and grow by it.
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block);
    fn read(&mut self, token: u64, file: File, offset: u64, len: usize);
    /// Makes a file of exactly `len` bytes of written zeros, so that later writes move no metadata. A failure
    /// leaves none.
    /// A snapshot, made empty, may begin with the bytes of one that was removed: to write over them costs the file
    /// system nothing. `end` takes what is left of them.
    fn create(&mut self, token: u64, file: File, len: u64);
    /// Nothing lies behind `len` in this snapshot's file from here on. `Written` tells when.
    fn end(&mut self, token: u64, file: File, len: u64);
    /// No write to it is under way.
    fn remove(&mut self, token: u64, file: File);
}

/// The same files before a loop runs: recovery and tools wait for each call. A write returns once it is on
/// stable media. A tool opens them read-only and gets a fault for any write.
pub trait Media {
    /// What is there, with lengths in bytes.
    fn files(&mut self) -> Result<Vec<(File, u64)>, DiskFault>;
    /// Fills `into`, whole pages; bytes beyond the end of the file are a fault.
    fn read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault>;
    fn write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault>;
    fn create(&mut self, file: File, len: u64) -> Result<(), DiskFault>;
    fn remove(&mut self, file: File) -> Result<(), DiskFault>;
}

/// What a turn of a stage, or of all stages of a loop, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// More can be done at once: do not sleep.
    pub again: bool,
    /// Otherwise wake it at this time at the latest.
    pub deadline: Nanos,
}

impl Turn {
    pub const IDLE: Turn = Turn { again: false, deadline: Nanos::MAX };

    /// Both stages' wishes.
    pub fn and(self, other: Turn) -> Turn {
        Turn { again: self.again || other.again, deadline: self.deadline.min(other.deadline) }
    }
}
