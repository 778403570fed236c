//! What the tables of NAT64 report while a packet is looked up: lines for the log, stored SYNs to answer, probes to send.
//!
//! The tables report under their lock, so this only notes down; [`Recorder::flush`] acts afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xlat_nat64::{BibInfo, Events, Protocol, SessionInfo, Transport4};
use xlat_packet::checksum::Sum;
use xlat_packet::{ipv6, protocol, tcp};
use xlat_translate::refusal::{Answer, PORT_UNREACHABLE4, PORT_UNREACHABLE6};
use xlat_translate::rfc6052::Pool6;

use crate::counters::Traffic;
use crate::engine::Generation;
use crate::flows::FlowEvents;
use crate::instance::{Instance, Nat64};
use crate::worker::{LogEvent, Output, Tools};

/// Length of a probe in bytes.
pub(crate) const PROBE_LEN: usize = ipv6::LEN + tcp::LEN;
/// Hop limit and window of a probe, as Jool's users see them.
const PROBE_HOP_LIMIT: u8 = 255;
const PROBE_WINDOW: u16 = 8192;

/// A keepalive segment.
pub(crate) type Probe = [u8; PROBE_LEN];

/// Notes down what the tables report.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    log: Vec<(LogEvent, ToLog)>,
    heard: Heard,
    expired: Vec<Box<[u8]>>,
    probes: Vec<SessionInfo>,
}

/// Whether an event goes to the instance's log, or only to whoever listens.
pub(crate) type ToLog = bool;

/// Whether somebody listens to what happens to flows, besides the logs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Option<Arc<AtomicBool>>);

impl Heard {
    pub(crate) fn new(heard: Arc<AtomicBool>) -> Self {
        Self(Some(heard))
    }

    /// Where an event is to go that the log wants or not; `None`: nowhere.
    pub(crate) fn wants(&self, to_log: ToLog) -> Option<ToLog> {
        let heard = || self.0.as_ref().is_some_and(|heard| heard.load(Ordering::Relaxed));
        (to_log || heard()).then_some(to_log)
    }
}

/// A recorder that listens to the tables of one instance. What they tell of flows goes on at once, in the order of events.
pub(crate) struct Listener<'a> {
    recorder: &'a mut Recorder,
    nat64: &'a Nat64,
}

impl Events for Listener<'_> {
    fn bib_created(&mut self, entry: &BibInfo) {
        self.recorder.note(self.nat64.log_bib, || LogEvent::BibCreated(*entry));
    }

    fn bib_removed(&mut self, entry: &BibInfo) {
        self.recorder.note(self.nat64.log_bib, || LogEvent::BibRemoved(*entry));
    }

    fn session_created(&mut self, session: &SessionInfo) {
        self.recorder.note(self.nat64.log_sessions, || LogEvent::SessionCreated(*session));
    }

    fn session_removed(&mut self, session: &SessionInfo) {
        self.recorder.note(self.nat64.log_sessions, || LogEvent::SessionRemoved(*session));
    }

    fn stored_syn_expired(&mut self, original: &[u8]) {
        self.recorder.expired.push(original.into());
    }

    fn probe(&mut self, session: &SessionInfo) {
        self.recorder.probes.push(*session);
    }

    fn promote(&mut self, session: &SessionInfo, mark: u32) -> bool {
        FlowEvents(self.nat64).promote(session, mark)
    }

    fn demote(&mut self, session: &SessionInfo) {
        FlowEvents(self.nat64).demote(session);
    }

    fn idle(&mut self, session: &SessionInfo) {
        FlowEvents(self.nat64).idle(session);
    }

    fn session_updated(&mut self, session: &SessionInfo) {
        FlowEvents(self.nat64).session_updated(session);
    }

    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        FlowEvents(self.nat64).port(protocol, mask, taken);
    }
}

impl Recorder {
    /// One that also tells those of whom `heard` says that they listen.
    pub(crate) fn new(heard: Heard) -> Self {
        Self { heard, ..Self::default() }
    }

    fn note(&mut self, to_log: ToLog, event: impl FnOnce() -> LogEvent) {
        if let Some(to_log) = self.heard.wants(to_log) {
            self.log.push((event(), to_log));
        }
    }

    /// What the tables of `nat64` are to tell.
    pub(crate) fn listen<'a>(&'a mut self, nat64: &'a Nat64) -> Listener<'a> {
        Listener { recorder: self, nat64 }
    }

    /// True if nothing was reported, which is so for nearly every packet.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.expired.is_empty() && self.probes.is_empty()
    }

    /// Acts on what was noted down.
    pub(crate) fn flush(
        tools: &mut Tools,
        generation: &Generation,
        instance: &Instance,
        out: &mut dyn Output,
    ) {
        if tools.recorder.is_empty() {
            return;
        }
        let mut recorder = std::mem::take(&mut tools.recorder);
        for (event, to_log) in recorder.log.drain(..) {
            out.log(&instance.name, event, to_log);
        }
        for original in recorder.expired.drain(..) {
            tools.counters().traffic(Traffic::HeldLost, 1);
            let answer = match original.first().map(|byte| byte >> 4) {
                Some(6) => Answer::unreachable6(PORT_UNREACHABLE6),
                _four => Answer::unreachable4(PORT_UNREACHABLE4),
            };
            tools.answer(generation, &original, answer, out);
        }
        if let Some(nat64) = instance.nat64() {
            for session in recorder.probes.drain(..) {
                tools.send_copy(&probe(&nat64.pool6, &session), out);
            }
        }
        tools.recorder = recorder;
    }
}

/// The keepalive to the IPv6 client of an established connection that has been silent for its lifetime (RFC 6146
/// 3.5.2.2): an empty segment with ACK, sequence and acknowledgement 0.
pub(crate) fn probe(pool6: &Pool6, session: &SessionInfo) -> Probe {
    let mut packet = [0; PROBE_LEN];
    let (src, dst) = (pool6.embed(session.remote.addr), session.client.addr);
    let (header, segment) = packet.split_at_mut(ipv6::LEN);
    let mut fields = tcp::Header {
        src_port: session.remote.port,
        dst_port: session.client.port,
        sequence: 0,
        acknowledgement: 0,
        header_len: tcp::LEN as u8,
        flags: tcp::ACK,
        window: PROBE_WINDOW,
        checksum: 0,
        urgent: 0,
    };
    if let (Some(header), Some(segment)) = (header.first_chunk_mut(), segment.first_chunk_mut()) {
        fields.write(segment);
        let pseudo = Sum::addresses6(src, dst).plus(Sum::length_and_protocol(tcp::LEN as u32, protocol::TCP));
        fields.checksum = Sum::of(segment).plus(pseudo).finish();
        fields.write(segment);
        ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: tcp::LEN as u16,
            next_header: protocol::TCP,
            hop_limit: PROBE_HOP_LIMIT,
            src,
            dst,
        }
        .write(header);
    }
    packet
}
