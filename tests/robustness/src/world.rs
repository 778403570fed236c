//! An engine with its surroundings: it is given packets and watched. After every packet the rules that hold for all of
//! them are checked; what holds for one kind of traffic only is the business of the targets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use xlat_config::{Config, Hint};
use xlat_engine::{
    Engine, EngineOptions, Origin, Output, Pipeline, Reason, Statistics, Traffic, Verdict, Worker,
};
use xlat_packet::{Buffer, Checksum, Offload, buffer};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

use crate::build::{ICMP4, ICMP6, UDP};
use crate::setups::Setup;
use crate::shape::{Packet, Shape, read, read_made};

/// Room behind a packet. The data path has the size of the largest packet; an ICMP error grows up to this.
const TAILROOM: usize = 1280;
/// Bytes of an IPv6 packet that are no payload when it is fragmented at the smallest MTU (40 + 8 + rounding), and the
/// rest.
const SMALLEST_STEP: usize = 1232;

/// What came of one packet.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What the engine says of it.
    pub verdict: Verdict,
    /// Packets that left, in order.
    pub sent: Vec<Packet>,
}

impl Reply {
    /// The only packet that left.
    pub fn only(&self) -> &Packet {
        assert!(self.sent.len() == 1, "{} packets left: {:?}", self.sent.len(), self.verdict);
        &self.sent[0]
    }
}

/// An engine, one worker, a clock, and the books.
pub struct World {
    /// The engine itself.
    pub engine: Arc<Engine>,
    setup: Setup,
    worker: Worker,
    now: u64,
    storage: Vec<u8>,
    /// How many packets may still leave, by what has come in.
    credit: usize,
}

#[derive(Default)]
struct Sent(Vec<Packet>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        // The data path writes its own header in front.
        assert!(packet.with_front(12).is_some(), "no room for a virtio header");
        self.0.push(Packet { bytes: packet.bytes().to_vec(), offload: packet.offload });
    }
}

/// The addresses of the host in all setups.
pub fn host() -> HostAddresses {
    HostAddresses::new(
        vec![([192, 0, 2, 1].into(), 24), ([127, 0, 0, 1].into(), 8)],
        vec![[0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()],
    )
}

/// Reads a configuration that is right; the same one only once.
pub fn config(toml: &'static str) -> Config {
    static READ: Mutex<BTreeMap<&str, Config>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    read.entry(toml).or_insert_with(|| load(toml)).clone()
}

fn load(toml: &str) -> Config {
    match xlat_config::load("setup.toml", toml, &Hint::default()) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}\n{toml}"),
    }
}

impl World {
    /// A world in its first minute.
    pub fn new(setup: &Setup) -> Self {
        let options = EngineOptions {
            hops: setup.hops,
            mtu4: setup.mtu4,
            mtu6: setup.mtu6,
            secret: [7; 16],
            shards: 2,
            flows: None,
            peers: None,
        };
        let engine = match Engine::new(&config(setup.toml), host(), options) {
            Ok(engine) => engine,
            Err(error) => panic!("{error}"),
        };
        let mut worker = engine.worker();
        let now = 60_000;
        worker.set_now(now);
        Self { engine, setup: *setup, worker, now, storage: Vec::new(), credit: 0 }
    }

    /// Puts another configuration in place; MTUs stay.
    pub fn reconfigure(&mut self, setup: &Setup) {
        if let Err(error) = self.engine.reconfigure(&config(setup.toml)) {
            panic!("{error}");
        }
        self.setup = Setup { hops: self.setup.hops, mtu4: self.setup.mtu4, mtu6: self.setup.mtu6, ..*setup };
    }

    /// Moves the clock and does what is due.
    pub fn advance(&mut self, milliseconds: u64) -> Vec<Packet> {
        self.now = self.now.saturating_add(milliseconds);
        let mut sent = Sent::default();
        let before = self.engine.statistics();
        self.worker.tick(self.now, &mut sent);
        for packet in &sent.0 {
            let shape = made(packet);
            // Answers to stored SYNs, and keepalive probes: both are small and about what came in before.
            assert!(shape.is_error(&packet.bytes) || shape.total_len == 60, "{shape:?}");
        }
        let errors = errors_sent(&self.engine.statistics()) - errors_sent(&before);
        let seen = sent.0.iter().filter(|packet| made(packet).is_error(&packet.bytes)).count() as u64;
        assert_eq!(errors, seen, "errors counted and sent");
        sent.0
    }

