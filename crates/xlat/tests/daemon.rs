//! The daemon in namespaces: it translates, reloads or refuses to, follows the host, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::fs;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xlat_netlab::{Background, Namespace, Wire, scenes, unavailable};

const LIMIT: Duration = Duration::from_secs(10);
const READY: &str = "xlat is ready";
const V: &str = "64:ff9b::203.0.113.16";

/// A NAT64 with these masks, which logs its BIB.
fn config(pool4: &str) -> String {
    format!(
        "[[instance]]\nname = \"default\"\ntype = \"nat64\"\npool4 = [{pool4}]\n[instance.global]\n\
         pool6 = \"64:ff9b::/96\"\nlogging-bib = true\nlogging-session = true\n"
    )
}

/// The scene of the design: A and V on one wire with T.
struct Scene {
    a: Namespace,
    t: Namespace,
    _v: Namespace,
    _wire: Wire,
    folder: PathBuf,
}

impl Scene {
    /// None, with a message, where it cannot be built.
    fn build(name: &str) -> Option<Self> {
        if let Some(reason) = unavailable().or_else(no_tun) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("xlat-daemon-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ([a, t, v], wire) = scenes::one_wire().unwrap();
        let scene = Self { a, t, _v: v, _wire: wire, folder };
        scene.configure(&config("\"203.0.113.2\""));
        Some(scene)
    }

    fn configure(&self, content: &str) {
        fs::write(self.folder.join("xlat.toml"), content).unwrap();
    }

    /// Starts the daemon on T; does not wait.
    fn start(&self) -> Background {
        let mut command = self.t.command(env!("CARGO_BIN_EXE_xlat"));
        command.arg("run").arg("--config").arg(self.folder.join("xlat.toml"));
        command.arg("--state-dir").arg(self.folder.join("state"));
        command.env("NOTIFY_SOCKET", self.folder.join("notify"));
        Background::start(&self.t, "xlat", command).unwrap()
    }

    fn ready(&self) -> Background {
        let mut xlat = self.start();
        xlat.wait_for(READY, LIMIT).unwrap();
        xlat
    }

    fn pings(&self) -> bool {
        self.a.run(&format!("ping -n -c 1 -w 3 {V}")).is_ok()
    }

    /// Everything about T that the daemon may change.
    fn state(&self) -> String {
        [
            "ip -4 route show table all",
            "ip -6 route show table all",
            "ip -4 rule",
            "ip -6 rule",
            "ip neigh show proxy",
            "ip -6 neigh show proxy",
            "ip -o link show",
            "sysctl -a --pattern ^net.ipv[46].conf.(all|eth0|default)\\.(forwarding|proxy|accept_local|rp_filter)",
        ]
        .map(|line| self.t.run(line).unwrap())
        .join("\n")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // What a failed test has left in the kernel would go on by itself.
        let mut command = self.t.command(env!("CARGO_BIN_EXE_xlat"));
        let _ = command.args(["stop", "--flush", "--state-dir"]).arg(self.folder.join("state")).output();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Ends a daemon that takes everything back.
fn end(xlat: &mut Background) {
    xlat.signal(Signal::INT).unwrap();
    assert!(xlat.wait(LIMIT).unwrap().success(), "{}", xlat.output());
}

/// Why there can be no TUN device.
fn no_tun() -> Option<String> {
    let opened = fs::File::options().read(true).write(true).open("/dev/net/tun");
    opened.err().map(|error| format!("/dev/net/tun: {error}"))
}

/// Waits for something that takes a moment.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn translates_and_takes_everything_back() {
    let Some(scene) = Scene::build("back") else { return };
    let before = scene.state();
    let mut xlat = scene.ready();
    assert_ne!(scene.state(), before);
    assert!(scene.pings());
    xlat.wait_for(" (GMT) - Added session 2001:db8::8#", LIMIT).unwrap();
    let line = xlat.wait_for(" (GMT) - Mapped 2001:db8::8#", LIMIT).unwrap();
    assert!(
        line.contains("default 2") && line.contains(" to 203.0.113.2#") && line.ends_with(" (ICMP)"),
        "{line}"
    );
    xlat.signal(Signal::USR1).unwrap();
    let line = xlat.wait_for("default ICMP sessions", LIMIT).unwrap();
    assert!(line.ends_with(" 1"), "{line}");
    end(&mut xlat);
    assert_eq!(scene.state(), before);
    assert!(!scene.pings());
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_does() {
    let Some(scene) = Scene::build("reload") else { return };
    let mut xlat = scene.ready();
    assert!(scene.pings());
    let before = scene.state();
    let own_address = format!("[fast-path]\ningress = \"off\"\n{}", config("\"203.0.113.1\""));
    for (bad, complaint) in [
        (config("\"203.0.113.2\"").replace("pool6", "pol6"), "xlat.toml:6:1: error: unknown key 'pol6'"),
        (own_address, "error: pool4 203.0.113.1/32 has this host's own address"),
        (format!("[device]\nname = \"other0\"\n{}", config("\"203.0.113.2\"")), "takes a restart"),
        ("[[".to_owned(), "xlat.toml:1:"),
    ] {
        scene.configure(&bad);
        xlat.signal(Signal::HUP).unwrap();
        if complaint != "takes a restart" {
            xlat.wait_for(complaint, LIMIT).unwrap();
        }
        xlat.wait_for("the configuration stays as it was", LIMIT).unwrap();
        assert_eq!(scene.state(), before);
        assert!(scene.pings());
    }
    fs::remove_file(scene.folder.join("xlat.toml")).unwrap();
    xlat.signal(Signal::HUP).unwrap();
    xlat.wait_for("the configuration stays as it was", LIMIT).unwrap();
    assert!(scene.pings());
    scene.configure(&config("\"203.0.113.3\""));
    xlat.signal(Signal::HUP).unwrap();
    xlat.wait_for("configuration was read again", LIMIT).unwrap();
    assert!(scene.pings());
    xlat.wait_for(" to 203.0.113.3#", LIMIT).unwrap();
    let proxies = scene.t.ip("neigh show proxy").unwrap();
    assert!(proxies.contains("203.0.113.3 ") && !proxies.contains("203.0.113.2 "), "{proxies}");
    end(&mut xlat);
}

#[test]
fn packets_are_traced_where_asked_for() {
    let Some(scene) = Scene::build("trace") else { return };
    scene.configure(&format!("{}logging-debug = true\n", config("\"203.0.113.2\"")));
    let mut xlat = scene.ready();
    assert!(scene.pings());
    xlat.wait_for("destination: 64:ff9b::cb00:7110 is in pool6", LIMIT).unwrap();
    xlat.wait_for("=> translated", LIMIT).unwrap();
    end(&mut xlat);
}

#[test]
fn after_a_crash_the_next_start_cleans_up() {
    let Some(scene) = Scene::build("crash") else { return };
    let before = scene.state();
    let mut xlat = scene.ready();
    xlat.signal(Signal::KILL).unwrap();
    xlat.wait(LIMIT).unwrap();
    assert_ne!(scene.state(), before, "what a crash leaves behind");
    // Another pool4: what belonged to the first one would stay if nobody looked.
    scene.configure(&config("\"203.0.113.3\""));
    let mut xlat = scene.ready();
    assert!(scene.pings());
    assert!(!scene.t.ip("neigh show proxy").unwrap().contains("203.0.113.2 "));
    end(&mut xlat);
    assert_eq!(scene.state(), before);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let Some(scene) = Scene::build("failing") else { return };
    scene.t.ip("route add 64:ff9b::/96 via 2001:db8::99").unwrap();
    let before = scene.state();
    let mut xlat = scene.start();
    assert!(!xlat.wait(LIMIT).unwrap().success());
    assert!(xlat.output().contains("there is a route to 64:ff9b::/96 already"), "{}", xlat.output());
    assert_eq!(scene.state(), before);
    scene.t.ip("route del 64:ff9b::/96").unwrap();
    let mut xlat = scene.ready();
    assert!(scene.pings());
    end(&mut xlat);
}

#[test]
fn what_was_left_keeps_no_other_start_out() {
    let Some(scene) = Scene::build("others") else { return };
    let before = scene.state();
    let common = config("\"203.0.113.2\"");
    for change in ["[device]\nname = \"other0\"\n", "[fast-path]\nenabled = false\n"] {
        scene.configure(&common);
        let mut first = scene.ready();
        assert!(scene.pings());
        assert!(first.stop(LIMIT).unwrap().success());
        scene.configure(&format!("{change}{common}"));
        let mut second = scene.ready();
        assert!(scene.pings(), "{change}");
        end(&mut second);
        assert_eq!(scene.state(), before, "{change}");
    }
}

#[test]
fn only_one_at_a_time() {
    let Some(scene) = Scene::build("one") else { return };
    let mut first = scene.ready();
    let mut second = scene.start();
    assert!(!second.wait(LIMIT).unwrap().success());
    let said = second.output();
    assert!(said.contains("xlat: a network device \"xlat0\" exists already"), "{said}");
    assert!(scene.pings(), "the first one goes on");
    end(&mut first);
}

#[test]
fn the_apis_name_is_taken_as_soon_as_it_is_free() {
    let Some(scene) = Scene::build("squat") else { return };
    // Anybody can take an abstract name.
    let namespace = fs::File::open(format!("/proc/{}/ns/net", scene.t.pid())).unwrap();
    let squatter = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        UnixListener::bind_addr(&SocketAddr::from_abstract_name("xlat").unwrap()).unwrap()
    });
    let squatter = squatter.join().unwrap();
    let mut xlat = scene.start();
    let why = xlat.wait_for("there is no API until its name is free: process ", LIMIT).unwrap();
    assert!(why.contains(") of user ") && why.contains(" has it"), "{why}");
    eventually("packets, which do not need it", || scene.pings());
    drop(squatter);
    xlat.wait_for("the API's name is free", LIMIT).unwrap();
    let said = scene.t.run("curl -sf --abstract-unix-socket xlat http://xlat/v1/status").unwrap();
    assert!(said.contains("\"instances\":1"), "{said}");
    end(&mut xlat);
}

#[test]
fn follows_addresses_that_come_and_go() {
    let Some(scene) = Scene::build("follow") else { return };
    scene.t.ip("address del 203.0.113.1/24 dev eth0").unwrap();
    let mut xlat = scene.ready();
    assert!(!scene.pings());
    scene.t.address("eth0", "203.0.113.1/24").unwrap();
    eventually("ping after the address came", || scene.pings());
    scene.t.ip("address del 203.0.113.1/24 dev eth0").unwrap();
    eventually("no proxy after the address went", || scene.t.ip("neigh show proxy").unwrap().is_empty());
    end(&mut xlat);
}

#[test]
fn the_service_manager_hears_of_it() {
    let Some(scene) = Scene::build("notify") else { return };
    let socket = UnixDatagram::bind(scene.folder.join("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut xlat = scene.start();
    let hear = |expected: &str| {
        let mut message = [0; 512];
        let length = socket.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..length]);
        assert!(text.starts_with(expected), "{text} instead of {expected}");
    };
    hear("READY=1");
    xlat.signal(Signal::HUP).unwrap();
    hear("RELOADING=1\nMONOTONIC_USEC=");
    hear("READY=1");
    xlat.signal(Signal::INT).unwrap();
    hear("STOPPING=1");
    assert!(xlat.wait(LIMIT).unwrap().success());
}

/// Whether a file of /proc belonged to a thread that has ended.
fn gone(error: &std::io::Error) -> bool {
    let errors = [Errno::NOENT, Errno::SRCH].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| errors.contains(&code))
}

