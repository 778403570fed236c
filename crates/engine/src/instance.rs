//! An instance: one translator's configuration, compiled, and the state that survives a change of it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use xlat_config as model;
use xlat_nat64::{
    Limits, Policy as StatePolicy, PolicyConfig, PolicyError, Pool4Entry, Promotion, Protocol, Reassembly,
    ReassemblyLimits, StaticEntry, Tables, Transport4, Transport6,
};
use xlat_translate::eam::{EamEntry, Eamt};
use xlat_translate::policy::{Hops, Policy, ZeroChecksum};
use xlat_translate::prefix_map::PrefixMap;
use xlat_translate::rfc6052::Pool6;
use xlat_translate::rfc6791::{Source4, Source6};
use xlat_translate::siit::{HairpinMode, SiitTables};

use crate::engine::{ConfigError, EngineOptions};
use crate::flows::{self, Flows};
use crate::ledger::Ledger;
use crate::limiter::Rate;
use crate::origin::Origin;
use crate::peers::Peers;

/// One translator.
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Its position in the configuration.
    pub(crate) place: usize,
    /// Its counters.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) enabled: bool,
    pub(crate) error_rate: Rate,
    pub(crate) rewrites: Rewrites,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Siit(Box<SiitTables>),
    Nat64(Box<Nat64>),
}

/// A stateful translator.
pub(crate) struct Nat64 {
    pub(crate) pool6: Pool6,
    pub(crate) policy: StatePolicy,
    pub(crate) tables: Arc<Tables>,
    pub(crate) reassembly: Arc<Reassembly>,
    fragment_limits: ReassemblyLimits,
    /// Who repeats its flows.
    pub(crate) flows: Option<Flows>,
    /// Who hears of its sessions.
    pub(crate) peers: Option<Peers>,
    pub(crate) drop_icmpv6_info: bool,
    pub(crate) source_icmpv6_errors_better: bool,
    pub(crate) log_bib: bool,
    pub(crate) log_sessions: bool,
}

/// The rules for rewriting a packet, by the way it takes.
#[derive(Clone, Debug)]
pub(crate) struct Rewrites {
    /// Of a packet that the host has forwarded to the device.
    forwarded: Way,
    /// Of one that this host itself sent: its kernel has not taken a hop yet.
    local: Way,
    /// Of one that was taken up at an interface's ingress.
    ingress: Way,
    /// IPv4 to IPv6 of a packet that was turned back: its hop has been taken.
    pub(crate) hairpin_second: Policy,
}

/// What rules there are for one origin.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// In on one side, out on the other.
    pub(crate) through: Policy,
    /// IPv6 to IPv4 of a packet that does not leave as IPv4: no IPv4 MTU counts.
    pub(crate) hairpin_first: Policy,
}

impl Instance {
    /// Compiles `config`, which is at place `index` of the configuration, taking over the state of `previous`, the instance
    /// of the same name so far. `implicit` stands in for an empty pool4.
    pub(crate) fn new(
        config: &model::Instance,
        index: usize,
        previous: Option<&Self>,
        implicit: Option<Ipv4Addr>,
        options: &EngineOptions,
    ) -> Result<Self, ConfigError> {
        let ledger = previous.map(|previous| Arc::clone(&previous.ledger)).unwrap_or_default();
        let (kind, zero_checksum) = match &config.kind {
            model::Kind::Siit(siit) => {
                let amend = siit.global.amend_udp_checksum_zero;
                let zero = if amend { ZeroChecksum::Compute } else { ZeroChecksum::Refuse };
                (Kind::Siit(Box::new(siit_tables(config, siit, options)?)), zero)
            }
            model::Kind::Nat64(nat64) => {
                let previous = previous.and_then(|instance| match &instance.kind {
                    Kind::Nat64(nat64) => Some(nat64.as_ref()),
                    Kind::Siit(_) => None,
                });
                let nat64 = Nat64::new(config, nat64, index, previous, implicit, options)?;
                (Kind::Nat64(Box::new(nat64)), ZeroChecksum::Compute)
            }
        };
        Ok(Self {
            name: config.name.clone(),
            place: index,
            ledger,
            enabled: config.global.manually_enabled,
            error_rate: Rate {
                per_second: config.limits.icmp_error_rate,
                burst: config.limits.icmp_error_burst,
            },
            rewrites: Rewrites::new(&config.global, zero_checksum, options),
            kind,
        })
    }

