//! What goes over the wire: JSON objects with keys in kebab-case. Addresses and prefixes are strings in the usual
//! notation, ports are numbers (ICMP identifiers where the protocol is ICMP), durations are milliseconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::{Address, Address4, Address6, Prefix4, Prefix6};

/// Longest request in bytes: a configuration file as JSON string.
pub const REQUEST_BYTES_MAX: usize = 256 << 20;

/// The kinds of translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Translator {
    /// Stateless.
    Siit,
    /// Stateful.
    Nat64,
}

impl Translator {
    /// As paths and bodies have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Siit => "siit",
            Self::Nat64 => "nat64",
        }
    }
}

impl From<xlat_config::Translator> for Translator {
    fn from(translator: xlat_config::Translator) -> Self {
        match translator {
            xlat_config::Translator::Siit => Self::Siit,
            xlat_config::Translator::Nat64 => Self::Nat64,
        }
    }
}

/// The protocols with state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo.
    Icmp,
}

impl Protocol {
    /// As tables show it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        }
    }

    pub(crate) fn model(self) -> xlat_config::Protocol {
        match self {
            Self::Tcp => xlat_config::Protocol::Tcp,
            Self::Udp => xlat_config::Protocol::Udp,
            Self::Icmp => xlat_config::Protocol::Icmp,
        }
    }

    pub(crate) fn state(self) -> xlat_nat64::Protocol {
        match self {
            Self::Tcp => xlat_nat64::Protocol::Tcp,
            Self::Udp => xlat_nat64::Protocol::Udp,
            Self::Icmp => xlat_nat64::Protocol::Icmp,
        }
    }
}

impl From<xlat_config::Protocol> for Protocol {
    fn from(protocol: xlat_config::Protocol) -> Self {
        match protocol {
            xlat_config::Protocol::Tcp => Self::Tcp,
            xlat_config::Protocol::Udp => Self::Udp,
            xlat_config::Protocol::Icmp => Self::Icmp,
        }
    }
}

/// What Jool hooks an instance to. Here both mean the same; it is kept to be shown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// All packets.
    #[default]
    Netfilter,
    /// Packets that a rule names.
    Iptables,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The daemon's release.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its device.
    pub device: String,
    /// How many instances it has.
    pub instances: usize,
    /// Seconds since it began.
    #[serde(default)]
    pub uptime: u64,
    /// Its configuration file; absent: it began without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// The configuration in force is not what the file said: the API changed it. That ends with the daemon, or when the file is
    /// read again.
    #[serde(default)]
    pub differs_from_file: bool,
    /// Threads that translate.
    #[serde(default)]
    pub workers: usize,
    /// Why the kernel does not repeat known flows by itself; absent: it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_fast_path: Option<String>,
}

/// A line of `GET /v1/instances`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Instance {
    /// Number of the network namespace (its inode).
    pub namespace: u64,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub translator: Translator,
    /// As it was made.
    pub framework: Framework,
}

/// `POST /v1/changes`: changes of one instance, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Changes {
    /// The kind of the instance.
    pub translator: Translator,
    /// The instance's name.
    pub instance: String,
    /// In this order.
    #[serde(deserialize_with = "crate::strict::list")]
    pub changes: Vec<Change>,
}

/// The answer to a change that is in force: nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {}

/// `POST /v1/explain`: a packet to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Question {
    /// It, from its IP header on, in hexadecimal digits.
    #[schema(pattern = "^([0-9a-fA-F]{2})+$", max_length = 131_150)]
    pub packet: String,
    /// Its firewall mark.
    #[serde(default)]
    pub mark: u32,
}

/// What would become of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The decisions, in order.
    pub steps: Vec<Step>,
    /// Their outcome.
    pub verdict: Verdict,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What was decided upon.
    pub title: String,
    /// What was found.
    pub detail: String,
    /// RFC and section, or the option's name.
    pub source: String,
}

/// What would become of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// In one word.
    pub word: Fate,
    /// Why it would not be translated: the name of the counter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What that means.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explanation: Option<String>,
    /// RFC and section.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
}

/// What can become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Translated and sent.
    Translated,
    /// Kept: a fragment, a stored SYN.
    Held,
    /// Ended here.
    Dropped,
    /// None of the translator's business.
    Returned,
}

