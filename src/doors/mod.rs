//! The doors: one wire protocol each over one realm, and what they share with the stage that carries them.
//!
//! A `Door` is what all sessions of one protocol on one edge lane have in common (watch tables, session maps); a
//! session is one connection's state. Neither sees a socket, a thread, a clock or a lane. The edge stage calls
//! them; they answer through `Cx`.
//!
//! - **Writes** go into the log: `Cx::write` appends the envelope and lets the door append the payload behind
//!   it, in the memory that travels to the order stage. The outcome comes back through `on_outcome` with the
//!   token that the door chose, in the order of writing, and after every change that the write caused or that
//!   came before it was announced through `on_changes`.
//! - **Reads** are queries in the realm's own form. Local ones are answered from this node's state as it is then,
//!   linearizable ones after a quorum check. Answers of one level come in order; between levels nothing is
//!   promised. A local read shows no write that its lane issued later, but does not wait for those before it, unless
//!   it names one (`Cx::read_after`): then its answer comes behind that write's outcome and in front of the next.
//!   So a session that owes its client FIFO (zk) issues reads and writes as they come.
//! - **Replies** are bytes appended to `Cx::out`; they go out in one send at the end of the turn.
//! - **Back-pressure**: `Cx::admits` says whether another request may enter. If not, `on_bytes` leaves the frame
//!   and says `Stop::Permits`; it is offered again, oldest connection first, when permits come back. A request
//!   that a session had admitted earlier and queued itself needs no second asking.

mod desk;
pub mod native;
pub mod watch;
pub mod zk;

use std::net::SocketAddr;

use crate::base::{Index, Nanos};
use crate::state::RealmId;

pub use desk::{Bounds, Cx, Desk, Link, ReadItem, Taken, Write};
pub(crate) use desk::{Queries, Who};

/// A connection, as a door names it. The generation tells a reused slot from the connection that had it before,
/// so a seat may be kept in tables: one that is gone is simply not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    pub slot: u32,
    pub generation: u32,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// This node's applied state, which may lag.
    Local,
    /// Reflects every write acknowledged anywhere before the read was issued.
    Linearizable,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Applied in the batch `at`; the reply is the realm's, in the form that this door's realm writes.
    Done { at: Index, reply: &'a [u8] },
    /// It may or may not have been applied: this node cannot know. Answer with the protocol's time-out or
    /// connection loss, or hang up; never with an error that says "not done".
    Unknown,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    Found(&'a [u8]),
    /// A linearizable read that no quorum confirmed in time. It may be asked again.
    Unconfirmed,
}

/// Why `on_bytes` took no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All whole frames are taken. The one that begins at the first byte left needs this many bytes in all as
    /// far as is known (at least one more than are there); `on_bytes` is not called before they have come.
    Frame(usize),
    /// `Cx::admits` was false in front of a whole frame.
    Permits,
    /// The session wants nothing more now: its handshake is in the log, or its own window is full. Offered again
    /// after the next outcome, answer or `on_visit` of this session.
    Session,
}

/// The sessions of one door, for what comes from outside any one connection.
pub trait Crowd<S> {
    /// Calls `f` for the session in `seat`; `false` if it is gone or another door's.
    fn visit(&mut self, seat: Seat, f: impl FnOnce(&mut S, &mut Cx<'_>)) -> bool;
}

/// One protocol on one edge lane.
pub trait Door {
    /// One connection's state. It should be small: there are 50,000 idle ones.
    type Session;

    /// A connection was taken.
    fn open(&mut self, cx: &mut Cx<'_>, from: SocketAddr) -> Self::Session;

    /// Takes whole frames off the front of `bytes`, which always begins at a frame's first byte. What is not
    /// taken is kept and offered again, with what has come since. Malformed input: reply with the protocol's
    /// error where the frame's end is known, else `Cx::hang_up`.
    fn on_bytes(&mut self, session: &mut Self::Session, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken;

    /// The outcome of the write that carried `token`. Not called for connections that are gone.
    fn on_outcome(&mut self, session: &mut Self::Session, cx: &mut Cx<'_>, token: u64, outcome: Outcome<'_>);

    /// The answer to the read that carried `token`. Not called for connections that are gone.
    fn on_answer(&mut self, session: &mut Self::Session, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>);

    /// The time set by `Cx::alarm` has come.
    fn on_alarm(&mut self, session: &mut Self::Session, cx: &mut Cx<'_>);

    /// This node has begun, or ceased, to hear from a leader that a quorum follows. Every session is told, in
    /// slices over several turns; `Cx::serving` has the new value at once. A session that has not been told yet
    /// must not answer heartbeats as alive: it looks at `Cx::serving`.
    fn on_serving(&mut self, session: &mut Self::Session, cx: &mut Cx<'_>);

    /// The connection is gone, whoever ended it: forget what the door keeps about the seat.
    fn on_ended(&mut self, session: &mut Self::Session, seat: Seat);

    /// One command of batch `at` changed the realm: tell whoever watches. The bytes are the realm's `changes`.
    /// Called for each realm that this door `serves`, in log order, before the command's own outcome.
    fn on_changes(&mut self, at: Index, changes: &[u8], crowd: &mut impl Crowd<Self::Session>);

    /// The leader says that this session or lease, which some node's `Cx::touch` named, is gone or being
    /// expired. May come after the answer of a linearizable read that was issued after the touch.
    fn on_gone(&mut self, realm: RealmId, id: u64, crowd: &mut impl Crowd<Self::Session>);

    /// The state was replaced by a snapshot: there will be no changes for what lies between. Called before any
    /// answer or change of the new state.
    fn on_jump(&mut self, crowd: &mut impl Crowd<Self::Session>) {
        let _ = crowd;
    }

    /// Whether changes (and gone ids) of this realm are of interest here.
    fn serves(&self, realm: RealmId) -> bool;

    /// When the door itself, not a session, has something to do. `Nanos::MAX`: nothing.
    fn deadline(&self) -> Nanos {
        Nanos::MAX
    }

    /// That time has come. Bounded work; what is left keeps `deadline` in the past.
    fn on_deadline(&mut self, now: Nanos, crowd: &mut impl Crowd<Self::Session>) {
        let _ = (now, crowd);
    }
}
