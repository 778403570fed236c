//! The socket: an abstract name, which belongs to the network namespace and goes with the process that holds it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use tokio::net::UnixStream;

/// The device whose daemon has the plain name.
pub const DEFAULT_DEVICE: &str = "xlat0";

/// Between two attempts to connect to a daemon whose queue of connections is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// `@xlat`, or `@xlat.DEVICE` where the daemon's device is another than the default one.
fn address(device: &str) -> io::Result<SocketAddr> {
    match device {
        DEFAULT_DEVICE => SocketAddr::from_abstract_name("xlat"),
        other => SocketAddr::from_abstract_name(format!("xlat.{other}")),
    }
}

/// Takes the name of the daemon of `device` in this network namespace.
///
/// # Errors
///
/// `AddrInUse` where another process has it.
pub fn listen(device: &str) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&address(device)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Who has a daemon's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process that listens, unless this one must not know it.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
}

/// Who has the name of the daemon of `device`.
///
/// # Errors
///
/// Where nobody listens there, or who does takes no connections.
pub async fn holder(device: &str) -> io::Result<Holder> {
    let credentials = try_connect(device).await?.peer_cred()?;
    Ok(Holder { pid: credentials.pid(), uid: credentials.uid() })
}

/// Waits while the daemon has as many connections to accept as it may have: one that is stopped never does.
pub(crate) async fn connect(device: &str) -> io::Result<UnixStream> {
    loop {
        match try_connect(device).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL_PAUSE).await,
            connected => return connected,
        }
    }
}

/// `WouldBlock` where the daemon's queue of connections is full (connect(2), EAGAIN).
async fn try_connect(device: &str) -> io::Result<UnixStream> {
    let address = address(device)?;
    let name = address.as_abstract_name().unwrap_or_default();
    // As tokio writes abstract names.
    UnixStream::connect(OsStr::from_bytes(&[b"\0", name].concat())).await
}
