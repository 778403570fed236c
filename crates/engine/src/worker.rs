//! A worker: what one thread needs to take packets through the engine without sharing a written cache line.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use xlat_nat64::{BibInfo, Instant, SessionInfo};
use xlat_packet::{Buffer, Offload, buffer, ipv4, ipv6};
use xlat_translate::own_error;
use xlat_translate::policy::Hops;
use xlat_translate::refusal::Answer;
use xlat_translate::rfc6791;

use crate::ahead;
use crate::counters::{Counters, Traffic};
use crate::engine::{Engine, Generation};
use crate::explain::{Explanation, explain};
use crate::identification::Identifications;
use crate::ledger::Pen;
use crate::limiter::{Limiter, Rate};
use crate::origin::Origin;
use crate::pipeline::{self, Context, Heard, Recorder};
use crate::random::Random;
use crate::reason::Verdict;

/// Hop limit of our own errors, as Linux sends them.
const ERROR_HOP_LIMIT: u8 = 64;

/// Calls of the tables' bounded expiry in one tick.
const EXPIRY_ROUNDS: usize = 16;

/// Where a worker's packets and log lines go.
pub trait Output {
    /// Sends `packet`; its content is unspecified afterwards.
    fn send(&mut self, packet: &mut Buffer<'_>);

    /// Gives `packet`, which was taken up at an interface's ingress and is none of our business, to the host as it came.
    fn give_back(&mut self, packet: &mut Buffer<'_>) {
        self.send(packet);
    }

    /// Notes what happened to a flow of `instance`: for its log, if `_to_log`, and in any case for whoever listens. Called on
    /// the packet path: must not block.
    fn log(&mut self, _instance: &str, _event: LogEvent, _to_log: bool) {}

    /// Notes what is about to become of a packet, where `logging-debug` asks for it. Must not block.
    fn trace(&mut self, _explanation: &Explanation) {}

    /// Notes that a packet ends here or is none of our business. `packet` is what came in; after the first half of a hairpin
    /// it is what that made of it. Must not block.
    fn stopped(&mut self, _packet: &Buffer<'_>, _origin: Origin, _verdict: Verdict) {}
}

/// What `logging-bib` and `logging-session` ask for, or somebody who listens ([`Engine::heard`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Traffic made a BIB entry.
    BibCreated(BibInfo),
    /// A BIB entry ended.
    BibRemoved(BibInfo),
    /// Traffic made a session.
    SessionCreated(SessionInfo),
    /// A session ended.
    SessionRemoved(SessionInfo),
}

/// Takes packets through the engine; one for each thread.
pub struct Worker {
    engine: Arc<Engine>,
    generation: Cache<Arc<ArcSwap<Generation>>, Arc<Generation>>,
    tools: Tools,
}

/// What a packet's way needs besides the packet and the configuration.
pub(crate) struct Tools {
    pub(crate) pen: Pen,
    pub(crate) random: Random,
    pub(crate) now: Instant,
    pub(crate) recorder: Recorder,
    /// Identifications for IPv4 packets whose original had none.
    pub(crate) ids: Identifications,
    /// Holds one segment of an aggregate, or one held fragment, with headroom.
    pub(crate) segment: Vec<u8>,
    /// Holds one piece of a packet that is being fragmented, with headroom.
    pub(crate) piece: Vec<u8>,
    limiter: Limiter,
}

impl Worker {
    pub(crate) fn new(engine: Arc<Engine>, pen: Pen, seed: [u8; 16]) -> Self {
        engine.looks().comes();
        let generation = Cache::new(engine.current());
        let mut random = Random::new(seed);
        let room = buffer::HEADROOM + buffer::MAX_PACKET;
        let tools = Tools {
            pen,
            now: Instant(0),
            recorder: Recorder::new(Heard::new(engine.heard())),
            segment: vec![0; room],
            piece: vec![0; room],
            limiter: Limiter::new(seed),
            ids: Identifications::new(&mut random),
            random,
        };
        Self { engine, generation, tools }
    }

    /// Sets the time, in milliseconds since an arbitrary epoch that all workers share. Once a batch is enough. What others want
    /// to see of the tables is copied here, too: some 40 microseconds of work at most.
    pub fn set_now(&mut self, now_ms: u64) {
        self.tools.now = Instant(now_ms);
        self.engine.looks().pass();
    }

    /// Takes one packet from the device: translates and sends it, answers it, holds it, or lets it end.
    ///
    /// The packet's content is unspecified afterwards.
    pub fn process(&mut self, packet: &mut Buffer<'_>, origin: Origin, out: &mut dyn Output) -> Verdict {
        let generation = self.generation.load();
        if generation.traces {
            out.trace(&explain(generation, packet.bytes(), origin));
        }
        self.tools.pen.follow(generation);
        pipeline::process(&mut Context { generation, tools: &mut self.tools, out, origin }, packet)
    }

