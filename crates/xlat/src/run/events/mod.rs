//! What happens in the daemon, on its way to those who want to know. Workers and the control loop only put records into a
//! bounded queue; one thread passes them on to the log (`log.rs`) and to readers of the API, each behind a bounded queue of its
//! own. Nobody ever waits for a reader: what does not fit is counted and told.

mod lines;
mod log;
mod places;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use xlat_config::{Config, Log as LogConfig, LogTo};
use xlat_control::api::Counter;
use xlat_control::events::{Event, Sink, Source, Wanted, What, channel};
use xlat_control::{Blame, Error};
use xlat_engine::{Engine, Explanation, LogEvent};
use xlat_linux::privileges;
use xlat_translate::rfc6052::Pool6;

use crate::failure::Outcome;

pub(super) use lines::Name;
use lines::Record;
use log::Log;
pub(super) use watch::Watch;

/// Records that may wait to be passed on.
const QUEUE: usize = 16_384;
/// How many of them may be for readers of the API only: the log does not lose its own by them.
const UNLOGGED: usize = QUEUE / 2;
/// Readers of the API at one time.
const READERS: usize = 16;

/// The thread that passes on, and what it passes to.
pub(super) struct Events {
    sender: Sender,
    shared: Arc<Shared>,
    lost_reported: u64,
    passing: JoinHandle<()>,
}

/// What the thread shares with those who change it.
struct Shared {
    /// The prefixes of the stateful instances, by name.
    prefixes: Mutex<HashMap<String, Pool6>>,
    log: Mutex<(LogConfig, Log)>,
    readers: Mutex<Vec<Sink>>,
    /// Lines that never got to the log.
    lost: Arc<AtomicU64>,
    unlogged: Arc<Unlogged>,
    /// Set while a reader wants to hear of flows.
    heard: OnceLock<Arc<AtomicBool>>,
}

/// Records about flows that no log wants, only readers.
#[derive(Default)]
struct Unlogged {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    /// Opens the log and starts the thread. Lines that are lost are added to `lost`.
    pub(super) fn start(config: &Config, lost: Arc<AtomicU64>) -> Outcome<Self> {
        let (sender, entries) = Sender::new(QUEUE, Arc::clone(&lost));
        let log = Log::open(&config.log, Arc::clone(&lost))?;
        let (prefixes, readers, heard) = Default::default();
        let log = Mutex::new((config.log.clone(), log));
        let unlogged = Arc::clone(&sender.unlogged);
        let shared = Arc::new(Shared { prefixes, log, readers, lost, unlogged, heard });
        let for_thread = Arc::clone(&shared);
        let passing = std::thread::Builder::new().name("xlat-events".to_owned()).spawn(move || {
            if let Err(error) = privileges::drop_thread_capabilities() {
                tracing::warn!(%error, "the events' thread keeps its capabilities");
            }
            for_thread.pass_on(&entries);
        })?;
        let events = Self { sender, shared, lost_reported: 0, passing };
        events.configure(config, None);
        Ok(events)
    }

    /// One more way in.
    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Says whose flows readers are told of.
    pub(super) fn attach(&self, engine: &Engine) {
        // It is said once.
        let _ = self.shared.heard.set(engine.heard());
    }

    /// For the API.
    pub(super) fn listeners(&self) -> Listeners {
        Listeners(Arc::clone(&self.shared))
    }

    /// Opens the log of a configuration that is to come, if it is another one.
    pub(super) fn open_log(&self, config: &Config) -> Outcome<Option<Log>> {
        let other = lock(&self.shared.log).0 != config.log;
        other.then(|| Log::open(&config.log, Arc::clone(&self.shared.lost))).transpose()
    }

    /// Opens the log anew: a file may have been moved away.
    pub(super) fn reopen_log(&self) -> Outcome {
        let config = lock(&self.shared.log).0.clone();
        if matches!(config.to, LogTo::File(_)) {
            let log = Log::open(&config, Arc::clone(&self.shared.lost))?;
            lock(&self.shared.log).1 = log;
        }
        Ok(())
    }

