//! Reads what a disk holds, in large pieces, and gathers every frame's testimony. Judges nothing yet.

use std::collections::{BTreeMap, HashSet};

use crate::base::{BlockMut, Chain, Index, PAGE};
use crate::journal::frame::{self, BadFrame, Frame, Kind};
use crate::journal::layout::{Params, Place, STATE_SLOTS};
use crate::journal::superblock::Super;
use crate::journal::{BatchHead, OpenError};
use crate::pipeline::ports::{File, Media};

/// Read at once where it is likely that what follows is wanted too.
const AHEAD: usize = 1 << 20;

/// A file's pages through a window, so that a log of small batches is not read page by page.
pub(crate) struct Window<'a, M> {
    media: &'a mut M,
    file: File,
    pages: u32,
    start: u32,
    held: u32,
    buffer: BlockMut,
    /// Pages that could not be read; they count as zeros, so as damage.
    pub unreadable: u64,
}

impl<'a, M: Media> Window<'a, M> {
    pub fn new(media: &'a mut M) -> Window<'a, M> {
        Window {
            media,
            file: File::Super,
            pages: 0,
            start: 0,
            held: 0,
            buffer: BlockMut::zeroed(0),
            unreadable: 0,
        }
    }

    /// The `count` pages from `page` on, or fewer where the file ends.
    pub fn pages(&mut self, file: File, end: u32, page: u32, count: u32) -> &[u8] {
        let count = count.min(end.saturating_sub(page));
        let inside = file == self.file && page >= self.start && page + count <= self.start + self.held;
        if !inside {
            // Whoever goes backwards wants what lies before, and the end of what began there.
            let back = file == self.file && page < self.start;
            let start = if back { page.saturating_sub((AHEAD / PAGE / 2) as u32) } else { page };
            let count = (page - start + count).max((AHEAD / PAGE) as u32);
            self.fill(file, end, start, count.min(end.saturating_sub(start)));
        }
        let from = (page - self.start) as usize * PAGE;
        &self.buffer.bytes()[from..from + count as usize * PAGE]
    }

    fn fill(&mut self, file: File, end: u32, page: u32, count: u32) {
        (self.file, self.pages, self.start, self.held) = (file, end, page, count);
        let bytes = count as usize * PAGE;
        if self.buffer.len() < bytes {
            self.buffer = BlockMut::zeroed(bytes);
        }
        let into = &mut self.buffer.bytes_mut()[..bytes];
        if self.media.read(file, u64::from(page) * PAGE as u64, into).is_ok() {
            return;
        }
        // One bad sector must not take its neighbours with it.
        for nth in 0..count as usize {
            let into = &mut self.buffer.bytes_mut()[nth * PAGE..(nth + 1) * PAGE];
            if self.media.read(file, (page as u64 + nth as u64) * PAGE as u64, into).is_err() {
                into.fill(0);
                self.unreadable += 1;
            }
        }
    }
}

/// The latest word of any frame on one index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub head: BatchHead,
    pub place: Place,
    /// Era and index of the frame that says so: within an era, and from era to era, later frames know better.
    pub rank: (u64, Index),
}

/// A segment file as its frames show it.
#[derive(Clone, Copy, Debug)]
pub struct FileSeen {
    pub file: u32,
    /// Of its newest use; 0 if no frame is intact.
    pub sequence: u64,
    pub first: Index,
    pub frames: u32,
    pub bad_frames: u32,
    /// Which state slot has the newest intact state frame.
    pub state_newest: u32,
    pub state_watermark: Index,
}

#[derive(Debug, Default)]
pub(crate) struct Testimony {
    pub files: Vec<FileSeen>,
    /// Every era known and the index it began after, ascending.
    pub eras: BTreeMap<u64, Index>,
    pub words: BTreeMap<Index, Word>,
    /// Indices whose own frame stands intact in its slot, with the head that it gives.
    pub own: BTreeMap<Index, (u64, Chain)>,
    /// Batches that once were, and were cut.
    pub dead: HashSet<Chain>,
    /// All up to here has been durable, whatever it looks like now.
    pub watermark: Index,
    pub last: Index,
    pub max_sequence: u64,
    pub frames: u64,
    pub bad_frames: u64,
    pub unreadable: u64,
}

impl Testimony {
    /// What a frame of `era` says counts up to here only: later eras began below.
    pub fn limit(&self, era: u64) -> Index {
        self.eras.range(era + 1..).map(|(_, &after)| after).min().unwrap_or(Index(u64::MAX))
    }
}

