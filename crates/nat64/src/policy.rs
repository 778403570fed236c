//! The compiled configuration of one instance: immutable, shared by all workers, replaced as a whole on reload.
//! Names and meanings are those of the options (RFC 6146 4 for the timers); a reload hands the port maps on, so that
//! mappings survive it.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::pool4::{Plan, Pool4, Set};
use crate::types::{Instant, Protocol, Timer, Transport4, Transport6, millis};

/// Addresses that pool4 may have per protocol, all marks together: the size of a /16.
const MAX_POOL4_ADDRESSES: u64 = 65_536;

/// Ports and identifiers of the implicit pool4.
const IMPLICIT_PORTS: (u16, u16) = (61_001, 65_535);

/// TCP_INCOMING_SYN (RFC 6146 4).
const STORED_SYN: Duration = Duration::from_secs(6);

/// The options of the stateful translator that concern its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// pool4. Empty: see `implicit`.
    pub pool4: Vec<Pool4Entry>,
    /// With an empty pool4, the host's address that stands in for it: ports and identifiers 61001-65535 of all
    /// protocols, any mark. Static entries with another address have no effect then. Ignored when pool4 has any entry.
    pub implicit: Option<Ipv4Addr>,
    /// `bib`: the administrator's entries.
    pub static_bib: Vec<StaticEntry>,
    /// `address-dependent-filtering`.
    pub address_dependent_filtering: bool,
    /// `drop-externally-initiated-tcp`.
    pub drop_externally_initiated_tcp: bool,
    /// `f-args`: source address 8, source port 4, destination address 2, destination port 1.
    pub f_args: u8,
    /// `handle-rst-during-fin-rcv`.
    pub handle_rst_during_fin_rcv: bool,
    /// `tcp-est-timeout`.
    pub tcp_est_timeout: Duration,
    /// `tcp-trans-timeout`.
    pub tcp_trans_timeout: Duration,
    /// `udp-timeout`.
    pub udp_timeout: Duration,
    /// `icmp-timeout`.
    pub icmp_timeout: Duration,
    /// `maximum-simultaneous-opens`: SYNs held at the same time, both types together.
    pub maximum_simultaneous_opens: u32,
    /// Bounds on the tables.
    pub limits: Limits,
    /// What a faster path may repeat.
    pub promotion: Promotion,
    /// `ss-enabled`: [`Events::session_updated`](crate::Events::session_updated) is told.
    pub announce: bool,
}

/// What a faster path may repeat ([`Events::promote`](crate::Events::promote)). Sessions are taken back from it whenever
/// any of this changes, and whenever pool4 does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// Whether sessions are promoted, by [`Protocol::index`].
    pub protocols: [bool; 3],
    /// Whatever else the path goes by.
    pub tag: u32,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            pool4: Vec::new(),
            implicit: None,
            static_bib: Vec::new(),
            address_dependent_filtering: false,
            drop_externally_initiated_tcp: false,
            f_args: 11,
            handle_rst_during_fin_rcv: false,
            tcp_est_timeout: Duration::from_secs(2 * 60 * 60),
            tcp_trans_timeout: Duration::from_secs(4 * 60),
            udp_timeout: Duration::from_secs(5 * 60),
            icmp_timeout: Duration::from_secs(60),
            maximum_simultaneous_opens: 10,
            limits: Limits::default(),
            promotion: Promotion::default(),
            announce: false,
        }
    }
}

impl PolicyConfig {
    /// The line that stands in for an empty pool4, if the host has an address for it. It serves every mark.
    pub fn implicit_entry(&self, protocol: Protocol) -> Option<Pool4Entry> {
        let addr = self.implicit.filter(|_| self.pool4.is_empty())?;
        let (first_port, last_port) = IMPLICIT_PORTS;
        let prefix = addr.into();
        Some(Pool4Entry { protocol, prefix, first_port, last_port, mark: 0, max_iterations: None })
    }
}

/// Bounds on the tables. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of the instance.
    pub max_sessions: u64,
    /// BIB entries of the instance.
    pub max_bib: u64,
    /// Sessions of one IPv6 address.
    pub source_sessions: Option<u32>,
    /// BIB entries of one IPv6 address.
    pub source_bib: Option<u32>,
    /// Sessions of one IPv6 prefix.
    pub prefix_sessions: Option<u32>,
    /// BIB entries of one IPv6 prefix.
    pub prefix_bib: Option<u32>,
    /// Length of that prefix, 0-128.
    pub prefix_length: u8,
}

impl Default for Limits {
    /// Sixteen million of each, no limit per source or prefix, prefixes of 64 bits.
    fn default() -> Self {
        Self {
            max_sessions: 1 << 24,
            max_bib: 1 << 24,
            source_sessions: None,
            source_bib: None,
            prefix_sessions: None,
            prefix_bib: None,
            prefix_length: 64,
        }
    }
}

