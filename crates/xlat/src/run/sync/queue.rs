//! The sessions of one instance that wait to be told to other translators, and when a message of them goes out: pure
//! bookkeeping (`ss-flush-deadline`, `ss-capacity`, `ss-max-sessions-per-packet`).

use std::collections::VecDeque;

use xlat_config::Nat64Global;
use xlat_control::sync::SESSIONS_MAX;
use xlat_nat64::SessionInfo;

/// Sessions taken up at once.
pub(super) const BATCH: usize = 1024;
/// Messages of an advertisement sent at once.
pub(super) const ADVERTISED: usize = 32;

/// Declares the counters once: field, our name, Jool's name, explanation.
macro_rules! counts {
    ($($field:ident $name:literal $jool:literal $explanation:literal;)*) => {
        /// What happened to the sessions of one instance.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(super) struct Counts { $(pub(super) $field: u64,)* }

        impl Counts {
            /// Name, Jool's name, value and explanation.
            pub(super) fn rows(&self) -> Vec<(&'static str, &'static str, u64, &'static str)> {
                vec![$(($name, $jool, self.$field, $explanation),)*]
            }
        }
    };
}

counts! {
    empty "sync-empty" "JSTAT_JOOLD_EMPTY" "it was time for a message, and nothing waited";
    timeout "sync-deadline" "JSTAT_JOOLD_TIMEOUT" "messages sent because ss-flush-deadline had passed";
    missing_ack "sync-not-taken" "JSTAT_JOOLD_MISSING_ACK" "nothing sent, because the last message was not taken yet";
    ad_ongoing "sync-advertising" "JSTAT_JOOLD_AD_ONGOING" "messages sent as part of an advertisement";
    full "sync-full" "JSTAT_JOOLD_PKT_FULL" "messages sent because they were full";
    queuing "sync-filling" "JSTAT_JOOLD_QUEUING" "nothing sent, because the message was not full yet";
    queued "sync-sessions-queued" "JSTAT_JOOLD_SSS_QUEUED" "sessions to be told to other translators";
    sent "sync-sessions-sent" "JSTAT_JOOLD_SSS_SENT" "sessions told to other translators";
    received "sync-sessions-received" "JSTAT_JOOLD_SSS_RCVD" "sessions told by other translators";
    refused "sync-sessions-refused" "" "sessions told by other translators that do not fit here";
    no_space "sync-sessions-lost" "JSTAT_JOOLD_SSS_ENOSPC" "sessions not told, because ss-capacity waited already";
    messages_sent "sync-messages-sent" "JSTAT_JOOLD_PKT_SENT" "messages sent";
    messages_lost "sync-messages-lost" "" "messages that a reader was too slow to take";
    messages_received "sync-messages-received" "JSTAT_JOOLD_PKT_RCVD" "messages received";
    messages_refused "sync-messages-refused" "" "messages that could not be read, or came while ss-enabled was off";
    ads "sync-advertisements" "JSTAT_JOOLD_ADS" "advertisements of all sessions";
    acks "sync-messages-taken" "JSTAT_JOOLD_ACKS" "messages that a reader took";
}

/// The options of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Milliseconds.
    deadline: u64,
    capacity: usize,
    per_message: usize,
}

impl From<&Nat64Global> for Settings {
    fn from(global: &Nat64Global) -> Self {
        Self {
            deadline: global.ss_flush_deadline.into(),
            capacity: global.ss_capacity as usize,
            per_message: (global.ss_max_sessions_per_packet as usize).clamp(1, SESSIONS_MAX),
        }
    }
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queue {
    settings: Settings,
    waiting: VecDeque<SessionInfo>,
    /// When the last message went out, or something began to wait after that; milliseconds.
    since: u64,
    /// Somebody has taken the last message.
    taken: bool,
    pub(super) advertising: bool,
    pub(super) counts: Counts,
}

impl Queue {
    pub(super) fn new(settings: Settings, now: u64) -> Self {
        let (waiting, counts) = Default::default();
        Self { settings, waiting, since: now, taken: true, advertising: false, counts }
    }

