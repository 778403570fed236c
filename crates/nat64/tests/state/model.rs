//! The tables against a small reference model, under random packets, waits and options.
//!
//! The model says what a packet must give and which state it leaves. Time it takes from the tables' own events, and
//! checks them: nothing goes before its lifetime, nothing stays two seconds after it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::support::*;
use xlat_nat64::{
    Instant, PolicyConfig, Promotion, Protocol, Refusal, SessionInfo, TcpFlags, TcpState, Timer, Transport4,
    Transport6,
};

#[derive(Clone, Debug)]
enum Step {
    Out(Protocol, u16, u8, TcpFlags),
    In(Protocol, u8, u8, TcpFlags),
    Wait(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Modelled {
    state: Option<TcpState>,
    timer: Timer,
    since: Instant,
}

type Key = (Protocol, Transport6, Transport4);

struct Model {
    config: PolicyConfig,
    bib: BTreeMap<(Protocol, Transport6), Transport4>,
    sessions: BTreeMap<Key, Modelled>,
    /// Stored SYNs of type 1: source, destination, since.
    syns: BTreeMap<Transport4, (Transport4, Instant)>,
}

const MASKS: usize = 6;
const OPENS: u32 = 2;

impl Model {
    fn lifetime(timer: Timer) -> u64 {
        match timer {
            Timer::Established => 7_200_000,
            Timer::Transitory => 240_000,
            Timer::Udp => 300_000,
            Timer::Icmp => 60_000,
            Timer::StoredSyn => 6_000,
        }
    }

    fn held(&self) -> usize {
        self.syns.len() + self.sessions.values().filter(|session| session.timer == Timer::StoredSyn).count()
    }

    fn start(&mut self, key: Key, state: Option<TcpState>, timer: Timer, now: Instant) {
        self.sessions.insert(key, Modelled { state, timer, since: now });
    }

    fn stateless(protocol: Protocol) -> Timer {
        if protocol == Protocol::Udp { Timer::Udp } else { Timer::Icmp }
    }

    fn out(
        &mut self,
        protocol: Protocol,
        from: Transport6,
        to: Transport4,
        flags: TcpFlags,
        got: Result<Transport4, Refusal>,
        now: Instant,
    ) {
        let owners = self.bib.keys().filter(|key| key.0 == protocol).count();
        let key = (protocol, from, to);
        let Some(mask) = self.bib.get(&(protocol, from)).copied() else {
            let syn = self.syns.get(&to).copied().filter(|_| protocol == Protocol::Tcp);
            let taken = |mask| self.bib.iter().any(|(key, other)| key.0 == protocol && *other == mask);
            if let Some((mask, _)) = syn.filter(|(mask, _)| !taken(*mask)) {
                assert_eq!(got, Ok(mask), "claims the stored SYN");
                self.syns.remove(&to);
                self.bib.insert((protocol, from), mask);
                match flags.syn {
                    true => self.start(key, Some(TcpState::Established), Timer::Established, now),
                    false => self.start(key, Some(TcpState::V4Init), Timer::StoredSyn, now),
                }
            } else if protocol == Protocol::Tcp && !flags.syn {
                assert_eq!(got, Err(Refusal::Syn6Expected));
            } else if owners == MASKS {
                assert_eq!(got, Err(Refusal::PoolExhausted));
            } else {
                let mask = got.expect("a mask is left");
                assert!(!taken(mask), "two owners of {mask}");
                self.bib.insert((protocol, from), mask);
                match protocol {
                    Protocol::Tcp => self.start(key, Some(TcpState::V6Init), Timer::Transitory, now),
                    _ => self.start(key, None, Self::stateless(protocol), now),
                }
            }
            return;
        };
        assert_eq!(got, Ok(mask));
        match (protocol, self.sessions.get(&key).copied()) {
            (Protocol::Tcp, Some(session)) => self.tcp(key, session, true, flags, now),
            (Protocol::Tcp, None) if flags.syn => {
                self.start(key, Some(TcpState::V6Init), Timer::Transitory, now);
            }
            (Protocol::Tcp, None) => {}
            _ => self.start(key, None, Self::stateless(protocol), now),
        }
    }

    fn inward(
        &mut self,
        protocol: Protocol,
        from: Transport4,
        to: Transport4,
        flags: TcpFlags,
        got: Result<Transport6, Refusal>,
        now: Instant,
    ) {
        let owner = self.bib.iter().find(|(key, mask)| key.0 == protocol && **mask == to);
        let Some(((_, client), _)) = owner else {
            let expected = match protocol {
                Protocol::Udp | Protocol::Icmp => Refusal::Bib4NotFound,
                Protocol::Tcp if !flags.syn => Refusal::Syn4Expected,
                Protocol::Tcp if self.config.drop_externally_initiated_tcp => Refusal::V4Syn,
                Protocol::Tcp if self.syns.contains_key(&from) => Refusal::SoExists,
                Protocol::Tcp if self.held() >= OPENS as usize => Refusal::SoFull,
                Protocol::Tcp => {
                    self.syns.insert(from, (to, now));
                    Refusal::SynStored
                }
            };
            assert_eq!(got, Err(expected));
            return;
        };
        let client = *client;
        let key = (protocol, client, from);
        let filters = self.config.address_dependent_filtering;
        match (protocol, self.sessions.get(&key).copied()) {
            (Protocol::Tcp, Some(session)) if session.timer == Timer::StoredSyn => {
                assert_eq!(got, Err(Refusal::SoExists));
            }
            (Protocol::Tcp, Some(session)) => {
                assert_eq!(got, Ok(client));
                self.tcp(key, session, false, flags, now);
            }
            (Protocol::Tcp, None) if !flags.syn => assert_eq!(got, Ok(client)),
            (Protocol::Tcp, None) if self.config.drop_externally_initiated_tcp => {
                assert_eq!(got, Err(Refusal::V4Syn));
            }
            (Protocol::Tcp, None) if filters && self.held() >= OPENS as usize => {
                assert_eq!(got, Err(Refusal::SoFull));
            }
            (Protocol::Tcp, None) if filters => {
                assert_eq!(got, Err(Refusal::SynStoredFiltered));
                self.start(key, Some(TcpState::V4Init), Timer::StoredSyn, now);
            }
            (Protocol::Tcp, None) => {
                assert_eq!(got, Ok(client));
                self.start(key, Some(TcpState::V4Init), Timer::Transitory, now);
            }
            (_, None)
                if filters
                    && !self
                        .sessions
                        .keys()
                        .any(|other| (other.0, other.1, other.2.addr) == (protocol, client, from.addr)) =>
            {
                assert_eq!(got, Err(Refusal::AddressDependentFiltering));
            }
            _ => {
                assert_eq!(got, Ok(client));
                self.start(key, None, Self::stateless(protocol), now);
            }
        }
    }

    /// RFC 6146 3.5.2.2, written from the prose rather than from the table.
    fn tcp(&mut self, key: Key, old: Modelled, v6: bool, flags: TcpFlags, now: Instant) {
        use TcpState::*;
        let est = Some(Timer::Established);
        let trans = Some(Timer::Transitory);
        let state = old.state.expect("TCP has a state");
        let (state, timer) = match state {
            V6Init if flags.syn => {
                if v6 {
                    (V6Init, trans)
                } else {
                    (Established, est)
                }
            }
            V4Init if flags.syn && v6 => (Established, est),
            V6Init | V4Init | V4FinV6FinRcv => (state, None),
            Established if flags.fin => (if v6 { V6FinRcv } else { V4FinRcv }, None),
            Established if flags.rst => (Trans, trans),
            Established => (Established, est),
            V4FinRcv if flags.fin && v6 => (V4FinV6FinRcv, trans),
            V6FinRcv if flags.fin && !v6 => (V4FinV6FinRcv, trans),
            V4FinRcv | V6FinRcv if flags.rst && !flags.fin && self.config.handle_rst_during_fin_rcv => {
                (state, trans)
            }
            V4FinRcv | V6FinRcv => (state, est),
            Trans if flags.rst => (Trans, None),
            Trans => (Established, est),
        };
        let session = self.sessions.get_mut(&key).expect("modelled");
        session.state = Some(state);
        if let Some(timer) = timer {
            (session.timer, session.since) = (timer, now);
        }
    }

    /// Takes over what time did, if it was allowed to.
    fn elapse(&mut self, log: Log, now: Instant) {
        let due = |session: &Modelled| now.0 - session.since.0 >= Self::lifetime(session.timer);
        let key = |session: &SessionInfo| {
            let icmp = session.protocol == Protocol::Icmp;
            let port = if icmp { 0 } else { session.remote.port };
            (session.protocol, session.client, Transport4 { port, ..session.remote })
        };
        for probe in &log.probes {
            let session = self.sessions.get_mut(&key(probe)).expect("modelled");
            assert!(
                due(session)
                    && (session.state, session.timer) == (Some(TcpState::Established), Timer::Established)
            );
            *session = Modelled { state: Some(TcpState::Trans), timer: Timer::Transitory, since: now };
        }
        for removed in &log.session_removed {
            let session = self.sessions.remove(&key(removed)).expect("modelled");
            assert!(due(&session), "{session:?} went early, at {now:?}");
        }
        for removed in &log.bib_removed {
            assert!(self.bib.remove(&(removed.protocol, removed.client)).is_some());
            assert!(!self.sessions.keys().any(|key| (key.0, key.1) == (removed.protocol, removed.client)));
        }
        let before = self.syns.len();
        let answered = |(from, to): (&Transport4, &(Transport4, Instant))| {
            log.syns_expired.contains(&format!("{from} to {}", to.0).into_bytes())
        };
        self.syns.retain(|from, to| !(now.0 - to.1.0 >= 6000 && answered((from, to))));
        assert!(before - self.syns.len() <= log.syns_expired.len());
        let overdue = |session: &Modelled| now.0 - session.since.0 > Self::lifetime(session.timer) + 2000;
        assert!(!self.sessions.values().any(overdue), "overdue at {now:?}: {:?}", self.sessions);
        assert!(self.syns.values().all(|syn| now.0 - syn.1.0 <= 8000));
    }

    fn compare(&self, world: &World) {
        let mut sessions = BTreeMap::new();
        for info in world.sessions() {
            let port = if info.protocol == Protocol::Icmp { 0 } else { info.remote.port };
            let key = (info.protocol, info.client, Transport4 { port, ..info.remote });
            sessions.insert(key, (info.state, info.timer));
        }
        let expected: BTreeMap<_, _> =
            self.sessions.iter().map(|(key, session)| (*key, (session.state, session.timer))).collect();
        assert_eq!(sessions, expected);
        let bib: BTreeMap<_, _> =
            world.bib().iter().map(|entry| ((entry.protocol, entry.client), entry.mask)).collect();
        assert_eq!(bib, self.bib);
        assert_eq!(world.tables.gauges().stored_syns as usize, self.held());
        check(&world.tables, &world.policy);
    }
}

fn fresh_log() -> Log {
    Log { takes: true, silent: true, ..Log::default() }
}

fn step() -> impl Strategy<Value = Step> {
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    let flags = prop_oneof![
        4 => Just(SYN), 3 => Just(ACK), 2 => Just(FIN), 1 => Just(RST),
        1 => any::<[bool; 3]>().prop_map(|[syn, fin, rst]| TcpFlags { syn, fin, rst }),
    ];
    let out = (protocol.clone(), 0u16..8, 0u8..4, flags.clone());
    let inward = (protocol, 0u8..4, 0u8..MASKS as u8, flags);
    let wait = prop_oneof![
        0u64..10_000,
        prop::sample::select(vec![1000, 6000, 60_000, 240_000, 300_000, 7_200_000]),
        0u64..8_000_000,
    ];
    prop_oneof![
        6 => out.prop_map(|(protocol, n, to, flags)| Step::Out(protocol, n, to, flags)),
        6 => inward.prop_map(|(protocol, n, to, flags)| Step::In(protocol, n, to, flags)),
        2 => wait.prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_tables_do_what_the_model_does(
        steps in prop::collection::vec(step(), 1..120),
        options in any::<[bool; 3]>(),
        promotes: bool,
    ) {
        let config = PolicyConfig {
            pool4: pool("192.0.2.0/31", 5, 7),
            address_dependent_filtering: options[0],
            drop_externally_initiated_tcp: options[1],
            handle_rst_during_fin_rcv: options[2],
            maximum_simultaneous_opens: OPENS,
            // A faster path that sees nothing changes nothing.
            promotion: Promotion { protocols: [promotes; 3], tag: 0 },
            ..PolicyConfig::default()
        };
        let mut world = World::new(config.clone());
        world.log = fresh_log();
        let mut model =
            Model { config, bib: BTreeMap::new(), sessions: BTreeMap::new(), syns: BTreeMap::new() };
        for step in steps {
            match step {
                Step::Out(protocol, n, to, flags) => {
                    let port = if protocol == Protocol::Icmp { 0 } else { u16::from(to % 2) };
                    let (from, to) = (client(n / 2, n % 2), server(to / 2, port));
                    let got = world.outbound(protocol, from, to, flags);
                    model.out(protocol, from, to, flags, got, world.now);
                }
                Step::In(protocol, from, to, flags) => {
                    let port = if protocol == Protocol::Icmp { 0 } else { u16::from(from % 2) };
                    let (from, to) = (server(from / 2, port), mask(to / 3, 5 + u16::from(to % 3)));
                    let got = world.inbound(protocol, from, to, flags);
                    model.inward(protocol, from, to, flags, got, world.now);
                }
                Step::Wait(millis) => {
                    world.log = fresh_log();
                    world.wait(millis);
                    model.elapse(core::mem::take(&mut world.log), world.now);
                }
            }
            model.compare(&world);
        }
    }
}
