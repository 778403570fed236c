//! Sessions that translators tell each other: when one is told of, and what the other makes of it.

use std::time::Duration;

use crate::support::*;
use xlat_nat64::{
    Instant, Limits, PolicyConfig, Promotion, Protocol, Refusal, SessionInfo, StaticEntry, TcpState, Timer,
};

fn announcing() -> PolicyConfig {
    PolicyConfig { announce: true, promotion: Promotion { protocols: [true; 3], tag: 0 }, ..config() }
}

fn synchronise(world: &mut World, session: &SessionInfo) -> Result<(), Refusal> {
    world.tables.synchronise(&world.policy, session, world.now, &mut world.log)
}

/// Time as it passes: expiry looks about every second.
fn seconds(world: &mut World, count: u64) {
    (0..count).for_each(|_| world.wait(1000));
}

/// A session as another translator tells of it.
fn told(protocol: Protocol, timer: Timer, seconds: u64) -> SessionInfo {
    SessionInfo {
        protocol,
        client: client(1, 5000),
        mask: mask(1, 1500),
        remote: if protocol == Protocol::Icmp { server(1, 1500) } else { server(1, 80) },
        state: (protocol == Protocol::Tcp).then_some(TcpState::Established),
        timer,
        expires_in: Duration::from_secs(seconds),
        promoted: false,
    }
}

#[test]
fn what_is_told_and_when() {
    let mut world = World::new(announcing());
    let (from, to) = (client(1, 5000), server(1, 80));
    let mask = world.outbound(Protocol::Tcp, from, to, SYN).unwrap();
    world.inbound(Protocol::Tcp, to, mask, SYN).unwrap();
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    let states = |world: &mut World| {
        let told = std::mem::take(&mut world.log.updated);
        told.iter().map(|session| (session.state, session.expires_in.as_secs())).collect::<Vec<_>>()
    };
    use TcpState::{Established, Trans, V6Init};
    assert_eq!(states(&mut world), [(Some(V6Init), 240), (Some(Established), 7200)]);
    // A busy connection is told of about once a minute, a busy UDP flow more often.
    for _ in 0..600 {
        world.wait(200);
        world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
        world.outbound(Protocol::Udp, from, to, ACK).unwrap();
    }
    let all = std::mem::take(&mut world.log.updated);
    let count = |protocol| all.iter().filter(|session| session.protocol == protocol).count();
    assert!((1..=3).contains(&count(Protocol::Tcp)), "{} of TCP", count(Protocol::Tcp));
    assert!((6..=9).contains(&count(Protocol::Udp)), "{} of UDP", count(Protocol::Udp));
    // Another state at once.
    world.inbound(Protocol::Tcp, to, mask, RST).unwrap();
    assert_eq!(states(&mut world), [(Some(Trans), 240)]);
    // Without the option nothing.
    world.reload(config());
    world.outbound(Protocol::Icmp, from, to, ACK).unwrap();
    assert_eq!(states(&mut world), []);
}

/// The other translator never lets a flow end that lives on in the kernel here.
#[test]
fn promoted_sessions_are_told_of_in_time() {
    for config in [announcing(), PolicyConfig { udp_timeout: Duration::from_secs(262), ..announcing() }] {
        let lifetime = config.udp_timeout;
        let mut world = World::new(config);
        world.log.takes = true;
        for _ in 0..5 {
            world.outbound(Protocol::Udp, client(1, 5000), server(1, 80), ACK).unwrap();
        }
        assert!(world.sessions()[0].promoted);
        let mut heard = world.now;
        let mut last = world.log.updated.pop().unwrap();
        for _ in 0..4000 {
            world.wait(1000);
            // The kernel sees a packet every second.
            for session in std::mem::take(&mut world.log.idle) {
                let key = (session.protocol, session.client, session.remote);
                world.tables.used(&world.policy, key, Some(world.now), world.now, &mut world.log);
            }
            if let Some(update) = world.log.updated.pop() {
                (heard, last) = (world.now, update);
                assert!(update.expires_in + Duration::from_secs(2) > lifetime);
            }
            let left = last.expires_in.as_millis() as u64;
            assert!(heard.0 + left > world.now.0 + 1000 * lifetime.as_secs() / 3, "{heard:?} {last:?}");
        }
        assert_eq!(world.sessions().len(), 1);
        // And it ends when the kernel sees no more of it.
        let end = Instant(world.now.0);
        while !world.sessions().is_empty() {
            world.wait(1000);
            for session in std::mem::take(&mut world.log.idle) {
                let key = (session.protocol, session.client, session.remote);
                world.tables.used(&world.policy, key, Some(end), world.now, &mut world.log);
            }
            assert!(world.now.0 < end.0 + 2 * lifetime.as_millis() as u64, "it never ends");
        }
        assert!(world.now.0 >= end.0 + lifetime.as_millis() as u64);
    }
}

