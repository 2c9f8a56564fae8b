//! Waiting for sockets: epoll with nanosecond time-outs. epoll and not io_uring, because the load
//! generator must run wherever a client runs.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// So many that the first of them are not old when the last has been attended to.
const EVENTS: usize = 64;

/// What a socket waits for, and the number its owner knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
    pub writable: bool,
}

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub fn open() -> io::Result<Poll> {
        // The kernel may delay a thread's timers by 50 us to save wake-ups; an intended start time may not wait.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        Ok(Poll { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    pub fn add(&self, socket: impl AsFd, token: usize, writable: bool) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token as u64), flags(writable))?)
    }

    pub fn modify(&self, socket: impl AsFd, token: usize, writable: bool) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token as u64), flags(writable))?)
    }

    /// Waits at most `timeout_ns` (for ever when `None`) and appends who is ready.
    pub fn wait(&mut self, timeout_ns: Option<u64>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = timeout_ns
            .map(|ns| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as _ });
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
        for event in &self.events {
            let flags = event.flags;
            let broken = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            ready.push(Ready {
                token: event.data.u64() as usize,
                // A broken socket is reported as both: whichever step comes next meets the error.
                readable: broken || flags.contains(epoll::EventFlags::IN),
                writable: broken || flags.contains(epoll::EventFlags::OUT),
            });
        }
        Ok(())
    }
}

fn flags(writable: bool) -> epoll::EventFlags {
    if writable { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}
