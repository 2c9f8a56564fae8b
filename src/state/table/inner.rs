//! An inner node: children of one kind and the separators between them.
//!
//! Inner nodes are few (one for a hundred leaves) and stay in the cache; so they favour plain vectors. The first
//! eight bytes of each separator, behind what all of them share, lie together: a search touches nothing else
//! unless two of them are equal.

use std::sync::Arc;

use super::Way;
use super::page::{self, PAGE_LOW, PAGE_MAX, Page, Put, View};
use super::tray::Tray;

/// Children of one node at most. The first write after a freeze copies the node and counts its children up.
pub(super) const FANOUT: usize = 128;
/// Children that are counted up while a page is copied.
const COUNTS_PER_PAGE: usize = 16;
/// Merged nodes must not split at once.
const MERGED: usize = FANOUT * 3 / 4;
const LOW: usize = FANOUT / 4;
/// Heads in one line of the processor's cache.
const LINE: usize = 8;

#[derive(Clone)]
pub(super) enum Node {
    Leaf(Page),
    Inner(Arc<Inner>),
}

#[derive(Clone)]
pub(super) enum Children {
    Leaves(Vec<Page>),
    Inners(Vec<Arc<Inner>>),
}

/// Child `i` holds the keys from separator `i - 1` on, below separator `i`.
#[derive(Clone)]
pub(super) struct Inner {
    separators: Separators,
    pub children: Children,
}

#[derive(Clone, Default)]
struct Separators {
    /// All separators, end to end.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// How many bytes all of them share.
    shared: usize,
    heads: Vec<u64>,
    /// Every eighth head: a search reads these, then eight heads, which is three lines of the processor's cache.
    sample: Vec<u64>,
}

fn head_of(tail: &[u8]) -> u64 {
    if let Some(eight) = tail.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    // Not by way of a padded copy: bytes just written and read as a word are waited for.
    (0..).zip(tail).fold(0, |head, (at, &byte)| head | u64::from(byte) << (56 - 8 * at))
}

impl Separators {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] as usize }
    }

    fn at(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    /// How many separators are at most `key`: the child to look in.
    #[inline]
    fn find(&self, key: &[u8]) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let shared = &self.bytes[..self.shared];
        let Some(tail) = key.strip_prefix(shared) else {
            return if key < shared { 0 } else { self.len() };
        };
        let head = head_of(tail);
        // Not by halves: what is counted is on its way from memory together.
        let line = self.sample.iter().map(|&h| usize::from(h < head)).sum::<usize>();
        let start = line.saturating_sub(1) * LINE;
        let rest = &self.heads[start..self.heads.len().min(start + LINE)];
        let mut at = start + rest.iter().map(|&h| usize::from(h < head)).sum::<usize>();
        if self.heads.get(at) != Some(&head) {
            return at;
        }
        let mut alike = self.heads[at..].partition_point(|&h| h == head);
        while alike > 0 {
            let half = alike / 2;
            if self.at(at + half) <= key {
                at += half + 1;
                alike -= half + 1;
            } else {
                alike = half;
            }
        }
        at
    }

    fn insert(&mut self, at: usize, separator: &[u8]) {
        let start = self.start(at);
        self.bytes.splice(start..start, separator.iter().copied());
        self.ends.insert(at, start as u32);
        self.ends[at..].iter_mut().for_each(|end| *end += separator.len() as u32);
        if self.len() > 1 && separator.starts_with(&self.at(usize::from(at == 0))[..self.shared]) {
            self.heads.insert(at, head_of(&separator[self.shared..]));
            self.take_sample();
        } else {
            self.respell();
        }
    }

    fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends[at] as usize);
        self.bytes.drain(start..end);
        self.ends.remove(at);
        self.ends[at..].iter_mut().for_each(|e| *e -= (end - start) as u32);
        self.heads.remove(at);
        if self.ends.is_empty() {
            self.shared = 0;
        }
        self.take_sample();
    }

    fn take_sample(&mut self) {
        self.sample.clear();
        self.sample.extend(self.heads.iter().step_by(LINE));
    }

    /// Those from `at` on leave.
    fn split_off(&mut self, at: usize) -> Separators {
        let mut right = Separators::default();
        for i in at..self.len() {
            right.push(self.at(i));
        }
        right.respell();
        self.bytes.truncate(self.start(at));
        self.ends.truncate(at);
        self.respell();
        right
    }

    fn push(&mut self, separator: &[u8]) {
        self.bytes.extend_from_slice(separator);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Works out anew what is shared, and the heads behind it.
    fn respell(&mut self) {
        self.heads.clear();
        self.shared = 0;
        self.sample.clear();
        let Some(last) = self.len().checked_sub(1) else { return };
        let same = |(a, b): &(&u8, &u8)| a == b;
        let shared = self.at(0).iter().zip(self.at(last)).take_while(same).count();
        self.shared = shared;
        for at in 0..=last {
            let head = head_of(&self.at(at)[shared..]);
            self.heads.push(head);
        }
        self.take_sample();
    }
}

impl Children {
    pub fn len(&self) -> usize {
        match self {
            Children::Leaves(pages) => pages.len(),
            Children::Inners(inners) => inners.len(),
        }
    }

    fn split_off(&mut self, at: usize) -> Children {
        match self {
            Children::Leaves(pages) => Children::Leaves(pages.split_off(at)),
            Children::Inners(inners) => Children::Inners(inners.split_off(at)),
        }
    }
}

