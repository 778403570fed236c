//! Why a packet becomes what it becomes: the pipeline's decisions one by one, each with its source.
//!
//! Nothing is changed by asking: a mapping that the packet would make is described, not made. The decisions are taken
//! by the same functions as for real packets.

use std::fmt;

use xlat_nat64::{Pool4Entry, Protocol, Refusal, Transport4, Transport6};
use xlat_packet::layers::{Extent, Layers, Layers4, Layers6, Upper};
use xlat_packet::{Buffer, Offload, buffer, icmpv4, icmpv6};
use xlat_translate::plan::{Flow, Outcome, Parsed4, Parsed6, Plan, parse4, parse6};
use xlat_translate::policy::{Hops, Policy};
use xlat_translate::refusal::Refused;
use xlat_translate::refused::is_never_translated;
use xlat_translate::siit::{SiitTables, Untranslatable};

use crate::engine::{Engine, Generation};
use crate::instance::{Instance, Kind, Nat64};
use crate::origin::Origin;
use crate::pipeline::nat64::{check_source4, check_source6, is_answered_to_itself, no_state4, no_state6};
use crate::pipeline::tuple::Tuple;
use crate::reason::{Pipeline, Reason, Verdict};

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was decided upon.
    pub title: &'static str,
    /// What was found.
    pub detail: String,
    /// RFC and section, or the option's name.
    pub source: &'static str,
}

/// Everything that would happen to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decisions, in order.
    pub steps: Vec<Step>,
    /// What would become of the packet.
    pub verdict: Verdict,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:2}. {}: {}  [{}]", index + 1, step.title, step.detail, step.source)?;
        }
        match self.verdict {
            Verdict::Translated => writeln!(f, "=> translated"),
            Verdict::Held(reason) => writeln!(f, "=> held: {} ({})", reason, reason.explanation()),
            Verdict::Dropped(reason) => {
                writeln!(f, "=> dropped: {} ({}; {})", reason, reason.explanation(), reason.source())
            }
            Verdict::Returned(reason) => {
                writeln!(
                    f,
                    "=> not for this translator: {} ({}; {})",
                    reason,
                    reason.explanation(),
                    reason.source()
                )
            }
        }
    }
}

impl Engine {
    /// Says what would become of `packet`, an IP packet, if it came to this host now with the firewall mark `mark`, and how it would
    /// leave it.
    pub fn explain(&self, packet: &[u8], mark: u32) -> Explanation {
        explain(&self.current().load(), packet, Origin::routed(mark))
    }
}

/// The same under one configuration.
pub(crate) fn explain(generation: &Generation, packet: &[u8], origin: Origin) -> Explanation {
    let mut trace = Trace { steps: Vec::new(), origin };
    let is4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let packet = if is4 { crate::pipeline::unpadded4(packet) } else { packet };
    let verdict = trace.packet(generation, packet);
    Explanation { steps: trace.steps, verdict }
}

/// The same rules as the network sees them: whoever in this host takes the hop and gives one back, the packet that leaves has one
/// less than the one that came.
fn on_the_wire(policy: &Policy) -> Policy {
    Policy { hops: Hops::Decrement, ..policy.clone() }
}

struct Trace {
    steps: Vec<Step>,
    origin: Origin,
}

impl Trace {
    fn step(&mut self, title: &'static str, source: &'static str, detail: String) {
        self.steps.push(Step { title, detail, source });
    }

    fn packet(&mut self, generation: &Generation, bytes: &[u8]) -> Verdict {
        match bytes.first().map_or(0, |byte| byte >> 4) {
            6 => match parse6(bytes) {
                Err(refused) => self.refused(refused),
                Ok(parsed) => {
                    self.step("IPv6 packet", "RFC 8200", describe(&parsed.outer));
                    self.offer(generation.offered6(), |trace, instance| {
                        trace.six(generation, instance, bytes, &parsed)
                    })
                }
            },
            4 => match parse4(bytes) {
                Err(refused) => self.refused(refused),
                Ok(parsed) => {
                    self.step("IPv4 packet", "RFC 791", describe(&parsed.outer));
                    self.offer(generation.offered4(), |trace, instance| {
                        trace.four(generation, instance, bytes, &parsed)
                    })
                }
            },
            _neither => Verdict::Dropped(Reason::Pipeline(Pipeline::NotIp)),
        }
    }

