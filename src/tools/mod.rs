//! The commands: one file each, with its arguments and what it prints. Errors are for people: one line that says
//! what, where, and what to do next.

mod crew;
mod dev;
mod format;
mod http;
mod import;
mod inspect;
mod member;
mod nodes;
mod serve;
mod simulate;
mod snapshot;
mod status;
mod transfer;
mod zoo_cfg;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "quorate", version, about = "A replicated coordination server for Linux")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one node.
    Serve(serve::Args),
    /// Make the data directory of a new node.
    Format(format::Args),
    /// Take over another system's data.
    #[command(subcommand)]
    Import(import::Import),
    /// Run one or more nodes on this machine, for development and benchmarks.
    Dev(dev::Args),
    /// Ask nodes who leads, and how far each of them is.
    Status(status::Args),
    /// List, add, promote and remove members.
    Member(member::Args),
    /// Hand leadership over.
    Transfer(transfer::Args),
    /// Save, check and restore the whole state.
    Snapshot(snapshot::Args),
    /// Run virtual clusters through faults drawn from seeds, and check that no promise is broken.
    Simulate(simulate::Args),
    /// Look into a node's log.
    #[command(subcommand)]
    Log(Log),
}

#[derive(Subcommand)]
enum Log {
    /// Print segments, batches, superblock and any damage. Nothing is written.
    Inspect(inspect::Args),
}

pub fn run(cli: Cli) -> Result<(), String> {
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Format(args) => format::run(args),
        Command::Import(import) => import::run(import),
        Command::Dev(args) => dev::run(args),
        Command::Status(args) => status::run(&args),
        Command::Member(args) => member::run(&args),
        Command::Transfer(args) => transfer::run(&args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Log(Log::Inspect(args)) => inspect::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
