//! The API inside the daemon: a thread of its own answers on the socket; what is to change comes from there to the control
//! loop, which alone has the configuration, and is answered when it is in force.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use xlat_config::{Config, Kind, Place, validate};
use xlat_control::api::Counter;
use xlat_control::capture::{Source, Wanted};
use xlat_control::events;
use xlat_control::live::Live;
use xlat_control::peers::Peers;
use xlat_control::{
    About, Answer as Later, Blame, ByKernel, Daemon, Edit, Error, Holder, holder, listen, server,
};
use xlat_engine::Engine;
use xlat_linux::netlink::watch::HostAddresses;
use xlat_linux::privileges::drop_thread_capabilities;

use super::capture::Tap;
use super::events::Listeners;
use super::observe::Observer;
use super::sync::Sync;
use crate::failure::{Failure, Outcome, with_causes};
use crate::host;

/// Between two attempts to have the socket's name.
const NAME_PAUSE: Duration = Duration::from_secs(1);
/// Changes that may wait for the control loop.
const WAITING: usize = 16;

/// What somebody waits for.
pub(super) struct Request {
    pub(super) what: What,
    pub(super) answer: Answer,
}

/// What can be asked of the control loop.
pub(super) enum What {
    /// A change of the configuration, or only whether it could be made.
    Edit(Edit, OnlyTry),
    /// That the file is read again.
    Reload,
}

/// Whether nothing is to change.
pub(super) type OnlyTry = bool;

/// The configuration in force.
#[derive(Clone)]
struct InForce {
    config: Arc<Config>,
    /// By the API, since the file was read.
    edited: bool,
}

/// The control loop's end of the API.
pub(super) struct Control {
    requests: mpsc::Receiver<Request>,
    config: watch::Sender<InForce>,
}

impl Control {
    /// Takes the socket's name and starts to answer. The API is an offer: where it cannot be made the packets go on.
    pub(super) fn start(
        config: &Config,
        engine: Arc<Engine>,
        tap: Arc<Tap>,
        addresses: watch::Receiver<HostAddresses>,
        about: About,
        (listeners, sync): (Listeners, Sync),
        observer: Observer,
    ) -> Self {
        let (sender, requests) = mpsc::channel(WAITING);
        let (publisher, config_now) =
            watch::channel(InForce { config: Arc::new(config.clone()), edited: false });
        let about = (about, Instant::now());
        let api = Api {
            engine,
            listeners,
            sync,
            tap,
            addresses,
            config: config_now,
            about,
            requests: sender,
            observer,
        };
        if let Err(failure) = answer(config.device.name.clone(), api) {
            tracing::warn!("there is no API: {failure}");
        }
        Self { requests, config: publisher }
    }

    /// The next change to be made. Never, where there is no API.
    pub(super) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Says which configuration is in force from now on, and whether the API made it.
    pub(super) fn publish(&self, config: &Config, edited: bool) {
        self.config.send_replace(InForce { config: Arc::new(config.clone()), edited });
    }
}

/// The configuration as it is to be, checked as a whole.
pub(super) fn edited(
    edit: Edit,
    config: &Config,
    addresses: &HostAddresses,
    no_sharing: Option<&String>,
) -> Result<Config, Error> {
    let mut edited = config.clone();
    edit(&mut edited)?;
    if let Some(found) = diff_of_device(config, &edited) {
        return Err(Error::invalid(format!("another {found} takes a restart")).at("device"));
    }
    check(edited, addresses, no_sharing)
}

/// What only a start can change, if it differs.
fn diff_of_device(old: &Config, new: &Config) -> Option<&'static str> {
    let (old, new) = (&old.device, &new.device);
    match (old.name == new.name, old.queues == new.queues) {
        (false, _) => Some("device name"),
        (true, false) => Some("number of queues"),
        (true, true) => None,
    }
}

/// Somebody who waits.
pub(super) struct Answer(oneshot::Sender<Result<(), Error>>);

impl Answer {
    pub(super) fn give(self, outcome: Result<(), Error>) {
        // Whoever asked may have gone; what was done holds all the same.
        let _gone = self.0.send(outcome);
    }
}

/// What went wrong when a checked configuration was put in force.
pub(super) fn not_in_force(failure: &Failure) -> Error {
    Error::failed(Blame::Host, failure.to_string())
}

fn check(config: Config, addresses: &HostAddresses, no_sharing: Option<&String>) -> Result<Config, Error> {
    // A daemon that is told what to do by the API begins with nothing.
    let found = if config.instances.is_empty() { Vec::new() } else { validate(&config).list };
    let mut found_here = host::findings(&config, addresses, no_sharing.map(String::as_str));
    // An instance is made first and gets its pool4 afterwards.
    found_here.retain(|found| !matches!(found.place, Place::Instance(at) if lacks_pool4(&config, at)));
    match Error::among(found.iter().chain(&found_here)) {
        Some(error) => Err(error),
        None => Ok(config),
    }
}

