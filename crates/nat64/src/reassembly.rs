//! Virtual reassembly (RFC 6146 3.4): gives every fragment the ports of its datagram.
//!
//! Once the first fragment is known, TCP and UDP fragments pass one by one, in any order; those that came before it are
//! copied and held. Datagrams whose translation needs all of them (fragmented ICMP: its checksum covers the length; UDP
//! over IPv4 without checksum) are held until complete. Overlapping fragments discard the datagram (RFC 5722 4), and so
//! does any other contradiction; its later fragments are then refused until the timeout.
//!
//! Everything is bounded: datagrams and bytes in all and per source, pieces and gaps per datagram. Parts are chosen by
//! a keyed hash of the source, each behind its own lock with its share of the bounds.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::fifo::{Fifo, Linked, Links};
use crate::hash::{Hasher, Purpose};
use crate::slab::Slab;
use crate::types::{Instant, millis};

xlat_packet::reasons! {
    /// Why a fragment goes no further.
    pub enum FragmentRefusal {
        Malformed: "fragment-malformed", "JSTAT_HDR6", "RFC 8200 4.5",
            "a fragment without payload, longer than a datagram, or not a multiple of eight bytes";
        Overlap: "fragment-overlap", "", "RFC 5722 4",
            "a fragment overlaps another one of its datagram, which is discarded";
        Inconsistent: "fragment-inconsistent", "", "RFC 8200 4.5",
            "the fragments disagree on where their datagram ends; it is discarded";
        DatagramRefused: "fragment-of-refused-datagram", "", "RFC 6146 3.4",
            "an earlier fragment of the datagram was refused";
        TooManyDatagrams: "fragment-too-many-datagrams", "JSTAT_ENOMEM", "RFC 6146 5.3",
            "as many datagrams as allowed are waiting for fragments";
        SourceDatagrams: "fragment-source-datagrams", "", "RFC 6146 5.3",
            "as many datagrams of this source as allowed are waiting for fragments";
        TooManyBytes: "fragment-too-many-bytes", "JSTAT_ENOMEM", "RFC 6146 5.3",
            "as many bytes of fragments as allowed are being held";
        SourceBytes: "fragment-source-bytes", "", "RFC 6146 5.3",
            "as many bytes of fragments of this source as allowed are being held";
        TooManyPieces: "fragment-too-many-pieces", "", "RFC 6146 5.3",
            "the datagram comes in more pieces than allowed";
        Timeout: "fragment-timeout", "", "RFC 6146 3.4",
            "the missing fragments of the datagram did not come in time";
    }
}

/// Parts, each with its own lock.
const PARTS: usize = 16;

/// Datagrams timed out per part and call.
const EXPIRE_AT_ONCE: usize = 1024;

/// The longest IPv4 or IPv6 payload, in bytes.
const MAX_DATAGRAM: u32 = 65_535;

/// Bounds and patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Datagrams of which fragments are expected, in all.
    pub datagrams: usize,
    /// Bytes held, in all.
    pub bytes: usize,
    /// Datagrams per source address.
    pub source_datagrams: usize,
    /// Bytes held per source address.
    pub source_bytes: usize,
    /// Fragments held, and gaps, per datagram.
    pub pieces: usize,
    /// How long a datagram waits for its fragments, from the first to arrive: 2 to 30 seconds (RFC 6146 3.4).
    pub timeout: Duration,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self {
            datagrams: 16_384,
            bytes: 64 << 20,
            source_datagrams: 256,
            source_bytes: 1 << 20,
            pieces: 128,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FragmentKey {
    /// RFC 8200 4.5.
    V6 {
        /// Source address.
        src: Ipv6Addr,
        /// Destination address.
        dst: Ipv6Addr,
        /// Identification.
        id: u32,
        /// Next header after the Fragment header.
        protocol: u8,
    },
    /// RFC 791 3.2.
    V4 {
        /// Source address.
        src: Ipv4Addr,
        /// Destination address.
        dst: Ipv4Addr,
        /// Identification.
        id: u16,
        /// Protocol.
        protocol: u8,
    },
}

/// A fragment as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Its datagram.
    pub key: FragmentKey,
    /// Offset of its payload, in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Its part of the fragmentable payload, in bytes: layer 4 header and data.
    pub payload_len: usize,
    /// The whole packet, to be held if necessary.
    pub bytes: &'a [u8],
    /// What only the fragment with offset 0 knows; must be there for it, is ignored for others.
    pub first: Option<FirstFragment>,
}

