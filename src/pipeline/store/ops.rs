//! What the store has asked of the disk and not yet heard of. A token names its slot and that slot's use, so a
//! completion of an earlier use is stale and finds nothing.

use super::snapshots::Step;
use crate::base::{Block, Index};
use crate::journal::Write;
use crate::pipeline::ports::{Disk, File};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Body, frame, or the state frame that opens a segment: all of one batch. The fence tells it from a batch
    /// of the same index after a cut.
    Append {
        fence: u32,
        index: Index,
    },
    /// The watermark behind the acknowledgements.
    State(Index),
    Super,
    Repair(Index),
    Create,
    Fetch(u64),
    /// Of which file, which writing of it, which step.
    Snapshot(Index, u32, Step),
}

#[derive(Debug, Default)]
pub struct Ops {
    slots: Vec<(u32, Option<Op>)>,
    free: Vec<u32>,
}

impl Ops {
    pub fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// What is under way, in words.
    pub fn doing(&self) -> String {
        format!("under way {:?}", self.slots.iter().filter_map(|slot| slot.1).take(8).collect::<Vec<_>>())
    }

    /// Ends an operation. `None` for a token that is not in use: a stale completion.
    pub fn take(&mut self, token: u64) -> Option<Op> {
        let (slot, used) = (token as u32, (token >> 32) as u32);
        let entry = self.slots.get_mut(slot as usize).filter(|entry| entry.0 == used)?;
        let op = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(slot);
        Some(op)
    }

    fn token(&mut self, op: Op) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        entry.1 = Some(op);
        u64::from(entry.0) << 32 | u64::from(slot)
    }

    pub fn write(&mut self, op: Op, write: Write, disk: &mut impl Disk) {
        let token = self.token(op);
        disk.write(token, write.file, write.offset, write.block);
    }

    pub fn write_at(&mut self, op: Op, file: File, offset: u64, block: Block, disk: &mut impl Disk) {
        self.write(op, Write { file, offset, block }, disk);
    }

    pub fn read(&mut self, op: Op, file: File, offset: u64, len: usize, disk: &mut impl Disk) {
        let token = self.token(op);
        disk.read(token, file, offset, len);
    }

    pub fn create(&mut self, op: Op, file: File, len: u64, disk: &mut impl Disk) {
        let token = self.token(op);
        disk.create(token, file, len);
    }

    pub fn end(&mut self, op: Op, file: File, len: u64, disk: &mut impl Disk) {
        let token = self.token(op);
        disk.end(token, file, len);
    }

    pub fn remove(&mut self, op: Op, file: File, disk: &mut impl Disk) {
        let token = self.token(op);
        disk.remove(token, file);
    }

    fn any(&self, test: impl Fn(Op) -> bool) -> bool {
        self.slots.iter().any(|entry| entry.1.is_some_and(&test))
    }

    /// Writes into segments that a cut may free.
    pub fn touch_log(&self) -> bool {
        self.any(|op| matches!(op, Op::Append { .. } | Op::State(_) | Op::Repair(_)))
    }

    /// Writes that may go to segments other than the last.
    pub fn touch_old_segments(&self) -> bool {
        self.any(|op| matches!(op, Op::State(_) | Op::Repair(_)))
    }

    pub fn touch_repairs(&self) -> bool {
        self.any(|op| matches!(op, Op::Repair(_)))
    }

    pub fn touch_state(&self) -> bool {
        self.any(|op| matches!(op, Op::State(_)))
    }

    pub fn repairing(&self, index: Index) -> bool {
        self.any(|op| op == Op::Repair(index))
    }
}
