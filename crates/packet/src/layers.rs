//! The walk over a whole packet: bytes become types once, nothing downstream checks again.
//!
//! The same code reads a packet from the wire and a packet that an ICMP error quotes; [`Extent`] says which, because
//! a quoted packet may be cut short behind the first eight bytes of its layer 4 header (RFC 792, RFC 4443 2.4).

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{fragment, icmp, ipv4, ipv6, protocol, tcp, udp};

crate::reasons! {
    /// Why bytes are not a packet that can be read.
    pub enum Malformed {
        Truncated: "truncated", "JSTAT_SKB_TRUNCATED", "RFC 791 3.1, RFC 8200 3",
            "the packet ends inside one of its headers";
        Version: "ip-version", "", "RFC 791 3.1, RFC 8200 3",
            "the version field is not the one of the packet's family";
        Ipv6Length: "ipv6-length", "JSTAT_HDR6", "RFC 8200 3",
            "the IPv6 payload length does not match the length of the packet";
        Ipv4Header: "ipv4-header", "JSTAT_HDR4", "RFC 791 3.1, RFC 1812 5.2.2",
            "the IPv4 header length, total length or header checksum is wrong";
        TwoFragmentHeaders: "two-fragment-headers", "JSTAT64_2XFRAG", "RFC 8200 4.1",
            "the packet has two Fragment headers";
        ExtensionAfterFragment: "extension-after-fragment", "JSTAT64_FRAG_THEN_EXT", "RFC 7915 5.1.1",
            "an extension header follows the Fragment header";
        TooManyExtensions: "too-many-extension-headers", "", "RFC 8504 5.3",
            "the packet has more extension headers than any honest one";
        FragmentLength: "fragment-length", "", "RFC 8200 4.5, RFC 791 3.2",
            "a fragment is empty, not a multiple of eight bytes, or ends behind the largest datagram";
    }
}

/// Most extension headers that are walked over.
pub const MAX_EXTENSIONS: usize = 16;
/// Bytes of a layer 4 header that a quoted packet must have at least (RFC 792).
pub const QUOTED_UPPER_MIN: usize = 8;

/// How much of the packet is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A packet from a wire: as long as it says, its layer 4 header whole.
    Whole,
    /// A packet quoted by an ICMP error: may be cut short.
    Quoted,
}

/// Position of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in bytes, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification: 32 bits in IPv6, 16 in IPv4.
    pub identification: u32,
}

impl Fragment {
    /// True for a whole datagram with a Fragment header (RFC 6946).
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// TCP.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Flags ([`tcp::FIN`] and so on); zero if a quoted packet is cut before them.
        flags: u8,
        /// Bytes of the header with options, at least 20.
        header_len: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length field: header and data in bytes.
        len: u16,
        /// Checksum field; zero means none.
        checksum: u16,
    },
    /// ICMP of the packet's own family.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Bytes 4 to 7 of the message.
        rest: [u8; 4],
    },
    /// A fragment that is not the first: no layer 4 header here.
    LaterFragment,
    /// Any other protocol.
    Other,
}

/// A packet's layers. Offsets count bytes from the first byte of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers<A, X> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Traffic class or type of service.
    pub traffic_class: u8,
    /// Hop limit or TTL.
    pub hop_limit: u8,
    /// Set if the packet is a fragment, or has an (atomic) Fragment header.
    pub fragment: Option<Fragment>,
    /// Protocol number of layer 4, in the packet's own family.
    pub protocol: u8,
    /// Where layer 4 starts.
    pub upper_at: usize,
    /// Length of the whole packet as its header declares it; a quoted packet may be cut shorter.
    pub total_len: usize,
    /// What layer 4 is.
    pub upper: Upper,
    /// What only this family has.
    pub own: X,
}

/// What only IPv4 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own4 {
    /// Identification.
    pub identification: u16,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// The header has a source route that is not exhausted (RFC 7915 4.1).
    pub live_source_route: bool,
}

/// What only IPv6 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own6 {
    /// Where the Segments Left byte of the first Routing header with segments left is (RFC 7915 5.1).
    pub segments_left_at: Option<usize>,
}

/// Layers of an IPv4 packet.
pub type Layers4 = Layers<Ipv4Addr, Own4>;
/// Layers of an IPv6 packet.
pub type Layers6 = Layers<Ipv6Addr, Own6>;

impl<A, X> Layers<A, X> {
    /// Bytes of layer 4 and all it carries, by the packet's own declaration.
    pub fn upper_len(&self) -> usize {
        self.total_len.saturating_sub(self.upper_at)
    }

