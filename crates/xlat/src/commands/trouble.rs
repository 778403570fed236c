//! Why a command did not do what it was told, for a person or as JSON, and the exit code that goes with it.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use xlat_control::{Blame, ClientError, Error};

use super::paint;
use crate::failure::Failure;

/// Ends commands that were refused, or went wrong.
const REFUSED: u8 = 1;
/// Ends commands that found no daemon to do it.
const NO_DAEMON: u8 = 3;

/// The end of a command without success.
#[derive(Debug)]
pub(crate) struct Trouble {
    error: Error,
    code: u8,
}

impl Trouble {
    /// A command that makes no sense as it stands.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        let error = Error { whose: Blame::Client, ..Error::invalid(what) };
        Self { error, code: REFUSED }
    }

    /// The same with what to do about it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { error: self.error.with_help(help), ..self }
    }

    /// There is nobody to ask.
    pub(crate) fn no_daemon() -> Self {
        let error = Error::failed(Blame::Host, "no xlat daemon runs in this network namespace").with_help(
            "`xlat nat64` and `xlat siit` start one, so does `xlat run`; `ip netns exec NAME xlat ...` asks another namespace",
        );
        Self { error, code: NO_DAEMON }
    }

    /// The daemon is there and says nothing.
    pub(crate) fn silent(seconds: u64) -> Self {
        let what = format!("the daemon has not answered for {seconds} s");
        let error = Error::failed(Blame::Host, what)
            .with_help("--timeout waits longer; `xlat status` and its log may say what is wrong");
        Self { error, code: REFUSED }
    }

    /// Whether it may be that program and daemon do not understand each other.
    pub(crate) fn may_be_of_another_release(&self) -> bool {
        self.error.whose == Blame::Bug
            || (self.error.whose == Blame::Client && self.error.what.starts_with("there is no "))
    }

    pub(crate) fn is_no_daemon(&self) -> bool {
        self.code == NO_DAEMON
    }

    /// The same with more to say.
    pub(crate) fn because(self, why: &str) -> Self {
        let what = format!("{}: {why}", self.error.what);
        Self { error: Error { what, ..self.error }, ..self }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        // Without a standard error there is nobody to tell.
        let _ = match json {
            true => writeln!(io::stderr(), "{}", serde_json::json!({ "error": self.error })),
            false => self.tell_person(),
        };
        ExitCode::from(self.code)
    }

    fn tell_person(&self) -> io::Result<()> {
        let Error { what, place, help, .. } = &self.error;
        let is_painted = paint::stderr();
        let red = paint::RED.when(is_painted);
        // Which of several changes is meant matters to programs only: a command makes one.
        let place = place.as_ref().filter(|place| !place.starts_with("changes["));
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        writeln!(io::stderr(), "{red}xlat:{red:#} {what}{place}")?;
        match help {
            Some(help) => writeln!(io::stderr(), "  help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error.what)
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
                Self::no_daemon()
            }
            // What Jool says of it is for Jool's commands.
            ClientError::Refused(error) => Self { error: Error { jool: None, ..error }, code: REFUSED },
            other => {
                let whose = match &other {
                    ClientError::Broken(_) => Blame::Bug,
                    _ => Blame::Host,
                };
                Self { error: Error::failed(whose, other.to_string()), code: REFUSED }
            }
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { error: Error::failed(Blame::Host, failure.to_string()), code: REFUSED }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Failure::from(error).into()
    }
}
