//! Opening: what is on this disk, slot by slot, and what may be said of it to others.
//!
//! A slot is *present* if its body is whole and is the batch that the latest frame on it names. It is *cut*, and
//! the log ends before it, only where power loss explains everything: body and frame both bad, above every durable
//! watermark, within the window that may have been in flight. Anything else bad is *unknown*: something was here,
//! and this node never denies it. With one voter nobody else can know better: an unknown slot above the
//! watermark is cut, one below it stops the server.
//!
//! Opening writes frames that were found damaged beside whole bodies, then the superblock: a new life, a new era
//! that begins where this log ends. A crash between any two of these writes changes nothing that the next
//! recovery decides.

use std::collections::BTreeSet;

use crate::base::planted::{self, Bug};
use crate::base::{Block, BlockMut, Chain, ClusterId, Epoch, Index, NodeId, PAGE, Voice};
use crate::journal::layout::{Params, Place, STATE_SLOTS, Segment, pages};
use crate::journal::log::{Held, Log, Slot, SlotState};
use crate::journal::scan::{self, FileSeen, Testimony, Window, Word};
use crate::journal::superblock::{self, FILE_BYTES, Super};
use crate::journal::{BATCH_MAX, Batch, BatchHead, OpenError, flag};
use crate::pipeline::parcel::{Base, Marks};
use crate::pipeline::ports::{DiskFault, File, Media};

/// A directory, opened: what this node knows, before it says anything to anybody.
#[derive(Debug)]
pub struct Opened {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// With this life counted, already durable.
    pub marks: Marks,
    /// Goes to `Store::new`. Its `slots` are all live indices, from `first` to `last`.
    pub log: Log,
    /// Snapshot files present, sealed or not; `snapshot::check` tells.
    pub snapshots: Vec<Index>,
    pub report: Report,
}

/// What recovery found, for the operator's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub segments: usize,
    pub free_segments: usize,
    pub present: u64,
    pub unknown: Vec<Index>,
    /// The log was ended behind this index: what was above had never been acknowledged.
    pub cut: Option<Cut>,
    /// Frames found damaged beside whole bodies, and rewritten.
    pub frames_healed: u64,
    pub bad_frames: u64,
    pub bad_supers: u64,
    pub unreadable_pages: u64,
    pub watermark: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub after: Index,
    /// Slots dropped of which something was left.
    pub slots: u64,
    /// With one voter: a slot that might have been whole once, above the watermark.
    pub unproven: bool,
}

/// Whose directory it should be. What is `None` is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expect {
    pub cluster: Option<ClusterId>,
    pub node: Option<NodeId>,
}

/// What is on a disk, judged; nothing has been written.
#[derive(Debug)]
pub struct Examined {
    pub sup: Super,
    pub log: Log,
    pub files: Vec<FileSeen>,
    pub snapshots: Vec<Index>,
    pub report: Report,
    /// Present batches whose own frame is damaged.
    heal: Vec<Index>,
    /// Bodies behind the log's end that would follow it.
    ghosts: Vec<Place>,
    /// Segment files that were made and never counted.
    uncounted: Vec<File>,
}

/// Opens a data directory for a new life: judges it, heals frames, then counts the life.
pub fn open(media: &mut impl Media, params: &Params, expect: Expect) -> Result<Opened, OpenError> {
    let Examined { sup, mut log, snapshots, report, heal, ghosts, uncounted, .. } =
        examine(media, params, expect)?;
    for file in uncounted {
        media.remove(file)?;
    }
    // Frames first, still as of the era that is: once a new one begins, every batch must have its own frame, or
    // a frame of a batch that was cut before could speak for it.
    for index in heal {
        let write = log.frame_again(index);
        media.write(write.file, write.offset, &write.block)?;
    }
    // What has been cut must not come back. As long as a later frame names another batch in its place nobody takes it
    // for the log; in the next era that frame counts no more.
    for place in ghosts {
        media.write(File::Segment(place.file), place.body_offset(), &BlockMut::zeroed(PAGE).freeze())?;
    }
    let mut next = sup.successor();
    next.marks.life.0 += 1;
    if planted::is(Bug::PromiseAtOpen) {
        (next.marks.promised, next.marks.vote) = (Epoch(next.marks.promised.0 + 1), None);
    }
    next.begin_era(log.last());
    next.watermark = log.watermark();
    next.recycled = log.start().index;
    next.write(media)?;
    let marks = next.marks.clone();
    log.sup = next;
    Ok(Opened { cluster: log.sup.cluster, node: log.sup.node, marks, log, snapshots, report })
}

