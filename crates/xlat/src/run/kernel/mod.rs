//! The kernel's part of the daemon: opened or taken over at the start, told of every change, left to itself or ended at
//! the end. What it does is decided by the programs (`xlat_fastpath`); what it knows comes from here.

mod flows;
mod links;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use xlat_config::{self as model, Config, Kind};
use xlat_engine::{Engine, FastPathPlan, FlowSink, deny_entries, eam_entries};
use xlat_fastpath::config::{
    INSTANCES, Instance, OWN_ADDRESSES, Steer, SteerPrefix4, SteerPrefix6, config_flag, instance_flag,
};
use xlat_linux::clock;
use xlat_linux::fastpath::{self, Entry, FastPath, FastPathError, Maps, Opened, Pins, Sizes};
use xlat_linux::netlink::RoutedBy;
use xlat_linux::netlink::watch::HostAddresses;
use xlat_linux::probe;

use crate::failure::{Outcome, with_causes};
use crate::host;
use flows::{Offers, Sink};
use links::Links;

/// The least room for EAM entries: a reload may bring some where there were none. Empty it costs 4 MiB for each of three tables.
const EAM_ROOM: u32 = 1 << 18;
/// How long the programs go on at least while the daemon is alive but late.
const PATIENCE: Duration = Duration::from_secs(10);
/// A place in the Internet that nobody has (RFC 5737): asking for the way there sends nothing.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The kernel's part.
pub(super) struct Kernel {
    fast_path: FastPath,
    pins: Pins,
    opened: Opened,
    sink: Arc<Sink>,
    offers: Option<Offers>,
    links: Links,
    /// Where each shared address has its ports in the map.
    slots: BTreeMap<Ipv4Addr, u32>,
    /// What each stateless instance has in the maps, by name.
    tables: HashMap<String, Table>,
    /// The number of the next table.
    next_table: u32,
    /// The instances by their places, as the program knows them; empty before the first configuration.
    places: Vec<(xlat_config::Translator, String)>,
}

/// The entries of a stateless instance in the maps.
struct Table {
    number: u32,
    siit: model::Siit,
    /// What decides which side of an entry is ours at ingress.
    connected: Vec<IpNet>,
    everything_at_ingress: bool,
}

impl Kernel {
    /// Loads the programs, and takes over what a former daemon left. The error says why there is no fast path.
    pub(super) fn open(config: &Config, bpffs: Option<&Path>) -> Result<Self, String> {
        if !config.fast_path.enabled {
            return Err("the fast path is turned off ([fast-path] enabled)".to_owned());
        }
        let open = || -> Result<_, FastPathError> {
            let (pins, sizes) = (Pins::find(bpffs)?, sizes(config));
            let (fast_path, opened) = FastPath::open(&pins, sizes)?;
            Ok((pins, sizes, fast_path, opened))
        };
        let (pins, wanted, fast_path, opened) = open().map_err(|error| with_causes(&error))?;
        match &opened {
            Opened::Fresh => {}
            Opened::TakenOver { sizes } if sizes.max_flows != wanted.max_flows => tracing::warn!(
                flows = sizes.max_flows,
                "the kernel keeps its room for flows until `xlat stop --flush`; max-flows is another"
            ),
            Opened::TakenOver { .. } => {}
            Opened::Incompatible { found } => tracing::warn!(
                found = found.join(", "),
                "flows of another version of xlat are not understood and end"
            ),
        }
        // Numbers that a former daemon gave to its tables are not used again while they are there.
        let next_table = clock::now_ms() as u32 | 1;
        let (sink, offers) = Sink::new(fast_path.maps().own_ports().clone());
        Ok(Self {
            fast_path,
            pins,
            opened,
            sink,
            offers: Some(offers),
            links: Links::default(),
            slots: BTreeMap::new(),
            tables: HashMap::new(),
            next_table,
            places: Vec::new(),
        })
    }

    /// Whom the engine tells of flows.
    pub(super) fn sink(&self) -> Arc<dyn FlowSink> {
        Arc::clone(&self.sink) as Arc<dyn FlowSink>
    }

    /// Its maps, to be looked at.
    pub(super) fn maps(&self) -> Maps {
        self.fast_path.maps().clone()
    }

