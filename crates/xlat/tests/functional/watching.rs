//! Seen from outside, with real traffic: the API's snapshots, metrics, health and readiness by HTTP.

use std::collections::HashMap;
use std::net::TcpListener;

use xlat_netlab::{Namespace, scenes};

use crate::lab::{Xlat, eventually, no_fast_path, skipped};
use crate::programs::{iperf, ping};
use crate::sockets::{exchange, udp, within};

const V: &str = "64:ff9b::203.0.113.16";
const NAT64: &str = "[[instance]]\nname = \"nat\"\ntype = \"nat64\"\npool4 = [\"203.0.113.2\"]\n[instance.global]\npool6 = \"64:ff9b::/96\"\n";

fn watched(listen: &str) -> String {
    format!("[web]\nlisten = {listen}\n{NAT64}")
}

/// A client, the translator and a server.
fn scene() -> [Namespace; 3] {
    let [a, t, v] = scenes::two_cables().unwrap();
    t.ip("link set lo up").unwrap();
    [a, t, v]
}

/// What is answered there, if anything.
fn fetch(t: &Namespace, url: &str) -> Option<String> {
    t.run(&format!("curl -gsf -m 10 {url}")).ok().map(|text| text.trim_end().to_owned())
}

fn metrics(t: &Namespace, at: &str) -> HashMap<String, f64> {
    let text = fetch(t, &format!("-H Accept:application/openmetrics-text http://{at}/metrics")).unwrap();
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn live(t: &Namespace) -> serde_json::Value {
    serde_json::from_str(&fetch(t, "http://127.0.0.1:9464/live").unwrap()).unwrap()
}

/// The rows of `jool stats display`.
fn statistics(t: &Namespace, instance: &str) -> HashMap<String, u64> {
    let folder = std::env::temp_dir().join(format!("xlat-stats-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let jool = folder.join("jool");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xlat"), &jool).unwrap();
    let text = t.run(&format!("{} -i {instance} stats display", jool.display()));
    std::fs::remove_dir_all(&folder).unwrap();
    let row =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    text.unwrap().lines().filter_map(row).collect()
}

/// Numbers appear, and are those of the traffic.
#[test]
fn metrics_and_snapshots_follow_traffic() {
    if skipped() {
        return;
    }
    let [a, t, v] = scene();
    let xlat = Xlat::start(&t, &watched("[\"127.0.0.1:9464\", \"[::1]:9464\"]"));
    let [four, six] = ["127.0.0.1:9464", "[::1]:9464"];
    let before = metrics(&t, six);
    assert_eq!(fetch(&t, &format!("http://{four}/health")).as_deref(), Some("alive"));
    assert_eq!(fetch(&t, &format!("http://{four}/ready")).as_deref(), Some("translating"));
    ping(&a, V, 63);
    let (client, server) = (udp(&a, 4000), udp(&v, 4000));
    exchange(&client, &server, V, 4000);
    // Nobody has this one: refused, and seen.
    let _lost = a.run("ping -n -c 1 -w 1 64:ff9b::127.0.0.1");
    let after = metrics(&t, four);
    let grown = |name: &str| after[name] - before[name];
    assert!(grown("xlat_packets_total{path=\"daemon\",from=\"ipv6\"}") >= 3.0, "{after:?}");
    assert!(grown("xlat_packets_total{path=\"daemon\",from=\"ipv4\"}") >= 2.0, "{after:?}");
    assert!(grown("xlat_translated_packets_total") >= 5.0, "{after:?}");
    for protocol in ["UDP", "ICMP"] {
        let made = format!("xlat_sessions_made_total{{translator=\"nat\",protocol=\"{protocol}\"}}");
        assert!(grown(&made) >= 1.0 && before[&made] == 0.0, "{after:?}");
        let used = after.get(&format!(
            "xlat_pool4_address_used_ports{{translator=\"nat\",address=\"203.0.113.2\",protocol=\"{protocol}\"}}"
        ));
        assert!(used.is_some_and(|used| *used >= 1.0), "{after:?}");
    }
    assert_eq!(after["xlat_sessions{translator=\"nat\",protocol=\"UDP\"}"], 1.0);
    let refused: f64 = after
        .iter()
        .filter(|(name, _)| name.starts_with("xlat_untranslated_packets_total"))
        .map(|(name, count)| count - before[name])
        .sum();
    assert!(refused >= 1.0, "{after:?}");
    // The snapshot says the same, with words and with the source.
    let live = live(&t);
    assert!(live["window"].as_u64().unwrap() <= 3000, "{live}");
    assert!(live["drops"][0]["explanation"].as_str().is_some_and(|words| !words.is_empty()), "{live}");
    eventually("the source is found", || {
        let live = self::live(&t);
        let first = &live["sources"]["list"][0];
        first["address"] == "2001:db8::8" && first["sessions"].as_u64() >= Some(2)
    });
    xlat.stop();
    assert_eq!(fetch(&t, &format!("http://{four}/health")), None);
}

/// What the kernel does by itself is seen as its own.
#[test]
fn the_kernels_share_is_seen() {
    if skipped() {
        return;
    }
    let [a, t, v] = scene();
    let xlat = Xlat::start(&t, &watched("\"127.0.0.1:9464\""));
    if no_fast_path(&xlat) {
        return;
    }
    iperf(&a, &v, V, "");
    let after = metrics(&t, "127.0.0.1:9464");
    let bytes = |path: &str| after[&format!("xlat_traffic_bytes_total{{path=\"{path}\",from=\"ipv6\"}}")];
    assert!(bytes("kernel") > bytes("daemon"), "{after:?}");
    assert!(after["xlat_kernel_flows_limit"] >= 1.0 && after["xlat_kernel_maps_bytes"] > 0.0, "{after:?}");
    assert!(after.contains_key("xlat_kernel_flows"), "{after:?}");
    assert!(after["xlat_thread_busy_seconds_total{thread=\"xlat-0\"}"] > 0.0, "{after:?}");
    // The instance's counters are those of both.
    let by_kernel = xlat.kernel_packets();
    let counted = statistics(&t, "nat");
    let [six, four, translated] =
        ["JSTAT_RECEIVED6", "JSTAT_RECEIVED4", "JSTAT_SUCCESS"].map(|name| counted[name]);
    assert!(by_kernel > 100 && translated >= by_kernel, "{by_kernel} {counted:?}");
    assert!(six + four >= translated && six > 0 && four > 0, "{by_kernel} {counted:?}");
    // Snapshots are taken while somebody asks, and then no more.
    let number = |_| live(&t)["number"].as_u64().unwrap();
    let (first, second) = (number(()), number(()));
    std::thread::sleep(std::time::Duration::from_secs(6));
    let third = number(());
    assert!(second >= first && third <= second + 6, "{first} {second} {third}");
    xlat.stop();
}

/// Addresses come and go with a reload; one that cannot be had makes it fail as a whole.
#[test]
fn reload_moves_the_address_or_changes_nothing() {
    if skipped() {
        return;
    }
    let [_a, t, _v] = scene();
    let mut xlat = Xlat::start(&t, NAT64);
    let answers = |at: &str| fetch(&t, &format!("http://{at}/health")).is_some();
    assert!(!answers("127.0.0.1:9464"));
    xlat.reload(&watched("\"127.0.0.1:9464\""));
    assert!(answers("127.0.0.1:9464"));
    // An address that comes later, and a name.
    xlat.reload(&format!("[web]\nlisten = [\"192.0.2.7:9465\"]\nhosts = [\"t.example.net\"]\n{NAT64}"));
    assert!(!answers("127.0.0.1:9464") && !answers("192.0.2.7:9465"));
    t.ip("address add 192.0.2.7/32 dev lo").unwrap();
    assert!(answers("192.0.2.7:9465"));
    let named =
        |name: &str| t.run(&format!("curl -sf -m 10 -H Host:{name} http://192.0.2.7:9465/live")).is_ok();
    assert!(named("t.example.net") && !named("evil.example.com"));
    let taken = within(&t, || TcpListener::bind("127.0.0.1:9466")).unwrap();
    xlat.refused(&watched("\"127.0.0.1:9466\""), "127.0.0.1:9466");
    assert!(answers("192.0.2.7:9465"));
    drop(taken);
    xlat.stop();
}
