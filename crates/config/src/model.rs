//! The typed configuration: plain values, independent of any file format. Option names, units and defaults follow
//! Jool's `global` object (RFC 7915, RFC 6146, RFC 6791, RFC 7757) plus a few options of our own.
//!
//! Values that come out of [`crate::load`] are checked; for values made by hand see [`crate::validate()`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One daemon's configuration: the device and the translators that share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The TUN device and what is set up on the host for it.
    pub device: Device,
    /// What the kernel does by itself.
    pub fast_path: FastPath,
    /// Where others may look on.
    pub web: Web,
    /// Where it is written down what flows there were.
    pub log: Log,
    /// The instances, in file order; names are unique.
    pub instances: Vec<Instance>,
}

/// Where others may look on: metrics and the live page. Nothing can be changed there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// TCP addresses to answer on; empty: nowhere.
    pub listen: Vec<SocketAddr>,
    /// Names by which browsers and scrapers call this host, besides addresses and `localhost`; in lower case.
    pub hosts: Vec<String>,
}

/// Where the lines of `logging-bib` and `logging-session` go, and what they look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Where.
    pub to: LogTo,
    /// What they look like.
    pub format: LogFormat,
}

/// A destination of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTo {
    /// The journal, or standard error where that is not connected to it.
    #[default]
    Journal,
    /// A file that is added to, by its absolute path.
    File(PathBuf),
    /// The syslog daemon of this host.
    Syslog,
    /// One that takes datagrams.
    SyslogUdp(SocketAddr),
    /// One that takes connections.
    SyslogTcp(SocketAddr),
}

impl fmt::Display for LogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => f.write_str("journal"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Syslog => f.write_str("syslog"),
            Self::SyslogUdp(address) => write!(f, "syslog:udp:{address}"),
            Self::SyslogTcp(address) => write!(f, "syslog:tcp:{address}"),
        }
    }
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As Jool writes it.
    #[default]
    Jool,
    /// A JSON object.
    Json,
}

/// The TUN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Queues and workers; `None`: one per processor.
    pub queues: Option<u16>,
    /// Interface that answers ARP and neighbour solicitations for the translator's addresses; `None`: the one whose
    /// own network covers the address.
    pub proxy_interface: Option<String>,
    /// Prefixes routed to the device in addition to those that follow from the instances.
    pub routes: Vec<IpNet>,
}

impl Default for Device {
    fn default() -> Self {
        Self { name: "xlat0".to_owned(), queues: None, proxy_interface: None, routes: Vec::new() }
    }
}

/// What the kernel does by itself: the eBPF programs that repeat the daemon's decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastPath {
    /// Whether to use it where the host allows it.
    pub enabled: bool,
    /// What to take up where it comes in, before the kernel routes it.
    pub ingress: Ingress,
    /// Interfaces to take packets up from; empty: all but loopback, the device and `exclude`.
    pub interfaces: Vec<String>,
    /// Interfaces to leave alone.
    pub exclude: Vec<String>,
    /// Whether packets are also taken up by XDP.
    pub xdp: Xdp,
    /// Flows that the kernel repeats at the same time.
    pub max_flows: u32,
    /// How long the kernel goes on without the daemon.
    pub outlive: Duration,
}

impl Default for FastPath {
    fn default() -> Self {
        Self {
            enabled: true,
            ingress: Ingress::Auto,
            interfaces: Vec::new(),
            exclude: Vec::new(),
            xdp: Xdp::Off,
            max_flows: 1 << 20,
            outlive: Duration::from_secs(60 * 60),
        }
    }
}

/// What is taken up where it comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// Nothing: packets reach the translator by routes only.
    Off,
    /// What no route can bring: IPv4 packets for addresses of this host that pool4 shares.
    #[default]
    Auto,
    /// Everything that is the translator's.
    All,
}

/// Use of XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xdp {
    /// None.
    #[default]
    Off,
    /// In the driver; interfaces without that are left to tc.
    Native,
    /// In the kernel's generic code, where the driver has none.
    Generic,
}

