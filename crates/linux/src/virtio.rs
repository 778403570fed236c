//! The virtio-net header in front of every packet of a TUN queue, to and from [`Offload`] (VIRTIO 1.2, 5.1.6).
//!
//! The header is the 10-byte form without `num_buffers`, in the byte order of the host, as Linux's TUN driver
//! uses it unless told otherwise. Fields that are not in use are written as zero.

use thiserror::Error;
use xlat_packet::{Checksum, Gso, GsoKind, Offload};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 10;

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;
/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Offset of the checksum field in a TCP header.
const TCP_CHECKSUM: u16 = 16;
/// Offset of the checksum field in a UDP header.
const UDP_CHECKSUM: u16 = 6;

/// A header that does not fit its packet: the kernel's fault when reading, ours when writing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum VirtioError {
    /// The checksum field lies outside the packet.
    #[error("checksum start {start} and offset {offset} lie outside a packet of {len} bytes")]
    ChecksumOutside {
        /// Where summing starts, in bytes from the IP header.
        start: u16,
        /// Where the checksum field is, in bytes from `start`.
        offset: u16,
        /// Length of the packet in bytes.
        len: usize,
    },
    /// A GSO type that this program did not ask for.
    #[error("unknown GSO type {0}")]
    UnknownGso(u8),
    /// The GSO type names another IP version than the packet has.
    #[error("GSO type {0} on a packet of IP version {1}")]
    WrongVersion(u8, u8),
    /// An aggregate whose segments have no size.
    #[error("GSO without a segment size")]
    NoSegmentSize,
    /// An aggregate without a partial checksum at the place its protocol has it.
    #[error("GSO without a partial checksum")]
    NoPartialChecksum,
    /// An aggregate whose layer 4 header is cut off, or ends after the packet.
    #[error("GSO header of {header_len} bytes in a packet of {len} bytes")]
    HeaderOutside {
        /// End of the layer 4 header in bytes from the IP header.
        header_len: usize,
        /// Length of the packet in bytes.
        len: usize,
    },
}

/// What the header says about `packet` (which begins with its IP header).
///
/// `hdr_len` is only a hint of Linux and is not used: the length of the headers is computed from the packet.
pub fn decode(header: &[u8; HEADER_LEN], packet: &[u8]) -> Result<Offload, VirtioError> {
    decode_behind(header, 0, packet)
}

/// The same where `front` more bytes stand between the header and the packet: the header counts from them.
pub fn decode_behind(header: &[u8; HEADER_LEN], front: usize, packet: &[u8]) -> Result<Offload, VirtioError> {
    let [flags, gso_type, _, _, size_a, size_b, start_a, start_b, offset_a, offset_b] = *header;
    let checksum = if flags & FLAG_NEEDS_CSUM != 0 {
        let said = u16::from_ne_bytes([start_a, start_b]);
        let offset = u16::from_ne_bytes([offset_a, offset_b]);
        let outside = VirtioError::ChecksumOutside { start: said, offset, len: front + packet.len() };
        let start = u16::try_from(front).ok().and_then(|front| said.checked_sub(front)).ok_or(outside)?;
        check_checksum(start, offset, packet.len())?;
        Checksum::Partial { start, offset }
    } else if flags & FLAG_DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Complete
    };
    let version = packet.first().map_or(0, |byte| byte >> 4);
    let kind = match gso_type & !GSO_ECN {
        GSO_NONE => return Ok(Offload { checksum, gso: None }),
        GSO_TCPV4 if version == 4 => GsoKind::Tcp,
        GSO_TCPV6 if version == 6 => GsoKind::Tcp,
        GSO_TCPV4 | GSO_TCPV6 => return Err(VirtioError::WrongVersion(gso_type, version)),
        GSO_UDP_L4 => GsoKind::Udp,
        _ => return Err(VirtioError::UnknownGso(gso_type)),
    };
    let segment_size = u16::from_ne_bytes([size_a, size_b]);
    let header_len = check_gso(kind, segment_size, checksum, packet)?;
    let ecn = kind == GsoKind::Tcp && gso_type & GSO_ECN != 0;
    Ok(Offload { checksum, gso: Some(Gso { kind, segment_size, header_len, ecn }) })
}

