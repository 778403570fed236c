//! `xlat run`: the daemon. Sets the host up, starts the workers, and from then on only watches: signals, the host's
//! addresses, the service manager. Packets never pass through this thread.

mod capture;
mod control;
mod counters;
mod data_path;
mod events;
mod follow;
pub(crate) mod kernel;
mod leftovers;
mod observe;
mod service;
mod setup;
pub(crate) mod snapshot;
mod sync;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval};
use xlat_config::{Config, Hint, load_file};
use xlat_control::events::What as Happened;
use xlat_control::{About, Edit, Error};
use xlat_engine::{Engine, EngineOptions};
use xlat_linux::datapath::{WorkerOptions, Workers};
use xlat_linux::netlink::watch::{HostAddresses, Watcher};
use xlat_linux::netlink::{self, Host, HostPlan, RouteChanges, Warning};
use xlat_linux::privileges::{self, Capabilities};
use xlat_linux::tun::{MAX_MTU, Tun};
use xlat_translate::policy::Hops;

use crate::cli;
use crate::failure::{Failure, Outcome, with_causes};
use crate::host;
use crate::logging;
use capture::Tap;
use control::{Control, What};
use data_path::DataPath;
use events::{Events, Note, Watch};
use kernel::Kernel;
use leftovers::{FreshPins, Unfinished, end_kernel, end_other, open_device, take_over};
use observe::{Observer, Subject};
use service::{PULSE, Service};
use setup::{check, log_findings, plan, read, secret};
use snapshot::Snapshot;
use sync::Sync;
use web::Outside;

/// What is logged when packets are translated.
pub(crate) const READY: &str = "xlat is ready";

/// Parts of the state per worker: enough to keep them out of each other's way.
const SHARDS_PER_WORKER: usize = 32;