/// The way out for what the kernel translates by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Straight to the interface and neighbour that the routing table names.
    #[default]
    Direct,
    /// Into the host's own forwarding, as if it came from the device: netfilter sees it.
    Stack,
}

/// One translator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// 1 to 15 printable ASCII characters.
    pub name: String,
    /// Options that both kinds of translator have.
    pub global: Global,
    /// Bounds on what traffic can make this instance keep.
    pub limits: Limits,
    /// Prefixes routed to the device for this instance, in addition to those that follow from its tables (for
    /// instance the IPv4 network that pool6 represents for stateless clients).
    pub routes: Vec<IpNet>,
    /// The way out for what the kernel translates by itself.
    pub output: Output,
    /// What only one kind of translator has.
    pub kind: Kind,
}

/// The kind of translator with its own options and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stateless translation, RFC 7915 with RFC 7757.
    Siit(Box<Siit>),
    /// Stateful translation, RFC 6146.
    Nat64(Box<Nat64>),
}

impl Kind {
    /// The translator's type without its content.
    #[must_use]
    pub fn translator(&self) -> Translator {
        match self {
            Self::Siit(_) => Translator::Siit,
            Self::Nat64(_) => Translator::Nat64,
        }
    }

    /// The RFC 6052 prefix, if there is one.
    #[must_use]
    pub fn pool6(&self) -> Option<Ipv6Net> {
        match self {
            Self::Siit(siit) => siit.pool6,
            Self::Nat64(nat64) => Some(nat64.pool6),
        }
    }
}

/// Names of the two kinds of translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Translator {
    /// Stateless (RFC 7915).
    Siit,
    /// Stateful (RFC 6146).
    Nat64,
}

impl fmt::Display for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Siit => "SIIT",
            Self::Nat64 => "NAT64",
        })
    }
}

/// A stateless translator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Siit {
    /// RFC 6052 prefix for addresses without EAM entry.
    pub pool6: Option<Ipv6Net>,
    /// The SIIT options.
    pub global: SiitGlobal,
    /// The Explicit Address Mapping Table (RFC 7757 3), in file order; neither side holds a prefix twice.
    pub eamt: Vec<EamEntry>,
    /// IPv4 prefixes that pool6 must not translate.
    pub denylist4: Vec<Ipv4Net>,
}

/// A stateful translator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat64 {
    /// RFC 6052 prefix that represents the IPv4 Internet.
    pub pool6: Ipv6Net,
    /// The NAT64 options.
    pub global: Nat64Global,
    /// IPv4 transport addresses that mask the clients. Entries of one mark may overlap and mean their union.
    pub pool4: Vec<Pool4Entry>,
    /// Static BIB entries (RFC 6146 3.1), all within `pool4`.
    pub bib: Vec<BibEntry>,
}

/// Options of both translators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Whether the instance translates at all.
    pub manually_enabled: bool,
    /// Bytes; upper bound for IPv6 packets made of IPv4 packets without DF (RFC 7915 4).
    pub lowest_ipv6_mtu: u32,
    /// Trace every packet to the log.
    pub logging_debug: bool,
    /// Traffic Class 0 instead of the TOS byte (RFC 7915 4.1).
    pub zeroize_traffic_class: bool,
    /// `tos` instead of the Traffic Class (RFC 7915 5.1).
    pub override_tos: bool,
    /// The TOS byte used by `override_tos`.
    pub tos: u8,
    /// Bytes, descending, without duplicates or zeroes, 1 to 64 values (RFC 1191 7.1).
    pub mtu_plateaus: Vec<u16>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            manually_enabled: true,
            lowest_ipv6_mtu: 1280,
            logging_debug: false,
            zeroize_traffic_class: false,
            override_tos: false,
            tos: 0,
            mtu_plateaus: vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
        }
    }
}

