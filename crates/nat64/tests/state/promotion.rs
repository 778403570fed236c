//! Promotion to a faster path, and ageing of what that path sees: RFC 6146's lifetimes hold wherever the packets went.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::support::*;
use xlat_nat64::{
    Instant, PolicyConfig, Promotion, Protocol, SessionInfo, StaticEntry, TcpState, Timer, Transport4,
    Transport6,
};

const PROMOTION: Promotion = Promotion { protocols: [true; 3], tag: 0 };

fn promoting() -> World {
    world(PolicyConfig { promotion: PROMOTION, ..config() })
}

fn world(config: PolicyConfig) -> World {
    let mut world = World::new(config);
    world.log.takes = true;
    world
}

/// An established connection, not promoted yet; gives the mask.
fn connect(world: &mut World, from: Transport6, to: Transport4) -> Transport4 {
    let mask = world.outbound(Protocol::Tcp, from, to, SYN).unwrap();
    world.inbound(Protocol::Tcp, to, mask, SYN).unwrap();
    assert!(world.log.promoted.is_empty());
    mask
}

fn key(session: &SessionInfo) -> (Protocol, Transport6, Transport4) {
    (session.protocol, session.client, session.remote)
}

impl World {
    fn used(&mut self, session: &SessionInfo, last: Option<Instant>) {
        self.tables.used(&self.policy, key(session), last, self.now, &mut self.log);
    }
}

#[test]
fn tcp_is_promoted_after_the_handshake_and_taken_back_when_it_closes() {
    let mut world = promoting();
    let (from, to) = (client(1, 5000), server(1, 80));
    let mask = connect(&mut world, from, to);
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    let (promoted, mark) = world.log.promoted[0];
    assert_eq!((key(&promoted), promoted.mask, mark), ((Protocol::Tcp, from, to), mask, 0));
    assert!(world.sessions()[0].promoted);
    // Packets that were under way are no reason to tell again; one a second later is.
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    assert_eq!(world.log.promoted.len(), 1);
    world.wait(1300);
    world.inbound(Protocol::Tcp, to, mask, ACK).unwrap();
    assert_eq!(world.log.promoted.len(), 2);
    // One side has finished: the other may go on for long.
    world.outbound(Protocol::Tcp, from, to, FIN).unwrap();
    assert!(world.log.demoted.is_empty());
    world.inbound(Protocol::Tcp, to, mask, FIN).unwrap();
    assert_eq!(world.log.demoted.len(), 1);
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    assert_eq!(world.log.promoted.len(), 2, "closing");
    assert!(!world.sessions()[0].promoted);
}

#[test]
fn a_reset_takes_back_and_a_packet_after_it_promotes_anew() {
    let mut world = promoting();
    let (from, to) = (client(1, 5000), server(1, 80));
    connect(&mut world, from, to);
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    world.outbound(Protocol::Tcp, from, to, RST).unwrap();
    assert_eq!(world.log.demoted.len(), 1);
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    assert_eq!(world.log.promoted.len(), 2);
    assert_eq!(world.sessions()[0].state, Some(TcpState::Established));
}

#[test]
fn datagrams_are_promoted_after_some_traffic() {
    let mut world = promoting();
    for protocol in [Protocol::Udp, Protocol::Icmp] {
        let (from, to) = (client(1, 5000), server(1, 53));
        let mask = world.outbound(protocol, from, to, ACK).unwrap();
        world.inbound(protocol, to, mask, ACK).unwrap();
        assert!(world.log.promoted.is_empty(), "a question and its answer");
        world.outbound(protocol, from, to, ACK).unwrap();
        assert_eq!(world.log.promoted.len(), 1, "{protocol}");
        let one_way = client(2, 5000);
        for _ in 0..3 {
            world.outbound(protocol, one_way, to, ACK).unwrap();
        }
        assert_eq!(world.log.promoted.len(), 1);
        world.outbound(protocol, one_way, to, ACK).unwrap();
        assert_eq!(world.log.promoted.len(), 2);
        world.log.promoted.clear();
    }
}

