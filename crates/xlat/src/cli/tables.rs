//! The modes: what a running daemon can be asked and told, in the grammar of Jool (`MODE OPERATION ...`), with what that lacks.

use std::net::IpAddr;

use clap::{ArgAction, Args, Subcommand, value_parser};
use clap_complete::engine::ArgValueCompleter;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xlat_control::api::{MaxIterations, Transport4, Transport6};
use xlat_control::globals;

use super::common::{Ending, ProtocolFlags, Show, To};
use super::notation;
use crate::commands::complete;

// Instances.

const INSTANCE_EXAMPLES: &str = "\
Examples:
  xlat instance
  xlat instance add --nat64 --pool6 64:ff9b::/96
  xlat instance add office --siit
  xlat instance remove office
  xlat instance status";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = INSTANCE_EXAMPLES)]
pub(crate) struct Instance {
    #[command(subcommand)]
    pub(crate) operation: Option<InstanceOperation>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstanceOperation {
    /// Show the instances of this network namespace
    #[command(after_help = "Examples:\n  xlat instance display\n  xlat instance display --json")]
    Display(Show),
    /// Make an instance; starts a daemon where none runs
    #[command(
        after_help = "Examples:\n  xlat instance add --nat64 --pool6 64:ff9b::/96\n  xlat instance add office --siit"
    )]
    Add(InstanceAdd),
    /// End an instance with all its state
    #[command(after_help = "Examples:\n  xlat instance remove\n  xlat instance remove office --yes")]
    Remove(InstanceRemove),
    /// End all instances, or all of one kind
    #[command(after_help = "Examples:\n  xlat instance flush --nat64\n  xlat instance flush --yes")]
    Flush(Ending),
    /// Say whether an instance runs
    #[command(
        after_help = "Ends with 0 if it does, with 1 if not, with 3 where there is no daemon.\n\nExamples:\n  xlat instance status\n  xlat -i office instance status"
    )]
    Status(To),
}

#[derive(Debug, Args)]
pub(crate) struct InstanceAdd {
    #[command(flatten)]
    pub(crate) to: To,
    /// Its name, the same as --instance [default: default]
    pub(crate) name: Option<String>,
    /// The prefix that stands for the IPv4 Internet (RFC 6052); NAT64 needs one
    #[arg(short = '6', long, value_name = "PREFIX", value_parser = notation::prefix6)]
    pub(crate) pool6: Option<Ipv6Net>,
    /// Accepted for Jool's sake: packets come by routes
    #[arg(long, hide = true)]
    pub(crate) netfilter: bool,
    /// The same
    #[arg(long, hide = true, conflicts_with = "netfilter")]
    pub(crate) iptables: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceRemove {
    #[command(flatten)]
    pub(crate) ending: Ending,
    /// Its name, the same as --instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    pub(crate) name: Option<String>,
}

// Global options.

const GLOBAL_EXAMPLES: &str = "\
Examples:
  xlat global
  xlat global update udp-timeout 0:10:00
  xlat -i office global update pool6 null";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = GLOBAL_EXAMPLES)]
pub(crate) struct Global {
    #[command(subcommand)]
    pub(crate) operation: Option<GlobalOperation>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GlobalOperation {
    /// Show the options of an instance
    #[command(after_help = "Examples:\n  xlat global display\n  xlat global display --json")]
    Display(Show),
    /// Set an option
    #[command(
        after_help = "Examples:\n  xlat global update udp-timeout 0:10:00\n  xlat global update manually-enabled false"
    )]
    Update(GlobalUpdate),
}

#[derive(Debug, Args)]
pub(crate) struct GlobalUpdate {
    #[command(flatten)]
    pub(crate) to: To,
    /// Which; docs/configuration.md explains them
    #[arg(value_parser = option_names())]
    pub(crate) key: String,
    /// Its value: true or false, a number, a prefix or null, a list 1500,1280, or a duration H:MM:SS
    #[arg(allow_hyphen_values = true, add = ArgValueCompleter::new(complete::values))]
    pub(crate) value: String,
    /// Skip the checks that only warn
    #[arg(short, long)]
    pub(crate) force: bool,
}