    /// Says which packets are about to be processed, so that what the tables have about them is fetched from memory
    /// for all of them at the same time. Worth while for a batch; never needed.
    pub fn expect<'p>(&mut self, packets: impl IntoIterator<Item = &'p [u8]>) {
        self.engine.looks().pass();
        ahead::look_ahead(self.generation.load(), packets);
    }

    /// Does what is due: ends what has timed out. To be called about four times a second, by every worker.
    pub fn tick(&mut self, now_ms: u64, out: &mut dyn Output) {
        self.set_now(now_ms);
        let Some(_unchanged) = self.engine.begin_tick(now_ms) else { return };
        let generation = self.generation.load();
        self.tools.pen.follow(generation);
        for instance in &generation.instances {
            self.tools.pen.charge(instance.place);
            let Some(nat64) = instance.nat64() else { continue };
            // A bounded amount of work, so that packets do not wait for it; the rest is for the next tick.
            for _ in 0..EXPIRY_ROUNDS {
                let mut listener = self.tools.recorder.listen(nat64);
                let more = nat64.tables.expire(&nat64.policy, self.tools.now, &mut listener);
                Recorder::flush(&mut self.tools, generation, instance, out);
                if !more {
                    break;
                }
            }
            let counters = self.tools.counters();
            nat64.reassembly.expire(self.tools.now, &mut |refusal, _first| {
                counters.traffic(Traffic::HeldLost, 1);
                counters.reason(crate::reason::Reason::Fragment(refusal));
            });
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.engine.looks().goes();
    }
}

impl Tools {
    /// Where what happens now is counted.
    pub(crate) fn counters(&self) -> &Counters {
        self.pen.counters()
    }

    /// Sends the ICMP error `answer` about `offender` to its sender, if the rules and the limit allow one.
    pub(crate) fn answer(
        &mut self,
        generation: &Generation,
        offender: &[u8],
        answer: Answer,
        out: &mut dyn Output,
    ) {
        let mut message = [0; own_error::MAX_LEN];
        let Some((len, sent)) = self.build_error(generation, offender, answer, &mut message) else {
            self.counters().traffic(Traffic::ErrorsWithheld, 1);
            return;
        };
        self.send_copy(&message[..len], out);
        self.counters().traffic(sent, 1);
    }

    /// Builds the ICMP error `answer` about `offender` into `message`, if the rules and the limit allow one; gives its length
    /// and how it is counted.
    pub(crate) fn build_error(
        &mut self,
        generation: &Generation,
        offender: &[u8],
        answer: Answer,
        message: &mut [u8; own_error::MAX_LEN],
    ) -> Option<(usize, Traffic)> {
        // Our own errors pass the kernel's forwarding once on the TUN path.
        let hop_limit = ERROR_HOP_LIMIT + u8::from(generation.hops == Hops::Restore);
        let host = &generation.host;
        let (destination, len, sent) = if offender.first()? >> 4 == 6 {
            let destination = ipv6::Header::parse(offender)?.src;
            let src = host.source_for6(destination)?;
            let len = own_error::build6(message, offender, answer, src, hop_limit)?;
            (IpAddr::V6(destination), len, Traffic::ErrorsSent6)
        } else {
            let destination = ipv4::Header::parse(offender)?.src;
            // A host without IPv4 of its own has the dummy address (RFC 7600).
            let src = host.source_for4(destination).unwrap_or(rfc6791::DUMMY);
            let id = self.ids.own();
            let len = own_error::build4(message, offender, answer, src, hop_limit, id)?;
            (IpAddr::V4(destination), len, Traffic::ErrorsSent4)
        };
        self.limiter.allows(destination, generation.error_rate, self.now.0).then_some((len, sent))
    }

    /// Sends a packet of our own making.
    pub(crate) fn send_copy(&mut self, bytes: &[u8], out: &mut dyn Output) {
        let mut storage = [0; buffer::HEADROOM + own_error::MAX_LEN];
        let mut packet = Buffer::new(&mut storage, 0, 0, Offload::NONE);
        if packet.replace(buffer::HEADROOM, bytes) {
            out.send(&mut packet);
        }
    }
}

/// The rate that limits errors: the most generous of the instances', since a packet that none takes has none.
pub(crate) fn error_rate(rates: impl Iterator<Item = Rate>) -> Rate {
    let default = Rate { per_second: 100, burst: 200 };
    rates.max_by_key(|rate| (rate.per_second, rate.burst)).unwrap_or(default)
}
