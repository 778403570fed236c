//! What workers log: the lines of `logging-bib` and `logging-session` (RFC 6888 4), in the form that Jool's users parse,
//! and the traces of `logging-debug`. Workers only put records into a bounded queue; a thread of its own writes them.
//! What does not fit is counted.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use xlat_config::Config;
use xlat_engine::{Explanation, LogEvent};
use xlat_linux::privileges;
use xlat_nat64::{Protocol, SessionInfo, Transport6};
use xlat_translate::rfc6052::Pool6;

/// Records that may wait to be written.
const QUEUE: usize = 16_384;
/// Longest name of an instance in bytes.
const NAME_MAX: usize = 15;

/// The prefixes of the stateful instances, by name: others have nothing to log.
type Prefixes = Arc<Mutex<HashMap<String, Pool6>>>;

/// The writing thread.
pub(super) struct FlowLog {
    sender: Sender,
    prefixes: Prefixes,
    lost_reported: u64,
    writer: JoinHandle<()>,
}

impl FlowLog {
    /// Starts the thread.
    pub(super) fn start(config: &Config) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let prefixes = Prefixes::default();
        let for_writer = Arc::clone(&prefixes);
        let writer = std::thread::Builder::new().name("xlat-log".to_owned()).spawn(move || {
            if let Err(error) = privileges::drop_thread_capabilities() {
                tracing::warn!(%error, "the log's thread keeps its capabilities");
            }
            write(&entries, &for_writer);
        })?;
        let sender = Sender { queue, lost: Arc::default() };
        let log = Self { sender, prefixes, lost_reported: 0, writer };
        log.configure(config);
        Ok(log)
    }

    /// One more way in.
    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Tells of a new configuration.
    pub(super) fn configure(&self, config: &Config) {
        let prefix = |instance: &xlat_config::Instance| {
            let xlat_config::Kind::Nat64(nat64) = &instance.kind else { return None };
            Some((instance.name.clone(), Pool6::new(nat64.pool6).ok()?))
        };
        let prefixes = config.instances.iter().filter_map(prefix).collect();
        *self.prefixes.lock().unwrap_or_else(PoisonError::into_inner) = prefixes;
    }

    /// Warns if lines were lost since the last time.
    pub(super) fn report_lost(&mut self) {
        let lost = self.sender.lost.load(Ordering::Relaxed);
        if lost != self.lost_reported {
            tracing::warn!(
                lines = lost - self.lost_reported,
                "log lines about packets and flows were lost: too many at a time"
            );
            self.lost_reported = lost;
        }
    }

    /// Writes what is waiting, and ends. The workers must have ended before.
    pub(super) fn finish(mut self) {
        self.report_lost();
        drop(self.sender);
        if self.writer.join().is_err() {
            tracing::error!("the log's thread panicked");
        }
    }
}

/// The way in for one worker.
#[derive(Clone)]
pub(super) struct Sender {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Sender {
    /// Notes an event. Never blocks, never allocates.
    pub(super) fn flow(&self, instance: &str, event: LogEvent) {
        self.send(Entry::Flow(Record { instance: Name::new(instance), event, time: SystemTime::now() }));
    }

    /// Notes what becomes of a packet. Never blocks.
    pub(super) fn trace(&self, explanation: &Explanation) {
        self.send(Entry::Trace(Box::new(explanation.clone())));
    }

    fn send(&self, entry: Entry) {
        if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

enum Entry {
    Flow(Record),
    Trace(Box<Explanation>),
}

#[derive(Clone, Copy, Debug)]
struct Record {
    instance: Name,
    event: LogEvent,
    time: SystemTime,
}

/// The name of an instance without allocation; cut to [`NAME_MAX`] bytes, which no checked name exceeds.
#[derive(Clone, Copy, Debug)]
struct Name {
    bytes: [u8; NAME_MAX],
    len: u8,
}

impl Name {
    fn new(name: &str) -> Self {
        let mut bytes = [0; NAME_MAX];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from;
            len += 1;
        }
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|name| str::from_utf8(name).ok()).unwrap_or("?")
    }
}

fn write(entries: &Receiver<Entry>, prefixes: &Prefixes) {
    for entry in entries {
        match entry {
            Entry::Flow(record) => {
                let prefixes = prefixes.lock().unwrap_or_else(PoisonError::into_inner);
                let line = Line { record: &record, pool6: prefixes.get(record.instance.as_str()) };
                tracing::info!(target: "flow", "{line}");
            }
            Entry::Trace(explanation) => {
                for line in explanation.to_string().lines() {
                    tracing::info!(target: "packet", "{line}");
                }
            }
        }
    }
}

/// One record as a line.
struct Line<'a> {
    record: &'a Record,
    /// The instance's; unknown only for an instance that has just been removed.
    pool6: Option<&'a Pool6>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} - ", self.record.instance.as_str(), Utc(self.record.time))?;
        match &self.record.event {
            LogEvent::BibCreated(bib) => {
                write!(f, "Mapped {} to {} ({})", bib.client, bib.mask, bib.protocol)
            }
            LogEvent::BibRemoved(bib) => {
                write!(f, "Forgot {} to {} ({})", bib.client, bib.mask, bib.protocol)
            }
            LogEvent::SessionCreated(session) => {
                write!(f, "Added session ")?;
                self.session(f, session)
            }
            LogEvent::SessionRemoved(session) => {
                write!(f, "Forgot session ")?;
                self.session(f, session)
            }
        }
    }
}

