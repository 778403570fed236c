//! Stateful NAT64 (RFC 6146) behind one dedicated address: two interfaces, one interface, port forwarding, hairpinning.

use std::net::SocketAddr;

use xlat_netlab::{Namespace, Wire, scenes};

use crate::lab::{Xlat, cable, nodes, routes, skipped};
use crate::programs::{answers, iperf, ping, ping_with, traceroute};
use crate::sockets::{download, exchange, listen, mapped, serve_one, udp};

const POOL6: &str = "64:ff9b::/96";
const MASK: &str = "203.0.113.2";
const V: &str = "64:ff9b::203.0.113.16";

/// What a client of the stateful translator must be able to do; `mask` is what V sees.
fn client(a: &Namespace, v: &Namespace) {
    ping(a, V, 63);
    ping_with(a, "-s 3000", V, 63);
    assert_eq!(download(a, v, V, 3_000_000).ip().to_string(), MASK);
    let (client, server) = (udp(a, 4000), udp(v, 4000));
    assert_eq!(exchange(&client, &server, V, 4000).ip().to_string(), MASK);
    traceroute(a, V, &["2001:db8::1", V]);
}

/// Scenario 3, with an address of its own.
#[test]
fn two_interfaces() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let mut xlat = Xlat::nat64(&t, POOL6, MASK);
    client(&a, &v);
    assert_eq!(xlat.counter("nat64 ICMP BIB entries").min(1), 1);
    // Nobody outside can begin.
    let (inside, outside) = (udp(&a, 5000), udp(&v, 5000));
    outside.send_to(b"hello", (MASK, 5000)).unwrap();
    assert!(inside.recv(&mut [0; 16]).is_err());
    xlat.stop();
    assert!(!answers(&a, V));
}

/// Scenario 4: all on one wire, T with both protocols on one interface.
#[test]
fn single_interface() {
    if skipped() {
        return;
    }
    let (wire, [a, t, v]) = (Wire::new().unwrap(), nodes(["A", "T", "V"]));
    for node in [&a, &t, &v] {
        wire.attach(node, "eth0").unwrap();
    }
    a.address("eth0", "2001:db8::8/96").unwrap();
    t.address("eth0", "2001:db8::1/96").unwrap();
    t.address("eth0", "203.0.113.1/24").unwrap();
    v.address("eth0", "203.0.113.16/24").unwrap();
    routes(&a, &["64:ff9b::/96 via 2001:db8::1"]);
    let error = a.run(&format!("ping -n -c 1 -w 3 {V}")).unwrap_err().to_string();
    assert!(error.contains("From 2001:db8::1 icmp_seq=1 Destination unreachable"), "{error}");
    let xlat = Xlat::nat64(&t, POOL6, MASK);
    client(&a, &v);
    // T goes on using its own address, and answers for it through the translator too.
    ping(&v, "203.0.113.1", 64);
    ping(&a, "64:ff9b::203.0.113.1", 63);
    // A reaches itself by its mask.
    ping(&a, "64:ff9b::203.0.113.2", 63);
    let error = a.run(&format!("ping -n -c 1 -w 3 -t 1 {V}")).unwrap_err().to_string();
    assert!(error.contains("From 2001:db8::1 icmp_seq=1 Time exceeded"), "{error}");
    for options in ["", "--reverse", "--udp --bitrate 20M --length 1200"] {
        iperf(&a, &v, V, options);
    }
    for (node, counter) in [(&t, "Icmp6OutRedirects"), (&a, "Icmp6InRedirects")] {
        let counters = node.run("cat /proc/net/snmp6").unwrap();
        let line = counters.lines().find(|line| line.starts_with(counter)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some("0"), "{line}");
    }
    xlat.stop();
}

/// Scenario 15, for TCP and UDP, and two clients that meet at the mask (hairpinning, RFC 6146 3.8).
#[test]
fn port_forwarding_and_hairpinning() {
    if skipped() {
        return;
    }
    let (wire, [a, c, t, v]) = (Wire::new().unwrap(), nodes(["A", "C", "T", "V"]));
    for node in [&a, &c, &t] {
        wire.attach(node, "eth0").unwrap();
    }
    a.address("eth0", "2001:db8::8/96").unwrap();
    c.address("eth0", "2001:db8::3/96").unwrap();
    t.address("eth0", "2001:db8::1/96").unwrap();
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24"]));
    for node in [&a, &c] {
        routes(node, &["64:ff9b::/96 via 2001:db8::1"]);
    }
    let bib = |protocol: &str, inside: &str, outside: &str| {
        format!(
            "[[instance.bib]]\nprotocol = \"{protocol}\"\nipv6-address = \"{inside}\"\nipv4-address = \"{MASK}#{outside}\"\n"
        )
    };
    let entries = [bib("TCP", "2001:db8::3#80", "80"), bib("UDP", "2001:db8::3#53", "5353")].concat();
    let instance = format!("[[instance]]\nname = \"nat64\"\ntype = \"nat64\"\npool4 = [\"{MASK}\"]\n");
    let xlat = Xlat::start(&t, &format!("{instance}{entries}[instance.global]\npool6 = \"{POOL6}\"\n"));

    let web = listen(&c, 80);
    assert_eq!(serve_one(&v, &web, MASK, 80, 500_000).ip().to_string(), "64:ff9b::cb00:7110");
    let seen = serve_one(&a, &web, "64:ff9b::203.0.113.2", 80, 500_000);
    assert_eq!(seen.ip().to_string(), "64:ff9b::cb00:7102");
    let (at_a, at_c, at_v) = (udp(&a, 4000), udp(&c, 53), udp(&v, 4000));
    let seen = exchange(&at_v, &at_c, MASK, 5353);
    assert_eq!(seen.to_string(), "[64:ff9b::cb00:7110]:4000");
    let seen = exchange(&at_a, &at_c, "64:ff9b::203.0.113.2", 5353);
    assert_eq!(seen.ip().to_string(), "64:ff9b::cb00:7102");
    // Endpoint-independent mapping (RFC 4787 4.1): A has the same mask whoever it talks to, and anybody may use it.
    let mask_of_a = exchange(&at_a, &at_v, V, 4000);
    assert_eq!(mask_of_a, SocketAddr::new(MASK.parse().unwrap(), seen.port()));
    at_v.send_to(b"unasked", SocketAddr::new(mapped(MASK), mask_of_a.port())).unwrap();
    assert_eq!(at_a.recv(&mut [0; 16]).unwrap(), 7);
    assert_eq!(download(&a, &v, V, 1000).ip().to_string(), MASK);
    xlat.stop();
}
