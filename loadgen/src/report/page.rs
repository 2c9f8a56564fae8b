//! A folder's report.html: one file that needs nothing but itself; and its plots as files of their own.

use std::fmt::Write;
use std::fs;

use super::folder::{Cell, Folder, Run, Spread};
use super::plot::{self, Chart, Line, Scale, bars, colour, escape};
use super::tables;
use crate::workload;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1360px;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}h3{margin-bottom:.2em}\
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}\
td,th{border:1px solid #ddd;padding:3px 8px;text-align:right}td:first-child,th:first-child{text-align:left}\
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(480px,1fr));gap:1em}\
figure{margin:0}figcaption{font-weight:600}svg{width:100%}";

/// A plot's words above it, and the plot.
type Figure = (String, String);

fn sections(folder: &Folder) -> Vec<(&'static str, Vec<Figure>)> {
    let all = vec![
        ("Read share", ratios(folder)),
        ("Latency against load", loads(folder)),
        ("Clients", sweeps(folder)),
        ("CPU of the servers for each operation", costs(folder)),
        ("Percentile spectra", spectra(folder)),
        ("Over time", times(folder)),
    ];
    all.into_iter().filter(|(_, figures)| !figures.is_empty()).collect()
}

/// Names and texts of the plots as files.
pub fn plots(folder: &Folder) -> Vec<(String, String)> {
    let slug = |text: &str| {
        let plain =
            |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
        let words = text.chars().map(plain).collect::<String>();
        words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let file = |heading: &str, (caption, svg): &Figure| {
        (
            format!("{}-{}.svg", slug(heading), slug(caption)),
            plot::alone(svg, &format!("{heading}: {caption}")),
        )
    };
    let sections = sections(folder);
    sections.iter().flat_map(|(heading, all)| all.iter().map(|one| file(heading, one))).collect()
}

pub fn html(folder: &Folder) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}{PLOTS}</style></head><body>\n<h1>{title}</h1>\n",
        title = escape(&folder.series.title),
        PLOTS = plot::STYLE,
    );
    for (heading, figures) in sections(folder) {
        let _ = write!(page, "<h2>{heading}</h2>\n<div class=\"plots\">\n{}</div>\n", section(&figures));
    }
    page.push_str("<h2>Tables</h2>\n");
    page.push_str(&markdown(&tables::readme(folder)));
    page.push_str("</body></html>\n");
    page
}

/// Published points of a curve over the share of reads (three servers).
fn points(name: &str) -> &'static [(f64, f64)] {
    match name {
        "zk10-ratio" => &[(0.0, 21_000.0), (100.0, 87_000.0)],
        "zkdoc-ratio" => &[(0.0, 23_000.0), (50.0, 41_000.0), (75.0, 60_000.0), (100.0, 88_000.0)],
        _ => &[],
    }
}

fn section(figures: &[Figure]) -> String {
    figures.iter().fold(String::new(), |mut text, (caption, svg)| {
        let _ = writeln!(text, "<figure><figcaption>{}</figcaption>{svg}</figure>", escape(caption));
        text
    })
}

fn system_colour(folder: &Folder, system: &str) -> &'static str {
    colour(folder.series.systems.iter().position(|name| name == system).unwrap_or(0))
}

fn chart(x: (&'static str, Scale), y: (&'static str, Scale)) -> Chart {
    Chart { x, y, lines: Vec::new(), events: Vec::new(), ticks: Vec::new() }
}

fn median(cell: &Cell, field: &str) -> Option<f64> {
    Spread::of(&cell.figures(field)).map(|spread| spread.median)
}

/// Workloads of one family that differ in a number: each family and its members.
fn families(
    folder: &Folder,
    of: impl Fn(&super::folder::Workload) -> Option<f64>,
) -> Vec<(&str, Vec<(&str, f64)>)> {
    let mut families: Vec<(&str, Vec<(&str, f64)>)> = Vec::new();
    for workload in &folder.series.workloads {
        let Some(value) = of(workload) else { continue };
        match families.iter_mut().find(|(name, _)| *name == workload.of) {
            Some((_, members)) => members.push((&workload.name, value)),
            None => families.push((&workload.of, vec![(&workload.name, value)])),
        }
    }
    families.retain(|(_, members)| members.len() > 1);
    families
}

fn curves(folder: &Folder, members: &[(&str, f64)], field: &str) -> Vec<Line> {
    let line = |system: &String| {
        let mut points: Vec<(f64, f64)> = members
            .iter()
            .filter_map(|(name, x)| Some((*x, median(folder.cell(name, system)?, field)?)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: system.clone(), colour: system_colour(folder, system), points, marks_only: false }
    };
    folder.series.systems.iter().map(line).filter(|line| !line.points.is_empty()).collect()
}

fn ratios(folder: &Folder) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (family, members) in families(folder, |workload| workload.reads) {
        let mut chart = chart(("reads, %", Scale::Linear), ("ops/s", Scale::Log));
        chart.lines = curves(folder, &members, "ops_per_s");
        let points = points(family).to_vec();
        if !points.is_empty() && !chart.lines.is_empty() {
            let name = format!("published: {}", workload::published(family).map_or("", |known| known.source));
            chart.lines.push(Line { name, colour: "#000", points, marks_only: true });
        }
        figures.extend(chart.svg().map(|svg| (family.to_string(), svg)));
    }
    figures
}