/// What the first fragment tells about its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFragment {
    /// Source port or ICMP identifier.
    pub src_port: u16,
    /// Destination port or ICMP identifier.
    pub dst_port: u16,
    /// The datagram can only be translated as a whole.
    pub hold_until_complete: bool,
}

/// What to do with a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Translate it now, then those released.
    Pass {
        /// Source and destination port of the datagram.
        ports: (u16, u16),
        /// Packets held until now, by offset.
        released: Vec<Box<[u8]>>,
    },
    /// It was copied and waits.
    Held,
    /// The datagram that had to be complete is.
    Complete {
        /// Source and destination port of the datagram.
        ports: (u16, u16),
        /// Layer 4 length of the datagram, in bytes.
        total_len: u32,
        /// All its packets, this one included, by offset.
        packets: Vec<Box<[u8]>>,
    },
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReassemblyGauges {
    /// Datagrams of which fragments are expected.
    pub datagrams: usize,
    /// Bytes held.
    pub bytes: usize,
}

/// The datagrams of which fragments are expected. `Send` and `Sync`; every method takes `&self`.
pub struct Reassembly {
    hasher: Hasher,
    /// Bounds of a part: its share of those in all.
    share: ReassemblyLimits,
    parts: Box<[Mutex<Part>]>,
}

struct Part {
    by_key: HashTable<u32>,
    datagrams: Slab<Datagram>,
    /// By arrival, oldest first.
    order: Fifo<0>,
    sources: HashTable<Source>,
    bytes: usize,
    /// Milliseconds; time never runs backwards here.
    latest: u64,
}

struct Datagram {
    key: FragmentKey,
    born: u64,
    links: Links,
    first: Option<FirstFragment>,
    /// Known once the last fragment arrived.
    total: Option<u32>,
    /// What arrived, as sorted, disjoint and not adjacent [start, end).
    ranges: Vec<(u32, u32)>,
    held: Vec<Held>,
    dead: bool,
}

struct Held {
    offset: u16,
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy)]
struct Source {
    addr: u128,
    datagrams: usize,
    bytes: usize,
}

