//! A folder's README.md: what was claimed and what came of it, then a table for each workload.

use std::fmt::Write;

use serde_json::Value;

use super::folder::{Cell, Claim, Folder, NOISE, Spread};
use crate::workload;

/// Columns, where any run has the figure: field, heading, divisor.
const COLUMNS: [(&str, &str, f64); 26] = [
    ("ops_per_s", "ops/s", 1.0),
    ("p50_us", "p50 us", 1.0),
    ("p99_us", "p99 us", 1.0),
    ("p999_us", "p99.9 us", 1.0),
    ("service_p99_us", "service p99 us", 1.0),
    ("last_ms", "last told ms", 1.0),
    ("last_ms_worst", "worst ms", 1.0),
    ("max_gap_ms", "longest gap ms", 1.0),
    ("gone_after_due_ms", "gone after due ms", 1.0),
    ("first_early_ms", "early by ms", 1.0),
    ("stall_ms", "stall of others ms", 1.0),
    ("ready_again_ms", "ready again ms", 1.0),
    ("late_percent", "late sends %", 1.0),
    ("reads_after_ms", "reads after ms", 1.0),
    ("writes_after_ms", "writes after ms", 1.0),
    ("fault/in_sync_ms", "in sync ms", 1.0),
    ("written_bytes_all_servers", "written MB", 1e6),
    ("server_cpu_us_per_op", "server CPU us/op", 1.0),
    ("client_cpu_us_per_op", "client CPU us/op", 1.0),
    ("rss_mb_per_node", "RSS MB/node", 1.0),
    ("idle_cpu_percent", "idle CPU %", 1.0),
    ("flushes_per_s", "flushes/s", 1.0),
    ("disk_write_bytes_per_s", "disk MB/s", 1e6),
    ("loopback_bytes_per_s", "loopback MB/s", 1e6),
    ("errors", "errors", 1.0),
    ("ceiling/ops_per_s", "client's ceiling ops/s", 1.0),
];

pub fn readme(folder: &Folder) -> String {
    let series = &folder.series;
    let mut text = format!("# {}\n\n", series.title);
    for paragraph in [series.about.as_str(), &machine(&folder.env), &versions(&folder.versions)] {
        if !paragraph.is_empty() {
            let _ = writeln!(text, "{paragraph}\n");
        }
    }
    let _ = writeln!(
        text,
        "Made by `{}`{}{}; every figure is the median of its rounds with the least and the greatest beside it, from \
         the files under `runs/`. `loadgen report` makes this page again, and `report.html` with its plots.\n",
        series.command,
        if series.date.is_empty() { "" } else { " on " },
        series.date,
    );
    if !series.claims.is_empty() {
        text.push_str("## Wanted and measured\n\n");
        text.push_str(&claims(folder));
        text.push('\n');
    }
    if let Some(found) = &folder.verdicts {
        text.push_str("## A over B\n\n");
        text.push_str(&verdicts(found));
        text.push('\n');
    }
    text.push_str("## Rows\n\n");
    text.push_str(LEGEND);
    if folder.cells.iter().any(|cell| marks(cell).contains(BEHIND)) {
        text.push_str("Mark `b`: an open loop whose servers did less than it asked for; latencies are of a queue that grows.\n");
    }
    for workload in &series.workloads {
        let cells: Vec<&Cell> = series
            .systems
            .iter()
            .filter_map(|system| folder.cell(&workload.name, system))
            .filter(|cell| !cell.runs.is_empty() || !cell.failed.is_empty())
            .collect();
        let _ = writeln!(text, "\n### {}\n\n{}.", workload.name, workload.what);
        if let Some(known) = workload::published(&workload.of) {
            let _ = writeln!(text, "Published: {} ({}).", known.published, known.source);
        }
        text.push('\n');
        if cells.is_empty() {
            text.push_str("Not measured in this folder.\n");
        } else {
            text.push_str(&table(&cells));
            for cell in cells {
                for (round, last) in &cell.failed {
                    let _ = writeln!(
                        text,
                        "\n{}, round {round}: failed, `{}`.",
                        cell.system,
                        last.replace('`', "'")
                    );
                }
            }
        }
    }
    if !folder.broken.is_empty() {
        text.push_str("\n## Files that could not be read\n\n");
        folder.broken.iter().for_each(|why| {
            let _ = writeln!(text, "- {}", why.replace(&format!("{}/", folder.path.display()), ""));
        });
    }
    text
}

