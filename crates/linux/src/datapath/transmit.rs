//! The way out of a worker: merge, put the virtio header in front, write, and count what became of it.

use std::io;

use xlat_packet::Buffer;

use super::{Counters, Transmit};
use crate::coalesce::{Coalescer, Kinds, Sink};
use crate::tun::Queue;
use crate::virtio::{self, HEADER_LEN};

/// A handler's way out that merges within a batch.
pub(super) struct Outlet<'a> {
    coalescer: Option<Coalescer>,
    writer: Writer<'a>,
}

struct Writer<'a> {
    queue: &'a Queue,
    counters: &'a Counters,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(queue: &'a Queue, counters: &'a Counters, flows: usize, kinds: Kinds) -> Self {
        let merges = flows > 0 && (kinds.tcp || kinds.udp);
        let coalescer = merges.then(|| Coalescer::new(flows, kinds));
        Self { coalescer, writer: Writer { queue, counters } }
    }

    /// Writes what is still kept: the end of a batch.
    pub(super) fn flush(&mut self) {
        if let Some(coalescer) = &mut self.coalescer {
            coalescer.flush(&mut self.writer);
        }
    }
}

impl Transmit for Outlet<'_> {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        match &mut self.coalescer {
            Some(coalescer) => coalescer.push(packet, &mut self.writer),
            None => self.writer.write(packet, 1),
        }
    }
}

impl Sink for Writer<'_> {
    fn write(&mut self, packet: &mut Buffer<'_>, segments: u16) {
        let header = match virtio::encode(&packet.offload, packet.bytes()) {
            Ok(header) => header,
            Err(error) => {
                tracing::debug!(%error, "packet cannot be written");
                return self.counters.tx_bad_offload.add(u64::from(segments));
            }
        };
        let Some(framed) = packet.with_front(HEADER_LEN) else {
            return self.counters.tx_no_headroom.add(u64::from(segments));
        };
        framed[..HEADER_LEN].copy_from_slice(&header);
        let (counters, segments) = (self.counters, u64::from(segments));
        match self.queue.write(framed) {
            Ok(taken) if taken == framed.len() => {
                counters.tx_packets.add(1);
                counters.tx_segments.add(segments);
                counters.tx_bytes.add((taken - HEADER_LEN) as u64);
            }
            Ok(_) => counters.tx_short.add(segments),
            Err(error) => count_error(counters, &error, segments),
        }
    }
}

fn count_error(counters: &Counters, error: &io::Error, segments: u64) {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => counters.tx_full.add(segments),
        Some(libc::ENOBUFS | libc::ENOMEM) => counters.tx_no_memory.add(segments),
        Some(libc::EINVAL) => counters.tx_refused.add(segments),
        _ => counters.tx_errors.add(segments),
    }
}
