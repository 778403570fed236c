//! Whether packets may have to go another way than before: told of every change of routes, rules and neighbours, which are
//! looked at only as far as it takes to leave out what changes nothing. (rtnetlink(7).)

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::change::ROUTE_PROTOCOL;
use super::raw::{attributes, messages};

/// Changes are told of at most this often.
const PAUSE: Duration = Duration::from_millis(100);
/// Neighbours that are remembered; with more, all are forgotten.
const NEIGHBOURS_MAX: usize = 65_536;
/// Bytes of a read.
const ROOM: usize = 32 << 10;

const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// Bytes of `struct ndmsg`.
const NEIGHBOUR_HEADER: usize = 12;
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_HARDWARE: u16 = 2;

/// Groups of notifications: neighbours, routes and rules of both families, next hops.
const GROUPS: [u32; 6] = [3, 7, 8, 11, 19, 32];

/// `RTM_NEWROUTE`, `RTM_DELROUTE`.
const ROUTES: [u16; 2] = [24, DELETED_ROUTE];
/// Bytes of `struct rtmsg`, and the attribute with a route's MTU among other things.
const ROUTE_HEADER: usize = 12;
const ROUTE_METRICS: u16 = 8;
/// Where in `struct rtmsg` it says who has made the route.
const ROUTE_MAKER: usize = 5;

const DELETED_ROUTE: u16 = 25;
const DELETED_RULE: u16 = 33;
/// Bytes of `struct fib_rule_hdr`, and the attribute that says who has made the rule.
const RULE_HEADER: usize = 12;
const RULE_MAKER: u16 = 21;

/// How often something changed; the numbers only count up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChanges {
    /// Routes, rules or neighbours. Many changes in a short time count as one.
    pub ways: u64,
    /// Routes with metrics of their own, such as an MTU.
    pub metrics: u64,
    /// Routes and rules of ours that were deleted, by whomever: other programs think that all of a host's are theirs.
    pub deleted: u64,
}

/// What a read tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    changed: bool,
    metrics: bool,
    deleted: bool,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Ways {
    receiver: watch::Receiver<RouteChanges>,
    task: JoinHandle<()>,
}

