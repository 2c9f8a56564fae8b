//! A leaf: one run of records in key order, packed into one allocation.
//!
//! ```text
//! 0 count u16 | 2 prefix length u16 | 4 heap u32 | 8 dead u32 | 12 zero u32
//! 16 prefix: what all keys of the page begin with, kept once
//!    slots, 8 bytes per record in key order: hint u32 | offset u16 | tail length u16
//!    gap
//!    heap, growing downwards from the end: per record value length u16 | tail of the key | value
//! ```
//! A hint is the first four bytes of the key's tail: a search stays within the slots, which lie together, and
//! touches one record. Offsets count from the page's end, so that a page can grow by two copies. A page of one
//! record may have any size: its offset is 0, it starts behind the slot, and its value fills the page when the
//! length says 65535. All other pages have at most `PAGE_MAX` bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use super::content;
use super::tray::Tray;

/// Counted by reference: a frozen view and the live table share it until the first write.
pub(super) type Page = Arc<[u8]>;

/// Bytes of a page with more than one record. With the allocator's and the counter's words: 4 KiB.
/// 8 KiB measured no faster to read, 10 % slower to write, and its copies stall longer.
pub(super) const PAGE_MAX: usize = 4096 - RIM;
/// A page this empty looks for a neighbour to merge with.
pub(super) const PAGE_LOW: usize = PAGE_MAX / 4;
/// What allocator and reference count add to a page.
pub(super) const RIM: usize = 32;
/// Pages come in multiples of this, what is added to them included.
pub(super) const STEP: usize = 512;
const HEAD: usize = 16;
const SLOT: usize = 8;
/// The value's length, before the key's tail.
const RECORD: usize = 2;
/// This length stands for "up to the end of the page".
const REST: u16 = u16::MAX;

/// A key of the table, borrowed from its page in two pieces.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    prefix: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Key<'a> {
    pub(super) fn whole(key: &'a [u8]) -> Key<'a> {
        Key { prefix: &[], tail: key }
    }

    pub fn len(&self) -> usize {
        self.prefix.len() + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key is one piece after the other.
    pub fn parts(&self) -> (&'a [u8], &'a [u8]) {
        (self.prefix, self.tail)
    }

    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix);
        out.extend_from_slice(self.tail);
    }

    /// Replaces what `out` holds.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.clear();
        self.append_to(out);
    }

    pub fn to_vec(&self) -> Vec<u8> {
        [self.prefix, self.tail].concat()
    }

    pub fn order(&self, other: &[u8]) -> Ordering {
        match other.split_at_checked(self.prefix.len()) {
            Some((head, rest)) => self.prefix.cmp(head).then_with(|| self.tail.cmp(rest)),
            None => match self.prefix[..other.len()].cmp(other) {
                Ordering::Equal => Ordering::Greater, // `other` is a proper prefix of this key's.
                unequal => unequal,
            },
        }
    }

    pub fn starts_with(&self, start: &[u8]) -> bool {
        if start.len() <= self.prefix.len() {
            return self.prefix.starts_with(start);
        }
        let (head, rest) = start.split_at(self.prefix.len());
        self.prefix == head && self.tail.starts_with(rest)
    }

    /// The same key with a shorter first piece, as a page with that prefix holds it.
    fn tail_after(&self, skip: usize, out: &mut Vec<u8>) {
        if skip <= self.prefix.len() {
            out.extend_from_slice(&self.prefix[skip..]);
            out.extend_from_slice(self.tail);
        } else {
            out.extend_from_slice(&self.tail[skip - self.prefix.len()..]);
        }
    }

    fn bytes(&self) -> impl Iterator<Item = &'a u8> + use<'a> {
        self.prefix.iter().chain(self.tail)
    }

    pub(super) fn shared_with(&self, other: &Key<'_>) -> usize {
        self.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
    }
}

impl PartialEq<[u8]> for Key<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        self.len() == other.len() && self.order(other) == Ordering::Equal
    }
}

/// Reads a page.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(pub &'a [u8]);

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

