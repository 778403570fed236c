//! Translator and host share an address and an interface: the scene that everything began with.

use std::net::UdpSocket;

use xlat_netlab::{Namespace, Wire};

use crate::lab::{Xlat, eventually, nat64, no_fast_path, nodes, routes, skipped};
use crate::programs::{iperf, ping, ping_with, traceroute};
use crate::sockets::{download, exchange, listen, serve_one, udp, within};

const V: &str = "64:ff9b::203.0.113.16";

/// A, T and V on one wire; T's one interface has the address that pool4 has.
fn scene() -> (Wire, [Namespace; 3]) {
    let wire = Wire::new().unwrap();
    let [a, t, v] = nodes(["A", "T", "V"]);
    for (node, addresses) in [
        (&a, &["2001:db8::8/96"][..]),
        (&t, &["2001:db8::1/96", "203.0.113.1/24", "203.0.113.2/24"]),
        (&v, &["203.0.113.16/24"]),
    ] {
        wire.attach(node, "eth0").unwrap();
        addresses.iter().for_each(|address| node.address("eth0", address).unwrap());
    }
    routes(&a, &["64:ff9b::/96 via 2001:db8::1"]);
    (wire, [a, t, v])
}

/// Everything that goes through a NAT64, whatever is taken up at ingress and however it leaves.
fn everything(config: &str) {
    if skipped() {
        return;
    }
    let (_wire, [a, t, v]) = scene();
    let xlat = Xlat::start(&t, config);
    if no_fast_path(&xlat) {
        return;
    }
    ping(&a, V, 63);
    ping_with(&a, "-s 8000", V, 63);
    traceroute(&a, V, &["2001:db8::1", V]);
    assert_eq!(download(&a, &v, V, 20_000_000).ip().to_string(), "203.0.113.2");
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    assert_eq!(exchange(&client, &server, V, 4000).ip().to_string(), "203.0.113.2");
    for options in ["", "--reverse", "--udp --bitrate 20M", "--udp --bitrate 20M --reverse"] {
        iperf(&a, &v, V, options);
    }
    assert!(xlat.kernel_packets() > 1000, "the kernel translates: {}", xlat.status());
    xlat.stop();
    assert_eq!(t.ip("-json link show xlat0 2>&1").unwrap_or_default(), "", "the device is gone");
}

#[test]
fn own_address_of_the_host() {
    everything(&nat64("64:ff9b::/96", "203.0.113.2"));
}

#[test]
fn everything_taken_up_at_ingress() {
    everything(&format!("[fast-path]\ningress = \"all\"\n{}", nat64("64:ff9b::/96", "203.0.113.2")));
}

#[test]
fn everything_through_the_hosts_own_forwarding() {
    let config = nat64("64:ff9b::/96", "203.0.113.2").replace("type =", "output = \"stack\"\ntype =");
    everything(&config);
    everything(&format!("[fast-path]\ningress = \"all\"\n{config}"));
}

#[test]
fn the_hosts_own_sockets_keep_working() {
    if skipped() {
        return;
    }
    let (_wire, [a, t, v]) = scene();
    let xlat = Xlat::start(&t, &nat64("64:ff9b::/96", "203.0.113.2"));
    if no_fast_path(&xlat) {
        return;
    }
    ping(&v, "203.0.113.2", 64);
    // In fragments, of which only the first says whose it is.
    ping_with(&v, "-s 8000", "203.0.113.2", 64);
    // A server of T on the shared address, before and after a client's mapping.
    let listener = listen(&t, 8080);
    serve_one(&v, &listener, "203.0.113.2", 8080, 100_000);
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    let mask = exchange(&client, &server, V, 4000);
    serve_one(&v, &listener, "203.0.113.2", 8080, 100_000);
    // A client of T from the shared address.
    let own = within(&t, || UdpSocket::bind(("203.0.113.2", 0))).unwrap();
    own.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
    own.send_to(b"host", ("203.0.113.16", 4000)).unwrap();
    let mut room = [0; 64];
    let (_, from) = server.recv_from(&mut room).unwrap();
    assert_ne!(from.port(), mask.port());
    server.send_to(b"back", from).unwrap();
    assert_eq!(own.recv(&mut room).unwrap(), 4);
    // The host talks to itself, from another address and from the same one.
    for source in ["203.0.113.1", "203.0.113.2"] {
        let heard = within(&t, || UdpSocket::bind(("203.0.113.2", 8081))).unwrap();
        heard.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
        let sender = within(&t, || UdpSocket::bind((source, 0))).unwrap();
        sender.send_to(b"self", ("203.0.113.2", 8081)).unwrap();
        assert_eq!(heard.recv(&mut room).unwrap(), 4);
    }
    // A port that nobody has is refused by the host, as without a translator.
    let refused = within(&v, || std::net::TcpStream::connect("203.0.113.2:9"));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    xlat.stop();
}

#[test]
fn empty_pool4_follows_the_hosts_address() {
    if skipped() {
        return;
    }
    let (_wire, [a, t, v]) = scene();
    t.ip("address del 203.0.113.2/24 dev eth0").unwrap();
    t.ip("route add default via 203.0.113.16").unwrap();
    let config = nat64("64:ff9b::/96", "203.0.113.2").replace("pool4 = [\"203.0.113.2\"]", "pool4 = []");
    let xlat = Xlat::start(&t, &config);
    if no_fast_path(&xlat) {
        return;
    }
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    let mask = exchange(&client, &server, V, 4000);
    assert_eq!(mask.ip().to_string(), "203.0.113.1");
    assert!(mask.port() >= 61001, "{mask}");
    // The provider gives another address.
    t.ip("address del 203.0.113.1/24 dev eth0").unwrap();
    t.address("eth0", "203.0.113.77/24").unwrap();
    t.ip("route replace default via 203.0.113.16").unwrap();
    eventually("the new address", || {
        let again = udp(&a, 0);
        let Ok(mut target) = V.parse::<std::net::IpAddr>().map(|v| std::net::SocketAddr::new(v, 4000)) else {
            return false;
        };
        target.set_port(4000);
        again.send_to(b"?", target).unwrap();
        let mut room = [0; 2048];
        server.recv_from(&mut room).is_ok_and(|(_, from)| from.to_string().contains("203.0.113.77"))
    });
    xlat.stop();
}
