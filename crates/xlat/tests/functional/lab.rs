//! Building scenes: nodes, cables between them, and the daemon on one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xlat_netlab::{Background, Namespace, unavailable, veth};

/// Longest time anything may take that is not a transfer.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// True, with a message, where no namespaces can be made.
pub(crate) fn skipped() -> bool {
    let reason = unavailable();
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

/// Nodes with these names, which are for messages only.
pub(crate) fn nodes<const N: usize>(names: [&str; N]) -> [Namespace; N] {
    names.map(|name| Namespace::new(name).unwrap())
}

/// A cable; each end is a node, its device, and addresses with prefix lengths.
pub(crate) fn cable(a: (&Namespace, &str, &[&str]), b: (&Namespace, &str, &[&str])) {
    veth(a.0, a.1, b.0, b.1).unwrap();
    for (node, device, addresses) in [a, b] {
        addresses.iter().for_each(|address| node.address(device, address).unwrap());
    }
}

/// Adds routes, as the words behind `ip route add`.
pub(crate) fn routes(node: &Namespace, routes: &[&str]) {
    for route in routes {
        node.ip(&format!("route add {route}")).unwrap();
    }
}

/// Makes a router out of a node that does not run the daemon.
pub(crate) fn forward(node: &Namespace) {
    node.run("sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1").unwrap();
}

/// Waits for something that takes a moment.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The daemon on a node. Where a test fails, its log is shown. Nothing of it is left when it is dropped, in the kernel
/// neither.
pub(crate) struct Xlat {
    /// A process in the node.
    node: u32,
    process: Background,
    folder: PathBuf,
    rights: Rights,
}

/// What a daemon may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// What the test may.
    All,
    /// As the installed service does it: `xlat load` with all rights, then a daemon that may not load programs.
    Contained,
}

impl Xlat {
    /// Starts it and waits until it translates.
    pub(crate) fn start(node: &Namespace, config: &str) -> Self {
        Self::start_with(Rights::All, node, config)
    }

    /// The same with certain rights.
    pub(crate) fn start_with(rights: Rights, node: &Namespace, config: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xlat-functional-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("xlat.toml"), config).unwrap();
        let process = start(node.pid(), &folder, rights);
        let mut xlat = Self { node: node.pid(), process, folder, rights };
        xlat.process.wait_for("xlat is ready", LIMIT).unwrap();
        xlat
    }

    /// Kills it and starts it again at once.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.signal(Signal::KILL).unwrap();
        self.process.wait(LIMIT).unwrap();
        self.restart();
    }

    /// Ends it in good order, the kernel's part going on, and starts it again.
    pub(crate) fn end_and_restart(&mut self) {
        assert!(self.process.stop(LIMIT).unwrap().success());
        self.restart();
    }

    fn restart(&mut self) {
        self.process = start(self.node, &self.folder, self.rights);
        self.process.wait_for("xlat is ready", LIMIT).unwrap();
    }

    /// Lets it read another configuration.
    pub(crate) fn reload(&mut self, config: &str) {
        fs::write(self.folder.join("xlat.toml"), config).unwrap();
        self.process.signal(Signal::HUP).unwrap();
        self.process.wait_for("configuration was read again", LIMIT).unwrap();
    }

    /// Lets it read a configuration that it refuses, for a reason that is named like this.
    pub(crate) fn refused(&mut self, config: &str, why: &str) {
        fs::write(self.folder.join("xlat.toml"), config).unwrap();
        self.process.signal(Signal::HUP).unwrap();
        let line = self.process.wait_for("the configuration stays as it was", LIMIT).unwrap();
        assert!(line.contains(why), "{line}");
    }

    /// What `xlat status --json` says.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.ask(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Runs a command of the program about this daemon.
    fn ask(&self, words: &[&str]) -> Output {
        let state = self.folder.join("state");
        program(self.node).args(words).arg("--state-dir").arg(state).output().unwrap()
    }

    /// Flows that the kernel repeats by itself.
    pub(crate) fn kernel_flows(&self) -> u64 {
        self.status()["kernel"]["flows"].as_u64().unwrap_or_default()
    }

    /// Packets that the kernel translated by itself.
    pub(crate) fn kernel_packets(&self) -> u64 {
        self.status()["kernel"]["translated"].as_u64().unwrap_or_default()
    }

    /// Starts it with one instance: NAT64 behind one address.
    pub(crate) fn nat64(node: &Namespace, pool6: &str, pool4: &str) -> Self {
        Self::start(node, &nat64(pool6, pool4))
    }

    /// The value of a row of the table of counters; what is zero has none.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        // The last row of each table.
        const LAST: &str = " device batches ";
        let before = self.process.output().lines().count();
        self.process.signal(Signal::USR1).unwrap();
        self.process.wait_for(LAST, LIMIT).unwrap();
        let log = self.process.output();
        let rows = log.lines().skip(before).filter_map(|line| line.split_once(&format!(" {name} ")));
        rows.last().map_or(0, |(_, rest)| rest.split_whitespace().next().unwrap().parse().unwrap())
    }

    /// Ends it, and has everything taken back.
    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::INT).unwrap();
        assert!(self.process.wait(LIMIT).unwrap().success());
    }
}

impl Drop for Xlat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.process.output();
            let skip = log.lines().count().saturating_sub(40);
            log.lines().skip(skip).for_each(|line| eprintln!("xlat: {line}"));
        }
        let ended = self.ask(&["stop", "--flush"]);
        if !ended.status.success() {
            eprintln!("something of xlat may be left: {ended:?}");
        }
        // Leaving a file behind in the temporary folder fails no test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start(node: u32, folder: &Path, rights: Rights) -> Background {
    let config = folder.join("xlat.toml");
    let mut command = match rights {
        Rights::All => program(node),
        Rights::Contained => {
            let loaded = program(node).arg("load").arg("--config").arg(&config).output().unwrap();
            assert!(loaded.status.success(), "{loaded:?}");
            let mut command = xlat_netlab::command("nsenter");
            command.arg(format!("--net=/proc/{node}/ns/net")).args(["--", "setpriv"]);
            command.args(["--bounding-set=-all,+net_admin,+bpf", env!("CARGO_BIN_EXE_xlat")]);
            command
        }
    };
    command.arg("run").arg("--config").arg(config);
    command.arg("--state-dir").arg(folder.join("state"));
    Background::start_at("T", "xlat", command).unwrap()
}

/// The program under test, in the node of a process.
pub(crate) fn program(node: u32) -> Command {
    let mut command = xlat_netlab::command("nsenter");
    command.arg(format!("--net=/proc/{node}/ns/net")).args(["--", env!("CARGO_BIN_EXE_xlat")]);
    command
}

/// True, with a message, where there is no eBPF for the test. As root of the machine there has to be.
pub(crate) fn no_fast_path(xlat: &Xlat) -> bool {
    let why = xlat.status()["kernel"]["unavailable"].as_str().map(str::to_owned);
    if let Some(why) = &why {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap();
        let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
        assert!(!(whole && rustix::process::geteuid().is_root()), "no fast path, though we are root: {why}");
        eprintln!("skipped: {why}");
    }
    why.is_some()
}

/// A configuration: NAT64 behind one address.
pub(crate) fn nat64(pool6: &str, pool4: &str) -> String {
    format!(
        "[[instance]]\nname = \"nat64\"\ntype = \"nat64\"\npool4 = [\"{pool4}\"]\n\
         [instance.global]\npool6 = \"{pool6}\"\n"
    )
}
