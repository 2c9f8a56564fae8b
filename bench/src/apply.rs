//! *apply*: what one put costs in the state machine alone, without log or sockets.

use std::time::Instant;

use quorate::base::{Index, Nanos, Origin, Rng};
use quorate::realms::kv::ops::{Op, Put, Write};
use quorate::realms::machine::{Applied, Machine};
use quorate::realms::{Effects, Stamp, kv};
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
}

pub fn run(args: Args) -> Result<(), String> {
    let mut machine = Machine::new();
    let mut rng = Rng::new(args.seed);
    let mut effects = Effects { wanted: true, ..Effects::default() };
    let (mut spent, mut index, mut sequence) = (0.0, 0, 0);
    while sequence < args.puts {
        let mut body = Vec::new();
        for _ in 0..args.batch {
            sequence += 1;
            let key = format!("/loadgen/k{:08}", rng.below(args.keys)).into_bytes();
            let put = Put { key, value: vec![b'x'; args.value], ..Put::default() };
            let payload = Write { ops: vec![Op::Put(put)] }.encode();
            let envelope = Envelope {
                realm: RealmId::Kv as u8,
                kind: kv::ops::WRITE,
                origin: Origin(1),
                sequence,
                ..Envelope::default()
            };
            envelope.write(&payload, &mut body);
        }
        index += 1;
        let stamp = Stamp { index: Index(index), wall_ms: 0, ticks: Nanos(index) };
        let began = Instant::now();
        for command in Command::all(&body) {
            effects.reply.clear();
            effects.changes.clear();
            let done = machine.apply(&stamp, &command, &mut effects).map_err(|why| why.to_string())?;
            assert_eq!(done, Applied::Done, "a put is one slice");
        }
        machine.end_batch();
        spent += began.elapsed().as_secs_f64();
    }
    let (records, bytes) = machine.size();
    println!("{:.0} ns per put, {records} records of {bytes} bytes in all", spent * 1e9 / sequence as f64);
    Ok(())
}