const LEGEND: &str = "Closed loops measure capacity: their latencies are service times. Open loops count from the \
intended start. Marks: `c` the client was the limit (more than half of what it does against a null server), `!` an \
invalid run is among them (late sends, or the client used its whole core), `p` a partial one, `x` one whose history \
failed its check. A/A: two runs of one system, one right behind the other, and their ratio. CPU is that of all three servers. Flushes, disk and loopback are the whole machine's.\n";

const BEHIND: char = 'b';

/// Marks of a cell's runs.
pub fn marks(cell: &Cell) -> String {
    let any = |wanted: &dyn Fn(&Value) -> bool| cell.rounds().any(|run| wanted(&run.result));
    let filled = |field: &'static str| {
        move |result: &Value| result[field].as_array().is_some_and(|list| !list.is_empty())
    };
    // The ceiling is measured once for a series; every round is held against it.
    let ceiling = cell.runs.iter().find_map(|run| run.figure("ceiling/ops_per_s"));
    let bound = ceiling.is_some_and(|ceiling| {
        cell.figures("ops_per_s").iter().any(|ops| *ops > ceiling * crate::ceiling::SHARE_MAX)
    });
    let mut marks = String::new();
    for (mark, set) in [
        ('c', bound),
        ('!', any(&filled("invalid"))),
        ('p', any(&filled("partial"))),
        (BEHIND, any(&filled("behind"))),
        ('x', any(&|result| result["check"]["passed"] == false)),
    ] {
        if set {
            marks.push(mark);
        }
    }
    marks
}

fn table(cells: &[&Cell]) -> String {
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|(field, ..)| {
            let worth = |value: &f64| *value > 0.0 || *field != "errors";
            cells.iter().any(|cell| cell.figures(field).iter().any(worth))
        })
        .collect();
    let mut text = "| system | marks | rounds x s |".to_string();
    columns.iter().for_each(|(_, heading, _)| {
        let _ = write!(text, " {heading} |");
    });
    text.push_str("\n|---|---|---|");
    columns.iter().for_each(|_| text.push_str("---:|"));
    text.push('\n');
    for cell in cells {
        let secs = cell.runs.first().and_then(|run| run.figure("plan/secs").or(run.figure("secs")));
        let _ = write!(
            text,
            "| {} | {} | {} x {} |",
            cell.system,
            marks(cell),
            cell.rounds().count(),
            secs.map_or("-".into(), number)
        );
        for (field, _, divisor) in &columns {
            let values: Vec<f64> = cell.figures(field).iter().map(|value| value / divisor).collect();
            let _ = write!(text, " {} |", Spread::of(&values).map_or("-".into(), spread));
        }
        text.push('\n');
        if let Some(noise) = noise(cell) {
            let _ = writeln!(text, "| {} A/A | | | {noise} |", cell.system);
        }
    }
    text
}

/// What `loadgen compare` printed.
fn verdicts(found: &Value) -> String {
    let mut text = "| figure | A median | B median | A/B | 95 % interval | A/A | verdict |\n\
        |---|---:|---:|---:|---:|---:|---|\n"
        .to_string();
    for row in found["figures"].as_array().into_iter().flatten() {
        let cell = |field: &str| row[field].as_f64().map_or("-".into(), number);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} to {} | {} | {} |",
            row["figure"].as_str().unwrap_or_default(),
            cell("a"),
            cell("b"),
            cell("ratio"),
            cell("low"),
            cell("high"),
            cell("noise"),
            row["verdict"].as_str().unwrap_or_default()
        );
    }
    if let Some(why) = found["partial"].as_str() {
        let _ = writeln!(text, "\nPartial: {why}.");
    }
    text
}

/// What two runs of the same system differed by, one right behind the other.
fn noise(cell: &Cell) -> Option<String> {
    let rate = |round: &str| cell.runs.iter().find(|run| run.round == round)?.figure("ops_per_s");
    let (one, other) = match rate(NOISE[1]) {
        Some(other) => (rate(NOISE[0])?, other),
        None => (rate("1")?, rate(NOISE[0])?),
    };
    Some(format!("{} / {} = {:.3}", number(one), number(other), one / other))
}