/// Options of SIIT only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiitGlobal {
    /// Compute the checksum of IPv4 UDP packets that have none (RFC 7915 4.5).
    pub amend_udp_checksum_zero: bool,
    /// Treatment of packets between two EAM-mapped nodes (RFC 7757 4).
    pub eam_hairpin_mode: EamHairpinMode,
    /// A random address of the RFC 6791 pool instead of one made from the hop limit.
    pub randomize_rfc6791_addresses: bool,
    /// Sources of translated ICMPv4 errors with untranslatable source.
    pub rfc6791v6_prefix: Option<Ipv6Net>,
    /// Sources of translated ICMPv6 errors with untranslatable source (RFC 6791).
    pub rfc6791v4_prefix: Option<Ipv4Net>,
    /// Use the dummy address 192.0.0.8 (RFC 7600) where `rfc6791v4_prefix` is unset.
    pub rfc6791v4_dummy: bool,
}

impl Default for SiitGlobal {
    fn default() -> Self {
        Self {
            amend_udp_checksum_zero: false,
            eam_hairpin_mode: EamHairpinMode::Intrinsic,
            randomize_rfc6791_addresses: true,
            rfc6791v6_prefix: None,
            rfc6791v4_prefix: None,
            rfc6791v4_dummy: false,
        }
    }
}

/// Hairpinning between EAM-mapped nodes (RFC 7757 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EamHairpinMode {
    /// Not handled.
    Off,
    /// RFC 7757 4.2.1.
    Simple,
    /// RFC 7757 4.2.2.
    Intrinsic,
}

/// Options of NAT64 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat64Global {
    /// RFC 6146 1.2.3 and 3.5.
    pub address_dependent_filtering: bool,
    /// Drop IPv4 SYNs without session (RFC 6146 3.5.2.2).
    pub drop_externally_initiated_tcp: bool,
    /// Drop ICMPv6 echo (RFC 6146 3.5.3).
    pub drop_icmpv6_info: bool,
    /// IPv6 source of translated ICMPv4 errors: the router that complained instead of the session's server.
    pub source_icmpv6_errors_better: bool,
    /// Bits 8 source address, 4 source port, 2 destination address, 1 destination port: what feeds the port
    /// choice (RFC 6056 3.3.3). 0 to 15.
    pub f_args: u8,
    /// Transitory lifetime after an RST in V4_FIN_RCV or V6_FIN_RCV.
    pub handle_rst_during_fin_rcv: bool,
    /// TCP_EST, at least 2 h (RFC 6146 4).
    pub tcp_est_timeout: Duration,
    /// TCP_TRANS, at least 4 min (RFC 6146 4).
    pub tcp_trans_timeout: Duration,
    /// UDP lifetime, at least UDP_MIN = 2 min (RFC 6146 4).
    pub udp_timeout: Duration,
    /// ICMP query lifetime (RFC 6146 4).
    pub icmp_timeout: Duration,
    /// Log creation and end of BIB entries (RFC 6888 4).
    pub logging_bib: bool,
    /// Log creation and end of sessions (RFC 6888 4).
    pub logging_session: bool,
    /// Stored IPv4 SYNs (RFC 6146 5.3).
    pub maximum_simultaneous_opens: u32,
    /// Session synchronisation.
    pub ss_enabled: bool,
    /// No effect; kept for Jool's files.
    pub ss_flush_asap: bool,
    /// Milliseconds.
    pub ss_flush_deadline: u32,
    /// Sessions.
    pub ss_capacity: u32,
    /// Bytes; no effect, kept for Jool's files.
    pub ss_max_payload: u32,
    /// Sessions.
    pub ss_max_sessions_per_packet: u32,
}

