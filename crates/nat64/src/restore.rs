//! Taking up sessions of an earlier run, with the masks and the time left that they had.

use crate::ageing::in_ticks;
use crate::events::{Events, SessionInfo};
use crate::outbound::remote;
use crate::policy::Policy;
use crate::record::NewSession;
use crate::refusal::Refusal;
use crate::shard::{Env, Shard};
use crate::tables::Tables;
use crate::tcp::TcpState;
use crate::types::{Instant, Protocol, Timer, millis};

impl Tables {
    /// Puts a session back, and its BIB entry if need be. One that is there already stays as it is, but for being
    /// promoted. A session that may not be promoted any more is [demoted](Events::demote), also if it is refused.
    ///
    /// Refused is what the policy does not cover any more ([`Refusal::Pool4Mismatch`]), what contradicts the tables
    /// ([`Refusal::PoolExhausted`]: the client has another mask, or the mask another client), and what a limit forbids. A
    /// held SYN went with the earlier run: its session is not restored.
    pub fn restore(
        &self,
        policy: &Policy,
        session: &SessionInfo,
        now: Instant,
        events: &mut dyn Events,
    ) -> Result<(), Refusal> {
        let (state, timer) = lawful(session);
        let promotable = matches!(timer, Timer::Established | Timer::Udp | Timer::Icmp);
        let session = SessionInfo { timer, ..*session };
        let may_stay =
            promotable && policy.promotes(session.protocol) && !policy.owns(session.protocol, session.remote);
        let restored = if timer == Timer::StoredSyn {
            Ok(())
        } else {
            let promoted = session.promoted && may_stay;
            self.put_back(policy, &SessionInfo { promoted, ..session }, state, now, events)
        };
        if session.promoted && (restored.is_err() || !may_stay) {
            events.demote(&session);
        }
        restored
    }

    fn put_back(
        &self,
        policy: &Policy,
        session: &SessionInfo,
        state: TcpState,
        now: Instant,
        events: &mut dyn Events,
    ) -> Result<(), Refusal> {
        let SessionInfo { protocol, client, mask, .. } = *session;
        let ports = policy.pool(protocol).owner(mask).ok_or(Refusal::Pool4Mismatch)?;
        let hash = self.shared.hasher.client(client.addr);
        let (mut shard, mut env) = self.enter(self.place(hash), policy, now, events);
        let new = NewSession { remote: remote(protocol, session.remote), state, timer: session.timer };
        let number = match shard.find(self.shared.hasher.with_port(hash, client.port), protocol, client) {
            Some(bib) if shard.records.bib[bib].mask() != mask || !shard.still_mapped(&env, bib) => {
                return Err(Refusal::PoolExhausted);
            }
            Some(bib) => match shard.session(&self.shared, bib, new.remote) {
                Some(_) if !session.promoted => return Ok(()),
                Some(known) => known,
                None => shard.extend(&mut env, bib, new)?,
            },
            None => {
                let choose = |handle| ports.take(mask.port, handle).then_some(mask);
                shard.open(&mut env, protocol, client, choose, new)?
            }
        };
        shard.resume(&mut env, number, session);
        Ok(())
    }
}

impl Shard {
    /// Gives a session the time that it has left.
    pub(crate) fn resume(&mut self, env: &mut Env<'_>, number: u32, session: &SessionInfo) {
        // Closing meanwhile: the other path must not have it.
        if session.promoted && self.records[number].timer != session.timer {
            env.events.demote(session);
            return;
        }
        self.records[number].traffic.resume(session.promoted);
        let left = session.expires_in.min(env.policy.lifetime(session.timer));
        let least = u32::from(session.promoted);
        self.wait(env.policy, number, in_ticks(millis(left)).max(least), env.tick);
    }
}

/// State and timer of a session, as far as they go together.
pub(crate) fn lawful(session: &SessionInfo) -> (TcpState, Timer) {
    let state = session.state.unwrap_or(TcpState::Established);
    let timer = match (session.protocol, session.timer) {
        (Protocol::Udp, _) => Timer::Udp,
        (Protocol::Icmp, _) => Timer::Icmp,
        (Protocol::Tcp, Timer::StoredSyn) => Timer::StoredSyn,
        (Protocol::Tcp, Timer::Established)
            if matches!(state, TcpState::Established | TcpState::V4FinRcv | TcpState::V6FinRcv) =>
        {
            Timer::Established
        }
        (Protocol::Tcp, _) => Timer::Transitory,
    };
    (state, timer)
}
