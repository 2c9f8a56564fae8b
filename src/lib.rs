//! quorate: a replicated coordination server for Linux.
//!
//! The map is `src/README.md`, the reasons are `src/decisions.md`. Nothing outside `drive`, `client`, `tls`
//! and `tools` touches a clock, a socket, a file or a thread: the same code runs in the simulator.

pub mod base;
pub mod config;
pub mod doors;
pub mod journal;
pub mod observe;
pub mod pipeline;
pub mod realms;
pub mod replica;
pub mod sim;
pub mod state;

pub mod client;
#[cfg(feature = "drive")]
pub mod drive;
pub mod tls;
#[cfg(feature = "drive")]
pub mod tools;

#[cfg(test)]
mod tidy;
