//! Leases: a time to live, and the keys that go with it.
//!
//! What is replicated is that a lease exists, its span, and its keys. How long it has left is the leader's
//! knowledge; that it is over becomes true by a command.

use super::Kv;
use super::ops::{TTL_S_MAX, TTL_S_MIN};
use super::store::{ATTACHED, LEASES};
use crate::base::Nanos;
use crate::realms::reply::Status;

/// The table's key for a key of a lease.
pub(super) fn attached(lease: u64, key: &[u8]) -> Vec<u8> {
    [&lease.to_be_bytes()[..], key].concat()
}

pub(super) fn span(ttl_s: u64) -> Nanos {
    Nanos(ttl_s.saturating_mul(1_000_000_000))
}

impl Kv {
    /// The time to live that was granted, in seconds. `None`: no such lease.
    pub(super) fn lease_ttl(&self, lease: u64) -> Option<u64> {
        let stored = self.store.tables[LEASES].get(&lease.to_be_bytes())?;
        stored.try_into().map(u64::from_le_bytes).ok()
    }

    /// Returns the lease and the seconds it got.
    pub(super) fn grant(&mut self, lease: u64, ttl_s: u64, now: Nanos) -> Result<(u64, u64), Status> {
        if ttl_s > TTL_S_MAX {
            return Err(Status::LeaseTooLong);
        }
        if lease != 0 && self.lease_ttl(lease).is_some() {
            return Err(Status::LeaseExists);
        }
        let ttl_s = ttl_s.max(TTL_S_MIN);
        let lease = if lease == 0 { self.next_lease() } else { lease };
        self.store.tables[LEASES].put(&lease.to_be_bytes(), &ttl_s.to_le_bytes());
        self.timers.set(lease, span(ttl_s), now);
        Ok((lease, ttl_s))
    }

    /// A number above 0, within an i64, that no lease has.
    fn next_lease(&mut self) -> u64 {
        loop {
            self.granted += 1;
            // Spread, so that they are not mistaken for counters that begin anew elsewhere.
            let mixed = self.granted.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let lease = (mixed ^ mixed >> 29) & (i64::MAX as u64);
            if lease != 0 && self.lease_ttl(lease).is_none() {
                return lease;
            }
        }
    }

    pub(super) fn end_lease(&mut self, lease: u64) {
        self.store.tables[LEASES].remove(&lease.to_be_bytes());
        self.timers.remove(lease);
    }

    pub(super) fn attach(&mut self, key: &[u8], before: u64, lease: u64) {
        if before == lease {
            return;
        }
        if before != 0 {
            self.store.tables[ATTACHED].remove(&attached(before, key));
        }
        if lease != 0 {
            self.store.tables[ATTACHED].put(&attached(lease, key), &[]);
        }
    }
}
