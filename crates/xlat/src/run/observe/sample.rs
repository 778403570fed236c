//! Taking one snapshot: counters of engine, kernel and device, and rates by the snapshot before.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use xlat_config::{Config, Kind};
use xlat_control::ByKernel;
use xlat_control::api::Protocol;
use xlat_control::live::{Directions, FastPath, Flow, Instance, Live, Pool4, Reason, Table, Thread};
use xlat_engine::{Engine, Traffic, View};
use xlat_fastpath::config::INSTANCES;
use xlat_fastpath::count::{Counter, Traffic as Translated};
use xlat_linux::datapath;
use xlat_linux::fastpath::{Maps, Statistics};

use super::load;
use super::sources::Walk;
use super::unix_ms;

/// Pool4 addresses that are listed; each counts for each protocol.
const POOL4_SHOWN: usize = 64;
/// Flows are counted so seldom that it takes at most this part of the time.
const COUNTING: u32 = 50;

/// What there is to look at.
pub(in crate::run) struct Subject {
    pub(in crate::run) engine: Arc<Engine>,
    /// The device's counters, of each worker.
    pub(in crate::run) workers: Vec<Arc<datapath::Counters>>,
    /// Those of the kernel's programs.
    pub(in crate::run) maps: Option<Maps>,
    /// What the kernel had translated for each instance when they were read last.
    pub(in crate::run) by_kernel: ArcSwap<[Translated; INSTANCES as usize]>,
    /// The configuration in force.
    pub(in crate::run) config: ArcSwap<Config>,
}

/// Takes snapshots.
pub(super) struct Sampler {
    subject: Arc<Subject>,
    began: Instant,
    before: Before,
    walk: Walk,
    number: u64,
    flows: (u64, Instant),
}

/// What rates are made of: counts by name, as of the last snapshot.
struct Before {
    at: Instant,
    counts: HashMap<String, u64>,
    busy: HashMap<String, f64>,
}

impl Sampler {
    pub(super) fn new(subject: Arc<Subject>) -> Self {
        let now = Instant::now();
        let before = Before { at: now, counts: HashMap::new(), busy: HashMap::new() };
        let mut sampler =
            Self { subject, began: now, before, walk: Walk::default(), number: 0, flows: (0, now) };
        // What was counted before is not a rate of now.
        sampler.take();
        sampler.number = 0;
        sampler
    }

    /// The next snapshot.
    pub(super) fn take(&mut self) -> Live {
        let config = self.subject.config.load_full();
        let statistics = self.subject.engine.statistics();
        let now = Instant::now();
        let mut rates = Rates::new(&mut self.before, now);
        let engine = &self.subject.engine;
        let view = |one: &xlat_config::Instance| engine.view(one.kind.translator(), &one.name);
        let views: Vec<Option<View>> = config.instances.iter().map(view).collect();
        let stateful: Vec<View> = views.iter().flatten().cloned().collect();
        self.walk.go_on(&stateful);
        let mut live = Live { time: unix_ms(), window: rates.window_ms(), ..Live::default() };
        live.version = env!("CARGO_PKG_VERSION").to_owned();
        live.device.clone_from(&config.device.name);
        live.uptime = millis(self.began.elapsed());
        self.number += 1;
        live.number = self.number;
        live.translated = statistics.traffic(Traffic::Translated);
        live.errors_sent =
            statistics.traffic(Traffic::ErrorsSent6) + statistics.traffic(Traffic::ErrorsSent4);
        let received = |packets, bytes| (statistics.traffic(packets), statistics.traffic(bytes));
        live.daemon = Directions {
            from6: rates.flow("daemon 6", received(Traffic::Received6, Traffic::Bytes6)),
            from4: rates.flow("daemon 4", received(Traffic::Received4, Traffic::Bytes4)),
        };
        live.drops = reasons(xlat_engine::Reason::all().map(|one| {
            let words = (one.name(), one.explanation(), one.source());
            rates.reason("drop", words, statistics.reason(one))
        }));
        live.losses = self.subject.losses(&mut rates);
        if let Some((maps, counted)) = self.subject.kernel() {
            let sum = |of: fn(&Translated) -> (u64, u64)| {
                let all = counted.traffic.iter().map(of);
                all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
            };
            live.kernel = Directions {
                from6: rates.flow("kernel 6", sum(|one| (one.packets64, one.bytes64))),
                from4: rates.flow("kernel 4", sum(|one| (one.packets46, one.bytes46))),
            };
            let mut of_kernel = |losses: bool| {
                let wanted = Counter::ALL.into_iter().filter(|one| matches!(one, Counter::Lost) == losses);
                let told = wanted.filter(|one| !is_success(*one));
                reasons(told.map(|one| {
                    let words = (one.name(), one.explanation(), "");
                    rates.reason("kernel", words, counted.count(one))
                }))
            };
            live.handed_over = of_kernel(false);
            live.losses.extend(of_kernel(true));
            let (flows, counted_at) = self.flows;
            if now >= counted_at {
                self.flows = count_flows(maps).unwrap_or((flows, now + Duration::from_secs(1)));
            }
            live.fast_path = Some(FastPath {
                flows: self.flows.0,
                max_flows: config.fast_path.max_flows.into(),
                memory: maps.memory().unwrap_or_default(),
            });
        }
        live.kernel_share = share(&live);
        instances(&config, &views, &mut rates, &mut live);
        live.threads = load::threads().into_iter().map(|thread| rates.thread(thread)).collect();
        live.sources = self.walk.outcome();
        rates.end();
        live
    }
}

