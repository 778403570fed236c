//! One node: a network namespace and commands that run in it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{LabError, command, search_path};

/// A network namespace, gone when dropped (and when no process is in it any more).
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Sits in the namespace and waits for the end of its input.
    holder: Child,
}

impl Namespace {
    /// A new namespace with loopback up; `name` is for messages only. Duplicate address detection is off, so that IPv6
    /// addresses serve at once.
    ///
    /// # Errors
    ///
    /// Without permission, or when a program is missing.
    pub fn new(name: &str) -> Result<Self, LabError> {
        const SETUP: &str = "ip link set lo up && echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad && echo ready && \
                             exec cat >/dev/null";
        let mut holder = Command::new("unshare")
            .env("PATH", search_path())
            .args(["--net", "--", "sh", "-c", SETUP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| LabError::Start { program: "unshare".to_owned(), source })?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            if read.is_ok() && line == "ready\n" {
                return Ok(Self { name: name.to_owned(), holder });
            }
        }
        let said = holder.wait_with_output().map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        );
        Err(LabError::NoNamespace(said))
    }

    /// The name given to [`Self::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A process that is in the namespace as long as this value lives: `nsenter --target PID --net` enters it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run in the namespace, without input, and be killed when this process dies.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).args(["--", program]);
        command
    }

    /// As [`Self::command`], from one line of words separated by blanks.
    #[must_use]
    pub fn line(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// Runs one line of words separated by blanks; gives what it printed.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not end with success.
    pub fn run(&self, line: &str) -> Result<String, LabError> {
        let output = self
            .line(line)
            .output()
            .map_err(|source| LabError::Start { program: "setpriv".to_owned(), source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        // Some programs (ping) complain on their standard output.
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        Err(LabError::Failed { node: self.name.clone(), command: line.to_owned(), stderr: text(said) })
    }

    /// Runs `ip` with these words.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn ip(&self, words: &str) -> Result<String, LabError> {
        self.run(&format!("ip {words}"))
    }

    /// Adds an address, usable at once.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn address(&self, device: &str, address: &str) -> Result<(), LabError> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {device} {nodad}")).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends at the end of its input; should it not, there is nothing to be done here.
        let _ = self.holder.wait();
    }
}
