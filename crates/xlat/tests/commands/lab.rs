//! Three hosts on one wire: A speaks IPv6, V speaks IPv4, T between them has the daemon and the commands.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use xlat_netlab::{Background, Namespace, Wire, scenes, unavailable};

/// Patience with a machine that has much else to do: the kernel checks the programs of each daemon anew.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const XLAT: &str = env!("CARGO_BIN_EXE_xlat");

pub(crate) struct Scene {
    pub(crate) a: Namespace,
    pub(crate) t: Namespace,
    _v: Namespace,
    _wire: Wire,
    pub(crate) folder: PathBuf,
}

impl Scene {
    /// None, with a message, where it cannot be built.
    pub(crate) fn build(name: &str) -> Option<Self> {
        let tun = fs::File::options().read(true).write(true).open("/dev/net/tun").err();
        if let Some(reason) = unavailable().or_else(|| tun.map(|error| format!("/dev/net/tun: {error}"))) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("xlat-commands-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ([a, t, v], wire) = scenes::one_wire().unwrap();
        Some(Self { a, t, _v: v, _wire: wire, folder })
    }

    /// The daemon with a configuration, or without any instance.
    pub(crate) fn daemon(&self, config: Option<&str>) -> Daemon {
        let mut command = self.t.command(XLAT);
        command.arg("run").arg("--state-dir").arg(self.folder.join("state"));
        match config {
            Some(config) => {
                let file = self.folder.join("xlat.toml");
                fs::write(&file, config).unwrap();
                command.arg("--config").arg(file)
            }
            None => command.arg("--empty"),
        };
        let mut xlat = Background::start(&self.t, "xlat", command).unwrap();
        xlat.wait_for("xlat is ready", LIMIT).unwrap();
        Daemon(xlat)
    }

    /// `xlat` with these words, in T.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.t.command(XLAT).args(line.split_whitespace()).current_dir(&self.folder).output().unwrap()
    }

    /// What a command prints on standard output; it must succeed.
    pub(crate) fn stdout(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How a command ends that must not succeed, and what it says on standard error.
    pub(crate) fn refused(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Command lines with everything they print, as on a terminal.
    pub(crate) fn transcript(&self, lines: &str) -> String {
        let namespace = fs::metadata(format!("/proc/{}/ns/net", self.t.pid())).unwrap().ino();
        let mut text = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let output = self.run(line);
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            write!(text, "$ xlat {line}\n{}{}", said(&output.stdout), said(&output.stderr)).unwrap();
            match output.status.code() {
                Some(0) => {}
                code => writeln!(text, "[{}]", code.unwrap()).unwrap(),
            }
        }
        text.replace(&namespace.to_string(), "NAMESPACE")
    }

    /// The same on a terminal of its own, with words typed into it.
    pub(crate) fn on_terminal(&self, line: &str, typed: &str) -> String {
        let mut command = self.t.command("script");
        command.args(["--quiet", "--return", "--command", &format!("{XLAT} {line}"), "/dev/null"]);
        let command = command.current_dir(&self.folder).env("TERM", "xterm").env_remove("NO_COLOR");
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        String::from_utf8(script.wait_with_output().unwrap().stdout).unwrap()
    }

    pub(crate) fn pings(&self) -> bool {
        self.a.run("ping -n -c 1 -w 3 64:ff9b::203.0.113.16").is_ok()
    }

    /// Ends the daemon that a command has started, and removes its log.
    pub(crate) fn end_started(&self) {
        let status = self.t.run("curl -s --abstract-unix-socket xlat http://xlat/v1/status").unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let daemon = Pid::from_raw(status["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
        kill_process(daemon, Signal::INT).unwrap();
        let ended = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            self.run("instance").status.code() == Some(3)
        });
        assert!(ended, "the daemon does not end");
        let namespace = fs::metadata(format!("/proc/{}/ns/net", self.t.pid())).unwrap().ino();
        fs::remove_file(format!("/run/xlat/{namespace}.log")).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A daemon that takes everything back when the test ends.
pub(crate) struct Daemon(pub(crate) Background);

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.0.signal(Signal::INT).and_then(|()| self.0.wait(LIMIT));
        if let Err(error) = ended {
            eprintln!("something of xlat may be left: {error}");
        }
    }
}
