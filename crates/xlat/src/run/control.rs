//! The API inside the daemon: a thread of its own answers on the socket; what is to change comes from there to the control
//! loop, which alone has the configuration, and is answered when it is in force.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use xlat_config::{Config, Kind, Place, validate};
use xlat_control::capture::{Source, Wanted};
use xlat_control::{Answer as Later, Blame, Daemon, Edit, Error, listen, server};
use xlat_engine::Engine;
use xlat_linux::netlink::watch::HostAddresses;
use xlat_linux::privileges::drop_thread_capabilities;

use super::capture::Tap;
use crate::failure::{Failure, Outcome, with_causes};
use crate::host;

/// Changes that may wait for the control loop.
const WAITING: usize = 16;

/// A change that somebody waits for.
pub(super) struct Request {
    edit: Edit,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// The control loop's end of the API.
pub(super) struct Control {
    requests: mpsc::Receiver<Request>,
    config: watch::Sender<Arc<Config>>,
}

impl Control {
    /// Takes the socket's name and starts to answer. The API is an offer: where it cannot be made the packets go on.
    pub(super) fn start(
        config: &Config,
        engine: Arc<Engine>,
        tap: Arc<Tap>,
        addresses: watch::Receiver<HostAddresses>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(WAITING);
        let (publisher, config_now) = watch::channel(Arc::new(config.clone()));
        let api = Api { engine, tap, addresses, config: config_now, requests: sender };
        if let Err(failure) = answer(&config.device.name, api) {
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

    /// Says which configuration is in force from now on.
    pub(super) fn publish(&self, config: &Config) {
        self.config.send_replace(Arc::new(config.clone()));
    }
}

impl Request {
    /// The configuration as it is to be, checked as a whole, and the way to answer.
    pub(super) fn edited(
        self,
        config: &Config,
        addresses: &HostAddresses,
        no_sharing: Option<&String>,
    ) -> (Result<Config, Error>, Answer) {
        let mut config = config.clone();
        let edited = (self.edit)(&mut config).and_then(|()| check(config, addresses, no_sharing));
        (edited, Answer(self.answer))
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

/// Starts the thread that answers.
fn answer(device: &str, api: Api) -> Outcome {
    let listener =
        listen(device).map_err(|error| Failure::doing("the socket's name cannot be had", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let uid = rustix::process::geteuid().as_raw();
    // It ends with the process.
    let _thread = std::thread::Builder::new().name("xlat-api".to_owned()).spawn(move || {
        // Answering takes none.
        if let Err(error) = drop_thread_capabilities() {
            tracing::warn!("privileges are kept: {}", with_causes(&error));
        }
        if let Err(error) = runtime.block_on(server::serve(listener, api, uid)) {
            tracing::error!(%error, "the API has ended");
        }
    })?;
    Ok(())
}

/// What the server sees of the daemon.
struct Api {
    engine: Arc<Engine>,
    tap: Arc<Tap>,
    addresses: watch::Receiver<HostAddresses>,
    config: watch::Receiver<Arc<Config>>,
    requests: mpsc::Sender<Request>,
}

impl Daemon for Api {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
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

    fn interface_name(&self, index: u32) -> Option<String> {
        let addresses = self.addresses.borrow();
        let found = addresses.interfaces.iter().find(|interface| interface.index == index);
        found.map(|interface| interface.name.clone())
    }

    fn change(&self, edit: Edit) -> Later<'_, Result<(), Error>> {
        Box::pin(async move {
            let ending = |_| Error::failed(Blame::Host, "the daemon is ending");
            let (answer, outcome) = oneshot::channel();
            self.requests.send(Request { edit, answer }).await.map_err(|_| ending(()))?;
            outcome.await.map_err(|_| ending(()))?
        })
    }
}
