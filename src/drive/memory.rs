//! How the process gets its memory: in huge pages where the kernel has them to give.
//!
//! The state is gigabytes in small allocations, read at random: with 4 KiB pages every access first waits for the
//! page tables, and a killed process's memory takes so long to be taken apart that its peers hear of its end late.
//! glibc asks for huge pages if it is told to before the process starts, and only then: so it starts itself again.
//!
//! A huge page is cleared when it is first touched, which takes 0.1 ms on bare metal and a millisecond or more where a
//! hypervisor must find the memory first. So the heap grows by several at a time, and a thread of its own touches
//! them: the loops, which apply commands meanwhile, find them ready.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;

const VARIABLE: &str = "GLIBC_TUNABLES";

/// - `hugetlb=1`: heap in (transparent) huge pages;
/// - `arena_max=1`: one heap, which grows by whole huge pages; others grow too finely to get any;
/// - the thresholds: a batch's memory is used again instead of being mapped, zeroed and unmapped each time;
/// - `top_pad`: how much the heap grows by at the least.
const WANTED: &str = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.top_pad=16777216:\
    glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=134217728";

/// The most that is touched of what the heap has grown by: more was asked for at once, and is in use by now.
const AHEAD: usize = 64 << 20;
const PAGE: usize = 4096;
/// Touched at a time: a loop that maps memory waits for that long.
const HUGE: usize = 2 << 20;

/// Where the heap ended when a loop last looked, and who touches what is new.
static END: AtomicUsize = AtomicUsize::new(0);
static TOUCHER: OnceLock<Thread> = OnceLock::new();

/// The environment variable for a process that is about to be started.
pub fn tuning() -> (&'static str, OsString) {
    let mut all = std::env::var_os(VARIABLE).unwrap_or_default();
    if !is_told(&all) {
        if !all.is_empty() {
            all.push(":");
        }
        all.push(WANTED);
    }
    (VARIABLE, all)
}

fn is_told(value: &OsString) -> bool {
    value.to_string_lossy().contains("glibc.malloc.hugetlb")
}

/// Starts this program again, in its own place, unless it was started so. Call before there are threads.
pub fn use_huge_pages() {
    if std::env::var_os(VARIABLE).is_some_and(|value| is_told(&value)) {
        return;
    }
    let mut args = std::env::args_os();
    let (name, value) = tuning();
    let mut again = Command::new("/proc/self/exe");
    if let Some(own) = args.next() {
        again.arg0(own);
    }
    let why = again.args(args).env(name, value).exec();
    eprintln!("quorate: goes on without huge pages: cannot start itself again: {why}");
}

/// From now on what the heap grows by is touched by a thread of its own, as `heed` tells it.
pub(super) fn touch_ahead() -> std::io::Result<()> {
    END.store(heap_end(), Ordering::Release);
    let thread = std::thread::Builder::new().name("memory".into()).spawn(touch_what_comes)?;
    let _ = TOUCHER.set(thread.thread().clone());
    Ok(())
}

/// Called by every loop in every round: two loads.
pub(super) fn heed() {
    let Some(toucher) = TOUCHER.get() else { return };
    let end = heap_end();
    if END.load(Ordering::Relaxed) != end {
        END.store(end, Ordering::Release);
        toucher.unpark();
    }
}

fn touch_what_comes() {
    let mut touched = END.load(Ordering::Acquire);
    loop {
        let end = END.load(Ordering::Acquire);
        if end > touched {
            let from = touched.max(end - end.min(AHEAD)).next_multiple_of(PAGE);
            touch(from, end);
        }
        touched = end;
        if END.load(Ordering::Acquire) == end {
            std::thread::park();
        }
    }
}

/// Nothing happens where there is no memory: the heap may have shrunk meanwhile. Where the kernel knows no such advice
/// (before 5.14) a page is cleared when it is used, as it was before.
fn touch(from: usize, end: usize) {
    for at in (from..end).step_by(HUGE) {
        let (at, length) = (at as *mut libc::c_void, HUGE.min(end - at));
        // SAFETY: this advice changes no content and takes no memory away.
        unsafe { libc::madvise(at, length, libc::MADV_POPULATE_WRITE) };
    }
}

fn heap_end() -> usize {
    // SAFETY: a request for nothing changes nothing; the C library answers from what it remembers.
    unsafe { libc::sbrk(0) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_there_and_what_is_not_mapped_does_no_harm() {
        const LENGTH: usize = 2 * HUGE + PAGE;
        let (protection, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which only this test knows, and which nothing points into when it is given back.
        unsafe {
            let memory = libc::mmap(std::ptr::null_mut(), LENGTH, protection, kind, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED);
            let mut there = vec![0u8; LENGTH / PAGE];
            let mut count = || {
                assert_eq!(libc::mincore(memory, LENGTH, there.as_mut_ptr()), 0);
                there.iter().filter(|&&page| page & 1 == 1).count()
            };
            assert_eq!(count(), 0);
            touch(memory as usize, memory as usize + LENGTH);
            assert_eq!(count(), LENGTH / PAGE);
            libc::munmap(memory, LENGTH);
            touch(memory as usize, memory as usize + LENGTH);
        }
    }
}