#[inline]
fn set_u16(bytes: &mut [u8], at: usize, value: usize) {
    debug_assert!(value <= usize::from(u16::MAX));
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

#[inline]
fn set_u32(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}

#[inline]
fn hint_of(tail: &[u8]) -> u32 {
    if let Some(four) = tail.first_chunk::<4>() {
        return u32::from_be_bytes(*four);
    }
    (0..).zip(tail).fold(0, |hint, (at, &byte)| hint | u32::from(byte) << (24 - 8 * at))
}

#[inline]
fn slot_hint(slot: &[u8; SLOT]) -> u32 {
    u32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]])
}

impl<'a> View<'a> {
    #[inline]
    pub fn count(&self) -> usize {
        usize::from(u16_at(self.0, 0))
    }

    #[inline]
    fn prefix(&self) -> &'a [u8] {
        &self.0[HEAD..HEAD + usize::from(u16_at(self.0, 2))]
    }

    #[inline]
    fn heap(&self) -> usize {
        u32_at(self.0, 4)
    }

    #[inline]
    fn dead(&self) -> usize {
        u32_at(self.0, 8)
    }

    #[inline]
    fn slots_at(&self) -> usize {
        HEAD + usize::from(u16_at(self.0, 2))
    }

    #[inline]
    fn slots(&self) -> &'a [[u8; SLOT]] {
        let start = self.slots_at();
        self.0[start..start + SLOT * self.count()].as_chunks::<SLOT>().0
    }

    /// Bytes that a fresh copy without garbage needs.
    pub fn live(&self) -> usize {
        self.slots_at() + SLOT * self.count() + self.heap() - self.dead()
    }

    #[inline]
    fn gap(&self) -> usize {
        self.0.len() - self.slots_at() - SLOT * self.count() - self.heap()
    }

    #[inline]
    fn tail_of(&self, slot: &[u8; SLOT]) -> (usize, &'a [u8]) {
        let offset = usize::from(u16::from_le_bytes([slot[4], slot[5]]));
        let len = usize::from(u16::from_le_bytes([slot[6], slot[7]]));
        let start = if offset == 0 { self.slots_at() + SLOT } else { self.0.len() - offset };
        (start, &self.0[start + RECORD..start + RECORD + len])
    }

    #[inline]
    pub fn key(&self, at: usize) -> Key<'a> {
        Key { prefix: self.prefix(), tail: self.tail_of(&self.slots()[at]).1 }
    }

    /// Where the value lies in the page.
    #[inline]
    fn value_span(&self, at: usize) -> (usize, usize) {
        let (start, tail) = self.tail_of(&self.slots()[at]);
        let from = start + RECORD + tail.len();
        match u16_at(self.0, start) {
            REST => (from, self.0.len()),
            len => (from, from + usize::from(len)),
        }
    }

    #[inline]
    pub fn value(&self, at: usize) -> &'a [u8] {
        let (from, to) = self.value_span(at);
        &self.0[from..to]
    }

    /// Touches where head and slots mostly lie, so that a cold page costs one wait for memory, not three.
    #[inline]
    fn fetch(&self) {
        let line = |at: usize| self.0.get(at).copied().unwrap_or(0);
        std::hint::black_box(line(64) ^ line(128) ^ line(192));
    }

    /// Where the record lies that `find` will compare with the key, as far as the slots tell.
    pub fn likely(&self, key: &[u8]) -> Option<usize> {
        let hint = hint_of(key.strip_prefix(self.prefix())?);
        let slots = self.slots();
        let low = slots.iter().map(|slot| usize::from(slot_hint(slot) < hint)).sum::<usize>();
        slots.get(low).map(|slot| self.tail_of(slot).0)
    }

    /// `Ok`: the key's place. `Err`: where it belongs.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.fetch();
        let prefix = self.prefix();
        let Some(tail) = key.strip_prefix(prefix) else {
            return Err(if key < prefix { 0 } else { self.count() });
        };
        let slots = self.slots();
        let hint = hint_of(tail);
        // Not by halves: all slots are on their way from memory together, and counting needs no guesses.
        let low = slots.iter().map(|slot| usize::from(slot_hint(slot) < hint)).sum::<usize>();
        match &slots[low..] {
            [one, rest @ ..] if slot_hint(one) == hint => {
                match tail.cmp(self.tail_of(one).1) {
                    Ordering::Equal => return Ok(low),
                    Ordering::Less => return Err(low),
                    Ordering::Greater => {}
                }
                // Keys that differ only behind the hint.
                let alike = rest.partition_point(|slot| slot_hint(slot) == hint);
                let found = rest[..alike].binary_search_by(|slot| self.tail_of(slot).1.cmp(tail));
                found.map(|i| low + 1 + i).map_err(|i| low + 1 + i)
            }
            _ => Err(low),
        }
    }
}

