//! Merges small packets on their way out: datagrams of one UDP flow into one UDP super-packet (USO), in-order
//! segments of one TCP flow into one TCP super-packet (TSO), so that the kernel forwards once for many.
//!
//! Only what segmentation would recreate byte for byte is merged: the headers may differ in length, IPv4
//! identification (consecutive; or any, where DF makes it meaningless: RFC 6864 4.1), checksum and sequence
//! number only, all segments have one size but the last, and every checksum that merging would recompute is
//! verified first. A packet that merges with nothing leaves exactly as it came. Order within a flow is kept.

use xlat_packet::buffer::{HEADROOM, MAX_PACKET};
use xlat_packet::checksum::Sum;
use xlat_packet::{Buffer, Checksum, Gso, GsoKind, Offload, protocol};

/// Longest packet that is copied to be merged, in bytes. Longer ones gain little.
const MAX_CANDIDATE: usize = 2048;
/// Most segments in one super-packet; the bound that Linux's own receive offload keeps for UDP.
const MAX_SEGMENTS: u16 = 64;
/// Largest value of IPv4's total length and IPv6's payload length.
const MAX_LENGTH: usize = 65535;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_PSH: u8 = 0x08;
const TCP_ACK: u8 = 0x10;

/// Where packets go when they leave.
pub trait Sink {
    /// Takes one packet that stands for `segments` ones.
    fn write(&mut self, packet: &mut Buffer<'_>, segments: u16);
}

/// Which super-packets the device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// TCP segments may be merged.
    pub tcp: bool,
    /// UDP datagrams may be merged.
    pub udp: bool,
}

/// A set of flows being merged. All memory is allocated at the start.
#[derive(Debug)]
pub struct Coalescer {
    kinds: Kinds,
    /// A flow has one place, by its hash; another flow of that place takes its turn.
    slots: Vec<Slot>,
    /// Slots that were opened since the last flush, in that order.
    opened: Vec<usize>,
}

impl Coalescer {
    /// A coalescer that merges up to `flows` flows at a time (rounded up to a power of two).
    pub fn new(flows: usize, kinds: Kinds) -> Self {
        let count = flows.clamp(1, 1 << 10).next_power_of_two();
        Self { kinds, slots: (0..count).map(|_| Slot::new()).collect(), opened: Vec::with_capacity(count) }
    }

    /// Takes `packet`: keeps it to be merged, or writes it at once, after what is kept of its own flow.
    pub fn push(&mut self, packet: &mut Buffer<'_>, out: &mut impl Sink) {
        let Some(flow) = Flow::of(packet.bytes()) else { return out.write(packet, 1) };
        // The count is a power of two, and there is at least one.
        let at = flow.hash() & (self.slots.len() - 1);
        let slot = &mut self.slots[at];
        let Some(segment) = Segment::of(packet, &flow, self.kinds) else {
            if slot.is_of(&flow) {
                slot.write(out);
            }
            return out.write(packet, 1);
        };
        if slot.is_of(&flow) && slot.append(packet.bytes(), &segment) {
            if slot.complete {
                slot.write(out);
            }
            return;
        }
        slot.write(out);
        if segment.ends {
            return out.write(packet, 1);
        }
        slot.start(packet, flow, segment);
        if !slot.listed {
            slot.listed = true;
            self.opened.push(at);
        }
    }

    /// Writes all that is kept. To be called at the end of each batch.
    pub fn flush(&mut self, out: &mut impl Sink) {
        for at in self.opened.drain(..) {
            self.slots[at].listed = false;
            self.slots[at].write(out);
        }
    }
}

/// What a flow is told by. IPv4 addresses fill the first 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    ports: [u8; 4],
    protocol: u8,
    version: u8,
    addresses: [u8; 32],
}

impl Flow {
    /// The flow of a whole TCP or UDP packet without IP options or extension headers.
    fn of(packet: &[u8]) -> Option<Self> {
        let version = packet.first()? >> 4;
        let mut addresses = [0; 32];
        let (transport, number) = match version {
            4 if packet.len() > IPV4_HEADER && packet[0] == 0x45 => {
                let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
                if fragment || usize::from(u16::from_be_bytes([packet[2], packet[3]])) != packet.len() {
                    return None;
                }
                addresses[..8].copy_from_slice(&packet[12..20]);
                (IPV4_HEADER, packet[9])
            }
            6 if packet.len() > IPV6_HEADER => {
                let payload = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                if payload + IPV6_HEADER != packet.len() {
                    return None;
                }
                addresses.copy_from_slice(&packet[8..40]);
                (IPV6_HEADER, packet[6])
            }
            _ => return None,
        };
        if !matches!(number, protocol::TCP | protocol::UDP) {
            return None;
        }
        let ports = packet.get(transport..transport + 4)?.try_into().ok()?;
        Some(Self { ports, protocol: number, version, addresses })
    }

