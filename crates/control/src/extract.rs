//! What a request says, read by axum, with our form of errors when it cannot be read.

use std::net::IpAddr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection, StringRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::{Changes, Translator};
use crate::error::Error;

/// A body of JSON.
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(sent)| Self(sent)).map_err(|why| Error::unreadable(&why.body_text()))
    }
}

/// A body of text.
pub(crate) struct Text(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let read: Result<String, StringRejection> = String::from_request(request, state).await;
        read.map(Self).map_err(|why| Error::unreadable(&why.body_text()))
    }
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
