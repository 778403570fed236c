//! ICMP errors of the translator itself (RFC 7915 4.4, 5.4; RFC 4443 2.4; RFC 1122 3.2.2).

use core::net::{Ipv4Addr, Ipv6Addr};

use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Extent, Layers4, MAX_EXTENSIONS, Upper};
use xlat_packet::{fragment, icmp, icmpv4, ipv4, ipv6, protocol};

use crate::icmp_error::{LIMIT4, LIMIT6, write_icmp};
use crate::refusal::Answer;

/// Longest error that is built, in bytes: the size of the buffer to give.
pub const MAX_LEN: usize = LIMIT6;

/// Precedence of ICMPv4 errors: internetwork control (RFC 1812 4.3.2.5).
const TOS: u8 = 0xc0;

/// Builds the ICMPv6 error about `offender`, an IPv6 packet as it came.
///
/// Gives its length in `out`, or None where RFC 4443 2.4 (e) forbids an error: about an ICMPv6 error, a multicast, or
/// a source that is no single node; and about a fragment that is not the first.
pub fn build6(
    out: &mut [u8; MAX_LEN],
    offender: &[u8],
    answer: Answer,
    src: Ipv6Addr,
    hop_limit: u8,
) -> Option<usize> {
    let header = ipv6::Header::parse(offender)?;
    if header.src.is_unspecified()
        || header.src.is_multicast()
        || header.src.is_loopback()
        || header.dst.is_multicast()
    {
        return None;
    }
    if is_unanswerable6(offender, header.next_header) {
        return None;
    }
    let quoted = offender.len().min(LIMIT6 - ipv6::LEN - icmp::LEN);
    let len = ipv6::LEN + icmp::LEN + quoted;
    out[ipv6::LEN + icmp::LEN..len].copy_from_slice(&offender[..quoted]);
    let icmp_len = icmp::LEN + quoted;
    let pseudo =
        Sum::addresses6(src, header.src).plus(Sum::length_and_protocol(icmp_len as u32, protocol::ICMPV6));
    let icmp = icmp::Header { kind: answer.kind, code: answer.code, checksum: 0, rest: answer.rest };
    write_icmp(&mut out[ipv6::LEN..len], icmp, pseudo);
    ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: icmp_len as u16,
        next_header: protocol::ICMPV6,
        hop_limit,
        src,
        dst: header.src,
    }
    .write(out.first_chunk_mut()?);
    Some(len)
}

/// True for an ICMPv6 error and for a later fragment, also where the headers in front are not in order or the packet
/// is cut short.
fn is_unanswerable6(offender: &[u8], mut next: u8) -> bool {
    let mut at = ipv6::LEN;
    for _ in 0..MAX_EXTENSIONS {
        let Some(&[after, second, high, low]) = offender.get(at..).and_then(|header| header.first_chunk())
        else {
            return false;
        };
        let len = match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                (usize::from(second) + 1) * 8
            }
            protocol::FRAGMENT if u16::from_be_bytes([high, low]) >> 3 != 0 => return true,
            protocol::FRAGMENT => fragment::LEN,
            // The first byte of the message is its type.
            protocol::ICMPV6 => return after < 128,
            _any_other => return false,
        };
        (next, at) = (after, at + len);
    }
    true
}

/// Builds the ICMPv4 error about `offender`, an IPv4 packet as it came.
///
/// Gives its length in `out`, or None where RFC 1122 3.2.2 forbids an error: about an ICMP error, a multicast or
/// broadcast, a fragment that is not the first, or a source that is no single host.
pub fn build4(
    out: &mut [u8; MAX_LEN],
    offender: &[u8],
    answer: Answer,
    src: Ipv4Addr,
    ttl: u8,
    identification: u16,
) -> Option<usize> {
    let header = ipv4::Header::parse(offender)?;
    let single = |address: Ipv4Addr| {
        !(address.octets()[0] == 0
            || address.is_loopback()
            || address.is_multicast()
            || address.octets()[0] >= 240)
    };
    if !single(header.src)
        || header.dst.is_multicast()
        || header.dst.is_broadcast()
        || header.fragment_offset != 0
    {
        return None;
    }
    if let Ok(layers) = Layers4::parse(offender, Extent::Quoted)
        && let Upper::Icmp { kind, .. } = layers.upper
        && !icmpv4::is_echo(kind)
    {
        // Errors, and anything else that is not known to be a query.
        return None;
    }
    let quoted = offender.len().min(LIMIT4 - ipv4::LEN - icmp::LEN);
    let len = ipv4::LEN + icmp::LEN + quoted;
    out[ipv4::LEN + icmp::LEN..len].copy_from_slice(&offender[..quoted]);
    let icmp = icmp::Header { kind: answer.kind, code: answer.code, checksum: 0, rest: answer.rest };
    write_icmp(&mut out[ipv4::LEN..len], icmp, Sum::ZERO);
    ipv4::Header {
        header_len: ipv4::LEN as u8,
        tos: TOS,
        total_len: len as u16,
        identification,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol: protocol::ICMPV4,
        src,
        dst: header.src,
    }
    .write(out.first_chunk_mut()?);
    Some(len)
}
