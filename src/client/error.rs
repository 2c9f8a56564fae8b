//! What a request can end in besides success.

use std::time::Duration;

use crate::doors::native::wire::{FAULTS, Fault};
use crate::realms::reply::Status;

/// Why there is no answer, or not the one that was hoped for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The realm looked at it and refused; nothing was changed.
    #[error("refused: {0}")]
    Refused(Status),
    /// The server's door refused it; nothing was changed.
    #[error("refused at the door: {0}")]
    Door(Fault),
    /// It may or may not have been carried out.
    #[error(
        "the connection broke, or its server lost track, after the write was sent: it may or may not have been carried out"
    )]
    Unknown,
    /// As `Unknown` for a write; a read simply was not answered.
    #[error("no answer within {0:?}; a write may still be carried out")]
    TimedOut(Duration),
    #[error("no server of {servers:?} took a connection within {waited:?}; the last said: {last}")]
    Unreachable { servers: Vec<String>, waited: Duration, last: String },
    /// The exactly-once session expired before this write was known to be carried out. The next write opens
    /// another session.
    #[error("the exactly-once session has expired; whether this write was carried out is not known")]
    SessionGone,
    #[error("the request takes {length} bytes, a server takes {max}; split it")]
    TooLong { length: usize, max: usize },
    #[error("a server sent what no server of ours sends: {0}")]
    Protocol(&'static str),
}

impl Error {
    /// By the code of an `Error` frame or of a watch's end.
    pub(super) fn from_code(code: u16) -> Error {
        if code >= FAULTS {
            return match Fault::from_code(code) {
                Some(Fault::Unknown) => Error::Unknown,
                Some(fault) => Error::Door(fault),
                None => Error::Protocol("a fault that this client does not know"),
            };
        }
        match Status::from_code(code) {
            Some(Status::SessionGone) => Error::SessionGone,
            Some(status) => Error::Refused(status),
            None => Error::Protocol("a status that this client does not know"),
        }
    }

    /// Whether what was asked may have happened all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Error::Unknown | Error::TimedOut(_) | Error::SessionGone | Error::Unreachable { .. })
    }
}