#[test]
fn gives_up_privileges() {
    let Some(scene) = Scene::build("privileges") else { return };
    const NET_ADMIN: u64 = 1 << 12;
    const BPF: u64 = 1 << 39;
    let xlat = scene.ready();
    // Each worker does so by itself, before its first packet.
    eventually("no thread has more than it needs", || {
        let tasks = fs::read_dir(format!("/proc/{}/task", xlat.pid())).unwrap();
        tasks.into_iter().all(|task| {
            let status = match fs::read_to_string(task.unwrap().path().join("status")) {
                // It has ended since it was listed, and may do nothing any more.
                Err(error) if gone(&error) => return true,
                status => status.unwrap(),
            };
            let field = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
            };
            let sets = ["CapEff:", "CapPrm:"].map(|name| u64::from_str_radix(&field(name), 16).unwrap());
            let may = match field("Name:").as_str() {
                "xlat" => NET_ADMIN | BPF,
                "xlat-flows" => BPF,
                _worker => 0,
            };
            sets.iter().all(|set| set & !may == 0) && field("NoNewPrivs:") == "1"
        })
    });
}

#[test]
fn any_signal_at_any_time() {
    let Some(scene) = Scene::build("signals") else { return };
    let before = scene.state();
    let mut xlat = scene.ready();
    for _ in 0..50 {
        for signal in [Signal::HUP, Signal::USR1, Signal::HUP] {
            xlat.signal(signal).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(scene.pings());
    xlat.signal(Signal::HUP).unwrap();
    end(&mut xlat);
    assert!(!xlat.output().contains("panicked"));
    assert_eq!(scene.state(), before);
}
