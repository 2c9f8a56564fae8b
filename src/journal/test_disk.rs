//! A disk in memory for tests of the journal: what is in flight when it crashes may vanish, tear at 512 bytes or
//! land elsewhere; single requests can be made to fail.

use std::collections::BTreeMap;

use crate::base::{Block, BlockMut, PAGE, Rng};
use crate::pipeline::ports::{Disk, DiskEvent, DiskFault, File, Media};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub enum Ask {
    Write { file: File, offset: u64, block: Block },
    Read { file: File, offset: u64, len: usize },
    Create { file: File, len: u64 },
    End { file: File, len: u64 },
    Remove { file: File },
}

/// What becomes of writes in flight when the power goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crash {
    pub vanish: f64,
    pub tear: f64,
}

#[derive(Clone, Default)]
pub struct TestDisk {
    pub files: BTreeMap<File, Vec<u8>>,
    pub asked: Vec<(u64, Ask)>,
    /// The bytes of the last snapshot that was removed, but for its trailer: the next one begins with them.
    pub spare: Option<Vec<u8>>,
    /// Bytes that files may take together.
    pub capacity: Option<u64>,
    /// Writes by `Media` that still succeed; then the power goes in the middle of one.
    pub writes_left: Option<u64>,
    pub read_only: bool,
    pub writes: u64,
    /// Bytes read by `Media`.
    pub read: u64,
}

impl TestDisk {
    fn fault(operation: &'static str, file: File, offset: u64, reason: &str) -> DiskFault {
        DiskFault { operation, file, offset, reason: reason.into() }
    }

    fn put(&mut self, file: File, offset: u64, bytes: &[u8]) {
        let into = self.files.get_mut(&file).expect("written after it was created");
        let end = offset as usize + bytes.len();
        if into.len() < end {
            assert!(matches!(file, File::Snapshot(_)), "{file} is written beyond its end");
            into.resize(end, 0);
        }
        into[offset as usize..end].copy_from_slice(bytes);
    }

    fn has_room(&self, len: u64) -> bool {
        let used: usize = self.files.values().map(Vec::len).sum();
        self.capacity.is_none_or(|capacity| used as u64 + len <= capacity)
    }

    /// Does the `nth` request in flight; its news.
    pub fn complete(&mut self, nth: usize) -> DiskEvent {
        let (token, ask) = self.asked.remove(nth);
        match ask {
            Ask::Write { file, offset, block } => {
                self.put(file, offset, block.padded());
                DiskEvent::Written { token, result: Ok(()) }
            }
            Ask::Read { file, offset, len } => {
                let mut block = BlockMut::zeroed(len);
                let result = Media::read(self, file, offset, block.bytes_mut()).map(|()| block.freeze());
                DiskEvent::Read { token, result }
            }
            Ask::Create { file, len } => {
                let result = Media::create(self, file, len);
                if result.is_ok()
                    && let Some(spare) = self.spare.take_if(|_| matches!(file, File::Snapshot(_)))
                {
                    self.files.insert(file, spare);
                }
                DiskEvent::Created { token, result }
            }
            Ask::End { file, len } => {
                if let Some(bytes) = self.files.get_mut(&file) {
                    bytes.truncate(len as usize);
                }
                DiskEvent::Written { token, result: Ok(()) }
            }
            Ask::Remove { file } => {
                let gone = self.files.remove(&file).filter(|_| matches!(file, File::Snapshot(_)));
                self.spare = gone.map(|bytes| bytes[..bytes.len().saturating_sub(PAGE)].to_vec());
                DiskEvent::Removed { token, result: Ok(()) }
            }
        }
    }

    /// Fails the `nth` request in flight.
    pub fn refuse(&mut self, nth: usize, reason: &str) -> DiskEvent {
        let (token, ask) = self.asked.remove(nth);
        match ask {
            Ask::Write { file, offset, .. } => {
                DiskEvent::Written { token, result: Err(TestDisk::fault("write", file, offset, reason)) }
            }
            Ask::Read { file, offset, .. } => {
                DiskEvent::Read { token, result: Err(TestDisk::fault("read", file, offset, reason)) }
            }
            Ask::Create { file, .. } => {
                DiskEvent::Created { token, result: Err(TestDisk::fault("create", file, 0, reason)) }
            }
            Ask::End { file, len } => {
                DiskEvent::Written { token, result: Err(TestDisk::fault("end", file, len, reason)) }
            }
            Ask::Remove { file } => {
                DiskEvent::Removed { token, result: Err(TestDisk::fault("remove", file, 0, reason)) }
            }
        }
    }

