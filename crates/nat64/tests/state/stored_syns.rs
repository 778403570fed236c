//! Simultaneous opens: SYNs from the IPv4 side that are held for six seconds (RFC 6146 3.5.2.2).

use crate::support::*;
use xlat_nat64::{PolicyConfig, Protocol, Refusal, TcpState, Timer};

const TCP: Protocol = Protocol::Tcp;

#[test]
fn a_syn_without_entry_waits_and_is_answered() {
    let mut world = World::new(config());
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1500), SYN), Err(Refusal::SynStored));
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1501), SYN), Err(Refusal::SoExists));
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1500), ACK), Err(Refusal::Syn4Expected));
    assert!(world.bib().is_empty());
    world.wait(6000);
    assert!(world.log.syns_expired.is_empty());
    world.wait(2000);
    assert_eq!(world.log.syns_expired, [b"203.0.113.1#80 to 192.0.2.1#1500".to_vec()]);
    assert_eq!(world.tables.gauges().stored_syns, 0);
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1500), SYN), Err(Refusal::SynStored));
}

#[test]
fn the_clients_syn_claims_the_held_one() {
    let mut world = World::new(config());
    world.inbound(TCP, server(1, 80), mask(1, 1500), SYN).unwrap_err();
    // Another server's connection has nothing to do with it.
    assert_ne!(world.outbound(TCP, client(2, 2), server(1, 81), SYN), Ok(mask(1, 1500)));
    assert_eq!(world.outbound(TCP, client(1, 1), server(1, 80), SYN), Ok(mask(1, 1500)));
    let session = world.sessions().into_iter().find(|session| session.client == client(1, 1)).unwrap();
    assert_eq!((session.state, session.timer), (Some(TcpState::Established), Timer::Established));
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1500), ACK), Ok(client(1, 1)));
    world.wait(10_000);
    assert!(world.log.syns_expired.is_empty(), "discarded, not answered");
    check(&world.tables, &world.policy);
}

#[test]
fn another_packet_of_the_client_claims_it_too_and_it_stays_held() {
    let mut world = World::new(config());
    world.inbound(TCP, server(1, 80), mask(1, 1500), SYN).unwrap_err();
    assert_eq!(world.outbound(TCP, client(1, 1), server(1, 80), ACK), Ok(mask(1, 1500)));
    let session = world.sessions()[0];
    assert_eq!((session.state, session.timer), (Some(TcpState::V4Init), Timer::StoredSyn));
    assert_eq!(world.tables.gauges().stored_syns, 1);
    world.wait(8000);
    assert_eq!(world.log.syns_expired.len(), 1);
    assert!(world.sessions().is_empty() && world.bib().is_empty());
}

#[test]
fn a_taken_mask_cannot_be_claimed() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 5, 6), ..config() });
    world.inbound(TCP, server(1, 80), mask(1, 5), SYN).unwrap_err();
    world.inbound(TCP, server(2, 80), mask(1, 5), SYN).unwrap_err();
    assert_eq!(world.outbound(TCP, client(1, 1), server(1, 80), SYN), Ok(mask(1, 5)));
    assert_eq!(world.outbound(TCP, client(2, 2), server(2, 80), SYN), Ok(mask(1, 6)));
    assert_eq!(world.outbound(TCP, client(3, 3), server(2, 80), SYN), Err(Refusal::PoolExhausted));
    world.wait(8000);
    assert_eq!(world.log.syns_expired.len(), 1, "the unclaimed one is answered");
}

#[test]
fn filtering_holds_a_syn_with_its_session() {
    let mut world = World::new(PolicyConfig { address_dependent_filtering: true, ..config() });
    let mask = world.outbound(TCP, client(1, 1), server(1, 80), SYN).unwrap();
    // Unlike UDP, the same server's address does not help.
    for port in [81, 82] {
        assert_eq!(world.inbound(TCP, server(1, port), mask, SYN), Err(Refusal::SynStoredFiltered));
        for flags in [SYN, ACK, FIN, RST] {
            assert_eq!(world.inbound(TCP, server(1, port), mask, flags), Err(Refusal::SoExists));
        }
        for flags in [ACK, FIN, RST] {
            assert_eq!(world.outbound(TCP, client(1, 1), server(1, port), flags), Ok(mask));
        }
    }
    assert_eq!(world.tables.gauges().stored_syns, 2);
    assert_eq!(world.outbound(TCP, client(1, 1), server(1, 81), SYN), Ok(mask));
    assert_eq!(world.inbound(TCP, server(1, 81), mask, ACK), Ok(client(1, 1)));
    assert_eq!(world.tables.gauges().stored_syns, 1);
    world.wait(8000);
    assert_eq!(world.log.syns_expired, [format!("203.0.113.1#82 to {mask}").into_bytes()]);
    assert_eq!(world.sessions().len(), 2);
    check(&world.tables, &world.policy);
}

#[test]
fn the_bound_is_for_both_types() {
    let mut world = World::new(PolicyConfig {
        address_dependent_filtering: true,
        maximum_simultaneous_opens: 3,
        ..config()
    });
    let mask_used = world.outbound(TCP, client(1, 1), server(1, 80), SYN).unwrap();
    let free = mask(1, if mask_used.port == 1500 { 1501 } else { 1500 });
    assert_eq!(world.inbound(TCP, server(2, 1), free, SYN), Err(Refusal::SynStored));
    assert_eq!(world.inbound(TCP, server(2, 2), mask_used, SYN), Err(Refusal::SynStoredFiltered));
    assert_eq!(world.inbound(TCP, server(2, 3), free, SYN), Err(Refusal::SynStored));
    assert_eq!(world.inbound(TCP, server(2, 4), free, SYN), Err(Refusal::SoFull));
    assert_eq!(world.inbound(TCP, server(2, 5), mask_used, SYN), Err(Refusal::SoFull));
    assert_eq!(world.inbound(TCP, server(2, 1), free, SYN), Err(Refusal::SoExists), "before the bound");
    world.wait(8000);
    assert_eq!(world.inbound(TCP, server(2, 4), free, SYN), Err(Refusal::SynStored));
    assert_eq!(world.log.syns_expired.len(), 3);
    world.reload(PolicyConfig { maximum_simultaneous_opens: 0, ..config() });
    assert_eq!(world.inbound(TCP, server(2, 9), free, SYN), Err(Refusal::SoFull));
}
