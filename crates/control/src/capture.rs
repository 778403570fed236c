//! `/v1/capture`: packets that were not passed on, with the reason, as they are dropped. Workers copy them into one bounded queue
//! for each reader; what does not fit is counted and told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use xlat_engine::{Origin, Reason, Verdict};

use crate::error::Error;
use crate::extract::Asked;
use crate::read;
use crate::routes::Routes;
use crate::server::App;

/// Bytes kept of a packet unless asked otherwise: all headers, and what Ethernet carries.
pub const SNAP_LENGTH: u32 = 2048;
/// Bytes kept of a packet at most.
pub const SNAP_LENGTH_MAX: u32 = 65_575;
/// Packets that may wait for a reader.
const QUEUE: usize = 512;
/// Packets, and bytes of them, that are made lines in one go: others come while it is done.
const STEP: usize = 64;
const STEP_BYTES: usize = 64 << 10;

/// The query of `GET /v1/capture`.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CaptureQuery {
    /// Names of reasons with commas between them; absent: whatever ends here.
    pub reasons: Option<String>,
    /// Only packets from or to an address in here.
    #[param(value_type = Option<crate::schema::Prefix>)]
    pub within: Option<IpNet>,
    /// Bytes kept of each packet.
    pub snap_length: Option<u32>,
}

pub(crate) fn add(routes: Routes) -> Routes {
    routes.add(__path_capture, capture)
}

/// Packets that are not passed on, one JSON object a line as they are dropped, until the client goes.
#[utoipa::path(get, path = "/v1/capture", tag = "streams", params(CaptureQuery), responses(
    (status = OK, description = "Lines without end", content_type = "application/x-ndjson", body = CaptureLine)
))]
async fn capture(State(shared): State<App>, Asked(query): Asked<CaptureQuery>) -> Result<Response, Error> {
    let source = shared.daemon.capture(query.checked()?)?;
    Ok(read::stream_lines((source, shared), async |(mut source, shared)| {
        let lines = source.next(&|index| shared.daemon.interface_name(index)).await?;
        Some((lines, (source, shared)))
    }))
}

/// Which packets somebody wants to see.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// By the index of the reason; `None`: whatever ends here, and nothing that the host gets back or that only waits.
    reasons: Option<Vec<bool>>,
    within: Option<IpNet>,
    snap_length: usize,
}

impl CaptureQuery {
    /// Checked.
    ///
    /// # Errors
    ///
    /// A reason that does not exist, or an impossible length.
    pub fn checked(&self) -> Result<Wanted, Error> {
        let snap_length = self.snap_length.unwrap_or(SNAP_LENGTH);
        if !(1..=SNAP_LENGTH_MAX).contains(&snap_length) {
            return Err(Error::invalid(format!("snap-length must be from 1 to {SNAP_LENGTH_MAX}")));
        }
        let mut reasons = None;
        for name in self.reasons.iter().flat_map(|names| names.split(',')) {
            let index = Reason::all().position(|reason| reason.name() == name);
            let index = index.ok_or_else(|| Error::invalid(format!("there is no reason `{name}`")))?;
            reasons.get_or_insert_with(|| vec![false; Reason::COUNT])[index] = true;
        }
        Ok(Wanted { reasons, within: self.within, snap_length: snap_length as usize })
    }
}

impl Wanted {
    fn has(&self, packet: &[u8], origin: Origin, verdict: Verdict) -> bool {
        let reason = match (&self.reasons, verdict) {
            (_, Verdict::Translated) => false,
            (Some(reasons), Verdict::Held(why) | Verdict::Dropped(why) | Verdict::Returned(why)) => {
                reasons.get(why.index()).is_some_and(|wanted| *wanted)
            }
            (None, Verdict::Dropped(_)) => true,
            (None, Verdict::Returned(_)) => !origin.ingress,
            (None, Verdict::Held(_)) => false,
        };
        reason
            && self.within.is_none_or(|within| {
                addresses(packet).is_some_and(|ends| ends.iter().any(|end| within.contains(end)))
            })
    }
}

/// Source and destination of an IP packet.
fn addresses(packet: &[u8]) -> Option<[IpAddr; 2]> {
    match packet.first()? >> 4 {
        4 => {
            let at = |from| packet.get(from..)?.first_chunk::<4>().copied();
            Some([Ipv4Addr::from(at(12)?).into(), Ipv4Addr::from(at(16)?).into()])
        }
        6 => {
            let at = |from| packet.get(from..)?.first_chunk::<16>().copied();
            Some([Ipv6Addr::from(at(8)?).into(), Ipv6Addr::from(at(24)?).into()])
        }
        _neither => None,
    }
}

