//! Manners of those who look at the tables beside the packets: a thread that is put aside by the scheduler while it holds a shard
//! keeps every worker that needs it waiting until it runs again, which is milliseconds on a busy processor. So they begin a look early in
//! a time slice: whoever has just yielded and runs again has a whole one in front.

use core::cell::Cell;
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// How long after a yield the time slice surely goes on: Linux gives at least 0.7 ms.
const SURE: Duration = Duration::from_micros(500);

/// To be called before the tables are read or changed for anything but a packet, without any lock held.
pub fn give_way() {
    thread_local! {
        static YIELDED: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if is_due(YIELDED.get(), Instant::now()) {
        thread::yield_now();
        YIELDED.set(Some(Instant::now()));
    }
}

/// Whether whoever yielded then, if ever, may be near the end of its time slice.
fn is_due(yielded: Option<Instant>, now: Instant) -> bool {
    yielded.is_none_or(|at| now.saturating_duration_since(at) > SURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_early_in_a_time_slice() {
        let now = Instant::now();
        assert!(is_due(None, now), "nobody knows how much of the first time slice is left");
        assert!(!is_due(Some(now), now + SURE), "just yielded: no other call to the kernel");
        assert!(is_due(Some(now), now + SURE + Duration::from_nanos(1)));
    }
}