impl Linked<0> for Datagram {
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Reassembly {
    /// Empty. `secret` keys the hashes.
    pub fn new(limits: ReassemblyLimits, secret: [u8; 16]) -> Self {
        let share = ReassemblyLimits {
            datagrams: limits.datagrams.div_ceil(PARTS),
            bytes: limits.bytes.div_ceil(PARTS),
            timeout: limits.timeout.clamp(Duration::from_secs(2), Duration::from_secs(30)),
            ..limits
        };
        let part = || Part {
            by_key: HashTable::new(),
            datagrams: Slab::new(u32::MAX),
            order: Fifo::EMPTY,
            sources: HashTable::new(),
            bytes: 0,
            latest: 0,
        };
        Self { hasher: Hasher::new(secret), share, parts: (0..PARTS).map(|_| Mutex::new(part())).collect() }
    }

    /// Takes a fragment. A refused one is to be dropped; what was held of its datagram is dropped with it.
    pub fn arrive(&self, fragment: Fragment<'_>, now: Instant) -> Result<Arrival, FragmentRefusal> {
        let end = extent(&fragment)?;
        // Whole in itself (RFC 6946 4): it has nothing to do with others of the same identification.
        if let (0, false, Some(first)) = (fragment.offset, fragment.more, fragment.first) {
            let ports = (first.src_port, first.dst_port);
            return Ok(match first.hold_until_complete {
                true => Arrival::Complete { ports, total_len: end, packets: vec![fragment.bytes.into()] },
                false => Arrival::Pass { ports, released: Vec::new() },
            });
        }
        let source = source(&fragment.key);
        let mut part = self.part(source).lock();
        part.latest = part.latest.max(now.0);
        let number = match part.find(&self.hasher, &fragment.key) {
            Some(number) => number,
            None => part.begin(&self.hasher, &self.share, fragment.key)?,
        };
        if part.datagrams[number].dead {
            return Err(FragmentRefusal::DatagramRefused);
        }
        let arrival = part.datagrams[number]
            .enter(&fragment, end, self.share.pieces)
            .and_then(|()| part.dispose(&self.hasher, &self.share, number, &fragment));
        match &arrival {
            Err(_) => part.kill(&self.hasher, number),
            Ok(Arrival::Held) => {}
            Ok(_) if part.datagrams[number].is_complete() => part.end(&self.hasher, number),
            Ok(_) => {}
        }
        arrival
    }

    /// The first fragment was refused by somebody else: so are the rest of the datagram, held or to come.
    pub fn refuse(&self, key: &FragmentKey) {
        let mut part = self.part(source(key)).lock();
        if let Some(number) = part.find(&self.hasher, key) {
            part.kill(&self.hasher, number);
        }
    }

    /// Gives up on datagrams that waited long enough. `dropped` is called for each of which something was held, with
    /// the first fragment if that was among it: ICMP "time exceeded" may then be due (RFC 8200 4.5, RFC 792). It runs
    /// under a lock and must not call back. Bounded work per call.
    pub fn expire(&self, now: Instant, dropped: &mut dyn FnMut(FragmentRefusal, Option<&[u8]>)) {
        let timeout = millis(self.share.timeout);
        for part in &self.parts {
            let mut part = part.lock();
            part.latest = part.latest.max(now.0);
            for _ in 0..EXPIRE_AT_ONCE {
                let Some(number) = part.order.first() else { break };
                let datagram = &part.datagrams[number];
                if part.latest - datagram.born < timeout {
                    break;
                }
                if !datagram.held.is_empty() {
                    let first = datagram.held.iter().find(|held| held.offset == 0);
                    dropped(FragmentRefusal::Timeout, first.map(|held| &*held.bytes));
                }
                part.end(&self.hasher, number);
            }
        }
    }

    /// How full it is now.
    pub fn gauges(&self) -> ReassemblyGauges {
        self.parts.iter().fold(ReassemblyGauges::default(), |sum, part| {
            let part = part.lock();
            ReassemblyGauges {
                datagrams: sum.datagrams + part.datagrams.len(),
                bytes: sum.bytes + part.bytes,
            }
        })
    }

    fn part(&self, source: u128) -> &Mutex<Part> {
        &self.parts[(self.hasher.prefix(Purpose::Fragment, source, 0) >> 32) as usize % PARTS]
    }
}

impl Part {
    fn find(&self, hasher: &Hasher, key: &FragmentKey) -> Option<u32> {
        self.by_key.find(key_hash(hasher, key), |number| self.datagrams[*number].key == *key).copied()
    }

    /// Makes room for a datagram of which nothing was seen yet.
    fn begin(
        &mut self,
        hasher: &Hasher,
        share: &ReassemblyLimits,
        key: FragmentKey,
    ) -> Result<u32, FragmentRefusal> {
        if self.datagrams.len() >= share.datagrams {
            return Err(FragmentRefusal::TooManyDatagrams);
        }
        let addr = source(&key);
        if self.usage(hasher, addr).datagrams >= share.source_datagrams {
            return Err(FragmentRefusal::SourceDatagrams);
        }
        let datagram = Datagram {
            key,
            born: self.latest,
            links: Links::NONE,
            first: None,
            total: None,
            ranges: Vec::new(),
            held: Vec::new(),
            dead: false,
        };
        let number = self.datagrams.insert(datagram).ok_or(FragmentRefusal::TooManyDatagrams)?;
        self.order.push(&mut self.datagrams, number);
        let Self { by_key, datagrams, .. } = self;
        let hash = |number: &u32| key_hash(hasher, &datagrams[*number].key);
        by_key.insert_unique(hash(&number), number, hash);
        self.account(hasher, addr, |source| source.datagrams += 1);
        Ok(number)
    }

