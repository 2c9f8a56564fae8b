//! `quorate member`: who belongs to the cluster. The leader decides; these commands only ask it.

use std::net::SocketAddr;

use serde_json::Value;

use crate::tools::nodes::{Nodes, Said};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print the members, as the leader knows them.
    List {
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Let a node join, as a learner: it receives everything and counts for nothing. Its data directory comes
    /// from `quorate format --join`.
    Add {
        /// Its id, 1 to 255, of no other member.
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        id: u8,
        /// Its peer address.
        address: SocketAddr,
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Make a learner that has caught up a voter.
    Promote {
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        id: u8,
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Let a member go. Stop its process before or after: it is not part of the cluster any more.
    Remove {
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        id: u8,
        #[command(flatten)]
        nodes: Nodes,
    },
}

pub fn run(args: &Args) -> Result<(), String> {
    match &args.action {
        Action::List { nodes } => list(&nodes.leader()?),
        Action::Add { id, address, nodes } => {
            if let Some(member) = member(&nodes.leader()?, *id) {
                return Err(format!(
                    "node {id} is a member already, at {}; `quorate member promote` makes a learner a voter",
                    member["address"].as_str().unwrap_or_default()
                ));
            }
            change(nodes, "POST", &format!("/member/{id}?role=learner&address={address}"))
        }
        Action::Promote { id, nodes } => {
            let member = member(&nodes.leader()?, *id).ok_or_else(|| stranger(*id))?;
            if member["role"] == "voter" {
                return Err(format!("node {id} is a voter already"));
            }
            change(nodes, "POST", &format!("/member/{id}?role=voter"))
        }
        Action::Remove { id, nodes } => {
            member(&nodes.leader()?, *id).ok_or_else(|| stranger(*id))?;
            change(nodes, "DELETE", &format!("/member/{id}"))
        }
    }
}

fn stranger(id: u8) -> String {
    format!("node {id} is no member; `quorate member list` shows them")
}

fn member(leader: &Said, id: u8) -> Option<Value> {
    let members = leader.status.as_ref().ok()?["members"].as_array()?;
    members.iter().find(|member| member["id"] == id).cloned()
}

/// Asks, waits until a majority holds the change, and prints what has become of it.
fn change(nodes: &Nodes, method: &str, target: &str) -> Result<(), String> {
    let (leader, _) = nodes.order(method, target)?;
    // The change is in the leader's log by now, at or below its end.
    let last = crate::tools::nodes::status(&leader.door)?["last"].as_u64().unwrap_or(0);
    let committed = |said: &Said| said.number("commit").is_some_and(|commit| commit >= last);
    let said = nodes.await_said("the change", |said| said.iter().any(committed))?;
    said.iter().find(|said| committed(said)).map_or(Ok(()), list)
}

fn list(said: &Said) -> Result<(), String> {
    let status = said.status.as_ref().map_err(String::clone)?;
    println!("{:>4}  {:<8}  address", "node", "role");
    for member in status["members"].as_array().into_iter().flatten() {
        let leads = if member["id"] == status["leader"] { "  leads" } else { "" };
        let text = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let address = match text("address") {
            empty if empty.is_empty() => "none: a cluster of one".to_owned(),
            address => address,
        };
        println!("{:>4}  {:<8}  {address}{leads}", member["id"], text("role"));
    }
    Ok(())
}
