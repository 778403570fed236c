//! The server inside the daemon: HTTP/1.1 with JSON, version 1. It has a thread of its own, so that neither packets nor the
//! daemon's control loop wait for a client.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Semaphore};
use xlat_config::{Config, Kind};
use xlat_engine::{Engine, Traffic, View};

use crate::api::{BibPair, Changes, Counter, REQUEST_BYTES_MAX};
use crate::door::{Admitted, Door};
use crate::edit::{self, Context, Frameworks, Place, wrong_kind};
use crate::endpoints;
use crate::error::{Blame, Error, errno};
use crate::extract::Named;
use crate::live::Live;
use crate::peers::Peers;
use crate::pool4;
use crate::{capture, events};

/// How long the head of a request may take, also when a connection is kept for the next one.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes kept for a connection in each direction, and so the longest head of a request.
const BUFFER_BYTES: usize = 64 << 10;

/// A change of the configuration, made where the configuration lives.
pub type Edit = Box<dyn FnOnce(&mut Config) -> Result<(), Error> + Send>;

/// What comes later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the server needs of the daemon around it.
pub trait Daemon: Send + Sync + 'static {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;

    /// The engine with its tables and counters.
    fn engine(&self) -> &Engine;

    /// First and last port that the host gives to its own sockets.
    fn ephemeral_ports(&self) -> (u16, u16);

    /// Begins to show packets that are not passed on.
    ///
    /// # Errors
    ///
    /// Where too many look already.
    fn capture(&self, wanted: capture::Wanted) -> Result<capture::Source, Error>;

    /// Begins to tell of what happens.
    ///
    /// # Errors
    ///
    /// Where too many listen already.
    fn events(&self, wanted: events::Wanted) -> Result<events::Source, Error>;

    /// What the kernel has translated by itself for the instance at this place of the configuration.
    fn by_kernel(&self, place: usize) -> Answer<'_, ByKernel>;

    /// What it shares with other translators.
    fn peers(&self) -> &dyn Peers;

    /// Counters of the log of flows.
    fn log_counters(&self) -> Vec<Counter>;

    /// The name of the interface with this index.
    fn interface_name(&self, index: u32) -> Option<String>;

    /// A snapshot that is newer than that of the number `after`, or a recent one with rates of the last seconds.
    fn live(&self, after: Option<u64>) -> Answer<'_, Arc<Live>>;

    /// Edits the configuration, checks the result as a whole, and answers when it is in force in the data path. On any error
    /// everything stays as it was, and so it does where it is only to be tried.
    fn change(&self, edit: Edit, only_try: bool) -> Answer<'_, Result<(), Error>>;

    /// Reads the daemon's file again, in the same way.
    fn reload(&self) -> Answer<'_, Result<(), Error>>;

    /// What there is to say of the daemon as a whole.
    fn about(&self) -> About;
}

/// What the kernel has translated by itself for an instance: packets, and their bytes as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKernel {
    /// IPv6 packets.
    pub packets6: u64,
    /// Their bytes.
    pub bytes6: u64,
    /// IPv4 packets.
    pub packets4: u64,
    /// Their bytes.
    pub bytes4: u64,
}

impl ByKernel {
    /// What belongs to one of the engine's counters.
    pub(crate) fn share(self, of: Traffic) -> u64 {
        match of {
            Traffic::Received6 => self.packets6,
            Traffic::Received4 => self.packets4,
            Traffic::Bytes6 => self.bytes6,
            Traffic::Bytes4 => self.bytes4,
            Traffic::Translated => self.packets6.wrapping_add(self.packets4),
            Traffic::ErrorsSent6 | Traffic::ErrorsSent4 | Traffic::ErrorsWithheld | Traffic::HeldLost => 0,
        }
    }
}

/// What there is to say of a daemon as a whole.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Its configuration file, if it began with one.
    pub file: Option<PathBuf>,
    /// How long it has been running.
    pub uptime: Duration,
    /// Changes of the API are in force that the file does not know.
    pub differs_from_file: bool,
    /// Threads that translate.
    pub workers: usize,
    /// Why the kernel does not repeat flows, if it does not.
    pub no_fast_path: Option<String>,
}

/// Answers on `listener` for ever. `uid` is the daemon's own user.
///
/// # Errors
///
/// When the listener cannot be used.
pub async fn serve(listener: StdUnixListener, daemon: impl Daemon, uid: u32) -> std::io::Result<()> {
    let shared = Arc::new(Shared {
        daemon: Box::new(daemon),
        frameworks: RwLock::default(),
        changing: Arc::default(),
        large_bodies: Semaphore::new(1),
    });
    let welcome = endpoints::all()
        .router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(middleware::from_fn(not_too_long))
        .with_state(Arc::clone(&shared));
    let strangers = endpoints::for_everybody()
        .router
        .fallback(not_permitted)
        .method_not_allowed_fallback(not_permitted)
        .with_state(shared);
    let mut door = Door::new(UnixListener::from_std(listener)?, uid);
    loop {
        let (guest, Admitted(admitted), place) = door.accept().await;
        let router = if admitted { welcome.clone() } else { strangers.clone() };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(guest), TowerToHyperService::new(router));
        tokio::spawn(async move {
            let _taken = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API broke");
            }
        });
    }
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) daemon: Box<dyn Daemon>,
    pub(crate) frameworks: RwLock<Frameworks>,
    /// Held while a change is made: what it was checked against must not move.
    pub(crate) changing: Arc<Mutex<()>>,
    /// Held by whoever sends a large body.
    pub(crate) large_bodies: Semaphore,
}

