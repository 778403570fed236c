//! Counters: each worker has its own, nobody else writes them; a reader adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::Reason;

/// What one worker counts. On a cache line of its own: no line written per packet is shared.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters {
    traffic: [AtomicU64; Traffic::COUNT],
    reasons: [AtomicU64; Reason::COUNT],
}

/// What is counted besides reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Traffic {
    /// IPv6 packets that came in.
    Received6,
    /// IPv4 packets that came in.
    Received4,
    /// Bytes that came in as IPv6.
    Bytes6,
    /// Bytes that came in as IPv4.
    Bytes4,
    /// Packets translated and sent.
    Translated,
    /// ICMPv6 errors of our own that were sent.
    ErrorsSent6,
    /// ICMPv4 errors of our own that were sent.
    ErrorsSent4,
    /// ICMP errors of our own that were owed and not sent: forbidden, no source address, or too many.
    ErrorsWithheld,
    /// Held fragments and stored SYNs that ended without being sent.
    HeldLost,
}

impl Traffic {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Received6,
        Self::Received4,
        Self::Bytes6,
        Self::Bytes4,
        Self::Translated,
        Self::ErrorsSent6,
        Self::ErrorsSent4,
        Self::ErrorsWithheld,
        Self::HeldLost,
    ];

    /// Stable name, in lower case with hyphens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received6 => "received-ipv6",
            Self::Received4 => "received-ipv4",
            Self::Bytes6 => "bytes-ipv6",
            Self::Bytes4 => "bytes-ipv4",
            Self::Translated => "translated",
            Self::ErrorsSent6 => "icmpv6-errors-sent",
            Self::ErrorsSent4 => "icmpv4-errors-sent",
            Self::ErrorsWithheld => "icmp-errors-withheld",
            Self::HeldLost => "held-and-lost",
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            traffic: std::array::from_fn(|_| AtomicU64::new(0)),
            reasons: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// One writer: a load and a store, no locked instruction.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn traffic(&self, what: Traffic, by: u64) {
        add(&self.traffic[what as usize], by);
    }

    pub(crate) fn reason(&self, reason: Reason) {
        add(&self.reasons[reason.index()], 1);
    }
}

/// The counters of all workers, added up at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    traffic: [u64; Traffic::COUNT],
    reasons: [u64; Reason::COUNT],
}

impl Statistics {
    pub(crate) fn sum(workers: &[Arc<Counters>]) -> Self {
        let mut sum = Self { traffic: [0; Traffic::COUNT], reasons: [0; Reason::COUNT] };
        for worker in workers {
            for (to, from) in sum.traffic.iter_mut().zip(&worker.traffic) {
                *to = to.wrapping_add(from.load(Ordering::Relaxed));
            }
            for (to, from) in sum.reasons.iter_mut().zip(&worker.reasons) {
                *to = to.wrapping_add(from.load(Ordering::Relaxed));
            }
        }
        sum
    }

    /// One of the traffic counters.
    pub fn traffic(&self, what: Traffic) -> u64 {
        self.traffic[what as usize]
    }

    /// Packets that ended for `reason`.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons[reason.index()]
    }

    /// The reasons for which a packet ended, most frequent first.
    pub fn reasons(&self) -> Vec<(Reason, u64)> {
        let mut all: Vec<_> = Reason::all()
            .map(|reason| (reason, self.reason(reason)))
            .filter(|(_, count)| *count != 0)
            .collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}
