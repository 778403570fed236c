//! Packets from the IPv4 side: RFC 6146 3.5.1.2 (UDP), 3.5.2.2 (TCP), 3.5.3 (ICMP queries), with the filters
//! `address-dependent-filtering` and `drop-externally-initiated-tcp`.

use crate::ageing::tick;
use crate::events::Events;
use crate::outbound::remote;
use crate::policy::Policy;
use crate::promotion::Seen;
use crate::record::NewSession;
use crate::refusal::Refusal;
use crate::shard::{Env, Shard};
use crate::tables::Tables;
use crate::tcp::{Side, TcpState};
use crate::types::{Inbound, Instant, Protocol, TcpFlags, Timer, Transport4, Transport6};

impl Tables {
    /// Finds the IPv6 client of a packet from the IPv4 side; makes or refreshes the session. A refusal of
    /// [`Refusal::SynStored`] or [`Refusal::SynStoredFiltered`] means that a copy is held, which comes back through
    /// [`Events::stored_syn_expired`] unless the client answers it within six seconds.
    pub fn inbound(
        &self,
        policy: &Policy,
        packet: &Inbound<'_>,
        now: Instant,
        events: &mut dyn Events,
    ) -> Result<Transport6, Refusal> {
        let ports = policy.pool(packet.protocol).owner(packet.dst).ok_or(Refusal::Pool4Mismatch)?;
        if let Some((at, bib)) = self.decode(ports.get(packet.dst.port)) {
            let (mut shard, mut env) = self.enter(at, policy, now, events);
            if let Some(entry) = shard.verify(bib, packet.protocol, packet.dst) {
                let client = entry.client();
                let Some(session) = shard.inbound_mapped(&mut env, bib, packet)? else {
                    return Ok(client);
                };
                if policy.promotes(packet.protocol) {
                    let Inbound { protocol, tcp, .. } = *packet;
                    let plain = tcp == TcpFlags::default();
                    let seen = Seen { protocol, side: Side::V4, mark: None, plain };
                    shard.seen(&mut env, session, seen);
                }
                if policy.announces() {
                    shard.announce(&mut env, session);
                }
                return Ok(client);
            }
        }
        match packet.protocol {
            Protocol::Tcp if !packet.shared => self.inbound_tcp_unmapped(policy, packet, now),
            Protocol::Tcp | Protocol::Udp | Protocol::Icmp => Err(Refusal::Bib4NotFound),
        }
    }

    /// The IPv6 client of a mask, for an ICMP error about its flow (RFC 6146 3.5.3). Changes nothing.
    pub fn lookup4(
        &self,
        policy: &Policy,
        protocol: Protocol,
        mask: Transport4,
    ) -> Result<Transport6, Refusal> {
        let ports = policy.pool(protocol).owner(mask).ok_or(Refusal::Pool4Mismatch)?;
        let (at, bib) = self.decode(ports.get(mask.port)).ok_or(Refusal::SessionNotFound)?;
        let shard = self.shards[at].0.lock();
        let entry = shard.verify(bib, protocol, mask).ok_or(Refusal::SessionNotFound)?;
        Ok(entry.client())
    }

    fn inbound_tcp_unmapped(
        &self,
        policy: &Policy,
        packet: &Inbound<'_>,
        now: Instant,
    ) -> Result<Transport6, Refusal> {
        if !packet.tcp.syn {
            return Err(Refusal::Syn4Expected);
        }
        let config = policy.config();
        if config.drop_externally_initiated_tcp {
            return Err(Refusal::V4Syn);
        }
        let max = config.maximum_simultaneous_opens;
        match self.shared.syns.store(packet.src, packet.dst, packet.original, max, tick(now))? {}
    }
}

impl Shard {
    /// Gives the session, if there is or now is one.
    fn inbound_mapped(
        &mut self,
        env: &mut Env<'_>,
        bib: u32,
        packet: &Inbound<'_>,
    ) -> Result<Option<u32>, Refusal> {
        let remote = remote(packet.protocol, packet.src);
        let config = env.policy.config();
        match (packet.protocol, self.session(env.shared, bib, remote)) {
            (Protocol::Tcp, Some(session)) => {
                self.tcp_packet(env, session, Side::V4, packet.tcp)?;
                Ok(Some(session))
            }
            (Protocol::Tcp, None) if !packet.tcp.syn => Ok(None),
            (Protocol::Tcp, None) if config.drop_externally_initiated_tcp => Err(Refusal::V4Syn),
            (Protocol::Tcp, None) if config.address_dependent_filtering => {
                self.store_filtered_syn(env, bib, packet)?;
                Ok(None)
            }
            (Protocol::Tcp, None) => {
                let new = NewSession { remote, state: TcpState::V4Init, timer: Timer::Transitory };
                self.extend(env, bib, new).map(Some)
            }
            (protocol, Some(session)) => {
                let timer = NewSession::stateless(protocol, remote).timer;
                self.refresh(session, timer, env.tick);
                Ok(Some(session))
            }
            (_, None)
                if config.address_dependent_filtering && !self.knows_peer(env.shared, bib, remote.addr) =>
            {
                Err(Refusal::AddressDependentFiltering)
            }
            (protocol, None) => {
                let new = NewSession::stateless(protocol, remote);
                self.extend(env, bib, new).map(Some)
            }
        }
    }

    /// A SYN that filtering does not let through now (type 2): its session waits for the client's own SYN.
    fn store_filtered_syn(
        &mut self,
        env: &mut Env<'_>,
        bib: u32,
        packet: &Inbound<'_>,
    ) -> Result<(), Refusal> {
        let original =
            env.shared.syns.hold(packet.original, env.policy.config().maximum_simultaneous_opens)?;
        let new = NewSession { remote: packet.src, state: TcpState::V4Init, timer: Timer::StoredSyn };
        match self.extend(env, bib, new) {
            Ok(session) => {
                self.hold(session, original);
                Err(Refusal::SynStoredFiltered)
            }
            Err(refusal) => {
                env.shared.syns.let_go(&original);
                Err(refusal)
            }
        }
    }
}
