//! Where a packet comes from, as far as its translation depends on it.

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its firewall mark; 0 where it is not known.
    pub mark: u32,
    /// It was taken up at an interface's ingress: the host has not taken a hop yet, and does not know of the packet. What
    /// turns out not to be ours goes back to it ([`crate::Output::give_back`]).
    pub ingress: bool,
    /// Index of the interface it came in by; 0: the host's own, or not known.
    pub interface: u32,
    /// It came out of our own device and was routed back into it: translated again it could go round for ever.
    pub looped: bool,
}

impl Origin {
    /// On the routed path, with a firewall mark.
    pub const fn routed(mark: u32) -> Self {
        Self { mark, ingress: false, interface: 0, looped: false }
    }
}
