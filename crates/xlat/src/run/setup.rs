//! What a daemon needs to begin: its configuration, checked against the host, what the host has to look like for it, and a key.

use std::path::Path;

use xlat_config::{Config, Diagnostic, Hint, Loaded, Severity, load_file};
use xlat_engine::Routes;
use xlat_linux::netlink::HostPlan;
use xlat_linux::netlink::watch::HostAddresses;

use crate::failure::{Failure, Outcome};
use crate::host;

/// Reads a configuration; what is found is logged.
pub(super) fn read(path: &Path) -> Outcome<Loaded> {
    let loaded = load_file(path, &Hint::default()).map_err(|diagnostics| {
        log_findings(&diagnostics.list);
        Failure::new(format!("{} has errors", path.display()))
    })?;
    log_findings(&loaded.warnings.list);
    Ok(loaded)
}

/// Checks it against the host; `no_sharing` says why the host's own addresses cannot be in pool4, if they cannot.
pub(super) fn check(loaded: &Loaded, addresses: &HostAddresses, no_sharing: Option<&String>) -> Outcome {
    let found = host::check(loaded, addresses, no_sharing.map(String::as_str));
    log_findings(&found);
    if host::has_errors(&found) {
        return Err(Failure::new("the configuration cannot be used on this host"));
    }
    Ok(())
}

pub(super) fn log_findings(found: &[Diagnostic]) {
    for diagnostic in found {
        for line in diagnostic.to_string().lines() {
            match diagnostic.severity {
                Severity::Error => tracing::error!("{line}"),
                Severity::Warning => tracing::warn!("{line}"),
            }
        }
    }
}

/// What the host has to look like.
pub(super) fn plan(config: &Config, addresses: &HostAddresses, state_dir: Option<&Path>) -> HostPlan {
    let device = &config.device;
    let needed = Routes::of(config, &host::connected(addresses, &device.name));
    let mut plan = HostPlan::new(device.name.clone());
    plan.routes = needed.routes;
    plan.proxied4 = needed.proxied4;
    plan.proxied6 = needed.proxied6;
    plan.proxy_interface = device.proxy_interface.clone();
    // A host does not become a router because a daemon waits there for something to do.
    plan.forwarding = !config.instances.is_empty();
    if let Some(folder) = state_dir {
        plan.journal_directory = folder.to_owned();
    }
    plan
}

/// A key that nobody knows.
pub(super) fn secret() -> Outcome<[u8; 16]> {
    let mut secret = [0; 16];
    let mut filled = 0;
    while let Some(rest) = secret.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::doing("the kernel gives no random numbers", &error))?;
    }
    Ok(secret)
}