    /// Sets the clock, backwards too.
    pub fn set_clock(&mut self, now: u64) {
        self.now = now;
        self.worker.set_now(now);
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Gives the engine a packet that owes nothing to hardware, without firewall mark.
    pub fn plain(&mut self, bytes: &[u8]) -> Reply {
        self.take(bytes, Offload::NONE, 0)
    }

    /// Gives the engine a packet and checks what must hold for any.
    pub fn take(&mut self, bytes: &[u8], offload: Offload, mark: u32) -> Reply {
        let end = buffer::HEADROOM + bytes.len();
        self.storage.clear();
        self.storage.resize(end + TAILROOM, 0xee);
        self.storage[buffer::HEADROOM..end].copy_from_slice(bytes);
        let before = self.engine.statistics();
        let explained = self.engine.explain(bytes, mark);
        let mut sent = Sent::default();
        let mut packet = Buffer::new(&mut self.storage, buffer::HEADROOM, end, offload);
        let verdict = self.worker.process(&mut packet, Origin::routed(mark), &mut sent);
        let after = self.engine.statistics();
        let reply = Reply { verdict, sent: sent.0 };
        // What state will say cannot be told beforehand in every case, nor what the second half of a hairpinned packet
        // meets; the rest can.
        let hairpin = explained.steps.iter().any(|step| step.title == "hairpin");
        if offload == Offload::NONE && !hairpin && !self.setup.toml.contains("nat64") {
            assert_eq!(explained.verdict, verdict, "explained as:\n{explained}");
        }
        let input = Packet { bytes: bytes.to_vec(), offload };
        self.check_amount(&input, &reply);
        check_books(&input, &reply, &before, &after);
        let shape = read(bytes);
        for out in &reply.sent {
            let made = made(out);
            self.check_size(&input, shape.as_ref(), out, &made);
            let whole = offload == Offload::NONE && shape.as_ref().is_some_and(|shape| !shape.is_fragment());
            if whole && verdict != Verdict::Translated && made.is_error(&out.bytes) {
                let quoted = &out.bytes[made.upper_at + 8..];
                assert!(bytes.starts_with(quoted), "quotes something else: {quoted:02x?}");
            }
        }
        if offload.gso.is_none()
            && let (Some(shape), Verdict::Translated) = (&shape, verdict)
            && !shape.is_fragment()
        {
            self.check_translation(&input, shape, &reply);
        }
        reply
    }

    /// Nothing multiplies: pieces of what came in, and an error for each packet.
    fn check_amount(&mut self, input: &Packet, reply: &Reply) {
        let segments = match input.offload.gso {
            Some(gso) => input.bytes.len() / usize::from(gso.segment_size.max(1)) + 1,
            None => 1,
        };
        self.credit += segments * 2 + input.bytes.len() / SMALLEST_STEP + 1;
        let left = self.credit.checked_sub(reply.sent.len());
        assert!(left.is_some(), "{} packets left", reply.sent.len());
        self.credit = left.unwrap_or(0);
    }

    fn check_size(&self, input: &Packet, shape: Option<&Shape>, out: &Packet, made: &Shape) {
        if input.offload.gso.is_some() {
            return;
        }
        assert!(out.offload.gso.is_none(), "an aggregate made of a packet");
        if made.ends.is6() {
            let free = shape.is_some_and(|shape| !shape.ends.is6() && !shape.df);
            let limit = if free { self.setup.mtu6.min(self.setup.lowest) } else { self.setup.mtu6 };
            assert!(out.bytes.len() <= limit as usize, "{} bytes, limit {limit}", out.bytes.len());
        } else {
            assert!(out.bytes.len() <= self.setup.mtu4 as usize, "{} bytes", out.bytes.len());
        }
    }

    /// What holds for every packet that was translated by itself.
    fn check_translation(&self, input: &Packet, shape: &Shape, reply: &Reply) {
        let error = shape.is_error(&input.bytes);
        let made: Vec<_> = reply.sent.iter().map(|out| (made(out), out)).collect();
        for (to, _) in &made {
            if self.setup.hops == Hops::Decrement {
                assert_eq!(to.hops, shape.hops - 1, "hops: {to:?}");
            }
        }
        let parts: Vec<_> = made.iter().map(|(to, out)| (to.clone(), out.bytes.clone())).collect();
        let Some((to, upper)) = crate::shape::reassemble(&parts) else {
            panic!("what left is not one datagram: {made:?}");
        };
        if error {
            assert!(to.is_error(&made[0].1.bytes), "an error became something else");
            return;
        }
        let from = shape.upper(&input.bytes);
        assert_eq!(from.len(), upper.len(), "layer 4 has another length");
        let icmp = matches!(shape.protocol, ICMP4 | ICMP6);
        let protocol = if icmp { to.ends.icmp() } else { shape.protocol };
        assert_eq!(to.protocol, protocol);
        if input.offload.checksum != Checksum::Complete && input.offload.checksum != Checksum::Verified {
            return;
        }
        let whole = Packet { bytes: upper.clone(), offload: made[0].1.offload };
        let of = |shape: &Shape, packet: &Packet| {
            Shape { upper_at: 0, total_len: packet.bytes.len(), part: None, ..shape.clone() }.wrong_by(packet)
        };
        let (before, after) = (of(shape, &Packet::plain(from.to_vec())), of(&to, &whole));
        if shape.protocol == UDP && before.is_none() {
            assert!(after.is_none_or(|wrong_by| wrong_by == 0), "a checksum made up, and wrong");
            assert!(!to.ends.is6() || shape.ends.is6() || after.is_some(), "IPv6 UDP without checksum");
        } else {
            assert_eq!(before, after, "the checksum is not as right or wrong as it was");
        }
        // Behind ports or identifier, and but for the checksum, nothing changes.
        let at = crate::build::checksum_at(shape.protocol).filter(|at| at + 2 <= from.len());
        let tail = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if let Some(at) = at {
                bytes[at..at + 2].fill(0);
                let changing = if icmp { [0..2, 4..6] } else { [0..4, 0..0] };
                changing.into_iter().for_each(|range| bytes[range].fill(0));
            }
            bytes
        };
        assert_eq!(tail(from), tail(&upper), "the payload changed");
    }
}

