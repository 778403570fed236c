//! Many clients coming and going under a virtual clock, with exhaustion, jumps and reloads; and several threads at
//! once. The invariants are checked along the way. Deterministic, but for the interleaving of the threads.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests in state/, which use more of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use support::*;
use xlat_nat64::{
    Events, Inbound, Instant, Limits, Outbound, Policy, PolicyConfig, Promotion, Protocol, Refusal,
    SessionInfo, StaticEntry, Tables, TcpFlags, Transport4, Transport6,
};

/// xorshift64*: reproducible and good enough to choose packets.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn protocol(&mut self) -> Protocol {
        Protocol::ALL[self.below(3) as usize]
    }

    fn flags(&mut self) -> TcpFlags {
        [SYN, SYN, ACK, ACK, FIN, RST][self.below(6) as usize]
    }
}

/// Configurations that the simulation goes through.
fn configs() -> Vec<PolicyConfig> {
    let wide = PolicyConfig { pool4: pool("192.0.2.0/28", 1000, 1999), ..PolicyConfig::default() };
    let statics = (0..20).map(|n| StaticEntry {
        protocol: Protocol::ALL[n as usize % 3],
        client: client(n, 80),
        mask: mask(3, 1000 + n),
    });
    vec![
        wide.clone(),
        PolicyConfig {
            pool4: pool("192.0.2.0/29", 1000, 1999),
            static_bib: statics.collect(),
            ..wide.clone()
        },
        PolicyConfig {
            address_dependent_filtering: true,
            udp_timeout: Duration::from_secs(120),
            ..wide.clone()
        },
        PolicyConfig { pool4: pool("192.0.2.4/30", 1500, 1599), ..wide.clone() },
        PolicyConfig {
            limits: Limits {
                source_sessions: Some(3),
                prefix_bib: Some(6),
                max_sessions: 9000,
                ..Limits::default()
            },
            drop_externally_initiated_tcp: true,
            ..wide.clone()
        },
        PolicyConfig { pool4: Vec::new(), implicit: Some(mask(1, 0).addr), ..wide },
    ]
}

#[test]
fn a_day_of_many_clients() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut world = World::new(configs().swap_remove(0));
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut known: Vec<(Protocol, Transport4)> = Vec::new();
    for round in 0..48 {
        for _ in 0..20_000 {
            let protocol = random.protocol();
            let to = server(random.below(40) as u8, random.below(3) as u16);
            let outcome = if known.is_empty() || random.below(3) != 0 {
                let from = client(random.below(30_000) as u16, random.below(2) as u16);
                let flags = random.flags();
                world.outbound(protocol, from, to, flags).map(|mask| {
                    assert!(world.policy.owns(protocol, mask));
                    known.push((protocol, mask));
                })
            } else {
                let at = random.below(known.len() as u64) as usize;
                let (protocol, mask) = known.swap_remove(at);
                let flags = random.flags();
                world.inbound(protocol, to, mask, flags).map(|client| {
                    assert_eq!(world.tables.lookup6(protocol, client), Some(mask));
                })
            };
            *outcomes.entry(outcome.err().map_or("translated", Refusal::name)).or_default() += 1;
            world.now = Instant(world.now.0 + 2);
        }
        match round % 8 {
            5 => world.now = Instant(world.now.0.saturating_sub(86_400_000)),
            7 => world.now = Instant(world.now.0 + 10_000_000),
            _ => {}
        }
        world.wait(20_000);
        if round % 4 == 3 {
            let all = configs();
            world.reload(all[(round / 4 + 1) % all.len()].clone());
            known.clear();
        }
        world.log = Log::default();
        check(&world.tables, &world.policy);
    }
    for expected in [
        "translated",
        "pool4-exhausted",
        "bib4-not-found",
        "syn6-expected",
        "address-dependent-filtering",
        "session-limit",
        "source-session-limit",
        "prefix-bib-limit",
        "v4-syn",
        "syn-stored-filtered",
    ] {
        assert!(outcomes.contains_key(expected), "{expected} never happened: {outcomes:?}");
    }
    world.reload(PolicyConfig { static_bib: Vec::new(), ..configs().swap_remove(0) });
    for _ in 0..3 {
        world.now = Instant(world.now.0 + 100_000_000);
        world.wait(0);
    }
    let gauges = world.tables.gauges();
    assert_eq!((gauges.bib, gauges.sessions, gauges.stored_syns), ([0; 3], [0; 3], 0), "everything ends");
    // All ports are free again: exactly as many mappings as the pool has.
    for n in 0..16_000 {
        assert!(world.outbound(Protocol::Udp, client(n, 9), server(1, 1), ACK).is_ok(), "{n} of 16,000");
    }
    let refused = world.outbound(Protocol::Udp, client(16_000, 9), server(1, 1), ACK);
    assert_eq!(refused, Err(Refusal::PoolExhausted));
}

