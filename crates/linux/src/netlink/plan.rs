//! What the host is to look like while the translator runs, and what can be wrong with it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

/// The interface group that the device is put into; rules tell by it what must not be routed back.
pub const DEVICE_GROUP: u32 = 6464;

/// Most addresses that are answered for by proxy, in all.
pub const MAX_PROXIED: usize = 4096;

/// What is to be set up on the host for one TUN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Name of the TUN device, which exists.
    pub device: String,
    /// MTU of the device in bytes.
    pub mtu: u32,
    /// Packets that may wait in each queue of the device.
    pub queue_length: u32,
    /// Prefixes that are routed to the device.
    pub routes: Vec<IpNet>,
    /// IPv4 addresses that ARP is answered for.
    pub proxied4: Vec<Ipv4Net>,
    /// IPv6 addresses that neighbour solicitations are answered for.
    pub proxied6: Vec<Ipv6Net>,
    /// The interface to answer on; if None, each one whose connected prefix covers the address.
    pub proxy_interface: Option<String>,
    /// Turn forwarding on for both families, if it is off.
    pub forwarding: bool,
    /// Keep what comes from the device from going back into it by routing rules. Any rule makes every route look-up of the
    /// host dearer; a program on the device can do it instead.
    pub loop_rules: bool,
    /// Take over what a process that is gone has set up for this device, instead of taking it back first: packets go on all
    /// the while. Only for a device that has outlived that process.
    pub adopt: bool,
    /// Where the journal of changes is kept.
    pub journal_directory: PathBuf,
}

impl HostPlan {
    /// A plan for `device` that routes nothing yet, with the usual settings.
    pub fn new(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            mtu: crate::tun::MAX_MTU,
            queue_length: 2048,
            routes: Vec::new(),
            proxied4: Vec::new(),
            proxied6: Vec::new(),
            proxy_interface: None,
            forwarding: true,
            loop_rules: true,
            adopt: false,
            journal_directory: super::journal::default_directory(),
        }
    }
}

/// Why the host cannot be set up. The host's or the operator's matter.
#[derive(Debug, Error)]
pub enum SetupError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Netlink(#[source] io::Error),
    /// A process that is alive has set up this device.
    #[error("device \"{device}\" is in use by process {pid}, says {journal}: stop it first", journal = .journal.display())]
    InUse {
        /// The device.
        device: String,
        /// The other process.
        pid: u32,
        /// Its journal.
        journal: PathBuf,
    },
    /// The journal cannot be written, so nothing was changed.
    #[error("cannot write the journal {}, without which changes could not be taken back", .0.display())]
    Journal(PathBuf, #[source] io::Error),
    /// There is no such interface.
    #[error("there is no interface \"{0}\": correct its name, or create it first")]
    NoInterface(String),
    /// A prefix has a route of the same rank.
    #[error(
        "there is a route to {0} already, by another way than the translator: remove it (ip route del {0}) or take the prefix out of the configuration"
    )]
    RouteTaken(IpNet),
    /// A setting under /proc/sys cannot be written.
    #[error(
        "cannot set net/{name} to {value}: run as root, or with a writable /proc/sys, or set it beforehand"
    )]
    Sysctl {
        /// The setting below `/proc/sys/net`.
        name: String,
        /// What it should become.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("cannot {step}")]
    Request {
        /// What was being done.
        step: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What was set up but deserves a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Forwarding makes Linux ignore router advertisements on these interfaces (`accept_ra` = 1).
    AdvertisementsIgnored(Vec<String>),
    /// `conf.all.rp_filter` is strict for every interface; the device was set to loose mode.
    StrictReversePath,
    /// No interface has a connected prefix with this address: nobody asks for it, or it is routed here.
    NotConnected(IpAddr),
    /// More addresses than [`MAX_PROXIED`]; those of this prefix and later ones are not answered for.
    TooManyProxied(IpNet),
    /// The address is one of the host's own, so packets to it never reach the translator.
    OwnAddress(IpAddr),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdvertisementsIgnored(interfaces) => write!(
                f,
                "IPv6 forwarding was turned on, so router advertisements are ignored on {0}; if {0} needs them, set net.ipv6.conf.INTERFACE.accept_ra=2",
                interfaces.join(", ")
            ),
            Self::StrictReversePath => f.write_str(
                "net.ipv4.conf.all.rp_filter is 1 (strict) and counts for the device too; it was set to loose mode there",
            ),
            Self::NotConnected(address) => write!(
                f,
                "{address} is in no connected network, so no neighbour will ask for it; it must be routed to this host"
            ),
            Self::TooManyProxied(prefix) => write!(
                f,
                "{prefix} has too many addresses to answer for one by one (at most {MAX_PROXIED} in all); route it to this host instead"
            ),
            Self::OwnAddress(address) => write!(
                f,
                "{address} is assigned to this host, which keeps the packets for itself; give the translator an address of its own"
            ),
        }
    }
}
