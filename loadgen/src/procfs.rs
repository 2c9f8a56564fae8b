//! What processes cost, read from `/proc` and `/sys`: ours and the servers', by pid; a disk's flushes, by device.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// `/proc` counts time in these, on every Linux there is.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub cpu_us: u64,
    pub rss_kb: u64,
    /// Bytes this process caused to be written to storage.
    pub disk_write_bytes: u64,
    pub context_switches: u64,
}

/// `None`: there is no such process, or it is not ours to look at.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut usage = Usage { cpu_us: cpu_us(&stat)?, ..Usage::default() };
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        usage.rss_kb = field(&status, "VmRSS:");
    }
    // The process' own line counts its first thread only.
    if let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) {
        for task in tasks.flatten() {
            if let Ok(status) = fs::read_to_string(task.path().join("status")) {
                usage.context_switches += field(&status, "voluntary_ctxt_switches:")
                    + field(&status, "nonvoluntary_ctxt_switches:");
            }
        }
    }
    if let Ok(io) = fs::read_to_string(format!("/proc/{pid}/io")) {
        usage.disk_write_bytes =
            field(&io, "write_bytes:").saturating_sub(field(&io, "cancelled_write_bytes:"));
    }
    Some(usage)
}

/// Microseconds of user and system time. The name in brackets may hold blanks, so fields are counted after it.
fn cpu_us(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 1_000_000 / TICKS_PER_SECOND)
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// What a whole disk and the loopback interface have done since the machine started: everybody's, not ours alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub disk_writes: u64,
    pub disk_write_bytes: u64,
    /// Flushes of the device's cache: what makes a write durable where the device has no FUA.
    pub disk_flushes: u64,
    pub loopback_bytes: u64,
    /// CPU time that the host of this machine kept for others, over all cores.
    pub stolen_us: u64,
}

impl Machine {
    /// `disk`: its numbers, as `disk_of` gives them.
    pub fn now(disk: Option<&str>) -> Machine {
        let mut machine = Machine::default();
        if let Some(disk) = disk
            && let Ok(stat) = fs::read_to_string(format!("/sys/dev/block/{disk}/stat"))
        {
            let field = |nth: usize| stat.split_whitespace().nth(nth).and_then(|word| word.parse().ok());
            machine.disk_writes = field(4).unwrap_or(0);
            machine.disk_write_bytes = field(6).unwrap_or(0) * 512;
            machine.disk_flushes = field(15).unwrap_or(0);
        }
        if let Ok(net) = fs::read_to_string("/proc/net/dev") {
            machine.loopback_bytes = field(&net.replace("lo:", "\nlo: "), "lo:");
        }
        if let Ok(stat) = fs::read_to_string("/proc/stat") {
            machine.stolen_us = stolen_us(&stat);
        }
        machine
    }

    pub fn since(&self, before: &Machine) -> Machine {
        Machine {
            disk_writes: self.disk_writes.saturating_sub(before.disk_writes),
            disk_write_bytes: self.disk_write_bytes.saturating_sub(before.disk_write_bytes),
            disk_flushes: self.disk_flushes.saturating_sub(before.disk_flushes),
            loopback_bytes: self.loopback_bytes.saturating_sub(before.loopback_bytes),
            stolen_us: self.stolen_us.saturating_sub(before.stolen_us),
        }
    }
}

/// The eighth of the times in the first line.
fn stolen_us(stat: &str) -> u64 {
    let ticks = stat.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    ticks.unwrap_or(0) * 1_000_000 / TICKS_PER_SECOND
}

/// `major:minor` of the disk under a path; `None` where it lies in memory or on several.
pub fn disk_of(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    let name = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    Path::new(&format!("/sys/dev/block/{name}/stat")).exists().then_some(name)
}

/// CPU time of this process in microseconds.
pub fn own_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_does_not_move_the_fields() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_us(stat), Some(3_000_000));
    }

    #[test]
    fn stolen_time_is_the_eighth() {
        assert_eq!(stolen_us("cpu  9 8 7 6 5 4 3 2 1 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), 20_000);
        assert_eq!(stolen_us(""), 0);
    }

    #[test]
    fn we_can_look_at_ourselves() {
        let own = usage(std::process::id()).expect("we run");
        assert!(own.rss_kb > 100 && own.context_switches > 0, "{own:?}");
        assert_eq!(usage(u32::MAX), None);
    }
}
