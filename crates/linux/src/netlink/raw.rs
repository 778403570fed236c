//! Requests by netlink whose messages the netlink crates do not have: tc filters with a BPF program, and what drivers can do
//! with XDP. One request at a time, answered before the call returns. (Linux: Documentation/userspace-api/netlink/intro.rst.)

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Flags of a request, beside `NLM_F_REQUEST`.
pub(crate) const CREATE: u16 = libc::NLM_F_CREATE as u16;
/// An error if it is there already.
pub(crate) const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
/// All of a kind.
pub(crate) const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// Bytes of a message's header.
const HEADER: usize = 16;
/// Bytes of an attribute's header.
const ATTRIBUTE: usize = 4;
/// Bytes of an answer that is read at once.
const ROOM: usize = 64 << 10;
/// Answers of one request.
const ANSWERS_MAX: usize = 4096;

/// What follows the header of a request: a fixed structure, then attributes.
#[derive(Debug)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// A body that begins with `fixed`.
    pub(crate) fn new(fixed: &[u8]) -> Self {
        Self(fixed.to_vec())
    }

    /// With another attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // Attributes are a few bytes each.
        let len = (ATTRIBUTE + value.len()) as u16;
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// The bytes: as the value of an attribute that holds others.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes in `bytes`, by kind; what is malformed ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d, ..] = *bytes else { return None };
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        // The upper bits say that it is nested, or in network byte order.
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    })
}

/// Asks for `kind` of netlink `protocol` in this thread's network namespace; the bodies of the answers.
pub(crate) fn request(protocol: libc::c_int, kind: u16, flags: u16, body: &Body) -> io::Result<Vec<Vec<u8>>> {
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut message = Vec::with_capacity(HEADER + body.0.len());
    // Bodies are a few hundred bytes.
    message.extend_from_slice(&((HEADER + body.0.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body.0);
    // SAFETY: the pointer and length are those of a live vector; without an address it goes to the kernel.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answers = Vec::new();
    let mut room = vec![0u8; ROOM];
    while answers.len() < ANSWERS_MAX {
        // SAFETY: the pointer and length are those of a vector that is ours to write.
        let n = unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        if take(&room[..n.min(ROOM)], &mut answers)? {
            return Ok(answers);
        }
    }
    Err(io::Error::other("netlink answers without end"))
}

/// The messages of one read, by kind; what is malformed ends them.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d, e, f, ..] = *bytes else { return None };
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let body = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([e, f]), body))
    })
}

/// Takes the messages of one read; true if they were the last.
fn take(bytes: &[u8], answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    const ERROR: u16 = libc::NLMSG_ERROR as u16;
    const DONE: u16 = libc::NLMSG_DONE as u16;
    for (kind, body) in messages(bytes) {
        if kind != ERROR && kind != DONE {
            answers.push(body.to_vec());
            continue;
        }
        // A dump ends with DONE alone; an acknowledgement is an error of zero.
        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        return if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(true) };
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_there_and_back() {
        let inner = Body::new(&[]).with(7, b"xlat\0");
        let body = Body::new(&[9; 4]).with(1, b"bpf\0").with(2, inner.bytes());
        let found: Vec<_> = attributes(&body.bytes()[4..]).collect();
        assert_eq!(found, [(1, &b"bpf\0"[..]), (2, inner.bytes())]);
        assert_eq!(attributes(found[1].1).collect::<Vec<_>>(), [(7, &b"xlat\0"[..])]);
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(attributes(&bytes).count() <= 25);
            let _ = take(&bytes, &mut Vec::new());
        }
    }
}
