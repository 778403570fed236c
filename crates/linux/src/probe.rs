//! One place that finds out what this host offers. Everything else asks it, and `xlat check` prints it.

mod fast_path;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::clock;
use crate::netlink::sysctl;
use crate::privileges::Capabilities;
use crate::tun::{OffloadSupport, Tun};
pub use fast_path::FastPathSupport;

/// What this host offers to a translator.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The kernel's release, for example `6.1.0-18-amd64`.
    pub kernel: String,
    /// The machine's architecture.
    pub machine: String,
    /// `/dev/net/tun` is there.
    pub tun_driver: bool,
    /// A TUN device could be made and removed again; what it has, or why it could not.
    pub tun: Result<TunSupport, String>,
    /// What this process may do.
    pub capabilities: Capabilities,
    /// Unprivileged user namespaces are not forbidden by a setting; None if the kernel does not say.
    pub user_namespaces: Option<bool>,
    /// The ports that the kernel gives to local sockets, both inclusive; None if it does not say.
    pub ephemeral_ports: Option<(u16, u16)>,
    /// IPv4 forwarding is on.
    pub forwarding4: bool,
    /// IPv6 forwarding is on. False also where the kernel has no IPv6.
    pub forwarding6: bool,
    /// Cores that this process may use.
    pub cores: usize,
    /// What there is for a program in the kernel.
    pub fast_path: FastPathSupport,
}

/// What a TUN device of this host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunSupport {
    /// Several queues for one device.
    pub multi_queue: bool,
    /// Offloads.
    pub offload: OffloadSupport,
}

impl Probe {
    /// Looks. For a moment there are a TUN device named after this process and, in a network namespace of its own, what the
    /// program in the kernel is tried out on; nothing else is changed.
    pub fn run() -> Self {
        let (release, machine) = kernel();
        let on = |name: &str| sysctl::read(name).is_ok_and(|value| value == "1");
        Self {
            fast_path: fast_path::run(&release),
            kernel: release,
            machine,
            tun_driver: Path::new("/dev/net/tun").exists(),
            tun: tun(),
            capabilities: Capabilities::effective().unwrap_or_default(),
            user_namespaces: user_namespaces(),
            ephemeral_ports: clock::ephemeral_ports().ok(),
            forwarding4: on("ipv4/ip_forward"),
            forwarding6: on("ipv6/conf/all/forwarding"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// True if a translator can run here.
    pub fn is_sufficient(&self) -> bool {
        self.tun.is_ok()
    }

    /// What was found, as rows of a name and a value for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let tun = |of: fn(&TunSupport) -> String| match &self.tun {
            Ok(support) => of(support),
            Err(why) => format!("unknown: {why}"),
        };
        let ports = |(low, high)| format!("{low}-{high}");
        let unknown = || "unknown".to_owned();
        let mut rows = vec![
            ("kernel", format!("{} {}", self.kernel, self.machine)),
            ("cores", self.cores.to_string()),
            ("/dev/net/tun", yes(self.tun_driver)),
            ("tun queues", tun(|tun| if tun.multi_queue { "several" } else { "one" }.to_owned())),
            ("tun offloads", tun(|tun| tun.offload.to_string())),
            ("capabilities", self.capabilities.to_string()),
            ("user namespaces", self.user_namespaces.map_or_else(unknown, yes)),
            ("ephemeral ports", self.ephemeral_ports.map_or_else(unknown, ports)),
            ("ipv4 forwarding", yes(self.forwarding4)),
            ("ipv6 forwarding", yes(self.forwarding6)),
        ];
        rows.extend(self.fast_path.rows());
        rows
    }
}

/// Whether the program's route look-ups can heed firewall marks on this kernel (`BPF_FIB_LOOKUP_MARK`).
pub fn routes_by_mark() -> bool {
    fast_path::routes_by_mark(&kernel().0)
}

/// What there is for a program in the kernel, alone. Takes as long as the kernel needs to verify the programs.
pub fn fast_path() -> FastPathSupport {
    fast_path::run(&kernel().0)
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:<16} {value}")?;
        }
        Ok(())
    }
}

fn tun() -> Result<TunSupport, String> {
    let name = format!("xlatp{}", std::process::id());
    let tun = Tun::create(&name, 2).map_err(|error| error.to_string())?;
    Ok(TunSupport { multi_queue: tun.queue_count() > 1, offload: tun.offload() })
}

/// Release and machine of the kernel.
fn kernel() -> (String, String) {
    let text = |field: &[libc::c_char]| {
        let bytes = field.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0);
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    };
    // SAFETY: `utsname` consists of arrays of characters: all zero bytes are a valid value.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is ours to write for the length of the call.
    unsafe { libc::uname(&raw mut name) };
    (text(&name.release), text(&name.machine))
}

fn user_namespaces() -> Option<bool> {
    let number = |path: &str| -> io::Result<u64> {
        fs::read_to_string(path)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let max = number("/proc/sys/user/max_user_namespaces").ok()?;
    // Debian's and Ubuntu's own switches; where they are missing nothing is forbidden by them.
    let allowed = number("/proc/sys/kernel/unprivileged_userns_clone").unwrap_or(1);
    let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0);
    Some(max > 0 && allowed != 0 && restricted == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_something() {
        let probe = Probe::run();
        assert!(probe.rows().iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        assert!(probe.kernel.contains('.'));
        println!("{probe}");
        let lines = |value: &str| value.lines().count();
        assert_eq!(
            lines(&probe.to_string()),
            probe.rows().iter().map(|(_, value)| lines(value)).sum::<usize>()
        );
    }
}
