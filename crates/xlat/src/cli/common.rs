//! What many commands take: which instance of which daemon, how a table is shown, which protocol.

use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use xlat_control::api;

use super::notation;
use crate::commands::complete;

/// Which instance of which daemon, and how it answers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct To {
    /// Name of the instance [default: the only one, or the one called default]
    #[arg(short, long, value_name = "NAME", add = ArgValueCompleter::new(complete::instances))]
    pub(crate) instance: Option<String>,
    /// The stateless one, where that is not clear
    #[arg(long, conflicts_with = "nat64")]
    pub(crate) siit: bool,
    /// The stateful one, where that is not clear
    #[arg(long)]
    pub(crate) nat64: bool,
    /// Print JSON, one object a line; errors too
    #[arg(long)]
    pub(crate) json: bool,
    /// The daemon's device [default: xlat0]
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// How long the daemon may take to begin its answer; a change may take ten times as long
    #[arg(long, value_name = "SECONDS", value_parser = notation::seconds)]
    pub(crate) timeout: Option<Duration>,
}

/// How a table is shown.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) to: To,
    /// Show it again and again, every 2 seconds or as told
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = notation::seconds)]
    pub(crate) watch: Option<Duration>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Leave the headers out
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// At most so many rows
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<u64>,
}

/// A change that may end what carries traffic.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Ending {
    #[command(flatten)]
    pub(crate) to: To,
    /// Do not ask, also where it ends what carries traffic
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// One protocol, in either notation.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ProtocolFlags {
    /// Only this protocol [default: all]
    #[arg(short, long, value_name = "PROTOCOL", group = "one-protocol")]
    protocol: Option<Protocol>,
    /// The same as --protocol tcp
    #[arg(short, long, group = "one-protocol")]
    pub(crate) tcp: bool,
    /// The same as --protocol udp
    #[arg(short, long, group = "one-protocol")]
    udp: bool,
    /// The same as --protocol icmp
    #[arg(long, group = "one-protocol")]
    icmp: bool,
}

impl ProtocolFlags {
    /// The one that was named, if any.
    pub(crate) fn one(self) -> Option<api::Protocol> {
        match (self.protocol, self.tcp, self.udp, self.icmp) {
            (Some(Protocol::Tcp), ..) | (_, true, ..) => Some(api::Protocol::Tcp),
            (Some(Protocol::Udp), ..) | (_, _, true, _) => Some(api::Protocol::Udp),
            (Some(Protocol::Icmp), ..) | (_, _, _, true) => Some(api::Protocol::Icmp),
            (None, false, false, false) => None,
        }
    }

    /// The one that was named, or all.
    pub(crate) fn all(self) -> Vec<api::Protocol> {
        let all = vec![api::Protocol::Tcp, api::Protocol::Udp, api::Protocol::Icmp];
        self.one().map_or(all, |one| vec![one])
    }
}
