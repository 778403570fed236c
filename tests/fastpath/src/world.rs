//! A namespace for the program to run in: one Ethernet interface with routes and neighbours in both families, and
//! a TUN device. The calling thread lives in it as long as the test.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xlat_netlab::{LabError, Namespace, veth};

/// Hardware address of the router that everything goes to.
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Hardware address of the interface.
pub const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Where the program runs.
#[derive(Debug)]
pub struct World {
    /// The interface that packets come in by and go out of.
    pub interface: u32,
    /// The TUN device.
    pub device: u32,
    // Dropped last: the namespaces live as long as this.
    _namespaces: (Namespace, Namespace),
}

impl World {
    /// Makes the namespace and moves the calling thread into it.
    ///
    /// # Errors
    ///
    /// Without permission, or when a program is missing.
    pub fn enter() -> Result<Self, String> {
        Self::enter_with(ROUTER)
    }

    /// The same, everything going to the hardware address `neighbour`.
    ///
    /// # Errors
    ///
    /// As [`Self::enter`].
    pub fn enter_with(neighbour: [u8; 6]) -> Result<Self, String> {
        let say = |error: LabError| error.to_string();
        let (here, router) = (Namespace::new("T").map_err(say)?, Namespace::new("R").map_err(say)?);
        veth(&here, "eth0", &router, "eth0").map_err(say)?;
        let run = |line: &str| here.run(line).map_err(say);
        run(&format!("ip link set eth0 address {}", mac(OWN)))?;
        router.ip(&format!("link set eth0 address {}", mac(ROUTER))).map_err(say)?;
        for line in [
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
            "ip tuntap add xlat0 mode tun",
            "ip link set xlat0 up",
            "ip address add 192.0.2.250/24 dev eth0",
            "ip address add 2001:db8:ffff::1/64 dev eth0 nodad",
            "ip route add default via 192.0.2.254",
            "ip -6 route add default via 2001:db8:ffff::2",
        ] {
            run(line)?;
        }
        for address in ["192.0.2.254", "2001:db8:ffff::2"] {
            run(&format!("ip neighbour add {address} lladdr {} dev eth0 nud permanent", mac(neighbour)))?;
        }
        let index = |device: &str| -> Result<u32, String> {
            let line = run(&format!("ip -o link show {device}"))?;
            let number = line.split(':').next().and_then(|number| number.parse().ok());
            number.ok_or_else(|| format!("no index in `{line}`"))
        };
        let (interface, device) = (index("eth0")?, index("xlat0")?);
        let namespace = File::open(format!("/proc/{}/ns/net", here.pid())).map_err(|e| e.to_string())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| e.to_string())?;
        Ok(Self { interface, device, _namespaces: (here, router) })
    }
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
