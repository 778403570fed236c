//! A busy day of one engine: two threads with a worker each play thousands of clients and their servers, while a third
//! thread changes configuration and host addresses and lets the clock jump. Every payload carries the name of its flow, so
//! that a packet that reaches the wrong client is found out. The pool is too small for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use xlat_engine::{Engine, EngineOptions, Origin, Output, Reason, Verdict, Worker};
use xlat_nat64::Refusal;
use xlat_packet::{Buffer, Offload, buffer};
use xlat_robustness::build::{self, Ends, Header, ICMP4, TCP, UDP};
use xlat_robustness::setups::NAT64;
use xlat_robustness::shape::{Packet, read, read_made};
use xlat_robustness::world::{config, host};
use xlat_translate::refused::HostAddresses;

/// One address with a thousand ports of each protocol.
const SMALL: &str = r#"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = [{ prefix = "203.0.113.2", port-range = "1000-1999" }]
[instance.global]
pool6 = "64:ff9b::/96"
"#;

/// The same and one more, with filtering, beside a SIIT.
const LARGER: &str = r#"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = [
    { prefix = "203.0.113.2", port-range = "1000-1999" },
    { prefix = "203.0.113.3", port-range = "2000-2099" },
]
[instance.global]
pool6 = "64:ff9b::/96"
address-dependent-filtering = true
[instance.limits]
max-sessions-per-source = 50
[[instance]]
name = "siit"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:a::/120"]
"#;

/// How long the two threads go on.
const DURATION: Duration = Duration::from_secs(3);
/// More than any flow lives.
const DAYS: u64 = 3 * 24 * 60 * 60 * 1000;

#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.0.push(packet.bytes().to_vec());
    }
}

/// What all threads share.
struct Scene {
    engine: Arc<Engine>,
    /// Milliseconds. Written while no packet is between client and client.
    clock: RwLock<u64>,
    /// Changes of the configuration that have begun.
    changes: AtomicU64,
    over: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    delivered: u64,
    exhausted: u64,
    lost: u64,
}

fn take(worker: &mut Worker, bytes: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    let end = buffer::HEADROOM + bytes.len();
    let mut storage = vec![0; end + 64];
    storage[buffer::HEADROOM..end].copy_from_slice(bytes);
    let mut sent = Sent::default();
    let mut packet = Buffer::new(&mut storage, buffer::HEADROOM, end, Offload::NONE);
    let verdict = worker.process(&mut packet, Origin::default(), &mut sent);
    for bytes in &sent.0 {
        read_made(&Packet::plain(bytes.clone())).unwrap_or_else(|what| panic!("{what}: {bytes:02x?}"));
    }
    (verdict, sent.0)
}

/// One flow: a client's transport address, a server, a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    client: u16,
    port: u16,
    server: u8,
    protocol: u8,
}

impl Flow {
    /// One of thousands, by a number; of even or odd clients.
    fn of(number: u64, thread: u16) -> Self {
        Self {
            client: 2 * (number % 300) as u16 + thread,
            port: 1000 + (number / 300 % 8) as u16,
            server: (number / 2400 % 4) as u8,
            protocol: [TCP, UDP, ICMP4][(number % 3) as usize],
        }
    }

    fn name(self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }

    fn ends(self) -> Ends {
        let src = [0x2001, 0xdb8, 0, self.client >> 4, 0, 0, 0, self.client].into();
        Ends::V6(src, [0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6410 | u16::from(self.server)].into())
    }

    fn packet(self) -> Vec<u8> {
        let (ends, ports) = (self.ends(), (self.port, 80));
        let (protocol, message) = match self.protocol {
            TCP => (TCP, build::tcp(ends, ports, build::SYN, &self.name(), 0)),
            UDP => (UDP, build::udp(ends, ports, &self.name(), 0)),
            _echo => (ends.icmp(), build::echo(ends, true, self.port, &self.name(), 0)),
        };
        build::ip(ends, &Header::default(), protocol, &message)
    }

    /// The packet is this flow's, as its client would see it.
    fn is_answered_by(self, packet: &[u8]) {
        let shape = read(packet).unwrap();
        assert_eq!(shape.ends, self.ends().turned(), "{self:?} went to another client");
        let upper = shape.upper(packet);
        let port = if self.protocol == ICMP4 { [upper[4], upper[5]] } else { [upper[2], upper[3]] };
        assert_eq!(u16::from_be_bytes(port), self.port, "{self:?} went to another port");
        assert!(upper.ends_with(&self.name()), "{self:?} got something else");
    }
}

