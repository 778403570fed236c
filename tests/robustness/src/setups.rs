//! The configurations that everything is tried on: all kinds of translator, and the options that change the way of a
//! packet.

use xlat_translate::policy::Hops;

use crate::input::Input;

/// A configuration with the path around it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// As an operator would write it.
    pub toml: &'static str,
    /// Treatment of the hop limit.
    pub hops: Hops,
    /// MTU towards IPv4.
    pub mtu4: u32,
    /// MTU towards IPv6.
    pub mtu6: u32,
    /// `lowest-ipv6-mtu` of the configuration.
    pub lowest: u32,
}

const LINKS: Setup = Setup { toml: "", hops: Hops::Decrement, mtu4: 1500, mtu6: 1500, lowest: 1280 };

/// Mapped nodes, others by pool6.
pub const SIIT: Setup = Setup {
    toml: r#"
[[instance]]
name = "siit"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:a::/120", "10.0.0.0/24 2001:db8:b::/120", "10.0.0.8 2001:db8:c::8"]
denylist4 = ["192.168.9.0/24"]
[instance.global]
pool6 = "2001:db8:100::/40"
rfc6791v4-prefix = "203.0.113.8/29"
"#,
    ..LINKS
};

const SIIT_SIMPLE: Setup = Setup {
    toml: r#"
[[instance]]
name = "siit"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:a::/120", "10.0.0.0/24 2001:db8:b::/120"]
[instance.global]
pool6 = "64:ff9b::/96"
eam-hairpin-mode = "simple"
amend-udp-checksum-zero = true
lowest-ipv6-mtu = 1400
override-tos = true
tos = 36
randomize-rfc6791-addresses = false
rfc6791v4-prefix = "203.0.113.0/24"
rfc6791v6-prefix = "2001:db8:6791::/64"
"#,
    lowest: 1400,
    ..LINKS
};

const SIIT_TUN: Setup = Setup {
    toml: r#"
[[instance]]
name = "siit"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:a::/120"]
[instance.global]
pool6 = "2001:db8:64:ff9b::/64"
eam-hairpin-mode = "off"
zeroize-traffic-class = true
rfc6791v4-dummy = true
mtu-plateaus = [1400, 576]
"#,
    hops: Hops::Restore,
    mtu4: 65535,
    mtu6: 65535,
    ..LINKS
};

/// One address for all clients, one server with a static entry.
pub const NAT64: Setup = Setup {
    toml: r#"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = ["203.0.113.2"]
[[instance.bib]]
protocol = "TCP"
ipv6-address = "2001:db8::80#443"
ipv4-address = "203.0.113.2#443"
[instance.global]
pool6 = "64:ff9b::/96"
"#,
    ..LINKS
};

/// Everything narrow: few ports, few fragments, few sessions, filtering.
pub const NARROW: Setup = Setup {
    toml: r#"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = [
    { protocol = "TCP", prefix = "203.0.113.2", port-range = "2000-2003" },
    { protocol = "UDP", prefix = "203.0.113.2/31", port-range = "2000-2003" },
    { protocol = "ICMP", prefix = "203.0.113.2", port-range = "0-3" },
    { prefix = "203.0.113.5", port-range = "5000-5001", mark = 5 },
]
[[instance.bib]]
protocol = "UDP"
ipv6-address = "2001:db8::80#53"
ipv4-address = "203.0.113.2#2001"
[instance.global]
pool6 = "64:ff9b::/96"
address-dependent-filtering = true
handle-rst-during-fin-rcv = true
maximum-simultaneous-opens = 2
source-icmpv6-errors-better = false
logging-bib = true
logging-session = true
[instance.limits]
max-sessions = 12
max-sessions-per-source = 6
max-bib-entries-per-prefix = 6
max-fragmented-datagrams = 4
max-fragment-bytes = 8192
icmp-error-rate = 5
icmp-error-burst = 5
"#,
    mtu4: 1400,
    mtu6: 1280,
    ..LINKS
};

/// Several side by side; the last one would take some of what the NAT64 returns.
pub const TOGETHER: Setup = Setup {
    toml: r#"
[[instance]]
name = "off"
type = "siit"
[instance.global]
manually-enabled = false
pool6 = "2001:db8:ff::/48"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = ["203.0.113.2", "203.0.113.4/30"]
[instance.global]
pool6 = "64:ff9b::/96"
[[instance]]
name = "siit"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:a::/120", "192.0.2.64/28 64:ff9b::cb00:7100/124"]
"#,
    ..LINKS
};

/// All of them.
pub const ALL: [Setup; 6] = [SIIT, SIIT_SIMPLE, SIIT_TUN, NAT64, NARROW, TOGETHER];

/// IPv4 addresses that mean something in one of the setups.
pub const ADDRESSES4: [[u8; 4]; 20] = [
    [198, 51, 100, 7],
    [198, 51, 100, 8],
    [10, 0, 0, 5],
    [10, 0, 0, 8],
    [203, 0, 113, 2],
    [203, 0, 113, 3],
    [203, 0, 113, 5],
    [203, 0, 113, 16],
    [192, 0, 2, 33],
    [192, 0, 2, 65],
    [192, 0, 2, 1],
    [192, 0, 2, 255],
    [192, 168, 9, 9],
    [192, 0, 0, 8],
    [127, 0, 0, 1],
    [0, 0, 0, 0],
    [224, 0, 0, 5],
    [255, 255, 255, 255],
    [169, 254, 1, 1],
    [172, 16, 0, 1],
];

/// IPv6 addresses that mean something in one of the setups, besides those made of [`ADDRESSES4`].
pub const ADDRESSES6: [[u16; 8]; 12] = [
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 8],
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9],
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80],
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
    [0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 7],
    [0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 5],
    [0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 8],
    [0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 1],
    [0; 8],
    [0xff02, 0, 0, 0, 0, 0, 0, 1],
    [0xfe80, 0, 0, 0, 0, 0, 0, 1],
];

/// One of the setups.
pub fn pick(input: &mut Input<'_>) -> Setup {
    input.pick(&ALL)
}

/// An IPv4 address, mostly one that means something.
pub fn address4(input: &mut Input<'_>) -> std::net::Ipv4Addr {
    match input.byte() {
        255 => input.long().into(),
        byte => ADDRESSES4[usize::from(byte) % ADDRESSES4.len()].into(),
    }
}

/// An IPv6 address: by itself, or an IPv4 address below one of the prefixes.
pub fn address6(input: &mut Input<'_>) -> std::net::Ipv6Addr {
    let embedded = |input: &mut Input<'_>| u128::from(address4(input).to_bits());
    let bits = match input.byte() {
        byte @ 0..64 => return ADDRESSES6[usize::from(byte) % ADDRESSES6.len()].into(),
        64..144 => 0x0064_ff9b << 96 | embedded(input),
        // 2001:db8:100::/40: three bytes, the u octet, the last byte.
        144..224 => {
            let v4 = embedded(input);
            0x0020_010d_b801 << 88 | (v4 >> 8) << 64 | (v4 & 0xff) << 48
        }
        // 2001:db8:64:ff9b::/64: the u octet, four bytes.
        224..255 => 0x2001_0db8_0064_ff9b << 64 | embedded(input) << 24,
        255 => {
            let half = u128::from(input.long()) << 32 | u128::from(input.long());
            half << 64 | u128::from(input.long())
        }
    };
    bits.into()
}