/// A packet that was not passed on.
#[derive(Debug)]
pub struct Captured {
    time: SystemTime,
    origin: Origin,
    verdict: Verdict,
    reason: Reason,
    length: usize,
    segment_size: Option<u16>,
    bytes: Box<[u8]>,
}

/// The workers' end of somebody's capture.
#[derive(Debug)]
pub struct Sink {
    wanted: Wanted,
    queue: mpsc::Sender<Captured>,
    lost: Arc<AtomicU64>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Source {
    queue: mpsc::Receiver<Captured>,
    lost: Arc<AtomicU64>,
    /// Packets given since it was told how many are lost.
    since: usize,
}

/// Both ends of a capture.
#[must_use]
pub fn channel(wanted: Wanted) -> (Sink, Source) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let lost = Arc::<AtomicU64>::default();
    (Sink { wanted, queue: sender, lost: Arc::clone(&lost) }, Source { queue: receiver, lost, since: 0 })
}

impl Sink {
    /// Copies a packet if it is wanted. Never blocks.
    pub fn stopped(&self, packet: &[u8], segment_size: Option<u16>, origin: Origin, verdict: Verdict) {
        let Some(reason) = verdict.reason().filter(|_| self.wanted.has(packet, origin, verdict)) else {
            return;
        };
        // Room first: a flood must not be copied for nobody.
        let Ok(place) = self.queue.try_reserve() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let kept = packet.get(..self.wanted.snap_length).unwrap_or(packet);
        place.send(Captured {
            time: SystemTime::now(),
            origin,
            verdict,
            reason,
            length: packet.len(),
            segment_size,
            bytes: kept.into(),
        });
    }

    /// Whether the reader has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

/// What the translator did with a packet that it did not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It ended.
    Dropped,
    /// It is none of the translator's business: at an interface's ingress the host got it back, on the routed path it ended.
    Returned,
    /// It waits for others.
    Held,
}

/// A line of `GET /v1/capture`: a packet, or how many did not fit since the last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum CaptureLine {
    /// A packet.
    Packet(CapturedPacket),
    /// So many are missing here: the reader was too slow.
    Lost {
        /// Packets.
        lost: u64,
    },
}

/// A packet that was not passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CapturedPacket {
    /// Nanoseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The interface it came in by; absent: this host's own packet, or not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// Taken up at the interface's ingress, before the host saw it.
    pub ingress: bool,
    /// Firewall mark.
    pub mark: u32,
    /// What was done.
    pub fate: Fate,
    /// Why: the name of the counter.
    pub reason: String,
    /// What that means.
    pub explanation: String,
    /// RFC and section.
    pub source: String,
    /// Its length in bytes.
    pub length: usize,
    /// Payload bytes of each segment, where it is an aggregate that hardware would have cut.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub segment_size: Option<u16>,
    /// What was kept of it, from the IP header on, in hexadecimal digits.
    pub packet: String,
}

impl Source {
    /// The next lines, of at most `STEP` packets; `None` when the daemon ends. What was lost is told behind all that waited
    /// when it was lost.
    pub async fn next(&mut self, names: &impl Fn(u32) -> Option<String>) -> Option<Vec<CaptureLine>> {
        let first = self.queue.recv().await?;
        let mut bytes = first.bytes.len();
        let mut packets = vec![first];
        while packets.len() < STEP
            && bytes < STEP_BYTES
            && let Ok(packet) = self.queue.try_recv()
        {
            bytes += packet.bytes.len();
            packets.push(packet);
        }
        self.since += packets.len();
        let mut lost = 0;
        if self.queue.is_empty() || self.since >= QUEUE {
            (self.since, lost) = (0, self.lost.swap(0, Ordering::Relaxed));
        }
        let lost = (lost != 0).then_some(CaptureLine::Lost { lost });
        let lines = packets.into_iter().map(|packet| CaptureLine::Packet(packet.row(names)));
        Some(lines.chain(lost).collect())
    }
}

