//! Walks over tables that change meanwhile: what stays is shown exactly once, and a step is bounded.

use std::collections::BTreeMap;

use xlat_nat64::{Cursor, PolicyConfig, Protocol, SessionInfo};

use crate::support::*;

/// Entries with several sessions, so that some are kept apart from their entries. Between two steps come so many new entries
/// that every part of the tables grows.
#[test]
fn what_stays_is_met_once_while_the_tables_grow() {
    let mut world =
        World::new(PolicyConfig { pool4: pool("192.0.2.0/24", 1, 65535), ..PolicyConfig::default() });
    for n in 0..2000 {
        for to in 0..3 {
            world.outbound(Protocol::Udp, client(n, 1), server(to, 53), ACK).unwrap();
        }
    }
    let key = |session: &SessionInfo| (session.client, session.remote);
    let mut missing: BTreeMap<_, u32> = world.sessions().iter().map(|session| (key(session), 0)).collect();
    assert_eq!(missing.len(), 6000);
    let (mut cursor, mut new, mut steps) = (Some(Cursor::default()), 0, 0);
    while let Some(from) = cursor {
        let mut found = Vec::new();
        cursor = world.tables.sessions(&world.policy, from, 200, &mut found);
        assert!(found.len() <= 200);
        for session in &found {
            if let Some(times) = missing.get_mut(&key(session)) {
                *times += 1;
            }
        }
        steps += 1;
        if steps % 4 == 0 && new < 60_000 {
            for _ in 0..5000 {
                new += 1;
                let from = client(2000 + new as u16, 2 + (new >> 16) as u16);
                world.outbound(Protocol::Udp, from, server(9, 53), ACK).unwrap();
            }
        }
    }
    missing.retain(|_, times| *times != 1);
    assert!(missing.is_empty(), "{} sessions not shown, or more than once: {missing:?}", missing.len());
    check(&world.tables, &world.policy);
}

/// Large tables that are empty again keep their room: a step over it ends soon all the same.
#[test]
fn a_step_over_nothing_is_bounded() {
    let mut world =
        World::new(PolicyConfig { pool4: pool("192.0.2.0/24", 1, 65535), ..PolicyConfig::default() });
    for n in 0..30_000 {
        world.outbound(Protocol::Udp, client(n, 1), server(1, 53), ACK).unwrap();
    }
    world.wait(400_000);
    world.wait(0);
    let mut found = Vec::new();
    let (mut cursor, mut steps) = (Some(Cursor::default()), 0);
    while let Some(from) = cursor {
        cursor = world.tables.bib_entries(from, 512, &mut found);
        steps += 1;
    }
    assert!(found.is_empty());
    assert!(steps >= 29, "30,000 places in {steps} steps");
}
