//! Waiting for a queue to become readable, and being woken up from it (eventfd).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Wakes a worker that waits.
#[derive(Debug)]
pub(super) struct Signal {
    fd: OwnedFd,
}

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was just opened and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(raw) } })
    }

    /// Ends the present wait, or else the next one, at once.
    pub(super) fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the pointer and length are those of a live array. It cannot fail but by overflow after 2^64
        // calls, and then the signal is raised all the same.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits until `queue` is readable, the signal is raised, or `timeout` has passed.
    pub(super) fn wait(&self, queue: RawFd, timeout: Duration) {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut entries = [entry(queue), entry(self.fd.as_raw_fd())];
        // One more than the whole milliseconds, not to wake up just before the time.
        let timeout = i32::try_from(timeout.as_millis() + 1).unwrap_or(i32::MAX);
        // SAFETY: the pointer and count are those of a live array. An interrupted wait is one that ended early.
        unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
        if entries[1].revents != 0 {
            let mut raised = [0; 8];
            // SAFETY: the pointer and length are those of a live array. The read takes the signal back; it never blocks.
            unsafe { libc::read(self.fd.as_raw_fd(), raised.as_mut_ptr().cast(), raised.len()) };
        }
    }
}
