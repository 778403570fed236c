//! What is in a shard in numbers, beside its lock: whoever changed the shard writes them down while it is locked, and they are read
//! without waiting for anybody.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::tables::Gauges;
use crate::types::Protocol;

/// The numbers of one shard; by [`Protocol::index`].
#[derive(Default)]
pub(crate) struct Counts {
    bib: [AtomicUsize; 3],
    sessions: [AtomicUsize; 3],
    sessions_made: [AtomicU64; 3],
    bytes: AtomicUsize,
}

impl Counts {
    /// How many BIB entries there are now.
    pub(crate) fn set_bib(&self, protocol: Protocol, count: usize) {
        self.bib[protocol.index()].store(count, Ordering::Relaxed);
    }

    /// One more session. Only one thread at a time counts: no other change can come between.
    pub(crate) fn session_made(&self, protocol: Protocol) {
        let (now, made) = (&self.sessions[protocol.index()], &self.sessions_made[protocol.index()]);
        now.store(now.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        made.store(made.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// One session less.
    pub(crate) fn session_ended(&self, protocol: Protocol) {
        let now = &self.sessions[protocol.index()];
        now.store(now.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    /// Bytes allocated now.
    pub(crate) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Adds all of it to `gauges`.
    pub(crate) fn add_to(&self, gauges: &mut Gauges) {
        for at in Protocol::ALL.map(Protocol::index) {
            gauges.bib[at] += self.bib[at].load(Ordering::Relaxed);
            gauges.sessions[at] += self.sessions[at].load(Ordering::Relaxed);
            gauges.sessions_made[at] += self.sessions_made[at].load(Ordering::Relaxed);
        }
        gauges.memory += self.bytes.load(Ordering::Relaxed);
    }
}
