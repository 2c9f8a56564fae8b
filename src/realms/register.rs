//! A handful of registers: the smallest state machine that can show whether the log under it keeps its word.
//!
//! Every reply tells what the register held before, so that a history of replies can be judged; every change has
//! a revision of its own. A session's latest request is remembered with its reply: a resend gets that again.

use crate::base::Nanos;
use crate::base::planted::{self, Bug};
use crate::realms::{Broken, Effects, Flow, Realm, Stamp};
use crate::state::{Command, Table};

pub const WRITE: u8 = 1;
pub const SWAP: u8 = 2;

/// `register u32, value u64`.
pub fn write(register: u32, value: u64) -> Vec<u8> {
    [&register.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

/// `register u32, from u64, to u64`: set to `to` if it holds `from`.
pub fn swap(register: u32, from: u64, to: u64) -> Vec<u8> {
    [&register.to_le_bytes()[..], &from.to_le_bytes(), &to.to_le_bytes()].concat()
}

/// `register u32`.
pub fn query(register: u32) -> Vec<u8> {
    register.to_le_bytes().to_vec()
}

/// What a command or query came to, as its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Done {
        before: u64,
        revision: u64,
    },
    /// The session has sent a later request already: the fate of this one cannot be told.
    Stale,
    Malformed,
}

impl Reply {
    /// `status u8, before u64, revision u64`.
    fn encode(self, out: &mut Vec<u8>) {
        let (status, before, revision) = match self {
            Reply::Done { before, revision } => (0, before, revision),
            Reply::Stale => (1, 0, 0),
            Reply::Malformed => (2, 0, 0),
        };
        out.push(status);
        out.extend_from_slice(&u64::to_le_bytes(before));
        out.extend_from_slice(&u64::to_le_bytes(revision));
    }

    pub fn decode(bytes: &[u8]) -> Option<Reply> {
        let (&[status], rest) = bytes.split_first_chunk::<1>()?;
        let (before, rest) = take_u64(rest)?;
        let (revision, rest) = take_u64(rest)?;
        match status {
            _ if !rest.is_empty() => None,
            0 => Some(Reply::Done { before, revision }),
            1 => Some(Reply::Stale),
            2 => Some(Reply::Malformed),
            _ => None,
        }
    }
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (u64::from_le_bytes(*head), rest))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (u32::from_le_bytes(*head), rest))
}

/// `r register` to the value, `s session` to its latest request and reply, `v` to the revision, `t` to the stamp
/// of the last change: what a replica's own clock got into would show.
#[derive(Default)]
pub struct Registers {
    tables: [Table; 1],
}

impl Registers {
    pub fn new() -> Registers {
        Registers::default()
    }

    /// As loaded from a snapshot.
    pub fn from_table(table: Table) -> Registers {
        Registers { tables: [table] }
    }

    pub fn table(&self) -> &Table {
        &self.tables[0]
    }

    pub fn revision(&self) -> u64 {
        self.number(b"v")
    }

    fn number(&self, key: &[u8]) -> u64 {
        self.tables[0].get(key).and_then(take_u64).map_or(0, |(number, _)| number)
    }

    fn register_key(register: u32) -> [u8; 5] {
        let mut key = [b'r'; 5];
        key[1..].copy_from_slice(&register.to_be_bytes());
        key
    }

    fn change(&mut self, at: &Stamp, kind: u8, payload: &[u8], changes: &mut Vec<u8>) -> Reply {
        let parsed = take_u32(payload).and_then(|(register, rest)| {
            let (first, rest) = take_u64(rest)?;
            match (kind, rest) {
                (WRITE, []) => Some((register, None, first)),
                (SWAP, rest) => take_u64(rest)
                    .filter(|(_, rest)| rest.is_empty())
                    .map(|(to, _)| (register, Some(first), to)),
                _ => None,
            }
        });
        let Some((register, from, to)) = parsed else { return Reply::Malformed };
        let key = Registers::register_key(register);
        let before = self.number(&key);
        let mut revision = self.revision();
        if from.is_none_or(|from| from == before) {
            revision += 1;
            self.tables[0].put(&key, &to.to_le_bytes());
            self.tables[0].put(b"v", &revision.to_le_bytes());
            self.tables[0].put(b"t", &at.wall_ms.to_le_bytes());
            changes.extend_from_slice(&write(register, to));
        }
        Reply::Done { before, revision }
    }
}

