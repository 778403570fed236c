//! UDP and ICMP queries (RFC 6146 3.5.1, 3.5.3), pool4, marks, exhaustion, expiry, hairpinning.

use std::collections::BTreeSet;

use crate::support::*;
use xlat_nat64::{
    Cursor, Inbound, Instant, Outbound, Policy, PolicyConfig, Pool4Entry, Protocol, Refusal, Tables, Timer,
    Transport4,
};

#[test]
fn a_query_and_its_answer() {
    for protocol in [Protocol::Udp, Protocol::Icmp] {
        let mut world = World::new(config());
        let mask = world.outbound(protocol, client(1, 4000), server(1, 53), ACK).unwrap();
        assert!((1000..2000).contains(&mask.port));
        // The answer to an echo carries the mask's identifier on both sides.
        let from = if protocol == Protocol::Icmp { server(1, mask.port) } else { server(1, 53) };
        assert_eq!(world.inbound(protocol, from, mask, ACK), Ok(client(1, 4000)));
        let sessions = world.sessions();
        assert_eq!(sessions.len(), 1);
        assert_eq!((sessions[0].remote, sessions[0].state), (from, None));
        assert_eq!((world.log.session_created.len(), world.log.bib_created.len()), (1, 1));
        check(&world.tables, &world.policy);
    }
}

#[test]
fn the_mapping_is_endpoint_independent() {
    let mut world = World::new(config());
    let mask = world.outbound(Protocol::Udp, client(1, 4000), server(1, 53), ACK).unwrap();
    for n in 2..50 {
        assert_eq!(world.outbound(Protocol::Udp, client(1, 4000), server(n, 53), ACK), Ok(mask));
        assert_eq!(world.outbound(Protocol::Udp, client(1, 4000), server(n, 54), ACK), Ok(mask));
    }
    assert_eq!((world.bib().len(), world.sessions().len()), (1, 97));
    // Anybody may answer while filtering is off, which makes a session.
    assert_eq!(world.inbound(Protocol::Udp, server(99, 1), mask, ACK), Ok(client(1, 4000)));
    assert_eq!(world.sessions().len(), 98);
    check(&world.tables, &world.policy);
}

#[test]
fn what_is_not_mapped_is_named() {
    let mut world = World::new(config());
    for protocol in [Protocol::Udp, Protocol::Icmp] {
        assert_eq!(world.inbound(protocol, server(1, 53), mask(1, 1000), ACK), Err(Refusal::Bib4NotFound));
    }
    for outside in [mask(1, 999), mask(1, 2000), mask(2, 1000)] {
        assert_eq!(world.inbound(Protocol::Udp, server(1, 53), outside, ACK), Err(Refusal::Pool4Mismatch));
        let error = world.tables.lookup4(&world.policy, Protocol::Udp, outside);
        assert_eq!(error, Err(Refusal::Pool4Mismatch));
    }
    let error = world.tables.lookup4(&world.policy, Protocol::Udp, mask(1, 1000));
    assert_eq!(error, Err(Refusal::SessionNotFound));
    assert_eq!(world.tables.lookup6(Protocol::Udp, client(1, 1)), None);
}

#[test]
fn filtering_asks_for_the_address_not_the_port() {
    let mut world = World::new(config());
    let mask = world.outbound(Protocol::Udp, client(1, 4000), server(1, 53), ACK).unwrap();
    // Switched on while the session exists.
    world.reload(PolicyConfig { address_dependent_filtering: true, ..config() });
    let stranger = world.inbound(Protocol::Udp, server(2, 53), mask, ACK);
    assert_eq!(stranger, Err(Refusal::AddressDependentFiltering));
    assert_eq!(world.inbound(Protocol::Udp, server(1, 9999), mask, ACK), Ok(client(1, 4000)));
    world.outbound(Protocol::Udp, client(1, 4000), server(2, 1), ACK).unwrap();
    assert_eq!(world.inbound(Protocol::Udp, server(2, 53), mask, ACK), Ok(client(1, 4000)));
    let mask = world.outbound(Protocol::Icmp, client(1, 7), server(1, 7), ACK).unwrap();
    let stranger = world.inbound(Protocol::Icmp, server(2, mask.port), mask, ACK);
    assert_eq!(stranger, Err(Refusal::AddressDependentFiltering));
    assert_eq!(world.inbound(Protocol::Icmp, server(1, mask.port), mask, ACK), Ok(client(1, 7)));
}

