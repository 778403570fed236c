//! The network: A and V, and a router for each subject between them, every cable a veth pair with its offloads on. Floods come
//! from no socket and are dropped by the sink, so neighbours are set by hand: nobody has to answer for them.

use xlat_bench::Error;
use xlat_bench::host::{Folder, Xlat};
use xlat_bench::tcp::Way;
use xlat_netlab::{Background, Namespace, missing_programs, veth};

use crate::programs::Programs;
use crate::subject::{Kind, Subject};
use xlat_bench::netns;

/// How long a program may take to start.
const READY: std::time::Duration = std::time::Duration::from_secs(10);

/// The running network; everything ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The sending and counting programs.
    pub(crate) programs: Programs,
    routers: Vec<Router>,
    _iperf3: Background,
    pub(crate) a: Namespace,
    pub(crate) v: Namespace,
    _folder: Folder,
}

/// A router, or the cable in its place.
#[derive(Debug)]
struct Router {
    number: u8,
    xlat: Option<Xlat>,
    /// `None` for the cable.
    t: Option<Namespace>,
    /// Interfaces of A and V; their indexes.
    interfaces: [u32; 2],
}

/// Where frames are sent from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    /// A or V.
    pub(crate) namespace: &'a Namespace,
    /// Index of its interface.
    pub(crate) interface: u32,
    /// Ethernet addresses of this end of the cable and of the other.
    pub(crate) macs: ([u8; 6], [u8; 6]),
}

/// Why nothing can be measured here, as one sentence.
pub(crate) fn unavailable() -> Option<String> {
    let missing = missing_programs(&["ethtool", "iperf3"]);
    if !missing.is_empty() {
        return Some(format!("these programs are missing: {}", missing.join(", ")));
    }
    xlat_netlab::unavailable().or_else(|| Programs::load().err().map(|error| error.to_string()))
}

impl Lab {
    /// Builds the network for `subjects` and waits until all programs in it are ready. Subjects whose translator does not
    /// start are taken out, and it is said why.
    pub(crate) fn build(subjects: &mut Vec<Subject>) -> Result<Self, Error> {
        let folder = Folder::new()?;
        let (a, v) = (Namespace::new("A")?, Namespace::new("V")?);
        let mut iperf3 = Background::start(&v, "iperf3", v.line("iperf3 --server --forceflush"))?;
        iperf3.wait_for("listening", READY)?;
        let programs = Programs::load()?;
        let mut lab = Self { programs, routers: Vec::new(), _iperf3: iperf3, a, v, _folder: folder };
        let mut failed = Vec::new();
        for subject in &*subjects {
            if failed.contains(&subject.router) || lab.router(subject).is_some() {
                continue;
            }
            if let Err(error) = lab.add(subject) {
                println!("skipped: {}: {error}", subject.name);
                failed.push(subject.router);
            }
        }
        subjects.retain(|subject| !failed.contains(&subject.router));
        Ok(lab)
    }

    /// Makes the interfaces ready for floods: NAPI everywhere, without which XDP cannot send to a veth, and the sinks.
    pub(crate) fn prepare_floods(&mut self) -> Result<(), Error> {
        for router in &self.routers {
            let n = router.number;
            for (end, device) in [(&self.a, format!("a{n}")), (&self.v, format!("v{n}"))] {
                merge(end, &device)?;
                self.programs.attach_sink(end, &device)?;
            }
            if let Some(t) = &router.t {
                merge(t, "eth0")?;
                merge(t, "eth1")?;
            }
        }
        Ok(())
    }