impl Realm for Registers {
    fn knows(&self, kind: u8) -> bool {
        matches!(kind, WRITE | SWAP)
    }

    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> Flow {
        let envelope = &command.envelope;
        let mut key = [b's'; 9];
        key[1..].copy_from_slice(&envelope.session.to_be_bytes());
        if envelope.session != 0
            && !planted::is(Bug::ForgetRequests)
            && let Some((latest, reply)) = self.tables[0].get(&key).and_then(take_u64)
            && envelope.request <= latest
        {
            if envelope.request == latest {
                effects.reply.extend_from_slice(reply);
            } else {
                Reply::Stale.encode(&mut effects.reply);
            }
            return Flow::Done;
        }
        let reply = self.change(at, envelope.kind, command.payload, &mut effects.changes);
        let start = effects.reply.len();
        reply.encode(&mut effects.reply);
        if envelope.session != 0 {
            let record = [&envelope.request.to_le_bytes()[..], &effects.reply[start..]].concat();
            self.tables[0].put(&key, &record);
        }
        Flow::Done
    }

    fn read(&self, query: &[u8], out: &mut Vec<u8>) {
        let reply = match take_u32(query) {
            Some((register, [])) => {
                let before = self.number(&Registers::register_key(register));
                Reply::Done { before, revision: self.revision() }
            }
            _ => Reply::Malformed,
        };
        reply.encode(out);
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    fn rebuild(&mut self) -> Result<(), Broken> {
        Ok(())
    }

    fn touch(&mut self, _id: u64, _now: Nanos) -> bool {
        false
    }

    fn lead(&mut self, _now: Nanos) {}

    fn due(&mut self, _now: Nanos, _limit: usize, _out: &mut Vec<(u8, Vec<u8>)>) {}

    fn next_due(&self) -> Nanos {
        Nanos::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Envelope, RealmId};

    fn run(realm: &mut Registers, session: u64, request: u64, kind: u8, payload: &[u8]) -> Reply {
        let envelope =
            Envelope { realm: RealmId::Register as u8, kind, session, request, ..Envelope::default() };
        let mut effects = Effects::default();
        let _ = realm.apply(&Stamp::default(), &Command { envelope, payload }, &mut effects);
        Reply::decode(&effects.reply).unwrap()
    }

    #[test]
    fn a_resend_gets_the_stored_reply_and_changes_nothing() {
        let mut realm = Registers::new();
        assert_eq!(run(&mut realm, 7, 1, WRITE, &write(3, 50)), Reply::Done { before: 0, revision: 1 });
        assert_eq!(run(&mut realm, 8, 1, SWAP, &swap(3, 50, 60)), Reply::Done { before: 50, revision: 2 });
        let digest = realm.table().digest();
        assert_eq!(run(&mut realm, 7, 1, WRITE, &write(3, 50)), Reply::Done { before: 0, revision: 1 });
        assert_eq!(realm.table().digest(), digest);
        assert_eq!(run(&mut realm, 7, 2, SWAP, &swap(3, 1, 9)), Reply::Done { before: 60, revision: 2 });
        assert_eq!(run(&mut realm, 7, 1, WRITE, &write(3, 50)), Reply::Stale);
        assert_eq!(run(&mut realm, 7, 3, WRITE, b"short"), Reply::Malformed);
        let mut out = Vec::new();
        realm.read(&query(3), &mut out);
        assert_eq!(Reply::decode(&out), Some(Reply::Done { before: 60, revision: 2 }));
    }
}
