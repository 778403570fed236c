//! TCP (RFC 6146 3.5.2): what opens a session, the state table through packets, the timers, the probe.

use crate::support::*;
use xlat_nat64::{PolicyConfig, Protocol, Refusal, TcpFlags, TcpState, Timer, Transport4};

const TCP: Protocol = Protocol::Tcp;

/// A world with one session in a given state, and its mask.
fn in_state(state: TcpState, config: PolicyConfig) -> (World, Transport4) {
    let mut world = World::new(config);
    // Another server's session makes the BIB entry.
    let mask = world.outbound(TCP, client(1, 1), server(9, 9), SYN).unwrap();
    let out = |world: &mut World, flags| world.outbound(TCP, client(1, 1), server(1, 80), flags).unwrap();
    let answer = |world: &mut World, flags| world.inbound(TCP, server(1, 80), mask, flags).unwrap();
    if state == TcpState::V4Init {
        answer(&mut world, SYN);
        return (world, mask);
    }
    out(&mut world, SYN);
    if state == TcpState::V6Init {
        return (world, mask);
    }
    answer(&mut world, SYN);
    match state {
        TcpState::V4FinRcv => drop(answer(&mut world, FIN)),
        TcpState::V6FinRcv => drop(out(&mut world, FIN)),
        TcpState::V4FinV6FinRcv => {
            answer(&mut world, FIN);
            out(&mut world, FIN);
        }
        TcpState::Trans => drop(answer(&mut world, RST)),
        TcpState::Established | TcpState::V6Init | TcpState::V4Init => {}
    }
    (world, mask)
}

fn session(world: &World) -> (TcpState, Timer, u64) {
    let all = world.sessions();
    let found = all.iter().find(|session| session.remote == server(1, 80)).expect("the session");
    (found.state.expect("TCP has a state"), found.timer, found.expires_in.as_millis() as u64)
}

#[test]
fn only_a_syn_opens() {
    let mut world = World::new(config());
    for flags in [ACK, FIN, RST] {
        assert_eq!(world.outbound(TCP, client(1, 1), server(1, 80), flags), Err(Refusal::Syn6Expected));
        assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1000), flags), Err(Refusal::Syn4Expected));
    }
    let all = TcpFlags { syn: true, fin: true, rst: true };
    let mask = world.outbound(TCP, client(1, 1), server(1, 80), all).unwrap();
    // With a BIB entry the rest passes, without a session of its own.
    for flags in [ACK, FIN, RST] {
        assert_eq!(world.outbound(TCP, client(1, 1), server(2, 80), flags), Ok(mask));
        assert_eq!(world.inbound(TCP, server(3, 80), mask, flags), Ok(client(1, 1)));
    }
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(world.inbound(TCP, server(3, 80), mask, SYN), Ok(client(1, 1)));
    assert_eq!(world.sessions().len(), 2);
}

#[test]
fn externally_initiated_connections_can_be_dropped() {
    let mut world = World::new(PolicyConfig { drop_externally_initiated_tcp: true, ..config() });
    assert_eq!(world.inbound(TCP, server(1, 80), mask(1, 1000), SYN), Err(Refusal::V4Syn));
    let mask = world.outbound(TCP, client(1, 1), server(1, 80), SYN).unwrap();
    assert_eq!(world.inbound(TCP, server(2, 80), mask, SYN), Err(Refusal::V4Syn));
    assert_eq!(world.inbound(TCP, server(1, 80), mask, SYN), Ok(client(1, 1)), "the session's own answer");
    assert_eq!(world.tables.gauges().stored_syns, 0);
}

