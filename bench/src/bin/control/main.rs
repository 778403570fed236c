//! Measures what the API costs the packets: `control [quick]`. Tables of 10 million UDP sessions (`quick`: 100,000), a thread that
//! translates, and the API's server with a client at a real socket. Prints Markdown; `bench/README.md` says what each row is.
#![forbid(unsafe_code)]

mod daemon;
mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use xlat_bench::Error;
use xlat_bench::api::{Answers, ask};
use xlat_bench::measure::resident;
use xlat_control::api::{Changes, Pool4Block, Protocol, Translator};
use xlat_control::{Change, Client, path};
use xlat_engine::{Engine, EngineOptions};
use xlat_translate::policy::Hops;

use traffic::{Traffic, open};

const INSTANCE: &str = "nat64";
const CONFIG: &str = "[[instance]]\nname = \"nat64\"\ntype = \"nat64\"\npool4 = [\"203.0.113.0/24\"]\n\
                      [instance.global]\npool6 = \"64:ff9b::/96\"\n\
                      [instance.limits]\nmax-sessions = 0\nmax-bib-entries = 0\n";
/// Rows of one page.
const PAGE: usize = 10_000;
/// What is asked for in turn.
const ASKED: [&str; 3] =
    ["/v1/status", "/v1/instances/nat64/nat64/statistics", "/v1/instances/nat64/nat64/global"];

/// How much is measured.
struct Scale {
    sessions: usize,
    /// Traffic alone.
    quiet: Duration,
    /// Requests, at [`xlat_bench::api::PACE`].
    load: Duration,
}

fn main() -> Result<(), Error> {
    let scale = match std::env::args().nth(1).as_deref() {
        None => Scale { sessions: 10_000_000, quiet: Duration::from_secs(10), load: Duration::from_secs(60) },
        Some("quick") => {
            Scale { sessions: 100_000, quiet: Duration::from_secs(1), load: Duration::from_secs(2) }
        }
        Some(other) => return Err(format!("'{other}' is not 'quick'").into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&scale))
}

async fn measure(scale: &Scale) -> Result<(), Error> {
    let loaded = xlat_config::load("bench.toml", CONFIG, &xlat_config::Hint::default());
    let config = loaded.map_err(|found| format!("{found:?}"))?.config;
    let options = EngineOptions {
        hops: Hops::Decrement,
        mtu4: 1500,
        mtu6: 1500,
        secret: [0x5a; 16],
        shards: 64,
        flows: None,
        peers: None,
    };
    let engine = Engine::new(&config, Default::default(), options)?;
    let device = format!("bench{}", std::process::id());
    daemon::serve(&device, config, Arc::clone(&engine))?;
    let client = Client::new(&device, rustix::process::geteuid().as_raw());

    println!("\n### The API beside {} UDP sessions\n", scale.sessions);
    println!(
        "| what | seconds | answer | MiB resident | M packets/s | longest call, us | over 1 ms | waiting | with others, us |"
    );
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|");
    let mut worker = engine.worker();
    open(&mut worker, scale.sessions)?;
    let traffic = Traffic::start(&engine, scale.sessions)?;
    let bench = Bench { client, traffic };
    let quiet = || async {
        tokio::time::sleep(scale.quiet).await;
        Ok(String::new())
    };
    bench.phase("nothing", quiet()).await?;
    bench.phase("all sessions as one stream", bench.rows("sessions?protocol=udp")).await?;
    let one = "sessions?protocol=udp&within=2001:db8::10/128";
    bench.phase("sessions of one client", bench.rows(one)).await?;
    bench.phase("all sessions in parts of 10,000", bench.pages()).await?;
    bench.phase("1,000 requests per second", bench.requests(scale.load)).await?;
    bench.phase("nothing", quiet()).await?;
    bench.phase("`pool4-flush`", bench.change(Change::Pool4Flush)).await?;
    bench.phase("nothing", quiet()).await?;
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
        let prefix = "203.0.113.0/24".parse()?;
        let block = Pool4Block { mark: 0, protocol, prefix, first_port: 1, last_port: u16::MAX };
        bench.change(Change::Pool4Add { block, max_iterations: None, force: true }).await?;
    }
    open(&mut worker, scale.sessions)?;
    drop(worker);
    bench.phase("nothing, sessions opened again", quiet()).await?;
    bench.phase("`instance-remove`", bench.change(Change::InstanceRemove)).await?;
    bench.phase("nothing", quiet()).await
}

struct Bench {
    client: Client,
    traffic: Traffic,
}

impl Bench {
    /// Does something and prints what became of the traffic meanwhile.
    async fn phase(
        &self,
        name: &str,
        work: impl Future<Output = Result<String, Error>>,
    ) -> Result<(), Error> {
        self.traffic.meter.take();
        let start = Instant::now();
        let answer = work.await?;
        let (seconds, seen) = (start.elapsed().as_secs_f64(), self.traffic.meter.take());
        println!(
            "| {name} | {seconds:.2} | {answer} | {:.0} | {:.2} | {} | {} | {} | {} |",
            resident()? as f64 / f64::from(1 << 20),
            seen.packets as f64 / seconds / 1e6,
            seen.longest.as_micros(),
            seen.over_1_ms,
            seen.waits_over_1_ms,
            seen.longest_with_others.as_micros(),
        );
        Ok(())
    }

    async fn rows(&self, table: &str) -> Result<String, Error> {
        let mut lines = self.client.rows(&path(Translator::Nat64, INSTANCE, table)).await?;
        let mut count = 0;
        while lines.line().await?.is_some() {
            count += 1;
        }
        Ok(format!("{count} rows"))
    }

    async fn pages(&self) -> Result<String, Error> {
        let (mut after, mut count, mut pages) = (String::new(), 0, 0);
        loop {
            let table = format!("sessions?protocol=udp&limit={PAGE}{after}");
            let mut lines = self.client.rows(&path(Translator::Nat64, INSTANCE, &table)).await?;
            let mut last = Vec::new();
            while let Some(line) = lines.line().await? {
                last.clear();
                last.extend_from_slice(line);
                count += 1;
            }
            pages += 1;
            let row: serde_json::Value = serde_json::from_slice(if last.is_empty() { b"{}" } else { &last })?;
            match row["cursor"].as_str() {
                Some(cursor) => after = format!("&after={cursor}"),
                None => return Ok(format!("{count} rows, {pages} parts")),
            }
        }
    }

    async fn requests(&self, time: Duration) -> Result<String, Error> {
        let Answers { count, rate, slowest } = ask(&self.client, &ASKED, time).await?;
        Ok(format!("{count} ({rate:.0}/s), slowest {} ms", slowest.as_millis()))
    }

    async fn change(&self, change: Change) -> Result<String, Error> {
        let (translator, instance) = (Translator::Nat64, INSTANCE.to_owned());
        self.client.change(&Changes { translator, instance, changes: vec![change] }).await?;
        Ok(String::new())
    }
}
