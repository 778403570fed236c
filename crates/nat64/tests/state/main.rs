//! The tables through their public face: RFC 6146 3.5 and the options that change it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code, though not always in test functions"
)]

#[path = "../support/mod.rs"]
mod support;

mod ahead;
mod datagrams;
mod limits;
mod model;
mod promotion;
mod reload;
mod restore;
mod stored_syns;
mod synchronise;
mod tcp;
mod walk;
