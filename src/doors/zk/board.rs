//! What the four-letter words and the metrics show: counters that each lane keeps for itself.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What this node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// One node, no peers.
    Standalone = 0,
    Leader = 1,
    Follower = 2,
    Observer = 3,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
        }
    }
}

/// Written by one lane, read by anybody.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Only the lane itself adds, so no read-modify-write is needed.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub fn sub(&self, less: u64) {
        self.0.store(self.get().wrapping_sub(less), Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One lane's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Lane {
    pub received: Count,
    pub sent: Count,
    pub connections: Count,
    pub rejected: Count,
    pub outstanding: Count,
    pub events: Count,
    pub watches: Count,
    pub auth_failed: Count,
    /// Of answered requests: how many, their sum, the longest; microseconds.
    pub answered: Count,
    pub latency_us: Count,
    pub latency_us_max: Count,
}

impl Lane {
    pub fn latency(&self, us: u64) {
        self.answered.add(1);
        self.latency_us.add(us);
        if us > self.latency_us_max.get() {
            self.latency_us_max.set(us);
        }
    }
}

#[derive(Debug)]
pub struct Board {
    lanes: Vec<Lane>,
    mode: AtomicU8,
    /// When the door began to serve; the clock is the stages'.
    pub started_ms: Count,
}

impl Board {
    pub fn new(lanes: u8) -> Board {
        Board {
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            mode: AtomicU8::new(Mode::Standalone as u8),
            started_ms: Count::default(),
        }
    }

    /// The lane's own counters. Lanes beyond those planned share the last.
    pub fn lane(&self, lane: u8) -> &Lane {
        &self.lanes[usize::from(lane).min(self.lanes.len() - 1)]
    }

    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            1 => Mode::Leader,
            2 => Mode::Follower,
            3 => Mode::Observer,
            _ => Mode::Standalone,
        }
    }

    pub fn sum(&self, count: impl Fn(&Lane) -> &Count) -> u64 {
        self.lanes.iter().fold(0, |sum, lane| sum.wrapping_add(count(lane).get()))
    }

    pub fn max(&self, count: impl Fn(&Lane) -> &Count) -> u64 {
        self.lanes.iter().map(|lane| count(lane).get()).max().unwrap_or(0)
    }

    /// What `srst` does.
    pub fn reset(&self) {
        for lane in &self.lanes {
            for count in [&lane.received, &lane.sent, &lane.answered, &lane.latency_us, &lane.latency_us_max]
            {
                count.set(0);
            }
        }
    }
}
