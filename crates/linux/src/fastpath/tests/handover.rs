//! Packets through program, TUN device and worker: they arrive whole, with where they came from.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use xlat_fastpath::config::{Link, SteerPrefix4, config_flag, link_flag};
use xlat_packet::checksum::Sum;
use xlat_packet::{Buffer, Checksum, GsoKind, Offload};

use super::super::*;
use super::common::run;
use super::{interface, open, with_pins};
use crate::clock;
use crate::datapath::{Handler, Origin, Transmit, WorkerOptions, Workers};
use crate::tun::Tun;

/// Notes what it is given.
struct Notes(Sender<(Origin, Vec<u8>, Offload)>);

impl Handler for Notes {
    fn packet(&mut self, packet: &mut Buffer<'_>, origin: Origin, _: &mut dyn Transmit) {
        let _ = self.0.send((origin, packet.bytes().to_vec(), packet.offload));
    }

    fn tick(&mut self, _: u64, _: &mut dyn Transmit) {}

    fn now(&mut self, _: u64) {}
}

#[test]
fn a_packet_that_is_handed_over_says_where_it_came_from() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        run("ip link set x0 up");
        run("ip link set y0 up");
        run("ip addr add 203.0.113.1/24 dev x0");
        run("sysctl -qw net.ipv4.ip_forward=1");
        let tun = Tun::create("xh0", 2).unwrap();
        let device = tun.index();
        run("ip addr add 192.0.2.1/24 dev xh0");
        run("ip link set xh0 mtu 9000 up");
        run("ip route add 198.51.100.0/24 dev xh0");
        let (fast_path, _) = open(&pins);
        let maps = fast_path.maps();
        let now = (clock::now_ms() / 1000) as u32;
        maps.configure(|config| (config.heartbeat, config.outlive, config.device) = (now, 1000, device))
            .unwrap();
        fast_path.attach_device(device).unwrap();
        let (sender, notes) = channel();
        let _workers =
            Workers::start(tun, WorkerOptions::default(), |_| Box::new(Notes(sender.clone()))).unwrap();
        let next = |port: u16| loop {
            let (origin, bytes, offload) = notes.recv_timeout(Duration::from_secs(5)).unwrap();
            assert!(matches!(bytes[0] >> 4, 4 | 6), "{bytes:02x?}");
            if bytes[0] == 0x45 && bytes[22..24] == port.to_be_bytes() {
                return (origin, bytes, offload);
            }
        };

        // The host's own, with a mark, its checksum not finished.
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_MARK, 77);
        socket.send_to(b"once", "198.51.100.5:1001").unwrap();
        let (origin, bytes, offload) = next(1001);
        assert_eq!(origin, Origin { interface: 0, mark: 77, ingress: false });
        assert_eq!((bytes.len(), offload.checksum), (32, Checksum::Partial { start: 20, offset: 6 }));

        // A super-packet.
        set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 300);
        socket.send_to(&[1; 3000], "198.51.100.5:1002").unwrap();
        let (origin, bytes, offload) = next(1002);
        assert_eq!(origin.mark, 77);
        if let Some(gso) = offload.gso {
            assert_eq!((gso.kind, gso.segment_size, gso.header_len), (GsoKind::Udp, 300, 28));
            assert_eq!(bytes.len(), 3028);
        }

        // Forwarded from an interface.
        let x0 = interface("x0");
        inject("y0", &frame(&mac("x0"), 1003));
        let (origin, bytes, _) = next(1003);
        assert_eq!(origin, Origin { interface: x0, mark: 0, ingress: false });
        assert_eq!(bytes[8], 63, "the kernel took a hop");

        // Taken at its ingress.
        let flags = link_flag::KNOWN | link_flag::ETHERNET | link_flag::INGRESS;
        maps.set_link(x0, Link { mac: mac("x0"), flags, mtu: 1500 }).unwrap();
        let steer =
            SteerPrefix4 { prefix: [198, 51, 100, 0], mask: [255, 255, 255, 0], ..Default::default() };
        maps.set_steer(&[steer], &[]).unwrap();
        maps.configure(|config| config.flags |= config_flag::INGRESS).unwrap();
        fast_path.attach_ingress(x0, XdpMode::Off).unwrap();
        inject("y0", &frame(&mac("x0"), 1004));
        let (origin, bytes, _) = next(1004);
        assert_eq!(origin, Origin { interface: x0, mark: 0, ingress: true });
        assert_eq!(bytes[8], 64, "nobody took a hop");
    });
}

fn set_option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    // SAFETY: the option's value is a live integer and its size is passed along.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), 4) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn mac(name: &str) -> [u8; 6] {
    let text = run(&format!("ip -o link show {name}"));
    let mac = text.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// A frame with a UDP datagram (without checksum) from 203.0.113.9 to 198.51.100.7.
fn frame(to: &[u8; 6], port: u16) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 9, 198, 51, 100, 7];
    let sum = Sum::of(&ip).finish();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = port.to_be_bytes();
    let udp = [0x10, 0, high, low, 0, 12, 0, 0, 1, 2, 3, 4];
    [&to[..], &[2, 0, 0, 0, 0, 9, 8, 0], &ip, &udp].concat()
}

/// Sends a frame out by an interface.
fn inject(name: &str, frame: &[u8]) {
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(raw >= 0);
    // SAFETY: `raw` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: `sockaddr_ll` consists of integers: all zero bytes are a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface(name).cast_signed();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    let (at, size, to) = (frame.as_ptr().cast(), frame.len(), (&raw const address).cast());
    // SAFETY: frame and address are live, and their sizes are passed along.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), at, size, 0, to, len) };
    assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
}
