//! What hardware would do: cutting an aggregate into its segments and finishing a partial checksum.
//!
//! Results are those of Linux's software offload. TCP (RFC 9293 3.1): sequence numbers go on, FIN and PSH are only on
//! the last segment, CWR (RFC 3168 6.1.2) only on the first where the aggregate says so. UDP: each segment is a
//! datagram of its own. IPv4: the identification goes on by one.

use core::ops::Range;

use crate::checksum::Sum;
use crate::layers::{Extent, Layers, Layers4, Layers6, Upper};
use crate::{Buffer, Checksum, GsoKind, Offload, ipv6, tcp, udp};

crate::reasons! {
    /// Why an aggregate cannot be cut: the kernel's fault, or our own.
    pub enum BadAggregate {
        NotAggregate: "not-an-aggregate", "", "VIRTIO 1.2 5.1.6",
            "the packet has no segment size, or a segment size of zero";
        NotReadable: "aggregate-not-readable", "", "VIRTIO 1.2 5.1.6",
            "the aggregate is no packet that can be read, or is a fragment";
        OtherProtocol: "aggregate-of-other-protocol", "", "VIRTIO 1.2 5.1.6",
            "the kind of the aggregate is not the protocol of the packet";
        HeaderLength: "aggregate-header-length", "", "VIRTIO 1.2 5.1.6",
            "the headers of the aggregate do not end where its offload state says";
        ChecksumPlace: "aggregate-checksum-place", "", "VIRTIO 1.2 5.1.6",
            "the checksum of the aggregate is not partial, or not where its protocol has it";
        NoRoom: "segment-no-room", "", "house",
            "the buffer for a segment is too small";
    }
}

