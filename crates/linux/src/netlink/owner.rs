//! Who has set this network namespace up, as the journal says.

use std::io;
use std::path::Path;

use super::journal::{Journal, default_directory};

/// The process that has set the host up for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// It is at work. Otherwise it is gone, and what it set up still stands.
    pub alive: bool,
}

/// Who set this thread's network namespace up for `device`; `None` if nobody did. `directory` is
/// [`HostPlan::journal_directory`](super::HostPlan), unless it is the usual one.
pub fn owner(device: &str, directory: Option<&Path>) -> io::Result<Option<Owner>> {
    let directory = directory.map_or_else(default_directory, Path::to_owned);
    let content = Journal::new(&directory, device)?.stored()?;
    Ok(content.map(|content| Owner { pid: content.pid, alive: content.is_live() }))
}
