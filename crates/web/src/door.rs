//! The listeners: each address with a task of its own, connections counted and timed. A connection that sends no request in
//! time, or does not take its answer, ends; where all places are taken, or one client has its part of them, further ones are
//! closed at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use xlat_control::Patient;

use crate::Watched;
use crate::routes::router;

/// Connections at one time, all addresses together.
const CONNECTIONS: usize = 64;
/// Those of one client: an IPv4 address, or a prefix of 64 bits, which one host can have all of.
const OF_ONE: usize = CONNECTIONS / 2;
/// How long a client may take nothing of its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a request's header may take, and a connection may be silent between two requests.
const HEADER: Duration = Duration::from_secs(15);
/// How long a connection may last. Browsers and scrapers make a new one then.
const CONNECTION: Duration = Duration::from_secs(600);
/// The longest header in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// After an error that is nobody's fault, such as no file descriptor being left.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Takes an address, also one that this host does not have yet.
///
/// # Errors
///
/// When the kernel refuses it: somebody else has it, above all.
pub fn bind(address: SocketAddr) -> io::Result<StdTcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        // `[::]` is IPv6 alone: 0.0.0.0 can stand beside it.
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    } else {
        sockopt::set_ip_freebind(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Answers on some addresses. It is told of them from any thread, and works in the runtime that it was made for.
pub struct Web<W> {
    runtime: Handle,
    watched: W,
    places: Arc<Places>,
    listeners: HashMap<SocketAddr, Listener>,
}

/// One address that is answered on; its task takes its connections along when it ends.
struct Listener {
    names: Vec<String>,
    socket: StdTcpListener,
    task: JoinHandle<()>,
}

impl<W: Watched> Web<W> {
    /// Nowhere yet.
    pub fn new(runtime: Handle, watched: W) -> Self {
        Self { runtime, watched, places: Arc::default(), listeners: HashMap::new() }
    }

    /// Takes those of `addresses` that it has not; to be given to [`Self::serve`]. Nothing is answered there yet.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had, and why.
    pub fn prepare(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<Vec<(SocketAddr, StdTcpListener)>, (SocketAddr, io::Error)> {
        let new = addresses.iter().filter(|address| !self.listeners.contains_key(address));
        new.map(|address| bind(*address).map(|socket| (*address, socket)).map_err(|error| (*address, error)))
            .collect()
    }

    /// Answers on `addresses` and nowhere else from now on, to the host's own `names`. `new` are the sockets of those that
    /// are new; an address without one is left out.
    pub fn serve(
        &mut self,
        addresses: &[SocketAddr],
        names: &[String],
        new: Vec<(SocketAddr, StdTcpListener)>,
    ) {
        let mut had = std::mem::take(&mut self.listeners);
        let mut sockets: HashMap<SocketAddr, StdTcpListener> = new.into_iter().collect();
        for address in addresses {
            match had.remove(address) {
                Some(same) if same.names == names => {
                    self.listeners.insert(*address, same);
                    continue;
                }
                Some(Listener { socket, task, .. }) => {
                    task.abort();
                    sockets.insert(*address, socket);
                }
                None => {}
            }
            let Some(socket) = sockets.remove(address) else { continue };
            let router = router(self.watched.clone(), names.to_vec());
            match socket.try_clone() {
                Ok(own) => {
                    let task = self.runtime.spawn(listen(own, Arc::clone(&self.places), router));
                    let listener = Listener { names: names.to_vec(), socket, task };
                    self.listeners.insert(*address, listener);
                }
                Err(error) => tracing::error!(%address, %error, "cannot answer there"),
            }
        }
        for Listener { task, .. } in had.into_values() {
            task.abort();
        }
    }
}

async fn listen(socket: StdTcpListener, places: Arc<Places>, router: Router) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot answer by HTTP"),
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without a place the connection is closed.
        let Some(place) = Place::take(&places, from.ip()) else { continue };
        let router = router.clone();
        connections.spawn(async move {
            let _taken = place;
            converse(stream, router).await;
        });
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE)), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_elapsed) => tracing::debug!("a connection lasted too long"),
    }
}

/// Connections by client.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, until it is dropped.
struct Place {
    among: Arc<Places>,
    client: IpAddr,
}

impl Place {
    fn take(among: &Arc<Places>, client: IpAddr) -> Option<Self> {
        let client = match client {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        };
        let mut taken = among.taken();
        if taken.values().sum::<usize>() >= CONNECTIONS {
            return None;
        }
        let own = taken.entry(client).or_default();
        if *own >= OF_ONE {
            return None;
        }
        *own += 1;
        Some(Self { among: Arc::clone(among), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.among.taken();
        if let Some(own) = taken.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_has_all_places() {
        let places = Arc::default();
        let take = |client: &str| Place::take(&places, client.parse().unwrap());
        let mut one: Vec<Place> = (0..OF_ONE).filter_map(|_| take("2001:db8::8")).collect();
        assert_eq!(one.len(), OF_ONE);
        assert!(take("2001:db8::9").is_none(), "another address of the same network");
        let other: Vec<Place> = (0..=OF_ONE).filter_map(|_| take("192.0.2.1")).collect();
        assert_eq!(other.len(), OF_ONE);
        assert!(take("192.0.2.2").is_none(), "all are taken");
        one.truncate(1);
        assert!(take("192.0.2.2").is_some() && take("192.0.2.1").is_none());
        drop((one, other));
        assert!(places.taken().is_empty());
    }
}