fn sweeps(folder: &Folder) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (family, members) in families(folder, |workload| workload.clients) {
        for (field, label, scale) in [
            ("ops_per_s", "ops/s", Scale::Log),
            ("p99_us", "p99, us", Scale::Log),
            ("last_ms", "last told, ms", Scale::Log),
        ] {
            let mut chart = chart(("clients", Scale::Log), (label, scale));
            chart.lines = curves(folder, &members, field);
            figures.extend(chart.svg().map(|svg| (format!("{family}: {label}"), svg)));
        }
    }
    figures
}

/// Every row that has both, by its rate: one point a row, open loops joined to a curve.
fn loads(folder: &Folder) -> Vec<Figure> {
    let mut all = chart(("ops/s", Scale::Log), ("p99, us", Scale::Log));
    for system in &folder.series.systems {
        let cells = folder.cells.iter().filter(|cell| &cell.system == system);
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for cell in cells {
            let steps = cell.rounds().next().and_then(|run| run.result["steps"].as_array());
            for step in steps.into_iter().flatten() {
                if let (Some(rate), Some(p99)) = (step["rate"].as_f64(), step["result"]["p99_us"].as_f64()) {
                    open.push((rate, p99)); // A ladder's.
                }
            }
            let (Some(ops), Some(p99)) = (median(cell, "ops_per_s"), median(cell, "p99_us")) else {
                continue;
            };
            let is_open = cell.rounds().any(|run| run.figure("plan/rate").is_some_and(|rate| rate > 0.0));
            if is_open { open.push((ops, p99)) } else { closed.push((ops, p99)) }
        }
        open.sort_by(|a, b| a.0.total_cmp(&b.0));
        let colour = system_colour(folder, system);
        if open.len() > 1 {
            let name = format!("{system}, open loop");
            all.lines.push(Line { name, colour, points: open.split_off(0), marks_only: false });
        }
        closed.append(&mut open);
        if !closed.is_empty() {
            all.lines.push(Line { name: system.clone(), colour, points: closed, marks_only: true });
        }
    }
    all.svg().map(|svg| ("each row's p99 at its rate".to_string(), svg)).into_iter().collect()
}

fn costs(folder: &Folder) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &folder.series.workloads {
        let row = |system: &String| {
            let cost = median(folder.cell(&workload.name, system)?, "server_cpu_us_per_op")?;
            Some((system.clone(), cost, system_colour(folder, system)))
        };
        let rows: Vec<_> = folder.series.systems.iter().filter_map(row).collect();
        if rows.len() > 1 {
            figures.push((workload.name.clone(), bars(&rows, "us")));
        }
    }
    figures
}

fn spectra(folder: &Folder) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &folder.series.workloads {
        for lane in ["read", "write", "job"] {
            let mut chart = chart(("percentile", Scale::Log), ("ms", Scale::Log));
            chart.ticks = vec![
                (1.0, "0"),
                (10.0, "90"),
                (100.0, "99"),
                (1e3, "99.9"),
                (1e4, "99.99"),
                (1e5, "99.999"),
                (1e6, "99.9999"),
            ];
            for system in &folder.series.systems {
                let run = folder.cell(&workload.name, system).and_then(|cell| cell.rounds().next());
                let points = run.map(|run| spectrum(folder, run, lane)).unwrap_or_default();
                if !points.is_empty() {
                    let colour = system_colour(folder, system);
                    chart.lines.push(Line { name: system.clone(), colour, points, marks_only: false });
                }
            }
            figures.extend(chart.svg().map(|svg| (format!("{}, {lane}, first round", workload.name), svg)));
        }
    }
    figures
}

/// A percentile file's lines: one in so many of a run's samples is as slow as that, or slower.
fn spectrum(folder: &Folder, run: &Run, lane: &str) -> Vec<(f64, f64)> {
    let file = folder.path.join(&run.path).with_file_name(format!("lat-{lane}.hgrm"));
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let fields: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [value, _, _, one_in] = fields[..] else { return None };
            one_in.is_finite().then_some((one_in.max(1.0), value))
        })
        .collect()
}

