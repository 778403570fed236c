//! The network: A - T - V, the daemon in T.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;
use xlat_bench::Error;
use xlat_bench::host::{Folder, Xlat};
use xlat_bench::netns;
use xlat_netlab::{Background, Namespace, missing_programs, scenes};

/// The daemon's, by which it is asked.
pub(crate) const DEVICE: &str = "xlat0";
/// V by way of T.
const V: &str = "64:ff9b::203.0.113.16";
/// What the transfer is held to.
const RATE: &str = "10G";
/// How long a program may take to start.
const READY: Duration = Duration::from_secs(10);

const CONFIG: &str = "[[instance]]\nname = \"nat64\"\ntype = \"nat64\"\npool4 = [\"192.0.2.64\"]\n\
                      [instance.global]\npool6 = \"64:ff9b::/96\"\n";

/// The running network; everything ends when it is dropped.
pub(crate) struct Lab {
    /// A's socket, connected to V's by way of T.
    pub(crate) probe: UdpSocket,
    /// V's.
    pub(crate) echo: UdpSocket,
    xlat: Xlat,
    _iperf3: Background,
    pub(crate) a: Namespace,
    pub(crate) t: Namespace,
    pub(crate) v: Namespace,
    _folder: Folder,
}

/// What came of a transfer.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// In Gbit/s, as the receiver sees it.
    pub(crate) rate: f64,
    /// Segments that were sent again.
    pub(crate) again: u64,
}

/// Why nothing can be measured here, as one sentence.
pub(crate) fn unavailable() -> Option<String> {
    let missing = missing_programs(&["iperf3"]);
    if !missing.is_empty() {
        return Some(format!("these programs are missing: {}", missing.join(", ")));
    }
    xlat_netlab::unavailable()
}

impl Lab {
    /// Builds the network; without `kernel`, every packet goes through the daemon.
    pub(crate) fn build(kernel: bool) -> Result<Self, Error> {
        let folder = Folder::new()?;
        let [a, t, v] = scenes::two_cables()?;
        v.ip("route add 192.0.2.64/32 via 203.0.113.1")?;
        t.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        let xlat = Xlat::start(&t, &folder, "nat64", &format!("[fast-path]\nenabled = {kernel}\n{CONFIG}"))?;
        let mut iperf3 = Background::start(&v, "iperf3", v.line("iperf3 --server --forceflush"))?;
        iperf3.wait_for("listening", READY)?;
        // A socket stays in the namespace that it was made in.
        let echo = netns::inside(&v, None, || Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        let port = echo.local_addr()?.port();
        let probe = netns::inside(&a, None, || {
            let socket = UdpSocket::bind("[::]:0")?;
            socket.connect(format!("[{V}]:{port}"))?;
            Ok(socket)
        })?;
        a.run(&format!("ping -n -c 1 -w 5 {V}"))?;
        Ok(Self { probe, echo, xlat, _iperf3: iperf3, a, t, v, _folder: folder })
    }

    /// Bulk from A to V.
    pub(crate) fn transfer(&self, time: Duration) -> Result<Transfer, Error> {
        let seconds = time.as_secs();
        let output =
            self.a.line(&format!("iperf3 --client {V} --bitrate {RATE} --time {seconds} --json")).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let end = &report["end"];
        match (end["sum_received"]["bits_per_second"].as_f64(), end["sum_sent"]["retransmits"].as_u64()) {
            (Some(rate), Some(again)) => Ok(Transfer { rate: rate / 1e9, again }),
            _ => Err(format!("iperf3: {}", report["error"].as_str().unwrap_or("no result")).into()),
        }
    }

    /// How much of all that was translated the kernel translated.
    pub(crate) fn kernel_share(&self) -> Result<f64, Error> {
        let kernel = self.xlat.status(&self.t)?["kernel"]["translated"].as_f64().unwrap_or_default();
        let all = counts(self)?.iter().find(|(name, _)| name == "translated").map_or(0, |(_, count)| *count);
        Ok(kernel / (all as f64).max(1.0))
    }
}

/// The counters of the instance, by name; what the kernel translated is in them.
pub(crate) fn counts(lab: &Lab) -> Result<Vec<(String, u64)>, Error> {
    use xlat_control::{Client, api::Counter};
    netns::inside(&lab.t, None, || {
        let client = Client::new(DEVICE, rustix::process::geteuid().as_raw());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut lines = client.rows("/v1/instances/nat64/nat64/statistics").await?;
            let mut counts = Vec::new();
            while let Some(Counter { name, value, .. }) = lines.next().await? {
                counts.push((name, value));
            }
            Ok(counts)
        })
    })
}