fn option_names() -> clap::builder::PossibleValuesParser {
    let mut names: Vec<&str> = globals::KEYS.iter().map(|key| key.name).collect();
    names.dedup();
    names.into()
}

// pool4.

const POOL4_EXAMPLES: &str = "\
Examples:
  xlat pool4
  xlat pool4 add 203.0.113.2                      all ports of all protocols
  xlat pool4 add 203.0.113.1 61001-65535 --tcp    one shared with this host
  xlat pool4 remove 203.0.113.2";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = POOL4_EXAMPLES)]
pub(crate) struct Pool4 {
    #[command(subcommand)]
    pub(crate) operation: Option<Pool4Operation>,
    #[command(flatten)]
    pub(crate) display: Pool4Display,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pool4Operation {
    /// Show the IPv4 transport addresses that mask the clients
    #[command(after_help = "Examples:\n  xlat pool4 display\n  xlat pool4 display --tcp --json")]
    Display(Pool4Display),
    /// Add transport addresses
    #[command(
        after_help = "Examples:\n  xlat pool4 add 203.0.113.2\n  xlat pool4 add 203.0.113.0/28 1024-65535 --udp --mark 7"
    )]
    Add(Pool4Add),
    /// Remove transport addresses, with all that uses them
    #[command(
        after_help = "Examples:\n  xlat pool4 remove 203.0.113.2\n  xlat pool4 remove 203.0.113.2 61001-61100 --tcp --yes"
    )]
    Remove(Pool4Remove),
    /// Remove all transport addresses, with all that uses them
    #[command(after_help = "Examples:\n  xlat pool4 flush\n  xlat pool4 flush --yes")]
    Flush(Ending),
}

