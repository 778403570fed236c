//! What an earlier run leaves to the next: sessions from its snapshot, flows that the kernel still repeats.

use std::time::Duration;

use xlat_config::Translator;
use xlat_fastpath::flow;
use xlat_nat64::{Events, Instant, Protocol, SessionInfo, TcpState, Timer, Transport4, Transport6};

use crate::engine::Engine;
use crate::flows::{FlowEvents, protocol_of};
use crate::instance::Nat64;

/// How many were taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Taken up, or there already.
    pub restored: u64,
    /// Not taken up: the configuration does not cover them any more, they contradict what is there, or there are too many.
    pub refused: u64,
}

impl Restoration {
    pub(crate) fn count(&mut self, restored: bool) {
        *(if restored { &mut self.restored } else { &mut self.refused }) += 1;
    }
}

impl Engine {
    /// Takes up sessions of the stateful `instance` from a snapshot, each with the time it has left now (`now_ms`, the workers' clock).
    /// Whether the kernel repeats them only [`Engine::restore_flows`] knows, which comes after.
    pub fn restore(
        &self,
        instance: &str,
        sessions: impl IntoIterator<Item = SessionInfo>,
        now_ms: u64,
    ) -> Restoration {
        let mut result = Restoration::default();
        let _unchanged = self.hold();
        let generation = self.current().load_full();
        let nat64 = generation.find(Translator::Nat64, instance).and_then(|found| found.nat64());
        for session in sessions {
            let session = SessionInfo { promoted: false, ..session };
            result.count(nat64.is_some_and(|nat64| {
                nat64.tables.restore(&nat64.policy, &session, Instant(now_ms), &mut FlowEvents(nat64)).is_ok()
            }));
        }
        result
    }

    /// Takes up flows that the kernel has, each with the second of the workers' clock in which it was last used. The sink is
    /// told to take out what must not go on.
    pub fn restore_flows(
        &self,
        flows: impl IntoIterator<Item = (flow::Session, u32)>,
        now_ms: u64,
    ) -> Restoration {
        let mut result = Restoration::default();
        let _unchanged = self.hold();
        let generation = self.current().load_full();
        for (flow, used) in flows {
            let instance = generation.instances.get(flow.instance as usize);
            let restored = match instance.and_then(|instance| instance.nat64()) {
                Some(nat64) => restore_flow(nat64, &flow, used, now_ms),
                None => false,
            };
            if !restored && let Some(sink) = self.flows() {
                sink.demote(&flow);
            }
            result.count(restored);
        }
        result
    }
}

/// Takes up one flow; `false` if the kernel must not go on with it.
fn restore_flow(nat64: &Nat64, flow: &flow::Session, used: u32, now_ms: u64) -> bool {
    let Some(protocol) = protocol_of(flow.protocol) else { return false };
    let mask = Transport4 { addr: flow.mask.0.into(), port: flow.mask.1 };
    let server_port = if protocol == Protocol::Icmp { mask.port } else { flow.server.1 };
    let remote = Transport4 { addr: flow.server.0.into(), port: server_port };
    let ours = nat64.pool6.extract(flow.server6.into()) == Some(remote.addr)
        && nat64.policy.is_candidate(protocol, flow.mark, mask);
    if !ours {
        return false;
    }
    let (state, timer) = match protocol {
        // Of the states in which a flow is promoted this one promises least: each side's FIN is still to come.
        Protocol::Tcp => (Some(TcpState::Established), Timer::Established),
        Protocol::Udp => (None, Timer::Udp),
        Protocol::Icmp => (None, Timer::Icmp),
    };
    let end = Instant((u64::from(used) + 1) * 1000).plus(nat64.policy.lifetime(timer));
    let session = SessionInfo {
        protocol,
        client: Transport6 { addr: flow.client.0.into(), port: flow.client.1 },
        mask,
        remote,
        state,
        timer,
        expires_in: Duration::from_millis(end.0.saturating_sub(now_ms)),
        promoted: true,
    };
    let mut events = Taken { events: FlowEvents(nat64), demoted: false };
    let restored = nat64.tables.restore(&nat64.policy, &session, Instant(now_ms), &mut events);
    restored.is_ok() && !events.demoted
}

/// Notes whether a flow was taken out: it is, once, by who knows its mark.
struct Taken<'a> {
    events: FlowEvents<'a>,
    demoted: bool,
}

impl Events for Taken<'_> {
    fn demote(&mut self, _session: &SessionInfo) {
        self.demoted = true;
    }

    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        self.events.port(protocol, mask, taken);
    }
}
