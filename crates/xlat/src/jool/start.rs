//! Starts the daemon of this network namespace where none runs: Jool's users load a module, which nobody has to do here.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xlat_control::Client;
use xlat_control::api::Status;

use super::fail::{Fail, UNREACHABLE};

/// Where its log goes, and what else it notes down.
const FOLDER: &str = "/run/xlat";
/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Starts a daemon without any instance, and waits until it answers.
pub(super) async fn start(client: &Client) -> Result<(), Fail> {
    let failed = |what: &dyn std::fmt::Display| {
        Fail::client(format!("cannot start the xlat daemon: {what}"), UNREACHABLE)
    };
    let log = log_path();
    let prepared = fs::create_dir_all(FOLDER)
        .and_then(|()| OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&log));
    let output = prepared.map_err(|error| failed(&format_args!("{}: {error}", log.display())))?;
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut daemon = Command::new(program)
        .args(["run", "--empty"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(|error| failed(&error))?;
    let end = Instant::now() + PATIENCE;
    loop {
        if client.get::<Status>("/v1/status").await.is_ok() {
            return Ok(());
        }
        if !matches!(daemon.try_wait(), Ok(None)) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(failed(&format_args!("it ended at once:\n{}", said.trim_end())));
        }
        if Instant::now() > end {
            return Err(failed(&format_args!("it does not answer; see {}", log.display())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One for each network namespace.
fn log_path() -> PathBuf {
    let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |found| found.ino());
    PathBuf::from(FOLDER).join(format!("{namespace}.log"))
}
