//! The golden vectors of `tests/vectors` through a real TUN device: each packet is sent into the device by a packet
//! socket, read from the queue, given to the engine, and what comes of it written to the queue and caught by the
//! socket. So the kernel sees every virtio header, and must keep what it says. Once with plain reads and writes of the
//! test, once with the engine behind a worker thread of the data path.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set up its scene fails")]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xlat_linux::datapath::{Handler, Origin, Transmit, WorkerOptions, Workers};
use xlat_linux::packet_socket::PacketSocket;
use xlat_linux::tun::{Queue, Tun};
use xlat_linux::virtio::{self, HEADER_LEN};
use xlat_packet::Buffer;
use xlat_packet::buffer::{HEADROOM, MAX_PACKET};
use xlat_tests::corpus::play_all;
use xlat_tests::engine::{Bare, frame, offload};
use xlat_tests::packet::Frame;
use xlat_tests::runner::{Reply, Subject};
use xlat_tests::vector::{Case, Host, Step};

/// The engine behind a device, and a socket on the device's other side.
struct Device {
    engine: Bare,
    queue: Queue,
    socket: PacketSocket,
    room: Vec<u8>,
}

impl Device {
    /// What the engine sent, after it went through the device.
    fn through(&mut self, mut reply: Reply) -> Reply {
        for out in &mut reply.out {
            let header = virtio::encode(&offload(out), &out.bytes).unwrap();
            let bytes = [&header[..], &out.bytes].concat();
            assert_eq!(self.queue.write(&bytes).unwrap(), bytes.len());
            let len = self.socket.receive(&mut self.room).unwrap().expect("the device swallowed a packet");
            *out = caught(&self.room[..len]);
        }
        assert_eq!(self.socket.receive(&mut self.room).unwrap(), None, "the device made a packet of its own");
        reply
    }
}

impl Subject for Device {
    fn configure(&mut self, config: &str, host: &Host) -> Result<(), String> {
        self.engine.configure(config, host)
    }

    fn packet(&mut self, packet: &Frame) -> Reply {
        let header = virtio::encode(&offload(packet), &packet.bytes).unwrap();
        send(&self.socket, &[&header[..], &packet.bytes].concat());
        let len = self.queue.read(&mut self.room).expect("the device swallowed a packet");
        let read = Frame { mark: packet.mark, ..caught(&self.room[..len]) };
        assert_eq!((&read.bytes, read.partial, read.gso), (&packet.bytes, packet.partial, packet.gso));
        let reply = self.engine.packet(&read);
        self.through(reply)
    }

    fn advance(&mut self, milliseconds: u64) -> Reply {
        let reply = self.engine.advance(milliseconds);
        self.through(reply)
    }
}

/// The engine on a worker thread, and a socket on the device's other side.
struct Threaded {
    shared: Arc<Mutex<Shared>>,
    replies: Receiver<Reply>,
    socket: PacketSocket,
    room: Vec<u8>,
    _workers: Workers,
}

/// What the test tells the worker beside packets.
#[derive(Default)]
struct Shared {
    engine: Bare,
    /// Firewall mark of the next packet, which no device carries.
    mark: u32,
    /// The next packet is none: it only wakes the worker up to let this many milliseconds pass.
    advance: Option<u64>,
}

/// The worker's part. Its clock is that of the cases.
struct OnThread {
    shared: Arc<Mutex<Shared>>,
    replies: Sender<Reply>,
}

impl Handler for OnThread {
    fn packet(&mut self, packet: &mut Buffer<'_>, _: Origin, out: &mut dyn Transmit) {
        let mut shared = self.shared.lock().unwrap();
        let reply = match shared.advance.take() {
            Some(milliseconds) => shared.engine.advance(milliseconds),
            None => {
                let read = Frame { mark: shared.mark, ..frame(packet.bytes(), packet.offload) };
                shared.engine.packet(&read)
            }
        };
        for sent in &reply.out {
            let mut storage = vec![0; HEADROOM];
            storage.extend_from_slice(&sent.bytes);
            let end = storage.len();
            out.send(&mut Buffer::new(&mut storage, HEADROOM, end, offload(sent)));
        }
        self.replies.send(reply).unwrap();
    }