/// Judges a data directory without writing.
pub fn examine(media: &mut impl Media, params: &Params, expect: Expect) -> Result<Examined, OpenError> {
    let files = media.files()?;
    let length = |file: File| files.iter().find(|(name, _)| *name == file).map(|(_, length)| *length);
    match length(File::Super) {
        Some(have) if have < FILE_BYTES => {
            return Err(OpenError::Truncated { file: File::Super, have, need: FILE_BYTES });
        }
        Some(_) => {}
        None => {
            let other = files.iter().map(|(file, _)| *file).find(|file| matches!(file, File::Segment(_)));
            return Err(other.map_or(OpenError::NotFormatted, |file| OpenError::SuperMissing { file }));
        }
    }
    let copies = superblock::read(media);
    let sup = match superblock::choose(&copies) {
        Err(OpenError::Unfinished) if scan::has_log(media, &files) => {
            let why = "it is all zeros, though its log is not";
            return Err(OpenError::SuperDamaged { offset: 0, why });
        }
        chosen => chosen?,
    };
    check_owner(&sup, expect)?;
    let params = sup.params(params);
    params.check().map_err(OpenError::Params)?;
    let segments: Vec<u32> = (0..sup.files).collect();
    for &nth in &segments {
        let (file, need) = (File::Segment(nth), params.segment_bytes);
        match length(file) {
            None => return Err(OpenError::Missing { file }),
            Some(have) if have < need => return Err(OpenError::Truncated { file, have, need }),
            Some(_) => {}
        }
    }
    // A crash came between their making and the superblock that would have counted them: nothing is in them.
    let uncounted = files.iter().map(|(file, _)| *file);
    let uncounted =
        uncounted.filter(|file| matches!(file, File::Segment(nth) if *nth >= sup.files)).collect();
    let snapshots = files.iter().filter_map(|(file, _)| match file {
        File::Snapshot(index) => Some(*index),
        _ => None,
    });
    let snapshots = snapshots.collect::<BTreeSet<_>>().into_iter().collect();
    let seen = scan::testimony(media, &sup, &params, &segments)?;
    let mut judge = Judge { sup: &sup, params: &params, seen: &seen, media: Window::new(media) };
    let mut verdict = judge.all()?;
    let ghosts = judge.ghosts(&verdict);
    verdict.unreadable += judge.media.unreadable;
    let log = table(sup.clone(), &params, &seen, &mut verdict, &segments);
    let report = Report {
        segments: log.segments.len(),
        free_segments: log.free.len(),
        present: log.slots().filter(|slot| slot.is_present()).count() as u64,
        unknown: log.slots().filter(|slot| !slot.is_present()).map(|slot| slot.index).collect(),
        cut: verdict.cut,
        frames_healed: verdict.heal.len() as u64,
        bad_frames: seen.bad_frames,
        bad_supers: copies.iter().filter(|copy| copy.is_err()).count() as u64,
        unreadable_pages: verdict.unreadable + seen.unreadable,
        watermark: seen.watermark,
    };
    Ok(Examined { sup, log, files: seen.files, snapshots, report, heal: verdict.heal, ghosts, uncounted })
}

