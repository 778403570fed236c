//! Asks before something ends that carries traffic.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::trouble::Trouble;

/// Returns if it is meant. `loss` says what would end.
pub(crate) fn confirm(loss: &str, yes: bool) -> Result<(), Trouble> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Trouble::refused(loss).help("add --yes if that is meant"));
    }
    ask(loss)
}

/// The same for what scripts have always done unasked: only a person is asked.
pub(crate) fn confirm_by_person(loss: &str, yes: bool) -> Result<(), Trouble> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(());
    }
    ask(loss)
}

fn ask(loss: &str) -> Result<(), Trouble> {
    write!(io::stderr(), "{loss}. Go on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Trouble::refused("nothing has changed")),
    }
}
