//! Looking ahead is a hint: whatever it is asked for, nothing changes.

use crate::support::*;
use xlat_nat64::{Coming, PolicyConfig, Protocol};

/// More than the tables take for small.
const FLOWS: u16 = 20_000;

#[test]
fn looking_ahead_changes_nothing() {
    let mut world = World::new(PolicyConfig { pool4: pool("192.0.2.1/32", 1, 65_535), ..config() });
    let opened: Vec<_> = (0..FLOWS)
        .map(|n| world.outbound(Protocol::Udp, client(n, 7), server(1, 53), ACK).unwrap())
        .collect();
    let (before, created) = (world.tables.gauges(), world.log.session_created.len());
    // Live, unknown, of another protocol, outside the pool; more than are looked at together.
    let coming: Vec<_> = (0..FLOWS)
        .step_by(50)
        .flat_map(|n| {
            Protocol::ALL.map(|protocol| {
                [
                    Coming::From6(protocol, client(n, 7)),
                    Coming::From6(protocol, client(n, 8)),
                    Coming::To4(protocol, opened[usize::from(n)]),
                    Coming::To4(protocol, mask(2, n)),
                    Coming::To4(protocol, server(1, n)),
                ]
            })
        })
        .flatten()
        .collect();
    world.tables.look_ahead(&world.policy, &coming);
    world.tables.look_ahead(&world.policy, &[]);
    assert_eq!(world.tables.gauges(), before);
    assert_eq!(world.log.session_created.len(), created);
    for n in (0..FLOWS).step_by(999) {
        let again = world.outbound(Protocol::Udp, client(n, 7), server(1, 53), ACK);
        assert_eq!(again, Ok(opened[usize::from(n)]));
    }
}
