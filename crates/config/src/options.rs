//! Every option that is one value: its key, who has it, its type and bounds, its place in the model and what it does.
//! Reading, defaults and the configuration reference all come from this table.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::check;
use crate::diagnostic::{shown, suggestion};
use crate::field::{Fault, Field};
use crate::model::{
    Device, EamHairpinMode, FastPath, Global, Ingress, Limits, Log, LogFormat, LogTo, Nat64Global, Output,
    SiitGlobal, Translator, Web, Xdp,
};
use crate::value::{self, Problem};

/// Everything an instance or the device can be told by options, before it is known to be complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) device: Device,
    pub(crate) fast_path: FastPath,
    pub(crate) web: Web,
    pub(crate) log: Log,
    pub(crate) output: Output,
    pub(crate) routes: Vec<IpNet>,
    pub(crate) pool6: Option<Ipv6Net>,
    pub(crate) global: Global,
    pub(crate) siit: SiitGlobal,
    pub(crate) nat64: Nat64Global,
    pub(crate) limits: Limits,
}

/// The table an option stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// `[device]`
    Device,
    /// `[fast-path]`
    FastPath,
    /// `[web]`
    Web,
    /// `[log]`
    Log,
    /// `[[instance]]`
    Instance,
    /// `[instance.global]`
    Global,
    /// `[instance.limits]`
    Limits,
}

/// One option.
pub(crate) struct Spec {
    pub(crate) key: &'static str,
    pub(crate) section: Section,
    /// The only kind of translator that has it; `None`: both.
    pub(crate) only: Option<Translator>,
    /// Whether Jool's own files may not have it.
    pub(crate) native: bool,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
}

type At<T> = fn(&mut Draft) -> &mut T;

/// The type of an option, its bounds, and where its value goes.
pub(crate) enum Kind {
    Boolean(At<bool>),
    Byte(At<u8>, u8, u8),
    Number(At<u32>, u32, u32),
    OptionalNumber(At<Option<u16>>, u16, u16),
    /// With the least duration.
    Time(At<Duration>, Duration),
    Prefix6(At<Option<Ipv6Net>>, fn(Ipv6Net) -> Result<(), Problem>),
    Prefix4(At<Option<Ipv4Net>>, fn(Ipv4Net) -> Result<(), Problem>),
    Plateaus(At<Vec<u16>>),
    Hairpin(At<EamHairpinMode>),
    Ingress(At<Ingress>),
    Xdp(At<Xdp>),
    Output(At<Output>),
    Interface(At<String>),
    OptionalInterface(At<Option<String>>),
    Interfaces(At<Vec<String>>),
    Prefixes(At<Vec<IpNet>>),
    /// One or several.
    Sockets(At<Vec<SocketAddr>>),
    HostNames(At<Vec<String>>),
    LogTo(At<LogTo>),
    LogFormat(At<LogFormat>),
}

const HAIRPIN_MODES: [(&str, EamHairpinMode); 3] = [
    ("off", EamHairpinMode::Off),
    ("simple", EamHairpinMode::Simple),
    ("intrinsic", EamHairpinMode::Intrinsic),
];

const INGRESS: [(&str, Ingress); 3] = [("off", Ingress::Off), ("auto", Ingress::Auto), ("all", Ingress::All)];

const XDP: [(&str, Xdp); 3] = [("off", Xdp::Off), ("native", Xdp::Native), ("generic", Xdp::Generic)];

const LOG_FORMATS: [(&str, LogFormat); 2] = [("jool", LogFormat::Jool), ("json", LogFormat::Json)];

const OUTPUTS: [(&str, Output); 2] = [("direct", Output::Direct), ("stack", Output::Stack)];

const U32: u32 = u32::MAX;
const NO_MINIMUM: Duration = Duration::ZERO;

const fn option(section: Section, key: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec { key, section, only: None, native: true, kind, doc }
}

/// A key of Jool's `global` object.
const fn global(key: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec { key, section: Section::Global, only: None, native: false, kind, doc }
}

