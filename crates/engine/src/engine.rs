//! The engine: all instances of one daemon, their configuration of the moment, and what outlives a change of it.

use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;
use xlat_config::{Config, Translator};
use xlat_nat64::Gauges;
use xlat_translate::policy::Hops;
use xlat_translate::prefix_map::Seed;
use xlat_translate::refused::HostAddresses;

use crate::counters::{Counters, Statistics};
use crate::flows::{FlowEvents, FlowSink};
use crate::instance::{Instance, Nat64};
use crate::ledger::{Ledgers, Pen};
use crate::limiter::Rate;
use crate::looks::Looks;
use crate::peers::SessionSink;
use crate::worker::{Worker, error_rate};

/// Milliseconds between two rounds of [`Worker::tick`] that do anything.
const TICK: u64 = 200;

/// What the path around the engine decides.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// What a translation does to the hop limit: [`Hops::Restore`] on the TUN path.
    pub hops: Hops,
    /// MTU towards IPv4 in bytes; 65,535 on the TUN path, where the kernel knows better.
    pub mtu4: u32,
    /// MTU towards IPv6 in bytes, likewise.
    pub mtu6: u32,
    /// Keys every hash and every port choice. Random, kept from outsiders.
    pub secret: [u8; 16],
    /// Parts of each instance's state that workers can use at the same time.
    pub shards: usize,
    /// Who repeats flows in the kernel, if anybody does.
    pub flows: Option<Arc<dyn FlowSink>>,
    /// Who passes on to other translators what instances tell of their sessions, if anybody does.
    pub peers: Option<Arc<dyn SessionSink>>,
}

/// A configuration that cannot be compiled. The checks of `xlat-config` find all of these first, with their place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {instance}: {what}")]
pub struct ConfigError {
    /// The instance's name.
    pub instance: String,
    /// What is wrong with it.
    pub what: String,
}

/// One configuration as the workers see it. Never changed; replaced as a whole.
pub(crate) struct Generation {
    /// Differs from that of every other.
    pub(crate) number: u64,
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) host: HostAddresses,
    /// Stands in for an empty pool4.
    implicit: Option<Ipv4Addr>,
    pub(crate) hops: Hops,
    pub(crate) error_rate: Rate,
    /// An instance wants each packet in its log (`logging-debug`).
    pub(crate) traces: bool,
}

/// State of one instance in numbers.
#[derive(Clone, Debug)]
pub struct InstanceGauges {
    /// The instance's name.
    pub name: String,
    /// Its tables, if it has any.
    pub gauges: Gauges,
}

/// All instances of one daemon.
pub struct Engine {
    current: Arc<ArcSwap<Generation>>,
    options: EngineOptions,
    /// Held while a new configuration is compiled: one change at a time.
    change: Mutex<()>,
    /// What the workers count for no instance.
    workers: Mutex<Vec<Arc<Counters>>>,
    ledgers: Ledgers,
    /// What was counted before this engine began.
    earlier: Mutex<Statistics>,
    last_tick: AtomicU64,
    /// Former configurations that a worker may still look at: large tables must not be freed between two packets.
    former: Mutex<Vec<Arc<Generation>>>,
    /// What is to be looked at in the tables.
    looks: Arc<Looks>,
    /// Somebody listens to what happens to flows.
    heard: Arc<AtomicBool>,
}

impl Engine {
    /// An engine with `config`. Nothing is translated until a worker is given packets.
    pub fn new(
        config: &Config,
        host: HostAddresses,
        options: EngineOptions,
    ) -> Result<Arc<Self>, ConfigError> {
        let empty = Generation::empty(&options, host);
        let first = empty.next(config, &options)?;
        first.settle(&empty);
        let ledgers = Ledgers::default();
        ledgers.enrol(&first);
        Ok(Arc::new(Self {
            ledgers,
            current: Arc::new(ArcSwap::from_pointee(first)),
            options,
            change: Mutex::new(()),
            workers: Mutex::new(Vec::new()),
            earlier: Mutex::default(),
            last_tick: AtomicU64::new(0),
            former: Mutex::default(),
            looks: Arc::default(),
            heard: Arc::default(),
        }))
    }

