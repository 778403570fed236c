//! The network: A -- T -- V, each cable a veth pair with its offloads on, T a router for both protocols with all
//! translators running at the same time. Which of them a packet meets is up to its destination, so that taking turns costs
//! nothing.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xlat_bench::Error;
use xlat_netlab::{Background, Namespace, missing_programs, veth};

/// Ethernet address of A.
pub(crate) const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
/// Ethernet address of T on the side of A.
pub(crate) const MAC_T: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

const A6: &str = "2001:db8:a::2";
const A4: &str = "192.0.2.2";
const V6: &str = "2001:db8:b::2";
const V4: &str = "198.51.100.2";

const NAT64: &str = r#"
[device]
name = "xlat0"
[[instance]]
name = "nat64"
type = "nat64"
pool4 = ["203.0.113.64"]
[instance.global]
pool6 = "64:ff9b::/96"
"#;

const SIIT: &str = r#"
[device]
name = "xlat1"
[[instance]]
name = "siit"
type = "siit"
eamt = ["203.0.113.128/32 2001:db8:a::2/128"]
[instance.global]
pool6 = "2001:db8:64::/96"
"#;

const TAYGA: &str = "
tun-device tayga0
ipv4-addr 203.0.113.193
ipv6-addr 2001:db8:7a::1
prefix 2001:db8:65::/96
map 203.0.113.192 2001:db8:a::2
";

/// How long a program may take to start.
const READY: Duration = Duration::from_secs(10);

/// Something that carries packets from A to V and back.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name in the tables.
    pub(crate) name: &'static str,
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
    _programs: Vec<Background>,
    pub(crate) a: Namespace,
    _t: Namespace,
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
        let (a, t, v) = (Namespace::new("A")?, Namespace::new("T")?, Namespace::new("V")?);
        wire(&a, &t, &v)?;
        let xlat = std::env::current_exe()?.with_file_name("xlat");
        if !xlat.is_file() {
            return Err(format!("there is no {}: cargo build --release -p xlat", xlat.display()).into());
        }
        let nat64 = start_xlat(&t, &xlat, &folder.path, "nat64", NAT64)?;
        let siit = start_xlat(&t, &xlat, &folder.path, "siit", SIIT)?;
        let tayga = start_tayga(&t, &folder.path)?;
        let mut iperf3 = Background::start(&v, "iperf3", v.line("iperf3 --server --forceflush"))?;
        iperf3.wait_for("listening", READY)?;
        let mut receive = v.command(&std::env::current_exe()?.to_string_lossy());
        receive.arg("receive");
        let mut sink = Background::start(&v, "the receiver", receive)?;
        sink.wait_for(super::flood::LISTENING, READY)?;
        let subject = |name, from: &str, to: &str, process: Option<&Background>| -> Result<Subject, Error> {
            Ok(Subject { name, from: from.parse()?, to: to.parse()?, process: process.map(Background::pid) })
        };
        let subjects = vec![
            subject("plain IPv6", A6, V6, None)?,
            subject("plain IPv4", A4, V4, None)?,
            subject("xlat NAT64", A6, "64:ff9b::198.51.100.2", Some(&nat64))?,
            subject("xlat SIIT", A6, "2001:db8:64::198.51.100.2", Some(&siit))?,
            subject("tayga", A6, "2001:db8:65::198.51.100.2", Some(&tayga))?,
        ];
        for subject in &subjects {
            a.run(&format!("ping -n -c 1 -w 5 {}", subject.to))?;
        }
        Ok(Self { subjects, _programs: vec![nat64, siit, tayga, iperf3, sink], a, _t: t, v, _folder: folder })
    }

    /// All subjects, plain IPv6 forwarding first.
    pub(crate) fn subjects(&self) -> &[Subject] {
        &self.subjects
    }
}

fn wire(a: &Namespace, t: &Namespace, v: &Namespace) -> Result<(), Error> {
    veth(a, "eth0", t, "eth0")?;
    veth(v, "eth0", t, "eth1")?;
    a.ip(&format!("link set eth0 address {}", text(MAC_A)))?;
    t.ip(&format!("link set eth0 address {}", text(MAC_T)))?;
    for address in [A6, A4] {
        a.address("eth0", &format!("{address}{}", length(address)))?;
    }
    for address in [V6, V4] {
        v.address("eth0", &format!("{address}{}", length(address)))?;
    }
    for (device, address) in [
        ("eth0", "2001:db8:a::1"),
        ("eth0", "192.0.2.1"),
        ("eth1", "2001:db8:b::1"),
        ("eth1", "198.51.100.1"),
    ] {
        t.address(device, &format!("{address}{}", length(address)))?;
    }
    a.ip("route add default via 192.0.2.1")?;
    a.ip("route add default via 2001:db8:a::1")?;
    v.ip("route add default via 198.51.100.1")?;
    v.ip("route add default via 2001:db8:b::1")?;
    t.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    Ok(())
}

fn length(address: &str) -> &'static str {
    if address.contains(':') { "/64" } else { "/24" }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn start_xlat(
    t: &Namespace,
    xlat: &Path,
    folder: &Path,
    name: &str,
    config: &str,
) -> Result<Background, Error> {
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, config)?;
    let mut command = t.command(&xlat.to_string_lossy());
    command.arg("run").arg("--config").arg(file).arg("--state-dir").arg(folder.join(name));
    let mut running = Background::start(t, "xlat", command)?;
    running.wait_for("xlat is ready", READY)?;
    Ok(running)
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

/// A folder of our own, removed when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("xlat-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is a few small files in the folder for temporary ones.
        let _ = fs::remove_dir_all(&self.path);
    }
}
