//! Session synchronisation inside the daemon: what the engine tells of sessions goes into messages for the proxies that read
//! them, and what proxies bring goes into the tables. Workers only put records into a bounded queue; a thread without
//! privileges does the rest.

mod queue;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use ipnet::Ipv6Net;
use tokio::sync::mpsc;
use xlat_config::{Config, Kind, Translator};
use xlat_control::peers::{Messages, Peers};
use xlat_control::sync::Message;
use xlat_control::{Blame, Error, api};
use xlat_engine::{Engine, NotShared, SessionSink};
use xlat_linux::{clock, privileges};
use xlat_nat64::{Cursor, SessionInfo, Timer};

use super::events::{Name, Sender};
use queue::{ADVERTISED, BATCH, Counts, Queue, Settings};

/// Records that may wait for the thread.
const UPDATES: usize = 16_384;
/// Messages that may wait for one reader.
const MESSAGES: usize = 64;
/// Readers of one instance at the same time.
const READERS: usize = 8;
/// The pause after the messages of an advertisement that are sent at once: a reader's socket has to keep up.
const PAUSE: Duration = Duration::from_millis(10);
/// The same complaint is made once in this many milliseconds.
const QUIET_MS: u64 = 60_000;

/// Everything that is told here.
enum Update {
    /// A session of an instance.
    Session(Name, SessionInfo),
    /// Something else has changed.
    Wake,
}

/// A part of the tables that an advertisement has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Walk {
    instance: String,
    from: Cursor,
    /// Sessions that there is room for.
    room: usize,
}

/// What was found there, and where the walk goes on.
struct Found {
    sessions: Vec<SessionInfo>,
    next: Option<Cursor>,
}

/// The daemon's part in it.
#[derive(Clone)]
pub(super) struct Sync {
    updates: SyncSender<Update>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Sessions that found the queue full.
    overflown: AtomicU64,
    engine: OnceLock<Weak<Engine>>,
    log: Sender,
    instances: Mutex<HashMap<String, Instance>>,
}

/// One stateful instance.
struct Instance {
    pool6: Ipv6Net,
    deprecated: bool,
    queue: Queue,
    readers: Vec<mpsc::Sender<Vec<u8>>>,
    /// Where the walk of an advertisement goes on.
    walk: Option<Cursor>,
    complained: u64,
}

impl Sync {
    /// Starts the thread. Lines about sessions that come from elsewhere go to `log`.
    pub(super) fn start(log: Sender) -> io::Result<Self> {
        let (updates, told) = sync_channel(UPDATES);
        let (overflown, engine, instances) = Default::default();
        let shared = Arc::new(Shared { overflown, engine, log, instances });
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("xlat-sync".to_owned()).spawn(move || {
            if let Err(error) = privileges::drop_thread_capabilities() {
                tracing::warn!(%error, "the thread of session synchronisation keeps its capabilities");
            }
            for_thread.serve(&told);
        })?;
        Ok(Self { updates, shared })
    }

    /// Says whose sessions they are.
    pub(super) fn attach(&self, engine: &Arc<Engine>) {
        // It is said once.
        let _ = self.shared.engine.set(Arc::downgrade(engine));
    }

    /// Tells of a configuration.
    pub(super) fn configure(&self, config: &Config) {
        let mut instances = self.shared.instances();
        let mut former = std::mem::take(&mut *instances);
        for instance in &config.instances {
            let Kind::Nat64(nat64) = &instance.kind else { continue };
            let settings = Settings::from(&nat64.global);
            let mut entry = former.remove(&instance.name).unwrap_or_else(|| Instance {
                pool6: nat64.pool6,
                deprecated: false,
                queue: Queue::new(settings, clock::now_ms()),
                readers: Vec::new(),
                walk: None,
                complained: 0,
            });
            entry.pool6 = nat64.pool6;
            entry.queue.configure(settings);
            if nat64.global.ss_flush_asap && !entry.deprecated {
                tracing::warn!(instance = instance.name, "ss-flush-asap is deprecated and has no effect");
            }
            entry.deprecated = nat64.global.ss_flush_asap;
            instances.insert(instance.name.clone(), entry);
        }
    }

    fn wake(&self) {
        // Where the queue is full the thread is awake.
        let _ = self.updates.try_send(Update::Wake);
    }
}

impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sync").finish_non_exhaustive()
    }
}

