//! Setting up the host and taking it back: the state afterwards is the state before, also after a crash, and
//! while interfaces come and go.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene fails")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{block_on, eventually, in_namespace, run, state};
use xlat_linux::netlink::watch::Watcher;
use xlat_linux::netlink::{Host, HostPlan, SetupError, Warning, owner, undo};
use xlat_linux::tun::Tun;

const CHILD: &str = "XLAT_TEST_CRASH_CHILD";

/// A directory for journals that is removed with its value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("xlat-host-{}-{name}", std::process::id())))
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.0).map_or(true, |mut entries| entries.next().is_none())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// eth0 with an IPv4 and an IPv6 prefix, and eth1 with nothing, which forwards already.
fn wire() {
    run("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    run("ip link add eth0 type veth peer name far0");
    run("ip link add eth1 type veth peer name far1");
    up();
    run("sysctl -qw net.ipv4.conf.eth1.forwarding=1");
    // The kernel adds these routes when it notices that the links are up.
    eventually("routes of the links", || {
        let routes = run("ip -6 route show table local");
        let has = |route: &str, link: &str| {
            routes.lines().any(|line| line.starts_with(route) && line.contains(&format!("dev {link} ")))
        };
        ["eth0", "far0"].iter().all(|link| has("local fe80::", link) && has("multicast", link))
            && has("local 2001:db8::1 ", "eth0")
    });
}

fn up() {
    for link in ["eth0", "far0"] {
        run(&format!("ip link set {link} up"));
    }
    run("ip addr add 203.0.113.1/24 dev eth0");
    run("ip addr add 2001:db8::1/64 dev eth0 nodad");
}

fn plan(device: &str, directory: &Directory) -> HostPlan {
    let mut plan = HostPlan::new(device);
    plan.routes = vec!["64:ff9b::/96".parse().unwrap(), "203.0.113.2/32".parse().unwrap()];
    plan.proxied4 = vec!["203.0.113.2/32".parse().unwrap()];
    plan.proxied6 = vec!["2001:db8::100/127".parse().unwrap()];
    plan.journal_directory = directory.0.clone();
    plan
}

/// The state is `before` again. A program that another test is just starting can hold a copy of the device for a moment.
fn assert_restored(before: &str) {
    let end = Instant::now() + Duration::from_secs(3);
    while state() != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(state(), before);
}

fn proxies() -> String {
    run("ip -4 neigh show proxy") + &run("ip -6 neigh show proxy")
}

fn lines_with(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn the_state_after_is_the_state_before() {
    in_namespace(|| {
        let directory = Directory::new("undo");
        wire();
        let before = state();
        let tun = Tun::create("xh0", 1).unwrap();
        block_on(async {
            let mut host = Host::apply(plan("xh0", &directory)).await.unwrap();
            assert_eq!(run("sysctl -n net.ipv4.ip_forward").trim(), "1");
            assert_eq!(run("sysctl -n net.ipv6.conf.eth0.proxy_ndp").trim(), "1");
            assert_eq!(run("sysctl -n net.ipv4.conf.xh0.accept_local").trim(), "1");
            for route in ["ip route show 203.0.113.2", "ip -6 route show 64:ff9b::/96"] {
                assert!(run(route).contains("dev xh0 proto 64"), "{}", run(route));
            }
            for rules in ["ip rule", "ip -6 rule"] {
                let text = run(rules);
                assert!(
                    text.contains("from all iif xh0 lookup main suppress_ifgroup 6464 proto 64"),
                    "{text}"
                );
                assert!(text.contains("from all iif xh0 unreachable"), "{text}");
            }
            assert_eq!(lines_with(&proxies(), "dev eth0"), 3, "{}", proxies());
            let link = run("ip -d link show xh0");
            assert!(link.contains("mtu 65535") && link.contains("group 6464"), "{link}");
            assert!(matches!(host.warnings(), [Warning::AdvertisementsIgnored(_)]), "{:?}", host.warnings());

            let mut other = plan("xh0", &directory);
            other.routes = vec!["64:ff9b::/96".parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
            other.proxied4 = vec!["203.0.113.3/32".parse().unwrap(), "192.0.2.9/32".parse().unwrap()];
            other.proxied6 = vec!["2001:db8::/64".parse().unwrap()];
            host.update(other).await.unwrap();
            assert_eq!(run("ip route show 203.0.113.2"), "");
            assert!(run("ip route show 198.51.100.0/24").contains("xh0"));
            assert_eq!(proxies().trim(), "203.0.113.3 dev eth0 proxy");
            assert!(host.warnings().contains(&Warning::NotConnected("192.0.2.9".parse().unwrap())));
            assert!(host.warnings().contains(&Warning::TooManyProxied("2001:db8::/64".parse().unwrap())));
            assert_eq!(run("sysctl -n net.ipv6.conf.eth0.proxy_ndp").trim(), "0");
            host.restore().await;
        });
        drop(tun);
        assert_restored(&before);
        assert!(directory.is_empty());
    });
}

#[test]
fn what_others_set_up_stays() {
    in_namespace(|| {
        let directory = Directory::new("others");
        wire();
        run("ip neigh add proxy 203.0.113.2 dev eth0");
        run("sysctl -qw net.ipv6.conf.all.forwarding=1");
        let before = state();
        let tun = Tun::create("xo0", 1).unwrap();
        block_on(async {
            let host = Host::apply(plan("xo0", &directory)).await.unwrap();
            host.restore().await;
        });
        drop(tun);
        assert_restored(&before);
    });
}

#[test]
fn two_devices_share_what_both_need() {
    in_namespace(|| {
        let directory = Directory::new("two");
        wire();
        let before = state();
        let tuns = [Tun::create("xa0", 1).unwrap(), Tun::create("xb0", 1).unwrap()];
        block_on(async {
            let first = Host::apply(plan("xa0", &directory)).await.unwrap();
            let mut second = plan("xb0", &directory);
            second.routes = vec!["2001:db8:64::/96".parse().unwrap()];
            let second = Host::apply(second).await.unwrap();
            first.restore().await;
            assert_eq!(run("sysctl -n net.ipv4.ip_forward").trim(), "1");
            second.restore().await;
        });
        drop(tuns);
        assert_restored(&before);
        assert!(directory.is_empty());
    });
}

#[test]
fn a_taken_route_is_refused_and_nothing_stays() {
    in_namespace(|| {
        let directory = Directory::new("taken");
        wire();
        run("ip route add 203.0.113.2/32 dev eth0");
        let before = state();
        let tun = Tun::create("xt0", 1).unwrap();
        let error = block_on(Host::apply(plan("xt0", &directory))).unwrap_err();
        assert!(
            matches!(&error, SetupError::RouteTaken(prefix) if prefix.to_string() == "203.0.113.2/32"),
            "{error}"
        );
        drop(tun);
        assert_restored(&before);
        let mut elsewhere = plan("xt1", &directory);
        elsewhere.proxy_interface = Some("eth9".into());
        let tun = Tun::create("xt1", 1).unwrap();
        let error = block_on(Host::apply(elsewhere)).unwrap_err();
        assert!(matches!(&error, SetupError::NoInterface(name) if name == "eth9"), "{error}");
        drop(tun);
        assert_restored(&before);
    });
}

#[test]
fn the_next_start_takes_back_what_a_crash_left() {
    if let Some(directory) = std::env::var_os(CHILD) {
        let directory = Directory(PathBuf::from(directory));
        let _tun = Tun::create("xk0", 1).unwrap();
        block_on(async {
            let _host = Host::apply(plan("xk0", &directory)).await.unwrap();
            // SAFETY: takes integers; it ends this process at once, which is the purpose.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
    }
    in_namespace(|| {
        let directory = Directory::new("crash");
        wire();
        let before = state();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["the_next_start_takes_back_what_a_crash_left", "--exact", "--test-threads=1"])
            .env(CHILD, &directory.0)
            // The child inherits this thread's namespace; its own test thread must stay in it.
            .status()
            .unwrap();
        assert!(!status.success() && !directory.is_empty());
        let after = state();
        assert!(after.contains("iif xk0") && after.contains("203.0.113.2 dev eth0 proxy"), "{after}");
        let tun = Tun::create("xk0", 1).unwrap();
        block_on(async {
            let mut less = HostPlan::new("xk0");
            less.journal_directory = directory.0.clone();
            let host = Host::apply(less).await.unwrap();
            assert_eq!(proxies(), "");
            host.restore().await;
        });
        drop(tun);
        assert_restored(&before);
        assert!(directory.is_empty());
    });
}

#[test]
fn a_live_owner_is_respected() {
    in_namespace(|| {
        let directory = Directory::new("live");
        wire();
        let tun = Tun::create("xl0", 1).unwrap();
        block_on(async {
            let host = Host::apply(plan("xl0", &directory)).await.unwrap();
            // As if written by the process that started this one.
            let path = std::fs::read_dir(&directory.0).unwrap().next().unwrap().unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut content: serde_json::Value = serde_json::from_str(&text).unwrap();
            let parent = std::os::unix::process::parent_id();
            content["pid"] = parent.into();
            content["process_start"] = xlat_linux::clock::process_start(parent).unwrap().into();
            std::fs::write(&path, content.to_string()).unwrap();
            let error = Host::apply(plan("xl0", &directory)).await.unwrap_err();
            assert!(matches!(error, SetupError::InUse { pid, .. } if pid == parent), "{error}");
            host.restore().await;
        });
        drop(tun);
    });
}

#[test]
fn interfaces_come_and_go() {
    in_namespace(|| {
        let directory = Directory::new("hotplug");
        let before = state();
        let tun = Tun::create("xi0", 1).unwrap();
        block_on(async {
            let watcher = Watcher::start().await.unwrap();
            let mut changes = watcher.subscribe();
            let mut next = async || {
                tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
                changes.borrow_and_update().clone()
            };
            let mut host = Host::apply(plan("xi0", &directory)).await.unwrap();
            assert_eq!(proxies(), "");
            assert!(host.warnings().contains(&Warning::NotConnected("203.0.113.2".parse().unwrap())));
            next().await;

            wire();
            let addresses = next().await;
            assert!(addresses.is_own("203.0.113.1".parse().unwrap()));
            host.refresh().await.unwrap();
            assert_eq!(lines_with(&proxies(), "dev eth0"), 3);

            run("ip link del eth0");
            next().await;
            host.refresh().await.unwrap();
            assert_eq!(proxies(), "");

            run("ip link add eth0 type veth peer name far0");
            up();
            next().await;
            host.refresh().await.unwrap();
            assert_eq!(lines_with(&proxies(), "dev eth0"), 3);
            assert_eq!(run("sysctl -n net.ipv6.conf.eth0.proxy_ndp").trim(), "1");

            // Down and up at once takes proxied neighbours away without a lasting change of addresses.
            for device in ["eth0", "xi0"] {
                run(&format!("ip link set {device} down"));
                run(&format!("ip link set {device} up"));
            }
            run("ip addr replace 2001:db8::1/64 dev eth0 nodad");
            host.refresh().await.unwrap();
            assert_eq!(lines_with(&proxies(), "dev eth0"), 3, "{}", proxies());
            assert!(run("ip route show 203.0.113.2").contains("xi0"));

            run("ip addr add 203.0.113.2/24 dev eth0");
            let addresses = next().await;
            assert!(addresses.is_own("203.0.113.2".parse().unwrap()));
            host.refresh().await.unwrap();
            assert!(host.warnings().contains(&Warning::OwnAddress("203.0.113.2".parse().unwrap())));
            host.restore().await;
        });
        drop(tun);
        run("ip link del eth0");
        run("ip link del eth1");
        assert_restored(&before);
    });
}

#[test]
fn interfaces_say_what_they_are_and_routes_that_they_changed() {
    in_namespace(|| {
        wire();
        run("ip link add br0 type bridge");
        run("ip link set eth0 address 02:00:00:00:00:07 master br0 mtu 1400");
        let tun = Tun::create("xw0", 1).unwrap();
        block_on(async {
            let watcher = Watcher::start().await.unwrap();
            let host = watcher.subscribe().borrow().clone();
            let (eth, bridge) = (host.interface("eth0").unwrap(), host.interface("br0").unwrap());
            assert_eq!((eth.mac, eth.mtu, eth.master), (Some([2, 0, 0, 0, 0, 7]), 1400, Some(bridge.index)));
            assert_eq!((eth.kind.as_deref(), bridge.kind.as_deref()), (Some("veth"), Some("bridge")));
            assert!(eth.is_ethernet() && !host.interface(tun.name()).unwrap().is_ethernet());

            let mut routes = watcher.routes_changed();
            let mut told = async || {
                let waiting = tokio::time::timeout(Duration::from_millis(800), routes.changed());
                waiting.await.is_ok_and(|changed| changed.is_ok())
            };
            // What setting up has caused.
            while told().await {}
            run("ip route add 198.51.100.0/24 via 203.0.113.9");
            assert!(told().await);
            run("ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 dev eth0");
            assert!(told().await);
            run("ip neigh replace 203.0.113.9 lladdr 02:00:00:00:00:09 nud reachable dev eth0");
            assert!(!told().await, "a neighbour that was confirmed");
            run("ip neigh replace 203.0.113.9 lladdr 02:00:00:00:00:0a nud reachable dev eth0");
            assert!(told().await);
        });
    });
}

#[test]
fn what_was_left_is_adopted_without_a_gap() {
    in_namespace(|| {
        let directory = Directory::new("left");
        wire();
        let before = state();
        let tun = Tun::create("xa0", 1).unwrap();
        tun.set_persistent(true).unwrap();
        block_on(async { Host::apply(plan("xa0", &directory)).await.unwrap().leave() });
        let set_up = state();
        drop(tun);
        let left = owner("xa0", Some(&directory.0)).unwrap().unwrap();
        assert_eq!((left.pid, left.alive), (std::process::id(), false));
        assert_eq!(owner("xa1", Some(&directory.0)).unwrap(), None);

        let tun = Tun::reopen("xa0", 1).unwrap();
        // Whatever is taken away for a moment is told of.
        let mut monitor = Command::new("ip")
            .args(["monitor", "route", "rule", "neigh"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let adopting = HostPlan { adopt: true, ..plan("xa0", &directory) };
        let less = HostPlan { proxied4: Vec::new(), proxied6: Vec::new(), ..adopting.clone() };
        block_on(async {
            Host::apply(adopting).await.unwrap().leave();
        });
        assert_eq!(state().replace(" linkdown", ""), set_up.replace(" linkdown", ""));
        monitor.kill().unwrap();
        let told = String::from_utf8(monitor.wait_with_output().unwrap().stdout).unwrap();
        assert!(!told.contains("Deleted"), "{told}");
        block_on(async {
            let host = Host::apply(less).await.unwrap();
            assert_eq!(proxies(), "");
            host.leave();
            assert!(undo("xa0", &directory.0).await.unwrap());
            assert!(!undo("xa0", &directory.0).await.unwrap());
        });
        tun.set_persistent(false).unwrap();
        drop(tun);
        assert_restored(&before);
        assert!(directory.is_empty());
    });
}
