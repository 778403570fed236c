//! The host's links and addresses: a snapshot, and a watcher that gives a new one whenever they change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::change::to_io;
use super::ways::{RouteChanges, Ways};

/// Changes that come this soon after one another are told of once.
const QUIET: Duration = Duration::from_millis(100);
/// Changes are told of at least this often while more are coming.
const PATIENCE: Duration = Duration::from_secs(1);
/// A new snapshot is taken at least this often: notifications can be lost when the socket overflows.
const REFRESH: Duration = Duration::from_secs(30);

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Set to be up.
    pub up: bool,
    /// A loopback device.
    pub loopback: bool,
    /// Kind of its hardware (`ARPHRD_*`).
    pub hardware: u16,
    /// Its hardware address, if it is one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// What made it (`veth`, `bridge`, `wireguard`, ...); `None` for hardware.
    pub kind: Option<String>,
    /// Index of the bridge, bond or other device that it is a port of.
    pub master: Option<u32>,
}

impl Interface {
    /// True if its packets have an Ethernet header.
    pub fn is_ethernet(&self) -> bool {
        self.hardware == libc::ARPHRD_ETHER
    }
}

/// Where an address is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On the link only.
    Link,
    /// On this host only.
    Host,
    /// Anything else, by Linux's number.
    Other(u8),
}

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned<A> {
    /// The address.
    pub address: A,
    /// Length of the connected prefix in bits.
    pub prefix_len: u8,
    /// Index of the interface.
    pub interface: u32,
    /// Where it is valid.
    pub scope: Scope,
}

/// All links and addresses of the host's network namespace at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Interfaces by index.
    pub interfaces: Vec<Interface>,
    /// IPv4 addresses.
    pub v4: Vec<Assigned<Ipv4Addr>>,
    /// IPv6 addresses.
    pub v6: Vec<Assigned<Ipv6Addr>>,
}

impl HostAddresses {
    /// The interface of that name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// True if `address` is one of the host's own.
    pub fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|own| own.address == address),
            IpAddr::V6(address) => self.v6.iter().any(|own| own.address == address),
        }
    }

    /// The interfaces that are up and have a connected prefix with `address` in it, loopback left out.
    pub fn connected(&self, address: IpAddr) -> Vec<&Interface> {
        let v4 = self.v4.iter().map(|own| (IpAddr::V4(own.address), own.prefix_len, own.interface));
        let v6 = self.v6.iter().map(|own| (IpAddr::V6(own.address), own.prefix_len, own.interface));
        let covering: Vec<u32> = v4
            .chain(v6)
            .filter(|(own, len, _)| IpNet::new(*own, *len).is_ok_and(|prefix| prefix.contains(&address)))
            .map(|(_, _, index)| index)
            .collect();
        self.interfaces
            .iter()
            .filter(|interface| interface.up && !interface.loopback && covering.contains(&interface.index))
            .collect()
    }
}

/// The host's links and addresses now. Needs a tokio runtime; no privilege.
pub async fn snapshot() -> io::Result<HostAddresses> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let result = snapshot_by(&handle).await;
    task.abort();
    result
}

/// The same by an open handle.
pub(super) async fn snapshot_by(handle: &Handle) -> io::Result<HostAddresses> {
    let links = collect(handle.link().get().execute()).await?;
    let mut all = HostAddresses { interfaces: links.iter().map(interface).collect(), ..Default::default() };
    all.interfaces.sort_by_key(|interface| interface.index);
    for message in collect(handle.address().get().execute()).await? {
        let (prefix_len, interface) = (message.header.prefix_len, message.header.index);
        let scope = scope(message.header.scope);
        match local_address(&message) {
            Some(IpAddr::V4(address)) => all.v4.push(Assigned { address, prefix_len, interface, scope }),
            Some(IpAddr::V6(address)) => all.v6.push(Assigned { address, prefix_len, interface, scope }),
            None => {}
        }
    }
    all.v4.sort_by_key(|own| (own.interface, own.address));
    all.v6.sort_by_key(|own| (own.interface, own.address));
    Ok(all)
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    receiver: watch::Receiver<HostAddresses>,
    task: JoinHandle<()>,
    ways: Ways,
}

impl Watcher {
    /// Starts watching in the network namespace of this thread. Needs a tokio runtime; no privilege.
    pub async fn start() -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
        let connection = tokio::spawn(connection);
        let (sender, receiver) = watch::channel(snapshot_by(&handle).await?);
        let task = tokio::spawn(async move {
            loop {
                let told = tokio::time::timeout(REFRESH, messages.next()).await.is_ok();
                // More of them within PATIENCE belong to the same change; how many there were does not matter.
                let quiet =
                    async { while let Ok(Some(_)) = tokio::time::timeout(QUIET, messages.next()).await {} };
                let _ = tokio::time::timeout(PATIENCE, quiet).await;
                match snapshot_by(&handle).await {
                    Ok(now) => {
                        sender.send_if_modified(|last| {
                            // An interface that went down and came up again looks the same, but has lost what depends on it.
                            let changed = told || *last != now;
                            *last = now;
                            changed
                        });
                    }
                    Err(error) => tracing::warn!(%error, "cannot read the host's addresses"),
                }
                if sender.is_closed() {
                    return connection.abort();
                }
            }
        });
        Ok(Self { receiver, task, ways: Ways::start()? })
    }

    /// A receiver that holds the latest snapshot and wakes up whenever something about links and addresses has happened.
    pub fn subscribe(&self) -> watch::Receiver<HostAddresses> {
        self.receiver.clone()
    }

    /// A receiver that wakes up when packets may have to go another way than before: routes, rules or neighbours have
    /// changed.
    pub fn routes_changed(&self) -> watch::Receiver<RouteChanges> {
        self.ways.subscribe()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of a dump.
pub(super) async fn collect<T>(
    stream: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> io::Result<Vec<T>> {
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(to_io(item)?);
    }
    Ok(all)
}

fn interface(message: &LinkMessage) -> Interface {
    let mut all = Interface {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        hardware: message.header.link_layer_type.into(),
        mac: None,
        kind: None,
        master: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => all.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => all.mtu = *mtu,
            LinkAttribute::Address(address) => all.mac = address.as_slice().try_into().ok(),
            LinkAttribute::Controller(master) => all.master = Some(*master),
            LinkAttribute::LinkInfo(info) => all.kind = info.iter().find_map(kind),
            _ => {}
        }
    }
    all
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// The host's own end: on a point-to-point link `Address` is the other one.
fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    find(true).or_else(|| find(false))
}

fn scope(scope: AddressScope) -> Scope {
    match scope {
        AddressScope::Universe => Scope::Global,
        AddressScope::Link => Scope::Link,
        AddressScope::Host => Scope::Host,
        other => Scope::Other(other.into()),
    }
}
