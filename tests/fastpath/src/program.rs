//! The committed object, loaded; its maps as the daemon would fill them; one packet through it.

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::Ebpf;
use aya::EbpfLoader;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{Program as Loaded, SchedClassifier, TestRun, TestRunOptions, Xdp};
use ipnet::Ipv4Net;
use xlat_config::{Config as Configuration, Kind};
use xlat_engine::{FastPathPlan, deny_entries, eam_entries};
use xlat_fastpath::config::{
    Config, Instance, Link, Steer, SteerPrefix4, SteerPrefix6, config_flag, host_bit4, host_bit6,
    instance_flag, link_flag,
};
use xlat_fastpath::count::{COUNT, Counter};
use xlat_fastpath::flow::{Key4, Key6, Session, To4, To6};
use xlat_fastpath::rewrite::{prefix4, prefix6};
use xlat_fastpath::stateless::{
    Eam4, Eam6, EamKey4, EamKey6, FILTER_WORDS, FILTER4_MAX, FILTER6_MAX, filter_bit4, filter_bit6,
};
use xlat_fastpath::{LAYOUT, maps, programs};
use xlat_linux::fastpath::checksum_run;
use xlat_translate::refused::HostAddresses;
use zerocopy::IntoBytes;

use crate::world::{OWN, ROUTER, World};

/// The committed object.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../crates/linux/bpf/xlat.bpf.o");

/// Which program a packet goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tc at an interface's ingress.
    Ingress,
    /// XDP.
    Xdp,
}

/// What the program said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The packet goes on to the host.
    Pass,
    /// The packet goes elsewhere; unchanged, that is to the daemon.
    Sent,
    /// Dropped.
    Drop,
}

/// The program in the kernel.
#[derive(Debug)]
pub struct Program {
    ebpf: Ebpf,
    world: World,
    config: Config,
    /// Keys of the flows that are in.
    flows: Vec<Session>,
    /// Number of the last stateless table.
    table: u32,
    /// The filter in front of the EAM entries.
    filter: Vec<u64>,
    out: Vec<u8>,
}

impl Program {
    /// Loads everything, in the namespace `world`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it; the verifier's log is in the message.
    pub fn load(world: World) -> Result<Self, String> {
        let mut loader = EbpfLoader::new();
        for map in [maps::FLOWS4, maps::FLOWS6, maps::EAM4, maps::EAM6, maps::DENY4] {
            loader.map_max_entries(map, 1 << 18);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| format!("{e:?}"))?;
        for (name, program) in ebpf.programs_mut() {
            match program {
                Loaded::SchedClassifier(program) => program.load(),
                Loaded::Xdp(program) => program.load(),
                _other => continue,
            }
            .map_err(|e| format!("{name}: {e:?}"))?;
        }
        let mut program = Self {
            ebpf,
            world,
            config: Config::default(),
            flows: Vec::new(),
            table: 0,
            filter: vec![0; FILTER_WORDS],
            out: vec![0; 1 << 16],
        };
        let link = Link {
            mac: OWN,
            flags: link_flag::KNOWN | link_flag::ETHERNET | link_flag::INGRESS | link_flag::XDP_TARGET,
            mtu: 1500,
        };
        program.set_link(program.world.interface, link)?;
        Ok(program)
    }

    /// The interface's properties.
    pub fn set_link(&mut self, interface: u32, link: Link) -> Result<(), String> {
        self.set(maps::LINKS, interface, words::<{ size_of::<Link>() }>(&link))
    }