    /// The same with another address that stands in for an empty pool4; `None` if nothing changes by that.
    pub(crate) fn with_implicit(&self, implicit: Option<Ipv4Addr>) -> Result<Option<Self>, ConfigError> {
        let Some(nat64) = self.nat64() else { return Ok(None) };
        let state = nat64.policy.config();
        if !state.pool4.is_empty() || state.implicit == implicit {
            return Ok(None);
        }
        let refuse =
            |error: PolicyError| ConfigError { instance: self.name.clone(), what: error.to_string() };
        let state = PolicyConfig { implicit, ..state.clone() };
        let policy = StatePolicy::new(state, Some(&nat64.policy)).map_err(refuse)?;
        Ok(Some(Self {
            name: self.name.clone(),
            place: self.place,
            ledger: Arc::clone(&self.ledger),
            enabled: self.enabled,
            error_rate: self.error_rate,
            rewrites: self.rewrites.clone(),
            kind: Kind::Nat64(Box::new(Nat64 {
                policy,
                pool6: nat64.pool6,
                tables: Arc::clone(&nat64.tables),
                reassembly: Arc::clone(&nat64.reassembly),
                fragment_limits: nat64.fragment_limits,
                flows: nat64.flows.clone(),
                peers: nat64.peers.clone(),
                drop_icmpv6_info: nat64.drop_icmpv6_info,
                source_icmpv6_errors_better: nat64.source_icmpv6_errors_better,
                log_bib: nat64.log_bib,
                log_sessions: nat64.log_sessions,
            })),
        }))
    }

    pub(crate) fn translator(&self) -> model::Translator {
        match &self.kind {
            Kind::Nat64(_) => model::Translator::Nat64,
            Kind::Siit(_) => model::Translator::Siit,
        }
    }

    pub(crate) fn nat64(&self) -> Option<&Nat64> {
        match &self.kind {
            Kind::Nat64(nat64) => Some(nat64),
            Kind::Siit(_) => None,
        }
    }
}

impl Rewrites {
    fn new(global: &model::Global, zero_checksum: ZeroChecksum, options: &EngineOptions) -> Self {
        let normal = Policy {
            mtu4: options.mtu4,
            mtu6: options.mtu6,
            lowest_ipv6_mtu: global.lowest_ipv6_mtu,
            zeroize_traffic_class: global.zeroize_traffic_class,
            tos: global.override_tos.then_some(global.tos),
            plateaus: global.mtu_plateaus.clone(),
            zero_checksum,
            hops: options.hops,
        };
        let (local, ingress) = match options.hops {
            Hops::Restore => (Hops::Keep, Hops::TakenBehind),
            other => (other, other),
        };
        let way = |hops| Way {
            through: Policy { hops, ..normal.clone() },
            hairpin_first: Policy { hops, mtu4: u32::MAX, ..normal.clone() },
        };
        Self {
            forwarded: way(options.hops),
            local: way(local),
            ingress: way(ingress),
            hairpin_second: Policy { hops: Hops::Keep, ..normal.clone() },
        }
    }

    /// The rules for a packet; `own`: its source is an address of this host.
    pub(crate) fn way(&self, origin: Origin, own: bool) -> &Way {
        match (origin.ingress, own) {
            (true, _) => &self.ingress,
            (false, true) => &self.local,
            (false, false) => &self.forwarded,
        }
    }
}

impl Nat64 {
    fn new(
        config: &model::Instance,
        nat64: &model::Nat64,
        index: usize,
        previous: Option<&Self>,
        implicit: Option<Ipv4Addr>,
        options: &EngineOptions,
    ) -> Result<Self, ConfigError> {
        let refuse = |what: String| ConfigError { instance: config.name.clone(), what };
        let pool6 = Pool6::new(nat64.pool6).map_err(|error| refuse(error.to_string()))?;
        // A mapping is worth nothing under another pool6: the servers are other ones then.
        let previous = previous.filter(|previous| previous.pool6 == pool6);
        let instance = u32::try_from(index).unwrap_or(u32::MAX);
        let flows = options.flows.clone().map(|sink| Flows { sink, instance });
        let sink = options.peers.clone().filter(|_| nat64.global.ss_enabled);
        let peers = sink.map(|sink| Peers { sink, instance: config.name.as_str().into() });
        let mut state = state_config(config, nat64);
        state.implicit = implicit.filter(|_| nat64.pool4.is_empty());
        let sees_all = !config.global.manually_enabled || config.global.logging_debug;
        state.promotion = flows::promotion(flows.as_ref(), sees_all, nat64.global.drop_icmpv6_info);
        let policy = StatePolicy::new(state, previous.map(|previous| &previous.policy))
            .map_err(|error| refuse(error.to_string()))?;
        let limits = ReassemblyLimits {
            datagrams: config.limits.max_fragmented_datagrams as usize,
            bytes: config.limits.max_fragment_bytes as usize,
            ..ReassemblyLimits::default()
        };
        let secret = options.secret_for(&config.name);
        let tables = match previous {
            Some(previous) => Arc::clone(&previous.tables),
            None => Arc::new(Tables::new(options.shards, secret)),
        };
        // Under other limits the fragments of a few seconds are forgotten.
        let reassembly = match previous.filter(|previous| previous.fragment_limits == limits) {
            Some(previous) => Arc::clone(&previous.reassembly),
            None => Arc::new(Reassembly::new(limits, secret)),
        };
        Ok(Self {
            pool6,
            policy,
            tables,
            reassembly,
            fragment_limits: limits,
            flows,
            peers,
            drop_icmpv6_info: nat64.global.drop_icmpv6_info,
            source_icmpv6_errors_better: nat64.global.source_icmpv6_errors_better,
            log_bib: nat64.global.logging_bib,
            log_sessions: nat64.global.logging_session,
        })
    }
}

