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
