//! What Linux gives to a translator: TUN queues with offloads, workers that move packets in batches, host
//! set-up by netlink that is taken back, watching of addresses, privileges, and one place that says what this
//! host can do.
//!
//! The only crate with `unsafe`; each block says why it is sound. It knows nothing of translation.

pub mod clock;
pub mod coalesce;
pub mod datapath;
pub mod fastpath;
mod filesystem;
pub mod netlink;
pub mod packet_socket;
pub mod privileges;
pub mod probe;
pub mod tun;
pub mod virtio;
