//! The control plane: what a running daemon can be asked and told, from both ends.
//!
//! [`server`] answers HTTP/1.1 with JSON on an abstract Unix socket, whose name belongs to the network namespace;
//! [`Client`] asks it. A change is an edit of the daemon's [`xlat_config::Config`] ([`Change`]), checked as a whole and
//! answered after it holds in the data path. No packet passes through here.

#![forbid(unsafe_code)]

mod access;
pub mod api;
mod bodies;
pub mod capture;
mod client;
mod client_sync;
mod door;
mod edit;
mod endpoints;
mod error;
pub mod events;
mod extract;
pub mod globals;
pub mod live;
mod page;
mod patient;
pub mod peers;
mod pool4;
mod read;
mod routes;
mod schema;
pub mod server;
mod socket;
mod strict;
pub mod sync;

pub use api::Change;
pub use client::{Client, ClientError, Lines, path};
pub use client_sync::Received;
pub use edit::Frameworks;
pub use endpoints::document;
pub use error::{Blame, Error};
pub use page::Marked;
pub use patient::Patient;
pub use server::{About, Answer, ByKernel, Daemon, Edit};
pub use socket::{DEFAULT_DEVICE, Holder, holder, listen};
