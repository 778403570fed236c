//! What the translator must do, written from the RFCs and not from the implementation.
//!
//! A small packet language ([`parse`], [`packet`]) is compiled to bytes by code that shares nothing with
//! the crates under test: own headers, own checksums. [`vector`] reads files of cases in that language,
//! [`runner`] plays them on anything that implements [`runner::Subject`], and [`show`] explains differences
//! field by field. The language is described in `tests/vectors/README.md`.
#![forbid(unsafe_code)]

pub mod build;
pub mod corpus;
pub mod engine;
pub mod packet;
pub mod parse;
pub mod runner;
pub mod show;
pub mod vector;
