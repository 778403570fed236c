//! Reading ahead: small packets are read into places of their own, so that a handler hears of several before it gets
//! the first. A large packet does not fit such a place and ends the series; its memory is busy enough.

use std::io;

use xlat_packet::buffer::{HEADROOM, MAX_PACKET};
use xlat_packet::{Buffer, Offload};

use crate::tun::Queue;
use crate::virtio::HEADER_LEN;

/// Packets that are read ahead.
const PLACES: usize = 32;
/// Bytes of a packet that has room in a place: an Ethernet frame's.
const SMALL: usize = 1536;
/// Room behind a packet, in bytes: for what a handler appends.
const TAILROOM: usize = 256;
/// Bytes of a place.
const PLACE: usize = HEADROOM + SMALL + TAILROOM;

/// A packet as it was read.
#[derive(Clone, Copy, Default)]
struct Read {
    /// Bytes of the packet.
    len: usize,
    header: [u8; HEADER_LEN],
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
            large: vec![0; HEADROOM + MAX_PACKET + TAILROOM],
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
            let n = queue.read_split(small, &mut self.large[HEADROOM + SMALL..HEADROOM + MAX_PACKET])?;
            let mut header = [0; HEADER_LEN];
            header.copy_from_slice(&small[..HEADER_LEN]);
            let len = n.saturating_sub(HEADER_LEN);
            self.reads[self.count] = Read { len, header };
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
        self.places.chunks_exact(PLACE).zip(reads).map(|(place, read)| &place[HEADROOM..HEADROOM + read.len])
    }

    /// Packet `index` with its virtio header. Empty if the read gave no packet.
    pub(super) fn packet(&mut self, index: usize) -> (Buffer<'_>, [u8; HEADER_LEN]) {
        let Read { len, header } = self.reads[index];
        let storage =
            if len > SMALL { &mut self.large[..] } else { &mut self.places[index * PLACE..][..PLACE] };
        (Buffer::new(storage, HEADROOM, HEADROOM + len, Offload::NONE), header)
    }
}