#[test]
fn exhaustion_is_exact_and_harms_nobody() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.0/30", 70, 94), ..config() });
    let mut masks = BTreeSet::new();
    for n in 0..100 {
        assert!(masks.insert(world.outbound(Protocol::Udp, client(n, n), server(1, 53), ACK).unwrap()));
    }
    let refused = world.outbound(Protocol::Udp, client(100, 1), server(1, 53), ACK);
    assert_eq!(refused, Err(Refusal::PoolExhausted));
    assert!(
        world.outbound(Protocol::Tcp, client(100, 1), server(1, 53), SYN).is_ok(),
        "three independent BIBs"
    );
    for n in 0..100 {
        assert!(
            world.outbound(Protocol::Udp, client(n, n), server(2, 53), ACK).is_ok(),
            "existing flows go on"
        );
    }
    check(&world.tables, &world.policy);
    world.wait(302_000);
    assert_eq!((world.bib().len(), world.log.bib_removed.len()), (0, 101));
    assert!(world.outbound(Protocol::Udp, client(100, 1), server(1, 53), ACK).is_ok());
}

#[test]
fn a_client_keeps_its_address_while_it_has_ports() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.0/26", 1, 100), ..config() });
    for n in 0..20 {
        let first = world.outbound(Protocol::Udp, client(n, 1), server(1, 53), ACK).unwrap();
        for port in 2..5 {
            let next = world.outbound(Protocol::Udp, client(n, port), server(port as u8, 53), ACK).unwrap();
            assert_eq!(next.addr, first.addr);
        }
    }
    let used: BTreeSet<_> = world.bib().iter().map(|entry| entry.mask.addr).collect();
    assert!(used.len() > 5, "clients spread over the pool: {used:?}");
}

#[test]
fn f_args_and_the_counter_give_one_service_neighbouring_ports() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 1, 65_535), ..config() });
    let ports: Vec<u16> = (0..10)
        .map(|port| world.outbound(Protocol::Udp, client(1, port), server(1, 53), ACK).unwrap().port)
        .collect();
    assert!(ports.windows(2).all(|pair| pair[1] == pair[0] % 65_535 + 1), "{ports:?}");
    world.reload(PolicyConfig { f_args: 15, ..world.policy.config().clone() });
    let ports: Vec<u16> = (10..20)
        .map(|port| world.outbound(Protocol::Udp, client(1, port), server(1, 53), ACK).unwrap().port)
        .collect();
    assert!(ports.windows(2).any(|pair| pair[1].abs_diff(pair[0]) > 10), "{ports:?}");
}

#[test]
fn marks_choose_the_set() {
    let line = |mark, port| Pool4Entry {
        protocol: Protocol::Udp,
        prefix: "192.0.2.1/32".parse().unwrap(),
        first_port: port,
        last_port: port,
        mark,
        max_iterations: None,
    };
    let config = PolicyConfig { pool4: vec![line(0, 10), line(7, 20)], ..PolicyConfig::default() };
    let world = World::new(config);
    let send = |mark, protocol, n| {
        let packet = Outbound { protocol, src: client(n, 1), dst: server(1, 1), mark, tcp: SYN };
        world.tables.outbound(&world.policy, &packet, world.now, &mut ())
    };
    assert_eq!(send(7, Protocol::Udp, 1), Ok(mask(1, 20)));
    assert_eq!(send(7, Protocol::Udp, 2), Err(Refusal::PoolExhausted));
    assert_eq!(send(0, Protocol::Udp, 2), Ok(mask(1, 10)));
    assert_eq!(send(1, Protocol::Udp, 3), Err(Refusal::MaskDomainNotFound));
    assert_eq!(
        send(0, Protocol::Tcp, 3),
        Err(Refusal::MaskDomainNotFound),
        "no implicit pool beside an explicit one"
    );
    assert_eq!(send(1, Protocol::Udp, 1), Err(Refusal::MaskDomainNotFound), "asked for also when mapped");
}