    /// Brings a configuration into the maps; every packet is ours then.
    pub fn configure(&mut self, config: &Configuration, host: &HostAddresses) -> Result<(), String> {
        let plan = FastPathPlan::of(config, host, &[], None);
        for (index, instance) in plan.instances.iter().enumerate() {
            self.table += 1;
            let table = self.table;
            self.set_instance(index as u32, &Instance { table, ..*instance })?;
            let Some(Kind::Siit(siit)) = config.instances.get(index).map(|instance| &instance.kind) else {
                continue;
            };
            for ((key4, eam4), (key6, eam6)) in eam_entries(config, siit, &[], table) {
                self.filter((instance.filter4_len, instance.filter6_len), &key4, &key6);
                self.put(maps::EAM4, entry::<EamKey4, Eam4, 12, 24>(&key4, &eam4))?;
                self.put(maps::EAM6, entry::<EamKey6, Eam6, 24, 12>(&key6, &eam6))?;
            }
            for key in deny_entries(siit, table) {
                self.put(maps::DENY4, entry::<EamKey4, u32, 12, 4>(&key, &1))?;
            }
        }
        self.set_filter()?;
        for net in &plan.pool4 {
            self.pool4(*net)?;
        }
        let mut bits = [0u64; 1024];
        let own4 = host.own4().iter().map(|address| host_bit4(address.octets()));
        let own6 = host.global6().iter().map(|address| host_bit6(address.octets()));
        own4.chain(own6).for_each(|(word, bit)| bits[word] |= bit);
        self.set(maps::HOST, 0, words::<8192>(&bits))?;
        let has = |wanted: u32| {
            let mask = instance_flag::ENABLED | instance_flag::STATELESS;
            plan.instances
                .iter()
                .position(|instance| instance.flags & mask == wanted | instance_flag::ENABLED)
        };
        let (stateful, stateless) = (has(0), has(instance_flag::STATELESS));
        let mut config = Config {
            layout: LAYOUT,
            flags: config_flag::INGRESS | config_flag::POOL4_MAP,
            seed: 0x0123_4567_89ab_cdef,
            heartbeat: u32::MAX,
            outlive: u32::MAX,
            device: self.world.device,
            route_generation: self.config.route_generation + 1,
            instances: plan.instances.len() as u32,
            steer4_count: 1,
            steer6_count: 1,
            ..Config::default()
        };
        if stateful.is_some() {
            config.flags |= config_flag::STATEFUL;
        }
        if let Some(index) = stateless {
            config.flags |= config_flag::STATELESS;
            config.stateless = index as u32;
        }
        self.set_config(config)
    }

    /// The configuration as it was written last.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Writes the configuration.
    pub fn set_config(&mut self, config: Config) -> Result<(), String> {
        self.config = config;
        self.set(maps::CONFIG, 0, words::<{ size_of::<Config>() }>(&config))
    }

    /// Steers only these.
    pub fn steer(&mut self, steer4: &[SteerPrefix4], steer6: &[SteerPrefix6]) -> Result<(), String> {
        let mut config = self.config;
        config.steer4_count = steer4.len() as u32;
        config.steer6_count = steer6.len() as u32;
        config.steer4.iter_mut().zip(steer4).for_each(|(to, from)| *to = *from);
        config.steer6.iter_mut().zip(steer6).for_each(|(to, from)| *to = *from);
        self.set_config(config)
    }

