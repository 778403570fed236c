//! Counters: each worker has its own for each instance, nobody else writes them; a reader adds them up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::Reason;

/// What one worker counts for one instance. On a cache line of its own: no line written per packet is shared.
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

impl Default for Statistics {
    fn default() -> Self {
        Self { traffic: [0; Traffic::COUNT], reasons: [0; Reason::COUNT] }
    }
}

impl Statistics {
    pub(crate) fn add_worker(&mut self, worker: &Counters) {
        for (to, from) in self.all_mut().zip(worker.traffic.iter().chain(&worker.reasons)) {
            *to = to.wrapping_add(from.load(Ordering::Relaxed));
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (to, from) in self.all_mut().zip(other.traffic.iter().chain(&other.reasons)) {
            *to = to.wrapping_add(*from);
        }
    }

    /// Takes away what is counted elsewhere.
    pub fn subtract(&mut self, other: &Self) {
        for (to, from) in self.all_mut().zip(other.traffic.iter().chain(&other.reasons)) {
            *to = to.wrapping_sub(*from);
        }
    }

    /// Every counter with its stable name: what another run can count on from.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        names().zip(self.traffic.iter().chain(&self.reasons).copied())
    }

    /// The counters with these names; others are zero. Names that no counter has (any more) are left out.
    pub fn from_named<'n>(counts: impl IntoIterator<Item = (&'n str, u64)>) -> Self {
        let places: HashMap<_, _> = names().zip(0usize..).collect();
        let mut statistics = Self::default();
        for (name, count) in counts {
            if let Some(place) = places.get(name).and_then(|place| statistics.all_mut().nth(*place)) {
                *place = place.wrapping_add(count);
            }
        }
        statistics
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.traffic.iter_mut().chain(&mut self.reasons)
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

/// The names of all counters, in their order.
fn names() -> impl Iterator<Item = &'static str> {
    Traffic::ALL.iter().map(|what| what.name()).chain(Reason::all().map(Reason::name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_from_their_names() {
        let counters = Counters::default();
        for (place, reason) in Reason::all().enumerate() {
            (0..place % 3).for_each(|_| counters.reason(reason));
        }
        Traffic::ALL.iter().for_each(|what| counters.traffic(*what, *what as u64 + 5));
        let mut was = Statistics::default();
        was.add_worker(&counters);
        let named: HashMap<_, _> = was.named().collect();
        assert_eq!(named.len(), Traffic::COUNT + Reason::COUNT, "a name twice");
        let unknown = [("what-nobody-counts", 7)];
        let mut is = Statistics::from_named(named.into_iter().chain(unknown));
        assert_eq!(is, was);
        is.add(&was);
        assert_eq!(is.traffic(Traffic::Translated), 2 * was.traffic(Traffic::Translated));
    }
}
