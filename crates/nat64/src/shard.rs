//! One shard of the tables: the BIB entries and sessions (RFC 6146 3.1, 3.2) of some IPv6 clients, all three protocols,
//! with their indexes and timer lists. A client is in one shard, chosen by a keyed hash of its address; a worker locks
//! one shard per packet and never two at once.
//!
//! Indexes hold the numbers of the records (`record.rs`). A session is looked up as the
//! first one of its BIB entry, which is the only one of most entries, before the hash table is asked.

use core::net::Ipv4Addr;
use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::ageing::{List, tick};
use crate::announce::Told;
use crate::counts::Counts;
use crate::events::{BibInfo, Events, SessionInfo};
use crate::fifo::{Fifo, Links};
use crate::hash::Hasher;
use crate::index::Index;
use crate::policy::Policy;
use crate::portmap::Handle;
use crate::promotion::Traffic;
use crate::record::{Bib, NewSession, Peer, Records, Session, TIMER};
use crate::refusal::Refusal;
use crate::stored::StoredSyns;
use crate::tcp::{self, Side, Verdict};
use crate::types::{Instant, Protocol, TcpFlags, Timer, Transport4, Transport6};
use crate::usage::{Amount, Counting, Usage};

/// What all shards share.
pub(crate) struct Shared {
    pub(crate) hasher: Hasher,
    pub(crate) usage: Usage,
    pub(crate) syns: StoredSyns,
    pub(crate) shard_bits: u32,
}

/// What a call brings along.
pub(crate) struct Env<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) policy: &'a Policy,
    pub(crate) events: &'a mut dyn Events,
    /// Number of the shard.
    pub(crate) shard: u32,
    /// The present.
    pub(crate) tick: u32,
}

impl Env<'_> {
    pub(crate) fn handle(&self, bib: u32) -> Handle {
        ((bib << self.shared.shard_bits) | self.shard) + 1
    }
}

/// One shard.
pub(crate) struct Shard {
    /// The newest policy seen, and what follows from it.
    pub(crate) generation: u32,
    counting: Counting,
    /// Only kept while address-dependent filtering is on.
    peers: Option<HashTable<Peer>>,
    /// Time never runs backwards here.
    pub(crate) latest: u32,
    pub(crate) records: Records,
    by_client: [Index; 3],
    /// Sessions that are not the one inside their BIB entry.
    by_remote: Index,
    /// By [`List::index`].
    pub(crate) lists: [Fifo<TIMER>; List::COUNT],
    /// Stored SYNs of type 2, by session.
    held: HashMap<u32, Box<[u8]>>,
    /// Kept up to date with each record that comes or goes.
    counts: Arc<Counts>,
}

impl Shard {
    pub(crate) fn new(shard_bits: u32, counts: Arc<Counts>) -> Self {
        Self {
            generation: 0,
            counting: Counting::default(),
            peers: None,
            latest: 0,
            records: Records::new(u32::MAX >> shard_bits),
            by_client: core::array::from_fn(|_| Index::new()),
            by_remote: Index::new(),
            lists: [Fifo::EMPTY; List::COUNT],
            held: HashMap::new(),
            counts,
        }
    }

    /// Brings the shard to the present: clock and policy. Gives the present tick.
    pub(crate) fn advance(&mut self, shared: &Shared, policy: &Policy, now: Instant) -> u32 {
        if policy.generation() > self.generation {
            self.adopt(shared, policy);
        }
        self.latest = self.latest.max(tick(now));
        self.latest
    }

    /// The BIB entry of an IPv6 transport address; `hash` is that of the address with the port.
    pub(crate) fn find(&self, hash: u64, protocol: Protocol, client: Transport6) -> Option<u32> {
        self.by_client[protocol.index()].find(hash, |bib| self.records.bib[bib].client() == client)
    }

    /// The BIB entry that is probably meant by a hash; the entry itself is not looked at.
    pub(crate) fn guess(&self, hash: u64, protocol: Protocol) -> Option<u32> {
        self.by_client[protocol.index()].find(hash, |_| true)
    }

    /// The BIB entry that a handle points to, if it still stands for that mask.
    pub(crate) fn verify(&self, bib: u32, protocol: Protocol, mask: Transport4) -> Option<&Bib> {
        self.records.bib.get(bib).filter(|entry| entry.protocol == protocol && entry.mask() == mask)
    }