/// One line of pool4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool4Entry {
    /// Whose masks these are.
    pub protocol: Protocol,
    /// The addresses, all of them usable; host bits are ignored.
    pub prefix: Ipv4Net,
    /// First port or identifier. Zero counts as 1 but for ICMP.
    pub first_port: u16,
    /// Last port or identifier, included.
    pub last_port: u16,
    /// Mark of the packets that may use it.
    pub mark: u32,
    /// `max-iterations`, kept for display only: the search does not iterate.
    pub max_iterations: Option<u32>,
}

/// A BIB entry of the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticEntry {
    /// Which BIB.
    pub protocol: Protocol,
    /// The IPv6 transport address.
    pub client: Transport6,
    /// The IPv4 transport address that stands for it.
    pub mask: Transport4,
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// A port range ends before it begins.
    RangeReversed(Pool4Entry),
    /// The only port of a TCP or UDP range is 0.
    PortZero(Pool4Entry),
    /// pool4 has more than 65,536 addresses for a protocol.
    TooManyAddresses(Protocol),
    /// A static entry's IPv4 transport address is not in pool4.
    StaticOutsidePool4(StaticEntry),
    /// Two static entries of a protocol have the same IPv6 transport address.
    StaticClientTwice(StaticEntry),
    /// Two static entries of a protocol have the same IPv4 transport address.
    StaticMaskTwice(StaticEntry),
    /// The length of the limited prefix is above 128.
    PrefixLength(u8),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RangeReversed(entry) => write!(
                f,
                "pool4 {} {}: the port range {}-{} ends before it begins",
                entry.protocol, entry.prefix, entry.first_port, entry.last_port
            ),
            Self::PortZero(entry) => {
                write!(f, "pool4 {} {}: port 0 exists for ICMP only", entry.protocol, entry.prefix)
            }
            Self::TooManyAddresses(protocol) => {
                write!(f, "pool4 has more than {MAX_POOL4_ADDRESSES} addresses for {protocol}")
            }
            Self::StaticOutsidePool4(entry) => write!(
                f,
                "{} BIB transport address '{}' does not belong to pool4; please add it there first",
                entry.protocol, entry.mask
            ),
            Self::StaticClientTwice(entry) => {
                write!(
                    f,
                    "two {} BIB entries have the IPv6 transport address {}",
                    entry.protocol, entry.client
                )
            }
            Self::StaticMaskTwice(entry) => {
                write!(f, "two {} BIB entries have the IPv4 transport address {}", entry.protocol, entry.mask)
            }
            Self::PrefixLength(length) => {
                write!(f, "the prefix length for limits is {length}; an IPv6 prefix has at most 128 bits")
            }
        }
    }
}

impl core::error::Error for PolicyError {}

/// The compiled configuration.
pub struct Policy {
    config: PolicyConfig,
    /// Greater than the previous policy's, never 0.
    generation: u32,
    pools: [Pool4; 3],
    statics: BTreeMap<(Protocol, Transport6), Transport4>,
    /// Milliseconds, by [`Timer::index`].
    lifetimes: [u64; 5],
}

impl Policy {
    /// Checks and compiles a configuration. `previous` is the policy in force on the same tables, if any: leaving it out
    /// on a reload would hand out ports a second time.
    pub fn new(config: PolicyConfig, previous: Option<&Self>) -> Result<Self, PolicyError> {
        if config.limits.prefix_length > 128 {
            return Err(PolicyError::PrefixLength(config.limits.prefix_length));
        }
        let plans = plans(&config)?;
        let implicit = config.pool4.is_empty();
        let pools = Protocol::ALL.map(|protocol| {
            let previous = previous.map(|policy| policy.pool(protocol));
            Pool4::new(protocol, &plans[protocol.index()], implicit, previous)
        });
        let statics = statics(&config, &pools)?;
        let lifetimes = Timer::ALL.map(|timer| {
            millis(match timer {
                Timer::Established => config.tcp_est_timeout,
                Timer::Transitory => config.tcp_trans_timeout,
                Timer::Udp => config.udp_timeout,
                Timer::Icmp => config.icmp_timeout,
                Timer::StoredSyn => STORED_SYN,
            })
        });
        let generation = previous.map_or(0, |policy| policy.generation).saturating_add(1);
        Ok(Self { config, generation, pools, statics, lifetimes })
    }

    /// What this policy was made from.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Whether a transport address belongs to pool4 for its protocol, whatever the mark.
    pub fn owns(&self, protocol: Protocol, address: Transport4) -> bool {
        self.pool(protocol).owner(address).is_some()
    }

