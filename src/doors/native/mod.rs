//! The native door: length-prefixed frames over the `kv` realm, whose operations travel as the realm defines them.
//!
//! A write's body is checked once, here, and then is the command's payload, byte for byte; an answer's body is
//! what the realm wrote. The door adds nothing but the frame's head.

mod session;
pub mod wire;

use std::net::SocketAddr;

use crate::base::{Index, Nanos};
use crate::doors::{Answer, Crowd, Cx, Door, Outcome, Seat, Taken};
use crate::state::RealmId;

pub use session::Session;

/// How long a connection may take to say hello.
const HANDSHAKE: Nanos = Nanos(5_000_000_000);

/// What the native sessions of one edge lane share.
#[derive(Debug, Default)]
pub struct Native {}

impl Door for Native {
    type Session = Session;

    fn open(&mut self, cx: &mut Cx<'_>, _from: SocketAddr) -> Session {
        cx.alarm(cx.now.plus(HANDSHAKE));
        Session::default()
    }

    fn on_bytes(&mut self, session: &mut Session, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        session.on_bytes(cx, bytes)
    }

    fn on_outcome(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, outcome: Outcome<'_>) {
        session.on_outcome(cx, token, outcome);
    }

    fn on_answer(&mut self, session: &mut Session, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>) {
        session.on_answer(cx, token, answer);
    }

    fn on_alarm(&mut self, session: &mut Session, cx: &mut Cx<'_>) {
        session.on_alarm(cx);
    }

    fn on_serving(&mut self, _session: &mut Session, _cx: &mut Cx<'_>) {}

    fn on_ended(&mut self, _session: &mut Session, _seat: Seat) {}

    fn on_changes(&mut self, _at: Index, _changes: &[u8], _crowd: &mut impl Crowd<Session>) {}

    fn on_gone(&mut self, _realm: RealmId, _id: u64, _crowd: &mut impl Crowd<Session>) {}

    fn serves(&self, realm: RealmId) -> bool {
        matches!(realm, RealmId::Kv | RealmId::Core)
    }
}
