//! NAT64: the flow of a packet, by one look-up.

use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::{To4, To6, protocol};

use crate::maps::{FLOWS4, FLOWS6, INSTANCES};
use crate::parse::{Header4, Header6, Upper};
use crate::plan::{Plan, usable};
use crate::steer::halves;

/// What becomes of an IPv6 packet; None if no flow is known.
#[inline(always)]
pub fn six_to_four(
    header: &Header6,
    upper: &Upper,
    mark: u32,
    now: u32,
) -> Result<Option<Plan<u32>>, Counter> {
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
    let to: &mut To4 = unsafe { &mut *flow };
    if to.mark != mark {
        return Err(Counter::Mark);
    }
    note_use(&mut to.used, now);
    let instance = usable(INSTANCES.get(to.instance))?;
    let is_echo = upper.protocol == protocol::ICMP;
    let src_port = u32::from(u16::from_ne_bytes(to.src_port));
    Ok(Some(Plan {
        src: u32::from_ne_bytes(to.src),
        dst: u32::from_ne_bytes(to.dst),
        ports: if is_echo { src_port } else { src_port | u32::from(u16::from_ne_bytes(to.dst_port)) << 16 },
        instance,
        index: to.instance,
    }))
}

/// What becomes of an IPv4 packet; None if no flow is known.
#[inline(always)]
pub fn four_to_six(header: &Header4, upper: &Upper, now: u32) -> Result<Option<Plan<[u64; 2]>>, Counter> {
    let is_echo = upper.protocol == protocol::ICMP;
    let ports = if is_echo { upper.ports << 16 } else { upper.ports };
    // A `Key4`.
    let key = [
        u64::from(header.src) | u64::from(header.dst) << 32,
        u64::from(ports) | u64::from(upper.protocol) << 32,
    ];
    let Some(flow) = FLOWS4.get_ptr_mut(&key) else { return Ok(None) };
    // SAFETY: as above.
    let to: &mut To6 = unsafe { &mut *flow };
    note_use(&mut to.used, now);
    let instance = usable(INSTANCES.get(to.instance))?;
    let dst_port = u32::from(u16::from_ne_bytes(to.dst_port));
    Ok(Some(Plan {
        src: halves(&to.src),
        dst: halves(&to.dst),
        ports: if is_echo { dst_port } else { u32::from(u16::from_ne_bytes(to.src_port)) | dst_port << 16 },
        instance,
        index: to.instance,
    }))
}

/// Notes that the flow is in use; a shared line is written once a second only.
#[inline(always)]
fn note_use(used: &mut u32, now: u32) {
    if *used != now {
        *used = now;
    }
}
