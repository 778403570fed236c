//! Nothing is lost: the daemon is killed, reloaded and robbed while thousands of flows go through it. What the kernel
//! repeats by itself must not notice. Figures of longer runs are in docs/reliability.md.

use std::time::Duration;

use xlat_linux::fastpath::{Maps, Pins};
use xlat_netlab::{Background, Namespace};

use crate::flows::Flows;
use crate::lab::{LIMIT, Xlat, cable, eventually, nat64, no_fast_path, nodes, routes, skipped};
use crate::programs::overflows;
use crate::sockets::within;

const V: &str = "64:ff9b::203.0.113.16";
/// UDP flows at the same time.
const FLOWS: usize = 10_000;
/// One datagram of each.
const ROUND: Duration = Duration::from_millis(1000);

fn hosts() -> [Namespace; 3] {
    let [a, t, v] = nodes(["A", "T", "V"]);
    cable((&a, "eth0", &["2001:db8::8/96"]), (&t, "eth0", &["2001:db8::1/96"]));
    cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24", "203.0.113.2/24"]));
    routes(&a, &["64:ff9b::/96 via 2001:db8::1"]);
    [a, t, v]
}

/// A TCP connection in each direction of data for as long as the test takes, both slow enough to leave the machine to it.
struct Connections(Vec<Background>);

impl Connections {
    fn start(a: &Namespace, v: &Namespace, seconds: u64) -> Self {
        let mut all = Vec::new();
        for (port, way) in [(5301, ""), (5302, "--reverse")] {
            let serve = v.line(&format!("iperf3 --server --one-off --forceflush --port {port}"));
            let mut server = Background::start(v, "iperf3 server", serve).unwrap();
            server.wait_for("Server listening", LIMIT).unwrap();
            let line =
                format!("iperf3 --client {V} --port {port} --time {seconds} --bitrate 200M --json {way}");
            all.push(server);
            all.push(Background::start(a, "iperf3", a.line(&line)).unwrap());
        }
        Self(all)
    }

    /// Waits for their end: both must have gone through.
    fn end(mut self, seconds: u64) {
        for process in &mut self.0 {
            let status = process.wait(LIMIT + Duration::from_secs(seconds)).unwrap();
            assert!(status.success(), "a connection broke: {}", process.output());
        }
    }
}

/// Lets every flow be known to the kernel.
fn promote(xlat: &Xlat, flows: &mut Flows) {
    eventually("the kernel knows all flows", || {
        flows.round(ROUND / 2);
        xlat.kernel_flows() >= FLOWS as u64
    });
    flows.reset();
}

#[test]
fn killed_and_started_again_under_load() {
    const TIMES: u32 = 20;
    const SECONDS: u64 = 45;
    if skipped() {
        return;
    }
    let [a, t, v] = hosts();
    let mut xlat = Xlat::start(&t, &nat64("64:ff9b::/96", "203.0.113.2"));
    if no_fast_path(&xlat) {
        return;
    }
    let mut flows = Flows::open(&a, &v, V, FLOWS);
    promote(&xlat, &mut flows);
    let connections = Connections::start(&a, &v, SECONDS);
    eventually("the connections are known", || xlat.kernel_flows() >= FLOWS as u64 + 4);
    let before = overflows(&a) + overflows(&v);
    for _ in 0..TIMES {
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| flows.round(ROUND));
            xlat.kill_and_restart();
            traffic.join().unwrap();
        });
    }
    let tally = flows.tally();
    // What reached a host whose socket had no room is none of the translator's losses.
    let overflowed = (overflows(&a) + overflows(&v) - before) as u64;
    let lost = tally.lost().saturating_sub(overflowed);
    eprintln!("{TIMES} kills: {tally:?}, {lost} lost on the way, {overflowed} in full sockets");
    assert_eq!((tally.misdelivered, tally.remapped), (0, 0));
    assert!(lost * 1000 < tally.sent, "{lost} of {} lost", tally.sent);
    assert!(xlat.kernel_flows() >= FLOWS as u64, "flows are still there");
    connections.end(SECONDS);
}

#[test]
fn ended_and_started_again_keeps_every_session() {
    if skipped() {
        return;
    }
    let [a, t, v] = hosts();
    let mut xlat = Xlat::start(&t, &nat64("64:ff9b::/96", "203.0.113.2"));
    if no_fast_path(&xlat) {
        return;
    }
    // One datagram each way does not yet make a flow worth repeating everywhere: the snapshot has to keep it.
    let mut flows = Flows::open(&a, &v, V, 1000);
    flows.round(ROUND);
    let before = flows.tally();
    assert_eq!(before.lost(), 0);
    for _ in 0..3 {
        // Nothing is under way meanwhile: what the daemon has not read when it ends is lost.
        flows.tally();
        xlat.end_and_restart();
        flows.round(ROUND);
    }
    let tally = flows.tally();
    assert_eq!((tally.misdelivered, tally.remapped, tally.lost()), (0, 0, 0), "{tally:?}");
}

