//! Packets from the IPv6 side: RFC 6146 3.5.1.1 (UDP), 3.5.2.2 (TCP), 3.5.3 (ICMP queries).

use crate::events::Events;
use crate::policy::Policy;
use crate::pool4::Set;
use crate::promotion::Seen;
use crate::record::NewSession;
use crate::refusal::Refusal;
use crate::shard::{Env, Shard};
use crate::tables::Tables;
use crate::tcp::{Side, TcpState};
use crate::types::{Instant, Outbound, Protocol, TcpFlags, Timer, Transport4, Transport6};

impl Tables {
    /// Finds or makes the BIB entry and the session of a packet from the IPv6 side, refreshes them, and gives the IPv4
    /// transport address that stands for the client. A refused packet leaves existing flows as they were.
    pub fn outbound(
        &self,
        policy: &Policy,
        packet: &Outbound,
        now: Instant,
        events: &mut dyn Events,
    ) -> Result<Transport4, Refusal> {
        let set = policy.set(packet.protocol, packet.mark).ok_or(Refusal::MaskDomainNotFound)?;
        let hash = self.shared.hasher.client(packet.src.addr);
        let (mut shard, mut env) = self.enter(self.place(hash), policy, now, events);
        let mut bib =
            shard.find(self.shared.hasher.with_port(hash, packet.src.port), packet.protocol, packet.src);
        if let Some(stale) = bib.filter(|bib| !shard.still_mapped(&env, *bib)) {
            shard.remove_bib(&mut env, stale);
            bib = None;
        }
        let (bib, session) = match bib {
            Some(bib) => (bib, shard.outbound_mapped(&mut env, bib, packet)?),
            None => {
                let bib = shard.outbound_unmapped(&mut env, set, hash, packet)?;
                // The first session of an entry is inside it and has its number.
                (bib, Some(bib))
            }
        };
        if let Some(session) = session {
            if policy.promotes(packet.protocol) {
                let Outbound { protocol, mark, tcp, .. } = *packet;
                let plain = tcp == TcpFlags::default();
                let seen = Seen { protocol, side: Side::V6, mark: Some(mark), plain };
                shard.seen(&mut env, session, seen);
            }
            if policy.announces() {
                shard.announce(&mut env, session);
            }
        }
        Ok(shard.records.bib[bib].mask())
    }

    /// The mask of an IPv6 client, for an ICMP error about its flow (RFC 6146 3.5.3). Changes nothing.
    pub fn lookup6(&self, protocol: Protocol, client: Transport6) -> Option<Transport4> {
        let hash = self.shared.hasher.client(client.addr);
        let shard = self.shards[self.place(hash)].0.lock();
        let bib = shard.find(self.shared.hasher.with_port(hash, client.port), protocol, client)?;
        Some(shard.records.bib[bib].mask())
    }
}

impl Shard {
    /// Gives the session, if there is or now is one.
    fn outbound_mapped(
        &mut self,
        env: &mut Env<'_>,
        bib: u32,
        packet: &Outbound,
    ) -> Result<Option<u32>, Refusal> {
        let remote = remote(packet.protocol, packet.dst);
        let session = self.session(env.shared, bib, remote);
        match (packet.protocol, session) {
            (Protocol::Tcp, Some(session)) => {
                self.tcp_packet(env, session, Side::V6, packet.tcp)?;
                Ok(Some(session))
            }
            (Protocol::Tcp, None) if packet.tcp.syn => self.extend(env, bib, v6_init(remote)).map(Some),
            // Translated, but without a session of its own.
            (Protocol::Tcp, None) => Ok(None),
            (protocol, Some(session)) => {
                let timer = NewSession::stateless(protocol, remote).timer;
                self.refresh(session, timer, env.tick);
                Ok(Some(session))
            }
            (protocol, None) => {
                let new = NewSession::stateless(protocol, remote);
                self.extend(env, bib, new).map(Some)
            }
        }
    }

    fn outbound_unmapped(
        &mut self,
        env: &mut Env<'_>,
        set: &Set,
        client: u64,
        packet: &Outbound,
    ) -> Result<u32, Refusal> {
        let remote = remote(packet.protocol, packet.dst);
        let new = match packet.protocol {
            Protocol::Tcp => {
                if let Some(bib) = self.claim_stored_syn(env, set, packet)? {
                    return Ok(bib);
                }
                if !packet.tcp.syn {
                    return Err(Refusal::Syn6Expected);
                }
                v6_init(remote)
            }
            protocol => NewSession::stateless(protocol, remote),
        };
        let port = env.shared.hasher.port(packet, env.policy.config().f_args);
        self.open(env, packet.protocol, packet.src, |handle| set.take_any(client, port, handle), new)
    }

    /// The other half of a simultaneous open: the server's SYN came first and is being held (type 1). Its destination
    /// becomes the mask. A SYN completes the handshake; anything else leaves the SYN held with the session.
    fn claim_stored_syn(
        &mut self,
        env: &mut Env<'_>,
        set: &Set,
        packet: &Outbound,
    ) -> Result<Option<u32>, Refusal> {
        let Some(mask) = env.shared.syns.destination(packet.dst).filter(|mask| set.contains(*mask)) else {
            return Ok(None);
        };
        let Some(ports) = env.policy.pool(Protocol::Tcp).owner(mask) else { return Ok(None) };
        let new = if packet.tcp.syn {
            NewSession { remote: packet.dst, state: TcpState::Established, timer: Timer::Established }
        } else {
            NewSession { remote: packet.dst, state: TcpState::V4Init, timer: Timer::StoredSyn }
        };
        let choose = |handle| ports.take(mask.port, handle).then_some(mask);
        let bib = match self.open(env, Protocol::Tcp, packet.src, choose, new) {
            // Somebody else has the mask by now.
            Err(Refusal::PoolExhausted) => return Ok(None),
            made => made?,
        };
        let original = env.shared.syns.claim(packet.dst);
        match (original, self.session(env.shared, bib, packet.dst)) {
            (Some(original), Some(session)) if !packet.tcp.syn => self.hold(session, original),
            (Some(original), _) => env.shared.syns.let_go(&original),
            (None, _) => {}
        }
        Ok(Some(bib))
    }
}

/// What identifies a session on the IPv4 side: for ICMP the address alone.
pub(crate) fn remote(protocol: Protocol, server: Transport4) -> Transport4 {
    if protocol == Protocol::Icmp { Transport4 { port: 0, ..server } } else { server }
}

fn v6_init(remote: Transport4) -> NewSession {
    NewSession { remote, state: TcpState::V6Init, timer: Timer::Transitory }
}