impl Captured {
    fn row(&self, names: &impl Fn(u32) -> Option<String>) -> CapturedPacket {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        CapturedPacket {
            time: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            interface: names(self.origin.interface),
            ingress: self.origin.ingress,
            mark: self.origin.mark,
            fate: match self.verdict {
                Verdict::Dropped(_) | Verdict::Translated => Fate::Dropped,
                Verdict::Returned(_) => Fate::Returned,
                Verdict::Held(_) => Fate::Held,
            },
            reason: self.reason.name().to_owned(),
            explanation: self.reason.explanation().to_owned(),
            source: self.reason.source().to_owned(),
            length: self.length,
            segment_size: self.segment_size,
            packet: hex(&self.bytes),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

#[cfg(test)]
mod tests {
    use xlat_engine::Pipeline;

    use super::*;

    const DROPPED: Verdict = Verdict::Dropped(Reason::Pipeline(Pipeline::HairpinLoop));
    const RETURNED: Verdict = Verdict::Returned(Reason::Pipeline(Pipeline::NoInstance));
    const HELD: Verdict = Verdict::Held(Reason::Pipeline(Pipeline::FragmentHeld));
    const INGRESS: Origin = Origin { mark: 0, ingress: true, interface: 3, looped: false };

    fn packet4() -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[203, 0, 113, 16]);
        packet[16..20].copy_from_slice(&[203, 0, 113, 2]);
        packet
    }

    fn query(reasons: Option<&str>, within: Option<&str>) -> Wanted {
        let query = CaptureQuery {
            reasons: reasons.map(str::to_owned),
            within: within.map(|within| within.parse().unwrap()),
            snap_length: None,
        };
        query.checked().unwrap()
    }

    #[test]
    fn what_ends_here_is_wanted_unless_a_reason_is_named() {
        let all = query(None, None);
        assert!(all.has(&packet4(), INGRESS, DROPPED));
        assert!(all.has(&packet4(), Origin::routed(0), RETURNED));
        assert!(!all.has(&packet4(), INGRESS, RETURNED), "the host has it");
        assert!(!all.has(&packet4(), INGRESS, HELD));
        let named = query(Some("no-instance,fragment-held"), None);
        assert!(named.has(&packet4(), INGRESS, RETURNED) && named.has(&packet4(), INGRESS, HELD));
        assert!(!named.has(&packet4(), INGRESS, DROPPED));
    }

    #[test]
    fn either_end_may_be_in_the_prefix() {
        for (within, found) in
            [("203.0.113.2/32", true), ("203.0.113.16/28", true), ("192.0.2.0/24", false), ("::/0", false)]
        {
            assert_eq!(query(None, Some(within)).has(&packet4(), INGRESS, DROPPED), found, "{within}");
        }
        assert!(!query(None, Some("0.0.0.0/0")).has(&[0x45; 8], INGRESS, DROPPED), "cut short");
    }

    #[test]
    fn impossible_wishes() {
        let wish =
            |reasons: &str| CaptureQuery { reasons: Some(reasons.to_owned()), ..CaptureQuery::default() };
        assert!(wish("nonsense").checked().is_err() && wish("").checked().is_err());
        let long = CaptureQuery { snap_length: Some(SNAP_LENGTH_MAX + 1), ..CaptureQuery::default() };
        assert!(long.checked().is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_slow_reader_is_told_what_it_lost() {
        let (sink, mut source) = channel(query(None, None));
        for _ in 0..QUEUE + 7 {
            sink.stopped(&packet4(), None, INGRESS, DROPPED);
        }
        let mut lines = Vec::new();
        while lines.len() <= QUEUE {
            let step = source.next(&|_| Some("eth0".to_owned())).await.unwrap();
            assert!(step.len() <= STEP + 1, "{}", step.len());
            lines.extend(step);
        }
        let Some(CaptureLine::Packet(packet)) = lines.first() else { panic!("{lines:?}") };
        assert_eq!((packet.reason.as_str(), packet.fate), ("hairpin-loop", Fate::Dropped));
        assert_eq!((packet.length, packet.packet.len()), (28, 56));
        assert!(packet.packet.starts_with("4500"));
        assert_eq!(lines.last(), Some(&CaptureLine::Lost { lost: 7 }));
        drop(source);
        assert!(sink.is_closed());
    }

    /// Two packets at most are made text at once where they are as long as they can be.
    #[tokio::test(flavor = "current_thread")]
    async fn long_packets_come_by_few() {
        let wanted = CaptureQuery { snap_length: Some(SNAP_LENGTH_MAX), ..CaptureQuery::default() };
        let (sink, mut source) = channel(wanted.checked().unwrap());
        let mut packet = packet4();
        packet.resize(40_000, 0);
        (0..8).for_each(|_| sink.stopped(&packet, None, INGRESS, DROPPED));
        assert_eq!(source.next(&|_| None).await.unwrap().len(), 2);
    }
}