/// What a faster path was told, by everybody.
#[derive(Default)]
struct Told {
    flows: BTreeSet<(Protocol, Transport6, Transport4, Transport4)>,
    ports: BTreeSet<(Protocol, Transport4)>,
    idle: Vec<SessionInfo>,
    promotions: u64,
}

/// Lets the workers end, also when a check fails.
struct StopsAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One worker's way to tell it.
struct Teller<'a>(&'a parking_lot::Mutex<Told>);

fn flow(session: &SessionInfo) -> (Protocol, Transport6, Transport4, Transport4) {
    (session.protocol, session.client, session.mask, session.remote)
}

impl Events for Teller<'_> {
    fn promote(&mut self, session: &SessionInfo, _mark: u32) -> bool {
        let mut told = self.0.lock();
        told.promotions += 1;
        told.flows.insert(flow(session));
        true
    }
    fn demote(&mut self, session: &SessionInfo) {
        assert!(self.0.lock().flows.remove(&flow(session)), "never given: {session:?}");
    }
    fn idle(&mut self, session: &SessionInfo) {
        self.0.lock().idle.push(*session);
    }
    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        let mut told = self.0.lock();
        match taken {
            true => told.ports.insert((protocol, mask)),
            false => told.ports.remove(&(protocol, mask)),
        };
    }
}

