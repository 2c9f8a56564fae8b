//! What goes wrong in one world: a random subset of faults, at random rates, drawn from the seed.
//!
//! A world that has every fault at once hides those that need calm around them, so each seed takes some and leaves
//! the rest (swarm testing).

use crate::base::{NodeId, Rng};
use crate::journal::Params;
use crate::sim::disk::Habits;
use crate::sim::net::Weather;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// Something that the world does to its nodes at a moment of its choice.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $kind,)*
        }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$kind),*];
        }
    };
}

kinds! {
    /// A process dies; its machine and page cache live on.
    Crash,
    /// A machine loses power: writes in flight vanish, land or tear.
    PowerLoss,
    /// All machines lose power at once.
    CrashAll,
    /// A machine loses power, and again while it recovers.
    CrashInRecovery,
    /// A process stands still for a while.
    Pause,
    /// A process gets a hundredth of its core for a while.
    SlowCore,
    /// One node, cut off.
    Isolate,
    IsolateLeader,
    /// Any minority, cut off.
    Minority,
    /// Each node hears its two neighbours only.
    Ring,
    /// Two halves, and one node that hears both.
    Bridge,
    /// One direction of one link.
    OneWay,
    /// One link, cut and restored again and again.
    Flap,
    /// All links held one after the other, released in random order.
    Swizzle,
    /// The links of a living leader are closed.
    CloseLeaderLinks,
    /// They are, and something on its machine refuses new ones in its stead: it looks dead, and lives.
    Reject,
    /// Every link breaks, several times: everything is sent again.
    Storm,
    /// Bits at rest change: header zone, body, padding, superblock copy, snapshot.
    Rot,
    /// A sector at rest becomes unreadable.
    BadSector,
    /// A region returns to what it held a while ago.
    Rollback,
    /// A disk fails every request for a while.
    DeadDisk,
    /// No room for new files for a while.
    FullDisk,
    /// A disk a hundred times slower for a while.
    SlowDisk,
    /// A wall clock jumps by up to ten years.
    WallJump,
    /// A monotonic clock runs up to a tenth too fast or too slow.
    Drift,
    /// The leader is asked to hand over.
    Transfer,
    /// A member leaves, joins, or is replaced.
    Members,
    /// A disk is replaced by an empty one.
    Wipe,
    /// The leader is asked for a snapshot.
    Snapshot,
    /// The newest batch on a disk rots, and its machine loses power before anybody reads it.
    RotTail,
    /// A snapshot rots and its machine loses power, as soon as nobody else has lost anything.
    RotSnapshot,
    /// The leader is cut off with its clients, its disk slow: what nobody else has is torn by a loss of power, or still on
    /// its way when it comes back.
    LoneTail,
    /// Body and frame of a batch rot, of which the superblock says that it was durable.
    RotBoth,
    /// The next node that does this or that (cuts its log, promises, leads, ...) is struck at that moment.
    AtMoment,
    /// Whoever is elected next is struck as soon as it leads, several times in a row.
    ShortReigns,
    /// The leader is cut off with its clients, and its disk stalls: it comes back with writes in flight that nobody
    /// else has.
    LongTail,
    /// The leader hands over and is cut off before it hears of it: two lead for a while, and both have clients.
    TwoReigns,
    /// Everybody but the leader, and one that has not heard it for long, starts anew, and the leader is cut off: what
    /// they promised it before they do not know.
    Forgetful,
    /// A follower's words take long, and it hears nothing meanwhile: they reach a leader that has another epoch.
    LateWords,
    /// The leader is cut off with its clients, and of what it writes half stays under way until others have had it cut
    /// that, and have sent what comes in its place.
    LateWrite,
}

/// One world's choice.
#[derive(Clone, Debug)]
pub struct Swarm {
    pub voters: u8,
    pub kinds: Vec<Fault>,
    /// Mean time between two faults.
    pub calm_us: u64,
    pub params: Params,
    pub habits: Habits,
    pub weather: Weather,
    pub heartbeat_ms: u64,
    pub patience_ms: u64,
    /// Reads by the leader's clock.
    pub lease: bool,
    pub batch_bytes: usize,
    pub in_flight: u64,
    pub snapshot_bytes: u64,
    pub keep: u64,
    pub lanes: u8,
    /// The node whose disk may vanish; in the minority of every region.
    pub cursed: Option<NodeId>,
    /// Faults at least, before the world heals.
    pub faults: u64,
    /// At the end an old copy of a disk is put back in its place.
    pub puts_back: bool,
    /// At the very end every copy of one batch is damaged.
    pub is_doomed: bool,
}

