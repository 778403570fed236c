//! The commands that speak with a running daemon, or make what one reads.

use clap::Subcommand;

use super::files::{
    DIFF_EXAMPLES, Diff, EVENTS_EXAMPLES, EXPORT_EXAMPLES, Events, Export, File, Import, RELOAD_EXAMPLES,
    Reload,
};
use super::quick::{NAT64_EXAMPLES, Nat64, SIIT_EXAMPLES, Siit};
use super::tables::{Address, Bib, Denylist4, Eamt, Global, Instance, Pool4, Session, Stats};

#[derive(Debug, Subcommand)]
pub(crate) enum Control {
    /// Make a stateful translator: IPv6 clients share IPv4 addresses (RFC 6146)
    #[command(after_help = NAT64_EXAMPLES)]
    Nat64(Nat64),
    /// Make a stateless translator: addresses for addresses (RFC 7915)
    #[command(after_help = SIIT_EXAMPLES)]
    Siit(Siit),
    /// Instances: show, make, end
    Instance(Instance),
    /// Options of an instance: show, set
    Global(Global),
    /// IPv4 transport addresses that mask the clients of a NAT64: show, add, remove
    Pool4(Pool4),
    /// Which client has which transport address (NAT64): show, add, remove
    Bib(Bib),
    /// Connections through a NAT64: show, share with other translators
    Session(Session),
    /// Explicit address mappings of a SIIT (RFC 7757): show, add, remove
    Eamt(Eamt),
    /// IPv4 prefixes that pool6 of a SIIT must not translate: show, add, remove
    #[command(alias = "blacklist4")]
    Denylist4(Denylist4),
    /// Counters: show
    Stats(Stats),
    /// How a SIIT translates an address
    Address(Address),
    /// Configuration files of one instance: put in force, check
    File(File),
    /// Say what reading a configuration file would change
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Diff),
    /// Let the daemon read its configuration file again
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(Reload),
    /// Print the configuration in force as a file
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Export),
    /// Turn another translator's configuration into one of ours
    Import(Import),
    /// Follow what happens: instances, BIB entries and sessions that come and go
    #[command(after_help = EVENTS_EXAMPLES)]
    Events(Events),
}
