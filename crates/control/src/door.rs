//! The door: who comes in is known by the kernel's credentials before a byte is read, and how many there may be is bounded.
//! Strangers get a few places of their own, enough to be told that they may not; they cannot take anybody else's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::access::may_control;

/// Connections at one time of those who may ask.
const WELCOME: usize = 256;
/// Connections at one time of all others; further ones are closed at once.
const STRANGERS: usize = 8;
/// How long the other side may take nothing of what it asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// After an error that is nobody's fault, such as no file descriptor being left.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether whoever is on the other side may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted(pub(crate) bool);

/// A listener that counts.
pub(crate) struct Door {
    listener: UnixListener,
    own_uid: u32,
    welcome: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(listener: UnixListener, own_uid: u32) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { listener, own_uid, welcome: places(WELCOME), strangers: places(STRANGERS) }
    }

    /// The next one for whom there is a place.
    pub(crate) async fn accept(&self) -> (Guest, Admitted) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection to the API was not accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let admitted = self.knows(&stream);
            let places = if admitted { &self.welcome } else { &self.strangers };
            // Where all places are taken the connection is closed.
            if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                return (Guest { stream, stuck: None, _place: place }, Admitted(admitted));
            }
        }
    }

    fn knows(&self, guest: &UnixStream) -> bool {
        guest.peer_cred().is_ok_and(|peer| may_control(peer.uid(), peer.gid(), self.own_uid))
    }
}

/// A connection with the place that it takes. It ends when the other side takes nothing for [`PATIENCE`].
pub(crate) struct Guest {
    stream: UnixStream,
    /// Runs while something waits to be taken.
    stuck: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.stuck = None;
                Poll::Ready(written)
            }
            Poll::Pending => {
                let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                stuck.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
