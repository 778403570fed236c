//! Starts the daemon of this network namespace where a command finds none: Jool's users load a module, which nobody has to do
//! here. In the host's own namespace that is the service's business, if there is one; elsewhere, and without a service
//! manager, a daemon that begins with nothing is started from here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use xlat_control::Client;
use xlat_control::api::Status;

use crate::failure::{Failure, Outcome};

/// Where its log goes, and what else it notes down.
const FOLDER: &str = "/run/xlat";
/// There where systemd is the service manager (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
/// The service of the host's own namespace.
const SERVICE: &str = "xlat.service";
/// What `systemctl` ends with where there is no such service (LSB: not installed).
const NO_SUCH_SERVICE: i32 = 5;
/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the daemon and waits until it answers. The service begins with its configuration file, a daemon started from here
/// with no instance.
///
/// # Errors
///
/// When it ends at once or does not answer; the text says where to read why.
pub(crate) async fn start(client: &Client) -> Outcome {
    if is_host_namespace() && Path::new(SYSTEMD).exists() && start_service()? {
        return answers(client, || Ok(())).await.map_err(|Silent| see_journal("it does not answer"));
    }
    let log = log_path();
    let Some(_turn) = turn(client, &log).await? else { return Ok(()) };
    let mut daemon = start_process(&log)?;
    let lives = || match daemon.try_wait() {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Silent),
    };
    answers(client, lives).await.map_err(|Silent| match daemon.try_wait() {
        Ok(None) => Failure::new(format!("it does not answer; see {}", log.display())),
        Ok(Some(_)) | Err(_) => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            Failure::new(format!("it ended at once:\n{}", said.trim_end()))
        }
    })
}

/// Waits until nobody else is starting a daemon of this namespace, and keeps others from it; `None` where one runs by then.
async fn turn(client: &Client, log: &Path) -> Outcome<Option<File>> {
    let failed = |error: io::Error| {
        Failure::doing(format!("cannot start a daemon, which takes root: {}", log.display()), &error)
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(FOLDER).map_err(failed)?;
    // Not truncated: until it is our turn, it is somebody else's log.
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(log);
    let file = file.map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK || Instant::now() > end {
            return Err(failed(error.into()));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(match client.get::<Status>("/v1/status").await {
        Ok(_runs) => None,
        Err(_nobody) => Some(file),
    })
}

/// No answer has come.
struct Silent;

/// Waits for an answer for as long as `lives` has no objection.
async fn answers(client: &Client, mut lives: impl FnMut() -> Result<(), Silent>) -> Result<(), Silent> {
    let end = Instant::now() + PATIENCE;
    while client.get::<Status>("/v1/status").await.is_err() {
        lives()?;
        if Instant::now() > end {
            return Err(Silent);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// True if the service manager's network namespace is ours. A process that may not look is nobody who could start it.
fn is_host_namespace() -> bool {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/net")).map(|found| found.ino());
    namespace("self").is_ok_and(|own| namespace("1").is_ok_and(|first| own == first))
}

/// Has the service started; false where there is none. Returns when it is ready.
fn start_service() -> Outcome<bool> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--no-ask-password", "--quiet", "start", SERVICE]).stdin(Stdio::null());
    let done = match systemctl.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        done => done.map_err(|error| Failure::doing("systemctl", &error))?,
    };
    match done.status.code() {
        Some(0) => Ok(true),
        Some(NO_SUCH_SERVICE) => Ok(false),
        _failed => Err(see_journal(String::from_utf8_lossy(&done.stderr).trim_end())),
    }
}

fn see_journal(what: &str) -> Failure {
    Failure::new(format!("{what}\nread why with: journalctl --unit {SERVICE}"))
}

/// Starts a daemon without configuration that outlives us.
fn start_process(log: &Path) -> Outcome<Child> {
    // Opened anew: the daemon is not to inherit the lock of who starts it.
    let output = OpenOptions::new().write(true).truncate(true).open(log)?;
    Ok(Command::new(std::env::current_exe()?)
        .args(["run", "--empty"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .process_group(0)
        .spawn()?)
}

/// One for each network namespace.
fn log_path() -> PathBuf {
    let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |found| found.ino());
    PathBuf::from(FOLDER).join(format!("{namespace}.log"))
}
