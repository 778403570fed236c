//! One change of the host: how it is made, and how it is taken back. Taking back tolerates that things are gone,
//! or were changed by others since.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use serde::{Deserialize, Serialize};

use super::plan::DEVICE_GROUP;
use super::sysctl;

/// The routing protocol number of our routes and rules: by it they are told from others'.
pub const ROUTE_PROTOCOL: u8 = 64;

/// The rule that looks up routes for packets from the device, without those to the device.
const PRIORITY_LOOKUP: u32 = 32764;
/// The rule that ends the look-up for packets from the device.
const PRIORITY_END: u32 = 32765;
const TABLE_MAIN: u8 = 254;

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    pub(super) fn address_family(self) -> AddressFamily {
        match self {
            Self::Ipv4 => AddressFamily::Inet,
            Self::Ipv6 => AddressFamily::Inet6,
        }
    }
}

/// One change, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Change {
    /// A setting below `/proc/sys/net`.
    Sysctl { name: String, before: String, after: String },
    /// Forwarding of a family, which Linux copies to every interface.
    Forwarding { family: Family, before: String, interfaces: Vec<(String, String)> },
    /// The rules that keep packets from the device away from it.
    Rules { family: Family, device: String },
    /// A route to the device.
    Route { prefix: IpNet, device: String, index: u32 },
    /// A neighbour that is answered for.
    Proxy { address: IpAddr, interface: String, index: u32 },
}

impl Change {
    /// Makes the change.
    pub(super) async fn make(&self, handle: &Handle) -> io::Result<()> {
        match self {
            Self::Sysctl { name, after, .. } => sysctl::write(name, after),
            Self::Forwarding { family, .. } => sysctl::write(&forwarding(*family, "all"), "1"),
            Self::Rules { family, device } => {
                for message in rules(*family, device) {
                    let mut request = handle.rule().add();
                    *request.message_mut() = message;
                    // A rule that is there already can only be one of ours that was left over.
                    ignore(to_io(request.execute().await), &[libc::EEXIST])?;
                }
                Ok(())
            }
            Self::Route { prefix, index, .. } => {
                to_io(handle.route().add(route(*prefix, *index)).execute().await)
            }
            Self::Proxy { address, index, .. } => {
                let request = handle.neighbours().add(*index, *address).flags(NeighbourFlags::Proxy);
                to_io(request.execute().await)
            }
        }
    }

    /// Takes the change back. What is gone already, or was changed by somebody else, is left as it is.
    pub(super) async fn undo(&self, handle: &Handle) -> io::Result<()> {
        match self {
            Self::Sysctl { name, before, after } => restore(name, after, before),
            Self::Forwarding { family, before, interfaces } => {
                let all = forwarding(*family, "all");
                if sysctl::read(&all).ok().as_deref() != Some("1") || before == "1" {
                    return Ok(());
                }
                sysctl::write(&all, before)?;
                for (interface, value) in interfaces {
                    if value != before {
                        restore(&forwarding(*family, interface), before, value)?;
                    }
                }
                Ok(())
            }
            Self::Rules { family, device } => {
                for message in rules(*family, device) {
                    ignore(to_io(handle.rule().del(message).execute().await), &[libc::ENOENT])?;
                }
                Ok(())
            }
            Self::Route { prefix, index, .. } => {
                let done = handle.route().del(route(*prefix, *index)).execute().await;
                ignore(to_io(done), &[libc::ESRCH, libc::ENODEV, libc::ENOENT, libc::EINVAL])
            }
            Self::Proxy { address, index, .. } => {
                let done = handle.neighbours().del(proxy(*address, *index)).execute().await;
                ignore(to_io(done), &[libc::ENOENT, libc::ENODEV, libc::EINVAL, libc::ENXIO])
            }
        }
    }

    /// What the change does, for people: completes "cannot ...".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Sysctl { name, after, .. } => format!("set net/{name} to {after}"),
            Self::Forwarding { family, .. } => format!("turn {} forwarding on", family.name()),
            Self::Rules { family, device } => format!("add {} rules for {device}", family.name()),
            Self::Route { prefix, device, .. } => format!("add a route to {prefix} by {device}"),
            Self::Proxy { address, interface, .. } => format!("answer for {address} on {interface}"),
        }
    }
}

/// The setting for forwarding of `family` on `interface` (or `all`).
pub(super) fn forwarding(family: Family, interface: &str) -> String {
    format!("{}/conf/{interface}/forwarding", family.name())
}

/// The kernel's answer as an I/O error.
pub(super) fn to_io<T>(result: Result<T, rtnetlink::Error>) -> io::Result<T> {
    result.map_err(|error| match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    })
}

/// The neighbours that are answered for on any interface, and the interface's index.
pub(super) fn proxy_of(message: &NeighbourMessage) -> Option<(IpAddr, u32)> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
            Some((IpAddr::V4(*address), message.header.ifindex))
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            Some((IpAddr::V6(*address), message.header.ifindex))
        }
        _ => None,
    })
}

/// A request for the routes of `family` in the main table that are ours.
pub(super) fn our_routes(family: Family) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.address_family();
    message.header.table = TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message
}

/// Prefix and interface of a route of ours. The kernel need not have looked at what was asked for.
pub(super) fn route_of(message: &RouteMessage) -> Option<(IpNet, u32)> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL) || header.table != TABLE_MAIN {
        return None;
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let index = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let prefix = IpNet::new(address.unwrap_or(unspecified), header.destination_prefix_length).ok()?;
    Some((prefix, index?))
}

fn ignore(result: io::Result<()>, codes: &[i32]) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error().is_some_and(|code| codes.contains(&code)) => Ok(()),
        other => other,
    }
}

/// Sets `name` to `before` if it still has the value `after`; a setting that is gone needs nothing.
fn restore(name: &str, after: &str, before: &str) -> io::Result<()> {
    match sysctl::read(name) {
        Ok(now) if now == after => sysctl::write(name, before),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn route(prefix: IpNet, index: u32) -> RouteMessage {
    let protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    match prefix {
        IpNet::V4(prefix) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .output_interface(index)
            .protocol(protocol)
            .scope(RouteScope::Link)
            .build(),
        IpNet::V6(prefix) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .output_interface(index)
            .protocol(protocol)
            .build(),
    }
}

fn proxy(address: IpAddr, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// A packet that came out of the device is looked up in the main table, but a route back to the device does not
/// count, and nothing after that does.
fn rules(family: Family, device: &str) -> [RuleMessage; 2] {
    let rule = |priority, table, action, more: Option<RuleAttribute>| {
        let mut message = RuleMessage::default();
        message.header.family = family.address_family();
        message.header.table = table;
        message.header.action = action;
        message.attributes.extend([
            RuleAttribute::Iifname(device.to_owned()),
            RuleAttribute::Priority(priority),
            RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)),
        ]);
        message.attributes.extend(more);
        message
    };
    let suppress = RuleAttribute::SuppressIfGroup(DEVICE_GROUP);
    [
        rule(PRIORITY_LOOKUP, TABLE_MAIN, RuleAction::ToTable, Some(suppress)),
        rule(PRIORITY_END, 0, RuleAction::Unreachable, None),
    ]
}
