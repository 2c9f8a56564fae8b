//! The replicated state machines. Each owns its tables; all are fed by one log and frozen at one index.

pub mod register;

use crate::base::{Index, Nanos};
use crate::state::Command;

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
    /// What watchers need to know, appended, in the realm's own encoding.
    pub changes: Vec<u8>,
    /// False where no client of this node waits: the reply may be left out.
    pub wanted: bool,
}

/// A state machine. Same commands in the same order: same tables, same digest, same replies, on every machine.
pub trait Realm {
    /// Applies one command that is in the log for good. A payload that does not parse is a refusal in the
    /// reply: it must not panic, and must change nothing.
    fn apply(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects);

    /// Answers a query from the state as it is, in the door's wire form.
    fn read(&self, query: &[u8], out: &mut Vec<u8>);

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