/// Two workers send, one reloads and expires: afterwards everything is consistent, and a faster path has been told of it
/// in an order that is right.
#[test]
fn workers_and_reloads_at_the_same_time() {
    let told = parking_lot::Mutex::new(Told::default());
    // Every other reload takes all flows back.
    let configs: Vec<_> = (0..12)
        .map(|round| {
            let promotion = Promotion { protocols: [true, true, round % 3 != 0], tag: round / 2 };
            PolicyConfig { promotion, ..configs()[round as usize % 6].clone() }
        })
        .collect();
    let tables = Tables::new(4, SECRET);
    let policy = RwLock::new(Arc::new(Policy::new(configs[0].clone(), None).unwrap()));
    let stop = AtomicBool::new(false);
    let clock = Mutex::new(Instant(0));
    std::thread::scope(|scope| {
        let _stops = StopsAtTheEnd(&stop);
        for seed in [1, 2] {
            let (tables, policy, stop, clock, told) = (&tables, &policy, &stop, &clock, &told);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    let policy = Arc::clone(&policy.read().unwrap());
                    let now = *clock.lock().unwrap();
                    for _ in 0..64 {
                        let protocol = random.protocol();
                        let src = client(random.below(3000) as u16, 1);
                        let dst = server(random.below(4) as u8, 1);
                        let packet = Outbound { protocol, src, dst, mark: 0, tcp: random.flags() };
                        let Ok(mask) = tables.outbound(&policy, &packet, now, &mut Teller(told)) else {
                            continue;
                        };
                        let tcp = random.flags();
                        let packet =
                            Inbound { protocol, src: dst, dst: mask, shared: false, tcp, original: b"syn" };
                        // A reload may take the mapping away at any time; it never gives it to somebody unasked.
                        let _outcome = tables.inbound(&policy, &packet, now, &mut Teller(told));
                    }
                }
            });
        }
        for round in 0..60 {
            let old = Arc::clone(&policy.read().unwrap());
            let new = Arc::new(Policy::new(configs[round % configs.len()].clone(), Some(&old)).unwrap());
            *policy.write().unwrap() = Arc::clone(&new);
            tables.reconfigure(&old, &new, &mut Teller(&told));
            for _ in 0..10 {
                let now = {
                    let mut clock = clock.lock().unwrap();
                    *clock = clock.plus(Duration::from_secs(7));
                    *clock
                };
                tables.expire(&new, now, &mut Teller(&told));
                let asked = std::mem::take(&mut told.lock().idle);
                for (at, session) in asked.iter().enumerate() {
                    // Used, unused; some questions are never answered.
                    let last = [Some(now), Some(Instant(0)), None][at % 3];
                    if at % 5 != 0 {
                        let key = (session.protocol, session.client, session.remote);
                        tables.used(&new, key, last, now, &mut Teller(&told));
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let old = policy.into_inner().unwrap();
    // What a worker made under an older policy after the reload goes with the next one.
    let new =
        Policy::new(PolicyConfig { udp_timeout: Duration::from_secs(1), ..configs[3].clone() }, Some(&old))
            .unwrap();
    tables.reconfigure(&old, &new, &mut Teller(&told));
    check(&tables, &new);
    {
        let told = told.lock();
        let sessions = all_sessions(&tables, &new);
        let promoted = sessions.iter().filter(|session| session.promoted).map(flow).collect();
        assert_eq!(told.flows, promoted);
        assert_eq!(told.ports, all_bib(&tables).iter().map(|entry| (entry.protocol, entry.mask)).collect());
        assert!(told.promotions > 1000, "{} promotions", told.promotions);
    }
    let end = clock.into_inner().unwrap().plus(Duration::from_secs(100_000));
    for wait in [0, 1000] {
        while tables.expire(&new, end.plus(Duration::from_secs(wait)), &mut Teller(&told)) {}
    }
    let gauges = tables.gauges();
    assert_eq!((gauges.bib, gauges.sessions, gauges.stored_syns), ([0; 3], [0; 3], 0));
    // No port was lost on the way.
    for n in 0..400 {
        let packet =
            Outbound { protocol: Protocol::Udp, src: client(n, 1), dst: server(1, 1), mark: 0, tcp: ACK };
        assert!(tables.outbound(&new, &packet, end, &mut Teller(&told)).is_ok(), "{n} of 400");
    }
}

/// A million clients, each with an address of its own, come within two hours and go when their lifetime is over. Nothing of
/// them stays, and every port is free again.
#[test]
fn a_million_clients_come_and_go() {
    const CLIENTS: u64 = 1_000_000;
    const PER_SECOND: u64 = 150;
    let config = PolicyConfig { pool4: pool("192.0.2.0/30", 1, 65535), ..PolicyConfig::default() };
    let policy = Policy::new(config, None).unwrap();
    let tables = Tables::new(16, [9; 16]);
    let (mut now, mut most) = (0, 0);
    for n in 0..CLIENTS {
        let src =
            Transport6 { addr: Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 64 | 8), port: 4000 };
        let packet = Outbound {
            protocol: Protocol::Udp,
            src,
            dst: Transport4 { addr: "198.51.100.1".parse().unwrap(), port: 53 },
            mark: 0,
            tcp: TcpFlags::default(),
        };
        let mapped = tables.outbound(&policy, &packet, Instant(now), &mut ()).unwrap();
        assert_eq!(tables.lookup6(Protocol::Udp, src), Some(mapped));
        if n % PER_SECOND == 0 {
            now += 1000;
            while tables.expire(&policy, Instant(now), &mut ()) {}
            most = most.max(tables.gauges().bib[Protocol::Udp.index()]);
        }
    }
    // Five minutes of lifetime and two seconds until it is noticed.
    assert!((45_000..46_000).contains(&most), "{most} at a time");
    now += 302_000;
    while tables.expire(&policy, Instant(now), &mut ()) {}
    let gauges = tables.gauges();
    assert_eq!((gauges.bib, gauges.sessions), ([0; 3], [0; 3]));
    for port in [1, 4000, 65535] {
        let mask = Transport4 { addr: "192.0.2.1".parse().unwrap(), port };
        assert_eq!(tables.lookup4(&policy, Protocol::Udp, mask), Err(Refusal::SessionNotFound));
    }
}