    /// True if there was nothing before.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.opened, Opened::Fresh)
    }

    /// True if a former daemon left flows.
    pub(super) fn is_taken_over(&self) -> bool {
        matches!(self.opened, Opened::TakenOver { .. })
    }

    /// The index of the device with which a former daemon worked.
    pub(super) fn former_device(&self) -> Option<u32> {
        self.is_taken_over().then(|| self.fast_path.maps().config().device)
    }

    /// Gives the engine the sessions of the flows that a former daemon left; gives how many those are. What the
    /// configuration does not allow any more is taken out.
    pub(super) fn restore(&self, engine: &Engine) -> Outcome<u64> {
        let mut restored = 0;
        self.fast_path.maps().flows().for_each(|session, used| {
            restored += engine.restore_flows([(session, used)], clock::now_ms()).restored;
        })?;
        Ok(restored)
    }

    /// True if an address of the host is shared with it.
    pub(super) fn shares(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.slots.contains_key(&address))
    }

    /// Begins to work: device, interfaces, and the thread that applies what the engine says.
    pub(super) fn start(
        &mut self,
        config: &Config,
        addresses: &HostAddresses,
        device: u32,
        engine: &Arc<Engine>,
    ) -> Outcome {
        let maps = self.fast_path.maps();
        if let Some(offers) = self.offers.take() {
            flows::start(offers, &self.sink, maps.flows().clone(), engine)?;
        }
        let own = shared(config, addresses);
        self.slots = own.iter().copied().zip(0..).collect();
        self.sink.share(self.slots.iter().map(|(address, slot)| (*address, *slot)).collect());
        // A former daemon's ports may be in the map; those that are still ours are told again.
        if !self.is_taken_over() {
            (0..OWN_ADDRESSES).for_each(|slot| maps.own_ports().clear_slot(slot));
        }
        engine.announce_ports();
        self.heartbeat(config)?;
        maps.configure(|config| config.device = device)?;
        self.apply(config, addresses, engine)?;
        // What a former daemon had in the tables was in use until now.
        let numbers: Vec<u32> = self.tables.values().map(|table| table.number).collect();
        let maps = self.fast_path.maps();
        maps.drop_tables(|table| !numbers.contains(&table))?;
        let how = self.fast_path.attach_device(device)?;
        self.fast_path.remove_others()?;
        for report in self.fast_path.programs() {
            tracing::debug!(?report, "program");
        }
        tracing::info!(how = how.name(), shared = ?own, "the kernel repeats known flows");
        Ok(())
    }

    /// Tells the kernel of a configuration that the engine has, and of the host as it is.
    pub(super) fn apply(&mut self, config: &Config, addresses: &HostAddresses, engine: &Engine) -> Outcome {
        let connected = host::connected(addresses, &config.device.name);
        let host = host::own_addresses(addresses);
        let plan = FastPathPlan::of(config, &host, &connected, implicit(config, addresses));
        self.give_slots(&plan.own, engine);
        let v6: Vec<_> = addresses.v6.iter().map(|own| own.address).collect();
        self.fast_path.maps().set_host_filter(host.own4(), &v6)?;
        self.rearrange(config)?;
        let mut instances = plan.instances.clone();
        let obsolete = self.fill_tables(config, &connected, &mut instances);
        let maps = self.fast_path.maps();
        maps.set_pool4(&plan.pool4)?;
        maps.set_instances(&instances)?;
        for table in obsolete {
            maps.drop_table(table)?;
        }
        let steer4: Vec<SteerPrefix4> =
            plan.steer4.iter().filter_map(|(net, steer)| self.steer4(*net, *steer, &plan)).collect();
        let steer6: Vec<SteerPrefix6> = plan
            .steer6
            .iter()
            .map(|net| SteerPrefix6 { prefix: net.network().octets(), mask: net.netmask().octets() })
            .collect();
        maps.set_steer(&steer4, &steer6)?;
        let eam = config.fast_path.ingress == model::Ingress::All
            && config
                .instances
                .iter()
                .any(|one| matches!(&one.kind, Kind::Siit(siit) if !siit.eamt.is_empty()));
        let ingress = eam || !steer4.is_empty() || !steer6.is_empty();
        let is_at_work = |stateless: bool| {
            let kind = if stateless { instance_flag::STATELESS } else { 0 };
            let of_kind = instance_flag::ENABLED | instance_flag::STATELESS;
            instances.iter().any(|one| one.flags & of_kind == instance_flag::ENABLED | kind)
        };
        let flags = [
            (ingress, config_flag::INGRESS),
            (false, config_flag::HAND_OVER_ALL),
            (is_at_work(false), config_flag::STATEFUL),
            (is_at_work(true), config_flag::STATELESS),
            (probe::routes_by_mark(), config_flag::FIB_MARK),
        ];
        let of_kind = instance_flag::ENABLED | instance_flag::STATELESS;
        let stateless = instances.iter().position(|one| one.flags & of_kind == of_kind).unwrap_or_default();
        maps.configure(|config| {
            // There are at most sixteen.
            config.stateless = stateless as u32;
            for (on, flag) in flags {
                config.flags = if on { config.flags | flag } else { config.flags & !flag };
            }
        })?;
        self.links.adapt(&self.fast_path, config, addresses, ingress, !plan.own.is_empty())?;
        self.sink.drain();
        Ok(())
    }

    /// Lets the daemon have every packet, until the kernel is told of the next configuration.
    pub(super) fn hand_over_all(&self, on: bool) -> Outcome {
        let flag = config_flag::HAND_OVER_ALL;
        let maps = self.fast_path.maps();
        Ok(maps
            .configure(|config| config.flags = if on { config.flags | flag } else { config.flags & !flag })?)
    }

    /// A sign of life; to be given about once a second.
    pub(super) fn heartbeat(&self, config: &Config) -> Outcome {
        let now = u32::try_from(clock::now_ms() / 1000).unwrap_or(u32::MAX);
        let outlive = config.fast_path.outlive.max(PATIENCE).as_secs();
        let outlive = u32::try_from(outlive).unwrap_or(u32::MAX);
        Ok(self.fast_path.maps().configure(|config| (config.heartbeat, config.outlive) = (now, outlive))?)
    }

    /// Which IPv4 routes have an MTU in bytes of their own.
    pub(super) fn set_route_mtus(&self, mtus: &[(Ipv4Net, u32)]) -> Outcome {
        Ok(self.fast_path.maps().set_route_mtus(mtus)?)
    }

    /// What the host routes by besides destinations.
    pub(super) fn set_routed_by(&self, by: RoutedBy) -> Outcome {
        let all = config_flag::SOURCE_RULES | config_flag::PACKET_RULES;
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let flags = flag(by.source, config_flag::SOURCE_RULES) | flag(by.packet, config_flag::PACKET_RULES);
        Ok(self.fast_path.maps().configure(|config| config.flags = config.flags & !all | flags)?)
    }

    /// Routes or neighbours have changed.
    pub(super) fn forget_routes(&self) -> Outcome {
        Ok(self.fast_path.maps().forget_routes()?)
    }

    /// Waits until all that the engine has said is done.
    pub(super) fn drain(&self) {
        self.sink.drain();
    }

    /// Ends everything in the kernel.
    pub(super) fn end(self) -> Outcome {
        let Self { fast_path, pins, .. } = self;
        drop(fast_path);
        Ok(fastpath::flush(&pins)?)
    }

    /// Lets what the program counted for instances follow them to their places.
    fn rearrange(&mut self, config: &Config) -> Outcome {
        let named = |instance: &xlat_config::Instance| (instance.kind.translator(), instance.name.clone());
        let places = config.instances.iter().map(named).collect();
        let former = std::mem::replace(&mut self.places, places);
        // What a former daemon left is of the same instances, as its flows are.
        if former.is_empty() || former == self.places {
            return Ok(());
        }
        let mut from = [None; INSTANCES as usize];
        for (from, instance) in from.iter_mut().zip(&self.places) {
            *from = former.iter().take(INSTANCES as usize).position(|known| known == instance);
        }
        Ok(self.fast_path.maps().rearrange_traffic(&from)?)
    }

    /// Gives every shared address a place for its ports, and keeps those that have one.
    fn give_slots(&mut self, own: &[Ipv4Addr], engine: &Engine) {
        let before = self.slots.clone();
        self.slots.retain(|address, _| own.contains(address));
        for address in own {
            if self.slots.contains_key(address) {
                continue;
            }
            let Some(slot) = (0..OWN_ADDRESSES).find(|slot| self.slots.values().all(|used| used != slot))
            else {
                continue;
            };
            self.fast_path.maps().own_ports().clear_slot(slot);
            self.slots.insert(*address, slot);
        }
        if self.slots != before {
            self.sink.share(self.slots.iter().map(|(address, slot)| (*address, *slot)).collect());
            engine.announce_ports();
        }
    }

    /// A steered prefix; a shared one by the place that its address has.
    fn steer4(&self, net: Ipv4Net, steer: Steer, plan: &FastPathPlan) -> Option<SteerPrefix4> {
        let own = match steer.own.checked_sub(1) {
            Some(index) => self.slots.get(plan.own.get(index as usize)?)? + 1,
            None => 0,
        };
        Some(SteerPrefix4 {
            prefix: net.network().octets(),
            mask: net.netmask().octets(),
            steer: Steer { own },
        })
    }

    /// Puts the tables of the stateless instances into the maps; gives the numbers of those that are not needed any more.
    fn fill_tables(&mut self, config: &Config, connected: &[IpNet], instances: &mut [Instance]) -> Vec<u32> {
        let everything = config.fast_path.ingress == model::Ingress::All;
        let mut former = std::mem::take(&mut self.tables);
        for (instance, told) in config.instances.iter().zip(instances) {
            let Kind::Siit(siit) = &instance.kind else { continue };
            if siit.eamt.is_empty() && siit.denylist4.is_empty() {
                continue;
            }
            let same = |table: &Table| {
                table.siit == **siit
                    && (!everything && !table.everything_at_ingress
                        || everything == table.everything_at_ingress && table.connected == connected)
            };
            let table = match former.remove(&instance.name) {
                Some(table) if same(&table) => table,
                changed => {
                    if let Some(changed) = changed {
                        former.insert(instance.name.clone(), changed);
                    }
                    let number = self.next_table;
                    self.next_table = self.next_table.wrapping_add(1).max(1);
                    Table {
                        number,
                        siit: siit.as_ref().clone(),
                        connected: connected.to_vec(),
                        everything_at_ingress: everything,
                    }
                    .filled(config, &self.fast_path, told)
                }
            };
            told.table = table.number;
            self.tables.insert(instance.name.clone(), table);
        }
        former.into_values().map(|table| table.number).collect()
    }
}

