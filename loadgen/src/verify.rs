//! Does a history keep what the system promised? Four checks over revisions and values, and full
//! linearizability of the keys that were used most.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use crate::history::{Deed, Line, Outcome};
use crate::wgl::{self, Judgement};

/// Keys searched in full, and how much of each.
const HOT_KEYS: usize = 16;
const HOT_LINES: usize = 2_000;
/// Violations kept of each kind; the count goes on.
const SHOWN: usize = 5;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub lines: u64,
    pub writes: u64,
    pub reads: u64,
    pub unknown: u64,
    pub keys: u64,
    /// Keys whose history was searched in full, and those of them where the search gave up.
    pub searched: u64,
    pub undecided: u64,
    pub violations: u64,
    pub examples: Vec<String>,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.violations == 0
    }

    fn violate(&mut self, what: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < SHOWN {
            self.examples.push(what());
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "history: {} writes, {} reads, {} unknown, {} keys; {} keys searched in full, {} undecided: {}\n",
            self.writes,
            self.reads,
            self.unknown,
            self.keys,
            self.searched,
            self.undecided,
            if self.passed() { "passed".into() } else { format!("FAILED, {} violations", self.violations) }
        );
        for example in &self.examples {
            text.push_str(&format!("  {example}\n"));
        }
        text
    }
}

/// Reads a history; the error names the line.
pub fn load(path: &Path) -> Result<Vec<Line>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = Vec::new();
    for (nth, text) in BufReader::new(file).lines().enumerate() {
        let place = || format!("{}, line {}", path.display(), nth + 1);
        let text = text.map_err(|error| format!("{}: {error}", place()))?;
        if text.is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not a history line: {error}", place()))?;
        if line.end_ns < line.start_ns {
            return Err(format!("{} ends before it starts", place()));
        }
        lines.push(line);
    }
    Ok(lines)
}

pub fn verify(mut lines: Vec<Line>) -> Report {
    let mut report = Report { lines: lines.len() as u64, ..Report::default() };
    for line in &lines {
        match (line.op, line.outcome) {
            (_, Outcome::Unknown) => report.unknown += 1,
            (Deed::Write, _) => report.writes += 1,
            _ => report.reads += 1,
        }
    }
    learn_revisions(&mut lines);
    check_write_order(&lines, &mut report);
    check_sessions(&mut lines, &mut report);
    lines.sort_by_key(|line| (line.key, line.start_ns));
    let mut hot: Vec<&[Line]> = Vec::new();
    for of_key in lines.chunk_by(|one, other| one.key == other.key) {
        report.keys += 1;
        check_key(of_key, &mut report);
        hot.push(of_key);
    }
    hot.sort_by_key(|of_key| std::cmp::Reverse(of_key.len()));
    for of_key in hot.into_iter().take(HOT_KEYS) {
        report.searched += 1;
        match wgl::judge(&head(of_key)) {
            Judgement::Linearizable => {}
            Judgement::Undecided => report.undecided += 1,
            Judgement::Not => {
                let key = of_key[0].key;
                report.violate(|| format!("key {key}: no order of its operations explains what was read"));
            }
        }
    }
    report
}

/// Where a protocol does not tell a writer the revision (Consul), whoever read the value knows it.
fn learn_revisions(lines: &mut [Line]) {
    let read = |line: &&Line| line.op != Deed::Write && line.outcome == Outcome::Ok && line.revision > 0;
    let seen: HashMap<(u64, u64), u64> =
        lines.iter().filter(read).map(|line| ((line.key, line.value), line.revision)).collect();
    for write in lines.iter_mut().filter(|line| line.op == Deed::Write && line.revision == 0) {
        write.revision = seen.get(&(write.key, write.value)).copied().unwrap_or(0);
    }
}