/// The instances with their tables, and the use of pool4.
fn instances(config: &Config, views: &[Option<View>], rates: &mut Rates<'_>, live: &mut Live) {
    let mut pool4 = Vec::new();
    for (at, (one, view)) in config.instances.iter().zip(views).enumerate() {
        let gauges = view.as_ref().and_then(|view| Some((view, view.gauges()?)));
        let tables = gauges.map_or_else(Vec::new, |(view, gauges)| {
            live.table_memory += gauges.memory as u64 + view.pool4_memory() as u64;
            xlat_nat64::Protocol::ALL
                .map(|protocol| {
                    let index = protocol.index();
                    let told = told(protocol);
                    let before = pool4.len();
                    let usage = view.pool4_usage(protocol).into_iter();
                    pool4.extend(usage.map(|(address, used, total)| Row { at, address, told, used, total }));
                    let own = pool4.get(before..).unwrap_or_default();
                    let made = gauges.sessions_made[index];
                    Table {
                        protocol: told,
                        sessions: gauges.sessions[index] as u64,
                        bib_entries: gauges.bib[index] as u64,
                        sessions_made: made,
                        set_up_rate: rates.rate(format!("made {} {index}", one.name), made),
                        pool4_used: own.iter().map(|row| u64::from(row.used)).sum(),
                        pool4_total: own.iter().map(|row| u64::from(row.total)).sum(),
                    }
                })
                .into()
        });
        let translator = match one.kind {
            Kind::Siit(_) => xlat_control::api::Translator::Siit,
            Kind::Nat64(_) => xlat_control::api::Translator::Nat64,
        };
        let (name, enabled) = (one.name.clone(), one.global.manually_enabled);
        live.instances.push(Instance { name, translator, enabled, tables });
    }
    live.pool4_unlisted = pool4.len().saturating_sub(POOL4_SHOWN);
    let name = |at: usize| config.instances.get(at).map_or_else(String::new, |one| one.name.clone());
    live.pool4 = fullest(pool4)
        .into_iter()
        .map(|Row { at, address, told, used, total }| {
            let (used, total) = (used.into(), total.into());
            Pool4 { instance: name(at), address, protocol: told, used, total }
        })
        .collect();
}

/// One address of pool4 for one protocol; a large pool4 has hundreds of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    /// Place of its instance.
    at: usize,
    address: Ipv4Addr,
    told: Protocol,
    used: u32,
    total: u32,
}

/// Those that are shown: fullest first, by thousandths; of equal ones in the order of the configuration.
fn fullest(rows: Vec<Row>) -> Vec<Row> {
    let mut keys: Vec<(Reverse<u64>, usize)> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (Reverse(u64::from(row.used) * 1000 / u64::from(row.total.max(1))), place))
        .collect();
    if keys.len() > POOL4_SHOWN {
        keys.select_nth_unstable(POOL4_SHOWN);
        keys.truncate(POOL4_SHOWN);
    }
    keys.sort_unstable();
    keys.into_iter().filter_map(|(_, place)| rows.get(place).copied()).collect()
}

impl Subject {
    /// Reads what the kernel has counted.
    pub(super) fn kernel(&self) -> Option<(&Maps, Statistics)> {
        let maps = self.maps.as_ref()?;
        match maps.statistics() {
            Ok(counted) => {
                self.by_kernel.store(Arc::new(counted.traffic));
                Some((maps, counted))
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel's counters cannot be read");
                None
            }
        }
    }

    /// What the kernel had translated for the instance at this place when that was read last.
    pub(super) fn by_kernel(&self, place: usize) -> ByKernel {
        // Further instances are never translated in the kernel.
        let found = self.by_kernel.load().get(place).copied().unwrap_or_default();
        ByKernel {
            packets6: found.packets64,
            bytes6: found.bytes64,
            packets4: found.packets46,
            bytes4: found.bytes46,
        }
    }

    /// What the device's queues lost.
    fn losses(&self, rates: &mut Rates<'_>) -> Vec<Reason> {
        let mut sums: Vec<(&str, u64)> = LOSSES.iter().map(|(name, _)| (*name, 0)).collect();
        for (name, count) in self.workers.iter().flat_map(|worker| worker.rows()) {
            if let Some((_, sum)) = sums.iter_mut().find(|(known, _)| *known == name) {
                *sum += count;
            }
        }
        let rows = sums.into_iter().zip(LOSSES);
        reasons(rows.map(|((name, count), (_, words))| rates.reason("device", (name, words, ""), count)))
    }
}