    /// The way of connections by a subject.
    pub(crate) fn way(&self, subject: &Subject) -> Way<'_> {
        let (name, to, process) = (subject.name, subject.destination(), self.process(subject));
        Way { from: &self.a, to, process, name }
    }

    /// The process that translates, if there is one.
    pub(crate) fn process(&self, subject: &Subject) -> Option<u32> {
        self.router(subject)?.xlat.as_ref().map(Xlat::pid)
    }

    /// What its `xlat status --json` says.
    pub(crate) fn status(&self, subject: &Subject) -> Result<serde_json::Value, Error> {
        let router = self.router(subject).and_then(|router| router.xlat.as_ref().zip(router.t.as_ref()));
        let (xlat, t) = router.ok_or("there is no xlat")?;
        xlat.status(t)
    }

    /// Where the frames of a flood are sent from.
    pub(crate) fn sender(&self, subject: &Subject, down: bool) -> Option<Sender<'_>> {
        let router = self.router(subject)?;
        let (namespace, [own, next]) = if down { (&self.v, [3, 2]) } else { (&self.a, [0, 1]) };
        let macs = (mac(own, router.number), mac(next, router.number));
        Some(Sender { namespace, interface: router.interfaces[usize::from(down)], macs })
    }

    fn router(&self, subject: &Subject) -> Option<&Router> {
        self.routers.iter().find(|router| router.number == subject.router)
    }

    fn add(&mut self, subject: &Subject) -> Result<(), Error> {
        let (n, a, v) = (subject.router, &self.a, &self.v);
        let devices = [format!("a{n}"), format!("v{n}")];
        let t = match subject.kind {
            Kind::Cable => {
                veth(a, &devices[0], v, &devices[1])?;
                None
            }
            _ => Some(router(a, v, subject, &devices)?),
        };
        a.ip(&format!("link set {} address {}", devices[0], text(mac(0, n))))?;
        v.ip(&format!("link set {} address {}", devices[1], text(mac(3, n))))?;
        let mut interfaces = [0; 2];
        for ((interface, device), end) in interfaces.iter_mut().zip(&devices).zip([a, v]) {
            *interface = netns::inside(end, None, || Ok(nix::net::if_::if_nametoindex(device.as_str())?))?;
        }
        if let Some(t) = t.as_ref().filter(|_| subject.kind.has_xdp()) {
            for (end, device) in
                [(a, devices[0].as_str()), (v, devices[1].as_str()), (t, "eth0"), (t, "eth1")]
            {
                merge(end, device)?;
                // A frame that XDP sends on keeps a checksum that was left to hardware, and veth has none.
                end.run(&format!("ethtool -K {device} tx off"))?;
            }
            if subject.kind == Kind::Xdp {
                self.programs.attach_forward(t, "eth0")?;
                self.programs.attach_forward(t, "eth1")?;
            }
        }
        let xlat = match (subject.config(), &t) {
            (Some(config), Some(t)) => Some(Xlat::start(t, &self._folder, &format!("t{n}"), &config)?),
            _ => None,
        };
        if t.is_some() {
            a.run(&format!("ping -n -c 1 -w 5 {}", subject.destination()))?;
        }
        self.routers.push(Router { number: n, xlat, t, interfaces });
        Ok(())
    }
}

/// A router with its two links, all its neighbours known.
fn router(
    a: &Namespace,
    v: &Namespace,
    subject: &Subject,
    devices: &[String; 2],
) -> Result<Namespace, Error> {
    let n = subject.router;
    let t = Namespace::new(&format!("T{n}"))?;
    let base = n * 16;
    let ends = [(a, "a", "192.0.2", mac(0, n), mac(1, n)), (v, "b", "198.51.100", mac(3, n), mac(2, n))];
    for ((end, side, net4, end_mac, t_mac), (device, on_t)) in
        ends.into_iter().zip(devices.iter().zip(["eth0", "eth1"]))
    {
        veth(end, device, &t, on_t)?;
        end.ip(&format!("link set {device} address {}", text(end_mac)))?;
        t.ip(&format!("link set {on_t} address {}", text(t_mac)))?;
        for (of, device, own, other, other_mac) in
            [(end, device.as_str(), 2, 1, t_mac), (&t, on_t, 1, 2, end_mac)]
        {
            of.address(device, &format!("2001:db8:{side}{n:x}::{own}/64"))?;
            of.address(device, &format!("{net4}.{}/28", base + own))?;
            for address in [format!("2001:db8:{side}{n:x}::{other}"), format!("{net4}.{}", base + other)] {
                of.ip(&format!(
                    "neigh replace {address} dev {device} lladdr {} nud permanent",
                    text(other_mac)
                ))?;
            }
        }
    }
    let (a6, v6) = (format!("via 2001:db8:a{n:x}::1"), format!("via 2001:db8:b{n:x}::1"));
    let (a4, v4) = (format!("via 192.0.2.{}", base + 1), format!("via 198.51.100.{}", base + 1));
    let source = match subject.kind {
        Kind::Siit(_) | Kind::Eam(_) => {
            a.address(&devices[0], &format!("{}/128", subject.behind_a(1)))?;
            format!("src {}", subject.behind_a(1))
        }
        _ => String::new(),
    };
    a.ip(&format!("route add 2001:db8:b{n:x}::/64 {a6}"))?;
    a.ip(&format!("route add 2001:db8:64:{n:x}::/96 {a6} {source}"))?;
    a.ip(&format!("route add 198.51.100.{base}/28 {a4}"))?;
    v.ip(&format!("route add 2001:db8:a{n:x}::/64 {v6}"))?;
    v.ip(&format!("route add 2001:db8:c{n:x}::/64 {v6}"))?;
    for net in
        [format!("192.0.2.{base}/28"), format!("172.16.{n}.0/27"), format!("{}/12", subject.behind_a4(0))]
    {
        v.ip(&format!("route add {net} {v4}"))?;
    }
    let behind = if matches!(subject.kind, Kind::Siit(_)) { 108 } else { 64 };
    t.ip(&format!("route add {}/{behind} via 2001:db8:a{n:x}::2", subject.behind_a(0)))?;
    if subject.kind.hook().is_none() {
        t.ip(&format!("route add {}/12 via 192.0.2.{}", subject.behind_a4(0), base + 2))?;
    }
    t.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    Ok(t)
}

/// Turns GRO on, and NAPI with it.
fn merge(end: &Namespace, device: &str) -> Result<(), Error> {
    Ok(end.run(&format!("ethtool -K {device} gro on")).map(drop)?)
}

/// Ethernet address of A (0), T on the side of A (1) and of V (2), and V (3), at router `number`.
fn mac(place: u8, number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0xa + place, number]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