#[test]
fn refused_promotions_are_tried_again() {
    let mut world = promoting();
    world.log.takes = false;
    for _ in 0..9 {
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    }
    assert!(!world.sessions()[0].promoted);
    world.log.takes = true;
    world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    assert!(world.sessions()[0].promoted);
}

#[test]
fn a_mark_is_known_from_the_client_only() {
    let mut line = pool("192.0.2.1/32", 1, 9);
    line.iter_mut().for_each(|line| line.mark = 7);
    let mut world = world(PolicyConfig { pool4: line, promotion: PROMOTION, ..config() });
    let (from, to) = (client(1, 1), server(1, 1));
    let packet = xlat_nat64::Outbound { protocol: Protocol::Udp, src: from, dst: to, mark: 7, tcp: ACK };
    let mask = world.tables.outbound(&world.policy, &packet, world.now, &mut world.log).unwrap();
    for _ in 0..9 {
        world.inbound(Protocol::Udp, to, mask, ACK).unwrap();
    }
    assert!(world.log.promoted.is_empty());
    world.tables.outbound(&world.policy, &packet, world.now, &mut world.log).unwrap();
    assert_eq!(world.log.promoted[0].1, 7);
}

#[test]
fn clients_that_talk_to_each_other_are_not_promoted() {
    let mut world = promoting();
    let (one, other) = (client(1, 1), client(2, 2));
    let masks = [one, other].map(|from| world.outbound(Protocol::Udp, from, server(1, 1), ACK).unwrap());
    for _ in 0..9 {
        world.outbound(Protocol::Udp, one, masks[1], ACK).unwrap();
        world.inbound(Protocol::Udp, masks[0], masks[1], ACK).unwrap();
    }
    assert!(world.log.promoted.is_empty(), "{:?}", world.log.promoted);
}

#[test]
fn an_idle_connection_is_probed_only_when_both_paths_were_silent() {
    let mut world = promoting();
    let (from, to) = (client(1, 5000), server(1, 80));
    connect(&mut world, from, to);
    world.outbound(Protocol::Tcp, from, to, ACK).unwrap();
    let promoted = world.log.promoted[0].0;
    world.wait(7_200_000 + 1500);
    assert_eq!((world.log.idle.len(), world.log.probes.len()), (1, 0));
    let used = Instant(world.now.0 - 3_600_000);
    world.used(&promoted, Some(used));
    let left = world.sessions()[0].expires_in;
    assert!(left >= Duration::from_secs(3590) && left <= Duration::from_secs(3620), "{left:?}");
    // Nothing more: asked about some times, and probed an hour later.
    let end = Instant(used.0 + 7_200_000);
    while world.now < end {
        assert!(world.log.probes.is_empty(), "at {:?}, before {end:?}", world.now);
        world.wait(500);
        for asked in std::mem::take(&mut world.log.idle) {
            world.used(&asked, Some(used));
        }
    }
    world.wait(600);
    assert_eq!(world.log.probes.len(), 1);
    assert_eq!(world.log.demoted.len(), 1);
    assert_eq!(world.sessions()[0].state, Some(TcpState::Trans));
}

#[test]
fn no_answer_is_an_answer_after_three_questions() {
    let mut world = promoting();
    for _ in 0..4 {
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(world.log.session_removed.len(), 0);
        world.wait(301_500);
    }
    world.wait(2500);
    assert_eq!(world.log.idle.len(), 3);
    assert_eq!((world.log.session_removed.len(), world.log.demoted.len()), (1, 1));
}

