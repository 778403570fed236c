//! Setting up the host by netlink and /proc/sys, and taking it back: the device, routes to it, rules against
//! loops, forwarding, proxied neighbours.
//!
//! Everything here is asynchronous and runs on a tokio runtime of the thread that may change the network
//! (`CAP_NET_ADMIN`); its network namespace is that of the thread when [`Host::apply`] is called.

mod change;
mod journal;
mod owner;
mod plan;
pub(crate) mod raw;
mod route_mtus;
mod rules;
pub mod sysctl;
pub(crate) mod tun_state;
pub mod watch;
mod ways;
pub use ways::RouteChanges;
pub mod xdp_features;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use tokio::task::JoinHandle;

pub use change::ROUTE_PROTOCOL;
use change::{Change, Family, forwarding, our_routes, proxy_of, route_of};
use journal::Journal;
pub use owner::{Owner, owner};
pub use plan::{DEVICE_GROUP, HostPlan, MAX_PROXIED, SetupError, Warning};
pub use route_mtus::route_mtus4;
pub use rules::{RoutedBy, routed_by};
use watch::{HostAddresses, collect, snapshot_by};

/// A host that is set up. [`Host::restore`] takes it back; without that, or after [`Host::leave`], the journal stays, and
/// the next [`Host::apply`] for the same device takes it back or over.
#[derive(Debug)]
pub struct Host {
    handle: Handle,
    connection: JoinHandle<()>,
    journal: Journal,
    plan: HostPlan,
    warnings: Vec<Warning>,
}

