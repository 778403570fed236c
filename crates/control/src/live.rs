//! What an operator watches: one snapshot of rates, tables, pools and reasons ([`Live`]), once (`/v1/live`) or once a second for
//! as long as the client reads (`/v1/live/stream`). The daemon takes snapshots only while somebody asks for them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::api::{Protocol, Translator};
use crate::read;
use crate::routes::Routes;
use crate::schema::{Address, Address4};
use crate::server::App;

/// Everything at one moment. Counts go on from what earlier runs have counted where the daemon took their state over; rates
/// are those of the last `window` milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Live {
    /// Counts the snapshots of this run of the daemon.
    pub number: u64,
    /// When it was taken, in milliseconds since 1970.
    pub time: u64,
    /// Milliseconds that the rates stand for.
    pub window: u64,
    /// Milliseconds since the daemon began.
    pub uptime: u64,
    /// The daemon's release.
    pub version: String,
    /// Its device.
    pub device: String,
    /// Whether packets are translated.
    pub ready: bool,
    /// What the kernel translated by itself.
    pub kernel: Directions,
    /// What came to the daemon, translated or not. A super-packet counts as one packet.
    pub daemon: Directions,
    /// Packets that the daemon has translated.
    pub translated: u64,
    /// ICMP errors that the translator itself has sent.
    pub errors_sent: u64,
    /// The part of all bytes in the window that the kernel translated by itself, 0 to 1; absent without traffic.
    pub kernel_share: Option<f64>,
    /// The kernel's part; absent where all goes through the daemon.
    pub fast_path: Option<FastPath>,
    /// The instances in the order of the configuration.
    pub instances: Vec<Instance>,
    /// The pool4 addresses with the greatest part in use, fullest first.
    pub pool4: Vec<Pool4>,
    /// Further addresses of pool4 that are not listed; every one counts for each protocol it serves.
    pub pool4_unlisted: usize,
    /// Why packets were not translated, by the rate of now and then by the count; what never happened is left out.
    pub drops: Vec<Reason>,
    /// Why the kernel gave packets to the daemon or to the host, likewise.
    pub handed_over: Vec<Reason>,
    /// What was lost by queues and the device, likewise.
    pub losses: Vec<Reason>,
    /// The IPv6 sources with the most sessions.
    pub sources: Sources,
    /// The daemon's threads.
    pub threads: Vec<Thread>,
    /// Bytes of the daemon's own memory for tables and port maps.
    pub table_memory: u64,
}

/// Both directions of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Directions {
    /// From IPv6 to IPv4.
    pub from6: Flow,
    /// From IPv4 to IPv6.
    pub from4: Flow,
}

/// One direction; bytes are those of the packets as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Flow {
    /// Packets in all.
    pub packets: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Packets per second.
    pub packet_rate: f64,
    /// Bits per second.
    pub bit_rate: f64,
}

/// The kernel's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FastPath {
    /// Flows that it repeats; counted now and then, since all have to be looked at.
    pub flows: u64,
    /// How many it has room for.
    pub max_flows: u64,
    /// Bytes of kernel memory for flows and EAM entries.
    pub memory: u64,
}

/// One translator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub translator: Translator,
    /// Whether it translates (`manually-enabled`).
    pub enabled: bool,
    /// Its state, by protocol; empty if it is stateless.
    pub tables: Vec<Table>,
}

/// State of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Table {
    /// Which.
    pub protocol: Protocol,
    /// Sessions now.
    pub sessions: u64,
    /// BIB entries now.
    pub bib_entries: u64,
    /// Sessions made so far.
    pub sessions_made: u64,
    /// Sessions made per second.
    pub set_up_rate: f64,
    /// Transport addresses of pool4 in use.
    pub pool4_used: u64,
    /// How many pool4 has.
    pub pool4_total: u64,
}

/// One pool4 address for one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool4 {
    /// The instance's name.
    pub instance: String,
    /// The address.
    #[schema(value_type = Address4)]
    pub address: Ipv4Addr,
    /// The protocol.
    pub protocol: Protocol,
    /// Ports or identifiers in use.
    pub used: u64,
    /// How many there are.
    pub total: u64,
}

/// Something that is counted, and what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// Its stable name.
    pub name: String,
    /// One line for a person.
    pub explanation: String,
    /// RFC and section, or empty.
    pub source: String,
    /// How many.
    pub count: u64,
    /// How many per second.
    pub rate: f64,
}

/// The busiest sources, as of the last walk over the tables. It goes on by steps, so a large table is walked once in many
/// seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Sources {
    /// Milliseconds since that walk ended; absent before the first one has.
    pub age: Option<u64>,
    /// BIB entries that it has seen.
    pub entries: u64,
    /// By how many sessions a source can have more than is said.
    pub error: u64,
    /// The sources, busiest first.
    pub list: Vec<Source>,
}

/// One IPv6 source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// Its address.
    #[schema(value_type = Address)]
    pub address: IpAddr,
    /// Its sessions.
    pub sessions: u64,
    /// Its part of pool4: BIB entries.
    pub bib_entries: u64,
}

/// One thread of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Thread {
    /// Its name; the workers' are `xlat-0`, `xlat-1`, ...
    pub name: String,
    /// Whether it takes packets.
    pub worker: bool,
    /// Seconds of processor time so far.
    pub busy: f64,
    /// The part of the window that it was at work, 0 to 1.
    pub load: f64,
}

impl Live {
    /// Packets per second of both paths, from IPv6 and from IPv4.
    #[must_use]
    pub fn packet_rates(&self) -> (f64, f64) {
        let sum = |of: fn(&Directions) -> Flow| of(&self.kernel).packet_rate + of(&self.daemon).packet_rate;
        (sum(|path| path.from6), sum(|path| path.from4))
    }

    /// Bits per second of both paths, from IPv6 and from IPv4.
    #[must_use]
    pub fn bit_rates(&self) -> (f64, f64) {
        let sum = |of: fn(&Directions) -> Flow| of(&self.kernel).bit_rate + of(&self.daemon).bit_rate;
        (sum(|path| path.from6), sum(|path| path.from4))
    }
}

pub(crate) fn add(routes: Routes) -> Routes {
    routes.add(__path_live, live).add(__path_live_stream, live_stream)
}

/// What is watched: rates, tables, pools, reasons, sources and load at this moment.
#[utoipa::path(get, path = "/v1/live", tag = "streams", responses(
    (status = OK, description = "A snapshot", body = Live)
))]
async fn live(State(shared): State<App>) -> Json<Live> {
    Json(Live::clone(&*shared.daemon.live(None).await))
}

/// The same once a second, one JSON object a line, until the client goes. One that is slow to read misses some.
#[utoipa::path(get, path = "/v1/live/stream", tag = "streams", responses(
    (status = OK, description = "Lines without end", content_type = "application/x-ndjson", body = Live)
))]
async fn live_stream(State(shared): State<App>) -> Response {
    read::stream_lines((shared, None), async |(shared, after)| {
        let live: Arc<Live> = shared.daemon.live(after).await;
        let number = live.number;
        Some((vec![Live::clone(&live)], (shared, Some(number))))
    })
}