/// The state table, cell by cell, as packets see it. A cell is state and timer afterwards and whether the lifetime
/// was started anew; the packet comes two minutes after the last one.
#[test]
fn every_cell_of_the_state_table() {
    use TcpState::*;
    use Timer::{Established as Est, Transitory as Tra};
    const WAIT: u64 = 120_000;
    type Cell = (TcpState, Timer, bool);
    let same = |state, timer| -> [Cell; 8] { [(state, timer, false); 8] };
    let est = |state| -> Cell { (state, Est, true) };
    // v6 SYN, v4 SYN, v6 FIN, v4 FIN, v6 RST, v4 RST, v6 other, v4 other
    let table: [(TcpState, [Cell; 8]); 7] = [
        (V6Init, {
            let mut row = same(V6Init, Tra);
            row[0] = (V6Init, Tra, true);
            row[1] = est(Established);
            row
        }),
        (V4Init, {
            let mut row = same(V4Init, Tra);
            row[0] = est(Established);
            row
        }),
        (Established, {
            let mut row = [est(Established); 8];
            row[2] = (V6FinRcv, Est, false);
            row[3] = (V4FinRcv, Est, false);
            row[4] = (Trans, Tra, true);
            row[5] = (Trans, Tra, true);
            row
        }),
        (V4FinRcv, {
            let mut row = [est(V4FinRcv); 8];
            row[2] = (V4FinV6FinRcv, Tra, true);
            row
        }),
        (V6FinRcv, {
            let mut row = [est(V6FinRcv); 8];
            row[3] = (V4FinV6FinRcv, Tra, true);
            row
        }),
        (V4FinV6FinRcv, same(V4FinV6FinRcv, Tra)),
        (Trans, {
            let mut row = [est(Established); 8];
            row[4] = (Trans, Tra, false);
            row[5] = (Trans, Tra, false);
            row
        }),
    ];
    let lifetime = |timer| if timer == Est { 7_200_000 } else { 240_000 };
    for handle_rst_during_fin_rcv in [false, true] {
        for (state, row) in table {
            for (column, mut expected) in row.into_iter().enumerate() {
                let flags = [SYN, FIN, RST, ACK][column / 2];
                if handle_rst_during_fin_rcv && flags == RST && matches!(state, V4FinRcv | V6FinRcv) {
                    expected = (state, Tra, true);
                }
                let (mut world, mask) =
                    in_state(state, PolicyConfig { handle_rst_during_fin_rcv, ..config() });
                assert_eq!(session(&world).0, state);
                world.wait(WAIT);
                match column % 2 {
                    0 => drop(world.outbound(TCP, client(1, 1), server(1, 80), flags).unwrap()),
                    _ => drop(world.inbound(TCP, server(1, 80), mask, flags).unwrap()),
                }
                let (now, timer, left) = session(&world);
                let anew = lifetime(timer) - left < 1000;
                assert_eq!((now, timer, anew), expected, "{state:?}, column {column}");
                assert!(anew || lifetime(timer) - left >= WAIT - 1000, "{state:?}, column {column}: {left}");
            }
        }
    }
}

#[test]
fn timers_end_every_state() {
    use TcpState::*;
    for (state, millis) in [
        (V6Init, 240_000),
        (V4Init, 240_000),
        (V4FinRcv, 7_200_000),
        (V6FinRcv, 7_200_000),
        (V4FinV6FinRcv, 240_000),
        (Trans, 240_000),
    ] {
        let (mut world, _) = in_state(state, config());
        world.wait(millis);
        assert!(
            world.sessions().iter().any(|session| session.remote == server(1, 80)),
            "{state:?} went early"
        );
        world.wait(2000);
        assert!(world.sessions().is_empty() && world.bib().is_empty(), "{state:?}");
        assert!(world.log.probes.is_empty());
    }
}

#[test]
fn a_silent_connection_is_probed_and_may_live_on() {
    let (mut world, mask) = in_state(TcpState::Established, config());
    world.wait(7_200_000);
    assert!(world.log.probes.is_empty());
    world.wait(2000);
    assert_eq!(world.log.probes.len(), 1);
    let probe = world.log.probes[0];
    assert_eq!((probe.client, probe.remote, probe.mask), (client(1, 1), server(1, 80), mask));
    assert_eq!(session(&world).0, TcpState::Trans);
    world.outbound(TCP, client(1, 1), server(1, 80), ACK).unwrap();
    assert_eq!(session(&world).0, TcpState::Established);
    world.wait(7_202_000);
    world.wait(242_000);
    assert!(world.sessions().is_empty() && world.bib().is_empty());
    assert_eq!(world.log.probes.len(), 2);
}
