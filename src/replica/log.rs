//! The log as agreement sees it: what stands at every index, and the recent batches themselves.

use std::collections::{BTreeSet, VecDeque};

use crate::base::planted::{self, Bug};
use crate::base::{Chain, Epoch, Index, Nanos};
use crate::journal::{Batch, BatchHead, SlotState};
use crate::pipeline::parcel::Base;
use crate::replica::{Claim, Config};

/// One index above the base.
#[derive(Clone, Debug)]
struct Slot {
    /// `None`: the disk holds something here that nobody can read, not even its head.
    head: Option<BatchHead>,
    /// In memory while it may be wanted soon.
    batch: Option<Batch>,
}

#[derive(Clone, Debug)]
pub struct Log {
    base: Base,
    slots: VecDeque<Slot>,
    /// Slots whose content this disk has lost. Voted for as if held, never denied.
    unknown: BTreeSet<Index>,
    /// Of these, the ones that power loss may have torn before this disk ever held them whole.
    torn: BTreeSet<Index>,
    /// Slots whose content is here again, in memory, and on its way to the disk.
    mending: BTreeSet<Index>,
    /// Configurations by the index that brought them in; the first is the one of the base. Never empty.
    configs: Vec<(Index, Config)>,
    /// Bytes of the batches in memory, and the index up to which none is.
    cached: usize,
    evicted: Index,
}

/// What a batch takes in memory: whole pages. Counted by its bytes alone, small batches took ten times their budget.
fn memory(batch: &Batch) -> usize {
    batch.block().padded().len()
}

impl Log {
    pub fn new(base: Base, config_at: Index, config: Config) -> Log {
        Log {
            base,
            slots: VecDeque::new(),
            unknown: BTreeSet::new(),
            torn: BTreeSet::new(),
            mending: BTreeSet::new(),
            configs: vec![(config_at, config)],
            cached: 0,
            evicted: base.index,
        }
    }

    pub fn base(&self) -> Base {
        self.base
    }

    pub fn last(&self) -> Index {
        Index(self.base.index.0 + self.slots.len() as u64)
    }

    fn slot(&self, index: Index) -> Option<&Slot> {
        self.slots.get(index.0.checked_sub(self.base.index.0 + 1)? as usize)
    }

    fn slot_mut(&mut self, index: Index) -> Option<&mut Slot> {
        self.slots.get_mut(index.0.checked_sub(self.base.index.0 + 1)? as usize)
    }

    pub fn head(&self, index: Index) -> Option<&BatchHead> {
        self.slot(index)?.head.as_ref()
    }

    /// The epoch of the batch at `index`, where it can be told.
    pub fn epoch(&self, index: Index) -> Option<Epoch> {
        if index == self.base.index {
            return Some(self.base.epoch);
        }
        self.head(index).map(|head| head.epoch)
    }

    pub fn chain(&self, index: Index) -> Option<Chain> {
        if index == self.base.index {
            return Some(self.base.chain);
        }
        self.head(index).map(|head| head.chain)
    }

    /// The batch, if it is in memory.
    pub fn batch(&self, index: Index) -> Option<&Batch> {
        self.slot(index)?.batch.as_ref()
    }

    /// Cluster time as of the last batch.
    pub fn ticks(&self) -> Nanos {
        self.slots.iter().rev().find_map(|slot| slot.head).map_or(self.base.ticks, |head| head.ticks)
    }

    /// Appends. The batch continues the chain, as its checker made sure.
    pub fn push(&mut self, batch: Batch) {
        assert_eq!(batch.index(), self.last().next(), "the log has no gaps");
        if let Some(chain) = self.chain(self.last()) {
            assert_eq!(batch.head().prev, chain, "the log is one chain");
        }
        self.note_config(&batch);
        self.cached += memory(&batch);
        self.slots.push_back(Slot { head: Some(*batch.head()), batch: Some(batch) });
    }

