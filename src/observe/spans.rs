//! How long things take that begin and end in the order of their numbers, such as batches.

use std::collections::VecDeque;
use std::fmt;

use crate::base::Nanos;
use crate::observe::{Latency, Published};

/// Begun and not ended; more are not followed.
const OPEN_MAX: usize = 4096;

#[derive(Default)]
pub struct Spans {
    latency: Latency,
    open: VecDeque<(u64, Nanos)>,
}

impl Spans {
    pub fn begin(&mut self, number: u64, now: Nanos) {
        // A number that comes again, or comes back lower, begins anew: what was above it is gone.
        while self.open.back().is_some_and(|(open, _)| *open >= number) {
            self.open.pop_back();
        }
        if self.open.len() < OPEN_MAX {
            self.open.push_back((number, now));
        }
    }

    /// All up to `upto` have ended.
    pub fn end(&mut self, upto: u64, now: Nanos) {
        while let Some(&(open, since)) = self.open.front()
            && open <= upto
        {
            self.latency.record(now.since(since));
            self.open.pop_front();
        }
    }

    /// What is open will never end.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// When it wants to be called again.
    pub fn publish(&mut self, now: Nanos) -> Nanos {
        self.latency.publish(now)
    }

    pub fn published(&self) -> Published {
        self.latency.published()
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spans({} open)", self.open.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_told_and_what_is_gone_is_not() {
        let mut spans = Spans::default();
        (1..=5).for_each(|n| spans.begin(n, Nanos(n * 1_000_000)));
        spans.end(2, Nanos(7_000_000));
        spans.begin(4, Nanos(8_000_000)); // 4 and 5 were cut from the log.
        spans.end(9, Nanos(9_000_000));
        spans.publish(Nanos(1));
        let told = spans.published().read();
        let mut spans: Vec<u64> = told.iter_recorded().map(|v| v.value_iterated_to() / 1_000_000).collect();
        spans.dedup();
        assert_eq!((told.len(), spans), (4, vec![1, 5, 6]));
    }
}
