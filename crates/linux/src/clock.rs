//! The clock of the data path, and facts about the running system that name it (namespace, boot, process).

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::filesystem;

/// The socket option (socket(7)), which libc does not have for every target.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Milliseconds of the monotonic clock (`CLOCK_MONOTONIC`: since boot, without suspended time).
pub fn now_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // The monotonic clock is never negative.
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}

/// The inode of this thread's network namespace: equal for two processes exactly if they share it.
pub fn netns_inode() -> io::Result<u64> {
    fs::metadata("/proc/thread-self/ns/net").map(|meta| meta.ino())
}

/// A number of this thread's network namespace that is never given away again, unlike the inode's: that of a namespace which
/// is gone soon becomes another one's. Zero where the kernel has none (before Linux 5.14).
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointer and length are those of a live integer, which the kernel fills or leaves as it is.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Ok(cookie)
}

/// The random name that the kernel gave to this boot.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// The boot that what is kept in `directory` belongs to: none where no file outlives a boot. In a container, and behind
/// systemd's ProtectProc=, processes may be told different names of the same boot.
pub(crate) fn boot_of(directory: &Path) -> io::Result<String> {
    match directory.ancestors().find_map(filesystem::kind) {
        Some(filesystem::TMPFS) => Ok(String::new()),
        _other => boot_id(),
    }
}

/// When process `pid` was started, in clock ticks since boot; None if there is no such process, or it has ended and only waits
/// for its parent to notice. With the pid it
/// names a process for good, where a pid alone is given away again.
pub fn process_start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may contain anything; count from behind it.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The range of ports that the kernel gives to local sockets, both inclusive (`ip_local_port_range`).
pub fn ephemeral_ports() -> io::Result<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(low)), Some(Ok(high))) => Ok((low, high)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a port range: {text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on() {
        let before = now_ms();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let passed = now_ms() - before;
        assert!((4..5000).contains(&passed), "{passed}");
    }

    #[test]
    fn facts_of_this_process() {
        assert!(process_start(std::process::id()).is_some());
        assert_eq!(process_start(u32::MAX), None);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = || process_start(child.id()).is_none();
        assert!((0..500).any(|_| ended() || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            false
        }));
        child.wait().unwrap();
        assert!(netns_inode().unwrap() > 0);
        let (low, high) = ephemeral_ports().unwrap();
        assert!(low <= high);
    }
}
