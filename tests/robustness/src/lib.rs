//! What no input may bring about. Each target of [`targets`] takes any bytes; it is run by the fuzzer (`fuzz/`), by
//! property tests, and over the corpus in the tree.
//!
//! [`input`] makes decisions of bytes, [`build`] makes packets of decisions, [`shape`] reads packets again; neither
//! uses the crates under test. [`world`] is an engine with its surroundings, which checks what must hold for any packet.
#![forbid(unsafe_code)]

pub mod build;
pub mod input;
pub mod operations;
pub mod repair;
pub mod setups;
pub mod shape;
pub mod targets;
pub mod world;
