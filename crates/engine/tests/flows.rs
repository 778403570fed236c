//! What the engine tells of flows that the kernel may repeat, and what it makes of the answers.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use xlat_engine::{Engine, EngineOptions, FlowSink, Origin, Output, Verdict, Worker};
use xlat_fastpath::flow::{Key4, Key6, Session, protocol};
use xlat_nat64::{Cursor, Protocol, SessionInfo, Transport4};
use xlat_packet::checksum::Sum;
use xlat_packet::{Buffer, Offload, buffer, ipv4, ipv6, udp};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

const FIRST: &str = "[[instance]]\nname = 'first'\ntype = 'nat64'\npool4 = ['203.0.113.2']\n\
                     [instance.global]\npool6 = '64:ff9b::/96'\n";
const SECOND: &str = "[[instance]]\nname = 'second'\ntype = 'nat64'\npool4 = ['203.0.113.3']\n\
                      [instance.global]\npool6 = '2001:db8:64::/96'\n";

/// What a daemon would keep in maps.
#[derive(Debug, Default)]
struct Kernel {
    flows: Mutex<Vec<Session>>,
    asked: Mutex<Vec<Session>>,
    ports: Mutex<BTreeSet<(Protocol, Transport4)>>,
}

impl FlowSink for Kernel {
    fn promote(&self, flow: &Session) -> bool {
        let mut flows = self.flows.lock().unwrap();
        flows.retain(|other| other.key6() != flow.key6());
        flows.push(*flow);
        true
    }
    fn demote(&self, flow: &Session) {
        let mut flows = self.flows.lock().unwrap();
        let before = flows.len();
        flows.retain(|other| (other.key6(), other.key4()) != (flow.key6(), flow.key4()));
        assert!(flows.len() < before, "unknown: {flow:?}");
    }
    fn idle(&self, flow: &Session) {
        self.asked.lock().unwrap().push(*flow);
    }
    fn port(&self, protocol: Protocol, mask: Transport4, taken: bool) {
        let mut ports = self.ports.lock().unwrap();
        if taken {
            ports.insert((protocol, mask))
        } else {
            ports.remove(&(protocol, mask))
        };
    }
}

impl Kernel {
    fn keys(&self) -> Vec<(Key6, Key4)> {
        self.flows.lock().unwrap().iter().map(|flow| (flow.key6(), flow.key4())).collect()
    }
}

#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.0.push(packet.bytes().to_vec());
    }
}

fn read(toml: &str) -> xlat_config::Config {
    xlat_config::load("test.toml", toml, &xlat_config::Hint::default()).unwrap().config
}

fn engine(toml: &str) -> (Arc<Engine>, Worker, Arc<Kernel>) {
    let kernel = Arc::new(Kernel::default());
    let options = EngineOptions {
        hops: Hops::Restore,
        mtu4: 65_535,
        mtu6: 65_535,
        secret: [7; 16],
        shards: 4,
        flows: Some(Arc::clone(&kernel) as Arc<dyn FlowSink>),
        peers: None,
    };
    let host = HostAddresses::new(vec![([203, 0, 113, 1].into(), 24)], Vec::new());
    let engine = Engine::new(&read(toml), host, options).unwrap();
    let mut worker = engine.worker();
    worker.set_now(1_000_000);
    (engine, worker, kernel)
}

fn question(to: &str, port: u16) -> Vec<u8> {
    let (src, dst) = ("2001:db8::8".parse().unwrap(), to.parse().unwrap());
    let mut message = [0; udp::LEN];
    let mut header = udp::Header { src_port: port, dst_port: 53, len: 8, checksum: 0 };
    header.write(&mut message);
    header.checksum =
        Sum::of(&message).plus(Sum::addresses6(src, dst)).plus(Sum::length_and_protocol(8, 17)).finish();
    header.write(&mut message);
    let mut packet = vec![0; ipv6::LEN];
    ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 8,
        next_header: 17,
        hop_limit: 64,
        src,
        dst,
    }
    .write(packet.first_chunk_mut().unwrap());
    packet.extend(message);
    packet
}

