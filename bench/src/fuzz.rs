//! `bench fuzz NAME`: a seeded fuzzer in this process. Each target starts from what the encoder wrote, breaks it,
//! and holds the decoder to its promises: no panic, nothing read past the end, and whatever it accepts encodes to
//! the bytes it was read from. A failing round is found again with the same seed.

mod native;
mod zk;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate::base::{Block, Chain, ClusterId, Epoch, Index, Life, Nanos, NodeId, PAGE, Rng, sum};
use quorate::journal::snapshot::Trailer;
use quorate::journal::{BATCH_HEAD, Batch, BatchHead, Builder, Frame, Kind, Super, superblock};
use quorate::pipeline::parcel::{Base, Marks};
use quorate::replica::Config;

#[derive(clap::Args)]
pub struct Args {
    /// Which decoder; `all` takes them in turn, `list` names them.
    name: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for each decoder.
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
}

/// One decoder: `round` makes an input from the seed, feeds it and says whether it was accepted.
struct Target {
    name: &'static str,
    round: fn(&mut Rng) -> bool,
}

/// Whoever writes a decoder adds it here.
const TARGETS: &[Target] = &[
    Target { name: "batch", round: batch },
    Target { name: "batch-head", round: batch_head },
    Target { name: "frame", round: frame },
    Target { name: "superblock", round: superblock },
    Target { name: "snapshot-trailer", round: trailer },
    Target { name: "config", round: config },
    Target { name: "native-frame", round: native::frame },
    Target { name: "native-write", round: native::write },
    Target { name: "native-session", round: native::session },
    Target { name: "zk-session", round: zk::session },
    Target { name: "zk-import", round: zk::import },
];

pub fn run(args: Args) -> Result<(), String> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    if args.name == "list" {
        println!("{}", names());
        return Ok(());
    }
    let mut chosen =
        TARGETS.iter().filter(|target| args.name == "all" || target.name == args.name).peekable();
    if chosen.peek().is_none() {
        return Err(format!("no decoder `{}`; there are: all, {}", args.name, names()));
    }
    tell_seed_of_panic();
    for target in chosen {
        let (start, mut rounds, mut accepted) = (Instant::now(), 0u64, 0u64);
        while rounds == 0 || start.elapsed() < Duration::from_secs_f64(args.secs) {
            for _ in 0..1000 {
                // Each round has a seed of its own, so that it can be had alone.
                let seed = args.seed.wrapping_add(rounds.wrapping_mul(0x9e37_79b9));
                accepted += u64::from(one(target, seed));
                rounds += 1;
            }
        }
        println!("{:18} {rounds:>10} rounds, {accepted} accepted, seed {}", target.name, args.seed);
        if accepted == 0 || accepted == rounds {
            return Err(format!("{}: it accepts all or nothing, so this tests nothing", target.name));
        }
    }
    Ok(())
}

/// The seed of the round under way: a panic may abort at once, so the hook tells it.
static ROUND: AtomicU64 = AtomicU64::new(0);

fn one(target: &Target, seed: u64) -> bool {
    ROUND.store(seed, Ordering::Relaxed);
    (target.round)(&mut Rng::new(seed))
}

fn tell_seed_of_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let seed = ROUND.load(Ordering::Relaxed);
        eprintln!("round seed {seed}: the same with --seed {seed} --secs 0");
    }));
}

/// Breaks bytes in one of the ways that disks and wires have; now and then leaves them alone.
pub fn spoil(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.below(4) {
        let at = rng.below(bytes.len().max(1) as u64) as usize;
        match rng.below(6) {
            _ if bytes.is_empty() => {}
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            3 => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
            4 => {
                let from = rng.below(bytes.len() as u64) as usize;
                let len = (bytes.len() - at.max(from)).min(rng.below(600) as usize);
                bytes.copy_within(from..from + len, at);
            }
            _ => (0..rng.below(20)).for_each(|_| bytes.push(rng.next_u64() as u8)),
        }
    }
}

/// A number such as people forget: small, huge, around a power of two.
fn number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.below(10),
        1 => u64::MAX - rng.below(10),
        2 => (1u64 << rng.below(64)).wrapping_add(rng.below(3)).wrapping_sub(1),
        _ => rng.next_u64(),
    }
}

fn some_batch(rng: &mut Rng) -> Batch {
    let mut builder = Builder::default();
    for _ in 0..rng.below(5) {
        let len = rng.below(400) as usize * 16;
        builder.push(&vec![rng.next_u64() as u8; len], 1);
    }
    let chain = Chain(u128::from(rng.next_u64()));
    let (epoch, index) = (Epoch(number(rng)), Index(number(rng)));
    builder.seal(ClusterId(7), epoch, index, chain, rng.next_u64() as u16, number(rng), Nanos(number(rng)))
}