#[test]
fn reloaded_under_load() {
    const TIMES: u32 = 100;
    if skipped() {
        return;
    }
    let [a, t, v] = hosts();
    let one = nat64("64:ff9b::/96", "203.0.113.2");
    let other = one.replace("[instance.global]", "[instance.global]\nudp-timeout = \"00:10:00\"");
    let mut xlat = Xlat::start(&t, &one);
    if no_fast_path(&xlat) {
        return;
    }
    let mut flows = Flows::open(&a, &v, V, FLOWS);
    promote(&xlat, &mut flows);
    let before = overflows(&a) + overflows(&v);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| (0..10).for_each(|_| flows.round(ROUND)));
        for turn in 0..TIMES {
            xlat.reload(if turn % 2 == 0 { &other } else { &one });
        }
        traffic.join().unwrap();
    });
    let tally = flows.tally();
    // As above.
    let overflowed = (overflows(&a) + overflows(&v) - before) as u64;
    let lost = tally.lost().saturating_sub(overflowed);
    eprintln!("{TIMES} reloads: {tally:?}, {lost} lost on the way, {overflowed} in full sockets");
    assert_eq!((tally.misdelivered, tally.remapped), (0, 0));
    assert!(lost * 1000 < tally.sent, "{lost} of {} lost", tally.sent);
}

#[test]
fn interfaces_and_addresses_come_and_go() {
    if skipped() {
        return;
    }
    let [a, t, v] = hosts();
    let xlat = Xlat::start(&t, &nat64("64:ff9b::/96", "203.0.113.2"));
    if no_fast_path(&xlat) {
        return;
    }
    let mut flows = Flows::open(&a, &v, V, 1000);
    flows.round(ROUND);
    for turn in 0..5 {
        t.ip("address del 203.0.113.2/24 dev eth1").unwrap();
        flows.round(ROUND / 10);
        t.address("eth1", "203.0.113.2/24").unwrap();
        if turn % 2 == 0 {
            t.ip("link del eth1").unwrap();
            cable((&v, "eth0", &["203.0.113.16/24"]), (&t, "eth1", &["203.0.113.1/24", "203.0.113.2/24"]));
        } else {
            t.ip("link set eth0 down").unwrap();
            t.ip("link set eth0 up").unwrap();
            t.address("eth0", "2001:db8::1/96").unwrap();
        }
        eventually("flows go again", || {
            flows.reset();
            flows.round(ROUND / 10);
            flows.tally().lost() == 0
        });
        assert_eq!(flows.tally().misdelivered, 0);
    }
}

/// With room for a tenth of the flows the daemon carries the rest; with what the kernel knows taken away by hand, all.
#[test]
fn the_kernels_maps_are_full_or_emptied() {
    if skipped() {
        return;
    }
    let [a, t, v] = hosts();
    let config = format!("[fast-path]\nmax-flows = 1024\n{}", nat64("64:ff9b::/96", "203.0.113.2"));
    let xlat = Xlat::start(&t, &config);
    if no_fast_path(&xlat) {
        return;
    }
    let mut flows = Flows::open(&a, &v, V, FLOWS);
    (0..5).for_each(|_| flows.round(ROUND));
    let known = xlat.kernel_flows();
    assert!((1000..=1024).contains(&known), "{known} flows");
    flows.reset();
    (0..3).for_each(|_| flows.round(ROUND));
    let tally = flows.tally();
    eprintln!("full: {tally:?}, {} lost", tally.lost());
    assert_eq!((tally.misdelivered, tally.remapped), (0, 0));
    assert!(tally.lost() * 100 < tally.sent, "{} of {} lost", tally.lost(), tally.sent);

    for _ in 0..3 {
        within(&t, || {
            let pins = Pins::existing(None).unwrap().expect("pins");
            Maps::open(&pins).unwrap().expect("maps").flows().clear().unwrap();
        });
        flows.round(ROUND);
    }
    let tally = flows.tally();
    eprintln!("emptied: {tally:?}, {} lost", tally.lost());
    assert_eq!((tally.misdelivered, tally.remapped), (0, 0));
    assert!(tally.lost() * 100 < tally.sent, "{} of {} lost", tally.lost(), tally.sent);
    eventually("flows are known again", || {
        flows.round(ROUND);
        xlat.kernel_flows() >= 1000
    });
}