#[test]
fn what_the_faster_path_has_lost_is_promoted_again() {
    let mut world = promoting();
    for _ in 0..4 {
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    }
    let promoted = world.log.promoted[0].0;
    world.wait(301_500);
    world.used(&promoted, None);
    assert!(!world.sessions()[0].promoted);
    world.wait(290_000);
    assert_eq!(world.log.session_removed.len(), 0, "what it saw last is not known");
    world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    assert_eq!(world.log.promoted.len(), 2);
    // Late and foolish answers are ignored.
    world.used(&promoted, Some(Instant(0)));
    world.used(&SessionInfo { client: client(9, 9), ..promoted }, None);
    world.wait(1000);
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn a_change_of_the_rules_takes_everything_back() {
    let changes = [
        PolicyConfig { promotion: Promotion { tag: 1, ..PROMOTION }, ..config() },
        PolicyConfig { promotion: Promotion::default(), ..config() },
        PolicyConfig { promotion: PROMOTION, pool4: pool("192.0.2.0/31", 1000, 1999), ..config() },
        PolicyConfig { promotion: PROMOTION, pool4: pool("192.0.2.7/32", 1000, 1999), ..config() },
        PolicyConfig {
            promotion: PROMOTION,
            static_bib: vec![StaticEntry {
                protocol: Protocol::Tcp,
                client: client(9, 9),
                mask: mask(1, 1000),
            }],
            ..config()
        },
    ];
    for change in changes {
        let mut world = promoting();
        for n in 0..40 {
            for to in 0..3 {
                for _ in 0..4 {
                    world.outbound(Protocol::Udp, client(n, 1), server(to, 1), ACK).unwrap();
                }
            }
        }
        let same = world.policy.config().clone();
        world.reload(PolicyConfig { f_args: 3, ..same });
        assert_eq!((world.log.promoted.len(), world.log.demoted.len()), (120, 0));
        world.reload(change);
        assert_eq!(world.log.demoted.len(), 120);
        assert!(world.sessions().iter().all(|session| !session.promoted));
    }
}

#[test]
fn shorter_lifetimes_count_at_once() {
    let mut world = promoting();
    for _ in 0..4 {
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    }
    let promoted = world.log.promoted[0].0;
    world.wait(301_500);
    world.used(&promoted, Some(world.now));
    let same = world.policy.config().clone();
    world.reload(PolicyConfig { udp_timeout: Duration::from_secs(120), ..same });
    assert_eq!(world.log.idle.len(), 2, "asked again at once");
    world.used(&promoted, Some(world.now));
    world.wait(60_000);
    world.wait(60_500);
    assert_eq!(world.log.idle.len(), 3, "within the step: {:?}", world.sessions());
}

#[test]
fn what_goes_for_good_promotes_no_more() {
    let mut world = promoting();
    for n in 1..3 {
        for _ in 0..4 {
            world.outbound(Protocol::Udp, client(n, 1), server(1, 1), ACK).unwrap();
        }
    }
    world.tables.retire(&world.policy, &mut world.log);
    assert_eq!((world.log.demoted.len(), world.log.ports.len()), (2, 0));
    for _ in 0..4 {
        world.outbound(Protocol::Udp, client(1, 1), server(1, 1), ACK).unwrap();
    }
    assert_eq!(world.log.promoted.len(), 2, "a worker that has not heard of it yet");
    world.tables.announce(&world.policy, &mut world.log);
    assert_eq!(world.log.ports.len(), 2);
}

#[test]
fn ports_are_told_as_they_are_taken_and_freed() {
    let mut world = promoting();
    let told = |world: &World| {
        let bib = world.bib().iter().map(|entry| (entry.protocol, entry.mask)).collect();
        assert_eq!(world.log.ports, bib);
    };
    for n in 0..50 {
        let protocol = Protocol::ALL[usize::from(n) % 3];
        world.outbound(protocol, client(n, 1), server(1, 1), SYN).unwrap();
    }
    told(&world);
    // One entry loses its mask to the administrator's.
    let taken = world.bib().iter().find(|entry| entry.protocol == Protocol::Udp).unwrap().mask;
    let fixed = StaticEntry { protocol: Protocol::Udp, client: client(99, 9), mask: taken };
    let with = PolicyConfig { static_bib: vec![fixed], ..world.policy.config().clone() };
    world.reload(with.clone());
    told(&world);
    world.reload(PolicyConfig { static_bib: Vec::new(), pool4: pool("192.0.2.1/32", 1000, 1020), ..with });
    told(&world);
    world.wait(500_000);
    told(&world);
    let moved = PolicyConfig { pool4: pool("192.0.2.2/32", 1, 9), ..world.policy.config().clone() };
    world.outbound(Protocol::Udp, client(1, 1), server(1, 1), SYN).unwrap();
    world.reload(moved);
    assert!(world.log.ports.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    /// Packets on this path.
    Slow(u16, u8),
    /// A packet on the faster path, if it has the session.
    Fast(u16),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u16..4, 1u8..6).prop_map(|(n, times)| Step::Slow(n, times)),
        4 => (0u16..4).prop_map(Step::Fast),
        4 => prop_oneof![0u32..3000, 0u32..140_000].prop_map(Step::Wait),
    ]
}

