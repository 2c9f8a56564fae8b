//! The table of connections: slots with generations, and what is under way on each.
//!
//! A slot is used again only when the kernel has answered every request of its last connection, so a completion
//! needs no generation to find its owner.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use io_uring::types::Fd;

use crate::drive::socket::RawAddr;
use crate::pipeline::ports::{Conn, Ended};

#[derive(Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Free,
    /// Connecting; the station knows it by this token.
    Dialling(u64),
    Open,
    /// The station closed it: what was sent goes out, what comes is thrown away until the other side closes too.
    Closing,
    /// Waits for the kernel's last answers.
    Dead,
}

#[derive(Default)]
pub struct Socket {
    pub phase: Phase,
    pub generation: u32,
    pub fd: Option<OwnedFd>,
    /// Requests whose last completion has not come.
    pub pending: u8,
    pub receiving: bool,
    /// The receive is being cancelled.
    pub cancelling: bool,
    pub paused: bool,
    /// Bytes that arrived between a pause and the end of the receive.
    pub held: Vec<u8>,
    /// The end, to be told after `held`.
    pub ended: Option<Ended>,
    pub sending: bool,
    /// The buffer under way and how much of it has gone out.
    pub out: Vec<u8>,
    pub sent: usize,
    /// Where a dial goes to: the kernel reads it.
    pub address: Option<Box<RawAddr>>,
}

impl Socket {
    pub fn fd(&self) -> Fd {
        Fd(self.fd.as_ref().expect("a socket in use has a descriptor").as_raw_fd())
    }

    pub fn borrowed(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("a socket in use has a descriptor").as_fd()
    }
}

pub struct Sockets {
    slots: Vec<Socket>,
    free: Vec<u32>,
    max: usize,
}

impl Sockets {
    pub fn new(max: usize) -> Sockets {
        Sockets { slots: Vec::new(), free: Vec::new(), max }
    }

    pub fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A slot for this descriptor; `None` when the table is full.
    pub fn insert(&mut self, fd: OwnedFd, phase: Phase) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.max => {
                self.slots.push(Socket::default());
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let socket = &mut self.slots[slot as usize];
        assert!(socket.phase == Phase::Free && socket.pending == 0);
        (socket.phase, socket.fd) = (phase, Some(fd));
        Some(slot)
    }

    /// Closes the descriptor and lets the slot be used again, under the next generation.
    pub fn release(&mut self, slot: u32) {
        let socket = &mut self.slots[slot as usize];
        assert!(socket.pending == 0, "the kernel still works on slot {slot}");
        *socket = Socket { generation: socket.generation.wrapping_add(1), ..Socket::default() };
        self.free.push(slot);
    }

    pub fn at(&mut self, slot: u32) -> &mut Socket {
        &mut self.slots[slot as usize]
    }

    pub fn name(&self, slot: u32) -> Conn {
        Conn { slot, generation: self.slots[slot as usize].generation }
    }

    /// The slot of a connection that is open; `None` if it has ended or is being closed.
    pub fn find(&self, conn: Conn) -> Option<u32> {
        let socket = self.slots.get(conn.slot as usize)?;
        (socket.generation == conn.generation && socket.phase == Phase::Open).then_some(conn.slot)
    }

    pub fn all(&self) -> impl Iterator<Item = (u32, &Socket)> {
        (0..).zip(&self.slots)
    }
}
