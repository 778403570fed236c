//! What the measurements share: timing ([`measure`]), packets to feed ([`packets`]), requests ([`api`]) and the table they end
//! in ([`report`]); between namespaces, what is put on this host ([`host`]), work in one of them ([`netns`]), transfers
//! ([`tcp`]) and ratios ([`results`]). The programs are in `src/bin`; `README.md` says what each number is.
#![forbid(unsafe_code)]

pub mod api;
pub mod host;
pub mod measure;
pub mod netns;
pub mod packets;
pub mod report;
pub mod results;
pub mod tcp;

/// Whatever stops a measurement.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
