//! A results folder as it lies on the disk: `series.json` says what was meant to be measured and what was claimed,
//! `runs/WORKLOAD/SYSTEM/ROUND/result.json` what came out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// `series.json`, written by the script that measures before it begins.
#[derive(Clone, Debug, Deserialize)]
pub struct Series {
    pub title: String,
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub date: String,
    pub command: String,
    /// In the order of the tables.
    pub systems: Vec<String>,
    pub workloads: Vec<Workload>,
    #[serde(default)]
    pub claims: Vec<Claim>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Workload {
    pub name: String,
    pub what: String,
    /// Its name in `loadgen list`, where figures were published.
    #[serde(default)]
    pub of: String,
    /// Percentage of reads, for the curves.
    pub reads: Option<f64>,
    /// Clients, for the curves.
    pub clients: Option<f64>,
}

/// What is wanted of one figure, or of its ratio to another system's.
#[derive(Clone, Debug, Deserialize)]
pub struct Claim {
    pub what: String,
    pub workload: String,
    /// A field of `result.json`; a `/` leads into objects.
    pub figure: String,
    pub system: String,
    /// Absent: the figure itself counts.
    pub over: Option<String>,
    /// The other system's workload, where it is another one.
    pub over_workload: Option<String>,
    pub over_figure: Option<String>,
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// No round may be above this.
    pub worst: Option<f64>,
    /// What would be better still.
    pub aim: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Run {
    /// Relative to the folder.
    pub path: String,
    /// Rounds of the same name were measured next to each other.
    pub round: String,
    pub result: Value,
}

#[derive(Clone, Debug)]
pub struct Cell {
    pub workload: String,
    pub system: String,
    pub runs: Vec<Run>,
    /// Rounds that gave no figures, and the last words of each.
    pub failed: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Folder {
    pub path: PathBuf,
    pub series: Series,
    pub env: Value,
    pub versions: Value,
    pub cells: Vec<Cell>,
    /// What `loadgen compare` found.
    pub verdicts: Option<Value>,
    /// Result files that could not be read, with why.
    pub broken: Vec<String>,
}

impl Folder {
    pub fn read(path: &Path) -> Result<Folder, String> {
        if path.join("result.json").exists() && !path.join("series.json").exists() {
            return Err(format!(
                "{} is one run's; a report is of a folder with a series.json and runs/, as scripts/publish and `loadgen compare` make them",
                path.display()
            ));
        }
        let series = json(&path.join("series.json"))?;
        let series: Series = serde_json::from_value(series)
            .map_err(|error| format!("{}: {error}", path.join("series.json").display()))?;
        let mut folder = Folder {
            path: path.to_path_buf(),
            env: json(&path.join("env.json"))?,
            versions: json(&path.join("versions.json"))?,
            cells: Vec::new(),
            verdicts: path.join(VERDICTS).exists().then(|| json(&path.join(VERDICTS))).transpose()?,
            broken: Vec::new(),
            series,
        };
        for workload in &folder.series.workloads {
            for system in &folder.series.systems {
                let below = format!("runs/{}/{system}", workload.name);
                let (workload, system) = (workload.name.clone(), system.clone());
                let mut cell = Cell { workload, system, runs: Vec::new(), failed: Vec::new() };
                for round in names(&path.join(&below)) {
                    let file = format!("{below}/{round}/result.json");
                    match json(&path.join(&file)) {
                        Ok(result) => cell.runs.push(Run { path: file, round, result }),
                        Err(why) if path.join(&file).exists() => folder.broken.push(why),
                        // Begun, and never ended, unless it says why.
                        Err(_) => {
                            let words = fs::read_to_string(path.join(&below).join(&round).join("failed.txt"));
                            let last =
                                words.ok().and_then(|words| Some(words.trim().lines().last()?.to_string()));
                            cell.failed.extend(last.map(|last| (round, last)));
                        }
                    }
                }
                folder.cells.push(cell);
            }
        }
        Ok(folder)
    }

    pub fn cell(&self, workload: &str, system: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.workload == workload && cell.system == system)
    }
}

/// Of a comparison: its figures, their ratios, what may be said.
pub const VERDICTS: &str = "compare.json";
/// Noise runs (A/A) stand beside the rounds and count towards no median. Two of them are a pair; one belongs to round 1.
pub const NOISE: [&str; 2] = ["noise-1", "noise-2"];

impl Cell {
    pub fn rounds(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !NOISE.contains(&run.round.as_str()))
    }

    pub fn figures(&self, name: &str) -> Vec<f64> {
        self.rounds().filter_map(|run| run.figure(name)).collect()
    }
}

impl Run {
    pub fn figure(&self, name: &str) -> Option<f64> {
        name.split('/').try_fold(&self.result, |value, part| value.get(part))?.as_f64()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(list) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn json(path: &Path) -> Result<Value, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{name} is corrupt: {error}; move it away and measure that row again"))
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, min: values[0], max: values[values.len() - 1] })
    }
}
