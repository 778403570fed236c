//! The API's methods of each table, over the daemon's own socket: what is answered holds for the next packet.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use xlat_netlab::{Namespace, scenes};

use crate::lab::{Xlat, skipped};
use crate::programs::{answers, ping};
use crate::sockets::{exchange, udp, within};

/// Asks the daemon of a node, which has to do what it is told.
fn ask(node: &Namespace, method: &str, path: &str, body: &str) {
    let address = SocketAddr::from_abstract_name("xlat").unwrap();
    let mut stream = within(node, || UnixStream::connect_addr(&address)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: xlat\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n{}"),
        "{method} {path}: {answer}"
    );
}

#[test]
fn what_the_api_answers_holds_for_the_next_packet() {
    if skipped() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let _xlat = Xlat::start(&t, "");
    let target = "64:ff9b::203.0.113.16";
    assert!(!answers(&a, target));
    ask(&t, "POST", "/v1/instances", r#"{"translator": "nat64", "name": "n", "pool6": "64:ff9b::/96"}"#);
    let block = |protocol: &str, prefix: &str, first: u16, last: u16| {
        format!(
            r#"{{"protocol": "{protocol}", "prefix": "{prefix}", "first-port": {first}, "last-port": {last}}}"#
        )
    };
    let pool4 = "/v1/instances/nat64/n/pool4?force=true";
    ask(&t, "POST", pool4, &block("icmp", "203.0.113.2/32", 0, 65535));
    ping(&a, target, 63);
    let pools = [block("icmp", "203.0.113.2/32", 0, 65535), block("udp", "203.0.113.3/32", 4000, 4000)];
    ask(&t, "PUT", pool4, &format!("[{}]", pools.join(",")));
    ask(
        &t,
        "POST",
        "/v1/instances/nat64/n/bib",
        r#"{"protocol": "udp", "ipv6": {"address": "2001:db8::8", "port": 4000}, "ipv4": {"address": "203.0.113.3", "port": 4000}}"#,
    );
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    // The entry is static: V begins.
    exchange(&server, &client, "203.0.113.3", 4000);
    ask(&t, "DELETE", "/v1/instances/nat64/n/bib?protocol=udp&ipv4=203.0.113.3&ipv4-port=4000", "");
    server.send_to(b"hello", ("203.0.113.3", 4000)).unwrap_or_default();
    assert!(client.recv(&mut [0; 16]).is_err(), "the mapping is gone");
    ask(&t, "PATCH", "/v1/instances/nat64/n/global", r#"{"manually-enabled": false}"#);
    assert!(!answers(&a, target));
    ask(&t, "PATCH", "/v1/instances/nat64/n/global", r#"{"manually-enabled": true}"#);
    ping(&a, target, 63);
    ask(&t, "DELETE", "/v1/instances/nat64/n", "");
    assert!(!answers(&a, target));
}