    /// Takes over what recovery found at the next index.
    pub fn restore(&mut self, head: Option<BatchHead>, state: SlotState) {
        self.slots.push_back(Slot { head, batch: None });
        if let SlotState::Unknown { torn } = state {
            self.unknown.insert(self.last());
            self.torn.extend(torn.then_some(self.last()));
        }
        self.evicted = self.last();
    }

    /// Reads a configuration out of a batch that holds one.
    pub fn note_config(&mut self, batch: &Batch) {
        // The superblock and a snapshot's offer may know a later one than this batch, which is decided then.
        if batch.has(crate::journal::flag::CONFIG) && self.config_at() < batch.index() {
            let config = crate::replica::member::config_of(batch);
            self.configs.push((batch.index(), config));
        }
    }

    /// Forgets all above `after`.
    pub fn cut(&mut self, after: Index) {
        assert!(after >= self.base.index, "what a snapshot holds is never cut");
        while self.last() > after {
            let slot = self.slots.pop_back().expect("the log is longer than `after`");
            self.cached -= slot.batch.as_ref().map_or(0, memory);
        }
        self.unknown.split_off(&after.next());
        self.torn.split_off(&after.next());
        self.mending.split_off(&after.next());
        self.configs.retain(|&(at, _)| at <= after || planted::is(Bug::KeepTruncatedConfig));
        assert!(!self.configs.is_empty(), "the base's configuration is never cut");
        self.evicted = self.evicted.min(after);
    }

    /// The log begins behind a newer snapshot; what it covers is dropped.
    pub fn rebase(&mut self, base: Base) {
        if base.index <= self.base.index {
            return;
        }
        while self.base.index < base.index {
            let Some(slot) = self.slots.pop_front() else { break };
            self.base.index = self.base.index.next();
            self.cached -= slot.batch.as_ref().map_or(0, memory);
        }
        self.base = base;
        self.unknown = self.unknown.split_off(&base.index.next());
        self.torn = self.torn.split_off(&base.index.next());
        self.mending = self.mending.split_off(&base.index.next());
        let in_force = self.configs.iter().rposition(|&(at, _)| at <= base.index).unwrap_or(0);
        self.configs.drain(..in_force);
        self.evicted = self.evicted.max(base.index);
    }

    /// The newest configuration in the log: it is in force from the moment it is appended.
    pub fn config(&self) -> &Config {
        &self.configs.last().expect("never empty").1
    }

    pub fn config_at(&self) -> Index {
        self.configs.last().expect("never empty").0
    }

    /// The configuration in force at an index, and where it came in.
    pub fn config_of(&self, index: Index) -> &(Index, Config) {
        let at = self.configs.iter().rposition(|&(at, _)| at <= index).unwrap_or(0);
        &self.configs[at]
    }

    pub fn configs(&self) -> &[(Index, Config)] {
        &self.configs
    }

    pub fn first_unknown(&self) -> Option<Index> {
        self.unknown.first().copied()
    }

    /// The first slot that this disk does not hold whole, though something was written there.
    pub fn first_missing(&self) -> Option<Index> {
        self.first_unknown().into_iter().chain(self.mending.first().copied()).min()
    }

    pub fn all_missing(&self) -> impl Iterator<Item = Index> {
        self.unknown.iter().chain(&self.mending).copied()
    }

    /// The disk holds the slot again.
    pub fn mended(&mut self, index: Index) {
        self.mending.remove(&index);
    }

    pub fn unknown_count(&self) -> u64 {
        self.unknown.len() as u64
    }

    /// A slot's content turned out to be damaged. Its head stays known.
    pub fn lose(&mut self, index: Index) {
        self.unknown.insert(index);
        self.torn.remove(&index);
    }

    /// Whether power loss may have torn the first unknown slot: it lies above all that this disk is known to have
    /// held.
    pub fn is_first_torn(&self) -> bool {
        self.first_unknown().is_some_and(|index| self.torn.contains(&index))
    }

    /// Its content is known again, and the disk does not hold it yet.
    pub fn is_mending(&self, index: Index) -> bool {
        self.mending.contains(&index)
    }

