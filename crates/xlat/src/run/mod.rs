//! `xlat run`: the daemon. Sets the host up, starts the workers, and from then on only watches: signals, the host's
//! addresses, the service manager. Packets never pass through this thread.

mod control;
mod counters;
mod data_path;
mod flow_log;
mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval};
use xlat_config::{Config, Diagnostic, Hint, Loaded, Severity, load_file};
use xlat_engine::{Engine, EngineOptions, Routes};
use xlat_linux::datapath::{WorkerOptions, Workers};
use xlat_linux::netlink::watch::{HostAddresses, Watcher};
use xlat_linux::netlink::{Host, HostPlan, Warning};
use xlat_linux::privileges::{self, Capabilities};
use xlat_linux::tun::{MAX_MTU, Tun};
use xlat_translate::policy::Hops;

use crate::cli;
use crate::failure::{Failure, Outcome, with_causes};
use crate::host;
use crate::logging;
use control::Control;
use data_path::DataPath;
use flow_log::FlowLog;
use service::{PULSE, Service};

/// What is logged when packets are translated.
pub(crate) const READY: &str = "xlat is ready";

/// Parts of the state per worker: enough to keep them out of each other's way.
const SHARDS_PER_WORKER: usize = 32;

/// Runs until a signal ends it.
pub(crate) fn run(arguments: &cli::Run) -> Outcome<ExitCode> {
    logging::start(arguments.log_level.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut daemon = Daemon::start(arguments).await?;
        let outcome = daemon.serve(&mut signals).await;
        daemon.end().await;
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Daemon {
    path: PathBuf,
    state_dir: Option<PathBuf>,
    config: Config,
    engine: Arc<Engine>,
    workers: Workers,
    host: Host,
    /// What was warned of last: the same is not said again whenever something happens to the host.
    warned: Vec<Warning>,
    flow_log: FlowLog,
    control: Control,
    service: Service,
    /// Keeps `addresses` up to date as long as it lives.
    _watcher: Watcher,
    addresses: Receiver<HostAddresses>,
}

impl Daemon {
    async fn start(arguments: &cli::Run) -> Outcome<Self> {
        let watcher = Watcher::start()
            .await
            .map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
        let mut addresses = watcher.subscribe();
        let now = addresses.borrow_and_update().clone();
        let config = match arguments.empty {
            true => Config::default(),
            false => load(&arguments.config, &now)?.config,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tun = Tun::create(&config.device.name, config.device.queues.map_or(cores, usize::from))?;
        let options = EngineOptions {
            hops: Hops::Restore,
            mtu4: MAX_MTU,
            mtu6: MAX_MTU,
            secret: secret()?,
            shards: tun.queue_count() * SHARDS_PER_WORKER,
            flows: None,
        };
        let engine = Engine::new(&config, host::own_addresses(&now), options)?;
        let flow_log = FlowLog::start(&config)?;
        tracing::info!(
            device = tun.name(),
            queues = tun.queue_count(),
            offloads = %tun.offload(),
            instances = config.instances.len(),
            "translating"
        );
        let workers = Workers::start(tun, WorkerOptions::default(), |_| {
            Box::new(DataPath::new(engine.worker(), flow_log.sender()))
        })?;
        let state_dir = arguments.state_dir.clone();
        let host = Host::apply(plan(&config, &now, state_dir.as_deref())).await?;
        let control = Control::start(&config, Arc::clone(&engine));
        let mut daemon = Self {
            path: arguments.config.clone(),
            state_dir,
            config,
            engine,
            workers,
            host,
            warned: Vec::new(),
            flow_log,
            control,
            service: Service::new(),
            _watcher: watcher,
            addresses,
        };
        daemon.warn();
        // To set the host up again, and to take it back, takes this one and no other.
        if let Err(error) = privileges::drop_all_but(Capabilities::NET_ADMIN) {
            tracing::warn!("privileges are kept: {}", with_causes(&error));
        }
        daemon.service.ready();
        tracing::info!("{READY}");
        Ok(daemon)
    }

    /// Answers signals and changes of the host until it is time to end.
    async fn serve(&mut self, signals: &mut Signals) -> Outcome {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.reload.recv() => {
                    self.service.reloading();
                    self.reload().await;
                    self.service.ready();
                }
                _ = signals.counters.recv() => self.log_counters(),
                request = self.control.next() => self.change(request).await,
                Ok(()) = self.addresses.changed() => self.host_changed().await?,
                _ = pulse.tick() => {
                    if self.workers.any_ended() {
                        return Err(Failure::new("a worker ended: its device is gone, or it failed; see the log"));
                    }
                    self.flow_log.report_lost();
                    self.service.alive();
                }
            }
        }
    }

    /// Reads the configuration again. On any error everything stays as it was.
    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => tracing::info!(file = %self.path.display(), "configuration was read again"),
            Err(failure) => tracing::error!("the configuration stays as it was: {failure}"),
        }
    }

    async fn try_reload(&mut self) -> Outcome {
        let addresses = self.addresses.borrow_and_update().clone();
        let Loaded { config, .. } = load(&self.path, &addresses)?;
        self.adopt(config, &addresses).await
    }

    /// Does what the API asks for.
    async fn change(&mut self, request: control::Request) {
        let addresses = self.addresses.borrow().clone();
        let (edited, answer) = request.edited(&self.config, &addresses);
        answer.give(match edited {
            Ok(config) => {
                self.adopt(config, &addresses).await.map_err(|failure| control::not_in_force(&failure))
            }
            Err(error) => Err(error),
        });
    }

    /// Puts a checked configuration in force, or leaves everything as it was.
    async fn adopt(&mut self, config: Config, addresses: &HostAddresses) -> Outcome {
        let (old, new) = (&self.config.device, &config.device);
        if (&old.name, old.queues) != (&new.name, new.queues) {
            return Err(Failure::new("another device name or number of queues takes a restart"));
        }
        let state_dir = self.state_dir.as_deref();
        let changed = self.host.update(plan(&config, addresses, state_dir)).await.map_err(Failure::from);
        let changed = match changed {
            Ok(()) => self.engine.reconfigure(&config).map_err(Failure::from),
            failed => failed,
        };
        if changed.is_err() {
            let former = plan(&self.config, addresses, state_dir);
            if let Err(error) = self.host.update(former).await {
                tracing::error!("cannot go back to the former routes: {}", with_causes(&error));
            }
        } else {
            self.flow_log.configure(&config);
            self.control.publish(&config);
            self.config = config;
            self.warn();
        }
        changed
    }

    /// Adapts to interfaces and addresses that came or went. Fails if our own device did: renamed, or moved to another
    /// namespace, it no longer is where the routes and rules say.
    async fn host_changed(&mut self) -> Outcome {
        let addresses = self.addresses.borrow_and_update().clone();
        let device = &self.config.device.name;
        if addresses.interface(device).is_none() {
            return Err(Failure::new(format!(
                "the device \"{device}\" is gone: deleted, renamed or moved by somebody else; start again to make it anew"
            )));
        }
        tracing::debug!("addresses or interfaces of this host have changed");
        self.engine.set_host(host::own_addresses(&addresses));
        let plan = plan(&self.config, &addresses, self.state_dir.as_deref());
        match self.host.update(plan).await {
            Ok(()) => self.warn(),
            Err(error) => tracing::error!("cannot adapt to this host's addresses: {}", with_causes(&error)),
        }
        Ok(())
    }

    fn warn(&mut self) {
        for warning in self.host.warnings().iter().filter(|warning| !self.warned.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warned = self.host.warnings().to_vec();
    }

    fn log_counters(&self) {
        for line in counters::table(&self.engine, &self.workers).lines() {
            tracing::info!("{line}");
        }
    }

    /// Takes the host's changes back, then stops the workers.
    async fn end(self) {
        self.service.stopping();
        tracing::info!("ending");
        self.log_counters();
        self.host.restore().await;
        self.workers.stop();
        self.flow_log.finish();
    }
}

