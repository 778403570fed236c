//! The client: one request per connection over the daemon's socket. Who is on the other side is checked before anything
//! is said, since anybody can take an abstract name.

use std::io;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::access::may_serve;
use crate::api::{Changes, Translator};
use crate::error::{Body, Error};
use crate::socket;

/// A line of an answer in bytes, at most: rows have some hundreds, snapshots of many instances some ten thousands.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Changes are checked as a whole and answered when they hold: so many times as long as the rest they may take.
const CHANGES: u32 = 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers to the name in this network namespace.
    #[error("no xlat daemon runs in this network namespace: {0}")]
    Unreachable(io::Error),
    /// Somebody answers who is neither root nor this user.
    #[error("the name is taken by a process of user {0}, which is not believed to be the daemon")]
    Stranger(u32),
    /// The daemon said no.
    #[error("{0}")]
    Refused(Error),
    /// The daemon is alive and does not say anything.
    #[error("the daemon has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke, or what came is no answer.
    #[error("the daemon's answer cannot be read: {0}")]
    Broken(String),
}

/// A way to the daemon of this network namespace. It needs a Tokio runtime with I/O around it.
#[derive(Clone, Debug)]
pub struct Client {
    device: String,
    own_uid: u32,
    patience: Option<Duration>,
}

impl Client {
    /// Of the daemon that has `device`; `own_uid` is the user of this process.
    #[must_use]
    pub fn new(device: &str, own_uid: u32) -> Self {
        Self { device: device.to_owned(), own_uid, patience: None }
    }

    /// The same, but it gives up where the daemon has not begun its answer after so long; to a request that may change
    /// something, after ten times as long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Asks for one object.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.request(Method::GET, path, Bytes::new()).await?;
        let body = body.collect().await.map_err(broken)?.to_bytes();
        serde_json::from_slice(&body).map_err(broken)
    }

    /// Asks for a text.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.request(Method::GET, path, Bytes::new()).await?;
        let body = body.collect().await.map_err(broken)?.to_bytes();
        String::from_utf8(body.into()).map_err(broken)
    }

    /// Sends an object and gets one.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        let answer = self.request(Method::POST, path, body.into()).await?;
        let answer = answer.collect().await.map_err(broken)?.to_bytes();
        serde_json::from_slice(&answer).map_err(broken)
    }

    /// Asks for a table, row by row.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn rows(&self, path: &str) -> Result<Lines, ClientError> {
        let body = self.request(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { body, pending: Vec::new(), read: 0, ended: false })
    }

    /// Sends a text and gets rows.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn put(&self, path: &str, text: String) -> Result<Lines, ClientError> {
        let body = self.request(Method::PUT, path, text.into()).await?;
        Ok(Lines { body, pending: Vec::new(), read: 0, ended: false })
    }

    /// Makes changes; returns when they are in force.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]. Nothing has changed then.
    pub async fn change(&self, changes: &Changes) -> Result<(), ClientError> {
        let body = serde_json::to_vec(changes).map_err(broken)?;
        let answer = self.request(Method::POST, "/v1/changes", body.into()).await?;
        answer.collect().await.map(drop).map_err(broken)
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, ClientError> {
        let patience =
            if method == Method::GET { self.patience } else { self.patience.map(|one| one * CHANGES) };
        let answer = self.send(method, path, "application/json", Full::new(body));
        match patience {
            Some(patience) => timeout(patience, answer).await.unwrap_or(Err(ClientError::Silent(patience))),
            None => answer.await,
        }
    }

    /// One request with any body.
    pub(crate) async fn send<B>(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: B,
    ) -> Result<Incoming, ClientError>
    where
        B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
    {
        let stream = socket::connect(&self.device).await.map_err(ClientError::Unreachable)?;
        let server = stream.peer_cred().map_err(ClientError::Unreachable)?.uid();
        if !may_serve(server, self.own_uid) {
            return Err(ClientError::Stranger(server));
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the answer; what goes wrong with it shows there.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "xlat")
            .header("content-type", kind)
            .body(body)
            .map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        match serde_json::from_slice(&body) {
            Ok(Body { error }) => Err(ClientError::Refused(error)),
            Err(_) => Err(ClientError::Broken(format!("{status} without explanation"))),
        }
    }
}

/// Path of a table or object of an instance, with the name escaped.
#[must_use]
pub fn path(translator: Translator, instance: &str, rest: &str) -> String {
    use std::fmt::Write as _;
    let mut path = format!("/v1/instances/{}/", translator.word());
    for byte in instance.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => _ = write!(path, "%{byte:02X}"),
        }
    }
    path.push('/');
    path.push_str(rest);
    path
}

/// The rows of a table as they come.
pub struct Lines {
    body: Incoming,
    /// What came and was not given out; `read` bytes of it were.
    pending: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Lines {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ClientError::Broken`].
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let line = self.line().await?;
        line.map(|line| serde_json::from_slice(line).map_err(broken)).transpose()
    }

    /// The next row as it came, a line of JSON without its end; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ClientError::Broken`].
    pub async fn line(&mut self) -> Result<Option<&[u8]>, ClientError> {
        loop {
            let start = self.read;
            let rest = self.pending.get(start..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.read += end + 1;
                return Ok(self.pending.get(start..start + end));
            }
            if self.ended {
                return if rest.is_empty() { Ok(None) } else { Err(broken("it ends within a line")) };
            }
            if rest.len() > LINE_BYTES_MAX {
                return Err(broken("a line is too long"));
            }
            self.pending.drain(..self.read);
            self.read = 0;
            match self.body.frame().await {
                None => self.ended = true,
                Some(frame) => {
                    if let Ok(data) = frame.map_err(broken)?.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

pub(crate) fn broken(why: impl std::fmt::Display) -> ClientError {
    ClientError::Broken(why.to_string())
}
