//! The doorbell: wakes a loop's thread from any other.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::pipeline::lane::Bell;

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

/// Ringing costs a system call only when the thread sleeps: an awake one looks at the state before it parks.
pub struct Doorbell {
    state: AtomicU8,
    stop: AtomicBool,
    event: File,
    /// What to wake instead of the event, where the loop is an executor's task.
    waker: Mutex<Option<Waker>>,
}

impl Doorbell {
    pub fn new() -> io::Result<Arc<Doorbell>> {
        // SAFETY: eventfd takes no pointers; a descriptor that it returns is ours alone.
        let event = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        Ok(Arc::new(Doorbell {
            state: AtomicU8::new(AWAKE),
            stop: AtomicBool::new(false),
            event,
            waker: Mutex::new(None),
        }))
    }

    /// Asks the loop to have its station stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.ring();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// What the loop reads from while it sleeps; one ring makes it readable.
    pub(super) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// From now on rings wake this task.
    pub(super) fn set_waker(&self, waker: Waker) {
        *self.waker.lock().expect("nobody panics while waking") = Some(waker);
    }

    /// False: somebody rang since `wake`, so look again instead of sleeping.
    pub(super) fn sleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Call before looking at lanes: whoever fills one afterwards finds the loop awake.
    pub(super) fn wake(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }
}

impl Bell for Doorbell {
    fn ring(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            if let Some(waker) = self.waker.lock().expect("nobody panics while waking").take() {
                return waker.wake();
            }
            let wrote = (&self.event).write(&1u64.to_ne_bytes());
            assert!(wrote.is_ok(), "an eventfd takes 2^64 - 2 rings: {wrote:?}");
        }
    }
}
