//! What was measured: histograms and counts, one set for each second and thread, merged by the main thread.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::driver::{Protocol, codes};

/// 1 us to 1 h in nanoseconds, three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("constant bounds are valid")
}

pub fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos);
}

/// One kind of operation.
#[derive(Clone, Debug)]
pub struct Lane {
    /// From intended start; in a closed loop that is the actual send.
    pub latency: Histogram<u64>,
    /// From actual send; empty in a closed loop, where it would be the same.
    pub service: Histogram<u64>,
    /// Successes that ended within the window.
    pub ok: u64,
    /// Failures, time-outs and operations without an answer, of those that began within the window.
    pub errors: u64,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane { latency: histogram(), service: histogram(), ok: 0, errors: 0 }
    }
}

impl Lane {
    pub fn merge(&mut self, other: &Lane) {
        self.latency.add(&other.latency).expect("same bounds");
        self.service.add(&other.service).expect("same bounds");
        self.ok += other.ok;
        self.errors += other.errors;
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub read: Lane,
    pub write: Lane,
    /// Open loop: operations sent more than 1 ms after both their intended start and a free slot: the client's fault.
    pub late_sends: u64,
    /// Open loop: operations that waited for a free slot: the server's fault.
    pub queued: u64,
    /// Operations of the window that were sent.
    pub sends: u64,
    /// Operations of the window that never found a free slot.
    pub unsent: u64,
    pub reconnects: u64,
    /// Times that a key was read again because somebody else had written it meanwhile.
    pub retries: u64,
    /// Times that a server said "later", because nobody led: no ends of operations, so no errors.
    pub refused: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// How often each protocol error came; the codes below `LOCAL` are ours.
    pub codes: BTreeMap<i32, u64>,
}

pub const CODE_TIMEOUT: i32 = -1_000_001;
pub const CODE_HANG_UP: i32 = -1_000_002;
pub const CODE_MALFORMED: i32 = -1_000_003;
pub const CODE_UNANSWERED: i32 = -1_000_004;
pub const CODE_UNSENT: i32 = -1_000_005;

pub fn code_name(protocol: Protocol, code: i32) -> String {
    match code {
        CODE_TIMEOUT => "timeout".into(),
        CODE_HANG_UP => "connection lost".into(),
        CODE_MALFORMED => "malformed reply".into(),
        CODE_UNANSWERED => "unanswered at the end".into(),
        CODE_UNSENT => "not sent at the end".into(),
        other => match codes::word(protocol, other) {
            Some(word) => format!("code {other} ({word})"),
            None => format!("code {other}"),
        },
    }
}

impl Tally {
    pub fn merge(&mut self, other: &Tally) {
        self.read.merge(&other.read);
        self.write.merge(&other.write);
        self.late_sends += other.late_sends;
        self.queued += other.queued;
        self.sends += other.sends;
        self.unsent += other.unsent;
        self.reconnects += other.reconnects;
        self.retries += other.retries;
        self.refused += other.refused;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for (&code, &count) in &other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }

    pub fn all(&self) -> Lane {
        let mut all = self.read.clone();
        all.merge(&self.write);
        all
    }

    pub fn ok(&self) -> u64 {
        self.read.ok + self.write.ok
    }

    pub fn errors(&self) -> u64 {
        self.read.errors + self.write.errors
    }
}

/// A tally on its way from one process to another.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    /// Reads' and writes' latencies, then their service times, in hexadecimal digits.
    histograms: [String; 4],
    ok: [u64; 2],
    errors: [u64; 2],
    counts: [u64; 9],
    codes: Vec<(i32, u64)>,
}

