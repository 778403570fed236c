//! The server inside the daemon: HTTP/1.1 with JSON, version 1. It has a thread of its own, so that neither packets nor the
//! daemon's control loop wait for a client.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::connect_info::Connected;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use xlat_config::{Config, Kind};
use xlat_engine::{Engine, View};

use crate::api::{self, BibPair, Change, Changes, Protocol, REQUEST_BYTES_MAX, Status, Translator};
use crate::door::{Admitted, Door};
use crate::edit::{self, Context, Frameworks, wrong_kind};
use crate::error::{Blame, Error, errno};
use crate::read::{self, Wanted};
use crate::{capture, globals, pool4};

/// A change of the configuration, made where the configuration lives.
pub type Edit = Box<dyn FnOnce(&mut Config) -> Result<(), Error> + Send>;

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
    /// everything stays as it was.
    fn change(&self, edit: Edit) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Answers on `listener` for ever. `uid` is the daemon's own user.
///
/// # Errors
///
/// When the listener cannot be used.
pub async fn serve<D: Daemon>(listener: StdUnixListener, daemon: D, uid: u32) -> std::io::Result<()> {
    let shared = Arc::new(Shared { daemon, frameworks: RwLock::default(), changing: Mutex::new(()) });
    let instance = Router::new()
        .route("/global", get(global))
        .route("/eamt", get(eamt))
        .route("/denylist4", get(denylist4))
        .route("/pool4", get(pool4_rows))
        .route("/bib", get(bib))
        .route("/sessions", get(sessions))
        .route("/statistics", get(statistics))
        .route("/address/{address}", get(address));
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/instances", get(instances))
        .route("/v1/changes", post(changes))
        .route("/v1/capture", get(capture::capture))
        .nest("/v1/instances/{translator}/{name}", instance)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_path)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(middleware::from_fn(admit))
        .with_state(shared);
    let door = Door::new(UnixListener::from_std(listener)?, uid);
    axum::serve(door, router.into_make_service_with_connect_info::<Admitted>()).await
}

/// What all requests share.
pub(crate) struct Shared<D> {
    pub(crate) daemon: D,
    frameworks: RwLock<Frameworks>,
    /// Held while a change is made: what it was checked against must not move.
    changing: Mutex<()>,
}

pub(crate) type App<D> = State<Arc<Shared<D>>>;

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
                unreadable(&what).into_response()
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

/// An extractor of axum with our form of errors.
struct Checked<T>(T);

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error { whose: Blame::Client, ..Error::invalid(why.to_string()) }
}

impl<S: Send + Sync> FromRequest<S> for Checked<Changes> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let read: Result<Json<Changes>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(changes)| Self(changes)).map_err(|why| unreadable(&why.body_text()))
    }
}

/// Which instance a path names.
#[derive(Deserialize)]
struct Named {
    translator: Translator,
    name: String,
    address: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Checked<Named> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Error> {
        let read: Result<axum::extract::Path<Named>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(named)| Self(named)).map_err(|why| unreadable(&why.body_text()))
    }
}

/// Which set of pool4 is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    #[serde(default)]
    protocol: Protocol,
}

/// A query string with our form of errors.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Error> {
        let read: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(asked)| Self(asked)).map_err(|why| unreadable(&why.body_text()))
    }
}

async fn status<D: Daemon>(State(shared): App<D>) -> Json<Status> {
    let config = shared.daemon.config();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        device: config.device.name.clone(),
        instances: config.instances.len(),
    })
}

async fn instances<D: Daemon>(State(shared): App<D>) -> Response {
    let namespace = std::fs::metadata("/proc/self/ns/net").map_or(0, |found| found.ino());
    let frameworks = shared.frameworks.read().unwrap_or_else(PoisonError::into_inner);
    let config = shared.daemon.config();
    let row = |instance: &xlat_config::Instance| api::Instance {
        namespace,
        name: instance.name.clone(),
        translator: instance.kind.translator().into(),
        framework: edit::framework_of(&frameworks, instance),
    };
    read::list(config.instances.iter().map(row).collect())
}

async fn global<D: Daemon>(State(shared): App<D>, Checked(named): Checked<Named>) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    Ok(Json(globals::show(&config.instances[at])).into_response())
}

async fn eamt<D: Daemon>(State(shared): App<D>, Checked(named): Checked<Named>) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else {
        return Err(wrong_kind(xlat_config::Translator::Nat64));
    };
    // The most recently added first. The configuration is held, not copied, while the client reads.
    let (mut left, config) = (siit.eamt.len(), Arc::clone(&config));
    Ok(read::lines(move || {
        let Kind::Siit(siit) = &config.instances.get(at)?.kind else { return None };
        let from = left.saturating_sub(512);
        let step = siit.eamt.get(from..left).filter(|step| !step.is_empty())?;
        left = from;
        Some(step.iter().rev().map(|entry| api::Eam { ipv6: entry.ipv6, ipv4: entry.ipv4 }).collect())
    }))
}

async fn denylist4<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Siit(siit) = &config.instances[at].kind else {
        return Err(wrong_kind(xlat_config::Translator::Nat64));
    };
    Ok(read::list(siit.denylist4.iter().map(|prefix| api::Denied { prefix: *prefix }).collect()))
}