/// How long the device may take until packets pass.
const DEVICE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs until a signal ends it.
pub(crate) fn run(arguments: &cli::Run) -> Outcome<ExitCode> {
    let logging = logging::start(arguments.log_level.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut daemon = Daemon::start(arguments, logging.lost()).await?;
        match daemon.serve(&mut signals).await {
            Ok(end) => daemon.end(end).await,
            Err(failure) => {
                daemon.end(End::TakeBack).await;
                return Err(failure);
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How the daemon is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What the kernel knows goes on.
    LeaveKernel,
    /// Everything is taken back.
    TakeBack,
}

struct Daemon {
    /// Its own file, unless commands have started it.
    path: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    config: Config,
    engine: Arc<Engine>,
    workers: Workers,
    /// The kernel's part, or why there is none.
    kernel: Result<Kernel, String>,
    host: Host,
    /// What was warned of last: the same is not said again whenever something happens to the host.
    warned: Vec<Warning>,
    events: Events,
    watch: Watch,
    sync: Sync,
    control: Control,
    /// Whoever watches.
    observer: Observer,
    web: Outside,
    snapshot: Snapshot,
    service: Service,
    /// Keeps `addresses` up to date as long as it lives.
    _watcher: Watcher,
    addresses: Receiver<HostAddresses>,
    /// Counts changes of routes and neighbours.
    routes: Receiver<RouteChanges>,
    /// What had changed of them when it was last looked at.
    routes_seen: RouteChanges,
}

impl Daemon {
    /// `lost` counts lines that standard error did not take.
    async fn start(arguments: &cli::Run, lost: Arc<AtomicU64>) -> Outcome<Self> {
        let watcher = Watcher::start()
            .await
            .map_err(|error| Failure::doing("cannot read this host's addresses", &error))?;
        let mut addresses = watcher.subscribe();
        let mut now = addresses.borrow_and_update().clone();
        let routes = watcher.routes_changed();
        // An empty one is filled by the API.
        let loaded = if arguments.empty { None } else { Some(read(&arguments.config)?) };
        let config = loaded.as_ref().map_or_else(Config::default, |loaded| loaded.config.clone());
        // Dropped after the kernel's part, as it was made before.
        let mut fresh = FreshPins(None);
        let kernel = Kernel::open(&config, arguments.bpffs.as_deref());
        if kernel.as_ref().is_ok_and(Kernel::is_fresh) {
            fresh.0 = Some(arguments.bpffs.clone());
        }
        if let Err(why) = &kernel {
            tracing::warn!("every packet goes through the daemon, there is no fast path: {why}");
        }
        if let Some(loaded) = &loaded {
            check(loaded, &now, kernel.as_ref().err())?;
        }
        let state_dir = arguments.state_dir.clone();
        if let Some(device) = kernel.as_ref().ok().and_then(Kernel::former_device)
            && let Err(failure) = end_other(device, &mut now, &config, state_dir.as_deref()).await
        {
            tracing::warn!("something of the device's former name is left: {failure}");
        }
        let former = netlink::owner(&config.device.name, state_dir.as_deref())?;
        let is_left = former.is_some_and(|owner| !owner.alive);
        let was_left = kernel.is_ok() && is_left;
        if is_left && kernel.is_err() {
            end_kernel(&config.device.name, arguments.bpffs.as_deref());
        }
        // Dropped last: by then nothing holds device and programs any more.
        let mut unfinished = Unfinished::default();
        let tun = open_device(&config, was_left)?;
        let device = tun.index();
        let events = Events::start(&config, lost)?;
        let sync = Sync::start(events.sender())?;
        let options = EngineOptions {
            hops: Hops::Restore,
            mtu4: MAX_MTU,
            mtu6: MAX_MTU,
            secret: secret()?,
            shards: tun.queue_count() * SHARDS_PER_WORKER,
            flows: kernel.as_ref().ok().map(Kernel::sink),
            peers: Some(Arc::new(sync.clone())),
        };
        let engine = Engine::new(&config, host::own_addresses(&now), options)?;
        engine.set_implicit(kernel::implicit(&config, &now))?;
        sync.attach(&engine);
        events.attach(&engine);
        sync.configure(&config);
        tracing::info!(
            device = tun.name(),
            queues = tun.queue_count(),
            offloads = %tun.offload(),
            instances = config.instances.len(),
            "translating"
        );
        let snapshot = Snapshot::of(&config.device.name, state_dir.as_deref());
        take_over(kernel.as_ref().ok(), &engine, &snapshot);
        let mut kernel = kernel;
        if let Ok(kernel) = &mut kernel {
            unfinished.0 = Some((config.device.name.clone(), arguments.bpffs.clone()));
            tun.set_persistent(true)?;
            kernel.start(&config, &now, device, &engine)?;
        }
        let tap = Arc::<Tap>::default();
        let workers = Workers::start(tun, WorkerOptions::default(), |_| {
            Box::new(DataPath::new(engine.worker(), events.sender(), Arc::clone(&tap), device))
        })?;
        engine.set_wake(workers.waker());
        let host = Host::apply(HostPlan {
            adopt: was_left,
            loop_rules: kernel.is_err(),
            ..plan(&config, &now, state_dir.as_deref())
        })
        .await?;
        (fresh.0, unfinished.0) = (None, None);
        let path = loaded.is_some().then(|| arguments.config.clone());
        let about = About {
            file: path.clone(),
            workers: workers.counters().count(),
            no_fast_path: kernel.as_ref().err().cloned(),
            ..About::default()
        };
        let observer = Observer::start(Subject {
            engine: Arc::clone(&engine),
            workers: workers.counters().cloned().collect(),
            maps: kernel.as_ref().ok().map(Kernel::maps),
            by_kernel: ArcSwap::default(),
            config: ArcSwap::from_pointee(config.clone()),
        })?;
        let ears = (events.listeners(), sync.clone());
        let control = Control::start(
            &config,
            Arc::clone(&engine),
            tap,
            addresses.clone(),
            about,
            ears,
            observer.clone(),
        );
        let watch = Watch::new(events.sender(), &engine);
        let web = Outside::start(observer.clone(), &config);
        let mut daemon = Self {
            path,
            state_dir,
            config,
            engine,
            workers,
            kernel,
            host,
            warned: Vec::new(),
            watch,
            events,
            sync,
            control,
            observer,
            web,
            snapshot,
            service: Service::new(),
            _watcher: watcher,
            addresses,
            routes,
            routes_seen: RouteChanges::default(),
        };
        daemon.tell_route_mtus().await;
        daemon.tell_rules().await;
        daemon.warn();
        // To set the host up again, and to take it back, takes the first; the maps of the programs take the other.
        let keep = match daemon.kernel {
            Ok(_) => Capabilities::NET_ADMIN.or(Capabilities::BPF),
            Err(_) => Capabilities::NET_ADMIN,
        };
        if let Err(error) = privileges::drop_all_but(keep) {
            tracing::warn!("privileges are kept: {}", with_causes(&error));
        }
        if !Tun::wait_until_running(&daemon.config.device.name, DEVICE_PATIENCE)? {
            tracing::warn!("the device is up, but the kernel does not say that packets pass");
        }
        daemon.service.ready();
        daemon.observer.set_ready(true);
        tracing::info!("{READY}");
        Ok(daemon)
    }

    /// Answers signals and changes of the host until it is time to end.
    async fn serve(&mut self, signals: &mut Signals) -> Outcome<End> {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(End::LeaveKernel),
                _ = signals.interrupt.recv() => return Ok(End::TakeBack),
                _ = signals.reload.recv() => {
                    self.service.reloading();
                    // What is wrong has been logged.
                    let _outcome = self.reload().await;
                    self.service.ready();
                }
                _ = signals.counters.recv() => self.log_counters(),
                request = self.control.next() => self.answer(request).await,
                Ok(()) = self.addresses.changed() => self.host_changed().await?,
                Ok(()) = self.routes.changed() => self.routes_changed().await,
                _ = pulse.tick() => {
                    if self.workers.any_ended() {
                        return Err(Failure::new("a worker ended: its device is gone, or it failed; see the log"));
                    }
                    self.events.report_lost();
                    self.engine.free_former();
                    self.watch.look(&self.engine);
                    self.observer.pulse();
                    self.tell_kernel(|kernel, daemon| kernel.heartbeat(&daemon.config));
                    self.service.alive();
                }
            }
        }
    }

    /// Reads the configuration again. On any error everything stays as it was.
    async fn reload(&mut self) -> Result<(), Error> {
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(()) => {
                tracing::info!("configuration was read again");
                if let Err(failure) = self.events.reopen_log() {
                    tracing::error!("lines go where they went before: {failure}");
                }
                self.events.sender().note(Note::new(Happened::Reloaded));
            }
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error}");
                let text = Some(error.to_string());
                self.events.sender().note(Note { text, ..Note::new(Happened::ReloadFailed) });
            }
        }
        outcome
    }

    async fn try_reload(&mut self) -> Result<(), Error> {
        let addresses = self.addresses.borrow_and_update().clone();
        let Some(path) = &self.path else {
            return Err(Error::invalid("this daemon was started by a command and has no file to read")
                .with_help("`xlat export` prints the file of what is in force; `xlat stop` and then `xlat run --config FILE` go on with it"));
        };
        let loaded = load_file(path, &Hint::default()).map_err(|found| {
            log_findings(&found.list);
            Error::among(&found.list).unwrap_or_else(|| Error::invalid(found.to_string()))
        })?;
        log_findings(&loaded.warnings.list);
        // Rather a file that was cut off than the wish to end everything.
        if loaded.config.instances.is_empty() && !self.config.instances.is_empty() {
            return Err(Error::invalid(
                "the file has no instance any more: to end translation, use `xlat stop` or `instance flush`",
            ));
        }
        let found = host::check(&loaded, &addresses, self.kernel.as_ref().err().map(String::as_str));
        log_findings(&found);
        Error::among(&found).map_or(Ok(()), Err)?;
        self.adopt(loaded.config, &addresses, false).await.map_err(|failure| control::not_in_force(&failure))
    }

    /// Does what the API asks for.
    async fn answer(&mut self, request: control::Request) {
        request.answer.give(match request.what {
            What::Edit(edit, only_try) => self.edit(edit, only_try).await,
            What::Reload => self.reload().await,
        });
    }

    async fn edit(&mut self, edit: Edit, only_try: bool) -> Result<(), Error> {
        let addresses = self.addresses.borrow().clone();
        let config = control::edited(edit, &self.config, &addresses, self.kernel.as_ref().err())?;
        if only_try {
            return Ok(());
        }
        self.adopt(config, &addresses, true).await.map_err(|failure| control::not_in_force(&failure))
    }

    /// Puts a checked configuration in force, or leaves everything as it was.
    async fn adopt(&mut self, config: Config, addresses: &HostAddresses, by_api: bool) -> Outcome {
        let (old, new) = (&self.config.device, &config.device);
        if (&old.name, old.queues) != (&new.name, new.queues) {
            return Err(Failure::new("another device name or number of queues takes a restart"));
        }
        let log = self.events.open_log(&config)?;
        let sockets = self.web.prepare(&config)?;
        let state_dir = self.state_dir.as_deref();
        let changed = self.host.update(plan(&config, addresses, state_dir)).await.map_err(Failure::from);
        // The kernel knows instances by their place: none may be taken for another meanwhile.
        let place = |one: &xlat_config::Instance| (one.kind.translator(), one.name.clone());
        let places = |config: &Config| config.instances.iter().map(place).collect::<Vec<_>>();
        let moved = places(&self.config) != places(&config);
        self.tell_kernel(|kernel, _| kernel.hand_over_all(moved));
        let changed = match changed {
            Ok(()) => self.engine.reconfigure(&config).map_err(Failure::from),
            failed => failed,
        };
        if old_paths_differ(&self.config, &config) {
            tracing::warn!(
                "whether there is a fast path at all, and its room, change with the next start only"
            );
        }
        if changed.is_err() {
            self.tell_kernel(|kernel, _| kernel.hand_over_all(false));
            let former = plan(&self.config, addresses, state_dir);
            if let Err(error) = self.host.update(former).await {
                tracing::error!("cannot go back to the former routes: {}", with_causes(&error));
            }
        } else {
            self.events.configure(&config, log);
            self.sync.configure(&config);
            self.watch.changed(&self.config, &config);
            self.control.publish(&config, by_api);
            self.observer.configure(&config);
            self.web.serve(&config, sockets);
            self.config = config;
            let followed = self.follow_host(addresses);
            self.warn();
            return followed.map_err(|failure| {
                Failure::new(format!("it is in force, but the kernel's part does not follow: {failure}"))
            });
        }
        changed
    }

    fn log_counters(&self) {
        for line in counters::table(&self.engine, &self.workers).lines() {
            tracing::info!("{line}");
        }
    }

    /// Ends: everything is taken back, or what the kernel knows goes on and the next daemon finds it.
    async fn end(self, end: End) {
        self.service.stopping();
        self.observer.set_ready(false);
        tracing::info!("ending");
        self.log_counters();
        let leaves = end == End::LeaveKernel && !self.config.fast_path.outlive.is_zero();
        let device = self.config.device.name.clone();
        match self.kernel {
            Ok(kernel) if leaves => {
                self.workers.stop();
                kernel.drain();
                if let Err(failure) = self.snapshot.write(&self.engine, &self.config) {
                    tracing::warn!("sessions that the kernel does not know are lost: {failure}");
                }
                self.host.leave();
                tracing::info!(outlive = ?self.config.fast_path.outlive, "known flows go on without the daemon");
            }
            kernel => {
                if let Ok(kernel) = kernel
                    && let Err(failure) = kernel.end()
                {
                    tracing::error!("something is left in the kernel: {failure}");
                }
                self.host.restore().await;
                self.workers.stop();
                self.snapshot.remove();
                if let Err(error) = Tun::remove(&device) {
                    tracing::warn!(device, "the device is left: {}", with_causes(&error));
                }
            }
        }
        self.events.finish();
    }
}

/// Whether two configurations differ in what only a start can change.
fn old_paths_differ(old: &Config, new: &Config) -> bool {
    let (old, new) = (&old.fast_path, &new.fast_path);
    (old.enabled, old.max_flows) != (new.enabled, new.max_flows)
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
