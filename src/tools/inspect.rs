//! `quorate log inspect DIR`: what a data directory holds, judged as recovery would judge it. Never writes.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::drive::{Dir, Files};
use crate::journal::superblock::{self, BadCopy};
use crate::journal::{Examined, Expect, OpenError, Params, Slot, SlotState, Super, examine, snapshot};
use crate::pipeline::ports::{File, Media};

#[derive(clap::Args)]
pub struct Args {
    /// The data directory. A server must not be running in it.
    dir: PathBuf,
    /// One line for each batch, not only for damage.
    #[arg(long)]
    batches: bool,
}

pub fn run(args: Args) -> Result<(), String> {
    let dir = Dir::open_read_only(&args.dir).map_err(|why| why.to_string())?;
    let mut media = Files::new(Arc::new(dir));
    let mut text = String::new();
    let sound = describe(&mut media, args.batches, &mut text);
    print!("{text}");
    match sound {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{}: damage was found, see above", args.dir.display())),
        Err(why) => Err(format!("{}: {why}", args.dir.display())),
    }
}

/// True if nothing is damaged. What can be said before an error is said.
fn describe(media: &mut impl Media, every: bool, out: &mut String) -> Result<bool, OpenError> {
    let mut sound = true;
    if media.files()?.iter().any(|(file, bytes)| *file == File::Super && *bytes >= superblock::FILE_BYTES) {
        for (nth, copy) in superblock::read(media).iter().enumerate() {
            let offset = Super::offset(nth as u16);
            sound &= copy.is_ok();
            line(out, format_args!("super copy {nth} at {offset}: {}", copy_text(copy)));
        }
    }
    let found = examine(media, &Params::default(), Expect::default())?;
    superblock_text(&found.sup, out);
    sound &= segments_text(&found, every, out);
    for &index in &found.snapshots {
        match snapshot::check(media, found.sup.cluster, index, |_| {}) {
            Ok(checked) => {
                let bytes = checked.trailer.length;
                line(out, format_args!("{}: {bytes} bytes, whole", File::Snapshot(index)));
            }
            Err(why) => {
                sound = false;
                line(out, format_args!("{why}"));
            }
        }
    }
    let report = &found.report;
    if let Some(cut) = report.cut {
        let why = if cut.unproven { "unproven: the only voter" } else { "torn by power loss" };
        line(out, format_args!("opening would end the log behind batch {} ({why})", cut.after));
    }
    sound &= report.unknown.is_empty() && report.bad_frames == 0 && report.unreadable_pages == 0;
    line(
        out,
        format_args!(
            "{} batches whole, {} unknown, {} frames damaged, {} to rewrite, {} pages unreadable; durable watermark {}",
            report.present,
            report.unknown.len(),
            report.bad_frames,
            report.frames_healed,
            report.unreadable_pages,
            report.watermark,
        ),
    );
    Ok(sound)
}

fn copy_text(copy: &Result<Super, BadCopy>) -> String {
    match copy {
        Ok(sup) => format!("generation {}, era {} behind batch {}", sup.generation, sup.era, sup.after),
        Err(BadCopy::Blank) => "never written".into(),
        Err(BadCopy::Strange) => "not a superblock".into(),
        Err(BadCopy::Damaged) => "damaged".into(),
        Err(BadCopy::Version(found)) => format!("of format {found}, which this build does not know"),
    }
}

fn superblock_text(sup: &Super, out: &mut String) {
    let marks = &sup.marks;
    line(
        out,
        format_args!(
            "cluster {}, node {}, incarnation {}, life {}",
            sup.cluster, sup.node, marks.incarnation, marks.life
        ),
    );
    let vote = marks.vote.map_or("nobody".into(), |node| format!("node {node}"));
    line(
        out,
        format_args!(
            "promised epoch {}, vote for {vote}, history epoch {}, commit {}, snapshot base {}",
            marks.promised, marks.history, marks.commit, marks.base.index
        ),
    );
    let members = marks.config.members().iter();
    let members: Vec<String> = members
        .map(|m| format!("{} ({}) {:?} {}", m.id, m.incarnation, m.role, m.address).trim_end().to_owned())
        .collect();
    line(out, format_args!("members as of batch {}: {}", marks.config_at, members.join(", ")));
}

