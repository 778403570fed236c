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
