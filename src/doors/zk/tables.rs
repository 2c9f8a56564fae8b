//! What a connection does to the tables of watches by itself: adding, removing, and setting them anew.

use super::session::Session;
use super::watches::{Kind, mode};
use super::{Zk, wire};
use crate::base::planted::{self, Bug};
use crate::doors::Cx;
use crate::realms::tree::jute::{Reader, strings};
use crate::realms::tree::ops::{code, op};
use crate::realms::tree::read::event;

impl Session {
    /// Operations on the tables of watches alone.
    pub(super) fn on_table(
        &mut self,
        door: &mut Zk,
        cx: &mut Cx<'_>,
        code: i32,
        record: &[u8],
    ) -> (i32, Vec<u8>) {
        let mut reader = Reader::new(record);
        let (Ok(path), Ok(which)) = (reader.bytes(), reader.i32()) else {
            return (code::MARSHALLING_ERROR, Vec::new());
        };
        // Null is a path that nothing happens at, as in the reference.
        let path = path.unwrap_or(b"\0");
        let (seat, watches) = (cx.seat, &mut door.watches);
        if code == op::ADD_WATCH {
            match which {
                0 => {
                    watches.add(Kind::Data, path, seat, mode::PERSISTENT);
                    watches.add(Kind::Child, path, seat, mode::PERSISTENT);
                }
                1 => watches.add(Kind::Data, path, seat, mode::RECURSIVE),
                _ => return (code::MARSHALLING_ERROR, Vec::new()),
            }
            door.count_watches();
            return (code::OK, vec![0; 4]);
        }
        // Checking looks at one table where removing clears two.
        let places: &[(Kind, u8)] = match which {
            1 => &[(Kind::Child, mode::ONCE)],
            2 => &[(Kind::Data, mode::ONCE)],
            3 => &[(Kind::Child, mode::ANY), (Kind::Data, mode::ANY)],
            4 => &[(Kind::Data, mode::PERSISTENT), (Kind::Child, mode::PERSISTENT)],
            5 => &[(Kind::Data, mode::RECURSIVE)],
            _ => return (code::MARSHALLING_ERROR, Vec::new()),
        };
        let mut found = false;
        for &(kind, modes) in places {
            found |= match code {
                op::REMOVE_WATCHES => watches.remove(kind, path, seat, modes),
                _ => watches.modes(kind, path, seat) & modes != 0,
            };
        }
        door.count_watches();
        (if found { code::OK } else { code::NO_WATCHER }, Vec::new())
    }

    /// A returning client's watches: what has happened meanwhile is told at once, the others are set.
    pub(super) fn take_watches(
        &mut self,
        door: &mut Zk,
        cx: &mut Cx<'_>,
        code: i32,
        record: &[u8],
        missed: &[u8],
    ) {
        let mut reader = Reader::new(record);
        let _since = reader.i64();
        let tables: &[(Kind, u8)] = &[
            (Kind::Data, mode::ONCE),
            (Kind::Data, mode::ONCE),
            (Kind::Child, mode::ONCE),
            (Kind::Data, mode::PERSISTENT),
            (Kind::Data, mode::RECURSIVE),
        ];
        let count = if code == op::SET_WATCHES2 { 5 } else { 3 };
        let mut missed = missed.iter();
        for &(kind, modes) in &tables[..count] {
            let Ok(vector) = reader.string_vector() else { return };
            for path in strings(vector) {
                match missed.next() {
                    told if planted::is(Bug::MissedUntold) || matches!(told, None | Some(&event::NONE)) => {
                        door.watches.add(kind, path, cx.seat, modes);
                        if modes == mode::PERSISTENT {
                            door.watches.add(Kind::Child, path, cx.seat, modes);
                        }
                    }
                    told => {
                        let what = *told.unwrap_or(&event::NONE);
                        wire::write_event(cx.out(), -1, what, path);
                    }
                }
            }
        }
        door.count_watches();
    }
}
