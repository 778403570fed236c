//! A packet's way through the instances, one file for each kind of translator below.
//!
//! Every step either passes the packet on or ends it with a [`Stop`]: a named reason and the ICMP error, if any,
//! that the sender is owed. A packet that one instance calls none of its business is offered to the next.

mod fragments;
pub(crate) mod nat64;
mod siit;
mod stateful;
pub(crate) mod tuple;

use std::net::Ipv4Addr;

use xlat_packet::segment::Segments;
use xlat_packet::{Buffer, GsoKind, Offload, buffer, ipv4};
use xlat_translate::fragment6;
use xlat_translate::own_error;
use xlat_translate::plan::{Outcome, Parsed4, Parsed6, parse4, parse6};
use xlat_translate::policy::Policy;
use xlat_translate::refusal::{ADDRESS_UNREACHABLE6, Answer, HOST_UNREACHABLE4, Refused};
use xlat_translate::siit::Untranslatable;

use crate::counters::Traffic;
use crate::engine::Generation;
use crate::instance::{Instance, Kind, Way};
use crate::origin::Origin;
use crate::reason::{Pipeline, Reason, Verdict};
use crate::worker::{Output, Tools};

pub(crate) use stateful::{Heard, Recorder};

/// Index of the loopback interface, in every network namespace.
const LOOPBACK: u32 = 1;

/// The end of a packet that was not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) verdict: Verdict,
    /// Of the family of the packet that came in.
    pub(crate) answer: Option<Answer>,
    /// The buffer no longer holds the packet that came in: it cannot be offered to anybody else.
    pub(crate) rewritten: bool,
}

impl Stop {
    pub(crate) fn dropped(reason: Reason, answer: Option<Answer>) -> Self {
        Self { verdict: Verdict::Dropped(reason), answer, rewritten: false }
    }

    pub(crate) fn returned(reason: Reason, answer: Option<Answer>) -> Self {
        Self { verdict: Verdict::Returned(reason), answer, rewritten: false }
    }

    pub(crate) fn held(reason: Reason) -> Self {
        Self { verdict: Verdict::Held(reason), answer: None, rewritten: false }
    }

    /// The same for a hairpinned packet that is IPv4 already: its sender is IPv6, and errors about this form are not
    /// for it.
    pub(crate) fn in_second_half(self) -> Self {
        Self { answer: None, rewritten: true, ..self }
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::dropped(refused.why.into(), refused.answer)
    }
}

/// What a translator did with a packet that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is sent.
    Sent,
    /// It is an aggregate that has to be cut into its segments first.
    Segment,
}

/// Everything a step needs besides the packet.
pub(crate) struct Context<'a> {
    pub(crate) generation: &'a Generation,
    pub(crate) tools: &'a mut Tools,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) origin: Origin,
}

impl Context<'_> {
    /// Whether the packet goes back to the host, which has not seen it yet.
    fn gives_back(&self, stop: &Stop) -> bool {
        self.origin.ingress && !stop.rewritten && matches!(stop.verdict, Verdict::Returned(_))
    }

    /// RFC 1812 5.3.8: nobody on a wire has an address of this host. The kernel would see it where the packet came in, but
    /// no longer where we give it back.
    fn check_not_forged(&self, src: Ipv4Addr) -> Result<(), Stop> {
        let Origin { ingress, interface, .. } = self.origin;
        if ingress && interface != LOOPBACK && self.generation.host.owns4(src) {
            return Err(Stop::dropped(Reason::Address(Untranslatable::Source4Refused), None));
        }
        Ok(())
    }
}

/// Takes one packet from the device. It is charged to the instance that took it or refused it; where none wanted it, or it
/// was not offered to any, to the one that comes first.
pub(crate) fn process(context: &mut Context<'_>, packet: &mut Buffer<'_>) -> Verdict {
    let received = match version(packet) {
        6 => {
            context.tools.pen.charge(first(context.generation.offered6()));
            Some((Traffic::Received6, Traffic::Bytes6, packet.len()))
        }
        4 => {
            packet.truncate(unpadded4(packet.bytes()).len());
            context.tools.pen.charge(first(context.generation.offered4()));
            Some((Traffic::Received4, Traffic::Bytes4, packet.len()))
        }
        _neither => {
            context.tools.pen.charge(0);
            None
        }
    };
    let verdict = if context.origin.looped { refuse_looped(context, packet) } else { take(context, packet) };
    if let Some((packets, bytes, len)) = received {
        let counters = context.tools.counters();
        counters.traffic(packets, 1);
        counters.traffic(bytes, len as u64);
    }
    verdict
}

