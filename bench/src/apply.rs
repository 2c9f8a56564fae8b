//! *apply*: what one put costs in the state machine alone, without log or sockets, and how long its turns are: while
//! keys are new, replaced, compacted, and with snapshots on their way out.

use quorate::base::{Index, Nanos, Origin, Rng};
use quorate::pipeline::apply::{COMMANDS_PER_COPY, COMMANDS_PER_TURN};
use quorate::pipeline::snapshots::VISITS;
use quorate::realms::kv::ops::{Op, Put, Write};
use quorate::realms::machine::{Applied, Machine};
use quorate::realms::{Effects, Stamp, kv};
use quorate::state::snapshot::{Slice, View};
use quorate::state::table::KEYS_AHEAD;
use quorate::state::{Command, Envelope, RealmId};

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    puts: u64,
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Commands in a batch.
    #[arg(long, default_value_t = 300)]
    batch: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell the state what is coming, as the server does.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    foresee: bool,
    /// Puts each key once before any is replaced.
    #[arg(long)]
    fill: bool,
    /// A snapshot is always on its way out, a slice behind each turn.
    #[arg(long)]
    snapshots: bool,
}

pub fn run(args: Args) -> Result<(), String> {
    let mut stage = Stage::new(&args);
    if args.fill {
        stage.put_all(0..args.keys)?;
        stage.report("new keys");
    }
    let mut rng = Rng::new(args.seed);
    stage.put_all((0..args.puts).map(|_| rng.below(args.keys)))?;
    stage.report("any keys");
    Ok(())
}

/// The state machine with what the apply stage does around it.
struct Stage<'a> {
    args: &'a Args,
    machine: Machine,
    effects: Effects,
    index: u64,
    sequence: u64,
    saving: Option<View>,
    /// Seconds of CPU of each turn.
    turns: Vec<f64>,
    puts: u64,
}

impl Stage<'_> {
    fn new(args: &Args) -> Stage<'_> {
        let mut machine = Machine::new();
        machine.lead(Nanos(0));
        Stage {
            args,
            machine,
            effects: Effects { wanted: true, ..Effects::default() },
            index: 0,
            sequence: 0,
            saving: None,
            turns: Vec::new(),
            puts: 0,
        }
    }

    fn put_all(&mut self, keys: impl Iterator<Item = u64>) -> Result<(), String> {
        let mut body = Vec::new();
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            body.clear();
            for key in keys.by_ref().take(self.args.batch as usize) {
                self.push_put(key, &mut body);
            }
            // What timers propose, compactions among them.
            self.machine.due(Nanos(self.index + 1), 1, &mut body);
            let mut rest = &body[..];
            while !rest.is_empty() {
                let began = thread_cpu();
                rest = self.turn(rest)?;
                self.turns.push(thread_cpu() - began);
            }
        }
        Ok(())
    }

    fn push_put(&mut self, key: u64, body: &mut Vec<u8>) {
        self.sequence += 1;
        self.puts += 1;
        let key = format!("/loadgen/k{key:022}").into_bytes();
        let put = Put { key, value: vec![b'x'; self.args.value], ..Put::default() };
        let payload = Write { ops: vec![Op::Put(put)] }.encode();
        let envelope = Envelope {
            realm: RealmId::Kv as u8,
            kind: kv::ops::WRITE,
            origin: Origin(1),
            sequence: self.sequence,
            ..Envelope::default()
        };
        envelope.write(&payload, body);
    }

    /// As much as the server applies in one turn. Returns what is left.
    fn turn<'b>(&mut self, body: &'b [u8]) -> Result<&'b [u8], String> {
        self.index += 1;
        let stamp = Stamp { index: Index(self.index), wall_ms: 0, ticks: Nanos(self.index) };
        let (mut rest, mut foreseen, mut done) = (body, body.len(), 0);
        let before = self.machine.copied();
        let mut copied = 0;
        while !rest.is_empty() && done + copied * COMMANDS_PER_COPY < COMMANDS_PER_TURN {
            if self.args.foresee && rest.len() <= foreseen {
                foreseen = rest.len() - self.machine.foresee(rest);
            }
            // As often as the server counts them, and only where there can be any.
            if self.saving.is_some() && done.is_multiple_of(KEYS_AHEAD) {
                copied = (self.machine.copied() - before) as usize;
            }
            let command = Command::take(&mut rest).ok_or("no command")?;
            self.effects.reply.clear();
            self.effects.changes.clear();
            while self.machine.apply(&stamp, &command, &mut self.effects).map_err(|why| why.to_string())?
                == Applied::Again
            {}
            done += 1;
        }
        self.machine.end_batch();
        if self.args.snapshots {
            let saving = self.saving.get_or_insert_with(|| self.machine.freeze(stamp.index));
            if matches!(saving.advance(VISITS), Slice::End) {
                self.saving = None;
            }
        }
        Ok(rest)
    }

    fn report(&mut self, what: &str) {
        let turns = &mut self.turns;
        let mean = turns.iter().sum::<f64>() * 1e9 / self.puts as f64;
        turns.sort_by(f64::total_cmp);
        let at = |share: f64| turns[((turns.len() - 1) as f64 * share) as usize] * 1e6;
        let (records, bytes) = self.machine.size();
        println!(
            "{what}: {mean:.0} ns per put; turns of {:.0} us in the middle, p99 {:.0}, p99.9 {:.0}, longest {:.0}; \
             {records} records of {bytes} bytes in all",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
        self.turns.clear();
        self.puts = 0;
    }
}

/// Seconds of CPU: other work on the machine does not count.
fn thread_cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
