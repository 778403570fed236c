//! `xlat`: an IPv4/IPv6 translator for Linux. This is the program around it: daemon, command line, demo.

#![forbid(unsafe_code)]

mod cli;
mod demo;
mod failure;
mod generate;
mod logging;

/// What the daemon logs when packets are translated.
pub(crate) const READY: &str = "ready";

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(arguments) => demo::play(&arguments),
        Command::Completions { shell } => generate::completions(shell).map(|()| ExitCode::SUCCESS),
        Command::Man { folder } => generate::manual(folder.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::DemoPeer { peer } => demo::peer(&peer).map(|()| ExitCode::SUCCESS),
        _ => Ok(ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("xlat: {failure}");
        ExitCode::FAILURE
    })
}