    /// True if the packet is one of several fragments.
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_atomic())
    }
}

impl Layers4 {
    /// Reads an IPv4 packet.
    ///
    /// A whole packet may be followed by padding (the caller cuts it to `total_len`); its header checksum must hold.
    // Inlined, its result is made where it stays; copied, the copy waits for the many small writes.
    #[inline(always)]
    pub fn parse(bytes: &[u8], extent: Extent) -> Result<Self, Malformed> {
        let header = ipv4::Header::parse(bytes).ok_or(Malformed::Truncated)?;
        if bytes[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let (header_len, total_len) = (usize::from(header.header_len), usize::from(header.total_len));
        if header_len < ipv4::LEN || total_len < header_len {
            return Err(Malformed::Ipv4Header);
        }
        let whole_header = bytes.get(..header_len).ok_or(Malformed::Truncated)?;
        if extent == Extent::Whole {
            if bytes.len() < total_len {
                return Err(Malformed::Truncated);
            }
            if !ipv4::checksum_holds(whole_header) {
                return Err(Malformed::Ipv4Header);
            }
        }
        let fragment = header.is_fragment().then_some(Fragment {
            offset: header.fragment_offset,
            more: header.more_fragments,
            identification: header.identification.into(),
        });
        let end = bytes.len().min(total_len);
        check_fragment(fragment, total_len - header_len)?;
        Ok(Self {
            src: header.src,
            dst: header.dst,
            traffic_class: header.tos,
            hop_limit: header.ttl,
            fragment,
            protocol: header.protocol,
            upper_at: header_len,
            total_len,
            upper: upper(
                bytes.get(header_len..end).unwrap_or(&[]),
                header.protocol,
                protocol::ICMPV4,
                fragment,
                extent,
            )?,
            own: Own4 {
                identification: header.identification,
                dont_fragment: header.dont_fragment,
                live_source_route: header_len > ipv4::LEN
                    && ipv4::has_live_source_route(&whole_header[ipv4::LEN..]),
            },
        })
    }
}

impl Layers6 {
    /// Reads an IPv6 packet and walks its extension headers (RFC 8200 section 4).
    ///
    /// Hop-by-Hop, Routing and Destination Options headers are walked over; AH, ESP and anything else is layer 4.
    // Inlined, its result is made where it stays; copied, the copy waits for the many small writes.
    #[inline(always)]
    pub fn parse(bytes: &[u8], extent: Extent) -> Result<Self, Malformed> {
        let header = ipv6::Header::parse(bytes).ok_or(Malformed::Truncated)?;
        if bytes[0] >> 4 != 6 {
            return Err(Malformed::Version);
        }
        let total_len = ipv6::LEN + usize::from(header.payload_len);
        if extent == Extent::Whole && bytes.len() != total_len {
            return Err(Malformed::Ipv6Length);
        }
        let bytes = &bytes[..bytes.len().min(total_len)];
        let mut chain =
            Chain { next: header.next_header, at: ipv6::LEN, fragment: None, segments_left_at: None };
        if is_extension(chain.next) {
            chain.walk(bytes)?;
        }
        let Chain { next, at, fragment, segments_left_at } = chain;
        // A quoted packet may declare less than its headers take.
        check_fragment(fragment, total_len.checked_sub(at).ok_or(Malformed::Truncated)?)?;
        Ok(Self {
            src: header.src,
            dst: header.dst,
            traffic_class: header.traffic_class,
            hop_limit: header.hop_limit,
            fragment,
            protocol: next,
            upper_at: at,
            total_len,
            upper: upper(bytes.get(at..).unwrap_or(&[]), next, protocol::ICMPV6, fragment, extent)?,
            own: Own6 { segments_left_at },
        })
    }
}

/// State of the walk over an IPv6 header chain.
struct Chain {
    next: u8,
    at: usize,
    fragment: Option<Fragment>,
    segments_left_at: Option<usize>,
}

impl Chain {
    #[cold]
    fn walk(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for _ in 0..MAX_EXTENSIONS {
            if !is_extension(self.next) {
                return Ok(());
            }
            let rest = bytes.get(self.at..).ok_or(Malformed::Truncated)?;
            if self.next == protocol::FRAGMENT {
                if self.fragment.is_some() {
                    return Err(Malformed::TwoFragmentHeaders);
                }
                let header = fragment::Header::parse(rest).ok_or(Malformed::Truncated)?;
                self.fragment = Some(Fragment {
                    offset: header.offset,
                    more: header.more,
                    identification: header.identification,
                });
                (self.next, self.at) = (header.next_header, self.at + fragment::LEN);
                continue;
            }
            if self.fragment.is_some() {
                return Err(Malformed::ExtensionAfterFragment);
            }
            let extension = ipv6::Extension::parse(rest).ok_or(Malformed::Truncated)?;
            if self.next == protocol::ROUTING
                && self.segments_left_at.is_none()
                && rest.get(ipv6::SEGMENTS_LEFT_AT).is_some_and(|left| *left != 0)
            {
                self.segments_left_at = Some(self.at + ipv6::SEGMENTS_LEFT_AT);
            }
            (self.next, self.at) = (extension.next_header, self.at + extension.len);
        }
        if is_extension(self.next) { Err(Malformed::TooManyExtensions) } else { Ok(()) }
    }
}

/// True for the headers that a translator walks over (RFC 7915 5.1).
#[inline]
pub fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
    )
}

