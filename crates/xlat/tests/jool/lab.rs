//! What the tests share: nodes with `jool` and `jool_siit` in their path, daemons, and waiting for something to happen.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xlat_netlab::{Background, Namespace, Wire, scenes, search_path, unavailable};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Says why, where no networks can be built here.
pub(crate) fn skipped() -> bool {
    let tun = fs::File::options().read(true).write(true).open("/dev/net/tun").err();
    let reason = unavailable().or_else(|| tun.map(|error| format!("/dev/net/tun: {error}")));
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

/// A folder with the programs under Jool's names, where the command lines run.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xlat-jool-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        for program in ["jool", "jool_siit", "modprobe"] {
            // Of the module's loading nothing is left: whatever a script loads is there already.
            let target = if program == "modprobe" { "/bin/true" } else { env!("CARGO_BIN_EXE_xlat") };
            symlink(target, folder.join("bin").join(program)).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A line for the shell of a node.
    pub(crate) fn shell(&self, node: &Namespace, line: &str) -> Command {
        let mut path = self.0.join("bin").into_os_string();
        path.push(":");
        path.push(search_path());
        let mut command = node.command("sh");
        command.args(["-c", line]).env("PATH", path).env("LC_ALL", "C").current_dir(&self.0);
        command
    }

    /// Runs lines that must succeed, each by itself, and gives what they print together.
    pub(crate) fn script(&self, node: &Namespace, lines: &str) -> String {
        let mut printed = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let output = self.shell(node, line).output().unwrap();
            assert!(output.status.success(), "{}: {line}: {output:?}", node.name());
            printed += &String::from_utf8_lossy(&output.stdout);
        }
        printed
    }

    /// A daemon without any instance: what loading the module was.
    pub(crate) fn daemon(&self, node: &Namespace) -> Daemon {
        let mut command = node.command(env!("CARGO_BIN_EXE_xlat"));
        let state = self.0.join(format!("state-{}", node.pid()));
        command.args(["run", "--empty", "--state-dir"]).arg(&state);
        let mut xlat = Background::start(node, "xlat", command).unwrap();
        xlat.wait_for("xlat is ready", LIMIT).unwrap();
        Daemon { xlat, state }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A daemon that takes everything back when the test ends.
pub(crate) struct Daemon {
    xlat: Background,
    state: PathBuf,
}

impl Daemon {
    /// Waits for a line of its log.
    pub(crate) fn says(&mut self, text: &str) -> String {
        self.xlat.wait_for(text, LIMIT).unwrap()
    }

    /// True, with a message, where there is no eBPF for a test that shares an address with the host. As root of the machine
    /// there has to be.
    pub(crate) fn without_kernel(&self, node: &Namespace) -> bool {
        let mut status = node.command(env!("CARGO_BIN_EXE_xlat"));
        let output = status.args(["status", "--json", "--state-dir"]).arg(&self.state).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let why = status["kernel"]["unavailable"].as_str();
        if let Some(why) = why {
            let map = fs::read_to_string("/proc/self/uid_map").unwrap();
            let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
            assert!(
                !(whole && rustix::process::geteuid().is_root()),
                "no fast path, though we are root: {why}"
            );
            eprintln!("skipped: {why}");
        }
        why.is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.xlat.signal(Signal::INT).and_then(|()| self.xlat.wait(LIMIT));
        if let Err(error) = ended {
            eprintln!("something of xlat may be left: {error}");
        }
    }
}

/// A and V on one wire with T, where the daemon and the commands run.
pub(crate) struct Scene {
    pub(crate) a: Namespace,
    pub(crate) t: Namespace,
    pub(crate) v: Namespace,
    pub(crate) folder: Folder,
    _wire: Wire,
}

impl Scene {
    /// None, with a message, where it cannot be built.
    pub(crate) fn build(name: &str) -> Option<Self> {
        if skipped() {
            return None;
        }
        let ([a, t, v], wire) = scenes::one_wire().unwrap();
        Some(Self { a, t, v, folder: Folder::new(name), _wire: wire })
    }

    pub(crate) fn daemon(&self) -> Daemon {
        self.folder.daemon(&self.t)
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.folder.shell(&self.t, line).output().unwrap()
    }

    /// What a command prints on standard output; it must succeed.
    pub(crate) fn stdout(&self, line: &str) -> String {
        self.folder.script(&self.t, line)
    }

    /// Runs a line that must fail; gives its exit code and what it says on standard error.
    pub(crate) fn refusal(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        assert!(code != 0, "{line}: {said}");
        (code, said)
    }

    /// Command lines with all that they print: standard error behind `2> `, an exit code other than 0 in brackets.
    pub(crate) fn transcript(&self, lines: &str) -> String {
        let namespace = fs::metadata(format!("/proc/{}/ns/net", self.t.pid())).unwrap().ino() & 0xffff_ffff;
        let mut text = String::new();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                writeln!(text, "\n{line}").unwrap();
                continue;
            }
            let output = self.run(line);
            let said = String::from_utf8(output.stdout).unwrap();
            let complained = String::from_utf8(output.stderr).unwrap();
            write!(text, "$ {line}\n{said}").unwrap();
            complained.lines().for_each(|line| writeln!(text, "2> {line}").unwrap());
            match output.status.code() {
                Some(0) => {}
                code => writeln!(text, "[{}]", code.unwrap()).unwrap(),
            }
        }
        text.replace(&format!("{namespace:>18x}"), "         NAMESPACE")
            .replace(&format!("{namespace:x}"), "NAMESPACE")
    }

    pub(crate) fn pings(&self) -> bool {
        self.a.run("ping -n -c 1 -w 3 64:ff9b::203.0.113.16").is_ok()
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Namespaces with these names.
pub(crate) fn nodes<const N: usize>(names: [&str; N]) -> [Namespace; N] {
    names.map(|name| Namespace::new(name).unwrap())
}

/// A cable; each end is a node, its device, and addresses with prefix lengths.
pub(crate) fn cable(a: (&Namespace, &str, &[&str]), b: (&Namespace, &str, &[&str])) {
    xlat_netlab::veth(a.0, a.1, b.0, b.1).unwrap();
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

/// What the tutorials set on every translator: it forwards.
pub(crate) fn forward(node: &Namespace) {
    node.run("sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1").unwrap();
}
