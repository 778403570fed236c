//! Sessions of an earlier run: the same masks, states and times left.

use std::time::Duration;

use crate::support::*;
use xlat_nat64::{
    Instant, Limits, PolicyConfig, Promotion, Protocol, Refusal, SessionInfo, StaticEntry, TcpState, Timer,
};

fn promoting() -> PolicyConfig {
    PolicyConfig { promotion: Promotion { protocols: [true; 3], tag: 0 }, ..config() }
}

/// A world with all kinds of sessions, some of one BIB entry.
fn before() -> World {
    let mut world = World::new(promoting());
    for n in 0..30 {
        let from = client(n, 7);
        for to in 0..3 {
            world.outbound(Protocol::Udp, from, server(to, 53), ACK).unwrap();
            world.outbound(Protocol::Icmp, from, server(to, 0), ACK).unwrap();
            let mask = world.outbound(Protocol::Tcp, from, server(to, 80), SYN).unwrap();
            match n % 4 {
                0 => {}
                closing => {
                    world.inbound(Protocol::Tcp, server(to, 80), mask, SYN).unwrap();
                    for flags in &[FIN, RST, ACK][..usize::from(closing - 1)] {
                        world.outbound(Protocol::Tcp, from, server(to, 80), *flags).unwrap();
                    }
                }
            }
        }
        world.wait(900);
    }
    world
}

fn restore(world: &mut World, session: &SessionInfo) -> Result<(), Refusal> {
    world.tables.restore(&world.policy, session, world.now, &mut world.log)
}

#[test]
fn everything_is_as_it_was() {
    let old = before();
    let mut sessions = old.sessions();
    let mut new = World::new(promoting());
    new.now = Instant(77_000);
    for session in sessions.iter().rev().chain(&sessions) {
        restore(&mut new, session).unwrap();
    }
    check(&new.tables, &new.policy);
    let order = |session: &SessionInfo| (session.protocol, session.client, session.remote);
    let mut restored = new.sessions();
    sessions.sort_by_key(order);
    restored.sort_by_key(order);
    assert_eq!(sessions.len(), 270);
    for (was, is) in sessions.iter().zip(&restored) {
        let SessionInfo { expires_in, .. } = *is;
        assert_eq!(SessionInfo { expires_in: was.expires_in, ..*is }, *was);
        let late = expires_in.saturating_sub(was.expires_in).as_millis();
        assert!(expires_in >= was.expires_in, "{was:?} {is:?}");
        assert!(late <= 256 + was.expires_in.as_millis() / 200, "{late} ms, {was:?}");
    }
    assert_eq!(new.log.ports.len(), 90);
    // Each ends in its time.
    let end = Instant(
        new.now.0 + sessions.iter().map(|session| session.expires_in).max().unwrap().as_millis() as u64,
    );
    let mut ended = 0;
    while new.now.0 < end.0 + 60_000 {
        new.wait(997);
        let waited = Duration::from_millis(new.now.0 - 77_000);
        for gone in std::mem::take(&mut new.log.session_removed) {
            let was = sessions.iter().find(|was| order(was) == order(&gone)).unwrap();
            assert!(waited >= was.expires_in, "{was:?} after {waited:?}");
            ended += 1;
        }
        for probed in std::mem::take(&mut new.log.probes) {
            assert!(sessions.iter().any(|was| order(was) == order(&probed) && waited >= was.expires_in));
        }
    }
    assert!(ended >= 200, "{ended}");
}

#[test]
fn traffic_restarts_a_restored_lifetime() {
    let old = before();
    let was = old.sessions().into_iter().find(|session| session.protocol == Protocol::Udp).unwrap();
    let mut new = World::new(promoting());
    restore(&mut new, &SessionInfo { expires_in: Duration::from_secs(10), ..was }).unwrap();
    new.wait(9_000);
    assert_eq!(new.outbound(Protocol::Udp, was.client, was.remote, ACK), Ok(was.mask));
    new.wait(299_000);
    assert_eq!(new.sessions().len(), 1);
    new.wait(3_000);
    assert_eq!(new.sessions().len(), 0);
}