impl Line<'_> {
    fn session(&self, f: &mut fmt::Formatter<'_>, session: &SessionInfo) -> fmt::Result {
        write!(f, "{}|", session.client)?;
        match self.pool6 {
            Some(pool6) => {
                // An echo has one identifier per side: on the IPv6 side the client's.
                let port = if session.protocol == Protocol::Icmp {
                    session.client.port
                } else {
                    session.remote.port
                };
                write!(f, "{}", Transport6 { addr: pool6.embed(session.remote.addr), port })?;
            }
            None => f.write_str("?")?,
        }
        write!(f, "|{}|{}|{}", session.mask, session.remote, session.protocol)
    }
}

/// A time as `YYYY/M/D H:M:S (GMT)`, numbers without leading zeroes.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March end with the leap day. 719,468 days lie between 0000-03-01 and 1970-01-01.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year + next;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year}/{month}/{day} {hour}:{minute}:{second} (GMT)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xlat_nat64::{BibInfo, Timer, Transport4};

    use super::*;

    fn line(event: LogEvent) -> String {
        let record = Record {
            instance: Name::new("default"),
            event,
            time: UNIX_EPOCH + Duration::from_secs(951_827_696),
        };
        let pool6 = Pool6::new("64:ff9b::/96".parse().unwrap()).unwrap();
        Line { record: &record, pool6: Some(&pool6) }.to_string()
    }

    #[test]
    fn lines_are_those_that_programs_parse() {
        let client = Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 40000 };
        let mask = Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 61001 };
        let bib = BibInfo { protocol: Protocol::Tcp, client, mask, is_static: false, sessions: 1 };
        assert_eq!(
            line(LogEvent::BibCreated(bib)),
            "default 2000/2/29 12:34:56 (GMT) - Mapped 2001:db8::8#40000 to 203.0.113.2#61001 (TCP)"
        );
        assert_eq!(
            line(LogEvent::BibRemoved(bib)),
            "default 2000/2/29 12:34:56 (GMT) - Forgot 2001:db8::8#40000 to 203.0.113.2#61001 (TCP)"
        );
        let session = SessionInfo {
            protocol: Protocol::Udp,
            client,
            mask,
            remote: Transport4 { addr: "203.0.113.16".parse().unwrap(), port: 53 },
            state: None,
            timer: Timer::Established,
            expires_in: Duration::ZERO,
            promoted: false,
        };
        assert_eq!(
            line(LogEvent::SessionCreated(session)),
            "default 2000/2/29 12:34:56 (GMT) - Added session \
             2001:db8::8#40000|64:ff9b::cb00:7110#53|203.0.113.2#61001|203.0.113.16#53|UDP"
        );
        let echo = SessionInfo { protocol: Protocol::Icmp, ..session };
        assert!(line(LogEvent::SessionRemoved(echo)).ends_with(
            "Forgot session 2001:db8::8#40000|64:ff9b::cb00:7110#40000|203.0.113.2#61001|203.0.113.16#53|ICMP"
        ));
    }

    #[test]
    fn days_of_the_calendar() {
        let day = |days: u64| Utc(UNIX_EPOCH + Duration::from_secs(days * 86_400)).to_string();
        assert_eq!(day(0), "1970/1/1 0:0:0 (GMT)");
        assert_eq!(day(58), "1970/2/28 0:0:0 (GMT)");
        assert_eq!(day(59), "1970/3/1 0:0:0 (GMT)");
        assert_eq!(day(11_016), "2000/2/29 0:0:0 (GMT)");
        assert_eq!(day(20_818), "2026/12/31 0:0:0 (GMT)");
        assert_eq!(day(47_540), "2100/2/28 0:0:0 (GMT)");
        assert_eq!(day(47_541), "2100/3/1 0:0:0 (GMT)");
    }

    #[test]
    fn a_full_queue_loses_lines_but_never_blocks() {
        let (queue, _entries) = sync_channel(1);
        let sender = Sender { queue, lost: Arc::default() };
        let client = Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 1 };
        let mask = Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 2 };
        let bib = BibInfo { protocol: Protocol::Tcp, client, mask, is_static: false, sessions: 1 };
        for _ in 0..3 {
            sender.flow("default", LogEvent::BibCreated(bib));
        }
        assert_eq!(sender.lost.load(Ordering::Relaxed), 2);
    }
}