/// All writes go through one log: a write that began after another was acknowledged has the higher revision.
fn check_write_order(lines: &[Line], report: &mut Report) {
    let known = |line: &&Line| line.op == Deed::Write && line.outcome == Outcome::Ok && line.revision > 0;
    let mut starts: Vec<&Line> = lines.iter().filter(known).collect();
    let mut ends = starts.clone();
    let mut revisions: Vec<&Line> = starts.clone();
    revisions.sort_by_key(|line| line.revision);
    for pair in revisions.windows(2).filter(|pair| pair[0].revision == pair[1].revision) {
        report.violate(|| {
            format!("two writes have revision {}: {:?} and {:?}", pair[0].revision, pair[0], pair[1])
        });
    }
    starts.sort_by_key(|line| line.start_ns);
    ends.sort_by_key(|line| line.end_ns);
    let (mut ended, mut newest) = (ends.into_iter().peekable(), None::<&Line>);
    for line in starts {
        while let Some(before) = ended.next_if(|before| before.end_ns < line.start_ns) {
            if newest.is_none_or(|newest| before.revision > newest.revision) {
                newest = Some(before);
            }
        }
        if let Some(before) = newest
            && before.revision > line.revision
        {
            report.violate(|| format!("real-time order: {line:?} began after {before:?} was acknowledged"));
        }
    }
}

/// A client never sees a key go back, not even by local reads.
fn check_sessions(lines: &mut [Line], report: &mut Report) {
    lines.sort_by_key(|line| (line.client, line.key, line.start_ns));
    let known = |line: &&Line| line.outcome == Outcome::Ok && line.revision > 0;
    for session in lines.chunk_by(|one, other| (one.client, one.key) == (other.client, other.key)) {
        let mut ends: Vec<&Line> = session.iter().filter(known).collect();
        ends.sort_by_key(|line| line.end_ns);
        let (mut ended, mut newest) = (ends.into_iter().peekable(), None::<&Line>);
        for line in session.iter().filter(known) {
            while let Some(before) = ended.next_if(|before| before.end_ns < line.start_ns) {
                if newest.is_none_or(|newest| before.revision > newest.revision) {
                    newest = Some(before);
                }
            }
            if let Some(before) = newest
                && before.revision > line.revision
                && line.op != Deed::Write
            {
                report.violate(|| format!("a client's key went back: {line:?} after {before:?}"));
            }
        }
    }
}

/// One key, sorted by start.
fn check_key(lines: &[Line], report: &mut Report) {
    let writes: HashMap<u64, &Line> =
        lines.iter().filter(|line| line.op == Deed::Write).map(|line| (line.value, line)).collect();
    for read in lines.iter().filter(|line| line.op != Deed::Write && line.outcome == Outcome::Ok) {
        if read.value == 0 {
            continue; // Nothing there: the newest acknowledged write below decides.
        }
        match writes.get(&read.value) {
            None => report.violate(|| format!("nobody wrote what was read: {read:?}")),
            Some(write) if write.outcome == Outcome::Fail => {
                report.violate(|| format!("a refused write was read: {read:?} and {write:?}"));
            }
            Some(write) if write.start_ns > read.end_ns => {
                report.violate(|| format!("read before it was written: {read:?} and {write:?}"));
            }
            Some(write) if write.revision > 0 && read.revision > 0 && write.revision != read.revision => {
                report.violate(|| format!("revisions differ: {read:?} and {write:?}"));
            }
            Some(_) => {}
        }
    }
    check_newest(lines, report);
}

/// A linearizable read has at least the revision of everything acknowledged, written or read, before it began:
/// otherwise a write was lost or the read was stale.
fn check_newest(lines: &[Line], report: &mut Report) {
    let counts =
        |line: &&Line| line.outcome == Outcome::Ok && line.revision > 0 && line.op != Deed::LocalRead;
    let mut ends: Vec<&Line> = lines.iter().filter(counts).collect();
    ends.sort_by_key(|line| line.end_ns);
    let (mut ended, mut newest) = (ends.into_iter().peekable(), None::<&Line>);
    for read in lines.iter().filter(|line| line.op == Deed::Read && line.outcome == Outcome::Ok) {
        while let Some(before) = ended.next_if(|before| before.end_ns < read.start_ns) {
            if newest.is_none_or(|newest| before.revision > newest.revision) {
                newest = Some(before);
            }
        }
        if let Some(before) = newest
            && before.revision > read.revision
            && (read.revision > 0 || read.value == 0)
        {
            report.violate(|| format!("lost or stale: {read:?} does not reflect {before:?}"));
        }
    }
}

