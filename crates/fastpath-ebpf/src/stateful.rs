//! NAT64: the flow of a packet, by one look-up.

use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::{Memory, To6, protocol};

use crate::maps::{FLOWS4, FLOWS6, INSTANCES};
use crate::parse::{Header4, Header6, Upper};
use crate::plan::{Plan, usable};
use crate::steer::halves;

/// What becomes of an IPv6 packet; None if no flow is known.
#[inline(always)]
pub fn six_to_four(header: &Header6, upper: &Upper, mark: u32) -> Result<Option<Plan<u32>>, Counter> {
    // A `Key6`.
    let key = [
        header.src[0],
        header.src[1],
        header.dst[0],
        header.dst[1],
        u64::from(upper.ports) | u64::from(upper.protocol) << 32,
    ];
    let Some(flow) = FLOWS6.get_ptr_mut(&key) else { return Ok(None) };
    // SAFETY: the entry stays readable while the program runs; what the daemon writes of it, it writes before it is found.
    let (to, memory) = unsafe { (&*flow, &raw mut (*flow).memory) };
    if to.mark != mark {
        return Err(Counter::Mark);
    }
    let instance = usable(INSTANCES.get(to.instance))?;
    let is_echo = upper.protocol == protocol::ICMP;
    let src_port = u32::from(u16::from_ne_bytes(to.src_port));
    Ok(Some(Plan {
        src: u32::from_ne_bytes(to.src),
        dst: u32::from_ne_bytes(to.dst),
        ports: if is_echo { src_port } else { src_port | u32::from(u16::from_ne_bytes(to.dst_port)) << 16 },
        instance,
        index: to.instance,
        memory,
    }))
}

/// What becomes of an IPv4 packet; None if no flow is known.
#[inline(always)]
pub fn four_to_six(header: &Header4, upper: &Upper) -> Result<Option<Plan<[u64; 2]>>, Counter> {
    let is_echo = upper.protocol == protocol::ICMP;
    let ports = if is_echo { upper.ports << 16 } else { upper.ports };
    // A `Key4`.
    let key = [
        u64::from(header.src) | u64::from(header.dst) << 32,
        u64::from(ports) | u64::from(upper.protocol) << 32,
    ];
    let Some(flow) = FLOWS4.get_ptr_mut(&key) else { return Ok(None) };
    // SAFETY: as above.
    let (to, memory): (&To6, *mut Memory) = unsafe { (&*flow, &raw mut (*flow).memory) };
    let instance = usable(INSTANCES.get(to.instance))?;
    let dst_port = u32::from(u16::from_ne_bytes(to.dst_port));
    Ok(Some(Plan {
        src: halves(&to.src),
        dst: halves(&to.dst),
        ports: if is_echo { dst_port } else { u32::from(u16::from_ne_bytes(to.src_port)) | dst_port << 16 },
        instance,
        index: to.instance,
        memory,
    }))
}
