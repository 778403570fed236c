//! What the tests of the tables share: short constructors, a recorder of events, and the invariants that hold at any
//! time.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code, though not in test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_nat64::{
    BibInfo, Cursor, Events, Inbound, Instant, Outbound, Policy, PolicyConfig, Pool4Entry, Protocol, Refusal,
    SessionInfo, Tables, TcpFlags, Transport4, Transport6,
};

pub(crate) const SECRET: [u8; 16] = *b"0123456789abcdef";
pub(crate) const SYN: TcpFlags = TcpFlags { syn: true, fin: false, rst: false };
pub(crate) const FIN: TcpFlags = TcpFlags { syn: false, fin: true, rst: false };
pub(crate) const RST: TcpFlags = TcpFlags { syn: false, fin: false, rst: true };
pub(crate) const ACK: TcpFlags = TcpFlags { syn: false, fin: false, rst: false };

/// The n-th IPv6 client, with a port.
pub(crate) fn client(n: u16, port: u16) -> Transport6 {
    Transport6 { addr: Ipv6Addr::new(0x2001, 0xdb8, 0, n >> 4, 0, 0, 0, n), port }
}

/// The n-th IPv4 server, with a port.
pub(crate) fn server(n: u8, port: u16) -> Transport4 {
    Transport4 { addr: Ipv4Addr::new(203, 0, 113, n), port }
}

/// A transport address of the pool 192.0.2.0/24.
pub(crate) fn mask(n: u8, port: u16) -> Transport4 {
    Transport4 { addr: Ipv4Addr::new(192, 0, 2, n), port }
}

/// One pool4 line per protocol.
pub(crate) fn pool(prefix: &str, first_port: u16, last_port: u16) -> Vec<Pool4Entry> {
    let prefix = prefix.parse().unwrap();
    let line =
        |protocol| Pool4Entry { protocol, prefix, first_port, last_port, mark: 0, max_iterations: None };
    Protocol::ALL.map(line).to_vec()
}

/// Default options with the masks 192.0.2.1, ports 1000 to 1999.
pub(crate) fn config() -> PolicyConfig {
    PolicyConfig { pool4: pool("192.0.2.1/32", 1000, 1999), ..PolicyConfig::default() }
}

/// Everything that was told.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) bib_created: Vec<BibInfo>,
    pub(crate) bib_removed: Vec<BibInfo>,
    pub(crate) session_created: Vec<SessionInfo>,
    pub(crate) session_removed: Vec<SessionInfo>,
    pub(crate) syns_expired: Vec<Vec<u8>>,
    pub(crate) probes: Vec<SessionInfo>,
    /// Whether sessions that are worth it are promoted, and what was told of that.
    pub(crate) takes: bool,
    /// Whether the faster path says at once that it has seen nothing.
    pub(crate) silent: bool,
    pub(crate) promoted: Vec<(SessionInfo, u32)>,
    pub(crate) demoted: Vec<SessionInfo>,
    pub(crate) idle: Vec<SessionInfo>,
    /// What other translators would be told.
    pub(crate) updated: Vec<SessionInfo>,
    /// Ports that have an entry, as told.
    pub(crate) ports: BTreeSet<(Protocol, Transport4)>,
}

impl Events for Log {
    fn bib_created(&mut self, entry: &BibInfo) {
        self.bib_created.push(*entry);
    }
    fn bib_removed(&mut self, entry: &BibInfo) {
        self.bib_removed.push(*entry);
    }
    fn session_created(&mut self, session: &SessionInfo) {
        self.session_created.push(*session);
    }
    fn session_removed(&mut self, session: &SessionInfo) {
        self.session_removed.push(*session);
    }
    fn session_updated(&mut self, session: &SessionInfo) {
        self.updated.push(*session);
    }
    fn stored_syn_expired(&mut self, original: &[u8]) {
        self.syns_expired.push(original.to_vec());
    }
    fn probe(&mut self, session: &SessionInfo) {
        self.probes.push(*session);
    }
    fn promote(&mut self, session: &SessionInfo, mark: u32) -> bool {
        if self.takes {
            self.promoted.push((*session, mark));
        }
        self.takes
    }
    fn demote(&mut self, session: &SessionInfo) {
        self.demoted.push(*session);
    }
    fn idle(&mut self, session: &SessionInfo) {
        self.idle.push(*session);
    }
    fn port(&mut self, protocol: Protocol, mask: Transport4, taken: bool) {
        match taken {
            true => self.ports.insert((protocol, mask)),
            false => self.ports.remove(&(protocol, mask)),
        };
    }
}