    /// What becomes of a fragment that fits its datagram.
    fn dispose(
        &mut self,
        hasher: &Hasher,
        share: &ReassemblyLimits,
        number: u32,
        fragment: &Fragment<'_>,
    ) -> Result<Arrival, FragmentRefusal> {
        let datagram = &self.datagrams[number];
        match datagram.first {
            Some(first) if !first.hold_until_complete => {
                let ports = (first.src_port, first.dst_port);
                Ok(Arrival::Pass { ports, released: self.release(hasher, number) })
            }
            Some(first) if datagram.is_complete() => {
                let total_len = datagram.total.unwrap_or_default();
                // Not counted against the bounds: it leaves at once.
                let held = Held { offset: fragment.offset, bytes: fragment.bytes.into() };
                let len = held.bytes.len();
                self.datagrams[number].held.push(held);
                self.bytes += len;
                self.account(hasher, source(&fragment.key), |source| source.bytes += len);
                let ports = (first.src_port, first.dst_port);
                Ok(Arrival::Complete { ports, total_len, packets: self.release(hasher, number) })
            }
            _ => self.hold(hasher, share, number, fragment).map(|()| Arrival::Held),
        }
    }

    fn hold(
        &mut self,
        hasher: &Hasher,
        share: &ReassemblyLimits,
        number: u32,
        fragment: &Fragment<'_>,
    ) -> Result<(), FragmentRefusal> {
        let len = fragment.bytes.len();
        let addr = source(&fragment.key);
        if self.datagrams[number].held.len() >= share.pieces {
            return Err(FragmentRefusal::TooManyPieces);
        }
        if self.bytes.saturating_add(len) > share.bytes {
            return Err(FragmentRefusal::TooManyBytes);
        }
        if self.usage(hasher, addr).bytes.saturating_add(len) > share.source_bytes {
            return Err(FragmentRefusal::SourceBytes);
        }
        self.bytes += len;
        self.account(hasher, addr, |source| source.bytes += len);
        self.datagrams[number].held.push(Held { offset: fragment.offset, bytes: fragment.bytes.into() });
        Ok(())
    }

    /// Takes out what is held of a datagram, by offset.
    fn release(&mut self, hasher: &Hasher, number: u32) -> Vec<Box<[u8]>> {
        let datagram = &mut self.datagrams[number];
        if datagram.held.is_empty() {
            return Vec::new();
        }
        let mut held = core::mem::take(&mut datagram.held);
        let addr = source(&datagram.key);
        held.sort_unstable_by_key(|held| held.offset);
        let len: usize = held.iter().map(|held| held.bytes.len()).sum();
        self.bytes -= len;
        self.account(hasher, addr, |source| source.bytes -= len);
        held.into_iter().map(|held| held.bytes).collect()
    }

    /// Discards what is held and refuses the rest until the timeout.
    fn kill(&mut self, hasher: &Hasher, number: u32) {
        self.release(hasher, number);
        let datagram = &mut self.datagrams[number];
        datagram.dead = true;
        datagram.ranges = Vec::new();
    }

    /// Forgets a datagram.
    fn end(&mut self, hasher: &Hasher, number: u32) {
        self.release(hasher, number);
        self.order.unlink(&mut self.datagrams, number);
        let Some(datagram) = self.datagrams.remove(number) else { return };
        if let Ok(found) = self.by_key.find_entry(key_hash(hasher, &datagram.key), |other| *other == number) {
            found.remove();
        }
        self.account(hasher, source(&datagram.key), |source| source.datagrams -= 1);
    }