const LIFETIME: u64 = 120_000;

/// The faster path: what it has, and when it last saw a packet of it. It says so in seconds.
#[derive(Default)]
struct Path {
    flows: BTreeMap<Transport6, u64>,
    questions: Vec<SessionInfo>,
}

impl Path {
    fn take(&mut self, log: &mut Log, now: Instant) {
        // The order of one session's events is lost in these lists: they are read after every step.
        for gone in log.demoted.drain(..) {
            assert!(self.flows.remove(&gone.client).is_some(), "taken back without having been given");
        }
        for (new, _) in log.promoted.drain(..) {
            self.flows.insert(new.client, now.0);
        }
        self.questions.append(&mut log.idle);
    }

    fn answer(&mut self, world: &mut World) {
        for question in self.questions.drain(..) {
            // Some time within the second.
            let used = self.flows.get(&question.client).map(|used| Instant((used / 1000 + 1) * 1000));
            world.used(&question, used);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Wherever the packets of a session went, it lives as long as its lifetime after the last one, and not much longer.
    #[test]
    fn lifetimes_hold_on_both_paths(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = world(PolicyConfig {
            promotion: PROMOTION,
            udp_timeout: Duration::from_millis(LIFETIME),
            ..config()
        });
        let mut path = Path::default();
        // When a packet last kept a session alive, and when one last did or may have done so.
        let mut last: BTreeMap<Transport6, (u64, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Slow(n, times) => {
                    for _ in 0..times {
                        world.outbound(Protocol::Udp, client(n, 1), server(1, 1), ACK).unwrap();
                        path.take(&mut world.log, world.now);
                    }
                    last.insert(client(n, 1), (world.now.0, world.now.0));
                }
                Step::Fast(n) => {
                    if let Some(used) = path.flows.get_mut(&client(n, 1)) {
                        let now = world.now.0;
                        *used = now;
                        let (alive, maybe) = last.get_mut(&client(n, 1)).unwrap();
                        *maybe = now;
                        // One that comes later than that may find the end decided upon.
                        if now - *alive < LIFETIME {
                            *alive = now;
                        }
                    }
                }
                Step::Wait(millis) => {
                    for _ in 0..millis / 200 {
                        world.wait(200);
                        for gone in std::mem::take(&mut world.log.session_removed) {
                            let silent = world.now.0 - last.remove(&gone.client).unwrap().0;
                            prop_assert!(silent >= LIFETIME, "ended after {silent} ms");
                        }
                        // Answers take a moment, in which a packet may come.
                        path.answer(&mut world);
                        path.take(&mut world.log, world.now);
                        for (from, (_, used)) in &last {
                            let silent = world.now.0 - used;
                            prop_assert!(silent <= LIFETIME + 2500, "{from} lives on after {silent} ms");
                        }
                    }
                }
            }
            let promoted = world.sessions().iter().filter(|session| session.promoted).count();
            prop_assert_eq!(promoted, path.flows.len());
            prop_assert!(world.sessions().iter().all(|session| session.timer == Timer::Udp));
            check(&world.tables, &world.policy);
        }
    }
}
