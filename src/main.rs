//! The program: parses, runs, maps an error to an exit code; nothing else.

use std::process::ExitCode;

use clap::Parser;
use dreamer_fast::cli::{self, Cli, Failure};

fn main() -> ExitCode {
    cli::run(Cli::parse()).unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        match failure {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Run(_) => ExitCode::FAILURE,
        }
    })
}
