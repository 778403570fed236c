//! `xlat`: an IPv4/IPv6 translator for Linux. This is the program around it: daemon, command line, demo.

#![forbid(unsafe_code)]

mod capture;
mod check;
mod cli;
mod commands;
mod demo;
mod explain;
mod failure;
mod generate;
mod host;
mod jool;
mod load;
mod logging;
mod run;
mod session_key;
mod session_proxy;
mod start;
mod status;
mod stop;
mod top;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;

use cli::{Cli, Command};
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // Called by one of Jool's names, or with it as the first word.
    for (at, word) in words.iter().enumerate().take(2) {
        let name = word.rsplit('/').next().filter(|_| at == 0).unwrap_or(word);
        if name == "joold" {
            return jool::joold::main(words.get(at + 1..).unwrap_or_default());
        }
        if let Some(program) = jool::Program::named(name) {
            return jool::main(program, words.get(at + 1..).unwrap_or_default());
        }
    }
    // Shells ask by an environment variable; nothing more happens then.
    CompleteEnv::with_factory(Cli::command).complete();
    let Cli { instance, command } = Cli::parse();
    execute(instance, command).unwrap_or_else(|failure| {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "xlat: {failure}");
        ExitCode::FAILURE
    })
}

fn execute(instance: Option<String>, command: Command) -> Outcome<ExitCode> {
    if instance.is_some() && !matches!(command, Command::Control(_)) {
        return Err(Failure::new("--instance has no meaning for this command"));
    }
    match command {
        Command::Control(command) => commands::run(instance, command),
        Command::Run(arguments) => run::run(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Top(arguments) => top::top(&arguments),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Stop(arguments) => stop::stop(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Demo(arguments) => demo::play(&arguments),
        Command::Completions { shell } => generate::completions(shell).map(|()| ExitCode::SUCCESS),
        Command::Man { folder } => generate::manual(folder.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Openapi => generate::openapi().map(|()| ExitCode::SUCCESS),
        Command::DemoPeer { peer } => demo::peer(&peer).map(|()| ExitCode::SUCCESS),
    }
}
