//! A snapshot on its way out of the state, or into it, in slices.

use std::collections::BTreeMap;

use crate::base::{Block, Index, Nanos};
use crate::journal::snapshot;
use crate::pipeline::parcel::{Base, StoreIn};
use crate::realms::machine::Machine;
use crate::state::snapshot::{Loader, Slice, View};

/// Records visited in one turn.
pub const VISITS: usize = 1000;
/// Writes under way.
const IN_FLIGHT: usize = 4;
/// Bytes a second that a snapshot takes of the disk, and bytes beside that for each byte that the log grows meanwhile, so
/// that it ends before the log is full. As fast as it can, it delayed the log's writes by tens of milliseconds.
const RATE: u64 = 256 << 20;
const PER_LOG_BYTE: u64 = 2;
/// Bytes of one read, and how many are under way or wait for their turn: the disk reads on while tables are built.
const READ: usize = 1 << 20;
const READS: usize = 3;

/// The state at an index, on its way to the disk.
pub struct Saving {
    base: Base,
    view: View,
    offset: u64,
    in_flight: usize,
    stage: Stage,
    /// When it was begun, as of its first turn, and how much log has been applied since.
    begun: Option<Nanos>,
    log: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Writing,
    /// All chunks are out; the seal waits for the last writes, since it reads everything back.
    Written,
    Sealing,
}

impl Saving {
    pub fn new(base: Base, view: View) -> Saving {
        let stage = Stage::Writing;
        Saving { base, view, offset: 0, in_flight: 0, stage, begun: None, log: 0 }
    }

    pub fn base(&self) -> Base {
        self.base
    }

    /// Bytes of the whole.
    pub fn length(&self) -> u64 {
        self.offset
    }

    /// When it wants its next turn; never, while it waits for the disk.
    pub fn due(&self) -> Nanos {
        let owed = self.offset.saturating_sub(self.log * PER_LOG_BYTE);
        let due = self.begun.map_or(Nanos(0), |begun| begun.plus(Nanos::for_bytes(owed, RATE)));
        match self.stage {
            Stage::Writing if self.in_flight < IN_FLIGHT => due,
            Stage::Written if self.in_flight == 0 => Nanos(0),
            _ => Nanos::MAX,
        }
    }

    pub fn on_written(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub fn on_log(&mut self, bytes: usize) {
        self.log += bytes as u64;
    }

    /// A slice of work, if one is due; perhaps a chunk to write, or the seal behind the last.
    pub fn step(&mut self, now: Nanos) -> Option<StoreIn> {
        self.begun.get_or_insert(now);
        if self.due() > now {
            return None;
        }
        let index = self.base.index;
        if self.stage == Stage::Written {
            self.stage = Stage::Sealing;
            let seal = snapshot::seal(&self.base);
            return Some(StoreIn::SnapshotSeal { index, length: self.offset, seal });
        }
        match self.view.advance(VISITS) {
            Slice::More => None,
            Slice::Chunk(block) => {
                let offset = self.offset;
                self.offset += block.len() as u64;
                self.in_flight += 1;
                Some(StoreIn::SnapshotChunk { index, offset, block })
            }
            Slice::End => {
                self.stage = Stage::Written;
                None
            }
        }
    }
}

/// A snapshot file on its way into a fresh machine.
pub struct Loading {
    base: Base,
    length: u64,
    loader: Loader,
    /// Where the loader is, and where the next read begins.
    fed: u64,
    asked: u64,
    /// What came before its turn. Reads end in any order.
    early: BTreeMap<u64, Block>,
    under_way: usize,
    /// It cannot be loaded, said once no read is under way any more.
    failed: Option<String>,
    /// It is read for the second time.
    second: bool,
}

impl Loading {
    pub fn new(base: Base, length: u64) -> Loading {
        let (loader, early) = (Loader::new(base.index), BTreeMap::new());
        Loading { base, length, loader, fed: 0, asked: 0, early, under_way: 0, failed: None, second: false }
    }

    /// From the start, once.
    pub fn again(self) -> Option<Loading> {
        (!self.second).then(|| Loading { second: true, ..Loading::new(self.base, self.length) })
    }

    pub fn base(&self) -> Base {
        self.base
    }

