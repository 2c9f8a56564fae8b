//! `quorate import zookeeper DATADIR [DATALOGDIR]`: finds the files, reads them in the reference's order, and writes
//! what they come to as the snapshot that a fresh cluster's log stands on.
//!
//! Every founding member is given the same files: then all start from the same state. Members that join later
//! receive it from the others.

use std::path::{Path, PathBuf};

use crate::base::{Block, Index};
use crate::config;
use crate::drive;
use crate::realms::Machine;
use crate::realms::tree::import::log::{Log, Next};
use crate::realms::tree::import::{Damaged, State, snapshot};
use crate::state::snapshot::{Slice, View};

#[derive(clap::Args)]
pub struct Args {
    /// `dataDir` of the server.
    datadir: PathBuf,
    /// `dataLogDir`, if it is another.
    datalogdir: Option<PathBuf>,
    /// What becomes of sessions and their ephemeral nodes: clients may come back to theirs, or they end here.
    #[arg(long, value_enum, default_value = "keep")]
    sessions: Sessions,
    /// Read a log that no snapshot stands before.
    #[arg(long)]
    trust_empty: bool,
    /// The node's configuration file.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: config::Args,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sessions {
    Keep,
    Drop,
}

pub fn run(args: Args) -> Result<(), String> {
    let plan = crate::tools::serve::plan(args.config.as_deref(), args.keys, config::Args::default())?;
    if plan.members.len() > 1 && plan.cluster.is_none() {
        return Err("cluster: every founding member needs the same name; pass --cluster".into());
    }
    let logs = args.datalogdir.as_deref().unwrap_or(&args.datadir);
    let mut state = read(&args.datadir, logs, args.trust_empty, |line| eprintln!("{line}"))?;
    match args.sessions {
        Sessions::Keep => state.drop_orphans(),
        Sessions::Drop => state.drop_sessions(),
    }
    let (nodes, sessions, zxid) = (state.nodes.len(), state.sessions.len(), state.zxid);
    let tree = state.into_tree().map_err(|why| format!("{}: {why}", args.datadir.display()))?;
    let view = Machine::with_tree(tree).freeze(Index(1));
    let cluster = drive::import(&plan, Chunks(view)).map_err(|e| e.to_string())?;
    println!(
        "{nodes} nodes and {sessions} sessions as of zxid 0x{zxid:x}; node {} of cluster {cluster} can start in {}",
        plan.node,
        plan.data.display()
    );
    Ok(())
}

struct Chunks(View);

impl Iterator for Chunks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        loop {
            match self.0.advance(usize::MAX) {
                Slice::More => {}
                Slice::Chunk(block) => return Some(block),
                Slice::End => return None,
            }
        }
    }
}

/// The state that a server would come up with. `warn` hears of what was passed over, as the server would.
pub fn read(
    data: &Path,
    logs: &Path,
    trust_empty: bool,
    mut warn: impl FnMut(String),
) -> Result<State, String> {
    let (data, logs) = (inner(data), inner(logs));
    let mut state = match newest_snapshot(&data, &mut warn)? {
        Some(state) => state,
        None if trust_empty => State::empty(),
        None => {
            return Err(format!(
                "{}: no finished snapshot is there; pass the directory that dataDir names, or --trust-empty if \
                 the server never took one",
                data.display()
            ));
        }
    };
    let start = state.zxid;
    let files = numbered(&logs, "log.")?;
    // The last file that begins at or below the snapshot holds what comes next.
    let first = files.iter().rposition(|(zxid, _)| *zxid <= start.saturating_add(1)).unwrap_or(0);
    if let Some((zxid, path)) = files.get(first)
        && *zxid > start.saturating_add(1)
        && start & 0xffff_ffff != 0
        && zxid >> 32 == start >> 32
    {
        return Err(format!(
            "{}: the log begins at zxid 0x{zxid:x} and the snapshot ends at 0x{start:x}; what lies between is missing",
            path.display()
        ));
    }
    for (nth, (_, path)) in files.iter().enumerate().skip(first) {
        replay(&mut state, path, nth + 1 == files.len(), &mut warn)?;
    }
    if state.digest_holds() == Some(false) {
        warn(format!(
            "the tree's digest at zxid 0x{:x} is not the one that the log says; the server may have said so too \
             (digest_mismatches_count)",
            state.zxid
        ));
    }
    Ok(state)
}

fn replay(state: &mut State, path: &Path, last: bool, warn: &mut impl FnMut(String)) -> Result<(), String> {
    let at = |why: Damaged| format!("{}: {why}", path.display());
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let Some(mut log) = Log::open(&bytes).map_err(at)? else { return Ok(()) };
    loop {
        let offset = log.offset();
        match log.step().map_err(at)? {
            Next::Entry(entry) => state.apply(&entry),
            Next::End => return Ok(()),
            Next::Torn if last => {
                warn(format!("{}: offset {offset}: the last entry was not finished", path.display()));
                return Ok(());
            }
            Next::Torn => {
                return Err(format!(
                    "{}: offset {offset}: an entry was not finished, and later files follow; take the data of \
                     another server of the ensemble",
                    path.display()
                ));
            }
        }
    }
}

fn newest_snapshot(data: &Path, warn: &mut impl FnMut(String)) -> Result<Option<State>, String> {
    for (zxid, path) in numbered(data, "snapshot.")?.into_iter().rev() {
        if path.extension().is_some_and(|end| end == "gz" || end == "snappy") {
            return Err(format!(
                "{}: compressed snapshots are not read; unpack it beside the others, without its ending",
                path.display()
            ));
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if !snapshot::is_finished(&bytes) {
            warn(format!("{}: was not finished; the one before it is read", path.display()));
            continue;
        }
        let state = snapshot::read(&bytes, zxid).map_err(|why| {
            let path = path.display();
            format!(
                "{path}: {why}; take another server's data, or move this file away to start from an older one"
            )
        })?;
        return Ok(Some(state));
    }
    Ok(None)
}

/// `dataDir/version-2`, unless that is what was passed.
fn inner(dir: &Path) -> PathBuf {
    let below = dir.join("version-2");
    if below.is_dir() { below } else { dir.to_path_buf() }
}

/// Files whose names are this and a zxid in hexadecimal, in its order.
fn numbered(dir: &Path, prefix: &str) -> Result<Vec<(i64, PathBuf)>, String> {
    let listed = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut found = Vec::new();
    for file in listed {
        let file = file.map_err(|e| format!("{}: {e}", dir.display()))?;
        let name = file.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        let number = rest.split('.').next().unwrap_or_default();
        if let Ok(zxid) = i64::from_str_radix(number, 16) {
            found.push((zxid, file.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