/// A block of transport addresses.
#[derive(Debug, Args)]
pub(crate) struct Block {
    /// IPv4 address or prefix
    #[arg(value_parser = notation::prefix4, add = ArgValueCompleter::new(complete::pool4))]
    pub(crate) prefix: Ipv4Net,
    /// Ports, or ICMP identifiers: N or A-B [default: all]
    #[arg(value_parser = notation::ports)]
    pub(crate) ports: Option<(u16, u16)>,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
    /// Only for packets with this firewall mark
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) mark: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Pool4Add {
    #[command(flatten)]
    pub(crate) to: To,
    #[command(flatten)]
    pub(crate) block: Block,
    /// Kept for display: auto, infinity or a number
    #[arg(long, value_name = "NUMBER", value_parser = notation::iterations)]
    pub(crate) max_iterations: Option<MaxIterations>,
    /// Skip the checks that only warn, such as that for ports of this host's own programs
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pool4Remove {
    #[command(flatten)]
    pub(crate) ending: Ending,
    #[command(flatten)]
    pub(crate) block: Block,
    /// Accepted for Jool's sake
    #[arg(short, long, hide = true)]
    pub(crate) quick: bool,
}

// BIB and sessions.

/// Which rows of a table of state.
#[derive(Clone, Debug, Args)]
pub(crate) struct StateDisplay {
    #[command(flatten)]
    pub(crate) show: Show,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
    /// Only what has an address in this prefix, on whichever side
    #[arg(long, value_name = "PREFIX", value_parser = notation::network)]
    pub(crate) within: Option<IpNet>,
    /// Only what has this port or identifier, on whichever side
    #[arg(long, value_name = "NUMBER")]
    pub(crate) port: Option<u16>,
    /// Go on behind this row: the last `cursor` of an earlier answer of --json; needs the protocol
    #[arg(long, value_name = "CURSOR", requires = "one-protocol")]
    pub(crate) after: Option<String>,
    /// Accepted for Jool's sake: names are never looked up
    #[arg(long, hide = true)]
    pub(crate) numeric: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BibDisplay {
    #[command(flatten)]
    pub(crate) state: StateDisplay,
    /// Only what the operator made
    #[arg(long = "static", conflicts_with = "is_dynamic")]
    pub(crate) is_static: bool,
    /// Only what traffic made
    #[arg(long = "dynamic")]
    pub(crate) is_dynamic: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SessionDisplay {
    #[command(flatten)]
    pub(crate) table: StateDisplay,
    /// Only TCP sessions in this state, such as ESTABLISHED or TRANS
    #[arg(long, value_name = "STATE", conflicts_with_all = ["udp", "icmp"])]
    pub(crate) state: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Pool4Display {
    #[command(flatten)]
    pub(crate) show: Show,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
    /// Only what packets with this firewall mark use
    #[arg(long, value_name = "NUMBER")]
    pub(crate) mark: Option<u32>,
    /// Only addresses in this prefix
    #[arg(long, value_name = "PREFIX", value_parser = notation::network)]
    pub(crate) within: Option<IpNet>,
    /// Only what has this port or identifier
    #[arg(long, value_name = "NUMBER")]
    pub(crate) port: Option<u16>,
    /// Go on behind this row: the last `cursor` of an earlier answer of --json; needs the protocol
    #[arg(long, value_name = "CURSOR", requires = "one-protocol")]
    pub(crate) after: Option<String>,
}

const BIB_EXAMPLES: &str = "\
Examples:
  xlat bib --within 2001:db8::8
  xlat bib --static
  xlat bib add 2001:db8::8#80 203.0.113.2#80 --tcp    reach a server behind
  xlat bib remove 203.0.113.2#80 --tcp";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = BIB_EXAMPLES)]
pub(crate) struct Bib {
    #[command(subcommand)]
    pub(crate) operation: Option<BibOperation>,
    #[command(flatten)]
    pub(crate) display: BibDisplay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BibOperation {
    /// Show which client has which transport address
    #[command(
        after_help = "Examples:\n  xlat bib display --tcp\n  xlat bib display --within 203.0.113.2 --port 443 --json"
    )]
    Display(BibDisplay),
    /// Make a static entry
    #[command(after_help = "Examples:\n  xlat bib add 2001:db8::8#80 203.0.113.2#80 --tcp")]
    Add(BibAdd),
    /// Remove an entry and its sessions
    #[command(
        after_help = "Examples:\n  xlat bib remove 203.0.113.2#80 --tcp\n  xlat bib remove 2001:db8::8#80 --tcp --yes"
    )]
    Remove(BibRemove),
}

#[derive(Debug, Args)]
pub(crate) struct BibAdd {
    #[command(flatten)]
    pub(crate) to: To,
    /// ADDRESS#PORT of the client, and of what masks it; in either order
    #[arg(value_parser = notation::transport, num_args = 2, required = true, action = ArgAction::Set,
          value_names = ["CLIENT", "MASK"])]
    pub(crate) pair: Vec<Transport>,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
}

#[derive(Debug, Args)]
pub(crate) struct BibRemove {
    #[command(flatten)]
    pub(crate) ending: Ending,
    /// ADDRESS#PORT of the client, of what masks it, or both
    #[arg(value_parser = notation::transport, num_args = 1..=2, required = true, value_name = "TRANSPORT",
          add = ArgValueCompleter::new(complete::bib))]
    pub(crate) pair: Vec<Transport>,
    #[command(flatten)]
    pub(crate) protocol: ProtocolFlags,
}

/// A transport address of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    V6(Transport6),
    V4(Transport4),
}

const SESSION_EXAMPLES: &str = "\
Examples:
  xlat session --watch
  xlat session --within 2001:db8::/64 --state ESTABLISHED
  xlat session --json > sessions.jsonl";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = SESSION_EXAMPLES)]
