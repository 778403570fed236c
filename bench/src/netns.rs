//! Work inside a network namespace, by a thread that enters it and may be bound to a processor.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity};
use xlat_netlab::Namespace;

use crate::Error;

/// Does `work` in `namespace`, on processor `processor` if one is named.
///
/// # Errors
///
/// When the namespace cannot be entered, or whatever the work ends with.
pub fn inside<T: Send>(
    namespace: &Namespace,
    processor: Option<usize>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let namespace = File::open(format!("/proc/{}/ns/net", namespace.pid()))?;
    let enter = || -> Result<T, Error> {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        if let Some(processor) = processor {
            let mut set = CpuSet::new();
            set.set(processor);
            sched_setaffinity(None, &set)?;
        }
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join())
        .unwrap_or_else(|_| Err("a thread has panicked".into()))
}
