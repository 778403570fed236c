//! The records of a shard: BIB entries and sessions (RFC 6146 3.1, 3.2). They are small, because there are many: 80 bytes
//! for an entry with one session in it, 36 for each further session. They live in slabs and refer to each other by number.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::{Index, IndexMut};

use crate::ageing::List;
use crate::announce::Told;
use crate::events::BibInfo;
use crate::fifo::{Fifo, Linked, Links};
use crate::promotion::Traffic;
use crate::slab::{NIL, Slab};
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
    /// The session most entries have no other than: beside its entry, it costs no cache miss of its own.
    pub(crate) first: Option<Session>,
    /// All sessions, that one included.
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
    /// When it came into its list.
    pub(crate) stamp: u32,
    pub(crate) timer_links: Links,
    pub(crate) siblings: Links,
    /// Where it waits for its end.
    pub(crate) list: List,
    /// In the list of a step: what is left after it, in 256ths of it. In that of the asked: how often.
    pub(crate) rest: u8,
    pub(crate) traffic: Traffic,
    pub(crate) told: Told,
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

/// Set in the numbers of sessions that are not inside their BIB entry; the others have their entry's number.
const MORE: u32 = 1 << 31;

/// All records of a shard. Indexing with the number of a session gives the session.
pub(crate) struct Records {
    pub(crate) bib: Slab<Bib>,
    more: Slab<Session>,
}

impl Records {
    /// None yet; the numbers of BIB entries stay below `limit`.
    pub(crate) fn new(limit: u32) -> Self {
        Self { bib: Slab::new(limit.min(MORE)), more: Slab::new(NIL & !MORE) }
    }

    /// Whether a session is inside its BIB entry.
    pub(crate) fn is_inside(number: u32) -> bool {
        number & MORE == 0
    }

    /// Stores a session, in its BIB entry if there is room; `None` when every number is taken.
    pub(crate) fn insert(&mut self, session: Session) -> Option<u32> {
        let bib = session.bib;
        let entry = &mut self.bib[bib];
        if entry.first.is_none() {
            entry.first = Some(session);
            return Some(bib);
        }
        self.more.insert(session).map(|slot| slot | MORE)
    }

    /// Removes a session.
    pub(crate) fn remove(&mut self, number: u32) {
        if Self::is_inside(number) {
            self.bib[number].first = None;
        } else {
            self.more.remove(number & !MORE);
        }
    }

    /// A session whose number may be stale.
    pub(crate) fn get(&self, number: u32) -> Option<&Session> {
        if Self::is_inside(number) {
            self.bib.get(number)?.first.as_ref()
        } else {
            self.more.get(number & !MORE)
        }
    }

    /// Reads from every cache line of a BIB entry that may be there; what it gives means nothing.
    pub(crate) fn touch(&self, bib: u32) -> u32 {
        let Some(entry) = self.bib.get(bib) else { return 0 };
        let session = entry.first.as_ref().map_or(0, |first| first.stamp ^ first.remote_addr);
        session ^ entry.client.to_bits() as u32 ^ entry.generation ^ u32::from(entry.mask_port)
    }

    /// The first number at or behind this one that a session may have. From zero on they lead over all sessions, and a session
    /// that stays is met once however the records grow meanwhile.
    pub(crate) fn from(&self, number: u32) -> Option<u32> {
        if number < self.bib.end() {
            return Some(number);
        }
        let number = number.max(MORE);
        (number & !MORE < self.more.end()).then_some(number)
    }

    /// All numbers that sessions may have.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.bib.end()).chain((0..self.more.end()).map(|slot| slot | MORE))
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.bib.bytes() + self.more.bytes()
    }
}

/// As for [`Slab`]: numbers in lists and indexes are live.
impl Index<u32> for Records {
    type Output = Session;

    #[expect(clippy::expect_used, reason = "a stale number inside the tables is our own bug")]
    fn index(&self, number: u32) -> &Session {
        // Invariant: a session leaves every list and index before it is removed.
        self.get(number).expect("a live session")
    }
}

impl IndexMut<u32> for Records {
    #[expect(clippy::expect_used, reason = "a stale number inside the tables is our own bug")]
    fn index_mut(&mut self, number: u32) -> &mut Session {
        let session = match Self::is_inside(number) {
            true => self.bib.get_mut(number).and_then(|entry| entry.first.as_mut()),
            false => self.more.get_mut(number & !MORE),
        };
        // Invariant: as for `index`.
        session.expect("a live session")
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
        assert!(size_of::<Option<Bib>>() <= 80, "{}", size_of::<Option<Bib>>());
        assert!(size_of::<Option<Session>>() <= 36, "{}", size_of::<Option<Session>>());
    }
}
