//! The daemon and the host around it, which changes: addresses, interfaces, routes and rules come and go, and others take
//! away what was set up. The engine and the kernel's part are told.

use xlat_linux::netlink::watch::HostAddresses;
use xlat_linux::netlink::{self, Warning};

use super::Daemon;
use super::kernel::{self, Kernel};
use super::setup::plan;
use crate::failure::{Failure, Outcome, with_causes};
use crate::host;

impl Daemon {
    /// Adapts to interfaces and addresses that came or went. Fails if our own device did: renamed, or moved to another
    /// namespace, it no longer is where the routes and rules say.
    pub(super) async fn host_changed(&mut self) -> Outcome {
        let addresses = self.addresses.borrow_and_update().clone();
        let device = &self.config.device.name;
        if addresses.interface(device).is_none() {
            return Err(Failure::new(format!(
                "the device \"{device}\" is gone: deleted, renamed or moved by somebody else; start again to make it anew"
            )));
        }
        tracing::debug!("addresses or interfaces of this host have changed");
        self.engine.set_host(host::own_addresses(&addresses));
        if let Err(failure) = self.follow_host(&addresses) {
            tracing::error!("cannot follow this host's addresses: {failure}");
        }
        // Not every route that goes with an interface is told of.
        self.tell_kernel(|kernel, _| kernel.forget_routes());
        self.set_host_up_again().await;
        Ok(())
    }

    /// Makes what the host lacks, and takes back what it needs no more.
    async fn set_host_up_again(&mut self) {
        let plan = plan(&self.config, &self.addresses.borrow(), self.state_dir.as_deref());
        match self.host.update(plan).await {
            Ok(()) => self.warn(),
            Err(error) => tracing::error!("cannot adapt to this host as it is now: {}", with_causes(&error)),
        }
    }

    pub(super) fn warn(&mut self) {
        let shares = |warning: &Warning| match (warning, &self.kernel) {
            (Warning::OwnAddress(address), Ok(kernel)) => kernel.shares(*address),
            _other => false,
        };
        for warning in self.host.warnings() {
            if !self.warned.contains(warning) && !shares(warning) {
                tracing::warn!("{warning}");
            }
        }
        self.warned = self.host.warnings().to_vec();
    }

    /// What flows remember of their ways holds no longer; another address may be the one to go out by.
    pub(super) async fn routes_changed(&mut self) {
        let changes = *self.routes.borrow_and_update();
        let before = std::mem::replace(&mut self.routes_seen, changes);
        if changes.metrics != before.metrics {
            self.tell_route_mtus().await;
        }
        if changes.deleted != before.deleted {
            self.set_host_up_again().await;
        }
        self.tell_rules().await;
        let addresses = self.addresses.borrow().clone();
        if kernel::implicit(&self.config, &addresses).is_some()
            && let Err(failure) = self.follow_host(&addresses)
        {
            tracing::error!("cannot follow this host's address: {failure}");
        }
        self.tell_kernel(|kernel, _| kernel.forget_routes());
    }

    /// Tells the kernel which routes have an MTU of their own.
    pub(super) async fn tell_route_mtus(&self) {
        let Ok(kernel) = &self.kernel else { return };
        let told = match netlink::route_mtus4().await {
            Ok(mtus) => kernel.set_route_mtus(&mtus),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = told {
            tracing::error!("the kernel does not know the MTUs of routes: {failure}");
        }
    }

    /// Tells the kernel what the host routes by besides destinations.
    pub(super) async fn tell_rules(&self) {
        let Ok(kernel) = &self.kernel else { return };
        let told = match netlink::routed_by().await {
            Ok(by) => kernel.set_routed_by(by),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = told {
            tracing::error!("the kernel does not know what packets are routed by: {failure}");
        }
    }

    /// Tells engine and kernel of the host as it is.
    pub(super) fn follow_host(&mut self, addresses: &HostAddresses) -> Outcome {
        self.engine.set_implicit(kernel::implicit(&self.config, addresses))?;
        match &mut self.kernel {
            Ok(kernel) => kernel.apply(&self.config, addresses, &self.engine),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn tell_kernel(&self, tell: impl FnOnce(&Kernel, &Self) -> Outcome) {
        if let Ok(kernel) = &self.kernel
            && let Err(failure) = tell(kernel, self)
        {
            tracing::error!("the kernel does not follow: {failure}");
        }
    }
}
