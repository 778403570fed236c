//! The TUN device: made with several queues, a virtio header in front of each packet, and whatever offloads the
//! kernel has, asked for one by one. (Linux: Documentation/networking/tuntap.rst.)
//!
//! A device is gone when its last queue is closed, also after a crash, unless it is made persistent: then it waits, with all
//! routes to it and with the program on its egress, for the next one to open its queues.

use std::ffi::{CStr, c_int, c_short, c_uint};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::netlink::tun_state::tun_state;
use crate::virtio::HEADER_LEN;

/// The largest MTU of a TUN device in bytes: it takes packets of any size.
pub const MAX_MTU: u32 = 65535;

/// The longest device name in bytes.
pub const MAX_NAME: usize = libc::IFNAMSIZ - 1;

/// How often, and how long apart, joining a device that somebody uses is tried.
const REOPEN_TRIES: u32 = 20;
const REOPEN_PAUSE: Duration = Duration::from_millis(25);
/// How long a device of a process that is ending may still be there.
const ENDING: Duration = Duration::from_secs(1);

const DEVICE: &CStr = c"/dev/net/tun";
const OFFLOAD_CSUM: c_uint = 0x01;
const OFFLOAD_TSO4: c_uint = 0x02;
const OFFLOAD_TSO6: c_uint = 0x04;
const OFFLOAD_TSO_ECN: c_uint = 0x08;
const OFFLOAD_USO: c_uint = 0x20 | 0x40;

/// Which offloads the device took: what the kernel may hand to us unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffloadSupport {
    /// Partial checksums; all others need this one.
    pub checksum: bool,
    /// TCP over IPv4 super-packets.
    pub tso4: bool,
    /// TCP over IPv6 super-packets.
    pub tso6: bool,
    /// TCP super-packets with CWR.
    pub tso_ecn: bool,
    /// UDP super-packets over both versions (Linux 6.2).
    pub uso: bool,
}

impl fmt::Display for OffloadSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.checksum, "checksum"),
            (self.tso4, "tso4"),
            (self.tso6, "tso6"),
            (self.tso_ecn, "tso-ecn"),
            (self.uso, "uso"),
        ];
        let names: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if names.is_empty() { f.write_str("none") } else { f.write_str(&names.join(" ")) }
    }
}

/// Why there is no TUN device. The host's or the operator's matter, never a packet's.
#[derive(Debug, Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or the container does not show it.
    #[error(
        "there is no /dev/net/tun: load the kernel module \"tun\" (modprobe tun), or pass the device to the container"
    )]
    NoDriver,
    /// The device file's mode keeps this user out; usually it lets everybody in, and the kernel decides later.
    #[error(
        "this user may not open /dev/net/tun: run as root, or let others open it (chmod 0666 /dev/net/tun)"
    )]
    NoAccess,
    /// Making the device is not permitted.
    #[error(
        "no permission to make a TUN device: run as root, or with CAP_NET_ADMIN, or in a user namespace (unshare -Urn)"
    )]
    NoPermission,
    /// A device of that name exists.
    #[error(
        "a network device \"{0}\" exists already: stop the program that uses it, or choose another device name"
    )]
    NameTaken(String),
    /// There is no persistent device of that name to be joined.
    #[error("there is no TUN device \"{0}\" left over to be taken up")]
    NotOurs(String),
    /// The name cannot be a device's.
    #[error("\"{0}\" cannot be a device name: 1 to {MAX_NAME} bytes without '/', ':', '%' or white space")]
    BadName(String),
    /// Zero queues, or more than the kernel has.
    #[error("a TUN device has 1 to 256 queues, not {0}")]
    BadQueueCount(usize),
    /// Anything else.
    #[error("{step} of TUN device \"{name}\" failed")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The device.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A TUN device with its queues.
#[derive(Debug)]
pub struct Tun {
    name: String,
    index: u32,
    offload: OffloadSupport,
    queues: Vec<Queue>,
}

