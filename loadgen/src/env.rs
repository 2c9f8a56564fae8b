//! What this machine is, as far as figures depend on it. No host name and no path: results are published.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::procfs;

/// Boot options that change figures; others would tell about the host.
const BOOT: [&str; 10] = [
    "mitigations",
    "isolcpus",
    "nohz_full",
    "rcu_nocbs",
    "transparent_hugepage",
    "intel_idle.max_cstate",
    "processor.max_cstate",
    "idle",
    "nosmt",
    "clocksource",
];

const SYSCTLS: [&str; 9] = [
    "vm/swappiness",
    "vm/dirty_ratio",
    "vm/dirty_background_ratio",
    "vm/overcommit_memory",
    "net/core/somaxconn",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "kernel/sched_autogroup_enabled",
    "kernel/io_uring_disabled",
];

pub fn json(data: &Path) -> Value {
    let info = read("/proc/cpuinfo");
    let of_cpu = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
            .map(|value| value.trim().to_string())
    };
    let flags = of_cpu("flags").unwrap_or_default();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "boot_options": boot_options(&read("/proc/cmdline")),
        "cpu": {
            "model": of_cpu("model name"),
            "online": std::thread::available_parallelism().map(usize::from).ok(),
            "mhz": of_cpu("cpu MHz"),
            "cache": of_cpu("cache size"),
            "virtual": flags.split(' ').any(|flag| flag == "hypervisor"),
            "smt": read("/sys/devices/system/cpu/smt/active"),
            "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "mitigations": mitigations(),
        },
        "memory_kb": kb("MemTotal:"),
        "swap_kb": kb("SwapTotal:"),
        "numa_nodes": read("/sys/devices/system/node/online"),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "clock_source": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "disk": disk(data),
        "limits": limits(&read("/proc/self/limits")),
        "sysctls": SYSCTLS.iter().map(|name| ((*name).to_string(), json!(read(format!("/proc/sys/{name}")))))
            .collect::<Map<_, _>>(),
        "container": { "cpu": read("/sys/fs/cgroup/cpu.max"), "memory": read("/sys/fs/cgroup/memory.max") },
        "cpu_time_stolen_percent": stolen(&read("/proc/stat")),
    })
}

/// Empty where there is no such file.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn kb(name: &str) -> Option<u64> {
    let info = read("/proc/meminfo");
    info.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn boot_options(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| BOOT.contains(&word.split('=').next().unwrap_or(word))).collect()
}

fn mitigations() -> Map<String, Value> {
    let Ok(list) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return Map::new() };
    let mut all: Vec<_> = list.flatten().map(|file| file.path()).collect();
    all.sort();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    all.iter().filter_map(|path| Some((name(path)?, json!(read(path))))).collect()
}

fn disk(data: &Path) -> Value {
    let Some(numbers) = procfs::disk_of(data) else { return json!({ "file_system": mount(data) }) };
    let block = format!("/sys/dev/block/{numbers}");
    // A partition's queue is that of its disk.
    let whole = if Path::new(&block).join("queue").exists() { block } else { format!("{block}/..") };
    let queue = |name: &str| read(format!("{whole}/queue/{name}"));
    json!({
        "model": read(format!("{whole}/device/model")),
        "size_bytes": read(format!("{whole}/size")).parse::<u64>().ok().map(|sectors| sectors * 512),
        "rotational": queue("rotational"),
        "write_cache": queue("write_cache"),
        "fua": queue("fua"),
        "scheduler": queue("scheduler"),
        "file_system": mount(data),
    })
}

/// Type and options of the file system that holds a path.
fn mount(data: &Path) -> Value {
    let path = fs::canonicalize(data).unwrap_or_else(|_| data.to_path_buf());
    let mounts = read("/proc/self/mounts");
    let best = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, at, kind, options, ..] = fields[..] else { return None };
            path.starts_with(at).then_some((at.len(), kind, options))
        })
        .max_by_key(|(length, ..)| *length);
    best.map_or(Value::Null, |(_, kind, options)| json!({ "type": kind, "options": options }))
}

fn limits(text: &str) -> Value {
    let soft = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .map(str::to_string)
    };
    json!({ "open_files": soft("Max open files"), "locked_memory_bytes": soft("Max locked memory") })
}

/// Time that the host gave to others, of all time since the start.
fn stolen(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let all: f64 = fields.iter().take(8).sum();
    (all > 0.0).then(|| (fields.get(7).copied().unwrap_or(0.0) / all * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described_without_its_name() {
        let env = json(Path::new("."));
        assert!(env["memory_kb"].as_u64().is_some_and(|kb| kb > 1000), "{env}");
        assert!(!env["kernel"].as_str().unwrap_or_default().is_empty());
        let host = read("/proc/sys/kernel/hostname");
        assert!(host.len() < 4 || !env.to_string().contains(&host), "{host}");
        assert_eq!(boot_options("root=/dev/vda quiet mitigations=off ro"), ["mitigations=off"]);
        assert_eq!(stolen("cpu  50 0 40 0 0 0 0 10 0 0"), Some(10.0));
    }
}
