//! Where the packets of a stateless instance go that is made by command. Jool sees every packet of the host; here routes bring
//! them, and whether pool6 is what comes in or where it goes out the host's own routes tell: one to pool6 by way of somebody
//! else makes the host a CLAT (RFC 6877) or an edge relay (RFC 7756), whose IPv4 packets are all to be translated.

use std::fs;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xlat_control::DEFAULT_DEVICE;

/// What has to be routed to an instance with this pool6 besides what its tables say.
pub(super) fn routes(pool6: Ipv6Net) -> Vec<IpNet> {
    let table = fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    // All of IPv4.
    let all = Ipv4Net::default();
    if table.lines().any(|line| leads_to(line, pool6)) { vec![all.into()] } else { Vec::new() }
}

/// Whether a line of that file is a route to exactly this prefix by way of another node.
fn leads_to(line: &str, prefix: Ipv6Net) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let &[destination, length, _, _, gateway, .., device] = fields.as_slice() else { return false };
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from);
    let length = u8::from_str_radix(length, 16).ok();
    (address(destination), length) == (Some(prefix.network()), Some(prefix.prefix_len()))
        && address(gateway).is_some_and(|gateway| !gateway.is_unspecified())
        && device != DEFAULT_DEVICE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_route_by_way_of_somebody_else_counts() {
        let line = |length: &str, gateway: &str, device: &str| {
            let none = "0".repeat(32);
            format!(
                "0064ff9b000000000000000000000000 {length} {none} 00 {gateway} 00000400 00000001 00000000 00000003     {device}"
            )
        };
        let pool6 = "64:ff9b::/96".parse().unwrap();
        let gateway = "20010db8010000000000000000000002";
        assert!(leads_to(&line("60", gateway, "eth1"), pool6));
        for other in [
            line("40", gateway, "eth1"),
            line("60", &"0".repeat(32), "eth1"),
            line("60", gateway, DEFAULT_DEVICE),
            String::new(),
            "x y z".to_owned(),
        ] {
            assert!(!leads_to(&other, pool6), "{other}");
        }
        assert!(!leads_to(&line("60", gateway, "eth1"), "64:ff9b:1::/96".parse().unwrap()));
    }
}
