//! The way out of a translated packet, found before anything of it is changed: what is remembered of its destination, or
//! the kernel's routing and neighbour tables.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::maps::lpm_trie;
use xlat_fastpath::config::{Config, LINKS as LINK_COUNT, Link, config_flag, instance_flag, link_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::rewrite::Address6;
use xlat_fastpath::route::{Key, ROUTE_SECONDS, Route};

use crate::maps::{LINKS, MTU4, ROUTES};
use crate::plan::Plan;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `BPF_FIB_LOOKUP_MARK`.
const LOOKUP_MARK: u32 = 1 << 5;
/// `BPF_FIB_LKUP_RET_SUCCESS`, `BPF_FIB_LKUP_RET_NO_NEIGH`.
const SUCCESS: i64 = 0;
const NO_NEIGHBOUR: i64 = 7;

/// How a packet goes out.
pub mod by {
    /// Into the host's own forwarding, as if it came from the TUN device.
    pub const STACK: u32 = 0;
    /// Out of a remembered interface to a remembered neighbour.
    pub const MEMORY: u32 = 1;
    /// Out of an interface by the neighbour table; who the neighbour is, is in [`super::Nexthop`].
    pub const NEIGHBOUR: u32 = 2;
    /// Out of an interface without hardware addresses.
    pub const PLAIN: u32 = 3;
}

/// Where a packet goes.
#[derive(Clone, Copy)]
pub struct Way {
    /// One of [`by`].
    pub by: u32,
    /// The interface.
    pub interface: u32,
    /// From memory: six bytes of the neighbour's address, and the interface index.
    pub hardware: u64,
}

/// `struct bpf_redir_neigh`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Nexthop {
    family: u32,
    address: [u32; 4],
}

/// `struct bpf_fib_lookup`, as far as it is used.
#[repr(C, align(8))]
struct Lookup {
    family: u8,
    protocol: u8,
    src_port: u16,
    dst_port: u16,
    /// In: the packet's length, compared with the MTU. Out: the MTU.
    mtu: u16,
    interface: u32,
    /// Of IPv4 the first byte: TOS.
    flow: u32,
    src: [u32; 4],
    dst: [u32; 4],
    vlan: u32,
    /// In: the mark, in the first four bytes. Out: the source's, then the neighbour's hardware address.
    hardware: [u16; 6],
}

const _: () = assert!(size_of::<Lookup>() == 64 && core::mem::offset_of!(Lookup, hardware) == 52);

/// What is asked about a packet besides its addresses.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The protocol, as flows have it.
    pub protocol: u8,
    /// The firewall mark.
    pub mark: u32,
    /// Bytes of one segment on the wire.
    pub len: u32,
    /// The time in seconds.
    pub now: u32,
    /// XDP asks, which has no neighbour table to send by.
    pub by_xdp: bool,
}

/// What the kernel's tables are asked: a translated packet.
pub trait Question {
    /// Source and destination as ways are remembered by.
    fn addresses(&self) -> (Address6, Address6);
    /// TOS or traffic class.
    fn class(&self) -> u32;
    /// Family, flow word and addresses as the kernel is asked.
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]);
}

/// A packet that becomes IPv4: its plan and TOS.
pub struct Question4<'a>(pub &'a Plan<u32>, pub u32);
/// A packet that becomes IPv6: its plan and traffic class.
pub struct Question6<'a>(pub &'a Plan<Address6>, pub u32);

impl Question for Question4<'_> {
    #[inline(always)]
    fn addresses(&self) -> (Address6, Address6) {
        ([self.0.src.into(), u64::MAX], [self.0.dst.into(), u64::MAX])
    }

    #[inline(always)]
    fn class(&self) -> u32 {
        self.1
    }

    #[inline(always)]
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]) {
        (AF_INET, self.1, [self.0.src, 0, 0, 0], [self.0.dst, 0, 0, 0])
    }
}

impl Question for Question6<'_> {
    #[inline(always)]
    fn addresses(&self) -> (Address6, Address6) {
        (self.0.src, self.0.dst)
    }

    #[inline(always)]
    fn class(&self) -> u32 {
        self.1
    }

    #[inline(always)]
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]) {
        let words = |address: Address6| {
            [address[0] as u32, (address[0] >> 32) as u32, address[1] as u32, (address[1] >> 32) as u32]
        };
        (AF_INET6, (self.1 << 20).to_be(), words(self.0.src), words(self.0.dst))
    }
}

