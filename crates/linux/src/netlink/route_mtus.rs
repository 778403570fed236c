//! MTUs that were given to IPv4 routes. The kernel's forwarding honours them; its route look-up for eBPF programs tells only
//! of locked ones (Linux: `ip_mtu_from_fib_result`), so the programs have to be told.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use futures_util::StreamExt as _;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};

/// Routes that are told of at most; the ones with the least MTUs then.
const MOST: usize = 65_536;

/// The least MTU in bytes of each prefix that has one, in any table of this thread's network namespace. Needs a tokio
/// runtime; no privilege.
pub async fn route_mtus4() -> io::Result<Vec<(Ipv4Net, u32)>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let mut ask = RouteMessage::default();
    ask.header.address_family = AddressFamily::Inet;
    let mut found: BTreeMap<Ipv4Net, u32> = BTreeMap::new();
    let mut answers = handle.route().get(ask).execute();
    while let Some(answer) = answers.next().await {
        let Ok(route) = answer else { break };
        if let Some((net, mtu)) = mtu_of(&route) {
            let least = found.entry(net).or_insert(mtu);
            *least = mtu.min(*least);
        }
    }
    task.abort();
    let mut found: Vec<(Ipv4Net, u32)> = found.into_iter().collect();
    if found.len() > MOST {
        found.sort_by_key(|(_, mtu)| *mtu);
        found.truncate(MOST);
    }
    Ok(found)
}

fn mtu_of(route: &RouteMessage) -> Option<(Ipv4Net, u32)> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let metrics = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    })?;
    let mtu = metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })?;
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let address = destination.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Some((Ipv4Net::new(address, route.header.destination_prefix_length).ok()?, mtu))
}
