//! The records of a shard: BIB entries and sessions (RFC 6146 3.1, 3.2). They are small, because there are many: 44 and
//! 32 bytes, in slabs, referring to each other by number.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::events::BibInfo;
use crate::fifo::{Fifo, Linked, Links};
use crate::tcp::TcpState;
use crate::types::{Protocol, Timer, Transport4, Transport6};

/// List names for [`Fifo`].
pub(crate) const TIMER: u8 = 0;
pub(crate) const SIBLINGS: u8 = 1;

/// A BIB entry.
pub(crate) struct Bib {
    pub(crate) client: Ipv6Addr,
    pub(crate) mask_addr: u32,
    pub(crate) client_port: u16,
    pub(crate) mask_port: u16,
    pub(crate) sessions: Fifo<SIBLINGS>,
    pub(crate) session_count: u32,
    /// The newest policy under which the mask was known to be in pool4 and ours.
    pub(crate) generation: u32,
    pub(crate) protocol: Protocol,
    pub(crate) is_static: bool,
}

impl Bib {
    pub(crate) fn client(&self) -> Transport6 {
        Transport6 { addr: self.client, port: self.client_port }
    }

    pub(crate) fn mask(&self) -> Transport4 {
        Transport4 { addr: self.mask_addr.into(), port: self.mask_port }
    }

    pub(crate) fn info(&self) -> BibInfo {
        BibInfo {
            protocol: self.protocol,
            client: self.client(),
            mask: self.mask(),
            is_static: self.is_static,
            sessions: self.session_count,
        }
    }
}

/// A session.
pub(crate) struct Session {
    pub(crate) bib: u32,
    pub(crate) remote_addr: u32,
    /// Zero for ICMP, whose sessions are identified by the address.
    pub(crate) remote_port: u16,
    pub(crate) state: TcpState,
    pub(crate) timer: Timer,
    pub(crate) stamp: u32,
    pub(crate) timer_links: Links,
    pub(crate) siblings: Links,
}

impl Session {
    pub(crate) fn remote(&self) -> Transport4 {
        Transport4 { addr: self.remote_addr.into(), port: self.remote_port }
    }
}

impl Linked<TIMER> for Session {
    fn links_mut(&mut self) -> &mut Links {
        &mut self.timer_links
    }
}

impl Linked<SIBLINGS> for Session {
    fn links_mut(&mut self) -> &mut Links {
        &mut self.siblings
    }
}

/// A session to be made.
#[derive(Clone, Copy)]
pub(crate) struct NewSession {
    pub(crate) remote: Transport4,
    pub(crate) state: TcpState,
    pub(crate) timer: Timer,
}

impl NewSession {
    /// Of UDP or ICMP, which have no state.
    pub(crate) fn stateless(protocol: Protocol, remote: Transport4) -> Self {
        let timer = if protocol == Protocol::Icmp { Timer::Icmp } else { Timer::Udp };
        Self { remote, state: TcpState::Established, timer }
    }
}

/// Sessions of a UDP BIB entry with one IPv4 address: what address-dependent filtering asks for.
pub(crate) struct Peer {
    pub(crate) bib: u32,
    pub(crate) addr: Ipv4Addr,
    pub(crate) sessions: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_small() {
        assert!(size_of::<Option<Bib>>() <= 64, "{}", size_of::<Option<Bib>>());
        assert!(size_of::<Option<Session>>() <= 48, "{}", size_of::<Option<Session>>());
    }
}
