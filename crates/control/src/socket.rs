//! The socket: an abstract name, which belongs to the network namespace and goes with the process that holds it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// The device whose daemon has the plain name.
pub const DEFAULT_DEVICE: &str = "xlat0";

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

/// Who has the name of the daemon of `device`. To be called inside a runtime.
///
/// # Errors
///
/// Where nobody listens there.
pub fn holder(device: &str) -> io::Result<Holder> {
    let credentials = tokio::net::UnixStream::from_std(connect(device)?)?.peer_cred()?;
    Ok(Holder { pid: credentials.pid(), uid: credentials.uid() })
}

pub(crate) fn connect(device: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&address(device)?)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
