//! Time as one number: nanoseconds since the run began, the same for every thread.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;

fn machine_now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// As of a clock whose `epoch` that was, in another process.
    pub fn since(epoch: u64) -> Clock {
        let age = machine_now().saturating_sub(epoch);
        Clock(Instant::now() - Duration::from_nanos(age))
    }

    /// When this clock stood at zero, on the machine's.
    pub fn epoch(&self) -> u64 {
        machine_now() - self.now()
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

/// Part of the names of keys that no other run may have made: its sessions outlive it, and hold them. Microseconds.
pub fn run_number() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_micros() as u64)
}
