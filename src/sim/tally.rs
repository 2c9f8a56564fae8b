//! What happened in a run, counted: a simulator in which a thing never happens proves nothing about it.

use std::fmt;

use crate::journal::Report;
use crate::pipeline::node::Core;
use crate::sim::run::Scheme;

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        #[derive(Clone, Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Tally {
            pub fn add(&mut self, other: &Tally) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

tally! {
    events,
    turns,
    /// Faults injected, and among them ends of processes.
    faults,
    crashes,
    crashes_in_recovery,
    halts,
    /// Operations answered, and those whose fate stayed unknown.
    acked,
    unknown,
    elections,
    truncations,
    /// Recoveries that found the end of the log torn.
    torn_tails,
    /// Damage healed, by its class.
    repaired_bodies,
    repaired_frames,
    repaired_supers,
    proven_absent,
    refetched_snapshots,
    snapshots,
    installs,
    wraps,
    member_changes,
    /// Reads whose leader changed before they were confirmed.
    read_races,
    reads_by_clock,
    /// Histories whose search for an order was given up; by their revisions they are in order.
    searches_given_up,
    refused_frames,
    torn_writes,
    lost_writes,
    misdirected,
    flipped,
    disk_errors,
    hints,
    /// Requests that their clients sent again.
    resent,
    resends,
    /// Old copies of whole disks put back, and worlds in which every copy of a batch was damaged at the end.
    disks_put_back,
    all_copies_lost,
    /// Worlds in which every snapshot under a log was damaged at the end.
    all_snapshots_lost,
    /// What sessions came to: answers, events, of them for what was missed; sessions taken along, and run out.
    session_replies,
    session_events,
    session_missed,
    session_returns,
    sessions_expired,
    /// Worlds that ended, as they should, with a batch of which damage and power loss had left no copy.
    dead_ends,
    /// Worlds that ended with something decided of which damage to several disks had left nothing, and with word of it.
    impasses,
    /// Nodes that said that nobody can lead.
    alarms,
}

impl Tally {
    /// A process has opened its directory.
    pub fn recovered(&mut self, report: &Report) {
        self.torn_tails += u64::from(report.cut.is_some());
        self.repaired_frames += report.frames_healed;
        self.repaired_supers += report.bad_supers;
    }

    /// A process is over, or the run is.
    pub fn ended(&mut self, core: &Core) {
        let counts = core.order.replica().counts;
        self.elections += counts.elections;
        self.alarms += counts.alarms;
        self.truncations += counts.cuts;
        self.repaired_bodies += counts.repairs;
        self.proven_absent += counts.absences;
        self.installs += counts.installs;
        self.snapshots += counts.snapshots;
        self.refetched_snapshots += counts.refetches;
        self.member_changes += counts.configs;
        self.read_races += counts.reads_refused;
        self.reads_by_clock += counts.leased;
        self.hints += counts.hints;
        self.resends += counts.resends;
        self.refused_frames += core.peers.counters().malformed.read();
    }

    /// What must have happened at least once over a few hundred seeds.
    pub fn required(&self, scheme: Scheme) -> Vec<(&'static str, u64)> {
        if scheme == Scheme::Sessions {
            return vec![
                ("elections", self.elections),
                ("snapshot installs", self.installs),
                ("answers to sessions", self.session_replies),
                ("events of watches", self.session_events),
                ("events that were missed", self.session_missed),
                ("sessions that came back", self.session_returns),
                ("sessions that ran out", self.sessions_expired),
            ];
        }
        vec![
            ("elections", self.elections),
            ("truncations", self.truncations),
            ("torn tails", self.torn_tails),
            ("repaired bodies", self.repaired_bodies),
            ("repaired frames", self.repaired_frames),
            ("repaired superblock copies", self.repaired_supers),
            ("damaged snapshots replaced", self.refetched_snapshots),
            ("slots proven absent", self.proven_absent),
            ("snapshots", self.snapshots),
            ("snapshot installs", self.installs),
            ("log wraps", self.wraps),
            ("member changes", self.member_changes),
            ("read-index races", self.read_races),
            ("reads answered by the lease", self.reads_by_clock),
            ("crashes in recovery", self.crashes_in_recovery),
            ("whole disks put back", self.disks_put_back),
            ("batches of which all copies were lost", self.all_copies_lost),
            ("clusters of which all snapshots were lost", self.all_snapshots_lost),
        ]
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.session_replies > 0 { Scheme::Sessions } else { Scheme::Plain };
        for (name, count) in self.required(scheme) {
            writeln!(f, "{count:>12} {name}")?;
        }
        let rest = [
            ("operations answered", self.acked),
            ("operations of unknown fate", self.unknown),
            ("faults injected", self.faults),
            ("crashes", self.crashes),
            ("torn writes", self.torn_writes),
            ("lost writes", self.lost_writes),
            ("misdirected reads and writes", self.misdirected),
            ("flipped bits on disks", self.flipped),
            ("disk errors", self.disk_errors),
            ("nodes stopped by their disk", self.halts),
            ("frames refused", self.refused_frames),
            ("closed links taken as hints", self.hints),
            ("batches sent again", self.resends),
            ("requests sent again by clients", self.resent),
            ("worlds that ended without a copy of an undecided batch", self.dead_ends),
            ("worlds that nobody could lead any more", self.impasses),
            ("nodes that said so, then or for a while", self.alarms),
            ("searches given up", self.searches_given_up),
            ("events", self.events),
        ];
        for (name, count) in rest {
            writeln!(f, "{count:>12} {name}")?;
        }
        Ok(())
    }
}
