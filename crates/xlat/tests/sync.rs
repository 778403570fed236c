//! Two translators that share their sessions: flows go on when their packets move from one to the other.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xlat_netlab::{Background, Namespace, Wire, unavailable};

const LIMIT: Duration = Duration::from_secs(20);
/// As the scenario of the tutorial has it.
const GROUP: &str = "ff08::db8:64:64";

/// Does something in a node: sockets belong to the namespace that they are made in.
fn inside<T: Send>(node: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{}/ns/net", node.pid())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One of the two, with its daemon and its proxy.
struct Translator {
    node: Namespace,
    number: u8,
    folder: PathBuf,
    key: &'static str,
    daemon: Option<Background>,
    proxy: Option<Background>,
}

impl Translator {
    fn new(number: u8, wires: [&Wire; 3]) -> Self {
        let node = Namespace::new(&format!("T{number}")).unwrap();
        let addresses = [
            ("eth0", format!("2001:db8::{number}/96")),
            ("eth1", format!("192.0.2.{number}/24")),
            ("eth2", format!("2001:db8:ff08::{number}/96")),
        ];
        for (wire, (device, address)) in wires.into_iter().zip(addresses) {
            wire.attach(&node, device).unwrap();
            node.address(device, &address).unwrap();
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xlat-sync-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for program in ["xlat", "jool", "joold"] {
            symlink(env!("CARGO_BIN_EXE_xlat"), folder.join(program)).unwrap();
        }
        Self { node, number, folder, key: "", daemon: None, proxy: None }
    }

    fn output(&self, line: &str) -> Output {
        let (program, words) = line.split_once(' ').unwrap_or((line, ""));
        let program = self.folder.join(program);
        let mut command = self.node.command(program.to_str().unwrap());
        command.args(words.split_whitespace()).current_dir(&self.folder).output().unwrap()
    }

    /// What a command prints; it must succeed.
    fn stdout(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "T{}: {line}: {output:?}", self.number);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a command.
    fn command(&self, line: &str) -> Background {
        let (program, words) = line.split_once(' ').unwrap();
        let mut command = self.node.command(self.folder.join(program).to_str().unwrap());
        command.args(words.split_whitespace()).current_dir(&self.folder);
        Background::start(&self.node, program, command).unwrap()
    }

    /// Starts a command and waits for a word.
    fn background(&self, line: &str, word: &str) -> Background {
        let mut background = self.command(line);
        background.wait_for(word, LIMIT).unwrap();
        background
    }

    /// As the tutorial sets a translator up.
    fn start(&mut self) {
        let mut command = self.node.command(env!("CARGO_BIN_EXE_xlat"));
        command.args(["run", "--empty", "--state-dir"]).arg(self.folder.join("state"));
        let mut daemon = Background::start(&self.node, "xlat", command).unwrap();
        daemon.wait_for("xlat is ready", LIMIT).unwrap();
        self.daemon = Some(daemon);
        self.stdout("jool instance add --netfilter --pool6 64:ff9b::/96");
        for (protocol, ports) in [("tcp", "61001-65535"), ("udp", "61001-65535"), ("icmp", "0-65535")] {
            self.stdout(&format!("jool pool4 add --{protocol} 203.0.113.2 {ports}"));
        }
        self.stdout("jool global update ss-enabled true");
        self.stdout("jool global update ss-flush-deadline 200");
        self.start_proxy();
    }

    /// One of them with Jool's words, the other with ours; with the key, if there is one.
    fn start_proxy(&mut self) {
        self.proxy = None;
        let (mut jool, mut ours) = (String::new(), String::new());
        if !self.key.is_empty() {
            let file = self.folder.join("key");
            let options = File::options().create(true).write(true).truncate(true).mode(0o600).open(file);
            options.unwrap().write_all(self.key.as_bytes()).unwrap();
            (jool, ours) = ("--net.key-file key".to_owned(), "--key-file key".to_owned());
        }
        self.proxy = Some(match self.number {
            4 => {
                let line = format!(
                    "jool -i default session proxy --net.mcast.port 6464 --net.dev.in eth2 --net.dev.out eth2 \
                     --stats.port 6401 {jool} {GROUP}"
                );
                self.background(&line, "-----")
            }
            _other => {
                let line = format!(
                    "xlat session proxy {GROUP} --port 6464 --device-in eth2 --device-out eth2 --counters-port 6401 {ours}"
                );
                self.background(&line, "carrying sessions of NAT64 \"default\"")
            }
        });
    }

    /// What the proxy counts.
    fn proxy_counts(&self) -> String {
        inside(&self.node, || {
            let socket = UdpSocket::bind("[::1]:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut buffer = [0; 512];
            // It prints first what it is going to do.
            let ask = |buffer: &mut [u8]| {
                socket.send_to(b"?", "[::1]:6401").unwrap();
                socket.recv(buffer).ok()
            };
            let length = (0..20).find_map(|_| ask(&mut buffer)).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        })
    }

    /// Datagrams that it refused.
    fn refused(&self) -> u64 {
        let counts = self.proxy_counts();
        let count = counts.lines().find_map(|line| line.strip_prefix("NET_REFUSED_PKTS,"));
        count.unwrap().parse().unwrap()
    }

    /// Ends it without leaving anything.
    fn stop(&mut self) {
        self.proxy = None;
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(rustix::process::Signal::INT).unwrap();
            daemon.wait(LIMIT).unwrap();
        }
    }

    fn sessions(&self, protocol: &str) -> Vec<String> {
        let table = self.stdout(&format!("jool session display --{protocol} --numeric --csv --no-headers"));
        table.lines().map(str::to_owned).collect()
    }

    fn counter(&self, name: &str) -> u64 {
        let table = self.stdout("jool stats display --all --csv --no-headers");
        let line = table.lines().find_map(|line| line.strip_prefix(&format!("{name},"))).unwrap();
        line.parse().unwrap()
    }
}

impl Drop for Translator {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(daemon) = &mut self.daemon
        {
            daemon.output().lines().for_each(|line| eprintln!("T{}: {line}", self.number));
        }
        self.stop();
        // Leaving a file behind in the temporary folder fails no test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// n6 and n4 with T1 and T2 between them, and a wire for the proxies.
struct Scene {
    one: Translator,
    two: Translator,
    n6: Namespace,
    n4: Namespace,
    wires: [Wire; 3],
}

impl Scene {
    fn build() -> Option<Self> {
        let tun = File::options().read(true).write(true).open("/dev/net/tun").err();
        if let Some(reason) = unavailable().or_else(|| tun.map(|error| format!("/dev/net/tun: {error}"))) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let wires = std::array::from_fn(|_| Wire::new().unwrap());
        let [six, four, private]: &[Wire; 3] = &wires;
        let (one, two) = (Translator::new(4, [six, four, private]), Translator::new(5, [six, four, private]));
        let (n6, n4) = (Namespace::new("n6").unwrap(), Namespace::new("n4").unwrap());
        six.attach(&n6, "eth0").unwrap();
        n6.address("eth0", "2001:db8::8/96").unwrap();
        four.attach(&n4, "eth0").unwrap();
        n4.address("eth0", "192.0.2.8/24").unwrap();
        Some(Self { one, two, n6, n4, wires })
    }

    /// A node on the proxies' wire that has no part in them.
    fn stranger(&self) -> Namespace {
        let node = Namespace::new("stranger").unwrap();
        self.wires[2].attach(&node, "eth2").unwrap();
        node.address("eth2", "2001:db8:ff08::66/96").unwrap();
        node
    }

    /// Which translator n6's packets go to, and n4's.
    fn route(&self, six: u8, four: u8) {
        self.n6.ip(&format!("route replace 64:ff9b::/96 via 2001:db8::{six}")).unwrap();
        self.n4.ip(&format!("route replace 203.0.113.2 via 192.0.2.{four}")).unwrap();
    }
}

/// A connection and a UDP flow from n6 to n4.
struct Flows {
    client: TcpStream,
    server: TcpStream,
    asking: UdpSocket,
    answering: UdpSocket,
    mask: std::net::SocketAddr,
}

impl Flows {
    fn open(scene: &Scene) -> Self {
        let (listener, answering) = inside(&scene.n4, || {
            (TcpListener::bind("0.0.0.0:7000").unwrap(), UdpSocket::bind("0.0.0.0:7001").unwrap())
        });
        let (client, asking) = inside(&scene.n6, || {
            let server: IpAddr = "64:ff9b::192.0.2.8".parse().unwrap();
            let asking = UdpSocket::bind("[::]:0").unwrap();
            asking.connect((server, 7001)).unwrap();
            (TcpStream::connect_timeout(&(server, 7000).into(), LIMIT).unwrap(), asking)
        });
        let (server, mask) = listener.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
        }
        for socket in [&asking, &answering] {
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        }
        Self { client, server, asking, answering, mask }
    }

    /// Both ways, in the connection and beside it; gives the mask of the UDP flow.
    fn exchange(&mut self, word: &str) -> std::net::SocketAddr {
        let mut buffer = [0; 64];
        self.client.write_all(word.as_bytes()).unwrap();
        self.server.read_exact(&mut buffer[..word.len()]).unwrap();
        assert_eq!(&buffer[..word.len()], word.as_bytes());
        self.server.write_all(b"yes").unwrap();
        self.client.read_exact(&mut buffer[..3]).unwrap();
        assert_eq!(self.server.peer_addr().unwrap(), self.mask);
        // Datagrams may be lost while neighbours are looked for.
        for _ in 0..10 {
            self.asking.send(word.as_bytes()).unwrap();
            let Ok((_, mask)) = self.answering.recv_from(&mut buffer) else { continue };
            self.answering.send_to(b"yes", mask).unwrap();
            if self.asking.recv(&mut buffer).is_ok() {
                return mask;
            }
        }
        panic!("{word}: no answer by UDP");
    }
}

#[test]
fn flows_survive_a_move_to_the_other_translator() {
    let Some(mut scene) = Scene::build() else { return };
    scene.one.start();
    scene.two.start();
    let mut follow = scene.two.background("jool session follow", "log");
    let mut own = scene.two.command("xlat session follow --json");
    scene.route(4, 4);
    let mut flows = Flows::open(&scene);
    let mask = flows.exchange("at the first");
    scene.n6.run("ping -n -c 2 -i 0.2 -w 5 64:ff9b::192.0.2.8").unwrap();
    for protocol in ["tcp", "udp", "icmp"] {
        let stable = |rows: Vec<String>| -> Vec<String> {
            // All but the time that is left.
            rows.iter()
                .map(|row| {
                    row.split(',')
                        .enumerate()
                        .filter(|(at, _)| *at != 9)
                        .map(|(_, cell)| cell)
                        .collect::<Vec<_>>()
                        .join(",")
                })
                .collect()
        };
        eventually(protocol, || {
            let (one, two) = (scene.one.sessions(protocol), scene.two.sessions(protocol));
            !one.is_empty() && stable(one) == stable(two)
        });
    }
    assert!(scene.one.counter("JSTAT_JOOLD_SSS_SENT") >= 3);
    assert!(scene.two.counter("JSTAT_JOOLD_SSS_RCVD") >= 3 && scene.two.counter("JSTAT_JOOLD_PKT_RCVD") >= 1);

    // Active and active: there by one, back by the other.
    scene.route(4, 5);
    assert_eq!(flows.exchange("there by one, back by the other"), mask);
    scene.route(5, 4);
    assert_eq!(flows.exchange("and the other way round"), mask);

    // The first one is gone.
    scene.route(5, 5);
    scene.one.stop();
    assert_eq!(flows.exchange("at the second"), mask);
    scene.n6.run("ping -n -c 1 -w 5 64:ff9b::192.0.2.8").unwrap();
    // What the second one sees now it tells, in the form of the contract.
    let row = follow.wait_for("ICMP,2001:db8::8,", LIMIT).unwrap();
    let cells: Vec<&str> = row.split(',').collect();
    assert_eq!(
        (cells.len(), cells[3], cells[5], cells[7]),
        (8, "203.0.113.2", "192.0.2.8", "0:01:00"),
        "{row}"
    );
    drop(follow);
    let row = own.wait_for("\"icmp\"", LIMIT).unwrap();
    let row: serde_json::Value =
        serde_json::from_str(row.split_once('{').map_or(&row, |_| &row[row.find('{').unwrap()..])).unwrap();
    assert_eq!(row["local4"]["address"], "203.0.113.2", "{row}");
    drop(own);

    // It comes back with nothing, and learns by an advertisement.
    scene.one.start();
    assert!(scene.one.sessions("tcp").is_empty());
    assert_eq!(scene.two.stdout("xlat session advertise"), "");
    eventually("advertised", || {
        scene.one.sessions("tcp").len() == 1 && !scene.one.sessions("udp").is_empty()
    });
    assert_eq!(scene.two.counter("JSTAT_JOOLD_ADS"), 1);
    scene.route(4, 4);
    scene.two.stop();
    assert_eq!(flows.exchange("at the first again"), mask);
}

#[test]
fn proxies_say_what_they_do_and_refuse_what_they_cannot() {
    let Some(mut scene) = Scene::build() else { return };
    scene.one.start();
    let translator = &scene.one;
    // Whoever asks is told what went through.
    let answer = translator.proxy_counts();
    let names: Vec<&str> = answer.lines().map(|line| line.split_once(',').unwrap().0).collect();
    let expected = [
        "KERNEL_SENT_PKTS",
        "KERNEL_SENT_BYTES",
        "NET_RCVD_PKTS",
        "NET_RCVD_BYTES",
        "NET_SENT_PKTS",
        "NET_SENT_BYTES",
    ];
    assert_eq!(names, expected);
    fs::write(
        translator.folder.join("net.json"),
        "{\"multicast address\": \"239.0.0.1\", \"multicast port\": 5}",
    )
    .unwrap();
    fs::write(translator.folder.join("mod.json"), "{}").unwrap();
    fs::write(translator.folder.join("short"), "0123456789").unwrap();
    for (line, code, says) in [
        ("jool session proxy --net.key-file short ff08::1", 22, "joold error: 22 (See syslog)\n"),
        ("jool session proxy --net.key-file nosuch ff08::1", 2, "joold error: 2 (See syslog)\n"),
        ("jool session proxy", 22, "joold error: 22 (See syslog)\n"),
        ("jool session proxy --net.mcast.port nosuch ff08::1", 248, "joold error: -8 (See syslog)\n"),
        ("jool session proxy --net.dev.in nosuch ff08::1", 19, "joold error: 19 (See syslog)\n"),
        ("jool session proxy a b", 64, "Too many arguments"),
        (
            "jool -i other session proxy --net.dev.in eth2 ff08::1",
            3,
            "This namespace lacks an instance named 'other'.",
        ),
        ("jool session follow --foo", 64, "unrecognized option '--foo'"),
        ("xlat session proxy 192.0.2.1", 1, "192.0.2.1 is no multicast address"),
        ("xlat session proxy ff08::1 --device-in nosuch", 1, "interface 'nosuch'"),
        ("xlat session follow -i other", 1, "there is no NAT64 instance named \"other\" here"),
        ("joold", 22, "Not enough arguments."),
        ("joold net.json mod.json", 22, "net.json: 'multicast port' is not a string"),
    ] {
        let output = translator.output(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
    }
    fs::write(translator.folder.join("net.json"), "{\"multicast address\": \"239.0.0.1\"}").unwrap();
    drop(translator.background("joold net.json mod.json", "-----"));
    // Refused or not, nobody waits for the answer.
    for _ in 0..2 {
        translator.stdout("jool session advertise");
    }
    translator.stdout("jool global update ss-enabled false");
    translator.stdout("jool joold advertise");
}

/// A socket that sends to the proxies' wire.
fn sender(node: &Namespace) -> UdpSocket {
    let link = node.ip("-o link show eth2").unwrap();
    let index = link.split(':').next().unwrap().parse().unwrap();
    inside(node, || {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v6(index).unwrap();
        UdpSocket::from(socket)
    })
}

/// A message of one UDP session.
fn by_the_book() -> Vec<u8> {
    let mut message = b"XLSS\x01\x60\x00\x01".to_vec();
    message.extend("64:ff9b::".parse::<std::net::Ipv6Addr>().unwrap().octets());
    message.extend("2001:db8::8".parse::<std::net::Ipv6Addr>().unwrap().octets());
    message.extend([
        203, 0, 113, 2, 192, 0, 2, 8, 0, 0, 0x75, 0x30, 0x12, 0x34, 0xf0, 0x00, 0x1b, 0x58, 1, 0, 2, 0,
    ]);
    message
}

#[test]
fn a_key_keeps_everybody_else_out() {
    let Some(mut scene) = Scene::build() else { return };
    (scene.one.key, scene.two.key) =
        ("a key of the two, and of nobody else", "a key of the two, and of nobody else\n");
    scene.one.start();
    scene.two.start();
    scene.route(4, 4);
    let mut flows = Flows::open(&scene);
    flows.exchange("at the first");
    eventually("told with the key", || !scene.two.sessions("tcp").is_empty());
    let before = scene.two.counter("JSTAT_JOOLD_PKT_RCVD");
    assert_eq!((scene.one.refused(), scene.two.refused()), (0, 0));
    // Somebody on the wire, without the key.
    sender(&scene.stranger()).send_to(&by_the_book(), (GROUP, 6464)).unwrap();
    eventually("refused by both", || scene.one.refused() == 1 && scene.two.refused() == 1);
    assert!(scene.two.counter("JSTAT_JOOLD_PKT_RCVD") >= before);
    assert!(scene.two.sessions("udp").iter().all(|row| !row.contains(",4660,")));
    // One with another key hears nothing, and is not heard.
    scene.two.key = "a key of somebody who has heard that";
    scene.two.start_proxy();
    let refused = scene.one.refused();
    scene.two.stdout("jool session advertise");
    eventually("another key", || scene.one.refused() > refused);
}

/// Anybody on the proxies' wire can send: nothing that does not fit gets in, and the daemon and its proxy go on.
#[test]
fn rubbish_on_the_wire_changes_nothing() {
    let Some(mut scene) = Scene::build() else { return };
    scene.one.start();
    let sender = sender(&scene.two.node);
    let send = |bytes: &[u8]| assert_eq!(sender.send_to(bytes, (GROUP, 6464)).unwrap(), bytes.len());
    let good = by_the_book();
    let mut foreign = good.clone();
    foreign[42] = 9;
    let refused = 200;
    for number in 0..refused {
        let mut spoiled = good.clone();
        spoiled[number % 24] ^= 0xff;
        send(&spoiled[..number % spoiled.len()]);
        std::thread::sleep(Duration::from_millis(1));
    }
    send(&vec![0; 60_000]);
    send(&foreign);
    eventually("the session outside pool4", || scene.one.counter("JSTAT_JOOLD_SSS_RCVD") == 1);
    assert!(scene.one.sessions("udp").is_empty());
    send(&good);
    eventually("the good session", || scene.one.sessions("udp").len() == 1);
    let row = scene.one.sessions("udp").remove(0);
    assert!(
        row.starts_with("UDP,2001:db8::8,4660,64:ff9b::c000:208,7000,203.0.113.2,61440,192.0.2.8,7000,0:00:"),
        "{row}"
    );
    // The same mask for another client, and the same client with another mask: the first stays.
    let (mut thief, mut moved) = (good.clone(), good.clone());
    thief[39] = 9;
    moved[55] = 1;
    send(&thief);
    send(&moved);
    eventually("both refused", || scene.one.counter("JSTAT_JOOLD_SSS_RCVD") == 4);
    assert_eq!(scene.one.sessions("udp").len(), 1);
    assert!(scene.one.proxy.as_mut().unwrap().is_running());
    scene.one.stdout("jool global update ss-enabled false");
    let mut late = good;
    late[39] = 10;
    send(&late);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(scene.one.sessions("udp").len(), 1);
}
