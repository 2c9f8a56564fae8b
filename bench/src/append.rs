//! What synced direct writes cost here: the table behind the log's way of writing.
//!
//! A file of written zeros is overwritten in order, as the log overwrites its segments. Each row keeps a number
//! of writes in flight; each write counts once it is on stable media.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, opcode, squeue, types};
use quorate::base::{Block, BlockMut};

#[derive(clap::Args)]
pub struct Args {
    /// Where the scratch file is made; the disk to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Seconds per row.
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
    /// MiB of the scratch file.
    #[arg(long, default_value_t = 128)]
    mib: u64,
}

/// How a write is made durable, and how the kernel is told of its memory.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Dsync,
    DsyncFixed,
    Linked,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Dsync => "RWF_DSYNC",
            Way::DsyncFixed => "RWF_DSYNC, registered file and buffer",
            Way::Linked => "write, linked fdatasync",
        }
    }
}

/// Ends the scratch file with the program.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn run(args: Args) -> Result<(), String> {
    let path = args.dir.join(format!("append-{}.scratch", std::process::id()));
    let fault = |e: io::Error| format!("{}: {e}; pass --dir of a disk that takes O_DIRECT", path.display());
    let _scratch = Scratch(path.clone());
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .map_err(fault)?;
    let size = args.mib << 20;
    let zeros = BlockMut::zeroed(1 << 20).freeze();
    for at in (0..size).step_by(1 << 20) {
        file.write_all_at(zeros.padded(), at).map_err(fault)?;
    }
    file.sync_all().map_err(fault)?;

    println!("| sync | KiB | in flight | writes/s | MiB/s | p50 us | p99 us | CPU us per write |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for kib in [4, 64] {
        for way in [Way::Dsync, Way::DsyncFixed, Way::Linked] {
            for depth in [1, 2, 4, 8] {
                let row = measure(&file, size, kib << 10, depth, way, args.secs).map_err(fault)?;
                let rate = row.micros.len() as f64 / row.secs;
                println!(
                    "| {} | {kib} | {depth} | {rate:.0} | {:.0} | {} | {} | {:.1} |",
                    way.name(),
                    rate * kib as f64 / 1024.0,
                    row.micros.value_at_quantile(0.5),
                    row.micros.value_at_quantile(0.99),
                    row.cpu_us / row.micros.len() as f64,
                );
            }
        }
    }
    Ok(())
}

struct Row {
    micros: Histogram<u64>,
    secs: f64,
    cpu_us: f64,
}

fn measure(file: &File, size: u64, len: usize, depth: u32, way: Way, secs: f64) -> io::Result<Row> {
    let mut ring: IoUring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().build(32)?;
    let blocks: Vec<Block> = (0..depth).map(|n| Block::copy_of(&vec![n as u8 + 1; len])).collect();
    if way == Way::DsyncFixed {
        let vecs: Vec<libc::iovec> = blocks
            .iter()
            .map(|b| libc::iovec { iov_base: b.padded().as_ptr() as *mut _, iov_len: len })
            .collect();
        // SAFETY: `blocks` outlives the ring's use of them: every write is awaited before this function ends.
        unsafe { ring.submitter().register_buffers(&vecs)? };
        ring.submitter().register_files(&[file.as_raw_fd()])?;
    }
    let mut row = Row {
        micros: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("3 digits"),
        secs: 0.0,
        cpu_us: 0.0,
    };
    let (begin, cpu, mut at) = (Instant::now(), cpu_us(), 0);
    let end = begin + Duration::from_secs_f64(secs);
    let mut started = vec![begin; depth as usize];
    let mut idle: Vec<u64> = (0..u64::from(depth)).collect();
    let mut busy = 0;
    loop {
        while Instant::now() < end
            && let Some(n) = idle.pop()
        {
            started[n as usize] = Instant::now();
            push(&mut ring, way, n, file, &blocks[n as usize], at);
            at = (at + len as u64) % size;
            busy += 1;
        }
        if busy == 0 {
            break;
        }
        ring.submit_and_wait(1)?;
        let completed: Vec<_> = ring.completion().map(|e| (e.user_data(), e.result())).collect();
        for (data, result) in completed {
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result));
            }
            if data == WRITE_OF_PAIR {
                continue;
            }
            assert!(way == Way::Linked || result as usize == len, "short write: {result} of {len}");
            row.micros.saturating_record(started[data as usize].elapsed().as_micros() as u64);
            idle.push(data);
            busy -= 1;
        }
    }
    row.secs = begin.elapsed().as_secs_f64();
    row.cpu_us = cpu_us() - cpu;
    Ok(row)
}

/// Marks the write of a pair, whose sync is what counts.
const WRITE_OF_PAIR: u64 = u64::MAX;

fn push(ring: &mut IoUring, way: Way, n: u64, file: &File, block: &Block, at: u64) {
    let fd = types::Fd(file.as_raw_fd());
    let (ptr, len) = (block.padded().as_ptr(), block.padded().len() as u32);
    let first = match way {
        Way::Dsync => {
            opcode::Write::new(fd, ptr, len).offset(at).rw_flags(libc::RWF_DSYNC).build().user_data(n)
        }
        Way::DsyncFixed => opcode::WriteFixed::new(types::Fixed(0), ptr, len, n as u16)
            .offset(at)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .user_data(n),
        Way::Linked => opcode::Write::new(fd, ptr, len)
            .offset(at)
            .build()
            .flags(squeue::Flags::IO_LINK)
            .user_data(WRITE_OF_PAIR),
    };
    let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build().user_data(n);
    let pair = [first, sync];
    let entries = if way == Way::Linked { &pair[..] } else { &pair[..1] };
    // SAFETY: block and file live until the completion is reaped, which `measure` waits for.
    unsafe { ring.submission().push_multiple(entries) }.expect("the queue holds every row's depth");
}

/// User and system time of this process so far, kernel workers of its rings included.
fn cpu_us() -> f64 {
    // SAFETY: rusage is plain numbers, for which zero is valid; the call fills it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}
