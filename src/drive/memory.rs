//! How the process gets its memory: in huge pages where the kernel has them to give.
//!
//! The state is gigabytes in small allocations, read at random: with 4 KiB pages every access first waits for the
//! page tables, and a killed process's memory takes so long to be taken apart that its peers hear of its end late.
//! glibc asks for huge pages if it is told to before the process starts, and only then: so it starts itself again.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "GLIBC_TUNABLES";

/// - `hugetlb=1`: heap in (transparent) huge pages;
/// - `arena_max=1`: one heap, which grows by whole huge pages; others grow too finely to get any;
/// - the thresholds: a batch's memory is used again instead of being mapped, zeroed and unmapped each time.
const WANTED: &str = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:\
    glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=134217728";

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
