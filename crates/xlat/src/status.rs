//! `xlat status`: what runs in this network namespace. What the kernel does is read from the kernel, so it is told with and
//! without a daemon.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use xlat_config::notation::show_duration;
use xlat_control::api;
use xlat_fastpath::count::Counter;
use xlat_linux::clock;
use xlat_linux::fastpath::{self, Attachment, Hook, Maps, Pins};
use xlat_linux::netlink::{self, Owner, watch};

use crate::cli;
use crate::cli::common::To;
use crate::commands::output::{is_terminal, print};
use crate::commands::remote::Remote;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};

/// All there is to say.
#[derive(Serialize)]
struct Status {
    daemon: Daemon,
    kernel: Kernel,
}

#[derive(Serialize)]
struct Daemon {
    /// Its process, if one is at work.
    pid: Option<u32>,
    /// What it set up on the host is still there.
    host_is_set_up: bool,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    says: Option<api::Status>,
    /// Why it says nothing, though it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Kernel {
    None { unavailable: String },
    Some(Box<Programs>),
}

#[derive(Serialize)]
struct Programs {
    attached: Vec<Attached>,
    /// Flows that the kernel repeats by itself.
    flows: usize,
    /// Bytes of kernel memory for flows and EAM entries.
    memory: u64,
    /// Packets that the kernel translated by itself.
    translated: u64,
    /// Packets that it handed to the daemon.
    handed_over: u64,
    /// Seconds since the daemon's last sign of life.
    silent_for: u32,
    /// Seconds that the kernel goes on without one.
    outlive: u32,
    counters: Vec<Count>,
    instances: Vec<Traffic>,
}

#[derive(Serialize)]
struct Attached {
    interface: String,
    hook: &'static str,
    how: &'static str,
}

#[derive(Serialize)]
struct Count {
    name: &'static str,
    count: u64,
    explanation: &'static str,
}

#[derive(Serialize)]
struct Traffic {
    index: usize,
    packets64: u64,
    bytes64: u64,
    packets46: u64,
    bytes46: u64,
}

/// Prints the status; succeeds if a daemon is at work.
pub(crate) fn status(arguments: &cli::Status) -> Outcome<ExitCode> {
    match show(arguments) {
        Err(failure) if arguments.json => Ok(Trouble::from(failure).tell(true)),
        shown => shown,
    }
}

fn show(arguments: &cli::Status) -> Outcome<ExitCode> {
    let Some(pause) = arguments.watch else {
        let status = now(&arguments.which)?;
        print(&match arguments.json {
            true => format!("{}\n", serde_json::to_string_pretty(&status)?),
            false => status.text()?,
        })?;
        return Ok(if status.runs() { ExitCode::SUCCESS } else { ExitCode::from(3) });
    };
    loop {
        let status = now(&arguments.which)?;
        print(&match (arguments.json, is_terminal()) {
            (true, _) => format!("{}\n", serde_json::to_string(&status)?),
            (false, true) => format!("\x1b[H\x1b[2J{}", status.text()?),
            (false, false) => format!("{}\n", status.text()?),
        })?;
        std::thread::sleep(pause);
    }
}

/// As it is now.
fn now(which: &cli::Which) -> Outcome<Status> {
    let owner = netlink::owner(&which.device, which.state_dir.as_deref())?;
    let kernel = match look(which) {
        Ok(Some(programs)) => Kernel::Some(Box::new(programs)),
        Ok(None) => Kernel::None { unavailable: "nothing of xlat is in the kernel here".to_owned() },
        Err(failure) => Kernel::None { unavailable: failure.to_string() },
    };
    let (says, silent) = ask(which)?;
    let (alive, host_is_set_up) = match owner {
        Some(Owner { pid, alive }) => (alive.then_some(pid), true),
        None => (None, false),
    };
    // It answers also those who may not read its notes, or look for them elsewhere.
    let pid = says.as_ref().map(|says| says.pid).or(alive);
    let daemon = Daemon { pid, host_is_set_up, says, silent };
    Ok(Status { daemon, kernel })
}

/// What the daemon says of itself, or why it does not.
fn ask(which: &cli::Which) -> Outcome<(Option<api::Status>, Option<String>)> {
    let to = To { device: Some(which.device.clone()), ..To::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { Remote::new(&to).get("/v1/status").await });
    runtime.shutdown_background();
    Ok(match answer {
        Ok(says) => (Some(says), None),
        Err(trouble) if trouble.is_no_daemon() => (None, None),
        Err(trouble) => (None, Some(trouble.to_string())),
    })
}

