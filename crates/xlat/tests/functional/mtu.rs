//! Path MTU discovery through the translator, both ways, and `lowest-ipv6-mtu` (scenario 17).

use std::net::SocketAddr;

use xlat_netlab::Namespace;

use crate::lab::{Xlat, cable, forward, nodes, routes, skipped};
use crate::programs::{ping_with, traceroute};
use crate::sockets::{download, exchange, mapped, pattern, udp};

/// A - R - T - S - V: a router on each side of T, so that errors come from others than T itself.
struct Path {
    a: Namespace,
    r: Namespace,
    t: Namespace,
    s: Namespace,
    v: Namespace,
}

const A: &str = "198.51.100.8";
const V: &str = "64:ff9b::192.0.2.16";

/// R and S say that more than `mtu6` and `mtu4` bytes do not fit, as if tunnels began there; the ends have to find out.
fn path(mtu6: u16, mtu4: u16) -> Path {
    let [a, r, t, s, v] = nodes(["A", "R", "T", "S", "V"]);
    cable((&a, "eth0", &["2001:db8:6::8/64"]), (&r, "eth0", &["2001:db8:6::1/64"]));
    cable((&r, "eth1", &["2001:db8:100::2/64"]), (&t, "eth0", &["2001:db8:100::1/64"]));
    cable((&s, "eth1", &["203.0.113.2/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    cable((&v, "eth0", &["192.0.2.16/24"]), (&s, "eth0", &["192.0.2.1/24"]));
    r.ip(&format!("-6 route add 2001:db8:6::8/128 dev eth0 mtu lock {mtu6}")).unwrap();
    s.ip(&format!("route add 192.0.2.16/32 dev eth0 mtu lock {mtu4}")).unwrap();
    for router in [&r, &s] {
        forward(router);
    }
    routes(&a, &["default via 2001:db8:6::1"]);
    routes(&r, &["default via 2001:db8:100::1"]);
    routes(&t, &["2001:db8:6::/64 via 2001:db8:100::2", "192.0.2.0/24 via 203.0.113.2"]);
    routes(&s, &["default via 203.0.113.1"]);
    routes(&v, &["default via 192.0.2.1"]);
    Path { a, r, t, s, v }
}

fn config(global: &str) -> String {
    format!(
        "[[instance]]\nname = \"example\"\ntype = \"siit\"\neamt = [\"{A} 2001:db8:6::8\"]\n\
         [instance.global]\npool6 = \"64:ff9b::/96\"\nrfc6791v4-dummy = true\n{global}\n"
    )
}

/// How many Packet Too Big a router has sent.
fn too_big_sent(router: &Namespace) -> u64 {
    let counters = router.run("cat /proc/net/snmp6").unwrap();
    let line = counters.lines().find(|line| line.starts_with("Icmp6OutPktTooBigs")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Each sender learns the MTU of the far side, 20 bytes apart: a header of 40 bytes instead of 20.
#[test]
fn learned_on_both_sides() {
    if skipped() {
        return;
    }
    let Path { a, r, t, s: _s, v } = &path(1300, 1400);
    let xlat = Xlat::start(t, &config(""));
    // The server is the sender that has to learn. V last: what it has learned it tells A as its MSS.
    assert_eq!(download(v, a, A, 500_000).ip().to_string(), "64:ff9b::c000:210");
    assert_eq!(download(a, v, V, 500_000).ip().to_string(), A);
    let learned = v.ip(&format!("route get {A}")).unwrap();
    assert!(learned.contains("mtu 1280"), "{learned}");
    let learned = a.ip(&format!("route get {V}")).unwrap();
    assert!(learned.contains("mtu 1420"), "{learned}");
    assert!(too_big_sent(r) > 0);
    let (at_a, at_v) = (udp(a, 4000), udp(v, 4000));
    exchange(&at_a, &at_v, V, 4000);
    exchange(&at_v, &at_a, A, 4000);
    traceroute(a, V, &["2001:db8:6::1", "2001:db8:100::1", "64:ff9b::203.0.113.2", V]);
    traceroute(v, A, &["192.0.2.1", "203.0.113.1", "192.0.0.8", A]);
    xlat.stop();
}

/// IPv4 senders that allow fragments (DF clear) never meet a Packet Too Big while `lowest-ipv6-mtu` is right.
#[test]
fn lowest_ipv6_mtu_decides_who_cuts() {
    if skipped() {
        return;
    }
    let Path { a, r, t, s: _s, v } = &path(1400, 1500);
    // Sockets that are opened from now on leave DF clear.
    v.run("sysctl -qw net.ipv4.ip_no_pmtu_disc=1").unwrap();
    let (at_a, at_v) = (udp(a, 4000), udp(v, 4000));
    for lowest in [1280, 1400] {
        let xlat = Xlat::start(t, &config(&format!("lowest-ipv6-mtu = {lowest}")));
        exchange(&at_v, &at_a, A, 4000);
        assert_eq!(too_big_sent(r), 0, "lowest-ipv6-mtu {lowest}");
        xlat.stop();
    }
    let xlat = Xlat::start(t, &config("lowest-ipv6-mtu = 1500"));
    at_v.send_to(&pattern(1472), SocketAddr::new(mapped(A), 4000)).unwrap();
    assert!(at_a.recv(&mut [0; 1500]).is_err());
    assert_eq!(too_big_sent(r), 1);
    xlat.stop();
}

/// The MTU of T's own interfaces changes while it runs.
#[test]
fn interfaces_of_the_translator_become_narrower() {
    if skipped() {
        return;
    }
    let Path { a, r, t, s, v } = &path(1500, 1500);
    let xlat = Xlat::start(t, &config(""));
    ping_with(a, "-s 1200", V, 61);
    assert_eq!(download(a, v, V, 300_000).ip().to_string(), A);
    t.ip("link set eth0 mtu 1400").unwrap();
    r.ip("link set eth1 mtu 1400").unwrap();
    assert_eq!(download(a, v, V, 300_000).ip().to_string(), A);
    let learned = v.ip(&format!("route get {A}")).unwrap();
    assert!(learned.contains("mtu 1380"), "{learned}");
    t.ip("link set eth1 mtu 1300").unwrap();
    s.ip("link set eth1 mtu 1300").unwrap();
    assert_eq!(download(v, a, A, 300_000).ip().to_string(), "64:ff9b::c000:210");
    let learned = a.ip(&format!("route get {V}")).unwrap();
    assert!(learned.contains("mtu 1320"), "{learned}");
    t.ip("link set eth0 mtu 1500").unwrap();
    r.ip("link set eth1 mtu 1500").unwrap();
    assert_eq!(download(a, v, V, 300_000).ip().to_string(), A);
    xlat.stop();
}
