//! The data path with the kernel's own TCP and UDP at both ends: a handler that exchanges the addresses makes a
//! host talk to itself through the device, with super-packets and partial checksums.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene fails")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{block_on, eventually, in_namespace};
use xlat_linux::datapath::{Counters, Handler, Origin, Transmit, WorkerOptions, Workers};
use xlat_linux::netlink::{Host, HostPlan};
use xlat_linux::tun::{Tun, TunError};
use xlat_packet::Buffer;

/// What the one datagram of a test contains that is counted on its way round.
const ONCE: &[u8] = b"once round and no more";

/// Sends every packet back to where it came from, by exchanging the addresses; or as it is.
struct Mirror {
    exchange: bool,
    seen: Arc<Seen>,
}

/// What the workers saw.
#[derive(Default)]
struct Seen {
    ticks: AtomicU64,
    times: AtomicU64,
    /// Packets that contain [`ONCE`] and are no ICMP errors about it.
    once: AtomicU64,
}

impl Handler for Mirror {
    fn packet(&mut self, packet: &mut Buffer<'_>, _: Origin, out: &mut dyn Transmit) {
        let bytes = packet.bytes_mut();
        let (start, len, protocol) = if bytes[0] >> 4 == 4 { (12, 4, 9) } else { (8, 16, 6) };
        if bytes.ends_with(ONCE) && i32::from(bytes[protocol]) == libc::IPPROTO_UDP {
            self.seen.once.fetch_add(1, Ordering::Relaxed);
        }
        if self.exchange && bytes.len() >= start + 2 * len {
            let (source, rest) = bytes[start..].split_at_mut(len);
            source.swap_with_slice(&mut rest[..len]);
        }
        out.send(packet);
    }

    fn tick(&mut self, _: u64, _: &mut dyn Transmit) {
        self.seen.ticks.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&mut self, _: u64) {
        self.seen.times.fetch_add(1, Ordering::Relaxed);
    }
}

/// A device `name` with 192.0.2.1 and 2001:db8::1 on it, whose other addresses lead back here.
fn mirror(name: &str, exchange: bool) -> (Workers, Host, Arc<Seen>) {
    let tun = Tun::create(name, 2).unwrap();
    let mut plan = HostPlan::new(name);
    plan.routes = vec!["198.51.100.0/24".parse().unwrap(), "2001:db8:1::/64".parse().unwrap()];
    plan.journal_directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("datapath");
    // The runtime that drives the netlink connection may end: nothing more is asked of it.
    let host = block_on(Host::apply(plan)).unwrap();
    common::run(&format!("ip addr add 192.0.2.1/24 dev {name}"));
    common::run(&format!("ip addr add 2001:db8::1/64 dev {name} nodad"));
    let seen = Arc::new(Seen::default());
    let workers = Workers::start(tun, WorkerOptions::default(), |_| {
        Box::new(Mirror { exchange, seen: Arc::clone(&seen) })
    })
    .unwrap();
    (workers, host, seen)
}

fn sum(workers: &Workers, counter: impl Fn(&Counters) -> u64) -> u64 {
    workers.counters().map(|counters| counter(counters)).sum()
}