impl Table {
    /// Puts the entries into the maps. Where they do not fit the daemon keeps the instance to itself.
    fn filled(self, config: &Config, fast_path: &FastPath, told: &mut Instance) -> Self {
        let number = self.number;
        let filter = (told.filter4_len, told.filter6_len);
        let entries = eam_entries(config, &self.siit, &self.connected, number).flat_map(|(four, six)| {
            let from4 = Entry::From4 { prefix: four.0.prefix, len: four.0.len as u8, to: four.1 };
            let from6 = Entry::From6 { prefix: six.0.prefix, len: six.0.len as u8, to: six.1 };
            [from4, from6]
        });
        let denied = deny_entries(&self.siit, number)
            .map(|key| Entry::Deny4 { prefix: key.prefix, len: key.len as u8 });
        if let Err(error) = fast_path.maps().load_eam(number, filter, entries.chain(denied)) {
            tracing::warn!(
                "the kernel has no room for the EAM entries, so all packets of the instance go through the daemon \
                 (`xlat stop --flush` and another start make room): {}",
                with_causes(&error)
            );
            told.flags |= instance_flag::HAND_OVER;
        }
        self
    }
}

/// The host's addresses that pool4 shares.
fn shared(config: &Config, addresses: &HostAddresses) -> Vec<Ipv4Addr> {
    let connected = host::connected(addresses, &config.device.name);
    let host = host::own_addresses(addresses);
    FastPathPlan::of(config, &host, &connected, implicit(config, addresses)).own
}