    /// Tells of a new configuration, with its log, if that was opened; what is under way still goes to the former one.
    pub(super) fn configure(&self, config: &Config, log: Option<Log>) {
        if let Some(log) = log {
            *lock(&self.shared.log) = (config.log.clone(), log);
        }
        let prefix = |instance: &xlat_config::Instance| {
            let xlat_config::Kind::Nat64(nat64) = &instance.kind else { return None };
            Some((instance.name.clone(), Pool6::new(nat64.pool6).ok()?))
        };
        *lock(&self.shared.prefixes) = config.instances.iter().filter_map(prefix).collect();
    }

    /// Warns if lines were lost since the last time.
    pub(super) fn report_lost(&mut self) {
        let lost = self.sender.lost.load(Ordering::Relaxed);
        if lost != self.lost_reported {
            let count = lost - self.lost_reported;
            tracing::warn!(lines = count, "log lines about packets and flows were lost: too many at a time");
            self.sender.note(Note { count: Some(count), ..Note::new(What::LogLost) });
            self.lost_reported = lost;
        }
    }

    /// Writes what is waiting, as far as that takes no more than a moment, and ends. The workers must have ended before.
    pub(super) fn finish(mut self) {
        self.report_lost();
        let Self { sender, shared, passing, .. } = self;
        // The thread never waits for anybody.
        if sender.queue.send(Entry::End).is_ok() && passing.join().is_err() {
            tracing::error!("the events' thread panicked");
        }
        lock(&shared.log).1.finish();
    }
}

/// Who listens by the API.
#[derive(Clone)]
pub(super) struct Listeners(Arc<Shared>);

impl Listeners {
    /// One more.
    pub(super) fn open(&self, wanted: Wanted) -> Result<Source, Error> {
        let mut readers = lock(&self.0.readers);
        readers.retain(|reader| !reader.is_closed());
        if readers.len() >= READERS {
            let error = Error::failed(Blame::Client, format!("{READERS} clients listen to events already"));
            return Err(error.with_help("end one of them"));
        }
        let (sink, source) = channel(wanted);
        readers.push(sink);
        self.0.say_whether_heard(&readers);
        Ok(source)
    }

    /// What was counted.
    pub(super) fn counters(&self) -> Vec<Counter> {
        vec![Counter {
            name: "log-lines-lost".to_owned(),
            jool: String::new(),
            value: self.0.lost.load(Ordering::Relaxed),
            explanation:
                "lines about packets and flows that were not written: too many, or nobody takes them"
                    .to_owned(),
            source: "RFC 6888 4".to_owned(),
        }]
    }
}

/// The way in.
#[derive(Clone)]
pub(super) struct Sender {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    unlogged: Arc<Unlogged>,
}

impl Sender {
    /// The way to a queue of this length.
    fn new(length: usize, lost: Arc<AtomicU64>) -> (Self, Receiver<Entry>) {
        let (queue, entries) = sync_channel(length);
        (Self { queue, lost, unlogged: Arc::default() }, entries)
    }

    /// One that nobody takes anything from.
    #[cfg(test)]
    pub(super) fn unheard() -> Self {
        Self::new(0, Arc::default()).0
    }

