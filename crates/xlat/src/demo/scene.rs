//! Three hosts on one wire: A speaks IPv6, V speaks IPv4, T has both on one interface and runs `xlat`.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use xlat_linux::probe;
use xlat_netlab::{Background, Namespace, Wire};

use crate::failure::{Failure, Outcome};
use crate::run;

use super::peer::{LISTENING, PORT};
use super::report::Report;

/// What differs from scene to scene.
pub(super) struct Layout {
    /// The scene in one line.
    pub(super) title: &'static str,
    /// Who is where.
    pub(super) drawing: &'static str,
    /// The configuration of `xlat` on T.
    pub(super) config: &'static str,
    /// Words for `ip` on A.
    pub(super) a: &'static [&'static str],
    /// Words for `ip` on T.
    pub(super) t: &'static [&'static str],
    /// More words for `ip` on T where translator and host can share an address, and what is said if they cannot.
    pub(super) shared: Option<(&'static str, &'static str)>,
    /// Words for `ip` on V.
    pub(super) v: &'static [&'static str],
}

/// A running scene; everything ends when it is dropped.
pub(super) struct Scene {
    xlat: Background,
    _servers: [Background; 2],
    pub(super) a: Namespace,
    pub(super) t: Namespace,
    pub(super) v: Namespace,
    _wire: Wire,
    /// T's network before `xlat` was started.
    before: String,
    folder: Folder,
}

impl Scene {
    /// Builds the scene and waits until everything in it is ready.
    pub(super) fn build(layout: &Layout, report: &Report) -> Outcome<Self> {
        // On slow machines the kernel takes long to verify its programs.
        const READY: Duration = Duration::from_secs(60);
        let folder = Folder::new()?;
        let wire = Wire::new()?;
        let (a, t, v) = (Namespace::new("A")?, Namespace::new("T")?, Namespace::new("V")?);
        for (node, commands) in [(&a, layout.a), (&t, layout.t), (&v, layout.v)] {
            wire.attach(node, "eth0")?;
            for words in commands {
                node.ip(words)?;
            }
        }
        if let Some((words, otherwise)) = layout.shared {
            match kernel() {
                Ok(()) => drop(t.ip(words)?),
                Err(why) => report.say(
                    format_args!("Without eBPF ({why}): {otherwise}\n"),
                    json!({ "without-ebpf": why.to_string() }),
                ),
            }
        }
        let serve = |node: &Namespace| -> Outcome<Background> {
            let mut command = own_program(node)?;
            command.args(["demo-peer", "serve", &PORT.to_string()]);
            let mut server = Background::start(node, "the server", command)?;
            server.wait_for(LISTENING, READY)?;
            Ok(server)
        };
        let servers = [serve(&a)?, serve(&v)?];
        let before = state(&t)?;
        let config = folder.path.join("xlat.toml");
        fs::write(&config, layout.config)?;
        let mut command = own_program(&t)?;
        command.arg("run").arg("--config").arg(config).arg("--state-dir").arg(folder.path.join("state"));
        let mut xlat = Background::start(&t, "xlat", command)?;
        xlat.wait_for(run::READY, READY)?;
        Ok(Self { xlat, _servers: servers, a, t, v, _wire: wire, before, folder })
    }

    /// A command that runs this program on a node of the scene.
    pub(super) fn own_program(&self, node: &Namespace) -> Outcome<Command> {
        own_program(node)
    }

    /// A folder for the scene's files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// The process of `xlat` on T.
    pub(super) fn xlat_pid(&self) -> u32 {
        self.xlat.pid()
    }

    /// The next line that `xlat` logs, if one comes soon.
    pub(super) fn next_log_line(&mut self) -> Option<String> {
        self.xlat.next_line(Duration::from_millis(200))
    }

    /// The last lines that `xlat` has logged.
    pub(super) fn log(&mut self) -> String {
        const LINES: usize = 20;
        let log = self.xlat.output();
        let skip = log.lines().count().saturating_sub(LINES);
        log.lines().skip(skip).fold(String::new(), |text, line| format!("{text}  {line}\n"))
    }

