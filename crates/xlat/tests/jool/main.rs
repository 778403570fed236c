//! Jool's commands in front of a running daemon. `table` runs every command line of the contract and compares what it prints;
//! `scenarios` builds Jool's tutorials with its own commands and looks at what their nodes see; `wire` and `files` follow
//! what was configured to the packets; `refused` gives what must not be taken.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

mod files;
mod lab;
mod programs;
mod refused;
mod scenarios;
mod table;
mod wire;
