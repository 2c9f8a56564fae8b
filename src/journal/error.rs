//! Why a data directory is not opened. Nothing has been written to it then.

use crate::base::{ClusterId, Index, NodeId};
use crate::journal::snapshot::BadSnapshot;
use crate::pipeline::ports::{DiskFault, File};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{0}; check the device and the directory's permissions, then start again")]
    Disk(#[from] DiskFault),

    #[error(
        "super is missing: this directory was never formatted; run `quorate format` for a new member, or pass \
         the directory that holds this node's data"
    )]
    NotFormatted,

    #[error(
        "super is missing but {file} is there: part of a data directory is lost; restore super from where it \
         went, or replace this member by a new one"
    )]
    SuperMissing { file: File },

    #[error(
        "super is all zeros: formatting was interrupted; nothing was ever promised from here, so empty the \
         directory and run `quorate format` again"
    )]
    Unfinished,

    #[error("{0}")]
    Snapshot(#[from] BadSnapshot),

    #[error("{file} exists already; format only an empty directory, or pass another one")]
    Exists { file: File },

    #[error("{file} at offset {offset} is not quorate's; pass the directory that holds this node's data")]
    Strange { file: File, offset: u64 },

    #[error(
        "{file} at offset {offset} belongs to cluster {found}, this is {expected}; pass the data directory of \
         this cluster"
    )]
    OtherCluster { file: File, offset: u64, found: ClusterId, expected: ClusterId },

    #[error(
        "{file} at offset {offset} belongs to node {found}, this is node {expected}; pass the data directory of \
         this node"
    )]
    OtherNode { file: File, offset: u64, found: NodeId, expected: NodeId },

    #[error(
        "{file} at offset {offset} has format {found}, this build reads up to {known}; start the newer release \
         again"
    )]
    Newer { file: File, offset: u64, found: u16, known: u16 },

    #[error("{file} is missing, it held a part of the log; restore it, or replace this member by a new one")]
    Missing { file: File },

    #[error(
        "{file} ends at offset {have}, it must be {need} bytes; it was cut short: restore it, or replace this \
         member by a new one"
    )]
    Truncated { file: File, have: u64, need: u64 },

    #[error(
        "super is damaged at offset {offset}: {why}; what this node promised cannot be known: replace this \
         member by a new one"
    )]
    SuperDamaged { offset: u64, why: &'static str },

    #[error(
        "super is older than {file} at offset {offset}: an old copy was put back, or its writes were lost; what \
         this node promised cannot be known: replace this member by a new one"
    )]
    RolledBack { file: File, offset: u64 },

    #[error(
        "batch {index} is lost: {file} at offset {offset} is damaged and, with one voter, no other copy exists; \
         restore a backup"
    )]
    Lost { index: Index, file: File, offset: u64 },

    #[error(
        "the snapshot is of a build whose snapshots could not be restored; save it again from a newer one"
    )]
    OldSnapshot,

    #[error("the log's sizes make no sense: {0}; correct them and format again")]
    Params(&'static str),
}
