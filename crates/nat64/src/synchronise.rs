//! Taking over what another translator tells of its sessions, while both run (`ss-enabled`).

use crate::ageing::in_ticks;
use crate::announce::Told;
use crate::events::{Events, SessionInfo};
use crate::outbound::remote;
use crate::policy::Policy;
use crate::record::NewSession;
use crate::refusal::Refusal;
use crate::restore::lawful;
use crate::shard::{Env, Shard};
use crate::tables::Tables;
use crate::tcp::TcpState;
use crate::types::{Instant, Timer, millis};

impl Tables {
    /// Makes a session that another translator has told of, and its BIB entry if need be, or gives a known one the state that is
    /// told. Its time is the longer one of the two under the same timer; under another one, what is told.
    ///
    /// Nothing that is here is ever taken from anybody: refused is what pool4 does not cover ([`Refusal::Pool4Mismatch`]),
    /// what contradicts the tables ([`Refusal::PoolExhausted`]: the client has another mask, or the mask another client), and
    /// what a limit forbids. A held SYN stays what it is.
    pub fn synchronise(
        &self,
        policy: &Policy,
        session: &SessionInfo,
        now: Instant,
        events: &mut dyn Events,
    ) -> Result<(), Refusal> {
        let (state, timer) = lawful(session);
        if timer == Timer::StoredSyn {
            return Err(Refusal::SessionNotFound);
        }
        let session = SessionInfo { timer, promoted: false, ..*session };
        let SessionInfo { protocol, client, mask, .. } = session;
        let ports = policy.pool(protocol).owner(mask).ok_or(Refusal::Pool4Mismatch)?;
        let hash = self.shared.hasher.client(client.addr);
        let (mut shard, mut env) = self.enter(self.place(hash), policy, now, events);
        let new = NewSession { remote: remote(protocol, session.remote), state, timer };
        let number = match shard.find(self.shared.hasher.with_port(hash, client.port), protocol, client) {
            Some(bib) if shard.records.bib[bib].mask() != mask || !shard.still_mapped(&env, bib) => {
                return Err(Refusal::PoolExhausted);
            }
            Some(bib) => match shard.session(&self.shared, bib, new.remote) {
                Some(known) => {
                    shard.overwrite(&mut env, known, state, &session);
                    return Ok(());
                }
                None => shard.extend(&mut env, bib, new)?,
            },
            None => {
                let choose = |handle| ports.take(mask.port, handle).then_some(mask);
                shard.open(&mut env, protocol, client, choose, new)?
            }
        };
        shard.resume(&mut env, number, &session);
        // Who told of it need not hear of it.
        shard.records[number].told = Told::at(env.tick);
        Ok(())
    }
}

impl Shard {
    fn overwrite(&mut self, env: &mut Env<'_>, number: u32, state: TcpState, told: &SessionInfo) {
        let here = self.records[number].timer;
        if here == Timer::StoredSyn {
            return;
        }
        if here != told.timer {
            self.demote(env, number);
        }
        let left = told.expires_in.min(env.policy.lifetime(told.timer));
        let known = self.expires_in(env.policy, &self.records[number]);
        let session = &mut self.records[number];
        (session.state, session.timer, session.told) = (state, told.timer, Told::at(env.tick));
        // When the faster path saw something of a promoted one last is asked of that.
        if here != told.timer || (left > known && !session.traffic.is_promoted()) {
            self.wait(env.policy, number, in_ticks(millis(left)), env.tick);
        }
    }
}
