//! SIIT: the addresses of a packet by EAMT, denylist and pool6 of the first stateless instance (RFC 7757 3.3,
//! RFC 6052). What `translate::siit` would refuse or turn back goes to the daemon.

use xlat_fastpath::config::{
    Config, INSTANCES as INSTANCE_COUNT, Instance, config_flag, host_bit4, host_bit6_of, instance_flag,
};
use xlat_fastpath::count::Counter;
use xlat_fastpath::rewrite::{
    Address6, eam4, eam6, embed, extract, in_pool6, is_never_translated, prefix4, prefix6,
};
use xlat_fastpath::stateless::{Eam4, FILTER_WORDS, filter_bit4, filter_bit6};

use crate::maps::{DENY4, EAM_FILTER, EAM4, EAM6, HOST, INSTANCES};
use crate::plan::{Plan, Stop, usable};
use crate::steer::halves;

/// Lengths of prefixes that a table may have for each family; of tables with more only the longest count, and what they do not
/// give goes to the daemon.
const MAX_LENGTHS: u32 = 16;

/// What a look-up gives: an IPv4 address in the lower half, and these.
mod found {
    /// There is an address.
    pub(super) const SOME: u64 = 1 << 32;
    /// An EAM entry gave it, which makes packets to it ours.
    pub(super) const STEERS: u64 = 1 << 33;
    /// pool6 gave it.
    pub(super) const BY_POOL6: u64 = 1 << 34;
    /// The table has more lengths than are looked at: only the daemon knows.
    pub(super) const UNKNOWN: u64 = 1 << 35;
}

/// Addresses of an IPv6 packet in IPv4. `is_ours` says that its destination has been found to be ours already.
#[inline(always)]
pub fn six_to_four(
    config: &Config,
    (src, dst): (Address6, Address6),
    ports: u32,
    is_ours: bool,
) -> Result<Plan<u32>, Stop> {
    let index = config.stateless;
    let Some(instance) = INSTANCES.get(index) else { return Err(none(is_ours)) };
    if is_ours && config.flags & config_flag::STATEFUL != 0 && is_stateful6(config, dst) {
        return Err(Stop::Up(Counter::NoFlow));
    }
    let new_dst = to4(instance, dst[0], dst[1]);
    let is_ours = is_ours || new_dst & found::STEERS != 0;
    if !is_ours || new_dst & found::SOME == 0 {
        return Err(none(is_ours));
    }
    let new_src = to4(instance, src[0], src[1]);
    if new_src & found::SOME == 0 {
        return Err(none(is_ours));
    }
    let (to_src, to_dst) = (new_src as u32, new_dst as u32);
    if is_host6(src) || is_host6(dst) || is_refused(to_src) || is_refused(to_dst) {
        return Err(Stop::Up(Counter::Untranslatable));
    }
    if instance.flags & instance_flag::HAIRPIN != 0
        && new_dst & found::BY_POOL6 != 0
        && eam4_of(instance, to_dst).is_some()
    {
        return Err(Stop::Up(Counter::Hairpin));
    }
    usable(Some(instance))?;
    Ok(Plan { src: to_src, dst: to_dst, ports, instance, index })
}

/// Addresses of an IPv4 packet in IPv6.
#[inline(always)]
pub fn four_to_six(
    config: &Config,
    (src, dst): (u32, u32),
    ports: u32,
    is_ours: bool,
) -> Result<Plan<Address6>, Stop> {
    let index = config.stateless;
    let Some(instance) = INSTANCES.get(index) else { return Err(none(is_ours)) };
    let mut to_dst = [0; 2];
    let new_dst = to6(instance, dst, &mut to_dst);
    let is_ours = is_ours || new_dst & found::STEERS != 0;
    if !is_ours || new_dst & found::SOME == 0 {
        return Err(none(is_ours));
    }
    let mut to_src = [0; 2];
    if to6(instance, src, &mut to_src) & found::SOME == 0 {
        return Err(none(is_ours));
    }
    if is_refused(src) || is_refused(dst) || is_host6(to_src) || is_host6(to_dst) {
        return Err(Stop::Up(Counter::Untranslatable));
    }
    usable(Some(instance))?;
    Ok(Plan { src: to_src, dst: to_dst, ports, instance, index })
}

/// True if the stateless instance may have an address for packets to an IPv6 address.
#[inline(always)]
pub fn takes6(config: &Config, dst: Address6) -> bool {
    INSTANCES.get(config.stateless).is_some_and(|instance| to4(instance, dst[0], dst[1]) != 0)
}

/// True if an EAM entry makes packets to an IPv6 address ours.
#[inline(always)]
pub fn steers6(config: &Config, dst: Address6) -> bool {
    config.flags & config_flag::STATELESS != 0
        && INSTANCES
            .get(config.stateless)
            .is_some_and(|instance| to4(instance, dst[0], dst[1]) & found::STEERS != 0)
}

/// The same for an IPv4 address.
#[inline(always)]
pub fn steers4(config: &Config, dst: u32) -> bool {
    config.flags & config_flag::STATELESS != 0
        && INSTANCES
            .get(config.stateless)
            .is_some_and(|instance| to6(instance, dst, &mut [0; 2]) & found::STEERS != 0)
}

/// No addresses here: another instance may have some.
#[inline(always)]
fn none(is_ours: bool) -> Stop {
    if is_ours { Stop::Up(Counter::Untranslatable) } else { Stop::Pass(Counter::Passed) }
}

