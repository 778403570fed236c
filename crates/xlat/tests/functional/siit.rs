//! Stateless translation (RFC 7915): pool6 alone, explicit address mappings (RFC 7757), SIIT-DC (RFC 7755).

use xlat_netlab::{Namespace, Wire};

use crate::lab::{Xlat, cable, forward, nodes, routes, skipped};
use crate::programs::{answers, iperf, ping, traceroute};
use crate::sockets::{download, exchange, udp};

const BYTES: usize = 3_000_000;

/// A - T - V, as in the first two scenarios: IPv6 on one side, IPv4 on the other.
fn two_sides(a6: &str, t6: &str) -> [Namespace; 3] {
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &[a6]), (&t, "eth0", &[t6]));
    cable((&v, "eth0", &["192.0.2.16/24"]), (&t, "eth1", &["192.0.2.1/24"]));
    routes(&v, &["198.51.100.0/24 via 192.0.2.1"]);
    [a, t, v]
}

/// Both directions with everything: `a6` is V for A, `v4` is A for V.
fn both_ways(a: &Namespace, v: &Namespace, v_for_a: &str, a_for_v: &str) {
    ping(v, a_for_v, 63);
    ping(a, v_for_a, 63);
    assert_eq!(download(a, v, v_for_a, BYTES).ip().to_string(), a_for_v);
    assert_eq!(download(v, a, a_for_v, BYTES).ip().to_string(), v_for_a);
    let (at_a, at_v) = (udp(a, 4000), udp(v, 4000));
    assert_eq!(exchange(&at_a, &at_v, v_for_a, 4000).to_string(), format!("{a_for_v}:4000"));
    assert_eq!(exchange(&at_v, &at_a, a_for_v, 4000).to_string(), format!("[{v_for_a}]:4000"));
}

/// Scenario 1.
#[test]
fn stock() {
    const V: &str = "2001:db8::c000:210";
    if skipped() {
        return;
    }
    let [a, t, v] = two_sides("2001:db8::198.51.100.8/120", "2001:db8::198.51.100.1/120");
    routes(&a, &["2001:db8::192.0.2.0/120 via 2001:db8::198.51.100.1"]);
    let xlat = Xlat::start(
        &t,
        "[[instance]]\nname = \"example\"\ntype = \"siit\"\nroutes = [\"198.51.100.0/24\"]\n\
         [instance.global]\npool6 = \"2001:db8::/96\"\n",
    );
    both_ways(&a, &v, V, "198.51.100.8");
    traceroute(&a, V, &["2001:db8::c633:6401", V]);
    traceroute(&v, "198.51.100.8", &["192.0.2.1", "198.51.100.8"]);
    for (client, server, target) in [(&a, &v, V), (&v, &a, "198.51.100.8")] {
        for options in ["", "--reverse"] {
            iperf(client, server, target, options);
        }
    }
    xlat.stop();
    assert!(!answers(&v, "198.51.100.8") && !answers(&a, V));
}

/// Scenario 2, first as written, then with a pool6 for addresses without an entry.
#[test]
fn explicit_address_mappings() {
    const EAMT: &str = "eamt = [\"2001:db8:6::/120 198.51.100.0/24\", \"2001:db8:4::/120 192.0.2.0/24\"]\n";
    if skipped() {
        return;
    }
    let [a, t, v] = two_sides("2001:db8:6::8/96", "2001:db8:6::1/96");
    routes(&a, &["2001:db8:4::/120 via 2001:db8:6::1", "64:ff9b::/96 via 2001:db8:6::1"]);
    let instance = "[[instance]]\nname = \"example\"\ntype = \"siit\"\n";
    let xlat = Xlat::start(&t, &format!("{instance}{EAMT}"));
    both_ways(&a, &v, "2001:db8:4::10", "198.51.100.8");
    traceroute(&a, "2001:db8:4::10", &["2001:db8:6::1", "2001:db8:4::10"]);
    traceroute(&v, "198.51.100.8", &["192.0.2.1", "198.51.100.8"]);
    assert!(!answers(&a, "64:ff9b::203.0.113.5"));
    xlat.stop();

    let xlat = Xlat::start(&t, &format!("{instance}{EAMT}[instance.global]\npool6 = \"64:ff9b::/96\"\n"));
    v.address("eth0", "203.0.113.5/24").unwrap();
    routes(&t, &["203.0.113.0/24 dev eth1"]);
    ping(&a, "64:ff9b::203.0.113.5", 63);
    assert_eq!(download(&a, &v, "64:ff9b::203.0.113.5", 1000).ip().to_string(), "198.51.100.8");
    ping(&a, "2001:db8:4::10", 63);
    xlat.stop();
}

/// From the IPv4 side through an IPv6 router that has no IPv4 address: it appears by one of the RFC 6791 pool.
#[test]
fn a_router_without_ipv4_address_appears_by_the_pool() {
    if skipped() {
        return;
    }
    let [a, r, t, v] = nodes(["A", "R", "T", "V"]);
    cable((&a, "eth0", &["2001:db8:6::8/64"]), (&r, "eth0", &["2001:db8:6::1/64"]));
    cable((&r, "eth1", &["2001:db8:100::2/64"]), (&t, "eth0", &["2001:db8:100::1/64"]));
    cable((&v, "eth0", &["192.0.2.16/24"]), (&t, "eth1", &["192.0.2.1/24"]));
    forward(&r);
    routes(&a, &["default via 2001:db8:6::1"]);
    routes(&r, &["default via 2001:db8:100::1"]);
    routes(&t, &["2001:db8:6::/64 via 2001:db8:100::2"]);
    routes(&v, &["default via 192.0.2.1"]);
    let xlat = Xlat::start(
        &t,
        "[[instance]]\nname = \"example\"\ntype = \"siit\"\neamt = [\"198.51.100.8 2001:db8:6::8\"]\n\
         [instance.global]\npool6 = \"64:ff9b::/96\"\nrfc6791v4-prefix = \"198.51.100.254/32\"\n",
    );
    ping(&v, "198.51.100.8", 62);
    ping(&a, "64:ff9b::192.0.2.16", 62);
    traceroute(&v, "198.51.100.8", &["192.0.2.1", "198.51.100.254", "198.51.100.8"]);
    traceroute(&a, "64:ff9b::192.0.2.16", &["2001:db8:6::1", "2001:db8:100::1", "64:ff9b::192.0.2.16"]);
    xlat.stop();
}

