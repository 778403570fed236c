//! What can go wrong with the program in the kernel. The daemon goes on without it then, by the TUN device alone.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no fast path, or why something about it could not be done. The host's or the operator's matter.
#[derive(Debug, Error)]
pub enum FastPathError {
    /// No bpffs can be found or mounted.
    #[error("there is no BPF file system at {path} and none can be mounted: mount -t bpf bpf {path}")]
    NoBpffs {
        /// Where it was looked for last.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The directory that the operator named is none of a BPF file system.
    #[error("{0} is not in a BPF file system: mount -t bpf bpf {0}")]
    NotBpffs(PathBuf),
    /// Something with the pins.
    #[error("cannot {step} {path}")]
    Pin {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another daemon works with these pins.
    #[error("the program in the kernel belongs to another daemon of this network namespace ({0} is locked)")]
    InUse(PathBuf),
    /// bpf(2) is not permitted.
    #[error(
        "no permission to use bpf(2): run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, outside of user namespaces"
    )]
    NoPermission(#[source] io::Error),
    /// bpf(2) is permitted, but not to load these programs, and nobody has made them ready.
    // The kernel's answer, a plain refusal, would say nothing more: so it is no source.
    #[error(
        "this process may attach programs but not load them (that takes CAP_PERFMON), and {why}: as root, `xlat load --config \
         FILE` before the start makes them ready, or says why it cannot; the service does that itself: systemctl restart xlat, \
         and see what `xlat load` says in its log"
    )]
    NotPrepared {
        /// Why there are none that can be used.
        why: String,
    },
    /// The object does not hold what it must: our own bug.
    #[error("the program does not fit the daemon: {0}")]
    Mismatch(String),
    /// The kernel does not take the program.
    #[error("this kernel does not accept the program {program}: {reason}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// The end of the verifier's log, and what was wrong otherwise.
        reason: String,
    },
    /// A map could not be read or written.
    #[error("cannot {step} in the kernel's tables")]
    Map {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program could not be attached.
    #[error("cannot attach to interface {interface} ({how})")]
    Attach {
        /// The interface's index.
        interface: u32,
        /// By which way.
        how: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl FastPathError {
    /// For `map_err`: a map could not be read or written.
    pub(super) fn map(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Map { step, source }
    }
}