    pub(super) fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Sessions of an advertisement that go out at once.
    pub(super) fn at_once(&self) -> usize {
        self.settings.per_message * ADVERTISED
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// One more session; `false` if there is no room for it.
    pub(super) fn push(&mut self, session: SessionInfo) -> bool {
        self.counts.queued += 1;
        // What traffic tells goes on coming while a reader may take nothing of an advertisement.
        let room = if self.advertising { self.at_once() + BATCH } else { 0 };
        if self.waiting.len() >= self.settings.capacity.saturating_add(room) {
            self.counts.no_space += 1;
            return false;
        }
        self.waiting.push_back(session);
        true
    }

    /// Somebody took a message, or has just come to take some.
    pub(super) fn taken(&mut self) {
        self.taken = true;
    }

    /// The next message, if it is time for one.
    pub(super) fn next(&mut self, now: u64) -> Option<Vec<SessionInfo>> {
        if !self.is_due(now) {
            return None;
        }
        (self.since, self.taken) = (now, false);
        let count = self.waiting.len().min(self.settings.per_message);
        Some(self.waiting.drain(..count).collect())
    }

    fn is_due(&mut self, now: u64) -> bool {
        let Self { settings, waiting, counts, .. } = self;
        if waiting.is_empty() {
            counts.empty += 1;
            return false;
        }
        let (why, due) = if now.saturating_sub(self.since) >= settings.deadline {
            (&mut counts.timeout, true)
        } else if !self.taken {
            (&mut counts.missing_ack, false)
        } else if self.advertising {
            (&mut counts.ad_ongoing, true)
        } else if waiting.len() >= settings.per_message {
            (&mut counts.full, true)
        } else {
            (&mut counts.queuing, false)
        };
        *why += 1;
        due
    }

    /// Milliseconds until a message is due whatever happens; `None` while nothing waits.
    pub(super) fn due_in(&self, now: u64) -> Option<u64> {
        let passed = now.saturating_sub(self.since);
        (!self.waiting.is_empty()).then(|| self.settings.deadline.saturating_sub(passed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xlat_nat64::{Protocol, Timer, Transport4, Transport6};

    use super::*;

    fn session(port: u16) -> SessionInfo {
        SessionInfo {
            protocol: Protocol::Udp,
            client: Transport6 { addr: "2001:db8::8".parse().unwrap(), port },
            mask: Transport4 { addr: "203.0.113.2".parse().unwrap(), port },
            remote: Transport4 { addr: "203.0.113.16".parse().unwrap(), port: 53 },
            state: None,
            timer: Timer::Udp,
            expires_in: Duration::from_secs(300),
            promoted: false,
        }
    }

    fn queue(deadline: u32, capacity: u32, per_message: u32) -> Queue {
        let global = Nat64Global {
            ss_flush_deadline: deadline,
            ss_capacity: capacity,
            ss_max_sessions_per_packet: per_message,
            ..Nat64Global::default()
        };
        Queue::new(Settings::from(&global), 1000)
    }

    fn ports(message: Option<Vec<SessionInfo>>) -> Vec<u16> {
        message.into_iter().flatten().map(|session| session.client.port).collect()
    }

    #[test]
    fn a_message_goes_out_when_it_is_full_or_late() {
        let mut queue = queue(2000, 512, 3);
        assert_eq!(queue.next(1000), None);
        assert!(queue.push(session(1)) && queue.push(session(2)));
        assert_eq!((queue.next(1100), queue.due_in(1100)), (None, Some(1900)));
        queue.push(session(3));
        assert_eq!(ports(queue.next(1200)), [1, 2, 3]);
        // Nobody has taken it: the next one waits for the deadline, however full.
        assert!((4..8).all(|port| queue.push(session(port))));
        assert_eq!(queue.next(1300), None);
        assert_eq!(ports(queue.next(3200)), [4, 5, 6]);
        queue.taken();
        assert_eq!((queue.next(3300), queue.due_in(3300)), (None, Some(1900)));
        queue.advertising = true;
        assert_eq!(ports(queue.next(3300)), [7]);
        assert_eq!((queue.next(9999), queue.due_in(9999)), (None, None));
        let counts = &queue.counts;
        assert_eq!((counts.empty, counts.timeout, counts.missing_ack), (2, 1, 1));
        assert_eq!((counts.ad_ongoing, counts.full, counts.queuing, counts.queued), (1, 1, 2, 7));
    }

    #[test]
    fn what_does_not_fit_is_counted_but_not_while_advertising() {
        let mut queue = queue(2000, 2, 36);
        let pushed: Vec<bool> = (0..4).map(|port| queue.push(session(port))).collect();
        assert_eq!(pushed, [true, true, false, false]);
        assert_eq!((queue.counts.queued, queue.counts.no_space), (4, 2));
        queue.advertising = true;
        assert!(queue.push(session(5)));
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn an_advertisement_that_nobody_takes_keeps_no_more_than_its_part() {
        let mut queue = queue(2000, 2, 36);
        queue.advertising = true;
        let kept = (0..u16::MAX).filter(|port| queue.push(session(*port))).count();
        assert_eq!(kept, 2 + queue.at_once() + BATCH);
        assert_eq!(queue.counts.no_space, u64::from(u16::MAX) - kept as u64);
    }

    #[test]
    fn senseless_settings_work_all_the_same() {
        let mut at_once = queue(0, 512, 0);
        at_once.push(session(1));
        at_once.push(session(2));
        assert_eq!(ports(at_once.next(1000)), [1]);
        assert_eq!(ports(at_once.next(1000)), [2]);
        assert_eq!(queue(1, 1, u32::MAX).at_once(), ADVERTISED * SESSIONS_MAX);
    }
}
