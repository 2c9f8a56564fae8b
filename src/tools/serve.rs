//! `quorate serve`: one node, until TERM.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::config::{self, Plan};
use crate::drive;
use crate::tools::zoo_cfg;

#[derive(clap::Args)]
pub struct Args {
    /// TOML file whose keys are the flags below; a flag wins.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A ZooKeeper server's configuration, for what neither flags nor --config say.
    #[arg(long)]
    zoo_cfg: Option<PathBuf>,
    #[command(flatten)]
    keys: config::Args,
}

pub fn run(args: Args) -> Result<(), String> {
    drive::use_huge_pages();
    let (zoo, warnings) = match &args.zoo_cfg {
        Some(file) => zoo_cfg::read(file)?,
        None => Default::default(),
    };
    let plan = plan(args.config.as_deref(), args.keys, zoo)?;
    tracing_subscriber::fmt()
        .with_max_level(plan.log)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    for warning in warnings {
        tracing::warn!("zoo.cfg: {warning}");
    }
    drive::serve(plan).map_err(|e| e.to_string())
}

/// Flags, file, and what ZooKeeper's file leaves over, checked.
pub fn plan(file: Option<&Path>, keys: config::Args, zoo: config::Args) -> Result<Plan, String> {
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(file) = file else { return keys.or(zoo).plan(online).map_err(|e| e.to_string()) };
    let text = std::fs::read_to_string(file)
        .map_err(|e| format!("cannot read {}: {e}; check --config", file.display()))?;
    let from_file = config::Args::from_toml(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    keys.or(from_file).or(zoo).plan(online).map_err(|e| format!("{}: {e}", file.display()))
}
