//! The rate of bulk transfers by TCP, as iperf3's receiver sees it.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use xlat_netlab::Namespace;

use crate::Error;
use crate::results::{Sample, cpu_time};

/// How often a transfer is asked for while the server is still busy with the one before.
const ATTEMPTS: usize = 50;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections go by.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Where they begin; iperf3's server listens at the other end.
    pub from: &'a Namespace,
    /// The destination that leads this way.
    pub to: IpAddr,
    /// The process that translates, if there is one.
    pub process: Option<u32>,
    /// Its name for messages.
    pub name: &'static str,
}

/// Transfers over `way` (`down`: backwards) by `streams` connections for the time `time`.
pub fn transfer(way: Way<'_>, streams: usize, down: bool, time: Duration) -> Result<Sample, Error> {
    let reverse = if down { "--reverse" } else { "" };
    let seconds = time.as_secs();
    let line = format!("iperf3 --client {} --time {seconds} --parallel {streams} --json {reverse}", way.to);
    for _ in 0..ATTEMPTS {
        let cpu = cpu_time(way.process)?;
        let output = way.from.line(&line).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let cpu = (cpu_time(way.process)? - cpu).as_nanos() as f64;
        let received = &report["end"]["sum_received"];
        if let (Some(rate), Some(bytes)) = (received["bits_per_second"].as_f64(), received["bytes"].as_f64())
        {
            return Ok(Sample {
                rate: rate / 1e9,
                cpu: cpu / (bytes / 1024.0).max(1.0),
                units: bytes / 1024.0,
            });
        }
        match report["error"].as_str() {
            // Between two tests the server does not listen for a moment.
            Some(why) if why.contains("busy") || why.contains("refused") => std::thread::sleep(PAUSE),
            why => {
                return Err(format!("iperf3 by way of {}: {}", way.name, why.unwrap_or("no result")).into());
            }
        }
    }
    Err("iperf3's server stays busy".into())
}
