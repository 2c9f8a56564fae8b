//! The real world: the server's only clock, sockets, files, rings and threads.
//!
//! One contract, `pipeline::ports`, with two members: `ring`, our loop on io_uring, and `glommio`. A station sees
//! no difference. No protocol is known here.

pub mod admin;
mod bell;
mod clock;
#[cfg(test)]
mod contract;
mod crew;
mod dir;
mod glommio;
mod guard;
mod import;
mod media;
mod memory;
mod ring;
mod serve;
mod setup;
mod slow;
mod socket;
mod sources;
mod start;

pub use bell::Doorbell;
pub use clock::{now, wall_ms};
pub use crew::Crew;
pub use dir::{Dir, DirError};
pub use import::import;
pub use media::Files;
pub use memory::{tuning, use_huge_pages};
pub use serve::{format, format_over, random, serve};
pub use setup::Setup;
pub use start::{StartError, door_name};

use std::io;

use crate::config::Runtime;
use crate::pipeline::station::Station;

/// Runs a station on this thread until it is done, and returns it.
pub fn run<S: Station>(runtime: Runtime, setup: Setup, station: S) -> io::Result<S> {
    match runtime {
        Runtime::Ring => ring::run(setup, station),
        Runtime::Glommio => glommio::run(setup, station),
    }
}