/// A fragment other than the last carries a multiple of eight bytes, and none reaches behind 65,535.
#[inline]
fn check_fragment(fragment: Option<Fragment>, len: usize) -> Result<(), Malformed> {
    let Some(fragment) = fragment.filter(|fragment| !fragment.is_atomic()) else { return Ok(()) };
    if len == 0 || fragment.more && !len.is_multiple_of(8) || usize::from(fragment.offset) + len > 65535 {
        return Err(Malformed::FragmentLength);
    }
    Ok(())
}

#[inline(always)]
fn upper(
    bytes: &[u8],
    protocol: u8,
    icmp: u8,
    fragment: Option<Fragment>,
    extent: Extent,
) -> Result<Upper, Malformed> {
    if fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(Upper::LaterFragment);
    }
    match protocol {
        protocol::TCP => tcp_upper(bytes, extent),
        protocol::UDP => {
            let header = udp::Header::parse(bytes).ok_or(Malformed::Truncated)?;
            Ok(Upper::Udp {
                src_port: header.src_port,
                dst_port: header.dst_port,
                len: header.len,
                checksum: header.checksum,
            })
        }
        // The two ICMP headers have one shape.
        protocol if protocol == icmp => {
            let header = icmp::Header::parse(bytes).ok_or(Malformed::Truncated)?;
            Ok(Upper::Icmp { kind: header.kind, code: header.code, rest: header.rest })
        }
        _other => Ok(Upper::Other),
    }
}