    fn usage(&self, hasher: &Hasher, addr: u128) -> Source {
        let hash = hasher.prefix(Purpose::Usage, addr, 0);
        let found = self.sources.find(hash, |source| source.addr == addr);
        found.copied().unwrap_or(Source { addr, datagrams: 0, bytes: 0 })
    }

    fn account(&mut self, hasher: &Hasher, addr: u128, change: impl FnOnce(&mut Source)) {
        let hash = |source: &Source| hasher.prefix(Purpose::Usage, source.addr, 0);
        let new = Source { addr, datagrams: 0, bytes: 0 };
        let mut entry = self.sources.entry(hash(&new), |source| source.addr == addr, hash).or_insert(new);
        change(entry.get_mut());
        if entry.get().datagrams == 0 && entry.get().bytes == 0 {
            entry.remove();
        }
    }
}

impl Datagram {
    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.ranges == [(0, total)])
    }

    /// Notes what a fragment covers and tells, or how it contradicts the others.
    fn enter(&mut self, fragment: &Fragment<'_>, end: u32, pieces: usize) -> Result<(), FragmentRefusal> {
        let start = u32::from(fragment.offset);
        if self.total.is_some_and(|total| end > total || (!fragment.more && end != total)) {
            return Err(FragmentRefusal::Inconsistent);
        }
        let at = self.ranges.partition_point(|range| range.0 < start);
        let before = at.checked_sub(1).map(|at| self.ranges[at].1);
        let after = self.ranges.get(at).map(|range| range.0);
        if before.is_some_and(|before| before > start) || after.is_some_and(|after| after < end) {
            return Err(FragmentRefusal::Overlap);
        }
        if !fragment.more {
            if after.is_some() {
                return Err(FragmentRefusal::Inconsistent);
            }
            self.total = Some(end);
        }
        match (before == Some(start), after == Some(end)) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = end,
            (false, true) => self.ranges[at].0 = start,
            (false, false) if self.ranges.len() >= pieces => return Err(FragmentRefusal::TooManyPieces),
            (false, false) => self.ranges.insert(at, (start, end)),
        }
        if start == 0 {
            self.first = fragment.first;
        }
        Ok(())
    }
}

/// Where the fragment's payload ends in the datagram, in bytes.
fn extent(fragment: &Fragment<'_>) -> Result<u32, FragmentRefusal> {
    let len = u32::try_from(fragment.payload_len).map_err(|_| FragmentRefusal::Malformed)?;
    let end = u32::from(fragment.offset).saturating_add(len);
    let ragged = !fragment.offset.is_multiple_of(8) || (fragment.more && !len.is_multiple_of(8));
    let headless = fragment.offset == 0 && fragment.first.is_none();
    if len == 0 || end > MAX_DATAGRAM || ragged || headless {
        return Err(FragmentRefusal::Malformed);
    }
    Ok(end)
}

/// The source address; IPv4 ones as mapped (RFC 4291 2.5.5.2).
fn source(key: &FragmentKey) -> u128 {
    match key {
        FragmentKey::V6 { src, .. } => (*src).into(),
        FragmentKey::V4 { src, .. } => src.to_ipv6_mapped().into(),
    }
}

fn key_hash(hasher: &Hasher, key: &FragmentKey) -> u64 {
    let (dst, id, protocol) = match key {
        FragmentKey::V6 { dst, id, protocol, .. } => (u128::from(*dst), *id, *protocol),
        FragmentKey::V4 { dst, id, protocol, .. } => (dst.to_ipv6_mapped().into(), u32::from(*id), *protocol),
    };
    // Two keyed hashes in a row, the second over the first: no remote can choose collisions.
    let addresses =
        hasher.prefix(Purpose::Fragment, source(key), 1) ^ hasher.prefix(Purpose::Fragment, dst, 2);
    let rest = (u128::from(addresses) << 64) | (u128::from(id) << 8) | u128::from(protocol);
    hasher.prefix(Purpose::Fragment, rest, 3)
}

#[cfg(test)]
mod tests;
