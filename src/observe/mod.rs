//! What the server tells of itself: counters, histograms and their text forms. Nothing here reads a clock.

mod counter;
mod latency;
mod spans;
mod text;

pub use counter::{Counter, Kind, LoopCounters, Number};
pub use latency::{Latency, Published};
pub use spans::Spans;
pub use text::Text;
