//! A world of one seed and one thread: virtual clock, disks, network and clients around the stages that ship.
//!
//! Everything that happens is an event in one heap; whatever is left open is drawn from the seed. The same seed
//! gives the same trace, byte for byte, so a failure is replayed by its number.

pub mod atlas;
pub mod check;
pub mod clients;
pub mod disk;
mod epilogue;
pub mod faults;
mod lives;
pub mod machine;
mod mischief;
pub mod net;
pub mod notes;
pub mod oracles;
mod phases;
pub mod run;
mod schemes;
mod service;
pub mod sessions;
pub mod small;
pub mod tally;
#[cfg(test)]
mod tests;
mod verdict;
pub mod world;