/// Two IPv6 nodes that know each other by IPv4 addresses only: T turns their packets back (RFC 7757 4), and each sees the
/// other by its mapped address.
#[test]
fn mapped_nodes_meet_through_the_translator() {
    if skipped() {
        return;
    }
    let (wire, [a, c, t]) = (Wire::new().unwrap(), nodes(["A", "C", "T"]));
    for (node, address) in [(&a, "2001:db8:6::8/64"), (&c, "2001:db8:6::9/64"), (&t, "2001:db8:6::1/64")] {
        wire.attach(node, "eth0").unwrap();
        node.address("eth0", address).unwrap();
    }
    // An IPv4 address for T's own errors.
    t.address("lo", "192.0.2.1/32").unwrap();
    for node in [&a, &c] {
        routes(node, &["64:ff9b::/96 via 2001:db8:6::1"]);
    }
    for mode in ["intrinsic", "simple"] {
        let xlat = Xlat::start(
            &t,
            &format!(
                "[[instance]]\nname = \"example\"\ntype = \"siit\"\neamt = [\"2001:db8:6::/120 198.51.100.0/24\"]\n\
                 [instance.global]\npool6 = \"64:ff9b::/96\"\neam-hairpin-mode = \"{mode}\"\n"
            ),
        );
        ping(&a, "64:ff9b::198.51.100.9", 63);
        let seen = download(&a, &c, "64:ff9b::198.51.100.9", BYTES);
        assert_eq!(seen.ip().to_string(), "64:ff9b::c633:6408", "{mode}");
        let (at_a, at_c) = (udp(&a, 4000), udp(&c, 4000));
        let seen = exchange(&at_c, &at_a, "64:ff9b::198.51.100.8", 4000);
        assert_eq!(seen.to_string(), "[64:ff9b::c633:6409]:4000", "{mode}");
        xlat.stop();
    }
}

/// Scenarios 7 and 8: a data centre without IPv4 inside, and an IPv4 island in it behind an edge relay.
#[test]
fn siit_dc_and_dual_translation() {
    const CLIENT: &str = "203.0.113.50";
    if skipped() {
        return;
    }
    let [n4, br, s6, er, island] = nodes(["n4", "BR", "s6", "ER", "island"]);
    cable((&n4, "eth0", &["203.0.113.50/24"]), (&br, "out", &["203.0.113.1/24"]));
    cable((&s6, "eth0", &["2001:db8:12:34::1/64"]), (&br, "in0", &["2001:db8:12:34::ff/64"]));
    cable((&er, "eth0", &["2001:db8:1::2/64"]), (&br, "in1", &["2001:db8:1::1/64"]));
    cable((&island, "eth0", &["198.51.100.1/24"]), (&er, "eth1", &["198.51.100.254/24"]));
    routes(&n4, &["192.0.2.0/24 via 203.0.113.1"]);
    routes(&s6, &["default via 2001:db8:12:34::ff"]);
    routes(&br, &["2001:db8:3333::464:0/120 via 2001:db8:1::2"]);
    routes(&er, &["2001:db8::/32 via 2001:db8:1::1"]);
    routes(&island, &["default via 198.51.100.254"]);
    let relay = |eamt: &str, more: &str| {
        format!(
            "[[instance]]\nname = \"relay\"\ntype = \"siit\"\neamt = [{eamt}]\n{more}\
             [instance.global]\npool6 = \"2001:db8:46::/96\"\n"
        )
    };
    let at_br =
        Xlat::start(&br, &relay("\"192.0.2.1 2001:db8:12:34::1\", \"192.0.2.2 2001:db8:3333::464:1\"", ""));
    ping(&n4, "192.0.2.1", 63);
    assert_eq!(download(&n4, &s6, "192.0.2.1", BYTES).ip().to_string(), "2001:db8:46::cb00:7132");
    // An IPv6 client's packets are forwarded untouched.
    ping(&er, "2001:db8:12:34::1", 63);
    assert_eq!(download(&er, &s6, "2001:db8:12:34::1", 1000).ip().to_string(), "2001:db8:1::2");

    let at_er = Xlat::start(
        &er,
        "[[instance]]\nname = \"relay\"\ntype = \"siit\"\n\
         eamt = [\"198.51.100.0/24 2001:db8:3333::464:0/120\"]\nroutes = [\"0.0.0.0/0\"]\n\
         [instance.global]\npool6 = \"2001:db8:46::/96\"\n",
    );
    ping(&n4, "192.0.2.2", 62);
    ping(&island, CLIENT, 62);
    assert_eq!(download(&n4, &island, "192.0.2.2", BYTES).ip().to_string(), CLIENT);
    assert_eq!(download(&island, &n4, CLIENT, BYTES).ip().to_string(), "192.0.2.2");
    let (client, server) = (udp(&n4, 4000), udp(&island, 4000));
    assert_eq!(exchange(&client, &server, "192.0.2.2", 4000).to_string(), format!("{CLIENT}:4000"));
    at_er.stop();
    at_br.stop();
}