fn batch(rng: &mut Rng) -> bool {
    let mut bytes = some_batch(rng).block().to_vec();
    spoil(rng, &mut bytes);
    let checked = Batch::check(&bytes);
    let opened = Batch::open(Block::copy_of(&bytes));
    assert_eq!(checked.is_ok(), opened.is_ok());
    opened.is_ok_and(|batch| {
        assert_eq!(batch.head().encode()[..], bytes[..BATCH_HEAD]);
        assert_eq!(batch.body().len() + BATCH_HEAD, bytes.len());
        true
    })
}

fn batch_head(rng: &mut Rng) -> bool {
    let mut bytes = some_batch(rng).block()[..BATCH_HEAD].to_vec();
    spoil(rng, &mut bytes);
    if rng.chance(0.5) && bytes.len() >= BATCH_HEAD {
        // Past the checksum, to what stands behind it.
        let crc = sum::crc32c(&bytes[..100]);
        bytes[100..104].copy_from_slice(&crc.to_le_bytes());
    }
    BatchHead::decode(&bytes).is_ok_and(|head| {
        assert_eq!(head.encode()[..], bytes[..BATCH_HEAD]);
        true
    })
}

/// Mends the checksum of a block whose sum stands at 4 and covers what is behind 8.
fn mend(bytes: &mut [u8]) {
    if bytes.len() >= 8 {
        let crc = sum::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn frame(rng: &mut Rng) -> bool {
    let kind = *rng.pick(&[Kind::Batch, Kind::State]);
    let frame = Frame {
        cluster: ClusterId(7),
        node: NodeId(3),
        life: Life(number(rng)),
        sequence: number(rng),
        file: number(rng) as u32,
        slot: number(rng) as u32,
        era: number(rng),
        after: Index(number(rng)),
        watermark: Index(number(rng)),
        first: Index(number(rng)),
        generation: number(rng),
        ..Frame::new(kind, Index(number(rng)))
    };
    let place = quorate::journal::Place { file: 1, slot: 2, page: 3 };
    let heads = (0..=rng.below(30)).map(|_| quorate::journal::HeadCopy::new(some_batch(rng).head(), place));
    let mut bytes = frame.encode(&heads.collect()).to_vec();
    spoil(rng, &mut bytes);
    if rng.chance(0.5) {
        mend(&mut bytes);
    }
    Frame::decode(&bytes).is_ok_and(|frame| {
        assert!(frame.heads(&bytes).count() <= frame.count as usize);
        true
    })
}

fn superblock(rng: &mut Rng) -> bool {
    let members = rng.below(5) as u8;
    let sup = Super {
        cluster: ClusterId(7),
        node: NodeId(2),
        generation: number(rng),
        parent: u128::from(rng.next_u64()),
        era: number(rng),
        after: Index(number(rng)),
        older: (0..rng.below(9)).map(|_| (number(rng), Index(number(rng)))).collect(),
        segment_bytes: number(rng),
        header_slots: number(rng) as u32,
        window_batches: number(rng) as u32,
        recycled: Index(number(rng)),
        watermark: Index(number(rng)),
        files: number(rng) as u32,
        marks: Marks {
            promised: Epoch(number(rng)),
            commit: Index(number(rng)),
            base: Base { index: Index(number(rng)), ..Base::default() },
            config: Config::of_voters(members),
            ..Marks::default()
        },
    };
    let mut bytes = sup.encode(1).to_vec();
    spoil(rng, &mut bytes);
    if rng.chance(0.5) {
        mend(&mut bytes);
    }
    if bytes.len() == superblock::COPY {
        let bad = Err(superblock::BadCopy::Damaged);
        let first = Super::decode(&bytes, 1);
        let again = [bad.clone(), first, bad.clone(), bad];
        let _ = superblock::choose(&again);
    }
    Super::decode(&bytes, 1).is_ok_and(|sup| {
        assert_eq!(Super::decode(&sup.encode(1), 1), Ok(sup));
        true
    })
}

fn trailer(rng: &mut Rng) -> bool {
    let trailer = Trailer {
        cluster: ClusterId(7),
        index: Index(number(rng)),
        length: number(rng),
        seal_length: number(rng),
        data: u128::from(rng.next_u64()),
        seal: u128::from(rng.next_u64()),
    };
    let mut bytes = trailer.encode().to_vec();
    spoil(rng, &mut bytes);
    if rng.chance(0.5) {
        mend(&mut bytes);
    }
    Trailer::decode(&bytes).is_ok_and(|found| {
        found.is_some_and(|trailer| {
            // Numbers out of nowhere must not wrap into a place inside the file.
            assert!(trailer.offset() >= trailer.length.min(u64::MAX - PAGE as u64) || trailer.length == 0);
            true
        })
    })
}

fn config(rng: &mut Rng) -> bool {
    let mut bytes = Vec::new();
    Config::of_voters(rng.below(16) as u8).encode(&mut bytes);
    spoil(rng, &mut bytes);
    let mut input = &bytes[..];
    Config::decode(&mut input).is_some_and(|config| {
        let mut again = Vec::new();
        config.encode(&mut again);
        assert_eq!(again, bytes[..bytes.len() - input.len()]);
        true
    })
}
