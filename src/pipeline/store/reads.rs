//! Reading batches back for those who lag. Every batch is checked against the head in the table; one that fails
//! twice is damaged, and from then on unknown: it is not served, and waits for an intact copy.

use super::Store;
use super::ops::Op;
use crate::base::planted::{self, Bug};
use crate::base::{Block, Index, PAGE};
use crate::journal::{Batch, BatchHead};
use crate::pipeline::parcel::StoreOut;
use crate::pipeline::ports::{Disk, File};

/// One read takes neighbours together up to this.
const READ_MAX: usize = 1 << 20;

/// Somebody's fetch, run by run: batches that lie end to end are read at once.
#[derive(Debug)]
pub struct Fetch {
    /// Its own number: one asker may have several under way, and each reads its own run.
    id: u64,
    ticket: u64,
    next: Index,
    left: usize,
    batches: Vec<Batch>,
    /// Heads of the run being read.
    run: Vec<BatchHead>,
    /// The run is being read for the second time.
    again: bool,
}

impl Store {
    pub(super) fn fetches(&self) -> usize {
        self.reads.len()
    }

    pub(super) fn fetch(&mut self, ticket: u64, from: Index, bytes: usize, disk: &mut impl Disk) {
        self.next_fetch += 1;
        let (id, batches, run) = (self.next_fetch, Vec::new(), Vec::new());
        self.reads.push(Fetch { id, ticket, next: from, left: bytes, batches, run, again: false });
        self.read_run(self.reads.len() - 1, READ_MAX, disk);
    }

    /// Asks for the next run, or answers if there is none.
    fn read_run(&mut self, nth: usize, most: usize, disk: &mut impl Disk) {
        let fetch = &mut self.reads[nth];
        fetch.run.clear();
        let mut start = None;
        let mut total = 0;
        while total < fetch.left.min(most) {
            let index = Index(fetch.next.0 + fetch.run.len() as u64);
            // What is still in flight cannot be read back yet. What is damaged is tried once more if it is asked for.
            let lies = self.log.lies(index).or_else(|| {
                let again = index == fetch.next && fetch.batches.is_empty() && fetch.run.is_empty();
                self.log.lay(index).filter(|_| again && !self.repairs.contains_key(&index))
            });
            let Some((head, file, page)) = lies.filter(|_| index <= self.written) else {
                break;
            };
            let (run_file, run_page) = *start.get_or_insert((file, page));
            let padded = (head.length as usize).next_multiple_of(PAGE);
            let adjoins = file == run_file && page as usize == run_page as usize + total / PAGE;
            if !adjoins || (total > 0 && total + padded > most) {
                break;
            }
            fetch.run.push(head);
            total += padded;
        }
        match start {
            Some((file, page)) => {
                let (op, offset) = (Op::Fetch(fetch.id), u64::from(page) * PAGE as u64);
                self.ops.read(op, File::Segment(file), offset, total, disk);
            }
            None => {
                let damaged = Some(fetch.next).filter(|index| self.unknown.contains(index));
                self.answer(nth, damaged);
            }
        }
    }

    pub(super) fn on_fetched(&mut self, id: u64, block: Option<Block>, disk: &mut impl Disk) {
        let Some(nth) = self.reads.iter().position(|fetch| fetch.id == id) else { return };
        let mut at = 0;
        let run = std::mem::take(&mut self.reads[nth].run);
        for head in &run {
            let length = head.length as usize;
            let bytes = block.as_ref().and_then(|block| block.get(at..at + length));
            let batch = bytes.and_then(|bytes| Batch::open(Block::copy_of(bytes)).ok());
            // It may have been cut or recycled since: then the fetch ends here, and nothing is damaged.
            let still = self.log.slot(head.index).is_some_and(|slot| slot.head.as_ref() == Some(head));
            let again = &mut self.reads[nth].again;
            match batch.filter(|batch| batch.head() == head || planted::is(Bug::SkipPositionCheck)) {
                _ if !still => return self.answer(nth, None),
                Some(batch) => {
                    if !self.repairs.contains_key(&head.index) && self.unknown.remove(&head.index) {
                        self.log.set_present(head.index);
                        self.raise_durable();
                    }
                    let fetch = &mut self.reads[nth];
                    fetch.batches.push(batch);
                    fetch.next = head.index.next();
                    fetch.left = fetch.left.saturating_sub(length);
                    fetch.again = false;
                }
                // Once more, and alone: the fault may have been the reading's, or a neighbour's.
                None if !*again => {
                    *again = true;
                    return self.read_run(nth, 1, disk);
                }
                None => {
                    self.unknown.insert(head.index);
                    self.log.set_unknown(head.index);
                    return self.answer(nth, Some(head.index));
                }
            }
            at += length.next_multiple_of(PAGE);
        }
        if self.reads[nth].left == 0 {
            return self.answer(nth, None);
        }
        self.read_run(nth, READ_MAX, disk);
    }

    fn answer(&mut self, nth: usize, damaged: Option<Index>) {
        let Fetch { ticket, batches, .. } = self.reads.remove(nth);
        self.out.push_back(StoreOut::Fetched { ticket, batches, damaged });
    }
}
