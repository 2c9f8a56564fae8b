//! What replicated state is made of: the command envelope, the ordered store, snapshots.

pub mod command;
pub mod snapshot;
pub mod table;
pub mod timers;

pub use command::{Command, ENVELOPE, Envelope, RealmId};
pub use table::{Frozen, Key, Table};
pub use timers::Timers;