impl Default for Nat64Global {
    fn default() -> Self {
        Self {
            address_dependent_filtering: false,
            drop_externally_initiated_tcp: false,
            drop_icmpv6_info: false,
            source_icmpv6_errors_better: true,
            f_args: 0b1011,
            handle_rst_during_fin_rcv: false,
            tcp_est_timeout: Duration::from_secs(2 * 60 * 60),
            tcp_trans_timeout: Duration::from_secs(4 * 60),
            udp_timeout: Duration::from_secs(5 * 60),
            icmp_timeout: Duration::from_secs(60),
            logging_bib: false,
            logging_session: false,
            maximum_simultaneous_opens: 10,
            ss_enabled: false,
            ss_flush_asap: false,
            ss_flush_deadline: 2000,
            ss_capacity: 512,
            ss_max_payload: 1452,
            ss_max_sessions_per_packet: 36,
        }
    }
}

/// Bounds on state and on answers. Of the table limits 0 means "no limit of its own".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all.
    pub max_sessions: u32,
    /// BIB entries in all.
    pub max_bib_entries: u32,
    /// Sessions of one IPv6 source address.
    pub max_sessions_per_source: u32,
    /// BIB entries of one IPv6 source address.
    pub max_bib_entries_per_source: u32,
    /// Sessions of one source prefix.
    pub max_sessions_per_prefix: u32,
    /// BIB entries of one source prefix.
    pub max_bib_entries_per_prefix: u32,
    /// Length of the prefix that counts as one subscriber, 1 to 128.
    pub source_prefix_length: u8,
    /// ICMP errors per second that the translator itself sends to one destination, 0 for none (RFC 7915 refers to RFC 4443 2.4 (f)).
    pub icmp_error_rate: u32,
    /// ICMP errors that may go to one destination at once.
    pub icmp_error_burst: u32,
    /// Datagrams whose fragments are being tracked at one time.
    pub max_fragmented_datagrams: u32,
    /// Bytes of fragments held until their first fragment arrives.
    pub max_fragment_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 4_000_000,
            max_bib_entries: 4_000_000,
            max_sessions_per_source: 0,
            max_bib_entries_per_source: 0,
            max_sessions_per_prefix: 0,
            max_bib_entries_per_prefix: 0,
            source_prefix_length: 64,
            icmp_error_rate: 100,
            icmp_error_burst: 200,
            max_fragmented_datagrams: 16_384,
            max_fragment_bytes: 32 * 1024 * 1024,
        }
    }
}

/// One Explicit Address Mapping (RFC 7757 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EamEntry {
    /// The IPv6 side; at least as many suffix bits as the IPv4 side.
    pub ipv6: Ipv6Net,
    /// The IPv4 side.
    pub ipv4: Ipv4Net,
}

/// The protocols that have a BIB (RFC 6146 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo; ports are identifiers.
    Icmp,
}

impl Protocol {
    /// All of them, in the order of display.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// Every port that can be mapped: port 0 exists only for ICMP.
    #[must_use]
    pub const fn all_ports(self) -> RangeInclusive<u16> {
        match self {
            Self::Tcp | Self::Udp => 1..=65535,
            Self::Icmp => 0..=65535,
        }
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

/// A block of IPv4 transport addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool4Entry {
    /// Protocol.
    pub protocol: Protocol,
    /// Addresses, every one of the prefix included.
    pub prefix: Ipv4Net,
    /// Ports or ICMP identifiers; for TCP and UDP without 0.
    pub ports: RangeInclusive<u16>,
    /// Firewall mark of the IPv6 packets that use this block.
    pub mark: u32,
    /// Kept for display: port choice does not iterate here.
    pub max_iterations: MaxIterations,
}

/// How many transport addresses Jool would try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxIterations {
    /// Computed from the size of the set.
    #[default]
    Auto,
    /// No limit.
    Infinity,
    /// At least 1.
    Count(u32),
}

/// A static mapping (RFC 6146 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BibEntry {
    /// Protocol.
    pub protocol: Protocol,
    /// The client's transport address; port in host order.
    pub ipv6: (Ipv6Addr, u16),
    /// The transport address that masks it; port in host order.
    pub ipv4: (Ipv4Addr, u16),
}
