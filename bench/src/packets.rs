//! Packets of 64 bytes, written into a buffer in place. Layer 4 checksums are left as they fall: the translator
//! brings them up to date by the difference and never sums a payload, so right and wrong ones cost the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_packet::{ipv4, ipv6, protocol, tcp, udp};

/// Length of every packet, IP header included, in bytes.
pub const LEN: usize = 64;

/// Layer 4 of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// UDP.
    Udp,
    /// TCP with these flags.
    Tcp(u8),
}

/// Writes an IPv6 packet; gives its length.
pub fn write6(place: &mut [u8], src: (Ipv6Addr, u16), dst: (Ipv6Addr, u16), upper: Upper) -> usize {
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: (LEN - ipv6::LEN) as u16,
        next_header: upper.protocol(),
        hop_limit: 64,
        src: src.0,
        dst: dst.0,
    };
    if let Some(place) = place.first_chunk_mut() {
        header.write(place);
    }
    upper.write(&mut place[ipv6::LEN..LEN], src.1, dst.1);
    LEN
}

/// Writes an IPv4 packet; gives its length.
pub fn write4(place: &mut [u8], src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), upper: Upper) -> usize {
    let header = ipv4::Header {
        header_len: ipv4::LEN as u8,
        tos: 0,
        total_len: LEN as u16,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: upper.protocol(),
        src: src.0,
        dst: dst.0,
    };
    if let Some(place) = place.first_chunk_mut() {
        header.write(place);
    }
    upper.write(&mut place[ipv4::LEN..LEN], src.1, dst.1);
    LEN
}

impl Upper {
    fn protocol(self) -> u8 {
        match self {
            Self::Udp => protocol::UDP,
            Self::Tcp(_) => protocol::TCP,
        }
    }

    fn write(self, message: &mut [u8], src_port: u16, dst_port: u16) {
        match self {
            Self::Udp => {
                let header = udp::Header { src_port, dst_port, len: message.len() as u16, checksum: 0x1234 };
                if let Some(place) = message.first_chunk_mut() {
                    header.write(place);
                }
            }
            Self::Tcp(flags) => {
                let header = tcp::Header {
                    src_port,
                    dst_port,
                    sequence: 1,
                    acknowledgement: 1,
                    header_len: tcp::LEN as u8,
                    flags,
                    window: 1000,
                    checksum: 0x1234,
                    urgent: 0,
                };
                if let Some(place) = message.first_chunk_mut() {
                    header.write(place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use xlat_translate::plan::{parse4, parse6};

    use super::*;

    #[test]
    fn they_parse() {
        let mut place = [0; 80];
        for upper in [Upper::Udp, Upper::Tcp(tcp::ACK)] {
            let len =
                write6(&mut place, ("2001:db8::1".parse().unwrap(), 1), (Ipv6Addr::LOCALHOST, 2), upper);
            assert!(parse6(&place[..len]).is_ok());
            let len = write4(&mut place, ([192, 0, 2, 1].into(), 1), ([192, 0, 2, 2].into(), 2), upper);
            assert!(parse4(&place[..len]).is_ok());
        }
    }
}