    /// The power goes: each write in flight vanishes, tears or lands whole.
    pub fn crash(&mut self, rng: &mut Rng, how: Crash) {
        for (_, ask) in std::mem::take(&mut self.asked) {
            match ask {
                Ask::Write { file, offset, block } => {
                    let fate = rng.unit();
                    if fate < how.vanish {
                        continue;
                    }
                    let tear = fate < how.vanish + how.tear;
                    self.land(rng, file, offset, block.padded(), tear);
                }
                // Half-made files are short, or there is nothing at all.
                Ask::Create { file, len } if rng.chance(0.5) => {
                    let made = rng.below(len / PAGE as u64 + 1) as usize * PAGE;
                    self.files.insert(file, vec![0; made]);
                }
                Ask::Remove { file } if rng.chance(0.5) => {
                    self.files.remove(&file);
                }
                _ => {}
            }
        }
    }

    fn land(&mut self, rng: &mut Rng, file: File, offset: u64, bytes: &[u8], tear: bool) {
        for (nth, sector) in bytes.chunks(SECTOR).enumerate() {
            if !tear || rng.chance(0.5) {
                self.put(file, offset + (nth * SECTOR) as u64, sector);
            }
        }
    }
}

impl Disk for TestDisk {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        assert!(offset.is_multiple_of(PAGE as u64));
        let end = offset + block.padded().len() as u64;
        for (_, ask) in &self.asked {
            if let Ask::Write { file: other, offset: at, block } = ask {
                let apart = *other != file || end <= *at || offset >= *at + block.padded().len() as u64;
                assert!(apart, "{file} at {offset} is written again before the old write came back");
            }
        }
        self.asked.push((token, Ask::Write { file, offset, block }));
    }

    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        self.asked.push((token, Ask::Read { file, offset, len }));
    }

    fn create(&mut self, token: u64, file: File, len: u64) {
        self.asked.push((token, Ask::Create { file, len }));
    }

    fn end(&mut self, token: u64, file: File, len: u64) {
        self.asked.push((token, Ask::End { file, len }));
    }

    fn remove(&mut self, token: u64, file: File) {
        self.asked.push((token, Ask::Remove { file }));
    }
}

impl Media for TestDisk {
    fn files(&mut self) -> Result<Vec<(File, u64)>, DiskFault> {
        Ok(self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect())
    }

    fn read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        let from =
            self.files.get(&file).and_then(|bytes| bytes.get(offset as usize..offset as usize + into.len()));
        let from = from.ok_or_else(|| TestDisk::fault("read", file, offset, "beyond the end"))?;
        into.copy_from_slice(from);
        self.read += into.len() as u64;
        Ok(())
    }

    fn write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault> {
        if self.read_only {
            return Err(TestDisk::fault("write", file, offset, "read-only file system"));
        }
        self.writes += 1;
        match &mut self.writes_left {
            Some(0) => return Err(TestDisk::fault("write", file, offset, "the power is gone")),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    // The last one tears: its odd sectors land.
                    for (nth, sector) in
                        block.padded().chunks(SECTOR).enumerate().filter(|(nth, _)| nth % 2 == 1)
                    {
                        self.put(file, offset + (nth * SECTOR) as u64, sector);
                    }
                    return Err(TestDisk::fault("write", file, offset, "the power is gone"));
                }
            }
            None => {}
        }
        self.put(file, offset, block.padded());
        Ok(())
    }

    fn create(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        if self.read_only {
            return Err(TestDisk::fault("create", file, 0, "read-only file system"));
        }
        if !self.has_room(len) {
            return Err(TestDisk::fault("create", file, 0, "no space left on device"));
        }
        self.files.insert(file, vec![0; len as usize]);
        Ok(())
    }

    fn remove(&mut self, file: File) -> Result<(), DiskFault> {
        self.files.remove(&file);
        Ok(())
    }
}
