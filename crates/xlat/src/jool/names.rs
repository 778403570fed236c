//! Names of the nodes in tables, where numbers are not asked for (getnameinfo(3)).

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use xlat_control::api::Protocol;

/// `NI_DGRAM` of <netdb.h>: the service's name is that of UDP.
const DGRAM: i32 = 16;

/// `ADDRESS#PORT`, or names for them. A failed look-up is said on standard error and leaves the numbers.
pub(super) fn node(address: impl Into<IpAddr>, port: u16, protocol: Protocol, numeric: bool) -> String {
    let address = address.into();
    let numbers = format!("{address}#{port}");
    if numeric {
        return numbers;
    }
    let flags = if protocol == Protocol::Udp { DGRAM } else { 0 };
    match dns_lookup::getnameinfo(&SocketAddr::new(address, port), flags) {
        // Identifiers have no names.
        Ok((host, _)) if protocol == Protocol::Icmp => format!("{host}#{port}"),
        Ok((host, service)) => format!("{host}#{service}"),
        Err(error) => {
            let error = std::io::Error::from(error).to_string();
            // What gai_strerror(3) says stands behind what Rust puts before it.
            let why = error.rsplit(": ").next().unwrap_or_default();
            // Without a standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "Error: getnameinfo failed: {why}");
            numbers
        }
    }
}