fn check_owner(sup: &Super, expect: Expect) -> Result<(), OpenError> {
    let (file, offset) = (File::Super, 0);
    match expect {
        Expect { cluster: Some(expected), .. } if expected != sup.cluster => {
            Err(OpenError::OtherCluster { file, offset, found: sup.cluster, expected })
        }
        Expect { node: Some(expected), .. } if expected != sup.node => {
            Err(OpenError::OtherNode { file, offset, found: sup.node, expected })
        }
        _ => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Verdict {
    start: Base,
    held: Vec<Held>,
    cut: Option<Cut>,
    heal: Vec<Index>,
    unreadable: u64,
}

struct Judge<'a, M> {
    sup: &'a Super,
    params: &'a Params,
    seen: &'a Testimony,
    media: Window<'a, M>,
}

impl<M: Media> Judge<'_, M> {
    fn all(&mut self) -> Result<Verdict, OpenError> {
        let base = self.sup.marks.base;
        let mut out = Verdict { start: base, ..Verdict::default() };
        self.below(base, &mut out);
        self.above(base, &mut out)?;
        if planted::is(Bug::NackCorruptSlot) {
            while out.held.pop_if(|held| !held.slot.is_present()).is_some() {}
        }
        Ok(out)
    }

    /// Batches that the snapshot covers: kept for those who lag, back to the first that is not whole.
    fn below(&mut self, base: Base, out: &mut Verdict) {
        let mut at = base.index;
        let mut chain = base.chain;
        let mut kept = Vec::new();
        while let Some(word) = self.seen.words.get(&at).copied().filter(|word| word.head.chain == chain) {
            if at < self.sup.recycled || !self.is_whole(&word) {
                break;
            }
            if !self.has_own(&word) {
                out.heal.push(at);
            }
            kept.push(held(at, Some(word.head), SlotState::Present, Some(word.place)));
            chain = word.head.prev;
            at = at.prev();
        }
        // The oldest only says where the rest continue, its own stamps being those of the start.
        if let Some(oldest) = kept.pop() {
            let head = oldest.slot.head.expect("just put there");
            out.heal.retain(|&index| index != head.index);
            out.start = Base::of(&head);
        }
        out.held.extend(kept.into_iter().rev());
    }

    fn above(&mut self, base: Base, out: &mut Verdict) -> Result<(), OpenError> {
        let single = self.is_alone();
        let in_flight = u64::from(self.params.window_batches);
        let watermark = self.seen.watermark;
        let mut chain = Some(base.chain);
        let mut index = base.index.next();
        loop {
            let expected = index <= self.seen.last;
            let word = self.seen.words.get(&index).copied();
            let near = index.0 <= watermark.0 + in_flight || planted::is(Bug::IgnoreWatermark);
            let found = match word {
                Some(word) if self.follows(&word.head, chain, index) && self.is_whole(&word) => Some(word),
                Some(_) => None,
                // No frame tells of it. Its body may still lie where it must, behind its predecessor.
                None => self.unannounced(index, chain, out),
            };
            if let Some(word) = found {
                if !self.has_own(&word) {
                    out.heal.push(index);
                }
                chain = Some(word.head.chain);
                out.held.push(held(index, Some(word.head), SlotState::Present, Some(word.place)));
            } else if !expected {
                return Ok(());
            } else {
                let torn = index > watermark || planted::is(Bug::IgnoreWatermark);
                let own = word.is_some_and(|word| self.has_own(&word));
                if (torn && near && (!own || single)) || planted::is(Bug::CutAtFirstBadSum) {
                    let slots = self.seen.last.0 - index.prev().0;
                    out.cut = Some(Cut { after: index.prev(), slots, unproven: own });
                    return Ok(());
                }
                if single {
                    let place = word.map_or(Place { file: 0, slot: 0, page: 0 }, |word| word.place);
                    let (file, offset) = (File::Segment(place.file), place.body_offset());
                    return Err(OpenError::Lost { index, file, offset });
                }
                let head = word.map(|word| word.head);
                chain = head.map(|head| head.chain);
                let state = SlotState::Unknown { torn };
                out.held.push(held(index, head, state, word.map(|word| word.place)));
            }
            index = index.next();
        }
    }

    /// Whether this node is the only voter, as far as it can know: no later configuration lies in its log.
    fn is_alone(&self) -> bool {
        let marks = &self.sup.marks;
        let later = |word: &Word| word.head.flags & flag::CONFIG != 0 && word.head.index > marks.config_at;
        let me = Voice { id: self.sup.node, incarnation: marks.incarnation };
        marks.config.is_alone(me) && !self.seen.words.values().any(later)
    }

    fn has_own(&self, word: &Word) -> bool {
        self.seen.own.get(&word.head.index).is_some_and(|(_, chain)| *chain == word.head.chain)
    }

    fn follows(&self, head: &BatchHead, chain: Option<Chain>, index: Index) -> bool {
        head.index == index
            && (chain.is_none_or(|chain| chain == head.prev) || planted::is(Bug::SkipChainCheck))
    }

    /// Whether the body stands where the frames say, and is the batch that they name.
    fn is_whole(&mut self, word: &Word) -> bool {
        let there = self.body(word.head.index, word.place);
        there.is_some_and(|head| head == word.head || planted::is(Bug::SkipPositionCheck))
    }

    /// The whole batch of this cluster at a place, if the file's present use has `index` there.
    fn body(&mut self, index: Index, place: Place) -> Option<BatchHead> {
        let (file, end) = (File::Segment(place.file), self.params.segment_pages());
        let seen = self.seen.files.iter().find(|seen| seen.file == place.file)?;
        let in_step = seen.sequence == 0 || seen.first.0 + u64::from(place.slot - STATE_SLOTS) == index.0;
        if !in_step || !place.is_within(self.params) {
            return None;
        }
        let head = BatchHead::decode(self.media.pages(file, end, place.page, 1)).ok()?;
        let bytes = self.media.pages(file, end, place.page, pages(head.length));
        let batch = bytes.get(..head.length as usize)?;
        (head.cluster == self.sup.cluster).then(|| Batch::check(batch).ok())?
    }

    /// A batch whose frame, and every later one that would name it, is gone: looked for behind its predecessor,
    /// and where a segment begins with this index.
    fn unannounced(&mut self, index: Index, chain: Option<Chain>, out: &Verdict) -> Option<Word> {
        let next = self.seen.words.get(&index.next()).map(|word| word.head.prev);
        self.places(index, out).into_iter().find_map(|place| {
            let head = self.body(index, place)?;
            let fits = self.follows(&head, chain, index)
                && (next.is_none_or(|next| next == head.chain) || planted::is(Bug::SkipChainCheck))
                && (!self.seen.dead.contains(&head.chain) || planted::is(Bug::SkipChainCheck));
            fits.then_some(Word { head, place, rank: (0, Index(0)) })
        })
    }

    /// Where the batch behind the last one held may be.
    fn places(&self, index: Index, out: &Verdict) -> Vec<Place> {
        let mut places = Vec::new();
        let before = out.held.last().and_then(|held| Some((held.place?, held.slot.head?)));
        if let Some((place, head)) = before {
            places.push(Place { slot: place.slot + 1, page: place.page + pages(head.length), ..place });
        }
        let begins = |file: &&FileSeen| file.sequence > 0 && file.first == index;
        for file in self.seen.files.iter().filter(begins) {
            places.push(Place { file: file.file, slot: STATE_SLOTS, page: self.params.header_slots });
        }
        places
    }

    /// Batches cut before, of which the bodies still lie behind the end that was found.
    fn ghosts(&mut self, out: &Verdict) -> Vec<Place> {
        let last = out.held.last().map_or(out.start.index, |held| held.slot.index);
        let chain = out.held.last().map_or(Some(out.start.chain), |held| Some(held.slot.head?.chain));
        let mut places = self.places(last.next(), out);
        places.retain(|&place| {
            self.body(last.next(), place).is_some_and(|head| self.follows(&head, chain, last.next()))
        });
        places
    }
}

