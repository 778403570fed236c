//! Links between nodes: a shared wire (a bridge in a namespace of its own), or two ends of one cable.

use crate::{LabError, Namespace};
use std::sync::atomic::{AtomicU32, Ordering};

/// An Ethernet segment that any number of nodes share.
#[derive(Debug)]
pub struct Wire {
    bridge: Namespace,
    ports: AtomicU32,
}

impl Wire {
    /// A new wire with nobody on it.
    ///
    /// # Errors
    ///
    /// When the bridge cannot be made.
    pub fn new() -> Result<Self, LabError> {
        let bridge = Namespace::new("wire")?;
        // No snooping and no learning phase: neighbour discovery works from the first packet.
        bridge.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0")?;
        bridge.ip("link set br0 addrgenmode none up")?;
        Ok(Self { bridge, ports: AtomicU32::new(0) })
    }

    /// The namespace that holds the bridge `br0`.
    #[must_use]
    pub fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    /// Gives `node` an interface `device` on this wire, and brings it up.
    ///
    /// # Errors
    ///
    /// When the link cannot be made; for instance because there is a device of that name.
    pub fn attach(&self, node: &Namespace, device: &str) -> Result<(), LabError> {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        veth(&self.bridge, &port, node, device)?;
        self.bridge.ip(&format!("link set {port} addrgenmode none master br0")).map(drop)
    }
}

/// Joins two nodes by a cable whose ends are the interfaces `device_a` and `device_b`, and brings both up.
///
/// # Errors
///
/// When the link cannot be made.
pub fn veth(a: &Namespace, device_a: &str, b: &Namespace, device_b: &str) -> Result<(), LabError> {
    a.ip(&format!("link add name {device_a} type veth peer name {device_b} netns {}", b.pid()))?;
    a.ip(&format!("link set {device_a} up"))?;
    b.ip(&format!("link set {device_b} up")).map(drop)
}