/// What a `put` is about, and what it found.
pub(super) struct Put<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The old value's content and length, if there was one.
    pub replaced: Option<(u128, usize)>,
    pub key_sum: u64,
    pub tray: &'a mut Tray,
}

/// Pages that a split makes, to the right of the one that was split, each with the separator before it.
pub(super) type Split = Vec<(Vec<u8>, Page)>;

pub(super) fn empty() -> Page {
    Arc::from([0u8; HEAD].as_slice())
}

/// Writes a record into the leaf, where `find` has said.
pub(super) fn put(page: &mut Page, place: Result<usize, usize>, put: &mut Put<'_>) -> Split {
    let view = View(page);
    match place {
        Ok(at) => {
            let (from, to) = view.value_span(at);
            let old = to - from;
            put.replaced = Some((content(put.key_sum, &page[from..to]), old));
            let filled = view.count() == 1 && old >= usize::from(REST);
            if old == put.value.len() {
                put.tray.own(page)[from..to].copy_from_slice(put.value);
                return Split::new();
            }
            let tail = view.key(at).tail.len();
            if !filled && put.value.len() < old {
                let bytes = put.tray.own(page);
                bytes[from..from + put.value.len()].copy_from_slice(put.value);
                set_u16(bytes, from - tail - RECORD, put.value.len());
                let dead = u32_at(bytes, 8) + old - put.value.len();
                set_u32(bytes, 8, dead);
                trim(page, put.tray);
                return Split::new();
            }
            if !filled
                && RECORD + tail + put.value.len() <= view.gap()
                && view.live() + put.value.len() <= PAGE_MAX
            {
                let bytes = put.tray.own(page);
                let key_at = from - tail;
                let offset = append(bytes, key_at..from, put.value);
                let slot = slot_at(bytes, at);
                set_u16(bytes, slot + 4, offset);
                let dead = u32_at(bytes, 8) + RECORD + tail + old;
                set_u32(bytes, 8, dead);
                return Split::new();
            }
            respell(page, at, true, put)
        }
        Err(at) => {
            let fits = put.key.starts_with(view.prefix()) && view.count() > 0;
            if fits {
                let tail = &put.key[view.prefix().len()..];
                let need = SLOT + RECORD + tail.len() + put.value.len();
                if view.live() + need <= PAGE_MAX {
                    if need > view.gap() && view.dead() == 0 {
                        grow(page, need, put.tray);
                    }
                    if need <= View(page).gap() {
                        insert(put.tray.own(page), at, tail, put.value);
                        return Split::new();
                    }
                }
            }
            respell(page, at, false, put)
        }
    }
}

/// Takes the record at `at` out; the page may be left empty.
pub(super) fn remove(page: &mut Page, at: usize, tray: &mut Tray) {
    let view = View(page);
    let count = view.count();
    if count == 1 {
        *page = empty();
        return;
    }
    let (from, to) = view.value_span(at);
    let size = RECORD + view.key(at).tail.len() + (to - from);
    let bytes = tray.own(page);
    let (slot, end) = (slot_at(bytes, at), slot_at(bytes, count));
    bytes.copy_within(slot + SLOT..end, slot);
    set_u16(bytes, 0, count - 1);
    let dead = u32_at(bytes, 8) + size;
    set_u32(bytes, 8, dead);
    trim(page, tray);
}

/// One page of two neighbours. `None`: together their keys share too little, and one page would be too full.
pub(super) fn merge(left: &Page, right: &Page, tray: &mut Tray) -> Option<Page> {
    let entries: Vec<_> = entries(View(left)).chain(entries(View(right))).collect();
    (packed(&entries) <= PAGE_MAX * 3 / 4).then(|| pack(&entries, tray))
}

/// All records of a page.
pub(super) fn entries<'a>(view: View<'a>) -> impl Iterator<Item = (Key<'a>, &'a [u8])> {
    (0..view.count()).map(move |at| (view.key(at), view.value(at)))
}

#[inline]
fn slot_at(bytes: &[u8], at: usize) -> usize {
    HEAD + usize::from(u16_at(bytes, 2)) + SLOT * at
}