/// Sends a packet several times; gives what became of the last.
fn send(worker: &mut Worker, packet: &[u8], times: usize) -> Vec<u8> {
    let mut sent = Sent::default();
    for _ in 0..times {
        let mut storage = vec![0; buffer::HEADROOM + packet.len() + 64];
        let mut packet_buffer = Buffer::new(&mut storage, 0, 0, Offload::NONE);
        assert!(packet_buffer.replace(buffer::HEADROOM, packet));
        let verdict = worker.process(&mut packet_buffer, Origin::routed(0), &mut sent);
        assert_eq!(verdict, Verdict::Translated);
    }
    sent.0.pop().unwrap()
}

#[test]
fn a_flow_is_told_as_it_stands_in_packets() {
    let (engine, mut worker, kernel) = engine(FIRST);
    let out = send(&mut worker, &question("64:ff9b::203.0.113.16", 1000), 4);
    let flows = kernel.flows.lock().unwrap().clone();
    let [flow] = flows[..] else { panic!("{flows:?}") };
    let header = ipv4::Header::parse(&out).unwrap();
    assert_eq!((flow.protocol, flow.instance, flow.mark), (protocol::UDP, 0, 0));
    assert_eq!(flow.client, ("2001:db8::8".parse::<std::net::Ipv6Addr>().unwrap().octets(), 1000));
    assert_eq!((flow.mask.0, flow.server), (header.src.octets(), ([203, 0, 113, 16], 53)));
    assert_eq!(flow.mask.1.to_be_bytes(), out[ipv4::LEN..ipv4::LEN + 2]);
    assert_eq!(flow.server6, "64:ff9b::203.0.113.16".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let mask = Transport4 { addr: header.src, port: flow.mask.1 };
    assert!(kernel.ports.lock().unwrap().contains(&(Protocol::Udp, mask)));
    assert_eq!(engine.instance_index("first"), Some(0));
}

#[test]
fn the_kernels_answers_keep_a_flow() {
    let (engine, mut worker, kernel) = engine(FIRST);
    send(&mut worker, &question("64:ff9b::203.0.113.16", 1000), 4);
    let flow = kernel.flows.lock().unwrap()[0];
    let mut nobody = Sent::default();
    worker.tick(1_302_000, &mut nobody);
    assert_eq!(*kernel.asked.lock().unwrap(), [flow]);
    engine.flow_used(&flow, Some(1200), 1_302_100);
    // Foolish ones change nothing.
    engine.flow_used(&Session { instance: 7, ..flow }, Some(1200), 1_302_100);
    engine.flow_used(&Session { protocol: 99, ..flow }, Some(1200), 1_302_100);
    for now in 1302..1504 {
        worker.tick(now * 1000, &mut nobody);
        for flow in std::mem::take(&mut *kernel.asked.lock().unwrap()) {
            engine.flow_used(&flow, Some(1200), now * 1000);
        }
        assert!(now >= 1501 || kernel.keys().len() == 1, "at {now}");
    }
    assert_eq!(kernel.keys(), []);
    assert!(kernel.ports.lock().unwrap().is_empty());
    assert_eq!(engine.gauges()[0].gauges.sessions, [0; 3]);
}

#[test]
fn a_reload_takes_out_what_it_changes() {
    let both = format!("{FIRST}{SECOND}");
    let (engine, mut worker, kernel) = engine(&both);
    let fill = |worker: &mut Worker| {
        for port in 0..20 {
            send(worker, &question("64:ff9b::203.0.113.16", 1000 + port), 4);
            send(worker, &question("2001:db8:64::203.0.113.16", 1000 + port), 4);
        }
    };
    fill(&mut worker);
    let all = kernel.keys();
    assert_eq!(all.len(), 40);
    engine.reconfigure(&read(&both)).unwrap();
    assert_eq!(kernel.keys(), all, "nothing has changed");
    engine.reconfigure(&read(FIRST)).unwrap();
    assert_eq!(kernel.keys().len(), 20, "the second has gone");
    assert_eq!(kernel.ports.lock().unwrap().len(), 20);
    // Another number in the kernel.
    engine.reconfigure(&read(&format!("{SECOND}{FIRST}"))).unwrap();
    assert_eq!(kernel.keys(), []);
    fill(&mut worker);
    assert!(kernel.flows.lock().unwrap().iter().all(|flow| {
        let prefix: [u8; 2] = if flow.instance == 1 { [0, 0x64] } else { [0x20, 0x01] };
        flow.server6.starts_with(&prefix)
    }));
    for option in ["manually-enabled = false", "logging-debug = true"] {
        engine.reconfigure(&read(&both)).unwrap();
        engine.reconfigure(&read(FIRST)).unwrap();
        send(&mut worker, &question("64:ff9b::203.0.113.16", 5000), 4);
        assert!(!kernel.keys().is_empty(), "{option}");
        engine.reconfigure(&read(&format!("{FIRST}{option}\n"))).unwrap();
        assert_eq!(kernel.keys(), [], "{option}");
    }
    // Another pool6 is another translator: its ports are told anew.
    engine.reconfigure(&read(&FIRST.replace("64:ff9b::", "2001:db8:64::"))).unwrap();
    assert!(kernel.ports.lock().unwrap().is_empty());
    engine.announce_ports();
    assert!(kernel.ports.lock().unwrap().is_empty());
    send(&mut worker, &question("2001:db8:64::203.0.113.16", 5000), 1);
    kernel.ports.lock().unwrap().clear();
    engine.announce_ports();
    assert_eq!(kernel.ports.lock().unwrap().len(), 1);
}

/// All sessions of the first instance.
fn sessions(engine: &Engine) -> Vec<SessionInfo> {
    let view = engine.view(xlat_config::Translator::Nat64, "first").unwrap();
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        cursor = view.sessions(from, 100, &mut all);
    }
    all
}