/// One claim's outcome.
pub struct Outcome {
    pub ratio: Option<Spread>,
    pub reached: Option<bool>,
    pub marks: String,
}

pub fn judge(folder: &Folder, claim: &Claim) -> Outcome {
    let cell = folder.cell(&claim.workload, &claim.system);
    let other_workload = claim.over_workload.as_ref().unwrap_or(&claim.workload);
    let other = claim.over.as_ref().and_then(|system| folder.cell(other_workload, system));
    let other_figure = claim.over_figure.as_ref().unwrap_or(&claim.figure);
    let values: Vec<f64> = match (&claim.over, cell, other) {
        (None, Some(cell), _) => cell.figures(&claim.figure),
        // Rounds of one number were measured one after the other: they make a pair.
        (Some(_), Some(cell), Some(other)) => cell
            .rounds()
            .filter_map(|run| {
                let pair = other.rounds().find(|other| other.round == run.round)?;
                let below = pair.figure(other_figure).filter(|value| *value > 0.0)?;
                Some(run.figure(&claim.figure)? / below)
            })
            .collect(),
        _ => Vec::new(),
    };
    let ratio = Spread::of(&values);
    let is_judged = claim.least.is_some() || claim.most.is_some() || claim.worst.is_some();
    let reached = ratio.filter(|_| is_judged).map(|ratio| {
        claim.least.is_none_or(|least| ratio.median >= least)
            && claim.most.is_none_or(|most| ratio.median <= most)
            && claim.worst.is_none_or(|worst| ratio.max <= worst)
    });
    let mut marks: String = [cell, other].into_iter().flatten().map(self::marks).collect();
    let mut seen = Vec::new();
    marks.retain(|mark| {
        !seen.contains(&mark) && {
            seen.push(mark);
            true
        }
    });
    Outcome { ratio, reached, marks }
}

pub fn claims(folder: &Folder) -> String {
    let mut text =
        "| what | wanted | measured (least to greatest) | | marks |\n|---|---|---|---|---|\n".to_string();
    for claim in &folder.series.claims {
        let outcome = judge(folder, claim);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            claim.what,
            wanted(claim),
            outcome.ratio.map_or("not measured".into(), ratio),
            match outcome.reached {
                None => "-",
                Some(true) => "reached",
                Some(false) => "**missed**",
            },
            outcome.marks
        );
    }
    text
}

pub fn wanted(claim: &Claim) -> String {
    let mut parts = Vec::new();
    if let Some(least) = claim.least {
        parts.push(format!(">= {}", number(least)));
    }
    if let Some(most) = claim.most {
        parts.push(format!("<= {}", number(most)));
    }
    if let Some(worst) = claim.worst {
        parts.push(format!("worst <= {}", number(worst)));
    }
    if let Some(aim) = claim.aim {
        parts.push(format!("aim {}", number(aim)));
    }
    parts.join(", ")
}

fn ratio(spread: Spread) -> String {
    format!("{} ({} to {})", number(spread.median), number(spread.min), number(spread.max))
}

fn spread(spread: Spread) -> String {
    if spread.min == spread.max {
        number(spread.median)
    } else {
        format!("{} ({}-{})", number(spread.median), number(spread.min), number(spread.max))
    }
}

/// Three digits that count, with thousands set apart.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (nth, digit) in digits.chars().enumerate() {
            if nth > 0 && digit.is_ascii_digit() && (digits.len() - nth) % 3 == 0 && !text.ends_with('-') {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let decimals = if size >= 100.0 || value.fract() == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

fn machine(env: &Value) -> String {
    let word = |pointer: &str| match env.pointer(pointer) {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Null) | None => "?".into(),
        Some(other) => other.to_string(),
    };
    let gib = env["memory_kb"].as_f64().unwrap_or(0.0) / 1024.0 / 1024.0;
    format!(
        "One machine for servers and clients: {} cores of {}{}, {gib:.0} GiB, Linux {}, {} on a disk with a {} cache{}. \
         Absolute figures are not those of a cluster.",
        word("/cpu/online"),
        word("/cpu/model"),
        if env["cpu"]["virtual"] == true { " (virtual)" } else { "" },
        word("/kernel"),
        word("/disk/file_system/type"),
        word("/disk/write_cache"),
        if word("/disk/fua") == "0" { " without FUA" } else { "" },
    )
}

