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

/// After so long any completion ends the sleep, a finished send's too: so long an event may be kept waiting for a send
/// that was expected to be done at once and was not. Longer than a tick: an earlier timer would have to be told to the
/// hardware before every sleep.
const OVERDUE_US: u32 = 5_000;

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
    /// Requests since the last `reap` that the kernel finishes as it takes them.
    prompt: usize,
    /// The kernel can wait for several completions and give up on all but one after a while: since 6.12.
    can_relent: bool,
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
        let can_relent = ring.params().is_feature_min_timeout();
        Ok(Kernel { ring, pending: 0, prompt: 0, can_relent, counters })
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

    /// Queues a request that the kernel will have finished before it sleeps, such as a short send.
    ///
    /// # Safety
    /// As `push`.
    pub unsafe fn push_prompt(&mut self, entry: squeue::Entry) {
        self.prompt += 1;
        // SAFETY: passed on to the caller.
        unsafe { self.push(entry) }
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
        self.wait(1, 0, wait);
    }

    /// The same, but prompt requests alone do not end the sleep: a message then costs one system call and one round,
    /// where its own completion would at once bring a second of each. One that is not done by then, its receiver's
    /// buffers being full, delays the next event by `OVERDUE_US` at most.
    pub fn park_past_prompt(&mut self, wait: Nanos) {
        match self.prompt {
            0 => self.park(wait),
            // So many events are never kept waiting.
            prompt if !self.can_relent || prompt > SUBMISSIONS as usize => self.park(wait),
            prompt => self.wait(1 + prompt, OVERDUE_US, wait),
        }
    }

    fn wait(&mut self, count: usize, relent_us: u32, wait: Nanos) {
        self.counters.enters.add(1);
        self.counters.parks.add(1);
        let span = Timespec::new().sec(wait.0 / 1_000_000_000).nsec((wait.0 % 1_000_000_000) as u32);
        let args = SubmitArgs::new().min_wait_usec(relent_us);
        let submitter = self.ring.submitter();
        check(match wait {
            Nanos::MAX if relent_us == 0 => submitter.submit_and_wait(count),
            Nanos::MAX => submitter.submit_with_args(count, &args),
            _ => submitter.submit_with_args(count, &args.timespec(&span)),
        });
    }

    /// Hands over what is queued and sleeps until so many completions have come, or this long.
    pub fn gather(&mut self, count: usize, wait: Nanos) {
        self.wait(count, 0, wait);
    }

    /// Moves all completions that have come into `into`.
    pub fn reap(&mut self, into: &mut Vec<Done>) {
        self.prompt = 0;
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_send_without_room_at_its_receiver_hardly_delays_what_comes_next() {
        let mut kernel = Kernel::new(Arc::default()).unwrap();
        let (mut full, _unread) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        let byte = [1];
        let send = opcode::Send::new(types::Fd(full.as_raw_fd()), byte.as_ptr(), 1).build();
        let event = opcode::Nop::new().build();
        // SAFETY: the byte outlives `drain`; the other points to nothing.
        unsafe {
            kernel.push_prompt(send.user_data(tag(Kind::Send, 0)));
            kernel.push(event.user_data(tag(Kind::Bell, 0)));
        }
        let started = Instant::now();
        kernel.park_past_prompt(Nanos::from_millis(3_000));
        let waited = started.elapsed();
        let mut done = Vec::new();
        kernel.reap(&mut done);
        kernel.drain();
        assert_eq!(done.iter().map(|done| done.kind).collect::<Vec<_>>(), [Kind::Bell]);
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}
