//! Flows that the kernel's program repeats: what the engine tells of them, and what it hears of them
//! (`xlat_nat64::Events::promote` has the rules).

use std::fmt;
use std::sync::Arc;

use xlat_fastpath::config::INSTANCES;
use xlat_fastpath::flow::{self, protocol};
use xlat_nat64::{Events, Instant, Promotion, Protocol, SessionInfo, Transport4, Transport6};
use xlat_translate::rfc6052::Pool6;

use crate::engine::Engine;
use crate::instance::Nat64;

/// Who brings flows into the kernel and takes them out again.
///
/// All methods are called while a part of the tables is locked, so that what is told of one flow or port is told in the
/// order in which it happened: an implementation only queues. It must not call the engine.
pub trait FlowSink: Send + Sync + fmt::Debug {
    /// Brings a flow into the kernel; `false` if there is no room. Told of a flow that is there already, about once a
    /// second while packets of it are still handed over: what is there is to be replaced.
    fn promote(&self, flow: &flow::Session) -> bool;
    /// Takes a flow out.
    fn demote(&self, flow: &flow::Session);
    /// Asks when the kernel last saw a packet of a flow: to be answered by [`Engine::flow_used`] within two seconds.
    fn idle(&self, flow: &flow::Session);
    /// An IPv4 transport address has a BIB entry now, or (`false`) has none any more.
    fn port(&self, protocol: Protocol, mask: Transport4, taken: bool);
}

/// The sink of one stateful instance.
#[derive(Clone, Debug)]
pub(crate) struct Flows {
    pub(crate) sink: Arc<dyn FlowSink>,
    /// Position of the instance in the configuration.
    pub(crate) instance: u32,
}

/// What may be promoted of an instance: nothing where each packet has to be seen.
pub(crate) fn promotion(flows: Option<&Flows>, sees_all: bool, drops_echo: bool) -> Promotion {
    match flows {
        Some(flows) if flows.instance < INSTANCES && !sees_all => {
            Promotion { protocols: [true, true, !drops_echo], tag: flows.instance }
        }
        _ => Promotion::default(),
    }
}

/// Passes on what the tables of an instance tell of its flows to the kernel and to other translators, and nothing else.
pub(crate) struct FlowEvents<'a>(pub(crate) &'a Nat64);

impl Events for FlowEvents<'_> {
    fn promote(&mut self, session: &SessionInfo, mark: u32) -> bool {
        let Nat64 { flows, pool6, .. } = self.0;
        flows.as_ref().is_some_and(|flows| flows.sink.promote(&flows.session(pool6, session, mark)))
    }

    fn demote(&mut self, session: &SessionInfo) {
        if let Some(flows) = &self.0.flows {
            flows.sink.demote(&flows.session(&self.0.pool6, session, 0));
        }
    }

    fn idle(&mut self, session: &SessionInfo) {
        if let Some(flows) = &self.0.flows {
            flows.sink.idle(&flows.session(&self.0.pool6, session, 0));
        }
    }

    fn session_updated(&mut self, session: &SessionInfo) {
        if let Some(peers) = &self.0.peers {
            peers.sink.updated(&peers.instance, session);
        }
    }

    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        if let Some(flows) = &self.0.flows {
            flows.sink.port(protocol, mask, taken);
        }
    }
}

impl Flows {
    /// A session as the program knows it.
    fn session(&self, pool6: &Pool6, session: &SessionInfo, mark: u32) -> flow::Session {
        let SessionInfo { client, mask, remote, .. } = session;
        let (protocol, server_port) = match session.protocol {
            Protocol::Tcp => (protocol::TCP, remote.port),
            Protocol::Udp => (protocol::UDP, remote.port),
            Protocol::Icmp => (protocol::ICMP, 0),
        };
        flow::Session {
            protocol,
            instance: self.instance,
            mark,
            client: (client.addr.octets(), client.port),
            mask: (mask.addr.octets(), mask.port),
            server6: pool6.embed(remote.addr).octets(),
            server: (remote.addr.octets(), server_port),
        }
    }
}

impl Engine {
    /// What the kernel says of a promoted flow, in answer to [`FlowSink::idle`] or unasked: when it last saw a packet of it,
    /// in either direction, in whole seconds of the workers' clock; `None` if it does not have the flow, which then is demoted.
    /// `now_ms` is that clock.
    pub fn flow_used(&self, flow: &flow::Session, used: Option<u32>, now_ms: u64) {
        let Some(protocol) = protocol_of(flow.protocol) else { return };
        let generation = self.current().load_full();
        let instance = generation.instances.get(flow.instance as usize);
        let Some(nat64) = instance.and_then(|instance| instance.nat64()) else { return };
        let client = Transport6 { addr: flow.client.0.into(), port: flow.client.1 };
        let server = Transport4 { addr: flow.server.0.into(), port: flow.server.1 };
        // It was some time within that second.
        let last = used.map(|seconds| Instant((u64::from(seconds) + 1) * 1000));
        let (key, now) = ((protocol, client, server), Instant(now_ms));
        nat64.tables.used(&nat64.policy, key, last, now, &mut FlowEvents(nat64));
    }

    /// Tells the sink of every transport address with BIB entry, as if it had just been taken: for a sink that only now
    /// keeps account of an address.
    pub fn announce_ports(&self) {
        let generation = self.current().load_full();
        for nat64 in generation.instances.iter().filter_map(|instance| instance.nat64()) {
            nat64.tables.announce(&nat64.policy, &mut FlowEvents(nat64));
        }
    }

    /// Position of a stateful instance in the configuration: its number in the kernel.
    pub fn instance_index(&self, name: &str) -> Option<u32> {
        let generation = self.current().load_full();
        let found = generation
            .instances
            .iter()
            .position(|instance| instance.name == name && instance.nat64().is_some())?;
        u32::try_from(found).ok()
    }
}

/// The protocol with a number of `xlat_fastpath::flow::protocol`.
pub(crate) fn protocol_of(number: u8) -> Option<Protocol> {
    match number {
        protocol::TCP => Some(Protocol::Tcp),
        protocol::UDP => Some(Protocol::Udp),
        protocol::ICMP => Some(Protocol::Icmp),
        _other => None,
    }
}
