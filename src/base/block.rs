//! Memory that a disk can take without a copy: whole pages, aligned, counted by reference.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The unit of direct I/O here: offsets, lengths and addresses are multiples of it.
pub const PAGE: usize = 4096;

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

/// Pages that one owner still fills. `len` bytes are in use; all beyond them are zero.
pub struct BlockMut {
    pages: Vec<Page>,
    len: usize,
}

/// Pages that nobody changes any more. A clone is another reference to the same memory.
#[derive(Clone)]
pub struct Block(Arc<BlockMut>);

impl BlockMut {
    /// Room for at least `capacity` bytes without moving; nothing in use yet.
    pub fn with_capacity(capacity: usize) -> BlockMut {
        BlockMut { pages: Vec::with_capacity(capacity.div_ceil(PAGE)), len: 0 }
    }

    /// `len` zero bytes in use.
    pub fn zeroed(len: usize) -> BlockMut {
        let mut block = BlockMut::with_capacity(len);
        block.grow(len);
        block
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy. Every byte of the log comes this way, so new pages are cleared only behind it.
    pub fn extend(&mut self, bytes: &[u8]) {
        let (start, end) = (self.len, self.len + bytes.len());
        let (held, wanted) = (self.pages.len(), end.div_ceil(PAGE));
        self.pages.reserve(wanted - held);
        // SAFETY: there is room for `wanted` pages, and `start..end` lies in them; what was borrowed is elsewhere. The
        // new pages are written from `start`, which is not behind their beginning, to their end.
        unsafe {
            let memory = self.pages.as_mut_ptr().cast::<u8>();
            memory.add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            if wanted > held {
                memory.add(end).write_bytes(0, wanted * PAGE - end);
            }
            self.pages.set_len(wanted);
        }
        self.len = end;
    }

    /// Appends `count` zero bytes and returns where they start.
    pub fn grow(&mut self, count: usize) -> usize {
        let start = self.len;
        self.len += count;
        let (held, wanted) = (self.pages.len(), self.len.div_ceil(PAGE));
        self.pages.reserve(wanted - held);
        // SAFETY: the room was just reserved, and zeros are a page. `resize` would build each page elsewhere first.
        unsafe {
            self.pages.as_mut_ptr().add(held).write_bytes(0, wanted - held);
            self.pages.set_len(wanted);
        }
        start
    }

    pub fn bytes(&self) -> &[u8] {
        &whole(&self.pages)[..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: `Page` is repr(C), exactly PAGE bytes of u8 without padding, so the vector's elements are
        // one initialised run of bytes; the borrow of `pages` is exclusive for the slice's life.
        let all = unsafe {
            std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().cast::<u8>(), self.pages.len() * PAGE)
        };
        &mut all[..len]
    }

    /// Ends the writing.
    pub fn freeze(self) -> Block {
        Block(Arc::new(self))
    }
}

impl Block {
    pub fn copy_of(bytes: &[u8]) -> Block {
        let mut block = BlockMut::with_capacity(bytes.len());
        block.extend(bytes);
        block.freeze()
    }

    /// The bytes in use and the zeros that fill their last page: what a direct write takes.
    pub fn padded(&self) -> &[u8] {
        whole(&self.0.pages)
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len())
    }
}

impl fmt::Debug for BlockMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMut({} bytes)", self.len())
    }
}

fn whole(pages: &[Page]) -> &[u8] {
    // SAFETY: as in `bytes_mut`; shared here.
    unsafe { std::slice::from_raw_parts(pages.as_ptr().cast::<u8>(), size_of_val(pages)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned_and_padded_with_zeros() {
        let mut block = BlockMut::with_capacity(10);
        block.extend(b"hello");
        block.extend(&[7; 5000]);
        let block = block.freeze();
        assert_eq!(block.len(), 5005);
        assert_eq!(block.padded().len(), 2 * PAGE);
        assert_eq!(block.padded().as_ptr() as usize % PAGE, 0);
        assert!(block.padded()[5005..].iter().all(|&b| b == 0));
        assert_eq!(&block[..6], b"hello\x07");
        // In every way over the border of a page, in memory that held something else.
        for first in [0, 1, 4095, 4096, 4097] {
            for second in [0, 1, 4095, 4096, 8192, 8193] {
                drop(Block::copy_of(&[0xff; 16_384]));
                let mut block = BlockMut::with_capacity(0);
                block.extend(&vec![1; first]);
                block.extend(&vec![2; second]);
                let block = block.freeze();
                let rest = (first + second).next_multiple_of(PAGE) - first - second;
                assert_eq!(block.padded(), [vec![1; first], vec![2; second], vec![0; rest]].concat());
            }
        }
    }
}