fn state_config(config: &model::Instance, nat64: &model::Nat64) -> PolicyConfig {
    let global = &nat64.global;
    let limits = &config.limits;
    let some = |limit: u32| (limit != 0).then_some(limit);
    let all = |limit: u32| if limit == 0 { u64::MAX } else { limit.into() };
    PolicyConfig {
        pool4: nat64
            .pool4
            .iter()
            .map(|entry| Pool4Entry {
                protocol: protocol(entry.protocol),
                prefix: entry.prefix,
                first_port: *entry.ports.start(),
                last_port: *entry.ports.end(),
                mark: entry.mark,
                max_iterations: match entry.max_iterations {
                    model::MaxIterations::Count(count) => Some(count),
                    model::MaxIterations::Auto | model::MaxIterations::Infinity => None,
                },
            })
            .collect(),
        // Whoever knows the host's addresses says so.
        implicit: None,
        static_bib: nat64
            .bib
            .iter()
            .map(|entry| StaticEntry {
                protocol: protocol(entry.protocol),
                client: Transport6 { addr: entry.ipv6.0, port: entry.ipv6.1 },
                mask: Transport4 { addr: entry.ipv4.0, port: entry.ipv4.1 },
            })
            .collect(),
        address_dependent_filtering: global.address_dependent_filtering,
        drop_externally_initiated_tcp: global.drop_externally_initiated_tcp,
        f_args: global.f_args,
        handle_rst_during_fin_rcv: global.handle_rst_during_fin_rcv,
        tcp_est_timeout: global.tcp_est_timeout,
        tcp_trans_timeout: global.tcp_trans_timeout,
        udp_timeout: global.udp_timeout,
        icmp_timeout: global.icmp_timeout,
        maximum_simultaneous_opens: global.maximum_simultaneous_opens,
        limits: Limits {
            max_sessions: all(limits.max_sessions),
            max_bib: all(limits.max_bib_entries),
            source_sessions: some(limits.max_sessions_per_source),
            source_bib: some(limits.max_bib_entries_per_source),
            prefix_sessions: some(limits.max_sessions_per_prefix),
            prefix_bib: some(limits.max_bib_entries_per_prefix),
            prefix_length: limits.source_prefix_length,
        },
        promotion: Promotion::default(),
        announce: global.ss_enabled,
    }
}

fn protocol(protocol: model::Protocol) -> Protocol {
    match protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
        model::Protocol::Icmp => Protocol::Icmp,
    }
}

fn siit_tables(
    config: &model::Instance,
    siit: &model::Siit,
    options: &EngineOptions,
) -> Result<SiitTables, ConfigError> {
    let refuse = |what: String| ConfigError { instance: config.name.clone(), what };
    let pool6 = siit.pool6.map(Pool6::new).transpose().map_err(|error| refuse(error.to_string()))?;
    let seed = options.seed();
    let mut eamt = Eamt::new(seed);
    for entry in &siit.eamt {
        eamt.insert(EamEntry { v6: entry.ipv6, v4: entry.ipv4 })
            .map_err(|error| refuse(error.to_string()))?;
    }
    let mut denylist4 = PrefixMap::new(seed);
    for prefix in &siit.denylist4 {
        // A prefix listed twice is listed.
        let _is_new = denylist4.insert(prefix.network(), prefix.prefix_len(), ());
    }
    let global = &siit.global;
    Ok(SiitTables {
        pool6,
        eamt,
        denylist4,
        hairpin: match (global.eam_hairpin_mode, options.hops) {
            (model::EamHairpinMode::Off, _) => HairpinMode::Off,
            // On the routed path no IPv4 packet of ours comes back to us, which the simple way relies on (RFC 7757 4.2.1);
            // the other way gives both nodes the same packets.
            (model::EamHairpinMode::Simple, Hops::Decrement | Hops::Keep | Hops::TakenBehind) => {
                HairpinMode::Simple
            }
            (model::EamHairpinMode::Simple, Hops::Restore) | (model::EamHairpinMode::Intrinsic, _) => {
                HairpinMode::Intrinsic
            }
        },
        error_source4: match global.rfc6791v4_prefix {
            Some(prefix) if global.randomize_rfc6791_addresses => Source4::Random(prefix),
            Some(prefix) => Source4::ByHopLimit(prefix),
            None if global.rfc6791v4_dummy => Source4::Dummy,
            None => Source4::Host,
        },
        error_source6: global.rfc6791v6_prefix.map_or(Source6::Host, Source6::Random),
    })
}
