//! Reading ahead: small packets are read into places of their own, so that a handler hears of several before it gets
//! the first. A large packet does not fit such a place and ends the series; its memory is busy enough.

use std::io;

use xlat_fastpath::handover;
use xlat_packet::buffer::{HEADROOM, MAX_PACKET};
use xlat_packet::{Buffer, Offload};

use super::origin::{self, Origin};
use crate::tun::Queue;
use crate::virtio::HEADER_LEN;

/// Packets that are read ahead.
const PLACES: usize = 32;
/// Bytes of a read that has room in a place: an Ethernet frame's.
const SMALL: usize = 1536;
/// Room behind a packet, in bytes: for what a handler appends.
const TAILROOM: usize = 256;
/// Most bytes of a read: the largest packet, and what the program puts in front of it.
const MAX_READ: usize = handover::LEN + MAX_PACKET;
/// Bytes of a place.
const PLACE: usize = HEADROOM + SMALL + TAILROOM;

/// A packet as it was read.
#[derive(Clone, Copy, Default)]
struct Read {
    /// Bytes that were read behind the virtio header.
    len: usize,
    /// How many of them the program put in front of the packet.
    front: usize,
    header: [u8; HEADER_LEN],
    origin: Origin,
}

/// How a packet was read.
pub(super) struct Arrival {
    /// The virtio header, as the kernel wrote it.
    pub(super) header: [u8; HEADER_LEN],
    /// Bytes between the virtio header and the packet.
    pub(super) front: usize,
    /// What those say.
    pub(super) origin: Origin,
}

/// A series of packets, read one after the other.
pub(super) struct Ahead {
    places: Vec<u8>,
    large: Vec<u8>,
    reads: [Read; PLACES],
    count: usize,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            places: vec![0; PLACES * PLACE],
            large: vec![0; HEADROOM + MAX_READ + TAILROOM],
            reads: [Read::default(); PLACES],
            count: 0,
        }
    }

    /// Forgets the packets and reads a new series of at most `most`. An error is what ended it; those read before it are
    /// there.
    pub(super) fn read(&mut self, queue: &Queue, most: usize) -> io::Result<()> {
        self.count = 0;
        while self.count < most.min(PLACES) {
            let place = &mut self.places[self.count * PLACE..][..PLACE];
            let small = &mut place[HEADROOM - HEADER_LEN..HEADROOM + SMALL];
            let n = queue.read_split(small, &mut self.large[HEADROOM + SMALL..HEADROOM + MAX_READ])?;
            let mut header = [0; HEADER_LEN];
            header.copy_from_slice(&small[..HEADER_LEN]);
            let len = n.saturating_sub(HEADER_LEN);
            let bytes = &small[HEADER_LEN..];
            let (origin, front) = origin::split(&bytes[..len.min(bytes.len())]);
            self.reads[self.count] = Read { len, front, header, origin };
            self.count += 1;
            if len > SMALL {
                self.large[HEADROOM..HEADROOM + SMALL].copy_from_slice(&small[HEADER_LEN..]);
                break;
            }
        }
        Ok(())
    }

    /// How many packets there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The small packets.
    pub(super) fn small(&self) -> impl Iterator<Item = &[u8]> {
        let reads = self.reads[..self.count].iter().filter(|read| read.len <= SMALL);
        self.places
            .chunks_exact(PLACE)
            .zip(reads)
            .map(|(place, read)| &place[HEADROOM + read.front..HEADROOM + read.len])
    }

    /// Packet `index`, and how it was read. Empty if the read gave no packet.
    pub(super) fn packet(&mut self, index: usize) -> (Buffer<'_>, Arrival) {
        let Read { len, front, header, origin } = self.reads[index];
        let storage =
            if len > SMALL { &mut self.large[..] } else { &mut self.places[index * PLACE..][..PLACE] };
        let packet = Buffer::new(storage, HEADROOM + front, HEADROOM + len, Offload::NONE);
        (packet, Arrival { header, front, origin })
    }
}