    fn offer<'g>(
        &mut self,
        instances: impl Iterator<Item = &'g Instance>,
        mut to: impl FnMut(&mut Self, &Instance) -> Verdict,
    ) -> Verdict {
        let mut verdict = Verdict::Returned(Reason::Pipeline(Pipeline::NoInstance));
        for (index, instance) in instances.enumerate() {
            let kind = match instance.kind {
                Kind::Siit(_) => "SIIT",
                Kind::Nat64(_) => "NAT64",
            };
            self.step("instance", "configuration", format!("{} ({kind})", instance.name));
            let this = if instance.enabled {
                to(self, instance)
            } else {
                Verdict::Returned(Reason::Pipeline(Pipeline::Disabled))
            };
            if !matches!(this, Verdict::Returned(_)) {
                return this;
            }
            if let Some(reason) = this.reason() {
                self.step("not taken", reason.source(), format!("{reason}: {}", reason.explanation()));
            }
            if index == 0 {
                verdict = this;
            }
        }
        verdict
    }

    fn six(
        &mut self,
        generation: &Generation,
        instance: &Instance,
        bytes: &[u8],
        parsed: &Parsed6,
    ) -> Verdict {
        let plan = match &instance.kind {
            Kind::Siit(tables) => self.siit6(generation, tables, parsed),
            Kind::Nat64(nat64) => self.nat64_6(generation, nat64, parsed),
        };
        let (plan, hairpin) = match plan {
            Ok(plan) => plan,
            Err(verdict) => return verdict,
        };
        let own = generation.host.owns6(parsed.outer.src);
        let way = instance.rewrites.way(self.origin, own);
        let policy = on_the_wire(if hairpin { &way.hairpin_first } else { &way.through });
        let result = rewrite(bytes, |packet| xlat_translate::six_to_four(packet, parsed, &plan, &policy, 0));
        if hairpin {
            self.step(
                "hairpin",
                "RFC 6146 3.8, RFC 7757 4.2.2",
                "the destination is behind this translator: the packet is turned back to IPv6".to_owned(),
            );
        }
        self.result(result)
    }

    fn four(
        &mut self,
        generation: &Generation,
        instance: &Instance,
        bytes: &[u8],
        parsed: &Parsed4,
    ) -> Verdict {
        let plan = match &instance.kind {
            Kind::Siit(tables) => self.siit4(generation, tables, parsed),
            Kind::Nat64(nat64) => self.nat64_4(generation, nat64, parsed),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(verdict) => return verdict,
        };
        let own = generation.host.owns4(parsed.outer.src);
        let policy = on_the_wire(&instance.rewrites.way(self.origin, own).through);
        let result = rewrite(bytes, |packet| xlat_translate::four_to_six(packet, parsed, &plan, &policy));
        self.result(result)
    }

    /// The checks and the rewriting itself, on a copy.
    fn result(&mut self, result: Result<(Outcome, Vec<u8>), Refused>) -> Verdict {
        let (outcome, bytes) = match result {
            Ok(done) => done,
            Err(refused) => return self.refused(refused),
        };
        let become_6 = bytes.first().is_some_and(|byte| byte >> 4 == 6);
        let detail = if become_6 {
            Layers6::parse(&bytes, Extent::Whole).map(|layers| describe(&layers))
        } else {
            Layers4::parse(&bytes, Extent::Whole).map(|layers| describe(&layers))
        };
        let source = if become_6 { "RFC 7915 4.1" } else { "RFC 7915 5.1" };
        self.step("becomes", source, detail.unwrap_or_else(|bad| bad.explanation().to_owned()));
        if let Outcome::Split { mtu } = outcome {
            self.step(
                "fragmented",
                "RFC 7915 4, lowest-ipv6-mtu",
                format!("into packets of at most {mtu} bytes"),
            );
        }
        Verdict::Translated
    }

    fn refused(&mut self, refused: Refused) -> Verdict {
        let reason = Reason::from(refused.why);
        self.step("check", reason.source(), reason.explanation().to_owned());
        if let Some(answer) = refused.answer {
            let detail = format!("ICMP type {} code {} to the sender", answer.kind, answer.code);
            self.step("answer", "RFC 7915 4.4, 5.4", detail);
        }
        Verdict::Dropped(reason)
    }

    fn siit6(
        &mut self,
        generation: &Generation,
        tables: &SiitTables,
        parsed: &Parsed6,
    ) -> Result<(Plan<std::net::Ipv4Addr>, bool), Verdict> {
        let outer = &parsed.outer;
        for (title, address) in [("destination", outer.dst), ("source", outer.src)] {
            let (source, detail) = if let Some(entry) = tables.eamt.entry_of_v6(address) {
                ("RFC 7757 3.3", format!("{address} is in the EAMT: {} = {}", entry.v6, entry.v4))
            } else if let Some(mapped) = tables.pool6.as_ref().and_then(|pool6| pool6.extract(address)) {
                ("RFC 6052 2.2", format!("{address} is in pool6: {mapped}"))
            } else {
                ("RFC 7915 6", format!("{address} is neither in the EAMT nor in pool6"))
            };
            self.step(title, source, detail);
        }
        let inner = parsed.inner.map(|inner| (inner.src, inner.dst));
        let addresses = tables
            .six_to_four(&generation.host, (outer.src, outer.dst), inner.is_some(), inner, outer.hop_limit, 0)
            .map_err(untranslatable)?;
        let plan = Plan {
            outer: Flow { src: addresses.src, dst: addresses.dst, ports: None },
            inner: addresses.inner.map(|(src, dst)| Flow { src, dst, ports: None }),
            datagram: None,
        };
        Ok((plan, addresses.hairpin))
    }

    fn siit4(
        &mut self,
        generation: &Generation,
        tables: &SiitTables,
        parsed: &Parsed4,
    ) -> Result<Plan<std::net::Ipv6Addr>, Verdict> {
        let outer = &parsed.outer;
        for (title, address) in [("destination", outer.dst), ("source", outer.src)] {
            let (source, detail) = if let Some(entry) = tables.eamt.entry_of_v4(address) {
                ("RFC 7757 3.3", format!("{address} is in the EAMT: {} = {}", entry.v4, entry.v6))
            } else if let Some(pool6) = &tables.pool6 {
                ("RFC 6052 2.2", format!("{address} becomes {} by pool6", pool6.embed(address)))
            } else {
                ("RFC 7915 6", format!("{address} is not in the EAMT, and there is no pool6"))
            };
            self.step(title, source, detail);
        }
        let inner = parsed.inner.map(|inner| (inner.src, inner.dst));
        let addresses = tables
            .four_to_six(&generation.host, (outer.src, outer.dst), inner.is_some(), inner, false, 0)
            .map_err(untranslatable)?;
        Ok(Plan {
            outer: Flow { src: addresses.src, dst: addresses.dst, ports: None },
            inner: addresses.inner.map(|(src, dst)| Flow { src, dst, ports: None }),
            datagram: None,
        })
    }

    fn nat64_6(
        &mut self,
        generation: &Generation,
        nat64: &Nat64,
        parsed: &Parsed6,
    ) -> Result<(Plan<std::net::Ipv4Addr>, bool), Verdict> {
        let outer = &parsed.outer;
        if nat64.pool6.contains(outer.src) {
            return Err(Verdict::Dropped(Reason::Pipeline(Pipeline::HairpinLoop)));
        }
        let Some(dst) = nat64.pool6.extract(outer.dst) else {
            return Err(Verdict::Returned(Reason::Pipeline(Pipeline::Pool6Mismatch)));
        };
        self.step("destination", "RFC 6052 2.2", format!("{} is in pool6: {dst}", outer.dst));
        check_source6(outer.src).map_err(|stop| stop.verdict)?;
        if is_never_translated(dst) || generation.host.is_broadcast4(dst) {
            return Err(Verdict::Dropped(Reason::Address(Untranslatable::Destination6Refused)));
        }
        if parsed.inner.is_some() {
            let plan = crate::pipeline::nat64::error_plan4(nat64, parsed).map_err(|stop| stop.verdict)?;
            self.step("state", "RFC 6146 3.5.3", "the error is about a flow with a BIB entry".to_owned());
            return Ok((plan, false));
        }
        let tuple =
            Tuple::of(&outer.upper, icmpv6::is_echo).ok_or_else(|| no_state6(&outer.upper).verdict)?;
        if tuple.protocol == Protocol::Icmp && nat64.drop_icmpv6_info {
            return Err(Verdict::Dropped(Reason::Pipeline(Pipeline::Icmpv6Info)));
        }
        let client = Transport6 { addr: outer.src, port: tuple.src_port };
        let mask = match nat64.tables.lookup6(tuple.protocol, client) {
            Some(mask) => {
                let detail = format!("BIB entry {client} - {mask} ({})", tuple.protocol);
                self.step("state", "RFC 6146 3.1, 3.5", detail);
                mask
            }
            None => self.new_mask(nat64, &tuple, client)?,
        };
        let target = Transport4 {
            addr: dst,
            port: if tuple.protocol == Protocol::Icmp { mask.port } else { tuple.dst_port },
        };
        let plan = Plan {
            outer: Flow { src: mask.addr, dst, ports: Some((mask.port, target.port)) },
            inner: None,
            datagram: None,
        };
        let hairpin = nat64.policy.owns(tuple.protocol, target);
        if !hairpin && is_answered_to_itself(&generation.host, mask, target) {
            return Err(Verdict::Dropped(Reason::Address(Untranslatable::Destination6Refused)));
        }
        Ok((plan, hairpin))
    }

    /// The mask that a new BIB entry would get is not known before it is made: the first of pool4 stands in for it.
    fn new_mask(&mut self, nat64: &Nat64, tuple: &Tuple, client: Transport6) -> Result<Transport4, Verdict> {
        if tuple.protocol == Protocol::Tcp && !tuple.tcp.syn {
            return Err(Verdict::Dropped(Reason::State(Refusal::Syn6Expected)));
        }
        let config = nat64.policy.config();
        let of_mark =
            |entry: &&Pool4Entry| entry.protocol == tuple.protocol && entry.mark == self.origin.mark;
        let implicit = config.implicit_entry(tuple.protocol);
        let mut usable = config.pool4.iter().filter(of_mark).copied().chain(implicit);
        let Some(entry) = usable.next() else {
            return Err(Verdict::Dropped(Reason::State(Refusal::MaskDomainNotFound)));
        };
        let detail = format!(
            "no BIB entry for {client} ({}) yet: it would get one from pool4: {} port {} to {}{}; the first stands for it below",
            tuple.protocol,
            entry.prefix,
            entry.first_port,
            entry.last_port,
            if usable.next().is_some() { ", or another range of it" } else { "" },
        );
        self.step("state", "RFC 6146 3.5.1.1", detail);
        Ok(Transport4 { addr: entry.prefix.network(), port: entry.first_port })
    }

    fn nat64_4(
        &mut self,
        generation: &Generation,
        nat64: &Nat64,
        parsed: &Parsed4,
    ) -> Result<Plan<std::net::Ipv6Addr>, Verdict> {
        let outer = &parsed.outer;
        if parsed.inner.is_some() {
            let plan = crate::pipeline::nat64::error_plan6(nat64, parsed).map_err(|stop| stop.verdict)?;
            self.step("state", "RFC 6146 3.5.3", "the error is about a flow with a BIB entry".to_owned());
            return Ok(plan);
        }
        check_source4(outer.src).map_err(|stop| stop.verdict)?;
        let tuple =
            Tuple::of(&outer.upper, icmpv4::is_echo).ok_or_else(|| no_state4(&outer.upper).verdict)?;
        let mask = Transport4 { addr: outer.dst, port: tuple.dst_port };
        let shared = self.origin.ingress && generation.host.owns4(outer.dst);
        let client = nat64.tables.lookup4(&nat64.policy, tuple.protocol, mask).map_err(|refusal| {
            unmapped4(refusal, &tuple, shared, nat64.policy.config().drop_externally_initiated_tcp)
        })?;
        self.step("state", "RFC 6146 3.1, 3.5", format!("BIB entry {client} - {mask} ({})", tuple.protocol));
        if nat64.policy.config().address_dependent_filtering {
            let detail = "passes only if the client has a session with the sender's address".to_owned();
            self.step("filter", "RFC 6146 3.5, address-dependent-filtering", detail);
        }
        let src_port = if tuple.protocol == Protocol::Icmp { client.port } else { tuple.src_port };
        Ok(Plan {
            outer: Flow {
                src: nat64.pool6.embed(outer.src),
                dst: client.addr,
                ports: Some((src_port, client.port)),
            },
            inner: None,
            datagram: None,
        })
    }
}

