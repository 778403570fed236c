//! ICMP errors: the message, the packet that it quotes, and RFC 4884 extensions (RFC 7915 4.2, 4.3, 5.2, 5.3).
//!
//! An error is rare and short (576 or 1280 bytes at most), so it is built beside the original and copied over it.

use core::net::{Ipv4Addr, Ipv6Addr};

use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Layers4, Layers6, Upper, is_extension};
use xlat_packet::{Buffer, Checksum, buffer, icmp, icmpv4, icmpv6, ipv4, ipv6, protocol};

use crate::four_to_six::{self, growth, write_headers};
use crate::icmp_table::{self, Rest};
use crate::mtu;
use crate::plan::{Flow, Outcome};
use crate::policy::{Policy, ZeroChecksum};
use crate::refusal::{Refusal, Refused};
use crate::six_to_four::{self, Header, may_fragment_len};
use crate::transport::{Field, Pseudo, rewrite_echo, rewrite_ports};

/// Longest ICMPv4 error that every host takes, in bytes (RFC 1812 4.3.2.3).
pub(crate) const LIMIT4: usize = 576;
/// Longest ICMPv6 error (RFC 4443 2.4), in bytes.
pub(crate) const LIMIT6: usize = 1280;
/// Shortest quoted packet in front of an extension, in bytes (RFC 4884 section 3).
const QUOTED_MIN: usize = 128;

/// Where things are in an ICMP error of one family.
struct Shape {
    /// Bytes of IP and ICMP header.
    front: usize,
    /// Longest message with its IP header.
    limit: usize,
    /// Unit of the RFC 4884 length.
    unit: usize,
    /// Where the RFC 4884 length is, from the start of the ICMP header.
    length_at: usize,
}

const SHAPE4: Shape = Shape {
    front: ipv4::LEN + icmp::LEN,
    limit: LIMIT4,
    unit: icmpv4::LENGTH_UNIT,
    length_at: icmpv4::LENGTH_AT,
};
const SHAPE6: Shape = Shape {
    front: ipv6::LEN + icmp::LEN,
    limit: LIMIT6,
    unit: icmpv6::LENGTH_UNIT,
    length_at: icmpv6::LENGTH_AT,
};

/// What an ICMP error quotes: the packet, cut to what it says of itself, and the extension behind it.
struct Quote<'a> {
    packet: &'a [u8],
    extension: &'a [u8],
}

/// Translates an ICMPv6 error with the packet that it quotes.
pub(crate) fn six_to_four(
    packet: &mut Buffer<'_>,
    (outer, inner): (&Layers6, &Layers6),
    (flow, inner_flow): (&Flow<Ipv4Addr>, &Flow<Ipv4Addr>),
    policy: &Policy,
    fresh_id: u16,
) -> Result<Outcome, Refused> {
    let Upper::Icmp { kind, code, rest } = outer.upper else { return Err(Refusal::IcmpType6.into()) };
    let row = icmp_table::six_to_four(kind, code).ok_or(Refusal::IcmpType6)?;
    let rest = match row.rest {
        Rest::Mtu => mtu::fragmentation_needed(u32::from_be_bytes(rest), policy).min(65535).to_be_bytes(),
        Rest::Pointer => {
            let pointer =
                icmp_table::pointer_6to4(u32::from_be_bytes(rest)).ok_or(Refusal::ParameterPointer6)?;
            [pointer, 0, 0, 0]
        }
        Rest::PointerTo(pointer) => [pointer, 0, 0, 0],
        Rest::Zero | Rest::Keep => [0; 4],
    };
    let ttl = six_to_four::hop_limit(outer, policy)?;
    six_to_four::check_segments_left(outer)?;
    let message = packet.bytes().get(outer.upper_at..).unwrap_or(&[]);
    let pseudo = Sum::addresses6(outer.src, outer.dst)
        .plus(Sum::length_and_protocol(message.len() as u32, protocol::ICMPV6));
    if packet.offload.checksum == Checksum::Complete && Sum::of(message).plus(pseudo).fold() != 0xffff {
        return Err(Refusal::IcmpChecksum6.into());
    }
    let has_length = matches!(kind, icmpv6::DESTINATION_UNREACHABLE | icmpv6::TIME_EXCEEDED);
    let quote = quote(message, &SHAPE6, has_length, inner.total_len)?;

    let mut out = [0; LIMIT4];
    let inner_len = inner.upper_len() + ipv4::LEN;
    let header = Header {
        total_len: inner_len.min(usize::from(u16::MAX)) as u16,
        ttl: inner.hop_limit,
        may_fragment: may_fragment_len(inner_len),
        fresh_id,
    }
    .with(inner, inner_flow.src, inner_flow.dst, policy);
    let payload = quote.packet.get(inner.upper_at..).unwrap_or(&[]);
    let place = &mut out[SHAPE4.front..];
    let quoted = put_quoted(place, ipv4::LEN, payload);
    let (place, inner_message) = place[..quoted].split_at_mut(ipv4::LEN);
    if let Some(place) = place.first_chunk_mut() {
        header.write(place);
    }
    let old = Sum::addresses6(inner.src, inner.dst);
    let old_icmp = old.plus(Sum::length_and_protocol(inner.upper_len() as u32, protocol::ICMPV6));
    match inner.upper {
        _ if inner.protocol == protocol::ICMPV4 => return Err(Refusal::ForeignProtocol.into()),
        Upper::Icmp { kind, code, .. } => {
            let row = icmp_table::six_to_four(kind, code).ok_or(Refusal::IcmpType6)?;
            rewrite_echo(
                inner_message,
                row.to_kind,
                inner_flow.ports.map(|ports| ports.0),
                old_icmp,
                Sum::ZERO,
            );
        }
        upper => {
            let pseudo = Pseudo { old, new: Sum::addresses4(inner_flow.src, inner_flow.dst) };
            let field =
                if matches!(upper, Upper::Udp { checksum: 0, .. }) { Field::Leave } else { Field::Update };
            rewrite_ports(inner_message, &upper, inner_flow.ports, pseudo, field);
        }
    }
    let (len, length) =
        assemble(&mut out, &SHAPE4, quoted, if row.extension { quote.extension } else { &[] });
    let mut icmp = icmp::Header { kind: row.to_kind, code: row.code(code), checksum: 0, rest };
    if length != 0 {
        icmp.rest[SHAPE4.length_at - 4] = length;
    }
    write_icmp(&mut out[ipv4::LEN..len], icmp, Sum::ZERO);
    let header = Header { total_len: len as u16, ttl, may_fragment: true, fresh_id }
        .with(outer, flow.src, flow.dst, policy);
    if let Some(place) = out.first_chunk_mut() {
        header.write(place);
    }
    replace(packet, &out[..len])
}

