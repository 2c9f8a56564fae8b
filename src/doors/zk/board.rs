//! What the four-letter words, the admin pages and the metrics show: counters that each lane keeps for itself, and
//! what is counted over all lanes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lists::Lists;
use super::roster::Conn;
use crate::doors::Seat;

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
    /// Watches of the data table: how many, of how many connections, on how many paths.
    pub data_watches: Count,
    pub watching: Count,
    pub watched_paths: Count,
    /// Connections by seat. Locked when one comes or goes, and by who lists them.
    conns: Mutex<BTreeMap<Seat, Arc<Conn>>>,
}

impl Lane {
    pub fn latency(&self, us: u64) {
        self.answered.add(1);
        self.latency_us.add(us);
        if us > self.latency_us_max.get() {
            self.latency_us_max.set(us);
        }
    }

    pub fn enter(&self, seat: Seat, conn: Arc<Conn>) {
        self.conns.lock().expect("nobody panics while listing").insert(seat, conn);
    }

    pub fn leave(&self, seat: Seat) {
        self.conns.lock().expect("nobody panics while listing").remove(&seat);
    }
}

/// What the state holds, as of the last command.
#[derive(Debug, Default)]
pub struct Facts {
    pub zxid: Count,
    /// Without the root's second name, which the reference counts too.
    pub nodes: Count,
    pub ephemerals: Count,
    pub bytes: Count,
    pub sessions: Count,
}

/// How this node stands to the others.
#[derive(Debug, Default)]
pub struct Standing {
    /// Voters; 0 or 1 where there is no ensemble.
    pub voters: Count,
    /// 0 without one.
    pub leader: Count,
    /// Leader only: members that hear from it.
    pub followers: Count,
    /// Leader only: since when, by the stages' clock.
    pub leading_since_ms: Count,
}

#[derive(Debug)]
pub struct Board {
    lanes: Vec<Lane>,
    mode: AtomicU8,
    /// Connections by address, over all lanes.
    addresses: Mutex<BTreeMap<IpAddr, u32>>,
    pub facts: Facts,
    pub lists: Lists,
    pub standing: Standing,
    /// When the node began, by the stages' clock, and what that clock lacks to be the wall's.
    pub started_ms: Count,
    pub wall_ms: Count,
}

impl Board {
    pub fn new(lanes: u8) -> Board {
        Board {
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            mode: AtomicU8::new(Mode::Standalone as u8),
            addresses: Mutex::default(),
            facts: Facts::default(),
            lists: Lists::new(usize::from(lanes.max(1))),
            standing: Standing::default(),
            started_ms: Count::default(),
            wall_ms: Count::default(),
        }
    }

    /// One more connection from there: how many there are now.
    pub fn come(&self, ip: IpAddr) -> u32 {
        let mut addresses = self.addresses.lock().expect("nobody panics while counting");
        let count = addresses.entry(ip).or_default();
        *count += 1;
        *count
    }

    pub fn go(&self, ip: IpAddr) {
        let mut addresses = self.addresses.lock().expect("nobody panics while counting");
        if let Some(count) = addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&ip);
            }
        }
    }

    /// All connections of all lanes.
    pub fn conns(&self) -> Vec<Arc<Conn>> {
        let held = |lane: &Lane| -> Vec<Arc<Conn>> {
            lane.conns.lock().expect("nobody panics while listing").values().cloned().collect()
        };
        self.lanes.iter().flat_map(held).collect()
    }

    /// Of answered requests, in milliseconds: mean and longest.
    pub fn latency_ms(&self) -> (f64, u64) {
        let answered = self.sum(|lane| &lane.answered).max(1) as f64;
        let mean = self.sum(|lane| &lane.latency_us) as f64 / answered / 1000.0;
        (mean, (self.max(|lane| &lane.latency_us_max) + 500) / 1000)
    }

    /// This node leads, or not; `since_ms` is by the stages' clock.
    pub fn stand(&self, leads: bool, voters: u64, followers: u64, now_ms: u64) {
        let mode = if leads { Mode::Leader } else { Mode::Follower };
        if mode != self.mode() {
            self.standing.leading_since_ms.set(now_ms);
        }
        self.standing.voters.set(voters);
        self.standing.followers.set(if leads { followers } else { 0 });
        self.set_mode(mode);
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

    /// What `crst` does.
    pub fn reset_conns(&self) {
        self.conns().iter().for_each(|conn| conn.reset());
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
