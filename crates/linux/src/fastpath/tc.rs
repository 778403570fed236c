//! tc filters with a BPF program, as kernels before 6.6 attach them: filter `xlat` of a priority of its own on the clsact
//! queueing discipline, which may be others' too.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::netlink::raw::{Body, CREATE, DUMP, EXCLUSIVE, request};

const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;

const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
/// The program's answer is the verdict.
const DIRECT_ACTION: u32 = 1;

/// Priority and handle by which our filter is known.
const PRIORITY: u32 = 0x0064;
const HANDLE: u32 = 0x786c_6174;

/// Adds the queueing discipline that filters need; false if it is there already.
pub(super) fn add_clsact(interface: u32) -> io::Result<bool> {
    let body = Body::new(&message(interface, CLSACT_HANDLE, CLSACT_PARENT, 0)).with(KIND, b"clsact\0");
    match ask(NEW_QDISC, CREATE | EXCLUSIVE, &body) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the queueing discipline if no filter is left; false if there is one.
pub(super) fn remove_clsact_if_empty(interface: u32) -> io::Result<bool> {
    for parent in [INGRESS, EGRESS] {
        let filters = absent(ask(GET_FILTER, DUMP, &Body::new(&message(interface, 0, parent, 0))))?;
        if filters.is_some_and(|filters| !filters.is_empty()) {
            return Ok(false);
        }
    }
    absent(ask(DEL_QDISC, 0, &Body::new(&message(interface, CLSACT_HANDLE, CLSACT_PARENT, 0))))?;
    Ok(true)
}

/// Adds our filter, or lets the one that there is run `program`.
pub(super) fn set_filter(interface: u32, egress: bool, program: &OwnedFd) -> io::Result<()> {
    let options = Body::new(&[])
        .with(BPF_FD, &program.as_raw_fd().to_ne_bytes())
        .with(BPF_NAME, b"xlat\0")
        .with(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    let body = filter(interface, egress).with(KIND, b"bpf\0").with(OPTIONS, options.bytes());
    ask(NEW_FILTER, CREATE, &body).map(drop)
}

/// True if our filter is there.
pub(super) fn has_filter(interface: u32, egress: bool) -> bool {
    let body = filter(interface, egress).with(KIND, b"bpf\0");
    ask(GET_FILTER, 0, &body).is_ok()
}

/// Removes our filter. None there, or no interface, is fine.
pub(super) fn remove_filter(interface: u32, egress: bool) -> io::Result<()> {
    let body = filter(interface, egress).with(KIND, b"bpf\0");
    absent(ask(DEL_FILTER, 0, &body)).map(drop)
}

fn filter(interface: u32, egress: bool) -> Body {
    let all_protocols = u32::from((libc::ETH_P_ALL as u16).to_be());
    let parent = if egress { EGRESS } else { INGRESS };
    Body::new(&message(interface, HANDLE, parent, PRIORITY << 16 | all_protocols))
}

/// `struct tcmsg`.
fn message(interface: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut message = [0; 20];
    for (place, value) in message[4..].chunks_exact_mut(4).zip([interface, handle, parent, info]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    message
}

fn ask(kind: u16, flags: u16, body: &Body) -> io::Result<Vec<Vec<u8>>> {
    request(libc::NETLINK_ROUTE, kind, flags, body)
}

/// What is asked for, or whose interface or queueing discipline, is not there: no error.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    const GONE: [i32; 4] = [libc::ENOENT, libc::ENODEV, libc::EINVAL, libc::ESRCH];
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error().is_some_and(|code| GONE.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}