/// Translates an ICMPv4 error with the packet that it quotes.
pub(crate) fn four_to_six(
    packet: &mut Buffer<'_>,
    (outer, inner): (&Layers4, &Layers4),
    (flow, inner_flow): (&Flow<Ipv6Addr>, &Flow<Ipv6Addr>),
    policy: &Policy,
) -> Result<Outcome, Refused> {
    let Upper::Icmp { kind, code, rest } = outer.upper else { return Err(Refusal::IcmpType4.into()) };
    let row = icmp_table::four_to_six(kind, code).ok_or(Refusal::IcmpType4)?;
    let rest = match row.rest {
        Rest::Mtu => {
            mtu::packet_too_big(u16::from_be_bytes([rest[2], rest[3]]), inner.total_len, policy).to_be_bytes()
        }
        Rest::Pointer => {
            let pointer = icmp_table::pointer_4to6(rest[0]).ok_or(Refusal::ParameterPointer4)?;
            u32::from(pointer).to_be_bytes()
        }
        Rest::PointerTo(pointer) => u32::from(pointer).to_be_bytes(),
        Rest::Zero | Rest::Keep => [0; 4],
    };
    if policy.mtu6.min(policy.lowest_ipv6_mtu) < ipv6::MINIMUM_MTU {
        return Err(Refusal::LowMtu.into());
    }
    four_to_six::check_source_route(outer)?;
    let hop_limit = four_to_six::ttl(outer, policy)?;
    let message = packet.bytes().get(outer.upper_at..).unwrap_or(&[]);
    if packet.offload.checksum == Checksum::Complete && Sum::of(message).fold() != 0xffff {
        return Err(Refusal::IcmpChecksum4.into());
    }
    let quote = quote(message, &SHAPE4, true, inner.total_len)?;

    let mut out = [0; LIMIT6];
    let header_len = ipv4::LEN + growth(inner.fragment.is_some());
    let payload = quote.packet.get(inner.upper_at..).unwrap_or(&[]);
    let place = &mut out[SHAPE6.front..];
    let quoted = put_quoted(place, header_len, payload);
    let (place, inner_message) = place[..quoted].split_at_mut(header_len);
    let addresses = (inner_flow.src, inner_flow.dst);
    write_headers(place, inner, inner.fragment, addresses, inner.upper_len(), inner.hop_limit, policy);
    let new = Sum::addresses6(inner_flow.src, inner_flow.dst);
    match inner.upper {
        _ if inner.protocol == protocol::ICMPV6 || is_extension(inner.protocol) => {
            return Err(Refusal::ForeignProtocol.into());
        }
        Upper::Icmp { kind, code, .. } => {
            let row = icmp_table::four_to_six(kind, code).ok_or(Refusal::IcmpType4)?;
            let pseudo = new.plus(Sum::length_and_protocol(inner.upper_len() as u32, protocol::ICMPV6));
            rewrite_echo(
                inner_message,
                row.to_kind,
                inner_flow.ports.map(|ports| ports.0),
                Sum::ZERO,
                pseudo,
            );
        }
        upper => {
            let pseudo = Pseudo { old: Sum::addresses4(inner.src, inner.dst), new };
            let field = inner_field(inner, payload, policy)?;
            rewrite_ports(inner_message, &upper, inner_flow.ports, pseudo, field);
        }
    }
    let (len, length) =
        assemble(&mut out, &SHAPE6, quoted, if row.extension { quote.extension } else { &[] });
    let mut icmp = icmp::Header { kind: row.to_kind, code: row.code(code), checksum: 0, rest };
    if length != 0 {
        icmp.rest[SHAPE6.length_at - 4] = length;
    }
    let icmp_len = len - ipv6::LEN;
    let pseudo =
        Sum::addresses6(flow.src, flow.dst).plus(Sum::length_and_protocol(icmp_len as u32, protocol::ICMPV6));
    write_icmp(&mut out[ipv6::LEN..len], icmp, pseudo);
    write_headers(&mut out[..ipv6::LEN], outer, None, (flow.src, flow.dst), icmp_len, hop_limit, policy);
    replace(packet, &out[..len])
}