/// True if a stateful instance that is asked earlier takes packets to the destination.
#[inline(always)]
fn is_stateful6(config: &Config, dst: Address6) -> bool {
    const WANTED: u32 = instance_flag::ENABLED | instance_flag::STATELESS;
    for index in 0..INSTANCE_COUNT {
        if index >= config.stateless {
            break;
        }
        let Some(instance) = INSTANCES.get(index) else { break };
        if instance.flags & WANTED == instance_flag::ENABLED
            && in_pool6(halves(&instance.pool6), instance.pool6_len, dst)
        {
            return true;
        }
    }
    false
}

/// The IPv4 address of an IPv6 address. Not inlined: the verifier looks at it once for each call, whatever it finds.
#[inline(never)]
fn to4(instance: &Instance, high: u64, low: u64) -> u64 {
    let address = [high, low];
    let filter = filter_bit6(instance.table, prefix6(address, instance.filter6_len));
    let lengths = if may_have(filter) { instance.lengths6_count } else { 0 };
    let mut at = 0;
    while at < lengths {
        if at >= MAX_LENGTHS {
            return found::UNKNOWN;
        }
        let len = u32::from(instance.lengths6[at as usize]);
        let prefix = prefix6(address, len);
        let key = [u64::from(instance.table) | u64::from(len) << 32, prefix[0], prefix[1]];
        // SAFETY: the entry stays readable while the program runs.
        if let Some(entry) = unsafe { EAM6.get(&key) } {
            let address = eam4(address, len, u32::from_ne_bytes(entry.prefix), entry.len);
            let steers = if entry.steer != 0 { found::STEERS } else { 0 };
            return u64::from(address) | found::SOME | steers;
        }
        at += 1;
    }
    if instance.flags & instance_flag::POOL6 == 0
        || !in_pool6(halves(&instance.pool6), instance.pool6_len, address)
    {
        return 0;
    }
    let address = extract(instance.pool6_len, address);
    if is_denied(instance, address) { 0 } else { u64::from(address) | found::SOME | found::BY_POOL6 }
}

/// The IPv6 address of an IPv4 address, in `out`.
#[inline(never)]
fn to6(instance: &Instance, address: u32, out: &mut Address6) -> u64 {
    if instance.lengths4_count > MAX_LENGTHS {
        return found::UNKNOWN;
    }
    if let Some((len, entry)) = eam4_of(instance, address) {
        *out = eam6(address, len, halves(&entry.prefix), entry.len);
        return found::SOME | if entry.steer != 0 { found::STEERS } else { 0 };
    }
    if instance.flags & instance_flag::POOL6 == 0 || is_denied(instance, address) {
        return 0;
    }
    *out = embed(halves(&instance.pool6), instance.pool6_len, address);
    found::SOME | found::BY_POOL6
}

/// The EAM entry with the longest prefix that has the IPv4 address, and its length.
#[inline(always)]
fn eam4_of(instance: &Instance, address: u32) -> Option<(u32, &'static Eam4)> {
    let filter = filter_bit4(instance.table, prefix4(address, instance.filter4_len));
    let lengths = if may_have(filter) { instance.lengths4_count } else { 0 };
    let mut at = 0;
    while at < lengths && at < MAX_LENGTHS {
        let len = u32::from(instance.lengths4[at as usize]);
        // SAFETY: the entry stays readable while the program runs.
        if let Some(entry) = unsafe { EAM4.get(&key4(instance, address, len)) } {
            return Some((len, entry));
        }
        at += 1;
    }
    None
}

/// True if the denylist has the IPv4 address.
#[inline(always)]
fn is_denied(instance: &Instance, address: u32) -> bool {
    let lengths = instance.deny_lengths4_count;
    let mut at = 0;
    while at < lengths {
        if at >= MAX_LENGTHS {
            return true;
        }
        let len = u32::from(instance.deny_lengths4[at as usize]);
        if DENY4.get_ptr(&key4(instance, address, len)).is_some() {
            return true;
        }
        at += 1;
    }
    false
}

/// An `EamKey4`.
#[inline(always)]
fn key4(instance: &Instance, address: u32, len: u32) -> [u32; 3] {
    [instance.table, len, prefix4(address, len)]
}

/// True if an IPv4 address is never translated, or may be the host's own.
#[inline(always)]
fn is_refused(address: u32) -> bool {
    let (word, bit) = host_bit4(address.to_ne_bytes());
    is_never_translated(address) || has_bit(word, bit)
}

/// True if an IPv6 address may be the host's own.
#[inline(always)]
fn is_host6(address: Address6) -> bool {
    let (word, bit) = host_bit6_of(address);
    has_bit(word, bit)
}

#[inline(always)]
fn has_bit(word: usize, bit: u64) -> bool {
    let Some(words) = HOST.get(0) else { return true };
    // SAFETY: there are 1024 words.
    unsafe { *words.as_ptr().add(word & 1023) & bit != 0 }
}

/// False if no EAM entry of the table begins like an address whose place in the filter this is.
#[inline(always)]
fn may_have((word, bit): (usize, u64)) -> bool {
    let Some(words) = EAM_FILTER.get(0) else { return true };
    // SAFETY: there are as many words; the daemon writes them at any time.
    unsafe { *words.as_ptr().add(word & (FILTER_WORDS - 1)) & bit != 0 }
}
