//! The threads' seconds, put together: the window's total, its series, its phases.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use crate::book::Tick;
use crate::clock::SECOND;
use crate::plan::Plan;
use crate::record::Tally;
use crate::results::Packed;
use crate::run::Watch;

/// One second of the window.
#[derive(Clone, Debug)]
pub struct Second {
    pub nth: u64,
    pub ops: u64,
    pub errors: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// Who hands in seconds, and what has come of them.
pub struct Fold<'a> {
    pub plan: &'a Plan,
    /// Threads of all processes: a second is whole when each has handed it in.
    pub parts: usize,
    pub origin: u64,
    pub start: u64,
    pub pending: BTreeMap<u64, (usize, Tally)>,
    pub total: Tally,
    /// One for each phase of the plan.
    pub phases: Vec<Tally>,
    pub series: Vec<Second>,
    /// Each second's histograms; what ended after the window is the last.
    pub packed: Vec<(u64, Packed)>,
}

impl<'a> Fold<'a> {
    pub fn new(plan: &'a Plan, parts: usize, origin: u64) -> Fold<'a> {
        Fold {
            plan,
            parts,
            origin,
            start: origin + plan.warmup * SECOND,
            pending: BTreeMap::new(),
            total: Tally::default(),
            phases: vec![Tally::default(); plan.phases.len()],
            series: Vec::new(),
            packed: Vec::new(),
        }
    }

    pub fn take(&mut self, ticks: &Receiver<Tick>, watch: &mut dyn Watch) {
        while let Ok(tick) = ticks.try_recv() {
            self.add(tick, watch);
        }
    }

    pub fn add(&mut self, tick: Tick, watch: &mut dyn Watch) {
        let entry = self.pending.entry(tick.from).or_default();
        entry.0 += 1;
        entry.1.merge(&tick.tally);
        while let Some(first) = self.pending.first_entry()
            && first.get().0 == self.parts
        {
            let (from, (_, tally)) = first.remove_entry();
            self.close(from, tally, watch);
        }
    }

    pub fn finish(&mut self, watch: &mut dyn Watch) {
        while let Some((from, (_, tally))) = self.pending.pop_first() {
            self.close(from, tally, watch);
        }
    }

    fn close(&mut self, from: u64, tally: Tally, watch: &mut dyn Watch) {
        let end = self.start + self.plan.secs * SECOND;
        watch.on_second(self.plan, from.saturating_sub(self.origin) / SECOND + 1, &tally);
        if from + SECOND / 2 < self.start {
            return; // The warm-up's.
        }
        let nth = (from + SECOND / 2 - self.start) / SECOND;
        self.packed.push((nth, Packed::of(&tally)));
        if from + SECOND / 2 < end {
            self.total.merge(&tally);
            if let Some(phase) = self.plan.phase_at(nth).and_then(|phase| self.phases.get_mut(phase)) {
                phase.merge(&tally);
            }
            let all = tally.all();
            self.series.push(Second {
                nth,
                ops: all.ok,
                errors: all.errors,
                p50: all.latency.value_at_quantile(0.5),
                p99: all.latency.value_at_quantile(0.99),
                max: all.latency.max(),
            });
        } else {
            // What ended after the window counts in latencies and errors, not in throughput.
            let mut late = tally;
            (late.read.ok, late.write.ok) = (0, 0);
            self.total.merge(&late);
            if let Some(phase) = self.phases.last_mut() {
                phase.merge(&late);
            }
        }
    }
}
