//! A command of the log: an envelope that the server writes, then the client's payload verbatim.
//!
//! The envelope is written once, at the edge that took the request. A client can express a payload and, through
//! its door's allow-list, a kind; never a realm, principal, origin or internal kind.

use crate::base::Origin;

/// Bytes of the envelope; the payload follows, then zeros up to the next multiple of 16.
pub const ENVELOPE: usize = 48;

/// Which state machine a command is for. Realms share nothing but the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RealmId {
    /// Sessions, origins, configurations, snapshots: what is common to all realms.
    Core = 0,
    Kv = 1,
    Tree = 2,
    Catalog = 3,
    /// A handful of registers, for the simulator.
    Register = 15,
}

/// ```text
/// 0 length u32 | 4 realm u8 | 5 kind u8 | 6 feature u16 | 8 principal u32 | 12 zero u32
/// 16 session u64 | 24 request u64 | 32 origin u64 | 40 sequence u64
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Realm byte as it stands in the log; `RealmId` is its checked form.
    pub realm: u8,
    /// What to do, in the realm's own numbering.
    pub kind: u8,
    /// The feature level a replica needs to understand this command.
    pub feature: u16,
    /// Who asks, as the authoriser knows them; 0 before anyone has logged in.
    pub principal: u32,
    /// The client's session; 0 where the door has none.
    pub session: u64,
    /// The client's number of the request within its session, for exactly-once; 0 for none.
    pub request: u64,
    /// The edge lane that stamped this, and its gapless number there (from 1).
    pub origin: Origin,
    pub sequence: u64,
}

/// An envelope and its payload, as they lie in a batch or parcel.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    pub envelope: Envelope,
    pub payload: &'a [u8],
}

impl RealmId {
    pub fn from_byte(byte: u8) -> Option<RealmId> {
        Some(match byte {
            0 => RealmId::Core,
            1 => RealmId::Kv,
            2 => RealmId::Tree,
            3 => RealmId::Catalog,
            15 => RealmId::Register,
            _ => return None,
        })
    }
}

/// Bytes that a command with this payload takes in a batch.
pub const fn size_of_command(payload: usize) -> usize {
    ENVELOPE + payload.next_multiple_of(16)
}

impl Envelope {
    /// Appends the command to `out`, padded.
    pub fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        let start = self.begin(out);
        out.extend_from_slice(payload);
        Envelope::finish(out, start);
    }

    /// Appends the envelope alone; the caller appends the payload, then calls `finish` with what this returned.
    pub fn begin(&self, out: &mut Vec<u8>) -> usize {
        debug_assert!(out.len().is_multiple_of(16));
        let start = out.len();
        let mut head = [0u8; ENVELOPE];
        head[4] = self.realm;
        head[5] = self.kind;
        head[6..8].copy_from_slice(&self.feature.to_le_bytes());
        head[8..12].copy_from_slice(&self.principal.to_le_bytes());
        head[16..24].copy_from_slice(&self.session.to_le_bytes());
        head[24..32].copy_from_slice(&self.request.to_le_bytes());
        head[32..40].copy_from_slice(&self.origin.0.to_le_bytes());
        head[40..48].copy_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&head);
        start
    }

    /// Writes the payload's length into the envelope at `start` and pads.
    pub fn finish(out: &mut Vec<u8>, start: usize) {
        let length = out.len() - start - ENVELOPE;
        out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        out.resize(out.len().next_multiple_of(16), 0);
    }

    fn read(head: &[u8; ENVELOPE]) -> (usize, Envelope) {
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let envelope = Envelope {
            realm: head[4],
            kind: head[5],
            feature: u16::from_le_bytes([head[6], head[7]]),
            principal: u32_at(8),
            session: u64_at(16),
            request: u64_at(24),
            origin: Origin(u64_at(32)),
            sequence: u64_at(40),
        };
        (u32_at(0) as usize, envelope)
    }
}

impl<'a> Command<'a> {
    /// Takes one command off the front of `input`. `None`: the end, or bytes that are no command; the caller
    /// tells them apart by whether anything is left.
    pub fn take(input: &mut &'a [u8]) -> Option<Command<'a>> {
        let (head, rest) = input.split_first_chunk::<ENVELOPE>()?;
        let (length, envelope) = Envelope::read(head);
        let (padded, tail) = rest.split_at_checked(length.checked_next_multiple_of(16)?)?;
        *input = tail;
        Some(Command { envelope, payload: &padded[..length] })
    }

    /// All commands of a batch's body or a parcel.
    pub fn all(mut body: &'a [u8]) -> impl Iterator<Item = Command<'a>> {
        std::iter::from_fn(move || Command::take(&mut body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_written() {
        let mut out = Vec::new();
        let envelope = Envelope {
            realm: 1,
            kind: 4,
            session: 9,
            sequence: 3,
            origin: Origin(77),
            ..Envelope::default()
        };
        envelope.write(b"seventeen bytes!!", &mut out);
        envelope.write(b"", &mut out);
        assert_eq!(out.len(), size_of_command(17) + size_of_command(0));
        let got: Vec<_> = Command::all(&out).collect();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].envelope, got[0].payload), (envelope, &b"seventeen bytes!!"[..]));
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        let mut out = Vec::new();
        Envelope::default().write(b"x", &mut out);
        out[0] = 200;
        assert!(Command::take(&mut &out[..]).is_none());
        out[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Command::take(&mut &out[..]).is_none());
    }
}