impl SessionSink for Sync {
    fn updated(&self, instance: &str, session: &SessionInfo) {
        if self.updates.try_send(Update::Session(Name::new(instance), *session)).is_err() {
            self.shared.overflown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn instances(&self) -> MutexGuard<'_, HashMap<String, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get().and_then(Weak::upgrade)
    }

    /// Until nobody can tell anything any more.
    fn serve(&self, told: &Receiver<Update>) {
        let mut pause = None;
        loop {
            let first = match pause {
                Some(pause) => match told.recv_timeout(pause) {
                    Ok(update) => Some(update),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match told.recv() {
                    Ok(update) => Some(update),
                    Err(_) => return,
                },
            };
            let updates = first.into_iter().chain(told.try_iter().take(BATCH));
            pause = self.round(updates, clock::now_ms(), |walk| self.look(walk));
        }
    }

    /// Queues what is told and sends what is due; gives how long nothing else will be. `look` finds sessions to advertise: without
    /// the instances' lock, which the API's thread wants too.
    fn round(
        &self,
        updates: impl Iterator<Item = Update>,
        now: u64,
        look: impl Fn(&Walk) -> Found,
    ) -> Option<Duration> {
        let walks = self.take(updates, now);
        let found: Vec<Found> = walks.iter().map(look).collect();
        let mut instances = self.instances();
        for (walk, found) in walks.into_iter().zip(found) {
            // Another one of the same name may have come meanwhile.
            let same = |one: &&mut Instance| one.queue.advertising && one.walk == Some(walk.from);
            let Some(instance) = instances.get_mut(&walk.instance).filter(same) else { continue };
            instance.walk = found.next;
            for session in found.sessions {
                instance.queue.push(session);
            }
        }
        instances.values_mut().filter_map(|instance| instance.advance(now)).min()
    }

    /// Queues what is told; gives what is to be looked at.
    fn take(&self, updates: impl Iterator<Item = Update>, now: u64) -> Vec<Walk> {
        let mut instances = self.instances();
        for update in updates {
            let Update::Session(name, session) = update else { continue };
            let Some(instance) = instances.get_mut(name.as_str()) else { continue };
            if !instance.queue.push(session) {
                instance.complain(now, "more sessions wait to be told to others than ss-capacity allows");
            }
            instance.send(now, 1);
        }
        let walk = |(name, instance): (&String, &Instance)| {
            let room = instance.queue.at_once().checked_sub(instance.queue.len()).filter(|room| *room > 0)?;
            Some(Walk { instance: name.clone(), from: instance.walk?, room })
        };
        instances.iter().filter_map(walk).collect()
    }

    /// What is in the tables there.
    fn look(&self, walk: &Walk) -> Found {
        let view = self.engine().and_then(|engine| engine.view(Translator::Nat64, &walk.instance));
        let mut found = Found { sessions: Vec::new(), next: view.as_ref().map(|_| walk.from) };
        while let (Some(from), Some(view)) = (found.next, &view)
            && found.sessions.len() < walk.room
        {
            found.next = view.sessions(from, BATCH, &mut found.sessions);
            found.sessions.retain(|session| session.timer != Timer::StoredSyn);
        }
        found
    }
}

impl Instance {
    /// Sends what is due; gives how long nothing else will be.
    fn advance(&mut self, now: u64) -> Option<Duration> {
        if !self.queue.advertising {
            self.send(now, 1);
            return self.queue.due_in(now).map(|millis| Duration::from_millis(millis.max(1)));
        }
        self.send(now, ADVERTISED);
        self.queue.advertising = self.walk.is_some() || self.queue.len() > 0;
        Some(PAUSE)
    }

    /// Sends at most `most` messages, as far as they are due.
    fn send(&mut self, now: u64, most: usize) {
        for _ in 0..most {
            let Some(sessions) = self.queue.next(now) else { return };
            let count = sessions.len() as u64;
            let message = Message { pool6: self.pool6, sessions }.encode();
            let mut takers = 0;
            let counts = &mut self.queue.counts;
            self.readers.retain(|reader| match reader.try_send(message.clone()) {
                Ok(()) => {
                    takers += 1;
                    true
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    counts.messages_lost += 1;
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            });
            if takers > 0 {
                counts.messages_sent += 1;
                counts.sent += count;
            } else {
                self.complain(
                    now,
                    "nobody takes the sessions that are to be told to others: does a proxy run?",
                );
            }
            // An advertisement fills the readers' queues; it does not wait for each message to be taken.
            if self.queue.advertising && self.readers.iter().any(|reader| reader.capacity() > 0) {
                self.queue.taken();
            }
        }
    }

    fn complain(&mut self, now: u64, what: &str) {
        if self.complained == 0 || now.saturating_sub(self.complained) >= QUIET_MS {
            self.complained = now.max(1);
            tracing::warn!("session synchronisation: {what}");
        }
    }
}

impl Peers for Sync {
    fn messages(&self, instance: &str) -> Result<Messages, Error> {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        {
            let mut instances = self.shared.instances();
            let found = instances.get_mut(instance).ok_or_else(absent)?;
            found.readers.retain(|reader| !reader.is_closed());
            if found.readers.len() >= READERS {
                return Err(Error::failed(
                    Blame::Client,
                    format!("{READERS} proxies read its sessions already"),
                ));
            }
            found.readers.push(sender);
            found.queue.taken();
        }
        self.wake();
        let (sync, name) = (self.clone(), instance.to_owned());
        let taken = move || {
            if let Some(instance) = sync.shared.instances().get_mut(&name) {
                instance.queue.counts.acks += 1;
                instance.queue.taken();
            }
            sync.wake();
        };
        Ok(Messages::new(receiver, Box::new(taken)))
    }

    fn receive(&self, instance: &str, message: &[u8]) -> Result<(), Error> {
        let engine = self.shared.engine().ok_or_else(absent)?;
        let decoded = Message::decode(message);
        let mut log = |event, to_log| self.shared.log.flow(instance, event, to_log);
        let outcome = match decoded {
            Ok(Message { pool6, sessions }) => {
                let count = sessions.len() as u64;
                let taken = engine.synchronise(instance, pool6, sessions, clock::now_ms(), &mut log);
                taken.map(|taken| (count, taken.refused)).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        };
        let now = clock::now_ms();
        let mut instances = self.shared.instances();
        let found = instances.get_mut(instance).ok_or_else(absent)?;
        let counts = &mut found.queue.counts;
        match outcome {
            Ok((count, refused)) => {
                counts.messages_received += 1;
                counts.received += count;
                counts.refused += refused;
                if refused > 0 {
                    let what = format!(
                        "{refused} sessions of another translator do not fit here: pool4, static entries or limits \
                         differ, or both have made mappings of their own"
                    );
                    found.complain(now, &what);
                }
            }
            Err(why) => {
                counts.messages_refused += 1;
                found.complain(now, &format!("a message is refused: {why}"));
            }
        }
        Ok(())
    }

    fn advertise(&self, instance: &str) -> Result<(), Error> {
        let engine = self.shared.engine().ok_or_else(absent)?;
        engine.shares(instance).map_err(|why| match why {
            NotShared::NoInstance => absent(),
            NotShared::Disabled | NotShared::OtherPool6(_) => Error::invalid(why.to_string()),
        })?;
        {
            let mut instances = self.shared.instances();
            let found = instances.get_mut(instance).ok_or_else(absent)?;
            if found.queue.advertising {
                return Err(Error::exists("joold advertisement already in progress."));
            }
            found.queue.advertising = true;
            found.queue.counts.ads += 1;
            found.walk = Some(Cursor::default());
        }
        self.wake();
        Ok(())
    }

    fn counters(&self, instance: &str) -> Vec<api::Counter> {
        let instances = self.shared.instances();
        let Some(found) = instances.get(instance) else { return Vec::new() };
        let mut counts: Counts = found.queue.counts.clone();
        counts.no_space += self.shared.overflown.load(Ordering::Relaxed);
        let row = |(name, jool, value, explanation): (&str, &str, u64, &str)| api::Counter {
            name: name.to_owned(),
            jool: jool.to_owned(),
            value,
            explanation: explanation.to_owned(),
            source: String::new(),
        };
        counts.rows().into_iter().map(row).collect()
    }
}

fn absent() -> Error {
    Error::absent("there is no NAT64 instance of this name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_walk_over_the_tables() {
        let log = Sender::unheard();
        let (overflown, engine, instances) = Default::default();
        let shared = Shared { overflown, engine, log, instances };
        let mut queue = Queue::new(Settings::from(&xlat_config::Nat64Global::default()), 0);
        queue.advertising = true;
        let pool6 = "64:ff9b::/96".parse().unwrap();
        let readers = Vec::new();
        let walk = Some(Cursor::default());
        let instance = Instance { pool6, deprecated: false, queue, readers, walk, complained: 0 };
        shared.instances().insert("default".to_owned(), instance);
        let next = |numbers| Some(Cursor::from_numbers(numbers, 0));
        for (from, to) in [(Some(Cursor::default()), next(3)), (next(3), None)] {
            let pause = shared.round(std::iter::empty(), 0, |walk| {
                assert!(shared.instances.try_lock().is_ok(), "the lock is held during the walk");
                assert_eq!(Some(walk.from), from);
                Found { sessions: Vec::new(), next: to }
            });
            assert_eq!(pause, Some(PAUSE));
        }
        assert!(!shared.instances()["default"].queue.advertising, "it has come to its end");
        assert!(shared.round(std::iter::empty(), 0, |_| unreachable!("nothing to look at")).is_none());
    }
}
