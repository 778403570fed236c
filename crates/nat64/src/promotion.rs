//! Promotion: which sessions are worth being repeated by a faster path, and how they are taken back from it.
//!
//! That path translates plain packets of a promoted session by itself. Whatever changes state still comes here (SYN, FIN,
//! RST, fragments, errors, the first packet of everything), so the RFC's state machine stays in one place; of the rest the
//! path only notes when it last saw something, and is asked for that before the session would end (`ageing.rs`).

use crate::events::Events;
use crate::give_way::give_way;
use crate::outbound::remote;
use crate::policy::Policy;
use crate::shard::{Env, Shard};
use crate::tables::{LOCKED_AT_ONCE, Tables};
use crate::tcp::Side;
use crate::types::{Instant, Protocol, Timer, Transport4, Transport6};

/// Packets after which a session without handshake is worth it, and those after which it is if both sides sent.
const PACKETS: u8 = 4;
const PACKETS_OF_BOTH: u8 = 3;

/// What is known of a session's packets on this path, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic(u8);

impl Traffic {
    const COUNT: u8 = 0b111;
    const FROM6: u8 = 1 << 3;
    const FROM4: u8 = 1 << 4;
    /// The last packet from the client had no firewall mark.
    const UNMARKED: u8 = 1 << 5;
    const PROMOTED: u8 = 1 << 6;
    /// The session's lifetime was restarted since this was looked at.
    const RESTARTED: u8 = 1 << 7;

    pub(crate) const fn is_promoted(self) -> bool {
        self.0 & Self::PROMOTED != 0
    }

    fn set(&mut self, bits: u8, on: bool) {
        self.0 = if on { self.0 | bits } else { self.0 & !bits };
    }

    /// The session's lifetime is restarted, which happens about once a second.
    pub(crate) fn restart(&mut self) {
        self.0 |= Self::RESTARTED;
    }

    /// Whether the session's lifetime was restarted since the last time.
    fn take_restarted(&mut self) -> bool {
        let restarted = self.0 & Self::RESTARTED != 0;
        self.0 &= !Self::RESTARTED;
        restarted
    }

    /// One more packet.
    fn note(&mut self, side: Side, mark: Option<u32>) {
        let count = self.0 & Self::COUNT;
        self.0 = (self.0 & !Self::COUNT) | (count + 1).min(PACKETS);
        self.set(if side == Side::V6 { Self::FROM6 } else { Self::FROM4 }, true);
        if let Some(mark) = mark {
            self.set(Self::UNMARKED, mark == 0);
        }
    }

    /// A session of an earlier run: it has had enough packets to expect more.
    pub(crate) fn resume(&mut self, promoted: bool) {
        self.0 |= PACKETS | Self::FROM6 | Self::FROM4;
        self.set(Self::PROMOTED, promoted);
    }

    /// Enough packets to expect more.
    fn is_lasting(self) -> bool {
        let both = Self::FROM6 | Self::FROM4;
        let count = self.0 & Self::COUNT;
        count >= PACKETS || (count >= PACKETS_OF_BOTH && self.0 & both == both)
    }

    /// The firewall mark that packets of the client have, if that is known without one at hand.
    fn mark(self) -> Option<u32> {
        (self.0 & Self::UNMARKED != 0).then_some(0)
    }
}

/// A packet that was let through by way of a session.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) protocol: Protocol,
    pub(crate) side: Side,
    /// The firewall mark, of packets from the client.
    pub(crate) mark: Option<u32>,
    /// The other path could have taken such a packet.
    pub(crate) plain: bool,
}

impl Tables {
    /// What the faster path says of a promoted session, in answer to [`Events::idle`] or unasked: it last saw something
    /// at `last`, or (`None`) it does not have the session, or not any more. In the latter case the session is demoted:
    /// somebody may have promoted it again meanwhile, which then does not hold.
    pub fn used(
        &self,
        policy: &Policy,
        (protocol, client, server): (Protocol, Transport6, Transport4),
        last: Option<Instant>,
        now: Instant,
        events: &mut dyn Events,
    ) {
        let hash = self.shared.hasher.client(client.addr);
        let (mut shard, mut env) = self.enter(self.place(hash), policy, now, events);
        let hash = self.shared.hasher.with_port(hash, client.port);
        let Some(bib) = shard.find(hash, protocol, client) else { return };
        let Some(number) = shard.session(&self.shared, bib, remote(protocol, server)) else { return };
        if !shard.records[number].traffic.is_promoted() {
            return;
        }
        match last {
            Some(last) => {
                if shard.answered(policy, number, last, now) && policy.announces() {
                    let left = policy.lifetime_since(shard.records[number].timer, last, now);
                    shard.tell(&mut env, number, left);
                }
            }
            None => shard.demote(&mut env, number),
        }
    }

