//! `results/README.md` over all folders, and the table of figures in the README.md above it: both from raw files.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::Made;
use super::folder::Folder;
use super::tables;

const BEGIN: &str = "<!-- figures: made by `loadgen report --claims results` -->";
const END: &str = "<!-- end of figures -->";

pub fn make(dir: &Path) -> Result<Made, String> {
    let mut folders: Vec<Folder> = Vec::new();
    let list = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut paths: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.join("series.json").exists()) {
        folders.push(Folder::read(&path)?);
    }
    let mut files = vec![(dir.join("README.md"), overview(&folders))];
    let above = fs::canonicalize(dir)
        .ok()
        .and_then(|dir| Some(dir.parent()?.join("README.md")))
        .filter(|readme| readme.exists());
    if let Some(readme) = above {
        let text = fs::read_to_string(&readme).map_err(|error| format!("{}: {error}", readme.display()))?;
        if let Some(text) = replaced(&text, &figures(&folders)) {
            files.push((readme, text));
        }
    }
    for folder in &folders {
        files.push((folder.path.join("README.md"), tables::readme(folder)));
    }
    let broken = folders.into_iter().flat_map(|folder| folder.broken).collect();
    Ok(Made { files, broken })
}

fn name(folder: &Folder) -> String {
    folder.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn overview(folders: &[Folder]) -> String {
    let mut text = "# Results\n\nEach folder holds the raw files of one measurement: `env.json`, `versions.json`, \
        `commands.sh`, and under `runs/` each run's `result.json`, histogram logs (`*.hlog`), percentile spectra \
        (`*.hgrm`) and series. Tables are made from them by `loadgen report --claims results`; a test fails if they \
        differ.\n"
        .to_string();
    if folders.is_empty() {
        text.push_str("\nNothing is published yet.\n");
    }
    for folder in folders {
        let name = name(folder);
        let _ = writeln!(text, "\n## [{}]({name}/README.md)\n", folder.series.title);
        let runs: usize = folder.cells.iter().map(|cell| cell.runs.len()).sum();
        let _ = writeln!(text, "`{}`, {}, {runs} runs.", folder.series.command, folder.series.date);
        if !folder.series.claims.is_empty() {
            let _ = writeln!(text, "\n{}", tables::claims(folder).trim_end());
        }
    }
    text
}

/// The claims of all folders as one table for people who have not read anything else.
fn figures(folders: &[Folder]) -> String {
    let mut text = "| what | measured | wanted | raw files |\n|---|---|---|---|\n".to_string();
    let mut rows = 0;
    for folder in folders {
        let mut compared = 0;
        for claim in &folder.series.claims {
            let outcome = tables::judge(folder, claim);
            let Some(ratio) = outcome.ratio else { continue };
            let wanted = tables::wanted(claim);
            if wanted.is_empty() {
                compared += 1;
                continue;
            }
            let missed = if outcome.reached == Some(false) { ", **missed**" } else { "" };
            let flag = if outcome.marks.is_empty() { String::new() } else { format!(" `{}`", outcome.marks) };
            let _ = writeln!(
                text,
                "| {} | {} ({} to {}){flag} | {wanted}{missed} | [{n}](results/{n}/README.md) |",
                claim.what,
                tables::number(ratio.median),
                tables::number(ratio.min),
                tables::number(ratio.max),
                n = name(folder)
            );
            rows += 1;
        }
        if compared > 0 {
            let (title, n) = (&folder.series.title, name(folder));
            let _ = writeln!(
                text,
                "| {title} | {compared} ratios, lost ones among them | - | [{n}](results/{n}/README.md) |"
            );
            rows += 1;
        }
    }
    if rows == 0 { "No figures are published yet.\n".into() } else { text }
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let from = text.find(BEGIN)? + BEGIN.len();
    let to = from + text[from..].find(END)?;
    Some(format!("{}\n{}{}", &text[..from], figures, &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_made() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = replaced(&text, "new\n").expect("marked");
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replaced(&new, "new\n"), Some(new.clone()));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
