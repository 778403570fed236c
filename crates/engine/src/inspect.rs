//! What the control plane reads of a running engine: the tables of one instance, in steps and without stopping a worker, and
//! how single addresses are translated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_config::Translator;
use xlat_nat64::{BibInfo, Cursor, Gauges, Protocol, SessionInfo};
use xlat_translate::refused::HostAddresses;
use xlat_translate::siit::SiitTables;

use crate::counters::Statistics;
use crate::engine::Engine;
use crate::instance::{Instance, Kind};
use crate::looks::{Found, Look, Looks};

/// Entries that a step is given room for: it never has more.
const MOST: usize = Cursor::STEP;

/// One instance as it is at the moment; a later change of the configuration makes another one.
#[derive(Clone)]
pub struct View {
    instance: Arc<Instance>,
    host: HostAddresses,
    looks: Arc<Looks>,
}

/// How an address is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The result.
    pub address: IpAddr,
    /// What gave it.
    pub by: Scheme,
}

/// The two ways to translate an address without state (RFC 7915 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// An Explicit Address Mapping.
    Eam(Ipv6Net, Ipv4Net),
    /// The RFC 6052 prefix of the instance.
    Pool6,
}

/// Why an address has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untranslated {
    /// `::1`.
    Loopback,
    /// Neither mapping nor pool6.
    NoMapping,
    /// Only pool6 covers it, and denylist4 forbids that.
    Denylisted,
    /// Never forwarded, or an address of this host.
    Refused,
    /// The instance is stateful: its translation depends on the packet.
    Stateful,
}

impl Engine {
    /// The instance of this kind and name.
    pub fn view(&self, kind: Translator, name: &str) -> Option<View> {
        let generation = self.current();
        let generation = generation.load();
        let instance = generation.find(kind, name)?;
        Some(View {
            instance: Arc::clone(instance),
            host: generation.host.clone(),
            looks: Arc::clone(self.looks()),
        })
    }
}

impl View {
    /// Appends at most `count` BIB entries to `out`, as [`xlat_nat64::Tables::bib_entries`] does; a stateless instance has none.
    /// A worker does it: not to be called by one.
    pub fn bib_entries(&self, from: Cursor, count: usize, out: &mut Vec<BibInfo>) -> Option<Cursor> {
        self.instance.nat64()?;
        out.reserve(count.min(MOST));
        let look = self.look(from, count, Found::Bib(std::mem::take(out)))?;
        if let Found::Bib(found) = look.found {
            *out = found;
        }
        look.at
    }

    /// The same with sessions.
    pub fn sessions(&self, from: Cursor, count: usize, out: &mut Vec<SessionInfo>) -> Option<Cursor> {
        self.instance.nat64()?;
        out.reserve(count.min(MOST));
        let look = self.look(from, count, Found::Sessions(std::mem::take(out)))?;
        if let Found::Sessions(found) = look.found {
            *out = found;
        }
        look.at
    }

    fn look(&self, from: Cursor, count: usize, found: Found) -> Option<Look> {
        self.looks.ask(Look { instance: Arc::clone(&self.instance), count, found, at: Some(from) })
    }

    /// A number that stays as long as the instance keeps its state; `None` if it is stateless.
    pub fn identity(&self) -> Option<u64> {
        self.instance.nat64().map(|nat64| nat64.tables.number())
    }

    /// What the workers counted for the instance: what it took or refused, and what no instance wanted where it comes first.
    pub fn statistics(&self) -> Statistics {
        self.instance.ledger.own()
    }

    /// Counts from zero again. The sum over the daemon goes on.
    pub fn restart_statistics(&self) {
        self.instance.ledger.restart();
    }

    /// Counts on from what an earlier run has counted for the instance.
    pub fn add_statistics(&self, earlier: &Statistics) {
        self.instance.ledger.add(earlier);
    }

    /// The tables in numbers; `None` if the instance is stateless.
    pub fn gauges(&self) -> Option<Gauges> {
        self.instance.nat64().map(|nat64| nat64.tables.gauges())
    }

    /// Each pool4 address for a protocol, with how many of its transport addresses are in use, and how many there are.
    pub fn pool4_usage(&self, protocol: Protocol) -> Vec<(Ipv4Addr, u32, u32)> {
        self.instance.nat64().map_or_else(Vec::new, |nat64| nat64.policy.pool4_usage(protocol).collect())
    }

    /// Bytes allocated for the port maps of pool4.
    pub fn pool4_memory(&self) -> usize {
        self.instance.nat64().map_or(0, |nat64| nat64.policy.memory())
    }

    /// An IPv4 node as the IPv6 clients of a stateful instance see it.
    pub fn embed(&self, node: Ipv4Addr) -> Option<Ipv6Addr> {
        self.instance.nat64().map(|nat64| nat64.pool6.embed(node))
    }

    /// The translation of one address by a stateless instance, as for the destination of a packet.
    pub fn translate(&self, address: IpAddr) -> Result<Translated, Untranslated> {
        let Kind::Siit(tables) = &self.instance.kind else { return Err(Untranslated::Stateful) };
        match address {
            IpAddr::V6(address) => six_to_four(tables, &self.host, address),
            IpAddr::V4(address) => four_to_six(tables, &self.host, address),
        }
    }
}

fn six_to_four(
    tables: &SiitTables,
    host: &HostAddresses,
    address: Ipv6Addr,
) -> Result<Translated, Untranslated> {
    if address.is_loopback() {
        return Err(Untranslated::Loopback);
    }
    let (mapped, by) = match (tables.eamt.to_v4(address), tables.eamt.entry_of_v6(address)) {
        (Some(mapped), Some(entry)) => (mapped, Scheme::Eam(entry.v6, entry.v4)),
        _no_entry => {
            let pool6 = tables.pool6.as_ref().ok_or(Untranslated::NoMapping)?;
            let mapped = pool6.extract(address).ok_or(Untranslated::NoMapping)?;
            if tables.denylist4.covers(mapped) {
                return Err(Untranslated::Denylisted);
            }
            (mapped, Scheme::Pool6)
        }
    };
    if host.refuses(mapped) {
        return Err(Untranslated::Refused);
    }
    Ok(Translated { address: mapped.into(), by })
}

fn four_to_six(
    tables: &SiitTables,
    host: &HostAddresses,
    address: Ipv4Addr,
) -> Result<Translated, Untranslated> {
    if host.refuses(address) {
        return Err(Untranslated::Refused);
    }
    if let (Some(mapped), Some(entry)) = (tables.eamt.to_v6(address), tables.eamt.entry_of_v4(address)) {
        return Ok(Translated { address: mapped.into(), by: Scheme::Eam(entry.v6, entry.v4) });
    }
    if tables.denylist4.covers(address) {
        return Err(Untranslated::Denylisted);
    }
    let pool6 = tables.pool6.as_ref().ok_or(Untranslated::NoMapping)?;
    Ok(Translated { address: pool6.embed(address).into(), by: Scheme::Pool6 })
}
