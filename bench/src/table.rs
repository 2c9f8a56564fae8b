//! What the ordered store and the `kv` realm on it cost, without a server around them.

use std::hint::black_box;
use std::time::Instant;

use clap::Args as ClapArgs;
use quorate::base::{Index, Nanos, Rng};
use quorate::realms::kv::Kv;
use quorate::realms::kv::ops::{self, Op, Put, Query, Range};
use quorate::realms::{Effects, Flow, Realm, Stamp};
use quorate::state::snapshot::{Loaded, Loader, Slice, View};
use quorate::state::{Command, Envelope, Table, Trail};

#[derive(ClapArgs)]
pub struct Args {
    /// Records.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of a value. Keys have 32.
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Only fill the realm, and show the memory that takes.
    #[arg(long)]
    memory: bool,
}

pub fn run(args: Args) -> Result<(), String> {
    if args.memory {
        return memory(&args);
    }
    table(&args);
    kv(&args);
    Ok(())
}

/// 32 bytes: half of them alike in all keys, as people name things, then a number spread over the space.
fn key(n: u64) -> [u8; 32] {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = *b"/bench/records/-0000000000000000";
    for (at, digit) in key[16..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(spread >> (60 - 4 * at) & 15) as usize];
    }
    key
}

fn timed(what: &str, count: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what:44} {:8.0} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn table(args: &Args) {
    let (keys, value) = (args.keys, vec![7; args.value]);
    let mut table = Table::new();
    timed("table: put, new, random keys", keys, || {
        (0..keys).for_each(|n| {
            table.put(&key(n), &value);
        });
    });
    let mut rng = Rng::new(1);
    timed("table: get, random keys", keys, || {
        (0..keys).for_each(|_| {
            black_box(table.get(&key(rng.below(keys))));
        });
    });
    timed("table: put, replacing, random keys", keys, || {
        (0..keys).for_each(|_| {
            table.put(&key(rng.below(keys)), &value);
        });
    });
    timed("table: ascend, per record", keys, || {
        let bytes: usize = table.ascend(std::ops::Bound::Unbounded).map(|(k, v)| k.len() + v.len()).sum();
        black_box(bytes);
    });
    let mut worst = 0;
    let frozen = table.freeze();
    timed("table: put, replacing, while frozen", keys, || {
        (0..keys).for_each(|_| {
            let start = Instant::now();
            table.put(&key(rng.below(keys)), &value);
            worst = worst.max(start.elapsed().as_micros());
        });
    });
    println!("{:44} {worst:8} us", "  the longest of them");
    drop(frozen);
    let mut view = View::new(Index(1), vec![(1, 0, table.freeze().into())]);
    let (mut loader, mut chunks) = (Loader::new(Index(1)), Vec::new());
    timed("snapshot: write, per record", keys, || {
        loop {
            match view.advance(1_000) {
                Slice::More => {}
                Slice::Chunk(block) => chunks.push(block),
                Slice::End => break,
            }
        }
    });
    timed("snapshot: load, per record", keys, || {
        for block in &chunks {
            loader.feed(block.padded()).expect("just written");
        }
    });
    let Loaded::Table(loaded) = &loader.finish().expect("complete")[0].2 else { unreachable!("a table") };
    assert_eq!(loaded.digest(), table.digest());
    let mut ascending = Table::new();
    timed("table: put, new, ascending keys", keys, || {
        (0..keys).for_each(|n| {
            ascending.put(&n.to_be_bytes(), &value);
        });
    });
}

fn payload(n: u64, value: &[u8]) -> Vec<u8> {
    Op::Put(Put { key: key(n).into(), value: value.into(), ..Put::default() }).encode()
}