    /// Says that a port of the host's address in `slot` has a BIB entry, or that none has.
    pub fn own_port(&mut self, slot: u32, protocol: u32, port: Option<u16>) -> Result<(), String> {
        let mut bits = [0u64; 1024];
        if let Some(port) = port {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        self.set(maps::OWN_PORTS, slot * 3 + protocol, words::<8192>(&bits))
    }

    /// Writes one instance.
    pub fn set_instance(&mut self, index: u32, instance: &Instance) -> Result<(), String> {
        self.set(maps::INSTANCES, index, words::<{ size_of::<Instance>() }>(instance))
    }

    /// Brings a flow in.
    pub fn promote(&mut self, session: &Session) -> Result<(), String> {
        self.flows.push(*session);
        self.put(maps::FLOWS4, entry::<Key4, To6, 16, 48>(&session.key4(), &session.to6(0)))?;
        self.put(maps::FLOWS6, entry::<Key6, To4, 40, 24>(&session.key6(), &session.to4(0)))
    }

    /// Takes all flows out.
    pub fn forget_flows(&mut self) -> Result<(), String> {
        for session in std::mem::take(&mut self.flows) {
            self.remove::<16, 48>(maps::FLOWS4, words(&session.key4()))?;
            self.remove::<40, 24>(maps::FLOWS6, words(&session.key6()))?;
        }
        Ok(())
    }

    /// Brings in what IPv4 packets become.
    pub fn promote4(&mut self, key: &Key4, to: &To6) -> Result<(), String> {
        self.put(maps::FLOWS4, entry::<Key4, To6, 16, 48>(key, to))
    }

    /// Brings in an EAM entry of the last table between two addresses; [`Self::set_filter`] is due then.
    pub fn add_eam(&mut self, four: [u8; 4], six: [u8; 16]) -> Result<(), String> {
        let table = self.table;
        let (key4, eam4) =
            (EamKey4 { table, len: 32, prefix: four }, Eam4 { prefix: six, len: 128, steer: 0 });
        let (key6, eam6) =
            (EamKey6 { table, len: 128, prefix: six }, Eam6 { prefix: four, len: 32, steer: 0 });
        self.filter((FILTER4_MAX, FILTER6_MAX), &key4, &key6);
        self.put(maps::EAM4, entry::<EamKey4, Eam4, 12, 24>(&key4, &eam4))?;
        self.put(maps::EAM6, entry::<EamKey6, Eam6, 24, 12>(&key6, &eam6))
    }

    /// Notes what an entry has in the filter, which looks at so many bits of addresses: [`Self::set_filter`] is due then.
    fn filter(&mut self, (len4, len6): (u32, u32), key4: &EamKey4, key6: &EamKey6) {
        let (high, low) = key6.prefix.split_at(8);
        let half = |half: &[u8]| half.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let halves = [half(high), half(low)].map(u64::to_le);
        let begin4 = prefix4(u32::from_ne_bytes(key4.prefix), len4);
        let begin6 = prefix6(halves, len6);
        for (word, mask) in [filter_bit4(key4.table, begin4), filter_bit6(key6.table, begin6)] {
            self.filter[word] |= mask;
        }
    }

    /// Brings the filter in.
    pub fn set_filter(&mut self) -> Result<(), String> {
        let mut bytes = [0; FILTER_WORDS * 8];
        bytes.copy_from_slice(self.filter.as_bytes());
        self.set(maps::EAM_FILTER, 0, bytes)
    }

    fn pool4(&mut self, net: Ipv4Net) -> Result<(), String> {
        let map = self.ebpf.map_mut(maps::POOL4).ok_or("no such map")?;
        let mut map = LpmTrie::<_, [u8; 4], u32>::try_from(map).map_err(|e| e.to_string())?;
        let key = Key::new(net.prefix_len().into(), net.network().octets());
        map.insert(&key, 1, 0).map_err(|e| e.to_string())
    }

    /// Sends an IP packet through one of the programs; gives what it said and the packet as it left it.
    pub fn run(&mut self, hook: Hook, packet: &[u8], mark: u32) -> Result<(Said, Vec<u8>), String> {
        let (value, frame, _cost) = self.repeat(hook, &frame(packet), mark, 1)?;
        let said = match (hook, value as i32) {
            (Hook::Ingress, -1) | (Hook::Xdp, 2) => Said::Pass,
            (Hook::Ingress, 7) | (Hook::Xdp, 3 | 4) => Said::Sent,
            (Hook::Ingress, 2) | (Hook::Xdp, 1) => Said::Drop,
            (_, other) => return Err(format!("{hook:?} answered {other}")),
        };
        Ok((said, frame))
    }

    /// Sends a frame through, `repeat` times (the packet is not restored in between); gives the answer, the frame and the
    /// time of one run.
    pub fn repeat(
        &mut self,
        hook: Hook,
        frame: &[u8],
        mark: u32,
        repeat: u32,
    ) -> Result<(u32, Vec<u8>, Duration), String> {
        let context = match hook {
            Hook::Ingress => skb_context(self.world.interface, mark),
            Hook::Xdp => xdp_context(self.world.interface, frame.len()),
        };
        self.out.resize(1 << 16, 0);
        let mut options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut self.out),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        if context.is_empty() {
            options.ctx_in = None;
        }
        let result = match hook {
            Hook::Ingress => {
                let program: &SchedClassifier = find(&self.ebpf, programs::INGRESS)?;
                program.test_run(options)
            }
            Hook::Xdp => {
                let program: &Xdp = find(&self.ebpf, programs::XDP)?;
                program.test_run(options)
            }
        }
        .map_err(|e| format!("{e:?}"))?;
        let len = (result.data_size_out as usize).min(self.out.len());
        Ok((result.return_value, self.out[..len].to_vec(), result.duration))
    }

