//! `quorate transfer`: leadership to another node, before maintenance say.

use crate::tools::nodes::{Nodes, Said};

#[derive(clap::Args)]
pub struct Args {
    /// The node that is to lead [default: the follower that is furthest]
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    id: Option<u8>,
    #[command(flatten)]
    nodes: Nodes,
}

pub fn run(args: &Args) -> Result<(), String> {
    let before = args.nodes.leader()?;
    let old = before.number("node");
    if args.id.map(u64::from) == old {
        println!("node {} leads already", old.unwrap_or_default());
        return Ok(());
    }
    let to = args.id.map(|id| format!("?to={id}")).unwrap_or_default();
    args.nodes.order("POST", &format!("/transfer{to}"))?;
    let epoch = before.number("epoch");
    let heir = |said: &Said| {
        let later = said.number("epoch") > epoch;
        said.number("leader").filter(|leader| later && Some(*leader) != old)
    };
    let said = args.nodes.await_said("the transfer", |said| said.iter().any(|said| heir(said).is_some()))?;
    let (heir, epoch) = said
        .iter()
        .find_map(|said| Some((heir(said)?, said.number("epoch")?)))
        .ok_or("the new leader is gone again; see `quorate status`")?;
    println!("node {heir} leads, epoch {epoch}");
    match args.id {
        Some(id) if u64::from(id) != heir => Err(format!("node {id} was asked for, node {heir} was elected")),
        _ => Ok(()),
    }
}
