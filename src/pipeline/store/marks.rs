//! The superblock's writer: one generation at a time, its copies one after the other. Marks that come meanwhile
//! are joined; the last word counts.

use super::ops::{Op, Ops};
use crate::base::{Epoch, Index};
use crate::journal::{Log, Super, Write};
use crate::pipeline::parcel::{Base, Marks};
use crate::pipeline::ports::{Disk, File};
use crate::replica::Config;

#[derive(Debug, Default)]
pub struct Supers {
    /// What the next generation is to change.
    next: Change,
    writing: Option<Writing>,
}

/// The log begins anew behind a snapshot.
#[derive(Debug)]
pub struct Restart {
    pub epoch: Epoch,
    pub base: Base,
    /// In force at the base, and where it came in.
    pub config: Config,
    pub config_at: Index,
}

#[derive(Debug, Default)]
struct Change {
    marks: Option<Marks>,
    cut: Option<(Epoch, Index)>,
    restart: Option<Restart>,
    files: Option<u32>,
}

#[derive(Debug)]
struct Writing {
    sup: Super,
    change: Change,
    /// Copies that are on disk.
    copies: usize,
}

/// A generation is durable; what it was written for.
pub struct Done {
    pub sup: Super,
    pub marks: Option<Marks>,
    pub cut: Option<(Epoch, Index)>,
    pub restart: Option<Restart>,
    /// A new segment file is counted, and may be used.
    pub files: Option<u32>,
}

impl Supers {
    pub fn is_idle(&self) -> bool {
        self.writing.is_none()
    }

    /// A cut or restart is under way.
    pub fn moves_end(&self) -> bool {
        let moves = |change: &Change| change.cut.is_some() || change.restart.is_some();
        moves(&self.next) || self.writing.as_ref().is_some_and(|writing| moves(&writing.change))
    }

    /// The base that marks not yet durable carry.
    pub fn coming_base(&self) -> Option<Index> {
        let writing = self.writing.as_ref().map(|writing| writing.sup.marks.base.index);
        self.next.marks.as_ref().map(|marks| marks.base.index).or(writing)
    }

    pub fn mark(&mut self, marks: Marks, log: &Log, ops: &mut Ops, disk: &mut impl Disk) {
        self.next.marks = Some(marks);
        self.start(log, ops, disk);
    }

    pub fn count_files(&mut self, files: u32, log: &Log, ops: &mut Ops, disk: &mut impl Disk) {
        self.next.files = Some(files);
        self.start(log, ops, disk);
    }

    pub fn cut(&mut self, epoch: Epoch, after: Index, log: &Log, ops: &mut Ops, disk: &mut impl Disk) {
        assert!(after >= log.sup().marks.commit, "cutting above {after} would cut committed batches");
        assert!(after <= log.last(), "cutting above {after}, the log ends at {}", log.last());
        self.next.cut = Some((epoch, after));
        self.start(log, ops, disk);
    }

    pub fn restart(&mut self, restart: Restart, log: &Log, ops: &mut Ops, disk: &mut impl Disk) {
        assert!(restart.base.index >= log.sup().marks.base.index, "a restart never goes back");
        self.next.restart = Some(restart);
        self.start(log, ops, disk);
    }

    /// Begins the next generation, if there is something to write and nothing under way.
    pub fn start(&mut self, log: &Log, ops: &mut Ops, disk: &mut impl Disk) {
        let Change { marks: None, cut: None, restart: None, files: None } = self.next else {
            if self.writing.is_none() {
                let change = std::mem::take(&mut self.next);
                let sup = successor(log, &change);
                write_copy(&sup, 0, ops, disk);
                self.writing = Some(Writing { sup, change, copies: 0 });
            }
            return;
        };
    }

    /// A copy is on disk: the other one follows, then the generation counts.
    pub fn on_written(&mut self, ops: &mut Ops, disk: &mut impl Disk) -> Option<Done> {
        let writing = self.writing.as_mut().expect("a superblock write came back that nobody made");
        writing.copies += 1;
        if writing.copies == 1 {
            write_copy(&writing.sup, 1, ops, disk);
            return None;
        }
        let Writing { sup, change, .. } = self.writing.take().expect("just seen");
        let Change { marks, cut, restart, files } = change;
        Some(Done { sup, marks, cut, restart, files })
    }
}

fn successor(log: &Log, change: &Change) -> Super {
    let mut sup = log.sup().successor();
    sup.recycled = log.start().index;
    sup.watermark = log.watermark();
    if let Some(marks) = &change.marks {
        let before = &log.sup().marks;
        assert!(marks.promised >= before.promised, "a promise is never taken back");
        assert!(marks.base.index >= before.base.index, "the base never goes back");
        assert_eq!(marks.life, before.life, "only opening counts a life");
        assert_eq!(marks.incarnation, before.incarnation, "only formatting draws an incarnation");
        let held = match marks.base.index > before.base.index {
            // Damage that the new base covers does not count any more, and this disk learns of it by these very marks.
            true => log.last().max(marks.base.index),
            false => log.durable().max(marks.base.index).max(before.commit),
        };
        assert!(marks.commit <= held, "commit {} is above this disk's durable head {held}", marks.commit);
        sup.marks = marks.clone();
    }
    sup.files = change.files.unwrap_or(sup.files);
    if let Some((_, after)) = change.cut {
        sup.begin_era(after);
        sup.watermark = sup.watermark.min(after);
    }
    if let Some(Restart { base, config, config_at, .. }) = &change.restart {
        let base = *base;
        (sup.marks.config, sup.marks.config_at) = (config.clone(), *config_at);
        sup.begin_era(base.index);
        (sup.watermark, sup.recycled) = (base.index, base.index);
        sup.marks.base = base;
        sup.marks.history = base.epoch;
        sup.marks.commit = sup.marks.commit.max(base.index);
    }
    sup
}

fn write_copy(sup: &Super, nth: usize, ops: &mut Ops, disk: &mut impl Disk) {
    let copy = sup.copies()[nth];
    ops.write(
        Op::Super,
        Write { file: File::Super, offset: Super::offset(copy), block: sup.encode(copy) },
        disk,
    );
}
