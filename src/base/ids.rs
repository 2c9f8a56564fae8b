//! Identities and quantities that must not be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A replica, 1 to 255; 0 is nobody.
    NodeId(u8)
);
number!(
    /// A leader's reign. At most one node leads an epoch, after a majority promised it durably.
    Epoch(u64)
);
number!(
    /// The place of a batch in the log. The first batch is 1; 0 stands for the empty log.
    Index(u64)
);
number!(
    /// How often this node's data directory has been opened, counted from when it was formatted, in milliseconds
    /// of the wall clock: so no life of a node id comes twice, whatever disks it had. Raised durably before
    /// anything is sent.
    Life(u64)
);
number!(
    /// A point of the monotonic clock, in nanoseconds. Its zero means nothing.
    Nanos(u64)
);

/// A formatted data directory, drawn at random by whoever formats it. The disk that replaces a lost one is another
/// incarnation of the same node: it has forgotten what that one promised, so it must not vote in its stead.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// In a configuration: not known yet. Whoever speaks for the node may be meant.
    pub const OPEN: Incarnation = Incarnation(0);
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who speaks: a node, and which incarnation of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voice {
    pub id: NodeId,
    pub incarnation: Incarnation,
}

impl fmt::Display for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.incarnation)
    }
}

/// One cluster, drawn at random when it is founded. Foreign disks and peers are refused by it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// A hash over a batch and, through its predecessor's, over the whole log before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub u128);

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Index {
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The predecessor; the empty log has none, so 0 stays 0.
    pub fn prev(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Nanos {
    pub const MAX: Nanos = Nanos(u64::MAX);

    pub fn from_millis(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long so many bytes take at so many a second. A state of many gigabytes counts right, too.
    pub fn for_bytes(bytes: u64, per_second: u64) -> Nanos {
        Nanos((u128::from(bytes) * 1_000_000_000 / u128::from(per_second)) as u64)
    }

    /// `self + span`, stopping at the end of time.
    pub fn plus(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }

    /// How long since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Who stamped a command: an edge lane of one life of one node. Sequences are gapless within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u64);

impl Origin {
    pub fn new(node: NodeId, lane: u8, life: Life) -> Origin {
        assert!(life.0 < 1 << 48, "lives never reach 2^48");
        Origin(u64::from(node.0) << 56 | u64::from(lane) << 48 | life.0)
    }

    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 56) as u8)
    }

    pub fn lane(self) -> u8 {
        (self.0 >> 48) as u8
    }

    pub fn life(self) -> Life {
        Life(self.0 & ((1 << 48) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_keeps_its_parts() {
        let origin = Origin::new(NodeId(3), 9, Life(77));
        assert_eq!((origin.node(), origin.lane(), origin.life()), (NodeId(3), 9, Life(77)));
    }

    #[test]
    fn a_span_for_bytes_does_not_overflow_with_a_large_state() {
        assert_eq!(Nanos::for_bytes(1 << 40, 256 << 20), Nanos::from_millis(4_096_000));
    }
}
