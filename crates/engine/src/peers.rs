//! Sessions that several translators share (`ss-enabled`): what this one tells of its own, and what it takes over from
//! others, which it believes nothing that a packet could not have made here.

use std::fmt;
use std::sync::Arc;

use ipnet::Ipv6Net;
use xlat_nat64::{BibInfo, Events, Instant, Protocol, SessionInfo, Transport4};
use xlat_translate::refused::is_never_translated;
use xlat_translate::rfc6052::Pool6;

use crate::engine::Engine;
use crate::flows::FlowEvents;
use crate::instance::Nat64;
use crate::pipeline::Heard;
use crate::restore::Restoration;
use crate::worker::LogEvent;

/// Who passes on what this translator tells of its sessions.
pub trait SessionSink: Send + Sync + fmt::Debug {
    /// A session was made, changed its state, or lives on; `expires_in` holds from now on. Called on the packet path, while a
    /// part of the tables is locked: an implementation only queues, and must not call the engine.
    fn updated(&self, instance: &str, session: &SessionInfo);
}

/// The sink of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) sink: Arc<dyn SessionSink>,
    pub(crate) instance: Arc<str>,
}

/// Why nothing at all is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShared {
    /// There is no such stateful instance.
    #[error("there is no NAT64 instance of this name")]
    NoInstance,
    /// `ss-enabled` is false.
    #[error("Session sync is disabled on this instance.")]
    Disabled,
    /// A client's packets to the same server would have another destination there.
    #[error("the other translator's pool6 is {0}")]
    OtherPool6(Ipv6Net),
}

impl Engine {
    /// Whether an instance shares its sessions.
    pub fn shares(&self, instance: &str) -> Result<(), NotShared> {
        let generation = self.current().load_full();
        let found = generation.nat64(instance).ok_or(NotShared::NoInstance)?;
        if found.policy.config().announce { Ok(()) } else { Err(NotShared::Disabled) }
    }

    /// Takes over sessions that a translator with `pool6` tells of. `log` is given what [`Output::log`] is.
    ///
    /// [`Output::log`]: crate::Output::log
    pub fn synchronise(
        &self,
        instance: &str,
        pool6: Ipv6Net,
        sessions: impl IntoIterator<Item = SessionInfo>,
        now_ms: u64,
        log: &mut dyn FnMut(LogEvent, bool),
    ) -> Result<Restoration, NotShared> {
        self.shares(instance)?;
        let _unchanged = self.hold();
        let generation = self.current().load_full();
        let nat64 = generation.nat64(instance).ok_or(NotShared::NoInstance)?;
        if Pool6::new(pool6).ok() != Some(nat64.pool6) {
            return Err(NotShared::OtherPool6(pool6));
        }
        let mut result = Restoration::default();
        let heard = Heard::new(self.heard());
        for session in sessions {
            let taken = is_possible(nat64, &session) && {
                let mut events = Logged { events: FlowEvents(nat64), heard: &heard, log };
                nat64.tables.synchronise(&nat64.policy, &session, Instant(now_ms), &mut events).is_ok()
            };
            result.count(taken);
        }
        Ok(result)
    }
}

/// Whether packets could have made a session (RFC 6146 3.5, RFC 7915 4.1): its addresses are such as are translated.
fn is_possible(nat64: &Nat64, session: &SessionInfo) -> bool {
    let SessionInfo { client, remote, protocol, mask, .. } = session;
    let source = client.addr;
    let good6 = !(source.is_loopback()
        || source.is_unspecified()
        || source.is_multicast()
        || nat64.pool6.contains(source));
    good6
        && !is_never_translated(remote.addr)
        && match protocol {
            Protocol::Tcp | Protocol::Udp => client.port != 0 && remote.port != 0 && mask.port != 0,
            Protocol::Icmp => true,
        }
}

/// Passes on what concerns the kernel, and what the logs are to say.
struct Logged<'a> {
    events: FlowEvents<'a>,
    heard: &'a Heard,
    log: &'a mut dyn FnMut(LogEvent, bool),
}

impl Events for Logged<'_> {
    fn bib_created(&mut self, entry: &BibInfo) {
        if let Some(to_log) = self.heard.wants(self.events.0.log_bib) {
            (self.log)(LogEvent::BibCreated(*entry), to_log);
        }
    }

    fn session_created(&mut self, session: &SessionInfo) {
        if let Some(to_log) = self.heard.wants(self.events.0.log_sessions) {
            (self.log)(LogEvent::SessionCreated(*session), to_log);
        }
    }

    fn demote(&mut self, session: &SessionInfo) {
        self.events.demote(session);
    }

    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        self.events.port(protocol, mask, taken);
    }
}