/// Finishes a partial checksum in place; the packet's state becomes [`Checksum::Complete`]. Other states stay.
///
/// A field outside the packet is not written: the packet then is as wrong as its offload state was.
pub fn complete_checksum(packet: &mut Buffer<'_>) {
    let Checksum::Partial { start, offset } = packet.offload.checksum else { return };
    packet.offload.checksum = Checksum::Complete;
    let offset = usize::from(offset);
    let Some(covered) = packet.bytes_mut().get_mut(start.into()..) else { return };
    // The field itself holds the sum of the pseudo-header.
    let checksum = Sum::of(covered).finish();
    if let Some(field) = covered.get_mut(offset..offset + 2) {
        // Of all protocols only UDP-like ones have their checksum there.
        let checksum = if offset == udp::CHECKSUM_AT { udp::nonzero(checksum) } else { checksum };
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The segments of an aggregate, one after the other.
#[derive(Debug)]
pub struct Segments<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    segment_size: usize,
    /// CWR is to be on the first segment only.
    ecn: bool,
    upper: Protocol,
    upper_at: usize,
    family: Family,
    /// Sum of the pseudo-header without the length, from the aggregate's checksum field.
    pseudo: Sum,
    /// Payload bytes given out.
    done: usize,
    /// Segments given out.
    count: u32,
}

/// What differs between the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

/// What differs between the families.
#[derive(Clone, Copy, Debug)]
enum Family {
    /// With the identification of the first segment.
    Ipv4(u16),
    Ipv6,
}

/// Where lengths and identification are in their headers.
mod field {
    use core::ops::Range;

    pub(super) const IPV4_TOTAL_LENGTH: Range<usize> = 2..4;
    pub(super) const IPV4_IDENTIFICATION: Range<usize> = 4..6;
    pub(super) const IPV4_CHECKSUM: Range<usize> = 10..12;
    pub(super) const IPV6_PAYLOAD_LENGTH: Range<usize> = 4..6;
    pub(super) const UDP_LENGTH: Range<usize> = 4..6;
}

impl<'a> Segments<'a> {
    /// The segments of `packet`, a whole IP packet with a partial checksum, by its `offload` state.
    pub fn new(packet: &'a [u8], offload: &Offload) -> Result<Self, BadAggregate> {
        let gso = offload.gso.filter(|gso| gso.segment_size != 0).ok_or(BadAggregate::NotAggregate)?;
        let (shape, family) = if packet.first().is_some_and(|byte| byte >> 4 == 4) {
            let layers = Layers4::parse(packet, Extent::Whole).map_err(|_| BadAggregate::NotReadable)?;
            (Shape::of(&layers)?, Family::Ipv4(layers.own.identification))
        } else {
            let layers = Layers6::parse(packet, Extent::Whole).map_err(|_| BadAggregate::NotReadable)?;
            (Shape::of(&layers)?, Family::Ipv6)
        };
        let Shape { upper, upper_at, headers_len, total_len } = shape;
        match (gso.kind, upper) {
            (GsoKind::Tcp, Protocol::Tcp) | (GsoKind::Udp, Protocol::Udp) => {}
            (GsoKind::Tcp, Protocol::Udp) | (GsoKind::Udp, Protocol::Tcp) => {
                return Err(BadAggregate::OtherProtocol);
            }
        }
        let (Some(headers), Some(payload)) = (packet.get(..headers_len), packet.get(headers_len..total_len))
        else {
            return Err(BadAggregate::NotReadable);
        };
        if headers_len != usize::from(gso.header_len) {
            return Err(BadAggregate::HeaderLength);
        }
        let field = upper_at + upper.checksum_at();
        match offload.checksum {
            Checksum::Partial { start, offset }
                if usize::from(start) == upper_at && usize::from(offset) == upper.checksum_at() => {}
            Checksum::Partial { .. } | Checksum::Complete | Checksum::Verified => {
                return Err(BadAggregate::ChecksumPlace);
            }
        }
        let partial = u16::from_be_bytes([headers[field], headers[field + 1]]);
        Ok(Self {
            headers,
            payload,
            segment_size: gso.segment_size.into(),
            ecn: gso.ecn,
            upper,
            upper_at,
            family,
            pseudo: Sum::word(partial).minus(length_sum(total_len - upper_at)),
            done: 0,
            count: 0,
        })
    }

    /// Length of the longest segment in bytes: what the buffer of [`Self::next_into`] has to hold.
    pub fn longest(&self) -> usize {
        self.headers.len() + self.segment_size.min(self.payload.len())
    }

    /// Writes the next segment to the start of `out` and gives its length in bytes; None after the last. On error
    /// nothing is lost: a longer buffer gets the same segment.
    pub fn next_into(&mut self, out: &mut [u8]) -> Result<Option<usize>, BadAggregate> {
        let rest = &self.payload[self.done..];
        // Headers alone are one segment too.
        if rest.is_empty() && self.count != 0 {
            return Ok(None);
        }
        let payload = &rest[..rest.len().min(self.segment_size)];
        let len = self.headers.len() + payload.len();
        let out = out.get_mut(..len).ok_or(BadAggregate::NoRoom)?;
        let (headers, body) = out.split_at_mut(self.headers.len());
        headers.copy_from_slice(self.headers);
        body.copy_from_slice(payload);
        self.write_ip(headers, len);
        self.write_upper(&mut out[self.upper_at..], payload.len() == rest.len());
        self.done += payload.len();
        self.count += 1;
        Ok(Some(len))
    }

    /// IP lengths, identification and header checksum of a segment of `len` bytes.
    fn write_ip(&self, headers: &mut [u8], len: usize) {
        match self.family {
            Family::Ipv4(first) => {
                // Segments beyond 65,536 start over, as identifications do.
                put(headers, field::IPV4_IDENTIFICATION, first.wrapping_add(self.count as u16));
                put(headers, field::IPV4_TOTAL_LENGTH, len as u16);
                put(headers, field::IPV4_CHECKSUM, 0);
                let checksum = Sum::of(&headers[..self.upper_at]).finish();
                put(headers, field::IPV4_CHECKSUM, checksum);
            }
            Family::Ipv6 => {
                put(headers, field::IPV6_PAYLOAD_LENGTH, (len - ipv6::LEN) as u16);
            }
        }
    }

    /// The layer 4 header of a segment; `upper` begins there and ends with the segment.
    fn write_upper(&self, upper: &mut [u8], last: bool) {
        match self.upper {
            Protocol::Tcp => {
                let sequence = tcp::SEQUENCE_AT..tcp::SEQUENCE_AT + 4;
                let first = upper[sequence.clone()].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                upper[sequence].copy_from_slice(&first.wrapping_add(self.done as u32).to_be_bytes());
                if !last {
                    upper[tcp::FLAGS_AT] &= !(tcp::FIN | tcp::PSH);
                }
                if self.ecn && self.count != 0 {
                    upper[tcp::FLAGS_AT] &= !tcp::CWR;
                }
            }
            Protocol::Udp => {
                let len = upper.len() as u16;
                put(upper, field::UDP_LENGTH, len);
            }
        }
        let at = self.upper.checksum_at();
        put(upper, at..at + 2, 0);
        let checksum = self.pseudo.plus(length_sum(upper.len())).plus(Sum::of(upper)).finish();
        let checksum = match self.upper {
            Protocol::Tcp => checksum,
            Protocol::Udp => udp::nonzero(checksum),
        };
        put(upper, at..at + 2, checksum);
    }
}

/// Where the parts of an aggregate are, whatever its family.
struct Shape {
    upper: Protocol,
    upper_at: usize,
    headers_len: usize,
    total_len: usize,
}

impl Shape {
    fn of<A, X>(layers: &Layers<A, X>) -> Result<Self, BadAggregate> {
        if layers.is_fragment() {
            return Err(BadAggregate::NotReadable);
        }
        let (upper, upper_len) = match layers.upper {
            Upper::Tcp { header_len, .. } => (Protocol::Tcp, header_len.into()),
            Upper::Udp { .. } => (Protocol::Udp, udp::LEN),
            Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other => {
                return Err(BadAggregate::OtherProtocol);
            }
        };
        let upper_at = layers.upper_at;
        Ok(Self { upper, upper_at, headers_len: upper_at + upper_len, total_len: layers.total_len })
    }
}

impl Protocol {
    const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => tcp::CHECKSUM_AT,
            Self::Udp => udp::CHECKSUM_AT,
        }
    }
}

