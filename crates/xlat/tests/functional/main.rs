//! End to end: the daemon in networks of namespaces, with real programs. One module for each family of scenarios; what
//! the peers see is what is checked: addresses, hop limits, content, learned MTUs.
//!
//! Every test makes namespaces of its own, changes nothing outside of them, and takes them along when it ends or fails.
//! Where none can be made the tests say why and do nothing.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot build its scene fails")]

mod browser;
mod capture;
mod chains;
mod chaos;
mod flows;
mod ingress;
mod lab;
mod life;
mod methods;
mod mtu;
mod nat64;
mod offload;
mod prepared;
mod programs;
mod siit;
mod sockets;
mod super_packets;
mod watching;
