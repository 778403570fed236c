//! Configuration changed under existing state: cascades, static entries, timers (spec: nat64 8, globals 2).

use std::time::Duration;

use crate::support::*;
use xlat_nat64::{Outbound, Policy, PolicyConfig, PolicyError, Protocol, Refusal, StaticEntry};

const UDP: Protocol = Protocol::Udp;

fn fixed(protocol: Protocol, n: u16, port: u16) -> StaticEntry {
    StaticEntry { protocol, client: client(n, 80), mask: mask(1, port) }
}

fn with(static_bib: Vec<StaticEntry>) -> PolicyConfig {
    PolicyConfig { static_bib, ..config() }
}

#[test]
fn what_leaves_pool4_goes_with_its_sessions() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.0/31", 1000, 1999), ..config() });
    for n in 0..200 {
        for to in 1..4 {
            world.outbound(UDP, client(n, 1), server(to, 53), ACK).unwrap();
        }
    }
    let gone = world.bib().iter().filter(|entry| entry.mask.addr == mask(0, 0).addr).count();
    assert!(gone > 50);
    world.reload(config());
    assert_eq!(world.bib().len(), 200 - gone);
    assert_eq!((world.log.bib_removed.len(), world.log.session_removed.len()), (gone, 3 * gone));
    check(&world.tables, &world.policy);
    // Smaller range, same address.
    world.reload(PolicyConfig { pool4: pool("192.0.2.1/32", 1000, 1499), ..config() });
    assert!(world.bib().iter().all(|entry| entry.mask.port < 1500));
    for n in 0..200 {
        world.outbound(UDP, client(n, 1), server(1, 53), ACK).unwrap();
    }
    check(&world.tables, &world.policy);
}

#[test]
fn mappings_survive_a_reload_and_ports_stay_theirs() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 1, 50), ..config() });
    let before: Vec<_> =
        (0..40).map(|n| world.outbound(UDP, client(n, 1), server(1, 53), ACK).unwrap()).collect();
    world.reload(PolicyConfig {
        pool4: pool("192.0.2.1/32", 1, 60),
        udp_timeout: Duration::from_secs(120),
        ..config()
    });
    for n in 0..40 {
        assert_eq!(world.outbound(UDP, client(n, 1), server(1, 53), ACK), Ok(before[usize::from(n)]));
    }
    for n in 40..60 {
        assert!(world.outbound(UDP, client(n, 1), server(1, 53), ACK).is_ok());
    }
    assert_eq!(world.outbound(UDP, client(60, 1), server(1, 53), ACK), Err(Refusal::PoolExhausted));
    check(&world.tables, &world.policy);
    world.wait(122_000);
    assert!(world.bib().is_empty(), "the new timeout holds for existing sessions");
}

#[test]
fn a_worker_that_still_has_the_old_policy_leaves_nothing_for_ever() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.0/31", 1, 9), ..config() });
    let old = Policy::new(world.policy.config().clone(), Some(&world.policy)).unwrap();
    let new = Policy::new(config(), Some(&old)).unwrap();
    world.tables.reconfigure(&old, &new, &mut ());
    for n in 0..8 {
        let packet = Outbound { protocol: UDP, src: client(n, 1), dst: server(1, 1), mark: 0, tcp: ACK };
        world.tables.outbound(&old, &packet, world.now, &mut ()).unwrap();
    }
    world.policy = new;
    for n in 0..8 {
        let mask = world.outbound(UDP, client(n, 1), server(1, 1), ACK).unwrap();
        assert!(world.policy.owns(UDP, mask));
    }
    check(&world.tables, &world.policy);
}

#[test]
fn static_entries_forward_ports_and_never_expire() {
    for protocol in Protocol::ALL {
        let mut world = World::new(with(vec![fixed(protocol, 1, 1080)]));
        assert_eq!(world.bib().len(), 1);
        assert_eq!(world.inbound(protocol, server(1, 9), mask(1, 1080), SYN), Ok(client(1, 80)));
        assert_eq!(world.outbound(protocol, client(1, 80), server(1, 9), SYN), Ok(mask(1, 1080)));
        world.wait(10_000_000);
        world.wait(300_000);
        assert_eq!((world.bib().len(), world.sessions().len()), (1, 0));
        check(&world.tables, &world.policy);
        world.reload(config());
        assert!(world.bib().is_empty());
    }
}

