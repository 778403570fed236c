//! The maps of the program, each with its types: what the daemon tells the program, and what it learns from it. All calls
//! work on open descriptors, for which `CAP_BPF` suffices (and nothing from Linux 6.0 on).

use std::collections::HashSet;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::Ipv4Net;
use xlat_fastpath::config::{
    Config, INLINE_STEERS, INSTANCES, Instance, LINKS, Link, Steer, SteerPrefix4, SteerPrefix6, config_flag,
    host_bit4, host_bit6,
};
use xlat_fastpath::{LAYOUT, maps};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::bpf::{self, Map, MapInfo};
use super::counters::{CounterMaps, Statistics};
use super::eam::{EamMaps, Entry};
use super::error::FastPathError;
use super::flows::Flows;
use super::own_ports::OwnPorts;
use super::pins::Pins;
use super::shapes::SHAPES;

/// An IPv4 prefix in a longest-prefix map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
struct Prefix4 {
    len: u32,
    prefix: [u8; 4],
}

/// An IPv6 prefix in a longest-prefix map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
struct Prefix6 {
    len: u32,
    prefix: [u8; 16],
}

/// The maps, open. Clones are cheap, share everything, and may be used by any thread.
#[derive(Clone, Debug)]
pub struct Maps {
    inner: Arc<Inner>,
    flows: Flows,
    own_ports: OwnPorts,
}

#[derive(Debug)]
struct Inner {
    config: Map<u32, Config>,
    /// What is in that map: it is always written as a whole.
    current: Mutex<Config>,
    instances: Map<u32, Instance>,
    links: Map<u32, Link>,
    steer4: Map<Prefix4, Steer>,
    mtu4: Map<Prefix4, u32>,
    pool4: Map<Prefix4, u32>,
    steer6: Map<Prefix6, Steer>,
    host: Map<u32, [u64; 1024]>,
    eam: EamMaps,
    counters: CounterMaps,
}

