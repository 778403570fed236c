//! When sessions end (RFC 6146 3.5). Each session waits in one list, and all sessions of a list wait equally long: a list
//! is sorted by when its sessions fall due, which makes refreshing O(1) and expiring O(expired) (design rule 5).
//!
//! A session that only this path sees waits in the list of its lifetime. Of a promoted one the other path has to be asked
//! before it ends, and what that saw last can be any time ago: such a session waits in steps, each a power of two of
//! ticks, and is asked about again after each.

use core::time::Duration;

use crate::policy::Policy;
use crate::record::Session;
use crate::shard::{Env, Shard};
use crate::tcp::TcpState;
use crate::types::{Instant, Timer, millis};

/// A refresh moves the session to the end of its list only if it has been there for this many ticks: busy flows then
/// cost nothing. Expiry waits as much longer, so nothing goes early.
pub(crate) const REFRESH: u32 = 4;

/// Milliseconds of a tick, as a power of two. 32 bits of ticks last 34 years.
const TICK_SHIFT: u32 = 8;

/// Ticks that an answer about a promoted session may take.
const ANSWER: u32 = 8;

/// How often it is asked for before silence counts as an answer.
const QUESTIONS: u8 = 3;

/// Coarse time.
pub(crate) fn tick(now: Instant) -> u32 {
    u32::try_from(now.0 >> TICK_SHIFT).unwrap_or(u32::MAX)
}

/// The time that ticks take.
pub(crate) fn ticks(count: u32) -> Duration {
    Duration::from_millis(u64::from(count) << TICK_SHIFT)
}

/// How many ticks a record stays in its list: the lifetime, rounded up, plus the granularity of refreshes.
pub(crate) fn patience(policy: &Policy, timer: Timer) -> u32 {
    in_ticks(millis(policy.lifetime(timer))).saturating_add(REFRESH)
}

/// Milliseconds in ticks, rounded up.
pub(crate) fn in_ticks(millis: u64) -> u32 {
    u32::try_from(millis.div_ceil(1 << TICK_SHIFT)).unwrap_or(u32::MAX)
}

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List(u8);

impl List {
    /// Promoted, and due unless the other path saw something: waits for the answer.
    const ASKED: Self = Self(Timer::ALL.len() as u8);
    /// Promoted, and both paths were silent.
    const SILENT: Self = Self(Self::ASKED.0 + 1);
    /// The first of the steps, of one tick.
    const STEPS: Self = Self(Self::SILENT.0 + 1);
    /// How many lists there are.
    pub(crate) const COUNT: usize = Self::STEPS.0 as usize + 32;

    /// Where sessions under a timer wait that only this path sees.
    pub(crate) const fn of(timer: Timer) -> Self {
        Self(timer.index() as u8)
    }

    /// Position among all lists.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether it is a timer's own.
    pub(crate) const fn is_a_timers(self) -> bool {
        self.0 < Self::ASKED.0
    }

    /// The step's length as a power of two of ticks, if it is the list of a step.
    pub(crate) const fn step(self) -> Option<u8> {
        self.0.checked_sub(Self::STEPS.0)
    }

    /// Ticks after which its sessions fall due.
    fn waits(self, policy: &Policy) -> u32 {
        match (Timer::ALL.get(self.index()), self.step()) {
            (Some(timer), _) => patience(policy, *timer).saturating_add(1),
            (None, Some(step)) => 1 << step,
            (None, None) if self == Self::ASKED => ANSWER,
            (None, None) => 0,
        }
    }
}

/// A time to wait, cut into one step and what is left after it, in 256ths of the step and rounded up. Asked about again
/// (`asks`) is a session after the greatest step that is not too long, whatever is left; `most` limits that step.
fn cut(ticks: u32, asks: bool, most: u32) -> (List, u8) {
    let ticks = ticks.clamp(1, u32::MAX / 2);
    let step = ticks.min(most.max(1)).ilog2() as u8;
    let over = (u64::from(ticks - (1 << step)) << 8).div_ceil(1 << step);
    match u8::try_from(over) {
        Ok(over) => (List(List::STEPS.0 + step), over),
        Err(_whole) if asks => (List(List::STEPS.0 + step), u8::MAX),
        Err(_whole) => (List(List::STEPS.0 + step + 1), 0),
    }
}

/// What is left after a step.
fn rest(step: u8, of_256: u8) -> u32 {
    ((u64::from(of_256) << step).div_ceil(256)) as u32
}

impl Shard {
    /// Restarts a session's lifetime.
    pub(crate) fn refresh(&mut self, number: u32, timer: Timer, tick: u32) {
        let session = &mut self.records[number];
        let recent = session.timer == timer && tick - session.stamp < REFRESH;
        if session.list == List::of(timer) && recent {
            return;
        }
        session.timer = timer;
        if !(recent && session.list.step().is_some()) {
            session.traffic.restart();
        }
        self.move_to(number, List::of(timer), tick);
    }

