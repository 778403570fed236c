//! `xlat status`: what runs in this network namespace. What the kernel does is read from the kernel, so it is told with and
//! without a daemon.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;
use xlat_fastpath::count::Counter;
use xlat_linux::clock;
use xlat_linux::fastpath::{self, Attachment, Hook, Maps, Pins};
use xlat_linux::netlink::{self, Owner, watch};

use crate::cli;
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
    let which = &arguments.which;
    let owner = netlink::owner(&which.device, which.state_dir.as_deref())?;
    let kernel = match look(which) {
        Ok(Some(programs)) => Kernel::Some(Box::new(programs)),
        Ok(None) => Kernel::None { unavailable: "nothing of xlat is in the kernel here".to_owned() },
        Err(failure) => Kernel::None { unavailable: failure.to_string() },
    };
    let daemon = match owner {
        Some(Owner { pid, alive }) => Daemon { pid: alive.then_some(pid), host_is_set_up: true },
        None => Daemon { pid: None, host_is_set_up: false },
    };
    let running = daemon.pid.is_some();
    let status = Status { daemon, kernel };
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&status)?)
    } else {
        status.text()?
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if running { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn look(which: &cli::Which) -> Outcome<Option<Programs>> {
    let Some(pins) = Pins::existing(which.bpffs.as_deref())? else { return Ok(None) };
    let Some(maps) = Maps::open(&pins)? else { return Ok(None) };
    let statistics = maps.statistics()?;
    let config = maps.config();
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
    fn text(&self) -> Outcome<String> {
        let mut text = String::new();
        match (self.daemon.pid, self.daemon.host_is_set_up) {
            (Some(pid), _) => writeln!(text, "daemon    runs, process {pid}")?,
            (None, true) => {
                writeln!(text, "daemon    does not run; what it set up is still there (xlat stop --flush)")?;
            }
            (None, false) => writeln!(text, "daemon    does not run")?,
        }
        match &self.kernel {
            Kernel::None { unavailable } => writeln!(text, "kernel    {unavailable}")?,
            Kernel::Some(programs) => programs.write(&mut text, self.daemon.pid.is_some())?,
        }
        Ok(text)
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
