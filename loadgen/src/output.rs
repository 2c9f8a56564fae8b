//! A run as JSON and as a table.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::ceiling;
use crate::clock::MILLI;
use crate::fault::Harm;
use crate::plan::{Phase, Plan};
use crate::procfs::{Machine, Usage};
use crate::record::{Lane, Tally, code_name};
use crate::results;
use crate::run::Measured;
use crate::verify::Report;

/// More late sends than this make a run invalid.
const LATE_SHARE_MAX: f64 = 0.001;
/// A client that used this much of its threads' time was the limit.
const CLIENT_SHARE_MAX: f64 = 0.95;

/// A system that is asked for more than this and gives less does not keep up.
const KEEPS_UP: f64 = 0.99;
const EDGE: u64 = 50 * MILLI;

/// Whoever has no write acknowledged for so long would say that the system is down.
const UNAVAILABLE: u64 = 100 * MILLI;

/// What a reader must know before believing a figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The client's own doing: the figures say nothing about the server.
    pub invalid: Vec<String>,
    /// The servers were gone: the figures cover a part of the window.
    pub partial: Vec<String>,
    /// The servers did less than an open loop asked for: latencies are those of a queue that grows with the window. That
    /// is a finding, and no reason to fail.
    pub behind: Vec<String>,
}

pub fn faults(plan: &Plan, measured: &Measured) -> Faults {
    let mut faults = Faults::default();
    let late = late_share(measured);
    if late > LATE_SHARE_MAX {
        faults.invalid.push(format!(
            "{:.2} % of the sends were more than 1 ms late; on a host shared with the servers run `chrt -f 1 loadgen ...`",
            late * 100.0
        ));
    }
    // An open loop that looks at its schedule all the time is busy, not late.
    let busy = client_share(plan, measured);
    if busy > CLIENT_SHARE_MAX && !plan.is_open() {
        faults.invalid.push(format!(
            "the client was the limit: it used {:.0} % of {}; add --threads",
            busy * 100.0,
            if plan.parts() == 1 { "its core".into() } else { format!("its {} cores", plan.parts()) }
        ));
    }
    if let Some(Err(why)) = &measured.fault {
        faults.partial.push(format!("the harm was not done: {why}"));
    }
    if measured.total.ok() == 0 {
        faults.partial.push("no operation succeeded".into());
    } else if measured.series.last().is_some_and(|second| second.ops == 0) && expects_every_second(plan) {
        faults.partial.push("nothing succeeded in the last second".into());
    }
    if let (Some(why), Some(trouble)) = (faults.partial.last_mut(), &measured.last_trouble) {
        why.push_str(&format!("; last trouble: {trouble}"));
    }
    faults.partial.extend(measured.notes.iter().cloned());
    faults.behind = behind(plan, measured);
    faults
}

/// How many operations a second a system must have done of a rate, in a window, to keep up with it. `edge` may be under
/// way when the window ends: a short one has little else to lose.
pub fn keeps_up_from(rate: f64, secs: f64, edge: u64) -> f64 {
    rate * (KEEPS_UP - edge.min(EDGE) as f64 / 1e9 / secs)
}

fn behind(plan: &Plan, measured: &Measured) -> Vec<String> {
    let one = |rate: f64, secs: f64, tally: &Tally| {
        let done = tally.ok() as f64 / secs;
        // Of a number of chance, four standard deviations.
        let chance = if plan.poisson { 4.0 * (rate / secs).sqrt() } else { 0.0 };
        (done < keeps_up_from(rate, secs, EDGE) - chance).then(|| {
            format!(
                "{done:.0} of {rate:.0} operations a second were done; the rest waits, so latencies grow with --secs"
            )
        })
    };
    let phases = plan.phases.iter().zip(&measured.phases);
    let of_phases = phases.filter_map(|(phase, tally)| one(phase.rate, phase.secs as f64, tally));
    let whole = (plan.rate > 0.0).then(|| one(plan.rate, measured.secs, &measured.total)).flatten();
    of_phases.chain(whole).collect()
}

/// A load that is slow on purpose has seconds without an answer.
fn expects_every_second(plan: &Plan) -> bool {
    !plan.is_open() || plan.rate >= 5.0 || plan.phases.iter().any(|phase| phase.rate >= 5.0)
}

fn late_share(measured: &Measured) -> f64 {
    if measured.total.sends == 0 {
        0.0
    } else {
        measured.total.late_sends as f64 / measured.total.sends as f64
    }
}

/// Whether the figure is above half of what this client can do, so that it is the client's as well.
pub fn is_client_bound(plan: &Plan, measured: &Measured) -> Option<bool> {
    let ceiling = measured.ceiling?;
    let ops = (measured.total.ok() * plan.batch as u64) as f64 / measured.secs;
    Some(ops > ceiling.ops_per_s * ceiling::SHARE_MAX)
}