const fn siit(key: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec { only: Some(Translator::Siit), ..global(key, kind, doc) }
}

const fn nat64(key: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec { only: Some(Translator::Nat64), ..global(key, kind, doc) }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// All options, in the order of the reference.
#[rustfmt::skip]
pub(crate) static OPTIONS: &[Spec] = &[
    option(Section::Device, "name", Kind::Interface(|d| &mut d.device.name),
        "Name of the TUN device."),
    option(Section::Device, "queues", Kind::OptionalNumber(|d| &mut d.device.queues, 1, 256),
        "Queues of the device, each with a worker of its own. Unset: one per processor."),
    option(Section::Device, "proxy-interface", Kind::OptionalInterface(|d| &mut d.device.proxy_interface),
        "Interface that answers ARP and neighbour solicitations for the translator's addresses. Unset: the one whose own network covers the address."),
    option(Section::Device, "routes", Kind::Prefixes(|d| &mut d.device.routes),
        "Prefixes routed to the device in addition to those that follow from the instances."),

    option(Section::FastPath, "enabled", Kind::Boolean(|d| &mut d.fast_path.enabled),
        "Whether the kernel repeats the daemon's decisions by itself (eBPF), where the host allows it. Without, every packet goes through the daemon."),
    option(Section::FastPath, "ingress", Kind::Ingress(|d| &mut d.fast_path.ingress),
        "What is taken up where it comes in, before the kernel routes it. `auto`: what no route can bring, which is IPv4 packets for addresses of this host that pool4 shares. `all`: everything that is the translator's; faster, but no netfilter rule sees a packet before it is translated. `off`: nothing; pool4 cannot have addresses of this host then."),
    option(Section::FastPath, "interfaces", Kind::Interfaces(|d| &mut d.fast_path.interfaces),
        "Interfaces to take packets up from. Empty: all but loopback, the device, `exclude`, and the ports of bridges and bonds; new ones as they appear."),
    option(Section::FastPath, "exclude", Kind::Interfaces(|d| &mut d.fast_path.exclude),
        "Interfaces to leave alone."),
    option(Section::FastPath, "xdp", Kind::Xdp(|d| &mut d.fast_path.xdp),
        "Take packets up by XDP too, before the kernel makes anything of them: more packets per second on drivers that have it (`native`), or in the kernel's own code (`generic`). XDP sees no super-packets, so bulk TCP may be slower."),
    option(Section::FastPath, "max-flows", Kind::Number(|d| &mut d.fast_path.max_flows, 1024, 1 << 26),
        "Flows that the kernel repeats at the same time, about 280 bytes of kernel memory each while they exist (measured on Linux 6.18). Further ones go through the daemon."),
    option(Section::FastPath, "outlive", Kind::Time(|d| &mut d.fast_path.outlive, NO_MINIMUM),
        "How long the kernel goes on translating known flows without the daemon: while it restarts, or after it was killed. Zero: `xlat run` takes everything back when it ends."),

    option(Section::Web, "listen", Kind::Sockets(|d| &mut d.web.listen),
        "Where metrics, health and the live page are answered by HTTP ([monitoring](monitoring.md)), to whoever can reach it: nothing can be changed there, but the addresses of clients can be seen. Unset: nowhere."),
    option(Section::Web, "hosts", Kind::HostNames(|d| &mut d.web.hosts),
        "Names by which browsers and scrapers call this host there. IP addresses and `localhost` always work; a request for any other name is refused, so that no foreign web page can look on through somebody's browser."),

    option(Section::Log, "to", Kind::LogTo(|d| &mut d.log.to),
        "Where lines about flows go ([logging](logging.md)): the journal (standard error, where that is not connected to it); the end of a file; the host's syslog daemon, or one at an address, by RFC 5424."),
    option(Section::Log, "format", Kind::LogFormat(|d| &mut d.log.format),
        "`jool`: lines as Jool writes them, about flows only. `json`: an object for each event, those of the daemon included."),

    option(Section::Instance, "output", Kind::Output(|d| &mut d.output),
        "The way out for what the kernel translates by itself: `direct` to the interface and neighbour that the routing table names, past netfilter, or `stack`, into the host's own forwarding, as if it came from the device."),
    option(Section::Instance, "routes", Kind::Prefixes(|d| &mut d.routes),
        "Prefixes routed to the device for this instance, in addition to pool6, the EAM prefixes and pool4: for instance the IPv4 network that stands for the IPv6 clients of a SIIT with pool6 only; that of a connected network within pool6 follows by itself. `0.0.0.0/0` makes a SIIT a CLAT or edge relay: all of IPv4 leaves by pool6, which is not routed to the device then."),

    global("manually-enabled", Kind::Boolean(|d| &mut d.global.manually_enabled),
        "Whether the instance translates. If not, its packets pass untouched; timers keep running."),
    global("pool6", Kind::Prefix6(|d| &mut d.pool6, check::pool6),
        "The prefix that represents the IPv4 Internet (RFC 6052 2.2): length 32, 40, 48, 56, 64 or 96, bits 64 to 71 zero. Mandatory for NAT64."),
    global("lowest-ipv6-mtu", Kind::Number(|d| &mut d.global.lowest_ipv6_mtu, 1280, U32),
        "Bytes. IPv6 packets made of IPv4 packets without DF are fragmented to fit it (RFC 7915 4)."),
    global("logging-debug", Kind::Boolean(|d| &mut d.global.logging_debug),
        "Log every step of every packet. Slow."),
    global("zeroize-traffic-class", Kind::Boolean(|d| &mut d.global.zeroize_traffic_class),
        "IPv4 to IPv6: Traffic Class 0 instead of the TOS byte (RFC 7915 4.1)."),
    global("override-tos", Kind::Boolean(|d| &mut d.global.override_tos),
        "IPv6 to IPv4: the TOS byte is `tos` instead of the Traffic Class (RFC 7915 5.1)."),
    global("tos", Kind::Byte(|d| &mut d.global.tos, 0, 255),
        "The TOS byte used by `override-tos`."),
    global("mtu-plateaus", Kind::Plateaus(|d| &mut d.global.mtu_plateaus),
        "Bytes. An ICMPv4 Fragmentation Needed without MTU is taken to mean the greatest plateau below the length of the packet (RFC 7915 4.2, RFC 1191 7.1). Sorted, zeroes and repetitions dropped; 1 to 64 values."),

    siit("amend-udp-checksum-zero", Kind::Boolean(|d| &mut d.siit.amend_udp_checksum_zero),
        "IPv4 to IPv6: compute the checksum of UDP packets without one instead of dropping them (RFC 7915 4.5)."),
    siit("eam-hairpin-mode", Kind::Hairpin(|d| &mut d.siit.eam_hairpin_mode),
        "Packets between two EAM-mapped nodes: not handled, simple (RFC 7757 4.2.1) or intrinsic (RFC 7757 4.2.2)."),
    siit("randomize-rfc6791-addresses", Kind::Boolean(|d| &mut d.siit.randomize_rfc6791_addresses),
        "Take a random address of `rfc6791v4-prefix`; otherwise the one numbered by the packet's hop limit."),
    siit("rfc6791v6-prefix", Kind::Prefix6(|d| &mut d.siit.rfc6791v6_prefix, |_| Ok(())),
        "IPv6 sources for ICMPv4 errors from untranslatable addresses. Unset: an address of this host."),
    siit("rfc6791v4-prefix", Kind::Prefix4(|d| &mut d.siit.rfc6791v4_prefix, check::rfc6791v4),
        "IPv4 sources for ICMPv6 errors from untranslatable addresses (RFC 6791). Unset: an address of this host."),
    Spec { native: true, ..siit("rfc6791v4-dummy", Kind::Boolean(|d| &mut d.siit.rfc6791v4_dummy),
        "Where `rfc6791v4-prefix` is unset, use the dummy address 192.0.0.8 (RFC 7600) instead of an address of this host.") },

    nat64("address-dependent-filtering", Kind::Boolean(|d| &mut d.nat64.address_dependent_filtering),
        "Let only those IPv4 nodes reach a client to which it has spoken (RFC 6146 1.2.3, 3.5)."),
    nat64("drop-externally-initiated-tcp", Kind::Boolean(|d| &mut d.nat64.drop_externally_initiated_tcp),
        "Drop TCP connections from the IPv4 side (RFC 6146 3.5.2.2)."),
    nat64("drop-icmpv6-info", Kind::Boolean(|d| &mut d.nat64.drop_icmpv6_info),
        "Drop ICMPv6 echo requests and replies (RFC 6146 3.5.3). Errors pass."),
    nat64("source-icmpv6-errors-better", Kind::Boolean(|d| &mut d.nat64.source_icmpv6_errors_better),
        "IPv4 to IPv6: ICMP errors come from the router that complained, so that traceroute works, instead of from the session's server (RFC 6146 says the latter)."),
    nat64("f-args", Kind::Byte(|d| &mut d.nat64.f_args, 0, 15),
        "Bit field: what decides where the search for a free port begins. 8 source address, 4 source port, 2 destination address, 1 destination port (RFC 6056 3.3.3)."),
    nat64("handle-rst-during-fin-rcv", Kind::Boolean(|d| &mut d.nat64.handle_rst_during_fin_rcv),
        "An RST after a FIN moves the session to the transitory timeout. Not in RFC 6146."),
    nat64("tcp-est-timeout", Kind::Time(|d| &mut d.nat64.tcp_est_timeout, minutes(120)),
        "Established TCP sessions (RFC 6146 4, TCP_EST)."),
    nat64("tcp-trans-timeout", Kind::Time(|d| &mut d.nat64.tcp_trans_timeout, minutes(4)),
        "TCP sessions that are opening or closing (RFC 6146 4, TCP_TRANS)."),
    nat64("udp-timeout", Kind::Time(|d| &mut d.nat64.udp_timeout, minutes(2)),
        "UDP sessions (RFC 6146 4, UDP_MIN and UDP_DEFAULT)."),
    nat64("icmp-timeout", Kind::Time(|d| &mut d.nat64.icmp_timeout, NO_MINIMUM),
        "ICMP echo sessions (RFC 6146 4, ICMP_DEFAULT)."),
    nat64("logging-bib", Kind::Boolean(|d| &mut d.nat64.logging_bib),
        "Log when BIB entries come and go (RFC 6888 4)."),
    nat64("logging-session", Kind::Boolean(|d| &mut d.nat64.logging_session),
        "Log when sessions come and go (RFC 6888 4)."),
    nat64("maximum-simultaneous-opens", Kind::Number(|d| &mut d.nat64.maximum_simultaneous_opens, 0, U32),
        "Unexpected IPv4 SYNs kept while the client's own may still come (RFC 6146 5.3)."),
    nat64("ss-enabled", Kind::Boolean(|d| &mut d.nat64.ss_enabled),
        "Share sessions with other translators, by `jool session proxy` ([session synchronisation](session-sync.md))."),
    nat64("ss-flush-asap", Kind::Boolean(|d| &mut d.nat64.ss_flush_asap),
        "Accepted, without effect; deprecated."),
    nat64("ss-flush-deadline", Kind::Number(|d| &mut d.nat64.ss_flush_deadline, 0, U32),
        "Milliseconds. Sessions wait no longer than that to be told to other translators."),
    nat64("ss-capacity", Kind::Number(|d| &mut d.nat64.ss_capacity, 0, U32),
        "Sessions that may wait to be told; further ones are not told until their next packets."),
    nat64("ss-max-payload", Kind::Number(|d| &mut d.nat64.ss_max_payload, 0, U32),
        "Bytes. Accepted, without effect."),
    nat64("ss-max-sessions-per-packet", Kind::Number(|d| &mut d.nat64.ss_max_sessions_per_packet, 0, U32),
        "Sessions in a message; each takes 38 bytes of its datagram. 0 counts as 1, more than 1700 as 1700."),

    option(Section::Limits, "max-sessions", Kind::Number(|d| &mut d.limits.max_sessions, 0, U32),
        "Sessions in all. Of this and the next five, 0 means no limit of its own."),
    option(Section::Limits, "max-bib-entries", Kind::Number(|d| &mut d.limits.max_bib_entries, 0, U32),
        "BIB entries in all."),
    option(Section::Limits, "max-sessions-per-source", Kind::Number(|d| &mut d.limits.max_sessions_per_source, 0, U32),
        "Sessions of one IPv6 address."),
    option(Section::Limits, "max-bib-entries-per-source", Kind::Number(|d| &mut d.limits.max_bib_entries_per_source, 0, U32),
        "BIB entries of one IPv6 address."),
    option(Section::Limits, "max-sessions-per-prefix", Kind::Number(|d| &mut d.limits.max_sessions_per_prefix, 0, U32),
        "Sessions of one source prefix."),
    option(Section::Limits, "max-bib-entries-per-prefix", Kind::Number(|d| &mut d.limits.max_bib_entries_per_prefix, 0, U32),
        "BIB entries of one source prefix."),
    option(Section::Limits, "source-prefix-length", Kind::Byte(|d| &mut d.limits.source_prefix_length, 1, 128),
        "Length of the source prefix that counts as one subscriber."),
    option(Section::Limits, "icmp-error-rate", Kind::Number(|d| &mut d.limits.icmp_error_rate, 0, U32),
        "ICMP errors per second that the translator itself sends to one destination; 0 sends none."),
    option(Section::Limits, "icmp-error-burst", Kind::Number(|d| &mut d.limits.icmp_error_burst, 1, U32),
        "ICMP errors that may go to one destination at once."),
    option(Section::Limits, "max-fragmented-datagrams", Kind::Number(|d| &mut d.limits.max_fragmented_datagrams, 0, U32),
        "Fragmented datagrams followed at one time."),
    option(Section::Limits, "max-fragment-bytes", Kind::Number(|d| &mut d.limits.max_fragment_bytes, 0, U32),
        "Bytes of fragments held until they can be translated."),
];

impl Spec {
    /// Puts the field's value into the draft.
    pub(crate) fn set(&self, draft: &mut Draft, field: Field<'_, '_>) -> Result<(), Fault> {
        match self.kind {
            Kind::Boolean(at) => *at(draft) = field.boolean()?,
            Kind::Byte(at, min, max) => *at(draft) = integer(field, min.into(), max.into())?,
            Kind::Number(at, min, max) => *at(draft) = integer(field, min.into(), max.into())?,
            Kind::OptionalNumber(at, min, max) => *at(draft) = Some(integer(field, min.into(), max.into())?),
            Kind::Time(at, min) => {
                let time = field.parsed(value::duration)?;
                if time < min {
                    let least = value::show_duration(min);
                    let message = format!("{} {} is too short", self.key, value::show_duration(time));
                    return Err(field
                        .fault(Problem::new(message, format!("the least that RFC 6146 allows is {least}"))));
                }
                *at(draft) = time;
            }
            Kind::Prefix6(at, check) => {
                let prefix = field.nullable(value::prefix6)?;
                prefix.map_or(Ok(()), check).map_err(|problem| field.fault(problem))?;
                *at(draft) = prefix;
            }
            Kind::Prefix4(at, check) => {
                let prefix = field.nullable(value::prefix4)?;
                prefix.map_or(Ok(()), check).map_err(|problem| field.fault(problem))?;
                *at(draft) = prefix;
            }
            Kind::Plateaus(at) => *at(draft) = plateaus(field)?,
            Kind::Hairpin(at) => *at(draft) = choice(self.key, field, &HAIRPIN_MODES)?,
            Kind::Ingress(at) => *at(draft) = choice(self.key, field, &INGRESS)?,
            Kind::Xdp(at) => *at(draft) = choice(self.key, field, &XDP)?,
            Kind::Output(at) => *at(draft) = choice(self.key, field, &OUTPUTS)?,
            Kind::Interface(at) => *at(draft) = field.parsed(check::interface_name)?,
            Kind::OptionalInterface(at) => *at(draft) = Some(field.parsed(check::interface_name)?),
            Kind::Interfaces(at) => {
                *at(draft) = field
                    .elements()?
                    .map(|element| element.parsed(check::interface_name))
                    .collect::<Result<_, _>>()?;
            }
            Kind::Prefixes(at) => {
                *at(draft) = field
                    .elements()?
                    .map(|element| element.parsed(value::prefix))
                    .collect::<Result<_, _>>()?;
            }
            Kind::Sockets(at) => {
                let sockets = match field.string() {
                    Ok(_one) => vec![field.parsed(check::socket)?],
                    Err(_several) => field
                        .elements()?
                        .map(|element| element.parsed(check::socket))
                        .collect::<Result<_, _>>()?,
                };
                check::sockets(&sockets).map_err(|problem| field.fault(problem))?;
                *at(draft) = sockets;
            }
            Kind::LogTo(at) => *at(draft) = field.parsed(check::log_to)?,
            Kind::LogFormat(at) => *at(draft) = choice(self.key, field, &LOG_FORMATS)?,
            Kind::HostNames(at) => {
                *at(draft) = field
                    .elements()?
                    .map(|element| element.parsed(check::host_name))
                    .collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    /// The draft's value as it would be written in TOML; `None` where it is unset.
    pub(crate) fn show(&self, draft: &mut Draft) -> Option<String> {
        let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
        match self.kind {
            Kind::Boolean(at) => Some(at(draft).to_string()),
            Kind::Byte(at, ..) => Some(at(draft).to_string()),
            Kind::Number(at, ..) => Some(at(draft).to_string()),
            Kind::OptionalNumber(at, ..) => at(draft).map(|number| number.to_string()),
            Kind::Time(at, _) => Some(quoted(&value::show_duration(*at(draft)))),
            Kind::Prefix6(at, _) => at(draft).map(|prefix| quoted(&prefix)),
            Kind::Prefix4(at, _) => at(draft).map(|prefix| quoted(&prefix)),
            Kind::Plateaus(at) => Some(format!("{:?}", at(draft))),
            Kind::Hairpin(at) => name_of(*at(draft), &HAIRPIN_MODES),
            Kind::Ingress(at) => name_of(*at(draft), &INGRESS),
            Kind::Xdp(at) => name_of(*at(draft), &XDP),
            Kind::Output(at) => name_of(*at(draft), &OUTPUTS),
            Kind::Interface(at) => Some(quoted(at(draft))),
            Kind::OptionalInterface(at) => at(draft).as_ref().map(|name| quoted(name)),
            Kind::Interfaces(at) => Some(format!("{:?}", at(draft))),
            Kind::Prefixes(at) => {
                let prefixes: Vec<String> = at(draft).iter().map(|prefix| quoted(prefix)).collect();
                Some(format!("[{}]", prefixes.join(", ")))
            }
            Kind::Sockets(at) => {
                let sockets: Vec<String> = at(draft).iter().map(|socket| quoted(socket)).collect();
                Some(format!("[{}]", sockets.join(", ")))
            }
            Kind::HostNames(at) => Some(format!("{:?}", at(draft))),
            Kind::LogTo(at) => Some(format!("{:?}", at(draft).to_string())),
            Kind::LogFormat(at) => name_of(*at(draft), &LOG_FORMATS),
        }
    }

    /// Type and bounds in words.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            Kind::Boolean(_) => "`true` or `false`".to_owned(),
            Kind::Byte(_, min, max) => format!("number, {min} to {max}"),
            Kind::Number(_, min, max) => format!("number, {min} to {max}"),
            Kind::OptionalNumber(_, min, max) => format!("number, {min} to {max}"),
            Kind::Time(_, NO_MINIMUM) => "duration".to_owned(),
            Kind::Time(_, min) => format!("duration, at least {}", value::show_duration(min)),
            Kind::Prefix6(..) => "IPv6 prefix, or `\"null\"`".to_owned(),
            Kind::Prefix4(..) => "IPv4 prefix, or `\"null\"`".to_owned(),
            Kind::Plateaus(_) => "array of numbers, each 0 to 65535".to_owned(),
            Kind::Hairpin(_) => alternatives(&HAIRPIN_MODES, "`"),
            Kind::Ingress(_) => alternatives(&INGRESS, "`"),
            Kind::Xdp(_) => alternatives(&XDP, "`"),
            Kind::Output(_) => alternatives(&OUTPUTS, "`"),
            Kind::Interfaces(_) => "array of interface names".to_owned(),
            Kind::Interface(_) | Kind::OptionalInterface(_) => "interface name".to_owned(),
            Kind::Prefixes(_) => "array of prefixes".to_owned(),
            Kind::Sockets(_) => {
                "`\"ADDRESS:PORT\"`, IPv6 as `\"[::1]:9464\"`, or an array of such".to_owned()
            }
            Kind::HostNames(_) => "array of host names".to_owned(),
            Kind::LogTo(_) => check::LOG_TO.to_owned(),
            Kind::LogFormat(_) => alternatives(&LOG_FORMATS, "`"),
        }
    }
}

/// An integer within the bounds, which must lie within the target type.
fn integer<T: TryFrom<u64>>(field: Field<'_, '_>, min: u64, max: u64) -> Result<T, Fault> {
    let integer = field.integer(min, max)?;
    T::try_from(integer).map_err(|_| field.mistyped("integer", "write a smaller number"))
}

fn plateaus(field: Field<'_, '_>) -> Result<Vec<u16>, Fault> {
    let elements = field.elements()?.map(|element| integer(element, 0, 65535));
    let plateaus = elements.collect::<Result<Vec<u16>, Fault>>()?;
    check::plateaus(plateaus).map_err(|problem| field.fault(problem))
}

/// One of a few named values.
fn choice<T: Copy>(key: &str, field: Field<'_, '_>, known: &[(&str, T)]) -> Result<T, Fault> {
    let name = field.string()?;
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let article = if key.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let message = format!("'{}' is not {article} {key}", shown(name));
        let help = match suggestion(name, known.iter().map(|(known, _)| *known)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write {}", alternatives(known, "")),
        };
        field.fault(Problem::new(message, help))
    })
}