/// The beginning of a key's history, cut so that it stays a history: writes that were under way at the cut may
/// have happened or not, reads that were under way are left out.
fn head(lines: &[Line]) -> Vec<Line> {
    let Some(cut) = lines.get(HOT_LINES).map(|line| line.start_ns) else { return lines.to_vec() };
    let kept = lines.iter().take(HOT_LINES).filter(|line| line.op == Deed::Write || line.end_ns < cut);
    kept.map(|line| {
        let mut line = *line;
        if line.end_ns >= cut && line.outcome == Outcome::Ok {
            line.outcome = Outcome::Unknown;
        }
        line
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: u32, op: Deed, value: u64, times: (u64, u64), outcome: Outcome, revision: u64) -> Line {
        Line { client, op, key: 1, value, start_ns: times.0, end_ns: times.1, outcome, revision }
    }

    fn good() -> Vec<Line> {
        vec![
            line(1, Deed::Write, 11, (0, 10), Outcome::Ok, 5),
            line(2, Deed::Write, 22, (20, 30), Outcome::Ok, 6),
            line(1, Deed::LocalRead, 11, (40, 50), Outcome::Ok, 5),
            line(2, Deed::Read, 22, (40, 50), Outcome::Ok, 6),
            line(3, Deed::Write, 33, (60, 70), Outcome::Unknown, 0),
            line(2, Deed::Read, 33, (80, 90), Outcome::Ok, 7),
        ]
    }

    #[test]
    fn a_good_history_passes() {
        let report = verify(good());
        assert!(report.passed(), "{report:?}");
        assert_eq!((report.writes, report.reads, report.unknown, report.searched), (2, 3, 1, 1));
    }

    /// Each fault alone, and the words that name it.
    #[test]
    fn every_kind_of_fault_is_found_and_named() {
        type Spoil = fn(&mut Vec<Line>);
        let spoil: [(&str, Spoil); 8] = [
            ("lost or stale", |all| (all[5].value, all[5].revision) = (22, 4)),
            ("lost or stale", |all| (all[3].value, all[3].revision) = (0, 0)),
            ("nobody wrote", |all| all[3].value = 99),
            ("refused write", |all| all[4].outcome = Outcome::Fail),
            ("real-time order", |all| all[0].revision = 9),
            ("two writes", |all| all[1].revision = 5),
            ("revisions differ", |all| all[2].revision = 4),
            ("went back", |all| all.push(line(2, Deed::LocalRead, 11, (100, 110), Outcome::Ok, 5))),
        ];
        for (word, spoil) in spoil {
            let mut lines = good();
            spoil(&mut lines);
            let report = verify(lines);
            assert!(report.examples.iter().any(|example| example.contains(word)), "{word}: {report:?}");
        }
    }

    #[test]
    fn without_revisions_the_search_still_finds_a_lost_write() {
        let mut lines = good();
        lines.iter_mut().for_each(|line| line.revision = 0);
        assert!(verify(lines.clone()).passed());
        lines[5].value = 11;
        assert!(verify(lines).text().contains("no order"));
    }

    #[test]
    fn a_cut_history_stays_a_history() {
        let mut lines = Vec::new();
        for nth in 0..(HOT_LINES as u64 + 500) {
            lines.push(line(1, Deed::Write, nth + 1, (nth * 10, nth * 10 + 25), Outcome::Ok, 0));
            lines.push(line(2, Deed::Read, nth + 1, (nth * 10 + 25, nth * 10 + 29), Outcome::Ok, 0));
        }
        let report = verify(lines);
        assert!(report.passed(), "{report:?}");
        assert_eq!(report.undecided, 0);
    }
}
