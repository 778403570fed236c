//! Where log lines go: to the journal if standard error is connected to it (systemd.exec(5), JOURNAL_STREAM), else to
//! standard error as plain text. A thread writes the text: whoever reads it slowly, or not at all, keeps nobody else waiting.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xlat_linux::privileges;

use crate::failure::{Failure, Outcome};

/// Lines that may wait to be written.
const QUEUE: usize = 16_384;
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts logging. `level` wins over the environment variable RUST_LOG; the default is `info`.
pub(crate) fn start(level: Option<&str>) -> Outcome<Logging> {
    let environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|value| !value.is_empty());
    let directives = level.map(str::to_owned).or(environment).unwrap_or_else(|| "info".to_owned());
    let Ok(filter) = EnvFilter::try_new(&directives) else {
        return Err(Failure::new(format!(
            "\"{directives}\" is no log level: use error, warn, info, debug or trace, or \"info,xlat_linux=debug\""
        )));
    };
    let registry = tracing_subscriber::registry().with(filter);
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_syslog_identifier("xlat".to_owned())).init();
        return Ok(Logging { output: None, lost: Arc::default() });
    }
    let (sender, lines) = sync_channel(QUEUE);
    std::thread::Builder::new().name("xlat-stderr".to_owned()).spawn(move || write(&lines))?;
    let output = Output { sender, lost: Arc::default() };
    let (maker, lost) = (output.clone(), Arc::clone(&output.lost));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || maker.clone())
        .with_ansi(colours)
        .with_target(false);
    registry.with(lines).init();
    Ok(Logging { output: Some(output), lost })
}

/// Logging goes on; dropped, it writes what is left, if that takes no more than a moment.
pub(crate) struct Logging {
    output: Option<Output>,
    lost: Arc<AtomicU64>,
}

impl Logging {
    /// Counts lines that nobody took.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let Some(Output { sender, .. }) = &self.output else { return };
        let (done, written) = sync_channel(1);
        let end = Instant::now() + PATIENCE;
        let mut last = Piece::Last(done);
        while let Err(TrySendError::Full(again)) = sender.try_send(last) {
            if Instant::now() > end {
                return;
            }
            last = again;
            std::thread::sleep(Duration::from_millis(10));
        }
        // If it takes longer the lines are lost.
        let _written = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

enum Piece {
    Line(Vec<u8>),
    /// Everything before it is written.
    Last(SyncSender<()>),
}

/// Takes whole lines.
#[derive(Clone)]
struct Output {
    sender: SyncSender<Piece>,
    lost: Arc<AtomicU64>,
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Piece::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(pieces: &Receiver<Piece>) {
    // It is this thread that tells of trouble.
    let _kept = privileges::drop_thread_capabilities();
    for piece in pieces {
        match piece {
            // Without a standard error there is nobody to tell.
            Piece::Line(line) => _ = io::stderr().write_all(&line),
            Piece::Last(done) => _ = done.send(()),
        }
    }
}

/// True if standard error is the stream that JOURNAL_STREAM names as `device:inode`.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_standard_error() {
        let (sender, _stuck) = sync_channel(1);
        let mut output = Output { sender, lost: Arc::default() };
        for _ in 0..3 {
            assert_eq!(output.write(b"line\n").unwrap(), 5);
        }
        assert_eq!(output.lost.load(Ordering::Relaxed), 2);
        let (lost, begun) = (Arc::clone(&output.lost), Instant::now());
        drop(Logging { output: Some(output), lost });
        assert!(begun.elapsed() >= PATIENCE);
    }
}
