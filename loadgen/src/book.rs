//! The book of one thread: what counts, and where. Counting rules in one place:
//! an operation belongs to the window by its intended start; a success counts towards throughput by its end;
//! what never ended counts at its age, as a failure.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::clock::SECOND;
use crate::driver::{Kind, Op, Verdict};
use crate::history::Scribe;
use crate::record::{CODE_UNSENT, Gap, Lane, Tally, record};

pub struct Ended {
    pub client: u32,
    pub op: Op,
    pub intended: u64,
    pub sent: u64,
    pub now: u64,
    pub verdict: Verdict,
    pub revision: u64,
    pub stamp: u64,
}

/// One thread's second.
pub struct Tick {
    /// When the second began; the warm-up's seconds come before the window.
    pub from: u64,
    pub tally: Box<Tally>,
}

/// What a connection found out about an operation outside the window.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub op: Op,
    pub verdict: Verdict,
}

pub struct Book {
    tally: Box<Tally>,
    window: (u64, u64),
    next_tick: u64,
    tick_from: u64,
    ticks: Sender<Tick>,
    gap: Arc<Gap>,
    /// Open loop: latency from the actual send is kept beside that from the intended start.
    open: bool,
    pub scribe: Option<Scribe>,
    /// Kept only while keys are prepared.
    pub failures: Option<Vec<Failure>>,
    /// Of the value that was read last, likewise.
    pub last_stamp: u64,
}

impl Book {
    pub fn new(open: bool, ticks: Sender<Tick>, gap: Arc<Gap>, scribe: Option<Scribe>) -> Book {
        Book {
            tally: Box::default(),
            window: (u64::MAX, u64::MAX),
            next_tick: u64::MAX,
            tick_from: 0,
            ticks,
            gap,
            open,
            scribe,
            failures: None,
            last_stamp: 0,
        }
    }

    /// Seconds are counted from `origin`; the window is a whole number of seconds later.
    pub fn begin(&mut self, origin: u64, window: (u64, u64)) {
        self.window = window;
        self.tick_from = origin;
        self.next_tick = origin + SECOND;
        *self.tally = Tally::default();
    }

    pub fn next_tick(&self) -> u64 {
        self.next_tick
    }

    fn counts(&self, at: u64) -> bool {
        (self.window.0..self.window.1).contains(&at)
    }

    pub fn on_send(&mut self, intended: u64, queued: bool, late: bool) {
        if self.counts(intended) {
            self.tally.sends += 1;
            self.tally.queued += u64::from(queued);
            self.tally.late_sends += u64::from(late);
        }
    }

    pub fn on_end(&mut self, ended: &Ended) {
        let ok = ended.verdict == Verdict::Ok;
        if let Some(failures) = &mut self.failures {
            self.last_stamp = ended.stamp;
            if !ok {
                failures.push(Failure { op: ended.op, verdict: ended.verdict });
            }
        }
        if let Some(scribe) = &mut self.scribe {
            scribe.on_end(ended);
        }
        let (begun, over) = (self.counts(ended.intended), self.counts(ended.now));
        let lane = lane(&mut self.tally, ended.op.kind);
        if begun {
            record(&mut lane.latency, ended.now.saturating_sub(ended.intended));
            if self.open {
                record(&mut lane.service, ended.now - ended.sent);
            }
        }
        match ended.verdict {
            Verdict::Ok => {
                // The warm-up's rate is shown as well, but not its latencies.
                lane.ok += 1;
                if begun && ended.op.kind == Kind::Rmw {
                    self.tally.retries += ended.stamp;
                }
                if over && !ended.op.kind.is_read() {
                    self.gap.on_write(ended.now);
                }
            }
            Verdict::Failed(code) | Verdict::Unknown(code) if begun => {
                lane.errors += 1;
                *self.tally.codes.entry(code).or_default() += 1;
            }
            _ => {}
        }
    }

    /// A server said "later"; the operation goes on.
    pub fn on_refusal(&mut self, intended: u64) {
        self.tally.refused += u64::from(self.counts(intended));
    }

    /// It was due within the window and never found a free slot.
    pub fn on_unsent(&mut self, op: &Op, intended: u64, now: u64) {
        if self.counts(intended) {
            let lane = lane(&mut self.tally, op.kind);
            record(&mut lane.latency, now.saturating_sub(intended));
            lane.errors += 1;
            self.tally.unsent += 1;
            *self.tally.codes.entry(CODE_UNSENT).or_default() += 1;
        }
    }

    pub fn on_loss(&mut self) {
        self.tally.reconnects += 1;
    }

    pub fn on_bytes(&mut self, bytes_in: u64, bytes_out: u64) {
        self.tally.bytes_in += bytes_in;
        self.tally.bytes_out += bytes_out;
    }

    pub fn tick(&mut self, now: u64) {
        self.hand_in();
        self.tick_from = self.next_tick;
        while self.next_tick <= now {
            self.next_tick += SECOND;
        }
    }

    /// Hands in what was counted since the last tick.
    pub fn hand_in(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        // The main thread hangs up only when the whole run has failed.
        let _ = self.ticks.send(Tick { from: self.tick_from, tally });
    }

    pub fn end(&mut self) {
        self.hand_in();
        self.next_tick = u64::MAX;
        self.window = (u64::MAX, u64::MAX);
    }
}

fn lane(tally: &mut Tally, kind: Kind) -> &mut Lane {
    if kind.is_read() { &mut tally.read } else { &mut tally.write }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn ended(intended: u64, now: u64, verdict: Verdict) -> Ended {
        let op = Op { kind: Kind::Write, key: 1, stamp: 1 };
        Ended { client: 0, op, intended, sent: intended, now, verdict, revision: 0, stamp: 0 }
    }

    #[test]
    fn an_operation_belongs_to_the_window_by_its_intended_start() {
        let (send, receive) = channel();
        let mut book = Book::new(true, send, Arc::default(), None);
        book.begin(0, (SECOND, 2 * SECOND));
        book.on_end(&ended(SECOND - 1, SECOND + 5, Verdict::Ok)); // The warm-up's.
        book.on_end(&ended(SECOND + 1, SECOND + 1_000_000, Verdict::Ok));
        book.on_end(&ended(2 * SECOND - 1, 3 * SECOND, Verdict::Unknown(-4))); // Late, but it counts.
        book.on_end(&ended(2 * SECOND, 3 * SECOND, Verdict::Ok));
        book.end();
        let tally = receive.recv().expect("a tick").tally;
        assert_eq!(tally.write.latency.len(), 2);
        assert_eq!(tally.write.latency.max() / 1_000_000, 1000);
        assert_eq!((tally.write.errors, tally.codes[&-4]), (1, 1));
    }
}
