//! What happens around a running daemon: interfaces and addresses come and go, firewalls look on, the host itself uses it.

use xlat_netlab::{Namespace, scenes};

use crate::lab::{Xlat, cable, eventually, nat64, no_fast_path, skipped};
use crate::programs::{answers, ping, ping_with};
use crate::sockets::{download, exchange, udp};

const V: &str = "64:ff9b::203.0.113.16";

/// A and V on either side of T, which translates.
fn scene() -> ([Namespace; 3], Xlat) {
    let [a, t, v] = scenes::two_cables().unwrap();
    let xlat = Xlat::nat64(&t, "64:ff9b::/96", "203.0.113.2");
    ([a, t, v], xlat)
}

#[test]
fn interfaces_go_down_and_come_up() {
    if skipped() {
        return;
    }
    let ([a, t, v], xlat) = scene();
    ping(&a, V, 63);
    t.ip("link set eth1 down").unwrap();
    assert!(!answers(&a, V));
    t.ip("link set eth1 up").unwrap();
    eventually("ping after the IPv4 interface came up", || answers(&a, V));

    t.ip("link set eth0 down").unwrap();
    assert!(!answers(&a, V));
    t.ip("link set eth0 up").unwrap();
    // Linux forgets IPv6 addresses of an interface that goes down.
    t.address("eth0", "2001:db8::1/96").unwrap();
    eventually("ping after the IPv6 interface came up", || answers(&a, V));

    t.ip("link set xlat0 down").unwrap();
    eventually("ping after the device of the daemon went down", || {
        answers(&a, V) || t.ip("link set xlat0 up").is_err()
    });
    ping(&a, V, 63);

    t.ip("link del eth1").unwrap();
    assert!(!answers(&a, V));
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    eventually("ping through a new interface", || answers(&a, V));
    assert_eq!(download(&a, &v, V, 100_000).ip().to_string(), "203.0.113.2");
    xlat.stop();
    assert_eq!(t.ip("neigh show proxy").unwrap(), "");
}

#[test]
fn addresses_come_and_go_without_harm_to_flows() {
    if skipped() {
        return;
    }
    let ([a, t, v], xlat) = scene();
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    let before = exchange(&client, &server, V, 4000);
    for _ in 0..20 {
        t.address("eth1", "203.0.113.7/24").unwrap();
        t.address("eth0", "2001:db8::7/96").unwrap();
        t.ip("address del 203.0.113.7/24 dev eth1").unwrap();
        t.ip("-6 address del 2001:db8::7/96 dev eth0").unwrap();
    }
    t.address("eth1", "198.51.100.1/24").unwrap();
    assert_eq!(exchange(&client, &server, V, 4000), before, "the mapping stays");
    t.ip("address del 203.0.113.1/24 dev eth1").unwrap();
    assert!(!answers(&a, V));
    t.address("eth1", "203.0.113.1/24").unwrap();
    eventually("ping after the address came back", || answers(&a, V));
    assert_eq!(exchange(&client, &server, V, 4000), before, "the mapping stays");
    // The kernel's part keeps packets from going round; rules would make every route look-up of the host dearer.
    let rules = t.ip("rule").unwrap();
    assert!(!rules.contains("xlat0") || no_fast_path(&xlat), "{rules}");
    xlat.stop();
}

/// Other programs think that all routes and rules of a host are theirs (a network manager that starts again, an operator who
/// flushes).
#[test]
fn routes_and_rules_that_others_delete_come_back() {
    if skipped() {
        return;
    }
    let [a, t, _v] = scenes::two_cables().unwrap();
    // Without the kernel's part nothing passes but by routes, and rules keep packets from going round.
    let config = nat64("64:ff9b::/96", "203.0.113.2") + "[fast-path]\nenabled = false\n";
    let xlat = Xlat::start(&t, &config);
    let rules = || t.ip("rule").unwrap() + &t.ip("-6 rule").unwrap();
    let before = rules();
    assert!(before.contains("iif xlat0 unreachable"), "{before}");
    ping(&a, V, 63);
    for _ in 0..3 {
        t.ip("-6 route del 64:ff9b::/96").unwrap();
        t.ip("route flush proto 64").unwrap();
        eventually("ping after the routes were deleted", || answers(&a, V));
        for rule in ["rule del iif xlat0 unreachable", "-6 rule del iif xlat0 lookup main"] {
            t.ip(rule).unwrap();
        }
        eventually("the rules are there again", || rules() == before);
    }
    xlat.stop();
    assert!(!rules().contains("xlat0") && !t.ip("-6 route").unwrap().contains("64:ff9b::"));
}