/// The log, file by file; true if every batch is whole.
fn segments_text(found: &Examined, every: bool, out: &mut String) -> bool {
    let log = &found.log;
    for seen in &found.files {
        let of_file = |slot: &&Slot| log.place(slot.index).is_some_and(|place| place.file == seen.file);
        let mut slots = log.slots().filter(of_file).map(|slot| slot.index);
        let name = File::Segment(seen.file);
        let use_ = format!("use {}, {} frames, {} damaged", seen.sequence, seen.frames, seen.bad_frames);
        match (slots.next(), slots.last()) {
            (None, _) => line(out, format_args!("{name}: spare; {use_}")),
            (Some(first), last) => {
                let last = last.unwrap_or(first);
                line(out, format_args!("{name}: batches {first} to {last}; {use_}"));
            }
        }
    }
    let mut sound = true;
    for slot in log.slots() {
        let bad = !slot.is_present();
        sound &= !bad;
        if bad || every {
            line(out, format_args!("{}", slot_text(found, slot)));
        }
    }
    sound
}

fn slot_text(found: &Examined, slot: &Slot) -> String {
    let Slot { index, head, state } = slot;
    let at = found.log.place(*index).map_or("place unknown".into(), |place| {
        format!("{} at offset {}", File::Segment(place.file), place.body_offset())
    });
    let what = head.map_or("head unknown".into(), |head| {
        let (epoch, count, bytes) = (head.epoch, head.count, head.length);
        format!("epoch {epoch}, {count} commands, {bytes} bytes, chain {:?}", head.chain)
    });
    let state = match state {
        SlotState::Present => "whole",
        SlotState::Unknown { torn: true } => "UNKNOWN, perhaps torn by power loss",
        SlotState::Unknown { torn: false } => "UNKNOWN, was durable once",
    };
    let covered = if *index <= found.sup.marks.base.index { ", below the snapshot" } else { "" };
    format!("batch {index}: {state}{covered}; {what}; {at}")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Index;
    use crate::journal::test_disk::TestDisk;
    use crate::pipeline::store::tests::{Rig, new_disk};

    fn sample() -> TestDisk {
        let params = Params::tiny();
        let mut rig = Rig::new(new_disk(3, &params), &params);
        (0..6).for_each(|_| drop(rig.append(1, 500)));
        rig.settle();
        rig.disk.read_only = true;
        rig.disk
    }

    #[test]
    fn a_sound_log_is_described() {
        let (mut disk, mut text) = (sample(), String::new());
        assert_eq!(describe(&mut disk, true, &mut text), Ok(true));
        for part in
            ["generation 5", "segment-00000: batches 1 to 4", "batch 6: whole", "6 batches whole, 0 unknown"]
        {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn damage_is_named_and_nothing_is_written() {
        let mut disk = sample();
        let found = examine(&mut disk, &Params::tiny(), Expect::default()).unwrap();
        let place = found.log.place(Index(3)).unwrap();
        let bytes = disk.files.get_mut(&File::Segment(place.file)).unwrap();
        bytes[place.body_offset() as usize + 300] ^= 1;
        disk.files.get_mut(&File::Super).unwrap()[50] ^= 1;
        let (before, mut text) = (disk.files.clone(), String::new());
        assert_eq!(describe(&mut disk, false, &mut text), Ok(false));
        assert!(text.contains("super copy 0 at 0: damaged"), "{text}");
        assert!(text.contains("batch 3: UNKNOWN, was durable once"), "{text}");
        assert!(!text.contains("batch 4: whole") && disk.files == before);
    }
}
