//! What the server tells of itself: counters, histograms and their text forms. Nothing here reads a clock.

mod counter;

pub use counter::{Counter, LoopCounters};
