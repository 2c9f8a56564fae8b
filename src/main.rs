#[cfg(feature = "drive")]
fn main() -> std::process::ExitCode {
    use clap::Parser;
    let Err(why) = quorate::tools::run(quorate::tools::Cli::parse()) else {
        return std::process::ExitCode::SUCCESS;
    };
    eprintln!("quorate: {why}");
    std::process::ExitCode::FAILURE
}

#[cfg(not(feature = "drive"))]
fn main() {
    eprintln!(
        "quorate: built without feature `drive`: there is no clock, socket or file; build with default features"
    );
    std::process::exit(1);
}