impl Tun {
    /// Makes device `name` with `queues` queues (one, if this kernel has no multi-queue TUN) and an MTU of
    /// [`MAX_MTU`]. It is down, has no addresses, and nothing else about the host is changed.
    pub fn create(name: &str, queues: usize) -> Result<Self, TunError> {
        check_name(name)?;
        if !(1..=256).contains(&queues) {
            return Err(TunError::BadQueueCount(queues));
        }
        let multi = libc::IFF_MULTI_QUEUE as c_short;
        let first = match Queue::attach(name, multi, true) {
            Err(TunError::Io { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                vec![Queue::attach(name, 0, true)?]
            }
            first => {
                let mut all = vec![first?];
                for _ in 1..queues {
                    all.push(Queue::attach(name, multi, false)?);
                }
                all
            }
        };
        let offload = probe_offload(&first[0]);
        let socket = control_socket(name)?;
        let index = device_index(&socket, name)?;
        set_mtu(&socket, name, MAX_MTU)?;
        Ok(Self { name: name.to_owned(), index, offload, queues: first })
    }

    /// Joins the persistent device `name`, which a process that is gone has left and which the caller knows to be ours. The
    /// device keeps its state (up, addresses, routes, what is attached to it); offloads are asked for anew.
    ///
    /// # Errors
    ///
    /// [`TunError::NotOurs`] if there is no such persistent TUN device, [`TunError::NameTaken`] if somebody has a queue of it
    /// and does not close it soon, as a process that is just ending does.
    pub fn reopen(name: &str, queues: usize) -> Result<Self, TunError> {
        for _ in 0..REOPEN_TRIES {
            match Self::join(name, queues) {
                Err(TunError::NameTaken(_)) => std::thread::sleep(REOPEN_PAUSE),
                done => return done,
            }
        }
        Self::join(name, queues)
    }

    fn join(name: &str, queues: usize) -> Result<Self, TunError> {
        check_name(name)?;
        if !(1..=256).contains(&queues) {
            return Err(TunError::BadQueueCount(queues));
        }
        let socket = control_socket(name)?;
        let not_ours = || TunError::NotOurs(name.to_owned());
        // Joining would make a device where there is none, and share one that somebody uses.
        let former = device_index(&socket, name).map_err(|_| not_ours())?;
        let state = tun_state(former).ok().flatten().filter(|state| state.persistent);
        let state = state.ok_or_else(not_ours)?;
        if state.queues > 0 {
            return Err(TunError::NameTaken(name.to_owned()));
        }
        let (multi, count) =
            if state.multi_queue { (libc::IFF_MULTI_QUEUE as c_short, queues) } else { (0, 1) };
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Queue::attach(name, multi, false)?);
        }
        let index = device_index(&socket, name)?;
        if index != former {
            return Err(not_ours());
        }
        let offload = probe_offload(&all[0]);
        set_mtu(&socket, name, MAX_MTU)?;
        Ok(Self { name: name.to_owned(), index, offload, queues: all })
    }

    /// Lets the device outlive its queues, or no longer.
    pub fn set_persistent(&self, on: bool) -> Result<(), TunError> {
        let Some(queue) = self.queues.first() else { return Ok(()) };
        queue.set_persistent(on).map_err(|source| TunError::Io {
            step: "changing the persistence",
            name: self.name.clone(),
            source,
        })
    }

    /// Removes a persistent device that nobody uses, if it is there.
    ///
    /// # Errors
    ///
    /// As [`Self::reopen`]: in particular when somebody uses it.
    pub fn remove(name: &str) -> Result<(), TunError> {
        check_name(name)?;
        if device_index(&control_socket(name)?, name).is_err() {
            return Ok(());
        }
        match Self::reopen(name, 1) {
            Ok(device) => device.set_persistent(false),
            Err(error @ TunError::NotOurs(_)) => {
                // Or of a process that is just ending: then it goes with it.
                if is_gone_within(name, ENDING)? { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the kernel lets packets through device `name`, which is up: for a moment after its first queue was opened
    /// it still drops them. False if `patience` was not enough.
    pub fn wait_until_running(name: &str, patience: Duration) -> Result<bool, TunError> {
        const POLL: Duration = Duration::from_millis(1);
        check_name(name)?;
        let socket = control_socket(name)?;
        let end = Instant::now() + patience;
        loop {
            let mut request = request(name);
            ioctl(&socket, libc::SIOCGIFFLAGS as _, &mut request).map_err(|source| TunError::Io {
                step: "reading the flags",
                name: name.to_owned(),
                source,
            })?;
            // SAFETY: SIOCGIFFLAGS filled this member of the union.
            let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
            if flags & libc::IFF_RUNNING != 0 {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device's interface index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The offloads that were accepted.
    pub fn offload(&self) -> OffloadSupport {
        self.offload
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Gives the queues away, one for each worker. The device lives as long as any of them.
    pub fn into_queues(self) -> Vec<Queue> {
        self.queues
    }
}

/// One queue of a TUN device; reads and writes never block.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
}

impl Queue {
    fn attach(name: &str, extra: c_short, exclusive: bool) -> Result<Self, TunError> {
        let fail = |step| {
            let name = name.to_owned();
            move |source: io::Error| match source.raw_os_error() {
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDriver,
                Some(libc::EACCES) => TunError::NoAccess,
                Some(libc::EPERM) => TunError::NoPermission,
                Some(libc::EBUSY | libc::EEXIST) => TunError::NameTaken(name),
                _ => TunError::Io { step, name, source },
            }
        };
        // SAFETY: DEVICE is a NUL-terminated string; the call touches no other memory.
        let raw = unsafe { libc::open(DEVICE.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC) };
        let raw = checked(raw).map_err(fail("opening the driver"))?;
        // SAFETY: `raw` was just opened and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut request = request(name);
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        // Without it, a multi-queue device of another program would be joined, and its packets taken.
        let exclusive = if exclusive { libc::IFF_TUN_EXCL as c_short } else { 0 };
        request.ifr_ifru.ifru_flags = flags as c_short | extra | exclusive;
        ioctl(&fd, libc::TUNSETIFF, &mut request).map_err(fail("making"))?;
        let mut header_len = HEADER_LEN as c_int;
        ioctl(&fd, libc::TUNSETVNETHDRSZ, &mut header_len).map_err(fail("setting the header size"))?;
        Ok(Self { fd })
    }

    fn set_persistent(&self, on: bool) -> io::Result<()> {
        // SAFETY: TUNSETPERSIST takes its argument by value; no memory is passed.
        let result =
            unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TUNSETPERSIST as _, libc::c_ulong::from(on)) };
        checked(result).map(drop)
    }

    /// Reads one packet behind its virtio header; the length of both. `WouldBlock` if there is none.
    #[inline]
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and length are those of a slice that is ours to write for the length of the call.
        let n = unsafe { libc::read(self.fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Reads one packet behind its virtio header into `first`, and what does not fit there into `rest`; the length of all.
    /// `WouldBlock` if there is none.
    #[inline]
    pub fn read_split(&self, first: &mut [u8], rest: &mut [u8]) -> io::Result<usize> {
        let parts =
            [first, rest].map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
        // SAFETY: the pointers and lengths are those of slices that are ours to write for the length of the call.
        let n = unsafe { libc::readv(self.fd.as_raw_fd(), parts.as_ptr(), 2) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Writes one packet behind its virtio header; the length that was taken.
    #[inline]
    pub fn write(&self, from: &[u8]) -> io::Result<usize> {
        // SAFETY: the pointer and length are those of a slice that lives for the length of the call.
        let n = unsafe { libc::write(self.fd.as_raw_fd(), from.as_ptr().cast(), from.len()) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Asks for the offloads one by one, each on top of those accepted, and leaves the device with the accepted ones.
fn probe_offload(queue: &Queue) -> OffloadSupport {
    let mut accepted: c_uint = 0;
    let mut take = |flags: c_uint| {
        let wanted = accepted | flags;
        // SAFETY: TUNSETOFFLOAD takes its argument by value; no memory is passed.
        let done = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD as _, wanted) } == 0;
        if done {
            accepted = wanted;
        }
        done
    };
    let checksum = take(OFFLOAD_CSUM);
    let tso4 = checksum && take(OFFLOAD_TSO4);
    let tso6 = checksum && take(OFFLOAD_TSO6);
    OffloadSupport {
        checksum,
        tso4,
        tso6,
        tso_ecn: (tso4 || tso6) && take(OFFLOAD_TSO_ECN),
        uso: checksum && take(OFFLOAD_USO),
    }
}

/// Waits until there is no device `name`; false if `patience` was not enough.
fn is_gone_within(name: &str, patience: Duration) -> Result<bool, TunError> {
    const POLL: Duration = Duration::from_millis(10);
    let (socket, end) = (control_socket(name)?, Instant::now() + patience);
    while device_index(&socket, name).is_ok() {
        if Instant::now() > end {
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
    Ok(true)
}

fn check_name(name: &str) -> Result<(), TunError> {
    let bad = |byte: u8| matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace();
    if name.is_empty() || name.len() > MAX_NAME || matches!(name, "." | "..") || name.bytes().any(bad) {
        return Err(TunError::BadName(name.to_owned()));
    }
    Ok(())
}

fn control_socket(name: &str) -> Result<OwnedFd, TunError> {
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let step = "opening a control socket";
    let raw = checked(raw).map_err(|source| TunError::Io { step, name: name.to_owned(), source })?;
    // SAFETY: `raw` was just opened and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn device_index(socket: &OwnedFd, name: &str) -> Result<u32, TunError> {
    let mut request = request(name);
    ioctl(socket, libc::SIOCGIFINDEX as _, &mut request).map_err(|source| TunError::Io {
        step: "finding the index",
        name: name.to_owned(),
        source,
    })?;
    // SAFETY: SIOCGIFINDEX filled this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
}

fn set_mtu(socket: &OwnedFd, name: &str, mtu: u32) -> Result<(), TunError> {
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = mtu as c_int;
    ioctl(socket, libc::SIOCSIFMTU as _, &mut request).map_err(|source| TunError::Io {
        step: "setting the MTU",
        name: name.to_owned(),
        source,
    })
}

/// An interface request for `name`, which [`check_name`] found short enough.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` consists of integers and a union of such (and of pointers that are not read): all zero
    // bytes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(MAX_NAME)) {
        *to = from.cast_signed();
    }
    request
}

fn ioctl<T>(fd: &OwnedFd, number: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: each caller passes the type that `number` is defined for; it lives for the length of the call.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), number as _, std::ptr::from_mut(argument)) }).map(drop)
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be() {
        for name in ["", ".", "..", "a/b", "a:b", "a%d", "a b", "0123456789abcdef"] {
            assert!(matches!(Tun::create(name, 1), Err(TunError::BadName(_))), "{name}");
        }
        assert!(matches!(Tun::create("lo", 0), Err(TunError::BadQueueCount(0))));
    }

    #[test]
    fn offload_list_reads_well() {
        assert_eq!(OffloadSupport::default().to_string(), "none");
        let some = OffloadSupport { checksum: true, tso6: true, ..OffloadSupport::default() };
        assert_eq!(some.to_string(), "checksum tso6");
    }
}