#[test]
fn what_contradicts_is_refused() {
    let session = SessionInfo {
        protocol: Protocol::Udp,
        client: client(1, 1),
        mask: mask(1, 1500),
        remote: server(1, 53),
        state: None,
        timer: Timer::Udp,
        expires_in: Duration::from_secs(100),
        promoted: true,
    };
    let fixed = StaticEntry { protocol: Protocol::Udp, client: client(2, 2), mask: mask(1, 1501) };
    let limits = Limits { source_sessions: Some(2), ..Limits::default() };
    let mut world = World::new(PolicyConfig { static_bib: vec![fixed], limits, ..promoting() });
    restore(&mut world, &session).unwrap();
    let cases = [
        (SessionInfo { mask: mask(1, 999), ..session }, Refusal::Pool4Mismatch),
        (SessionInfo { mask: mask(1, 1502), ..session }, Refusal::PoolExhausted),
        (SessionInfo { client: client(3, 3), ..session }, Refusal::PoolExhausted),
        (SessionInfo { client: client(3, 3), mask: mask(1, 1501), ..session }, Refusal::PoolExhausted),
    ];
    for (case, refusal) in cases {
        world.log.demoted.clear();
        assert_eq!(restore(&mut world, &case), Err(refusal));
        assert_eq!(world.log.demoted.len(), 1, "the other path must not go on with it");
    }
    restore(&mut world, &SessionInfo { remote: server(2, 53), ..session }).unwrap();
    let third = SessionInfo { remote: server(3, 53), ..session };
    assert_eq!(restore(&mut world, &third), Err(Refusal::SourceSessionLimit));
    // A static entry takes its sessions back.
    restore(&mut world, &SessionInfo { client: fixed.client, mask: fixed.mask, ..session }).unwrap();
    check(&world.tables, &world.policy);
}

#[test]
fn what_may_not_be_promoted_any_more_is_taken_back() {
    let tcp = SessionInfo {
        protocol: Protocol::Tcp,
        client: client(1, 1),
        mask: mask(1, 1500),
        remote: server(1, 80),
        state: Some(TcpState::Established),
        timer: Timer::Established,
        expires_in: Duration::from_secs(1000),
        promoted: true,
    };
    let closing = SessionInfo { state: Some(TcpState::Trans), ..tcp };
    let hairpin = SessionInfo { remote: mask(1, 1700), ..tcp };
    for (config, session) in [(config(), tcp), (promoting(), closing), (promoting(), hairpin)] {
        let mut world = World::new(config);
        restore(&mut world, &session).unwrap();
        assert_eq!(world.log.demoted.len(), 1, "{session:?}");
        assert!(world.sessions().iter().all(|session| !session.promoted));
    }
    // A flow of the maps, known from a snapshot without that: promoted, and asked about when it is due.
    let mut world = World::new(promoting());
    restore(&mut world, &SessionInfo { promoted: false, ..tcp }).unwrap();
    restore(&mut world, &SessionInfo { expires_in: Duration::ZERO, ..tcp }).unwrap();
    assert!(world.sessions()[0].promoted && world.log.demoted.is_empty());
    world.wait(600);
    assert_eq!((world.log.idle.len(), world.log.probes.len()), (1, 0));
    // The same, closing in the snapshot.
    let mut world = World::new(promoting());
    restore(&mut world, &SessionInfo { promoted: false, ..closing }).unwrap();
    restore(&mut world, &tcp).unwrap();
    assert_eq!(world.log.demoted.len(), 1);
    assert_eq!(world.sessions()[0].state, Some(TcpState::Trans));
    // A held SYN went with the earlier run.
    let held = SessionInfo { timer: Timer::StoredSyn, state: Some(TcpState::V4Init), promoted: false, ..tcp };
    let mut world = World::new(promoting());
    restore(&mut world, &held).unwrap();
    assert!(world.sessions().is_empty());
}
