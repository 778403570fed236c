//! What a daemon that is gone has left, and what a start leaves that does not come to its end.

use std::path::{Path, PathBuf};

use xlat_config::Config;
use xlat_engine::Engine;
use xlat_linux::fastpath::{self, FastPathError, Pins};
use xlat_linux::netlink;
use xlat_linux::netlink::watch::HostAddresses;
use xlat_linux::tun::Tun;

use super::kernel::Kernel;
use super::snapshot::Snapshot;
use crate::failure::{Outcome, with_causes};

/// The device: the one that a former daemon left, or a new one.
pub(super) fn open_device(config: &Config, was_left: bool) -> Outcome<Tun> {
    let device = &config.device;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queues = device.queues.map_or(cores, usize::from);
    if was_left {
        match Tun::reopen(&device.name, queues) {
            Ok(tun) => return Ok(tun),
            Err(error) => tracing::debug!("no device was left: {}", with_causes(&error)),
        }
    }
    Ok(Tun::create(&device.name, queues)?)
}

/// The maps of a start that has not come to its end, where there were none before.
pub(super) struct FreshPins(pub(super) Option<Option<PathBuf>>);

impl Drop for FreshPins {
    fn drop(&mut self) {
        if let Some(bpffs) = &self.0 {
            end_programs(bpffs.as_deref());
        }
    }
}

/// Device and programs of a start that has not come to its end. Without a journal nobody would know of them.
#[derive(Default)]
pub(super) struct Unfinished(pub(super) Option<(String, Option<PathBuf>)>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((device, bpffs)) = &self.0 {
            end_kernel(device, bpffs.as_deref());
        }
    }
}

/// Takes back what was set up for the device `index`, with which the kernel's part worked until now, if it is not the one
/// of `config` and nobody uses it: the device was given another name while no daemon ran.
pub(super) async fn end_other(
    index: u32,
    host: &mut HostAddresses,
    config: &Config,
    state_dir: Option<&Path>,
) -> Outcome {
    let found = host.interfaces.iter().find(|interface| interface.index == index);
    let Some(name) = found.map(|found| found.name.clone()).filter(|name| *name != config.device.name) else {
        return Ok(());
    };
    if netlink::owner(&name, state_dir)?.is_none_or(|owner| owner.alive) {
        return Ok(());
    }
    tracing::info!(device = name, "taking back what was set up for the device's former name");
    let folder = state_dir.map_or_else(netlink::default_journal_directory, Path::to_owned);
    netlink::undo(&name, &folder).await?;
    Tun::remove(&name)?;
    Snapshot::of(&name, state_dir).remove();
    host.interfaces.retain(|interface| interface.index != index);
    Ok(())
}

/// Ends what the kernel does by itself.
fn end_programs(bpffs: Option<&Path>) {
    match Pins::existing(bpffs).and_then(|pins| pins.as_ref().map_or(Ok(()), fastpath::flush)) {
        // A daemon with another device has it.
        Ok(()) | Err(FastPathError::InUse(_)) => {}
        Err(error) => tracing::warn!("something is left in the kernel: {}", with_causes(&error)),
    }
}

/// Ends what the kernel does by itself, and takes away the persistent device, which nobody uses.
pub(super) fn end_kernel(device: &str, bpffs: Option<&Path>) {
    end_programs(bpffs);
    if let Err(error) = Tun::remove(device) {
        tracing::warn!(device, "the device is left: {}", with_causes(&error));
    }
}

/// Puts back what a former daemon left: the sessions that it wrote down when it ended, and those that the kernel knows.
pub(super) fn take_over(kernel: Option<&Kernel>, engine: &Engine, snapshot: &Snapshot) {
    let written = snapshot.restore(engine).unwrap_or_else(|failure| {
        tracing::warn!("the sessions that were written down are lost: {failure}");
        0
    });
    let known = kernel.map_or(Ok(0), |kernel| kernel.restore(engine)).unwrap_or_else(|failure| {
        tracing::warn!("the flows that the kernel knows are lost: {failure}");
        0
    });
    if written + known > 0 {
        tracing::info!(written, known, "sessions of a former daemon go on");
    }
}
