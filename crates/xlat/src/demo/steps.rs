//! What is tried on a scene: each step runs real programs in its nodes and says in one line what they saw.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use xlat_netlab::Namespace;

use crate::failure::{Failure, Outcome};

use super::peer::PORT;
use super::scene::Scene;
use super::stream::{Checksum, checksum, generate};

/// Longest time of one transfer, in seconds.
const TRANSFER_MAX: &str = "300";
/// Datagrams of the UDP exchange.
const DATAGRAMS: u16 = 1000;

/// Three echo requests of `size` bytes; all answers have to show `ttl` as the hop limit.
pub(super) fn ping(node: &Namespace, target: &str, size: u16, ttl: u8) -> Outcome<String> {
    const COUNT: usize = 3;
    let output = node.run(&format!("ping -n -c {COUNT} -i 0.2 -w 10 -s {size} {target}"))?;
    let expected = format!("ttl={ttl} ");
    let (good, all): (Vec<&str>, Vec<&str>) =
        output.lines().filter(|line| line.contains(" ttl=")).partition(|line| line.contains(&expected));
    if good.len() == COUNT && all.is_empty() {
        return Ok(format!("{COUNT} of {COUNT} answered, hop limit {ttl}"));
    }
    Err(Failure::new(format!("{} of {COUNT} answers had hop limit {ttl}:\n{output}", good.len())))
}

/// Every hop has to be the expected one.
pub(super) fn traceroute(node: &Namespace, target: &str, hops: &[(&str, &str)]) -> Outcome<String> {
    let output = node.run(&format!("traceroute -n -q 1 -N 1 -w 2 -m 6 {target}"))?;
    let seen: Vec<&str> =
        output.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap_or("?")).collect();
    if seen.iter().eq(hops.iter().map(|(address, _)| address)) {
        let names: Vec<String> = hops.iter().map(|(address, name)| format!("{address} ({name})")).collect();
        return Ok(names.join(", "));
    }
    Err(Failure::new(format!("unexpected hops:\n{output}")))
}

/// Datagrams there and back.
pub(super) fn exchange(scene: &Scene, node: &Namespace, server: &str) -> Outcome<String> {
    let mut command = scene.own_program(node)?;
    command.args(["demo-peer", "exchange", server, &PORT.to_string(), &DATAGRAMS.to_string()]);
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(Failure::new(text(&output.stderr))) }
}

/// Downloads with curl and compares the checksum.
pub(super) fn download(node: &Namespace, server: &str, bytes: u64) -> Outcome<String> {
    let expected = checksum(0, bytes)?;
    let started = Instant::now();
    let mut curl = node
        .command("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--globoff",
            "--max-time",
            TRANSFER_MAX,
            "--noproxy",
            "*",
        ])
        .arg(format!("http://{}/{bytes}", authority(server)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut sum = Checksum::default();
    let mut received = 0;
    if let Some(mut content) = curl.stdout.take() {
        let mut block = vec![0; 1 << 16];
        loop {
            let length = content.read(&mut block)?;
            if length == 0 {
                break;
            }
            sum.add(&block[..length]);
            received += length as u64;
        }
    }
    let output = curl.wait_with_output()?;
    let passed = started.elapsed();
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim()));
    }
    compare(bytes, received, expected, sum.value(), passed)
}

/// Uploads a file with curl; the server's checksum has to be that of the file.
pub(super) fn upload(scene: &Scene, node: &Namespace, server: &str, bytes: u64) -> Outcome<String> {
    let path = scene.folder().join("upload");
    let mut file = File::create(&path)?;
    generate(1, bytes, |block| file.write_all(block))?;
    drop(file);
    let started = Instant::now();
    let output = node
        .command("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--globoff",
            "--max-time",
            TRANSFER_MAX,
            "--noproxy",
            "*",
        ])
        .args(["--header", "Expect:", "--upload-file"])
        .arg(&path)
        .arg(format!("http://{}/", authority(server)))
        .output()?;
    let passed = started.elapsed();
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim()));
    }
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let received = u64::from_str_radix(&answer, 16)
        .map_err(|error| Failure::doing(format!("the server answered \"{answer}\""), &error))?;
    compare(bytes, bytes, checksum(1, bytes)?, received, passed)
}

/// Transfers both ways over smaller MTUs: T's routes to both sides are narrowed as if tunnels began there. Both senders
/// have to learn of it through the translator.
pub(super) fn small_mtu(scene: &Scene, bytes: u64) -> Outcome<String> {
    let t = &scene.t;
    t.ip("route add 203.0.113.16/32 dev eth0 mtu 1400")?;
    t.ip("-6 route add 2001:db8::8/128 dev eth0 mtu lock 1300")?;
    let outcome = over_small_mtu(scene, bytes);
    t.ip("route del 203.0.113.16/32 dev eth0")?;
    t.ip("-6 route del 2001:db8::8/128 dev eth0")?;
    outcome
}

fn over_small_mtu(scene: &Scene, bytes: u64) -> Outcome<String> {
    let (a, v) = (&scene.a, &scene.v);
    let server = "64:ff9b::203.0.113.16";
    upload(scene, a, server, bytes)?;
    download(a, server, bytes)?;
    // A header of 40 bytes instead of 20: the limit is 20 bytes higher on the IPv6 side.
    let learned = [
        ("A", a.ip("-6 route get 64:ff9b::203.0.113.16")?, "mtu 1420"),
        ("V", v.ip("route get 203.0.113.2")?, "mtu 1280"),
    ];
    for (node, route, expected) in &learned {
        if !route.contains(expected) {
            return Err(Failure::new(format!("{node} did not learn {expected}: {route}")));
        }
    }
    ping(a, server, 1452, 63)?;
    Ok(format!("{} each way equal; A learned 1420, V learned 1280", amount(bytes)))
}

fn compare(bytes: u64, received: u64, expected: u64, sum: u64, passed: Duration) -> Outcome<String> {
    if (received, sum) != (bytes, expected) {
        return Err(Failure::new(format!(
            "{received} of {bytes} bytes, checksum {sum:016x} instead of {expected:016x}"
        )));
    }
    let gigabits = bytes as f64 * 8e-9 / passed.as_secs_f64();
    Ok(format!("{gigabits:.2} Gbit/s, checksum {sum:016x} equal"))
}

/// Host and port of a URL.
fn authority(server: &str) -> String {
    if server.contains(':') { format!("[{server}]:{PORT}") } else { format!("{server}:{PORT}") }
}

/// A number of bytes for people.
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