    /// Where the flow has its place. Whoever finds flows of one place only keeps them from being merged.
    fn hash(&self) -> usize {
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|n| self.addresses[at + n]));
        let addresses =
            word(0) ^ word(8).rotate_left(16) ^ word(16).rotate_left(32) ^ word(24).rotate_left(48);
        let mixed = (addresses ^ u64::from(u32::from_ne_bytes(self.ports)) ^ u64::from(self.protocol) << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 48) as usize
    }

    fn network_len(&self) -> usize {
        if self.version == 4 { IPV4_HEADER } else { IPV6_HEADER }
    }

    /// Where the checksum field of layer 4 is, in bytes from the layer 4 header.
    fn checksum_offset(&self) -> usize {
        if self.protocol == protocol::TCP { 16 } else { 6 }
    }

    fn pseudo_header(&self, transport_len: usize) -> Sum {
        let used = if self.version == 4 { 8 } else { 32 };
        // At most 65535 is asked for, by the length checks of `Flow::of` and `Slot::append`.
        let length = u32::try_from(transport_len).unwrap_or(u32::MAX);
        Sum::of(&self.addresses[..used]).plus(Sum::length_and_protocol(length, self.protocol))
    }
}

/// A packet that may be merged.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Bytes of the IP and the layer 4 header.
    header_len: usize,
    /// Bytes behind them, at least one.
    payload_len: usize,
    /// TCP's sequence number; zero for UDP.
    sequence: u32,
    /// Nothing may follow in the same super-packet (PSH).
    ends: bool,
}

impl Segment {
    fn of(packet: &Buffer<'_>, flow: &Flow, kinds: Kinds) -> Option<Self> {
        let bytes = packet.bytes();
        if packet.offload.gso.is_some() || bytes.len() > MAX_CANDIDATE {
            return None;
        }
        let network_len = flow.network_len();
        let (network, transport) = bytes.split_at_checked(network_len)?;
        let (transport_header, sequence, ends) = if flow.protocol == protocol::UDP {
            let length = usize::from(u16::from_be_bytes(transport.get(4..6)?.try_into().ok()?));
            if !kinds.udp || length != transport.len() {
                return None;
            }
            (UDP_HEADER, 0, false)
        } else {
            let flags = *transport.get(13)?;
            let header = usize::from(transport[12] >> 4) * 4;
            // Only plain data: ACK, and PSH that ends an aggregate as in Linux's own segmentation.
            if !kinds.tcp || header < 20 || flags & !TCP_PSH != TCP_ACK || transport[12] & 0x0f != 0 {
                return None;
            }
            let sequence = u32::from_be_bytes(transport[4..8].try_into().ok()?);
            (header, sequence, flags & TCP_PSH != 0)
        };
        let payload_len = transport.len().checked_sub(transport_header).filter(|len| *len > 0)?;
        if flow.version == 4 && Sum::of(network).fold() != 0xffff {
            return None;
        }
        checksum_is_right(packet.offload.checksum, flow, transport).then_some(Self {
            header_len: network_len + transport_header,
            payload_len,
            sequence,
            ends,
        })
    }
}

/// True if finishing a partial checksum over `transport` anew gives what `checksum` stands for.
fn checksum_is_right(checksum: Checksum, flow: &Flow, transport: &[u8]) -> bool {
    let at = flow.checksum_offset();
    let Some(field) = transport.get(at..at + 2).map(|field| u16::from_be_bytes([field[0], field[1]])) else {
        return false;
    };
    let pseudo = flow.pseudo_header(transport.len());
    // Zero is "no checksum" in UDP; in TCP either zero is right, but only one is what would be computed.
    let ambiguous = match flow.protocol {
        protocol::UDP => field == 0,
        _ => field == 0xffff,
    };
    match checksum {
        Checksum::Partial { start, offset } => {
            usize::from(start) == flow.network_len() && usize::from(offset) == at && field == pseudo.fold()
        }
        Checksum::Verified => !ambiguous,
        Checksum::Complete => !ambiguous && pseudo.plus(Sum::of(transport)).fold() == 0xffff,
    }
}

/// One flow being merged: a growing packet with room for a virtio header in front.
#[derive(Debug)]
struct Slot {
    storage: Box<[u8]>,
    /// None if the slot is free.
    flow: Option<Flow>,
    /// In the list of opened slots.
    listed: bool,
    end: usize,
    /// The first packet's offload state, for the case that nothing merges.
    first: Offload,
    header_len: usize,
    segment_size: usize,
    segments: u16,
    next_sequence: u32,
    /// A short segment or PSH was the last: nothing may follow.
    complete: bool,
}

impl Slot {
    fn new() -> Self {
        Self {
            storage: vec![0; HEADROOM + MAX_PACKET].into_boxed_slice(),
            flow: None,
            listed: false,
            end: HEADROOM,
            first: Offload::NONE,
            header_len: 0,
            segment_size: 0,
            segments: 0,
            next_sequence: 0,
            complete: false,
        }
    }

    fn is_of(&self, flow: &Flow) -> bool {
        self.flow.as_ref() == Some(flow)
    }

