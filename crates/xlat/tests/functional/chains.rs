//! Several translators: one after the other (464XLAT, RFC 6877), side by side in namespaces, and several instances in one
//! daemon.

use xlat_netlab::scenes;

use crate::lab::{Xlat, cable, forward, nat64, nodes, routes, skipped};
use crate::programs::{answers, iperf, ping, traceroute};
use crate::sockets::{download, exchange, udp};

/// Scenario 6: the IPv4 program of an IPv6-only site reaches the IPv4 Internet through a CLAT and a PLAT.
#[test]
fn clat_and_plat() {
    const SERVER: &str = "203.0.113.24";
    if skipped() {
        return;
    }
    let [n6, r, plat, n4] = nodes(["n6", "R", "PLAT", "n4"]);
    cable(
        (&n6, "eth0", &["2001:db8:1::8/64", "192.168.0.8/24"]),
        (&r, "eth0", &["192.168.0.1/24", "2001:db8:1::1/64"]),
    );
    cable((&r, "eth1", &["2001:db8:100::1/64"]), (&plat, "eth0", &["2001:db8:100::2/64"]));
    cable((&plat, "eth1", &["203.0.113.1/24"]), (&n4, "eth0", &["203.0.113.24/24"]));
    routes(&n6, &["default via 2001:db8:1::1", "default via 192.168.0.1"]);
    routes(&r, &["64:ff9b::/96 via 2001:db8:100::2"]);
    routes(&plat, &["2001:db8:1::/64 via 2001:db8:100::1", "2001:db8:2::/64 via 2001:db8:100::1"]);
    let at_plat = Xlat::nat64(&plat, "64:ff9b::/96", "203.0.113.2");
    let at_r = Xlat::start(&r, include_str!("../../../../docs/examples/464xlat-clat.toml"));
    ping(&n6, SERVER, 62);
    ping(&n6, "64:ff9b::203.0.113.24", 62);
    assert_eq!(download(&n6, &n4, SERVER, 3_000_000).ip().to_string(), "203.0.113.2");
    let (client, server) = (udp(&n6, 0), udp(&n4, 4000));
    assert_eq!(exchange(&client, &server, SERVER, 4000).ip().to_string(), "203.0.113.2");
    for options in ["", "--reverse", "--udp --bitrate 20M --length 1200"] {
        iperf(&n6, &n4, SERVER, options);
    }
    // The PLAT has no IPv4 address that R could show: R's own stands for it (RFC 6791).
    traceroute(&n6, SERVER, &["192.168.0.1", "192.168.0.1", SERVER]);
    traceroute(&n6, "64:ff9b::203.0.113.24", &["2001:db8:1::1", "2001:db8:100::2", "64:ff9b::203.0.113.24"]);

    // The same with nothing but a default route on the way to the PLAT.
    r.ip("-6 route del 64:ff9b::/96 via 2001:db8:100::2").unwrap();
    routes(&r, &["default via 2001:db8:100::2"]);
    ping(&n6, SERVER, 62);
    ping(&n6, "64:ff9b::203.0.113.24", 62);
    at_r.stop();
    assert!(!answers(&n6, SERVER));
    at_plat.stop();
}

