//! `Disk` on the ring: direct reads and synced direct writes, many at once.
//!
//! Neither files nor buffers are registered: measured (`bench append`), that saves about 2 us of 18 us CPU per
//! write, which a batch of commands shares, and it would nail the log's memory to one place and count it as locked.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::{opcode, types};

use crate::base::{Block, BlockMut, Nanos, PAGE};
use crate::drive::dir::{Dir, fault};
use crate::drive::ring::kernel::{Done, Kind, tag};
use crate::drive::ring::{Ready, Ring};
use crate::drive::slow::Slow;
use crate::pipeline::ports::{Disk, DiskEvent, DiskFault, File};
use crate::pipeline::station::Station;

/// What an operation moves, and where its bytes are.
enum Cargo {
    Out(Block),
    In(BlockMut),
}

struct Op {
    token: u64,
    file: File,
    offset: u64,
    /// Bytes moved so far.
    done: usize,
    len: usize,
    cargo: Cargo,
    /// Keeps the file open while the kernel works on it, whatever becomes of its name.
    handle: Arc<std::fs::File>,
}

/// The files and operations of one ring.
pub struct Files {
    dir: Arc<Dir>,
    pub slow: Slow,
    /// Few (the log's segments and a snapshot), so a search in order finds them soonest.
    open: Vec<(File, Arc<std::fs::File>)>,
    ops: Vec<Option<Op>>,
    free: Vec<u32>,
}

impl Files {
    pub fn new(dir: Arc<Dir>, slow: Slow) -> Files {
        Files { dir, slow, open: Vec::new(), ops: Vec::new(), free: Vec::new() }
    }

    fn handle(&mut self, file: File) -> io::Result<Arc<std::fs::File>> {
        if let Some((_, handle)) = self.open.iter().find(|(name, _)| *name == file) {
            return Ok(handle.clone());
        }
        let handle = Arc::new(self.dir.open_file(file)?);
        self.open.push((file, handle.clone()));
        Ok(handle)
    }

    fn insert(&mut self, op: Op) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.ops[slot as usize] = Some(op);
            return slot;
        }
        self.ops.push(Some(op));
        self.ops.len() as u32 - 1
    }

    fn take(&mut self, slot: u32) -> Op {
        self.free.push(slot);
        self.ops[slot as usize].take().expect("an operation completes once")
    }
}

impl Disk for Ring {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        let len = block.padded().len();
        self.counters.disk_writes.add(1);
        self.counters.disk_write_bytes.add(len as u64);
        self.begin(token, file, offset, len, Cargo::Out(block));
    }

    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        self.counters.disk_reads.add(1);
        self.begin(token, file, offset, len, Cargo::In(BlockMut::zeroed(len)));
    }

    fn create(&mut self, token: u64, file: File, len: u64) {
        self.files().slow.create(token, file, len);
    }

    fn end(&mut self, token: u64, file: File, len: u64) {
        self.files().slow.end(token, file, len);
    }

    fn remove(&mut self, token: u64, file: File) {
        let files = self.files();
        files.open.retain(|(name, _)| *name != file);
        files.slow.remove(token, file);
    }
}

impl Ring {
    fn files(&mut self) -> &mut Files {
        self.files.as_mut().expect("a loop whose station uses the disk is given a directory")
    }

    fn begin(&mut self, token: u64, file: File, offset: u64, len: usize, cargo: Cargo) {
        assert!(
            offset.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE) && len > 0,
            "whole pages only"
        );
        match self.files().handle(file) {
            Ok(handle) => {
                let slot = self.files().insert(Op { token, file, offset, done: 0, len, cargo, handle });
                self.start_op(slot);
            }
            Err(e) => {
                let (operation, result) = (cargo.verb(), fault("open", file, offset, e));
                self.ready.push_back(Ready::Disk(cargo.event(token, Err(DiskFault { operation, ..result }))));
            }
        }
    }

    fn start_op(&mut self, slot: u32) {
        let files = self.files.as_mut().expect("checked when it began");
        let op = files.ops[slot as usize].as_mut().expect("an operation under way");
        let (fd, at) = (types::Fd(op.handle.as_raw_fd()), op.offset + op.done as u64);
        let rest = (op.len - op.done) as u32;
        let entry = match &mut op.cargo {
            Cargo::Out(block) => opcode::Write::new(fd, block.padded()[op.done..].as_ptr(), rest)
                .offset(at)
                .rw_flags(libc::RWF_DSYNC)
                .build(),
            Cargo::In(into) => {
                opcode::Read::new(fd, into.bytes_mut()[op.done..].as_mut_ptr(), rest).offset(at).build()
            }
        };
        // SAFETY: the operation keeps its block, which nobody changes, or its own buffer, which nobody else has,
        // and its file until its completion takes it from the table.
        unsafe { self.kernel.push(entry.user_data(tag(Kind::Disk, slot))) };
        self.disk_pending += 1;
    }

    pub(super) fn on_disk<S: Station>(&mut self, now: Nanos, done: Done, station: &mut S) {
        self.disk_pending -= 1;
        let op = self.files().ops[done.slot as usize].as_mut().expect("an operation under way");
        if done.result > 0 {
            op.done += done.result as usize;
            if op.done < op.len && op.done.is_multiple_of(PAGE) {
                return self.start_op(done.slot);
            }
        }
        let op = self.files().take(done.slot);
        let result = if op.done == op.len {
            Ok(())
        } else {
            let why = match done.result {
                ..0 => io::Error::from_raw_os_error(-done.result),
                _ => io::Error::other(format!("only {} of {} bytes were moved", op.done, op.len)),
            };
            Err(fault(op.cargo.verb(), op.file, op.offset, why))
        };
        station.on_disk(now, op.cargo.event(op.token, result), self);
    }
}

impl Cargo {
    fn verb(&self) -> &'static str {
        match self {
            Cargo::Out(_) => "write",
            Cargo::In(_) => "read",
        }
    }

    fn event(self, token: u64, result: Result<(), DiskFault>) -> DiskEvent {
        match self {
            Cargo::Out(_) => DiskEvent::Written { token, result },
            Cargo::In(into) => DiskEvent::Read { token, result: result.map(|()| into.freeze()) },
        }
    }
}
