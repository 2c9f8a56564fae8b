//! Where a table's pages are put together, and pages that have come free.
//!
//! A page that grows moves into the next size; the one it leaves is what a neighbour will soon grow into. A few of
//! each size are kept: most growth then costs no call of the allocator, and its memory is still in the cache.

use std::sync::Arc;

use super::page::{Page, RIM, STEP};

/// Pages kept of each size.
const SPARES: usize = 4;
/// Sizes: one step up to eight.
const SIZES: usize = 8;

#[derive(Default)]
pub(super) struct Tray {
    /// A page under way.
    pub bytes: Vec<u8>,
    spares: [Vec<Page>; SIZES],
    /// What writes have cost beside themselves because a frozen view holds what they change: pages, and nodes by the
    /// pages that copying one takes as long as.
    pub copied: u64,
}

impl Tray {
    /// A page of this many bytes, with anything in them, that nobody else holds.
    pub fn page(&mut self, size: usize) -> Page {
        let spare = place(size).and_then(|place| self.spares[place].pop());
        spare.unwrap_or_else(|| std::iter::repeat_n(0, size).collect())
    }

    /// The bytes that were put together, as a page.
    pub fn finish(&mut self) -> Page {
        let bytes = std::mem::take(&mut self.bytes);
        let mut page = self.page(bytes.len());
        Arc::get_mut(&mut page).expect("nobody else holds it").copy_from_slice(&bytes);
        self.bytes = bytes;
        page
    }

    /// The page's bytes, to be changed: those of a copy, where a frozen view holds it.
    pub fn own<'a>(&mut self, page: &'a mut Page) -> &'a mut [u8] {
        self.copied += u64::from(Arc::strong_count(page) > 1);
        Arc::make_mut(page)
    }

    /// Takes what a table no longer needs, unless a frozen view does.
    pub fn give(&mut self, mut page: Page) {
        if let Some(place) = place(page.len())
            && self.spares[place].len() < SPARES
            && Arc::get_mut(&mut page).is_some()
        {
            self.spares[place].push(page);
        }
    }
}

fn place(size: usize) -> Option<usize> {
    let whole = size + RIM;
    (whole.is_multiple_of(STEP) && (1..=SIZES).contains(&(whole / STEP))).then(|| whole / STEP - 1)
}