    /// Sends an IP packet through tc with a sum over it, as some hardware gives it. Gives the program's answer; None if the kernel
    /// cannot do that. The error says that the sum did not follow the packet.
    pub fn run_with_sum(&mut self, packet: &[u8]) -> Result<Option<i32>, String> {
        let program: &SchedClassifier = find(&self.ebpf, programs::INGRESS)?;
        let fd = program.fd().map_err(|e| e.to_string())?;
        let context = skb_context(self.world.interface, 0);
        match checksum_run(fd.as_fd(), &frame(packet), &context) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// All counters that are not zero, by name.
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, String> {
        let map = self.ebpf.map(maps::COUNTERS).ok_or("no such map")?;
        let map = PerCpuArray::<_, u64>::try_from(map).map_err(|e| e.to_string())?;
        let mut named = Vec::new();
        for index in 0..COUNT {
            let sum = map.get(&index, 0).map_err(|e| e.to_string())?.iter().sum();
            if sum != 0 {
                named.push((Counter::ALL[index as usize].name(), sum));
            }
        }
        Ok(named)
    }

    fn set<const N: usize>(&mut self, map: &str, index: u32, value: [u8; N]) -> Result<(), String> {
        let map = self.ebpf.map_mut(map).ok_or("no such map")?;
        let mut map = Array::<_, [u8; N]>::try_from(map).map_err(|e| e.to_string())?;
        map.set(index, value, 0).map_err(|e| e.to_string())
    }

    fn remove<const K: usize, const V: usize>(&mut self, map: &str, key: [u8; K]) -> Result<(), String> {
        let map = self.ebpf.map_mut(map).ok_or("no such map")?;
        let mut map = HashMap::<_, [u8; K], [u8; V]>::try_from(map).map_err(|e| e.to_string())?;
        match map.remove(&key) {
            // The same flow may have been brought in twice.
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn put<const K: usize, const V: usize>(
        &mut self,
        map: &str,
        (key, value): ([u8; K], [u8; V]),
    ) -> Result<(), String> {
        let map: &mut Map = self.ebpf.map_mut(map).ok_or("no such map")?;
        let mut map: HashMap<&mut MapData, [u8; K], [u8; V]> =
            HashMap::try_from(map).map_err(|e| e.to_string())?;
        map.insert(key, value, 0).map_err(|e| e.to_string())
    }
}

/// An Ethernet frame for this station from the router.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&OWN[..], &ROUTER, &kind, packet].concat()
}

/// Steers exactly this address, whose own ports are in `slot` (counted from 1; 0: ours alone).
pub fn steer4(address: [u8; 4], own: u32) -> SteerPrefix4 {
    SteerPrefix4 { prefix: address, mask: [255; 4], steer: Steer { own } }
}

fn find<'a, T>(ebpf: &'a Ebpf, name: &str) -> Result<T, String>
where
    T: TryFrom<&'a Loaded>,
{
    ebpf.program(name).and_then(|program| program.try_into().ok()).ok_or_else(|| format!("no program {name}"))
}

/// `struct __sk_buff` with interface and mark.
fn skb_context(interface: u32, mark: u32) -> Vec<u8> {
    let mut context = vec![0; 192];
    context[8..12].copy_from_slice(&mark.to_ne_bytes());
    context[40..44].copy_from_slice(&interface.to_ne_bytes());
    context
}

/// `struct xdp_md` with interface and length.
fn xdp_context(interface: u32, len: usize) -> Vec<u8> {
    let mut context = vec![0; 24];
    context[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&interface.to_ne_bytes());
    context
}

fn words<const N: usize>(value: &(impl IntoBytes + zerocopy::Immutable + ?Sized)) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}

fn entry<K, V, const KEY: usize, const VALUE: usize>(key: &K, value: &V) -> ([u8; KEY], [u8; VALUE])
where
    K: IntoBytes + zerocopy::Immutable,
    V: IntoBytes + zerocopy::Immutable,
{
    (words(key), words(value))
}
