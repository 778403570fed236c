//! The program in the kernel from the daemon's side: loading it, keeping it in a BPF file system so that it outlives the
//! daemon, attaching it, and its maps. What goes over the border is declared in `xlat_fastpath`.
//!
//! ```no_run
//! # fn main() -> Result<(), xlat_linux::fastpath::FastPathError> {
//! use xlat_linux::fastpath::{FastPath, Pins, Sizes, XdpMode};
//! let (fast_path, opened) =
//!     FastPath::open(&Pins::find(None)?, Sizes { max_flows: 1 << 20, max_eam: 1 << 10 })?;
//! fast_path.attach_ingress(2, XdpMode::Off)?;
//! fast_path.maps().heartbeat(17)?;
//! # Ok(()) }
//! ```

mod attach;
mod bpf;
mod checksum_run;
mod counters;
mod eam;
mod error;
mod filter;
mod flows;
mod maps;
mod own_ports;
mod pins;
mod prepared;
mod program;
mod shapes;
mod tc;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot set up its scene fails")]
mod tests;
mod trial;
mod verify;

pub use attach::{Attachment, Hook, How, Ingress, XdpMode, attachments, flush};
pub use checksum_run::checksum_run;
pub use counters::Statistics;
pub use eam::Entry;
pub use error::FastPathError;
pub use flows::{Flows, Rejected};
pub use maps::Maps;
pub use own_ports::OwnPorts;
pub use pins::Pins;
pub use prepared::prepare;
pub use program::{FastPath, Opened, ProgramReport, Sizes};
pub(crate) use trial::Trial;
pub use verify::{Verdict, verify};