    /// Takes everything back from the faster path for good: these tables go. What workers still do with them stays here.
    pub fn retire(&self, policy: &Policy, events: &mut dyn Events) {
        for at in 0..self.shards.len() {
            let (mut shard, mut env) = self.enter(at, policy, Instant(0), events);
            shard.close();
            for number in shard.records.numbers() {
                if shard.records.get(number).is_some_and(|session| session.traffic.is_promoted()) {
                    shard.demote(&mut env, number);
                }
            }
            for info in (0..shard.records.bib.end()).filter_map(|bib| shard.bib_info(bib)) {
                env.events.port(info.protocol, info.mask, false);
            }
        }
    }

    /// Tells of every port that has a BIB entry, as if it had just been taken; in steps.
    pub fn announce(&self, policy: &Policy, events: &mut dyn Events) {
        for at in 0..self.shards.len() {
            let mut slot = 0;
            loop {
                give_way();
                let (shard, env) = self.enter(at, policy, Instant(0), events);
                let end = shard.records.bib.end();
                let stop = end.min(slot + LOCKED_AT_ONCE);
                for info in (slot..stop).filter_map(|bib| shard.bib_info(bib)) {
                    env.events.port(info.protocol, info.mask, true);
                }
                slot = stop;
                if slot >= end {
                    break;
                }
            }
        }
    }
}

impl Shard {
    /// Takes note of a packet, and promotes its session if it is worth it. A promoted one that still comes this way is
    /// promoted again about once a second: the other path may have lost it, or know another mark.
    // Out of line: where nothing is promoted it is not to be in the way.
    #[inline(never)]
    pub(crate) fn seen(&mut self, env: &mut Env<'_>, number: u32, packet: Seen) {
        let session = &mut self.records[number];
        session.traffic.note(packet.side, packet.mark);
        let again = session.traffic.take_restarted();
        let traffic = session.traffic;
        let worth_it = match packet.protocol {
            Protocol::Tcp => session.timer == Timer::Established,
            Protocol::Udp | Protocol::Icmp => traffic.is_lasting(),
        };
        // What a newer policy has taken back must not be promoted by an older one.
        let outdated = env.policy.generation() < self.generation;
        if !worth_it || !packet.plain || outdated || (traffic.is_promoted() && !again) {
            return;
        }
        let Some(mark) = packet.mark.or(traffic.mark()) else { return };
        let Some(info) = self.session_info(env.policy, number) else { return };
        // The other end is a client too: the packet has two translations before it.
        if env.policy.owns(info.protocol, info.remote) {
            return;
        }
        let promoted = env.events.promote(&info, mark);
        self.records[number].traffic.set(Traffic::PROMOTED, promoted || traffic.is_promoted());
    }

    /// Takes a session back, if it was promoted.
    pub(crate) fn demote(&mut self, env: &mut Env<'_>, number: u32) {
        if !self.records[number].traffic.is_promoted() {
            return;
        }
        if let Some(info) = self.session_info(env.policy, number) {
            env.events.demote(&info);
        }
        let session = &mut self.records[number];
        session.traffic.set(Traffic::PROMOTED, false);
        // What was seen last of a session that waits otherwise is not known: its lifetime starts anew.
        let (list, timer) = (session.list, session.timer);
        if !list.is_a_timers() {
            self.refresh(number, timer, env.tick);
        }
    }

    /// A promoted session under changed rules: taken back, or (`keep`) asked about under another lifetime.
    pub(crate) fn review(&mut self, env: &mut Env<'_>, number: u32, keep: bool) {
        let Some(session) = self.records.get(number) else { return };
        let (promoted, waits, timer) = (session.traffic.is_promoted(), session.list.step(), session.timer);
        if promoted && !keep {
            self.demote(env, number);
        } else if promoted && waits.is_some() {
            self.ask(env, number);
        } else if waits.is_some() {
            self.refresh(number, timer, env.tick);
        }
    }

    /// No policy promotes anything here any more.
    fn close(&mut self) {
        self.generation = u32::MAX;
    }
}
