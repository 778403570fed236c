//! Where log lines go: to the journal if standard error is connected to it (systemd.exec(5), JOURNAL_STREAM), else to
//! standard error as plain text.

use std::io::IsTerminal as _;

use rustix::fs::fstat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::{Failure, Outcome};

/// Starts logging. `level` wins over the environment variable RUST_LOG; the default is `info`.
pub(crate) fn start(level: Option<&str>) -> Outcome {
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
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colours)
            .with_target(false);
        registry.with(lines).init();
    }
    Ok(())
}

/// True if standard error is the stream that JOURNAL_STREAM names as `device:inode`.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(std::io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
