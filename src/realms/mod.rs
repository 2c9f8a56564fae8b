//! The replicated state machines. Each owns its tables; all are fed by one log and frozen at one index.

pub mod core;
pub mod kv;
pub mod machine;
pub mod register;
pub mod reply;
pub mod tree;

use crate::base::{Index, Nanos, NodeId};
use crate::state::{Command, Table, Trail};

pub use machine::{Applied, Halt, Machine};
pub use reply::Status;

/// A member of the cluster, for the realms that show it to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub node: NodeId,
    pub votes: bool,
    /// Of its peer port, as configured.
    pub address: String,
}

/// When a command is applied, in the log's own terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// The batch.
    pub index: Index,
    /// Its leader's wall clock: to be shown, never compared.
    pub wall_ms: u64,
    /// Cluster time: every deadline uses it.
    pub ticks: Nanos,
}

/// What applying a command gives to the edges. Buffers are the caller's and keep their capacity.
#[derive(Debug, Default)]
pub struct Effects {
    /// The reply in the door's own wire form, appended. Nobody may want it: see `wanted`.
    pub reply: Vec<u8>,
    /// What watchers need to know, appended, in the realm's own encoding. Nothing where nobody watches.
    pub changes: Vec<u8>,
    /// False where no client of this node waits: the reply may be left out.
    pub wanted: bool,
}

/// Whether a command is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    Done,
    /// It touches more records than one turn may. Call `apply` again with the same command and effects, in a
    /// later turn, before any other command. Readers meanwhile see the state before it.
    Again,
}

/// Tables that were loaded and do not make sense together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot's {realm} state is not consistent: {what}; fetch another snapshot from a peer")]
pub struct Broken {
    pub realm: &'static str,
    pub what: String,
}

/// A state machine. Same commands in the same order: same tables, same digest, same replies, on every machine.
///
/// All that is replicated lies in its tables and its trail, so that freezing, loading and digests are the same code for all.
pub trait Realm {
    /// Whether this build can apply commands of this kind. One that it cannot halts the node.
    fn knows(&self, kind: u8) -> bool;

    /// Applies one command that is in the log for good. A payload that does not parse is a refusal in the
    /// reply: it must not panic, and must change nothing.
    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> Flow;

    /// Commands with these payloads, of one kind, will be applied next: brings what they touch closer. Changes nothing.
    fn foresee(&mut self, _kind: u8, _payloads: &[&[u8]]) {}

    /// The same of queries that will be answered next.
    fn foresee_reads(&mut self, _queries: &[&[u8]]) {}

    /// Answers a query from the state as it is, in the door's wire form.
    fn read(&self, query: &[u8], out: &mut Vec<u8>);

    /// All replicated state, always in the same order. Current only after `settle`.
    fn tables(&self) -> &[Table];

    fn tables_mut(&mut self) -> &mut [Table];

    /// What its records were before, where it keeps that.
    fn trail(&self) -> Option<&Trail> {
        None
    }

    fn trail_mut(&mut self) -> Option<&mut Trail> {
        None
    }

    /// Writes what `apply` keeps beside the tables for speed (counters) into them. Costs at most microseconds.
    fn settle(&mut self) {}

    /// The tables were replaced: derive from them all that is not in them.
    fn rebuild(&mut self) -> Result<(), Broken>;

    /// Leader only, soft: this session or lease was heard from. False: it is unknown or being expired.
    fn touch(&mut self, id: u64, now: Nanos) -> bool;

    /// Leader only: this node begins to lead; every timer starts in full.
    fn lead(&mut self, now: Nanos);

    /// Leader only: commands that are due (kind and payload), at most `limit` of them. Each is proposed once;
    /// a touch that comes later is too late.
    fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<(u8, Vec<u8>)>);

    /// The earliest time at which `due` may have something.
    fn next_due(&self) -> Nanos;
}