/// Applies puts of the given keys; the payloads are made beforehand, a batch at a time, and not counted.
fn puts(kv: &mut Kv, what: &str, value: &[u8], keys: impl Iterator<Item = u64>, wanted: bool) {
    let envelope = Envelope { realm: 1, kind: ops::WRITE, ..Envelope::default() };
    let at = Stamp { ticks: Nanos(1), ..Stamp::default() };
    let mut effects = Effects { wanted, ..Effects::default() };
    let (mut spent, mut count, mut longest) = (0, 0u64, 0);
    let mut keys = keys.peekable();
    while keys.peek().is_some() {
        let batch: Vec<_> = keys.by_ref().take(1_000).map(|n| payload(n, value)).collect();
        let start = Instant::now();
        for payload in &batch {
            let begun = Instant::now();
            while kv.apply(&at, &Command { envelope, payload }, &mut effects) == Flow::Again {}
            longest = longest.max(begun.elapsed().as_micros());
        }
        spent += start.elapsed().as_nanos();
        count += batch.len() as u64;
        effects.reply.clear();
        effects.changes.clear();
    }
    println!("{what:44} {:8.0} ns, longest {longest} us", spent as f64 / count as f64);
}

fn kv(args: &Args) {
    let (keys, value) = (args.keys, vec![7; args.value]);
    let mut kv = Kv::new();
    let mut rng = Rng::new(2);
    puts(&mut kv, "kv: apply put, new keys", &value, 0..keys, true);
    let random: Vec<u64> = (0..keys).map(|_| rng.below(keys)).collect();
    puts(&mut kv, "kv: apply put, replacing", &value, random.iter().copied(), true);
    puts(
        &mut kv,
        "kv: apply put, replacing, reply not wanted",
        &value,
        random.into_iter().take(500_000),
        false,
    );
    let queries: Vec<_> = (0..keys.min(500_000))
        .map(|_| Query::Range(Range { key: key(rng.below(keys)).into(), ..Range::default() }).encode())
        .collect();
    let mut out = Vec::new();
    timed("kv: read one key", queries.len() as u64, || {
        for query in &queries {
            out.clear();
            kv.read(query, &mut out);
        }
    });
    let revision = kv.revision();
    let envelope = Envelope { realm: 1, kind: ops::WRITE, ..Envelope::default() };
    let compact = Op::Compact { revision }.encode();
    let mut effects = Effects::default();
    let apply = |kv: &mut Kv, kind, payload: &[u8], effects: &mut Effects| {
        let command = Command { envelope: Envelope { kind, ..envelope }, payload };
        assert_eq!(kv.apply(&Stamp::default(), &command, effects), Flow::Done);
    };
    apply(&mut kv, ops::WRITE, &compact, &mut effects);
    let entries = kv.trail().map_or(0, Trail::len);
    timed("kv: free one superseded version", entries, || {
        for _ in 0..entries / 250 + 1 {
            apply(&mut kv, ops::SLICE, &[], &mut effects);
        }
    });
    puts(&mut kv, "kv: apply put, replacing, no history", &value, 0..keys.min(200_000), true);
}

/// Fills the realm as the server would, and says what the process has in memory.
fn memory(args: &Args) -> Result<(), String> {
    let value = vec![7; args.value];
    let before = resident()?;
    let mut kv = Kv::new();
    puts(&mut kv, "kv: apply put, new keys", &value, 0..args.keys, false);
    let bytes = kv.tables().iter().map(Table::bytes).sum::<u64>() + kv.trail().map_or(0, Trail::bytes);
    let used = resident()? - before;
    let per_key = |bytes: u64| bytes as f64 / args.keys as f64;
    println!("{:44} {:8.1} bytes per key", "records in the tables", per_key(bytes));
    println!("{:44} {:8.1} bytes per key, {} MiB", "resident memory", per_key(used), used >> 20);
    Ok(())
}

fn resident() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/self/statm").map_err(|e| format!("/proc/self/statm: {e}"))?;
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.map(|pages| pages * 4096).ok_or_else(|| format!("/proc/self/statm has no second field: {text}"))
}