    /// The session of a BIB entry with an IPv4 server.
    pub(crate) fn session(&self, shared: &Shared, bib: u32, remote: Transport4) -> Option<u32> {
        let entry = &self.records.bib[bib];
        if entry.first.as_ref().is_some_and(|first| first.remote() == remote) {
            return Some(bib);
        }
        if entry.session_count == u32::from(entry.first.is_some()) {
            return None;
        }
        let same = |number| {
            let session = &self.records[number];
            session.bib == bib && session.remote() == remote
        };
        self.by_remote.find(shared.hasher.session(bib, remote), same)
    }

    /// Whether address-dependent filtering lets an IPv4 address through to a BIB entry.
    pub(crate) fn knows_peer(&self, shared: &Shared, bib: u32, addr: Ipv4Addr) -> bool {
        let same = |peer: &Peer| peer.bib == bib && peer.addr == addr;
        self.peers.as_ref().is_some_and(|peers| peers.find(shared.hasher.peer(bib, addr), same).is_some())
    }

    /// Whether an entry's mask is still in pool4 and its own. What an older policy left behind is found out here.
    pub(crate) fn still_mapped(&mut self, env: &Env<'_>, bib: u32) -> bool {
        let handle = env.handle(bib);
        let entry = &mut self.records.bib[bib];
        if entry.generation >= env.policy.generation() {
            return true;
        }
        let owner = env.policy.pool(entry.protocol).owner(entry.mask());
        let mapped = owner.is_some_and(|ports| ports.get(entry.mask_port) == handle);
        if mapped {
            entry.generation = env.policy.generation();
        }
        mapped
    }

    /// Makes a BIB entry together with its first session. `choose` gives a mask to the entry's handle.
    pub(crate) fn open(
        &mut self,
        env: &mut Env<'_>,
        protocol: Protocol,
        client: Transport6,
        choose: impl FnOnce(Handle) -> Option<Transport4>,
        new: NewSession,
    ) -> Result<u32, Refusal> {
        let amount = Amount { bib: 1, sessions: 1 };
        let limits = &env.policy.config().limits;
        env.shared.usage.reserve(&env.shared.hasher, self.counting, limits, client.addr, amount)?;
        let made = self.insert_bib(env, protocol, client, choose).and_then(|bib| {
            let session = self.insert_session(env, bib, new);
            if session.is_err() {
                self.take_bib(env, bib);
            }
            session.map(|_| bib)
        });
        match made {
            Ok(bib) => {
                let info = self.records.bib[bib].info();
                env.events.port(protocol, info.mask, true);
                env.events.bib_created(&info);
            }
            Err(_) => env.shared.usage.uncount(&env.shared.hasher, self.counting, client.addr, amount),
        }
        made
    }

    /// Adds a session to a BIB entry.
    pub(crate) fn extend(&mut self, env: &mut Env<'_>, bib: u32, new: NewSession) -> Result<u32, Refusal> {
        let amount = Amount { bib: 0, sessions: 1 };
        let client = self.records.bib[bib].client;
        let limits = &env.policy.config().limits;
        env.shared.usage.reserve(&env.shared.hasher, self.counting, limits, client, amount)?;
        let made = self.insert_session(env, bib, new);
        if made.is_err() {
            env.shared.usage.uncount(&env.shared.hasher, self.counting, client, amount);
        }
        made
    }

    /// Makes (or upgrades to) a static entry; the mask is taken by `choose` in any case.
    pub(crate) fn open_static(
        &mut self,
        env: &mut Env<'_>,
        protocol: Protocol,
        client: Transport6,
        choose: impl FnOnce(Handle) -> Option<Transport4>,
    ) -> Result<u32, Refusal> {
        let bib = self.insert_bib(env, protocol, client, choose)?;
        self.records.bib[bib].is_static = true;
        let amount = Amount { bib: 1, sessions: 0 };
        env.shared.usage.count(&env.shared.hasher, self.counting, client.addr, amount);
        env.events.port(protocol, self.records.bib[bib].mask(), true);
        self.counts.set_bytes(self.bytes());
        Ok(bib)
    }

    /// Marks an entry as the administrator's.
    pub(crate) fn set_static(&mut self, bib: u32) {
        self.records.bib[bib].is_static = true;
    }

    /// A packet of a TCP session, through the state machine.
    pub(crate) fn tcp_packet(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        side: Side,
        flags: TcpFlags,
    ) -> Result<(), Refusal> {
        let session = &self.records[number];
        let held = session.timer == Timer::StoredSyn;
        let handle_rst = env.policy.config().handle_rst_during_fin_rcv;
        match tcp::step(session.state, held, side, flags, handle_rst) {
            Verdict::Keep => {}
            Verdict::Restart(timer) => self.refresh(number, timer, env.tick),
            Verdict::Enter(state, timer) => {
                let session = &mut self.records[number];
                (session.state, session.told) = (state, Told::never(env.tick));
                if held && let Some(original) = self.held.remove(&number) {
                    env.shared.syns.let_go(&original);
                }
                if let Some(timer) = timer {
                    self.refresh(number, timer, env.tick);
                }
            }
            Verdict::SynHeld => return Err(Refusal::SoExists),
        }
        // Closing: every packet counts again, and those of the other path must not keep it open.
        if self.records[number].timer != Timer::Established {
            self.demote(env, number);
        }
        Ok(())
    }

