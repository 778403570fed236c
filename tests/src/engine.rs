//! The bare engine as a [`Subject`]: no device, no kernel, a clock that the case moves.

use std::sync::Arc;

use xlat_engine::{Engine, EngineOptions, Origin, Output, Verdict, Worker};
use xlat_packet::{Buffer, Checksum, Gso, GsoKind, Offload, buffer};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

use crate::packet::{Aggregate, Frame};
use crate::runner::{Reply, Subject};
use crate::vector::{Fate, Host};

/// How often the engine's clockwork is called, as the data path does it.
const TICK: u64 = 250;
/// The same for long waits, which would take too many calls.
const LONG_TICK: u64 = 1000;

/// One engine with one worker.
#[derive(Default)]
pub struct Bare {
    worker: Option<Worker>,
    now: u64,
    storage: Vec<u8>,
}

#[derive(Default)]
struct Sent(Vec<Frame>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.0.push(frame(packet.bytes(), packet.offload));
    }
}

/// A packet with its offload state, in the language's terms.
pub fn frame(bytes: &[u8], Offload { checksum, gso }: Offload) -> Frame {
    Frame {
        bytes: bytes.to_vec(),
        partial: match checksum {
            Checksum::Partial { start, offset } => Some((start, offset)),
            Checksum::Complete | Checksum::Verified => None,
        },
        verified: checksum == Checksum::Verified,
        gso: gso.map(|gso| Aggregate {
            tcp: gso.kind == GsoKind::Tcp,
            size: gso.segment_size,
            headers: gso.header_len,
            ecn: gso.ecn,
        }),
        ..Frame::default()
    }
}

/// The offload state of a packet, in the engine's terms.
pub fn offload(frame: &Frame) -> Offload {
    let checksum = match frame.partial {
        Some((start, offset)) => Checksum::Partial { start, offset },
        None if frame.verified => Checksum::Verified,
        None => Checksum::Complete,
    };
    let gso = frame.gso.map(|gso| Gso {
        kind: if gso.tcp { GsoKind::Tcp } else { GsoKind::Udp },
        segment_size: gso.size,
        header_len: gso.headers,
        ecn: gso.ecn,
    });
    Offload { checksum, gso }
}

impl Subject for Bare {
    fn configure(&mut self, config: &str, host: &Host) -> Result<(), String> {
        let loaded =
            xlat_config::load("case", config, &xlat_config::Hint::default()).map_err(|e| e.to_string())?;
        let addresses = HostAddresses::new(host.addrs4.clone(), host.addrs6.clone());
        let options = EngineOptions {
            hops: Hops::Decrement,
            mtu4: host.mtu4,
            mtu6: host.mtu6,
            secret: *b"a secret of test",
            shards: 2,
            flows: None,
            peers: None,
        };
        let engine: Arc<Engine> =
            Engine::new(&loaded.config, addresses, options).map_err(|e| e.to_string())?;
        // Any epoch will do; zero would hide mistakes with times before the start.
        self.now = 1_000_000;
        let mut worker = engine.worker();
        worker.set_now(self.now);
        self.worker = Some(worker);
        self.storage = vec![0; buffer::HEADROOM + buffer::MAX_PACKET];
        Ok(())
    }

    fn packet(&mut self, frame: &Frame) -> Reply {
        let Some(worker) = &mut self.worker else { return Reply::default() };
        let end = buffer::HEADROOM + frame.bytes.len();
        self.storage.resize(self.storage.len().max(end), 0);
        self.storage[buffer::HEADROOM..end].copy_from_slice(&frame.bytes);
        let mut packet = Buffer::new(&mut self.storage, buffer::HEADROOM, end, offload(frame));
        let mut sent = Sent::default();
        let fate = match worker.process(&mut packet, Origin::routed(frame.mark), &mut sent) {
            Verdict::Translated => Fate::Passed,
            Verdict::Dropped(reason) => Fate::Dropped(reason.name().to_owned()),
            Verdict::Returned(reason) => Fate::Returned(reason.name().to_owned()),
            Verdict::Held(reason) => Fate::Held(reason.name().to_owned()),
        };
        Reply { out: sent.0, fate: Some(fate) }
    }

    fn advance(&mut self, milliseconds: u64) -> Reply {
        let Some(worker) = &mut self.worker else { return Reply::default() };
        let mut sent = Sent::default();
        let end = self.now + milliseconds;
        let step = if milliseconds > 60_000 { LONG_TICK } else { TICK };
        while self.now < end {
            self.now = (self.now + step).min(end);
            worker.tick(self.now, &mut sent);
        }
        Reply { out: sent.0, fate: None }
    }
}