/// The signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    counters: Signal,
}

impl Signals {
    fn new() -> Outcome<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            counters: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Reads and checks a configuration; what is found is logged.
fn load(path: &Path, addresses: &HostAddresses) -> Outcome<Loaded> {
    let loaded = load_file(path, &Hint::default()).map_err(|diagnostics| {
        log_findings(&diagnostics.list);
        Failure::new(format!("{} has errors", path.display()))
    })?;
    log_findings(&loaded.warnings.list);
    let found = host::check(&loaded, addresses);
    log_findings(&found);
    if host::has_errors(&found) {
        return Err(Failure::new(format!("{} cannot be used on this host", path.display())));
    }
    Ok(loaded)
}

fn log_findings(found: &[Diagnostic]) {
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
fn plan(config: &Config, addresses: &HostAddresses, state_dir: Option<&Path>) -> HostPlan {
    let device = &config.device;
    let needed = Routes::of(config, &host::connected(addresses, &device.name));
    let mut plan = HostPlan::new(device.name.clone());
    plan.routes = needed.routes;
    plan.proxied4 = needed.proxied4;
    plan.proxied6 = needed.proxied6;
    plan.proxy_interface = device.proxy_interface.clone();
    if let Some(folder) = state_dir {
        plan.journal_directory = folder.to_owned();
    }
    plan
}

/// A key that nobody knows.
fn secret() -> Outcome<[u8; 16]> {
    let mut secret = [0; 16];
    let mut filled = 0;
    while let Some(rest) = secret.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::doing("the kernel gives no random numbers", &error))?;
    }
    Ok(secret)
}
