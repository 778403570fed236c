//! A network namespace for each test, that ends with it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test helpers")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::process::Command;
use std::time::{Duration, Instant};

/// Runs `test` on a thread in a new network namespace with loopback up. Says why and returns if that is not
/// permitted. The namespace is gone when the thread has ended.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: the call takes an integer and changes this thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let error = std::io::Error::last_os_error();
            println!("skipped: cannot make a network namespace: {error}");
            return;
        }
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A runtime on this thread, as the daemon's control thread has one.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the command printed. It must succeed.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits up to 5 s until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything that setting up a host may change.
pub fn state() -> String {
    let mut all = String::new();
    for command in [
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip -4 neigh show proxy",
        "ip -6 neigh show proxy",
        "ip -4 rule",
        "ip -6 rule",
        "sysctl -a --pattern net.ipv[46].(conf.*(forwarding|proxy_ndp|rp_filter|accept_local)|neigh.*proxy_delay|ip_forward)",
    ] {
        all += &format!("# {command}\n{}", run(command));
    }
    all
}
