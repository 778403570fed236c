//! What is on an interface with its offload state, in and out: a packet socket with virtio headers (packet(7),
//! `PACKET_VNET_HDR`). The daemon has no use for it; tests see by it what is on a cable before anybody cuts it up.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A raw packet socket on one interface, which never blocks. What it sends and receives begins with a virtio header
/// ([`crate::virtio::HEADER_LEN`] bytes), then the link's header.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    address: libc::sockaddr_ll,
}

impl PacketSocket {
    /// A socket on the interface `index` of this thread's network namespace. It sees what comes in, and nothing that goes out.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_RAW`, and when there is no such interface.
    pub fn new(index: u32) -> io::Result<Self> {
        // Nothing is received before it is bound to the interface.
        // SAFETY: the call takes integers only.
        let raw = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was just opened and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: all-zero bytes are a valid address of this type.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = Self { fd, address };
        socket.switch_on(libc::PACKET_VNET_HDR)?;
        socket.switch_on(libc::PACKET_IGNORE_OUTGOING)?;
        // SAFETY: the pointer and length are those of an address that outlives the call.
        let bound = unsafe {
            let address = (&raw const socket.address).cast();
            libc::bind(socket.fd.as_raw_fd(), address, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        };
        if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends virtio header, link header and packet; `ethertype` is what the packet is.
    pub fn send(&self, bytes: &[u8], ethertype: u16) -> io::Result<()> {
        let address = libc::sockaddr_ll { sll_protocol: ethertype.to_be(), ..self.address };
        // SAFETY: the pointers and lengths are those of values that outlive the call.
        let sent = unsafe {
            let address = (&raw const address).cast();
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            libc::sendto(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, address, len)
        };
        match usize::try_from(sent) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// The length of the next packet with its headers; `None` if there is none yet. What does not fit into `into` is cut off.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the pointer and length are those of a slice that is ours to write for the length of the call.
        let len = unsafe { libc::recv(self.fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0) };
        match usize::try_from(len) {
            Ok(len) => Ok(Some(len)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Sets an option of packet sockets to 1.
    fn switch_on(&self, name: libc::c_int) -> io::Result<()> {
        let on: libc::c_int = 1;
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointer and length are those of an integer that outlives the call.
        let set = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), libc::SOL_PACKET, name, (&raw const on).cast(), len)
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
