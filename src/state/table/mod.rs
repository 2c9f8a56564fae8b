//! The one ordered store under all realms: byte keys to byte values, in pages counted by reference.
//!
//! A B+tree whose nodes are shared between the live table and its frozen views until somebody writes: `freeze`
//! copies one pointer, the first write to a page afterwards copies that page. Pages have the size of what they
//! hold (up to 4 KiB), so that tables filled in random order waste as little as those filled in key order.
//!
//! Every table keeps the sum of a 128-bit hash over each of its records. The sum does not care for the order in
//! which they came: equal content, equal digest, however it was reached.
//!
//! Left out: transactions, iterators that survive a write, anything on disk.

mod cursor;
mod foresee;
mod frozen;
mod inner;
mod load;
mod page;
#[cfg(test)]
mod tests;
mod tray;

use std::ops::Bound;
use std::sync::Arc;

use crate::base::sum::{hash64, hash128_seeded};

pub use cursor::{Ascend, Descend};
pub(in crate::state) use foresee::fetch;
pub use frozen::Frozen;
use inner::{Children, Inner, Node};
pub use load::{Builder, OutOfOrder};
pub use page::Key;
use page::{Put, View};
use tray::Tray;

/// Bytes of a key at most. Realms refuse longer ones before they get here.
pub const KEY_MAX: usize = 32 * 1024;
/// Levels of the tree at most: with 32 children per node, more records than memory can hold.
const DEPTH: usize = 12;

/// Keys that `Table::foresee` takes: more would push each other out before they are needed.
pub const KEYS_AHEAD: usize = 8;

pub struct Table {
    root: Node,
    count: u64,
    bytes: u64,
    digest: u128,
    tray: Tray,
}

/// What a record adds to the digest.
fn content(key_sum: u64, value: &[u8]) -> u128 {
    hash128_seeded(value, key_sum)
}

/// Which child to take at each level on the way to a key's leaf, and the key's place there.
#[derive(Clone, Copy)]
struct Way {
    children: [u16; DEPTH],
    level: u8,
    place: Result<usize, usize>,
}

impl Way {
    fn note(&mut self, child: usize) {
        self.children[usize::from(self.level)] = child as u16;
        self.level += 1;
    }

    fn step(&mut self) -> usize {
        self.level += 1;
        usize::from(self.children[usize::from(self.level) - 1])
    }
}

impl Default for Table {
    fn default() -> Table {
        Table::new()
    }
}

impl Table {
    pub fn new() -> Table {
        Table { root: Node::Leaf(page::empty()), count: 0, bytes: 0, digest: 0, tray: Tray::default() }
    }

    /// Records.
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Pages that writes have copied because a frozen view held them.
    pub fn copied(&self) -> u64 {
        self.tray.copied
    }