    /// Whether an address has transport addresses in pool4 for a protocol: all that a fragment can be asked.
    pub fn owns_address(&self, protocol: Protocol, address: Ipv4Addr) -> bool {
        self.pool(protocol).address(address).is_some()
    }

    /// Whether a transport address may become the mask of a packet with this firewall mark.
    pub fn is_candidate(&self, protocol: Protocol, mark: u32, mask: Transport4) -> bool {
        self.set(protocol, mark).is_some_and(|set| set.contains(mask))
    }

    /// How long a session under `timer` lives without traffic.
    pub fn lifetime(&self, timer: Timer) -> Duration {
        Duration::from_millis(self.lifetimes[timer.index()])
    }

    /// What is left at `now` of the lifetime of a session that was last seen at `last`.
    pub(crate) fn lifetime_since(&self, timer: Timer, last: Instant, now: Instant) -> Duration {
        Duration::from_millis(last.plus(self.lifetime(timer)).0.saturating_sub(now.0))
    }

    pub(crate) fn promotes(&self, protocol: Protocol) -> bool {
        self.config.promotion.protocols[protocol.index()]
    }

    pub(crate) fn announces(&self) -> bool {
        self.config.announce
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn pool(&self, protocol: Protocol) -> &Pool4 {
        &self.pools[protocol.index()]
    }

    pub(crate) fn set(&self, protocol: Protocol, mark: u32) -> Option<&Set> {
        self.pool(protocol).set(mark)
    }

    pub(crate) fn static_mask(&self, protocol: Protocol, client: Transport6) -> Option<Transport4> {
        self.statics.get(&(protocol, client)).copied()
    }

    pub(crate) fn refresh_hints(&self) {
        self.pools.iter().for_each(Pool4::refresh_hints);
    }

    /// Each address of pool4 for a protocol, with how many of its transport addresses are in use, and how many there are,
    /// whatever the mark.
    pub fn pool4_usage(&self, protocol: Protocol) -> impl Iterator<Item = (Ipv4Addr, u32, u32)> {
        self.pool(protocol).usage()
    }

    /// Bytes allocated for the port maps of pool4.
    pub fn memory(&self) -> usize {
        self.pools.iter().map(Pool4::bytes).sum()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("config", &self.config).field("generation", &self.generation).finish()
    }
}

/// pool4 as written, by protocol, mark and address.
fn plans(config: &PolicyConfig) -> Result<[Plan; 3], PolicyError> {
    let mut plans = [Plan::new(), Plan::new(), Plan::new()];
    if let (true, Some(addr)) = (config.pool4.is_empty(), config.implicit) {
        for plan in &mut plans {
            plan.entry(0).or_default().entry(addr.into()).or_default().push(IMPLICIT_PORTS);
        }
    }
    let mut addresses = [0; 3];
    for entry in &config.pool4 {
        if entry.first_port > entry.last_port {
            return Err(PolicyError::RangeReversed(*entry));
        }
        if entry.last_port == 0 && entry.protocol != Protocol::Icmp {
            return Err(PolicyError::PortZero(*entry));
        }
        let first = u32::from(entry.prefix.network());
        let last = u32::from(entry.prefix.broadcast());
        let count = &mut addresses[entry.protocol.index()];
        *count += u64::from(last - first) + 1;
        if *count > MAX_POOL4_ADDRESSES {
            return Err(PolicyError::TooManyAddresses(entry.protocol));
        }
        let by_address = plans[entry.protocol.index()].entry(entry.mark).or_default();
        for addr in first..=last {
            by_address.entry(addr).or_default().push((entry.first_port, entry.last_port));
        }
    }
    Ok(plans)
}

/// The static entries, checked against pool4 and each other. The same entry twice is one entry.
fn statics(
    config: &PolicyConfig,
    pools: &[Pool4; 3],
) -> Result<BTreeMap<(Protocol, Transport6), Transport4>, PolicyError> {
    let mut statics = BTreeMap::new();
    let mut masks = BTreeSet::new();
    for entry in &config.static_bib {
        if pools[entry.protocol.index()].owner(entry.mask).is_none() {
            if config.pool4.is_empty() {
                continue;
            }
            return Err(PolicyError::StaticOutsidePool4(*entry));
        }
        match statics.insert((entry.protocol, entry.client), entry.mask) {
            Some(mask) if mask == entry.mask => continue,
            Some(_) => return Err(PolicyError::StaticClientTwice(*entry)),
            None => {}
        }
        if !masks.insert((entry.protocol, entry.mask)) {
            return Err(PolicyError::StaticMaskTwice(*entry));
        }
    }
    Ok(statics)
}