    /// Keeps a SYN with its session (type 2).
    pub(crate) fn hold(&mut self, number: u32, original: Box<[u8]>) {
        self.held.insert(number, original);
    }

    /// Removes a BIB entry with its sessions.
    pub(crate) fn remove_bib(&mut self, env: &mut Env<'_>, bib: u32) {
        while let Some(session) = self.records.bib[bib].sessions.first() {
            self.take_session(env, session);
        }
        let info = self.records.bib[bib].info();
        self.take_bib(env, bib);
        let amount = Amount { bib: 1, sessions: 0 };
        env.shared.usage.uncount(&env.shared.hasher, self.counting, info.client.addr, amount);
        env.events.bib_removed(&info);
    }

    /// A BIB entry for display.
    pub(crate) fn bib_info(&self, bib: u32) -> Option<BibInfo> {
        self.records.bib.get(bib).map(Bib::info)
    }

    /// A session for logs and display.
    pub(crate) fn session_info(&self, policy: &Policy, number: u32) -> Option<SessionInfo> {
        let session = self.records.get(number)?;
        let entry = &self.records.bib[session.bib];
        let tcp = entry.protocol == Protocol::Tcp;
        let port = if entry.protocol == Protocol::Icmp { entry.mask_port } else { session.remote_port };
        Some(SessionInfo {
            protocol: entry.protocol,
            client: entry.client(),
            mask: entry.mask(),
            remote: Transport4 { addr: session.remote_addr.into(), port },
            state: tcp.then_some(session.state),
            timer: session.timer,
            expires_in: self.expires_in(policy, session),
            promoted: session.traffic.is_promoted(),
        })
    }

    /// Bytes allocated.
    fn bytes(&self) -> usize {
        self.records.bytes()
            + self.by_client.iter().map(Index::bytes).sum::<usize>()
            + self.by_remote.bytes()
            + self.peers.as_ref().map_or(0, HashTable::allocation_size)
    }

    fn insert_bib(
        &mut self,
        env: &Env<'_>,
        protocol: Protocol,
        client: Transport6,
        choose: impl FnOnce(Handle) -> Option<Transport4>,
    ) -> Result<u32, Refusal> {
        let entry = Bib {
            client: client.addr,
            mask_addr: 0,
            client_port: client.port,
            mask_port: 0,
            first: None,
            sessions: Fifo::EMPTY,
            session_count: 0,
            generation: env.policy.generation(),
            protocol,
            is_static: false,
        };
        let bib = self.records.bib.insert(entry).ok_or(Refusal::TableFull)?;
        let Some(mask) = choose(env.handle(bib)) else {
            self.records.bib.remove(bib);
            return Err(Refusal::PoolExhausted);
        };
        self.records.bib[bib].mask_addr = mask.addr.into();
        self.records.bib[bib].mask_port = mask.port;
        let hash = client_hash(&env.shared.hasher, client);
        let index = &mut self.by_client[protocol.index()];
        index.insert(hash, bib);
        self.counts.set_bib(protocol, index.len());
        Ok(bib)
    }

    fn take_bib(&mut self, env: &mut Env<'_>, bib: u32) {
        let Some(entry) = self.records.bib.remove(bib) else { return };
        let hash = client_hash(&env.shared.hasher, entry.client());
        let index = &mut self.by_client[entry.protocol.index()];
        index.remove(hash, bib);
        self.counts.set_bib(entry.protocol, index.len());
        let (protocol, mask, handle) = (entry.protocol, entry.mask(), env.handle(bib));
        let events = &mut *env.events;
        env.policy.pool(protocol).release(mask, handle, || events.port(protocol, mask, false));
    }