/// Puts a record whose tail lies in the page already in front of the heap; returns its offset.
fn append(bytes: &mut [u8], tail: std::ops::Range<usize>, value: &[u8]) -> usize {
    let len = tail.len();
    let offset = u32_at(bytes, 4) + RECORD + len + value.len();
    let start = bytes.len() - offset;
    set_u16(bytes, start, value.len());
    bytes.copy_within(tail, start + RECORD);
    bytes[start + RECORD + len..start + RECORD + len + value.len()].copy_from_slice(value);
    set_u32(bytes, 4, offset);
    offset
}

/// Writes a new record into the gap, which has room.
fn insert(bytes: &mut [u8], at: usize, tail: &[u8], value: &[u8]) {
    let count = usize::from(u16_at(bytes, 0));
    let offset = u32_at(bytes, 4) + RECORD + tail.len() + value.len();
    let start = bytes.len() - offset;
    set_u16(bytes, start, value.len());
    let (key, rest) = bytes[start + RECORD..].split_at_mut(tail.len());
    key.copy_from_slice(tail);
    rest[..value.len()].copy_from_slice(value);
    set_u32(bytes, 4, offset);
    let (slot, end) = (slot_at(bytes, at), slot_at(bytes, count));
    bytes.copy_within(slot..end, slot + SLOT);
    set_slot(bytes, slot, tail, offset);
    set_u16(bytes, 0, count + 1);
}

#[inline]
fn set_slot(bytes: &mut [u8], slot: usize, tail: &[u8], offset: usize) {
    bytes[slot..slot + 4].copy_from_slice(&hint_of(tail).to_le_bytes());
    set_u16(bytes, slot + 4, offset);
    set_u16(bytes, slot + 6, tail.len());
}

/// The size to allocate for `need` bytes: what the allocator would round up to anyway.
#[inline]
fn class(need: usize) -> usize {
    let step = if need + RIM <= STEP { STEP / 4 } else { STEP };
    (need + RIM).next_multiple_of(step) - RIM
}

/// A page without garbage moves to the next size that has `need` more bytes: slots in front, heap at the end.
fn grow(page: &mut Page, need: usize, tray: &mut Tray) {
    let view = View(page);
    let (front, heap) = (slot_at(page, view.count()), view.heap());
    if view.count() == 1 && view.tail_of(&view.slots()[0]).0 == front {
        return; // A page of one record, packed another way.
    }
    let mut larger = tray.page(class(view.live() + need).min(PAGE_MAX));
    let bytes = Arc::get_mut(&mut larger).expect("nobody else holds it");
    let (from, to) = (page.len() - heap, bytes.len() - heap);
    bytes[..front].copy_from_slice(&page[..front]);
    bytes[to..].copy_from_slice(&page[from..]);
    tray.give(std::mem::replace(page, larger));
}

/// Gives memory back once half of a page is garbage or gap.
fn trim(page: &mut Page, tray: &mut Tray) {
    let view = View(page);
    if page.len() > 512 && view.live() < page.len() / 2 {
        let entries: Vec<_> = entries(view).collect();
        let packed = pack(&entries, tray);
        tray.give(std::mem::replace(page, packed));
    }
}

/// The slow way: writes the page anew with the record in it, as several pages if one does not hold them.
fn respell(page: &mut Page, at: usize, replaces: bool, put: &mut Put<'_>) -> Split {
    let view = View(page);
    let mut entries: Vec<_> = entries(view).collect();
    let new = (Key::whole(put.key), put.value);
    let appends = !replaces && at == entries.len();
    if replaces {
        entries[at] = new;
    } else {
        entries.insert(at, new);
    }
    if packed(&entries) <= PAGE_MAX || entries.len() == 1 {
        let packed = pack(&entries, put.tray);
        put.tray.give(std::mem::replace(page, packed));
        return Split::new();
    }
    // Keys that only grow leave full pages behind them.
    if appends {
        let right = pack(&entries[at..], put.tray);
        return vec![(between(&entries[at - 1].0, &entries[at].0), right)];
    }
    let first = fitting(&entries);
    let left = pack(&entries[..first], put.tray);
    let mut pages = Split::new();
    let mut start = first;
    while start < entries.len() {
        let rest = &entries[start..];
        let take = fitting(rest);
        pages.push((between(&entries[start - 1].0, &rest[0].0), pack(&rest[..take], put.tray)));
        start += take;
    }
    put.tray.give(std::mem::replace(page, left));
    pages
}

