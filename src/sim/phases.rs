//! The phases of a run: when each begins, how long it may last, and what must be true before the next.

use crate::base::Nanos;
use crate::sim::world::World;

/// Answered operations that a run must come to.
pub const GOAL: u64 = 500;
/// Of them, after the faults have ended.
const AFTER_HEALING: u64 = 100;
/// The storm ends here at the latest.
const STORM_MAX: Nanos = Nanos(10_000_000_000);
/// Healing and coming to rest may each take this long, in virtual time.
const PEACE_MAX: Nanos = Nanos(20_000_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Storm,
    Healing,
    Rest,
    /// Every copy of one batch is damaged: somebody must say so, and nobody may lead.
    Doomed,
    Over,
}

impl World {
    pub(super) fn advance(&mut self) {
        let spent = Nanos(self.now.0 - self.since.0);
        match self.phase {
            Phase::Storm => {
                let enough = self.tally.faults >= self.swarm.faults
                    && self.tally.crashes > 0
                    && self.clients.acked >= GOAL - AFTER_HEALING;
                if enough || spent > STORM_MAX {
                    self.calm();
                    self.since_storm = self.now;
                    self.copy_a_disk();
                    self.enter(Phase::Healing);
                }
            }
            Phase::Healing => {
                let served = self.clients.acked - self.acked_before;
                if self.play_scene(self.is_served() && self.agenda.is_empty()) {
                    self.enter(Phase::Rest);
                } else if spent > PEACE_MAX && !self.ends_unled() {
                    let leader = self.leader().map(|leader| self.doing(leader));
                    self.fail(format!(
                        "32: {served} operations served in {} s of peace; changes still to be made: {:?}; {}; the \
                         leader: {}",
                        spent.0 / 1_000_000_000,
                        self.agenda,
                        self.unrest(),
                        leader.unwrap_or_default()
                    ));
                }
            }
            Phase::Rest => {
                self.watch_the_copy();
                if self.tally.events.is_multiple_of(16) && self.is_at_rest() && !self.goes_on() {
                    self.finish();
                    let doomed = self.swarm.is_doomed && self.failure.is_none() && self.lose_all_copies();
                    self.enter(if doomed { Phase::Doomed } else { Phase::Over });
                } else if spent > PEACE_MAX && !self.ends_unled() {
                    let why = self.unrest();
                    self.fail(format!("32: the members have not come to rest: {why}"));
                }
            }
            Phase::Doomed => self.watch_the_doomed(spent > PEACE_MAX),
            Phase::Over => {}
        }
    }

    pub(super) fn is_served(&self) -> bool {
        self.clients.acked >= GOAL && self.clients.acked - self.acked_before >= AFTER_HEALING
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.say(|| format!("{phase:?}, {} operations answered", self.clients.acked));
        self.phase = phase;
        self.since = self.now;
        self.acked_before = self.clients.acked;
    }
}