fn lacks_pool4(config: &Config, at: usize) -> bool {
    let kind = config.instances.get(at).map(|instance| &instance.kind);
    matches!(kind, Some(Kind::Nat64(nat64)) if nat64.pool4.is_empty())
}

/// Starts the thread that answers, at once or as soon as the socket's name can be had: anybody in the namespace can take it.
fn answer(device: String, api: Api) -> Outcome {
    let listener = match listen(&device) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        tried => Some(tried.map_err(|error| Failure::doing("the socket's name cannot be had", &error))?),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let uid = rustix::process::geteuid().as_raw();
    // It ends with the process.
    let _thread = std::thread::Builder::new().name("xlat-api".to_owned()).spawn(move || {
        // Answering takes none.
        if let Err(error) = drop_thread_capabilities() {
            tracing::warn!("privileges are kept: {}", with_causes(&error));
        }
        let serve = async {
            let listener = match listener {
                Some(listener) => listener,
                None => wait_for_name(&device).await?,
            };
            server::serve(listener, api, uid).await
        };
        if let Err(error) = runtime.block_on(serve) {
            tracing::error!(%error, "the API has ended");
        }
    })?;
    Ok(())
}

/// Tries until the name can be had.
async fn wait_for_name(device: &str) -> io::Result<UnixListener> {
    let mut told = None;
    loop {
        match listen(device) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Ok(listener) => {
                tracing::info!("the API's name is free: it answers now");
                return Ok(listener);
            }
            Err(error) => return Err(error),
        }
        // Nobody, where it has just gone, or takes no connections.
        let now = holder(device).await.ok();
        if told != Some(now) {
            told = Some(now);
            tracing::warn!("there is no API until its name is free: {} has it", described(now));
        }
        tokio::time::sleep(NAME_PAUSE).await;
    }
}

fn described(holder: Option<Holder>) -> String {
    let Some(Holder { pid, uid }) = holder else { return "another process".to_owned() };
    let Some(pid) = pid.filter(|pid| *pid > 0) else { return format!("a process of user {uid}") };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({}) of user {uid}", name.trim_end().escape_default())
}

/// What the server sees of the daemon.
struct Api {
    engine: Arc<Engine>,
    listeners: Listeners,
    sync: Sync,
    tap: Arc<Tap>,
    addresses: watch::Receiver<HostAddresses>,
    config: watch::Receiver<InForce>,
    /// What does not change, and when the daemon began.
    about: (About, Instant),
    requests: mpsc::Sender<Request>,
    observer: Observer,
}

impl Daemon for Api {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow().config)
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn ephemeral_ports(&self) -> (u16, u16) {
        host::own_ports()
    }

    fn capture(&self, wanted: Wanted) -> Result<Source, Error> {
        self.tap.open(wanted)
    }

    fn events(&self, wanted: events::Wanted) -> Result<events::Source, Error> {
        self.listeners.open(wanted)
    }

    fn by_kernel(&self, place: usize) -> Later<'_, ByKernel> {
        Box::pin(self.observer.by_kernel(place))
    }

    fn peers(&self) -> &dyn Peers {
        &self.sync
    }

    fn log_counters(&self) -> Vec<Counter> {
        self.listeners.counters()
    }

    fn interface_name(&self, index: u32) -> Option<String> {
        let addresses = self.addresses.borrow();
        let found = addresses.interfaces.iter().find(|interface| interface.index == index);
        found.map(|interface| interface.name.clone())
    }

    fn live(&self, after: Option<u64>) -> Later<'_, Arc<Live>> {
        Box::pin(self.observer.live(after))
    }

    fn change(&self, edit: Edit, only_try: bool) -> Later<'_, Result<(), Error>> {
        Box::pin(self.ask(What::Edit(edit, only_try)))
    }

    fn reload(&self) -> Later<'_, Result<(), Error>> {
        Box::pin(self.ask(What::Reload))
    }

    fn about(&self) -> About {
        let (about, began) = &self.about;
        About { uptime: began.elapsed(), differs_from_file: self.config.borrow().edited, ..about.clone() }
    }
}

impl Api {
    async fn ask(&self, what: What) -> Result<(), Error> {
        let ending = |_| Error::failed(Blame::Host, "the daemon is ending");
        let (answer, outcome) = oneshot::channel();
        let request = Request { what, answer: Answer(answer) };
        self.requests.send(request).await.map_err(|_| ending(()))?;
        outcome.await.map_err(|_| ending(()))?
    }
}
