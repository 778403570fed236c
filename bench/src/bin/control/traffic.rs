//! Packets of random flows, one after the other, and how long each took. Time in which the thread was ready and had no
//! processor (`/proc/thread-self/schedstat`) is the machine's, not ours: it is taken off. What an interrupt or the machine's host
//! took cannot be; but a thread that waits for a lock gives its processor up, which is counted.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use xlat_bench::Error;
use xlat_bench::measure::scatter;
use xlat_bench::packets::{Upper, write6};
use xlat_engine::{Engine, Origin, Output, Verdict, Worker};
use xlat_packet::{Buffer, Offload, buffer};

/// Packets between two looks at how long the thread was put aside.
const BATCH: usize = 64;
/// From here on a call is looked at more closely.
const SLOW: Duration = Duration::from_micros(50);
/// Flows of one client.
const FLOWS_PER_CLIENT: usize = 32;
/// 64:ff9b::/96.
const POOL6: u128 = 0x0064_ff9b << 96;

/// What happened since the last look. Nanoseconds.
#[derive(Default)]
pub(crate) struct Meter {
    packets: AtomicU64,
    longest: AtomicU64,
    over_1_ms: AtomicU64,
    waits_over_1_ms: AtomicU64,
    longest_with_others: AtomicU64,
    ends: AtomicBool,
}

/// What happened while something went on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Packets processed.
    pub(crate) packets: u64,
    /// The longest call.
    pub(crate) longest: Duration,
    /// Calls longer than a millisecond.
    pub(crate) over_1_ms: u64,
    /// Those of them in which the thread gave its processor up: it waited for another.
    pub(crate) waits_over_1_ms: u64,
    /// The longest call together with the time in which others had the processor.
    pub(crate) longest_with_others: Duration,
}

impl Meter {
    /// What was seen since the last call of this.
    pub(crate) fn take(&self) -> Seen {
        let take = |value: &AtomicU64| value.swap(0, Ordering::Relaxed);
        Seen {
            packets: take(&self.packets),
            longest: Duration::from_nanos(take(&self.longest)),
            over_1_ms: take(&self.over_1_ms),
            waits_over_1_ms: take(&self.waits_over_1_ms),
            longest_with_others: Duration::from_nanos(take(&self.longest_with_others)),
        }
    }

    fn slow(&self, took: Duration, aside: Duration, waited: bool) {
        let own = took.saturating_sub(aside);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.longest.fetch_max(nanos(own), Ordering::Relaxed);
        self.longest_with_others.fetch_max(nanos(took), Ordering::Relaxed);
        let over = own > Duration::from_millis(1);
        self.over_1_ms.fetch_add(u64::from(over), Ordering::Relaxed);
        self.waits_over_1_ms.fetch_add(u64::from(over && waited), Ordering::Relaxed);
    }
}

/// The thread that translates; it ends when this is dropped.
pub(crate) struct Traffic {
    pub(crate) meter: Arc<Meter>,
}

impl Traffic {
    /// Packets of the first `flows` flows.
    pub(crate) fn start(engine: &Arc<Engine>, flows: usize) -> Result<Self, Error> {
        let meter = Arc::new(Meter::default());
        let (mine, mut worker) = (Arc::clone(&meter), engine.worker());
        thread::Builder::new().name("traffic".to_owned()).spawn(move || {
            if let Err(error) = run(&mine, &mut worker, flows) {
                eprintln!("the traffic has ended: {error}");
            }
        })?;
        Ok(Self { meter })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.meter.ends.store(true, Ordering::Relaxed);
    }
}

fn run(meter: &Meter, worker: &mut Worker, flows: usize) -> Result<(), Error> {
    let schedule = File::open("/proc/thread-self/schedstat")?;
    let (began, mut number) = (Instant::now(), 0);
    while !meter.ends.load(Ordering::Relaxed) {
        let (before, given_up) = (put_aside(&schedule)?, waits()?);
        // Whoever reads tables is served between two batches.
        let start = Instant::now();
        worker.set_now(u64::try_from(began.elapsed().as_millis())?);
        let mut slowest = start.elapsed();
        for _ in 0..BATCH {
            number += 1;
            slowest = slowest.max(one(worker, scatter(number, flows)).0);
        }
        meter.packets.fetch_add(BATCH as u64, Ordering::Relaxed);
        if slowest >= SLOW {
            let aside = put_aside(&schedule)?.saturating_sub(before);
            meter.slow(slowest, aside, waits()? != given_up);
        }
    }
    Ok(())
}

/// How long this thread was ready and did not run.
fn put_aside(schedule: &File) -> Result<Duration, Error> {
    let mut text = [0; 128];
    let len = schedule.read_at(&mut text, 0)?;
    let text = std::str::from_utf8(&text[..len])?;
    let waited = text.split_whitespace().nth(1).ok_or("schedstat without waiting time")?;
    Ok(Duration::from_nanos(waited.parse()?))
}

/// How often this thread gave its processor up.
fn waits() -> Result<i64, Error> {
    Ok(getrusage(UsageWho::RUSAGE_THREAD)?.voluntary_context_switches())
}

/// Opens the first `flows` flows.
pub(crate) fn open(worker: &mut Worker, flows: usize) -> Result<(), Error> {
    (0..flows).try_for_each(|flow| match one(worker, flow).1 {
        Verdict::Translated => Ok(()),
        other => Err(format!("not translated: {other:?}").into()),
    })
}

/// One packet of a flow, and how long it took.
fn one(worker: &mut Worker, flow: usize) -> (Duration, Verdict) {
    let mut slot = [0; buffer::HEADROOM + 128];
    let client = Ipv6Addr::from_bits(0x2001_0db8 << 96 | (flow / FLOWS_PER_CLIENT) as u128);
    let server = Ipv4Addr::from_bits(0xc633_6400 | (flow % 251) as u32);
    let server = Ipv6Addr::from_bits(POOL6 | u128::from(server.to_bits()));
    let port = 40_000 + (flow % FLOWS_PER_CLIENT) as u16;
    let len = write6(&mut slot[buffer::HEADROOM..], (client, port), (server, 443), Upper::Udp);
    let mut packet = Buffer::new(&mut slot, buffer::HEADROOM, buffer::HEADROOM + len, Offload::NONE);
    let start = Instant::now();
    let verdict = worker.process(&mut packet, Origin::default(), &mut Nowhere);
    (start.elapsed(), verdict)
}

/// Where packets go.
struct Nowhere;

impl Output for Nowhere {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        std::hint::black_box(packet.bytes());
    }
}
