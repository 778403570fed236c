//! The rate of small packets: A sends as many frames as it can from a packet socket, without any stack of its own in the
//! way; V counts the datagrams that reach a socket which nobody reads, so that receiving costs next to nothing.

use std::fs;
use std::io::{IoSlice, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use xlat_bench::Error;
use xlat_bench::results::{Sample, cpu_time};

use crate::frame::{PORT, frame};
use crate::lab::{Lab, Subject};

/// What [`receive`] prints when it counts.
pub(crate) const LISTENING: &str = "listening";
/// Frames that are given to the kernel at a time.
const BATCH: usize = 64;
/// How long a packet may be under way.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// Floods V by way of `subject` for the time `time`.
pub(crate) fn measure(lab: &Lab, subject: &Subject, flows: usize, time: Duration) -> Result<Sample, Error> {
    let program = std::env::current_exe()?;
    let millis = time.as_millis();
    let Subject { device, from, to, .. } = subject;
    let line = format!("{} send {device} {from} {to} {flows} {millis}", program.display());
    let (cpu, count) = (cpu_time(subject.process)?, received(lab)?);
    lab.a.run(&line)?;
    std::thread::sleep(UNDER_WAY);
    let packets = (received(lab)? - count) as f64;
    let cpu = (cpu_time(subject.process)? - cpu).as_nanos() as f64;
    Ok(Sample { rate: packets / time.as_secs_f64() / 1e6, cpu: cpu / packets.max(1.0), units: packets })
}

/// Datagrams that the receiver's socket has refused, its queue being full: all but the first few hundred.
fn received(lab: &Lab) -> Result<u64, Error> {
    let table = fs::read_to_string(format!("/proc/{}/net/udp6", lab.v.pid()))?;
    let port = format!(":{PORT:04X}");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.get(1).is_some_and(|local| local.ends_with(&port)));
    let drops = line.and_then(|line| line.last()?.parse().ok());
    drops.ok_or_else(|| "the receiver's socket is gone".into())
}

/// In V: holds the socket until the end comes from outside.
pub(crate) fn receive() -> Result<(), Error> {
    // Bound to the unspecified IPv6 address, it takes IPv4 too.
    let _socket = std::net::UdpSocket::bind(("::", PORT))?;
    println!("{LISTENING}");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

/// In A: `DEVICE FROM TO FLOWS MILLISECONDS`; sends one packet of each flow after the other.
pub(crate) fn send(words: &[&str]) -> Result<(), Error> {
    let [device, from, to, flows, millis] = words else {
        return Err("send DEVICE FROM TO FLOWS MILLISECONDS".into());
    };
    let (from, to): (IpAddr, IpAddr) = (from.parse()?, to.parse()?);
    let time = Duration::from_millis(millis.parse()?);
    // So many frames that all batches are full and the flows come in turns.
    let flows: u16 = flows.parse()?;
    let count = usize::from(flows) * BATCH;
    let frames: Option<Vec<Vec<u8>>> = (0..flows).map(|flow| frame(from, to, flow)).collect();
    let frames = frames.ok_or("addresses of different families")?;
    let link = getifaddrs()?
        .filter(|address| address.interface_name == *device)
        .find_map(|address| address.address?.as_link_addr().copied())
        .ok_or("there is no such device")?;
    let socket = socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
    socket::bind(socket.as_raw_fd(), &link)?;
    let slices: Vec<[IoSlice<'_>; 1]> =
        (0..count).map(|number| [IoSlice::new(&frames[number % frames.len()])]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        (0..count).map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> =
        slices.iter().zip(&mut controls).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
    let end = Instant::now() + time;
    let mut sent = 0;
    for batch in (0..count / BATCH).cycle() {
        if Instant::now() >= end {
            break;
        }
        // What does not fit now is lost, as it would be on a real wire.
        sent += sendmmsg(socket.as_fd(), &mut messages[batch * BATCH..][..BATCH], SendFlags::DONTWAIT)
            .unwrap_or(0);
    }
    println!("{sent}");
    Ok(())
}
