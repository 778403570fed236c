//! Measures what requests to the running daemon's API cost the traffic that it translates: `beside [quick]`. TCP held to 10 Gbit/s
//! and probes by UDP cross a NAT64 between three hosts made of namespaces, with 1,000 requests a second and without, in turns.
//! Takes root, `iperf3`, and the program `xlat` beside this one. Prints Markdown; `bench/README.md` says what each column is.
#![forbid(unsafe_code)]

mod counts;
mod lab;
mod probes;

use std::time::Duration;

use xlat_bench::Error;
use xlat_bench::api::{Answers, ask};
use xlat_bench::netns;
use xlat_control::Client;
use xlat_netlab::Namespace;

use counts::Counts;
use lab::{Lab, Transfer};
use probes::Probes;

/// What is asked for in turn: what scripts and monitors ask for.
const ASKED: [&str; 4] = [
    "/v1/status",
    "/v1/instances/nat64/nat64/statistics",
    "/v1/instances/nat64/nat64/global",
    "/v1/instances/nat64/nat64/sessions",
];

/// How much is measured.
struct Scale {
    /// Each has a turn without requests and one with them.
    rounds: usize,
    /// Of one turn.
    time: Duration,
}

/// What one turn came to.
struct Turn {
    transfer: Transfer,
    probes: Probes,
    /// `None` in a turn without requests.
    answers: Option<Answers>,
    dropped: Counts,
}

fn main() -> Result<(), Error> {
    let scale = match std::env::args().nth(1).as_deref() {
        None => Scale { rounds: 2, time: Duration::from_secs(60) },
        Some("quick") => Scale { rounds: 1, time: Duration::from_secs(2) },
        Some(other) => return Err(format!("'{other}' is not 'quick'").into()),
    };
    if let Some(why) = lab::unavailable() {
        println!("skipped: {why}");
        return Ok(());
    }
    println!("\n### 1,000 API requests a second beside 10 Gbit/s\n");
    println!("| translated by | requests | Gbit/s | sent again | probes | lost | slowest, ms | dropped |");
    println!("|---|---|---:|---:|---:|---:|---:|---|");
    for (name, kernel) in [("kernel", true), ("daemon", false)] {
        let lab = Lab::build(kernel)?;
        // The first one makes flows and buffers known, and does not count.
        turn(&lab, false, Duration::from_secs(1))?;
        for round in 0..scale.rounds {
            let turns = if round % 2 == 0 { [false, true] } else { [true, false] };
            for with_requests in turns {
                turn(&lab, with_requests, scale.time)?.print(name);
            }
        }
        println!("| {name}, share of it in the kernel | | {:.3} | | | | | |", lab.kernel_share()?);
    }
    Ok(())
}

/// Traffic for a while, with requests or without.
fn turn(lab: &Lab, with_requests: bool, time: Duration) -> Result<Turn, Error> {
    let before = Counts::read(lab)?;
    // iperf3's output stays with this thread.
    let (probe, echo, t) = (&lab.probe, &lab.echo, &lab.t);
    let (transfer, probes, answers) = std::thread::scope(|scope| {
        let probes = scope.spawn(|| probes::send(probe, echo, time));
        let answers = with_requests.then(|| scope.spawn(|| requests(t, time)));
        let transfer = lab.transfer(time);
        (transfer, probes.join(), answers.map(std::thread::ScopedJoinHandle::join))
    });
    let panicked = "a thread has panicked";
    Ok(Turn {
        transfer: transfer?,
        probes: probes.map_err(|_| panicked)??,
        answers: answers.transpose().map_err(|_| panicked)?.transpose()?,
        dropped: Counts::read(lab)?.since(&before),
    })
}

fn requests(t: &Namespace, time: Duration) -> Result<Answers, Error> {
    netns::inside(t, None, || {
        let client = Client::new(lab::DEVICE, rustix::process::geteuid().as_raw());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&client, &ASKED, time))
    })
}

impl Turn {
    fn print(&self, name: &str) {
        let requests = self.answers.map_or_else(
            || "none".to_owned(),
            |Answers { count, rate, slowest }| {
                format!("{count} ({rate:.0}/s), slowest {} ms", slowest.as_millis())
            },
        );
        let Transfer { rate, again } = self.transfer;
        let Probes { sent, lost, slowest } = self.probes;
        let slowest = slowest.as_secs_f64() * 1e3;
        println!(
            "| {name} | {requests} | {rate:.2} | {again} | {sent} | {lost} | {slowest:.1} | {} |",
            self.dropped
        );
    }
}
