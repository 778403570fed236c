//! Counting, in the processor's own numbers.

use xlat_fastpath::count::{Counter, Traffic};

use crate::maps::{COUNTERS, TRAFFIC};

/// One more.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(number) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: only this processor writes it.
        unsafe { *number += 1 }
    }
}

/// Traffic of the instance `index`.
#[inline(always)]
pub fn traffic(index: u32, add: impl Fn(&mut Traffic)) {
    if let Some(traffic) = TRAFFIC.get_ptr_mut(index) {
        // SAFETY: only this processor writes it.
        add(unsafe { &mut *traffic });
    }
}

/// The identification of an IPv4 packet that the instance `index` makes. Of a packet that nobody may fragment it means
/// nothing (RFC 6864 4.1), and a constant lets receivers merge; the others count on, each processor for itself.
#[inline(always)]
pub fn identification(index: u32, is_atomic: bool) -> u16 {
    if is_atomic {
        return 0;
    }
    // SAFETY: only this processor writes it.
    TRAFFIC.get_ptr(index).map_or(1, |traffic| unsafe { (*traffic).packets64 } as u16)
}