/// Tables, a policy, a clock and a log.
pub(crate) struct World {
    pub(crate) tables: Tables,
    pub(crate) policy: Policy,
    pub(crate) now: Instant,
    pub(crate) log: Log,
}

impl World {
    pub(crate) fn new(config: PolicyConfig) -> Self {
        let policy = Policy::new(config, None).expect("a valid configuration");
        let mut log = Log::default();
        let tables = Tables::new(8, SECRET);
        tables.reconfigure(&policy, &policy, &mut log);
        Self { tables, policy, now: Instant(1_000_000), log }
    }

    pub(crate) fn outbound(
        &mut self,
        protocol: Protocol,
        src: Transport6,
        dst: Transport4,
        tcp: TcpFlags,
    ) -> Result<Transport4, Refusal> {
        let packet = Outbound { protocol, src, dst, mark: 0, tcp };
        self.tables.outbound(&self.policy, &packet, self.now, &mut self.log)
    }

    pub(crate) fn inbound(
        &mut self,
        protocol: Protocol,
        src: Transport4,
        dst: Transport4,
        tcp: TcpFlags,
    ) -> Result<Transport6, Refusal> {
        let original = format!("{src} to {dst}");
        let packet = Inbound { protocol, src, dst, shared: false, tcp, original: original.as_bytes() };
        self.tables.inbound(&self.policy, &packet, self.now, &mut self.log)
    }

    /// Lets time pass and expires what is due.
    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = Instant(self.now.0 + millis);
        while self.tables.expire(&self.policy, self.now, &mut self.log) {}
        if self.log.silent && !self.log.idle.is_empty() {
            for session in std::mem::take(&mut self.log.idle) {
                let key = (session.protocol, session.client, session.remote);
                self.tables.used(&self.policy, key, Some(Instant(0)), self.now, &mut self.log);
            }
            self.wait(0);
        }
    }

    pub(crate) fn reload(&mut self, config: PolicyConfig) {
        let new = Policy::new(config, Some(&self.policy)).expect("a valid configuration");
        self.tables.reconfigure(&self.policy, &new, &mut self.log);
        self.policy = new;
    }

    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        all_sessions(&self.tables, &self.policy)
    }

    pub(crate) fn bib(&self) -> Vec<BibInfo> {
        all_bib(&self.tables)
    }
}

pub(crate) fn all_bib(tables: &Tables) -> Vec<BibInfo> {
    let mut all = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = tables.bib_entries(from, 100, &mut all);
    }
    all
}

pub(crate) fn all_sessions(tables: &Tables, policy: &Policy) -> Vec<SessionInfo> {
    let mut all = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = tables.sessions(policy, from, 100, &mut all);
    }
    all
}

/// What must hold whenever no call is under way: no two mappings share protocol, address and port; no client has two;
/// both directions of every session resolve to each other; displays and gauges agree; masks are in pool4.
pub(crate) fn check(tables: &Tables, policy: &Policy) {
    let bib = all_bib(tables);
    let sessions = all_sessions(tables, policy);
    let mut hanging: BTreeMap<(Protocol, Transport6), u32> = BTreeMap::new();
    let mut unique = BTreeSet::new();
    for session in &sessions {
        *hanging.entry((session.protocol, session.client)).or_default() += 1;
        assert!(unique.insert((session.protocol, session.mask, session.remote)), "two of {session:?}");
        assert_eq!(tables.lookup6(session.protocol, session.client), Some(session.mask), "{session:?}");
        assert_eq!(tables.lookup4(policy, session.protocol, session.mask), Ok(session.client), "{session:?}");
    }
    let (mut masks, mut clients) = (BTreeSet::new(), BTreeSet::new());
    for entry in &bib {
        assert!(masks.insert((entry.protocol, entry.mask)), "two owners of {entry:?}");
        assert!(clients.insert((entry.protocol, entry.client)), "two masks of {entry:?}");
        assert!(policy.owns(entry.protocol, entry.mask), "outside pool4: {entry:?}");
        assert_eq!(tables.lookup6(entry.protocol, entry.client), Some(entry.mask));
        assert_eq!(tables.lookup4(policy, entry.protocol, entry.mask), Ok(entry.client));
        let sessions = hanging.remove(&(entry.protocol, entry.client)).unwrap_or(0);
        assert_eq!(entry.sessions, sessions);
        assert!(entry.is_static || sessions > 0, "a dynamic entry without session: {entry:?}");
    }
    assert!(hanging.is_empty(), "sessions without BIB entry: {hanging:?}");
    let gauges = tables.gauges();
    assert_eq!(gauges.bib.iter().sum::<usize>(), bib.len());
    assert_eq!(gauges.sessions.iter().sum::<usize>(), sessions.len());
}