fn held(index: Index, head: Option<BatchHead>, state: SlotState, place: Option<Place>) -> Held {
    Held { slot: Slot { index, head, state }, place }
}

/// Builds the table: segments in use in order, the other files free.
fn table(sup: Super, params: &Params, seen: &Testimony, verdict: &mut Verdict, files: &[u32]) -> Log {
    let used: BTreeSet<u32> = verdict.held.iter().filter_map(|held| Some(held.place?.file)).collect();
    let mut next_sequence = seen.max_sequence + 1;
    let mut segments: Vec<Segment> = Vec::new();
    for &file in &used {
        let known = seen.files.iter().find(|seen| seen.file == file).filter(|seen| seen.sequence > 0);
        // Slot and index go in step, so any batch of the file tells its first.
        let any = verdict.held.iter().find(|held| held.place.is_some_and(|place| place.file == file));
        let (index, slot) =
            any.and_then(|held| Some((held.slot.index, held.place?.slot))).expect("it is used");
        let first = Index(index.0 + u64::from(STATE_SLOTS) - u64::from(slot));
        let sequence = match known {
            Some(seen) if seen.first == first => seen.sequence,
            // Every frame of this use is gone: a new number tells the healed ones from what else is there.
            _ => {
                next_sequence += 1;
                next_sequence - 1
            }
        };
        let state_slot = known.map_or(0, |seen| 1 - seen.state_newest);
        segments.push(Segment { file, sequence, first, state_slot });
    }
    segments.sort_by_key(|segment| segment.first);
    let mut log = Log {
        params: *params,
        start: verdict.start,
        held: std::mem::take(&mut verdict.held).into(),
        segments: segments.into(),
        free: files.iter().copied().filter(|file| !used.contains(file)).collect(),
        files: sup.files,
        next_sequence,
        recent: Default::default(),
        durable: Index(0),
        floor: seen.watermark,
        sup,
    };
    log.durable = log.first_unknown().map_or(log.last(), Index::prev);
    log.floor = log.floor.min(log.last());
    log.recall();
    log
}

impl Log {
    pub fn first_unknown(&self) -> Option<Index> {
        self.slots().find(|slot| !slot.is_present()).map(|slot| slot.index)
    }

    /// Reads batches from `from` on, about `bytes`, before a loop runs: what `apply` replays. Ends before the
    /// first that is not present.
    pub fn read(&self, media: &mut impl Media, from: Index, bytes: usize) -> Result<Vec<Batch>, DiskFault> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut index, mut total) = (from, 0);
        while total < bytes {
            let Some(held) = self.held(index).filter(|held| held.slot.is_present()) else { break };
            let (Some(head), Some(place)) = (held.slot.head, held.place) else { break };
            let file = File::Segment(place.file);
            let mut block = BlockMut::zeroed(pages(head.length) as usize * PAGE);
            media.read(file, place.body_offset(), block.bytes_mut())?;
            let batch = Batch::open(Block::copy_of(&block.bytes()[..head.length as usize]));
            let batch = batch.ok().filter(|batch| *batch.head() == head).ok_or_else(|| DiskFault {
                operation: "read",
                file,
                offset: place.body_offset(),
                reason: format!("batch {index} was whole a moment ago and now fails its checksum"),
            })?;
            total += batch.block().len();
            batches.push(batch);
            index = index.next();
        }
        Ok(batches)
    }
}

const _: () = assert!(BATCH_MAX.is_multiple_of(PAGE));