/// A line of `PUT /v1/configuration`: one difference. The values are as TOML writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The instance, if it is a part of one: `NAT64 default`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// The option with its table, or the list; `instance` for an instance as a whole.
    pub what: String,
    /// What was there; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old: Option<String>,
    /// What is to be there; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new: Option<String>,
    /// Only a restart can make it.
    pub takes_restart: bool,
}

/// One change. `force` skips the checks that only warn of what is seldom meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Change {
    /// Makes the instance.
    InstanceAdd {
        /// Kept for display.
        #[serde(default)]
        framework: Framework,
        /// The RFC 6052 prefix; NAT64 needs one.
        #[schema(value_type = Option<Prefix6>)]
        pool6: Option<Ipv6Net>,
        /// Prefixes to be routed to the translator besides those of its tables. With `0.0.0.0/0` pool6 is where its packets
        /// leave to.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        routes: Vec<IpNet>,
    },
    /// Ends the instance, with all its state.
    InstanceRemove,
    /// Ends every instance of this kind; the name is ignored.
    InstanceFlush,
    /// Sets one of the options that [`crate::globals::KEYS`] lists.
    GlobalUpdate {
        /// Which.
        key: String,
        /// Its value; its type depends on the key.
        value: serde_json::Value,
        /// See above.
        #[serde(default)]
        force: bool,
    },
    /// Adds a mapping (SIIT).
    EamtAdd {
        /// IPv6 side.
        #[schema(value_type = Prefix6)]
        ipv6: Ipv6Net,
        /// IPv4 side.
        #[schema(value_type = Prefix4)]
        ipv4: Ipv4Net,
        /// See above.
        #[serde(default)]
        force: bool,
    },
    /// Removes the mapping that has these prefixes (SIIT).
    EamtRemove {
        /// IPv6 side.
        #[schema(value_type = Option<Prefix6>)]
        ipv6: Option<Ipv6Net>,
        /// IPv4 side.
        #[schema(value_type = Option<Prefix4>)]
        ipv4: Option<Ipv4Net>,
    },
    /// Removes all mappings (SIIT).
    EamtFlush,
    /// Adds a prefix that pool6 must not translate (SIIT).
    Denylist4Add {
        /// Which.
        #[schema(value_type = Prefix4)]
        prefix: Ipv4Net,
        /// See above.
        #[serde(default)]
        force: bool,
    },
    /// Removes one (SIIT).
    Denylist4Remove {
        /// Which.
        #[schema(value_type = Prefix4)]
        prefix: Ipv4Net,
    },
    /// Removes all (SIIT).
    Denylist4Flush,
    /// Adds transport addresses (NAT64).
    Pool4Add {
        /// What.
        #[serde(flatten)]
        block: Pool4Block,
        /// How far Jool would search; kept for display. Absent: as the set has it.
        #[serde(rename = "max-iterations")]
        max_iterations: Option<MaxIterations>,
        /// See above.
        #[serde(default)]
        force: bool,
    },
    /// Removes transport addresses, with all that uses them (NAT64).
    Pool4Remove {
        /// What.
        #[serde(flatten)]
        block: Pool4Block,
        /// Leave static BIB entries that another mark's set still has.
        #[serde(default)]
        quick: bool,
    },
    /// Removes all transport addresses (NAT64).
    Pool4Flush,
    /// Makes a static BIB entry (NAT64).
    BibAdd(BibPair),
    /// Removes a BIB entry and its sessions (NAT64).
    BibRemove {
        /// Which table.
        protocol: Protocol,
        /// The client.
        ipv6: Option<Transport6>,
        /// Its mask.
        ipv4: Option<Transport4>,
    },
    /// Puts a configuration file in the place of the instance, or makes it. Tables of state stay.
    File {
        /// Jool's JSON, or TOML with one instance.
        content: String,
        /// See above.
        #[serde(default)]
        force: bool,
    },
}

/// IPv6 transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transport6 {
    /// Address.
    #[schema(value_type = Address6)]
    pub address: Ipv6Addr,
    /// Port or identifier.
    pub port: u16,
}

/// IPv4 transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Transport4 {
    /// Address.
    #[schema(value_type = Address4)]
    pub address: Ipv4Addr,
    /// Port or identifier.
    pub port: u16,
}

/// A client and its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BibPair {
    /// Which table.
    pub protocol: Protocol,
    /// The client.
    pub ipv6: Transport6,
    /// Its mask.
    pub ipv4: Transport4,
}

