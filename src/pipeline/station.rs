//! What one loop drives: all stages of one thread behind three calls.
//!
//! `drive` runs a station on a ring, `sim` on a heap of virtual events; neither knows what is in it. The order
//! of calls is always: every event that has arrived, then `turn` until it wants no more, then sleep.

use crate::base::Nanos;
use crate::pipeline::ports::{Disk, DiskEvent, Net, NetEvent, Turn};

/// All that a loop offers its station.
pub trait Ports: Net + Disk {
    /// The wall clock: a stamp for people, never compared. Everything else goes by `now`.
    fn wall_ms(&self) -> u64;
}

/// The stages of one thread.
///
/// `now` is the monotonic clock, read once per round of the loop, so it may repeat but never goes back. Requests
/// made through `ports` are started after the call, and are answered through `on_net` and `on_disk`.
pub trait Station {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P);
    fn on_disk<P: Ports>(&mut self, now: Nanos, event: DiskEvent, ports: &mut P);

    /// A bounded slice of work: takes its lanes in, hands out what has gathered. Called after the events of every
    /// round, after a doorbell, and when the deadline of the last `Turn` has come.
    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn;

    /// Whether nothing but signs of life, of clients and members, has come since this was asked last. The drive may
    /// then let more of them gather before it looks again. Without a default: a station around a station that forgets to
    /// pass this on costs every idle client two rounds a ping.
    fn is_quiet(&mut self) -> bool;

    /// Output waits behind a send that is under way. Elsewise the drive may tell of sends that are done when it has
    /// something else to tell: a round for each would do nothing.
    fn awaits_sent(&self) -> bool;

    /// TERM has come: hand over what others wait for, then be done. Called once, before a `turn`.
    fn on_stop(&mut self, now: Nanos);

    /// True ends the loop, after the requests already made have been started.
    fn is_done(&self) -> bool;
}