pub(crate) struct Session {
    #[command(subcommand)]
    pub(crate) operation: Option<SessionOperation>,
    #[command(flatten)]
    pub(crate) display: SessionDisplay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionOperation {
    /// Show the connections that are being translated
    #[command(
        after_help = "Examples:\n  xlat session display --udp --limit 20\n  xlat session display --watch 1 --port 443"
    )]
    Display(SessionDisplay),
    /// Print each session that this translator tells others of, as it does
    #[command(
        after_help = "Takes the option ss-enabled. Waits for a daemon that restarts; Ctrl-C ends it.\n\nExamples:\n  xlat session follow\n  xlat session follow --json"
    )]
    Follow(To),
    /// Carry sessions between this translator and the others of a multicast group
    #[command(
        after_help = "Takes the option ss-enabled, on each of them; docs/session-sync.md says the rest. Ctrl-C ends it.\n\nExamples:\n  xlat session proxy ff08::db8:64:64 --port 6464 --device-in eth2\n  xlat session proxy 239.64.0.1 --device-in 192.0.2.1 --device-out 192.0.2.1"
    )]
    Proxy(Box<SessionProxy>),
    /// Tell the others all sessions that there are, for one that has just come up
    #[command(after_help = "Examples:\n  xlat session advertise")]
    Advertise(To),
}

#[derive(Debug, Args)]
pub(crate) struct SessionProxy {
    #[command(flatten)]
    pub(crate) to: To,
    /// Address of the multicast group
    pub(crate) group: String,
    /// Its UDP port
    #[arg(long, value_name = "PORT", default_value = "6400")]
    pub(crate) port: String,
    /// Where messages of others come in: an interface; for an IPv4 group one of its addresses [default: any]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_in: Option<String>,
    /// Where messages go out, in the same form [default: by the host's routes]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_out: Option<String>,
    /// How many routers they may pass
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = value_parser!(u32).range(0..=255))]
    pub(crate) ttl: u32,
    /// Only messages sealed with the key in this file, and seal ours
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) key_file: Option<String>,
    /// Give the proxy's counters to whoever sends a datagram to this port
    #[arg(long, value_name = "PORT")]
    pub(crate) counters_port: Option<String>,
    /// The address of that port [default: any]
    #[arg(long, value_name = "ADDRESS", requires = "counters_port")]
    pub(crate) counters_address: Option<String>,
}

// EAMT and denylist4.

/// Which rows of a table of prefixes.
#[derive(Clone, Debug, Args)]
pub(crate) struct PrefixDisplay {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Only prefixes that are part of this one, or that it is part of
    #[arg(long, value_name = "PREFIX", value_parser = notation::network)]
    pub(crate) within: Option<IpNet>,
    /// Go on behind this row: the last `cursor` of an earlier answer of --json
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

const EAMT_EXAMPLES: &str = "\
Examples:
  xlat eamt
  xlat eamt --within 192.0.2.5
  xlat eamt add 192.0.2.0/24 2001:db8:4::/120
  xlat eamt remove 192.0.2.0/24";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EAMT_EXAMPLES)]
pub(crate) struct Eamt {
    #[command(subcommand)]
    pub(crate) operation: Option<EamtOperation>,
    #[command(flatten)]
    pub(crate) display: PrefixDisplay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EamtOperation {
    /// Show the explicit address mappings
    #[command(after_help = "Examples:\n  xlat eamt display\n  xlat eamt display --csv")]
    Display(PrefixDisplay),
    /// Add a mapping
    #[command(
        after_help = "Examples:\n  xlat eamt add 192.0.2.0/24 2001:db8:4::/120\n  xlat eamt add 192.0.2.5 2001:db8:5::5 --force"
    )]
    Add(EamtAdd),
    /// Remove the mapping that has a prefix
    #[command(after_help = "Examples:\n  xlat eamt remove 192.0.2.0/24")]
    Remove(EamtRemove),
    /// Remove all mappings
    #[command(after_help = "Examples:\n  xlat eamt flush --yes")]
    Flush(Ending),
}

