//! The network: A and V with a router for each subject between them (one for plain forwarding, so that nothing of a translator
//! is in its way), every cable a veth pair with its offloads on. All run at the same time, and A's destination decides which
//! one a packet meets: taking turns costs nothing.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use xlat_bench::Error;
use xlat_bench::host::{Folder, Xlat};
use xlat_bench::tcp::Way;
use xlat_netlab::{Background, Namespace, missing_programs, veth};

/// Ethernet address of A.
pub(crate) const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
/// Ethernet address of T on the side of A.
pub(crate) const MAC_T: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

const NAT64: &str = r#"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = ["203.0.113.64"]
[instance.global]
pool6 = "64:ff9b::/96"
"#;

const SIIT: &str = r#"
[[instance]]
name = "siit"
type = "siit"
eamt = ["203.0.113.128/32 2001:db8:a2::2/128"]
[instance.global]
pool6 = "2001:db8:64::/96"
"#;

/// What keeps the kernel's fast path out of the way: this program measures the TUN path.
const TUN_ONLY: &str = "[fast-path]\nenabled = false\n";

/// What makes `xlat` work with one thread, as tayga does.
const ONE_QUEUE: &str = "[device]\nqueues = 1\n";

const TAYGA: &str = "
tun-device tayga0
ipv4-addr 203.0.113.193
ipv6-addr 2001:db8:7a::1
prefix 2001:db8:65::/96
map 203.0.113.192 2001:db8:a3::2
";

/// What is reached by each router besides the links: IPv6 seen from A, IPv4 seen from V.
const BEYOND: [Option<(&str, &str)>; 5] = [
    None,
    Some(("64:ff9b::/96", "203.0.113.64/32")),
    Some(("2001:db8:64::/96", "203.0.113.128/32")),
    Some(("2001:db8:65::/96", "203.0.113.192/32")),
    Some(("64:ff9b:1:1::/96", "203.0.113.65/32")),
];

/// How long a program may take to start.
const READY: Duration = Duration::from_secs(10);

/// Something that carries packets from A to V and back.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name in the tables.
    pub(crate) name: &'static str,
    /// A's interface towards it.
    pub(crate) device: &'static str,
    /// A's address.
    pub(crate) from: IpAddr,
    /// What A sends to in order to reach V by this subject.
    pub(crate) to: IpAddr,
    /// The process that translates, if there is one.
    pub(crate) process: Option<u32>,
}

/// The running network; everything ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    subjects: Vec<Subject>,
    _translators: [Xlat; 3],
    _programs: [Background; 3],
    pub(crate) a: Namespace,
    _routers: Vec<Namespace>,
    pub(crate) v: Namespace,
    _folder: Folder,
}

/// Why nothing can be measured here, as one sentence.
pub(crate) fn unavailable() -> Option<String> {
    let missing = missing_programs(&["iperf3", "tayga"]);
    if !missing.is_empty() {
        return Some(format!("these programs are missing: {}", missing.join(", ")));
    }
    xlat_netlab::unavailable()
}

