//! The log of flows: a thread that writes lines to one place, behind a bounded queue. The thread may be stuck for as long as
//! that place is; what does not fit meanwhile is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use xlat_config::{Log as LogConfig, LogFormat};
use xlat_control::events::Event;
use xlat_linux::privileges;

use super::lines::Record;
use super::places::{Place, open};
use crate::failure::{Failure, Outcome};

/// Lines that may wait to be written.
const QUEUE: usize = 16_384;
/// Lines written at once.
const BATCH: usize = 512;
/// How long opening may take, and writing what is left at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same trouble is warned of once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// The way to the thread.
pub(in crate::run) struct Log {
    queue: Option<SyncSender<Line>>,
    lost: Arc<AtomicU64>,
    /// Closed when the thread has ended.
    done: Receiver<()>,
}

enum Line {
    Flow(Record),
    Event(Arc<Event>),
}

impl Log {
    /// Opens the place and starts the thread, which has no privileges: what it cannot open now it could not open again later.
    pub(super) fn open(config: &LogConfig, lost: Arc<AtomicU64>) -> Outcome<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let (done, ended) = sync_channel::<()>(1);
        let (ready, opened) = sync_channel(1);
        let (config, counter) = (config.clone(), Arc::clone(&lost));
        let to = config.to.clone();
        std::thread::Builder::new().name("xlat-log".to_owned()).spawn(move || {
            if let Err(error) = privileges::drop_thread_capabilities() {
                tracing::warn!(%error, "the log's thread keeps its capabilities");
            }
            let place = open(&config.to);
            let (result, place) = match place {
                Ok(place) => (Ok(()), Some(place)),
                Err(failure) => (Err(failure.to_string()), None),
            };
            // Whoever opened it may have lost patience.
            let _gone = ready.send(result);
            if let Some(place) = place {
                Writer { place, format: config.format, lost: counter, warned: None }.write(&lines);
            }
            drop(done);
        })?;
        match opened.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(Self { queue: Some(queue), lost, done: ended }),
            Ok(Err(why)) => Err(Failure::new(format!("the log of flows cannot go to \"{to}\": {why}"))),
            Err(_) => Err(Failure::new(format!(
                "the log of flows cannot go to \"{to}\": opening it takes too long"
            ))),
        }
    }

    /// One that writes nothing.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self { queue: None, lost: Arc::default(), done: sync_channel(1).1 }
    }

    pub(super) fn flow(&self, record: Record) {
        self.send(Line::Flow(record));
    }

    pub(super) fn event(&self, event: Arc<Event>) {
        self.send(Line::Event(event));
    }

    fn send(&self, line: Line) {
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(line).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is waiting, if that does not take too long.
    pub(super) fn finish(&mut self) {
        self.queue = None;
        // Nothing is ever sent: it closes, or it takes too long.
        let _closed = self.done.recv_timeout(PATIENCE);
    }
}

struct Writer {
    place: Box<dyn Place>,
    format: LogFormat,
    lost: Arc<AtomicU64>,
    warned: Option<Instant>,
}

impl Writer {
    fn write(mut self, lines: &Receiver<Line>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = lines.recv() {
            let waiting = std::iter::once(first).chain(lines.try_iter().take(BATCH - 1));
            batch.extend(waiting.filter_map(|line| self.text(&line)));
            if batch.is_empty() {
                continue;
            }
            let written = self.place.write(&batch);
            let lost = batch.len() - written.lines.min(batch.len());
            if lost > 0 {
                self.lost.fetch_add(lost as u64, Ordering::Relaxed);
            }
            if let Some(trouble) = written.trouble
                && self.warned.is_none_or(|warned| warned.elapsed() >= QUIET)
            {
                self.warned = Some(Instant::now());
                tracing::warn!("the log of flows is not written: {trouble}");
            }
            batch.clear();
        }
    }

    fn text(&self, line: &Line) -> Option<String> {
        match (self.format, line) {
            (LogFormat::Jool, Line::Flow(record)) => Some(record.to_string()),
            // Jool's users parse lines about flows; the daemon's own log has the rest.
            (LogFormat::Jool, Line::Event(_)) => None,
            (LogFormat::Json, Line::Flow(record)) => serde_json::to_string(&record.event()).ok(),
            (LogFormat::Json, Line::Event(event)) => serde_json::to_string(&**event).ok(),
        }
    }
}
