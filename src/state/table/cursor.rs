//! Walking a table in either direction.

use std::ops::Bound;

use super::DEPTH;
use super::inner::{Children, Inner, Node};
use super::page::{Key, View};

/// A leaf, and the way to it: at each level the node and which child was taken.
struct Cursor<'a> {
    path: [Option<(&'a Inner, usize)>; DEPTH],
    depth: usize,
    page: View<'a>,
}

/// Records in key order.
pub struct Ascend<'a> {
    cursor: Cursor<'a>,
    /// The next record of the page.
    at: usize,
}

/// Records against key order.
pub struct Descend<'a> {
    cursor: Cursor<'a>,
    /// One past the next record of the page.
    at: usize,
}

/// Which child to go down to.
#[derive(Clone, Copy)]
enum Way<'k> {
    First,
    Last,
    To(&'k [u8]),
}

impl<'a> Cursor<'a> {
    fn new(root: &'a Node, way: Way<'_>) -> Cursor<'a> {
        let mut cursor = Cursor { path: [None; DEPTH], depth: 0, page: View(&[]) };
        match root {
            Node::Leaf(page) => cursor.page = View(page),
            Node::Inner(inner) => cursor.down(inner, way),
        }
        cursor
    }

    fn down(&mut self, mut node: &'a Inner, way: Way<'_>) {
        loop {
            let at = match way {
                Way::First => 0,
                Way::Last => node.children.len() - 1,
                Way::To(key) => node.find(key),
            };
            self.path[self.depth] = Some((node, at));
            self.depth += 1;
            match &node.children {
                Children::Leaves(pages) => {
                    self.page = View(&pages[at]);
                    return;
                }
                Children::Inners(inners) => node = &inners[at],
            }
        }
    }

    /// Moves to the neighbouring leaf; false at the end of the table.
    fn step(&mut self, forward: bool) -> bool {
        while self.depth > 0 {
            self.depth -= 1;
            let Some((node, at)) = self.path[self.depth] else { return false };
            let last = node.children.len() - 1;
            if at == if forward { last } else { 0 } {
                continue;
            }
            let at = if forward { at + 1 } else { at - 1 };
            self.path[self.depth] = Some((node, at));
            self.depth += 1;
            match &node.children {
                Children::Leaves(pages) => self.page = View(&pages[at]),
                Children::Inners(inners) => {
                    self.down(&inners[at], if forward { Way::First } else { Way::Last });
                }
            }
            return true;
        }
        false
    }
}

impl<'a> Ascend<'a> {
    pub(super) fn new(root: &'a Node, from: Bound<&[u8]>) -> Ascend<'a> {
        let way = match from {
            Bound::Included(key) | Bound::Excluded(key) => Way::To(key),
            Bound::Unbounded => Way::First,
        };
        let cursor = Cursor::new(root, way);
        let at = match from {
            Bound::Included(key) => cursor.page.find(key).unwrap_or_else(|at| at),
            Bound::Excluded(key) => cursor.page.find(key).map_or_else(|at| at, |at| at + 1),
            Bound::Unbounded => 0,
        };
        Ascend { cursor, at }
    }
}

impl<'a> Iterator for Ascend<'a> {
    type Item = (Key<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at == self.cursor.page.count() {
            if !self.cursor.step(true) {
                return None;
            }
            self.at = 0;
        }
        self.at += 1;
        Some((self.cursor.page.key(self.at - 1), self.cursor.page.value(self.at - 1)))
    }
}

impl<'a> Descend<'a> {
    pub(super) fn new(root: &'a Node, from: Bound<&[u8]>) -> Descend<'a> {
        let way = match from {
            Bound::Included(key) | Bound::Excluded(key) => Way::To(key),
            Bound::Unbounded => Way::Last,
        };
        let cursor = Cursor::new(root, way);
        let at = match from {
            Bound::Included(key) => cursor.page.find(key).map_or_else(|at| at, |at| at + 1),
            Bound::Excluded(key) => cursor.page.find(key).unwrap_or_else(|at| at),
            Bound::Unbounded => cursor.page.count(),
        };
        Descend { cursor, at }
    }
}

impl<'a> Iterator for Descend<'a> {
    type Item = (Key<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at == 0 {
            if !self.cursor.step(false) {
                return None;
            }
            self.at = self.cursor.page.count();
        }
        self.at -= 1;
        Some((self.cursor.page.key(self.at), self.cursor.page.value(self.at)))
    }
}