    /// Does a step, and adds to what it returns how many packets were translated by the kernel and how many by the daemon.
    pub(super) fn with_shares(&self, step: impl FnOnce(&Self) -> Outcome<String>) -> Outcome<String> {
        let before = self.carried()?;
        let result = step(self)?;
        let Some((kernel, daemon)) =
            self.carried()?.zip(before).map(|(now, before)| (now.0 - before.0, now.1 - before.1))
        else {
            return Ok(result);
        };
        Ok(format!("{result} [kernel {kernel}, daemon {daemon} packets]"))
    }

    /// Packets that T's kernel has translated, and those that it has handed to the daemon; `None` without eBPF.
    fn carried(&self) -> Outcome<Option<(u64, u64)>> {
        let mut command = own_program(&self.t)?;
        command.args(["status", "--json", "--state-dir"]).arg(self.folder.path.join("state"));
        let status: serde_json::Value = serde_json::from_slice(&command.output()?.stdout)?;
        let number = |name: &str| status["kernel"][name].as_u64();
        Ok(number("translated").zip(number("handed_over")))
    }

    /// Ends `xlat`; T has to be as it was before.
    pub(super) fn end(&mut self) -> Outcome<String> {
        self.xlat.signal(Signal::INT)?;
        let status = self.xlat.wait(Duration::from_secs(10))?;
        if !status.success() {
            return Err(Failure::new(format!("xlat ended with {status}:\n{}", self.xlat.output())));
        }
        let mut command = own_program(&self.t)?;
        command.args(["status", "--json", "--state-dir"]).arg(self.folder.path.join("state"));
        let status: serde_json::Value = serde_json::from_slice(&command.output()?.stdout)?;
        if status["kernel"]["unavailable"].is_null() {
            return Err(Failure::new(format!("something is left in the kernel: {status}")));
        }
        let after = state(&self.t)?;
        if after != self.before {
            let only = |one: &str, other: &str, sign: &str| -> String {
                let lines = one.lines().filter(|line| !other.lines().any(|known| known == *line));
                lines.map(|line| format!("\n    {sign} {line}")).collect()
            };
            let (gone, new) = (only(&self.before, &after, "-"), only(&after, &self.before, "+"));
            return Err(Failure::new(format!("T is not as it was:{gone}{new}")));
        }
        Ok("T is as it was before".to_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // After a failure the kernel's part would go on by itself.
        if let Ok(mut command) = own_program(&self.t) {
            command.args(["stop", "--flush", "--yes", "--state-dir"]).arg(self.folder.path.join("state"));
            let _ = command.output();
        }
    }
}

/// Whether T's kernel can take packets up where they come in; if not, why.
fn kernel() -> Result<(), String> {
    probe::fast_path().usable()
}

/// A folder of our own, removed when dropped and when a signal ends this program.
struct Folder {
    path: Arc<PathBuf>,
}

impl Folder {
    fn new() -> Outcome<Self> {
        let path = Arc::new(std::env::temp_dir().join(format!("xlat-demo-{}", std::process::id())));
        DirBuilder::new()
            .mode(0o700)
            .create(&*path)
            .map_err(|error| Failure::doing(format!("cannot make {}", path.display()), &error))?;
        let doomed = Arc::clone(&path);
        std::thread::spawn(move || {
            if wait_for_signal().is_ok() {
                let _ = fs::remove_dir_all(&*doomed);
                // The rest of the scene ends with this process.
                std::process::exit(130);
            }
        });
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&*self.path);
    }
}

/// Returns when somebody wants this program to end.
fn wait_for_signal() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

fn own_program(node: &Namespace) -> Outcome<Command> {
    let program = std::env::current_exe()?;
    Ok(node.command(&program.to_string_lossy()))
}

/// Everything about a node's network that `xlat` may have changed.
fn state(node: &Namespace) -> Outcome<String> {
    const SEEN: [&str; 7] = [
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip -4 rule",
        "ip -6 rule",
        "ip neigh show proxy",
        "ip -6 neigh show proxy",
        "sysctl -n net.ipv4.conf.all.forwarding net.ipv6.conf.all.forwarding net.ipv4.conf.eth0.proxy_arp",
    ];
    let parts: Result<Vec<String>, _> = SEEN.iter().map(|line| node.run(line)).collect();
    Ok(parts?.join("\n"))
}
