//! One connection of the loop, and what is under way on it.

use crate::driver::{Kind, Op};
use crate::pipe::Pipe;

#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub op: Op,
    pub intended: u64,
    pub sent: u64,
    /// When it was asked last: it may have been refused before.
    pub asked: u64,
    pub busy: bool,
}

pub const FREE: Slot =
    Slot { op: Op { kind: Kind::Read, key: 0, stamp: 0 }, intended: 0, sent: 0, asked: 0, busy: false };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Down { retry_at: u64 },
    Connecting { since: u64 },
    Greeting { since: u64 },
    Ready,
}

/// One connection, across all its reconnects.
pub struct Link<D> {
    pub id: u32,
    pub driver: D,
    pub pipe: Option<Pipe>,
    pub state: State,
    pub server: usize,
    /// Counts reconnects, so that an event of the old socket is not taken for one of the new.
    pub generation: u32,
    pub slots: Vec<Slot>,
    pub free: Vec<u32>,
    pub busy: usize,
    pub in_idle: bool,
    pub in_dirty: bool,
    pub wants_write: bool,
    pub backoff: u64,
    pub last_send: u64,
    /// Nothing that is outstanding was asked before this.
    pub oldest: u64,
}

impl<D> Link<D> {
    /// Looks at the slots only when one of them may have waited for too long.
    pub fn is_overdue(&mut self, now: u64, timeout: u64) -> bool {
        if self.busy == 0 || now.saturating_sub(self.oldest) <= timeout {
            return false;
        }
        let asked = self.slots.iter().filter(|slot| slot.busy).map(|slot| slot.asked);
        self.oldest = asked.min().unwrap_or(now);
        now.saturating_sub(self.oldest) > timeout
    }

    pub fn is_first_greeting(&self) -> bool {
        matches!(self.state, State::Greeting { .. }) && self.generation == 1
    }
}
