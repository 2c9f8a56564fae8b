//! House rules as a test: who may import whom, how long a file may be, what never appears.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the shipping code of each module may import from this crate. Tests may use anything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("journal", &["base", "pipeline::parcel", "pipeline::ports", "replica"]),
    ("state", &["base"]),
    ("replica", &["base", "journal", "pipeline::parcel", "state"]),
    ("realms", &["base", "state"]),
    ("doors", &["base", "state", "realms", "observe"]),
    ("client", &["base", "doors::native", "realms", "tls"]),
    ("tls", &["base"]),
    ("observe", &["base"]),
    ("pipeline", &["base", "journal", "state", "replica", "realms", "doors", "observe", "counters"]),
    ("drive", &["base", "pipeline", "observe", "config", "journal", "replica", "doors", "tls"]),
    ("sim", &["base", "journal", "state", "replica", "realms", "doors", "observe", "pipeline", "tools"]),
    (
        "tools",
        &[
            "base", "client", "journal", "config", "drive", "sim", "pipeline", "replica", "observe",
            "realms", "state", "doors", "tls",
        ],
    ),
];

/// Calls that read the world, and the places that may.
const WORLD: &[&str] =
    &["Instant::now", "SystemTime::now", "std::fs::", "std::thread::", "std::net::Tcp", "HashMap"];
const WORLDLY: &[&str] = &["drive", "client", "tools", "tls", "main.rs", "config.rs", "tidy.rs"];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// The part of a file that ships: all before its test module, nothing of a file of tests.
fn shipping(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let of_tests = path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs")
    });
    if of_tests { String::new() } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned() }
}

fn all() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), shipping(path))).collect()
}

/// Paths into this crate that a line names.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap();
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn modules_import_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        let module = file.split('/').next().unwrap();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else { continue };
        for (number, line) in text.lines().enumerate() {
            for path in imports(line) {
                let own = path.split("::").next() == Some(module);
                if !own && !allowed.iter().any(|allowed| path.starts_with(allowed)) {
                    wrong.push(format!("src/{file}:{}: {module} may not import {path}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_world_reads_the_world() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        if WORLDLY.contains(&file.split('/').next().unwrap()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for call in WORLD.iter().filter(|call| code.contains(**call)) {
                wrong.push(format!(
                    "src/{file}:{}: `{call}` belongs into `drive`, `client` or `tools`",
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_read_in_one_sitting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ["src", "bench/src", "loadgen/src", "tests"] {
        if root.join(dir).exists() {
            sources(&root.join(dir), &mut paths);
        }
    }
    let mut wrong = Vec::new();
    for path in paths {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if lines > 600 {
            wrong.push(format!("{name} has {lines} lines: is there a second noun in it?"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
