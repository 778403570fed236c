//! What the measurements between namespaces put on this host: a folder, and translators in the namespaces.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xlat_netlab::{Background, Namespace};

use crate::Error;

/// How long `xlat` may take to start.
const READY: Duration = Duration::from_secs(20);

/// A folder of our own with a BPF file system in it, both removed when dropped: what the kernel would keep beyond a
/// translator's end goes with the file system.
#[derive(Debug)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
}

impl Folder {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When it or the file system cannot be made.
    pub fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("xlat-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self { path };
        DirBuilder::new().mode(0o700).create(folder.bpffs())?;
        let status = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.bpffs()).status()?;
        if status.success() { Ok(folder) } else { Err("no BPF file system can be mounted".into()) }
    }

    fn bpffs(&self) -> PathBuf {
        self.path.join("bpf")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is a few small files in the folder for temporary ones. An error of `umount` means that
        // nothing was mounted.
        let _ = Command::new("umount").arg("--quiet").arg(self.bpffs()).status();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running translator.
#[derive(Debug)]
pub struct Xlat {
    running: Background,
    which: [PathBuf; 2],
}

impl Xlat {
    /// Starts one in `t` and waits until it is ready; `name` is that of its files.
    ///
    /// # Errors
    ///
    /// When it does not become ready; with its last words.
    pub fn start(t: &Namespace, folder: &Folder, name: &str, config: &str) -> Result<Self, Error> {
        let file = folder.path.join(format!("{name}.toml"));
        fs::write(&file, config)?;
        let which = [folder.path.join(name), folder.bpffs()];
        let mut command = t.command(&program()?.to_string_lossy());
        command.arg("run").arg("--config").arg(file).args(options(&which));
        let mut running = Background::start(t, "xlat", command)?;
        running.wait_for("xlat is ready", READY)?;
        Ok(Self { running, which })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What `xlat status --json` says in `t`, the namespace it runs in.
    ///
    /// # Errors
    ///
    /// When it says nothing that can be read.
    pub fn status(&self, t: &Namespace) -> Result<Value, Error> {
        let mut command = t.command(&program()?.to_string_lossy());
        let output = command.args(["status", "--json"]).args(options(&self.which)).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).map_err(|error| format!("xlat status: {error}: {said}").into())
    }
}

fn options(which: &[PathBuf; 2]) -> [&Path; 4] {
    [Path::new("--state-dir"), &which[0], Path::new("--bpffs"), &which[1]]
}

/// The program `xlat` beside this one.
fn program() -> Result<PathBuf, Error> {
    let xlat = std::env::current_exe()?.with_file_name("xlat");
    match xlat.is_file() {
        true => Ok(xlat),
        false => Err(format!("there is no {}: cargo build --release -p xlat", xlat.display()).into()),
    }
}
