//! Generated packets as the kernel hands them around, into one cable and out of the other: super-packets of many sizes, partial and
//! complete checksums, payload in one piece of memory or in many. Packet sockets with virtio headers send and catch them
//! whole. What comes out is what the bare engine makes of the same packet with the same flow, offload state included,
//! whether the kernel's program translated it or handed it to the daemon.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xlat_fastpath_tests::generate::Random;
use xlat_linux::packet_socket::PacketSocket;
use xlat_linux::virtio::{self, HEADER_LEN};
use xlat_netlab::Namespace;
use xlat_packet::checksum::Sum;
use xlat_tests::engine::{Bare, frame, offload};
use xlat_tests::packet::{Aggregate, Frame};
use xlat_tests::runner::Subject;
use xlat_tests::vector::Host;

use crate::lab::{Xlat, cable, eventually, no_fast_path, nodes, routes, skipped};
use crate::sockets::within;

/// Packets of each test in the ordinary run; `XLAT_PACKETS` asks for more.
const PACKETS: usize = 120;
/// How long a packet may be on its way.
const LIMIT: Duration = Duration::from_secs(10);

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// IPv4 and IPv6.
const ETHERTYPES: [u16; 2] = [0x0800, 0x86dd];

const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];
const SERVER6: [u8; 16] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 16];
const SERVER4: [u8; 4] = [192, 0, 2, 16];
/// The client as NAT64 and SIIT show it.
const MASK4: [u8; 4] = [198, 51, 100, 8];
/// Ports of client, mask and server.
const PORTS: [u16; 3] = [1000, 2000, 4000];

/// One end of the path, outside of the translator's host.
struct End {
    socket: PacketSocket,
    /// Hardware addresses of the translator's interface, and of this end's.
    link: [u8; 12],
}

impl End {
    fn new(node: &Namespace, translator: (&Namespace, &str)) -> Self {
        let line = |node: &Namespace, device: &str| node.ip(&format!("-o link show {device}")).unwrap();
        let mac = |line: &str| -> Vec<u8> {
            let text = line.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
            text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        };
        let own = line(node, "eth0");
        let index = own.split(':').next().unwrap().parse().unwrap();
        let link = [mac(&line(translator.0, translator.1)), mac(&own)].concat();
        let socket = within(node, || PacketSocket::new(index)).unwrap();
        Self { socket, link: link.try_into().unwrap() }
    }

    /// Sends a packet; `linear` is how many of its first bytes are to lie in one piece of memory (0: all).
    fn send(&self, packet: &Frame, linear: usize) {
        let mut header = virtio::encode(&offload(packet), &packet.bytes).unwrap();
        let mut shift = |at: usize, by: u16| {
            let field = u16::from_ne_bytes([header[at], header[at + 1]]) + by;
            header[at..at + 2].copy_from_slice(&field.to_ne_bytes());
        };
        if packet.partial.is_some() {
            shift(6, ETHERNET as u16);
        }
        let linear = if linear == 0 { 0 } else { linear.min(packet.bytes.len()) + ETHERNET };
        header[2..4].copy_from_slice(&(linear as u16).to_ne_bytes());
        let kind = ETHERTYPES[usize::from(packet.bytes[0] >> 4 == 6)];
        let bytes = [&header[..], &self.link, &kind.to_be_bytes(), &packet.bytes].concat();
        let sent = self.socket.send(&bytes, kind);
        assert!(sent.is_ok(), "{sent:?}: {header:?}, {} bytes", packet.bytes.len());
    }

    /// The next TCP or UDP packet that comes.
    fn receive(&self) -> Option<Frame> {
        let mut room = vec![0; HEADER_LEN + ETHERNET + (1 << 16)];
        loop {
            let Some(len) = self.socket.receive(&mut room).unwrap() else {
                let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
                let limit = Timespec::try_from(LIMIT).unwrap();
                match poll(&mut ready, Some(&limit)) {
                    Ok(0) => return None,
                    _ => continue,
                }
            };
            let (header, bytes) = room[..len].split_first_chunk::<HEADER_LEN>().unwrap();
            let packet = &bytes[ETHERNET..];
            let kind = u16::from_be_bytes([bytes[12], bytes[13]]);
            let protocol = match ETHERTYPES.iter().position(|known| *known == kind) {
                Some(0) => packet[9],
                Some(_) => packet[6],
                None => continue,
            };
            // Neighbours look for each other meanwhile.
            if protocol == TCP || protocol == UDP {
                let offload = virtio::decode_behind(header, ETHERNET, packet).unwrap();
                return Some(frame(packet, offload));
            }
        }
    }
}