    /// Puts a new session in the list of its timer.
    pub(crate) fn enlist(&mut self, number: u32, list: List, tick: u32) {
        let session = &mut self.records[number];
        (session.list, session.stamp) = (list, tick);
        self.lists[list.index()].push(&mut self.records, number);
    }

    /// Takes a session that is about to go out of its list.
    pub(crate) fn delist(&mut self, number: u32) {
        let list = self.records[number].list;
        self.lists[list.index()].unlink(&mut self.records, number);
    }

    /// Lets a session end after so many ticks, unless something is seen of it.
    pub(crate) fn wait(&mut self, policy: &Policy, number: u32, ticks: u32, tick: u32) {
        let session = &self.records[number];
        let asks = session.traffic.is_promoted();
        // Who is told of a session hears of it well before he would let it end.
        let most = match asks && policy.announces() {
            true => in_ticks(millis(policy.lifetime(session.timer))) / 2,
            false => u32::MAX,
        };
        let (list, rest) = cut(ticks, asks, most);
        self.move_to(number, if ticks == 0 { List::SILENT } else { list }, tick);
        self.records[number].rest = rest;
    }

    /// Expires at most `budget` sessions; gives how many.
    pub(crate) fn expire(&mut self, env: &mut Env<'_>, budget: usize) -> usize {
        let mut expired = 0;
        for list in (0..List::COUNT as u8).map(List) {
            while expired < budget {
                let Some(number) = self.lists[list.index()].first() else { break };
                if env.tick - self.records[number].stamp < list.waits(env.policy) {
                    break;
                }
                expired += 1;
                self.fall_due(env, number);
            }
        }
        expired
    }

    /// Asks when the other path last saw something of a promoted session.
    pub(crate) fn ask(&mut self, env: &mut Env<'_>, number: u32) {
        let session = &self.records[number];
        let questions = if session.list == List::ASKED { session.rest + 1 } else { 1 };
        self.move_to(number, List::ASKED, env.tick);
        self.records[number].rest = questions;
        if let Some(info) = self.session_info(env.policy, number) {
            env.events.idle(&info);
        }
    }

    /// The answer: the other path last saw something at `last`. `false` if nobody asks any more.
    pub(crate) fn answered(&mut self, policy: &Policy, number: u32, last: Instant, now: Instant) -> bool {
        let session = &self.records[number];
        // Nobody asked any more: a packet came this way.
        if session.list != List::ASKED {
            return false;
        }
        let left = in_ticks(millis(policy.lifetime_since(session.timer, last, now)));
        let tick = self.latest;
        self.wait(policy, number, left, tick);
        true
    }

    /// Time that a session has left if nothing is seen of it; of a promoted one this path knows the least it has.
    pub(crate) fn expires_in(&self, policy: &Policy, session: &Session) -> Duration {
        let waited = self.latest - session.stamp;
        match session.list.step() {
            Some(step) => {
                ticks((1u32 << step).saturating_add(rest(step, session.rest)).saturating_sub(waited))
            }
            None if session.list.is_a_timers() => {
                policy.lifetime(session.timer).saturating_sub(ticks(waited))
            }
            None => Duration::ZERO,
        }
    }

    fn move_to(&mut self, number: u32, list: List, tick: u32) {
        self.delist(number);
        self.enlist(number, list, tick);
    }

    fn fall_due(&mut self, env: &mut Env<'_>, number: u32) {
        let Session { list, rest: noted, traffic, .. } = self.records[number];
        let unanswered = list == List::ASKED && noted >= QUESTIONS;
        if traffic.is_promoted() && !unanswered && list != List::SILENT {
            return self.ask(env, number);
        }
        match list.step().map(|step| rest(step, noted)) {
            Some(left) if left != 0 => self.wait(env.policy, number, left, env.tick),
            _ => self.time_out(env, number),
        }
    }

    fn time_out(&mut self, env: &mut Env<'_>, number: u32) {
        let Session { state, timer, bib, .. } = self.records[number];
        if timer == Timer::Established && state == TcpState::Established {
            self.records[number].state = TcpState::Trans;
            self.refresh(number, Timer::Transitory, env.tick);
            self.demote(env, number);
            if let Some(info) = self.session_info(env.policy, number) {
                env.events.probe(&info);
            }
            return;
        }
        self.take_session(env, number);
        if self.records.bib[bib].session_count == 0 && !self.records.bib[bib].is_static {
            self.remove_bib(env, bib);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Steps add up to the time: never less, and at most 1/256 more.
        #[test]
        fn steps_take_as_long_as_the_whole(ticks in 1u32..=u32::MAX / 2) {
            let (mut left, mut waited) = (ticks, 0u64);
            while left != 0 {
                let (list, of_256) = cut(left, false, u32::MAX);
                let step = list.step().unwrap();
                waited += 1 << step;
                left = rest(step, of_256);
            }
            prop_assert!(waited >= u64::from(ticks), "{waited} of {ticks}");
            prop_assert!(waited <= u64::from(ticks) + u64::from(ticks) / 100 + 2, "{waited} of {ticks}");
        }
    }
}
