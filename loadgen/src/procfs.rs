//! What processes cost, read from `/proc`: ours and the servers', by pid.

use std::fs;

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
    fn we_can_look_at_ourselves() {
        let own = usage(std::process::id()).expect("we run");
        assert!(own.rss_kb > 100 && own.context_switches > 0, "{own:?}");
        assert_eq!(usage(u32::MAX), None);
    }
}
