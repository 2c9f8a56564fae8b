//! Who watches which paths: two tables by path and connection, as the protocol has them.
//!
//! A registration is the connection's, not the session's, and goes with it. One connection gets one event per
//! change and table, however many ways it watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::doors::Seat;
use crate::realms::tree::paths;

/// How a path is watched; several may hold at once.
pub mod mode {
    /// Until it fires.
    pub const ONCE: u8 = 1;
    pub const PERSISTENT: u8 = 2;
    /// With all that lies below.
    pub const RECURSIVE: u8 = 4;
    pub const ANY: u8 = 7;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Child,
}

/// The paths that one connection watches in either table. Most have one.
#[derive(Debug, Default)]
enum Paths {
    #[default]
    None,
    One(Arc<[u8]>),
    Many(BTreeSet<Arc<[u8]>>),
}

/// The watchers of one path. Most paths have one.
#[derive(Debug)]
enum Watchers {
    One(Seat, u8),
    Many(BTreeMap<Seat, u8>),
}

#[derive(Debug, Default)]
struct Table {
    paths: BTreeMap<Arc<[u8]>, Watchers>,
    /// Registrations in it.
    count: usize,
}

#[derive(Debug, Default)]
pub struct Watches {
    data: Table,
    child: Table,
    /// Recursive registrations: without any, nobody looks at the paths above.
    recursive: usize,
    by_seat: BySeat,
}

/// Which paths a connection watches, by its slot: thousands are forgotten at once, without a search for each.
#[derive(Debug, Default)]
struct BySeat {
    slots: Vec<(u32, Paths)>,
    /// Slots with any.
    count: usize,
}

impl Paths {
    fn shared(&self, path: &[u8]) -> Option<&Arc<[u8]>> {
        match self {
            Paths::None => None,
            Paths::One(one) => (**one == *path).then_some(one),
            Paths::Many(many) => many.get(path),
        }
    }

    fn insert(&mut self, path: Arc<[u8]>) {
        match self {
            Paths::None => *self = Paths::One(path),
            Paths::One(one) if *one == path => {}
            Paths::One(one) => *self = Paths::Many(BTreeSet::from([one.clone(), path])),
            Paths::Many(many) => {
                many.insert(path);
            }
        }
    }

