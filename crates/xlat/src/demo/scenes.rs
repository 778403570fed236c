//! The two scenes and their steps.

use super::report::Report;
use super::scene::{Layout, Scene};
use super::steps::{amount, download, exchange, ping, small_mtu, traceroute, upload};

/// How much goes over the path with the smaller MTU, in bytes.
const SMALL_MTU_BYTES: u64 = 20_000_000;

/// Stateful NAT64 (RFC 6146).
pub(super) const NAT64: Layout = Layout {
    title: "Stateful NAT64 on one wire",
    drawing: "  A  2001:db8::8    --+
                      +--  T  2001:db8::1, 203.0.113.1 and 203.0.113.2 on one interface, all offloads on
  V  203.0.113.16   --+       xlat: pool6 64:ff9b::/96, pool4 203.0.113.2, which T itself has too",
    config: r#"[[instance]]
name = "default"
type = "nat64"
pool4 = ["203.0.113.2"]

[instance.global]
pool6 = "64:ff9b::/96"
"#,
    a: &["address add 2001:db8::8/96 dev eth0 nodad", "route add 64:ff9b::/96 via 2001:db8::1"],
    t: &["address add 2001:db8::1/96 dev eth0 nodad", "address add 203.0.113.1/24 dev eth0"],
    shared: Some((
        "address add 203.0.113.2/24 dev eth0",
        "T cannot have pool4's address itself, and the daemon translates every packet",
    )),
    v: &["address add 203.0.113.16/24 dev eth0"],
};

/// Stateless translation (RFC 7915) with explicit address mappings (RFC 7757).
pub(super) const SIIT: Layout = Layout {
    title: "Stateless translation with explicit address mappings on one wire",
    drawing: "  A  2001:db8:6::8  --+
                      +--  T  2001:db8:6::1 and 192.0.2.1 on one interface
  V  192.0.2.16     --+       xlat: 2001:db8:6::/120 <-> 198.51.100.0/24, 2001:db8:4::/120 <-> 192.0.2.0/24",
    config: r#"[[instance]]
name = "default"
type = "siit"
eamt = ["198.51.100.0/24 2001:db8:6::/120", "192.0.2.0/24 2001:db8:4::/120"]
"#,
    a: &["address add 2001:db8:6::8/96 dev eth0 nodad", "route add 2001:db8:4::/120 via 2001:db8:6::1"],
    t: &["address add 2001:db8:6::1/96 dev eth0 nodad", "address add 192.0.2.1/24 dev eth0"],
    shared: None,
    v: &["address add 192.0.2.16/24 dev eth0", "route add 198.51.100.0/24 via 192.0.2.1"],
};

/// The steps on [`NAT64`].
pub(super) fn nat64(scene: &mut Scene, report: &mut Report, bytes: u64) {
    const V: &str = "64:ff9b::203.0.113.16";
    report.step("ping A -> V", || scene.with_shares(|scene| ping(&scene.a, V, 56, 63)));
    let name = format!("HTTP download of {}", amount(bytes));
    report.step(&name, || scene.with_shares(|scene| download(&scene.a, V, bytes)));
    report.step("HTTP upload of 20 MB", || {
        scene.with_shares(|scene| upload(scene, &scene.a, V, SMALL_MTU_BYTES))
    });
    report.step("UDP exchange", || scene.with_shares(|scene| exchange(scene, &scene.a, V)));
    let hops = [("2001:db8::1", "T"), ("64:ff9b::cb00:7110", "V")];
    report.step("traceroute A -> V", || scene.with_shares(|scene| traceroute(&scene.a, V, &hops)));
    report.step("ping with 8000 bytes", || scene.with_shares(|scene| ping(&scene.a, V, 8000, 63)));
    report
        .step("smaller MTU: 1300 and 1400", || scene.with_shares(|scene| small_mtu(scene, SMALL_MTU_BYTES)));
}

/// The steps on [`SIIT`]. No large ping: fragmented ICMP is not for stateless translators (RFC 7915 1.2); the UDP exchange
/// has fragments.
pub(super) fn siit(scene: &mut Scene, report: &mut Report, bytes: u64) {
    const V: &str = "2001:db8:4::10";
    const A: &str = "198.51.100.8";
    report.step("ping A -> V", || scene.with_shares(|scene| ping(&scene.a, V, 56, 63)));
    report.step("ping V -> A", || scene.with_shares(|scene| ping(&scene.v, A, 56, 63)));
    let name = |way: &str| format!("HTTP download of {}, {way}", amount(bytes));
    report.step(&name("A -> V"), || scene.with_shares(|scene| download(&scene.a, V, bytes)));
    report.step(&name("V -> A"), || scene.with_shares(|scene| download(&scene.v, A, bytes)));
    report.step("UDP exchange, A -> V", || scene.with_shares(|scene| exchange(scene, &scene.a, V)));
    report.step("UDP exchange, V -> A", || scene.with_shares(|scene| exchange(scene, &scene.v, A)));
    report.step("traceroute A -> V", || {
        scene.with_shares(|scene| traceroute(&scene.a, V, &[("2001:db8:6::1", "T"), (V, "V")]))
    });
    report.step("traceroute V -> A", || {
        scene.with_shares(|scene| traceroute(&scene.v, A, &[("192.0.2.1", "T"), (A, "A")]))
    });
}
