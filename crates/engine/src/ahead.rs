//! Looking ahead over a batch of packets: what each will be looked up by, read from the places where plain packets
//! have it. A packet that is not plain is only not fetched for; nothing is decided here.

use xlat_nat64::{Coming, Protocol, Transport4, Transport6};
use xlat_packet::{ipv4, ipv6, protocol};

use crate::engine::Generation;

/// Packets whose keys are collected before they are looked up.
const BATCH: usize = 64;

/// Fetches what the stateful instances know about `packets`.
pub(crate) fn look_ahead<'p>(generation: &Generation, packets: impl IntoIterator<Item = &'p [u8]>) {
    if !generation.instances.iter().any(|instance| instance.nat64().is_some()) {
        return;
    }
    let mut keys = packets.into_iter().filter_map(key).fuse();
    loop {
        let mut batch = [NOTHING; BATCH];
        let count = batch.iter_mut().zip(&mut keys).map(|(place, key)| *place = key).count();
        for nat64 in generation.instances.iter().filter_map(|instance| instance.nat64()) {
            nat64.tables.look_ahead(&nat64.policy, &batch[..count]);
        }
        if count < BATCH {
            return;
        }
    }
}

const NOTHING: Coming =
    Coming::To4(Protocol::Udp, Transport4 { addr: std::net::Ipv4Addr::UNSPECIFIED, port: 0 });

/// The key of a packet without options or extension headers.
fn key(packet: &[u8]) -> Option<Coming> {
    match packet.first()? >> 4 {
        6 => {
            let header = ipv6::Header::parse(packet)?;
            let (protocol, ports) = ports(header.next_header, packet.get(ipv6::LEN..)?)?;
            Some(Coming::From6(protocol, Transport6 { addr: header.src, port: ports.0 }))
        }
        4 => {
            let header = ipv4::Header::parse(packet)?;
            let (protocol, ports) = ports(header.protocol, packet.get(usize::from(header.header_len)..)?)?;
            Some(Coming::To4(protocol, Transport4 { addr: header.dst, port: ports.1 }))
        }
        _neither => None,
    }
}

/// Source and destination port, or twice the identifier of an echo message.
fn ports(protocol: u8, message: &[u8]) -> Option<(Protocol, (u16, u16))> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    Some(match protocol {
        protocol::TCP => (Protocol::Tcp, (word(0)?, word(2)?)),
        protocol::UDP => (Protocol::Udp, (word(0)?, word(2)?)),
        protocol::ICMPV4 | protocol::ICMPV6 => (Protocol::Icmp, (word(4)?, word(4)?)),
        _other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2001:db8::8 to anywhere, next header and first bytes of the message as given.
    fn six(next_header: u8, message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; ipv6::LEN];
        ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: message.len() as u16,
            next_header,
            hop_limit: 64,
            src: "2001:db8::8".parse().unwrap(),
            dst: "64:ff9b::1".parse().unwrap(),
        }
        .write(packet.first_chunk_mut().unwrap());
        packet.extend(message);
        packet
    }

    #[test]
    fn keys_are_those_of_the_tables() {
        let from6 = |protocol, port| {
            Some(Coming::From6(protocol, Transport6 { addr: "2001:db8::8".parse().unwrap(), port }))
        };
        let message = [0x12, 0x34, 0, 53, 0xab, 0xcd, 0, 0];
        assert_eq!(key(&six(protocol::UDP, &message)), from6(Protocol::Udp, 0x1234));
        assert_eq!(key(&six(protocol::TCP, &message)), from6(Protocol::Tcp, 0x1234));
        assert_eq!(key(&six(protocol::ICMPV6, &message)), from6(Protocol::Icmp, 0xabcd));
        assert_eq!(key(&six(protocol::FRAGMENT, &message)), None);
        // An IPv4 header with four bytes of options.
        let mut four =
            vec![0x46, 0, 0, 32, 0, 0, 0, 0, 64, protocol::UDP, 0, 0, 203, 0, 113, 16, 192, 0, 2, 1];
        four.extend([1, 1, 1, 0]);
        four.extend(message);
        let mask = Transport4 { addr: [192, 0, 2, 1].into(), port: 53 };
        assert_eq!(key(&four), Some(Coming::To4(Protocol::Udp, mask)));
    }

    #[test]
    fn what_is_cut_short_has_no_key() {
        for message in [protocol::UDP, protocol::TCP, protocol::ICMPV6].map(|next| six(next, &[0; 2])) {
            for len in 0..message.len() - 1 {
                assert_eq!(key(&message[..len]), None);
            }
        }
    }
}
