//! What replicated state is made of: the command envelope, the ordered store, its past, snapshots.

pub mod command;
pub mod snapshot;
pub mod table;
pub mod timers;
pub mod trail;

pub use command::{Command, ENVELOPE, Envelope, RealmId};
pub use table::{Frozen, Key, Table};
pub use timers::Timers;
pub use trail::{FrozenTrail, Trail};