/// The address that stands in for an empty pool4: the one that the host itself would use to go out.
pub(super) fn implicit(config: &Config, addresses: &HostAddresses) -> Option<Ipv4Addr> {
    let is_empty =
        |instance: &model::Instance| matches!(&instance.kind, Kind::Nat64(nat64) if nat64.pool4.is_empty());
    if !config.instances.iter().any(is_empty) {
        return None;
    }
    let by_route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok().and_then(|socket| {
        socket.connect(ELSEWHERE).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(address) if !address.is_unspecified() => Some(address),
            _other => None,
        }
    });
    // Without a default route, the first address that others can reach.
    by_route.or_else(|| {
        host::connected(addresses, &config.device.name).iter().find_map(|net| match net {
            IpNet::V4(net) if !net.addr().is_link_local() => Some(net.addr()),
            _other => None,
        })
    })
}

/// Makes programs and maps ready for a daemon with this configuration. False if they were.
pub(crate) fn prepare(config: &Config, bpffs: Option<&Path>) -> Result<bool, FastPathError> {
    fastpath::prepare(&Pins::find(bpffs)?, sizes(config))
}

/// The room that a configuration asks for.
fn sizes(config: &Config) -> Sizes {
    Sizes { max_flows: config.fast_path.max_flows, max_eam: eam_room(config) }
}

/// Room for EAM entries: a reload has the old and the new ones side by side.
fn eam_room(config: &Config) -> u32 {
    let entries: usize = config
        .instances
        .iter()
        .map(|instance| match &instance.kind {
            Kind::Siit(siit) => siit.eamt.len().max(siit.denylist4.len()),
            Kind::Nat64(_) => 0,
        })
        .sum();
    u32::try_from(entries * 2).unwrap_or(u32::MAX).max(EAM_ROOM)
}