/// The place of the instance that comes first; without any, a place that none has.
fn first<'g>(mut instances: impl Iterator<Item = &'g Instance>) -> usize {
    instances.next().map_or(0, |instance| instance.place)
}

/// A packet that came out of our device and was routed back into it has lost no hop and is not translated again. Its sender
/// is told, by an error that takes the way of any error of this host: through the translator.
fn refuse_looped(context: &mut Context<'_>, packet: &Buffer<'_>) -> Verdict {
    let why = Reason::Pipeline(Pipeline::Looped);
    context.tools.counters().reason(why);
    context.out.stopped(packet, context.origin, Verdict::Dropped(why));
    let answer = match version(packet) {
        6 => Answer::unreachable6(ADDRESS_UNREACHABLE6),
        _four => Answer::unreachable4(HOST_UNREACHABLE4),
    };
    let mut message = [0; own_error::MAX_LEN];
    match context.tools.build_error(context.generation, packet.bytes(), answer, &mut message) {
        Some((len, sent)) => {
            context.tools.counters().traffic(sent, 1);
            let mut storage = [0; buffer::HEADROOM + own_error::MAX_LEN];
            let mut error = Buffer::new(&mut storage, 0, 0, Offload::NONE);
            if error.replace(buffer::HEADROOM, &message[..len]) {
                context.origin = Origin::default();
                take(context, &mut error);
            }
        }
        None => context.tools.counters().traffic(Traffic::ErrorsWithheld, 1),
    }
    Verdict::Dropped(why)
}

/// An IPv4 packet without the link's padding behind it.
pub(crate) fn unpadded4(bytes: &[u8]) -> &[u8] {
    let len = ipv4::Header::parse(bytes).map(|header| usize::from(header.total_len).max(ipv4::LEN));
    len.and_then(|len| bytes.get(..len)).unwrap_or(bytes)
}

/// The version that the packet says it has.
fn version(packet: &Buffer<'_>) -> u8 {
    packet.bytes().first().map_or(0, |byte| byte >> 4)
}

/// Takes a packet that has been counted: one from the device, or a segment of one.
fn take(context: &mut Context<'_>, packet: &mut Buffer<'_>) -> Verdict {
    let result = match version(packet) {
        6 => six(context, packet),
        4 => four(context, packet),
        _neither => Err(Stop::dropped(Reason::Pipeline(Pipeline::NotIp), None)),
    };
    settle(context, packet, result)
}

/// Counts what became of a packet, and answers its sender if that is owed. What is none of our business and was taken up
/// before the host saw it is the host's to answer.
fn settle(context: &mut Context<'_>, packet: &mut Buffer<'_>, result: Result<Done, Stop>) -> Verdict {
    let stop = match result {
        Ok(Done::Sent) => return Verdict::Translated,
        Ok(Done::Segment) => return segments(context, packet),
        Err(stop) => stop,
    };
    if let Some(reason) = stop.verdict.reason() {
        context.tools.counters().reason(reason);
        context.out.stopped(packet, context.origin, stop.verdict);
    }
    if context.gives_back(&stop) {
        context.out.give_back(packet);
    } else if let Some(answer) = stop.answer {
        context.tools.answer(context.generation, packet.bytes(), answer, context.out);
    }
    stop.verdict
}

fn six(context: &mut Context<'_>, packet: &mut Buffer<'_>) -> Result<Done, Stop> {
    let parsed = parse6(packet.bytes())?;
    let (instances, nobody) = (context.generation.offered6(), Answer::unreachable6(ADDRESS_UNREACHABLE6));
    offer(context, instances, nobody, |context, instance| match &instance.kind {
        Kind::Siit(tables) => siit::six_to_four(context, instance, tables, packet, &parsed),
        Kind::Nat64(nat64) => nat64::six_to_four(context, instance, nat64, packet, &parsed),
    })
}

