//! The commands under xlat's own name, for real: with a daemon between hosts on a wire, without any, and in front of
//! something that only looks like one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test's helpers")]

mod completion;
mod files;
mod grammar;
mod json;
mod lab;
mod quick;
mod trouble;