/// Sets of two marks that share ports never give one out twice, and what either gives back the other can have.
#[test]
fn marks_may_share_ports() {
    let line = |mark, first_port, last_port| Pool4Entry {
        protocol: Protocol::Udp,
        prefix: "192.0.2.1/32".parse().unwrap(),
        first_port,
        last_port,
        mark,
        max_iterations: None,
    };
    let config = PolicyConfig { pool4: vec![line(0, 10, 13), line(7, 12, 15)], ..PolicyConfig::default() };
    let mut world = World::new(config);
    let send = |world: &World, mark, n| {
        let packet =
            Outbound { protocol: Protocol::Udp, src: client(n, 1), dst: server(1, 1), mark, tcp: SYN };
        world.tables.outbound(&world.policy, &packet, world.now, &mut ())
    };
    let mut given: Vec<_> = (1..=4).map(|n| send(&world, 7, n).unwrap()).collect();
    given.extend((5..=6).map(|n| send(&world, 0, n).unwrap()));
    given.sort();
    assert_eq!(given, (10..=15).map(|port| mask(1, port)).collect::<Vec<_>>());
    for mark in [0, 7] {
        assert_eq!(send(&world, mark, 7), Err(Refusal::PoolExhausted), "mark {mark}");
    }
    world.wait(303_000);
    let again: Vec<_> = (11..=14).map(|n| send(&world, 0, n).unwrap()).collect();
    assert_eq!(again.len(), 4, "also what the other set had");
    assert_eq!(send(&world, 0, 15), Err(Refusal::PoolExhausted));
    assert!(send(&world, 7, 15).is_ok());
}

#[test]
fn an_empty_pool_is_the_hosts_address() {
    let implicit = |addr: Option<Transport4>| PolicyConfig {
        implicit: addr.map(|addr| addr.addr),
        ..PolicyConfig::default()
    };
    let mut world = World::new(implicit(Some(mask(1, 0))));
    let first = world.outbound(Protocol::Icmp, client(1, 1), server(1, 1), ACK).unwrap();
    assert_eq!(first.addr, mask(1, 0).addr);
    assert!(first.port >= 61_001);
    assert!(
        world.policy.owns(Protocol::Tcp, mask(1, 61_001))
            && !world.policy.owns(Protocol::Tcp, mask(1, 61_000))
    );
    let packet =
        Outbound { protocol: Protocol::Tcp, src: client(2, 1), dst: server(1, 1), mark: 99, tcp: SYN };
    assert!(world.tables.outbound(&world.policy, &packet, world.now, &mut ()).is_ok(), "any mark");
    world.reload(implicit(Some(mask(2, 0))));
    assert!(world.bib().is_empty(), "the host's address changed");
    assert_eq!(
        world.outbound(Protocol::Icmp, client(1, 1), server(1, 1), ACK).unwrap().addr,
        mask(2, 0).addr
    );
    world.reload(implicit(None));
    let refused = world.outbound(Protocol::Icmp, client(1, 1), server(1, 1), ACK);
    assert_eq!(refused, Err(Refusal::MaskDomainNotFound));
}