fn look(which: &cli::Which) -> Outcome<Option<Programs>> {
    let Some(pins) = Pins::existing(which.bpffs.as_deref())? else { return Ok(None) };
    let Some(maps) = Maps::open(&pins)? else { return Ok(None) };
    let config = maps.config();
    // Made ready, but no daemon has come to use them.
    if config.layout == 0 {
        return Ok(None);
    }
    let statistics = maps.statistics()?;
    let all = |counted: fn(Counter) -> bool| -> u64 {
        Counter::ALL.into_iter().filter(|one| counted(*one)).map(|one| statistics.count(one)).sum()
    };
    let traffic = statistics.traffic.iter().enumerate().filter(|(_, one)| one.packets64 + one.packets46 > 0);
    let now = u32::try_from(clock::now_ms() / 1000).unwrap_or(u32::MAX);
    Ok(Some(Programs {
        attached: names(&fastpath::attachments(&pins))?,
        flows: maps.flows().count()?,
        memory: maps.memory()?,
        translated: statistics.traffic.iter().map(|one| one.packets64 + one.packets46).sum(),
        handed_over: all(|one| one.name().starts_with("up-")),
        silent_for: now.saturating_sub(config.heartbeat),
        outlive: config.outlive,
        counters: Counter::ALL
            .into_iter()
            .filter(|one| statistics.count(*one) > 0)
            .map(|one| Count {
                name: one.name(),
                count: statistics.count(one),
                explanation: one.explanation(),
            })
            .collect(),
        instances: traffic
            .map(|(index, one)| Traffic {
                index,
                packets64: one.packets64,
                bytes64: one.bytes64,
                packets46: one.packets46,
                bytes46: one.bytes46,
            })
            .collect(),
    }))
}

fn names(attachments: &[Attachment]) -> Outcome<Vec<Attached>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let host = runtime
        .block_on(watch::snapshot())
        .map_err(|error| Failure::doing("cannot read this host's interfaces", &error))?;
    let name = |index: u32| {
        let found = host.interfaces.iter().find(|interface| interface.index == index);
        found.map_or_else(|| format!("#{index}"), |interface| interface.name.clone())
    };
    Ok(attachments
        .iter()
        .map(|attachment| Attached {
            interface: name(attachment.interface),
            hook: match attachment.hook {
                Hook::Ingress => "ingress",
                Hook::Device => "device",
                Hook::Xdp => "xdp",
            },
            how: attachment.how.name(),
        })
        .collect())
}

impl Status {
    fn runs(&self) -> bool {
        self.daemon.pid.is_some() || self.daemon.silent.is_some()
    }

    fn text(&self) -> Outcome<String> {
        let mut text = String::new();
        match (self.daemon.pid, self.daemon.host_is_set_up) {
            (Some(pid), _) => {
                writeln!(text, "daemon    runs, process {pid}")?;
                if let Some(says) = &self.daemon.says {
                    own(&mut text, says)?;
                }
            }
            (None, _) if self.daemon.silent.is_some() => writeln!(text, "daemon    runs")?,
            (None, true) => {
                writeln!(text, "daemon    does not run; what it set up is still there (xlat stop --flush)")?;
            }
            (None, false) => writeln!(text, "daemon    does not run")?,
        }
        if let Some(silent) = &self.daemon.silent {
            writeln!(text, "          it does not say more: {silent}")?;
        }
        match &self.kernel {
            Kernel::None { unavailable } => writeln!(text, "kernel    {unavailable}")?,
            Kernel::Some(programs) => programs.write(&mut text, self.runs())?,
        }
        Ok(text)
    }
}

/// What a daemon says of itself, for a person.
fn own(text: &mut String, says: &api::Status) -> std::fmt::Result {
    let since = show_duration(Duration::from_secs(says.uptime));
    let instances = match says.instances {
        1 => "1 instance".to_owned(),
        several => format!("{several} instances"),
    };
    writeln!(text, "          release {}, for {since}, {instances}, {} workers", says.version, says.workers)?;
    match (&says.file, says.differs_from_file) {
        (Some(file), false) => writeln!(text, "          configuration as in {file}"),
        (Some(file), true) => {
            writeln!(
                text,
                "          configuration not as in {file} (xlat diff {file}; xlat export keeps it)"
            )
        }
        (None, _) => writeln!(text, "          configuration by commands only (xlat export keeps it)"),
    }?;
    match &says.no_fast_path {
        Some(why) => writeln!(text, "          every packet goes through the daemon: {why}"),
        None => Ok(()),
    }
}

impl Programs {
    fn write(&self, text: &mut String, has_daemon: bool) -> std::fmt::Result {
        writeln!(
            text,
            "kernel    {} flows, {:.1} MiB; {} packets translated, {} handed to the daemon",
            self.flows,
            self.memory as f64 / f64::from(1 << 20),
            self.translated,
            self.handed_over
        )?;
        if !has_daemon {
            match self.outlive.checked_sub(self.silent_for) {
                Some(left) => writeln!(text, "          known flows go on for another {left} s")?,
                None => writeln!(text, "          the time without a daemon is over: nothing is translated")?,
            }
        }
        for attached in &self.attached {
            writeln!(text, "          {} on {} ({})", attached.hook, attached.interface, attached.how)?;
        }
        for count in &self.counters {
            writeln!(text, "  {:<20} {:>14}  {}", count.name, count.count, count.explanation)?;
        }
        Ok(())
    }
}