#[derive(Debug, Args)]
pub(crate) struct EamtAdd {
    #[command(flatten)]
    pub(crate) to: To,
    /// IPv4 and IPv6 prefix, in either order
    #[arg(value_parser = notation::network, num_args = 2, required = true, action = ArgAction::Set,
          value_names = ["PREFIX4", "PREFIX6"])]
    pub(crate) pair: Vec<IpNet>,
    /// Also where it overlaps with another mapping
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EamtRemove {
    #[command(flatten)]
    pub(crate) to: To,
    /// Its IPv4 prefix, its IPv6 prefix, or both
    #[arg(value_parser = notation::network, num_args = 1..=2, required = true, value_name = "PREFIX",
          add = ArgValueCompleter::new(complete::eamt))]
    pub(crate) pair: Vec<IpNet>,
}

const DENYLIST4_EXAMPLES: &str = "\
Examples:
  xlat denylist4
  xlat denylist4 add 198.51.100.0/24";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = DENYLIST4_EXAMPLES)]
pub(crate) struct Denylist4 {
    #[command(subcommand)]
    pub(crate) operation: Option<Denylist4Operation>,
    #[command(flatten)]
    pub(crate) display: PrefixDisplay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Denylist4Operation {
    /// Show the IPv4 prefixes that pool6 must not translate
    #[command(after_help = "Examples:\n  xlat denylist4 display --json")]
    Display(PrefixDisplay),
    /// Add a prefix
    #[command(after_help = "Examples:\n  xlat denylist4 add 198.51.100.0/24")]
    Add(Denylist4Add),
    /// Remove a prefix
    #[command(after_help = "Examples:\n  xlat denylist4 remove 198.51.100.0/24")]
    Remove(Denylist4Remove),
    /// Remove all prefixes
    #[command(after_help = "Examples:\n  xlat denylist4 flush --yes")]
    Flush(Ending),
}

#[derive(Debug, Args)]
pub(crate) struct Denylist4Add {
    #[command(flatten)]
    pub(crate) to: To,
    /// IPv4 address or prefix
    #[arg(value_parser = notation::prefix4)]
    pub(crate) prefix: Ipv4Net,
    /// Skip the checks that only warn
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Denylist4Remove {
    #[command(flatten)]
    pub(crate) to: To,
    /// IPv4 address or prefix
    #[arg(value_parser = notation::prefix4, add = ArgValueCompleter::new(complete::denylist4))]
    pub(crate) prefix: Ipv4Net,
}

// Statistics, addresses.

const STATS_EXAMPLES: &str = "\
Examples:
  xlat stats
  xlat stats --explain
  xlat stats --watch 1
  xlat stats --all --json";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = STATS_EXAMPLES)]
pub(crate) struct Stats {
    #[command(subcommand)]
    pub(crate) operation: Option<StatsOperation>,
    #[command(flatten)]
    pub(crate) display: StatsDisplay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StatsOperation {
    /// Show the counters
    #[command(after_help = STATS_EXAMPLES)]
    Display(StatsDisplay),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StatsDisplay {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Those that are zero, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Say what each counts, and which RFC it comes from
    #[arg(short, long)]
    pub(crate) explain: bool,
}

const ADDRESS_EXAMPLES: &str = "\
Examples:
  xlat address query 192.0.2.7
  xlat address query 2001:db8:4::7 --verbose";

#[derive(Debug, Args)]
#[command(after_help = ADDRESS_EXAMPLES)]
pub(crate) struct Address {
    #[command(subcommand)]
    pub(crate) operation: AddressOperation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AddressOperation {
    /// Say how an address is translated
    #[command(after_help = ADDRESS_EXAMPLES)]
    Query(AddressQuery),
}

#[derive(Debug, Args)]
pub(crate) struct AddressQuery {
    #[command(flatten)]
    pub(crate) to: To,
    /// IPv4 or IPv6
    pub(crate) address: IpAddr,
    /// Say by which mapping or prefix
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