fn nothing_lost(workers: &Workers) {
    for counters in workers.counters() {
        let rows = counters.rows();
        let lost = |name: &str| {
            ["rx_bad", "rx_err", "tx_no", "tx_bad", "tx_full", "tx_ref", "tx_err", "tx_short"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        let lost: Vec<_> = rows.iter().filter(|(name, value)| lost(name) && *value > 0).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

fn transfer(local: &str, mirrored: &str) {
    const LENGTH: usize = 64 << 20;
    let listener = TcpListener::bind(local).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut at) = (vec![0; 1 << 16], 0usize);
        loop {
            let read = stream.read(&mut buffer).unwrap();
            if read == 0 {
                return at;
            }
            let expected = |offset: usize| (offset / 7) as u8;
            assert!(buffer[..read].iter().enumerate().all(|(n, byte)| *byte == expected(at + n)));
            at += read;
        }
    });
    let mut client = TcpStream::connect(mirrored.replace("PORT", &port.to_string())).unwrap();
    let data: Vec<u8> = (0..LENGTH).map(|offset| (offset / 7) as u8).collect();
    client.write_all(&data).unwrap();
    drop(client);
    assert_eq!(server.join().unwrap(), LENGTH);
}

#[test]
fn tcp_super_packets_pass_both_families() {
    in_namespace(|| {
        let (workers, _host, seen) = mirror("xtcp0", true);
        transfer("192.0.2.1:0", "192.0.2.2:PORT");
        transfer("[2001:db8::1]:0", "[2001:db8::2]:PORT");
        nothing_lost(&workers);
        let (packets, bytes) = (sum(&workers, |c| c.rx_packets.get()), sum(&workers, |c| c.rx_bytes.get()));
        assert!(bytes > 128 << 20);
        // Acknowledgements included, the average is far above any wire's MTU: super-packets were not cut up.
        assert!(bytes / packets > 5000, "{bytes} bytes in {packets} packets");
        eventually("a tick of an idle worker", || seen.ticks.load(Ordering::Relaxed) >= 4);
        workers.stop();
    });
}

#[test]
fn udp_passes_one_by_one_and_segmented() {
    in_namespace(|| {
        let (workers, _host, _) = mirror("xudp0", true);
        for (local, mirrored) in
            [("192.0.2.1:7000", "192.0.2.2:7000"), ("[2001:db8::1]:7000", "[2001:db8::2]:7000")]
        {
            let socket = UdpSocket::bind(local).unwrap();
            socket.connect(mirrored).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut buffer = [0u8; 2000];
            for n in 0..200u8 {
                socket.send(&[n; 100]).unwrap();
            }
            for n in 0..200u8 {
                assert_eq!(socket.recv(&mut buffer).unwrap(), 100);
                assert_eq!(buffer[..100], [n; 100]);
            }
            let size: libc::c_int = 300;
            // SAFETY: the option's value is a live integer and its size is passed along.
            let set = unsafe {
                let value = (&raw const size).cast();
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, 4)
            };
            if set != 0 {
                println!("skipped: no UDP segmentation offload here");
                continue;
            }
            let before = sum(&workers, |c| c.rx_packets.get());
            let data: Vec<u8> = (0..1000).map(|n| (n / 5) as u8).collect();
            socket.send(&data).unwrap();
            let mut got = Vec::new();
            for expected in [300, 300, 300, 100] {
                let read = socket.recv(&mut buffer).unwrap();
                assert_eq!(read, expected);
                got.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(got, data);
            // One super-packet, if the device has USO; a packet of the kernel's own may be among them.
            let packets = sum(&workers, |c| c.rx_packets.get()) - before;
            println!("a send of four datagrams was read as {packets} packets");
        }
        nothing_lost(&workers);
    });
}

/// How often one datagram to `far` is read from the device. The kernel's own packets (router solicitations, reports of multicast
/// groups) are none of it.
fn rounds(seen: &Seen, local: &str, far: &str) -> u64 {
    let before = seen.once.load(Ordering::Relaxed);
    UdpSocket::bind(local).unwrap().send_to(ONCE, far).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    seen.once.load(Ordering::Relaxed) - before
}

#[test]
fn a_packet_from_the_device_never_goes_back_to_it() {
    in_namespace(|| {
        let (_workers, _host, seen) = mirror("xloop0", false);
        let ways = [("192.0.2.1:0", "198.51.100.5:9", "-4"), ("[2001:db8::1]:0", "[2001:db8:1::5]:9", "-6")];
        for (local, far, family) in ways {
            assert_eq!(rounds(&seen, local, far), 1, "{family}: only the kernel's own sending");
            // Without our rules it does go round, until its hop limit is used up.
            for priority in [32764, 32765] {
                common::run(&format!("ip {family} rule del pref {priority}"));
            }
            let packets = rounds(&seen, local, far);
            assert!(packets > 30, "{family}: it went round {packets} times only: this test shows nothing");
        }
    });
}

#[test]
fn a_device_of_that_name_is_not_joined() {
    in_namespace(|| {
        let first = Tun::create("xname0", 2).unwrap();
        assert!(matches!(Tun::create("xname0", 2), Err(TunError::NameTaken(name)) if name == "xname0"));
        drop(first);
        // A program that another test is just starting has our files open for a moment.
        eventually("a free name", || Tun::create("xname0", 1).is_ok());
    });
}

#[test]
fn workers_end_when_the_device_is_removed() {
    in_namespace(|| {
        let (workers, _host, _) = mirror("xgone0", true);
        assert!(!workers.any_ended());
        common::run("ip link del xgone0");
        eventually("the end of the workers", || workers.any_ended());
        workers.stop();
    });
}

#[test]
fn a_persistent_device_waits_for_its_next_user() {
    in_namespace(|| {
        let (workers, host, _) = mirror("xkeep0", true);
        assert!(matches!(Tun::reopen("xkeep0", 2), Err(TunError::NotOurs(_))));
        drop((workers, host));
        assert!(matches!(Tun::reopen("xkeep0", 2), Err(TunError::NotOurs(name)) if name == "xkeep0"));

        let tun = Tun::create("xkeep1", 2).unwrap();
        tun.set_persistent(true).unwrap();
        assert!(matches!(Tun::reopen("xkeep1", 2), Err(TunError::NameTaken(_))));
        common::run("ip addr add 192.0.2.1/24 dev xkeep1");
        common::run("ip link set xkeep1 up");
        common::run("ip route add 198.51.100.0/24 dev xkeep1");
        let (index, offload) = (tun.index(), tun.offload());
        drop(tun);
        assert!(matches!(Tun::create("xkeep1", 2), Err(TunError::NameTaken(_))));
        assert!(common::run("ip route").contains("198.51.100.0/24 dev xkeep1"));
        let again = Tun::reopen("xkeep1", 2).unwrap();
        assert_eq!((again.index(), again.offload(), again.queue_count()), (index, offload, 2));
        let queues = again.into_queues();
        let (socket, mut buffer) = (UdpSocket::bind("192.0.2.1:0").unwrap(), [0; 2000]);
        // The kernel lets packets through again a moment after the first queue is there.
        eventually("a packet", || {
            socket.send_to(b"once", "198.51.100.5:9").unwrap();
            queues.iter().any(|queue| queue.read(&mut buffer).is_ok_and(|n| n == 42))
        });
        drop(queues);
        Tun::remove("xkeep1").unwrap();
        assert!(!common::run("ip link").contains("xkeep1"));
        Tun::remove("xkeep1").unwrap();
        assert!(matches!(Tun::remove("lo"), Err(TunError::NotOurs(_))));
    });
}

#[test]
fn workers_that_sleep_can_be_woken() {
    in_namespace(|| {
        let (workers, _host, seen) = mirror("xwake0", false);
        let wake = workers.waker();
        // Unasked an idle worker hears of the time once for each tick, and for the few packets that a new device meets.
        eventually("200 times between ticks", || {
            (0..20).for_each(|_| wake());
            seen.times.load(Ordering::Relaxed) > seen.ticks.load(Ordering::Relaxed) + 200
        });
        // A wake is for once: they sleep again, instead of going round without end.
        eventually("sleep", || {
            let before = seen.times.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(300));
            seen.times.load(Ordering::Relaxed) < before + 100
        });
        workers.stop();
        wake();
    });
}
