//! *apply*: what one put costs in the state machine alone, without log or sockets.

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
    /// Tell the state what is coming, as the server does.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    foresee: bool,
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
        let began = thread_cpu();
        let (mut rest, mut foreseen) = (&body[..], body.len());
        while let Some(command) = {
            if args.foresee && rest.len() <= foreseen && !rest.is_empty() {
                foreseen = rest.len() - machine.foresee(rest);
            }
            Command::take(&mut rest)
        } {
            effects.reply.clear();
            effects.changes.clear();
            let done = machine.apply(&stamp, &command, &mut effects).map_err(|why| why.to_string())?;
            assert_eq!(done, Applied::Done, "a put is one slice");
        }
        machine.end_batch();
        spent += thread_cpu() - began;
    }
    let (records, bytes) = machine.size();
    println!("{:.0} ns per put, {records} records of {bytes} bytes in all", spent * 1e9 / sequence as f64);
    Ok(())
}

/// Seconds of CPU: other work on the machine does not count.
fn thread_cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
