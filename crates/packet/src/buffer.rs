//! The buffer that one packet lives in: bytes with room in front and behind, and the packet's offload state.
//!
//! Translation moves the start of the packet and writes a new header there; the payload stays where it is.

use crate::offload::Offload;

/// Room in front of a packet that every buffer of the data path has, in bytes.
///
/// The largest growth is IPv4 to IPv6 with a Fragment header (28); the rest is for a virtio header and alignment.
pub const HEADROOM: usize = 64;

/// Largest IP packet the data path handles, in bytes: an IPv6 header with the largest payload.
pub const MAX_PACKET: usize = 40 + 65535;

/// One packet in one buffer.
#[derive(Debug)]
pub struct Buffer<'a> {
    storage: &'a mut [u8],
    start: usize,
    end: usize,
    /// What the packet still owes to hardware.
    pub offload: Offload,
}

impl<'a> Buffer<'a> {
    /// The packet `storage[start..end]`.
    ///
    /// `end` is cut to the storage and `start` to `end`: a wrong argument gives a shorter packet, never a panic.
    pub fn new(storage: &'a mut [u8], start: usize, end: usize, offload: Offload) -> Self {
        let end = end.min(storage.len());
        let start = start.min(end);
        Self { storage, start, end, offload }
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The packet, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Length of the packet in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes free in front of the packet.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Bytes free behind the packet.
    pub fn tailroom(&self) -> usize {
        self.storage.len() - self.end
    }

    /// Replaces the first `old` bytes by `new` bytes of unspecified content, moving only the start of the
    /// packet. False, and nothing changed, if the packet is shorter than `old` or the headroom does not suffice.
    #[must_use]
    pub fn resize_front(&mut self, old: usize, new: usize) -> bool {
        match (self.start + old).checked_sub(new) {
            Some(start) if old <= self.len() => {
                self.start = start;
                true
            }
            _ => false,
        }
    }

    /// Cuts the packet to its first `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Appends `len` zero bytes. False, and nothing changed, if the tailroom does not suffice.
    #[must_use]
    pub fn extend_zeroed(&mut self, len: usize) -> bool {
        if len > self.tailroom() {
            return false;
        }
        self.storage[self.end..self.end + len].fill(0);
        self.end += len;
        true
    }

    /// Replaces the whole packet by `bytes`, placed at `headroom` bytes into the storage, with no offload state.
    /// False, and nothing changed, if it does not fit.
    #[must_use]
    pub fn replace(&mut self, headroom: usize, bytes: &[u8]) -> bool {
        let Some(end) = headroom.checked_add(bytes.len()).filter(|end| *end <= self.storage.len()) else {
            return false;
        };
        self.storage[headroom..end].copy_from_slice(bytes);
        (self.start, self.end, self.offload) = (headroom, end, Offload::NONE);
        true
    }

    /// The storage from `room` bytes before the packet to its end: where the data path writes its own header
    /// (virtio) in front of the packet. None if there is less headroom.
    pub fn with_front(&mut self, room: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(room)?;
        Some(&mut self.storage[start..self.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_moves_payload_stays() {
        let mut storage = [0u8; 100];
        storage[60..64].copy_from_slice(&[1, 2, 3, 4]);
        let mut packet = Buffer::new(&mut storage, 40, 64, Offload::NONE);
        assert!(packet.resize_front(20, 40));
        assert_eq!((packet.headroom(), packet.len()), (20, 44));
        assert_eq!(packet.bytes()[40..], [1, 2, 3, 4]);
        assert!(!packet.resize_front(0, 21));
        assert!(!packet.resize_front(45, 0));
        assert!(packet.resize_front(40, 20));
        assert_eq!(packet.bytes()[20..], [1, 2, 3, 4]);
    }

    #[test]
    fn wrong_bounds_give_a_shorter_packet() {
        let mut storage = [0u8; 10];
        assert_eq!(Buffer::new(&mut storage, 20, 30, Offload::NONE).len(), 0);
        assert_eq!(Buffer::new(&mut storage, 4, 30, Offload::NONE).len(), 6);
    }

    #[test]
    fn tail() {
        let mut storage = [9u8; 10];
        let mut packet = Buffer::new(&mut storage, 2, 6, Offload::NONE);
        assert!(packet.extend_zeroed(2));
        assert_eq!(packet.bytes(), [9, 9, 9, 9, 0, 0]);
        assert!(!packet.extend_zeroed(3));
        packet.truncate(1);
        packet.truncate(5);
        assert_eq!(packet.len(), 1);
    }
}
