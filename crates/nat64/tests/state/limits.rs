//! Bounds on the tables: in all, per source, per source prefix (RFC 6888 REQ-4).

use crate::support::*;
use xlat_nat64::{Limits, PolicyConfig, Protocol, Refusal};

const UDP: Protocol = Protocol::Udp;

fn limited(limits: Limits) -> PolicyConfig {
    PolicyConfig { limits, ..config() }
}

#[test]
fn each_limit_has_its_name_and_is_exact() {
    let none = Limits::default();
    let (bib, sessions) = (true, false);
    // With client(n): sixteen consecutive n share a /64.
    for (limits, what, across, refusal) in [
        (Limits { max_bib: 5, ..none }, bib, 100, Refusal::BibLimit),
        (Limits { max_sessions: 5, ..none }, sessions, 100, Refusal::SessionLimit),
        (Limits { source_bib: Some(5), ..none }, bib, 0, Refusal::SourceBibLimit),
        (Limits { source_sessions: Some(5), ..none }, sessions, 0, Refusal::SourceSessionLimit),
        (Limits { prefix_bib: Some(5), ..none }, bib, 1, Refusal::PrefixBibLimit),
        (Limits { prefix_sessions: Some(5), ..none }, sessions, 1, Refusal::PrefixSessionLimit),
        (Limits { prefix_bib: Some(5), prefix_length: 0, ..none }, bib, 100, Refusal::PrefixBibLimit),
        (Limits { prefix_bib: Some(5), prefix_length: 128, ..none }, bib, 0, Refusal::PrefixBibLimit),
    ] {
        let mut world = World::new(limited(limits));
        let mut send = |n: u16, what: bool| {
            let (port, to) = if what { (n, 1) } else { (1, n as u8) };
            world.outbound(UDP, client(n * across, port), server(to, 53), ACK)
        };
        for n in 0..5 {
            assert!(send(n, what).is_ok(), "{refusal} at {n}");
        }
        assert_eq!(send(5, what), Err(refusal));
        assert_eq!(send(5, what), Err(refusal), "a refusal counts nothing");
        assert!(send(4, what).is_ok(), "existing flows go on");
        if across != 100 {
            let other = world.outbound(UDP, client(5000, 1), server(1, 53), ACK);
            assert!(other.is_ok(), "others are not concerned: {refusal}");
        }
        world.wait(302_000);
        assert!(world.bib().is_empty());
        let again = world.outbound(UDP, client(0, 1), server(1, 53), ACK);
        assert!(again.is_ok(), "what went is uncounted: {refusal}");
    }
}

#[test]
fn limits_that_come_with_a_reload_know_what_exists() {
    let mut world = World::new(config());
    for port in 0..5 {
        world.outbound(UDP, client(1, port), server(1, 53), ACK).unwrap();
        world.outbound(UDP, client(2, port), server(1, 53), ACK).unwrap();
    }
    world.reload(limited(Limits { source_bib: Some(6), prefix_bib: Some(12), ..Limits::default() }));
    assert!(world.outbound(UDP, client(1, 5), server(1, 53), ACK).is_ok());
    assert_eq!(world.outbound(UDP, client(1, 6), server(1, 53), ACK), Err(Refusal::SourceBibLimit));
    assert!(world.outbound(UDP, client(3, 6), server(1, 53), ACK).is_ok());
    assert_eq!(world.outbound(UDP, client(3, 7), server(1, 53), ACK), Err(Refusal::PrefixBibLimit));
    // Another length: everything is counted anew.
    world.reload(limited(Limits { prefix_bib: Some(12), prefix_length: 32, ..Limits::default() }));
    assert_eq!(world.outbound(UDP, client(99, 7), server(1, 53), ACK), Err(Refusal::PrefixBibLimit));
    world.reload(config());
    assert!(world.outbound(UDP, client(99, 7), server(1, 53), ACK).is_ok());
}

#[test]
fn a_port_that_cannot_be_had_counts_nothing() {
    let limits = Limits { source_bib: Some(2), max_bib: 3, ..Limits::default() };
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 1, 1), ..limited(limits) });
    world.outbound(UDP, client(1, 1), server(1, 53), ACK).unwrap();
    for port in 2..20 {
        let refused = world.outbound(UDP, client(1, port), server(1, 53), ACK);
        assert_eq!(refused, Err(Refusal::PoolExhausted));
    }
}
