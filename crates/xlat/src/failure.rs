//! Why a command ended without success: one message for the person at the terminal, made of an error and its causes.

use std::error::Error;
use std::fmt;

/// A message for a person. Any error turns into one by `?`.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
}

/// The outcome of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// What was being done in front of why it failed.
    pub(crate) fn doing(what: impl fmt::Display, error: &dyn Error) -> Self {
        Self { message: format!("{what}: {}", with_causes(error)) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { message: with_causes(&error) }
    }
}

/// An error and the errors behind it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
