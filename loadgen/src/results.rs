//! A run's folder: `result.json`, histogram logs that HdrHistogram's own tools open, percentile texts for
//! plotting, one line per second. Files are written once and never edited.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
use serde_json::Value;

use crate::plain::Plain;
use crate::plan::Plan;
use crate::procfs::Usage;
use crate::record::Tally;
use crate::run::Measured;

/// One second's histograms, packed: a long run has thousands.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    pub read: Vec<u8>,
    pub read_service: Vec<u8>,
    pub write: Vec<u8>,
    pub write_service: Vec<u8>,
}

impl Packed {
    pub fn of(tally: &Tally) -> Packed {
        let pack = |histogram: &Histogram<u64>| {
            let mut bytes = Vec::new();
            if !histogram.is_empty() {
                V2Serializer::new().serialize(histogram, &mut bytes).expect("a vector takes all bytes");
            }
            bytes
        };
        Packed {
            read: pack(&tally.read.latency),
            read_service: pack(&tally.read.service),
            write: pack(&tally.write.latency),
            write_service: pack(&tally.write.service),
        }
    }
}

/// Before anything is measured: the folder must be there, empty of results, and take files.
pub fn claim(dir: &Path) -> Result<(), String> {
    let name = dir.display();
    if dir.join("result.json").exists() {
        return Err(format!("{name} holds a result already, and results are never edited; pass another"));
    }
    let probe = dir.join(".probe");
    let take = || {
        fs::create_dir_all(dir)?;
        fs::write(&probe, [b'x'; 4096])?;
        fs::remove_file(&probe)
    };
    take().map_err(|error| {
        let _ = fs::remove_file(&probe);
        format!("{name}: {error}; nothing was measured, pass another --results")
    })
}

/// The last of a folder's files, and all of it or nothing: a folder that has it is whole. It is published as it is.
fn seal(dir: &Path, result: &Value) -> io::Result<()> {
    let part = dir.join(".result.json");
    let result = Plain::here().json(result);
    let written = fs::write(&part, serde_json::to_string_pretty(&result)? + "\n");
    let sealed = written.and_then(|()| fs::rename(&part, dir.join("result.json")));
    sealed.inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

/// The latencies, from the intended start, of some seconds together.
pub fn latency_of<'a>(seconds: impl Iterator<Item = &'a Packed>) -> Histogram<u64> {
    let mut whole = crate::record::histogram();
    for packed in seconds {
        for bytes in [&packed.read, &packed.write] {
            if let Ok(part) = Deserializer::new().deserialize(&mut &bytes[..]) {
                whole.add::<&Histogram<u64>>(&part).expect("same bounds");
            }
        }
    }
    whole
}

pub fn write(dir: &Path, plan: &Plan, measured: &Measured, result: &Value) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("series.csv"), series(measured))?;
    let total = &measured.total;
    type Choose = fn(&Packed) -> &Vec<u8>;
    let lanes: [(&str, &Histogram<u64>, Choose); 4] = [
        ("lat-read", &total.read.latency, |packed| &packed.read),
        ("lat-read.service", &total.read.service, |packed| &packed.read_service),
        ("lat-write", &total.write.latency, |packed| &packed.write),
        ("lat-write.service", &total.write.service, |packed| &packed.write_service),
    ];
    for (name, histogram, choose) in lanes {
        if histogram.is_empty() {
            continue;
        }
        let intervals = measured.packed.iter().map(|(second, packed)| (*second, choose(packed).as_slice()));
        fs::write(dir.join(format!("{name}.hlog")), log(intervals, plan)?)?;
        fs::write(dir.join(format!("{name}.hgrm")), percentiles(histogram))?;
    }
    if let Some(ceiling) = &measured.ceiling {
        fs::write(dir.join("null-server.json"), serde_json::to_string_pretty(ceiling)? + "\n")?;
    }
    seal(dir, result)
}

/// The folder of a ladder: its steps have theirs below it.
pub fn write_ladder(dir: &Path, result: &Value) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    seal(dir, result)
}

/// The folder of a job: its figures, and how its latencies were spread.
pub fn write_job(dir: &Path, result: &Value, latency: &Histogram<u64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if !latency.is_empty() {
        fs::write(dir.join("lat-job.hgrm"), percentiles(latency))?;
    }
    seal(dir, result)
}