/// The length of a pseudo-header as a sum.
fn length_sum(len: usize) -> Sum {
    Sum::length_and_protocol(len as u32, 0)
}

/// Writes a word in network order.
fn put(bytes: &mut [u8], at: Range<usize>, word: u16) {
    bytes[at].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{Gso, ipv4, protocol};

    /// A packet with a partial checksum, its headers `flags` long, and what a sender adds to the sum of the
    /// pseudo-header (0 for an honest one).
    #[derive(Clone, Copy, Debug)]
    struct Sample {
        version4: bool,
        kind: GsoKind,
        /// Bytes of IPv4 or TCP options, a multiple of 4.
        ip_options: usize,
        tcp_options: usize,
        flags: u8,
        wrong_by: u16,
    }

    const PLAIN: Sample =
        Sample { version4: true, kind: GsoKind::Udp, ip_options: 0, tcp_options: 0, flags: 0, wrong_by: 0 };

    fn protocol_of(kind: GsoKind) -> u8 {
        match kind {
            GsoKind::Tcp => protocol::TCP,
            GsoKind::Udp => protocol::UDP,
        }
    }

    /// The sum of addresses and protocol of a packet without extension headers.
    fn pseudo(packet: &[u8], upper_len: usize, kind: GsoKind) -> Sum {
        let rest = Sum::length_and_protocol(upper_len as u32, protocol_of(kind));
        if packet[0] >> 4 == 4 {
            let header = ipv4::Header::parse(packet).unwrap();
            Sum::addresses4(header.src, header.dst).plus(rest)
        } else {
            let header = ipv6::Header::parse(packet).unwrap();
            Sum::addresses6(header.src, header.dst).plus(rest)
        }
    }

    fn aggregate(sample: Sample, payload: &[u8], segment_size: u16) -> (Vec<u8>, Offload) {
        let mut upper = match sample.kind {
            GsoKind::Tcp => {
                let mut bytes = [0; tcp::LEN];
                tcp::Header {
                    src_port: 80,
                    dst_port: 50000,
                    sequence: u32::MAX - 5000,
                    acknowledgement: 7,
                    header_len: (tcp::LEN + sample.tcp_options) as u8,
                    flags: sample.flags,
                    window: 100,
                    checksum: 0,
                    urgent: 0,
                }
                .write(&mut bytes);
                let mut upper = bytes.to_vec();
                upper.resize(tcp::LEN + sample.tcp_options, 1);
                upper
            }
            GsoKind::Udp => {
                let mut bytes = [0; udp::LEN];
                let len = (udp::LEN + payload.len()) as u16;
                udp::Header { src_port: 53, dst_port: 50000, len, checksum: 0 }.write(&mut bytes);
                bytes.to_vec()
            }
        };
        let upper_header = upper.len();
        upper.extend(payload);
        let mut packet = if sample.version4 {
            let mut bytes = [0; ipv4::LEN];
            ipv4::Header {
                header_len: 20,
                tos: 1,
                total_len: (ipv4::LEN + sample.ip_options + upper.len()) as u16,
                identification: 65534,
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                ttl: 64,
                protocol: protocol_of(sample.kind),
                src: [192, 0, 2, 1].into(),
                dst: [198, 51, 100, 2].into(),
            }
            .write(&mut bytes);
            bytes[0] += (sample.ip_options / 4) as u8;
            let mut packet = bytes.to_vec();
            packet.resize(ipv4::LEN + sample.ip_options, 1);
            put(&mut packet, field::IPV4_CHECKSUM, 0);
            let checksum = Sum::of(&packet).finish();
            put(&mut packet, field::IPV4_CHECKSUM, checksum);
            packet
        } else {
            let mut bytes = [0; ipv6::LEN];
            ipv6::Header {
                traffic_class: 1,
                flow_label: 0xabcde,
                payload_len: upper.len() as u16,
                next_header: protocol_of(sample.kind),
                hop_limit: 64,
                src: "2001:db8::1".parse().unwrap(),
                dst: "2001:db8::2".parse().unwrap(),
            }
            .write(&mut bytes);
            bytes.to_vec()
        };
        let start = packet.len();
        let offset = match sample.kind {
            GsoKind::Tcp => tcp::CHECKSUM_AT,
            GsoKind::Udp => udp::CHECKSUM_AT,
        };
        let partial = pseudo(&packet, upper.len(), sample.kind).plus(Sum::word(sample.wrong_by)).fold();
        put(&mut upper, offset..offset + 2, partial);
        packet.extend(upper);
        let offload = Offload {
            checksum: Checksum::Partial { start: start as u16, offset: offset as u16 },
            gso: Some(Gso {
                kind: sample.kind,
                segment_size,
                header_len: (start + upper_header) as u16,
                ecn: true,
            }),
        };
        (packet, offload)
    }

    fn cut(packet: &[u8], offload: &Offload) -> Vec<Vec<u8>> {
        let mut segments = Segments::new(packet, offload).unwrap();
        let mut out = vec![0xaa; segments.longest()];
        let mut cut = Vec::new();
        while let Some(len) = segments.next_into(&mut out).unwrap() {
            cut.push(out[..len].to_vec());
        }
        assert_eq!(segments.next_into(&mut out), Ok(None));
        cut
    }

    fn samples() -> impl Strategy<Value = Sample> {
        let kind = prop_oneof![Just(GsoKind::Tcp), Just(GsoKind::Udp)];
        (any::<bool>(), kind, 0usize..=10, 0usize..=10, any::<u8>(), prop_oneof![Just(0u16), any::<u16>()])
            .prop_map(|(version4, kind, ip, tcp, flags, wrong_by)| Sample {
                version4,
                kind,
                ip_options: ip * 4,
                tcp_options: tcp * 4,
                flags,
                wrong_by,
            })
    }

    /// True if two folded values are the same number of the one's-complement ring, where 0 is 0xffff too.
    fn congruent(a: u16, b: u16) -> bool {
        a % 0xffff == b % 0xffff
    }

    proptest! {
        #[test]
        fn segments_are_right(
            sample in samples(),
            payload in prop::collection::vec(any::<u8>(), 0..3000),
            segment_size in 1u16..2000,
        ) {
            let segment_size = segment_size.max(payload.len() as u16 / 50);
            let (packet, offload) = aggregate(sample, &payload, segment_size.max(1));
            let headers_len = packet.len() - payload.len();
            let segments = cut(&packet, &offload);
            prop_assert_eq!(segments.len(), payload.len().div_ceil(segment_size.max(1).into()).max(1));
            let mut joined = Vec::new();
            for (number, segment) in segments.iter().enumerate() {
                let body = &segment[headers_len..];
                let last = number + 1 == segments.len();
                prop_assert!(body.len() == usize::from(segment_size) || last && body.len() < segment_size.into());
                let (upper_at, upper) = if sample.version4 {
                    let layers = Layers4::parse(segment, Extent::Whole).unwrap();
                    prop_assert_eq!(layers.total_len, segment.len());
                    prop_assert_eq!(layers.own.identification, 65534u16.wrapping_add(number as u16));
                    prop_assert!(layers.own.dont_fragment);
                    (layers.upper_at, layers.upper)
                } else {
                    let layers = Layers6::parse(segment, Extent::Whole).unwrap();
                    (layers.upper_at, layers.upper)
                };
                match upper {
                    Upper::Tcp { flags, .. } => {
                        let header = tcp::Header::parse(&segment[upper_at..]).unwrap();
                        prop_assert_eq!(header.sequence, (u32::MAX - 5000).wrapping_add(joined.len() as u32));
                        let mut expected = sample.flags;
                        if !last {
                            expected &= !(tcp::FIN | tcp::PSH);
                        }
                        if number != 0 {
                            expected &= !tcp::CWR;
                        }
                        prop_assert_eq!(flags, expected);
                    }
                    Upper::Udp { len, checksum, .. } => {
                        prop_assert_eq!(usize::from(len), segment.len() - upper_at);
                        prop_assert_ne!(checksum, 0);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
                // The sum over everything is that of a right packet, or as wrong as the sender made it.
                let upper = &segment[upper_at..];
                let sum = pseudo(segment, upper.len(), sample.kind).plus(Sum::of(upper));
                let error = Sum::word(0xffff).minus(Sum::word(sample.wrong_by)).fold();
                prop_assert!(congruent(sum.fold(), error), "{} {}", sum.fold(), error);
                joined.extend_from_slice(body);
            }
            prop_assert_eq!(joined, payload);
        }

        #[test]
        fn one_segment_equals_the_completed_packet(
            sample in samples(),
            payload in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let (mut packet, offload) = aggregate(sample, &payload, 300);
            let segments = cut(&packet, &offload);
            let len = packet.len();
            let mut buffer = Buffer::new(&mut packet, 0, len, offload);
            complete_checksum(&mut buffer);
            prop_assert_eq!(buffer.offload.checksum, Checksum::Complete);
            prop_assert_eq!(segments, vec![packet]);
        }

        #[test]
        fn nonsense_does_no_harm(
            sample in samples(),
            payload in prop::collection::vec(any::<u8>(), 0..60),
            garbage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            (start, offset, header_len, segment_size) in any::<(u16, u16, u16, u16)>(),
            keep in any::<u8>(),
        ) {
            let (mut packet, mut offload) = aggregate(sample, &payload, segment_size);
            for (at, byte) in garbage {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            let gso = offload.gso.as_mut().unwrap();
            if keep & 1 == 0 {
                gso.header_len = header_len;
            }
            if keep & 2 == 0 {
                offload.checksum = Checksum::Partial { start: start % 128, offset: offset % 128 };
            }
            if keep & 4 == 0 {
                offload.checksum = Checksum::Partial { start, offset };
            }
            if let Ok(mut segments) = Segments::new(&packet, &offload) {
                let mut out = vec![0; segments.longest()];
                while let Some(len) = segments.next_into(&mut out).unwrap() {
                    prop_assert!(len <= out.len());
                }
            }
            let len = packet.len();
            complete_checksum(&mut Buffer::new(&mut packet, 0, len, offload));
            prop_assert_eq!(packet.len(), len);
        }
    }

    #[test]
    fn refused_aggregates() {
        let (packet, offload) = aggregate(PLAIN, &[7; 100], 40);
        let error = |packet: &[u8], offload: Offload| Segments::new(packet, &offload).unwrap_err();
        let with = |change: fn(&mut Gso)| {
            let mut offload = offload;
            change(offload.gso.as_mut().unwrap());
            offload
        };
        assert_eq!(error(&packet, Offload { gso: None, ..offload }), BadAggregate::NotAggregate);
        assert_eq!(error(&packet, with(|gso| gso.segment_size = 0)), BadAggregate::NotAggregate);
        assert_eq!(error(&packet[..99], offload), BadAggregate::NotReadable);
        assert_eq!(error(&[], offload), BadAggregate::NotReadable);
        assert_eq!(error(&packet, with(|gso| gso.kind = GsoKind::Tcp)), BadAggregate::OtherProtocol);
        assert_eq!(error(&packet, with(|gso| gso.header_len += 1)), BadAggregate::HeaderLength);
        for checksum in [Checksum::Complete, Checksum::Verified, Checksum::Partial { start: 20, offset: 16 }]
        {
            assert_eq!(error(&packet, Offload { checksum, ..offload }), BadAggregate::ChecksumPlace);
        }
    }

    #[test]
    fn a_fragment_is_no_aggregate() {
        let (mut packet, offload) = aggregate(PLAIN, &[7; 100], 40);
        packet.truncate(20 + 104);
        put(&mut packet, field::IPV4_TOTAL_LENGTH, 20 + 104);
        packet[6] = 0x20;
        put(&mut packet, field::IPV4_CHECKSUM, 0);
        let checksum = Sum::of(&packet[..20]).finish();
        put(&mut packet, field::IPV4_CHECKSUM, checksum);
        assert_eq!(Layers4::parse(&packet, Extent::Whole).map(|layers| layers.is_fragment()), Ok(true));
        assert_eq!(Segments::new(&packet, &offload).unwrap_err(), BadAggregate::NotReadable);
    }

    #[test]
    fn headers_alone_are_one_segment() {
        let (packet, offload) = aggregate(Sample { kind: GsoKind::Tcp, ..PLAIN }, &[], 40);
        assert_eq!(cut(&packet, &offload).len(), 1);
    }

    #[test]
    fn a_short_buffer_loses_nothing() {
        let (packet, offload) = aggregate(PLAIN, &[7; 100], 40);
        let mut segments = Segments::new(&packet, &offload).unwrap();
        assert_eq!(segments.longest(), 68);
        let mut out = [0; 68];
        assert_eq!(segments.next_into(&mut out[..67]), Err(BadAggregate::NoRoom));
        let lengths: Vec<_> = core::iter::from_fn(|| segments.next_into(&mut out).unwrap()).collect();
        assert_eq!(lengths, [68, 68, 48]);
    }

    #[test]
    fn cwr_stays_where_the_aggregate_does_not_say_ecn() {
        let sample = Sample { kind: GsoKind::Tcp, flags: tcp::CWR | tcp::ACK, ..PLAIN };
        let (packet, mut offload) = aggregate(sample, &[7; 100], 40);
        let flags = |offload| cut(&packet, &offload).iter().map(|packet| packet[33]).collect::<Vec<_>>();
        assert_eq!(flags(offload), [tcp::CWR | tcp::ACK, tcp::ACK, tcp::ACK]);
        offload.gso.as_mut().unwrap().ecn = false;
        assert_eq!(flags(offload), [tcp::CWR | tcp::ACK; 3]);
    }

    #[test]
    fn a_computed_zero_is_sent_as_ones_in_udp() {
        // The payload is the complement of everything else.
        let (packet, _) = aggregate(PLAIN, &[0, 0], 2);
        let filler = Sum::of(&packet[20..]).finish().to_be_bytes();
        let (mut packet, offload) = aggregate(PLAIN, &filler, 2);
        assert_eq!(cut(&packet, &offload)[0][26..28], [0xff, 0xff]);
        complete_checksum(&mut Buffer::new(&mut packet, 0, 30, offload));
        assert_eq!(packet[26..28], [0xff, 0xff]);
    }
}
