//! What a request says, read by axum, with our form of errors when it cannot be read.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection, StringRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::{Change, Changes, Translator};
use crate::error::Error;
use crate::server::App;

/// A body that fits in here is read at once; larger ones one after the other, so that clients cannot fill the memory together.
const SMALL: u64 = 64 << 10;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body of JSON.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Sent<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        body(request, app, |request| async move {
            let read: Result<Json<T>, JsonRejection> = Json::from_request(request, app).await;
            read.map(|Json(sent)| Self(sent)).map_err(|why| Error::unreadable(&why.body_text()))
        })
        .await
    }
}

/// A body of text.
pub(crate) struct Text(pub(crate) String);

impl FromRequest<App> for Text {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        body(request, app, |request| async move {
            let read: Result<String, StringRejection> = String::from_request(request, app).await;
            read.map(Self).map_err(|why| Error::unreadable(&why.body_text()))
        })
        .await
    }
}

/// Reads a body in its turn, if it comes in time.
async fn body<T, F: Future<Output = Result<T, Error>>>(
    request: Request,
    app: &App,
    read: impl FnOnce(Request) -> F,
) -> Result<T, Error> {
    let small = request.body().size_hint().upper().is_some_and(|bytes| bytes <= SMALL);
    let _turn = if small { None } else { app.large_bodies.acquire().await.ok() };
    let late = |_| Error::unreadable(&format!("the request did not come within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, read(request)).await.map_err(late)?
}

/// The query string.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Self(asked)).map_err(|why| Error::unreadable(&why.body_text()))
    }
}

/// What stands in the path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        read.map(|Path(found)| Self(found)).map_err(|why| Error::unreadable(&why.body_text()))
    }
}

/// Which instance a path names.
#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Named {
    /// Its kind.
    pub(crate) translator: Translator,
    /// Its name, percent-encoded.
    #[param(min_length = 1)]
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn of(changes: &Changes) -> Self {
        Self { translator: changes.translator, name: changes.instance.clone() }
    }

    /// These changes of it.
    pub(crate) fn changes(&self, changes: Vec<Change>) -> Changes {
        Changes { translator: self.translator, instance: self.name.clone(), changes }
    }
}

/// An instance and an address.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NamedAddress {
    /// Kind of the instance.
    pub(crate) translator: Translator,
    /// Its name, percent-encoded.
    #[param(min_length = 1)]
    pub(crate) name: String,
    /// What to translate.
    #[param(value_type = crate::schema::Address)]
    pub(crate) address: IpAddr,
}