    /// The next read that should be under way.
    pub fn read(&mut self) -> Option<StoreIn> {
        let (index, offset) = (self.base.index, self.asked);
        let full = self.under_way + self.early.len() >= READS;
        if full || self.failed.is_some() || offset >= self.length {
            return None;
        }
        let len = READ.min((self.length - offset) as usize);
        self.asked += len as u64;
        self.under_way += 1;
        Some(StoreIn::SnapshotRead { ticket: 0, index, offset, len })
    }

    /// Takes what was read at an offset: nothing, if the disk could not read it. The machine, once all of it is there.
    pub fn take(&mut self, offset: u64, block: Block) -> Result<Option<Box<Machine>>, String> {
        if offset < self.fed || offset >= self.asked || self.early.contains_key(&offset) {
            return Ok(None); // An answer to an earlier loading of the same file.
        }
        self.under_way -= 1;
        self.early.insert(offset, block);
        let mut made = None;
        while self.failed.is_none()
            && let Some(block) = self.early.remove(&self.fed)
        {
            self.fed += block.len() as u64;
            match self.feed(&block) {
                Ok(machine) => made = machine,
                Err(why) => self.failed = Some(complaint(self.base.index, &*why)),
            }
        }
        match self.failed.take_if(|_| self.under_way == 0) {
            Some(why) => Err(why),
            None => Ok(made),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<Option<Box<Machine>>, Box<dyn std::fmt::Display>> {
        if bytes.is_empty() {
            return Err(Box::new("its file cannot be read"));
        }
        let closed = self.loader.feed(bytes).map_err(|why| Box::new(why) as Box<_>)?;
        if !closed && self.fed < self.length {
            return Ok(None);
        }
        let loader = std::mem::replace(&mut self.loader, Loader::new(self.base.index));
        let tables = loader.finish().map_err(|why| Box::new(why) as Box<_>)?;
        let mut machine = Machine::new();
        machine.install(tables).map_err(|why| Box::new(why) as Box<_>)?;
        Ok(Some(Box::new(machine)))
    }
}

fn complaint(index: Index, why: &dyn std::fmt::Display) -> String {
    format!("the snapshot at {index} cannot be loaded: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::Table;

    /// Milliseconds until all is written, if the log grows by so many bytes each millisecond and the disk is quick.
    fn span(log: usize) -> u64 {
        let mut table = Table::new();
        for n in 0..20_000u32 {
            table.put(&n.to_be_bytes(), &[7; 1_600]);
        }
        let base = Base { index: Index(7), ..Base::default() };
        let mut saving = Saving::new(base, View::new(base.index, vec![(1, 0, table.freeze().into())]));
        for ms in 0.. {
            saving.on_log(log);
            while saving.due() <= Nanos::from_millis(ms) {
                match saving.step(Nanos::from_millis(ms)) {
                    Some(StoreIn::SnapshotSeal { length, .. }) => {
                        assert!(length > 32_000_000);
                        return ms;
                    }
                    Some(_) => saving.on_written(),
                    None => {}
                }
            }
        }
        unreachable!()
    }

    #[test]
    fn a_snapshot_keeps_its_pace_and_hurries_when_the_log_grows() {
        // 32 MB at 256 MiB/s.
        assert!((115..=125).contains(&span(0)), "{} ms", span(0));
        assert!((40..=45).contains(&span(256 << 10)), "{} ms", span(256 << 10));
    }

    #[test]
    fn what_cannot_be_read_is_said_once_no_read_is_under_way() {
        let base = Base { index: Index(7), ..Base::default() };
        let mut loading = Loading::new(base, 10 << 20);
        let piece = || Block::copy_of(&[0; READ]);
        for again in [true, false] {
            let mut asked = Vec::new();
            while let Some(StoreIn::SnapshotRead { offset, .. }) = loading.read() {
                asked.push(offset);
            }
            assert_eq!(asked, [0, READ as u64, 2 * READ as u64]);
            // They end in any order, and one answers an earlier loading.
            assert!(matches!(loading.take(asked[1], piece()), Ok(None)));
            assert!(matches!(loading.take(asked[1], piece()), Ok(None)));
            assert!(matches!(loading.take(asked[0], Block::copy_of(&[])), Ok(None)));
            assert!(loading.read().is_none());
            assert!(loading.take(asked[2], piece()).is_err_and(|why| why.contains("cannot be read")));
            match loading.again() {
                Some(second) => loading = second,
                None => return assert!(!again),
            }
        }
        panic!("it is read for a third time");
    }
}