#[test]
fn static_entries_win_over_dynamic_ones() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 10, 12), ..config() });
    for n in 1..4 {
        world.outbound(UDP, client(n, 80), server(1, 53), ACK).unwrap();
    }
    let same = world.bib()[0];
    let config = PolicyConfig {
        static_bib: vec![StaticEntry { protocol: UDP, client: same.client, mask: same.mask }],
        ..world.policy.config().clone()
    };
    world.reload(config.clone());
    assert_eq!((world.bib().len(), world.sessions().len()), (3, 3), "an identical one is upgraded");
    // Another client takes the mask of each; each client moves to another mask.
    let masks: Vec<_> = world.bib().iter().map(|entry| entry.mask).collect();
    let clients = [client(50, 80), client(51, 80), same.client];
    let static_bib = clients.into_iter().zip(masks.iter().rev());
    let static_bib: Vec<_> =
        static_bib.map(|(client, mask)| StaticEntry { protocol: UDP, client, mask: *mask }).collect();
    world.reload(PolicyConfig { static_bib: static_bib.clone(), ..config });
    for entry in &static_bib {
        assert_eq!(world.tables.lookup6(UDP, entry.client), Some(entry.mask));
    }
    assert_eq!(world.bib().len(), 3);
    check(&world.tables, &world.policy);
}

#[test]
fn a_static_entry_discards_syns_held_for_its_mask() {
    let mut world = World::new(config());
    world.inbound(Protocol::Tcp, server(1, 80), mask(1, 1500), SYN).unwrap_err();
    world.inbound(Protocol::Tcp, server(2, 80), mask(1, 1501), SYN).unwrap_err();
    world.reload(with(vec![fixed(Protocol::Tcp, 1, 1500)]));
    assert_eq!(world.tables.gauges().stored_syns, 1);
    world.wait(8000);
    assert_eq!(world.log.syns_expired.len(), 1);
}

#[test]
fn a_cascade_answers_the_syn_held_with_a_session() {
    let filtered = PolicyConfig { address_dependent_filtering: true, ..config() };
    let mut world = World::new(filtered);
    let mask = world.outbound(Protocol::Tcp, client(1, 1), server(1, 80), SYN).unwrap();
    world.inbound(Protocol::Tcp, server(2, 80), mask, SYN).unwrap_err();
    world.reload(PolicyConfig { pool4: pool("192.0.2.9/32", 1, 9), ..config() });
    assert_eq!(world.log.syns_expired.len(), 1);
    assert_eq!(world.tables.gauges().stored_syns, 0);
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let outside = fixed(UDP, 1, 999);
    let twice = StaticEntry { mask: mask(1, 1001), ..fixed(UDP, 1, 1000) };
    let line = pool("192.0.2.1/32", 9, 5)[0];
    let zero = pool("192.0.2.1/32", 0, 0)[0];
    let long = xlat_nat64::Limits { prefix_length: 129, ..xlat_nat64::Limits::default() };
    for (config, error) in [
        (with(vec![outside]), PolicyError::StaticOutsidePool4(outside)),
        (with(vec![fixed(UDP, 1, 1000), twice]), PolicyError::StaticClientTwice(twice)),
        (
            with(vec![fixed(UDP, 1, 1000), fixed(UDP, 2, 1000)]),
            PolicyError::StaticMaskTwice(fixed(UDP, 2, 1000)),
        ),
        (PolicyConfig { pool4: vec![line], ..config() }, PolicyError::RangeReversed(line)),
        (PolicyConfig { pool4: vec![zero], ..config() }, PolicyError::PortZero(zero)),
        (
            PolicyConfig { pool4: pool("10.0.0.0/8", 1, 9), ..config() },
            PolicyError::TooManyAddresses(Protocol::Tcp),
        ),
        (
            PolicyConfig { pool4: pool("0.0.0.0/0", 1, 9), ..config() },
            PolicyError::TooManyAddresses(Protocol::Tcp),
        ),
        (PolicyConfig { limits: long, ..config() }, PolicyError::PrefixLength(129)),
    ] {
        let refused = Policy::new(config, None).expect_err("refused");
        assert_eq!(refused, error);
        assert!(!refused.to_string().is_empty());
    }
    assert!(Policy::new(with(vec![outside; 0]), None).is_ok());
    assert!(
        Policy::new(with(vec![fixed(UDP, 1, 1000); 2]), None).is_ok(),
        "the same entry twice is one entry"
    );
}

#[test]
fn static_entries_without_sessions_count_as_memory() {
    let mut world = World::new(config());
    let before = world.tables.gauges().memory;
    world.reload(with((1000..1800).map(|port| fixed(UDP, port, port)).collect()));
    assert_eq!(world.bib().len(), 800);
    let grown = world.tables.gauges().memory - before;
    assert!(grown > 800 * 40, "{grown} bytes for 800 entries");
}
