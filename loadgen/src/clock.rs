//! Time as one number: nanoseconds since the run began, the same for every thread.

use std::time::{Duration, Instant};

pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    pub fn sleep_until(&self, at: u64) {
        let now = self.now();
        if at > now {
            std::thread::sleep(Duration::from_nanos(at - now));
        }
    }
}
