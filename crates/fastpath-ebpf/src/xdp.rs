use aya_ebpf::bindings::xdp_md;
pub fn ingress<const FRAGS: bool>(_context: *mut xdp_md) -> u32 { 2 }
