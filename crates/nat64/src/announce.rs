//! Telling of sessions while they live, for other translators that are to know them (`ss-enabled`): at once when they are made
//! or change their state, and now and then while packets keep them alive. Of what a faster path repeats, whenever that has
//! answered when it last saw something; it is asked at half of the lifetime at the latest (`ageing.rs`).

use core::time::Duration;

use crate::ageing::in_ticks;
use crate::policy::Policy;
use crate::shard::{Env, Shard};
use crate::types::{Timer, millis};

/// A session is told of again after this part of its lifetime, but not sooner and not later than so many units.
const PART: u32 = 16;
const LEAST: u32 = 1;
const MOST: u32 = 15;

/// Ticks of a unit, as a power of two: about four seconds.
const UNIT_SHIFT: u32 = 4;

/// When a session was last told of, in units; it wraps after 17 minutes, which can put it off once by [`MOST`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told(u8);

impl Told {
    /// So long ago that it has to be told at once.
    pub(crate) fn never(tick: u32) -> Self {
        Self(Self::at(tick).0.wrapping_sub(1 << 7))
    }

    /// Just now.
    pub(crate) fn at(tick: u32) -> Self {
        Self((tick >> UNIT_SHIFT) as u8)
    }

    fn is_due(self, policy: &Policy, timer: Timer, tick: u32) -> bool {
        let part = in_ticks(millis(policy.lifetime(timer))) / PART;
        let units = (part >> UNIT_SHIFT).clamp(LEAST, MOST);
        u32::from(Self::at(tick).0.wrapping_sub(self.0)) >= units
    }
}

impl Shard {
    /// Tells of a session that a packet was let through by, if it is time to. Of a SYN that is held nobody else can know.
    #[inline(never)]
    pub(crate) fn announce(&mut self, env: &mut Env<'_>, number: u32) {
        let session = &self.records[number];
        if session.traffic.is_promoted() && session.list.is_a_timers() {
            let left = in_ticks(millis(self.expires_in(env.policy, session)));
            self.wait(env.policy, number, left, env.tick);
        }
        let session = &self.records[number];
        if session.timer != Timer::StoredSyn && session.told.is_due(env.policy, session.timer, env.tick) {
            let left = env.policy.lifetime(session.timer);
            self.tell(env, number, left);
        }
    }

    /// Tells of a session, with the time that it has left.
    pub(crate) fn tell(&mut self, env: &mut Env<'_>, number: u32, left: Duration) {
        self.records[number].told = Told::at(env.tick);
        if let Some(info) = self.session_info(env.policy, number) {
            env.events.session_updated(&crate::SessionInfo { expires_in: left, ..info });
        }
    }
}
