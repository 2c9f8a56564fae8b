//! Look-ups that are known in advance wait for memory together.
//!
//! In a table larger than the processor's caches a look-up mostly waits: each node names the next, and the batch's
//! commands come one after the other. Walked level by level, several keys have their nodes on the way at once.

use super::inner::{Children, Inner, Node};
use super::page::{Page, View};
use super::{KEYS_AHEAD, Table};

/// A table below this is in the fast caches anyway.
const WORTH_IT: u64 = 256 << 10;

impl Table {
    /// Whether `foresee` would be of use.
    pub fn is_far(&self) -> bool {
        self.bytes > WORTH_IT
    }

    /// Up to `KEYS_AHEAD` keys will soon be looked up.
    pub fn foresee(&self, keys: &[impl AsRef<[u8]>]) {
        let Node::Inner(root) = &self.root else { return };
        let mut nodes: [Option<&Inner>; KEYS_AHEAD] = [Some(root); KEYS_AHEAD];
        let mut leaves: [Option<&Page>; KEYS_AHEAD] = [None; KEYS_AHEAD];
        let mut left = true;
        while std::mem::take(&mut left) {
            for ((node, leaf), key) in nodes.iter_mut().zip(&mut leaves).zip(keys) {
                let Some(inner) = node.take() else { continue };
                let at = inner.find(key.as_ref());
                match &inner.children {
                    Children::Leaves(pages) => {
                        // Head and slots.
                        fetch_lines(&pages[at], 0, 4);
                        *leaf = Some(&pages[at]);
                    }
                    Children::Inners(inners) => {
                        let inner: &Inner = &inners[at];
                        fetch(std::ptr::from_ref(inner).cast());
                        (*node, left) = (Some(inner), true);
                    }
                }
            }
        }
        for (leaf, key) in leaves.iter().zip(keys) {
            let Some(page) = leaf else { continue };
            if let Some(at) = View(page).likely(key.as_ref()) {
                fetch_lines(page, at, 3);
            }
        }
    }
}

fn fetch_lines(page: &Page, at: usize, lines: usize) {
    (0..lines).for_each(|line| fetch(page.as_ptr().wrapping_add(at + line * 64)));
}

/// Asks for a line of memory that is wanted soon.
#[inline]
pub(in crate::state) fn fetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees, and faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