    fn insert_session(&mut self, env: &mut Env<'_>, bib: u32, new: NewSession) -> Result<u32, Refusal> {
        let session = Session {
            bib,
            remote_addr: new.remote.addr.into(),
            remote_port: new.remote.port,
            state: new.state,
            timer: new.timer,
            stamp: env.tick,
            timer_links: Links::NONE,
            siblings: Links::NONE,
            list: List::of(new.timer),
            rest: 0,
            traffic: Traffic::default(),
            told: Told::never(env.tick),
        };
        let number = self.records.insert(session).ok_or(Refusal::TableFull)?;
        self.enlist(number, List::of(new.timer), env.tick);
        let mut siblings = self.records.bib[bib].sessions;
        siblings.push(&mut self.records, number);
        let entry = &mut self.records.bib[bib];
        entry.sessions = siblings;
        entry.session_count += 1;
        let protocol = entry.protocol;
        let hasher = &env.shared.hasher;
        if !Records::is_inside(number) {
            self.by_remote.insert(hasher.session(bib, new.remote), number);
        }
        if protocol == Protocol::Udp {
            self.add_peer(hasher, bib, new.remote.addr);
        }
        self.counts.session_made(protocol);
        self.counts.set_bytes(self.bytes());
        if let Some(info) = self.session_info(env.policy, number) {
            env.events.session_created(&info);
        }
        Ok(number)
    }

    /// Removes a session, but not its BIB entry.
    pub(crate) fn take_session(&mut self, env: &mut Env<'_>, number: u32) {
        self.demote(env, number);
        let info = self.session_info(env.policy, number);
        let bib = self.records[number].bib;
        let remote = self.records[number].remote();
        self.delist(number);
        let mut siblings = self.records.bib[bib].sessions;
        siblings.unlink(&mut self.records, number);
        let entry = &mut self.records.bib[bib];
        entry.sessions = siblings;
        entry.session_count -= 1;
        if !Records::is_inside(number) {
            self.by_remote.remove(env.shared.hasher.session(bib, remote), number);
        }
        self.records.remove(number);
        let Bib { protocol, client, .. } = self.records.bib[bib];
        self.counts.session_ended(protocol);
        if protocol == Protocol::Udp {
            self.remove_peer(&env.shared.hasher, bib, remote.addr);
        }
        let amount = Amount { bib: 0, sessions: 1 };
        env.shared.usage.uncount(&env.shared.hasher, self.counting, client, amount);
        if let Some(original) = self.held.remove(&number) {
            env.shared.syns.let_go(&original);
            env.events.stored_syn_expired(&original);
        }
        if let Some(info) = info {
            env.events.session_removed(&info);
        }
    }

    /// Takes up a newer policy: counts by its keys, and keeps the peers if it filters.
    fn adopt(&mut self, shared: &Shared, policy: &Policy) {
        self.generation = policy.generation();
        let counting = Counting::of(policy);
        if counting != self.counting {
            for entry in (0..self.records.bib.end()).filter_map(|bib| self.records.bib.get(bib)) {
                let amount = Amount { bib: 1, sessions: entry.session_count };
                shared.usage.uncount_keys(&shared.hasher, self.counting, entry.client, amount);
                shared.usage.count_keys(&shared.hasher, counting, entry.client, amount);
            }
            self.counting = counting;
        }
        let filters = policy.config().address_dependent_filtering;
        if filters && self.peers.is_none() {
            self.peers = Some(HashTable::new());
            for number in self.records.numbers() {
                let Some(Session { bib, remote_addr, .. }) = self.records.get(number) else { continue };
                if self.records.bib[*bib].protocol == Protocol::Udp {
                    self.add_peer(&shared.hasher, *bib, (*remote_addr).into());
                }
            }
        } else if !filters {
            self.peers = None;
        }
        self.counts.set_bytes(self.bytes());
    }

    fn add_peer(&mut self, hasher: &Hasher, bib: u32, addr: Ipv4Addr) {
        let Some(peers) = &mut self.peers else { return };
        let same = |peer: &Peer| peer.bib == bib && peer.addr == addr;
        let hash = |peer: &Peer| hasher.peer(peer.bib, peer.addr);
        let new = Peer { bib, addr, sessions: 0 };
        peers.entry(hash(&new), same, hash).or_insert(new).get_mut().sessions += 1;
    }

    fn remove_peer(&mut self, hasher: &Hasher, bib: u32, addr: Ipv4Addr) {
        let Some(peers) = &mut self.peers else { return };
        let same = |peer: &Peer| peer.bib == bib && peer.addr == addr;
        if let Ok(mut found) = peers.find_entry(hasher.peer(bib, addr), same) {
            found.get_mut().sessions -= 1;
            if found.get().sessions == 0 {
                found.remove();
            }
        }
    }
}

/// Hash of an IPv6 transport address, as the BIB indexes use it.
fn client_hash(hasher: &Hasher, client: Transport6) -> u64 {
    hasher.with_port(hasher.client(client.addr), client.port)
}