    pub fn is_unknown(&self, index: Index) -> bool {
        self.unknown.contains(&index)
    }

    /// True if `batch` is certainly what stood in the unknown slot: its own head says so, or its neighbours do.
    pub fn fits(&self, batch: &Batch) -> bool {
        let index = batch.index();
        if let Some(chain) = self.chain(index) {
            return chain == batch.chain();
        }
        let before = self.chain(index.prev()) == Some(batch.head().prev);
        let after = self.head(index.next()).is_some_and(|head| head.prev == batch.chain());
        before && after
    }

    /// True if `batch`, which comes from the leader behind a place where both logs are the same, cannot be what
    /// stood in the unknown slot.
    pub fn contradicts(&self, batch: &Batch) -> bool {
        let index = batch.index();
        self.chain(index).is_some_and(|chain| chain != batch.chain())
            || self.chain(index.prev()).is_some_and(|chain| chain != batch.head().prev)
            || self.head(index.next()).is_some_and(|next| next.prev != batch.chain())
    }

    /// Whether this log, as far as it can be read, goes on from there.
    pub fn continues(&self, base: &Base) -> bool {
        match self.chain(base.index) {
            Some(chain) => chain == base.chain,
            None => match self.head(base.index.next()) {
                Some(next) => next.prev == base.chain,
                // Unreadable, so nothing contradicts: what may follow is not given up.
                None => base.index <= self.last(),
            },
        }
    }

    /// Its content is on its way to the disk.
    pub fn mend(&mut self, index: Index) {
        self.mending.insert(index);
    }

    /// An unknown slot has its content again. It counts as durable when the disk holds it: see `mended`.
    pub fn resolve(&mut self, batch: &Batch) {
        let index = batch.index();
        assert!(self.unknown.remove(&index), "only an unknown slot is resolved");
        self.torn.remove(&index);
        self.mend(index);
        let slot = self.slot_mut(index).expect("an unknown slot is in the log");
        slot.head = Some(*batch.head());
        // What the superblock knew of a later one is decided, and so is all before it: those are not looked at any more.
        let counts = index > self.configs[0].0 && !self.configs.iter().any(|&(at, _)| at == index);
        if batch.has(crate::journal::flag::CONFIG) && counts {
            self.configs.push((index, crate::replica::member::config_of(batch)));
            self.configs.sort_by_key(|&(at, _)| at);
        }
    }

    /// What this node says of its log. Of an unknown slot it says the most it may have been.
    pub fn claim(&self, promised: Epoch) -> Claim {
        // Epochs only grow along a log: the last batch's is the history, whatever is lost below it.
        Claim { history: self.epoch(self.last()).unwrap_or(promised), last: self.last() }
    }

    /// The highest index at or below `from` whose epoch is at most `epoch`.
    pub fn last_at_most(&self, from: Index, epoch: Epoch) -> Index {
        let mut index = from.min(self.last());
        while index > self.base.index && self.epoch(index).is_none_or(|here| here > epoch) {
            index = index.prev();
        }
        index
    }

    /// A batch read back from the disk, kept for a while.
    pub fn remember(&mut self, batch: &Batch) {
        let index = batch.index();
        if self.chain(index) != Some(batch.chain()) || index == self.base.index {
            return; // The log has changed since it was asked for.
        }
        let bytes = memory(batch);
        let slot = self.slot_mut(index).expect("its chain was just read");
        if slot.batch.is_none() {
            slot.batch = Some(batch.clone());
            self.cached += bytes;
            self.evicted = self.evicted.min(index.prev());
        }
    }

    /// Lets go of batches up to `upto` until at most `budget` bytes are in memory.
    pub fn evict(&mut self, upto: Index, budget: usize) {
        while self.cached > budget && self.evicted < upto {
            self.evicted = self.evicted.next();
            let index = self.evicted;
            if let Some(batch) = self.slot_mut(index).and_then(|slot| slot.batch.take()) {
                self.cached -= memory(&batch);
            }
        }
    }
}
