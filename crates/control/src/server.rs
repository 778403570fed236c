//! The server inside the daemon: HTTP/1.1 with JSON, version 1. It has a thread of its own, so that neither packets nor the
//! daemon's control loop wait for a client.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::serve::IncomingStream;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use xlat_config::{Config, Kind};
use xlat_engine::{Engine, View};

use crate::api::{Changes, REQUEST_BYTES_MAX};
use crate::capture;
use crate::door::{Admitted, Door};
use crate::edit::{self, Context, Frameworks, wrong_kind};
use crate::endpoints;
use crate::error::{Blame, Error, errno};
use crate::extract::Named;

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

    /// The name of the interface with this index.
    fn interface_name(&self, index: u32) -> Option<String>;

    /// Edits the configuration, checks the result as a whole, and answers when it is in force in the data path. On any error
    /// everything stays as it was, and so it does where it is only to be tried.
    fn change(&self, edit: Edit, only_try: bool) -> Answer<'_, Result<(), Error>>;

    /// Reads the daemon's file again, in the same way.
    fn reload(&self) -> Answer<'_, Result<(), Error>>;

    /// What there is to say of the daemon as a whole.
    fn about(&self) -> About;
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
    let (frameworks, changing) = (RwLock::default(), Mutex::new(()));
    let shared = Arc::new(Shared { daemon: Box::new(daemon), frameworks, changing });
    let router = endpoints::all()
        .router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_path)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(middleware::from_fn(admit))
        .with_state(shared);
    let door = Door::new(UnixListener::from_std(listener)?, uid);
    axum::serve(door, router.into_make_service_with_connect_info::<Admitted>()).await
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) daemon: Box<dyn Daemon>,
    pub(crate) frameworks: RwLock<Frameworks>,
    /// Held while a change is made: what it was checked against must not move.
    pub(crate) changing: Mutex<()>,
}

/// What handlers get as their state.
pub(crate) type App = Arc<Shared>;

impl Connected<IncomingStream<'_, Door>> for Admitted {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        *stream.remote_addr()
    }
}

async fn admit(
    ConnectInfo(Admitted(admitted)): ConnectInfo<Admitted>,
    request: Request,
    next: Next,
) -> Response {
    if admitted {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let too_long = |bytes: &u64| *bytes > REQUEST_BYTES_MAX as u64;
        // Before it is sent: nobody has to wait for what will be refused.
        return match announced.and_then(|length| length.parse().ok()).filter(too_long) {
            None => next.run(request).await,
            Some(bytes) => {
                let what = format!("the request has {bytes} bytes, the most is {REQUEST_BYTES_MAX}");
                Error::unreadable(&what).into_response()
            }
        };
    }
    Error {
        whose: Blame::Client,
        errno: errno::EPERM,
        ..Error::invalid("CAP_NET_ADMIN capability required. (Maybe try su or sudo?)")
    }
    .with_help("ask as root or as a member of the group xlat")
    .into_response()
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

    pub(crate) async fn apply(&self, changes: Changes) -> Result<(), Error> {
        let mut frameworks = self.frameworks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ephemeral = self.daemon.ephemeral_ports();
        let (changes, files) =
            walk(move || edit::read_files(&changes).map(|files| (changes, files))).await??;
        // What a file replaces counts from zero.
        let named =
            |file: &edit::File| Named { translator: changes.translator, name: file.name().to_owned() };
        let replaced: Vec<Named> = files.iter().map(named).collect();
        let (done, outcome) = tokio::sync::oneshot::channel();
        let edit: Edit = Box::new(move |config| {
            let mut context = Context { frameworks: &mut frameworks, ephemeral, files };
            edit::apply(config, &changes, &mut context)?;
            // Whoever asked may be gone by now; the change holds all the same.
            let _gone = done.send(frameworks);
            Ok(())
        });
        self.daemon.change(edit, false).await?;
        for (_, _, view) in replaced.iter().filter_map(|named| self.view(named).ok()) {
            view.restart_statistics();
        }
        if let Ok(frameworks) = outcome.await {
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
