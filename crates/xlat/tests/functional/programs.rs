//! Real programs and what they must have seen.

use std::sync::atomic::{AtomicU16, Ordering};

use xlat_netlab::{Background, Namespace};

use crate::lab::LIMIT;

/// Echo requests until two are answered; all answers must come from the target and show `ttl` as the hop limit.
pub(crate) fn ping(node: &Namespace, target: &str, ttl: u8) {
    ping_with(node, "", target, ttl);
}

/// As [`ping`], with more options.
pub(crate) fn ping_with(node: &Namespace, options: &str, target: &str, ttl: u8) {
    let output = node.run(&format!("ping -n -c 2 -i 0.2 -w 10 {options} {target}")).unwrap();
    let shown = canonical(target);
    let answers: Vec<&str> = output.lines().filter(|line| line.contains(" bytes from ")).collect();
    let good =
        |line: &&str| line.contains(&format!("from {shown}: ")) && line.contains(&format!(" ttl={ttl} "));
    assert!(answers.len() >= 2 && answers.iter().all(good), "from {shown} with ttl={ttl}:\n{output}");
}

/// Whether one echo request is answered within two seconds.
pub(crate) fn answers(node: &Namespace, target: &str) -> bool {
    node.run(&format!("ping -n -c 1 -w 2 {target}")).is_ok()
}

/// What a traceroute by UDP and one by ICMP must show.
pub(crate) fn traceroute(node: &Namespace, target: &str, hops: &[&str]) {
    for method in ["", "-I"] {
        let output = node.run(&format!("traceroute {method} -n -q 1 -N 1 -w 3 -m 8 {target}")).unwrap();
        let seen: Vec<&str> =
            output.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap_or("?")).collect();
        let expected: Vec<String> = hops.iter().map(|hop| canonical(hop)).collect();
        assert_eq!(seen, expected, "{method}\n{output}");
    }
}

/// Runs iperf3 with more options for the client; for two seconds unless they say otherwise. Data must flow, and hardly any
/// datagram may be lost on the way.
pub(crate) fn iperf(client: &Namespace, server: &Namespace, target: &str, options: &str) {
    /// Bits per second: far more than a connection has that lives on retransmission time-outs, far less than a busy
    /// machine gives.
    const SLOWEST: f64 = 1e6;
    /// Part of all datagrams.
    const LOST_MAX: f64 = 0.05;
    static PORTS: AtomicU16 = AtomicU16::new(5201);
    let port = PORTS.fetch_add(1, Ordering::Relaxed);
    let command = server.line(&format!("iperf3 --server --one-off --forceflush --port {port}"));
    let mut listening = Background::start(server, "iperf3", command).unwrap();
    listening.wait_for("Server listening", LIMIT).unwrap();
    let line =
        format!("iperf3 --client {target} --port {port} --time 2 --json --connect-timeout 5000 {options}");
    let receiver = if options.contains("--reverse") { client } else { server };
    let before = overflows(receiver);
    let output = client.run(&line).unwrap();
    let result: serde_json::Value = serde_json::from_str(&output).unwrap();
    let udp = options.contains("--udp");
    let number =
        |name: &str| result["end"][if udp { "sum" } else { "sum_received" }][name].as_f64().expect(&output);
    let rate = number("bits_per_second");
    assert!(rate > SLOWEST, "{rate} bit/s, {options} to {target}");
    if udp {
        // Where the machine is busy the receiver itself may be too slow.
        let (lost, overflows) = (number("lost_packets"), overflows(receiver) - before);
        assert!(
            lost - overflows < LOST_MAX * number("packets"),
            "{lost} lost, {overflows} of them late: {output}"
        );
    }
}

/// Datagrams that reached this node and found their socket's buffer full.
pub(crate) fn overflows(node: &Namespace) -> f64 {
    let count = |text: &str| text.parse::<f64>().unwrap();
    let v6 = node.run("cat /proc/net/snmp6").unwrap();
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")).map(str::trim).map(count);
    let v4 = node.run("cat /proc/net/snmp").unwrap();
    let mut rows = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let at = names.split(' ').position(|name| name == "RcvbufErrors").unwrap();
    v6.unwrap() + count(values.split(' ').nth(at).unwrap())
}

/// An address in the form that programs print it in.
fn canonical(address: &str) -> String {
    address.parse::<std::net::IpAddr>().unwrap().to_string()
}
