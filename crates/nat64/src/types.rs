//! The vocabulary of RFC 6146 that every other file uses: transport addresses, protocols, the packet as the tables
//! see it, and time. Ports are in host order; for ICMP the port is the query identifier (RFC 6146 2).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

/// Milliseconds since an arbitrary epoch, monotonic. Going backwards is harmless: time then stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant, later by `duration`; saturates at the end of time.
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

/// Whole milliseconds of a duration, saturating.
pub(crate) const fn millis(duration: Duration) -> u64 {
    let all = duration.as_millis();
    if all > u64::MAX as u128 { u64::MAX } else { all as u64 }
}

/// The three protocols with state; each has a BIB and a session table of its own (RFC 6146 3.1, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo; the identifier plays the port.
    Icmp,
}

impl Protocol {
    /// All three, in the order of [`Self::index`].
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        })
    }
}

/// IPv4 transport address; `port` is the identifier for ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transport4 {
    /// The address.
    pub addr: Ipv4Addr,
    /// Port or identifier, host order.
    pub port: u16,
}

impl fmt::Display for Transport4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.addr, self.port)
    }
}

/// IPv6 transport address; `port` is the identifier for ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transport6 {
    /// The address.
    pub addr: Ipv6Addr,
    /// Port or identifier, host order.
    pub port: u16,
}

impl fmt::Display for Transport6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.addr, self.port)
    }
}

/// The TCP flags that the state machine looks at; all false for other protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags {
    /// Synchronize.
    pub syn: bool,
    /// No more data from the sender.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
}

/// A packet from the IPv6 side, pool6 already removed from its destination.
#[derive(Clone, Copy, Debug)]
pub struct Outbound {
    /// Which of the three tables.
    pub protocol: Protocol,
    /// The IPv6 client.
    pub src: Transport6,
    /// The IPv4 server.
    pub dst: Transport4,
    /// The packet's firewall mark, which selects the pool4 set.
    pub mark: u32,
    /// TCP flags.
    pub tcp: TcpFlags,
}

/// A packet from the IPv4 side.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Which of the three tables.
    pub protocol: Protocol,
    /// The IPv4 server.
    pub src: Transport4,
    /// The mask of an IPv6 client, if it is in pool4.
    pub dst: Transport4,
    /// The destination is an address of the host itself: what no client's entry is for is for the host, SYNs too.
    pub shared: bool,
    /// TCP flags.
    pub tcp: TcpFlags,
    /// The packet as it arrived, from its IP header on: kept (at most 1,280 bytes) when a SYN has to be stored, for
    /// the error that may follow. IPv6 bytes if the packet is being hairpinned.
    pub original: &'a [u8],
}

/// The five lifetimes (RFC 6146 4, and 3.5.2.2 for the stored SYN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// `tcp-est-timeout`.
    Established,
    /// `tcp-trans-timeout`.
    Transitory,
    /// `udp-timeout`.
    Udp,
    /// `icmp-timeout`.
    Icmp,
    /// TCP_INCOMING_SYN, six seconds, not configurable.
    StoredSyn,
}

impl Timer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Established, Self::Transitory, Self::Udp, Self::Icmp, Self::StoredSyn];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
