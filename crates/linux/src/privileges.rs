//! Capabilities: what this process has, and giving up what it no longer needs (capabilities(7)).
//!
//! Capabilities belong to threads. The control thread keeps `CAP_NET_ADMIN` to take its changes back, and `CAP_BPF` while a
//! program in the kernel is looked after; workers keep nothing.

use std::fmt;
use std::io;

use thiserror::Error;

const VERSION_3: u32 = 0x2008_0522;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
/// Highest number that a 64-bit set can hold.
const MAX_CAPABILITY: u32 = 63;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// `CAP_NET_ADMIN`: devices, addresses, routes, rules.
    pub const NET_ADMIN: Self = Self(1 << NET_ADMIN);
    /// `CAP_NET_RAW`: raw sockets.
    pub const NET_RAW: Self = Self(1 << NET_RAW);
    /// `CAP_SYS_ADMIN`: mounting a BPF file system.
    pub const SYS_ADMIN: Self = Self(1 << SYS_ADMIN);
    /// `CAP_PERFMON`: loading programs without the verifier's checks against speculation, which large programs fail.
    pub const PERFMON: Self = Self(1 << PERFMON);
    /// `CAP_BPF`: loading programs (with `CAP_NET_ADMIN`), and before Linux 6.0 also all work on open maps.
    pub const BPF: Self = Self(1 << BPF);

    /// Those with a name here.
    const NAMES: [(Self, &'static str); 5] = [
        (Self::NET_ADMIN, "net_admin"),
        (Self::NET_RAW, "net_raw"),
        (Self::SYS_ADMIN, "sys_admin"),
        (Self::PERFMON, "perfmon"),
        (Self::BPF, "bpf"),
    ];

    /// True if all of `other` are in the set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in one of them.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The effective capabilities of this thread.
    pub fn effective() -> io::Result<Self> {
        get().map(|(effective, _)| effective)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let named = Self::NAMES.iter().filter(|(capability, _)| self.has(*capability));
        let names: Vec<&str> = named.map(|(_, name)| *name).collect();
        write!(f, "{:#x}", self.0)?;
        if names.is_empty() { Ok(()) } else { write!(f, " ({})", names.join(", ")) }
    }
}

/// A privilege could not be given up.
#[derive(Debug, Error)]
#[error("cannot {step}")]
pub struct PrivilegeError {
    /// What was being done.
    pub step: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Gives up, for this thread and those it makes later: every capability but `keep`, the bounding set, ambient
/// capabilities, and gaining privileges by starting a program (`no_new_privs`). What is in `keep` but was not
/// there is not gained.
pub fn drop_all_but(keep: Capabilities) -> Result<(), PrivilegeError> {
    let fail = |step| move |source| PrivilegeError { step, source };
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(fail("set no_new_privs"))?;
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)
        .map_err(fail("clear the ambient capabilities"))?;
    for number in 0..=MAX_CAPABILITY {
        match prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            // Without CAP_SETPCAP the bounding set stays; no_new_privs makes it useless.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => break,
            Err(source) => return Err(fail("shrink the bounding set")(source)),
        }
    }
    let (effective, permitted) = get().map_err(fail("read the capabilities"))?;
    set(effective.and(keep), permitted.and(keep)).map_err(fail("drop capabilities"))
}

/// Gives up every capability of this thread.
pub fn drop_thread_capabilities() -> Result<(), PrivilegeError> {
    drop_all_but(Capabilities::NONE)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The effective and the permitted set of this thread.
fn get() -> io::Result<(Capabilities, Capabilities)> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 of this call reads one header and fills two data elements; both are live and laid out as
    // the kernel has them.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let join = |low: u32, high: u32| Capabilities(u64::from(high) << 32 | u64::from(low));
    let [low, high] = data;
    Ok((join(low.effective, high.effective), join(low.permitted, high.permitted)))
}

fn set(effective: Capabilities, permitted: Capabilities) -> io::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective.0 >> shift) as u32,
        permitted: (permitted.0 >> shift) as u32,
        inheritable: 0,
    };
    let data = [half(0), half(32)];
    // SAFETY: as in `get`; the data is only read.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take integers only; no memory is passed.
    let result = unsafe { libc::prctl(option, first, second, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_drops_all_and_others_keep_theirs() {
        let before = Capabilities::effective().unwrap();
        std::thread::spawn(|| {
            drop_thread_capabilities().unwrap();
            assert_eq!(get().unwrap(), (Capabilities::NONE, Capabilities::NONE));
        })
        .join()
        .unwrap();
        assert_eq!(Capabilities::effective().unwrap(), before);
    }

    #[test]
    fn a_set_names_what_matters_here() {
        assert_eq!(Capabilities::NONE.to_string(), "none");
        let both = Capabilities::NET_ADMIN.or(Capabilities::BPF);
        assert_eq!(both.to_string(), "0x8000001000 (net_admin, bpf)");
        assert_eq!(Capabilities(1).to_string(), "0x1");
    }

    #[test]
    fn what_is_kept_stays_and_nothing_is_gained() {
        std::thread::spawn(|| {
            let (effective, permitted) = get().unwrap();
            drop_all_but(Capabilities::NET_ADMIN).unwrap();
            let kept = Capabilities::NET_ADMIN;
            assert_eq!(get().unwrap(), (effective.and(kept), permitted.and(kept)));
        })
        .join()
        .unwrap();
    }
}