/// The header for `packet` (which begins with its IP header) with the offload state `offload`.
pub fn encode(offload: &Offload, packet: &[u8]) -> Result<[u8; HEADER_LEN], VirtioError> {
    let mut header = [0; HEADER_LEN];
    match offload.checksum {
        Checksum::Complete => {}
        Checksum::Verified => header[0] = FLAG_DATA_VALID,
        Checksum::Partial { start, offset } => {
            check_checksum(start, offset, packet.len())?;
            header[0] = FLAG_NEEDS_CSUM;
            header[6..8].copy_from_slice(&start.to_ne_bytes());
            header[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
    }
    let Some(gso) = offload.gso else { return Ok(header) };
    let header_len = check_gso(gso.kind, gso.segment_size, offload.checksum, packet)?;
    let version = packet.first().map_or(0, |byte| byte >> 4);
    header[1] = match (gso.kind, version) {
        (GsoKind::Tcp, 4) => GSO_TCPV4,
        (GsoKind::Tcp, 6) => GSO_TCPV6,
        (GsoKind::Udp, 4 | 6) => GSO_UDP_L4,
        (GsoKind::Tcp, _) => return Err(VirtioError::WrongVersion(GSO_TCPV4, version)),
        (GsoKind::Udp, _) => return Err(VirtioError::WrongVersion(GSO_UDP_L4, version)),
    };
    if gso.ecn && gso.kind == GsoKind::Tcp {
        header[1] |= GSO_ECN;
    }
    header[2..4].copy_from_slice(&header_len.to_ne_bytes());
    header[4..6].copy_from_slice(&gso.segment_size.to_ne_bytes());
    Ok(header)
}

fn check_checksum(start: u16, offset: u16, len: usize) -> Result<(), VirtioError> {
    if usize::from(start) + usize::from(offset) + 2 > len {
        return Err(VirtioError::ChecksumOutside { start, offset, len });
    }
    Ok(())
}

/// The bytes from the IP header to the end of the layer 4 header, if the aggregate is a sane one.
fn check_gso(kind: GsoKind, size: u16, checksum: Checksum, packet: &[u8]) -> Result<u16, VirtioError> {
    if size == 0 {
        return Err(VirtioError::NoSegmentSize);
    }
    let Checksum::Partial { start, offset } = checksum else { return Err(VirtioError::NoPartialChecksum) };
    let transport = packet.get(usize::from(start)..).unwrap_or_default();
    let (expected, transport_len) = match kind {
        // A TCP header says its length in its 13th byte; none there is found to be too short below.
        GsoKind::Tcp => (TCP_CHECKSUM, transport.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4)),
        GsoKind::Udp => (UDP_CHECKSUM, UDP_HEADER),
    };
    if offset != expected {
        return Err(VirtioError::NoPartialChecksum);
    }
    let header_len = usize::from(start) + transport_len;
    let too_short = kind == GsoKind::Tcp && transport_len < TCP_HEADER;
    match u16::try_from(header_len) {
        Ok(short) if header_len <= packet.len() && !too_short => Ok(short),
        _ => Err(VirtioError::HeaderOutside { header_len, len: packet.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An IP header of `version`, a TCP header with 12 bytes of options, and payload.
    fn tcp(version: u8) -> Vec<u8> {
        let network = if version == 4 { 20 } else { 40 };
        let mut packet = vec![0; network + 32 + 100];
        packet[0] = version << 4 | 5;
        packet[network + 12] = 8 << 4;
        packet
    }

    fn offload(start: u16, offset: u16, kind: GsoKind, ecn: bool, header_len: u16) -> Offload {
        Offload {
            checksum: Checksum::Partial { start, offset },
            gso: Some(Gso { kind, segment_size: 50, header_len, ecn }),
        }
    }

    #[test]
    fn tcp_aggregates_as_linux_writes_them() {
        let mut header = [0u8; HEADER_LEN];
        header[..2].copy_from_slice(&[1, 1 | 0x80]);
        header[2..4].copy_from_slice(&999u16.to_ne_bytes());
        header[4..6].copy_from_slice(&50u16.to_ne_bytes());
        header[6..8].copy_from_slice(&20u16.to_ne_bytes());
        header[8..10].copy_from_slice(&16u16.to_ne_bytes());
        let decoded = decode(&header, &tcp(4)).unwrap();
        assert_eq!(decoded, offload(20, 16, GsoKind::Tcp, true, 52));
        header[2..4].copy_from_slice(&52u16.to_ne_bytes());
        assert_eq!(encode(&decoded, &tcp(4)).unwrap(), header);
        assert_eq!(decode(&header, &tcp(6)), Err(VirtioError::WrongVersion(0x81, 6)));
    }

    #[test]
    fn bytes_in_front_of_the_packet_do_not_count() {
        let mut header = encode(&offload(20, 16, GsoKind::Tcp, false, 52), &tcp(4)).unwrap();
        header[6..8].copy_from_slice(&36u16.to_ne_bytes());
        assert_eq!(decode_behind(&header, 16, &tcp(4)), Ok(offload(20, 16, GsoKind::Tcp, false, 52)));
        let len = 40 + tcp(4).len();
        assert_eq!(
            decode_behind(&header, 40, &tcp(4)),
            Err(VirtioError::ChecksumOutside { start: 36, offset: 16, len })
        );
    }

    #[test]
    fn unused_fields_are_zero() {
        let packet = tcp(6);
        assert_eq!(encode(&Offload::NONE, &packet), Ok([0; HEADER_LEN]));
        let verified = Offload { checksum: Checksum::Verified, gso: None };
        assert_eq!(encode(&verified, &packet), Ok([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(decode(&[2, 0, 9, 9, 9, 9, 9, 9, 9, 9], &packet), Ok(verified));
    }

    #[test]
    fn nonsense_has_a_name() {
        let packet = tcp(6);
        let len = packet.len();
        let outside = Offload { checksum: Checksum::Partial { start: 170, offset: 1 }, gso: None };
        assert_eq!(
            encode(&outside, &packet),
            Err(VirtioError::ChecksumOutside { start: 170, offset: 1, len })
        );
        assert_eq!(decode(&[0, 3, 0, 0, 1, 1, 0, 0, 0, 0], &packet), Err(VirtioError::UnknownGso(3)));
        assert_eq!(decode(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0], &packet), Err(VirtioError::NoSegmentSize));
        assert_eq!(decode(&[0, 4, 0, 0, 1, 1, 0, 0, 0, 0], &packet), Err(VirtioError::NoPartialChecksum));
        let udp_field = offload(40, 6, GsoKind::Tcp, false, 0);
        assert_eq!(encode(&udp_field, &packet), Err(VirtioError::NoPartialChecksum));
        let mut short = packet.clone();
        short[52] = 4 << 4;
        let cut = offload(40, 16, GsoKind::Tcp, false, 0);
        assert_eq!(encode(&cut, &short), Err(VirtioError::HeaderOutside { header_len: 56, len }));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_have_a_name_and_come_back(
            header: [u8; HEADER_LEN],
            packet in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(decoded) = decode(&header, &packet) {
                let encoded = encode(&decoded, &packet).unwrap();
                prop_assert_eq!(decode(&encoded, &packet), Ok(decoded));
            }
        }
    }
}
