//! The installed service's way to start: a step with all rights prepares the programs, a daemon without them attaches.

use std::time::Duration;

use xlat_netlab::scenes;

use crate::flows::Flows;
use crate::lab::{Rights, Xlat, eventually, nat64, skipped};

/// How many flows there are.
const FLOWS: usize = 50;
/// How long a round of them takes.
const ROUND: Duration = Duration::from_millis(100);

#[test]
fn a_daemon_that_may_not_load_translates_in_the_kernel_and_takes_over() {
    // In a user namespace there is nothing to load.
    if skipped() || !rustix::process::geteuid().is_root() {
        return;
    }
    let [a, t, v] = scenes::two_cables().unwrap();
    let config = nat64("64:ff9b::/96", "203.0.113.2");
    let mut xlat = Xlat::start_with(Rights::Contained, &t, &config);
    let why = xlat.status()["kernel"]["unavailable"].clone();
    assert!(why.is_null(), "{why}");
    let mut flows = Flows::open(&a, &v, "64:ff9b::203.0.113.16", FLOWS);
    for _ in 0..10 {
        flows.round(ROUND);
    }
    eventually("all flows are in the kernel", || {
        flows.round(ROUND);
        xlat.kernel_flows() == FLOWS as u64
    });
    let before = xlat.kernel_packets();
    flows.reset();
    flows.round(ROUND);
    let tally = flows.tally();
    assert_eq!((tally.answered, tally.remapped), (tally.sent, 0), "{tally:?}");
    assert!(xlat.kernel_packets() - before >= 2 * tally.sent, "{}", xlat.status());
    // The next ones find flows, and programs that are ready.
    for kill in [true, false] {
        if kill {
            xlat.kill_and_restart()
        } else {
            xlat.end_and_restart()
        }
        assert_eq!(xlat.kernel_flows(), FLOWS as u64);
        flows.round(ROUND);
    }
    let tally = flows.tally();
    assert_eq!((tally.answered, tally.remapped), (tally.sent, 0), "{tally:?}");
    xlat.stop();
}