fn times(folder: &Folder) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &folder.series.workloads {
        let mut chart = chart(("s", Scale::Linear), ("ops/s", Scale::Linear));
        let mut events: Vec<(f64, &str, &str)> = Vec::new();
        for system in &folder.series.systems {
            let Some(run) = folder.cell(&workload.name, system).and_then(|cell| cell.rounds().next()) else {
                continue;
            };
            let second =
                |value: &serde_json::Value| Some((value["second"].as_f64()? + 0.5, value["ops"].as_f64()?));
            let points: Vec<(f64, f64)> =
                run.result["series"].as_array().into_iter().flatten().filter_map(second).collect();
            if points.len() > 2 {
                let colour = system_colour(folder, system);
                chart.lines.push(Line { name: system.clone(), colour, points, marks_only: false });
            }
            if let Some(at) = run.figure("fault/at_s") {
                let what = run.result["fault"]["what"].as_str().unwrap_or("fault");
                events.push((at, what, system));
            }
        }
        // One mark for all where the same was done to all at the same time.
        let alike = events.iter().all(|(at, what, _)| *what == events[0].1 && (at - events[0].0).abs() < 0.2);
        let word = |(at, what, system): &(f64, &str, &str)| (*at, format!("{what} ({system})"));
        chart.events = match alike {
            true => events.first().map(|(at, what, _)| (*at, (*what).to_string())).into_iter().collect(),
            false => events.iter().map(word).collect(),
        };
        // Steady loads say nothing over time that their tables do not.
        if !chart.events.is_empty() || workload.name.contains("open") {
            figures.extend(chart.svg().map(|svg| (format!("{}, first round", workload.name), svg)));
        }
    }
    figures
}

/// As much of Markdown as the tables use.
fn markdown(text: &str) -> String {
    let mut html = String::new();
    let mut in_table = false;
    for line in text.lines() {
        let is_row = line.starts_with('|');
        if in_table && !is_row {
            html.push_str("</table>\n");
            in_table = false;
        }
        if is_row {
            if line.chars().all(|letter| matches!(letter, '|' | '-' | ':')) {
                continue;
            }
            let tag = if in_table { "td" } else { "th" };
            if !in_table {
                html.push_str("<table>\n");
                in_table = true;
            }
            html.push_str("<tr>");
            for cell in line.trim_matches('|').split('|') {
                let _ = write!(html, "<{tag}>{}</{tag}>", inline(cell.trim()));
            }
            html.push_str("</tr>\n");
        } else if let Some(rest) = line.strip_prefix("### ") {
            let _ = writeln!(html, "<h3>{}</h3>", inline(rest));
        } else if let Some(rest) = line.strip_prefix("## ") {
            let _ = writeln!(html, "<h2>{}</h2>", inline(rest));
        } else if !line.is_empty() && !line.starts_with("# ") {
            let _ = writeln!(html, "<p>{}</p>", inline(line));
        }
    }
    if in_table {
        html.push_str("</table>\n");
    }
    html
}

fn inline(text: &str) -> String {
    let escaped = escape(text);
    let pairs = |text: &str, mark: &str, tag: &str| {
        let mut parts = text.split(mark);
        let mut out = parts.next().unwrap_or_default().to_string();
        for (nth, part) in parts.enumerate() {
            let _ = write!(out, "<{}{tag}>{part}", if nth % 2 == 0 { "" } else { "/" });
        }
        out
    };
    pairs(&pairs(&escaped, "**", "b"), "`", "code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_are_files_with_plain_names() {
        let dir = tempfile::tempdir().expect("scratch");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        write("env.json", "{}");
        write("versions.json", "{}");
        write(
            "series.json",
            r#"{"title":"T","command":"c","systems":["a","b"],"workloads":[{"name":"failover-kill","what":"x"}]}"#,
        );
        let seconds = r#"[{"second":0,"ops":5},{"second":1,"ops":0},{"second":2,"ops":5}]"#;
        for (system, at) in [("a", 1.0), ("b", 1.001)] {
            let fault = format!(r#"{{"at_s":{at},"what":"kill"}}"#);
            let result = format!(r#"{{"ops_per_s":9,"p99_us":7,"series":{seconds},"fault":{fault}}}"#);
            write(&format!("runs/failover-kill/{system}/1/result.json"), &result);
        }
        let folder = Folder::read(dir.path()).expect("whole");
        let plots = plots(&folder);
        let names: Vec<&str> = plots.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "latency-against-load-each-row-s-p99-at-its-rate.svg",
                "over-time-failover-kill-first-round.svg"
            ]
        );
        assert_eq!(plots[1].1.matches("class=\"event\">kill</text>").count(), 1, "{}", plots[1].1);
    }

    #[test]
    fn markdown_becomes_tables_and_words() {
        let html = markdown("# T\n\n## A\n| x | y |\n|---|---:|\n| **a** | `b` |\n\nend <");
        assert_eq!(
            html,
            "<h2>A</h2>\n<table>\n<tr><th>x</th><th>y</th></tr>\n<tr><td><b>a</b></td><td><code>b</code></td></tr>\n\
             </table>\n<p>end &lt;</p>\n"
        );
    }
}
