//! Building a table from records that come in key order: full pages, one after the other.

use std::sync::Arc;

use super::inner::{FANOUT, Inner, Node};
use super::page::{self, Key, PAGE_MAX, Page};
use super::tray::Tray;
use super::{KEY_MAX, Table, content};
use crate::base::sum::hash64;

/// Records must come in strictly ascending order of keys, none of them longer than `KEY_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {at} of a table does not come after the one before it, or its key is too long")]
pub struct OutOfOrder {
    pub at: u64,
}

#[derive(Default)]
pub struct Builder {
    pages: Vec<(Vec<u8>, Node)>,
    /// Keys and values of the page being filled, end to end, and where each key and value ends.
    bytes: Vec<u8>,
    ends: Vec<(usize, usize)>,
    /// Last key of the page before.
    last: Vec<u8>,
    count: u64,
    total: u64,
    digest: u128,
    tray: Tray,
}

impl Builder {
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Records so far.
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), OutOfOrder> {
        if key.len() > KEY_MAX || (self.count > 0 && key <= self.last_key()) {
            return Err(OutOfOrder { at: self.count });
        }
        // A record's share of a page: its slot, lengths, key and value. What its key shares is not taken off.
        const SHARE: usize = 16;
        let used = self.bytes.len() + SHARE * (self.ends.len() + 2);
        if !self.ends.is_empty() && used + key.len() + value.len() > PAGE_MAX {
            self.seal();
        }
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((middle, self.bytes.len()));
        self.count += 1;
        self.total += (key.len() + value.len()) as u64;
        self.digest = self.digest.wrapping_add(content(hash64(key), value));
        Ok(())
    }

    fn last_key(&self) -> &[u8] {
        match self.ends.as_slice() {
            [] => &self.last,
            [(middle, _)] => &self.bytes[..*middle],
            [.., (_, start), (middle, _)] => &self.bytes[*start..*middle],
        }
    }

    /// Packs what has gathered into a page.
    fn seal(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let mut start = 0;
        let entries: Vec<(Key<'_>, &[u8])> = self
            .ends
            .iter()
            .map(|&(middle, end)| {
                let entry = (Key::whole(&self.bytes[start..middle]), &self.bytes[middle..end]);
                start = end;
                entry
            })
            .collect();
        let separator = page::between(&Key::whole(&self.last), &entries[0].0);
        let page: Page = page::pack(&entries, &mut self.tray);
        self.pages.push((separator, Node::Leaf(page)));
        self.last = self.last_key().to_vec();
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn finish(mut self) -> Table {
        self.seal();
        let mut nodes = self.pages;
        while nodes.len() > 1 {
            // Nodes of about equal width, none of them too narrow to stand alone.
            let groups = nodes.len().div_ceil(FANOUT * 7 / 8);
            let width = nodes.len().div_ceil(groups);
            let mut rest = nodes.into_iter();
            nodes = Vec::new();
            loop {
                let mut group: Vec<_> = rest.by_ref().take(width).collect();
                let Some((separator, _)) = group.first_mut() else { break };
                let separator = std::mem::take(separator);
                nodes.push((separator, Node::Inner(Arc::new(Inner::new(group)))));
            }
        }
        let root = nodes.pop().map_or_else(|| Node::Leaf(page::empty()), |(_, node)| node);
        Table { root, count: self.count, bytes: self.total, digest: self.digest, tray: self.tray }
    }
}
