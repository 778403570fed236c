//! What the kernel says of a TUN device by route netlink, whoever made it (rtnetlink(7), `IFLA_LINKINFO`).

use std::io;

use super::raw::{Body, attributes, request};

const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
const LINK_INFO: u16 = 18;
const KIND: u16 = 1;
const DATA: u16 = 2;
const TUN_TYPE: u16 = 3;
const TUN_PERSIST: u16 = 6;
const TUN_MULTI_QUEUE: u16 = 7;
const TUN_QUEUES: u16 = 8;

/// A TUN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TunState {
    /// It stays without a queue.
    pub(crate) persistent: bool,
    /// It may have several queues.
    pub(crate) multi_queue: bool,
    /// Queues that are open; not known of a device that can have one only.
    pub(crate) queues: u32,
}

/// The state of the device `index`; `None` if it is no TUN device for IP packets.
pub(crate) fn tun_state(index: u32) -> io::Result<Option<TunState>> {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let answers = request(libc::NETLINK_ROUTE, GET_LINK, 0, &Body::new(&header))?;
    Ok(answers.first().and_then(|answer| read(answer.get(HEADER..)?)))
}

fn read(link: &[u8]) -> Option<TunState> {
    let info = find(link, LINK_INFO)?;
    if find(info, KIND)? != b"tun\0" {
        return None;
    }
    let data = find(info, DATA)?;
    let flag = |kind| find(data, kind).and_then(|value| value.first()).is_some_and(|value| *value != 0);
    let is_tun = find(data, TUN_TYPE)?.first() == Some(&(libc::IFF_TUN as u8));
    let queues = find(data, TUN_QUEUES).and_then(|value| value.first_chunk());
    is_tun.then(|| TunState {
        persistent: flag(TUN_PERSIST),
        multi_queue: flag(TUN_MULTI_QUEUE),
        queues: queues.map_or(0, |count| u32::from_ne_bytes(*count)),
    })
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}
