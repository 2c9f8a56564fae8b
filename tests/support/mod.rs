//! What the black-box tests stand on: a cluster of real processes, and writers who keep their own books.

pub mod cluster;
pub mod crowd;
pub mod lan;
pub mod pki;
pub mod ports;
pub mod small_disk;

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; `None` when the time is over.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if begin.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number from the environment, for longer runs and to repeat one.
pub fn setting(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => usual,
    }
}
