//! What a worker counts. Each worker writes its own set, which shares no cache line with another's.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call it: two writers would lose counts.
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// The counters of one worker.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[$doc])+ pub $name: Counter,)+
        }

        impl Counters {
            /// Name and value of each counter, in a fixed order.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),+]
            }
        }
    };
}

counters! {
    /// Packets read; a super-packet counts once.
    rx_packets,
    /// Bytes read, from the IP header on.
    rx_bytes,
    /// Packets written; a super-packet counts once.
    tx_packets,
    /// Packets that were merged into the written ones, those included that merged with nothing.
    tx_segments,
    /// Bytes written, from the IP header on.
    tx_bytes,
    /// Batches: wake-ups and rounds of a full batch.
    batches,
    /// Dropped when read: shorter than a virtio header, or the header did not fit the packet.
    rx_bad_header,
    /// Reads that failed for another reason than that there was nothing to read.
    rx_errors,
    /// Dropped when written: no room in front for the virtio header.
    tx_no_headroom,
    /// Dropped when written: the offload state does not fit the packet.
    tx_bad_offload,
    /// Dropped when written: the device's send buffer is full (`EAGAIN`).
    tx_full,
    /// Dropped when written: the kernel is out of memory (`ENOBUFS`, `ENOMEM`).
    tx_no_memory,
    /// Dropped when written: the kernel refused the packet (`EINVAL`).
    tx_refused,
    /// Dropped when written: the device is down or gone, or any other error.
    tx_errors,
    /// Written in part only.
    tx_short,
}