fn client_share(plan: &Plan, measured: &Measured) -> f64 {
    measured.client_cpu_us as f64 / (measured.secs * 1e6 * plan.parts() as f64)
}

pub fn json(plan: &Plan, measured: &Measured, report: Option<&Report>) -> Value {
    let total = &measured.total;
    // Of servers that were started again nobody knows what the first ones used.
    let whole = !plan.fault.as_ref().and_then(|fault| fault.harm).is_some_and(Harm::needs_restart);
    let server_cpu: Option<u64> = (whole && !measured.servers.is_empty())
        .then(|| measured.servers.iter().map(|(_, before, after)| after.cpu_us - before.cpu_us).sum());
    let faults = faults(plan, measured);
    let all =
        Cost { ops: total.ok() * plan.batch as u64, server_cpu, client_cpu: Some(measured.client_cpu_us) };
    // What a mixed load cost cannot be split between its kinds.
    let pure = |lane: &Lane| {
        if lane.ok == total.ok() { all } else { Cost { ops: 0, server_cpu: None, client_cpu: None } }
    };
    let gap = measured.max_gap.map(|gap| gap as f64 / MILLI as f64);
    let mut object = lane_json(plan, measured, &total.all(), all, gap);
    object.insert("read".into(), lane_json(plan, measured, &total.read, pure(&total.read), None).into());
    object.insert("write".into(), lane_json(plan, measured, &total.write, pure(&total.write), gap).into());
    if !plan.phases.is_empty() {
        object.insert("phases".into(), phases_json(plan, measured));
    }
    object.insert("gap_at_s".into(), round(measured.gap_at as f64 / 1e9));
    object.insert("sends".into(), total.sends.into());
    object.insert("late_sends".into(), total.late_sends.into());
    if plan.is_open() {
        object.insert("late_percent".into(), round(late_share(measured) * 100.0));
    }
    object.insert("queued".into(), total.queued.into());
    object.insert("unsent".into(), total.unsent.into());
    object.insert("reconnects".into(), total.reconnects.into());
    object.insert("retries".into(), total.retries.into());
    object.insert("refused".into(), total.refused.into());
    object.insert("wire_bytes_in".into(), total.bytes_in.into());
    object.insert("wire_bytes_out".into(), total.bytes_out.into());
    object.insert("client_cores".into(), round(measured.client_cpu_us as f64 / (measured.secs * 1e6)));
    let ops = total.ok() * plan.batch as u64;
    let per_op = |bytes: u64| if ops == 0 { Value::Null } else { round(bytes as f64 / ops as f64) };
    let sum = |of: fn(&Usage) -> u64| measured.servers.iter().map(|(_, _, after)| of(after)).sum::<u64>();
    let before: u64 = measured.servers.iter().map(|(_, before, _)| before.disk_write_bytes).sum();
    object.insert("wire_bytes_per_op".into(), per_op(total.bytes_in + total.bytes_out));
    if !measured.servers.is_empty() {
        let written = sum(|usage| usage.disk_write_bytes).saturating_sub(before);
        object.insert("disk_bytes_per_op".into(), per_op(written));
        object.insert("server_rss_mb".into(), round(sum(|usage| usage.rss_kb) as f64 / 1024.0));
    }
    machine_json(plan, &measured.machine, measured.secs, &mut object);
    object.insert("ceiling".into(), json!(measured.ceiling));
    object.insert("client_bound".into(), json!(is_client_bound(plan, measured)));
    if let Some(Ok(fault)) = &measured.fault {
        let at = fault.at_s as u64;
        let of = |wanted: &dyn Fn(u64) -> bool| {
            let seconds =
                measured.packed.iter().filter(|(second, _)| wanted(*second)).map(|(_, packed)| packed);
            round(results::latency_of(seconds).value_at_quantile(0.999) as f64 / 1e3)
        };
        object.insert("p999_before_us".into(), of(&|second| second < at));
        object.insert("p999_after_us".into(), of(&|second| second >= at));
        let unavailable = measured.without_writes.iter().map(|(from, to)| to - from);
        let unavailable: u64 = unavailable.filter(|gap| *gap > UNAVAILABLE).sum();
        object.insert("unavailable_ms".into(), round(unavailable as f64 / MILLI as f64));
    }
    object.insert("fault".into(), json!(measured.fault.as_ref().and_then(|fault| fault.as_ref().ok())));
    object.insert("secs".into(), round(measured.secs));
    object.insert("invalid".into(), faults.invalid.into());
    object.insert("partial".into(), faults.partial.into());
    object.insert("behind".into(), faults.behind.into());
    let codes: Map<String, Value> =
        total.codes.iter().map(|(&code, &count)| (code_name(plan.target, code), count.into())).collect();
    object.insert("error_codes".into(), codes.into());
    object.insert("servers".into(), servers_json(measured));
    object.insert("series".into(), series_json(measured));
    if let Some(report) = report {
        object.insert("check".into(), json!({ "passed": report.passed(), "report": report }));
    }
    object.insert("plan".into(), json!(plan));
    Value::Object(object)
}

