//! Cutting a translated packet into IPv6 fragments (RFC 7915 section 4, RFC 8200 4.5).

use xlat_packet::{Buffer, Offload, buffer, fragment, ipv6};

const HEADERS: usize = ipv6::LEN + fragment::LEN;

/// Cuts `packet`, an IPv6 packet whose first extension header is a Fragment header, into pieces of at most `mtu`
/// bytes and hands each to `send`.
///
/// Every piece but the last carries a multiple of eight bytes; offsets continue from the packet's own, and the last
/// piece keeps the packet's own "more fragments". `scratch` holds one piece behind [`buffer::HEADROOM`] bytes; it must
/// be at least that plus `mtu` bytes long, else the pieces get smaller. A packet that is no such packet goes out as
/// it is.
pub fn split(packet: &mut Buffer<'_>, mtu: u32, scratch: &mut [u8], mut send: impl FnMut(&mut Buffer<'_>)) {
    let bytes = packet.bytes();
    let room = (mtu as usize).min(scratch.len().saturating_sub(buffer::HEADROOM));
    let step = room.saturating_sub(HEADERS) / 8 * 8;
    let (Some(header), Some(whole)) = (
        ipv6::Header::parse(bytes),
        bytes.get(ipv6::LEN..).and_then(fragment::Header::parse).filter(|_| step != 0),
    ) else {
        send(packet);
        return;
    };
    let payload = &bytes[HEADERS..];
    for (index, piece) in payload.chunks(step).enumerate() {
        let at = index * step;
        let last = at + piece.len() == payload.len();
        let end = buffer::HEADROOM + HEADERS + piece.len();
        let mut out = Buffer::new(scratch, buffer::HEADROOM, end, Offload::NONE);
        let (headers, place) = out.bytes_mut().split_at_mut(HEADERS);
        place.copy_from_slice(piece);
        let (first, second) = headers.split_at_mut(ipv6::LEN);
        if let (Some(first), Some(second)) = (first.first_chunk_mut(), second.first_chunk_mut()) {
            ipv6::Header { payload_len: (fragment::LEN + piece.len()) as u16, ..header }.write(first);
            fragment::Header {
                // A datagram's last byte is at most at 65,535: the sum fits.
                offset: whole.offset.saturating_add(at as u16),
                more: whole.more || !last,
                ..whole
            }
            .write(second);
        }
        send(&mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: usize, offset: u16, more: bool) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS];
        ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: (fragment::LEN + payload) as u16,
            next_header: 44,
            hop_limit: 63,
            src: "64:ff9b::1".parse().unwrap(),
            dst: "2001:db8::8".parse().unwrap(),
        }
        .write(bytes.first_chunk_mut().unwrap());
        fragment::Header { next_header: 17, offset, more, identification: 4321 }
            .write(bytes[ipv6::LEN..].first_chunk_mut().unwrap());
        bytes.extend((0..payload).map(|i| i as u8));
        bytes
    }

    fn cut(mut bytes: Vec<u8>, mtu: u32) -> Vec<(usize, fragment::Header, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut scratch = [0; 2048];
        let end = bytes.len();
        let mut whole = Buffer::new(&mut bytes, 0, end, Offload::NONE);
        split(&mut whole, mtu, &mut scratch, |piece| {
            let bytes = piece.bytes();
            assert_eq!(usize::from(ipv6::Header::parse(bytes).unwrap().payload_len) + ipv6::LEN, bytes.len());
            let header = fragment::Header::parse(&bytes[ipv6::LEN..]).unwrap();
            pieces.push((bytes.len(), header, bytes[HEADERS..].to_vec()));
        });
        pieces
    }

    #[test]
    fn sizes_and_offsets() {
        let pieces = cut(packet(1241, 0, false), 1280);
        assert_eq!(
            pieces.iter().map(|p| (p.0, p.1.offset, p.1.more)).collect::<Vec<_>>(),
            [(1280, 0, true), (57, 1232, false)]
        );
        let all: Vec<u8> = pieces.into_iter().flat_map(|p| p.2).collect();
        assert_eq!(all, (0..1241).map(|i| i as u8).collect::<Vec<_>>());
    }

    #[test]
    fn fragments_of_a_fragment() {
        let pieces = cut(packet(1248, 1480, true), 1280);
        assert_eq!(
            pieces.iter().map(|p| (p.0, p.1.offset, p.1.more)).collect::<Vec<_>>(),
            [(1280, 1480, true), (64, 2712, true)]
        );
        assert!(pieces.iter().all(|p| p.1.identification == 4321));
    }

    #[test]
    fn no_room_for_a_piece() {
        assert_eq!(cut(packet(16, 0, false), 50).len(), 1);
    }
}
