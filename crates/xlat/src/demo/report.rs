//! The demo's report: one line for each step, and whether all went well.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Outcome;

/// Width of the steps' names in characters.
const NAME: usize = 32;

/// Prints steps as they end, and counts those that failed.
#[derive(Debug, Default)]
pub(super) struct Report {
    steps: usize,
    failed: usize,
}

impl Report {
    /// Prints a line that is no step. Nobody listening is no reason to stop.
    pub(super) fn say(text: impl Display) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Does one step and prints how it went: what it returns, or why it failed.
    pub(super) fn step(&mut self, name: &str, step: impl FnOnce() -> Outcome<String>) {
        if io::stdout().is_terminal() {
            let _ = write!(io::stdout(), "  ...     {name}\r");
            let _ = io::stdout().flush();
        }
        self.steps += 1;
        match step() {
            Ok(result) => Self::say(format_args!("  ok      {name:NAME$}  {result}")),
            Err(failure) => {
                self.failed += 1;
                Self::say(format_args!("  FAILED  {name:NAME$}  {failure}"));
            }
        }
    }

    /// Prints the sum; true if no step failed.
    pub(super) fn finish(&self) -> bool {
        match self.failed {
            0 => Self::say(format_args!("\nAll {} steps went well.", self.steps)),
            failed => Self::say(format_args!("\n{failed} of {} steps FAILED.", self.steps)),
        }
        self.failed == 0
    }
}