/// How many of these records make the next page of a split.
fn fitting(entries: &[(Key<'_>, &[u8])]) -> usize {
    let mut take = entries.len();
    if take > 1 && packed(entries) > PAGE_MAX {
        take = half(entries);
    }
    // A stranger among long keys makes all of them long.
    while take > 1 && packed(&entries[..take]) > PAGE_MAX {
        take /= 2;
    }
    take
}

/// How many of two or more records make about half of the bytes; at least one, and not all.
fn half(entries: &[(Key<'_>, &[u8])]) -> usize {
    let size = |(key, value): &(Key<'_>, &[u8])| SLOT + RECORD + key.len() + value.len();
    let total: usize = entries.iter().map(size).sum();
    let mut sum = 0;
    for (at, entry) in entries.iter().enumerate() {
        let next = sum + size(entry);
        if next * 2 > total {
            // The record in the middle goes to the smaller side, so that a big one ends up alone.
            let right = if total - next > sum { at + 1 } else { at };
            let right = if next > PAGE_MAX && at > 0 { at } else { right };
            return right.clamp(1, entries.len() - 1);
        }
        sum = next;
    }
    entries.len() - 1
}

/// Bytes of a page with these records.
pub(super) fn packed(entries: &[(Key<'_>, &[u8])]) -> usize {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return HEAD };
    let shared = if entries.len() == 1 { first.0.len() } else { first.0.shared_with(&last.0) };
    let bytes: usize = entries.iter().map(|(key, value)| key.len() - shared + value.len()).sum();
    HEAD + shared + entries.len() * (SLOT + RECORD) + bytes
}

/// One page of these records: at most `PAGE_MAX` bytes of them, or a single one.
pub(super) fn pack(entries: &[(Key<'_>, &[u8])], tray: &mut Tray) -> Page {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return empty() };
    let need = packed(entries);
    let alone = entries.len() == 1 && need > PAGE_MAX;
    let size = if alone { need } else { class(need).min(PAGE_MAX) };
    let shared = if entries.len() == 1 { first.0.len() } else { first.0.shared_with(&last.0) };
    let scratch = &mut tray.bytes;
    scratch.clear();
    scratch.resize(HEAD, 0);
    set_u16(scratch, 0, entries.len());
    set_u16(scratch, 2, shared);
    let (head, tail) = first.0.parts();
    scratch.extend(head.iter().chain(tail).take(shared));
    let front = scratch.len();
    scratch.resize(front + SLOT * entries.len(), 0);
    if alone {
        let value = first.1;
        let len = if value.len() >= usize::from(REST) { usize::from(REST) } else { value.len() };
        scratch.extend_from_slice(&(len as u16).to_le_bytes());
        scratch.extend_from_slice(value);
        set_u32(scratch, 4, RECORD + value.len());
        debug_assert_eq!(scratch.len(), size);
        return tray.finish(); // The slot's zeros are right: no hint, offset 0, no tail.
    }
    // The heap is written upwards, last record first, and ends where the page ends.
    let heap = need - front - SLOT * entries.len();
    scratch.resize(size - heap, 0);
    set_u32(scratch, 4, heap);
    for (at, (key, value)) in entries.iter().enumerate().rev() {
        let start = scratch.len();
        scratch.extend_from_slice(&(value.len() as u16).to_le_bytes());
        key.tail_after(shared, scratch);
        let tail_end = scratch.len();
        scratch.extend_from_slice(value);
        let slot = front + SLOT * at;
        let hint = hint_of(&scratch[start + RECORD..tail_end]);
        scratch[slot..slot + 4].copy_from_slice(&hint.to_le_bytes());
        set_u16(scratch, slot + 4, size - start);
        set_u16(scratch, slot + 6, tail_end - start - RECORD);
    }
    debug_assert_eq!(scratch.len(), size);
    tray.finish()
}

/// The shortest key above `left` and not above `right`.
pub(super) fn between(left: &Key<'_>, right: &Key<'_>) -> Vec<u8> {
    let keep = left.shared_with(right) + 1;
    right.bytes().take(keep).copied().collect()
}