impl From<&xlat_config::BibEntry> for BibPair {
    fn from(entry: &xlat_config::BibEntry) -> Self {
        let ((address6, port6), (address4, port4)) = (entry.ipv6, entry.ipv4);
        Self {
            protocol: entry.protocol.into(),
            ipv6: Transport6 { address: address6, port: port6 },
            ipv4: Transport4 { address: address4, port: port4 },
        }
    }
}

/// A block of transport addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool4Block {
    /// Firewall mark of the packets that use it.
    #[serde(default)]
    pub mark: u32,
    /// Protocol.
    pub protocol: Protocol,
    /// Addresses.
    #[schema(value_type = Prefix4)]
    pub prefix: Ipv4Net,
    /// First port or identifier.
    pub first_port: u16,
    /// Last port or identifier.
    pub last_port: u16,
}

/// How far Jool would search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MaxIterations {
    /// Computed from the size of the set.
    Auto,
    /// For ever.
    Infinity,
    /// So far; at least 1.
    Count(u32),
}

/// A line of `.../eamt`: a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Eam {
    /// IPv6 side.
    #[schema(value_type = Prefix6)]
    pub ipv6: Ipv6Net,
    /// IPv4 side.
    #[schema(value_type = Prefix4)]
    pub ipv4: Ipv4Net,
}

/// A line of `.../denylist4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Denied {
    /// Not translated by pool6.
    #[schema(value_type = Prefix4)]
    pub prefix: Ipv4Net,
}

/// `.../pool6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool6 {
    /// The prefix, if there is one; NAT64 always has one.
    #[schema(value_type = Option<Prefix6>)]
    pub prefix: Option<Ipv6Net>,
}

/// `.../pool6791`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool6791 {
    /// IPv4 side.
    #[schema(value_type = Option<Prefix4>)]
    pub ipv4: Option<Ipv4Net>,
    /// IPv6 side.
    #[schema(value_type = Option<Prefix6>)]
    pub ipv6: Option<Ipv6Net>,
    /// An address at random instead of one by the hop limit.
    pub randomize: bool,
}

/// A line of `.../pool4`: one address with one range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool4Row {
    /// Firewall mark of the set.
    pub mark: u32,
    /// Protocol of the set.
    pub protocol: Protocol,
    /// Address.
    #[schema(value_type = Address4)]
    pub address: Ipv4Addr,
    /// First port or identifier.
    pub first_port: u16,
    /// Last port or identifier.
    pub last_port: u16,
    /// Of the set, as given or computed; `null`: no limit.
    pub iterations: Option<u64>,
    /// Given rather than computed.
    pub iterations_fixed: bool,
}

/// A line of `.../bib`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BibRow {
    /// Client and mask.
    #[serde(flatten)]
    pub pair: BibPair,
    /// Made by the operator.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// How many sessions hang from it.
    pub sessions: u32,
}

/// A line of `.../sessions`. *Remote* is where the two nodes are, *local* what each of them sees of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SessionRow {
    /// Which table.
    pub protocol: Protocol,
    /// The IPv6 node.
    pub remote6: Transport6,
    /// The IPv4 node as the IPv6 node sees it.
    pub local6: Transport6,
    /// The IPv6 node as the IPv4 node sees it.
    pub local4: Transport4,
    /// The IPv4 node.
    pub remote4: Transport4,
    /// Time left in milliseconds.
    pub expires_in: u64,
    /// TCP only: state by RFC 6146.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
}

/// A line of `.../statistics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Counter {
    /// Our name.
    pub name: String,
    /// The name of Jool's counter that counts the same, if there is one; several may share it.
    pub jool: String,
    /// How many.
    pub value: u64,
    /// What it counts.
    pub explanation: String,
    /// RFC and section, if there is one.
    pub source: String,
}

/// `.../address/ADDRESS`: how one address is translated (SIIT).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Translation {
    /// What was asked.
    #[schema(value_type = Address)]
    pub query: IpAddr,
    /// Its translation.
    #[schema(value_type = Address)]
    pub result: IpAddr,
    /// The mapping that gave it; absent: pool6 did.
    pub eam: Option<Eam>,
    /// The RFC 6052 prefix that gave it; absent: an EAM did.
    #[schema(value_type = Option<Prefix6>)]
    pub pool6: Option<Ipv6Net>,
}
