//! What others may see of a running translator by HTTP: metrics for Prometheus (`/metrics`), whether it lives and works
//! (`/health`, `/ready`), and a page that shows it at work (`/`). Nothing can be changed here, and no packet, table or lock
//! of the data path is within reach: all that comes in are snapshots ([`Watched`]).
//!
//! Everything that comes from outside is bounded: connections, requests, and the time that either may take.

#![forbid(unsafe_code)]

mod door;
mod exposition;
mod host;
mod metrics;
mod page;
mod routes;

pub use door::{Web, bind};
pub use exposition::Exposition;
pub use metrics::metrics;

use std::sync::Arc;

use xlat_control::live::Live;

/// What there is to be seen.
pub trait Watched: Clone + Send + Sync + 'static {
    /// A snapshot whose rates are those of the last seconds.
    fn live(&self) -> impl Future<Output = Arc<Live>> + Send;

    /// A snapshot of now; its rates may stand for a longer time.
    fn counts(&self) -> impl Future<Output = Arc<Live>> + Send;

    /// True if the daemon is alive.
    fn is_alive(&self) -> bool;
}
