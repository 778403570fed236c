//! Shell completions and manual pages, made from the command line's own description, and the document of the API from its.

use std::path::Path;
use std::{fs, io};

use clap::{Command, CommandFactory as _};
use clap_complete::env::Shells;
use clap_mangen::Man;

use crate::cli::{Cli, Shell};
use crate::commands::output::print;
use crate::failure::{Failure, Outcome};

/// The variable by which a completion script asks the program.
const ASKED_BY: &str = "COMPLETE";

/// What makes bash complete words with colons.
const BASH_WORDS: &str = include_str!("completions.bash");

/// Prints the completion script of `shell`.
pub(crate) fn completions(shell: Shell) -> Outcome {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
    };
    let shells = Shells::builtins();
    let completer = shells.completer(name).ok_or_else(|| Failure::new(format!("there is no {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(ASKED_BY, "xlat", "xlat", "xlat", &mut script)?;
    if matches!(shell, Shell::Bash) {
        script.extend_from_slice(BASH_WORDS.as_bytes());
    }
    Ok(print(&String::from_utf8_lossy(&script))?)
}

/// Prints the OpenAPI document.
pub(crate) fn openapi() -> Outcome {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(&xlat_control::document())?))?)
}

/// Prints the main manual page, or writes all pages to `folder`, which is made if need be.
pub(crate) fn manual(folder: Option<&Path>) -> Outcome {
    match folder {
        None => {
            let mut text = Vec::new();
            page(Cli::command()).render(&mut text)?;
            Ok(print(&String::from_utf8_lossy(&text))?)
        }
        Some(folder) => {
            let mut all = Cli::command().disable_help_subcommand(true);
            all.build();
            fs::create_dir_all(folder)
                .and_then(|()| pages(all, folder))
                .map_err(|error| Failure::doing(format!("cannot write to {}", folder.display()), &error))
        }
    }
}

/// Writes the pages of a command and of those below it.
fn pages(command: Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below.clone(), folder)?;
    }
    page(command).generate_to(folder).map(drop)
}

/// The page of a command. What stands at its foot is the program, whichever command it is about.
fn page(command: Command) -> Man {
    Man::new(command).source(concat!("xlat ", env!("CARGO_PKG_VERSION"))).manual("Manual of xlat")
}
