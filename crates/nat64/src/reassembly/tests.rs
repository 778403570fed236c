//! Tests of virtual reassembly.

use proptest::prelude::*;

use super::*;

const KEY: FragmentKey = FragmentKey::V4 {
    src: Ipv4Addr::new(203, 0, 113, 16),
    dst: Ipv4Addr::new(192, 0, 2, 1),
    id: 7,
    protocol: 17,
};

fn new(limits: ReassemblyLimits) -> Reassembly {
    Reassembly::new(limits, [3; 16])
}

fn first(hold_until_complete: bool) -> Option<FirstFragment> {
    Some(FirstFragment { src_port: 53, dst_port: 4000, hold_until_complete })
}

/// A fragment whose bytes are its offset and payload length.
fn fragment(start: u16, end: u16, more: bool, hold: bool, bytes: &[u8]) -> Fragment<'_> {
    Fragment {
        key: KEY,
        offset: start,
        more,
        payload_len: usize::from(end - start),
        bytes,
        first: first(hold).filter(|_| start == 0),
    }
}

#[test]
fn later_fragments_wait_for_the_first() {
    let reassembly = new(ReassemblyLimits::default());
    let arrive =
        |start, end, more, bytes| reassembly.arrive(fragment(start, end, more, false, bytes), Instant(0));
    assert_eq!(arrive(16, 20, false, b"c"), Ok(Arrival::Held));
    assert_eq!(arrive(8, 16, true, b"b"), Ok(Arrival::Held));
    let released = vec![b"b"[..].into(), b"c"[..].into()];
    assert_eq!(arrive(0, 8, true, b"a"), Ok(Arrival::Pass { ports: (53, 4000), released }));
    assert_eq!(reassembly.gauges(), ReassemblyGauges::default(), "a complete datagram is forgotten");
}

#[test]
fn contradictions_discard_the_datagram() {
    for (fragments, refusal) in [
        (&[(8, 24, true), (16, 32, true)][..], FragmentRefusal::Overlap),
        (&[(8, 24, true), (8, 24, true)], FragmentRefusal::Overlap),
        (&[(16, 24, true), (8, 20, false)], FragmentRefusal::Overlap),
        (&[(32, 40, true), (8, 20, false)], FragmentRefusal::Inconsistent),
        (&[(8, 20, false), (24, 32, true)], FragmentRefusal::Inconsistent),
        (&[(8, 20, false), (16, 18, false)], FragmentRefusal::Inconsistent),
    ] {
        let reassembly = new(ReassemblyLimits::default());
        let arrive = |&(start, end, more): &(u16, u16, bool)| {
            reassembly.arrive(fragment(start, end, more, false, &[0; 40]), Instant(0))
        };
        assert_eq!(arrive(&fragments[0]), Ok(Arrival::Held), "{fragments:?}");
        assert_eq!(arrive(&fragments[1]), Err(refusal), "{fragments:?}");
        assert_eq!(arrive(&(0, 8, true)), Err(FragmentRefusal::DatagramRefused), "{fragments:?}");
        assert_eq!(reassembly.gauges(), ReassemblyGauges { datagrams: 1, bytes: 0 });
        reassembly.expire(Instant(10_000), &mut |_, _| panic!("nothing was held any more"));
        assert_eq!(arrive(&(8, 16, true)), Ok(Arrival::Held), "forgotten after the timeout");
    }
}

#[test]
fn malformed_fragments() {
    let reassembly = new(ReassemblyLimits::default());
    let headless = Fragment { first: None, ..fragment(0, 8, true, false, b"") };
    for bad in [
        fragment(8, 8, false, false, b""),
        fragment(8, 15, true, false, b""),
        fragment(9, 17, true, false, b""),
        Fragment { payload_len: 65_536, ..fragment(8, 16, false, false, b"") },
        Fragment { payload_len: usize::MAX, ..fragment(8, 16, false, false, b"") },
        headless,
    ] {
        assert_eq!(reassembly.arrive(bad, Instant(0)), Err(FragmentRefusal::Malformed));
    }
    assert_eq!(reassembly.gauges().datagrams, 0);
}

#[test]
fn an_atomic_fragment_stands_alone() {
    let reassembly = new(ReassemblyLimits::default());
    assert_eq!(reassembly.arrive(fragment(8, 16, true, false, b"x"), Instant(0)), Ok(Arrival::Held));
    let atomic = reassembly.arrive(fragment(0, 20, false, false, b"y"), Instant(0));
    assert_eq!(atomic, Ok(Arrival::Pass { ports: (53, 4000), released: Vec::new() }));
    assert_eq!(reassembly.gauges().datagrams, 1);
}

#[test]
fn the_rest_of_a_refused_datagram_is_refused() {
    let reassembly = new(ReassemblyLimits::default());
    assert!(matches!(
        reassembly.arrive(fragment(0, 8, true, false, b"a"), Instant(0)),
        Ok(Arrival::Pass { .. })
    ));
    reassembly.refuse(&KEY);
    let later = reassembly.arrive(fragment(8, 16, false, false, b"b"), Instant(0));
    assert_eq!(later, Err(FragmentRefusal::DatagramRefused));
}