/// Clients of one thread: there, at the server, and back.
fn clients(scene: &Scene, thread: u16) {
    let mut worker = scene.engine.worker();
    let mut books = Books::default();
    for round in 0_u64.. {
        if scene.over.load(Ordering::Relaxed) {
            break;
        }
        let flow = Flow::of(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32, thread);
        let clock = scene.clock.read().unwrap();
        if round % 64 == 0 {
            worker.tick(*clock, &mut Sent::default());
        }
        worker.set_now(*clock);
        let changes = scene.changes.load(Ordering::SeqCst);
        let (verdict, sent) = take(&mut worker, &flow.packet());
        match verdict {
            Verdict::Translated => {}
            Verdict::Dropped(Reason::State(Refusal::PoolExhausted)) => {
                books.exhausted += 1;
                continue;
            }
            _other => {
                books.lost += 1;
                continue;
            }
        }
        let [arrived] = &sent[..] else { panic!("{} packets of one", sent.len()) };
        assert!(arrived.ends_with(&flow.name()), "the server got something else");
        let answer = xlat_robustness::targets::answer(arrived).unwrap();
        let (verdict, sent) = take(&mut worker, &answer);
        // Two changes in between may have given the mask away.
        let settled = scene.changes.load(Ordering::SeqCst) <= changes + 1;
        match (verdict, &sent[..]) {
            (Verdict::Translated, [back]) if settled => {
                flow.is_answered_by(back);
                books.delivered += 1;
            }
            _ => books.lost += 1,
        }
    }
    let mut all = scene.books.lock().unwrap();
    all.delivered += books.delivered;
    all.exhausted += books.exhausted;
    all.lost += books.lost;
}

#[test]
fn nothing_is_misdelivered() {
    let options = EngineOptions {
        hops: NAT64.hops,
        mtu4: 1500,
        mtu6: 1500,
        secret: [3; 16],
        shards: 8,
        flows: None,
        peers: None,
    };
    let engine = Engine::new(&config(SMALL), host(), options).unwrap();
    let scene = Scene {
        engine: Arc::clone(&engine),
        clock: RwLock::new(60_000),
        changes: AtomicU64::new(0),
        over: AtomicBool::new(false),
        books: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn({
                let scene = &scene;
                move || {
                    // A thread that fails ends the others too.
                    let _over = Over(scene);
                    clients(scene, thread);
                }
            });
        }
        let _over = Over(&scene);
        let begun = Instant::now();
        for round in 0_u64.. {
            if begun.elapsed() > DURATION || scene.over.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(Duration::from_millis(3));
            scene.changes.fetch_add(1, Ordering::SeqCst);
            engine.reconfigure(&config(if round % 2 == 0 { LARGER } else { SMALL })).unwrap();
            engine.set_host(if round % 3 == 0 { HostAddresses::default() } else { host() });
            let mut clock = scene.clock.write().unwrap();
            *clock = match round % 50 {
                20 => *clock + DAYS,
                40 => clock.saturating_sub(10_000),
                _ => *clock + 1000,
            };
        }
    });
    let books = scene.books.into_inner().unwrap();
    println!("{books:?}");
    assert!(books.delivered > 1000 && books.delivered > 10 * books.lost, "{books:?}");
    assert!(books.exhausted > 100, "{books:?}");
    everything_ends(&engine, scene.clock.into_inner().unwrap());
}

/// Tells everybody that it is over, also when its thread fails.
struct Over<'a>(&'a Scene);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// After a long silence nothing is left, and every port can be had again.
fn everything_ends(engine: &Arc<Engine>, mut now: u64) {
    engine.reconfigure(&config(SMALL)).unwrap();
    let mut worker = engine.worker();
    for _ in 0..200 {
        now += DAYS;
        worker.tick(now, &mut Sent::default());
    }
    let gauges = &engine.gauges()[0].gauges;
    assert_eq!((gauges.bib, gauges.sessions, gauges.stored_syns), ([0; 3], [0; 3], 0));
    for number in 0..1000 {
        let flow = Flow { client: number / 8, port: 1000 + number % 8, server: 0, protocol: UDP };
        assert_eq!(take(&mut worker, &flow.packet()).0, Verdict::Translated, "{number} of 1000 ports");
    }
    let one_more = Flow { client: 999, port: 1, server: 0, protocol: UDP };
    let exhausted = Verdict::Dropped(Reason::State(Refusal::PoolExhausted));
    assert_eq!(take(&mut worker, &one_more.packet()).0, exhausted);
}
