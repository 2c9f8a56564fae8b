use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match loadgen::main(loadgen::args::Cli::parse().command) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("loadgen: {}", failure.why);
            ExitCode::from(failure.exit as u8)
        }
    }
}
