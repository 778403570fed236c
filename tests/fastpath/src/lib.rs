//! The kernel program beside the engine: both get the same packet and the same flows, and either the program's
//! bytes are the engine's, or it handed the packet up. `BPF_PROG_TEST_RUN` runs it; nothing leaves the machine.
#![forbid(unsafe_code)]

pub mod compare;
pub mod generate;
pub mod program;
pub mod world;
