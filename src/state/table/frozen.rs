//! A table as it was at one moment, read once from front to back.

use std::sync::Arc;
use std::vec;

use super::inner::{Children, Node};
use super::page::{Key, Page, View};

/// Hands out records in key order and lets go of each page behind it: a page that the live table has replaced
/// meanwhile is freed then, one that it has not is its own again and need not be copied.
pub struct Frozen {
    /// Nodes still to be read, the next one last.
    levels: Vec<vec::IntoIter<Node>>,
    page: Option<Page>,
    at: usize,
    count: u64,
    bytes: u64,
    digest: u128,
}

impl Frozen {
    pub(super) fn new(root: Node, count: u64, bytes: u64, digest: u128) -> Frozen {
        Frozen { levels: vec![vec![root].into_iter()], page: None, at: 0, count, bytes, digest }
    }

    /// Records in the whole table, read or not.
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

    pub fn digest(&self) -> u128 {
        self.digest
    }

    /// The next record.
    #[allow(clippy::should_implement_trait)] // It lends: an iterator could not let pages go.
    pub fn next(&mut self) -> Option<(Key<'_>, &[u8])> {
        while self.page.as_ref().is_none_or(|page| self.at == View(page).count()) {
            self.page = None;
            self.page = Some(self.next_page()?);
            self.at = 0;
        }
        let view = View(self.page.as_ref()?);
        self.at += 1;
        Some((view.key(self.at - 1), view.value(self.at - 1)))
    }

    fn next_page(&mut self) -> Option<Page> {
        loop {
            let Some(node) = self.levels.last_mut()?.next() else {
                self.levels.pop();
                continue;
            };
            match node {
                Node::Leaf(page) => return Some(page),
                Node::Inner(inner) => {
                    // Ours alone if the live table has replaced it; else the children are held twice for a while.
                    let children = match Arc::try_unwrap(inner) {
                        Ok(inner) => inner.children,
                        Err(shared) => shared.children.clone(),
                    };
                    self.levels.push(
                        match children {
                            Children::Leaves(pages) => pages.into_iter().map(Node::Leaf).collect::<Vec<_>>(),
                            Children::Inners(inners) => inners.into_iter().map(Node::Inner).collect(),
                        }
                        .into_iter(),
                    );
                }
            }
        }
    }
}
