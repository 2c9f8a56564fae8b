//! The ring itself: set-up with fall-backs, submission, the one blocking call, completions.

use std::io;
use std::sync::Arc;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue, types};

use crate::base::Nanos;
use crate::observe::LoopCounters;

/// Requests gathered before a system call must hand them over. A turn over 200 connections fits.
const SUBMISSIONS: u32 = 256;

/// Completions that fit before the kernel must set some aside, which it does without loss but with an allocation each.
/// An event for thousands of watchers is as many sends, done as they are handed over.
const COMPLETIONS: u32 = 2048;

/// What the two queues measure: 64 bytes per request, 16 per completion, and two pages of heads.
pub const QUEUES: usize = SUBMISSIONS as usize * 64 + COMPLETIONS as usize * 16 + 8192;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Its answer means nothing.
    Ignored,
    Bell,
    Accept,
    Receive,
    Send,
    Connect,
    Disk,
}

const KINDS: [Kind; 7] =
    [Kind::Ignored, Kind::Bell, Kind::Accept, Kind::Receive, Kind::Send, Kind::Connect, Kind::Disk];

/// A completion: of what kind, of which slot, with what result.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub kind: Kind,
    pub slot: u32,
    pub result: i32,
    pub flags: u32,
}

pub fn tag(kind: Kind, slot: u32) -> u64 {
    (kind as u64) << 32 | u64::from(slot)
}

pub struct Kernel {
    ring: IoUring,
    /// Requests whose last completion has not come.
    pending: usize,
    counters: Arc<LoopCounters>,
}

impl Kernel {
    /// On the thread that will use it, and no other.
    pub fn new(counters: Arc<LoopCounters>) -> io::Result<Kernel> {
        let mut newest = builder();
        newest.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_coop_taskrun();
        let mut newer = builder();
        newer.setup_coop_taskrun().setup_taskrun_flag();
        let ring = newest
            .build(SUBMISSIONS)
            .or_else(|_| newer.build(SUBMISSIONS)) // Before 6.1.
            .or_else(|_| builder().build(SUBMISSIONS))?; // Before 5.19.
        Ok(Kernel { ring, pending: 0, counters })
    }

    pub fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// Queues a request; it starts with the next `submit` or `park`.
    ///
    /// # Safety
    /// Whatever the request points to stays in place until its last completion has been reaped.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to the caller.
        unsafe { self.push_all(&[entry]) }
    }

    /// Queues requests that are linked to each other.
    ///
    /// # Safety
    /// As `push`.
    pub unsafe fn push_all(&mut self, entries: &[squeue::Entry]) {
        self.pending += entries.len();
        loop {
            let mut queue = self.ring.submission();
            if queue.capacity() - queue.len() >= entries.len() {
                // SAFETY: passed on to the caller; the room was checked.
                let pushed = unsafe { queue.push_multiple(entries) };
                assert!(pushed.is_ok());
                return;
            }
            drop(queue);
            self.submit();
        }
    }

    /// Hands all queued requests over, and has the kernel finish what it can, without waiting.
    pub fn submit(&mut self) {
        self.counters.enters.add(1);
        check(self.ring.submit());
    }

    /// Hands over what is queued, if anything is.
    pub fn start(&mut self) {
        if !self.ring.submission().is_empty() {
            self.submit();
        }
    }

    /// Hands all queued requests over and sleeps until a completion comes or `wait` has passed.
    pub fn park(&mut self, wait: Nanos) {
        self.counters.enters.add(1);
        self.counters.parks.add(1);
        if wait == Nanos::MAX {
            check(self.ring.submit_and_wait(1));
            return;
        }
        let span = Timespec::new().sec(wait.0 / 1_000_000_000).nsec((wait.0 % 1_000_000_000) as u32);
        check(self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&span)));
    }

    /// Hands over what is queued and sleeps until so many completions have come, or this long.
    pub fn gather(&mut self, count: usize, wait: Nanos) {
        self.counters.enters.add(1);
        self.counters.parks.add(1);
        let span = Timespec::new().sec(wait.0 / 1_000_000_000).nsec((wait.0 % 1_000_000_000) as u32);
        check(self.ring.submitter().submit_with_args(count, &SubmitArgs::new().timespec(&span)));
    }

    /// Moves all completions that have come into `into`.
    pub fn reap(&mut self, into: &mut Vec<Done>) {
        for entry in self.ring.completion() {
            let data = entry.user_data();
            let (flags, result) = (entry.flags(), entry.result());
            if !io_uring::cqueue::more(flags) {
                self.pending -= 1;
            }
            into.push(Done { kind: KINDS[(data >> 32) as usize], slot: data as u32, result, flags });
        }
    }

    /// Gives up every request and waits for the last completion: afterwards the kernel touches none of our memory.
    pub fn drain(&mut self) {
        let mut rest = Vec::new();
        while self.pending > 0 {
            // One at a time: a request that is being started while its cancellation runs needs another.
            let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
            // SAFETY: a cancellation points to nothing.
            unsafe { self.push(cancel.user_data(tag(Kind::Ignored, 0))) };
            self.park(Nanos::from_millis(10));
            rest.clear();
            self.reap(&mut rest);
        }
    }
}

fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS).dontfork();
    builder
}

/// A call that was interrupted, timed out or found the kernel busy has done no harm: what it did not take is
/// still queued. Anything else is our own bug.
fn check(result: io::Result<usize>) {
    let Err(e) = result else { return };
    let harmless = [libc::EINTR, libc::ETIME, libc::EBUSY, libc::EAGAIN];
    assert!(e.raw_os_error().is_some_and(|code| harmless.contains(&code)), "io_uring_enter failed: {e}");
}
