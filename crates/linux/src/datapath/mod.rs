//! The workers: one plain thread per TUN queue that reads packets, gives them to a handler, and writes what the
//! handler sends. Everything is allocated at the start; nothing is shared between workers.

mod ahead;
mod counters;
mod origin;
mod plain;
mod signal;
mod transmit;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use xlat_packet::Buffer;

use crate::coalesce::Kinds;
use crate::privileges;
use crate::tun::{OffloadSupport, Queue, Tun};
pub use counters::{Counter, Counters};
pub use origin::Origin;
use signal::Signal;

/// How often [`Handler::tick`] is called.
pub const TICK: Duration = Duration::from_millis(250);

/// How late a sleeping worker may be woken, in nanoseconds.
const TIMER_SLACK: libc::c_ulong = 1000;

/// Decides about packets. Each worker has its own.
pub trait Handler: Send {
    /// Told of packets that are about to come, one by one and in this order, to [`Self::packet`]: a handler with large
    /// tables can fetch what it needs for all of them at the same time. Not every packet is announced.
    fn expect(&mut self, _packets: &mut dyn Iterator<Item = &[u8]>) {}

    /// Takes one packet, which came from `origin`. What is not sent to `out`, as it is, changed, or as other packets, is dropped.
    fn packet(&mut self, packet: &mut Buffer<'_>, origin: Origin, out: &mut dyn Transmit);

    /// Called about every [`TICK`], with or without packets, to do what is due. `now_ms` is [`crate::clock::now_ms`].
    fn tick(&mut self, now_ms: u64, out: &mut dyn Transmit);

    /// Called once before each batch of packets with the time that holds for all of them.
    fn now(&mut self, now_ms: u64);
}

/// Where a handler sends packets.
pub trait Transmit {
    /// Sends `packet`; its content is unspecified afterwards. What cannot be sent is counted, never reported.
    fn send(&mut self, packet: &mut Buffer<'_>);
}

/// How workers work.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// Most packets of one batch.
    pub batch: usize,
    /// How many flows are merged at a time on the way out; zero merges nothing. Each has a place of 64 KiB, of which only
    /// what its packets take is ever touched.
    pub coalesce_flows: usize,
    /// Pin each worker to a core of its own, in the order of those this process may use. Where other work has that core
    /// (the receiving half of forwarding, above all), the worker suffers while another core may be free.
    pub pin: bool,
    /// Let each worker thread give up all capabilities before its first packet.
    pub drop_privileges: bool,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { batch: 1024, coalesce_flows: 512, pin: false, drop_privileges: true }
    }
}

/// A worker could not be started.
#[derive(Debug, Error)]
#[error("worker {worker} cannot be started: {step}")]
pub struct WorkerError {
    /// Number of the worker, from zero.
    pub worker: usize,
    /// What was being done.
    pub step: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Running workers. Dropping them stops them.
#[derive(Debug)]
pub struct Workers {
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    signal: Arc<Signal>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// What one worker thread owns.
struct Job {
    queue: Queue,
    kinds: Kinds,
    options: WorkerOptions,
    counters: Arc<Counters>,
    signal: Arc<Signal>,
    stop: Arc<AtomicBool>,
}

impl Workers {
    /// Starts one worker for each queue of `tun`; `make` makes the handler of worker 0, 1, ...
    pub fn start(
        tun: Tun,
        options: WorkerOptions,
        mut make: impl FnMut(usize) -> Box<dyn Handler>,
    ) -> Result<Self, WorkerError> {
        let kinds = kinds(tun.offload());
        let cores = if options.pin { usable_cores() } else { Vec::new() };
        let mut all = Self { stop: Arc::new(AtomicBool::new(false)), workers: Vec::new() };
        for (worker, queue) in tun.into_queues().into_iter().enumerate() {
            let fail = |step| move |source| WorkerError { worker, step, source };
            let signal = Arc::new(Signal::new().map_err(fail("making an eventfd"))?);
            let counters = Arc::new(Counters::default());
            let job = Job {
                queue,
                kinds,
                options,
                counters: Arc::clone(&counters),
                signal: Arc::clone(&signal),
                stop: Arc::clone(&all.stop),
            };
            let core = cores.get(worker % cores.len().max(1)).copied();
            let mut handler = make(worker);
            let thread = std::thread::Builder::new()
                .name(format!("xlat-{worker}"))
                .spawn(move || {
                    prepare_thread(worker, core, options.drop_privileges);
                    plain::run(&job, handler.as_mut());
                })
                .map_err(fail("making a thread"))?;
            all.workers.push(Worker { signal, counters, thread: Some(thread) });
        }
        Ok(all)
    }

    /// The counters of each worker, in order.
    pub fn counters(&self) -> impl Iterator<Item = &Arc<Counters>> {
        self.workers.iter().map(|worker| &worker.counters)
    }

    /// Wakes one worker after the other, one with each call, if it waits for packets: its handler hears of the time by
    /// [`Handler::now`] then. Does nothing once they have stopped.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let signals: Vec<Arc<Signal>> =
            self.workers.iter().map(|worker| Arc::clone(&worker.signal)).collect();
        let turn = AtomicUsize::new(0);
        move || {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            if let Some(signal) = signals.get(turn % signals.len().max(1)) {
                signal.raise();
            }
        }
    }

    /// True if a worker has ended by itself: its device is gone, or its handler panicked.
    pub fn any_ended(&self) -> bool {
        self.workers.iter().any(|worker| worker.thread.as_ref().is_none_or(JoinHandle::is_finished))
    }

    /// Stops all workers after the batch they are at, and waits for them. The device goes with them.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.signal.raise();
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// What may be merged on the way out: the kernel takes every kind of super-packet that it offers.
fn kinds(offload: OffloadSupport) -> Kinds {
    Kinds { tcp: offload.tso4 && offload.tso6, udp: offload.uso }
}

fn prepare_thread(worker: usize, core: Option<usize>, drop_privileges: bool) {
    // Short rests end in time: the default slack is as long as they are.
    // SAFETY: PR_SET_TIMERSLACK takes a number of nanoseconds by value; no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK) };
    if let Some(core) = core
        && let Err(error) = pin(core)
    {
        tracing::warn!(worker, core, %error, "worker is not pinned to its core");
    }
    if drop_privileges && let Err(error) = privileges::drop_thread_capabilities() {
        tracing::warn!(worker, %error, "worker keeps its capabilities");
    }
}

/// The cores this thread may run on, lowest first.
fn usable_cores() -> Vec<usize> {
    // SAFETY: a `cpu_set_t` is an array of integers; all zero bytes are a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is ours to write and its size is passed along.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } == 0;
    if !done {
        return Vec::new();
    }
    // SAFETY: every number below CPU_SETSIZE lies in the set.
    (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

fn pin(core: usize) -> io::Result<()> {
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` comes from `usable_cores` and so lies in the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is read only, and its size is passed along.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } == 0;
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
