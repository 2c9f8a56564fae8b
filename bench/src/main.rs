//! Floor programs and instruments: what the machine gives before the server takes its share.

mod append;
mod apply;
mod core;
mod echo;
mod fuzz;
mod hollow;
mod journal;
mod table;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Floor programs and instruments of quorate")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the ordered store and the kv realm without a server.
    Table(table::Args),
    /// Measure synced direct writes: ways to sync, two sizes, one to eight in flight.
    Append(append::Args),
    /// Send every frame back, on the server's own loop with nothing behind it: the floor under every door.
    Echo(echo::Args),
    /// Apply puts to the state machine alone.
    Apply(apply::Args),
    /// Run three nodes that do the least for a durable write: the limit that the server is measured against.
    Hollow(hollow::Args),
    /// Send commands through three nodes without doors: what agreement, log and state cost.
    Core(core::Args),
    /// Seal batches of small records, against plain CRC32C in the same run.
    Seal(journal::SealArgs),
    /// Open a log image in memory.
    Recover(journal::RecoverArgs),
    /// Feed broken input to a decoder.
    Fuzz(fuzz::Args),
}

fn main() {
    let result = match Args::parse().command {
        Command::Table(args) => table::run(args),
        Command::Append(args) => append::run(args),
        Command::Echo(args) => echo::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Hollow(args) => hollow::run(args),
        Command::Core(args) => core::run(args),
        Command::Seal(args) => journal::seal(args),
        Command::Recover(args) => journal::recover(args),
        Command::Fuzz(args) => fuzz::run(args),
    };
    if let Err(text) = result {
        eprintln!("bench: {text}");
        std::process::exit(1);
    }
}
