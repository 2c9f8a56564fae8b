//! `bench seal` and `bench recover`: what the log costs in bytes per second, with no disk in the way.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use quorate::base::{
    Block, Chain, ClusterId, Epoch, Incarnation, Index, Life, Nanos, NodeId, PAGE, Voice, sum,
};
use quorate::journal::{self, Batch, Builder, Expect, Params};
use quorate::pipeline::lane::lane;
use quorate::pipeline::parcel::{StoreIn, StoreOut};
use quorate::pipeline::ports::{Disk, DiskEvent, DiskFault, File, Media};
use quorate::pipeline::store::Store;
use quorate::replica::Config;

const CLUSTER: ClusterId = ClusterId(0xbe);

#[derive(clap::Args)]
pub struct SealArgs {
    /// Bytes of a batch.
    #[arg(long, default_value_t = 64 << 10)]
    batch: usize,
    /// Bytes of a record, which is copied into the batch on its own.
    #[arg(long, default_value_t = 100)]
    record: usize,
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
}

/// Runs `work` for about `secs`; returns bytes per second.
fn rate(secs: f64, bytes: usize, mut work: impl FnMut()) -> f64 {
    (0..50).for_each(|_| work());
    let (start, mut rounds) = (Instant::now(), 0u64);
    while start.elapsed() < Duration::from_secs_f64(secs) {
        (0..50).for_each(|_| work());
        rounds += 50;
    }
    rounds as f64 * bytes as f64 / start.elapsed().as_secs_f64()
}

/// Alternates the two, so that a machine that changes its pace changes both.
pub fn seal(args: SealArgs) -> Result<(), String> {
    let record = vec![7u8; args.record.next_multiple_of(16)];
    let count = args.batch / record.len();
    let bytes = count * record.len();
    let plain = vec![5u8; bytes];
    let (mut sealing, mut summing) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut prev = Chain(1);
        let mut index = Index(1);
        sealing.push(rate(args.secs / 10.0, bytes, || {
            let mut builder = Builder::with_capacity(bytes + journal::BATCH_HEAD);
            for _ in 0..count {
                builder.push(&record, 1);
            }
            let batch = builder.seal(CLUSTER, Epoch(1), index, prev, 0, 1, Nanos(1));
            (prev, index) = (batch.chain(), index.next());
            black_box(&batch);
        }));
        summing.push(rate(args.secs / 10.0, bytes, || {
            black_box(sum::crc32c(black_box(&plain)));
        }));
    }
    sealing.sort_by(f64::total_cmp);
    summing.sort_by(f64::total_cmp);
    let (seal, crc) = (sealing[2] / 1e9, summing[2] / 1e9);
    println!(
        "batch of {bytes} bytes, records of {} bytes (padded to {}), median of 5",
        args.record,
        record.len()
    );
    println!("seal (copy, CRC32C, chain)  {seal:6.2} GB/s");
    println!("plain CRC32C                {crc:6.2} GB/s");
    println!("ratio                       {:6.2}", seal / crc);
    Ok(())
}

#[derive(clap::Args)]
pub struct RecoverArgs {
    /// MiB of log.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Bytes of a batch.
    #[arg(long, default_value_t = 64 << 10)]
    batch: usize,
}

/// Files in memory; a write is done when it is asked for.
#[derive(Default)]
struct Memory {
    files: BTreeMap<File, Vec<u8>>,
    news: Vec<DiskEvent>,
}

impl Memory {
    fn put(&mut self, file: File, offset: u64, block: &Block) {
        let into = self.files.get_mut(&file).expect("written after it was created");
        into[offset as usize..offset as usize + block.padded().len()].copy_from_slice(block.padded());
    }
}

impl Media for Memory {
    fn files(&mut self) -> Result<Vec<(File, u64)>, DiskFault> {
        Ok(self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect())
    }
    fn read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        into.copy_from_slice(&self.files[&file][offset as usize..offset as usize + into.len()]);
        Ok(())
    }
    fn write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault> {
        self.put(file, offset, block);
        Ok(())
    }
    fn create(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        self.files.insert(file, vec![0; len as usize]);
        Ok(())
    }
    fn remove(&mut self, file: File) -> Result<(), DiskFault> {
        self.files.remove(&file);
        Ok(())
    }
}

impl Disk for Memory {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        self.put(file, offset, &block);
        self.news.push(DiskEvent::Written { token, result: Ok(()) });
    }
    fn read(&mut self, _: u64, _: File, _: u64, _: usize) {
        unreachable!("nothing is read back here");
    }
    fn create(&mut self, token: u64, file: File, len: u64) {
        self.files.insert(file, vec![0; len as usize]);
        self.news.push(DiskEvent::Created { token, result: Ok(()) });
    }
    fn end(&mut self, _: u64, _: quorate::pipeline::ports::File, _: u64) {
        unreachable!("only snapshots end")
    }

    fn remove(&mut self, token: u64, file: File) {
        self.files.remove(&file);
        self.news.push(DiskEvent::Removed { token, result: Ok(()) });
    }
}

/// Writes a log through the store stage, then opens the image.
pub fn recover(args: RecoverArgs) -> Result<(), String> {
    let params = Params { segments_max: 4096, ..Params::default() };
    let mut disk = Memory::default();
    let fail = |error: journal::OpenError| error.to_string();
    journal::format(
        &mut disk,
        CLUSTER,
        Voice { id: NodeId(1), incarnation: Incarnation(1) },
        Config::of_voters(3),
        Life(0),
        &params,
    )
    .map_err(fail)?;
    let opened = journal::open(&mut disk, &params, Expect::default()).map_err(fail)?;
    let (mut to, rx) = lane(64);
    let (tx, mut from) = lane(64);
    let mut store = Store::new(opened.log, opened.snapshots, rx, tx);
    let body = vec![3u8; args.batch.next_multiple_of(16) - journal::BATCH_HEAD];
    let (mut prev, mut index, mut durable) = (Chain(0), Index(1), Index(0));
    let total = (args.mib << 20) / (body.len() + journal::BATCH_HEAD).next_multiple_of(PAGE);
    while durable.0 < total as u64 {
        while to.room() > 1 && index.0 <= total as u64 {
            let mut builder = Builder::with_capacity(args.batch);
            builder.push(&body, 1);
            let batch: Batch = builder.seal(CLUSTER, Epoch(1), index, prev, 0, 1, Nanos(1));
            (prev, index) = (batch.chain(), index.next());
            to.send(StoreIn::Append { epoch: Epoch(1), batch });
        }
        store.turn(Nanos(1), &mut disk);
        for event in std::mem::take(&mut disk.news) {
            store.on_disk(Nanos(1), event, &mut disk);
        }
        while let Some(out) = from.take() {
            match out {
                StoreOut::Durable { upto, .. } => durable = upto,
                StoreOut::Failed(fault) => return Err(fault.to_string()),
                _ => {}
            }
        }
    }
    drop(store);
    let image: usize = disk.files.values().map(Vec::len).sum();
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let opened = journal::open(&mut disk, &params, Expect::default()).map_err(fail)?;
        times.push(start.elapsed().as_secs_f64());
        if opened.report.present != total as u64 || !opened.report.unknown.is_empty() {
            return Err(format!("{total} batches were written, recovery found {:?}", opened.report));
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{total} batches of {} bytes, {} MiB of segments in memory", args.batch, image >> 20);
    println!("opened in {:.3} s (median of 3, worst {:.3} s)", times[1], times[2]);
    Ok(())
}
