//! What the daemon and the kernel program share: the shapes of the maps, and the rewrite of a packet whose flow is
//! known. `no_std`, no allocation, no panics: it is compiled for the BPF target too.
//!
//! Unless a field says otherwise: addresses and ports are in network byte order as they stand in a packet, everything
//! else is in the host's. Every type has a fixed layout without padding (`zerocopy` checks that); [`LAYOUT`] changes
//! with any of them, so that a daemon never reads the maps of another version.
#![no_std]
#![forbid(unsafe_code)]

pub mod config;
pub mod count;
pub mod flow;
pub mod handover;
pub mod rewrite;
pub mod route;
pub mod stateless;

/// Version of everything in this crate that crosses the border to the kernel.
pub const LAYOUT: u32 = 2;

/// Names of the maps, as the program declares them and as they are pinned.
pub mod maps {
    /// `Array<config::Config>`, one entry.
    pub const CONFIG: &str = "XLAT_CONFIG";
    /// `Array<config::Instance>`, [`crate::config::INSTANCES`] entries.
    pub const INSTANCES: &str = "XLAT_INSTANCES";
    /// `Array<config::Link>` by interface index, [`crate::config::LINKS`] entries.
    pub const LINKS: &str = "XLAT_LINKS";
    /// `LpmTrie<[u8; 4], config::Steer>`: IPv4 destinations that are ours, beyond those in `Config`.
    pub const STEER4: &str = "XLAT_STEER4";
    /// `LpmTrie<[u8; 16], config::Steer>`.
    pub const STEER6: &str = "XLAT_STEER6";
    /// `LpmTrie<[u8; 4], u32>`: MTUs in bytes that IPv4 routes were given, which the kernel's look-up for programs does not
    /// tell (unless they are locked).
    pub const MTU4: &str = "XLAT_MTU4";
    /// `LpmTrie<[u8; 4], u32>`: the pool4 of all stateful instances.
    pub const POOL4: &str = "XLAT_POOL4";
    /// `Array<[u64; 1024]>`, mmapable: ports with BIB entry of the host's own addresses; index
    /// `slot * 3 + protocol`, protocol 0 TCP, 1 UDP, 2 ICMP.
    pub const OWN_PORTS: &str = "XLAT_OWN_PORTS";
    /// `HashMap<flow::Key6, flow::To4>`, allocated as needed.
    pub const FLOWS6: &str = "XLAT_FLOWS6";
    /// `HashMap<flow::Key4, flow::To6>`, allocated as needed.
    pub const FLOWS4: &str = "XLAT_FLOWS4";
    /// `HashMap<stateless::EamKey4, stateless::Eam4>`, allocated as needed.
    pub const EAM4: &str = "XLAT_EAM4";
    /// `HashMap<stateless::EamKey6, stateless::Eam6>`, allocated as needed.
    pub const EAM6: &str = "XLAT_EAM6";
    /// `HashMap<stateless::EamKey4, u32>`: IPv4 prefixes that pool6 does not translate.
    pub const DENY4: &str = "XLAT_DENY4";
    /// `Array<[u64; stateless::FILTER_WORDS]>`, one entry: a bit per hash of how a prefix of the EAM entries begins.
    pub const EAM_FILTER: &str = "XLAT_EAM_FILTER";
    /// `Array<[u64; 1024]>`, one entry: a bit per hash of an address of the host (see `config::host_bit4`).
    pub const HOST: &str = "XLAT_HOST";
    /// `PerCpuArray<route::Route>`, [`crate::route::ROUTES`] entries: the program's own notes.
    pub const ROUTES: &str = "XLAT_ROUTES";
    /// `PerCpuArray<u64>`, [`crate::count::COUNT`] entries.
    pub const COUNTERS: &str = "XLAT_COUNTERS";
    /// `PerCpuArray<count::Traffic>` by instance.
    pub const TRAFFIC: &str = "XLAT_TRAFFIC";
}

/// Names of the programs.
pub mod programs {
    /// tc: ingress of an Ethernet or raw-IP interface, loopback included (there only ICMP errors are looked at).
    pub const INGRESS: &str = "xlat_ingress";
    /// tc: egress of the TUN device.
    pub const DEVICE: &str = "xlat_device";
    /// XDP: ingress of an Ethernet interface, whole frames.
    pub const XDP: &str = "xlat_xdp";
    /// XDP: the same with frags.
    pub const XDP_FRAGS: &str = "xlat_xdp_frags";
    /// All of them.
    pub const ALL: [&str; 4] = [INGRESS, DEVICE, XDP, XDP_FRAGS];
}
