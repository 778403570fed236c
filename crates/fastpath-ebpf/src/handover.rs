//! Giving a packet to the daemon: through the TUN device, with a word about where it came from.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_change_head};
use xlat_fastpath::config::Config;
use xlat_fastpath::count::Counter;
use xlat_fastpath::handover::{LEN, MAGIC, TC_INDEX, flag};

use crate::tc::view;

/// At an interface's ingress: on to the TUN device, with a mark that says why.
#[inline(always)]
pub fn send_up(skb: *mut __sk_buff, config: &Config, reason: Counter) -> i32 {
    // SAFETY: a field of the context that programs may write.
    unsafe {
        (*skb).tc_index = u32::from(TC_INDEX | reason as u16);
        bpf_redirect(config.device, 0) as i32
    }
}

/// On the TUN device: true for packets that come from there.
#[inline(always)]
pub fn is_marked(skb: *mut __sk_buff) -> bool {
    // SAFETY: a field of the context.
    unsafe { (*skb).tc_index & 0xff00 == u32::from(TC_INDEX) }
}

/// Says so in front of the packet.
#[inline(always)]
pub fn push_marked(skb: *mut __sk_buff) -> i32 {
    // SAFETY: fields of the context.
    let reason = unsafe {
        let reason = (*skb).tc_index as u16 & 0xff;
        (*skb).tc_index = 0;
        reason
    };
    push_with(skb, reason, flag::INGRESS)
}

/// The same for a packet that was routed to the TUN device.
#[inline(always)]
pub fn push(skb: *mut __sk_buff, reason: Counter) -> i32 {
    push_with(skb, reason as u16, 0)
}

/// Writes a `Handover`. A packet without is understood too, so that nothing is lost if there is no room.
#[inline(always)]
fn push_with(skb: *mut __sk_buff, reason: u16, flags: u8) -> i32 {
    // SAFETY: fields of the context, and the context; pointers into the packet are taken anew.
    let (interface, mark) = unsafe {
        let origin = ((*skb).ingress_ifindex, (*skb).mark);
        if bpf_skb_change_head(skb, LEN as u32, 0) != 0 {
            return TC_ACT_UNSPEC;
        }
        origin
    };
    let Some(part) = view(skb, 0).part::<LEN>(0) else { return TC_ACT_UNSPEC };
    part.set_u8::<0>(MAGIC);
    part.set_u8::<1>(flags);
    part.set_u16::<2>(reason);
    part.set_u32::<4>(interface);
    part.set_u32::<8>(mark);
    part.set_u32::<12>(0);
    TC_ACT_UNSPEC
}
