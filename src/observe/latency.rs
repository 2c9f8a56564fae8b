//! Latency histograms that one thread records and others read.

use std::sync::{Arc, Mutex};

use hdrhistogram::Histogram;

use crate::base::Nanos;

/// How far the readers' copy may lag behind.
const PUBLISH_EVERY: Nanos = Nanos(1_000_000_000);

/// Two digits are within 1 % of the truth and 20 KiB each; a minute is longer than any request waits.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 2).expect("sane bounds")
}

/// The copy for readers, in nanoseconds.
#[derive(Clone)]
pub struct Published(Arc<Mutex<Histogram<u64>>>);

impl Published {
    pub fn read(&self) -> Histogram<u64> {
        self.0.lock().expect("nobody panics while adding").clone()
    }
}

/// The recorder's side: recording touches only its own memory.
pub struct Latency {
    fresh: Histogram<u64>,
    published: Published,
    due: Nanos,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { fresh: empty(), published: Published(Arc::new(Mutex::new(empty()))), due: Nanos(0) }
    }
}

impl Latency {
    pub fn record(&mut self, span: Nanos) {
        self.fresh.saturating_record(span.0);
    }

    /// The same for `count` operations that took as long.
    pub fn record_n(&mut self, span: Nanos, count: u64) {
        self.fresh.saturating_record_n(span.0, count);
    }

    /// Hands what was recorded to the readers, at most once a second and never waiting for them. Returns when it
    /// wants to be called again; `Nanos::MAX` if nothing is left to hand over.
    #[inline]
    pub fn publish(&mut self, now: Nanos) -> Nanos {
        match self.fresh.is_empty() {
            true => Nanos::MAX,
            false if now < self.due => self.due,
            false => self.hand_over(now),
        }
    }

    fn hand_over(&mut self, now: Nanos) -> Nanos {
        self.due = now.plus(PUBLISH_EVERY);
        if let Ok(mut published) = self.published.0.try_lock() {
            published.add(&self.fresh).expect("the same bounds");
            self.fresh.reset();
            return Nanos::MAX;
        }
        self.due
    }

    pub fn published(&self) -> Published {
        self.published.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_was_published() {
        let mut latency = Latency::default();
        let reader = latency.published();
        assert_eq!(latency.publish(Nanos(5)), Nanos::MAX);
        latency.record(Nanos(1_000));
        latency.record_n(Nanos(1_000_000), 3);
        assert_eq!(latency.publish(Nanos(6)), Nanos::MAX);
        assert_eq!(reader.read().len(), 4);
        latency.record(Nanos(7_000));
        assert_eq!(latency.publish(Nanos(7)), Nanos(6).plus(PUBLISH_EVERY), "published too soon");
        let held = latency.published.0.clone();
        let guard = held.lock().unwrap();
        assert!(latency.publish(Nanos(2_000_000_000)) < Nanos::MAX, "published under a reader's lock");
        drop(guard);
        latency.publish(Nanos(4_000_000_000));
        assert_eq!((reader.read().len(), reader.read().value_at_quantile(0.1) / 100), (5, 10));
    }
}