#[test]
fn both_directions_refresh_and_nothing_goes_early() {
    for (protocol, lifetime, timer) in
        [(Protocol::Udp, 300_000, Timer::Udp), (Protocol::Icmp, 60_000, Timer::Icmp)]
    {
        let mut world = World::new(config());
        let mask = world.outbound(protocol, client(1, 1), server(1, 1), ACK).unwrap();
        for step in 0..5 {
            world.wait(lifetime);
            assert_eq!(world.sessions().len(), 1, "{protocol} {step}");
            match step % 2 {
                0 => assert!(world.inbound(protocol, server(1, 1), mask, ACK).is_ok()),
                _ => assert!(world.outbound(protocol, client(1, 1), server(1, 1), ACK).is_ok()),
            }
        }
        assert_eq!(world.sessions()[0].timer, timer);
        world.wait(lifetime + 2000);
        assert!(world.bib().is_empty() && world.sessions().is_empty());
        assert_eq!((world.log.session_removed.len(), world.log.bib_removed.len()), (1, 1));
        let late = world.inbound(protocol, server(1, 1), mask, ACK);
        assert_eq!(late, Err(Refusal::Bib4NotFound));
    }
}

/// A refresh soon after the last one moves nothing in the timer lists, and must count all the same.
#[test]
fn no_refresh_is_lost() {
    for gap in [1, 300, 900, 1100, 1500, 2500, 5000, 20_000] {
        let mut world = World::new(config());
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
        world.wait(gap);
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
        world.wait(300_000);
        assert_eq!(world.sessions().len(), 1, "refreshed after {gap} ms");
        world.wait(2000);
        assert!(world.sessions().is_empty(), "refreshed after {gap} ms");
    }
}

#[test]
fn a_clock_that_jumps_is_survived() {
    let mut world = World::new(config());
    world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    world.now = Instant(0);
    world.outbound(Protocol::Udp, client(2, 1), server(1, 1), ACK).unwrap();
    world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    world.wait(0);
    assert_eq!(world.sessions().len(), 2, "backwards: nothing happens");
    world.now = Instant(u64::MAX - 1);
    world.wait(1);
    assert!(world.sessions().is_empty(), "forwards: everything is due");
    assert!(world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).is_ok());
    check(&world.tables, &world.policy);
}

#[test]
fn hairpinned_clients_see_each_others_masks() {
    let mut world = World::new(config());
    let mask_b = world.outbound(Protocol::Udp, client(2, 5060), server(1, 53), ACK).unwrap();
    assert!(world.policy.owns(Protocol::Udp, mask_b));
    let mask_a = world.outbound(Protocol::Udp, client(1, 4000), mask_b, ACK).unwrap();
    assert_eq!(world.inbound(Protocol::Udp, mask_a, mask_b, ACK), Ok(client(2, 5060)));
    // And back.
    assert_eq!(world.outbound(Protocol::Udp, client(2, 5060), mask_a, ACK), Ok(mask_b));
    assert_eq!(world.inbound(Protocol::Udp, mask_b, mask_a, ACK), Ok(client(1, 4000)));
    assert_eq!(world.sessions().len(), 3);
    check(&world.tables, &world.policy);
}

#[test]
fn walks_are_bounded_and_complete() {
    let mut world = World::new(config());
    for n in 0..700 {
        world.outbound(Protocol::Udp, client(n, 1), server(1, 53), ACK).unwrap();
    }
    let mut all = Vec::new();
    let mut cursor = Some(Cursor::default());
    let mut steps = 0;
    while let Some(from) = cursor {
        let before = all.len();
        cursor = world.tables.bib_entries(from, 10, &mut all);
        assert!(all.len() - before <= 10);
        steps += 1;
    }
    assert!(steps >= 70 && all.len() == 700);
    assert!(world.tables.gauges().memory > 0 && world.policy.memory() > 0);
}

#[test]
fn tables_may_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Tables>();
    shared::<Policy>();
    shared::<xlat_nat64::Reassembly>();
    let tables = Tables::new(usize::MAX, SECRET);
    let policy = Policy::new(PolicyConfig::default(), None).unwrap();
    let packet = Inbound {
        protocol: Protocol::Udp,
        src: server(1, 1),
        dst: mask(1, 1),
        shared: false,
        tcp: ACK,
        original: b"",
    };
    assert_eq!(tables.inbound(&policy, &packet, Instant(0), &mut ()), Err(Refusal::Pool4Mismatch));
}