impl Host {
    /// Sets the host up as `plan` says, after taking back what a process that is gone left behind for this
    /// device, or starting from that ([`HostPlan::adopt`]). On an error, what was changed is taken back.
    pub async fn apply(plan: HostPlan) -> Result<Self, SetupError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(SetupError::Netlink)?;
        let journal_error = |source| SetupError::Journal(plan.journal_directory.clone(), source);
        let mut journal = Journal::new(&plan.journal_directory, &plan.device).map_err(journal_error)?;
        let connection = tokio::spawn(connection);
        if let Some(stale) = journal.stored().map_err(journal_error)? {
            if stale.is_live() && stale.pid != std::process::id() {
                let journal = journal.path().to_owned();
                return Err(SetupError::InUse { device: plan.device, pid: stale.pid, journal });
            }
            if plan.adopt {
                tracing::info!(pid = stale.pid, "taking over what an earlier process left");
                journal.adopt(stale).map_err(journal_error)?;
            } else {
                tracing::info!(pid = stale.pid, "taking back what an earlier process left behind");
                undo_all(&handle, &stale.changes, &journal).await;
                journal.clear().map_err(journal_error)?;
            }
        }
        let mut host = Self { handle, connection, journal, plan, warnings: Vec::new() };
        match host.build().await {
            Ok(()) => Ok(host),
            Err(error) => {
                host.restore().await;
                Err(error)
            }
        }
    }

    /// Changes to another plan for the same device (its name, the journal directory and the loop rules stay): what is new
    /// is added, what is no longer wanted is taken back, the rest is not touched. On an error the host has a part of
    /// both plans; going back to the former is another call.
    pub async fn update(&mut self, plan: HostPlan) -> Result<(), SetupError> {
        let (device, journal_directory) = (self.plan.device.clone(), self.plan.journal_directory.clone());
        self.plan = HostPlan { device, journal_directory, loop_rules: self.plan.loop_rules, ..plan };
        // Once made they stay until the end.
        let lasting = self.lasting();
        self.make(lasting).await?;
        self.refresh().await
    }

    /// Adapts routes and proxied neighbours to the interfaces and addresses that there are now. To be called
    /// when a [`watch::Watcher`] tells of a change.
    pub async fn refresh(&mut self) -> Result<(), SetupError> {
        self.warnings.retain(|warning| {
            matches!(warning, Warning::AdvertisementsIgnored(_) | Warning::StrictReversePath)
        });
        let addresses = self.addresses().await?;
        let wanted = self.wanted(&addresses).await?;
        let obsolete: Vec<Change> = self
            .journal
            .changes()
            .iter()
            .filter(|change| depends_on_addresses(change) && !wanted.contains(change))
            .cloned()
            .collect();
        self.unmake(&obsolete).await?;
        self.make(wanted).await
    }

    /// What deserves a look; renewed by [`Host::update`] and [`Host::refresh`].
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The plan that holds.
    pub fn plan(&self) -> &HostPlan {
        &self.plan
    }

    /// Takes everything back. What cannot be taken back is logged; the journal goes all the same.
    pub async fn restore(mut self) {
        undo_all(&self.handle, self.journal.changes(), &self.journal).await;
        if let Err(error) = self.journal.clear() {
            tracing::warn!(%error, journal = %self.journal.path().display(), "cannot remove the journal");
        }
        self.connection.abort();
    }

    /// Leaves everything as it is: for the program in the kernel, which goes on, and for the next one to take over.
    pub fn leave(mut self) {
        if let Err(error) = self.journal.leave() {
            tracing::warn!(%error, journal = %self.journal.path().display(), "cannot mark the journal");
        }
        self.connection.abort();
    }

    async fn build(&mut self) -> Result<(), SetupError> {
        let addresses = self.addresses().await?;
        self.prepare_device(&addresses).await?;
        let changes = self.lasting();
        let is_obsolete = |change: &&Change| !depends_on_addresses(change) && !changes.contains(change);
        let obsolete: Vec<Change> = self.journal.changes().iter().filter(is_obsolete).cloned().collect();
        self.unmake(&obsolete).await?;
        self.make(changes).await?;
        self.refresh().await
    }

    async fn addresses(&self) -> Result<HostAddresses, SetupError> {
        let step = "read the host's addresses";
        snapshot_by(&self.handle).await.map_err(|source| SetupError::Request { step: step.into(), source })
    }

    /// Settings of the device itself, which go with it: they need no journal.
    async fn prepare_device(&mut self, addresses: &HostAddresses) -> Result<(), SetupError> {
        let plan = &self.plan;
        let missing = || SetupError::NoInterface(plan.device.clone());
        let index = addresses.interface(&plan.device).ok_or_else(missing)?.index;
        let strict = sysctl::read("ipv4/conf/all/rp_filter").is_ok_and(|value| value == "1");
        // The larger of the device's and all's value counts; 2 is the loose mode.
        let reverse_path = if strict { "2" } else { "0" };
        let settings = [
            ("ipv4", "accept_local", "1"),
            ("ipv4", "rp_filter", reverse_path),
            ("ipv6", "disable_ipv6", "0"),
            // No link-local address: nobody on the device is there to talk to.
            ("ipv6", "addr_gen_mode", "1"),
            ("ipv6", "accept_ra", "0"),
        ];
        for (family, setting, value) in settings {
            set_sysctl(&format!("{family}/conf/{}/{setting}", plan.device), value)?;
        }
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index)
            .mtu(plan.mtu)
            .txqueuelen(plan.queue_length)
            .link_group(DEVICE_GROUP)
            .up()
            .build();
        let done = change::to_io(self.handle.link().set(message).execute().await);
        let step = || format!("set up the device {}", plan.device);
        done.map_err(|source| SetupError::Request { step: step(), source })?;
        if strict {
            self.warnings.push(Warning::StrictReversePath);
        }
        Ok(())
    }

    /// What does not depend on interfaces and addresses.
    fn lasting(&mut self) -> Vec<Change> {
        let mut changes = self.forwarding();
        let device = &self.plan.device;
        if self.plan.loop_rules {
            changes.extend(Family::BOTH.map(|family| Change::Rules { family, device: device.clone() }));
        }
        changes
    }

    /// What turns forwarding on, if the plan wants it.
    fn forwarding(&mut self) -> Vec<Change> {
        if !self.plan.forwarding {
            return Vec::new();
        }
        Family::BOTH.into_iter().filter_map(|family| self.turn_forwarding_on(family)).collect()
    }

    /// The change that turns forwarding on, if it is off or another instance turned it on.
    fn turn_forwarding_on(&mut self, family: Family) -> Option<Change> {
        let of_family =
            |change: &Change| matches!(change, Change::Forwarding { family: of, .. } if *of == family);
        if let Some(adopted) = self.journal.changes().iter().find(|change| of_family(change)) {
            return Some(adopted.clone());
        }
        let before = sysctl::read(&forwarding(family, "all")).ok()?;
        if before == "1" {
            // Whoever ends last of those who need it takes it back.
            return self.journal.others().into_iter().flat_map(|other| other.changes).find(of_family);
        }
        let names = sysctl::interfaces(family.name()).unwrap_or_default();
        let value = |name: &str| sysctl::read(&forwarding(family, name)).ok();
        let interfaces: Vec<(String, String)> = names
            .iter()
            .map(String::as_str)
            .chain(["default"])
            .filter(|name| *name != self.plan.device)
            .filter_map(|name| Some((name.to_owned(), value(name)?)))
            .collect();
        if family == Family::Ipv6 {
            let listens = |name: &&String| {
                **name != self.plan.device
                    && *name != "lo"
                    && sysctl::read(&format!("ipv6/conf/{name}/accept_ra")).is_ok_and(|value| value == "1")
            };
            let listening: Vec<String> = names.iter().filter(listens).cloned().collect();
            if !listening.is_empty() {
                self.warnings.push(Warning::AdvertisementsIgnored(listening));
            }
        }
        Some(Change::Forwarding { family, before, interfaces })
    }

    /// All changes that depend on the interfaces and addresses there are.
    async fn wanted(&mut self, addresses: &HostAddresses) -> Result<Vec<Change>, SetupError> {
        let missing = |name: &str| SetupError::NoInterface(name.to_owned());
        let device = self.plan.device.clone();
        let index = addresses.interface(&device).ok_or_else(|| missing(&device))?.index;
        let routes = self.plan.routes.iter().map(IpNet::trunc);
        let mut wanted: Vec<Change> =
            routes.map(|prefix| Change::Route { prefix, device: device.clone(), index }).collect();
        let mut interfaces: HashSet<(bool, String)> = HashSet::new();
        let mut proxies = Vec::new();
        for address in self.proxied_addresses() {
            if addresses.is_own(address) {
                self.warnings.push(Warning::OwnAddress(address));
                continue;
            }
            let on = match &self.plan.proxy_interface {
                Some(name) => vec![addresses.interface(name).ok_or_else(|| missing(name))?],
                None => addresses.connected(address),
            };
            if on.iter().all(|interface| interface.name == device) {
                self.warnings.push(Warning::NotConnected(address));
            }
            for interface in on.into_iter().filter(|interface| interface.name != device) {
                interfaces.insert((address.is_ipv6(), interface.name.clone()));
                let (name, index) = (interface.name.clone(), interface.index);
                proxies.push(Change::Proxy { address, interface: name, index });
            }
        }
        let mut interfaces: Vec<_> = interfaces.into_iter().collect();
        interfaces.sort_unstable();
        for (is_v6, name) in interfaces {
            wanted.extend(self.proxy_settings(is_v6, &name));
        }
        wanted.extend(proxies);
        Ok(wanted)
    }

    fn proxied_addresses(&mut self) -> Vec<IpAddr> {
        let v4 = self.plan.proxied4.iter().map(|prefix| IpNet::V4(*prefix));
        let v6 = self.plan.proxied6.iter().map(|prefix| IpNet::V6(*prefix));
        let mut all = Vec::new();
        for prefix in v4.chain(v6) {
            let bits = u32::from(prefix.max_prefix_len() - prefix.prefix_len());
            let count = 1usize.checked_shl(bits).unwrap_or(usize::MAX);
            if count > MAX_PROXIED - all.len() {
                self.warnings.push(Warning::TooManyProxied(prefix));
                continue;
            }
            match prefix {
                IpNet::V4(prefix) => {
                    let first = prefix.network().to_bits();
                    all.extend((0..count as u32).map(|n| IpAddr::V4((first + n).into())));
                }
                IpNet::V6(prefix) => {
                    let first = prefix.network().to_bits();
                    all.extend((0..count as u128).map(|n| IpAddr::V6((first + n).into())));
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Settings that answering on `interface` needs: Linux looks at proxied neighbours for ND only if told to,
    /// and waits up to 0.8 s before it answers.
    fn proxy_settings(&self, is_v6: bool, interface: &str) -> Vec<Change> {
        let mut names =
            vec![(format!("{}/neigh/{interface}/proxy_delay", if is_v6 { "ipv6" } else { "ipv4" }), "0")];
        if is_v6 {
            names.push((format!("ipv6/conf/{interface}/proxy_ndp"), "1"));
        }
        names.into_iter().filter_map(|(name, after)| self.setting(name, after)).collect()
    }

    /// The change of a setting, if it is not so already, or is so by us or another instance.
    fn setting(&self, name: String, after: &str) -> Option<Change> {
        let of_name = |change: &&Change| matches!(change, Change::Sysctl { name: of, .. } if *of == name);
        if let Some(ours) = self.journal.changes().iter().find(of_name) {
            return Some(ours.clone());
        }
        let before = sysctl::read(&name).ok()?;
        if before == after {
            let others = self.journal.others();
            return others.iter().flat_map(|other| &other.changes).find(of_name).cloned();
        }
        Some(Change::Sysctl { name, before, after: after.to_owned() })
    }

    /// Makes those of `changes` that are not made, or that somebody has undone since: first the new ones are
    /// written down, then all are made.
    async fn make(&mut self, changes: Vec<Change>) -> Result<(), SetupError> {
        let existing = self.existing().await?;
        let (made, changes): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| self.journal.changes().contains(change));
        let lost = made.into_iter().filter(|change| !existing.has(change));
        // A proxied neighbour that somebody else has set up is not ours to take back.
        let is_foreign = |change: &Change| matches!(change, Change::Proxy { .. }) && existing.has(change);
        let new: Vec<Change> = changes.into_iter().filter(|change| !is_foreign(change)).collect();
        self.journal.add(&new).map_err(|source| self.journal_error(source))?;
        for change in lost {
            // Whether rules are there is not looked for.
            if !matches!(change, Change::Rules { .. }) {
                tracing::info!(change = change.describe(), "was undone, and is made again");
            }
            change.make(&self.handle).await.map_err(|source| explain(&change, source))?;
        }
        for (at, change) in new.iter().enumerate() {
            if let Err(source) = change.make(&self.handle).await {
                self.journal.remove(&new[at..]).map_err(|source| self.journal_error(source))?;
                return Err(explain(change, source));
            }
        }
        Ok(())
    }

    /// Takes `changes` back and strikes them out.
    async fn unmake(&mut self, changes: &[Change]) -> Result<(), SetupError> {
        if changes.is_empty() {
            return Ok(());
        }
        undo_all(&self.handle, changes, &self.journal).await;
        self.journal.remove(changes).map_err(|source| self.journal_error(source))
    }

    async fn existing(&self) -> Result<Existing, SetupError> {
        let fail = |source| SetupError::Request { step: "list routes and neighbours".into(), source };
        let mut existing = Existing::default();
        for family in Family::BOTH {
            let request =
                self.handle.neighbours().get().proxies().set_address_family(family.address_family());
            let messages = collect(request.execute()).await.map_err(fail)?;
            existing.proxies.extend(messages.iter().filter_map(proxy_of));
            let request = self.handle.route().get(our_routes(family));
            let messages = collect(request.execute()).await.map_err(fail)?;
            existing.routes.extend(messages.iter().filter_map(route_of));
        }
        Ok(existing)
    }

    fn journal_error(&self, source: io::Error) -> SetupError {
        SetupError::Journal(self.journal.path().to_owned(), source)
    }
}

/// Takes back what a process that is gone has set up for `device`; false if there is nothing.
///
/// # Errors
///
/// [`SetupError::InUse`] if that process is alive.
pub async fn undo(device: &str, journal_directory: &Path) -> Result<bool, SetupError> {
    let journal_error = |source| SetupError::Journal(journal_directory.to_owned(), source);
    let mut journal = Journal::new(journal_directory, device).map_err(journal_error)?;
    let Some(stored) = journal.stored().map_err(journal_error)? else { return Ok(false) };
    if stored.is_live() {
        let (device, journal) = (device.to_owned(), journal.path().to_owned());
        return Err(SetupError::InUse { device, pid: stored.pid, journal });
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(SetupError::Netlink)?;
    let connection = tokio::spawn(connection);
    undo_all(&handle, &stored.changes, &journal).await;
    connection.abort();
    journal.clear().map_err(journal_error)?;
    Ok(true)
}

/// Where journals are kept unless somebody says otherwise.
pub fn default_journal_directory() -> PathBuf {
    journal::default_directory()
}

/// What there is of what can vanish by itself: a device that goes down loses its routes and proxied neighbours.
#[derive(Debug, Default)]
struct Existing {
    proxies: HashSet<(IpAddr, u32)>,
    routes: HashSet<(IpNet, u32)>,
}

impl Existing {
    fn has(&self, change: &Change) -> bool {
        match change {
            Change::Proxy { address, index, .. } => self.proxies.contains(&(*address, *index)),
            Change::Route { prefix, index, .. } => self.routes.contains(&(*prefix, *index)),
            Change::Sysctl { name, after, .. } => sysctl::read(name).is_ok_and(|now| now == *after),
            Change::Forwarding { family, .. } => {
                sysctl::read(&forwarding(*family, "all")).is_ok_and(|now| now == "1")
            }
            // Not looked for: making them once more changes nothing.
            Change::Rules { .. } => false,
        }
    }
}

fn depends_on_addresses(change: &Change) -> bool {
    matches!(change, Change::Route { .. } | Change::Proxy { .. } | Change::Sysctl { .. })
}

/// Takes `changes` back, the last one first. A setting that another instance needs too, live or left in the kernel, is left
/// to it.
async fn undo_all(handle: &Handle, changes: &[Change], journal: &Journal) {
    let live = journal.others().into_iter().filter(|other| other.is_live() || other.left);
    let needed: Vec<Change> = live.flat_map(|other| other.changes).collect();
    for change in changes.iter().rev().filter(|change| !needed.contains(change)) {
        if let Err(error) = change.undo(handle).await {
            tracing::warn!(%error, change = change.describe(), "cannot be taken back");
        }
    }
}

fn explain(change: &Change, source: io::Error) -> SetupError {
    match change {
        Change::Route { prefix, .. } if source.raw_os_error() == Some(libc::EEXIST) => {
            SetupError::RouteTaken(*prefix)
        }
        Change::Sysctl { name, after, .. } => {
            SetupError::Sysctl { name: name.clone(), value: after.clone(), source }
        }
        Change::Forwarding { family, .. } => {
            SetupError::Sysctl { name: forwarding(*family, "all"), value: "1".into(), source }
        }
        _ => SetupError::Request { step: change.describe(), source },
    }
}

/// Sets a setting of the device. One that this kernel does not have (IPv6 left out) needs no setting.
fn set_sysctl(name: &str, value: &str) -> Result<(), SetupError> {
    match sysctl::read(name) {
        Ok(now) if now == value => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    sysctl::write(name, value).map_err(|source| SetupError::Sysctl {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    })
}
