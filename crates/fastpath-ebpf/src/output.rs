//! The way out of a translated packet, found before anything of it is changed: what the flow remembers, or the
//! kernel's routing and neighbour tables.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::maps::lpm_trie::Key;
use xlat_fastpath::config::{Config, LINKS as LINK_COUNT, Link, config_flag, instance_flag, link_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::{Memory, ROUTE_SECONDS};
use xlat_fastpath::rewrite::Address6;

use crate::maps::{LINKS, MTU4};
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

/// What the kernel's tables are asked: a translated packet.
pub trait Question {
    /// Writes addresses and traffic class.
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]);
}

/// A packet that becomes IPv4: its plan and TOS.
pub struct Question4<'a>(pub &'a Plan<u32>, pub u32);
/// A packet that becomes IPv6: its plan and traffic class.
pub struct Question6<'a>(pub &'a Plan<Address6>, pub u32);

impl Question for Question4<'_> {
    #[inline(always)]
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]) {
        (AF_INET, self.1, [self.0.src, 0, 0, 0], [self.0.dst, 0, 0, 0])
    }
}

impl Question for Question6<'_> {
    #[inline(always)]
    fn ask(&self) -> (u8, u32, [u32; 4], [u32; 4]) {
        let words = |address: Address6| {
            [address[0] as u32, (address[0] >> 32) as u32, address[1] as u32, (address[1] >> 32) as u32]
        };
        (AF_INET6, (self.1 << 20).to_be(), words(self.0.src), words(self.0.dst))
    }
}

/// The way for a packet of which one segment on the wire has `len` bytes.
#[inline(always)]
pub fn way<A, Q: Question>(
    skb: *mut __sk_buff,
    config: &Config,
    (plan, protocol): (&Plan<A>, u8),
    question: Q,
    (now, len): (u32, u32),
    nexthop: &mut Nexthop,
) -> Result<Way, Counter> {
    // SAFETY: of a map entry; other processors may write the same words, each as a whole.
    let memory = unsafe { &mut *plan.memory };
    note_use(memory, now);
    if plan.instance.flags & instance_flag::OUTPUT_STACK != 0 {
        return Ok(Way { by: by::STACK, interface: config.device, hardware: 0 });
    }
    if let Some(way) = remembered(memory, config, now) {
        if len > memory.mtu {
            return Err(Counter::TooBig);
        }
        return Ok(Way { by: by::MEMORY, interface: (way >> 48) as u32, hardware: way });
    }
    let generation = config.route_generation;
    let (family, flow, src, dst) = question.ask();
    let mut lookup = Lookup {
        family,
        protocol,
        src_port: plan.ports as u16,
        dst_port: (plan.ports >> 16) as u16,
        mtu: 1,
        // As if the daemon had sent it: routing rules see the same.
        interface: config.device,
        flow,
        src,
        dst,
        vlan: 0,
        hardware: [0; 6],
    };
    let mut flags = 0;
    if config.flags & config_flag::FIB_MARK != 0 {
        // SAFETY: a field of the context.
        let mark = unsafe { (*skb).mark };
        (lookup.hardware[0], lookup.hardware[1]) = (mark as u16, (mark >> 16) as u16);
        flags = LOOKUP_MARK;
    }
    // SAFETY: the structure has the size and layout that the kernel expects.
    let result = unsafe { bpf_fib_lookup(skb.cast(), (&raw mut lookup).cast(), 64, flags) };
    if result != SUCCESS && result != NO_NEIGHBOUR || lookup.interface == config.device {
        return Err(Counter::NoRoute);
    }
    let mut mtu = u32::from(lookup.mtu);
    if config.flags & config_flag::MTU4_MAP != 0
        && family == AF_INET
        && let Some(of_route) = MTU4.get(&Key::new(32, dst[0].to_ne_bytes()))
    {
        mtu = mtu.min(*of_route);
    }
    if len > mtu {
        return Err(Counter::TooBig);
    }
    let link = LINKS.get(lookup.interface);
    if link.is_some_and(|link| link.flags & (link_flag::KNOWN | link_flag::ETHERNET) == link_flag::KNOWN) {
        return Ok(Way { by: by::PLAIN, interface: lookup.interface, hardware: 0 });
    }
    let is_memorable = link.is_some_and(|link| link.flags & link_flag::ETHERNET != 0);
    if result == SUCCESS && is_memorable && lookup.interface < LINK_COUNT {
        let hardware = lookup.hardware;
        memory.mtu = mtu;
        memory.routed = now;
        memory.route_generation = generation;
        // SAFETY: as above.
        unsafe {
            (&raw mut memory.way).write_volatile(
                u64::from(hardware[3])
                    | u64::from(hardware[4]) << 16
                    | u64::from(hardware[5]) << 32
                    | u64::from(lookup.interface) << 48,
            );
        }
    }
    *nexthop = Nexthop { family: lookup.family.into(), address: lookup.dst };
    // The neighbour table sees by this packet that the neighbour is in use.
    Ok(Way { by: by::NEIGHBOUR, interface: lookup.interface, hardware: 0 })
}

/// Notes that the flow is in use; a shared line is written once a second only.
#[inline(always)]
pub fn note_use(memory: &mut Memory, now: u32) {
    if memory.used != now {
        memory.used = now;
    }
}

/// The way that is remembered, if it holds.
#[inline(always)]
pub fn remembered(memory: &Memory, config: &Config, now: u32) -> Option<u64> {
    // SAFETY: of a map entry; read once, as another processor may write it.
    let way = unsafe { (&raw const memory.way).read_volatile() };
    let holds = way != 0
        && memory.route_generation == config.route_generation
        && now.wrapping_sub(memory.routed) < ROUTE_SECONDS;
    holds.then_some(way)
}

/// The Ethernet header for a remembered way out of `link`, but for the type: three words in memory order.
#[inline(always)]
pub fn addresses(way: u64, link: &Link) -> [u32; 3] {
    let mac = (&raw const link.mac).cast::<u16>();
    // SAFETY: six bytes at the start of an aligned map entry.
    let half = |at: usize| u32::from(unsafe { mac.add(at).read() });
    [way as u32, (way >> 32) as u32 & 0xffff | half(0) << 16, half(1) | half(2) << 16]
}
