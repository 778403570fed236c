//! What a translation is told from outside: the new addresses and ports, which SIIT derives from tables and NAT64
//! from state.

use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Extent, Layers4, Layers6, Upper};
use xlat_packet::{icmp, icmpv4, icmpv6};

use crate::refusal::{Refusal, Refused};

/// Addresses and ports of a packet of the other family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// New source and destination port in host order, or None to keep them. In an echo message the first is the
    /// identifier.
    pub ports: Option<(u16, u16)>,
}

/// What is known of a whole datagram when one of its fragments is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes of the whole layer 4 message.
    pub upper_len: u32,
    /// Sum of all that a UDP checksum covers, as it came; of other messages nobody needs it.
    pub sum: Sum,
}

/// How one packet is to be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan<A> {
    /// The packet itself.
    pub outer: Flow<A>,
    /// The packet that it quotes, if it is an ICMP error.
    pub inner: Option<Flow<A>>,
    /// Set for a fragment of a datagram that has been collected (fragmented echo; UDP without checksum).
    pub datagram: Option<Datagram>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is translated, in its buffer.
    Whole,
    /// It is translated, in its buffer, has a Fragment header, and is to be cut into IPv6 packets of at most this
    /// many bytes ([`crate::fragment6::split`]).
    Split {
        /// Largest piece in bytes.
        mtu: u32,
    },
    /// Nothing is changed: the aggregate has to be cut into its segments first, each to be translated by itself.
    Segment,
}

/// A packet and, if it is an ICMP error, the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<L> {
    /// The packet's layers.
    pub outer: L,
    /// Layers of the quoted packet; offsets count from its own first byte, which is 8 bytes behind `outer.upper_at`.
    pub inner: Option<L>,
}

/// An IPv6 packet.
pub type Parsed6 = Parsed<Layers6>;
/// An IPv4 packet.
pub type Parsed4 = Parsed<Layers4>;

/// Reads an IPv6 packet, the one that it quotes included.
#[inline]
pub fn parse6(bytes: &[u8]) -> Result<Parsed6, Refused> {
    let outer = Layers6::parse(bytes, Extent::Whole)?;
    let quotes =
        matches!(outer.upper, Upper::Icmp { kind, .. } if icmpv6::is_error(kind)) && !outer.is_fragment();
    let inner = if quotes { Some(quoted6(bytes, outer.upper_at)?) } else { None };
    Ok(Parsed { outer, inner })
}

/// Reads an IPv4 packet, the one that it quotes included. Padding behind the packet must have been cut off.
#[inline]
pub fn parse4(bytes: &[u8]) -> Result<Parsed4, Refused> {
    let outer = Layers4::parse(bytes, Extent::Whole)?;
    let quotes =
        matches!(outer.upper, Upper::Icmp { kind, .. } if icmpv4::is_error(kind)) && !outer.is_fragment();
    let inner = if quotes { Some(quoted4(bytes, outer.upper_at)?) } else { None };
    Ok(Parsed { outer, inner })
}

/// Reads the packet that an ICMPv6 error at `upper_at` quotes.
#[cold]
fn quoted6(bytes: &[u8], upper_at: usize) -> Result<Layers6, Refused> {
    let quoted = bytes.get(upper_at + icmp::LEN..).unwrap_or(&[]);
    let inner = Layers6::parse(quoted, Extent::Quoted).map_err(silent)?;
    match inner.upper {
        Upper::Icmp { kind, .. } if icmpv6::is_error(kind) => Err(Refusal::ErrorInError6.into()),
        Upper::LaterFragment => Err(Refusal::InnerLaterFragment6.into()),
        Upper::Icmp { .. } | Upper::Tcp { .. } | Upper::Udp { .. } | Upper::Other => Ok(inner),
    }
}

/// Reads the packet that an ICMPv4 error at `upper_at` quotes.
#[cold]
fn quoted4(bytes: &[u8], upper_at: usize) -> Result<Layers4, Refused> {
    let quoted = bytes.get(upper_at + icmp::LEN..).unwrap_or(&[]);
    let inner = Layers4::parse(quoted, Extent::Quoted).map_err(silent)?;
    match inner.upper {
        Upper::Icmp { kind, .. } if icmpv4::is_error(kind) => Err(Refusal::ErrorInError4.into()),
        Upper::LaterFragment => Err(Refusal::InnerLaterFragment4.into()),
        Upper::Icmp { .. } | Upper::Tcp { .. } | Upper::Udp { .. } | Upper::Other => Ok(inner),
    }
}

/// A malformed quoted packet is never answered: no error about an error (RFC 4443 2.4, RFC 1122 3.2.2).
fn silent(malformed: xlat_packet::Malformed) -> Refused {
    Refused { answer: None, ..Refused::from(malformed) }
}
