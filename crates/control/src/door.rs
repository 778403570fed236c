//! The door: who comes in is known by the kernel's credentials before a byte is read, and how many there may be is bounded.
//! Strangers get a few places of their own, enough to be told that they may not; they cannot take anybody else's.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::access::Members;
use crate::patient::Patient;

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
    members: Members,
    welcome: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(listener: UnixListener, own_uid: u32) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let members = Members::default();
        Self { listener, own_uid, members, welcome: places(WELCOME), strangers: places(STRANGERS) }
    }

    /// The next one for whom there is a place, which it has until that is dropped.
    pub(crate) async fn accept(&mut self) -> (Patient<UnixStream>, Admitted, OwnedSemaphorePermit) {
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
                return (Patient::new(stream, PATIENCE), Admitted(admitted), place);
            }
        }
    }

    fn knows(&mut self, guest: &UnixStream) -> bool {
        let (members, own_uid) = (&mut self.members, self.own_uid);
        guest.peer_cred().is_ok_and(|peer| members.may_control(peer.uid(), peer.gid(), own_uid))
    }
}
