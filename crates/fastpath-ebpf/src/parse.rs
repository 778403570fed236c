//! Headers become numbers: what the program handles at all, and the reason for handing up what it does not.

use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::protocol;
use xlat_fastpath::rewrite::{Address6, HEADER4, HEADER6, fold, sum};

use crate::view::View;

/// Bytes in front of layer 4 and of it that are looked at: IPv6 and TCP.
pub const LOOKED_AT: u32 = HEADER6 + 20;

/// ICMPv6 as a protocol number.
pub const ICMPV6: u8 = 58;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// An IPv6 header.
#[derive(Clone, Copy)]
pub struct Header6 {
    pub src: Address6,
    pub dst: Address6,
    pub traffic_class: u32,
    pub hop_limit: u32,
    pub payload_len: u32,
    pub next_header: u8,
}

/// An IPv4 header without options, of a packet that is no fragment.
#[derive(Clone, Copy)]
pub struct Header4 {
    pub src: u32,
    pub dst: u32,
    pub tos: u32,
    pub ttl: u32,
    pub total_len: u32,
    pub dont_fragment: bool,
    pub protocol: u8,
}

/// A layer 4 header of a kind that is repeated.
#[derive(Clone, Copy)]
pub struct Upper {
    /// As flows have it: 1 for both kinds of echo.
    pub protocol: u8,
    /// Source port, then destination port, as they stand in the packet; of an echo message the identifier, alone.
    pub ports: u32,
    /// Type and code of an echo message, as they stand in the packet; of others it means nothing.
    pub kind: u16,
    /// The checksum, as it stands in the packet.
    pub checksum: u16,
    /// Bytes of the header.
    pub header_len: u32,
}

impl Header6 {
    /// Reads the header of a packet of `len` bytes.
    #[inline(always)]
    pub fn read(view: View, len: u32) -> Result<Self, Counter> {
        let part = view.part::<40>(0).ok_or(Counter::Malformed)?;
        let first = u32::from_be(part.u32::<0>());
        let payload_len = u32::from(u16::from_be(part.u16::<4>()));
        if first >> 28 != 6 || payload_len + HEADER6 != len {
            return Err(Counter::Malformed);
        }
        Ok(Self {
            src: [part.u64::<8>(), part.u64::<16>()],
            dst: [part.u64::<24>(), part.u64::<32>()],
            traffic_class: first >> 20 & 0xff,
            hop_limit: part.u8::<7>().into(),
            payload_len,
            next_header: part.u8::<6>(),
        })
    }

    /// Its layer 4.
    #[inline(always)]
    pub fn upper(&self, view: View, gso: bool) -> Result<Upper, Counter> {
        const AT: usize = HEADER6 as usize;
        let upper = match self.next_header {
            ICMPV6 if !gso => echo(view, AT, self.payload_len, |kind| kind < 128, [128, 129]),
            0 | 43 | 60 => Err(Counter::Options),
            44 => Err(Counter::Fragment),
            other => ports(view, AT, other, self.payload_len, gso),
        }?;
        let known = view.part::<40>(0).ok_or(Counter::Malformed)?.u8_anew::<6>();
        // It is 6, 17 or 58, and the last becomes 1.
        Ok(Upper { protocol: known.wrapping_sub((known >> 5).wrapping_mul(ICMPV6 - protocol::ICMP)), ..upper })
    }
}

impl Header4 {
    /// Reads the header of a packet that has `len` bytes with the link's padding.
    #[inline(always)]
    pub fn read(view: View, len: u32) -> Result<Self, Counter> {
        let part = view.part::<20>(0).ok_or(Counter::Malformed)?;
        let total_len = u32::from(u16::from_be(part.u16::<2>()));
        let version = part.u8::<0>();
        if version >> 4 != 4 || total_len < HEADER4 || total_len > len {
            return Err(Counter::Malformed);
        }
        if version != 0x45 {
            return Err(if version & 15 > 5 { Counter::Options } else { Counter::Malformed });
        }
        let (src, dst) = (part.u32::<12>(), part.u32::<16>());
        if fold(sum(part.u64::<0>()) + u64::from(part.u32::<8>()) + u64::from(src) + u64::from(dst)) != 0xffff
        {
            return Err(Counter::Malformed);
        }
        let fragment = u16::from_be(part.u16::<6>());
        if fragment & 0x3fff != 0 {
            return Err(Counter::Fragment);
        }
        Ok(Self {
            src,
            dst,
            tos: part.u8::<1>().into(),
            ttl: part.u8::<8>().into(),
            total_len,
            dont_fragment: fragment & 0x4000 != 0,
            protocol: part.u8::<9>(),
        })
    }

    /// Its layer 4.
    #[inline(always)]
    pub fn upper(&self, view: View, gso: bool) -> Result<Upper, Counter> {
        const AT: usize = HEADER4 as usize;
        let len = self.total_len - HEADER4;
        let upper = match self.protocol {
            protocol::ICMP if !gso => echo(view, AT, len, is_error4, [8, 0]),
            other => ports(view, AT, other, len, gso),
        }?;
        let protocol = view.part::<20>(0).ok_or(Counter::Malformed)?.u8_anew::<9>();
        Ok(Upper { protocol, ..upper })
    }
}

/// True for an ICMPv4 message that quotes the packet it is about (RFC 1122 3.2.2).
#[inline(always)]
pub fn is_error4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// TCP or UDP.
#[inline(always)]
fn ports(view: View, at: usize, protocol: u8, len: u32, gso: bool) -> Result<Upper, Counter> {
    match protocol {
        protocol::TCP => {
            let part = view.part::<20>(at).ok_or(Counter::Malformed)?;
            let header_len = u32::from(part.u8::<12>() >> 4) * 4;
            if header_len < 20 || header_len > len {
                return Err(Counter::Malformed);
            }
            if part.u8::<13>() & (FIN | SYN | RST) != 0 {
                return Err(Counter::TcpFlags);
            }
            let checksum = part.u16::<16>();
            Ok(Upper { protocol, ports: part.u32::<0>(), kind: part.u16::<0>(), checksum, header_len })
        }
        protocol::UDP => {
            let part = view.part::<8>(at).ok_or(Counter::Malformed)?;
            if gso {
                return Err(Counter::Gso);
            }
            if u32::from(u16::from_be(part.u16::<4>())) != len {
                return Err(Counter::Malformed);
            }
            let checksum = part.u16::<6>();
            if checksum == 0 {
                return Err(Counter::NoChecksum);
            }
            Ok(Upper { protocol, ports: part.u32::<0>(), kind: part.u16::<0>(), checksum, header_len: 8 })
        }
        _other => Err(if gso { Counter::Gso } else { Counter::Protocol }),
    }
}

/// An echo message of `len` bytes.
#[inline(always)]
fn echo(
    view: View,
    at: usize,
    len: u32,
    is_error: impl Fn(u8) -> bool,
    kinds: [u8; 2],
) -> Result<Upper, Counter> {
    let part = view.part::<8>(at).ok_or(Counter::Malformed)?;
    let (kind, code) = (part.u8::<0>(), part.u8::<1>());
    if len < 8 {
        return Err(Counter::Malformed);
    }
    if is_error(kind) {
        return Err(Counter::IcmpError);
    }
    if kind != kinds[0] && kind != kinds[1] || code != 0 {
        return Err(Counter::IcmpOther);
    }
    Ok(Upper {
        protocol: protocol::ICMP,
        ports: part.u16::<4>().into(),
        kind: part.u16::<0>(),
        checksum: part.u16::<2>(),
        header_len: 8,
    })
}
