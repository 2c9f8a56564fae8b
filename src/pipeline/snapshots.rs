//! A snapshot on its way out of the state, or into it, in slices.

use crate::base::Index;
use crate::journal::snapshot;
use crate::pipeline::parcel::{Base, StoreIn};
use crate::realms::machine::Machine;
use crate::state::snapshot::{Loader, Slice, View};

/// Records visited in one turn.
const VISITS: usize = 1000;
/// Writes under way.
const IN_FLIGHT: usize = 4;
/// Bytes of one read.
const READ: usize = 1 << 20;

/// The state at an index, on its way to the disk.
pub struct Saving {
    base: Base,
    view: View,
    offset: u64,
    in_flight: usize,
    stage: Stage,
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
        Saving { base, view, offset: 0, in_flight: 0, stage: Stage::Writing }
    }

    pub fn base(&self) -> Base {
        self.base
    }

    /// Bytes of the whole.
    pub fn length(&self) -> u64 {
        self.offset
    }

    pub fn wants_a_turn(&self) -> bool {
        match self.stage {
            Stage::Writing => self.in_flight < IN_FLIGHT,
            Stage::Written => self.in_flight == 0,
            Stage::Sealing => false,
        }
    }

    pub fn on_written(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A slice of work; perhaps a chunk to write, or the seal behind the last.
    pub fn step(&mut self) -> Option<StoreIn> {
        if !self.wants_a_turn() {
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
    offset: u64,
    /// It is read for the second time.
    second: bool,
}

/// What a piece of a snapshot came to.
pub enum Progress {
    /// Read on.
    More(StoreIn),
    /// That was the end: the machine it makes.
    Whole(Box<Machine>),
}

impl Loading {
    pub fn new(base: Base, length: u64) -> (Loading, StoreIn) {
        Loading::begin(base, length, false)
    }

    fn begin(base: Base, length: u64, second: bool) -> (Loading, StoreIn) {
        let loading = Loading { base, length, loader: Loader::new(base.index), offset: 0, second };
        let work = loading.read();
        (loading, work)
    }

    /// From the start, once.
    pub fn again(self) -> Option<(Loading, StoreIn)> {
        (!self.second).then(|| Loading::begin(self.base, self.length, true))
    }

    pub fn base(&self) -> Base {
        self.base
    }

    /// False: these bytes answer an earlier loading.
    pub fn expects(&self, index: Index, offset: u64) -> bool {
        index == self.base.index && offset == self.offset
    }

    fn read(&self) -> StoreIn {
        let len = READ.min((self.length - self.offset) as usize);
        StoreIn::SnapshotRead { ticket: 0, index: self.base.index, offset: self.offset, len }
    }

    /// Takes what was read; nothing, if the disk could not read it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, String> {
        self.offset += bytes.len() as u64;
        if bytes.is_empty() {
            return Err(complaint(self.base.index, &"its file cannot be read"));
        }
        let closed = self.loader.feed(bytes).map_err(|why| complaint(self.base.index, &why))?;
        if !closed && self.offset < self.length {
            return Ok(Progress::More(self.read()));
        }
        let loader = std::mem::replace(&mut self.loader, Loader::new(self.base.index));
        let tables = loader.finish().map_err(|why| complaint(self.base.index, &why))?;
        let mut machine = Machine::new();
        machine.install(tables).map_err(|why| complaint(self.base.index, &why))?;
        Ok(Progress::Whole(Box::new(machine)))
    }
}

fn complaint(index: Index, why: &dyn std::fmt::Display) -> String {
    format!("the snapshot at {index} cannot be loaded: {why}")
}