fn made(packet: &Packet) -> Shape {
    read_made(packet).unwrap_or_else(|what| panic!("{what}: {packet:02x?}"))
}

fn errors_sent(books: &Statistics) -> u64 {
    books.traffic(Traffic::ErrorsSent4) + books.traffic(Traffic::ErrorsSent6)
}

/// Every packet in is counted once, and so is what became of it.
fn check_books(input: &Packet, reply: &Reply, before: &Statistics, after: &Statistics) {
    let grown = |what: Traffic| after.traffic(what) - before.traffic(what);
    let reasons = |books: &Statistics| books.reasons().iter().map(|(_, count)| count).sum::<u64>();
    let ended = reasons(after) - reasons(before);
    let received = grown(Traffic::Received4) + grown(Traffic::Received6);
    let not_ip = Reason::Pipeline(Pipeline::NotIp);
    if reply.verdict.reason() == Some(not_ip) {
        assert_eq!((received, ended), (0, 1));
    } else {
        assert_eq!(received, 1, "received");
    }
    if let Some(reason) = reply.verdict.reason() {
        assert!(after.reason(reason) > before.reason(reason), "{reason} is not counted");
    }
    let fragment = read(&input.bytes).is_some_and(|shape| shape.is_fragment());
    if input.offload.gso.is_none() && !fragment {
        let translated = u64::from(reply.verdict == Verdict::Translated);
        assert_eq!((grown(Traffic::Translated), ended), (translated, 1 - translated), "{:?}", reply.verdict);
    }
    let held = Reason::Pipeline(Pipeline::FragmentHeld);
    let total = |what: Traffic| after.traffic(what);
    if input.offload.gso.is_none() {
        let came = total(Traffic::Received4) + total(Traffic::Received6) + after.reason(not_ip);
        let went = total(Traffic::Translated) + reasons(after);
        assert!(went - after.reason(held) <= came && came <= went, "{came} came, {went} went");
    }
}