    /// True: none is left.
    fn remove(&mut self, path: &[u8]) -> bool {
        match self {
            Paths::None => return true,
            Paths::One(one) if **one != *path => return false,
            Paths::One(_) => {}
            Paths::Many(many) => {
                many.remove(path);
                if !many.is_empty() {
                    return false;
                }
            }
        }
        *self = Paths::None;
        true
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        let (one, many) = match self {
            Paths::None => (None, None),
            Paths::One(one) => (Some(one), None),
            Paths::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl BySeat {
    fn get(&self, seat: Seat) -> Option<&Paths> {
        let (generation, own) = self.slots.get(seat.slot as usize)?;
        (*generation == seat.generation).then_some(own)
    }

    fn insert(&mut self, seat: Seat, path: Arc<[u8]>) {
        let at = seat.slot as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, Default::default);
        }
        let (generation, own) = &mut self.slots[at];
        if matches!(own, Paths::None) {
            self.count += 1;
            *generation = seat.generation;
        }
        assert_eq!(*generation, seat.generation, "the slot's last connection still watches");
        own.insert(path);
    }

    fn forget(&mut self, seat: Seat, path: &[u8]) {
        if let Some((generation, own)) = self.slots.get_mut(seat.slot as usize)
            && *generation == seat.generation
            && !matches!(own, Paths::None)
            && own.remove(path)
        {
            self.count -= 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Seat, &Paths)> {
        (0..).zip(&self.slots).map(|(slot, (generation, own))| (Seat { slot, generation: *generation }, own))
    }
}

impl Watchers {
    fn modes(&self, seat: Seat) -> u8 {
        match self {
            Watchers::One(one, modes) if *one == seat => *modes,
            Watchers::One(..) => 0,
            Watchers::Many(many) => many.get(&seat).copied().unwrap_or(0),
        }
    }

    /// Sets the modes of a connection; true if nobody is left.
    fn set(&mut self, seat: Seat, modes: u8) -> bool {
        match self {
            Watchers::One(one, old) if *one == seat => {
                *old = modes;
                modes == 0
            }
            Watchers::One(one, old) => {
                if modes != 0 {
                    *self = Watchers::Many(BTreeMap::from([(*one, *old), (seat, modes)]));
                }
                false
            }
            Watchers::Many(many) => {
                if modes == 0 {
                    many.remove(&seat);
                } else {
                    many.insert(seat, modes);
                }
                many.is_empty()
            }
        }
    }

    /// Calls `f` for each; registrations for one time are used up: true for whom none is left. False: nobody is left.
    fn spend(&mut self, mut f: impl FnMut(Seat, bool)) -> bool {
        match self {
            Watchers::One(seat, modes) => {
                *modes &= !mode::ONCE;
                f(*seat, *modes == 0);
                *modes != 0
            }
            // Usually all go: without a search and a new balance for each.
            Watchers::Many(many) if many.values().all(|modes| *modes == mode::ONCE) => {
                std::mem::take(many).into_keys().for_each(|seat| f(seat, true));
                false
            }
            Watchers::Many(many) => {
                many.retain(|&seat, modes| {
                    *modes &= !mode::ONCE;
                    f(seat, *modes == 0);
                    *modes != 0
                });
                true
            }
        }
    }

    fn each(&self, mut f: impl FnMut(Seat, u8)) {
        match self {
            Watchers::One(seat, modes) => f(*seat, *modes),
            Watchers::Many(many) => many.iter().for_each(|(&seat, &modes)| f(seat, modes)),
        }
    }
}

impl Table {
    fn modes(&self, path: &[u8], seat: Seat) -> u8 {
        self.paths.get(path).map_or(0, |watchers| watchers.modes(seat))
    }

    fn set(&mut self, path: Arc<[u8]>, seat: Seat, modes: u8) {
        match self.paths.get_mut(&path) {
            Some(watchers) => {
                watchers.set(seat, modes);
            }
            None => {
                self.paths.insert(path, Watchers::One(seat, modes));
            }
        }
    }

    fn clear(&mut self, path: &[u8], seat: Seat) {
        if let Some(watchers) = self.paths.get_mut(path)
            && watchers.set(seat, 0)
        {
            self.paths.remove(path);
        }
    }
}

impl Watches {
    /// Registrations, each path and connection counting once per table.
    pub fn len(&self) -> usize {
        self.data.count + self.child.count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of the data table, which is all that the reference shows: watches, connections that have any, paths. The
    /// connections are an upper bound: those that watch children only are among them.
    pub fn breadth(&self) -> (usize, usize, usize) {
        (self.data.count, self.by_seat.count, self.data.paths.len())
    }

    fn table(&self, kind: Kind) -> &Table {
        match kind {
            Kind::Data => &self.data,
            Kind::Child => &self.child,
        }
    }

    pub fn modes(&self, kind: Kind, path: &[u8], seat: Seat) -> u8 {
        self.table(kind).modes(path, seat)
    }

    fn set(&mut self, kind: Kind, path: &[u8], seat: Seat, modes: u8) {
        let old = self.modes(kind, path, seat);
        if old == modes {
            return;
        }
        self.recursive += usize::from(modes & mode::RECURSIVE != 0);
        self.recursive -= usize::from(old & mode::RECURSIVE != 0);
        let table = if kind == Kind::Data { &mut self.data } else { &mut self.child };
        table.count += usize::from(old == 0);
        table.count -= usize::from(modes == 0);
        if modes != 0 {
            let known = self.by_seat.get(seat).and_then(|own| own.shared(path));
            // One copy of a path for all who watch it.
            let known = known.or_else(|| table.paths.get_key_value(path).map(|(shared, _)| shared));
            let shared: Arc<[u8]> = known.cloned().unwrap_or_else(|| path.into());
            self.by_seat.insert(seat, shared.clone());
            return table.set(shared, seat, modes);
        }
        table.clear(path, seat);
        if self.data.modes(path, seat) == 0 && self.child.modes(path, seat) == 0 {
            self.by_seat.forget(seat, path);
        }
    }

    /// Adds a way of watching to those that the connection has.
    pub fn add(&mut self, kind: Kind, path: &[u8], seat: Seat, modes: u8) {
        self.set(kind, path, seat, self.modes(kind, path, seat) | modes);
    }

    /// True: the connection watched in one of these ways.
    pub fn remove(&mut self, kind: Kind, path: &[u8], seat: Seat, modes: u8) -> bool {
        let old = self.modes(kind, path, seat);
        self.set(kind, path, seat, old & !modes);
        old & modes != 0
    }

    /// The connection is gone.
    pub fn forget(&mut self, seat: Seat) {
        let own: Vec<_> = self.by_seat.get(seat).map(|own| own.iter().cloned().collect()).unwrap_or_default();
        for path in own {
            self.set(Kind::Data, &path, seat, 0);
            self.set(Kind::Child, &path, seat, 0);
        }
    }

    /// Who is to be told of a change at `path`: appended to `told`, each once. Registrations for one time are
    /// used up.
    pub fn fire(&mut self, kind: Kind, path: &[u8], told: &mut Vec<Seat>) {
        let start = told.len();
        let (table, other) = match kind {
            Kind::Data => (&mut self.data, &self.child),
            Kind::Child => (&mut self.child, &self.data),
        };
        if let Some(watchers) = table.paths.get_mut(path) {
            // Thousands may wait for the same change: each is told and forgotten in one pass.
            let elsewhere = other.paths.get(path);
            let (by_seat, mut spent) = (&mut self.by_seat, 0);
            let is_left = watchers.spend(|seat, is_spent| {
                told.push(seat);
                spent += usize::from(is_spent);
                if is_spent && elsewhere.is_none_or(|watchers| watchers.modes(seat) == 0) {
                    by_seat.forget(seat, path);
                }
            });
            if !is_left {
                table.paths.remove(path);
            }
            table.count -= spent;
        }
        if kind == Kind::Data && self.recursive > 0 {
            self.fire_above(path, told);
            let mut once = told.split_off(start);
            once.sort_unstable();
            once.dedup();
            told.append(&mut once);
        }
    }

    fn fire_above(&self, path: &[u8], told: &mut Vec<Seat>) {
        let mut at = path;
        while !paths::is_root(at) {
            at = paths::split(at).0;
            let name = if at.is_empty() { b"/" } else { at };
            if let Some(watchers) = self.data.paths.get(name) {
                watchers.each(|seat, modes| {
                    if modes & mode::RECURSIVE != 0 {
                        told.push(seat);
                    }
                });
            }
        }
    }

    /// By connection: the paths that it watches in the data table.
    pub fn by_seat(&self) -> impl Iterator<Item = (Seat, impl Iterator<Item = &[u8]>)> {
        self.by_seat.iter().filter(|(_, own)| !matches!(own, Paths::None)).map(move |(seat, own)| {
            (seat, own.iter().map(|path| &path[..]).filter(move |path| self.data.modes(path, seat) != 0))
        })
    }

    /// By path of the data table: the connections that watch it.
    pub fn by_path(&self) -> impl Iterator<Item = (&[u8], Vec<Seat>)> {
        self.data.paths.iter().map(|(path, watchers)| {
            let mut seats = Vec::new();
            watchers.each(|seat, _| seats.push(seat));
            (&path[..], seats)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(slot: u32) -> Seat {
        Seat { slot, generation: 1 }
    }

    fn fire(watches: &mut Watches, kind: Kind, path: &str) -> Vec<u32> {
        let mut told = Vec::new();
        watches.fire(kind, path.as_bytes(), &mut told);
        told.iter().map(|seat| seat.slot).collect()
    }

    #[test]
    fn once_is_once_and_persistent_stays() {
        let mut watches = Watches::default();
        watches.add(Kind::Data, b"/a", seat(1), mode::ONCE);
        watches.add(Kind::Data, b"/a", seat(1), mode::ONCE);
        watches.add(Kind::Data, b"/a", seat(2), mode::ONCE);
        watches.add(Kind::Data, b"/a", seat(2), mode::PERSISTENT);
        assert_eq!(watches.len(), 2);
        assert_eq!(fire(&mut watches, Kind::Child, "/a"), [0; 0]);
        assert_eq!(fire(&mut watches, Kind::Data, "/a"), [1, 2]);
        assert_eq!(fire(&mut watches, Kind::Data, "/a"), [2]);
        assert!(watches.remove(Kind::Data, b"/a", seat(2), mode::PERSISTENT));
        assert!(!watches.remove(Kind::Data, b"/a", seat(2), mode::ANY));
        assert!(watches.is_empty() && watches.by_seat.count == 0 && watches.data.paths.is_empty());
    }

    /// Against a plain list of registrations, by chance.
    #[test]
    fn tables_agree_with_a_list() {
        let mut rng = crate::base::Rng::new(5);
        let (mut watches, mut list) = (Watches::default(), BTreeMap::<(bool, String, u32), u8>::new());
        for _ in 0..20_000 {
            let (data, path, slot) = (rng.below(2) == 0, format!("/{}", rng.below(3)), rng.below(6) as u32);
            let kind = if data { Kind::Data } else { Kind::Child };
            let modes = if rng.below(4) == 0 { mode::PERSISTENT } else { mode::ONCE };
            match rng.below(8) {
                0..4 => {
                    watches.add(kind, path.as_bytes(), seat(slot), modes);
                    *list.entry((data, path, slot)).or_default() |= modes;
                }
                4 => {
                    watches.remove(kind, path.as_bytes(), seat(slot), modes);
                    list.entry((data, path, slot)).and_modify(|held| *held &= !modes);
                }
                5 => {
                    watches.forget(seat(slot));
                    list.retain(|(_, _, other), _| *other != slot);
                }
                _ => {
                    let at = |key: &(bool, String, u32)| key.0 == data && key.1 == path;
                    let told: Vec<u32> = list.keys().filter(|key| at(key)).map(|key| key.2).collect();
                    assert_eq!(fire(&mut watches, kind, &path), told);
                    list.iter_mut().filter(|(key, _)| at(key)).for_each(|(_, held)| *held &= !mode::ONCE);
                }
            }
            list.retain(|_, held| *held != 0);
            assert_eq!(watches.len(), list.len());
            let seats: BTreeSet<u32> = list.keys().map(|key| key.2).collect();
            assert_eq!(watches.breadth().1, seats.len());
        }
    }

    #[test]
    fn recursive_watchers_hear_of_all_below_and_once() {
        let mut watches = Watches::default();
        watches.add(Kind::Data, b"/", seat(1), mode::RECURSIVE);
        watches.add(Kind::Data, b"/a", seat(1), mode::RECURSIVE);
        watches.add(Kind::Data, b"/a", seat(2), mode::PERSISTENT);
        assert_eq!(fire(&mut watches, Kind::Data, "/a/b/c"), [1]);
        assert_eq!(fire(&mut watches, Kind::Data, "/ab"), [1]);
        assert_eq!(fire(&mut watches, Kind::Data, "/a"), [1, 2]);
        assert_eq!(fire(&mut watches, Kind::Data, "/"), [1]);
        watches.forget(seat(1));
        assert_eq!(watches.recursive, 0);
        assert_eq!(fire(&mut watches, Kind::Data, "/a/b"), [0; 0]);
        assert_eq!(watches.len(), 1);
    }
}
