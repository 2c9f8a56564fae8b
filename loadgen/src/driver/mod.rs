//! The contract between the event loop and a protocol. A driver is one connection's protocol state: it
//! writes requests into a buffer and finds completions in what arrives. It owns no socket and no clock.

pub mod codes;
pub mod consul;
pub mod etcd;
mod head;
pub mod http2;
pub mod native;
pub mod protobuf;
pub mod zk;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::access::Access;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// ZooKeeper and whatever speaks its protocol
    Zk,
    /// quorate's own protocol
    Native,
    /// etcd's gRPC
    Etcd,
    /// Consul's HTTP
    Consul,
}

impl Protocol {
    /// The key of this door in a `cluster.json`.
    pub fn key(self) -> &'static str {
        match self {
            Protocol::Zk => "zk",
            Protocol::Native => "native",
            Protocol::Etcd => "etcd",
            Protocol::Consul => "consul",
        }
    }

    /// Where keys lie unless `--prefix` says otherwise.
    pub fn prefix(self) -> &'static str {
        match self {
            Protocol::Zk => "/loadgen/k",
            Protocol::Native | Protocol::Etcd | Protocol::Consul => "loadgen/k",
        }
    }

    /// What a read promises unless `--read-mode` says otherwise: what the system's own clients do.
    pub fn read_mode(self) -> ReadMode {
        match self {
            Protocol::Zk => ReadMode::Local,
            Protocol::Native | Protocol::Etcd => ReadMode::Linearizable,
            Protocol::Consul => ReadMode::Leased,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// Whatever the asked server has.
    Local,
    /// Reflects every write acknowledged before the read began.
    Linearizable,
    /// Consul's default: the leader answers under its lease.
    Leased,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes what lies above the keys; "is there already" counts as success.
    Root,
    /// Makes a key; "is there already" counts as success.
    Create,
    Write,
    Read,
    /// A linearizable read, whatever the read mode: what is there after the load.
    Audit,
    /// Reads a key, then writes it if it is as it was read; again from the start if it is not. Counts as a write, and
    /// its `Done` has the number of repetitions for a stamp.
    Rmw,
    /// Reads as many keys as the stamp says, from this key on.
    Scan,
}

/// A key that is read and then written, between its two requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rmw {
    pub key: u64,
    pub stamp: u64,
    pub again: u64,
    /// Whether the answer to come is that of the write.
    pub writing: bool,
}

impl Kind {
    pub fn is_read(self) -> bool {
        matches!(self, Kind::Read | Kind::Audit | Kind::Scan)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub kind: Kind,
    pub key: u64,
    /// Identifies the written value among all values of the run.
    pub stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Refused: it surely did not happen. The protocol's own code.
    Failed(i32),
    /// It may have happened.
    Unknown(i32),
    /// Nobody could do it just now, and it surely did not happen: it is asked again, and has not ended.
    Later(i32),
}

/// One operation has ended.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub tag: u32,
    pub verdict: Verdict,
    /// The revision written, or of the value read; 0 where the protocol does not say.
    pub revision: u64,
    /// The stamp of the value read; 0 where there was none.
    pub stamp: u64,
}

/// The peer does not speak the protocol: hang up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all connections have in common: how keys and values look, and how reads are done.
#[derive(Clone, Debug)]
pub struct Shape {
    pub protocol: Protocol,
    pub prefix: String,
    /// Digits of the key's number, so that every key has the same length.
    pub digits: usize,
    pub keys: u64,
    pub value: Vec<u8>,
    pub read_mode: ReadMode,
    /// Answers must carry revisions and stamps, for a history.
    pub checked: bool,
    /// Writes in one request, to neighbouring keys, where the protocol has such requests.
    pub batch: usize,
    pub access: Access,
}

/// A value this long carries its stamp.
pub const STAMPED: usize = 8;

impl Shape {
    pub fn key_len(&self) -> usize {
        self.prefix.len() + self.digits
    }

    pub fn push_key(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        let from = out.len();
        out.resize(from + self.digits, b'0');
        let (mut rest, mut at) = (key, out.len());
        while rest > 0 && at > from {
            at -= 1;
            out[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    pub fn push_value(&self, stamp: u64, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.value);
        if self.value.len() >= STAMPED {
            out[from..from + STAMPED].copy_from_slice(&stamp.to_le_bytes());
        }
    }
}

/// The stamp that `push_value` wrote.
pub fn stamp_of(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Tags are below the connection's depth; a tag is free again once its `Done` was handed out. Protocols with
/// request ids carry the tag in them; those without remember the order.
pub trait Driver: Sized {
    fn new(shape: &std::sync::Arc<Shape>, depth: usize) -> Self;

    /// How many `Root` operations prepare an empty server; key `n` is the nth, in order.
    fn roots(shape: &Shape) -> u64;

    /// First bytes of a fresh connection. What was outstanding on an older one is forgotten.
    fn hello(&mut self, out: &mut Vec<u8>);

    /// Whether operations may be sent: the set-up steps are through.
    fn ready(&self) -> bool;

    fn encode(&mut self, op: &Op, tag: u32, out: &mut Vec<u8>);

    /// Returns how many bytes it took off the front. Set-up steps and the protocol's own questions
    /// are answered into `out`.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<usize, Malformed>;

    /// Called when the connection was silent for some seconds: say that the client lives.
    fn beat(&mut self, out: &mut Vec<u8>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_values_carry_their_stamp() {
        let shape = Shape {
            protocol: Protocol::Zk,
            prefix: "/p/".into(),
            digits: 6,
            keys: 10_000,
            value: vec![b'v'; 12],
            read_mode: ReadMode::Local,
            checked: false,
            batch: 1,
            access: Access::default(),
        };
        let mut out = Vec::new();
        shape.push_key(0, &mut out);
        shape.push_key(7_040, &mut out);
        assert_eq!(out, b"/p/000000/p/007040");
        out.clear();
        shape.push_value(0x0102_0304, &mut out);
        assert_eq!(out.len(), 12);
        assert_eq!(stamp_of(&out), 0x0102_0304);
        assert_eq!(stamp_of(b"short"), 0);
    }
}