fn name_of<T: PartialEq>(value: T, known: &[(&str, T)]) -> Option<String> {
    known.iter().find(|(_, known)| *known == value).map(|(name, _)| format!("\"{name}\""))
}

/// The names of the values in words, each within `mark`.
fn alternatives<T>(known: &[(&str, T)], mark: &str) -> String {
    let names: Vec<String> = known.iter().map(|(name, _)| format!("{mark}\"{name}\"{mark}")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Node, Span, Value};
    use crate::toml;

    /// A legal value other than the default, in TOML.
    fn sample(spec: &Spec) -> String {
        let default = spec.show(&mut Draft::default()).unwrap_or_default();
        match spec.kind {
            Kind::Boolean(_) => (default == "false").to_string(),
            Kind::Byte(_, _, max) => max.to_string(),
            Kind::Number(_, _, max) => max.to_string(),
            Kind::OptionalNumber(_, min, _) => min.to_string(),
            Kind::Time(_, min) => {
                format!("\"{}\"", value::show_duration(min + Duration::from_millis(1_000_001)))
            }
            Kind::Prefix6(..) => "\"2001:db8:1::/48\"".to_owned(),
            Kind::Prefix4(..) => "\"192.0.2.0/24\"".to_owned(),
            Kind::Plateaus(_) => "[1500, 1280]".to_owned(),
            Kind::Hairpin(_) => "\"simple\"".to_owned(),
            Kind::Ingress(_) => "\"all\"".to_owned(),
            Kind::Xdp(_) => "\"native\"".to_owned(),
            Kind::Output(_) => "\"stack\"".to_owned(),
            Kind::Interfaces(_) => "[\"eth7\", \"eth8\"]".to_owned(),
            Kind::Interface(_) | Kind::OptionalInterface(_) => "\"eth7\"".to_owned(),
            Kind::Prefixes(_) => "[\"192.0.2.0/24\", \"2001:db8::/32\"]".to_owned(),
            Kind::Sockets(_) => "[\"127.0.0.1:9464\", \"[::1]:9464\"]".to_owned(),
            Kind::HostNames(_) => "[\"t.example.net\"]".to_owned(),
            Kind::LogTo(_) => "\"syslog:udp:[2001:db8::1]:514\"".to_owned(),
            Kind::LogFormat(_) => "\"json\"".to_owned(),
        }
    }

    fn set(spec: &Spec, text: &str, draft: &mut Draft) -> Result<(), Fault> {
        let document = format!("x = {text}");
        let root = toml::parse(&document).unwrap();
        let Value::Table(members) = &root.value else { panic!() };
        spec.set(draft, Field { name: spec.key, node: &members[0].node, text: &document, lax: false })
    }

    #[test]
    fn every_option_is_set_where_it_is_shown() {
        for spec in OPTIONS {
            let mut draft = Draft::default();
            let (default, sample) = (spec.show(&mut draft), sample(spec));
            set(spec, &sample, &mut draft).unwrap_or_else(|fault| panic!("{}: {fault:?}", spec.key));
            let shown = spec.show(&mut draft);
            assert_eq!(shown.as_ref(), Some(&sample), "{}", spec.key);
            assert_ne!(shown, default, "{}", spec.key);
            // And nothing else has changed.
            for other in OPTIONS.iter().filter(|other| !std::ptr::eq(*other, spec)) {
                assert_eq!(
                    other.show(&mut draft),
                    other.show(&mut Draft::default()),
                    "{} by {}",
                    other.key,
                    spec.key
                );
            }
        }
    }

    #[test]
    fn every_default_is_legal() {
        for spec in OPTIONS {
            if let Some(default) = spec.show(&mut Draft::default()) {
                set(spec, &default, &mut Draft::default())
                    .unwrap_or_else(|fault| panic!("{}: {fault:?}", spec.key));
            }
        }
    }

    #[test]
    fn bounds_hold() {
        for spec in OPTIONS {
            let (min, max) = match spec.kind {
                Kind::Byte(_, min, max) => (i64::from(min), i64::from(max)),
                Kind::Number(_, min, max) => (i64::from(min), i64::from(max)),
                Kind::OptionalNumber(_, min, max) => (i64::from(min), i64::from(max)),
                Kind::Time(_, min) if min > Duration::ZERO => {
                    let short = value::show_duration(min - Duration::from_millis(1));
                    assert!(
                        set(spec, &format!("\"{short}\""), &mut Draft::default()).is_err(),
                        "{}",
                        spec.key
                    );
                    continue;
                }
                _ => continue,
            };
            for (number, legal) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                let result = set(spec, &number.to_string(), &mut Draft::default());
                assert_eq!(result.is_ok(), legal, "{} {number}", spec.key);
            }
        }
    }

    #[test]
    fn every_option_refuses_other_types() {
        let node = Node { span: Span::default(), value: Value::DateTime };
        for spec in OPTIONS {
            let field = Field { name: spec.key, node: &node, text: "", lax: true };
            assert!(spec.set(&mut Draft::default(), field).is_err(), "{}", spec.key);
        }
    }
}