impl Maps {
    /// Opens the pinned maps of a program that may run without a daemon, to look at them. `None` if there are none of this
    /// version.
    ///
    /// # Errors
    ///
    /// Without permission, and when what is pinned is not what its name says.
    pub fn open(pins: &Pins) -> Result<Option<Self>, FastPathError> {
        let directory = pins.directory();
        if !directory.join(maps::CONFIG).exists() {
            return Ok(None);
        }
        let found = Self::collect(|name| {
            let path = directory.join(name);
            bpf::get(&path).map_err(|source| match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => FastPathError::NoPermission(source),
                _ => FastPathError::Pin { step: "open", path, source },
            })
        })?;
        Ok(Some(found))
    }

    /// The maps that `open` gives for their names, after a look at what they are.
    pub(super) fn collect(
        open: impl Fn(&'static str) -> Result<OwnedFd, FastPathError>,
    ) -> Result<Self, FastPathError> {
        for shape in &SHAPES {
            let info: MapInfo =
                bpf::info(&open(shape.name)?).map_err(FastPathError::map("read the sizes"))?;
            if let Some(problem) = shape.contradiction(&info) {
                return Err(FastPathError::Mismatch(problem));
            }
        }
        fn typed<K, V>(fd: Result<OwnedFd, FastPathError>) -> Result<Map<K, V>, FastPathError>
        where
            K: FromBytes + IntoBytes + Immutable + Clone,
            V: FromBytes + IntoBytes + Immutable + Clone,
        {
            Map::new(fd?).map_err(|error| FastPathError::Mismatch(error.to_string()))
        }
        let config: Map<u32, Config> = typed(open(maps::CONFIG))?;
        let current = config.get(&0).map_err(FastPathError::map("read the configuration"))?;
        let inner = Inner {
            config,
            current: Mutex::new(current.unwrap_or_default()),
            instances: typed(open(maps::INSTANCES))?,
            links: typed(open(maps::LINKS))?,
            steer4: typed(open(maps::STEER4))?,
            mtu4: typed(open(maps::MTU4))?,
            pool4: typed(open(maps::POOL4))?,
            steer6: typed(open(maps::STEER6))?,
            host: typed(open(maps::HOST))?,
            eam: EamMaps::new(
                typed(open(maps::EAM4))?,
                typed(open(maps::EAM6))?,
                typed(open(maps::DENY4))?,
                typed(open(maps::EAM_FILTER))?,
            ),
            counters: CounterMaps::new(open(maps::COUNTERS)?, open(maps::TRAFFIC)?),
        };
        Ok(Self {
            inner: Arc::new(inner),
            flows: Flows::new(typed(open(maps::FLOWS6))?, typed(open(maps::FLOWS4))?),
            own_ports: OwnPorts::new(&open(maps::OWN_PORTS)?)
                .map_err(FastPathError::map("map the own ports"))?,
        })
    }

    /// The known flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The ports of the host's own addresses that are ours.
    pub fn own_ports(&self) -> &OwnPorts {
        &self.own_ports
    }

    /// The state of the whole, as the program sees it.
    pub fn config(&self) -> Config {
        *self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state of the whole. The layout is set to ours.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) -> Result<(), FastPathError> {
        let mut current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = *current;
        change(&mut next);
        next.layout = LAYOUT;
        self.inner.config.set(&0, &next).map_err(FastPathError::map("set the configuration"))?;
        *current = next;
        Ok(())
    }

    /// A sign of life at `now_s` (seconds of CLOCK_MONOTONIC).
    pub fn heartbeat(&self, now_s: u32) -> Result<(), FastPathError> {
        self.configure(|config| config.heartbeat = now_s)
    }

    /// Voids what flows remember of the way out: routes or neighbours changed.
    pub fn forget_routes(&self) -> Result<(), FastPathError> {
        self.configure(|config| config.route_generation = config.route_generation.wrapping_add(1))
    }

    /// Sets the instances, in order; those past [`INSTANCES`] are the daemon's alone. New ones are written before their
    /// number is.
    pub fn set_instances(&self, instances: &[Instance]) -> Result<(), FastPathError> {
        let fail = "set an instance";
        let count = instances.len().min(INSTANCES as usize);
        let former = self.config().instances as usize;
        let write = |index: usize, instance: &Instance| {
            self.inner.instances.set(&(index as u32), instance).map_err(FastPathError::map(fail))
        };
        if former > count {
            self.configure(|config| config.instances = count as u32)?;
        }
        for (index, instance) in instances[..count].iter().enumerate() {
            write(index, instance)?;
        }
        for index in count..former.min(INSTANCES as usize) {
            write(index, &Instance::new_zeroed())?;
        }
        self.configure(|config| config.instances = count as u32)
    }

    /// Sets the destinations that are ours on interface ingress. The first few are inline, where looking costs least; an order
    /// by traffic helps. What is in both the former and the new set stays ours all the time.
    pub fn set_steer(&self, v4: &[SteerPrefix4], v6: &[SteerPrefix6]) -> Result<(), FastPathError> {
        const STEP: &str = "set what is steered";
        let more4 = v4.get(INLINE_STEERS..).unwrap_or_default().iter().map(|steer| {
            let len = u32::from_be_bytes(steer.mask).leading_ones();
            (Prefix4 { len, prefix: steer.prefix }, steer.steer)
        });
        let more6 = v6.get(INLINE_STEERS..).unwrap_or_default().iter().map(|steer| {
            let len = u128::from_be_bytes(steer.mask).leading_ones();
            (Prefix6 { len, prefix: steer.prefix }, Steer::default())
        });
        let (more4, more6): (Vec<_>, Vec<_>) = (more4.collect(), more6.collect());
        for (key, steer) in &more4 {
            self.inner.steer4.set(key, steer).map_err(FastPathError::map(STEP))?;
        }
        for (key, steer) in &more6 {
            self.inner.steer6.set(key, steer).map_err(FastPathError::map(STEP))?;
        }
        self.configure(|config| {
            config.steer4_count = fill(&mut config.steer4, v4);
            config.steer6_count = fill(&mut config.steer6, v6);
            let flag = |on: bool, flag: u32| if on { flag } else { 0 };
            config.flags &= !(config_flag::STEER4_MAP | config_flag::STEER6_MAP);
            config.flags |= flag(!more4.is_empty(), config_flag::STEER4_MAP)
                | flag(!more6.is_empty(), config_flag::STEER6_MAP);
        })?;
        keep(&self.inner.steer4, &more4).map_err(FastPathError::map(STEP))?;
        keep(&self.inner.steer6, &more6).map_err(FastPathError::map(STEP))
    }

    /// Sets the MTUs in bytes that IPv4 routes were given.
    pub fn set_route_mtus(&self, mtus: &[(Ipv4Net, u32)]) -> Result<(), FastPathError> {
        const STEP: &str = "set the MTUs of routes";
        let key = |net: &Ipv4Net| Prefix4 { len: net.prefix_len().into(), prefix: net.network().octets() };
        let mtus: Vec<(Prefix4, u32)> = mtus.iter().map(|(net, mtu)| (key(net), *mtu)).collect();
        for (key, mtu) in &mtus {
            self.inner.mtu4.set(key, mtu).map_err(FastPathError::map(STEP))?;
        }
        self.configure(|config| {
            let flag = if mtus.is_empty() { 0 } else { config_flag::MTU4_MAP };
            config.flags = config.flags & !config_flag::MTU4_MAP | flag;
        })?;
        keep(&self.inner.mtu4, &mtus).map_err(FastPathError::map(STEP))
    }

    /// Sets the pool4 prefixes of all stateful instances.
    pub fn set_pool4(&self, nets: &[Ipv4Net]) -> Result<(), FastPathError> {
        const STEP: &str = "set what pool4 has";
        let key = |net: &Ipv4Net| Prefix4 { len: net.prefix_len().into(), prefix: net.network().octets() };
        let nets: Vec<(Prefix4, u32)> = nets.iter().map(|net| (key(net), 1)).collect();
        // Without the flag the daemon has all that may be in one.
        let known = |on: bool| {
            let flag = if on { config_flag::POOL4_MAP } else { 0 };
            self.configure(|config| config.flags = config.flags & !config_flag::POOL4_MAP | flag)
        };
        for (key, value) in &nets {
            let set = self.inner.pool4.set(key, value).map_err(FastPathError::map(STEP));
            set.or_else(|error| known(false).and(Err(error)))?;
        }
        known(true)?;
        keep(&self.inner.pool4, &nets).map_err(FastPathError::map(STEP))
    }

    /// Sets what is known of an interface; false if its index has no place.
    pub fn set_link(&self, index: u32, link: Link) -> Result<bool, FastPathError> {
        if index >= LINKS {
            return Ok(false);
        }
        self.inner.links.set(&index, &link).map_err(FastPathError::map("set an interface"))?;
        Ok(true)
    }

    /// What is known of an interface.
    pub fn link(&self, index: u32) -> Result<Option<Link>, FastPathError> {
        self.inner.links.get(&index).map_err(FastPathError::map("read an interface"))
    }

    /// Sets the host's own addresses: packets with one of them before or after translation are the daemon's.
    pub fn set_host_filter(&self, v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Result<(), FastPathError> {
        let mut bits = [0u64; 1024];
        let v4 = v4.iter().map(|address| host_bit4(address.octets()));
        let v6 = v6.iter().map(|address| host_bit6(address.octets()));
        for (word, bit) in v4.chain(v6) {
            bits[word] |= bit;
        }
        self.inner.host.set(&0, &bits).map_err(FastPathError::map("set the host's addresses"))
    }

    /// Adds entries to an EAM table. `filter`: [`Instance::filter4_len`] and [`Instance::filter6_len`] of its instance. On an
    /// error a part of them may be there: [`Self::drop_table`].
    pub fn load_eam(
        &self,
        table: u32,
        filter: (u32, u32),
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), FastPathError> {
        self.inner.eam.load(table, filter, entries).map_err(FastPathError::map("fill a table of EAM entries"))
    }

    /// Removes an EAM table; its number may be used again.
    pub fn drop_table(&self, table: u32) -> Result<(), FastPathError> {
        self.drop_tables(|found| found == table)
    }

    /// Removes all EAM tables that `is_gone` names: after a take-over, those of a former daemon.
    pub fn drop_tables(&self, is_gone: impl Fn(u32) -> bool) -> Result<(), FastPathError> {
        self.inner.eam.remove(is_gone).map_err(FastPathError::map("remove a table of EAM entries"))
    }

    /// What the program has counted since its maps were made.
    pub fn statistics(&self) -> Result<Statistics, FastPathError> {
        self.inner.counters.read().map_err(FastPathError::map("read the counters"))
    }

    /// Lets what was counted for an instance follow it to its new place: for each place the former one of its instance, or
    /// `None` for one that begins anew. To be done while the daemon has every packet.
    pub fn rearrange_traffic(&self, from: &[Option<usize>; INSTANCES as usize]) -> Result<(), FastPathError> {
        self.inner.counters.rearrange(from).map_err(FastPathError::map("rearrange the counters"))
    }

    /// Bytes of kernel memory that flows and EAM entries take.
    pub fn memory(&self) -> Result<u64, FastPathError> {
        let fail = "read the memory";
        let eam = self.inner.eam.memory().map_err(FastPathError::map(fail))?;
        Ok(self.flows.memory().map_err(FastPathError::map(fail))? + eam)
    }
}

/// Copies as many as there is room for, zeroes the rest, and says how many.
fn fill<T: Copy + Default>(places: &mut [T; INLINE_STEERS], from: &[T]) -> u32 {
    let count = from.len().min(INLINE_STEERS);
    *places = [T::default(); INLINE_STEERS];
    places[..count].copy_from_slice(&from[..count]);
    count as u32
}

/// Removes all keys that are not in `wanted`.
fn keep<K, V>(map: &Map<K, V>, wanted: &[(K, V)]) -> std::io::Result<()>
where
    K: FromBytes + IntoBytes + Immutable + Clone + Eq + Hash,
    V: FromBytes + IntoBytes + Immutable + Clone,
{
    let wanted: HashSet<&K> = wanted.iter().map(|(key, _)| key).collect();
    for key in map.keys()?.into_iter().filter(|key| !wanted.contains(key)) {
        map.delete(&key)?;
    }
    Ok(())
}
