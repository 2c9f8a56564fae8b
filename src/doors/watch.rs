//! Ranges of keys and who watches them: finds every range that holds a key in O(log n + found).
//!
//! A treap ordered by where ranges begin, in which each node knows the range of its subtree that ends last; a
//! subtree whose last end lies before the key is not entered. Kept in one vector, without hashing: the order of
//! visits is the same in every run.

use crate::base::Rng;

/// Names a range in the set, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

/// A set of ranges, each with a value.
#[derive(Debug)]
pub struct Ranges<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    root: u32,
    len: usize,
    priorities: Rng,
}

#[derive(Debug)]
struct Node<T> {
    start: Box<[u8]>,
    /// Exclusive; `None`: no end.
    end: Option<Box<[u8]>>,
    /// `None`: a free node.
    value: Option<T>,
    priority: u64,
    left: u32,
    right: u32,
    /// The node of this subtree that ends last.
    last: u32,
}

const NONE: u32 = u32::MAX;

impl<T> Default for Ranges<T> {
    fn default() -> Ranges<T> {
        // The seed decides only the shape of the tree, which nobody can see.
        Ranges { nodes: Vec::new(), free: Vec::new(), root: NONE, len: 0, priorities: Rng::new(0) }
    }
}

impl<T> Ranges<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `start..end` (`None`: from `start` on). Equal ranges may stand in it side by side.
    pub fn insert(&mut self, start: &[u8], end: Option<&[u8]>, value: T) -> Handle {
        let node = Node {
            start: start.into(),
            end: end.map(Into::into),
            value: Some(value),
            priority: self.priorities.next_u64(),
            left: NONE,
            right: NONE,
            last: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.mend(at);
        let (left, right) = self.split(self.root, at);
        let left = self.merge(left, at);
        self.root = self.merge(left, right);
        self.len += 1;
        Handle(at)
    }

    /// `None`: it is not there (any more).
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let value = self.nodes.get_mut(handle.0 as usize)?.value.take()?;
        self.root = self.without(self.root, handle.0);
        let node = &mut self.nodes[handle.0 as usize];
        (node.start, node.end) = (Box::default(), None);
        self.free.push(handle.0);
        self.len -= 1;
        Some(value)
    }

    pub fn at(&self, handle: Handle) -> Option<&T> {
        self.nodes.get(handle.0 as usize)?.value.as_ref()
    }

    pub fn at_mut(&mut self, handle: Handle) -> Option<&mut T> {
        self.nodes.get_mut(handle.0 as usize)?.value.as_mut()
    }

    /// Where it begins and ends.
    pub fn range(&self, handle: Handle) -> Option<(&[u8], Option<&[u8]>)> {
        let node = self.nodes.get(handle.0 as usize).filter(|node| node.value.is_some())?;
        Some((&node.start, node.end.as_deref()))
    }

    /// Every range's value, in an order that is the same in every run.
    pub fn all(&self) -> impl Iterator<Item = (Handle, &T)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(at, node)| Some((Handle(at as u32), node.value.as_ref()?)))
    }

    /// Calls `found` for every range that holds `key`, in the order of their beginnings.
    pub fn find(&self, key: &[u8], mut found: impl FnMut(Handle, &T)) {
        self.find_under(self.root, key, &mut found);
    }

    fn find_under(&self, at: u32, key: &[u8], found: &mut impl FnMut(Handle, &T)) {
        if at == NONE {
            return;
        }
        let node = &self.nodes[at as usize];
        if !reaches(&self.nodes[node.last as usize].end, key) {
            return;
        }
        self.find_under(node.left, key, found);
        if *node.start <= *key {
            if reaches(&node.end, key) {
                found(Handle(at), node.value.as_ref().expect("a node of the tree has its value"));
            }
            self.find_under(node.right, key, found);
        }
    }

    /// Whether `a` stands before `b`.
    fn before(&self, a: u32, b: u32) -> bool {
        (&self.nodes[a as usize].start, a) < (&self.nodes[b as usize].start, b)
    }

    /// Recomputes what `at` knows of its subtree.
    fn mend(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let mut last = at;
        for child in [node.left, node.right] {
            if child != NONE {
                let candidate = self.nodes[child as usize].last;
                if ends_later(&self.nodes[candidate as usize].end, &self.nodes[last as usize].end) {
                    last = candidate;
                }
            }
        }
        self.nodes[at as usize].last = last;
    }

    /// The subtree's nodes before `pivot`, and the others.
    fn split(&mut self, at: u32, pivot: u32) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        if self.before(at, pivot) {
            let (left, right) = self.split(self.nodes[at as usize].right, pivot);
            self.nodes[at as usize].right = left;
            self.mend(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at as usize].left, pivot);
            self.nodes[at as usize].left = right;
            self.mend(at);
            (left, at)
        }
    }

    /// One tree of two, of which all of `left` stands before all of `right`.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE || right == NONE {
            return if left == NONE { right } else { left };
        }
        if self.nodes[left as usize].priority >= self.nodes[right as usize].priority {
            let child = self.nodes[left as usize].right;
            self.nodes[left as usize].right = self.merge(child, right);
            self.mend(left);
            left
        } else {
            let child = self.nodes[right as usize].left;
            self.nodes[right as usize].left = self.merge(left, child);
            self.mend(right);
            right
        }
    }

    fn without(&mut self, at: u32, gone: u32) -> u32 {
        assert_ne!(at, NONE, "a range with a value stands in the tree");
        let (left, right) = (self.nodes[at as usize].left, self.nodes[at as usize].right);
        if at == gone {
            return self.merge(left, right);
        }
        if self.before(gone, at) {
            self.nodes[at as usize].left = self.without(left, gone);
        } else {
            self.nodes[at as usize].right = self.without(right, gone);
        }
        self.mend(at);
        at
    }
}

/// Whether a range with this end may hold `key`.
fn reaches(end: &Option<Box<[u8]>>, key: &[u8]) -> bool {
    end.as_ref().is_none_or(|end| **end > *key)
}

fn ends_later(a: &Option<Box<[u8]>>, b: &Option<Box<[u8]>>) -> bool {
    match (a, b) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_list_would_find() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut ranges = Ranges::default();
            let mut list = Vec::<(Handle, Vec<u8>, Option<Vec<u8>>, u64)>::new();
            for step in 0..300 {
                if list.is_empty() || rng.chance(0.6) {
                    let start = key(&mut rng);
                    let end = rng.chance(0.8).then(|| key(&mut rng)); // Some are empty.
                    let handle = ranges.insert(&start, end.as_deref(), step);
                    list.push((handle, start, end, step));
                } else {
                    let (handle, _, _, value) = list.swap_remove(rng.below(list.len() as u64) as usize);
                    assert_eq!(ranges.remove(handle), Some(value));
                    assert_eq!(ranges.remove(handle), None);
                }
                assert_eq!(ranges.len(), list.len());
                let probe = key(&mut rng);
                let mut found = Vec::new();
                ranges.find(&probe, |handle, value| found.push((handle, *value)));
                found.sort();
                let mut wanted: Vec<_> = list
                    .iter()
                    .filter(|(_, start, end, _)| {
                        *start <= probe && end.as_ref().is_none_or(|end| probe < *end)
                    })
                    .map(|(handle, _, _, value)| (*handle, *value))
                    .collect();
                wanted.sort();
                assert_eq!(found, wanted, "seed {seed} step {step} key {probe:?}");
            }
        }
    }

    fn key(rng: &mut Rng) -> Vec<u8> {
        (0..rng.below(4)).map(|_| rng.below(3) as u8).collect()
    }
}
