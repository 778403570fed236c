//! Small networks out of namespaces for the demo and the tests: nodes, wires between them, programs run in them.
//!
//! A namespace lives as long as a process that this crate holds by a pipe, so it goes when its value is dropped,
//! and also when this program is killed. Nothing is ever made in the namespace of the caller. Everything works as root and
//! as the root of a user namespace (`unshare --user --map-root-user`).
//!
//! ```no_run
//! # fn main() -> Result<(), xlat_netlab::LabError> {
//! use xlat_netlab::{Namespace, Wire};
//! let (wire, a, b) = (Wire::new()?, Namespace::new("A")?, Namespace::new("B")?);
//! wire.attach(&a, "eth0")?;
//! wire.attach(&b, "eth0")?;
//! a.ip("address add 192.0.2.1/24 dev eth0")?;
//! b.ip("address add 192.0.2.2/24 dev eth0")?;
//! a.run("ping -c 1 -w 5 192.0.2.2")?;
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod background;
mod namespace;
pub mod scenes;
mod wire;

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

use thiserror::Error;

pub use background::Background;
pub use namespace::Namespace;
pub use wire::{Wire, veth};

/// The programs that this crate runs.
pub const PROGRAMS: [&str; 4] = ["ip", "nsenter", "setpriv", "unshare"];

/// Something could not be built or run.
#[derive(Debug, Error)]
pub enum LabError {
    /// A program could not be started at all.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its name.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{node}: `{command}` failed: {stderr}")]
    Failed {
        /// The namespace it ran in.
        node: String,
        /// The command line.
        command: String,
        /// What it said, without the line's end.
        stderr: String,
    },
    /// No namespace could be made.
    #[error("cannot make a network namespace: {0}")]
    NoNamespace(String),
    /// A background process did not say what was waited for.
    #[error("{node}: {process} {problem}")]
    Process {
        /// The namespace it ran in.
        node: String,
        /// The program.
        process: String,
        /// What happened instead, as the rest of the sentence.
        problem: String,
    },
}

/// Why no network can be built by this process, as one sentence; `None` if it can.
#[must_use]
pub fn unavailable() -> Option<String> {
    let missing = missing_programs(&PROGRAMS);
    if !missing.is_empty() {
        return Some(format!("these programs are missing: {}", missing.join(", ")));
    }
    Namespace::new("probe").err().map(|error| error.to_string())
}

/// Where programs are looked for: `PATH`, and the folders for administrators, which users' paths often lack.
#[must_use]
pub fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Those of `programs` that are not found in [`search_path`].
#[must_use]
pub fn missing_programs<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let path = search_path();
    let found = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    programs.iter().copied().filter(|program| !found(program)).collect()
}

/// A command that gets no input and is killed when this process dies.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.env("PATH", search_path()).args(["--pdeathsig", "KILL", "--", program]).stdin(Stdio::null());
    command
}