/// What handlers get as their state.
pub(crate) type App = Arc<Shared>;

/// Refuses what is too long before it is sent: nobody has to wait for that.
async fn not_too_long(request: Request, next: Next) -> Response {
    match request.body().size_hint().exact().filter(|bytes| *bytes > REQUEST_BYTES_MAX as u64) {
        None => next.run(request).await,
        Some(bytes) => {
            let what = format!("the request has {bytes} bytes, the most is {REQUEST_BYTES_MAX}");
            Error::unreadable(&what).into_response()
        }
    }
}

async fn not_permitted() -> Error {
    let what = "only root and members of the group xlat may ask for this";
    Error { whose: Blame::Client, errno: errno::EPERM, ..Error::invalid(what) }.in_jools_words(
        "CAP_NET_ADMIN capability required. (Maybe try su or sudo?)\n\
         help: ask as root or as a member of the group xlat",
    )
}

async fn no_such_method(request: Request) -> Response {
    let what = format!("{} has no {}", request.uri().path(), request.method());
    let error = Error { whose: Blame::Client, errno: errno::EOPNOTSUPP, ..Error::invalid(what) };
    let mut answer = error.with_help("docs/api.md lists what there is").into_response();
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer
}

async fn no_such_path(request: Request) -> Error {
    let what = format!("there is no {} {}", request.method(), request.uri().path());
    Error { whose: Blame::Client, ..Error::absent(what) }
        .with_help("docs/api.md lists what there is; program and daemon may be of different releases")
}

/// Something that takes long, where it keeps nobody waiting.
pub(crate) async fn walk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::failed(Blame::Bug, error.to_string()))
}

/// A change in its turn. Once begun it is made as a whole, also where whoever asked goes meanwhile: steps belong together, and the
/// next one must not begin before it is in force.
pub(crate) async fn in_turn<T: Send + 'static>(
    shared: &Shared,
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let turn = Arc::clone(&shared.changing).lock_owned().await;
    let made = tokio::spawn(async move {
        let _turn = turn;
        change.await
    });
    made.await.map_err(|error| Error::failed(Blame::Bug, error.to_string()))?
}

impl Shared {
    pub(crate) fn find(&self, named: &Named) -> Result<(Arc<Config>, usize), Error> {
        let config = self.daemon.config();
        let at = edit::found(&config, named.translator, &named.name)?;
        Ok((config, at))
    }

    pub(crate) fn view(&self, named: &Named) -> Result<(Arc<Config>, usize, View), Error> {
        let (config, at) = self.find(named)?;
        let view = self.daemon.engine().view(config.instances[at].kind.translator(), &named.name);
        let view = view.ok_or_else(|| Error::absent("the instance is just coming or going"))?;
        Ok((config, at, view))
    }

    pub(crate) fn stateful(&self, named: &Named) -> Result<View, Error> {
        let (config, at, view) = self.view(named)?;
        match &config.instances[at].kind {
            Kind::Nat64(_) => Ok(view),
            Kind::Siit(_) => Err(wrong_kind(xlat_config::Translator::Siit)),
        }
    }

    /// Whether pool4 has the mask of a pair.
    pub(crate) fn in_pool4(&self, named: &Named, pair: &BibPair) -> Result<bool, Error> {
        let (config, at) = self.find(named)?;
        let Kind::Nat64(nat64) = &config.instances[at].kind else {
            return Err(wrong_kind(xlat_config::Translator::Siit));
        };
        let BibPair { protocol, ipv4, .. } = pair;
        Ok(pool4::has(nat64, protocol.model(), ipv4.address, ipv4.port))
    }

    pub(crate) async fn apply(&self, changes: Changes, place: Place) -> Result<(), Error> {
        let mut frameworks = self.frameworks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ephemeral = self.daemon.ephemeral_ports();
        let (changes, files) =
            walk(move || edit::read_files(&changes, place).map(|files| (changes, files))).await??;
        // What a file replaces counts from zero.
        let named =
            |file: &edit::File| Named { translator: changes.translator, name: file.name().to_owned() };
        let replaced: Vec<Named> = files.iter().map(named).collect();
        let (done, outcome) = tokio::sync::oneshot::channel();
        let edit: Edit = Box::new(move |config| {
            let mut context =
                Context { frameworks: &mut frameworks, ephemeral, files, log: Vec::new(), place };
            edit::apply(config, &changes, &mut context)?;
            let log = context.log;
            // Whoever asked may be gone by now; the change holds all the same.
            let _gone = done.send((frameworks, log));
            Ok(())
        });
        self.daemon.change(edit, false).await?;
        for (_, _, view) in replaced.iter().filter_map(|named| self.view(named).ok()) {
            view.restart_statistics();
        }
        if let Ok((frameworks, log)) = outcome.await {
            log.iter().for_each(|line| tracing::info!("{line}"));
            *self.frameworks.write().unwrap_or_else(PoisonError::into_inner) = frameworks;
            self.forget_frameworks();
        }
        Ok(())
    }

    /// Forgets how instances were made that are no more.
    pub(crate) fn forget_frameworks(&self) {
        let config = self.daemon.config();
        let mut frameworks = self.frameworks.write().unwrap_or_else(PoisonError::into_inner);
        frameworks.retain(|(translator, name), _| edit::found(&config, *translator, name).is_ok());
    }
}
