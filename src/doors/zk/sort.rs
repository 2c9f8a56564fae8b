//! Requests by their kind: whether a record is what its code says, and what may be under way beside what.

use crate::realms::tree::jute::{Malformed, Reader};
use crate::realms::tree::ops::{Change, Parts, Watched, op};

/// What may be under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Write,
    /// Answered from this node's state.
    Read,
    /// Answered after a quorum check: sync, and reads behind it.
    Quorum,
}

/// The path to watch, if the read asks for it.
pub fn watched_path(record: &[u8]) -> Option<Box<[u8]>> {
    let read = Watched::read(&mut Reader::new(record)).ok()?;
    if read.watch { read.path.map(Into::into) } else { None }
}

/// What kind of request a code makes.
pub enum Sort {
    /// Of the log or the state.
    Asked,
    /// Of the tables of watches; everything else keeps its place before and behind it.
    Table,
    Ping,
    Auth,
    WhoAmI,
    Sasl,
    Unknown,
}

pub fn is_table(code: i32) -> bool {
    matches!(code, op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES)
}

pub fn class_of(code: i32) -> Class {
    match code {
        op::SYNC => Class::Quorum,
        op::EXISTS
        | op::GET_DATA
        | op::GET_ACL
        | op::GET_CHILDREN
        | op::GET_CHILDREN2
        | op::MULTI_READ
        | op::SET_WATCHES
        | op::SET_WATCHES2
        | op::GET_EPHEMERALS
        | op::GET_ALL_CHILDREN_NUMBER => Class::Read,
        _ => Class::Write,
    }
}

/// Whether the record is what its code says, before it has any effect.
pub fn check(code: i32, record: &[u8]) -> Result<Sort, Malformed> {
    let mut reader = Reader::new(record);
    match code {
        op::PING => return Ok(Sort::Ping),
        op::AUTH => return Ok(Sort::Auth),
        op::SASL => return Ok(Sort::Sasl),
        op::WHO_AM_I => return Ok(Sort::WhoAmI),
        op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES => {
            reader.bytes()?;
            reader.i32()?;
            return Ok(Sort::Table);
        }
        op::CLOSE_SESSION => {}
        op::CREATE
        | op::CREATE2
        | op::CREATE_CONTAINER
        | op::CREATE_TTL
        | op::DELETE
        | op::SET_DATA
        | op::SET_ACL => {
            Change::read(code, &mut reader)?;
        }
        op::RECONFIG => {
            for _ in 0..3 {
                reader.bytes()?;
            }
            reader.i64()?;
        }
        op::MULTI => {
            if Parts::check(record)? {
                return Err(Malformed::Multi(op::GET_DATA));
            }
        }
        op::MULTI_READ => {
            if !Parts::check(record)? && Parts::new(record).next().is_some() {
                return Err(Malformed::Multi(op::CREATE));
            }
        }
        op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => {
            Watched::read(&mut reader)?;
        }
        op::GET_ACL | op::SYNC | op::GET_EPHEMERALS | op::GET_ALL_CHILDREN_NUMBER => {
            reader.bytes()?;
        }
        op::SET_WATCHES | op::SET_WATCHES2 => {
            reader.i64()?;
            for _ in 0..if code == op::SET_WATCHES2 { 5 } else { 3 } {
                reader.string_vector()?;
            }
        }
        // Among them: check outside a multi, and deleteContainer, which is not for clients.
        _ => return Ok(Sort::Unknown),
    }
    Ok(Sort::Asked)
}
