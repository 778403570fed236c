//! Ports of the host's own addresses that are ours: bitmaps in memory that the program reads and the daemon writes, without
//! a system call.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xlat_fastpath::config::OWN_ADDRESSES;

/// Words of a bitmap: a bit for each port or identifier.
const WORDS: usize = 1024;
/// Protocols of an address: TCP, UDP, ICMP.
const PROTOCOLS: usize = 3;
/// Words of all bitmaps.
const ALL: usize = OWN_ADDRESSES as usize * PROTOCOLS * WORDS;

/// The bitmaps. Clones are cheap; every thread may write, also one without privileges.
#[derive(Clone, Debug)]
pub struct OwnPorts {
    mapping: Arc<Mapping>,
}

impl OwnPorts {
    /// Maps the memory of the map, whose shape was checked.
    pub(super) fn new(map: &OwnedFd) -> io::Result<Self> {
        let len = ALL * size_of::<u64>();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { mapping: Arc::new(Mapping { words }) })
    }

    /// Sets whether `port` (or identifier) of the address in `slot` is ours; `protocol` 0 is TCP, 1 UDP, 2 ICMP. A slot or
    /// protocol that does not exist changes nothing.
    pub fn set(&self, slot: u32, protocol: u8, port: u16, on: bool) {
        let Some(words) = self.bitmap(slot, protocol) else { return };
        let (word, bit) = (&words[usize::from(port >> 6)], 1u64 << (port & 63));
        if on {
            word.fetch_or(bit, Ordering::Release);
        } else {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    /// Whether a port is ours.
    pub fn get(&self, slot: u32, protocol: u8, port: u16) -> bool {
        let Some(words) = self.bitmap(slot, protocol) else { return false };
        words[usize::from(port >> 6)].load(Ordering::Acquire) >> (port & 63) & 1 != 0
    }

    /// No port of the address in `slot` is ours.
    pub fn clear_slot(&self, slot: u32) {
        for word in (0..PROTOCOLS as u8).filter_map(|protocol| self.bitmap(slot, protocol)).flatten() {
            word.store(0, Ordering::Release);
        }
    }

    fn bitmap(&self, slot: u32, protocol: u8) -> Option<&[AtomicU64]> {
        if slot >= OWN_ADDRESSES || usize::from(protocol) >= PROTOCOLS {
            return None;
        }
        let first = (slot as usize * PROTOCOLS + usize::from(protocol)) * WORDS;
        self.mapping.words().get(first..first + WORDS)
    }
}

/// Memory shared with the kernel.
#[derive(Debug)]
struct Mapping {
    words: NonNull<AtomicU64>,
}

impl Mapping {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has ALL words, is aligned to a page, and lives as long as `self`; the kernel and others only
        // ever read and write whole words, as atomics do.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), ALL) }
    }
}

// SAFETY: the memory is only reached as atomics, which any thread may use.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), ALL * size_of::<u64>()) };
    }
}