/// The way of a packet.
#[inline(always)]
pub fn way<A, Q: Question>(
    context: *mut c_void,
    config: &Config,
    plan: &Plan<A>,
    question: Q,
    asked: Asked,
    nexthop: &mut Nexthop,
) -> Result<Way, Counter> {
    if plan.instance.flags & instance_flag::OUTPUT_STACK != 0 {
        return Ok(Way { by: by::STACK, interface: config.device, hardware: 0 });
    }
    let (key, class) = key(config, plan, &question, asked);
    let route = ROUTES.get_ptr_mut(key.place(config.seed));
    // SAFETY: the entry is this processor's, on which nothing else of ours runs meanwhile.
    let route: &mut Route = unsafe { &mut *route.ok_or(Counter::Failed)? };
    let is_known = route.way != 0
        && route.key == key
        && route.class == class
        && route.generation == config.route_generation
        && asked.now.wrapping_sub(route.routed) < ROUTE_SECONDS
        && (asked.by_xdp || route.is_seen != 0);
    if is_known {
        if asked.len > u32::from(route.mtu) {
            return Err(Counter::TooBig);
        }
        return Ok(Way { by: by::MEMORY, interface: (route.way >> 48) as u32, hardware: route.way });
    }
    let generation = config.route_generation;
    let (family, flow, src4, dst4) = question.ask();
    let mut lookup = Lookup {
        family,
        protocol: asked.protocol,
        src_port: plan.ports as u16,
        dst_port: (plan.ports >> 16) as u16,
        mtu: 1,
        // As if the daemon had sent it: routing rules see the same.
        interface: config.device,
        flow,
        src: src4,
        dst: dst4,
        vlan: 0,
        hardware: [0; 6],
    };
    let mut flags = 0;
    if config.flags & config_flag::FIB_MARK != 0 {
        (lookup.hardware[0], lookup.hardware[1]) = (asked.mark as u16, (asked.mark >> 16) as u16);
        flags = LOOKUP_MARK;
    }
    // SAFETY: the structure has the size and layout that the kernel expects.
    let result = unsafe { bpf_fib_lookup(context, (&raw mut lookup).cast(), 64, flags) };
    if result != SUCCESS && result != NO_NEIGHBOUR || lookup.interface == config.device {
        return Err(Counter::NoRoute);
    }
    let mut mtu = lookup.mtu;
    if config.flags & config_flag::MTU4_MAP != 0
        && family == AF_INET
        && let Some(of_route) = MTU4.get(&lpm_trie::Key::new(32, dst4[0].to_ne_bytes()))
        && *of_route < u32::from(mtu)
    {
        mtu = *of_route as u16;
    }
    if asked.len > u32::from(mtu) {
        return Err(Counter::TooBig);
    }
    let interface = lookup.interface;
    let link = LINKS.get(interface);
    if link.is_some_and(|link| link.flags & (link_flag::KNOWN | link_flag::ETHERNET) == link_flag::KNOWN) {
        return Ok(Way { by: by::PLAIN, interface, hardware: 0 });
    }
    *nexthop = Nexthop { family: lookup.family.into(), address: lookup.dst };
    let by_neighbour = Way { by: by::NEIGHBOUR, interface, hardware: 0 };
    let is_memorable = link.is_some_and(|link| link.flags & link_flag::ETHERNET != 0);
    if result != SUCCESS || !is_memorable || interface >= LINK_COUNT {
        return Ok(by_neighbour);
    }
    let hardware = lookup.hardware;
    let hardware = u64::from(hardware[3])
        | u64::from(hardware[4]) << 16
        | u64::from(hardware[5]) << 32
        | u64::from(interface) << 48;
    // The neighbour table sees by one packet in a while that the neighbour is in use. In a place that was just written to,
    // so many destinations take turns that those of them that meet a new second suffice for it.
    let is_first = route.routed != asked.now || !asked.by_xdp && route.is_seen == 0;
    *route = Route {
        key,
        way: hardware,
        generation,
        routed: asked.now,
        class,
        mtu,
        is_seen: u16::from(!asked.by_xdp),
    };
    Ok(if is_first { by_neighbour } else { Way { by: by::MEMORY, interface, hardware } })
}

/// What the way of a packet depends on: its destination, and the rest as far as the host routes by it.
#[inline(always)]
fn key<A, Q: Question>(config: &Config, plan: &Plan<A>, question: &Q, asked: Asked) -> (Key, u32) {
    let (src, dst) = question.addresses();
    let src = if config.flags & config_flag::SOURCE_RULES != 0 { src } else { [0, 0] };
    if config.flags & config_flag::PACKET_RULES == 0 {
        return (Key { src, dst, packet: 0 }, 0);
    }
    let packet = u64::from(plan.ports) | u64::from(asked.mark) << 32;
    (Key { src, dst, packet }, u32::from(asked.protocol) << 8 | question.class())
}

/// The Ethernet header for a remembered way out of `link`, but for the type: three words in memory order.
#[inline(always)]
pub fn addresses(way: u64, link: &Link) -> [u32; 3] {
    let mac = (&raw const link.mac).cast::<u16>();
    // SAFETY: six bytes at the start of an aligned map entry.
    let half = |at: usize| u32::from(unsafe { mac.add(at).read() });
    [way as u32, (way >> 32) as u32 & 0xffff | half(0) << 16, half(1) | half(2) << 16]
}