    fn start(&mut self, packet: &Buffer<'_>, flow: Flow, segment: Segment) {
        let bytes = packet.bytes();
        self.end = HEADROOM + bytes.len();
        self.storage[HEADROOM..self.end].copy_from_slice(bytes);
        self.flow = Some(flow);
        self.first = packet.offload;
        self.header_len = segment.header_len;
        self.segment_size = segment.payload_len;
        self.segments = 1;
        self.next_sequence = advance(segment.sequence, segment.payload_len);
        self.complete = false;
    }

    /// Adds a packet of the same flow. False, and nothing changed, if it cannot be the next segment.
    fn append(&mut self, packet: &[u8], segment: &Segment) -> bool {
        let Some(flow) = self.flow else { return false };
        let first = &self.storage[HEADROOM..self.end];
        let length = first.len() + segment.payload_len;
        // IPv6 does not count its header, but an aggregate need not be that large.
        let fits = length <= MAX_LENGTH
            && segment.payload_len <= self.segment_size
            && segment.header_len == self.header_len
            && self.segments < MAX_SEGMENTS
            && !self.complete;
        if !fits || !same_network(first, packet, flow.version, self.segments) {
            return false;
        }
        let transport = flow.network_len();
        let same = if flow.protocol == protocol::TCP {
            segment.sequence == self.next_sequence
                && same_tcp(&first[transport..self.header_len], &packet[transport..self.header_len])
        } else {
            true
        };
        if !same {
            return false;
        }
        let payload = &packet[segment.header_len..];
        self.storage[self.end..self.end + payload.len()].copy_from_slice(payload);
        if segment.ends {
            self.storage[HEADROOM + transport + 13] |= TCP_PSH;
        }
        self.end += payload.len();
        self.segments += 1;
        self.next_sequence = advance(segment.sequence, segment.payload_len);
        self.complete =
            segment.ends || segment.payload_len < self.segment_size || self.segments == MAX_SEGMENTS;
        true
    }

    /// Writes what the slot holds and frees it.
    fn write(&mut self, out: &mut impl Sink) {
        let Some(flow) = self.flow.take() else { return };
        let offload = if self.segments > 1 { self.finish_headers(&flow) } else { self.first };
        let mut packet = Buffer::new(&mut self.storage, HEADROOM, self.end, offload);
        out.write(&mut packet, self.segments);
    }

    /// Turns the first packet's headers into those of the aggregate.
    fn finish_headers(&mut self, flow: &Flow) -> Offload {
        let packet = &mut self.storage[HEADROOM..self.end];
        let total = packet.len();
        let network_len = flow.network_len();
        // `append` keeps an aggregate at MAX_LENGTH bytes or less: every length here fits 16 bits.
        let short = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        if flow.version == 4 {
            packet[2..4].copy_from_slice(&short(total).to_be_bytes());
            packet[10..12].fill(0);
            let sum = Sum::of(&packet[..IPV4_HEADER]).finish();
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            packet[4..6].copy_from_slice(&short(total - IPV6_HEADER).to_be_bytes());
        }
        let transport_len = total - network_len;
        if flow.protocol == protocol::UDP {
            packet[network_len + 4..network_len + 6].copy_from_slice(&short(transport_len).to_be_bytes());
        }
        let field = network_len + flow.checksum_offset();
        let pseudo = flow.pseudo_header(transport_len).fold();
        packet[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        let kind = if flow.protocol == protocol::UDP { GsoKind::Udp } else { GsoKind::Tcp };
        Offload {
            checksum: Checksum::Partial { start: short(network_len), offset: short(flow.checksum_offset()) },
            gso: Some(Gso {
                kind,
                segment_size: short(self.segment_size),
                header_len: short(self.header_len),
                ecn: false,
            }),
        }
    }
}

fn advance(sequence: u32, payload_len: usize) -> u32 {
    // A candidate's payload is at most MAX_CANDIDATE bytes.
    sequence.wrapping_add(u32::try_from(payload_len).unwrap_or(0))
}

/// True if segmentation of `first` makes the IP header of `packet` as segment number `nth`, counted from zero.
/// Addresses and protocol are known to be equal.
fn same_network(first: &[u8], packet: &[u8], version: u8, nth: u16) -> bool {
    if version == 6 {
        return first[..4] == packet[..4] && first[7] == packet[7];
    }
    let id = |packet: &[u8]| u16::from_be_bytes([packet[4], packet[5]]);
    let dont_fragment = first[6] & 0x40 != 0;
    first[1] == packet[1]
        && first[6..9] == packet[6..9]
        && (dont_fragment || id(packet) == id(first).wrapping_add(nth))
}

/// True if two TCP headers differ in sequence number, PSH and checksum only.
fn same_tcp(first: &[u8], packet: &[u8]) -> bool {
    first[8..13] == packet[8..13]
        && (first[13] ^ packet[13]) & !TCP_PSH == 0
        && first[14..16] == packet[14..16]
        && first[18..] == packet[18..]
}

#[cfg(test)]
mod tests;