/// A packet as a test wants it.
#[derive(Clone, Copy, Debug)]
struct Wish {
    from6: bool,
    protocol: u8,
    flags: u8,
    payload: usize,
    /// Segment size of a super-packet.
    segment: Option<u16>,
    /// CWR is on the first segment only.
    ecn: bool,
    partial: bool,
    /// With an IPv6 Destination Options header, which the program does not repeat.
    options: bool,
    dont_fragment: bool,
    /// Bytes in one piece of memory.
    linear: usize,
}

impl Wish {
    fn any(random: &mut Random) -> Self {
        let from6 = random.once_in(2);
        let protocol = if random.once_in(4) { UDP } else { TCP };
        let is_whole = random.once_in(4);
        let segment = random.one(&[88, 512, 536, 1000, 1200, 1219, 1380, 1400]);
        // UDP aggregates are of 64 datagrams at most in older kernels.
        let most = if protocol == UDP { 60 * usize::from(segment) } else { 65_000 }.min(65_000);
        let payload = match (is_whole, random.below(4)) {
            (true, _) => random.below(1400),
            (false, 0) => usize::from(segment) + 1 + random.below(usize::from(segment)),
            (false, 1) => usize::from(segment) * (2 + random.below(10)),
            (false, _) => usize::from(segment) + 1 + random.below(most - usize::from(segment)),
        }
        .min(most);
        let ecn = !is_whole && protocol == TCP && random.once_in(4);
        let flags = random.one(&[0x10, 0x18, 0x30, 0x50]) | if ecn { 0x80 } else { 0 };
        let options = from6 && is_whole && random.once_in(6);
        let on_wire = if is_whole { payload } else { segment.into() };
        Self {
            from6,
            protocol,
            flags,
            payload,
            segment: (!is_whole).then_some(segment),
            ecn,
            partial: !is_whole || random.once_in(2),
            options,
            dont_fragment: on_wire > 1200 || !random.once_in(3),
            linear: random.one(&[0, 60, 72, 200, 5000]),
        }
    }

    /// True for what the program hands to the daemon because the kernel's helper does not convert it.
    fn is_udp_aggregate(&self) -> bool {
        self.protocol == UDP && self.segment.is_some()
    }