fn four(context: &mut Context<'_>, packet: &mut Buffer<'_>) -> Result<Done, Stop> {
    let parsed = parse4(packet.bytes())?;
    context.check_not_forged(parsed.outer.src)?;
    let (instances, nobody) = (context.generation.offered4(), Answer::unreachable4(HOST_UNREACHABLE4));
    offer(context, instances, nobody, |context, instance| match &instance.kind {
        Kind::Siit(tables) => siit::four_to_six(context, instance, tables, packet, &parsed),
        Kind::Nat64(nat64) => nat64::four_to_six(context, instance, nat64, packet, &parsed),
    })
}

/// Offers a packet to one instance after the other until one takes it.
fn offer<'g>(
    context: &mut Context<'g>,
    instances: impl Iterator<Item = &'g Instance>,
    nobody: Answer,
    mut to: impl FnMut(&mut Context<'g>, &Instance) -> Result<Done, Stop>,
) -> Result<Done, Stop> {
    let mut stop = Stop::returned(Reason::Pipeline(Pipeline::NoInstance), Some(nobody));
    let mut first = None;
    for instance in instances {
        context.tools.pen.charge(instance.place);
        first.get_or_insert(instance.place);
        let result = if instance.enabled {
            to(context, instance)
        } else {
            Err(Stop::returned(Reason::Pipeline(Pipeline::Disabled), Some(nobody)))
        };
        match result {
            // Of several that do not want it, the first one's reason tells most.
            Err(returned @ Stop { verdict: Verdict::Returned(_), rewritten: false, .. }) => {
                if stop.verdict == Verdict::Returned(Reason::Pipeline(Pipeline::NoInstance)) {
                    stop = returned;
                }
            }
            result => return result,
        }
    }
    context.tools.pen.charge(first.unwrap_or(0));
    Err(stop)
}

/// Cuts an aggregate into its segments and takes each as a packet of its own.
fn segments(context: &mut Context<'_>, packet: &Buffer<'_>) -> Verdict {
    let failed = Verdict::Dropped(Reason::Pipeline(Pipeline::SegmentationFailed));
    let mut scratch = std::mem::take(&mut context.tools.segment);
    let mut verdict = failed;
    match Segments::new(packet.bytes(), &packet.offload) {
        Ok(mut segments) => {
            while let Ok(Some(len)) = segments.next_into(&mut scratch[buffer::HEADROOM..]) {
                let end = buffer::HEADROOM + len;
                let mut segment = Buffer::new(&mut scratch, buffer::HEADROOM, end, Offload::NONE);
                verdict = take(context, &mut segment);
            }
        }
        Err(_bad) => {
            context.tools.counters().reason(Reason::Pipeline(Pipeline::SegmentationFailed));
            context.out.stopped(packet, context.origin, failed);
        }
    }
    context.tools.segment = scratch;
    verdict
}

/// Sends a packet that has become IPv6, in pieces if need be.
fn send6(context: &mut Context<'_>, packet: &mut Buffer<'_>, outcome: Outcome) -> Done {
    match outcome {
        Outcome::Segment => return Done::Segment,
        Outcome::Whole => context.out.send(packet),
        Outcome::Split { mtu } => {
            fragment6::split(packet, mtu, &mut context.tools.piece, |piece| context.out.send(piece));
        }
    }
    context.tools.counters().traffic(Traffic::Translated, 1);
    Done::Sent
}

/// Sends a packet that has become IPv4.
fn send4(context: &mut Context<'_>, packet: &mut Buffer<'_>, outcome: Outcome) -> Done {
    if outcome == Outcome::Segment {
        return Done::Segment;
    }
    context.out.send(packet);
    context.tools.counters().traffic(Traffic::Translated, 1);
    Done::Sent
}

/// True for an aggregate that has to be cut before it is hairpinned. Aggregated UDP is IPv4 without DF in between, so
/// the second half might want to fragment its segments, when the packet that came in is there no more.
fn cut_before_turning(packet: &Buffer<'_>) -> bool {
    packet.offload.gso.is_some_and(|gso| gso.kind == GsoKind::Udp)
}

/// The rules for a packet by where it comes from.
fn way6<'i>(context: &Context<'_>, instance: &'i Instance, parsed: &Parsed6) -> &'i Way {
    instance.rewrites.way(context.origin, context.generation.host.owns6(parsed.outer.src))
}

/// The same for a packet that came as IPv4.
fn rewrite4<'i>(context: &Context<'_>, instance: &'i Instance, parsed: &Parsed4) -> &'i Policy {
    let own = context.generation.host.owns4(parsed.outer.src);
    &instance.rewrites.way(context.origin, own).through
}
