//! Snapshots of the running daemon for whoever watches. A thread of its own takes them, once a second and only while somebody
//! asks. Before Linux 6.0 it needs CAP_BPF to read the kernel's counters, so the servers, which have no privileges at all, only
//! get what it has written down.

mod load;
mod sample;
mod sources;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::watch;
use xlat_config::Config;
use xlat_control::ByKernel;
use xlat_control::live::Live;
use xlat_linux::clock;
use xlat_linux::privileges::{self, Capabilities};

use sample::Sampler;
pub(super) use sample::Subject;

/// Time between two snapshots.
const PERIOD: Duration = Duration::from_secs(1);
/// How long snapshots go on after somebody asked.
const INTEREST_MS: u64 = 3000;
/// The longest window in which rates are those of now.
const NOW_MS: u64 = 3000;
/// How long somebody waits for a snapshot.
const PATIENCE: Duration = Duration::from_secs(5);
/// A control loop that is silent for so long is not alive.
const SILENCE_MS: u64 = 15_000;

/// The way to snapshots. Clones are cheap and may be used by any thread.
#[derive(Clone)]
pub(super) struct Observer {
    latest: watch::Receiver<Arc<Live>>,
    wanted: Arc<Wanted>,
    state: Arc<State>,
    subject: Arc<Subject>,
}

/// How the daemon is, besides what it counts.
#[derive(Default)]
struct State {
    ready: AtomicBool,
    /// The control loop's last sign of life, in milliseconds.
    pulse: AtomicU64,
}

/// Until when snapshots are taken, in milliseconds.
struct Wanted {
    until: AtomicU64,
    sampler: Thread,
}

impl Observer {
    /// Starts the thread.
    pub(super) fn start(subject: Subject) -> io::Result<Self> {
        let (sender, latest) = watch::channel(Arc::default());
        let (mine, others) = std::sync::mpsc::channel::<Arc<Wanted>>();
        let subject = Arc::new(subject);
        let looked_at = Arc::clone(&subject);
        let state = Arc::new(State::default());
        let said = Arc::clone(&state);
        let thread = thread::Builder::new().name("xlat-live".to_owned()).spawn(move || {
            if let Err(error) = privileges::drop_all_but(needed(&looked_at)) {
                tracing::warn!(%error, "the thread of snapshots keeps its capabilities");
            }
            let mut sampler = Sampler::new(looked_at);
            let Ok(wanted) = others.recv() else { return };
            loop {
                while clock::now_ms() >= wanted.until.load(Ordering::Acquire) {
                    thread::park();
                }
                let mut live = sampler.take();
                live.ready =
                    said.ready.load(Ordering::Relaxed) && live.instances.iter().any(|one| one.enabled);
                if sender.send(Arc::new(live)).is_err() {
                    return;
                }
                thread::sleep(PERIOD);
            }
        })?;
        let wanted = Arc::new(Wanted { until: AtomicU64::new(0), sampler: thread.thread().clone() });
        mine.send(Arc::clone(&wanted)).map_err(io::Error::other)?;
        Ok(Self { latest, wanted, state, subject })
    }

    /// Says which configuration is in force from now on.
    pub(super) fn configure(&self, config: &Config) {
        self.subject.config.store(Arc::new(config.clone()));
    }

    /// Says whether packets are translated.
    pub(super) fn set_ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::Relaxed);
        self.pulse();
    }

    /// The control loop is alive.
    pub(super) fn pulse(&self) {
        self.state.pulse.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// True if the control loop is.
    pub(super) fn is_alive(&self) -> bool {
        clock::now_ms() < self.state.pulse.load(Ordering::Relaxed) + SILENCE_MS
    }

    /// A snapshot newer than that of the number `after`; without, one whose rates are those of now.
    pub(super) async fn live(&self, after: Option<u64>) -> Arc<Live> {
        let is_new = |live: &Live| after.is_none_or(|after| live.number > after) && live.window <= NOW_MS;
        self.wait(|live| live.number > 0 && is_new(live)).await
    }

    /// A snapshot of now; its rates may be those of a long time.
    pub(super) async fn counts(&self) -> Arc<Live> {
        let after = self.latest.borrow().number;
        self.wait(|live| live.number > after).await
    }

    /// What the kernel has translated by itself for the instance at this place.
    pub(super) async fn by_kernel(&self, place: usize) -> ByKernel {
        if self.subject.maps.is_some() && self.subject.kernel().is_none() {
            // Before Linux 6.0 only the thread of snapshots may read them.
            self.counts().await;
        }
        self.subject.by_kernel(place)
    }

    /// The first that will do; or, where the thread is gone, the last one there was.
    async fn wait(&self, does: impl Fn(&Live) -> bool) -> Arc<Live> {
        let mut latest = self.latest.clone();
        let recent = |live: &Live| unix_ms().saturating_sub(live.time) <= NOW_MS;
        let found = async {
            loop {
                self.want();
                // Somebody may wait for two snapshots, and the interest must not end meanwhile.
                let next = latest.wait_for(|live| does(live) && recent(live));
                if let Ok(found) = tokio::time::timeout(PERIOD, next).await {
                    return found.ok().map(|live| Arc::clone(&live));
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await.ok().flatten();
        found.unwrap_or_else(|| Arc::clone(&self.latest.borrow()))
    }

    fn want(&self) {
        self.wanted.until.store(clock::now_ms() + INTEREST_MS, Ordering::Release);
        self.wanted.sampler.unpark();
    }
}

/// What the thread of snapshots has to keep: nothing, unless this kernel lets only CAP_BPF read its counters. A thread without
/// privileges finds out.
fn needed(subject: &Subject) -> Capabilities {
    let is_refused = || {
        let dropped = privileges::drop_thread_capabilities();
        dropped.is_ok() && subject.maps.is_some() && subject.kernel().is_none()
    };
    match thread::scope(|scope| scope.spawn(is_refused).join()) {
        Ok(false) => Capabilities::NONE,
        Ok(true) | Err(_) => Capabilities::BPF,
    }
}

/// The present.
fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
