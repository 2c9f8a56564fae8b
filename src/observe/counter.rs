//! Numbers that one thread raises and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Raised by one thread only, so that raising needs no locked instruction; read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For gauges: a value that also falls.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $help:literal])+ $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: Counter,)*
        }

        impl $name {
            /// Name, help and value of each, in the order of their declaration.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($field), concat!($($help),+).trim_ascii(), self.$field.read()),)*]
            }
        }
    };
}

counters!(
    /// What one loop has done since it began.
    LoopCounters {
        /// Times that the thread slept.
        parks,
        /// Rounds of events and turns.
        rounds,
        /// System calls that handed requests to the kernel.
        enters,
        /// Connections taken.
        accepted,
        /// Connections turned away because the table was full.
        accepts_refused,
        /// Failures of accept, such as too many open files.
        accept_faults,
        /// Connections that exist now.
        connections,
        /// Bytes received from sockets.
        bytes_in,
        /// Bytes sent to sockets.
        bytes_out,
        /// Times that bytes arrived while no receive buffer was free.
        buffers_out,
        /// Synced writes handed to the disk.
        disk_writes,
        /// Bytes of them.
        disk_write_bytes,
        /// Reads handed to the disk.
        disk_reads,
        /// Disk requests under way now.
        disk_pending,
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_name_themselves() {
        let counters = LoopCounters::default();
        counters.parks.add(2);
        counters.parks.add(3);
        assert_eq!(counters.all()[0], ("parks", "Times that the thread slept.", 5));
    }
}