    /// Puts `config` in the place of the present one, between two packets. A refused one changes nothing.
    ///
    /// An instance keeps its state if name, kind and pool6 stay; flows that the new configuration does not allow end.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let _one_at_a_time = self.hold();
        let old = self.current.load_full();
        let new = Arc::new(old.next(config, &self.options)?);
        self.current.store(Arc::clone(&new));
        new.settle(&old);
        self.ledgers.enrol(&new);
        self.put_by(old);
        Ok(())
    }

    /// Frees what no worker looks at any more of former configurations, which can take long. To be called now and then, not by
    /// a worker.
    pub fn free_former(&self) {
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|generation| Arc::strong_count(generation) > 1);
    }

    /// Keeps a former configuration until no worker has it.
    fn put_by(&self, old: Arc<Generation>) {
        self.free_former();
        self.former.lock().unwrap_or_else(PoisonError::into_inner).push(old);
    }

    /// Tells the engine the addresses of the host: those that are never translated, and sources of ICMP errors.
    pub fn set_host(&self, host: HostAddresses) {
        let _one_at_a_time = self.hold();
        let old = self.current.load_full();
        self.current.store(Arc::new(Generation {
            instances: old.instances.clone(),
            host,
            implicit: old.implicit,
            hops: old.hops,
            error_rate: old.error_rate,
            traces: old.traces,
            number: old.number + 1,
        }));
        self.put_by(old);
    }

    /// Tells the engine which of the host's addresses stands in for an empty pool4: the one that the kernel would choose as
    /// source for what the instance sends. Mappings with another one end; without any, nobody gets a mapping.
    pub fn set_implicit(&self, implicit: Option<Ipv4Addr>) -> Result<(), ConfigError> {
        let _one_at_a_time = self.hold();
        let old = self.current.load_full();
        let instances = old
            .instances
            .iter()
            .map(|now| Ok(now.with_implicit(implicit)?.map_or_else(|| Arc::clone(now), Arc::new)))
            .collect::<Result<Vec<_>, ConfigError>>()?;
        let new = Arc::new(Generation {
            instances,
            host: old.host.clone(),
            implicit,
            hops: old.hops,
            error_rate: old.error_rate,
            traces: old.traces,
            number: old.number + 1,
        });
        self.current.store(Arc::clone(&new));
        new.settle(&old);
        self.put_by(old);
        Ok(())
    }

    /// To be set while somebody listens to what happens to flows: workers give it all to [`Output::log`] then, whatever the
    /// configuration asks to be logged.
    ///
    /// [`Output::log`]: crate::Output::log
    pub fn heard(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.heard)
    }

    /// Tells the engine how to wake a worker that waits for packets: one of them is enough, and none if all are at work. It will be
    /// called often while tables are read and must not block.
    pub fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.looks.set_wake(Box::new(wake));
    }

    /// A worker for one more thread.
    pub fn worker(self: &Arc<Self>) -> Worker {
        let counters = Arc::new(Counters::default());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = workers.len();
        workers.push(Arc::clone(&counters));
        let seed = self.options.secret_for(&format!("worker {}", workers.len()));
        drop(workers);
        Worker::new(Arc::clone(self), Pen::new(number, counters), seed)
    }

    /// The counters of all workers over all instances, and what was counted before.
    pub fn statistics(&self) -> Statistics {
        let mut sum = self.earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sum.add(&self.ledgers.sum());
        for worker in &*self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            sum.add_worker(worker);
        }
        sum
    }

    /// Counts on from what an earlier run has counted.
    pub fn add_statistics(&self, earlier: &Statistics) {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).add(earlier);
    }

    /// The tables of the stateful instances in numbers.
    pub fn gauges(&self) -> Vec<InstanceGauges> {
        let generation = self.current.load();
        let gauges = |instance: &Arc<Instance>| {
            let gauges = instance.nat64()?.tables.gauges();
            Some(InstanceGauges { name: instance.name.clone(), gauges })
        };
        generation.instances.iter().filter_map(gauges).collect()
    }

    pub(crate) fn current(&self) -> Arc<ArcSwap<Generation>> {
        Arc::clone(&self.current)
    }

    /// Keeps the configuration from changing.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn looks(&self) -> &Arc<Looks> {
        &self.looks
    }

    /// Who repeats flows.
    pub(crate) fn flows(&self) -> Option<&dyn FlowSink> {
        self.options.flows.as_deref()
    }

    /// For one of the workers that call within the same [`TICK`], what keeps the configuration from changing while
    /// it works: a mapping must not end by rules that are no longer in force.
    pub(crate) fn begin_tick(&self, now_ms: u64) -> Option<MutexGuard<'_, ()>> {
        let last = self.last_tick.load(Ordering::Relaxed);
        // A clock that went back starts anew.
        let due = now_ms >= last.saturating_add(TICK) || now_ms < last || last == 0;
        let guard = due.then(|| self.change.try_lock().ok())??;
        self.last_tick.store(now_ms, Ordering::Relaxed);
        Some(guard)
    }
}

impl Generation {
    fn empty(options: &EngineOptions, host: HostAddresses) -> Self {
        Self {
            number: 0,
            instances: Vec::new(),
            host,
            implicit: None,
            hops: options.hops,
            error_rate: error_rate(std::iter::empty()),
            traces: false,
        }
    }

