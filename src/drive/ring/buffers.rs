//! Receive buffers that all connections of a loop share: the kernel takes one when bytes arrive, so an idle
//! connection owns none.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::base::PAGE;

/// The group's name to the kernel; a ring has just this one.
pub const GROUP: u16 = 0;

/// Bytes of one buffer. A turn's frames of one connection fit (32 writes of 128 bytes are 4 KiB), twice over. Larger
/// ones would be fewer, and mostly empty with small frames in them.
pub const BUFFER: usize = 8 << 10;

/// Page-aligned memory at one place until dropped.
struct Pages {
    start: *mut u8,
    layout: Layout,
}

impl Pages {
    fn zeroed(len: usize) -> Pages {
        let layout = Layout::from_size_align(len.next_multiple_of(PAGE), PAGE).expect("a sane size");
        assert!(layout.size() > 0);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Pages { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout, and freed only here.
        unsafe { dealloc(self.start, self.layout) }
    }
}

pub struct Buffers {
    /// The queue that the kernel takes buffers from.
    queue: Pages,
    memory: Pages,
    count: u16,
    tail: u16,
}

impl Buffers {
    /// What `count` buffers and their queue measure.
    pub const fn footprint(count: u16) -> usize {
        count as usize * (BUFFER + size_of::<BufRingEntry>())
    }

    /// Registers `count` buffers (a power of two). The ring must be dropped before they are.
    pub fn register(ring: &IoUring, count: u16) -> io::Result<Buffers> {
        assert!(count.is_power_of_two());
        let queue = Pages::zeroed(count as usize * size_of::<BufRingEntry>());
        let mut buffers = Buffers { queue, memory: Pages::zeroed(count as usize * BUFFER), count, tail: 0 };
        // SAFETY: the queue stays where it is until `Buffers` is dropped, which is after the ring.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(buffers.queue.start as u64, count, GROUP, 0)?;
        }
        (0..count).for_each(|id| buffers.give_back(id));
        Ok(buffers)
    }

    /// The bytes that the kernel has put into a buffer.
    pub fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= BUFFER);
        // SAFETY: in bounds by the assertion, initialised since `zeroed`; the kernel does not touch the buffer
        // between the completion that named it and `give_back`, which needs this borrow to have ended.
        unsafe { std::slice::from_raw_parts(self.memory.start.add(id as usize * BUFFER), len) }
    }

    /// Lets the kernel fill it again.
    pub fn give_back(&mut self, id: u16) {
        assert!(id < self.count);
        let entries = self.queue.start.cast::<BufRingEntry>();
        // SAFETY: the index is within the queue's `count` entries; the kernel reads an entry only after the tail
        // has passed it, and the tail is stored last. The tail shares memory with the first entry's last two
        // bytes, which the setters below do not write.
        unsafe {
            let entry = &mut *entries.add((self.tail & (self.count - 1)) as usize);
            entry.set_addr(self.memory.start.add(id as usize * BUFFER) as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