impl Ways {
    /// Starts watching in this thread's network namespace. Needs a tokio runtime; no privilege.
    pub(super) fn start() -> io::Result<Self> {
        // SAFETY: an OwnedFd names the same open descriptor as long as it lives, and is closed by nobody else.
        let socket = unsafe { AsyncFd::register_with_interest(listen()?, Interest::READABLE) }?;
        let (sender, receiver) = watch::channel(RouteChanges::default());
        let task = tokio::spawn(async move {
            let mut neighbours = Neighbours::default();
            let mut room = vec![0; ROOM];
            loop {
                let Ok(mut ready) = socket.readable().await else { return };
                let mut told = Told::default();
                loop {
                    match ready.try_io(|socket| receive(socket.get_ref(), &mut room)) {
                        Ok(Ok(count)) => {
                            told.changed |= neighbours.matters(&room[..count]);
                            told.metrics |= messages(&room[..count]).any(has_metrics);
                            told.deleted |= messages(&room[..count]).any(is_loss);
                        }
                        // Notifications were lost, so that anything may have changed.
                        Ok(Err(_)) => {
                            told = Told { changed: true, metrics: true, deleted: true };
                            break;
                        }
                        Err(_would_block) => break,
                    }
                }
                if told.changed {
                    sender.send_modify(|count| {
                        count.ways += 1;
                        count.metrics += u64::from(told.metrics);
                        count.deleted += u64::from(told.deleted);
                    });
                    sleep(PAUSE).await;
                }
            }
        });
        Ok(Self { receiver, task })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<RouteChanges> {
        self.receiver.clone()
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hardware addresses by interface and address: most notifications tell that one was confirmed, not that it changed.
#[derive(Debug, Default)]
struct Neighbours(HashMap<Vec<u8>, Vec<u8>>);

impl Neighbours {
    /// True if one of the notifications in `bytes` tells of another way. All are taken note of.
    fn matters(&mut self, bytes: &[u8]) -> bool {
        let mut changed = false;
        for (kind, body) in messages(bytes) {
            changed |= match kind {
                NEW_NEIGHBOUR..GET_NEIGHBOUR => self.neighbour(kind, body),
                _ => true,
            };
        }
        changed
    }

    fn neighbour(&mut self, kind: u16, body: &[u8]) -> bool {
        let Some((header, rest)) = body.split_at_checked(NEIGHBOUR_HEADER) else { return true };
        let find = |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
        let mut key = header[4..8].to_vec();
        key.extend_from_slice(find(NEIGHBOUR_ADDRESS).unwrap_or_default());
        if self.0.len() >= NEIGHBOURS_MAX {
            self.0.clear();
        }
        // Without a hardware address it is being looked for, or not found, or removed.
        match find(NEIGHBOUR_HARDWARE).filter(|_| kind == NEW_NEIGHBOUR) {
            Some(hardware) => self.0.insert(key, hardware.to_vec()).as_deref() != Some(hardware),
            // One that was there before we looked may have been in use.
            None => self.0.remove(&key).is_some() || kind != NEW_NEIGHBOUR,
        }
    }
}

fn has_metrics((kind, body): (u16, &[u8])) -> bool {
    let rest = body.get(ROUTE_HEADER..).unwrap_or_default();
    ROUTES.contains(&kind) && attributes(rest).any(|(kind, _)| kind == ROUTE_METRICS)
}

/// True if something of ours was deleted.
fn is_loss((kind, body): (u16, &[u8])) -> bool {
    match kind {
        DELETED_ROUTE => body.get(ROUTE_MAKER) == Some(&ROUTE_PROTOCOL),
        DELETED_RULE => {
            let rest = body.get(RULE_HEADER..).unwrap_or_default();
            attributes(rest).any(|(kind, value)| kind == RULE_MAKER && value == [ROUTE_PROTOCOL])
        }
        _ => false,
    }
}

fn listen() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: `sockaddr_nl` consists of integers: all zero bytes are a valid value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = GROUPS.iter().fold(0, |mask, group| mask | 1 << (group - 1));
    let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address is live and its size is passed along.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn receive(socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a slice that is ours to write.
    let n = unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::super::raw::Body;
    use super::*;

    fn message(kind: u16, interface: u8, hardware: Option<&[u8]>) -> Vec<u8> {
        let mut header = [0; NEIGHBOUR_HEADER];
        header[4] = interface;
        let mut body = Body::new(&header).with(NEIGHBOUR_ADDRESS, &[192, 0, 2, 1]);
        if let Some(hardware) = hardware {
            body = body.with(NEIGHBOUR_HARDWARE, hardware);
        }
        let mut message = (16 + body.bytes().len() as u32).to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.resize(16, 0);
        message.extend_from_slice(body.bytes());
        message
    }

    #[test]
    fn a_neighbour_that_is_confirmed_changes_nothing() {
        let mut neighbours = Neighbours::default();
        let (one, other) = (Some(&[2, 0, 0, 0, 0, 1][..]), Some(&[2, 0, 0, 0, 0, 2][..]));
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR, 1, one)));
        assert!(!neighbours.matters(&message(NEW_NEIGHBOUR, 1, one)));
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR, 2, one)));
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR, 1, other)));
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR, 1, None)));
        assert!(!neighbours.matters(&message(NEW_NEIGHBOUR, 1, None)));
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR + 1, 2, one)));
        // Who was never seen may have been in use before.
        assert!(neighbours.matters(&message(NEW_NEIGHBOUR + 1, 2, one)));
        // A route.
        assert!(neighbours.matters(&message(24, 1, None)));
        let both = [message(24, 1, None), message(NEW_NEIGHBOUR, 1, one)].concat();
        assert!(neighbours.matters(&both) && !neighbours.matters(&message(NEW_NEIGHBOUR, 1, one)));
        assert!(!neighbours.matters(&[]));
    }
}