/// The counters of the device that tell of losses.
const LOSSES: &[(&str, &str)] = &[
    ("rx_bad_header", "dropped when read from the device: its header does not fit the packet"),
    ("rx_errors", "reading from the device failed"),
    ("tx_no_headroom", "dropped when written to the device: no room in front for its header"),
    ("tx_bad_offload", "dropped when written to the device: offload state that does not fit the packet"),
    ("tx_full", "dropped when written to the device: its send buffer is full"),
    ("tx_no_memory", "dropped when written to the device: the kernel is out of memory"),
    ("tx_refused", "dropped when written to the device: the kernel refused the packet"),
    ("tx_errors", "dropped when written to the device: it is down or gone"),
    ("tx_short", "written to the device in part only"),
];

/// What the kernel translated, or what went from one of its programs to the next, is no reason of anything.
fn is_success(counter: Counter) -> bool {
    matches!(
        counter,
        Counter::Passed
            | Counter::Direct
            | Counter::Neighbour
            | Counter::Stack
            | Counter::Xdp
            | Counter::Xdp2Tc
    )
}

/// The flows, and when to count again.
fn count_flows(maps: &Maps) -> Option<(u64, Instant)> {
    let began = Instant::now();
    let flows = maps.flows().count().ok()? as u64;
    Some((flows, Instant::now() + began.elapsed() * COUNTING))
}

/// The kernel's part of all bytes of the window.
fn share(live: &Live) -> Option<f64> {
    let rate = |path: &Directions| path.from6.bit_rate + path.from4.bit_rate;
    let (kernel, daemon) = (rate(&live.kernel), rate(&live.daemon));
    (kernel + daemon > 0.0).then(|| kernel / (kernel + daemon))
}

/// Those that happened, those that happen now first.
fn reasons(all: impl Iterator<Item = Reason>) -> Vec<Reason> {
    let mut list: Vec<Reason> = all.filter(|one| one.count > 0).collect();
    list.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.count.cmp(&a.count)));
    list
}

fn told(protocol: xlat_nat64::Protocol) -> Protocol {
    match protocol {
        xlat_nat64::Protocol::Tcp => Protocol::Tcp,
        xlat_nat64::Protocol::Udp => Protocol::Udp,
        xlat_nat64::Protocol::Icmp => Protocol::Icmp,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Counts by name of one snapshot, compared with those of the one before.
struct Rates<'a> {
    before: &'a mut Before,
    now: Before,
}

impl<'a> Rates<'a> {
    fn new(before: &'a mut Before, at: Instant) -> Self {
        Self { before, now: Before { at, counts: HashMap::new(), busy: HashMap::new() } }
    }

    fn window(&self) -> f64 {
        self.now.at.duration_since(self.before.at).as_secs_f64().max(0.001)
    }

    fn window_ms(&self) -> u64 {
        millis(self.now.at.duration_since(self.before.at))
    }

    /// How many per second; nothing for a count that was not there or went back.
    fn rate(&mut self, name: String, count: u64) -> f64 {
        let before = self.before.counts.get(&name).copied().unwrap_or(count);
        self.now.counts.insert(name, count);
        count.saturating_sub(before) as f64 / self.window()
    }

    fn flow(&mut self, name: &str, (packets, bytes): (u64, u64)) -> Flow {
        let packet_rate = self.rate(format!("{name} packets"), packets);
        let bit_rate = self.rate(format!("{name} bytes"), bytes) * 8.0;
        Flow { packets, bytes, packet_rate, bit_rate }
    }

    fn reason(&mut self, of: &str, (name, explanation, source): (&str, &str, &str), count: u64) -> Reason {
        let rate = self.rate(format!("{of} {name}"), count);
        let words = |text: &str| text.to_owned();
        Reason { name: words(name), explanation: words(explanation), source: words(source), count, rate }
    }

    fn thread(&mut self, thread: load::Busy) -> Thread {
        let load::Busy { name, seconds } = thread;
        let before = self.before.busy.get(&name).copied().unwrap_or(seconds);
        self.now.busy.insert(name.clone(), seconds);
        let load = ((seconds - before).max(0.0) / self.window()).min(1.0);
        Thread { worker: load::is_worker(&name), name, busy: seconds, load }
    }

    /// This snapshot is the one before the next.
    fn end(self) {
        *self.before = self.now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_addresses_are_listed_in_order() {
        let row = |number: u32| Row {
            at: 0,
            address: Ipv4Addr::from_bits(number),
            told: Protocol::Tcp,
            used: number % 1000,
            total: 1000,
        };
        let rows: Vec<Row> = (0..200_000).map(row).collect();
        let mut expected = rows.clone();
        expected.sort_by_key(|row| Reverse(row.used));
        expected.truncate(POOL4_SHOWN);
        assert_eq!(fullest(rows.clone()), expected);
        assert_eq!(fullest(rows[..3].to_vec()), [rows[2], rows[1], rows[0]]);
        assert!(fullest(vec![Row { total: 0, ..row(5) }]).len() == 1);
    }
}
