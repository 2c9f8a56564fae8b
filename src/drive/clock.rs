//! The server's only clocks.

use crate::base::Nanos;

/// The monotonic clock.
pub fn now() -> Nanos {
    let t = read(libc::CLOCK_MONOTONIC);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// Milliseconds since 1970, as this machine believes.
pub fn wall_ms() -> u64 {
    let t = read(libc::CLOCK_REALTIME);
    t.tv_sec as u64 * 1000 + t.tv_nsec as u64 / 1_000_000
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct that the pointer names.
    let result = unsafe { libc::clock_gettime(clock, &mut t) };
    assert_eq!(result, 0, "both clocks exist on every Linux");
    t
}
