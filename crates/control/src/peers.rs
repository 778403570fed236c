//! `.../synchronisation`: how proxies between translators get and bring messages about sessions (`sync.rs`). Both are streams
//! without end.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::api::Counter;
use crate::error::Error;
use crate::extract::{InPath, Named};
use crate::routes::Routes;
use crate::server::{App, walk};
use crate::sync::Frames;

/// What a daemon shares with other translators.
pub trait Peers: Send + Sync {
    /// Messages about the sessions of a stateful instance, from now on.
    ///
    /// # Errors
    ///
    /// Where there is no such instance, or too many read already.
    fn messages(&self, instance: &str) -> Result<Messages, Error>;

    /// A message that came from another translator. One that cannot be used is counted; that is no error.
    ///
    /// # Errors
    ///
    /// Where there is no such instance.
    fn receive(&self, instance: &str, message: &[u8]) -> Result<(), Error>;

    /// Sends all sessions of an instance.
    ///
    /// # Errors
    ///
    /// Where there is no such instance, it does not share its sessions, or is at it already.
    fn advertise(&self, instance: &str) -> Result<(), Error>;

    /// What was counted of an instance.
    fn counters(&self, instance: &str) -> Vec<Counter>;
}

/// The messages of one instance as one reader takes them.
pub struct Messages {
    waiting: mpsc::Receiver<Vec<u8>>,
    taken: Box<dyn Fn() + Send + Sync>,
    begun: bool,
}

impl Messages {
    /// Those that come out of `waiting`; `taken` is told of each one that was taken.
    #[must_use]
    pub fn new(waiting: mpsc::Receiver<Vec<u8>>, taken: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { waiting, taken, begun: false }
    }

    /// The next one; `None` when the instance is gone. Asking for it says that the one before is taken.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        if self.begun {
            (self.taken)();
        }
        let next = self.waiting.recv().await;
        self.begun = next.is_some();
        next
    }
}

pub(crate) fn add(routes: Routes) -> Routes {
    routes.add(__path_send, send).add(__path_receive, receive).add(__path_advertise, advertise)
}

/// Messages about sessions for other translators, as they become due: each with its length in four bytes before it.
#[utoipa::path(
    get, path = "/v1/instances/{translator}/{name}/synchronisation", tag = "streams", params(Named),
    responses((status = OK, description = "Messages", content_type = "application/octet-stream", body = Vec<u8>))
)]
async fn send(State(shared): State<App>, InPath(named): InPath<Named>) -> Result<Response, Error> {
    let _stateful = shared.stateful(&named)?;
    let messages = shared.daemon.peers().messages(&named.name)?;
    let body = stream::unfold(messages, async |mut messages| {
        let message = messages.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(Frames::framed(&message))), messages))
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response())
}

/// Messages about sessions of other translators, in the same form; answered when the stream ends.
#[utoipa::path(
    post, path = "/v1/instances/{translator}/{name}/synchronisation", tag = "synchronisation", params(Named),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = OK, description = "All were looked at", body = serde_json::Value))
)]
async fn receive(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
    body: Body,
) -> Result<Json<serde_json::Value>, Error> {
    let _stateful = shared.stateful(&named)?;
    let mut pieces = body.into_data_stream();
    let mut frames = Frames::default();
    while let Some(piece) = pieces.next().await {
        frames.push(&piece.map_err(|why| Error::unreadable(&why))?);
        // What a message does takes as long as it has sessions: not on the thread that answers everybody.
        let (shared, name) = (Arc::clone(&shared), named.name.clone());
        frames = walk(move || {
            while let Some(message) = frames.take().map_err(|why| Error::unreadable(&why))? {
                shared.daemon.peers().receive(&name, &message)?;
            }
            Ok::<_, Error>(frames)
        })
        .await??;
    }
    Ok(Json(serde_json::json!({})))
}

/// Sends all sessions of the instance to other translators.
#[utoipa::path(
    post, path = "/v1/instances/{translator}/{name}/synchronisation/advertise", tag = "synchronisation",
    params(Named), responses((status = OK, description = "It has begun", body = serde_json::Value))
)]
async fn advertise(
    State(shared): State<App>,
    InPath(named): InPath<Named>,
) -> Result<Json<serde_json::Value>, Error> {
    let _stateful = shared.stateful(&named)?;
    shared.daemon.peers().advertise(&named.name)?;
    Ok(Json(serde_json::json!({})))
}
