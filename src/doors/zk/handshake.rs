//! From the first frame to an open session: a new one, or one that comes back from elsewhere.

use super::session::{Phase, Session};
use super::{Zk, silence, wire};
use crate::doors::{Cx, Write};
use crate::realms::tree::jute::Reader;
use crate::realms::tree::ops::kind;
use crate::state::RealmId;

impl Session {
    pub(super) fn on_connect(&mut self, door: &mut Zk, cx: &mut Cx<'_>, body: &[u8]) {
        let Ok(connect) = wire::Connect::read(body) else {
            return cx.hang_up("a handshake that does not parse");
        };
        if !cx.serving {
            return cx.hang_up("no leader that a quorum follows");
        }
        let (low, high) = door.config.timeout_ms;
        self.timeout_ms = connect.timeout_ms.max(low).min(high);
        self.last_zxid = connect.last_zxid;
        self.wants_flag = connect.read_only.is_some();
        let write = |kind| Write {
            realm: RealmId::Tree,
            kind,
            feature: 0,
            principal: 0,
            session: connect.session,
            request: 0,
        };
        if connect.session == 0 {
            let timeout = self.timeout_ms.to_be_bytes();
            self.phase = Phase::Opening;
            cx.write(&write(kind::OPEN_SESSION), 0, |out| out.extend_from_slice(&timeout));
            return;
        }
        if connect.password != Some(&wire::password(connect.session)[..]) {
            return self.refuse(cx, "a wrong session password");
        }
        // The old connection of this session, if it is here, must not see what is asked from now on.
        if let Some(old) = door.seats.insert(connect.session, cx.seat)
            && old != cx.seat
        {
            cx.evict(old, "its session has a new connection");
        }
        self.id = connect.session;
        self.phase = Phase::Opening;
        let timeout = self.timeout_ms.to_be_bytes();
        cx.write(&write(kind::ATTACH_SESSION), 0, |out| {
            out.extend_from_slice(&connect.session.to_be_bytes());
            out.extend_from_slice(&timeout);
        });
    }

    /// Tells the client that its session is gone.
    fn refuse(&mut self, cx: &mut Cx<'_>, why: &'static str) {
        wire::write_connected(cx.out(), 0, 0, &[0; 16], self.wants_flag);
        self.phase = Phase::Leaving;
        cx.hang_up(why);
    }

    pub(super) fn on_connected(&mut self, door: &mut Zk, cx: &mut Cx<'_>, reply: &[u8]) {
        let zxid = door.saw(reply);
        let mut reader = Reader::new(&reply[8..]);
        let (Ok(0), Ok(id)) = (reader.i32(), reader.i64()) else {
            return self.refuse(cx, "its session is unknown");
        };
        if self.lost {
            return cx.hang_up("its session is served elsewhere");
        }
        self.id = id as u64;
        door.seats.insert(self.id, cx.seat);
        door.spoken.insert(cx.seat, self.id);
        self.conn().open(self.id, self.timeout_ms);
        self.conn().sent.add(1);
        if self.last_zxid > zxid as i64 {
            // It has seen what this cluster has never done: another one's client, or older state than it knows.
            return cx.hang_up("the client is ahead of this cluster");
        }
        wire::write_connected(cx.out(), self.timeout_ms, self.id, &wire::password(self.id), self.wants_flag);
        self.phase = Phase::Open;
        self.heard = cx.now;
        cx.alarm(cx.now.plus(silence(self.timeout_ms)));
    }
}