    /// The packet, with any content.
    fn packet(&self, random: &mut Random, is_siit: bool) -> Frame {
        let [client, mask, server] = if is_siit { [PORTS[0], PORTS[0], PORTS[2]] } else { PORTS };
        let ports = if self.from6 { [client, server] } else { [server, mask] };
        let mut upper = ports.map(u16::to_be_bytes).concat();
        let checksum_at = if self.protocol == TCP {
            upper.extend(random.any().to_be_bytes());
            let options = if random.once_in(2) { 12 } else { 0 };
            upper.extend([(20 + options) << 2, self.flags]);
            upper.extend((random.any() as u16).to_be_bytes());
            upper.extend([0; 4]);
            upper.extend((0..options).map(|_| 1));
            16
        } else {
            upper.extend((8 + self.payload as u16).to_be_bytes());
            upper.extend([0; 2]);
            6
        };
        let header_len = upper.len();
        upper.extend((0..self.payload.div_ceil(8)).flat_map(|_| random.any().to_be_bytes()));
        upper.truncate(header_len + self.payload);
        let length = Sum::length_and_protocol(upper.len() as u32, self.protocol);
        let pseudo = if self.from6 {
            Sum::addresses6(CLIENT6.into(), SERVER6.into())
        } else {
            Sum::addresses4(SERVER4.into(), MASK4.into())
        }
        .plus(length);
        let checksum = if self.partial { pseudo.fold() } else { Sum::of(&upper).plus(pseudo).finish() };
        // 0 would say that there is no checksum (RFC 768); both mean the same number.
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        upper[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        let mut bytes =
            if self.from6 { self.header6(random, upper.len()) } else { self.header4(random, upper.len()) };
        let start = bytes.len() as u16;
        bytes.extend(upper);
        Frame {
            bytes,
            partial: self.partial.then_some((start, checksum_at as u16)),
            gso: self.segment.map(|size| Aggregate {
                tcp: self.protocol == TCP,
                size,
                headers: start + header_len as u16,
                ecn: self.ecn,
            }),
            ..Frame::default()
        }
    }

    fn header6(&self, random: &mut Random, len: usize) -> Vec<u8> {
        let first = 6 << 28 | (random.any() as u32 & 0xff) << 20 | random.any() as u32 & 0xf_ffff;
        let (next, extension): (u8, &[u8]) = match self.options {
            // PadN of four bytes.
            true => (60, &[self.protocol, 0, 1, 4, 0, 0, 0, 0]),
            false => (self.protocol, &[]),
        };
        let mut header = first.to_be_bytes().to_vec();
        header.extend(((len + extension.len()) as u16).to_be_bytes());
        header.extend([next, random.one(&[2, 64, 255])]);
        [header, CLIENT6.to_vec(), SERVER6.to_vec(), extension.to_vec()].concat()
    }

    fn header4(&self, random: &mut Random, len: usize) -> Vec<u8> {
        let mut header = vec![0x45, random.any() as u8];
        header.extend((20 + len as u16).to_be_bytes());
        header.extend((random.any() as u16).to_be_bytes());
        header.extend(if self.dont_fragment { [0x40, 0] } else { [0, 0] });
        header.extend([random.one(&[2, 64, 255]), self.protocol, 0, 0]);
        header.extend([SERVER4, MASK4].concat());
        let checksum = Sum::of(&header).finish();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }
}

/// The daemon between two cables, and the engine beside it.
struct Scene {
    engine: Bare,
    random: Random,
    is_siit: bool,
    ends: [End; 2],
    xlat: Xlat,
}

impl Scene {
    /// Sends a packet through both. What comes out of the cable is what the engine sends.
    fn check(&mut self, wish: Wish, name: &str) {
        let packet = wish.packet(&mut self.random, self.is_siit);
        let reply = self.engine.packet(&packet);
        assert!(!reply.out.is_empty(), "{name}: the engine sends nothing: {:?} {wish:?}", reply.fate);
        let [six, four] = &self.ends;
        let (from, to) = if wish.from6 { (six, four) } else { (four, six) };
        from.send(&packet, wish.linear);
        for expected in &reply.out {
            let Some(out) = to.receive() else {
                panic!("{name}: nothing came out of {wish:?}; {}", self.xlat.status())
            };
            assert_eq!((out.partial, out.gso), (expected.partial, expected.gso), "{name}: {wish:?}");
            assert!(same(&out.bytes, &expected.bytes), "{name}: {wish:?}\n{}", difference(&out, expected));
        }
    }
}

/// True if only the identification of IPv4 differs, and what it does to the header's checksum.
fn same(a: &[u8], b: &[u8]) -> bool {
    let comparable = |packet: &[u8]| {
        let mut packet = packet.to_vec();
        if packet[0] >> 4 == 4 {
            let is_right = Sum::of(&packet[..20]).fold() == 0xffff;
            packet[4..6].fill(0);
            packet[10..12].fill(u8::from(is_right));
        }
        packet
    };
    comparable(a) == comparable(b)
}

fn difference(out: &Frame, expected: &Frame) -> String {
    let head = |frame: &Frame| {
        format!("{} bytes, {:02x?}", frame.bytes.len(), &frame.bytes[..frame.bytes.len().min(80)])
    };
    let at = out.bytes.iter().zip(&expected.bytes).position(|(a, b)| a != b);
    format!("came    {}\nengine  {}\nfirst difference at {at:?}", head(out), head(expected))
}

fn config(kind: &str, output: &str, ingress: &str) -> String {
    let [client, mask, _] = PORTS;
    let tables = match kind {
        "siit" => "eamt = ['198.51.100.8/32 2001:db8:2::8/128']".to_owned(),
        _ => ["TCP", "UDP"].iter().fold("pool4 = ['198.51.100.8']\n".to_owned(), |text, protocol| {
            format!(
                "{text}[[instance.bib]]\nprotocol = '{protocol}'\nipv6-address = '2001:db8:2::8#{client}'\n\
                 ipv4-address = '198.51.100.8#{mask}'\n"
            )
        }),
    };
    format!(
        "[fast-path]\ningress = '{ingress}'\n[[instance]]\nname = 'x'\ntype = '{kind}'\noutput = '{output}'\n\
         {tables}\n[instance.global]\npool6 = '64:ff9b::/96'\n"
    )
}

fn play(seed: u64, kind: &str, output: &str, ingress: &str) {
    if skipped() {
        return;
    }
    let name = format!("{kind}, output {output}, ingress {ingress}, seed {seed}");
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &["2001:db8::8/64"]), (&t, "eth0", &["2001:db8::1/64"]));
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    // Both ends are behind A and V, which do not forward: nobody answers what the test sends.
    routes(&t, &["2001:db8:2::/64 via 2001:db8::8", "192.0.2.0/24 via 203.0.113.16"]);
    let config = config(kind, output, ingress);
    let xlat = Xlat::start(&t, &config);
    if no_fast_path(&xlat) {
        return;
    }
    let mut engine = Bare::default();
    let host = Host {
        addrs4: vec![("203.0.113.1".parse().unwrap(), 24)],
        addrs6: vec!["2001:db8::1".parse().unwrap()],
        mtu4: 1500,
        mtu6: 1500,
    };
    engine.configure(&config, &host).unwrap();
    let ends = [End::new(&a, (&t, "eth0")), End::new(&v, (&t, "eth1"))];
    let is_siit = kind == "siit";
    let mut scene = Scene { engine, random: Random::new(seed << 8), is_siit, ends, xlat };

    let plain = Wish {
        from6: true,
        protocol: TCP,
        flags: 0x10,
        payload: 0,
        segment: None,
        ecn: false,
        partial: false,
        options: false,
        dont_fragment: true,
        linear: 0,
    };
    // A session of each protocol, that the kernel then knows.
    for (from6, flags) in [(true, 2), (false, 0x12), (true, 0x10), (false, 0x10)] {
        scene.check(Wish { from6, flags, ..plain }, &name);
    }
    for number in 0..20 {
        scene.check(Wish { protocol: UDP, from6: number % 2 == 0, ..plain }, &name);
    }
    if !is_siit {
        eventually("both flows in the kernel", || scene.xlat.kernel_flows() >= 2);
    }
    let before = (handed_over(&scene.xlat), scene.xlat.kernel_packets());
    let count = std::env::var("XLAT_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(PACKETS);
    let mut aggregates = 0;
    for _ in 0..count {
        let wish = Wish::any(&mut scene.random);
        aggregates += u64::from(wish.is_udp_aggregate());
        scene.check(wish, &name);
    }
    let [up_gso, up_others] = handed_over(&scene.xlat);
    let up = [up_gso - before.0[0], up_others - before.0[1]];
    assert!(
        up[0] <= aggregates && up[1] == 0,
        "{name}: {up:?} handed up, of {aggregates}: {}",
        scene.xlat.status()
    );
    let segments = scene.xlat.kernel_packets() - before.1;
    println!("{name}: {count} packets, {aggregates} UDP aggregates, {segments} segments in the kernel");
    assert!(segments > count as u64, "{name}: {segments} segments");
    scene.xlat.stop();
}

/// Packets handed to the daemon because they are aggregates, and for reasons that no packet of the test gives. Not counted: those
/// with options, and ICMP, which the kernel itself sends, too (groups, routers).
fn handed_over(xlat: &Xlat) -> [u64; 2] {
    let status = xlat.status();
    let counters = status["kernel"]["counters"].as_array().unwrap();
    let sum = |wanted: fn(&str) -> bool| {
        let those = counters.iter().filter(|counter| wanted(counter["name"].as_str().unwrap()));
        those.map(|counter| counter["count"].as_u64().unwrap()).sum()
    };
    let others =
        |name: &str| name.starts_with("up-") && !["up-gso", "up-options", "up-icmp-other"].contains(&name);
    [sum(|name| name == "up-gso"), sum(others)]
}

#[test]
fn nat64_direct() {
    play(1, "nat64", "direct", "all");
    play(2, "nat64", "direct", "auto");
}

#[test]
fn nat64_stack() {
    play(3, "nat64", "stack", "all");
    play(4, "nat64", "stack", "auto");
}

#[test]
fn siit() {
    play(5, "siit", "direct", "all");
    play(6, "siit", "stack", "auto");
}