impl Lab {
    /// Builds the network and waits until all programs in it are ready.
    pub(crate) fn build() -> Result<Self, Error> {
        let folder = Folder::new()?;
        let (a, v) = (Namespace::new("A")?, Namespace::new("V")?);
        let routers: Result<Vec<Namespace>, Error> =
            (0..BEYOND.len()).map(|number| router(&a, &v, number)).collect();
        let routers = routers?;
        let start = |number: usize, name: &str, config: &str| {
            Xlat::start(&routers[number], &folder, name, &format!("{TUN_ONLY}{config}"))
        };
        let nat64 = start(1, "nat64", NAT64)?;
        let siit = start(2, "siit", SIIT)?;
        let config = format!("{ONE_QUEUE}{NAT64}")
            .replace("203.0.113.64", "203.0.113.65")
            .replace("64:ff9b::", "64:ff9b:1:1::");
        let single = start(4, "single", &config)?;
        let tayga = start_tayga(&routers[3], &folder.path)?;
        let mut iperf3 = Background::start(&v, "iperf3", v.line("iperf3 --server --forceflush"))?;
        iperf3.wait_for("listening", READY)?;
        let mut receive = v.command(&std::env::current_exe()?.to_string_lossy());
        receive.arg("receive");
        let mut sink = Background::start(&v, "the receiver", receive)?;
        sink.wait_for(super::flood::LISTENING, READY)?;
        let subject = |name, device, from: &str, to: &str, process: Option<u32>| -> Result<Subject, Error> {
            Ok(Subject { name, device, from: from.parse()?, to: to.parse()?, process })
        };
        let subjects = vec![
            subject("plain IPv6", "eth0", "2001:db8:a0::2", "2001:db8:b0::2", None)?,
            subject("plain IPv4", "eth0", "192.0.2.2", "198.51.100.2", None)?,
            subject("xlat NAT64", "eth1", "2001:db8:a1::2", "64:ff9b::198.51.100.18", Some(nat64.pid()))?,
            subject("xlat SIIT", "eth2", "2001:db8:a2::2", "2001:db8:64::198.51.100.34", Some(siit.pid()))?,
            subject(
                "NAT64, 1 queue",
                "eth4",
                "2001:db8:a4::2",
                "64:ff9b:1:1::198.51.100.66",
                Some(single.pid()),
            )?,
            subject("tayga", "eth3", "2001:db8:a3::2", "2001:db8:65::198.51.100.50", Some(tayga.pid()))?,
        ];
        for subject in &subjects {
            a.run(&format!("ping -n -c 1 -w 5 {}", subject.to))?;
        }
        Ok(Self {
            subjects,
            _translators: [nat64, siit, single],
            _programs: [tayga, iperf3, sink],
            a,
            v,
            _routers: routers,
            _folder: folder,
        })
    }

    /// All subjects, plain IPv6 forwarding first.
    pub(crate) fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The way of connections by a subject.
    pub(crate) fn way(&self, subject: &Subject) -> Way<'_> {
        Way { from: &self.a, to: subject.to, process: subject.process, name: subject.name }
    }
}

/// Router number `number` with its two links: `2001:db8:aN::/64` and `192.0.2.0/28` and so on to A, `2001:db8:bN::/64` and
/// `198.51.100.0/28` and so on to V.
fn router(a: &Namespace, v: &Namespace, number: usize) -> Result<Namespace, Error> {
    let t = Namespace::new(&format!("T{number}"))?;
    let (device, base) = (format!("eth{number}"), number * 16);
    for (end, side, net4, on_t) in [(a, "a", "192.0.2", "eth0"), (v, "b", "198.51.100", "eth1")] {
        veth(end, &device, &t, on_t)?;
        end.address(&device, &format!("2001:db8:{side}{number}::2/64"))?;
        end.address(&device, &format!("{net4}.{}/28", base + 2))?;
        t.address(on_t, &format!("2001:db8:{side}{number}::1/64"))?;
        t.address(on_t, &format!("{net4}.{}/28", base + 1))?;
    }
    a.ip(&format!("link set {device} address {}", text(MAC_A)))?;
    t.ip(&format!("link set eth0 address {}", text(MAC_T)))?;
    a.ip(&format!("route add 198.51.100.{base}/28 via 192.0.2.{}", base + 1))?;
    a.ip(&format!("route add 2001:db8:b{number}::/64 via 2001:db8:a{number}::1"))?;
    v.ip(&format!("route add 192.0.2.{base}/28 via 198.51.100.{}", base + 1))?;
    v.ip(&format!("route add 2001:db8:a{number}::/64 via 2001:db8:b{number}::1"))?;
    if let Some((six, four)) = BEYOND[number] {
        a.ip(&format!("route add {six} via 2001:db8:a{number}::1"))?;
        v.ip(&format!("route add {four} via 198.51.100.{}", base + 1))?;
    }
    t.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    Ok(t)
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn start_tayga(t: &Namespace, folder: &Path) -> Result<Background, Error> {
    let file = folder.join("tayga.conf");
    fs::write(&file, format!("{TAYGA}data-dir {}\n", folder.display()))?;
    let file = file.display();
    t.run(&format!("tayga --config {file} --mktun"))?;
    t.ip("link set tayga0 up")?;
    t.ip("route add 203.0.113.192/31 dev tayga0")?;
    t.ip("route add 2001:db8:65::/96 dev tayga0")?;
    Ok(Background::start(t, "tayga", t.line(&format!("tayga --config {file} --nodetach")))?)
}