async fn pool4_rows<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
    Asked(set): Asked<Set>,
) -> Result<Response, Error> {
    let (config, at) = shared.find(&named)?;
    let Kind::Nat64(nat64) = &config.instances[at].kind else {
        return Err(wrong_kind(xlat_config::Translator::Siit));
    };
    Ok(read::list(pool4::rows(&nat64.pool4, set.protocol)))
}

async fn bib<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    Ok(read::bib(shared.stateful(&named)?, wanted))
}

async fn sessions<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Error> {
    Ok(read::sessions(shared.stateful(&named)?, wanted))
}

async fn statistics<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
) -> Result<Response, Error> {
    let (_, _, view) = shared.view(&named)?;
    Ok(read::list(read::statistics(shared.daemon.engine(), &view)))
}

async fn address<D: Daemon>(
    State(shared): App<D>,
    Checked(named): Checked<Named>,
) -> Result<Json<api::Translation>, Error> {
    let (config, at, view) = shared.view(&named)?;
    let query = named.address.ok_or_else(|| unreadable(&"an address is missing"))?;
    read::translation(&view, &config, at, query).map(Json)
}

async fn changes<D: Daemon>(
    State(shared): App<D>,
    Checked(changes): Checked<Changes>,
) -> Result<Json<serde_json::Value>, Error> {
    let _one_at_a_time = shared.changing.lock().await;
    let made = |pair| Changes { changes: vec![Change::BibAdd(pair)], ..changes.clone() };
    match changes.changes.as_slice() {
        // Entries that traffic made are no part of the configuration: one is made static first, which keeps it, and then goes.
        [Change::BibRemove { protocol, ipv6, ipv4 }] => {
            let view = shared.stateful(&Named::of(&changes))?;
            let (protocol, ipv6, ipv4) = (*protocol, *ipv6, *ipv4);
            let found = walk(move || read::bib_entries_with(&view, protocol, ipv6, ipv4)).await?;
            let is_meant = |pair: &&BibPair| {
                ipv6.is_none_or(|taddr| taddr == pair.ipv6) && ipv4.is_none_or(|taddr| taddr == pair.ipv4)
            };
            if let Some(pair) = found.iter().find(is_meant) {
                shared.apply(made(*pair)).await?;
            }
        }
        [Change::BibAdd(pair)] => {
            let view = shared.stateful(&Named::of(&changes))?;
            let new = *pair;
            let found =
                walk(move || read::bib_entries_with(&view, new.protocol, Some(new.ipv6), Some(new.ipv4)))
                    .await?;
            if let Some(other) = found.iter().find(|other| *other != pair) {
                // Membership in pool4 is found out first, by the change itself.
                return Err(edit::bib_collision(&edit::bib_entry(*pair), &edit::bib_entry(*other)));
            }
        }
        _needs_no_state => {}
    }
    shared.apply(changes).await?;
    Ok(Json(serde_json::json!({})))
}

/// Something that takes long, where it keeps nobody waiting.
async fn walk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::failed(Blame::Bug, error.to_string()))
}

impl Named {
    fn of(changes: &Changes) -> Self {
        Self { translator: changes.translator, name: changes.instance.clone(), address: None }
    }
}

impl<D: Daemon> Shared<D> {
    fn find(&self, named: &Named) -> Result<(Arc<Config>, usize), Error> {
        let config = self.daemon.config();
        let at = edit::found(&config, named.translator, &named.name)?;
        Ok((config, at))
    }

    fn view(&self, named: &Named) -> Result<(Arc<Config>, usize, View), Error> {
        let (config, at) = self.find(named)?;
        let view = self.daemon.engine().view(config.instances[at].kind.translator(), &named.name);
        let view = view.ok_or_else(|| Error::absent("the instance is just coming or going"))?;
        Ok((config, at, view))
    }

    fn stateful(&self, named: &Named) -> Result<View, Error> {
        let (config, at, view) = self.view(named)?;
        match &config.instances[at].kind {
            Kind::Nat64(_) => Ok(view),
            Kind::Siit(_) => Err(wrong_kind(xlat_config::Translator::Siit)),
        }
    }

    async fn apply(&self, changes: Changes) -> Result<(), Error> {
        let mut frameworks = self.frameworks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ephemeral = self.daemon.ephemeral_ports();
        let (changes, files) =
            walk(move || edit::read_files(&changes).map(|files| (changes, files))).await??;
        let (done, outcome) = tokio::sync::oneshot::channel();
        let edit: Edit = Box::new(move |config| {
            let mut context = Context { frameworks: &mut frameworks, ephemeral, files };
            edit::apply(config, &changes, &mut context)?;
            // Whoever asked may be gone by now; the change holds all the same.
            let _gone = done.send(frameworks);
            Ok(())
        });
        self.daemon.change(edit).await?;
        if let Ok(mut frameworks) = outcome.await {
            let config = self.daemon.config();
            frameworks.retain(|(translator, name), _| edit::found(&config, *translator, name).is_ok());
            *self.frameworks.write().unwrap_or_else(PoisonError::into_inner) = frameworks;
        }
        Ok(())
    }
}
