//! Where workers show packets that they do not pass on to those who look. Nobody looking costs a dropped packet one read of
//! memory that nobody writes, and a packet that is passed on nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use xlat_control::capture::{Sink, Source, Wanted, channel};
use xlat_control::{Blame, Error};
use xlat_engine::{Origin, Verdict};
use xlat_packet::Buffer;

/// Captures at one time.
const CAPTURES: usize = 4;

/// The captures under way.
#[derive(Default)]
pub(super) struct Tap {
    /// Whether there are any.
    open: AtomicBool,
    sinks: ArcSwap<Vec<Arc<Sink>>>,
    /// Held while they change.
    changing: Mutex<()>,
}

impl Tap {
    /// One more.
    pub(super) fn open(&self, wanted: Wanted) -> Result<Source, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sinks = self.living();
        if sinks.len() >= CAPTURES {
            let error = Error::failed(Blame::Client, format!("{CAPTURES} captures are running already"));
            return Err(error.with_help("end one of them"));
        }
        let (sink, source) = channel(wanted);
        sinks.push(Arc::new(sink));
        self.sinks.store(Arc::new(sinks));
        self.open.store(true, Ordering::Relaxed);
        Ok(source)
    }

    /// Shows a packet. Never blocks.
    pub(super) fn stopped(&self, packet: &Buffer<'_>, origin: Origin, verdict: Verdict) {
        if !self.open.load(Ordering::Relaxed) {
            return;
        }
        let segment_size = packet.offload.gso.map(|gso| gso.segment_size);
        let sinks = self.sinks.load();
        for sink in sinks.iter() {
            sink.stopped(packet.bytes(), segment_size, origin, verdict);
        }
        // Another worker may be at it.
        if sinks.iter().any(|sink| sink.is_closed())
            && let Ok(_changing) = self.changing.try_lock()
        {
            let sinks = self.living();
            self.open.store(!sinks.is_empty(), Ordering::Relaxed);
            self.sinks.store(Arc::new(sinks));
        }
    }

    /// Those whose reader is still there.
    fn living(&self) -> Vec<Arc<Sink>> {
        self.sinks.load().iter().filter(|sink| !sink.is_closed()).map(Arc::clone).collect()
    }
}
