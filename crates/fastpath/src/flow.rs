//! A known flow: the two entries that translate its packets, one for each direction.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Protocol numbers of flows (as in an IPv4 header; an echo flow has 1 in both directions).
pub mod protocol {
    /// ICMP and ICMPv6 echo.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

/// What an IPv6 packet is looked up by. Of an echo message, `src_port` is the identifier and `dst_port` zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key6 {
    /// Source address: the client.
    pub src: [u8; 16],
    /// Destination address: the server within pool6.
    pub dst: [u8; 16],
    /// Source port or identifier.
    pub src_port: [u8; 2],
    /// Destination port.
    pub dst_port: [u8; 2],
    /// Of [`protocol`].
    pub protocol: u8,
    /// Zero.
    pub zero: [u8; 3],
}

/// What an IPv4 packet is looked up by. Of an echo message, `dst_port` is the identifier and `src_port` zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key4 {
    /// Source address: the server.
    pub src: [u8; 4],
    /// Destination address: the mask.
    pub dst: [u8; 4],
    /// Source port.
    pub src_port: [u8; 2],
    /// Destination port or identifier.
    pub dst_port: [u8; 2],
    /// Of [`protocol`].
    pub protocol: u8,
    /// Zero.
    pub zero: [u8; 3],
}

/// An IPv6 packet of the flow becomes IPv4 with these. Of an echo flow `src_port` is the identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct To4 {
    /// Source address: the mask.
    pub src: [u8; 4],
    /// Destination address: the server.
    pub dst: [u8; 4],
    /// Source port or identifier.
    pub src_port: [u8; 2],
    /// Destination port.
    pub dst_port: [u8; 2],
    /// The firewall mark that packets of the flow have.
    pub mark: u32,
    /// Index of the instance.
    pub instance: u32,
    /// When the program saw the last packet, in seconds of CLOCK_MONOTONIC: written once a second at most.
    pub used: u32,
}

/// An IPv4 packet of the flow becomes IPv6 with these. Of an echo flow `dst_port` is the identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct To6 {
    /// Source address: the server within pool6.
    pub src: [u8; 16],
    /// Destination address: the client.
    pub dst: [u8; 16],
    /// Source port.
    pub src_port: [u8; 2],
    /// Destination port or identifier.
    pub dst_port: [u8; 2],
    /// Index of the instance.
    pub instance: u32,
    /// When the program saw the last packet, in seconds of CLOCK_MONOTONIC: written once a second at most.
    pub used: u32,
    /// Zero.
    pub zero: u32,
}

/// A session as the engine knows it; ports in host order, of an echo session `client_port` and `mask_port` are the
/// identifiers and `server_port` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Of [`protocol`].
    pub protocol: u8,
    /// Index of the instance.
    pub instance: u32,
    /// The firewall mark.
    pub mark: u32,
    /// The client.
    pub client: ([u8; 16], u16),
    /// The client's mask.
    pub mask: ([u8; 4], u16),
    /// The server within pool6.
    pub server6: [u8; 16],
    /// The server.
    pub server: ([u8; 4], u16),
}

impl Session {
    /// The entry that IPv6 packets are looked up by.
    pub fn key6(&self) -> Key6 {
        Key6 {
            src: self.client.0,
            dst: self.server6,
            src_port: self.client.1.to_be_bytes(),
            dst_port: self.server.1.to_be_bytes(),
            protocol: self.protocol,
            zero: [0; 3],
        }
    }

    /// The entry that IPv4 packets are looked up by.
    pub fn key4(&self) -> Key4 {
        Key4 {
            src: self.server.0,
            dst: self.mask.0,
            src_port: self.server.1.to_be_bytes(),
            dst_port: self.mask.1.to_be_bytes(),
            protocol: self.protocol,
            zero: [0; 3],
        }
    }

    /// What IPv6 packets become; last used at `now`.
    pub fn to4(&self, now: u32) -> To4 {
        To4 {
            src: self.mask.0,
            dst: self.server.0,
            src_port: self.mask.1.to_be_bytes(),
            dst_port: self.server.1.to_be_bytes(),
            mark: self.mark,
            instance: self.instance,
            used: now,
        }
    }

    /// What IPv4 packets become; last used at `now`.
    pub fn to6(&self, now: u32) -> To6 {
        To6 {
            src: self.server6,
            dst: self.client.0,
            src_port: self.server.1.to_be_bytes(),
            dst_port: self.client.1.to_be_bytes(),
            instance: self.instance,
            used: now,
            zero: 0,
        }
    }

    /// The session that an entry belongs to.
    pub fn of(key: &Key6, to: &To4) -> Self {
        Self {
            protocol: key.protocol,
            instance: to.instance,
            mark: to.mark,
            client: (key.src, u16::from_be_bytes(key.src_port)),
            mask: (to.src, u16::from_be_bytes(to.src_port)),
            server6: key.dst,
            server: (to.dst, u16::from_be_bytes(key.dst_port)),
        }
    }
}
