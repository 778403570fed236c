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

/// What iperf3 measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Bits per second at the receiver.
    pub(crate) rate: f64,
    /// Datagrams that were lost, in percent; 0 for TCP.
    pub(crate) lost: f64,
}

/// Runs iperf3 for two seconds with more options for the client.
pub(crate) fn iperf(client: &Namespace, server: &Namespace, target: &str, options: &str) -> Measured {
    static PORTS: AtomicU16 = AtomicU16::new(5201);
    let port = PORTS.fetch_add(1, Ordering::Relaxed);
    let command = server.line(&format!("iperf3 --server --one-off --forceflush --port {port}"));
    let mut listening = Background::start(server, "iperf3", command).unwrap();
    listening.wait_for("Server listening", LIMIT).unwrap();
    let line =
        format!("iperf3 --client {target} --port {port} --time 2 --json --connect-timeout 5000 {options}");
    let output = client.run(&line).unwrap();
    let result: serde_json::Value = serde_json::from_str(&output).unwrap();
    let sum = if options.contains("--udp") { "sum" } else { "sum_received" };
    let number = |name: &str| result["end"][sum][name].as_f64();
    Measured { rate: number("bits_per_second").expect(&output), lost: number("lost_percent").unwrap_or(0.0) }
}

/// An address in the form that programs print it in.
fn canonical(address: &str) -> String {
    address.parse::<std::net::IpAddr>().unwrap().to_string()
}
