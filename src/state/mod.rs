//! What replicated state is made of: the command envelope, the ordered store, snapshots.

pub mod command;

pub use command::{Command, ENVELOPE, Envelope, RealmId};
