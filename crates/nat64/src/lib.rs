//! RFC 6146 state: BIB entries, sessions, TCP states, pool4 and port choice, lifetimes, stored SYNs, and the
//! virtual reassembly that gives fragments their ports.
//!
//! Sans-I/O: packets come in as the few fields that matter, the clock is an argument, and what has to be sent or
//! logged leaves through [`Events`]. Nothing here rewrites a packet.
//!
//! - [`Policy`] is the compiled configuration of one instance, immutable; a reload makes a new one out of the old.
//! - [`Tables`] is the state, shared by all workers through `&self`.
//! - [`Reassembly`] is independent of both.
#![forbid(unsafe_code)]

mod ageing;
mod ahead;
mod announce;
mod counts;
mod events;
mod fifo;
mod give_way;
mod hash;
mod inbound;
mod index;
mod outbound;
mod policy;
mod pool4;
mod portmap;
mod promotion;
mod reassembly;
mod reconfigure;
mod record;
mod refusal;
mod restore;
mod shard;
mod slab;
mod stored;
mod synchronise;
mod tables;
mod tcp;
mod types;
mod usage;

pub use ahead::Coming;
pub use events::{BibInfo, Events, SessionInfo};
pub use give_way::give_way;
pub use policy::{Limits, Policy, PolicyConfig, PolicyError, Pool4Entry, Promotion, StaticEntry};

pub use reassembly::{
    Arrival, FirstFragment, Fragment, FragmentKey, FragmentRefusal, Reassembly, ReassemblyGauges,
    ReassemblyLimits,
};
pub use refusal::Refusal;
pub use tables::{Cursor, Gauges, Tables};
pub use tcp::TcpState;
pub use types::{Inbound, Instant, Outbound, Protocol, TcpFlags, Timer, Transport4, Transport6};
