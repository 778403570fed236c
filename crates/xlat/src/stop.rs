//! `xlat stop`: ends the daemon of this network namespace, and with `--flush` everything that goes on without it.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use xlat_control::api::Status;
use xlat_control::{Client, ClientError};
use xlat_linux::fastpath::{self, FastPathError, Pins};
use xlat_linux::netlink::{self, Owner};
use xlat_linux::tun::Tun;

use crate::cli;
use crate::commands::confirm::confirm_by_person;
use crate::commands::output::print;
use crate::commands::progress::Clock;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use crate::run::snapshot::Snapshot;

/// How long a daemon may take to end: it writes its sessions down.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to say whether it is there.
const ANSWER: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// What was done.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Done {
    /// The process that has ended.
    ended: Option<u32>,
    /// Whether flows have ended that the kernel translated by itself, with all that was kept there.
    kernel_flushed: bool,
    /// Whether routes, rules and the like were taken back.
    host_restored: bool,
    /// The same, and what is left, for people.
    said: Vec<String>,
}

/// Ends what there is; that nothing runs is no failure.
pub(crate) fn stop(arguments: &cli::Stop) -> Outcome<ExitCode> {
    if arguments.flush
        && !arguments.yes
        && let Some(loss) = loss(&arguments.which)?
        && let Err(refused) = confirm_by_person(loss, arguments.yes)
    {
        return Ok(refused.tell(arguments.json));
    }
    let done = match end_all(arguments) {
        Err(failure) if arguments.json => return Ok(Trouble::from(failure).tell(true)),
        done => done?,
    };
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&done)?),
        false => format!("{}\n", done.said.join("; ")),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What carries traffic and would end with everything else, if anything does.
fn loss(which: &cli::Which) -> Outcome<Option<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&which.device, rustix::process::geteuid().as_raw());
    let asked =
        runtime.block_on(async { tokio::time::timeout(ANSWER, client.get::<Status>("/v1/status")).await });
    Ok(match asked {
        Ok(Ok(status)) if status.instances == 0 => None,
        Ok(Err(ClientError::Unreachable(_))) => {
            let pins = Pins::existing(which.bpffs.as_deref())?;
            let goes_on = pins.is_some_and(|pins| !fastpath::attachments(&pins).is_empty());
            goes_on.then_some("this ends the flows that go on in the kernel")
        }
        _ => Some("this ends the translator that runs here, with all its flows"),
    })
}

fn end_all(arguments: &cli::Stop) -> Outcome<Done> {
    let cli::Which { device, state_dir, bpffs } = &arguments.which;
    let mut done = Done::default();
    // What this user may not read says nothing about what runs.
    let owner = || match netlink::owner(device, state_dir.as_deref()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        found => found,
    };
    if let Some(Owner { pid, alive: true }) = owner()? {
        end(pid, || Ok(owner()?.is_some_and(|owner| owner.alive)))?;
        done.said.push(format!("the daemon (process {pid}) has ended"));
        done.ended = Some(pid);
    }
    if arguments.flush {
        match Pins::existing(bpffs.as_deref())?.as_ref().map(fastpath::flush) {
            Some(Ok(())) => {
                done.said.push("the kernel's part is gone".to_owned());
                done.kernel_flushed = true;
            }
            Some(Err(error @ FastPathError::InUse(_))) => done.said.push(error.to_string()),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = state_dir.clone().unwrap_or_else(netlink::default_journal_directory);
        if runtime.block_on(netlink::undo(device, &folder))? {
            done.said.push("the changes of this host are taken back".to_owned());
            done.host_restored = true;
        }
        Tun::remove(device)?;
        Snapshot::of(device, state_dir.as_deref()).remove();
    } else if owner()?.is_some() {
        done.said.push(
            "known flows go on in the kernel, and this host stays set up (xlat stop --flush ends that)"
                .to_owned(),
        );
    }
    if done.said.is_empty() {
        done.said.push(nothing_seen(device)?.to_owned());
    }
    Ok(done)
}

/// What it means that no trace of a daemon was found: only root can see all of them.
fn nothing_seen(device: &str) -> Outcome<&'static str> {
    let uid = rustix::process::geteuid().as_raw();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(device, uid);
    let asked =
        runtime.block_on(async { tokio::time::timeout(ANSWER, client.get::<Status>("/v1/status")).await });
    let says_nothing = matches!(asked, Ok(Err(ClientError::Unreachable(_))));
    match (says_nothing, uid) {
        (true, 0) => Ok("nothing of xlat runs here"),
        (true, _) => Ok(
            "no daemon answers here; what one may have left behind only root can see (sudo xlat stop --flush)",
        ),
        (false, 0) => Err(Failure::new(
            "a daemon answers here, but there is no note of it: was it started with another --state-dir?",
        )),
        (false, _) => {
            Err(Failure::new("a daemon runs here, and this user may not end it; root may: sudo xlat stop"))
        }
    }
}

/// Asks a process to end and waits until `is_alive` says no.
fn end(pid: u32, is_alive: impl Fn() -> Outcome<bool>) -> Outcome {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Failure::new(format!("{pid} is no process")))?;
    kill_process(process, Signal::TERM).map_err(|error| match error {
        Errno::PERM => Failure::new(format!(
            "a daemon runs here (process {pid}), and this user may not end it; root may: sudo xlat stop"
        )),
        other => Failure::doing(format!("cannot end process {pid}"), &other),
    })?;
    let end = Instant::now() + PATIENCE;
    let _clock = Clock::start("the daemon writes its sessions down and ends");
    while is_alive()? {
        if Instant::now() > end {
            return Err(Failure::new(format!("process {pid} does not end; see its log")));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