    /// The generation after this one.
    fn next(&self, config: &Config, options: &EngineOptions) -> Result<Self, ConfigError> {
        let instances = config
            .instances
            .iter()
            .enumerate()
            .map(|(index, config)| {
                let previous = self.find(config.kind.translator(), &config.name);
                Instance::new(config, index, previous.map(Arc::as_ref), self.implicit, options).map(Arc::new)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            error_rate: error_rate(instances.iter().map(|instance| instance.error_rate)),
            host: self.host.clone(),
            implicit: self.implicit,
            hops: self.hops,
            traces: config.instances.iter().any(|instance| instance.global.logging_debug),
            number: self.number + 1,
            instances,
        })
    }
}

impl Generation {
    /// The instance of this kind and name; an SIIT and a NAT64 may share one.
    pub(crate) fn find(&self, kind: Translator, name: &str) -> Option<&Arc<Instance>> {
        self.instances.iter().find(|instance| instance.translator() == kind && instance.name == name)
    }

    /// The stateful instance of this name.
    pub(crate) fn nat64(&self, name: &str) -> Option<&Nat64> {
        self.find(Translator::Nat64, name).and_then(|instance| instance.nat64())
    }

    /// Whom an IPv6 packet is offered to, one after the other: as the configuration has them.
    pub(crate) fn offered6(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().map(Arc::as_ref)
    }

    /// Whom an IPv4 packet is offered to: first the stateful ones, which want nothing but their pool4, wherever they stand;
    /// a stateless one with pool6 would take that too.
    pub(crate) fn offered4(&self) -> impl Iterator<Item = &Instance> {
        let stateful = |is: bool| self.offered6().filter(move |instance| instance.nat64().is_some() == is);
        stateful(true).chain(stateful(false))
    }

    /// Brings the tables in line with the configuration, which must be the current one by now: static entries come, and
    /// what pool4 no longer covers goes. Tables that nobody has any more take their flows out of the kernel.
    fn settle(&self, old: &Self) {
        let mut retired = false;
        for was in old.instances.iter().filter_map(|was| was.nat64()) {
            let stays = |now: &Nat64| Arc::ptr_eq(&now.tables, &was.tables);
            if !self.instances.iter().filter_map(|now| now.nat64()).any(stays) {
                was.tables.retire(&was.policy, &mut FlowEvents(was));
                retired = true;
            }
        }
        for instance in &self.instances {
            let Some(now) = instance.nat64() else { continue };
            let same = |was: &&Nat64| Arc::ptr_eq(&was.tables, &now.tables);
            let was = old.instances.iter().filter_map(|was| was.nat64()).find(same).unwrap_or(now);
            now.tables.reconfigure(&was.policy, &now.policy, &mut FlowEvents(now));
            // Workers may have taken ports again before they were told to be free.
            if retired {
                now.tables.announce(&now.policy, &mut FlowEvents(now));
            }
        }
    }
}

impl EngineOptions {
    /// A key for one purpose, derived from the secret.
    pub(crate) fn secret_for(&self, purpose: &str) -> [u8; 16] {
        let half = |part: u8| {
            let mut hasher = SipHasher13::new_with_key(&self.secret);
            hasher.write(&[part]);
            hasher.write(purpose.as_bytes());
            hasher.finish().to_be_bytes()
        };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(0));
        key[8..].copy_from_slice(&half(1));
        key
    }

    /// A seed for tables that only the operator fills.
    pub(crate) fn seed(&self) -> Seed {
        let (first, second) = (self.secret_for("tables"), self.secret_for("tables, second"));
        let word = |key: [u8; 16]| key.iter().take(8).fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        [word(first), word(second)]
    }
}

#[cfg(test)]
mod tests {
    use xlat_config::{Hint, load};

    use super::*;
    use crate::worker::Output;

    struct Nowhere;

    impl Output for Nowhere {
        fn send(&mut self, _packet: &mut xlat_packet::Buffer<'_>) {}
    }

    #[test]
    fn no_worker_frees_a_former_configuration() {
        let text = "[[instance]]\nname = \"one\"\ntype = \"nat64\"\npool4 = [\"203.0.113.2\"]\n\
                    [instance.global]\npool6 = \"64:ff9b::/96\"\n";
        let config = load("text", text, &Hint::default()).unwrap().config;
        let options = EngineOptions {
            hops: Hops::Decrement,
            mtu4: 1500,
            mtu6: 1500,
            secret: [0; 16],
            shards: 1,
            flows: None,
            peers: None,
        };
        let engine = Engine::new(&config, HostAddresses::new(Vec::new(), Vec::new()), options).unwrap();
        let mut worker = engine.worker();
        worker.tick(0, &mut Nowhere);
        let instance = Arc::downgrade(engine.current().load().instances.first().unwrap());
        engine.reconfigure(&Config::default()).unwrap();
        engine.free_former();
        assert!(instance.strong_count() > 0, "the worker has not looked since");
        worker.tick(1000, &mut Nowhere);
        assert!(instance.strong_count() > 0, "the worker would have freed it");
        engine.free_former();
        assert_eq!(instance.strong_count(), 0);
    }
}
