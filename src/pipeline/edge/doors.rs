//! Which doors an edge has, and the way from a seat's session to its door.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{Identity, Index, Nanos};
use crate::doors::{Answer, Crowd, Cx, Door, Link, Outcome, Seat, Taken, native, zk};
use crate::pipeline::edge::floor::Floor;
use crate::pipeline::ports;
use crate::state::RealmId;

/// One of each; a door without a listener costs nothing.
#[derive(Default)]
pub struct Doors {
    pub native: native::Native,
    pub zk: Option<zk::Zk>,
}

/// A connection as it comes: by which door, from where, and who has proven to be there.
pub struct Come {
    pub door: ports::Door,
    pub from: SocketAddr,
    pub by: Option<Arc<Identity>>,
}

/// A session of any door.
pub(super) enum Seated {
    Native(native::Session),
    Zk(zk::Session),
}

/// The door of a session: it was opened there.
fn at(zk: &mut Option<zk::Zk>) -> &mut zk::Zk {
    zk.as_mut().expect("a session has its door")
}

impl Doors {
    /// `None`: no such door here.
    pub(super) fn open(&mut self, cx: &mut Cx<'_>, come: &Come) -> Option<Seated> {
        match come.door {
            ports::Door::Native => Some(Seated::Native(self.native.open(cx, come.from))),
            ports::Door::Zk => {
                self.zk.as_mut().map(|zk| Seated::Zk(zk.admit(cx, come.from, come.by.as_deref())))
            }
            ports::Door::Etcd | ports::Door::Consul | ports::Door::Peer | ports::Door::ZkTls => None,
        }
    }

    pub(super) fn on_bytes(&mut self, seated: &mut Seated, cx: &mut Cx<'_>, bytes: &[u8]) -> Taken {
        match seated {
            Seated::Native(session) => self.native.on_bytes(session, cx, bytes),
            Seated::Zk(session) => at(&mut self.zk).on_bytes(session, cx, bytes),
        }
    }

    pub(super) fn on_outcome(
        &mut self,
        seated: &mut Seated,
        cx: &mut Cx<'_>,
        token: u64,
        outcome: Outcome<'_>,
    ) {
        match seated {
            Seated::Native(session) => self.native.on_outcome(session, cx, token, outcome),
            Seated::Zk(session) => at(&mut self.zk).on_outcome(session, cx, token, outcome),
        }
    }

    pub(super) fn on_answer(&mut self, seated: &mut Seated, cx: &mut Cx<'_>, token: u64, answer: Answer<'_>) {
        match seated {
            Seated::Native(session) => self.native.on_answer(session, cx, token, answer),
            Seated::Zk(session) => at(&mut self.zk).on_answer(session, cx, token, answer),
        }
    }

    pub(super) fn on_alarm(&mut self, seated: &mut Seated, cx: &mut Cx<'_>) {
        match seated {
            Seated::Native(session) => self.native.on_alarm(session, cx),
            Seated::Zk(session) => at(&mut self.zk).on_alarm(session, cx),
        }
    }

    pub(super) fn on_serving(&mut self, seated: &mut Seated, cx: &mut Cx<'_>) {
        match seated {
            Seated::Native(session) => self.native.on_serving(session, cx),
            Seated::Zk(session) => at(&mut self.zk).on_serving(session, cx),
        }
    }

    pub(super) fn on_ended(&mut self, seated: &mut Seated, seat: Seat) {
        match seated {
            Seated::Native(session) => self.native.on_ended(session, seat),
            Seated::Zk(session) => at(&mut self.zk).on_ended(session, seat),
        }
    }

    pub(super) fn on_changes(&mut self, at: Index, realm: RealmId, changes: &[u8], floor: &mut Floor) {
        if self.native.serves(realm) {
            self.native.on_changes(at, changes, floor);
        }
        if let Some(zk) = self.zk.as_mut().filter(|zk| zk.serves(realm)) {
            zk.on_changes(at, changes, floor);
        }
    }

    pub(super) fn on_gone(&mut self, realm: RealmId, id: u64, floor: &mut Floor) {
        if self.native.serves(realm) {
            self.native.on_gone(realm, id, floor);
        }
        if let Some(zk) = self.zk.as_mut().filter(|zk| zk.serves(realm)) {
            zk.on_gone(realm, id, floor);
        }
    }

    /// This lane speaks for its node, which begins to serve.
    pub(super) fn announce(&mut self, floor: &mut Floor) {
        if let Some(zk) = &self.zk {
            floor.speak(|cx| zk.announce(cx));
        }
    }

    pub(super) fn on_jump(&mut self, floor: &mut Floor) {
        self.native.on_jump(floor);
        if let Some(zk) = &mut self.zk {
            zk.on_jump(floor);
        }
    }

    pub(super) fn deadline(&self) -> Nanos {
        self.native.deadline()
    }

    pub(super) fn on_deadline(&mut self, floor: &mut Floor) {
        if let Some(zk) = &self.zk {
            zk.show();
        }
        if self.native.deadline() <= floor.now {
            self.native.on_deadline(floor.now, floor);
        }
    }
}

impl Floor {
    /// Calls `f` with what a session has, but for no connection: its outcomes and replies go nowhere.
    fn speak(&mut self, f: impl FnOnce(&mut Cx<'_>)) {
        let nobody = Seat { slot: u32::MAX, generation: u32::MAX };
        let mut link = Link::default();
        f(&mut Cx::new(self.now, nobody, true, &mut link, &mut self.desk));
    }
}

impl Crowd<native::Session> for Floor {
    fn visit(&mut self, seat: Seat, f: impl FnOnce(&mut native::Session, &mut Cx<'_>)) -> bool {
        let found = self.with(seat, |seated, cx| match seated {
            Seated::Native(session) => {
                f(session, cx);
                true
            }
            Seated::Zk(_) => false,
        });
        found.unwrap_or(false)
    }
}

impl Crowd<zk::Session> for Floor {
    fn visit(&mut self, seat: Seat, f: impl FnOnce(&mut zk::Session, &mut Cx<'_>)) -> bool {
        let found = self.with(seat, |seated, cx| match seated {
            Seated::Zk(session) => {
                f(session, cx);
                true
            }
            Seated::Native(_) => false,
        });
        found.unwrap_or(false)
    }
}
