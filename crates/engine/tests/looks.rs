//! Tables read while workers change them: what stays is seen exactly once, whoever looks.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xlat_config::Translator;
use xlat_engine::{Engine, EngineOptions, Origin, Output, Verdict, View, Worker};
use xlat_nat64::{Cursor, SessionInfo};
use xlat_packet::checksum::Sum;
use xlat_packet::{Buffer, Offload, buffer, ipv6, udp};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

const CONFIG: &str = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['203.0.113.0/28']\n\
                      [instance.global]\npool6 = '64:ff9b::/96'\nudp-timeout = '0:05:00'\n";
/// Flows that stay, three of each client, and packets of others that each worker sends.
const STAY: u32 = 3 * 2000;
const OTHERS: u32 = 60_000;
/// Milliseconds between two packets of the others: in all the time that they take, none that stays ends by itself.
const START: u64 = 1_000_000;

struct Nowhere;

impl Output for Nowhere {
    fn send(&mut self, _packet: &mut Buffer<'_>) {}
}

fn engine() -> Arc<Engine> {
    let config = xlat_config::load("test.toml", CONFIG, &xlat_config::Hint::default()).unwrap().config;
    let options = EngineOptions {
        hops: Hops::Restore,
        mtu4: 65_535,
        mtu6: 65_535,
        secret: [7; 16],
        shards: 8,
        flows: None,
        peers: None,
    };
    Engine::new(&config, HostAddresses::default(), options).unwrap()
}

fn send(worker: &mut Worker, client: u32, port: u16, server: u8) -> Verdict {
    let src = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(client));
    let dst =
        Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(Ipv4Addr::new(198, 51, 100, server).to_bits()));
    let mut message = [0; udp::LEN];
    let mut header = udp::Header { src_port: port, dst_port: 53, len: 8, checksum: 0 };
    header.write(&mut message);
    let sum = Sum::of(&message).plus(Sum::addresses6(src, dst)).plus(Sum::length_and_protocol(8, 17));
    header.checksum = sum.finish();
    header.write(&mut message);
    let mut bytes = [0; ipv6::LEN + udp::LEN];
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 8,
        next_header: 17,
        hop_limit: 64,
        src,
        dst,
    };
    header.write(bytes.first_chunk_mut().unwrap());
    bytes[ipv6::LEN..].copy_from_slice(&message);
    let mut storage = [0; buffer::HEADROOM + ipv6::LEN + udp::LEN + 64];
    let mut packet = Buffer::new(&mut storage, 0, 0, Offload::NONE);
    assert!(packet.replace(buffer::HEADROOM, &bytes));
    worker.process(&mut packet, Origin::default(), &mut Nowhere)
}

fn walk(view: &View) -> Vec<SessionInfo> {
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        cursor = view.sessions(from, 100, &mut all);
    }
    all
}

/// Two workers make sessions and let others expire, and a third thread walks over them.
#[test]
fn what_stays_is_seen_once_beside_heavy_change() {
    let engine = engine();
    let mut first = engine.worker();
    first.set_now(START);
    for flow in 0..STAY {
        assert_eq!(send(&mut first, flow / 3, 1, (flow % 3) as u8), Verdict::Translated);
    }
    drop(first);
    let view = engine.view(Translator::Nat64, "n").unwrap();
    let key = |session: &SessionInfo| (session.client, session.remote);
    let stays: Vec<_> = walk(&view).iter().map(key).collect();
    assert_eq!(stays.len(), STAY as usize);
    let busy = AtomicBool::new(true);
    let walks = thread::scope(|scope| {
        let workers: Vec<_> = (1..3u32)
            .map(|number| {
                let engine = &engine;
                scope.spawn(move || {
                    let mut worker = engine.worker();
                    for n in 0..OTHERS {
                        // Half an hour in all; those that stay are sent again every minute.
                        let now = START + u64::from(n) * 30;
                        worker.set_now(now);
                        let verdict = send(&mut worker, number << 20 | n, 1, 9);
                        assert_eq!(verdict, Verdict::Translated, "{n}");
                        if n % 2000 == 0 {
                            for flow in 0..STAY {
                                send(&mut worker, flow / 3, 1, (flow % 3) as u8);
                            }
                        }
                        worker.tick(now, &mut Nowhere);
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut walks = 0;
            while busy.load(Ordering::Relaxed) {
                let mut seen: HashMap<_, u32> = HashMap::new();
                for session in walk(&view) {
                    *seen.entry(key(&session)).or_default() += 1;
                }
                for one in &stays {
                    assert_eq!(seen.get(one), Some(&1), "{one:?}, walk {walks}");
                }
                assert!(seen.len() > stays.len() || walks == 0, "nothing else was there");
                walks += 1;
            }
            walks
        });
        let outcomes: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        busy.store(false, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        reader.join().unwrap()
    });
    assert!(walks > 2, "{walks} walks");
}