#[test]
fn timeouts_tell_of_what_was_held() {
    let reassembly = new(ReassemblyLimits { timeout: Duration::ZERO, ..ReassemblyLimits::default() });
    let held = reassembly.arrive(fragment(0, 8, true, true, b"first"), Instant(5000));
    assert_eq!(held, Ok(Arrival::Held));
    reassembly.expire(Instant(6999), &mut |_, _| panic!("less than two seconds"));
    reassembly.expire(Instant(0), &mut |_, _| panic!("the clock went backwards"));
    let mut told = Vec::new();
    reassembly.expire(Instant(7000), &mut |refusal, first| told.push((refusal, first.map(<[u8]>::to_vec))));
    assert_eq!(told, [(FragmentRefusal::Timeout, Some(b"first".to_vec()))]);
    assert_eq!(reassembly.gauges(), ReassemblyGauges::default());
}

#[test]
fn bounds_hold() {
    let limits = ReassemblyLimits {
        datagrams: 4 * PARTS,
        bytes: 100 * PARTS,
        source_datagrams: 2,
        source_bytes: 60,
        pieces: 3,
        timeout: Duration::from_secs(2),
    };
    let keyed = |host: u8, id: u16| FragmentKey::V4 {
        src: Ipv4Addr::new(203, 0, 113, host),
        dst: Ipv4Addr::new(192, 0, 2, 1),
        id,
        protocol: 17,
    };
    let arrive = |reassembly: &Reassembly, key, start, len: usize| {
        reassembly
            .arrive(Fragment { key, ..fragment(start, start + 8, true, false, &[0; 64][..len]) }, Instant(0))
    };
    let reassembly = new(limits);
    assert_eq!(arrive(&reassembly, keyed(1, 1), 8, 60), Ok(Arrival::Held));
    assert_eq!(arrive(&reassembly, keyed(1, 2), 8, 1), Err(FragmentRefusal::SourceBytes));
    assert_eq!(arrive(&reassembly, keyed(1, 3), 8, 1), Err(FragmentRefusal::SourceDatagrams));
    let reassembly = new(limits);
    for start in [8, 24, 40] {
        assert_eq!(arrive(&reassembly, keyed(1, 1), start, 1), Ok(Arrival::Held));
    }
    assert_eq!(arrive(&reassembly, keyed(1, 1), 56, 1), Err(FragmentRefusal::TooManyPieces));
    let reassembly = new(limits);
    let refusals: Vec<_> =
        (0..=255).filter_map(|host| arrive(&reassembly, keyed(host, 1), 8, 1).err()).collect();
    assert!(refusals.len() >= 256 - 4 * PARTS);
    assert!(refusals.iter().all(|refusal| *refusal == FragmentRefusal::TooManyDatagrams));
    let reassembly = new(limits);
    let refusals: Vec<_> =
        (0..=255).filter_map(|host| arrive(&reassembly, keyed(host, 1), 8, 60).err()).collect();
    assert!(refusals.contains(&FragmentRefusal::TooManyBytes));
    assert!(reassembly.gauges().bytes <= limits.bytes);
}

proptest! {
    /// Any order of the fragments of any datagram: each fragment leaves exactly once, none before the ports are
    /// known, held ones by offset, and nothing is left behind.
    #[test]
    fn any_permutation_leaves_exactly_once(
        (cuts, order) in prop::collection::btree_set(1u16..200, 1..20)
            .prop_flat_map(|cuts| {
                let pieces: Vec<usize> = (0..=cuts.len()).collect();
                (Just(cuts), Just(pieces).prop_shuffle())
            }),
        hold in any::<bool>(),
    ) {
        let reassembly = new(ReassemblyLimits::default());
        let mut edges = vec![0];
        edges.extend(cuts.iter().map(|cut| cut * 8));
        edges.push(1603);
        let last = cuts.len();
        let mut left: Vec<u8> = Vec::new();
        for (arrived, piece) in order.iter().enumerate() {
            let bytes = [*piece as u8];
            let sent = fragment(edges[*piece], edges[*piece + 1], *piece != last, hold, &bytes);
            let first_known = order[..=arrived].contains(&0);
            match reassembly.arrive(sent, Instant(arrived as u64)) {
                Ok(Arrival::Held) => prop_assert!(!first_known || hold),
                Ok(Arrival::Pass { ports, released }) => {
                    prop_assert!(first_known && !hold && ports == (53, 4000));
                    prop_assert!(released.is_sorted());
                    left.push(bytes[0]);
                    left.extend(released.iter().map(|packet| packet[0]));
                }
                Ok(Arrival::Complete { ports, total_len, packets }) => {
                    prop_assert!(hold && arrived == last && ports == (53, 4000) && total_len == 1603);
                    prop_assert!(packets.is_sorted());
                    left.extend(packets.iter().map(|packet| packet[0]));
                }
                Err(refusal) => prop_assert!(false, "{refusal}"),
            }
        }
        left.sort_unstable();
        prop_assert_eq!(left, (0..=last as u8).collect::<Vec<_>>());
        prop_assert_eq!(reassembly.gauges(), ReassemblyGauges::default());
    }
}