impl Swarm {
    pub fn draw(rng: &mut Rng) -> Swarm {
        let voters = *rng.pick(&[1, 3, 3, 3, 5, 5]);
        let share = 0.15 + 0.5 * rng.unit();
        // For what chance alone would hardly ever bring; by a chance of their own, so that other worlds stay what they are.
        let mut apart = rng.clone();
        let has = |&kind: &Fault| match kind {
            Fault::RotSnapshot | Fault::LoneTail | Fault::LateWrite => apart.chance(0.2),
            _ => rng.chance(share),
        };
        let mut kinds: Vec<Fault> = Fault::ALL.iter().copied().filter(has).collect();
        // Every world has a crash.
        if !kinds.iter().any(|kind| matches!(kind, Fault::Crash | Fault::PowerLoss)) {
            kinds.push(*rng.pick(&[Fault::Crash, Fault::PowerLoss]));
        }
        let cursed = kinds.contains(&Fault::Wipe) && voters > 1;
        let cursed = cursed.then(|| NodeId(rng.between(1, u64::from(voters)) as u8));
        kinds.retain(|&kind| cursed.is_some() || kind != Fault::Wipe);
        if voters == 1 {
            kinds.retain(|kind| {
                !matches!(
                    kind,
                    Fault::Members
                        | Fault::TwoReigns
                        | Fault::LateWords
                        | Fault::Forgetful
                        | Fault::RotSnapshot
                        | Fault::LoneTail
                        | Fault::LateWrite
                )
            });
        }
        let mut lies = |chance: f64| if rng.chance(0.3) { chance } else { 0.0 };
        let habits = Habits {
            lost_write: lies(0.01),
            misdirected_write: lies(0.01),
            misdirected_read: lies(0.05),
            flipped_read: lies(0.05),
            read_error: lies(0.05),
            write_error: lies(0.000_5),
            stall: lies(0.000_5),
            latency_min_us: rng.between(5, 100),
            latency_mean_us: rng.between(20, 600),
            tear: rng.unit(),
            ..Habits::default()
        };
        let mut storms = |chance: f64| if rng.chance(0.3) { chance } else { 0.0 };
        let weather = Weather {
            loss: storms(0.01),
            reset: storms(0.002),
            flip: storms(0.000_5),
            delay_min_us: rng.between(5, 300),
            delay_mean_us: rng.between(10, 2_000),
        };
        let (batch_bytes, in_flight) = (1 << rng.between(8, 14), rng.between(1, 6));
        let window_batches = rng.between(2, 8) as u32;
        // Some so small that what is under way when the log is all but full, or a few short reigns, take more than one.
        let slots = if rng.chance(0.5) { rng.between(2, 8) } else { rng.between(8, 20) };
        let header_slots = 2 + slots as u32;
        let bodies = (slots + rng.between(0, 8)).max(batch_bytes as u64 / 4096 + 3);
        let params = Params {
            segment_bytes: (u64::from(header_slots) + bodies) * 4096,
            header_slots,
            window_batches,
            window_bytes: 64 << 10,
            segments: 2,
            segments_max: 64,
        };
        let patience_ms = rng.between(100, 400);
        Swarm {
            voters,
            calm_us: rng.between(20_000, 300_000),
            params,
            habits,
            weather,
            heartbeat_ms: (patience_ms / rng.between(4, 9)).max(10),
            patience_ms,
            batch_bytes,
            in_flight,
            snapshot_bytes: 1 << rng.between(13, 18),
            keep: rng.below(40),
            lanes: rng.between(1, 3) as u8,
            cursed,
            faults: rng.between(10, 25),
            puts_back: voters > 1 && rng.chance(0.1),
            is_doomed: rng.chance(0.1),
            lease: rng.chance(0.3),
            kinds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_drawn_and_every_world_has_a_crash() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let swarm = Swarm::draw(&mut Rng::new(seed));
            assert_eq!(swarm.params.check(), Ok(()));
            assert!(swarm.kinds.contains(&Fault::Crash) || swarm.kinds.contains(&Fault::PowerLoss));
            assert!(!swarm.kinds.contains(&Fault::Wipe) || swarm.voters > 1);
            seen.extend(swarm.kinds);
        }
        assert_eq!(seen.len(), Fault::ALL.len());
    }
}