    /// Equal for equal content.
    pub fn digest(&self) -> u128 {
        self.digest
    }

    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = match &self.root {
            Node::Leaf(page) => return found(page, key),
            Node::Inner(inner) => inner,
        };
        loop {
            let at = node.find(key);
            match &node.children {
                Children::Leaves(pages) => return found(&pages[at], key),
                Children::Inners(inners) => node = &inners[at],
            }
        }
    }

    /// The first record whose key is not below `key`.
    #[inline]
    pub fn first_from(&self, key: &[u8]) -> Option<(Key<'_>, &[u8])> {
        let mut node = match &self.root {
            Node::Leaf(page) => return first_in(page, key),
            Node::Inner(inner) => inner,
        };
        loop {
            let at = node.find(key);
            match &node.children {
                // At the end of its page: the next one's first, by way of the path to it.
                Children::Leaves(pages) => {
                    return first_in(&pages[at], key).or_else(|| self.ascend(Bound::Included(key)).next());
                }
                Children::Inners(inners) => node = &inners[at],
            }
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Where `key` is or belongs.
    #[inline]
    fn locate(&self, key: &[u8]) -> (Way, View<'_>) {
        let mut way = Way { children: [0; DEPTH], level: 0, place: Err(0) };
        let (mut node, mut leaf) = match &self.root {
            Node::Leaf(page) => (None, View(page)),
            Node::Inner(inner) => (Some(inner), View(&[])),
        };
        while let Some(inner) = node.take() {
            let at = inner.find(key);
            way.note(at);
            match &inner.children {
                Children::Leaves(pages) => leaf = View(&pages[at]),
                Children::Inners(inners) => node = Some(&inners[at]),
            }
        }
        (way.level, way.place) = (0, leaf.find(key));
        (way, leaf)
    }

    /// Writes a record. True: it replaced one.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let (way, _) = self.locate(key);
        self.put_at(way, key, value)
    }

    /// Writes a record that `make` makes of the one that it replaces, if any. One look-up does for both.
    pub fn put_over(
        &mut self,
        key: &[u8],
        value: &mut Vec<u8>,
        make: impl FnOnce(Option<&[u8]>, &mut Vec<u8>),
    ) {
        let (way, leaf) = self.locate(key);
        make(way.place.ok().map(|at| leaf.value(at)), value);
        self.put_at(way, key, value);
    }

    fn put_at(&mut self, way: Way, key: &[u8], value: &[u8]) -> bool {
        assert!(key.len() <= KEY_MAX, "a key of {} bytes: realms refuse them above {KEY_MAX}", key.len());
        let key_sum = hash64(key);
        let mut put = Put { key, value, key_sum, replaced: None, tray: &mut self.tray };
        let split: Vec<(Vec<u8>, Node)> = match &mut self.root {
            Node::Leaf(page) => {
                let split = page::put(page, way.place, &mut put);
                split.into_iter().map(|(s, page)| (s, Node::Leaf(page))).collect()
            }
            Node::Inner(inner) => {
                let split = inner.put(way, &mut put);
                split.into_iter().map(|(s, i)| (s, Node::Inner(i))).collect()
            }
        };
        let replaced = put.replaced;
        if !split.is_empty() {
            let old = std::mem::replace(&mut self.root, Node::Leaf(page::empty()));
            let nodes = std::iter::once((Vec::new(), old)).chain(split).collect();
            self.root = Node::Inner(Arc::new(Inner::new(nodes)));
        }
        self.digest = self.digest.wrapping_add(content(key_sum, value));
        match replaced {
            Some((sum, len)) => {
                self.digest = self.digest.wrapping_sub(sum);
                self.bytes = self.bytes + value.len() as u64 - len as u64;
            }
            None => {
                self.count += 1;
                self.bytes += (key.len() + value.len()) as u64;
            }
        }
        replaced.is_some()
    }

    /// Takes a record out. False: there was none.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.get(key) else { return false };
        let (sum, len) = (content(hash64(key), value), key.len() + value.len());
        match &mut self.root {
            Node::Leaf(page) => {
                let at = View(page).find(key).expect("just seen");
                page::remove(page, at, &mut self.tray);
            }
            Node::Inner(inner) => {
                inner.remove(key, &mut self.tray);
                self.lower();
            }
        }
        self.digest = self.digest.wrapping_sub(sum);
        self.count -= 1;
        self.bytes -= len as u64;
        true
    }

    /// A root with a single child gives way to it.
    fn lower(&mut self) {
        loop {
            let Node::Inner(inner) = &self.root else { return };
            self.root = match &inner.children {
                Children::Leaves(pages) if pages.len() == 1 => Node::Leaf(pages[0].clone()),
                Children::Inners(inners) if inners.len() == 1 => Node::Inner(inners[0].clone()),
                children if children.len() == 0 => Node::Leaf(page::empty()),
                _ => return,
            };
        }
    }

    /// Records in key order.
    pub fn ascend(&self, from: Bound<&[u8]>) -> Ascend<'_> {
        Ascend::new(&self.root, from)
    }

    /// Records against key order; `from` is the highest key wanted.
    pub fn descend(&self, from: Bound<&[u8]>) -> Descend<'_> {
        Descend::new(&self.root, from)
    }

    /// The records whose keys begin with `start`.
    pub fn prefixed<'a>(&'a self, start: &'a [u8]) -> impl Iterator<Item = (Key<'a>, &'a [u8])> {
        self.ascend(Bound::Included(start)).take_while(move |(key, _)| key.starts_with(start))
    }

    /// The table as it is now, for good. Costs the same whatever its size.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(self.root.clone(), self.count, self.bytes, self.digest)
    }
}

#[inline]
fn found<'a>(page: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let view = View(page);
    view.find(key).ok().map(|at| view.value(at))
}

#[inline]
fn first_in<'a>(page: &'a [u8], key: &[u8]) -> Option<(Key<'a>, &'a [u8])> {
    let view = View(page);
    let at = view.find(key).unwrap_or_else(|at| at);
    (at < view.count()).then(|| (view.key(at), view.value(at)))
}
