//! Agreement: who leads, what is in the log, what is committed. No clock, socket, disk, thread or chance inside.

mod config;

pub use config::{Config, Role};