/// Reads the header zones of all segment files.
pub(crate) fn testimony(
    media: &mut impl Media,
    sup: &Super,
    params: &Params,
    files: &[u32],
) -> Result<Testimony, OpenError> {
    let mut all = Testimony { eras: sup.older.iter().copied().collect(), ..Testimony::default() };
    all.eras.insert(sup.era, sup.after);
    let mut frames = Vec::new();
    let mut window = Window::new(media);
    // First what uses and eras there are: only then it is clear which frames still count.
    for &file in files {
        let (seen, of_file) = read_frames(&mut window, sup, params, file)?;
        all.frames += u64::from(seen.frames);
        all.bad_frames += u64::from(seen.bad_frames);
        all.max_sequence = all.max_sequence.max(seen.sequence);
        all.files.push(seen);
        frames.extend(of_file);
    }
    for (frame, _) in &frames {
        all.eras.insert(frame.era, frame.after);
    }
    all.watermark = sup.watermark.max(sup.marks.commit).max(sup.marks.base.index);
    for (frame, heads) in &frames {
        take_word(&mut all, params, frame, heads);
    }
    all.last = all.last.max(all.watermark);
    all.unreadable = window.unreadable;
    Ok(all)
}

type Heads = Vec<(BatchHead, Place)>;

fn read_frames<M: Media>(
    window: &mut Window<M>,
    sup: &Super,
    params: &Params,
    file: u32,
) -> Result<(FileSeen, Vec<(Frame, Heads)>), OpenError> {
    let name = File::Segment(file);
    let mut seen = FileSeen {
        file,
        sequence: 0,
        first: Index(0),
        frames: 0,
        bad_frames: 0,
        state_newest: 1,
        state_watermark: Index(0),
    };
    let mut frames: Vec<(Frame, Heads)> = Vec::new();
    for slot in 0..params.header_slots {
        let page = window.pages(name, params.segment_pages(), slot, 1);
        let offset = u64::from(slot) * PAGE as u64;
        let frame = match Frame::decode(page) {
            Ok(frame) => frame,
            Err(BadFrame::Blank) => continue,
            Err(BadFrame::Damaged) => {
                seen.bad_frames += 1;
                continue;
            }
            Err(BadFrame::Version(found)) => {
                return Err(OpenError::Newer { file: name, offset, found, known: frame::VERSION });
            }
        };
        if frame.cluster != sup.cluster {
            let (found, expected) = (frame.cluster, sup.cluster);
            return Err(OpenError::OtherCluster { file: name, offset, found, expected });
        }
        if frame.node != sup.node {
            return Err(OpenError::OtherNode { file: name, offset, found: frame.node, expected: sup.node });
        }
        if frame.era > sup.era || frame.generation > sup.generation {
            return Err(OpenError::RolledBack { file: name, offset });
        }
        if (frame.file, frame.slot) != (file, slot) {
            seen.bad_frames += 1; // A misdirected write, or somebody copied a piece of file.
            continue;
        }
        if frame.sequence > seen.sequence {
            // A newer use of this file: what was seen so far is from before.
            frames.clear();
            seen =
                FileSeen { sequence: frame.sequence, first: frame.first, frames: 0, state_newest: 1, ..seen };
            seen.state_watermark = Index(0);
        }
        if frame.sequence < seen.sequence {
            continue;
        }
        seen.frames += 1;
        if slot < STATE_SLOTS && (frame.era, frame.index) >= newest_state(&frames) {
            seen.state_newest = slot;
            seen.state_watermark = frame.watermark;
        }
        let heads = frame.heads(page).collect();
        frames.push((frame, heads));
    }
    Ok((seen, frames))
}

fn newest_state(frames: &[(Frame, Heads)]) -> (u64, Index) {
    let states = frames.iter().filter(|(frame, _)| frame.kind == Kind::State);
    states.map(|(frame, _)| (frame.era, frame.index)).max().unwrap_or_default()
}

fn take_word(all: &mut Testimony, params: &Params, frame: &Frame, heads: &Heads) {
    let limit = all.limit(frame.era);
    all.watermark = all.watermark.max(frame.watermark.min(limit));
    let own = frame.kind == Kind::Batch;
    if own && frame.index <= limit {
        all.last = all.last.max(frame.index);
        if let Some((head, _)) = heads.first() {
            let own = all.own.entry(frame.index).or_insert((frame.era, head.chain));
            if frame.era > own.0 {
                *own = (frame.era, head.chain);
            }
        }
    }
    for (head, place) in heads {
        if !place.is_within(params) {
            continue;
        }
        if head.index > limit {
            all.dead.insert(head.chain);
            continue;
        }
        let rank = (frame.era, frame.index);
        let word = Word { head: *head, place: *place, rank };
        let known = all.words.entry(head.index).or_insert(word);
        if rank > known.rank {
            *known = word;
        }
    }
}

/// Whether a segment was ever written to: then its first frames are not blank.
pub(crate) fn has_log(media: &mut impl Media, files: &[(File, u64)]) -> bool {
    let mut window = Window::new(media);
    files.iter().filter(|(file, _)| matches!(file, File::Segment(_))).any(|(file, bytes)| {
        let end = (bytes / PAGE as u64) as u32;
        window.pages(*file, end, 0, STATE_SLOTS + 1).iter().any(|&byte| byte != 0)
    })
}