/// Scenario 9: the host's own IPv4 programs through a translator in a namespace.
#[test]
fn node_based_translation() {
    if skipped() {
        return;
    }
    let [main, inner, peer] = nodes(["main", "inner", "peer"]);
    cable((&main, "eth0", &["2001:db8:1::2/48"]), (&peer, "eth0", &["2001:db8:2::4/128"]));
    cable(
        (&main, "to_inner", &["192.0.2.1/24", "2001:db8:f::1/64"]),
        (&inner, "to_main", &["192.0.2.2/24", "2001:db8:f::2/64"]),
    );
    forward(&main);
    routes(
        &main,
        &["2001:db8:2::4/128 dev eth0", "2001:db8:1::3/128 via 2001:db8:f::2", "default via 192.0.2.2"],
    );
    routes(&peer, &["2001:db8:1::/48 dev eth0"]);
    main.run("sysctl -qw net.ipv6.conf.eth0.proxy_ndp=1").unwrap();
    main.ip("-6 neigh add proxy 2001:db8:1::3 dev eth0").unwrap();
    routes(&inner, &["default via 2001:db8:f::1"]);
    let xlat = Xlat::start(
        &inner,
        "[[instance]]\nname = \"node\"\ntype = \"siit\"\n\
         eamt = [\"192.0.2.1 2001:db8:1::3\", \"203.0.113.2 2001:db8:2::4\"]\n",
    );
    ping(&main, "203.0.113.2", 62);
    assert_eq!(download(&main, &peer, "203.0.113.2", 1_000_000).ip().to_string(), "2001:db8:1::3");
    assert_eq!(download(&peer, &main, "2001:db8:1::3", 1_000_000).ip().to_string(), "203.0.113.2");
    xlat.stop();
}

/// Scenario 12: T reaches itself through either of two NAT64s in namespaces.
#[test]
fn two_nat64s_in_namespaces() {
    if skipped() {
        return;
    }
    let [t, blue, red] = scenes::two_translators().unwrap();
    let in_blue = Xlat::nat64(&blue, "2001:db8:64::/96", "192.0.2.2");
    let in_red = Xlat::nat64(&red, "2001:db8:46::/96", "203.0.113.2");
    for (target, mask) in
        [("2001:db8:64::192.0.2.8", "192.0.2.2"), ("2001:db8:46::203.0.113.8", "203.0.113.2")]
    {
        ping(&t, target, 63);
        assert_eq!(download(&t, &t, target, 1_000_000).ip().to_string(), mask);
    }
    in_blue.stop();
    assert!(!answers(&t, "2001:db8:64::192.0.2.8"));
    ping(&t, "2001:db8:46::203.0.113.8", 63);
    in_red.stop();
}

/// A stateless instance for a server and a stateful one for clients, in one daemon.
#[test]
fn siit_and_nat64_in_one_daemon() {
    if skipped() {
        return;
    }
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &["2001:db8::8/64", "2001:db8::80/64"]), (&t, "eth0", &["2001:db8::1/64"]));
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    routes(
        &a,
        &[
            "64:ff9b::/96 via 2001:db8::1 src 2001:db8::8",
            "2001:db8:46::/96 via 2001:db8::1 src 2001:db8::80",
        ],
    );
    let siit = "[[instance]]\nname = \"servers\"\ntype = \"siit\"\neamt = [\"203.0.113.80 2001:db8::80\"]\n\
                [instance.global]\npool6 = \"2001:db8:46::/96\"\n";
    let xlat = Xlat::start(&t, &format!("{siit}{}", nat64("64:ff9b::/96", "203.0.113.2")));
    ping(&a, "64:ff9b::203.0.113.16", 63);
    ping(&a, "2001:db8:46::203.0.113.16", 63);
    ping(&v, "203.0.113.80", 63);
    assert_eq!(download(&a, &v, "64:ff9b::203.0.113.16", 100_000).ip().to_string(), "203.0.113.2");
    assert_eq!(download(&a, &v, "2001:db8:46::203.0.113.16", 100_000).ip().to_string(), "203.0.113.80");
    assert_eq!(download(&v, &a, "203.0.113.80", 100_000).ip().to_string(), "2001:db8:46::cb00:7110");
    // What leaves one instance does not enter the other, so that nothing goes round; the client is told.
    let error = a.run("ping -n -c 1 -w 3 -I 2001:db8::8 64:ff9b::203.0.113.80").unwrap_err().to_string();
    assert!(error.contains("From 64:ff9b::cb00:7101 icmp_seq=1 Destination unreachable"), "{error}");
    xlat.stop();
}
