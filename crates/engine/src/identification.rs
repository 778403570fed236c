//! Identifications for IPv4 packets whose original has none (RFC 7915 5.1, RFC 6864 4).
//!
//! A flow counts for itself, so that the packets of one flow are consecutive: that is what lets the data path merge them
//! into one aggregate, as the kernel merges what it receives. Counters are shared by hash and start at random.

use xlat_packet::Buffer;
use xlat_packet::layers::{Layers6, Upper};
use xlat_translate::plan::Flow;

use crate::random::Random;

/// Counters of one worker; a power of two.
const COUNTERS: usize = 4096;

/// The next identification of each flow.
pub(crate) struct Identifications {
    key: u64,
    next: Box<[u16]>,
}

impl Identifications {
    pub(crate) fn new(random: &mut Random) -> Self {
        let key = random.next_u64() | 1;
        Self { key, next: (0..COUNTERS).map(|_| random.next_u64() as u16).collect() }
    }

    /// The identification for `packet`, which becomes an IPv4 packet of `flow`. An aggregate takes as many as it has
    /// segments, because the kernel counts on when it cuts it.
    pub(crate) fn take(
        &mut self,
        packet: &Buffer<'_>,
        outer: &Layers6,
        flow: &Flow<std::net::Ipv4Addr>,
    ) -> u16 {
        let (src_port, dst_port) = flow.ports.unwrap_or(match outer.upper {
            Upper::Tcp { src_port, dst_port, .. } | Upper::Udp { src_port, dst_port, .. } => {
                (src_port, dst_port)
            }
            Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other => (0, 0),
        });
        let segments = match packet.offload.gso {
            Some(gso) => outer.upper_len().div_ceil(usize::from(gso.segment_size).max(1)),
            None => 1,
        };
        let addresses = u64::from(flow.src.to_bits()) << 32 | u64::from(flow.dst.to_bits());
        let ports = u64::from(src_port) << 16 | u64::from(dst_port);
        let counter = self.counter(addresses ^ ports.rotate_left(24) ^ u64::from(outer.protocol));
        let id = *counter;
        *counter = id.wrapping_add(segments as u16);
        id
    }

    /// One for a packet of our own making.
    pub(crate) fn own(&mut self) -> u16 {
        let counter = self.counter(0);
        *counter = counter.wrapping_add(1);
        *counter
    }

    fn counter(&mut self, flow: u64) -> &mut u16 {
        let mixed = u128::from(flow ^ self.key) * u128::from(self.key);
        let hash = (mixed >> 64) as u64 ^ mixed as u64;
        &mut self.next[hash as usize % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use xlat_packet::layers::Extent;
    use xlat_packet::{Gso, GsoKind, Offload, ipv6, udp};

    use super::*;

    #[test]
    fn a_flow_counts_by_itself_and_an_aggregate_counts_its_segments() {
        let mut bytes = vec![0; ipv6::LEN + udp::LEN + 250];
        ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: (bytes.len() - ipv6::LEN) as u16,
            next_header: 17,
            hop_limit: 64,
            src: "2001:db8::8".parse().unwrap(),
            dst: "64:ff9b::1".parse().unwrap(),
        }
        .write(bytes.first_chunk_mut().unwrap());
        let layers = Layers6::parse(&bytes, Extent::Whole).unwrap();
        let end = bytes.len();
        let mut packet = Buffer::new(&mut bytes, 0, end, Offload::NONE);
        let flow = |port| Flow {
            src: [203, 0, 113, 2].into(),
            dst: [203, 0, 113, 16].into(),
            ports: Some((port, 53)),
        };
        let mut ids = Identifications::new(&mut Random::new([7; 16]));
        let first = ids.take(&packet, &layers, &flow(1));
        ids.take(&packet, &layers, &flow(2));
        assert_eq!(ids.take(&packet, &layers, &flow(1)), first.wrapping_add(1));
        packet.offload.gso = Some(Gso { kind: GsoKind::Udp, segment_size: 100, header_len: 48, ecn: false });
        ids.take(&packet, &layers, &flow(1));
        assert_eq!(ids.take(&packet, &layers, &flow(1)), first.wrapping_add(5), "three segments");
    }
}
