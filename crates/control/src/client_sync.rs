//! The client's part in session synchronisation: messages of an instance as they come, and those of others on their way to it.

use axum::http::Method;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::sync::mpsc;

use crate::api::Translator;
use crate::client::{Client, ClientError, broken, path};
use crate::sync::Frames;

const KIND: &str = "application/octet-stream";

/// Messages as they come from the daemon.
pub struct Received {
    body: Incoming,
    frames: Frames,
}

impl Client {
    /// The messages of a stateful instance for other translators, from now on.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn messages(&self, instance: &str) -> Result<Received, ClientError> {
        let path = path(Translator::Nat64, instance, "synchronisation");
        let body = self.send(Method::GET, &path, KIND, Empty::new()).await?;
        Ok(Received { body, frames: Frames::default() })
    }

    /// Brings messages of other translators to an instance, as long as there is a sender.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn bring(&self, instance: &str, messages: mpsc::Receiver<Vec<u8>>) -> Result<(), ClientError> {
        let path = path(Translator::Nat64, instance, "synchronisation");
        let frames = stream::unfold(messages, async |mut messages| {
            let message = messages.recv().await?;
            let frame = Frame::data(Bytes::from(Frames::framed(&message)));
            Some((Ok::<_, std::convert::Infallible>(frame), messages))
        });
        let answer = self.send(Method::POST, &path, KIND, StreamBody::new(frames)).await?;
        answer.collect().await.map(drop).map_err(broken)
    }

    /// Has all sessions of an instance sent to other translators.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn advertise(&self, instance: &str) -> Result<(), ClientError> {
        let path = path(Translator::Nat64, instance, "synchronisation/advertise");
        let answer = self.send(Method::POST, &path, KIND, Empty::new()).await?;
        answer.collect().await.map(drop).map_err(broken)
    }
}

impl Received {
    /// The next message; `None` when the daemon or the instance has ended.
    ///
    /// # Errors
    ///
    /// [`ClientError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(message) = self.frames.take().map_err(broken)? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.frames.push(&data);
            }
        }
    }
}
