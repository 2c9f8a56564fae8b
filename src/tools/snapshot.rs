//! `quorate snapshot`: the whole state in one file, fetched from a running cluster, checked, made a cluster again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::{Index, PAGE};
use crate::config;
use crate::drive;
use crate::journal::snapshot::{BadSnapshot, Checked, Trailer, check};
use crate::pipeline::ports::{self, DiskFault, Media};
use crate::realms::Machine;
use crate::state::snapshot::Loader;
use crate::tools::http::{self, Door};
use crate::tools::nodes::{self, Nodes};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Have the cluster take a snapshot and write it to FILE.
    Save {
        /// Must not exist.
        file: PathBuf,
        /// The newest snapshot that there is already; needs no leader.
        #[arg(long)]
        existing: bool,
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Check a file as a node would before it serves from it. Asks nobody.
    Verify { file: PathBuf },
    /// Make the data directory of a new cluster over FILE's state: once for each of its founding members, each
    /// time with the same file, cluster and members.
    Restore {
        file: PathBuf,
        /// The node's configuration file.
        #[arg(long)]
        config: Option<PathBuf>,
        #[command(flatten)]
        keys: Box<config::Args>,
    },
}

pub fn run(args: Args) -> Result<(), String> {
    match args.action {
        Action::Save { file, existing, nodes } => save(&file, existing, &nodes),
        Action::Verify { file } => {
            let (lone, checked, machine) = load(&file)?;
            let (records, bytes) = machine.size();
            println!(
                "{}: cluster {}, batch {}, {records} records, {bytes} bytes of state: whole",
                lone.path.display(),
                checked.trailer.cluster,
                checked.trailer.index
            );
            Ok(())
        }
        Action::Restore { file, config, keys } => {
            let plan = super::serve::plan(config.as_deref(), *keys, config::Args::default())?;
            let (mut lone, checked, machine) = load(&file)?;
            let newest = machine.core().newest_life();
            drop(machine);
            let cluster =
                drive::format_over(&plan, &checked, newest, &mut lone).map_err(|e| e.to_string())?;
            println!("node {} of cluster {cluster} can start in {}", plan.node, plan.data.display());
            Ok(())
        }
    }
}

/// For bytes to go on coming, and for a node to write and read back all of its state.
const PATIENCE: Duration = Duration::from_secs(30);
const WRITTEN: Duration = Duration::from_secs(600);

fn save(path: &Path, existing: bool, nodes: &Nodes) -> Result<(), String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    if path.exists() {
        return Err(at(&"it exists; name another file"));
    }
    let part = path.with_added_extension("part");
    let from = if existing { nodes.doors()?.swap_remove(0) } else { take(nodes)? };
    let fetched = fetch(&from, &part).and_then(|()| {
        let (_, checked) = open(&part)?;
        std::fs::rename(&part, path).map_err(|e| at(&e))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| at(&e))?;
        Ok(checked.trailer)
    });
    let trailer = fetched.inspect_err(|_| {
        let _ = std::fs::remove_file(&part);
    })?;
    println!(
        "{}: cluster {}, batch {}, {} bytes, from {}",
        path.display(),
        trailer.cluster,
        trailer.index,
        trailer.length,
        from.at
    );
    Ok(())
}