fn versions(versions: &Value) -> String {
    let Some(all) = versions.as_object() else { return String::new() };
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(version) => Some(format!("{name} {version}")),
        Value::Object(fields) => {
            let runtime =
                fields.get("runtime").and_then(Value::as_str).map(|runtime| format!(" ({runtime})"));
            Some(format!("{name} {}{}", fields.get("version")?.as_str()?, runtime.unwrap_or_default()))
        }
        _ => None,
    };
    let list: Vec<String> = all.iter().filter_map(one).collect();
    format!("Versions: {}.", list.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn write(dir: &Path, name: &str, value: &Value) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("a folder");
        fs::write(path, value.to_string()).expect("written");
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path();
        write(path, "env.json", &json!({ "kernel": "6.18", "cpu": { "model": "X", "online": 2 } }));
        write(path, "versions.json", &json!({ "quorate": "0.1" }));
        let claim = json!({ "what": "throughput", "workload": "w", "figure": "ops_per_s", "system": "a",
            "over": "b", "least": 12 });
        write(
            path,
            "series.json",
            &json!({ "title": "T", "command": "c", "systems": ["a", "b"],
                "workloads": [{ "name": "w", "what": "writes", "of": "etcd-put-1" }], "claims": [claim] }),
        );
        for (round, a, b) in [("1", 1000, 100), ("2", 1300, 100), ("3", 1200, 80)] {
            let ceiling = json!({ "ops_per_s": 2500 });
            let ceiling = if round == "1" { ceiling } else { Value::Null };
            write(
                path,
                &format!("runs/w/a/{round}/result.json"),
                &json!({ "ops_per_s": a, "ceiling": ceiling, "invalid": [], "plan": { "secs": 5 } }),
            );
            let late = json!({ "ops_per_s": b, "behind": ["80 of 100"] });
            write(path, &format!("runs/w/b/{round}/result.json"), &late);
        }
        let folder = Folder::read(path).expect("whole");
        (dir, folder)
    }

    #[test]
    fn a_claim_is_judged_by_the_median_of_its_pairs() {
        let (_dir, folder) = folder();
        let outcome = judge(&folder, &folder.series.claims[0]);
        assert_eq!(outcome.ratio, Some(Spread { median: 13.0, min: 10.0, max: 15.0 }));
        assert_eq!((outcome.reached, outcome.marks.as_str()), (Some(true), "cb"));
        let text = readme(&folder);
        assert!(text.contains("| throughput | >= 12 | 13 (10 to 15) | reached | cb |"), "{text}");
        assert!(text.contains("| a | c | 3 x 5 | 1,200 (1,000-1,300) |"), "{text}");
        assert!(text.contains("| b | b | 3 x - |") && text.contains("Mark `b`: an open loop"), "{text}");
        assert!(text.contains("Published: 583/s, 1.6 ms"), "{text}");
    }

    #[test]
    fn a_corrupt_file_is_named_and_the_rest_counts() {
        let (dir, _) = folder();
        fs::write(dir.path().join("runs/w/a/2/result.json"), "{\"ops_per_s\": 1").expect("written");
        let folder = Folder::read(dir.path()).expect("the rest");
        assert_eq!(folder.cell("w", "a").expect("a cell").runs.len(), 2);
        let text = readme(&folder);
        assert!(text.contains("runs/w/a/2/result.json is corrupt"), "{text}");
    }

    #[test]
    fn a_round_that_failed_is_named() {
        let (dir, _) = folder();
        let path = dir.path().join("runs/w/b/4");
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join("failed.txt"), "first\nloadgen: b: refused\n").expect("written");
        let folder = Folder::read(dir.path()).expect("whole");
        assert_eq!(folder.cell("w", "b").expect("a cell").rounds().count(), 3);
        let text = readme(&folder);
        assert!(text.contains("b, round 4: failed, `loadgen: b: refused`."), "{text}");
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (1_234_567.0, "1,234,567"),
            (999.4, "999"),
            (12.34, "12.3"),
            (1.5, "1.50"),
            (0.0833, "0.083"),
            (3.0, "3"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