impl Stored {
    pub fn of(tally: &Tally) -> Stored {
        let (read, write) = (&tally.read, &tally.write);
        let text = |histogram: &Histogram<u64>| {
            let mut bytes = Vec::new();
            if !histogram.is_empty() {
                V2Serializer::new().serialize(histogram, &mut bytes).expect("a vector takes all bytes");
            }
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Stored {
            histograms: [&read.latency, &write.latency, &read.service, &write.service].map(text),
            ok: [read.ok, write.ok],
            errors: [read.errors, write.errors],
            counts: [
                tally.late_sends,
                tally.queued,
                tally.sends,
                tally.unsent,
                tally.reconnects,
                tally.retries,
                tally.refused,
                tally.bytes_in,
                tally.bytes_out,
            ],
            codes: tally.codes.iter().map(|(&code, &count)| (code, count)).collect(),
        }
    }

    pub fn open(&self) -> Tally {
        let [late_sends, queued, sends, unsent, reconnects, retries, refused, bytes_in, bytes_out] =
            self.counts;
        let histogram = |nth: usize| {
            let mut whole = histogram();
            let digit = |at: usize| u8::from_str_radix(self.histograms[nth].get(at..at + 2)?, 16).ok();
            let bytes: Vec<u8> = (0..self.histograms[nth].len()).step_by(2).map_while(digit).collect();
            if let Ok(part) = Deserializer::new().deserialize(&mut &bytes[..]) {
                whole.add(part).expect("same bounds");
            }
            whole
        };
        let lane = |nth: usize| Lane {
            latency: histogram(nth),
            service: histogram(nth + 2),
            ok: self.ok[nth],
            errors: self.errors[nth],
        };
        Tally {
            read: lane(0),
            write: lane(1),
            late_sends,
            queued,
            sends,
            unsent,
            reconnects,
            retries,
            refused,
            bytes_in,
            bytes_out,
            codes: self.codes.iter().copied().collect(),
        }
    }
}

/// The longest time without an acknowledged write, over all threads.
#[derive(Debug, Default)]
pub struct Gap {
    last: AtomicU64,
    longest: AtomicU64,
    /// When the longest gap began.
    since: AtomicU64,
    /// All that are longer than `KEPT`, where others must be laid beside them.
    list: Option<Mutex<Vec<(u64, u64)>>>,
}

impl Gap {
    /// Shorter ones are of no interest where several processes are put together.
    pub const KEPT: u64 = 200_000;

    pub fn keeping() -> Gap {
        Gap { list: Some(Mutex::default()), ..Gap::default() }
    }

    pub fn kept(&self) -> Vec<(u64, u64)> {
        let mut kept = self.list.as_ref().map(|list| list.lock().expect("no thread panics with it").clone());
        kept.iter_mut().for_each(|kept| kept.sort_unstable());
        kept.unwrap_or_default()
    }

    /// A write was acknowledged, or the window began or ended.
    pub fn on_write(&self, now: u64) {
        let before = self.last.fetch_max(now, Ordering::Relaxed);
        if let Some(list) = &self.list
            && before > 0
            && now > before + Gap::KEPT
        {
            list.lock().expect("no thread panics with it").push((before, now));
        }
        if before > 0
            && now > before
            && self.longest.fetch_max(now - before, Ordering::Relaxed) < now - before
        {
            self.since.store(before, Ordering::Relaxed);
        }
    }

    pub fn longest(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    pub fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_kept_with_its_beginning() {
        let gap = Gap::default();
        for now in [100, 130, 900, 950] {
            gap.on_write(now);
        }
        assert_eq!((gap.longest(), gap.since()), (770, 130));
    }

    #[test]
    fn a_tally_survives_the_way_to_another_process() {
        let mut tally = Tally { sends: 9, refused: 5, bytes_out: 77, ..Tally::default() };
        (1..5000).for_each(|nth| record(&mut tally.write.latency, nth * 3_000));
        record(&mut tally.read.service, 12_345);
        (tally.write.ok, tally.read.errors) = (4999, 1);
        tally.codes.insert(-4, 1);
        let line = serde_json::to_string(&Stored::of(&tally)).expect("JSON");
        let back = serde_json::from_str::<Stored>(&line).expect("JSON").open();
        assert_eq!((back.write.latency.clone(), back.read.service.len()), (tally.write.latency.clone(), 1));
        assert_eq!((back.ok(), back.errors(), back.sends), (4999, 1, 9));
        assert_eq!((back.refused, back.bytes_out), (5, 77));
        assert_eq!(back.codes, tally.codes);
    }

    #[test]
    fn tallies_add_up() {
        let mut one = Tally::default();
        record(&mut one.read.latency, 5_000);
        one.read.ok = 1;
        one.codes.insert(-4, 2);
        let mut two = one.clone();
        two.merge(&one);
        assert_eq!((two.all().latency.len(), two.ok(), two.codes[&-4]), (2, 2, 4));
    }
}
