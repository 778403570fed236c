//! IPv4 SYNs held for six seconds as possible simultaneous opens (RFC 6146 3.5.2.2).
//!
//! Type 1 (no BIB entry) lives here, indexed by its source, behind a mutex of its own; an atomic count lets everybody
//! else know with one load that there are none. Type 2 (BIB entry exists, filtering on) lives with its session; here it
//! is only counted, because `maximum-simultaneous-opens` and the bound on memory apply to both together.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::events::Events;
use crate::refusal::Refusal;
use crate::types::Transport4;

/// Bytes kept of a packet: enough for any ICMP error about it.
const MAX_PACKET: usize = 1280;

/// Bytes kept in all.
const MAX_BYTES: usize = 16 << 20;

/// The stored SYNs of type 1, and the count of both types.
#[derive(Default)]
pub(crate) struct StoredSyns {
    type1: AtomicUsize,
    held: AtomicU64,
    bytes: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_source: HashMap<Transport4, Syn>,
    /// Serial number -> source; serial numbers rise with the time of arrival.
    order: BTreeMap<u64, Transport4>,
    serial: u64,
    latest: u32,
}

struct Syn {
    dst: Transport4,
    stamp: u32,
    serial: u64,
    original: Box<[u8]>,
}

impl StoredSyns {
    /// Copies a SYN of either type, or says that there is no room.
    pub(crate) fn hold(&self, original: &[u8], max: u32) -> Result<Box<[u8]>, Refusal> {
        let copy: Box<[u8]> = original[..original.len().min(MAX_PACKET)].into();
        let one_more = |held: u64| (held < u64::from(max)).then_some(held + 1);
        let fits = |bytes: usize| bytes.checked_add(copy.len()).filter(|sum| *sum <= MAX_BYTES);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Refusal::SoFull)?;
        if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            self.bytes.fetch_sub(copy.len(), Ordering::Relaxed);
            return Err(Refusal::SoFull);
        }
        Ok(copy)
    }

    /// Gives back the room of a SYN that [`Self::hold`] copied.
    pub(crate) fn let_go(&self, original: &[u8]) {
        self.bytes.fetch_sub(original.len(), Ordering::Relaxed);
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Stores a SYN for which there is no BIB entry. Always an error: the packet goes no further now.
    pub(crate) fn store(
        &self,
        src: Transport4,
        dst: Transport4,
        original: &[u8],
        max: u32,
        tick: u32,
    ) -> Result<core::convert::Infallible, Refusal> {
        let mut inner = self.inner.lock();
        if inner.by_source.contains_key(&src) {
            return Err(Refusal::SoExists);
        }
        let original = self.hold(original, max)?;
        inner.latest = inner.latest.max(tick);
        inner.serial += 1;
        let (serial, stamp) = (inner.serial, inner.latest);
        inner.order.insert(serial, src);
        inner.by_source.insert(src, Syn { dst, stamp, serial, original });
        self.type1.store(inner.order.len(), Ordering::Release);
        Err(Refusal::SynStored)
    }

    /// Where the SYN that `src` sent wants to go, if one is held.
    pub(crate) fn destination(&self, src: Transport4) -> Option<Transport4> {
        if self.type1.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.inner.lock().by_source.get(&src).map(|syn| syn.dst)
    }

    /// Takes the SYN that `src` sent out of here. It stays counted until [`Self::let_go`].
    pub(crate) fn claim(&self, src: Transport4) -> Option<Box<[u8]>> {
        let mut inner = self.inner.lock();
        let syn = inner.by_source.remove(&src)?;
        inner.order.remove(&syn.serial);
        self.type1.store(inner.order.len(), Ordering::Release);
        Some(syn.original)
    }

    /// Forgets SYNs to a transport address that is now mapped, without an error.
    pub(crate) fn discard_for(&self, dst: Transport4) {
        if self.type1.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let Inner { by_source, order, .. } = &mut *inner;
        by_source.retain(|_, syn| {
            if syn.dst == dst {
                order.remove(&syn.serial);
                self.let_go(&syn.original);
            }
            syn.dst != dst
        });
        self.type1.store(order.len(), Ordering::Release);
    }

    /// Hands at most `budget` SYNs that waited longer than `lifetime` ticks to `events`; gives how many.
    pub(crate) fn expire(&self, tick: u32, lifetime: u32, budget: usize, events: &mut dyn Events) -> usize {
        if self.type1.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut inner = self.inner.lock();
        inner.latest = inner.latest.max(tick);
        let mut expired = 0;
        while expired < budget {
            let Some((_, src)) = inner.order.first_key_value() else { break };
            let src = *src;
            if inner.by_source.get(&src).is_some_and(|syn| inner.latest - syn.stamp <= lifetime) {
                break;
            }
            inner.order.pop_first();
            if let Some(syn) = inner.by_source.remove(&src) {
                self.let_go(&syn.original);
                events.stored_syn_expired(&syn.original);
            }
            expired += 1;
        }
        self.type1.store(inner.order.len(), Ordering::Release);
        expired
    }

    /// How many are held, both types.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes kept, both types.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
