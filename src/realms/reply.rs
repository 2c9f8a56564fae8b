//! How a reply of the native protocol begins, whatever realm it comes from.
//!
//! ```text
//! 0 status u16 | 2 flags u16 | 4 length u32: of the body | 8 revision u64: the realm's, when it answered
//! ```
//! All numbers are little-endian; the body follows. A refusal has no body.

/// Bytes before the body.
pub const HEAD: usize = 16;

/// How it went. Numbers are wire format: add, never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[repr(u16)]
pub enum Status {
    #[error("done")]
    Ok = 0,
    #[error("the request does not parse")]
    Malformed = 1,
    #[error("the session has expired or never was; open another")]
    SessionGone = 2,
    #[error("the session has moved past this request: it was answered long ago")]
    Stale = 3,
    #[error("the request was executed; its result was too large to be kept for a repetition")]
    ResultLost = 4,
    #[error("too many sessions; close some")]
    TooManySessions = 5,
    #[error("a key must have 1 to 16,000 bytes")]
    KeyLength = 16,
    #[error("the key was not found")]
    KeyNotFound = 17,
    #[error("a value is given where the old one is to be kept")]
    ValueGiven = 18,
    #[error("a lease is given where the old one is to be kept")]
    LeaseGiven = 19,
    #[error("a transaction has at most 128 operations on a level")]
    TooManyOps = 20,
    #[error("a transaction changes the same key twice")]
    DuplicateKey = 21,
    #[error("the revision has been compacted")]
    Compacted = 22,
    #[error("the revision lies in the future")]
    FutureRevision = 23,
    #[error("the history is over its budget: compact it")]
    NoSpace = 24,
    #[error("the lease was not found")]
    LeaseNotFound = 25,
    #[error("the lease exists already")]
    LeaseExists = 26,
    #[error("the lease's time to live is too large")]
    LeaseTooLong = 27,
    #[error("a range within a transaction spans too many records; read it outside")]
    RangeTooLarge = 28,
}

impl Status {
    pub fn from_code(code: u16) -> Option<Status> {
        use Status::*;
        const ALL: [Status; 19] = [
            Ok,
            Malformed,
            SessionGone,
            Stale,
            ResultLost,
            TooManySessions,
            KeyLength,
            KeyNotFound,
            ValueGiven,
            LeaseGiven,
            TooManyOps,
            DuplicateKey,
            Compacted,
            FutureRevision,
            NoSpace,
            LeaseNotFound,
            LeaseExists,
            LeaseTooLong,
            RangeTooLarge,
        ];
        ALL.into_iter().find(|status| *status as u16 == code)
    }
}

/// A reply taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    pub status: Status,
    pub flags: u16,
    pub revision: u64,
    pub body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Takes one reply off the front of `input`. `None`: these bytes are none.
    pub fn take(input: &mut &'a [u8]) -> Option<Reply<'a>> {
        let (head, rest) = input.split_first_chunk::<HEAD>()?;
        let status = Status::from_code(u16::from_le_bytes([head[0], head[1]]))?;
        let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        *input = rest;
        let revision = u64::from_le_bytes(head[8..16].try_into().ok()?);
        Some(Reply { status, flags: u16::from_le_bytes([head[2], head[3]]), revision, body })
    }
}

/// Appends a reply without a body.
pub fn bare(out: &mut Vec<u8>, status: Status, revision: u64) {
    let start = begin(out);
    finish(out, start, status, 0, revision);
}

/// Makes room for the head; the caller appends the body, then calls `finish` with what this returned.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    start
}

pub fn finish(out: &mut [u8], start: usize, status: Status, flags: u16, revision: u64) {
    let length = (out.len() - start - HEAD) as u32;
    let head = &mut out[start..start + HEAD];
    head[0..2].copy_from_slice(&(status as u16).to_le_bytes());
    head[2..4].copy_from_slice(&flags.to_le_bytes());
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..16].copy_from_slice(&revision.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_back_as_written() {
        let mut out = vec![9; 5];
        let start = begin(&mut out);
        out.extend_from_slice(b"body");
        finish(&mut out, start, Status::NoSpace, 3, 77);
        bare(&mut out, Status::Ok, 78);
        let mut rest = &out[5..];
        let first = Reply::take(&mut rest).unwrap();
        assert_eq!(first, Reply { status: Status::NoSpace, flags: 3, revision: 77, body: b"body" });
        assert_eq!(Reply::take(&mut rest).unwrap().revision, 78);
        assert!(Reply::take(&mut rest).is_none());
    }

    #[test]
    fn every_status_has_a_code_that_leads_back() {
        let known = (0..100).filter_map(Status::from_code).count();
        assert_eq!(known, 19, "a status is missing in from_code's list");
        assert_eq!(Status::from_code(Status::RangeTooLarge as u16), Some(Status::RangeTooLarge));
    }
}