    fn tick(&mut self, _now_ms: u64, _out: &mut dyn Transmit) {}

    fn now(&mut self, _now_ms: u64) {}
}

impl Threaded {
    fn new(tun: Tun) -> Self {
        let (shared, (sender, replies)) = (Arc::<Mutex<Shared>>::default(), channel());
        let socket = PacketSocket::new(tun.index()).unwrap();
        // Nothing is merged: what a case expects is what the engine sends.
        let options = WorkerOptions { coalesce_flows: 0, ..WorkerOptions::default() };
        let handler = |_| OnThread { shared: Arc::clone(&shared), replies: sender.clone() };
        let workers = Workers::start(tun, options, |worker| Box::new(handler(worker))).unwrap();
        Self { shared, replies, socket, room: vec![0; HEADER_LEN + MAX_PACKET], _workers: workers }
    }

    fn exchange(&mut self, packet: &Frame) -> Reply {
        let header = virtio::encode(&offload(packet), &packet.bytes).unwrap();
        send(&self.socket, &[&header[..], &packet.bytes].concat());
        let mut reply = self.replies.recv_timeout(LIMIT).expect("the worker got no packet");
        for out in &mut reply.out {
            let end = Instant::now() + LIMIT;
            let len = loop {
                match self.socket.receive(&mut self.room).unwrap() {
                    Some(len) => break len,
                    None => assert!(Instant::now() < end, "the worker sent no packet"),
                }
            };
            *out = caught(&self.room[..len]);
        }
        assert_eq!(self.socket.receive(&mut self.room).unwrap(), None, "the device made a packet of its own");
        reply
    }
}

/// How long a packet may take.
const LIMIT: Duration = Duration::from_secs(10);

impl Subject for Threaded {
    fn configure(&mut self, config: &str, host: &Host) -> Result<(), String> {
        self.shared.lock().unwrap().engine.configure(config, host)
    }

    fn packet(&mut self, packet: &Frame) -> Reply {
        self.shared.lock().unwrap().mark = packet.mark;
        self.exchange(packet)
    }

    fn advance(&mut self, milliseconds: u64) -> Reply {
        self.shared.lock().unwrap().advance = Some(milliseconds);
        let mut wake_up = vec![0; 20];
        wake_up[0] = 0x45;
        self.exchange(&Frame { bytes: wake_up, ..Frame::default() })
    }
}

/// A packet behind its virtio header.
fn caught(bytes: &[u8]) -> Frame {
    let (header, packet) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
    frame(packet, virtio::decode(header, packet).unwrap())
}

fn send(socket: &PacketSocket, bytes: &[u8]) {
    let v6 = bytes.get(HEADER_LEN).is_some_and(|first| first >> 4 == 6);
    socket.send(bytes, if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP } as u16).expect("sending");
}

/// False for what no device carries: an aggregate that does not owe its checksum.
fn carried(case: &Case) -> bool {
    case.steps.iter().all(|(_, step)| match step {
        Step::In(text) => text.notes.gso.is_none() || text.notes.partial,
        _ => true,
    })
}

#[test]
fn the_vectors_hold_on_a_real_device() {
    common::in_namespace(|| {
        // The kernel must not speak on the device by itself.
        common::run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        let tun = match Tun::create("xlatvec0", 1) {
            Ok(tun) => tun,
            Err(error) => return println!("skipped: {error}"),
        };
        common::run("ip link set xlatvec0 up");
        let socket = PacketSocket::new(tun.index()).unwrap();
        let queue = tun.into_queues().remove(0);
        let room = vec![0; HEADER_LEN + MAX_PACKET];
        play(&mut Device { engine: Bare::default(), queue, socket, room });
        // Gone with its queue; the same name serves again.
        let tun = Tun::create("xlatvec0", 1).unwrap();
        common::run("ip link set xlatvec0 up");
        play(&mut Threaded::new(tun));
    });
}

fn play(subject: &mut dyn Subject) {
    let wanted = std::env::var("VECTORS").unwrap_or_default();
    match play_all(subject, |place, case| place.contains(&wanted) && carried(case)) {
        Ok(count) => println!("{count} cases played through a device"),
        Err(faults) => panic!("{faults}"),
    }
}
