//! RFC 7915 for one packet, with the address rules around it.
//!
//! Pure: a packet, its addresses in the other family and a policy go in; a packet, or a named reason with the ICMP
//! error that its sender is owed, comes out. No state, no clock, no allocation per packet.
//!
//! A packet's way through this crate:
//!
//! 1. [`plan::parse6`] / [`plan::parse4`] read it, and the packet that it quotes if it is an ICMP error;
//! 2. somebody finds the new addresses: [`siit`] from tables ([`rfc6052`], [`eam`], [`rfc6791`]), or NAT64 from
//!    state; that makes a [`plan::Plan`];
//! 3. [`six_to_four()`] / [`four_to_six()`] check it against the [`policy::Policy`] and rewrite it in its buffer;
//! 4. what grew too large is cut by [`fragment6::split`]; what was refused is answered by [`own_error`].
#![forbid(unsafe_code)]

pub mod eam;
mod four_to_six;
pub mod fragment6;
mod icmp_error;
mod icmp_table;
mod mtu;
pub mod own_error;
pub mod plan;
pub mod policy;
pub mod prefix_map;
pub mod refusal;
pub mod refused;
pub mod rfc6052;
pub mod rfc6791;
pub mod siit;
mod six_to_four;
mod transport;

pub use four_to_six::four_to_six;
pub use six_to_four::six_to_four;
