//! Instances: configuration, tables, and the pipeline that a packet takes through them.
//!
//! ```text
//! packet -> parse -> offered to one instance after the other
//!                      SIIT:  addresses from tables          \
//!                      NAT64: tuple -> state -> addresses     > checks -> rewrite -> send, cut, or turn back
//!                 otherwise: a named reason, counted, and the ICMP error that the sender is owed
//! ```
//!
//! [`Engine`] holds what all workers share, and replaces the configuration as a whole between two packets; a
//! [`Worker`] is one thread's way to use it. No I/O happens here: packets go out through [`Output`], the clock is
//! set from outside.
#![forbid(unsafe_code)]

mod ahead;
mod counters;
mod engine;
mod explain;
mod fastpath;
mod flows;
mod identification;
mod inspect;
mod instance;
mod ledger;
mod limiter;
mod looks;
mod origin;
mod peers;
mod pipeline;
mod random;
mod reason;
mod reference;
mod restore;
mod routes;
mod worker;

pub use counters::{Statistics, Traffic};
pub use engine::{ConfigError, Engine, EngineOptions, InstanceGauges};
pub use explain::{Explanation, Step};
pub use fastpath::{FastPathPlan, HostBits, deny_entries, eam_entries, host_bits};
pub use flows::FlowSink;
pub use inspect::{Scheme, Translated, Untranslated, View};
pub use origin::Origin;
pub use peers::{NotShared, SessionSink};
pub use reason::{Pipeline, Reason, Verdict};
pub use restore::Restoration;
pub use routes::Routes;
pub use worker::{LogEvent, Output, Worker};
