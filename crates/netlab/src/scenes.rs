//! Networks that several tests build: A speaks IPv6, V speaks IPv4, and T between them is to translate.

use crate::{LabError, Namespace, Wire, veth};

/// A, T and V on one wire, T with addresses of both families; A has a route to 64:ff9b::/96 by way of T.
///
/// # Errors
///
/// When namespaces, wire or addresses cannot be made.
pub fn one_wire() -> Result<([Namespace; 3], Wire), LabError> {
    let (wire, nodes) = (Wire::new()?, [Namespace::new("A")?, Namespace::new("T")?, Namespace::new("V")?]);
    let addresses = [&["2001:db8::8/96"][..], &["2001:db8::1/96", "203.0.113.1/24"], &["203.0.113.16/24"]];
    for (node, addresses) in nodes.iter().zip(addresses) {
        wire.attach(node, "eth0")?;
        addresses.iter().try_for_each(|address| node.address("eth0", address))?;
    }
    nodes[0].ip("route add 64:ff9b::/96 via 2001:db8::1")?;
    Ok((nodes, wire))
}

/// A - T - V, T with one interface for each family; A has a route to 64:ff9b::/96 by way of T.
///
/// # Errors
///
/// When namespaces, cables or addresses cannot be made.
pub fn two_cables() -> Result<[Namespace; 3], LabError> {
    let [a, t, v] = [Namespace::new("A")?, Namespace::new("T")?, Namespace::new("V")?];
    veth(&a, "eth0", &t, "eth0")?;
    veth(&v, "eth0", &t, "eth1")?;
    for (node, device, address) in [
        (&a, "eth0", "2001:db8::8/96"),
        (&t, "eth0", "2001:db8::1/96"),
        (&v, "eth0", "203.0.113.16/24"),
        (&t, "eth1", "203.0.113.1/24"),
    ] {
        node.address(device, address)?;
    }
    a.ip("route add 64:ff9b::/96 via 2001:db8::1")?;
    Ok([a, t, v])
}

/// T between two namespaces that are to translate, each with a way to T's own IPv4 addresses (scenario 12): T, blue and red.
///
/// # Errors
///
/// When namespaces, cables or addresses cannot be made.
pub fn two_translators() -> Result<[Namespace; 3], LabError> {
    let [t, blue, red] = [Namespace::new("T")?, Namespace::new("blue")?, Namespace::new("red")?];
    veth(&t, "to_blue", &blue, "to_world1")?;
    veth(&t, "to_red", &red, "to_world2")?;
    for (node, device, addresses) in [
        (&t, "to_blue", ["2001:db8:1::8/96", "192.0.2.8/24"]),
        (&blue, "to_world1", ["2001:db8:1::1/96", "192.0.2.1/24"]),
        (&t, "to_red", ["2001:db8:2::8/96", "203.0.113.8/24"]),
        (&red, "to_world2", ["2001:db8:2::1/96", "203.0.113.1/24"]),
    ] {
        addresses.iter().try_for_each(|address| node.address(device, address))?;
    }
    t.ip("route add 2001:db8:64::/96 via 2001:db8:1::1")?;
    t.ip("route add 2001:db8:46::/96 via 2001:db8:2::1")?;
    Ok([t, blue, red])
}