#[inline]
fn tcp_upper(bytes: &[u8], extent: Extent) -> Result<Upper, Malformed> {
    match tcp::Header::parse(bytes) {
        Some(header) => {
            let header_len = header.header_len.max(tcp::LEN as u8);
            if extent == Extent::Whole && bytes.len() < usize::from(header_len) {
                return Err(Malformed::Truncated);
            }
            Ok(Upper::Tcp {
                src_port: header.src_port,
                dst_port: header.dst_port,
                flags: header.flags,
                header_len,
            })
        }
        None => match bytes {
            [a, b, c, d, ..] if extent == Extent::Quoted && bytes.len() >= QUOTED_UPPER_MIN => {
                Ok(Upper::Tcp {
                    src_port: u16::from_be_bytes([*a, *b]),
                    dst_port: u16::from_be_bytes([*c, *d]),
                    flags: bytes.get(tcp::FLAGS_AT).copied().unwrap_or(0),
                    header_len: tcp::LEN as u8,
                })
            }
            _short => Err(Malformed::Truncated),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; 40];
        ipv6::Header {
            traffic_class: 3,
            flow_label: 0,
            payload_len: payload.len() as u16,
            next_header,
            hop_limit: 64,
            src: "2001:db8::8".parse().unwrap(),
            dst: "64:ff9b::cb00:7110".parse().unwrap(),
        }
        .write(bytes.first_chunk_mut().unwrap());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn v4(protocol: u8, more: bool, offset: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; 20];
        ipv4::Header {
            header_len: 20,
            tos: 0,
            total_len: 20 + payload.len() as u16,
            identification: 7,
            dont_fragment: false,
            more_fragments: more,
            fragment_offset: offset,
            ttl: 64,
            protocol,
            src: [203, 0, 113, 16].into(),
            dst: [203, 0, 113, 2].into(),
        }
        .write(bytes.first_chunk_mut().unwrap());
        bytes.extend_from_slice(payload);
        bytes
    }

    const UDP: [u8; 12] = [0x03, 0xe8, 0x00, 0x35, 0, 12, 0xab, 0xcd, 1, 2, 3, 4];

    #[test]
    fn extensions_are_walked_over() {
        let mut payload = std::vec![60, 0, 0, 0, 0, 0, 0, 0]; // Hop-by-Hop, then Destination Options
        payload.extend([43, 0, 0, 0, 0, 0, 0, 0]); // then Routing
        payload.extend([17, 0, 0, 2, 0, 0, 0, 0]); // two segments left, then UDP
        payload.extend(UDP);
        let layers = Layers6::parse(&v6(0, &payload), Extent::Whole).unwrap();
        assert_eq!(layers.upper, Upper::Udp { src_port: 1000, dst_port: 53, len: 12, checksum: 0xabcd });
        assert_eq!((layers.upper_at, layers.own.segments_left_at), (64, Some(40 + 16 + 3)));
        assert_eq!(layers.upper_len(), 12);
    }

    #[test]
    fn fragment_headers() {
        let mut payload = std::vec![17, 0, 0, 1, 1, 2, 4, 8];
        payload.extend(UDP);
        let bytes = v6(44, &payload);
        assert_eq!(Layers6::parse(&bytes, Extent::Whole), Err(Malformed::FragmentLength));
        payload[3] = 0;
        let layers = Layers6::parse(&v6(44, &payload), Extent::Whole).unwrap();
        assert!(layers.fragment.unwrap().is_atomic() && !layers.is_fragment());
        payload[3] = 8;
        let layers = Layers6::parse(&v6(44, &payload), Extent::Whole).unwrap();
        assert_eq!((layers.upper, layers.is_fragment()), (Upper::LaterFragment, true));
        payload[0] = 60;
        assert_eq!(Layers6::parse(&v6(44, &payload), Extent::Whole), Err(Malformed::ExtensionAfterFragment));
        payload[0] = 44;
        assert_eq!(Layers6::parse(&v6(44, &payload), Extent::Whole), Err(Malformed::TwoFragmentHeaders));
    }

    #[test]
    fn a_long_chain_ends() {
        let mut payload = Vec::new();
        for _ in 0..=MAX_EXTENSIONS {
            payload.extend([60, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(Layers6::parse(&v6(60, &payload), Extent::Whole), Err(Malformed::TooManyExtensions));
    }

    #[test]
    fn lengths() {
        let bytes = v6(17, &UDP);
        assert_eq!(Layers6::parse(&bytes[..51], Extent::Whole), Err(Malformed::Ipv6Length));
        assert!(Layers6::parse(&bytes[..51], Extent::Quoted).is_ok());
        assert_eq!(Layers6::parse(&bytes[..47], Extent::Quoted), Err(Malformed::Truncated));
        let bytes = v4(17, false, 0, &UDP);
        assert_eq!(Layers4::parse(&bytes[..31], Extent::Whole), Err(Malformed::Truncated));
        assert_eq!(Layers4::parse(&bytes[..28], Extent::Quoted).unwrap().total_len, 32);
        let mut padded = bytes.clone();
        padded.extend([0; 14]);
        assert_eq!(Layers4::parse(&padded, Extent::Whole).unwrap().total_len, 32);
        let mut wrong = bytes;
        wrong[10] ^= 1;
        assert_eq!(Layers4::parse(&wrong, Extent::Whole), Err(Malformed::Ipv4Header));
        assert!(Layers4::parse(&wrong, Extent::Quoted).is_ok());
    }

    #[test]
    fn a_quoted_tcp_header_may_be_cut_to_eight_bytes() {
        let bytes = v4(6, false, 0, &[0, 80, 0xc3, 0x50, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(Layers4::parse(&bytes, Extent::Whole), Err(Malformed::Truncated));
        let quoted = Layers4::parse(&bytes[..28], Extent::Quoted).unwrap();
        assert_eq!(quoted.upper, Upper::Tcp { src_port: 80, dst_port: 50000, flags: 0, header_len: 20 });
        assert_eq!(Layers4::parse(&bytes[..27], Extent::Quoted), Err(Malformed::Truncated));
    }

    #[test]
    fn fragments_of_ipv4() {
        let layers = Layers4::parse(&v4(1, true, 8, &[0; 16]), Extent::Whole).unwrap();
        assert_eq!(layers.fragment, Some(Fragment { offset: 8, more: true, identification: 7 }));
        assert_eq!(layers.upper, Upper::LaterFragment);
        assert_eq!(
            Layers4::parse(&v4(1, false, 65528, &[0; 16]), Extent::Whole),
            Err(Malformed::FragmentLength)
        );
        assert_eq!(Layers4::parse(&v4(1, true, 8, &[0; 15]), Extent::Whole), Err(Malformed::FragmentLength));
    }
}
