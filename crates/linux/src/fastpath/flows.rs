//! The known flows: two maps, one for each direction, kept equal. A packet of a flow that is in one map only would be
//! translated one way by the program and the other way by the daemon: right, but slow.

use std::io;
use std::sync::Arc;

use xlat_fastpath::flow::{Key4, Key6, Session, To4, To6};

use super::bpf::Map;

/// The known flows. Clones are cheap and may be used by any thread; two threads must not change the same flow at the same
/// time.
#[derive(Clone, Debug)]
pub struct Flows {
    maps: Arc<(Map<Key6, To4>, Map<Key4, To6>)>,
}

/// Sessions that could not be made known.
#[derive(Debug)]
pub struct Rejected {
    /// How many at the front of the slice are known all the same; of the others there is no trace.
    pub inserted: usize,
    /// The maps have no room (rather than another fault).
    pub full: bool,
    /// The kernel's answer.
    pub source: io::Error,
}

impl Flows {
    pub(super) fn new(flows6: Map<Key6, To4>, flows4: Map<Key4, To6>) -> Self {
        Self { maps: Arc::new((flows6, flows4)) }
    }

    /// Makes sessions known, or renews them; last used at `now` (seconds of CLOCK_MONOTONIC).
    ///
    /// # Errors
    ///
    /// When the maps are full: a part of the sessions is known then.
    pub fn insert(&self, sessions: &[Session], now: u32) -> Result<(), Rejected> {
        let (flows6, flows4) = &*self.maps;
        let keys4: Vec<Key4> = sessions.iter().map(Session::key4).collect();
        let to6: Vec<To6> = sessions.iter().map(|session| session.to6(now)).collect();
        let keys6: Vec<Key6> = sessions.iter().map(Session::key6).collect();
        let to4: Vec<To4> = sessions.iter().map(|session| session.to4(now)).collect();
        let first = flows4.set_all(&keys4, &to6);
        let done4 = first.as_ref().map_or_else(|(done, _)| *done, |()| sessions.len());
        let second = flows6.set_all(&keys6[..done4], &to4[..done4]);
        let (inserted, source) = match (first, second) {
            (Ok(()), Ok(())) => return Ok(()),
            (Err((_, source)), Ok(())) => (done4, source),
            (_, Err((done6, source))) => (done6, source),
        };
        // What is left over in one map is worth little, and nobody would take it out.
        if let Err(error) = flows4.delete_all(&keys4[inserted..]).and(flows6.delete_all(&keys6[inserted..])) {
            tracing::warn!(%error, "cannot take back half a flow");
        }
        let full = matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM));
        Err(Rejected { inserted, full, source })
    }

    /// Forgets sessions. When the call returns, no packet that comes later is translated by them.
    pub fn remove(&self, sessions: &[Session]) -> io::Result<()> {
        let (flows6, flows4) = &*self.maps;
        let keys6: Vec<Key6> = sessions.iter().map(Session::key6).collect();
        let keys4: Vec<Key4> = sessions.iter().map(Session::key4).collect();
        flows6.delete_all(&keys6).and(flows4.delete_all(&keys4))
    }

    /// When a packet of the session was seen last, in either direction (seconds of CLOCK_MONOTONIC). `None` if it is not
    /// known.
    pub fn last_used(&self, session: &Session) -> io::Result<Option<u32>> {
        let (flows6, flows4) = &*self.maps;
        let used6 = flows6.get(&session.key6())?.map(|to| to.used);
        let used4 = flows4.get(&session.key4())?.map(|to| to.used);
        Ok(used6.max(used4))
    }

    /// Gives every session, with when it was used last, to `each`. Others may go on changing the maps meanwhile.
    pub fn for_each(&self, mut each: impl FnMut(Session, u32)) -> io::Result<()> {
        let (flows6, flows4) = &*self.maps;
        flows6.for_each(|keys, values| {
            for (key, to) in keys.iter().zip(values) {
                let session = Session::of(key, to);
                let used4 = flows4.get(&session.key4())?.map_or(0, |to| to.used);
                each(session, to.used.max(used4));
            }
            Ok(())
        })
    }

    /// How many sessions are known. Looks at all of them: some 100 ms for a million.
    pub fn count(&self) -> io::Result<usize> {
        let mut count = 0;
        self.maps.0.for_each(|keys, _| {
            count += keys.len();
            Ok(())
        })?;
        Ok(count)
    }

    /// Forgets all sessions, halves of such included.
    pub fn clear(&self) -> io::Result<()> {
        let (flows6, flows4) = &*self.maps;
        flows6.for_each(|keys, _| flows6.delete_all(keys))?;
        flows4.for_each(|keys, _| flows4.delete_all(keys))
    }

    /// Bytes of kernel memory that the flows take.
    pub fn memory(&self) -> io::Result<u64> {
        Ok(self.maps.0.memory()? + self.maps.1.memory()?)
    }
}
