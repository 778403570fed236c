//! What state goes by (RFC 6146 3.4).

use xlat_nat64::{Protocol, TcpFlags};
use xlat_packet::layers::Upper;
use xlat_packet::{protocol, tcp};

/// What state goes by: protocol, ports, flags (RFC 6146 3.4). In an echo message both ports are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) protocol: Protocol,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) tcp: TcpFlags,
}

impl Tuple {
    /// The tuple of a first fragment or whole packet; None if its protocol has no state or it is ICMP but no echo.
    pub(crate) fn of(upper: &Upper, is_echo: impl Fn(u8) -> bool) -> Option<Self> {
        let tuple =
            |protocol, src_port, dst_port| Self { protocol, src_port, dst_port, tcp: TcpFlags::default() };
        match *upper {
            Upper::Tcp { src_port, dst_port, flags, .. } => Some(Self {
                tcp: TcpFlags {
                    syn: flags & tcp::SYN != 0,
                    fin: flags & tcp::FIN != 0,
                    rst: flags & tcp::RST != 0,
                },
                ..tuple(Protocol::Tcp, src_port, dst_port)
            }),
            Upper::Udp { src_port, dst_port, .. } => Some(tuple(Protocol::Udp, src_port, dst_port)),
            Upper::Icmp { kind, rest, .. } if is_echo(kind) => {
                let identifier = u16::from_be_bytes([rest[0], rest[1]]);
                Some(tuple(Protocol::Icmp, identifier, identifier))
            }
            Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other => None,
        }
    }

    /// The tuple of a fragment whose datagram's ports are known.
    pub(crate) fn of_fragment(protocol: Protocol, (src_port, dst_port): (u16, u16), upper: &Upper) -> Self {
        let own = Self::of(upper, |_kind| true);
        Self { protocol, src_port, dst_port, tcp: own.map_or(TcpFlags::default(), |own| own.tcp) }
    }
}

/// The protocol with a number, if it has state; `icmp` is the number of the packet's own ICMP.
pub(crate) fn stateful(number: u8, icmp: u8) -> Option<Protocol> {
    match number {
        protocol::TCP => Some(Protocol::Tcp),
        protocol::UDP => Some(Protocol::Udp),
        number if number == icmp => Some(Protocol::Icmp),
        _other => None,
    }
}