#[derive(Clone, Copy)]
struct Cost {
    ops: u64,
    server_cpu: Option<u64>,
    client_cpu: Option<u64>,
}

impl Cost {
    fn per_op(&self, cpu: Option<u64>) -> Value {
        match cpu {
            Some(cpu) if self.ops > 0 => round(cpu as f64 / self.ops as f64),
            _ => Value::Null,
        }
    }
}

fn lane_json(
    plan: &Plan,
    measured: &Measured,
    lane: &Lane,
    cost: Cost,
    gap: Option<f64>,
) -> Map<String, Value> {
    // A closed loop has no schedule: its intended start is the actual one.
    let service = if plan.is_open() { &lane.service } else { &lane.latency };
    let ops = lane.ok * plan.batch as u64;
    let mut object = Map::new();
    object.insert("ops_per_s".into(), round(ops as f64 / measured.secs));
    object.insert("ops".into(), ops.into());
    object.extend(histogram_json(&lane.latency));
    object.insert("errors".into(), lane.errors.into());
    object.insert("server_cpu_us_per_op".into(), cost.per_op(cost.server_cpu));
    object.insert("client_cpu_us_per_op".into(), cost.per_op(cost.client_cpu));
    object.insert("max_gap_ms".into(), gap.map_or(Value::Null, round));
    let service_p99 =
        if service.is_empty() { Value::Null } else { round(service.value_at_quantile(0.99) as f64 / 1e3) };
    object.insert("service_p99_us".into(), service_p99);
    object
}

/// Percentiles in microseconds, and how many samples they come from.
pub fn histogram_json(histogram: &Histogram<u64>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, nanos: f64| {
        let value = if histogram.is_empty() { Value::Null } else { round(nanos / 1e3) };
        object.insert(name.into(), value);
    };
    for (name, quantile) in [
        ("p50_us", 0.5),
        ("p90_us", 0.9),
        ("p99_us", 0.99),
        ("p999_us", 0.999),
        ("p9999_us", 0.9999),
        ("max_us", 1.0),
    ] {
        put(name, histogram.value_at_quantile(quantile) as f64);
    }
    put("mean_us", histogram.mean());
    object.insert("samples".into(), histogram.len().into());
    object
}

fn servers_json(measured: &Measured) -> Value {
    measured.servers.iter().map(server_json).collect()
}

pub fn server_json((pid, before, after): &(u32, Usage, Usage)) -> Value {
    json!({
        "pid": pid,
        "cpu_us": after.cpu_us - before.cpu_us,
        "rss_kb": after.rss_kb,
        "disk_write_bytes": after.disk_write_bytes.saturating_sub(before.disk_write_bytes),
        "context_switches": after.context_switches.saturating_sub(before.context_switches),
    })
}

/// Rates of the servers' disk and of the loopback interface. A machine that others use shows their share as well.
pub fn machine_json(plan: &Plan, machine: &Machine, secs: f64, into: &mut Map<String, Value>) {
    let per_s = |count: u64| round(count as f64 / secs);
    into.insert("loopback_bytes_per_s".into(), per_s(machine.loopback_bytes));
    if plan.disk.is_some() {
        into.insert("disk_writes_per_s".into(), per_s(machine.disk_writes));
        into.insert("disk_write_bytes_per_s".into(), per_s(machine.disk_write_bytes));
        into.insert("flushes_per_s".into(), per_s(machine.disk_flushes));
    }
}

/// Operations belong to a phase by when they ended.
fn phases_json(plan: &Plan, measured: &Measured) -> Value {
    let mut from = 0;
    let one = |(phase, tally): (&Phase, &Tally)| {
        let all = tally.all();
        let mut object = histogram_json(&all.latency);
        object.insert("from_s".into(), from.into());
        object.insert("secs".into(), phase.secs.into());
        object.insert("rate".into(), phase.rate.into());
        object.insert("ops_per_s".into(), round(all.ok as f64 / phase.secs as f64));
        object.insert("errors".into(), all.errors.into());
        from += phase.secs;
        Value::Object(object)
    };
    plan.phases.iter().zip(&measured.phases).map(one).collect()
}

