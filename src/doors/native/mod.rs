//! The native door: length-prefixed frames over the `kv` realm, whose operations travel as the realm defines them.
//!
//! A write's body is checked once, here, and then is the command's payload, byte for byte; an answer's body is
//! what the realm wrote. The door adds nothing but the frame's head. What a client may put into the log is a
//! `kv` write and the opening and closing of its own session: no other kind can be expressed.

mod session;
#[cfg(test)]
pub(crate) mod tests;
mod watches;
pub mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::{Index, Nanos};
use crate::doors::{Answer, Crowd, Cx, Door, Outcome, Seat, Taken};
use crate::state::RealmId;

pub use session::Session;
use watches::Watches;
use wire::Say;

/// How long a connection may take to say hello.
const HANDSHAKE: Nanos = Nanos(5_000_000_000);

/// What the native sessions of one edge lane share.
#[derive(Debug, Default)]
pub struct Native {
    watches: Watches,
    /// Which connections keep a lease alive.
    keepers: BTreeMap<(u64, Seat), ()>,
}

impl Native {
    /// Gauges: (watches, leases kept alive).
    pub fn gauges(&self) -> (usize, usize) {
        (self.watches.len(), self.keepers.len())
    }
}

impl Door for Native {
    type Session = Session;

    fn open(&mut self, cx: &mut Cx<'_>, _from: SocketAddr) -> Session {
        cx.alarm(cx.now.plus(HANDSHAKE));
        Session::default()
    }

    fn on_bytes(&mut self, session: &mut Session, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        session.on_bytes(self, cx, bytes)
    }

    fn on_outcome(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, outcome: Outcome<'_>) {
        session.on_outcome(cx, token, outcome);
    }

    fn on_answer(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>) {
        session.on_answer(self, cx, token, answer);
    }

    fn on_alarm(&mut self, session: &mut Session, cx: &mut Cx<'_>) {
        session.on_alarm(self, cx);
    }

    fn on_serving(&mut self, _session: &mut Session, _cx: &mut Cx<'_>) {} // Nothing is answered on trust here.

    fn on_ended(&mut self, session: &mut Session, seat: Seat) {
        session.watches.drain(..).for_each(|(_, handle)| self.watches.close(handle));
        session.leases.drain(..).for_each(|lease| {
            self.keepers.remove(&(lease, seat));
        });
    }

    fn on_changes(&mut self, _at: Index, changes: &[u8], crowd: &mut impl Crowd<Session>) {
        self.watches.on_changes(changes, crowd);
    }

    fn on_jump(&mut self, crowd: &mut impl Crowd<Session>) {
        self.watches.on_jump(crowd);
    }

    fn on_gone(&mut self, realm: RealmId, id: u64, crowd: &mut impl Crowd<Session>) {
        if realm != RealmId::Kv {
            return; // A session of ours that is gone is refused at its next write.
        }
        let all = (id, Seat { slot: 0, generation: 0 })..=(id, Seat { slot: u32::MAX, generation: u32::MAX });
        let keepers: Vec<(u64, Seat)> = self.keepers.range(all).map(|(key, ())| *key).collect();
        for (lease, seat) in keepers {
            self.keepers.remove(&(lease, seat));
            crowd.visit(seat, |session, cx| {
                session.leases.retain(|kept| *kept != lease);
                wire::put_frame(cx.out(), Say::LeaseGone as u8, 0, &lease.to_le_bytes());
            });
        }
    }

    fn serves(&self, realm: RealmId) -> bool {
        matches!(realm, RealmId::Kv | RealmId::Core)
    }
}