/// Has every node take a snapshot of now, and returns the first that has it.
fn take(nodes: &Nodes) -> Result<Door, String> {
    let order = || nodes.order("POST", "/snapshot");
    let wanted = order()?.1["index"].as_u64().ok_or("the leader runs an older release; pass --existing")?;
    let (begin, mut seen) = (Instant::now(), None);
    loop {
        let said = nodes.ask_all()?;
        let index = said.iter().filter_map(|said| said.number("snapshot")).max();
        if let Some(from) = said.into_iter().find(|said| said.number("snapshot") >= Some(wanted)) {
            return Ok(from.door);
        }
        // One that was under way when it was asked for is another: then ours was passed over.
        if seen.is_some() && seen != index {
            order()?;
        }
        seen = index;
        if begin.elapsed() > WRITTEN {
            return Err(format!("no node has written its snapshot after {WRITTEN:?}; see the nodes' logs"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn fetch(door: &Door, part: &Path) -> Result<(), String> {
    let from = door.at;
    let lost = |e: std::io::Error| format!("{from} stopped sending: {e}; try again");
    let at = |e: std::io::Error| format!("{}: {e}", part.display());
    let asked = http::open(door, "GET", "/snapshot", PATIENCE);
    let (code, length, mut body) = asked.map_err(|e| nodes::unreached(from, &e))?;
    if code != 200 {
        let mut text = String::new();
        body.take(64 << 10).read_to_string(&mut text).map_err(lost)?;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        return Err(format!("{from} refuses: {}", value["error"].as_str().unwrap_or(text.trim())));
    }
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(part).map_err(at)?;
    let (mut piece, mut got) = (vec![0; 256 << 10], 0);
    loop {
        match body.read(&mut piece).map_err(lost)? {
            0 => break,
            n => {
                out.write_all(&piece[..n]).map_err(at)?;
                got += n as u64;
            }
        }
    }
    if length != Some(got) {
        return Err(format!("{from} sent {got} of {} bytes; try again", length.unwrap_or(0)));
    }
    out.sync_all().map_err(at)
}

/// A snapshot outside of any data directory. Read only.
struct Lone {
    path: PathBuf,
    file: File,
    index: Index,
}

impl Media for Lone {
    fn files(&mut self) -> Result<Vec<(ports::File, u64)>, DiskFault> {
        let length = self.file.metadata().map_err(|e| self.fault("look", 0, &e))?.len();
        Ok(vec![(ports::File::Snapshot(self.index), length)])
    }

    fn read(&mut self, _: ports::File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        self.file.read_exact_at(into, offset).map_err(|e| self.fault("read", offset, &e))
    }

    fn write(&mut self, _: ports::File, offset: u64, _: &crate::base::Block) -> Result<(), DiskFault> {
        Err(self.fault("write", offset, &"opened to be read"))
    }

    fn create(&mut self, _: ports::File, _: u64) -> Result<(), DiskFault> {
        Err(self.fault("creation", 0, &"opened to be read"))
    }

    fn remove(&mut self, _: ports::File) -> Result<(), DiskFault> {
        Err(self.fault("removal", 0, &"opened to be read"))
    }
}

impl Lone {
    fn fault(&self, operation: &'static str, offset: u64, why: &dyn std::fmt::Display) -> DiskFault {
        DiskFault { operation, file: ports::File::Snapshot(self.index), offset, reason: why.to_string() }
    }

    /// Every byte against its checksums; `take` gets the state's.
    fn check(&mut self, trailer: &Trailer, take: impl FnMut(&[u8])) -> Result<Checked, String> {
        check(self, trailer.cluster, trailer.index, take).map_err(|why| match why {
            BadSnapshot::Damaged { what, .. } => {
                format!("{} is damaged: {what}; use another copy", self.path.display())
            }
            why => format!("{}: {why}", self.path.display()),
        })
    }
}

fn open_lone(path: &Path) -> Result<(Lone, Trailer), String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = File::open(path).map_err(|e| at(&e))?;
    let length = file.metadata().map_err(|e| at(&e))?.len();
    let mut last = vec![0; PAGE];
    let read = length.checked_sub(PAGE as u64).map(|start| file.read_exact_at(&mut last, start));
    read.transpose().map_err(|e| at(&e))?;
    match Trailer::decode(&last) {
        Ok(Some(trailer)) => Ok((Lone { path: path.to_owned(), file, index: trailer.index }, trailer)),
        Ok(None) => {
            Err(at(&"no whole snapshot: its last page is none's; it was cut short, or is another file"))
        }
        Err(found) => Err(at(&format!("format {found} is of a newer release; use its `quorate snapshot`"))),
    }
}

fn open(path: &Path) -> Result<(Lone, Checked), String> {
    let (mut lone, trailer) = open_lone(path)?;
    let checked = lone.check(&trailer, |_| {})?;
    Ok((lone, checked))
}

/// Checked, and loaded as a node would load it.
fn load(path: &Path) -> Result<(Lone, Checked, Machine), String> {
    let (mut lone, trailer) = open_lone(path)?;
    let (mut loader, mut bad) = (Loader::new(trailer.index), None);
    let checked = lone.check(&trailer, |bytes| {
        if bad.is_none() {
            bad = loader.feed(bytes).err();
        }
    })?;
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    if let Some(why) = bad {
        return Err(at(&why));
    }
    let mut machine = Machine::new();
    machine.install(loader.finish().map_err(|e| at(&e))?).map_err(|e| at(&e))?;
    Ok((lone, checked, machine))
}
