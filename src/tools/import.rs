//! `quorate import`: another system's data into the data directory of a fresh cluster.

mod zookeeper;

#[derive(clap::Subcommand)]
pub enum Import {
    /// A ZooKeeper server's snapshot and transaction log. The server must be stopped, or the files a copy.
    Zookeeper(zookeeper::Args),
}

pub fn run(import: Import) -> Result<(), String> {
    match import {
        Import::Zookeeper(args) => zookeeper::run(args),
    }
}