/// The parts behind the ICMP header (RFC 4884 section 4). `inner_len` is the length of the quoted packet by its own
/// header: what lies between it and the extension is padding.
fn quote<'a>(
    message: &'a [u8],
    shape: &Shape,
    has_length: bool,
    inner_len: usize,
) -> Result<Quote<'a>, Refused> {
    let payload = message.get(icmp::LEN..).unwrap_or(&[]);
    let length = if has_length { message.get(shape.length_at).copied().unwrap_or(0) } else { 0 };
    let quoted_len = usize::from(length) * shape.unit;
    if quoted_len > payload.len() {
        return Err(Refusal::ExtensionLength.into());
    }
    let (packet, extension) = if length == 0 { (payload, &[][..]) } else { payload.split_at(quoted_len) };
    Ok(Quote { packet: &packet[..packet.len().min(inner_len)], extension })
}

/// Puts the quoted packet's payload behind `header_len` bytes left free for its new header, as far as there is
/// room. Gives the length of both.
fn put_quoted(place: &mut [u8], header_len: usize, payload: &[u8]) -> usize {
    let room = place.len().saturating_sub(header_len);
    let payload = &payload[..payload.len().min(room)];
    if let Some(place) = place.get_mut(header_len..header_len + payload.len()) {
        place.copy_from_slice(payload);
    }
    header_len + payload.len()
}

/// Puts the extension behind the quoted packet, which is cut or padded as RFC 4884 asks for. Gives the length of
/// the whole and the value of the length field (0 without extension).
fn assemble(out: &mut [u8], shape: &Shape, quoted: usize, extension: &[u8]) -> (usize, u8) {
    let most = shape.limit.min(out.len());
    let without = (shape.front + quoted).min(most);
    if extension.is_empty() || extension.len() > most - shape.front - QUOTED_MIN {
        return (without, 0);
    }
    let room = most - shape.front - extension.len();
    // Cut to the unit only where padding does not fill it up.
    let kept = match quoted.min(room) {
        long if long > QUOTED_MIN => long / shape.unit * shape.unit,
        short => short,
    };
    let padded = kept.max(QUOTED_MIN);
    let (start, end) = (shape.front + padded, shape.front + padded + extension.len());
    out[shape.front + kept..start].fill(0);
    out[start..end].copy_from_slice(extension);
    // At most 1232 / 8 or 548 / 4.
    (end, (padded / shape.unit) as u8)
}

/// What happens to the checksum of a quoted TCP or UDP header.
fn inner_field(inner: &Layers4, payload: &[u8], policy: &Policy) -> Result<Field, Refused> {
    let Upper::Udp { checksum: 0, len, .. } = inner.upper else { return Ok(Field::Update) };
    if policy.zero_checksum == ZeroChecksum::Refuse {
        return Err(Refusal::ZeroChecksum.into());
    }
    let whole = if inner.is_fragment() { None } else { four_to_six::compute(payload, len) };
    Ok(whole.unwrap_or(Field::Leave))
}

/// Writes the ICMP header with a checksum over `message` and the pseudo-header.
pub(crate) fn write_icmp(message: &mut [u8], mut header: icmp::Header, pseudo: Sum) {
    let Some(place) = message.first_chunk_mut() else { return };
    header.checksum = 0;
    header.write(place);
    header.checksum = Sum::of(message).plus(pseudo).finish();
    if let Some(place) = message.first_chunk_mut() {
        header.write(place);
    }
}

fn replace(packet: &mut Buffer<'_>, bytes: &[u8]) -> Result<Outcome, Refused> {
    let headroom = packet.headroom().min(buffer::HEADROOM);
    if packet.replace(headroom, bytes) { Ok(Outcome::Whole) } else { Err(Refusal::NoHeadroom.into()) }
}
