//! The same disk before a loop runs: recovery waits for each call, and the machine may die in the midst of a write.

use super::{VirtualDisk, fault};
use crate::base::{Block, PAGE};
use crate::pipeline::ports::{DiskFault, File, Media};

impl Media for VirtualDisk {
    fn files(&mut self) -> Result<Vec<(File, u64)>, DiskFault> {
        Ok(self.platter.iter().map(|(file, image)| (*file, image.len() as u64)).collect())
    }

    fn read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        if self.crashed {
            return Err(fault("read", file, offset, "the machine is down"));
        }
        self.finish_read(file, offset, into)
    }

    fn write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault> {
        assert!(offset.is_multiple_of(PAGE as u64), "{file}: a direct write at {offset} is not on a page");
        if !self.crashed && self.count_down() {
            self.land_at_crash(file, offset, block);
        }
        if self.crashed {
            return Err(fault("write", file, offset, "the machine is down"));
        }
        self.finish_write(file, offset, block)
    }

    fn create(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        if self.crashed || self.count_down() {
            return Err(fault("create", file, 0, "the machine is down"));
        }
        self.finish_create(file, len)
    }

    fn remove(&mut self, file: File) -> Result<(), DiskFault> {
        if self.crashed || self.count_down() {
            return Err(fault("remove", file, 0, "the machine is down"));
        }
        self.platter.remove(&file);
        Ok(())
    }
}
