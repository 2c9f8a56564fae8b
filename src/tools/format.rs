//! `quorate format`: the data directory of a new node.
//!
//! A founding member may vote from the start. A node that joins, or that takes the place of one whose disk is
//! lost, must not: its predecessor may have voted already. It is another incarnation, and learns until the members
//! have decided that it votes.

use std::path::PathBuf;

use crate::config;
use crate::drive;

#[derive(clap::Args)]
pub struct Args {
    /// The node's configuration file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A ZooKeeper server's configuration, for what neither flags nor --config say.
    #[arg(long)]
    zoo_cfg: Option<PathBuf>,
    /// The cluster exists already, or did: this node joins it, or takes the place of a member that lost its disk.
    #[arg(long)]
    join: bool,
    #[command(flatten)]
    keys: config::Args,
}

pub fn run(args: Args) -> Result<(), String> {
    let (zoo, _) = args.zoo_cfg.as_deref().map(super::zoo_cfg::read).transpose()?.unwrap_or_default();
    let plan = super::serve::plan(args.config.as_deref(), args.keys, zoo)?;
    if args.join && plan.cluster.is_none() {
        return Err(
            "cluster: a node that joins needs its name; `quorate status --json` of a member shows it".into(),
        );
    }
    let (cluster, incarnation) = drive::format(&plan, args.join).map_err(|e| e.to_string())?;
    println!("node {} of cluster {cluster} can start in {}", plan.node, plan.data.display());
    println!("this is its incarnation {incarnation}");
    if args.join {
        println!(
            "start it, then ask the leader's admin door: POST /member/{}?address=ADDRESS:PORT&incarnation={incarnation}",
            plan.node
        );
    }
    Ok(())
}
