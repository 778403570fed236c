//! How a command ends early: what goes where, and the exit code. Jool's numbers: what the client notices ends with 256 - n, what
//! the translator refuses with n (cli 2.4).

use xlat_control::{ClientError, Error};

/// EINVAL noticed by the client.
pub(super) const INVALID: u8 = 234;
/// EEXIST noticed by the client.
pub(super) const EXISTS: u8 = 239;
/// E2BIG noticed by the client.
pub(super) const TOO_BIG: u8 = 249;
/// There is no translator.
pub(super) const UNREACHABLE: u8 = 253;
/// Wrong options of an operation (sysexits.h).
const USAGE: u8 = 64;

/// The end of a command that did nothing, or not all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fail {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: u8,
}

impl Fail {
    /// Not an error: something to read.
    pub(super) fn help(stdout: String) -> Self {
        Self { stdout, ..Self::default() }
    }

    /// A sentence of its own, ends of lines included.
    pub(super) fn usage(stderr: String) -> Self {
        Self { stderr, code: INVALID, ..Self::default() }
    }

    /// An error that the client notices.
    pub(super) fn client(text: impl std::fmt::Display, code: u8) -> Self {
        Self { stderr: format!("Error: {text}\n"), code, ..Self::default() }
    }

    /// An argument that cannot be.
    pub(super) fn invalid(text: impl std::fmt::Display) -> Self {
        Self::client(text, INVALID)
    }

    /// Options or words that `operation` does not have, in the words of argp.
    pub(super) fn argp(operation: &str, text: impl std::fmt::Display) -> Self {
        let stderr = format!(
            "{operation}: {text}\nTry `{operation} --help' or `{operation} --usage' for more information.\n"
        );
        Self { stderr, code: USAGE, ..Self::default() }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        let help = error.help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let code = u8::try_from(error.errno).unwrap_or(1);
        let what = error.jool.unwrap_or_else(|| format!("{}{help}", error.what));
        let text = format!("The kernel module returned error {}: {what}", error.errno);
        Self::client(text, code)
    }
}

impl From<ClientError> for Fail {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(error) => error.into(),
            ClientError::Unreachable(why) => Self::client(
                format!(
                    "Jool's socket family doesn't seem to exist.\n\
                     (This probably means Jool hasn't been modprobed.)\n\
                     Netlink error message: {why}: no xlat daemon runs in this network namespace; \
                     `instance add` or `xlat run` starts one"
                ),
                UNREACHABLE,
            ),
            other @ (ClientError::Stranger(_) | ClientError::Broken(_) | ClientError::Silent(_)) => {
                Self::client(other, UNREACHABLE)
            }
        }
    }
}
