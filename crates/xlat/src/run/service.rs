//! What the service manager is told (sd_notify(3)), if there is one.

use std::time::Duration;

use sd_notify::{NotifyState, notify};

/// How often [`Service::alive`] is called.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// The way to the service manager. Not reaching it is never a reason to fail.
pub(super) struct Service {
    /// It wants to hear from us.
    watchdog: bool,
}

impl Service {
    pub(super) fn new() -> Self {
        let patience = sd_notify::watchdog_enabled();
        if patience.is_some_and(|patience| patience < 2 * PULSE) {
            tracing::warn!(?patience, "WatchdogSec is too short: at least {:?} are needed", 2 * PULSE);
        }
        Self { watchdog: patience.is_some() }
    }

    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    pub(super) fn alive(&self) {
        if self.watchdog {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::debug!(%error, "the service manager was not reached");
    }
}