/// A packet from IPv4 to a mask that nobody has; RFC 6146 3.5.2.2 treats TCP in its own way, unless the address is `shared`
/// with the host.
fn unmapped4(refusal: Refusal, tuple: &Tuple, shared: bool, drops_syn: bool) -> Verdict {
    match refusal {
        Refusal::SessionNotFound if shared || tuple.protocol != Protocol::Tcp => {
            Verdict::Returned(Reason::State(Refusal::Bib4NotFound))
        }
        Refusal::SessionNotFound if !tuple.tcp.syn => Verdict::Dropped(Reason::State(Refusal::Syn4Expected)),
        Refusal::SessionNotFound if drops_syn => Verdict::Dropped(Reason::State(Refusal::V4Syn)),
        Refusal::SessionNotFound => Verdict::Held(Reason::State(Refusal::SynStored)),
        other => Verdict::Returned(Reason::State(other)),
    }
}

fn untranslatable(why: Untranslatable) -> Verdict {
    let reason = Reason::Address(why);
    if why.is_drop() { Verdict::Dropped(reason) } else { Verdict::Returned(reason) }
}

/// Rewrites a copy of `bytes`.
fn rewrite(
    bytes: &[u8],
    with: impl FnOnce(&mut Buffer<'_>) -> Result<Outcome, Refused>,
) -> Result<(Outcome, Vec<u8>), Refused> {
    let mut storage = vec![0; buffer::HEADROOM + bytes.len() + xlat_translate::own_error::MAX_LEN];
    let mut packet = Buffer::new(&mut storage, 0, 0, Offload::NONE);
    let _fits = packet.replace(buffer::HEADROOM, bytes);
    let outcome = with(&mut packet)?;
    Ok((outcome, packet.bytes().to_vec()))
}

/// One line about a packet.
fn describe<A: fmt::Display, X>(layers: &Layers<A, X>) -> String {
    let Layers { src, dst, hop_limit, total_len, .. } = layers;
    let what = match layers.upper {
        Upper::Tcp { src_port, dst_port, .. } => format!("TCP {src_port} -> {dst_port}"),
        Upper::Udp { src_port, dst_port, .. } => format!("UDP {src_port} -> {dst_port}"),
        Upper::Icmp { kind, code, rest } => {
            let identifier = u16::from_be_bytes([rest[0], rest[1]]);
            format!("ICMP type {kind} code {code} identifier {identifier}")
        }
        Upper::LaterFragment => "later fragment".to_owned(),
        Upper::Other => format!("protocol {}", layers.protocol),
    };
    let fragment = match layers.fragment {
        Some(fragment) if fragment.is_atomic() => ", atomic fragment".to_owned(),
        Some(fragment) => {
            let more = if fragment.more { ", more follow" } else { "" };
            format!(", fragment at {}{more}", fragment.offset)
        }
        None => String::new(),
    };
    format!("{src} -> {dst}, {what}, {total_len} bytes, hop limit {hop_limit}{fragment}")
}
