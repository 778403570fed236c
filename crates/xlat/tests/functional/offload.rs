//! Offloads of every combination: TCP and UDP in bulk and UDP aggregates, with what the interfaces offer switched on and off.

use std::net::UdpSocket;

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use xlat_netlab::{Namespace, scenes};

use crate::lab::{Xlat, skipped};
use crate::programs::iperf;
use crate::sockets::{mapped, pattern, udp};

const V: &str = "64:ff9b::203.0.113.16";
/// Payload of one datagram of an aggregate, in bytes.
const SEGMENT: usize = 1200;
/// Datagrams in one aggregate.
const SEGMENTS: usize = 40;

fn switch(nodes: &[(&Namespace, &str)], features: &str, state: &str) {
    for (node, device) in nodes {
        for feature in features.split(' ') {
            node.run(&format!("ethtool -K {device} {feature} {state}")).unwrap();
        }
    }
}

/// Sends one aggregate (UDP_SEGMENT); each datagram has to arrive as if sent alone.
fn aggregate(from: &UdpSocket, to: &UdpSocket, target: &str, port: u16) -> std::net::SocketAddr {
    setsockopt(from, UdpGsoSegment, &i32::try_from(SEGMENT).unwrap()).unwrap();
    // The last datagram is shorter.
    let content = pattern(SEGMENT * SEGMENTS - 700);
    from.send_to(&content, (mapped(target), port)).unwrap();
    let mut room = [0; 2 * SEGMENT];
    let mut source = None;
    for expected in content.chunks(SEGMENT) {
        let (length, peer) = to.recv_from(&mut room).unwrap();
        assert!(room[..length] == *expected, "{length} bytes came, not the {} sent", expected.len());
        source = Some(peer);
    }
    source.unwrap()
}

#[test]
fn with_and_without() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let mut xlat = Xlat::nat64(&t, "64:ff9b::/96", "203.0.113.2");
    let everywhere = [(&a, "eth0"), (&t, "eth0"), (&t, "eth1"), (&v, "eth0")];
    let mut read = 0;
    for (features, state) in [
        ("gso", "on"),
        ("tx-udp-segmentation", "off"),
        ("gro tso", "off"),
        ("tx rx", "off"),
        ("tx rx gro tso tx-udp-segmentation rx-udp-gro-forwarding", "on"),
    ] {
        switch(&everywhere, features, state);
        let (at_a, at_v) = (udp(&a, 0), udp(&v, 4000));
        let before = xlat.counter("device rx_packets");
        let mask = aggregate(&at_a, &at_v, V, 4000);
        aggregate(&at_v, &at_a, &mask.ip().to_canonical().to_string(), mask.port());
        read = xlat.counter("device rx_packets") - before;
        for options in ["--length 128K", "--udp --bitrate 20M --length 1300"] {
            iperf(&a, &v, V, &format!("--time 1 {options}"));
            iperf(&a, &v, V, &format!("--time 1 {options} --reverse"));
        }
        if features == "gso" {
            // Two aggregates stay whole all the way where everything is on.
            assert!(read < 10, "{read} packets were read for two aggregates");
        }
    }
    assert!(read < 10, "{read} packets were read for two aggregates");
    xlat.stop();
}
