//! The demo's report: one line for each step, and whether all went well; for programs one object a line.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Value, json};

use crate::failure::Outcome;

/// Width of the steps' names in characters.
const NAME: usize = 32;

/// Prints steps as they end, and counts those that failed.
#[derive(Debug)]
pub(super) struct Report {
    steps: usize,
    failed: usize,
    json: bool,
}

impl Report {
    pub(super) const fn new(json: bool) -> Self {
        Self { steps: 0, failed: 0, json }
    }

    /// Prints what is no step, for a person or for a program. Nobody listening is no reason to stop.
    pub(super) fn say(&self, text: impl Display, object: Value) {
        let _ = match self.json {
            false => writeln!(io::stdout(), "{text}"),
            true => writeln!(io::stdout(), "{object}"),
        };
    }

    /// Does one step and prints how it went: what it returns, or why it failed.
    pub(super) fn step(&mut self, name: &str, step: impl FnOnce() -> Outcome<String>) {
        if io::stdout().is_terminal() && !self.json {
            let _ = write!(io::stdout(), "  ...     {name}\r");
            let _ = io::stdout().flush();
        }
        self.steps += 1;
        match step() {
            Ok(result) => self.say(
                format_args!("  ok      {name:NAME$}  {result}"),
                json!({ "step": name, "ok": true, "result": result }),
            ),
            Err(failure) => {
                self.failed += 1;
                self.say(
                    format_args!("  FAILED  {name:NAME$}  {failure}"),
                    json!({ "step": name, "ok": false, "result": failure.to_string() }),
                );
            }
        }
    }

    /// Prints the sum; true if no step failed.
    pub(super) fn finish(&self) -> bool {
        let text = match self.failed {
            0 => format!("\nAll {} steps went well.", self.steps),
            failed => format!("\n{failed} of {} steps FAILED.", self.steps),
        };
        self.say(text, json!({ "steps": self.steps, "failed": self.failed }));
        self.failed == 0
    }
}