impl Inner {
    /// `nodes` in key order, each with the separator before it; the first one's is not looked at.
    pub fn new(nodes: Vec<(Vec<u8>, Node)>) -> Inner {
        let mut separators = Separators::default();
        let (mut pages, mut inners) = (Vec::new(), Vec::new());
        for (at, (separator, node)) in nodes.into_iter().enumerate() {
            if at > 0 {
                separators.push(&separator);
            }
            match node {
                Node::Leaf(page) => pages.push(page),
                Node::Inner(inner) => inners.push(inner),
            }
        }
        separators.respell();
        assert!(pages.is_empty() || inners.is_empty(), "all leaves have the same depth");
        let children = if inners.is_empty() { Children::Leaves(pages) } else { Children::Inners(inners) };
        Inner { separators, children }
    }

    /// The child that holds `key` if any does.
    #[inline]
    pub fn find(&self, key: &[u8]) -> usize {
        self.separators.find(key)
    }

    /// The node, to be changed: a copy, where a frozen view holds it. Its children's counts lie in as many cache lines.
    fn own<'a>(self: &'a mut Arc<Self>, tray: &mut Tray) -> &'a mut Inner {
        if Arc::strong_count(self) > 1 {
            tray.copied += (self.children.len() / COUNTS_PER_PAGE) as u64;
        }
        Arc::make_mut(self)
    }

    /// Writes a record into the leaf that `way` leads to.
    pub fn put(self: &mut Arc<Self>, mut way: Way, put: &mut Put<'_>) -> Vec<(Vec<u8>, Arc<Inner>)> {
        let inner = self.own(put.tray);
        let at = way.step();
        match &mut inner.children {
            Children::Leaves(pages) => {
                let split = page::put(&mut pages[at], way.place, put);
                if split.is_empty() {
                    return Vec::new();
                }
                for (i, (separator, page)) in split.into_iter().enumerate() {
                    pages.insert(at + 1 + i, page);
                    inner.separators.insert(at + i, &separator);
                }
            }
            Children::Inners(inners) => {
                let split = inners[at].put(way, put);
                if split.is_empty() {
                    return Vec::new();
                }
                for (i, (separator, new)) in split.into_iter().enumerate() {
                    inners.insert(at + 1 + i, new);
                    inner.separators.insert(at + i, &separator);
                }
            }
        }
        inner.halve(at)
    }

    /// Splits a node that has grown too wide at child `grown`.
    fn halve(&mut self, grown: usize) -> Vec<(Vec<u8>, Arc<Inner>)> {
        let len = self.children.len();
        if len <= FANOUT {
            return Vec::new();
        }
        // Keys that only grow leave full nodes behind them.
        let cut = if grown + 4 >= len { len - 4 } else { len / 2 };
        let children = self.children.split_off(cut);
        let right = Inner { separators: self.separators.split_off(cut), children };
        let separator = self.separators.at(cut - 1).to_vec();
        self.separators.remove(cut - 1);
        vec![(separator, Arc::new(right))]
    }

    /// Takes out a record that is known to be there.
    pub fn remove(self: &mut Arc<Self>, key: &[u8], tray: &mut Tray) {
        let inner = self.own(tray);
        let at = inner.find(key);
        match &mut inner.children {
            Children::Leaves(pages) => {
                let found = View(&pages[at]).find(key);
                page::remove(&mut pages[at], found.expect("looked up before"), tray);
                if View(&pages[at]).count() == 0 {
                    inner.drop_child(at);
                } else if View(&pages[at]).live() < PAGE_LOW {
                    inner.merge_near(at, tray);
                }
            }
            Children::Inners(inners) => {
                inners[at].remove(key, tray);
                let left = inners[at].children.len();
                if left == 0 {
                    inner.drop_child(at);
                } else if left < LOW {
                    inner.merge_near(at, tray);
                }
            }
        }
    }

    fn drop_child(&mut self, at: usize) {
        match &mut self.children {
            Children::Leaves(pages) => drop(pages.remove(at)),
            Children::Inners(inners) => drop(inners.remove(at)),
        }
        if self.separators.len() > 0 {
            self.separators.remove(at.saturating_sub(1));
        }
    }

    /// Merges a child that has become small with a neighbour that has room.
    fn merge_near(&mut self, at: usize, tray: &mut Tray) {
        for right in [at + 1, at] {
            if right == 0 || right == self.children.len() {
                continue;
            }
            let left = right - 1;
            match &mut self.children {
                Children::Leaves(pages) => {
                    if View(&pages[left]).live() + View(&pages[right]).live() > PAGE_MAX / 2 {
                        continue;
                    }
                    let Some(page) = page::merge(&pages[left], &pages[right], tray) else { continue };
                    pages[left] = page;
                    pages.remove(right);
                }
                Children::Inners(inners) => {
                    if inners[left].children.len() + inners[right].children.len() > MERGED {
                        continue;
                    }
                    let taken = inners.remove(right);
                    let separator = self.separators.at(left).to_vec();
                    Arc::make_mut(&mut inners[left]).join(&separator, Arc::unwrap_or_clone(taken));
                }
            }
            self.separators.remove(left);
            return;
        }
    }

    /// Appends all of `right`.
    fn join(&mut self, separator: &[u8], right: Inner) {
        self.separators.push(separator);
        for at in 0..right.separators.len() {
            self.separators.push(right.separators.at(at));
        }
        self.separators.respell();
        match (&mut self.children, right.children) {
            (Children::Leaves(pages), Children::Leaves(more)) => pages.extend(more),
            (Children::Inners(inners), Children::Inners(more)) => inners.extend(more),
            _ => unreachable!("all leaves have the same depth"),
        }
    }
}