fn series_json(measured: &Measured) -> Value {
    let one = |second: &crate::fold::Second| {
        json!({
            "second": second.nth,
            "ops": second.ops,
            "errors": second.errors,
            "p50_us": round(second.p50 as f64 / 1e3),
            "p99_us": round(second.p99 as f64 / 1e3),
        })
    };
    measured.series.iter().map(one).collect()
}

/// Three decimals: more would be noise.
pub fn round(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

pub fn table(plan: &Plan, measured: &Measured, report: Option<&Report>) -> String {
    let json = json(plan, measured, report);
    let mut text = String::new();
    let how = if plan.is_open() {
        let rates: Vec<String> = plan.phases.iter().map(|phase| format!("{}/s", phase.rate)).collect();
        let rate = if rates.is_empty() { format!("{}/s", plan.rate) } else { rates.join(", then ") };
        format!("open loop at {rate}{}", if plan.poisson { ", Poisson" } else { "" })
    } else {
        "closed loop: latencies are service times".into()
    };
    let _ = writeln!(
        text,
        "{:?}, {} x {} on {} server(s), {} keys, {} B values, {} % reads ({:?}), {} s; {how}",
        plan.target,
        plan.conns,
        plan.depth,
        plan.servers.len(),
        plan.keys,
        plan.value_size,
        plan.reads,
        plan.read_mode,
        plan.secs
    );
    let _ = writeln!(
        text,
        "{:<6} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "", "ops/s", "p50 us", "p99 us", "p99.9 us", "max us", "service99", "errors"
    );
    for (name, lane) in [("all", &json), ("read", &json["read"]), ("write", &json["write"])] {
        if lane["samples"] == 0 && name != "all" {
            continue;
        }
        let cell = |field: &str| match &lane[field] {
            Value::Number(number) => format!("{:.0}", number.as_f64().unwrap_or(0.0)),
            _ => "-".into(),
        };
        let _ = writeln!(
            text,
            "{name:<6} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
            cell("ops_per_s"),
            cell("p50_us"),
            cell("p99_us"),
            cell("p999_us"),
            cell("max_us"),
            cell("service_p99_us"),
            cell("errors")
        );
    }
    for phase in json["phases"].as_array().into_iter().flatten() {
        let cell = |field: &str| phase[field].as_f64().unwrap_or(0.0);
        let _ = writeln!(
            text,
            "{:>3.0} s at {:>9.0}/s: {:>9.0} ops/s, p50 {:.0} us, p99 {:.0} us, {} errors",
            cell("secs"),
            cell("rate"),
            cell("ops_per_s"),
            cell("p50_us"),
            cell("p99_us"),
            phase["errors"]
        );
    }
    let figure = |field: &str| json[field].as_f64().map_or("-".into(), |value| format!("{value:.2}"));
    let _ = writeln!(
        text,
        "CPU per op: servers {} us, client {} us ({} cores); longest time without an acknowledged write: {} ms",
        figure("server_cpu_us_per_op"),
        figure("client_cpu_us_per_op"),
        figure("client_cores"),
        figure("max_gap_ms")
    );
    if let Some(codes) = json["error_codes"].as_object()
        && !codes.is_empty()
    {
        let list: Vec<String> = codes.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let _ = writeln!(text, "errors: {}", list.join(", "));
    }
    if measured.total.refused > 0 {
        let _ = writeln!(text, "refused while nobody led, and asked again: {}", measured.total.refused);
    }
    if let (Some(ceiling), Some(bound)) = (measured.ceiling, is_client_bound(plan, measured)) {
        let _ = writeln!(
            text,
            "this client against a null server: {:.0} ops/s{}",
            ceiling.ops_per_s,
            if bound { "; CLIENT-BOUND: less than twice what was measured" } else { "" }
        );
    }
    if let Some(Ok(done)) = &measured.fault {
        let node = done.node.map(|node| format!(" of node {node}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}{node} at {:.2} s; p99.9 before {} us, after {} us; {} ms in times of over 100 ms without a write",
            done.what,
            done.at_s,
            figure("p999_before_us"),
            figure("p999_after_us"),
            figure("unavailable_ms")
        );
        for (what, took) in [("all servers as before", done.whole_after_ms), ("in sync", done.in_sync_ms)] {
            if let Some(took) = took {
                let _ = writeln!(text, "{what} after {took:.0} ms");
            }
        }
    }
    if let Some(report) = report {
        text.push_str(&report.text());
    }
    let faults = faults(plan, measured);
    for (word, list) in [("BEHIND", faults.behind), ("INVALID", faults.invalid), ("PARTIAL", faults.partial)]
    {
        for why in list {
            let _ = writeln!(text, "{word}: {why}");
        }
    }
    text
}
