//! What the measurements share: timing ([`measure`]), packets to feed ([`packets`]) and the table they end in
//! ([`report`]). The programs are in `src/bin`; `README.md` says what each number is.
#![forbid(unsafe_code)]

pub mod measure;
pub mod packets;
pub mod report;

/// Whatever stops a measurement.
pub type Error = Box<dyn std::error::Error>;
