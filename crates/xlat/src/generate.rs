//! Shell completions and manual pages, made from the command line's own description, and the document of the API from its.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome};

/// Prints the completion script of `shell`.
pub(crate) fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xlat", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Prints the OpenAPI document.
pub(crate) fn openapi() -> Outcome {
    let mut text = serde_json::to_vec_pretty(&xlat_control::document())?;
    text.push(b'\n');
    Ok(io::stdout().write_all(&text)?)
}

/// Prints the main manual page, or writes all pages to `folder`, which is made if need be.
pub(crate) fn manual(folder: Option<&Path>) -> Outcome {
    match folder {
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            Ok(io::stdout().write_all(&page)?)
        }
        Some(folder) => fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
            .map_err(|error| Failure::doing(format!("cannot write to {}", folder.display()), &error)),
    }
}
