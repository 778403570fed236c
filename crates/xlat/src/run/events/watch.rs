//! What is found out by looking once a second, off the packet path: that pool4 has no free port.

use std::time::{Duration, Instant};

use xlat_config::Config;
use xlat_control::events::What;
use xlat_engine::{Engine, Reason};
use xlat_nat64::Refusal;

use super::{Note, Sender};

/// The same trouble is told of once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// What was seen the last time.
pub(in crate::run) struct Watch {
    events: Sender,
    exhausted: u64,
    told: Option<Instant>,
}

impl Watch {
    pub(in crate::run) fn new(events: Sender, engine: &Engine) -> Self {
        Self { events, exhausted: exhausted(engine), told: None }
    }

    /// Looks, and tells of trouble.
    pub(in crate::run) fn look(&mut self, engine: &Engine) {
        let now = exhausted(engine);
        if now == self.exhausted || self.told.is_some_and(|told| told.elapsed() < QUIET) {
            return;
        }
        // After a change of instances there may be less than before.
        let count = now.checked_sub(self.exhausted).unwrap_or(now);
        (self.exhausted, self.told) = (now, Some(Instant::now()));
        tracing::warn!(packets = count, "pool4 has no free port for new clients");
        self.events.note(Note { count: Some(count), ..Note::new(What::PoolExhausted) });
    }

    /// Tells what another configuration means for instances.
    pub(in crate::run) fn changed(&self, old: &Config, new: &Config) {
        let key = |instance: &xlat_config::Instance| (instance.kind.translator(), instance.name.clone());
        let tell = |what, name: &str| {
            self.events.note(Note { instance: Some(name.to_owned()), ..Note::new(what) });
        };
        for was in &old.instances {
            match new.instances.iter().find(|is| key(is) == key(was)) {
                None => tell(What::InstanceRemoved, &was.name),
                Some(is) if is != was => tell(What::InstanceChanged, &was.name),
                Some(_) => {}
            }
        }
        for is in new.instances.iter().filter(|is| old.instances.iter().all(|was| key(was) != key(is))) {
            tell(What::InstanceAdded, &is.name);
        }
    }
}

/// Packets that found no free port.
fn exhausted(engine: &Engine) -> u64 {
    engine.statistics().reason(Reason::State(Refusal::PoolExhausted))
}
