//! The one form of every error that the API gives: who is at fault, what, where, and what to do about it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use xlat_config::{Diagnostic, Severity};

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// Whoever made the request: it cannot be read, or may not be made.
    Client,
    /// The operator: what is asked for cannot be.
    Configuration,
    /// The host the daemon runs on.
    Host,
    /// The daemon itself.
    Bug,
}

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// Who is at fault.
    pub whose: Blame,
    /// What is wrong; it may have several lines.
    pub what: String,
    /// The same in Jool's words, for Jool's commands; absent: they say it as it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jool: Option<String>,
    /// The part of the request or configuration that is meant.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
    /// The Linux error number that says the same in general; exit code of Jool's commands.
    pub errno: i32,
}

/// Linux error numbers.
pub(crate) mod errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ESRCH: i32 = 3;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const EEXIST: i32 = 17;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EOPNOTSUPP: i32 = 95;
    pub(crate) const ESTALE: i32 = 116;
}

impl Error {
    /// A configuration that cannot be (EINVAL).
    pub fn invalid(what: impl Into<String>) -> Self {
        let (jool, place, help) = (None, None, None);
        Self { whose: Blame::Configuration, what: what.into(), jool, place, help, errno: errno::EINVAL }
    }

    /// A request that cannot be read (EINVAL).
    pub(crate) fn unreadable(why: &dyn std::fmt::Display) -> Self {
        Self { whose: Blame::Client, ..Self::invalid(why.to_string()) }
    }

    /// What is asked for is not there (ESRCH).
    pub fn absent(what: impl Into<String>) -> Self {
        Self { errno: errno::ESRCH, ..Self::invalid(what) }
    }

    /// What is to be made exists already (EEXIST).
    pub fn exists(what: impl Into<String>) -> Self {
        Self { errno: errno::EEXIST, ..Self::invalid(what) }
    }

    /// The host or the daemon is in the way (EIO).
    pub fn failed(whose: Blame, what: impl Into<String>) -> Self {
        Self { whose, errno: errno::EIO, ..Self::invalid(what) }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same as Jool says it, with what it says about what to do.
    #[must_use]
    pub(crate) fn in_jools_words(self, what: impl Into<String>) -> Self {
        Self { jool: Some(what.into()), ..self }
    }

    /// The same with the part of the request that is meant.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    /// The first error among findings about a configuration, if there is one.
    pub fn among<'d>(found: impl IntoIterator<Item = &'d Diagnostic>) -> Option<Self> {
        let first = found.into_iter().find(|found| found.severity == Severity::Error)?;
        let place = first.location.as_ref().map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
        Some(Self { place, help: first.help.clone(), ..Self::invalid(first.message.clone()) })
    }

    fn status(&self) -> StatusCode {
        match (self.whose, self.errno) {
            (Blame::Client, errno::EPERM) => StatusCode::FORBIDDEN,
            (_, errno::ESRCH) => StatusCode::NOT_FOUND,
            (_, errno::EEXIST) => StatusCode::CONFLICT,
            (_, errno::ESTALE) => StatusCode::GONE,
            (_, errno::EOPNOTSUPP) => StatusCode::NOT_FOUND,
            (Blame::Client, _) => StatusCode::BAD_REQUEST,
            (Blame::Configuration, _) => StatusCode::UNPROCESSABLE_ENTITY,
            (Blame::Host | Blame::Bug, _) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The body of every answer that is not a success.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Body {
    /// Why.
    pub(crate) error: Error,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status(), Json(Body { error: self })).into_response()
    }
}
