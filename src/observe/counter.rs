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

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Total,
    Gauge,
}

/// Declares a struct of counters that can name and explain themselves.
#[macro_export]
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $help:literal] $field:ident: $kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $(#[doc = $help] pub $field: $crate::observe::Counter,)*
        }

        impl $name {
            /// Each, in the order of their declaration.
            pub fn all(&self) -> impl Iterator<Item = $crate::observe::Number> {
                [$($crate::observe::Number {
                    name: stringify!($field),
                    help: $help.trim_ascii(),
                    kind: $crate::observe::Kind::$kind,
                    value: self.$field.read(),
                },)*].into_iter()
            }
        }
    };
}

/// A counter's value, named and explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub value: u64,
}

counters!(
    /// What one loop has done since it began.
    LoopCounters {
        /// Times that the thread slept.
        parks: Total,
        /// Rounds of events and turns.
        rounds: Total,
        /// System calls that handed requests to the kernel.
        enters: Total,
        /// Connections taken.
        accepted: Total,
        /// Connections turned away because the table was full.
        accepts_refused: Total,
        /// Failures of accept, such as too many open files.
        accept_faults: Total,
        /// Connections that exist.
        connections: Gauge,
        /// The bound of connections.
        connections_max: Gauge,
        /// TLS handshakes that came through.
        handshakes: Total,
        /// TLS handshakes that did not.
        handshakes_failed: Total,
        /// Bytes received from sockets.
        bytes_in: Total,
        /// Bytes sent to sockets.
        bytes_out: Total,
        /// Times that bytes arrived while no receive buffer was free.
        buffers_out: Total,
        /// Synced writes handed to the disk.
        disk_writes: Total,
        /// Bytes of synced writes.
        disk_write_bytes: Total,
        /// Reads handed to the disk.
        disk_reads: Total,
        /// Disk requests under way.
        disk_pending: Gauge,
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
        let first = counters.all().next().unwrap();
        assert_eq!((first.name, first.help, first.value), ("parks", "Times that the thread slept.", 5));
        assert_eq!(counters.all().find(|n| n.kind == Kind::Gauge).unwrap().name, "connections");
    }
}
