//! What the program counts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Translated packets of an instance. A super-packet counts as its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Traffic {
    /// Packets from IPv6 to IPv4.
    pub packets64: u64,
    /// Their bytes as IPv6.
    pub bytes64: u64,
    /// Packets from IPv4 to IPv6.
    pub packets46: u64,
    /// Their bytes as IPv4.
    pub bytes46: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident: $name:literal, $text:literal;)*) => {
        /// One number each, added up over the processors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Counter { $(#[doc = $text] $variant,)* }

        /// How many there are.
        pub const COUNT: u32 = [$(Counter::$variant),*].len() as u32;

        impl Counter {
            /// All of them.
            pub const ALL: [Self; COUNT as usize] = [$(Self::$variant),*];

            /// The name that operators see.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

counters! {
    Passed: "passed", "not for the translator: left to the host unchanged";
    Direct: "sent-direct", "translated and sent by the way that is remembered";
    Neighbour: "sent-neighbour", "translated and sent through the neighbour table";
    Stack: "sent-stack", "translated and given to the host's own forwarding";
    Xdp: "sent-xdp", "translated and sent by XDP";
    NoDaemon: "no-daemon", "left to the host: the daemon has been gone for longer than it may";
    OwnPort: "own-port", "left to the host: its own address, and no BIB entry has the port";
    Vlan: "vlan", "left to the host: tagged; the VLAN's own interface takes it up";
    OtherHost: "other-host", "left to the host: the frame is for another station";
    Malformed: "up-malformed", "handed over: headers are incomplete or contradict the length";
    NoFlow: "up-no-flow", "handed over: no flow is known (new, or not worth repeating yet)";
    TcpFlags: "up-tcp-flags", "handed over: TCP with SYN, FIN or RST";
    Options: "up-options", "handed over: IPv4 options or IPv6 extension headers";
    Fragment: "up-fragment", "handed over: a fragment";
    IcmpError: "up-icmp-error", "handed over: an ICMP error";
    IcmpOther: "up-icmp-other", "handed over: an ICMP message that is not an echo";
    Protocol: "up-protocol", "handed over: another protocol than TCP, UDP and ICMP";
    NoChecksum: "up-no-checksum", "handed over: UDP without checksum";
    HopLimit: "up-hop-limit", "handed over: the hop limit ends here";
    TooBig: "up-too-big", "handed over: larger than the way out takes, or to be fragmented";
    NoRoute: "up-no-route", "handed over: no route, or one that the program cannot take";
    Gso: "up-gso", "handed over: a super-packet of a kind that the kernel does not convert (UDP)";
    Mark: "up-mark", "handed over: the flow has another firewall mark";
    Untranslatable: "up-untranslatable", "handed over: the stateless tables have no address, or the address is refused";
    Hairpin: "up-hairpin", "handed over: both ends are on this side";
    Instance: "up-instance", "handed over: the instance wants to see every packet";
    Loop: "up-loop", "handed over, to be refused: it came out of the device and was routed back into it";
    Xdp2Tc: "xdp-to-tc", "left by XDP to the tc program";
    Failed: "up-failed", "handed over: a helper of the kernel refused";
    Lost: "lost", "dropped: a helper refused after the packet was changed";
}