/// Translated packets pass the firewall like any forwarded packet, once in each family.
#[test]
fn firewall_rules_see_both_sides() {
    const RULES: &str = "add table inet watch
        add chain inet watch forward { type filter hook forward priority 0; policy accept; }
        add rule inet watch forward iifname eth0 oifname xlat0 ip6 daddr 64:ff9b::/96 counter name in6
        add rule inet watch forward iifname xlat0 oifname eth1 ip saddr 203.0.113.2 counter name out4
        add rule inet watch forward iifname eth1 oifname xlat0 ip daddr 203.0.113.2 counter name in4
        add rule inet watch forward iifname xlat0 oifname eth0 ip6 saddr 64:ff9b::/96 counter name out6
        add rule inet watch forward tcp dport 81 drop";
    const COUNTERS: [&str; 4] = ["in6", "out4", "in4", "out6"];
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    // Also what the kernel translates by itself, if it is told to.
    let config = nat64("64:ff9b::/96", "203.0.113.2").replace("type =", "output = \"stack\"\ntype =");
    let xlat = Xlat::start(&t, &config);
    t.run("nft add table inet watch").unwrap();
    for name in COUNTERS {
        t.run(&format!("nft add counter inet watch {name}")).unwrap();
    }
    for line in RULES.lines().skip(1) {
        t.run(&format!("nft {}", line.trim())).unwrap();
    }
    ping(&a, V, 63);
    for name in COUNTERS {
        let counted = t.run(&format!("nft list counter inet watch {name}")).unwrap();
        assert!(counted.contains("packets 2 "), "{name}: {counted}");
    }
    assert_eq!(download(&a, &v, V, 100_000).ip().to_string(), "203.0.113.2");
    let error = a.run(
        "curl --silent --show-error --globoff --noproxy * --max-time 1 http://[64:ff9b::203.0.113.16]:81/",
    );
    assert!(error.unwrap_err().to_string().contains("timed out"));
    xlat.stop();
}

/// The host that translates is its own client too.
#[test]
fn own_traffic_of_the_translator() {
    if skipped() {
        return;
    }
    let ([a, t, v], xlat) = scene();
    for hop_limit in [1, 2, 64, 255] {
        let answered = t.run(&format!("ping -n -c 1 -w 3 -t {hop_limit} {V}"));
        assert_eq!(answered.is_ok(), hop_limit > 1, "hop limit {hop_limit}: {answered:?}");
    }
    // The device takes packets of any size: only the way behind it tells what fits.
    assert!(t.run(&format!("ping -n -c 1 -w 3 -s 3000 {V}")).unwrap_err().to_string().contains("mtu=1520"));
    // Nobody forwards the answer once it is IPv6.
    ping_with(&t, "-s 3000", V, 64);
    assert_eq!(download(&t, &v, V, 1_000_000).ip().to_string(), "203.0.113.2");
    let (client, server) = (udp(&t, 4000), udp(&v, 4000));
    assert_eq!(exchange(&client, &server, V, 4000).ip().to_string(), "203.0.113.2");
    ping(&a, V, 63);
    xlat.stop();
}

/// What comes out of the translator and would be routed back into it ends there, and its sender is told.
#[test]
fn packets_that_would_go_round_are_refused() {
    if skipped() {
        return;
    }
    let [a, t, _v] = scenes::two_cables().unwrap();
    let config = "[[instance]]\nname = \"siit\"\ntype = \"siit\"\n\
                  eamt = [\"198.51.100.0/24 2001:db8:0:0::/120\"]\nroutes = [\"192.0.2.0/24\"]\n\
                  [instance.global]\npool6 = \"64:ff9b::/96\"\n";
    for fast_path in ["", "[fast-path]\nenabled = false\n"] {
        let xlat = Xlat::start(&t, &format!("{fast_path}{config}"));
        let error = a.run("ping -n -c 3 -i 0.2 -w 2 64:ff9b::192.0.2.5").unwrap_err().to_string();
        assert!(error.contains("100% packet loss"), "{fast_path}: {error}");
        // Where the kernel's routing rules do it, its own error finds no way back.
        assert!(error.contains("unreachable") || !fast_path.is_empty(), "{error}");
        xlat.stop();
    }
}