#[test]
fn a_flow_goes_on_at_the_other_translator() {
    let (mut one, mut two) = (World::new(announcing()), World::new(announcing()));
    for protocol in Protocol::ALL {
        let (from, to) = (client(1, 5000), server(1, 80));
        let mask = one.outbound(protocol, from, to, SYN).unwrap();
        one.inbound(protocol, to, mask, SYN).unwrap();
        one.outbound(protocol, from, to, ACK).unwrap();
        for session in std::mem::take(&mut one.log.updated) {
            synchronise(&mut two, &session).unwrap();
        }
        assert_eq!(two.inbound(protocol, to, mask, ACK), Ok(from), "{protocol}");
        assert_eq!(two.outbound(protocol, from, to, ACK), Ok(mask));
    }
    check(&two.tables, &two.policy);
    let key = |session: &SessionInfo| (session.protocol, session.mask, session.state, session.timer);
    assert_eq!(
        two.sessions().iter().map(key).collect::<Vec<_>>(),
        one.sessions().iter().map(key).collect::<Vec<_>>()
    );
    assert_eq!(two.log.bib_created.len(), 3);
    // Who was told does not tell it back at once.
    assert!(two.log.updated.is_empty(), "{:?}", two.log.updated);
}

#[test]
fn the_longer_time_counts_under_the_same_timer_and_the_told_one_under_another() {
    let mut world = World::new(announcing());
    let left = |world: &World| world.sessions()[0].expires_in.as_secs();
    let established = |seconds| told(Protocol::Tcp, Timer::Established, seconds);
    for (seconds, expected) in [(3000, 3000), (1000, 3000), (5000, 5000), (9_999_999, 7200)] {
        synchronise(&mut world, &established(seconds)).unwrap();
        let left = left(&world);
        assert!((expected..=expected + expected / 200).contains(&left), "{seconds}: {left}");
    }
    let closing =
        SessionInfo { state: Some(TcpState::V4FinV6FinRcv), ..told(Protocol::Tcp, Timer::Transitory, 100) };
    synchronise(&mut world, &closing).unwrap();
    assert_eq!(world.sessions()[0].state, closing.state);
    assert!((100..=101).contains(&left(&world)), "{}", left(&world));
    seconds(&mut world, 110);
    assert!(world.sessions().is_empty());
    check(&world.tables, &world.policy);
}

#[test]
fn nobody_loses_anything_by_what_is_told() {
    let static_entry = StaticEntry { protocol: Protocol::Udp, client: client(7, 7), mask: mask(1, 1700) };
    let limits = Limits { max_sessions: 3, ..Limits::default() };
    let mut world = World::new(PolicyConfig { static_bib: vec![static_entry], limits, ..announcing() });
    let udp = told(Protocol::Udp, Timer::Udp, 100);
    let own = world.outbound(Protocol::Udp, client(2, 6000), server(1, 53), ACK).unwrap();
    for (session, expected) in [
        (SessionInfo { mask: own, ..udp }, Err(Refusal::PoolExhausted)),
        (SessionInfo { client: client(2, 6000), ..udp }, Err(Refusal::PoolExhausted)),
        (SessionInfo { mask: static_entry.mask, ..udp }, Err(Refusal::PoolExhausted)),
        (SessionInfo { client: static_entry.client, ..udp }, Err(Refusal::PoolExhausted)),
        (SessionInfo { mask: mask(1, 2000), ..udp }, Err(Refusal::Pool4Mismatch)),
        (SessionInfo { mask: mask(2, 1500), ..udp }, Err(Refusal::Pool4Mismatch)),
        (SessionInfo { mask: server(1, 1500), ..udp }, Err(Refusal::Pool4Mismatch)),
        (told(Protocol::Tcp, Timer::StoredSyn, 5), Err(Refusal::SessionNotFound)),
        // What has a static entry may have sessions.
        (SessionInfo { client: static_entry.client, mask: static_entry.mask, ..udp }, Ok(())),
        (udp, Ok(())),
        (told(Protocol::Icmp, Timer::Icmp, 5), Err(Refusal::SessionLimit)),
    ] {
        assert_eq!(synchronise(&mut world, &session), expected, "{session:?}");
        check(&world.tables, &world.policy);
    }
    assert_eq!(world.outbound(Protocol::Udp, client(2, 6000), server(1, 53), ACK), Ok(own));
    // Under a shorter lifetime here, that.
    seconds(&mut world, 310);
    assert!(world.sessions().is_empty());
}

/// A connection that this translator has in the kernel is taken back when it is told to be closing.
#[test]
fn a_promoted_session_is_taken_back_when_it_closes_elsewhere() {
    let mut world = World::new(announcing());
    world.log.takes = true;
    synchronise(&mut world, &told(Protocol::Tcp, Timer::Established, 100)).unwrap();
    world.outbound(Protocol::Tcp, client(1, 5000), server(1, 80), ACK).unwrap();
    assert!(world.sessions()[0].promoted);
    synchronise(&mut world, &told(Protocol::Tcp, Timer::Established, 50)).unwrap();
    assert!(world.sessions()[0].promoted && world.log.demoted.is_empty());
    synchronise(&mut world, &told(Protocol::Tcp, Timer::Transitory, 50)).unwrap();
    assert_eq!(world.log.demoted.len(), 1);
    seconds(&mut world, 55);
    assert!(world.sessions().is_empty());
    check(&world.tables, &world.policy);
}
