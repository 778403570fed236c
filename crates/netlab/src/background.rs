//! A program that runs in a node while other things happen, and never outlives its value.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{LabError, Namespace};

/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(10);
/// Most lines kept of what a process said.
const LINES_MAX: usize = 10_000;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Background {
    node: String,
    program: String,
    child: Child,
    lines: Receiver<String>,
    /// What was said so far, for messages.
    said: Vec<String>,
}

impl Background {
    /// Starts a command made by [`Namespace::command`]; what it writes, on either output, can be waited for. `program` is
    /// its name for messages.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(node: &Namespace, program: &str, command: Command) -> Result<Self, LabError> {
        Self::start_at(node.name(), program, command)
    }

    /// As [`Self::start`], where only the node's name is at hand.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_at(node: &str, program: &str, mut command: Command) -> Result<Self, LabError> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| LabError::Start { program: program.to_owned(), source })?;
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            // Ends with the process, which closes its output.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { node: node.to_owned(), program: program.to_owned(), child, lines, said: Vec::new() })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line contains `text`, and gives that line.
    ///
    /// # Errors
    ///
    /// When `limit` passes, or the program ends, without it.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String, LabError> {
        let end = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.keep(line.clone());
                    if found {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.problem(&format!("did not say \"{text}\" within {limit:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.problem(&format!("ended before it said \"{text}\"")));
                }
            }
        }
    }

    /// The next line that it says, if one comes within `limit`.
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        let line = self.lines.recv_timeout(limit).ok()?;
        self.keep(line.clone());
        Some(line)
    }

    /// Everything it said so far.
    pub fn output(&mut self) -> String {
        while let Ok(line) = self.lines.try_recv() {
            self.keep(line);
        }
        self.said.join("\n")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| kill_process(pid, signal))
            .map_err(|error| self.describe(format!("got no {signal:?}: {error}")))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    ///
    /// When it does not within `limit`; it is killed then.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not come within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(POLL),
                Ok(None) => return Err(self.problem(&format!("did not end within {limit:?}"))),
                Err(error) => return Err(self.problem(&format!("cannot be waited for: {error}"))),
            }
        }
    }

    fn keep(&mut self, line: String) {
        if self.said.len() < LINES_MAX {
            self.said.push(line);
        }
    }

    /// An error with the last things that were said.
    fn problem(&mut self, problem: &str) -> LabError {
        let said = self.output();
        let tail: Vec<&str> = said.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        self.describe(format!("{problem}; its last words:\n{}", tail.join("\n")))
    }

    fn describe(&self, problem: String) -> LabError {
        LabError::Process { node: self.node.clone(), process: self.program.clone(), problem }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
