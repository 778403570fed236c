//! Keyed hashing: SipHash-1-3 under the instance's secret, so that no remote can choose collisions (design rule 6) or
//! foresee ports (RFC 6056 3.3.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher13;

use crate::types::{Outbound, Transport4};

/// What a hash is for; equal input under different purposes gives unrelated hashes.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Client = 1,
    Session = 2,
    Peer = 3,
    Port = 4,
    Usage = 5,
    Fragment = 6,
}

/// The secret, ready for use.
#[derive(Clone)]
pub(crate) struct Hasher {
    sip: SipHasher13,
    /// Odd multiplier of [`Self::with_port`].
    spread: u64,
}

impl Hasher {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        let sip = SipHasher13::new_with_key(&secret);
        let spread = sip.hash(b"spread") | 1;
        Self { sip, spread }
    }

    /// Hash of an IPv6 address: chooses the client's shard and its place in pool4.
    pub(crate) fn client(&self, addr: Ipv6Addr) -> u64 {
        self.prefix(Purpose::Client, u128::from(addr), 128)
    }

    /// Joins the secret hash of an address with a port. The address hash is unknown to a remote, so one
    /// multiplication is enough; different ports of one address never collide in all 64 bits.
    pub(crate) fn with_port(&self, client: u64, port: u16) -> u64 {
        let wide = u128::from(client ^ u64::from(port)) * u128::from(self.spread);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// Hash of a session within a shard: BIB entry and IPv4 server.
    pub(crate) fn session(&self, bib: u32, remote: Transport4) -> u64 {
        self.record(Purpose::Session, bib, remote.addr, remote.port)
    }

    /// Hash of a BIB entry with a server's address, whatever the port.
    pub(crate) fn peer(&self, bib: u32, addr: Ipv4Addr) -> u64 {
        self.record(Purpose::Peer, bib, addr, 0)
    }

    /// Hash of a prefix (or any 128 bits and a length).
    pub(crate) fn prefix(&self, purpose: Purpose, bits: u128, length: u8) -> u64 {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&bits.to_be_bytes());
        bytes[16] = length;
        bytes[17] = purpose as u8;
        self.sip.hash(&bytes)
    }

    /// F() of RFC 6056 3.3.3 over the fields that `f-args` selects: source address (8), source port (4),
    /// destination address (2), destination port (1).
    pub(crate) fn port(&self, packet: &Outbound, f_args: u8) -> u64 {
        let mut bytes = [0; 25];
        if f_args & 8 != 0 {
            bytes[..16].copy_from_slice(&packet.src.addr.octets());
        }
        if f_args & 4 != 0 {
            bytes[16..18].copy_from_slice(&packet.src.port.to_be_bytes());
        }
        if f_args & 2 != 0 {
            bytes[18..22].copy_from_slice(&packet.dst.addr.octets());
        }
        if f_args & 1 != 0 {
            bytes[22..24].copy_from_slice(&packet.dst.port.to_be_bytes());
        }
        bytes[24] = Purpose::Port as u8;
        self.sip.hash(&bytes)
    }

    fn record(&self, purpose: Purpose, bib: u32, addr: Ipv4Addr, port: u16) -> u64 {
        let mut bytes = [0; 11];
        bytes[..4].copy_from_slice(&bib.to_be_bytes());
        bytes[4..8].copy_from_slice(&addr.octets());
        bytes[8..10].copy_from_slice(&port.to_be_bytes());
        bytes[10] = purpose as u8;
        self.sip.hash(&bytes)
    }
}