#[test]
fn a_restart_takes_up_what_the_kernel_and_the_snapshot_have() {
    let (old, mut worker, kernel) = engine(FIRST);
    for port in 0..20 {
        send(&mut worker, &question("64:ff9b::203.0.113.16", 1000 + port), 1 + usize::from(port % 4));
    }
    let snapshot = sessions(&old);
    let flows = kernel.flows.lock().unwrap().clone();
    assert_eq!((snapshot.len(), flows.len()), (20, 5));

    let (new, mut worker, kernel) = engine(FIRST);
    kernel.flows.lock().unwrap().clone_from(&flows);
    // A flow that the configuration of today does not cover, and ones that are no flows.
    let foreign = [
        Session { mask: ([203, 0, 113, 3], 5), client: ([7; 16], 7), ..flows[0] },
        Session { server6: [9; 16], ..flows[0] },
        Session { instance: 3, client: ([8; 16], 7), ..flows[0] },
        Session { mark: 5, client: ([9; 16], 7), ..flows[0] },
        Session { protocol: 50, ..flows[0] },
    ];
    kernel.flows.lock().unwrap().extend(foreign);
    let restored = new.restore("first", snapshot.iter().copied(), 1_000_000);
    assert_eq!((restored.restored, restored.refused), (20, 0));
    assert_eq!(new.restore("nobody", snapshot.iter().copied(), 1_000_000).refused, 20);
    let all = flows.iter().chain(&foreign).map(|flow| (*flow, 990));
    let restored = new.restore_flows(all, 1_000_000);
    assert_eq!((restored.restored, restored.refused), (5, 5));
    assert_eq!(*kernel.flows.lock().unwrap(), flows);
    assert_eq!(kernel.ports.lock().unwrap().len(), 20);
    // The same masks: whatever comes next is translated as before.
    for session in &snapshot {
        let out = send(&mut worker, &question("64:ff9b::203.0.113.16", session.client.port), 1);
        assert_eq!(out[ipv4::LEN..ipv4::LEN + 2], session.mask.port.to_be_bytes());
    }
    assert_eq!(new.gauges()[0].gauges.sessions, [0, 20, 0]);
    let sessions = sessions(&new);
    assert!(flows.len() <= sessions.iter().filter(|session| session.promoted).count());

    new.add_statistics(&old.statistics());
    let translated = |engine: &Engine| engine.statistics().traffic(xlat_engine::Traffic::Translated);
    assert_eq!(translated(&new), translated(&old) + 20);
}
