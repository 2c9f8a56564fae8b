//! Tables and pages from raw files: nothing here measures, and no figure is typed in. `folder` reads, `tables` writes
//! a folder's README.md, `page` its report.html with the plots of `plot`, `index` the README.md over all folders.

mod folder;
mod index;
mod page;
mod plot;
mod tables;

pub use folder::{NOISE, VERDICTS};

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Exit, Failure, args};

pub fn command(args: &args::Report) -> Result<Exit, Failure> {
    let made = if args.claims { index::make(&args.dir) } else { make(&args.dir) };
    let Made { files, broken } = made.map_err(|why| Failure::new(Exit::Usage, why))?;
    let mut differ = Vec::new();
    for (path, text) in files {
        if args.check {
            if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                differ.push(path.display().to_string());
            }
        } else {
            let written =
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
            written.map_err(|error| Failure::new(Exit::Partial, format!("{}: {error}", path.display())))?;
            if path.extension().is_none_or(|kind| kind != "svg") {
                println!("{}", path.display());
            }
        }
    }
    broken.iter().for_each(|why| eprintln!("loadgen: {why}"));
    if differ.is_empty() {
        return Ok(if broken.is_empty() { Exit::Done } else { Exit::Partial });
    }
    eprintln!("loadgen: not what the raw files say: {}; run `loadgen report` again", differ.join(", "));
    Ok(Exit::CheckFailed)
}

/// Files and what goes into them, and which raw files could not be read.
struct Made {
    files: Vec<(PathBuf, String)>,
    broken: Vec<String>,
}

fn make(dir: &Path) -> Result<Made, String> {
    let folder = folder::Folder::read(dir)?;
    let mut files = vec![
        (dir.join("README.md"), tables::readme(&folder)),
        (dir.join("report.html"), page::html(&folder)),
    ];
    files.extend(page::plots(&folder).into_iter().map(|(name, svg)| (dir.join("plots").join(name), svg)));
    Ok(Made { files, broken: folder.broken })
}
