//! Flows on their way from the engine to the kernel's maps: workers put what the engine says into a queue, under its locks,
//! and one thread applies it in that order, in batches. So no worker ever waits for a system call, and what is said last of
//! a flow holds.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use xlat_engine::{Engine, FlowSink};
use xlat_fastpath::flow::Session;
use xlat_linux::clock;
use xlat_linux::fastpath::{Flows, OwnPorts};
use xlat_linux::privileges::{self, Capabilities};
use xlat_nat64::{Protocol, Transport4};

/// Flows that may wait to be made known; further ones are offered again by their next packets.
const WAITING: usize = 1 << 16;
/// Entries of a batch.
const BATCH: usize = 1024;
/// How long nothing is offered to maps that are full.
const FULL_PAUSE_MS: u64 = 1000;
/// How long somebody waits for the queue to be worked off.
const DRAIN: Duration = Duration::from_secs(10);

enum Message {
    Promote(Session),
    Demote(Session),
    /// When was it last used?
    Idle(Session),
    /// Everything before it is done.
    Done(SyncSender<()>),
}

/// The engine's way to the kernel.
pub(super) struct Sink {
    queue: Sender<Message>,
    waiting: AtomicUsize,
    /// Until when the maps count as full, in milliseconds.
    full_until: AtomicU64,
    own_ports: OwnPorts,
    /// The host's own addresses that pool4 shares, with their place in the map of ports.
    slots: ArcSwap<HashMap<Ipv4Addr, u32>>,
}

impl Sink {
    /// The way in, and what [`start`] needs.
    pub(super) fn new(own_ports: OwnPorts) -> (Arc<Self>, Offers) {
        let (queue, offers) = channel();
        let sink = Self {
            queue,
            waiting: AtomicUsize::new(0),
            full_until: AtomicU64::new(0),
            own_ports,
            slots: ArcSwap::default(),
        };
        (Arc::new(sink), Offers(offers))
    }

    /// Which addresses have ports to keep account of, from now on.
    pub(super) fn share(&self, slots: HashMap<Ipv4Addr, u32>) {
        self.slots.store(Arc::new(slots));
    }

    /// Waits until everything that was said so far holds in the kernel.
    pub(super) fn drain(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Message::Done(done)).is_ok() && wait.recv_timeout(DRAIN).is_err() {
            tracing::warn!("the kernel's flows are slow to follow");
        }
    }

    fn say(&self, message: Message) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.send(message).is_ok()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl FlowSink for Sink {
    fn promote(&self, flow: &Session) -> bool {
        let busy = self.waiting.load(Ordering::Relaxed) > WAITING;
        if busy || clock::now_ms() < self.full_until.load(Ordering::Relaxed) {
            return false;
        }
        self.say(Message::Promote(*flow))
    }

    fn demote(&self, flow: &Session) {
        self.say(Message::Demote(*flow));
    }

    fn idle(&self, flow: &Session) {
        self.say(Message::Idle(*flow));
    }

    fn port(&self, protocol: Protocol, mask: Transport4, taken: bool) {
        if let Some(slot) = self.slots.load().get(&mask.addr) {
            self.own_ports.set(*slot, protocol.index() as u8, mask.port, taken);
        }
    }
}

/// What was said and is not yet applied.
pub(super) struct Offers(Receiver<Message>);

/// Starts the thread that applies what the engine says. It ends with the sink.
pub(super) fn start(
    offers: Offers,
    sink: &Arc<Sink>,
    flows: Flows,
    engine: &Arc<Engine>,
) -> std::io::Result<()> {
    let (sink, engine): (Weak<Sink>, Weak<Engine>) = (Arc::downgrade(sink), Arc::downgrade(engine));
    let applying = move || {
        // Before Linux 6.0 maps are changed with this one only.
        if let Err(error) = privileges::drop_all_but(Capabilities::BPF) {
            tracing::warn!(%error, "the flows' thread keeps its capabilities");
        }
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = offers.0.recv() {
            batch.push(first);
            batch.extend(offers.0.try_iter().take(BATCH - 1));
            let (Some(sink), Some(engine)) = (sink.upgrade(), engine.upgrade()) else { return };
            apply(&mut batch, &sink, &flows, &engine);
        }
    };
    std::thread::Builder::new().name("xlat-flows".to_owned()).spawn(applying).map(drop)
}

/// Applies a batch in order; what is of one kind goes to the kernel together.
fn apply(batch: &mut Vec<Message>, sink: &Sink, flows: &Flows, engine: &Engine) {
    let now_s = u32::try_from(clock::now_ms() / 1000).unwrap_or(u32::MAX);
    let said = batch.iter().filter(|message| !matches!(message, Message::Done(_))).count();
    sink.waiting.fetch_sub(said, Ordering::Relaxed);
    let (mut promoted, mut demoted): (Vec<Session>, Vec<Session>) = (Vec::new(), Vec::new());
    for message in batch.drain(..) {
        match message {
            Message::Promote(session) => {
                remove(&mut demoted, flows);
                promoted.push(session);
            }
            Message::Demote(session) => {
                insert(&mut promoted, sink, flows, engine, now_s);
                demoted.push(session);
            }
            Message::Idle(session) => {
                insert(&mut promoted, sink, flows, engine, now_s);
                remove(&mut demoted, flows);
                answer(&session, flows, engine, now_s);
            }
            Message::Done(done) => {
                insert(&mut promoted, sink, flows, engine, now_s);
                remove(&mut demoted, flows);
                // Nobody waits any more: fine.
                let _ = done.send(());
            }
        }
    }
    insert(&mut promoted, sink, flows, engine, now_s);
    remove(&mut demoted, flows);
}

fn insert(sessions: &mut Vec<Session>, sink: &Sink, flows: &Flows, engine: &Engine, now_s: u32) {
    if sessions.is_empty() {
        return;
    }
    if let Err(rejected) = flows.insert(sessions, now_s) {
        if rejected.full {
            sink.full_until.store(clock::now_ms() + FULL_PAUSE_MS, Ordering::Relaxed);
            tracing::debug!("the kernel has no room for more flows");
        } else {
            tracing::warn!(error = %rejected.source, "the kernel does not take flows");
        }
        for session in sessions.get(rejected.inserted..).unwrap_or_default() {
            engine.flow_used(session, None, clock::now_ms());
        }
    }
    sessions.clear();
}

fn remove(sessions: &mut Vec<Session>, flows: &Flows) {
    if let Err(error) = flows.remove(sessions) {
        tracing::warn!(%error, "the kernel does not give flows back");
    }
    sessions.clear();
}

/// Tells the engine when a flow was last used.
fn answer(session: &Session, flows: &Flows, engine: &Engine, now_s: u32) {
    let last = flows.last_used(session).unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not say when a flow was used");
        Some(now_s)
    });
    engine.flow_used(session, last, clock::now_ms());
}