    /// Notes what happened to a flow, for the log or only for those who listen. Never blocks, never allocates.
    pub(super) fn flow(&self, instance: &str, event: LogEvent, to_log: bool) {
        let instance = Name::new(instance);
        let entry = Entry::Flow(Record { instance, event, to_log, time: SystemTime::now(), server6: None });
        if to_log {
            return self.send(entry);
        }
        // Passing it on takes it off again.
        let room = self.unlogged.waiting.fetch_add(1, Ordering::Relaxed) < UNLOGGED;
        if !room || self.queue.try_send(entry).is_err() {
            self.unlogged.waiting.fetch_sub(1, Ordering::Relaxed);
            self.unlogged.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what becomes of a packet. Never blocks.
    pub(super) fn trace(&self, explanation: &Explanation) {
        self.send(Entry::Trace(Box::new(explanation.clone())));
    }

    /// Notes what happened to the daemon. Never blocks.
    pub(super) fn note(&self, note: Note) {
        self.send(Entry::Note(Box::new(note)));
    }

    fn send(&self, entry: Entry) {
        if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Something about the daemon itself.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) what: What,
    pub(super) time: SystemTime,
    pub(super) instance: Option<String>,
    pub(super) count: Option<u64>,
    pub(super) text: Option<String>,
}

impl Note {
    pub(super) fn new(what: What) -> Self {
        let (instance, count, text) = Default::default();
        Self { what, time: SystemTime::now(), instance, count, text }
    }

    fn event(self) -> Event {
        let Self { what, time, instance, count, text } = self;
        Event { instance, count, text, ..Event::new(time, what) }
    }
}

enum Entry {
    Flow(Record),
    Trace(Box<Explanation>),
    Note(Box<Note>),
    End,
}

impl Shared {
    /// Until the end.
    fn pass_on(&self, entries: &Receiver<Entry>) {
        for entry in entries {
            match entry {
                Entry::Flow(mut record) => {
                    record.complete(lock(&self.prefixes).get(record.instance.as_str()));
                    self.tell(|| record.event());
                    if record.to_log {
                        lock(&self.log).1.flow(record);
                    } else {
                        self.unlogged.waiting.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                Entry::Note(note) => {
                    let event = Arc::new(note.event());
                    self.tell(|| Event::clone(&event));
                    lock(&self.log).1.event(event);
                }
                Entry::End => return,
                Entry::Trace(explanation) => {
                    for line in explanation.to_string().lines() {
                        tracing::info!(target: "packet", "{line}");
                    }
                }
            }
        }
    }

    /// Tells those who listen; without any the event is not even made.
    fn tell(&self, event: impl FnOnce() -> Event) {
        let mut readers = lock(&self.readers);
        let before = readers.len();
        readers.retain(|reader| !reader.is_closed());
        if readers.len() != before {
            self.say_whether_heard(&readers);
        }
        let lost = self.unlogged.lost.swap(0, Ordering::Relaxed);
        if !readers.is_empty() {
            let event = Arc::new(event());
            readers.iter().for_each(|reader| {
                reader.missed_flows(lost);
                reader.tell(&event);
            });
        }
    }

    fn say_whether_heard(&self, readers: &[Sink]) {
        if let Some(heard) = self.heard.get() {
            heard.store(readers.iter().any(Sink::wants_flows), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use xlat_nat64::{BibInfo, Protocol, Transport4, Transport6};

    use super::*;

    #[test]
    fn a_full_queue_loses_lines_but_never_blocks() {
        let (sender, _entries) = Sender::new(1, Arc::default());
        let client = Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 1 };
        let mask = Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 2 };
        let bib = BibInfo { protocol: Protocol::Tcp, client, mask, is_static: false, sessions: 1 };
        for _ in 0..3 {
            sender.flow("default", LogEvent::BibCreated(bib), true);
        }
        assert_eq!(sender.lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn readers_take_no_room_from_the_log() {
        let (sender, entries) = Sender::new(QUEUE, Arc::default());
        let client = Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 1 };
        let mask = Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 2 };
        let bib = BibInfo { protocol: Protocol::Tcp, client, mask, is_static: false, sessions: 1 };
        let note = |to_log| sender.flow("default", LogEvent::BibCreated(bib), to_log);
        (0..QUEUE).for_each(|_| note(false));
        (0..UNLOGGED).for_each(|_| note(true));
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((load(&sender.lost), load(&sender.unlogged.lost)), (0, UNLOGGED as u64));

        // Passed on to a reader, who is told of the rest; when it goes, nobody listens any more.
        let heard = Arc::<AtomicBool>::default();
        let (prefixes, readers) = Default::default();
        let log = Mutex::new((LogConfig::default(), Log::nowhere()));
        let unlogged = Arc::clone(&sender.unlogged);
        let shared = Shared {
            prefixes,
            log,
            readers,
            lost: Arc::default(),
            unlogged,
            heard: Arc::clone(&heard).into(),
        };
        let shared = Arc::new(shared);
        let source = Listeners(Arc::clone(&shared)).open(Wanted::default()).unwrap();
        assert!(heard.load(Ordering::Relaxed));
        drop(sender);
        shared.pass_on(&entries);
        assert_eq!(shared.unlogged.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(source.lost(), (UNLOGGED + QUEUE - 1024) as u64);
        drop(source);
        shared.tell(|| unreachable!("nobody listens"));
        assert!(!heard.load(Ordering::Relaxed));
    }
}
