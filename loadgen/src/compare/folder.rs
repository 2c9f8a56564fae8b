//! A comparison's folder, as `loadgen report` reads it: what was meant before the first run, the verdicts after the last.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Side;
use crate::args::Compare;
use crate::plain::Plain;
use crate::report::VERDICTS;
use crate::workload::Scale;
use crate::{Exit, Failure, env, results, workload};

pub struct Folder {
    dir: PathBuf,
    load: String,
    sides: [String; 2],
}

/// Refuses a folder that holds something, or takes nothing, before the first run.
pub fn open(dir: &Path, args: &Compare, a: &Side, b: &Side) -> Result<Folder, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    if dir.join("series.json").exists() {
        let name = dir.display();
        return Err(usage(format!("{name} holds results already, and they are never edited; pass another")));
    }
    results::claim(dir).map_err(usage)?;
    let load = args.load.workload.clone().unwrap_or_else(|| "load".into());
    let sides = match a.name() == b.name() {
        true => [format!("{}-a", a.name()), format!("{}-b", b.name())],
        false => [a.name().into(), b.name().into()],
    };
    let folder = Folder { dir: dir.to_path_buf(), load, sides };
    folder.begin(args, [a, b]).map_err(usage)?;
    Ok(folder)
}

impl Folder {
    fn begin(&self, args: &Compare, sides: [&Side; 2]) -> Result<(), String> {
        let known = args.load.workload.as_deref().and_then(workload::what);
        let scale = if args.load.scale == Scale::Small { "small" } else { "full" };
        let what = known.map_or("a load by flags".into(), |what| format!("{what}, {scale} scale"));
        let command: Vec<String> = std::env::args().skip(1).collect();
        let series = json!({
            "title": format!("{} against {}: {}", self.sides[0], self.sides[1], self.load),
            "about": format!("A is {}, B is {}; runs in the order A B B A.", self.sides[0], self.sides[1]),
            "command": format!("loadgen {}", command.join(" ")), "systems": self.sides,
            "workloads": [{ "name": self.load, "of": self.load, "what": what }],
        });
        let mut versions = Map::new();
        versions.insert("loadgen".into(), env!("CARGO_PKG_VERSION").into());
        for side in sides {
            if let Side::Fresh(system) = side
                && let Some((name, version)) = system.version(&args.place)
            {
                versions.insert(name.into(), version);
            }
        }
        self.write("series.json", &series)?;
        self.write("env.json", &env::json(Path::new(".")))?;
        self.write("versions.json", &versions.into())
    }

    /// Where a run of A (0) or B (1) is kept.
    pub fn run(&self, side: usize, round: &str) -> PathBuf {
        self.dir.join("runs").join(&self.load).join(&self.sides[side]).join(round)
    }

    /// The runs have their own files.
    pub fn close(&self, outcome: &Value) -> Result<(), String> {
        let mut told = outcome.clone();
        told.as_object_mut().expect("made as one").remove("pairs");
        self.write(VERDICTS, &told)
    }

    fn write(&self, name: &str, value: &Value) -> Result<(), String> {
        let path = self.dir.join(name);
        fs::write(&path, format!("{:#}\n", Plain::here().json(value)))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}