fn series(measured: &Measured) -> String {
    let mut text =
        "second,ops,errors,p50_us,p99_us,max_us,server_cpu_us,server_rss_kb,server_disk_bytes,flushes,loopback_bytes,stolen_us\n"
            .to_string();
    let mut before = measured.servers.iter().fold(Usage::default(), |mut sum, (_, before, _)| {
        sum.cpu_us += before.cpu_us;
        sum.disk_write_bytes += before.disk_write_bytes;
        sum
    });
    let seconds = measured.series.iter().zip(&measured.server_series).zip(&measured.machine_series);
    for ((second, usage), machine) in seconds {
        let _ = writeln!(
            text,
            "{},{},{},{:.1},{:.1},{:.1},{},{},{},{},{},{}",
            second.nth,
            second.ops,
            second.errors,
            second.p50 as f64 / 1e3,
            second.p99 as f64 / 1e3,
            second.max as f64 / 1e3,
            usage.cpu_us.saturating_sub(before.cpu_us),
            usage.rss_kb,
            usage.disk_write_bytes.saturating_sub(before.disk_write_bytes),
            machine.disk_flushes,
            machine.loopback_bytes,
            machine.stolen_us
        );
        before = *usage;
    }
    text
}

/// HdrHistogram's log, version 1.3: nanoseconds, one line per second; what ended after the window is the last.
fn log<'a>(intervals: impl Iterator<Item = (u64, &'a [u8])>, plan: &Plan) -> io::Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let start = now - plan.secs as f64;
    let mut text = format!(
        "#[Nanoseconds from {} start]\n#[Histogram log format version 1.3]\n\
         #[StartTime: {start:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        if plan.is_open() { "intended" } else { "actual" }
    );
    let mut serializer = V2DeflateSerializer::new();
    for (second, packed) in intervals.filter(|(_, packed)| !packed.is_empty()) {
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &packed[..])
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut bytes = Vec::new();
        serializer.serialize(&histogram, &mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let _ = writeln!(text, "{second}.000,1.000,{:.3},{}", histogram.max() as f64 / 1e6, base64(&bytes));
    }
    Ok(text.into_bytes())
}

/// The percentile spectrum in milliseconds, as HdrHistogram's plotter reads it.
fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for step in histogram.iter_quantiles(5) {
        count += step.count_since_last_iteration();
        let quantile = step.quantile();
        let value = step.value_iterated_to() as f64 / 1e6;
        let rest = if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".into() };
        let _ = writeln!(text, "{value:>12.3} {quantile:>14.12} {count:>10} {rest:>14}");
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.mean() / 1e6,
        histogram.stdev() / 1e6,
        histogram.max() as f64 / 1e6,
        histogram.len(),
        histogram.buckets(),
        2048
    );
    text
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for nth in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * nth)) as usize & 63];
            text.push(if nth > three.len() { '=' } else { letter as char });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_log_is_read_by_the_libraries_own_reader() {
        let mut tally = Tally::default();
        for nanos in [90_000, 100_000, 5_000_000] {
            tally.write.latency.saturating_record(nanos);
        }
        let packed = Packed::of(&tally);
        let plan = crate::plan::tests::plan("").expect("valid");
        let text =
            log([(0, &packed.write[..]), (1, &[][..]), (2, &packed.write[..])].into_iter(), &plan).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&text)
            .filter_map(|entry| match entry.expect("it parses") {
                LogEntry::Interval(interval) => Some((interval.start_timestamp().as_secs(), interval.max())),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.iter().map(|(start, _)| *start).collect::<Vec<_>>(), [0, 2]);
        assert!((5.0..5.01).contains(&intervals[0].1));
    }

    #[test]
    fn the_spectrum_ends_at_the_maximum() {
        let mut histogram = crate::record::histogram();
        (1..=1000).for_each(|nth| histogram.saturating_record(nth * 10_000));
        let text = percentiles(&histogram);
        let last = text.lines().rfind(|line| !line.starts_with('#')).expect("a line");
        assert!(last.trim_start().starts_with("10.0") && last.ends_with("inf"), "{last}");
    }
}
