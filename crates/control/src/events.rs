//! `/v1/events`: what happens in a daemon, as it happens: mappings and sessions that come and go, instances, reloads, trouble.
//! The same objects are the lines of a log in the form `json`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::api::{Protocol, Transport4, Transport6};
use crate::error::Error;
use crate::extract::Asked;
use crate::read;
use crate::routes::Routes;
use crate::server::App;

/// Events that may wait for a reader.
const QUEUE: usize = 1024;

/// Declares the kinds once.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident,)*) => {
        /// What has happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum What { $($(#[doc = $doc])* $kind,)* }

        impl What {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];
        }
    };
}

kinds! {
    /// A client has got a mask.
    BibCreated,
    /// It has it no more.
    BibRemoved,
    /// A session was made.
    SessionCreated,
    /// It ended.
    SessionRemoved,
    /// An instance was made.
    InstanceAdded,
    /// It ended.
    InstanceRemoved,
    /// It has another configuration.
    InstanceChanged,
    /// The file was read again.
    Reloaded,
    /// It was, and is refused: everything is as it was.
    ReloadFailed,
    /// Clients get no mask any more: pool4 has none free. At most once a minute.
    PoolExhausted,
    /// Lines of the log of flows were lost.
    LogLost,
    /// What came here was not told to this reader, because there was too much of it.
    Lost,
}

impl What {
    fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One event. Which fields there are depends on `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When, by RFC 3339.
    pub time: String,
    /// What.
    pub event: What,
    /// The instance, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// Of a mapping or session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protocol: Option<Protocol>,
    /// Of a mapping: the client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipv6: Option<Transport6>,
    /// Of a mapping: its mask.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipv4: Option<Transport4>,
    /// Of a session: the IPv6 node.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote6: Option<Transport6>,
    /// Of a session: the IPv4 node as the IPv6 node sees it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local6: Option<Transport6>,
    /// Of a session: the IPv6 node as the IPv4 node sees it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local4: Option<Transport4>,
    /// Of a session: the IPv4 node.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote4: Option<Transport4>,
    /// How many packets, lines or events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
    /// More about it, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

impl Event {
    /// One without anything else.
    #[must_use]
    pub fn new(time: SystemTime, event: What) -> Self {
        let (instance, protocol, ipv6, ipv4, count, text) = Default::default();
        let (remote6, local6, local4, remote4) = Default::default();
        let time = rfc3339(time);
        Self { time, event, instance, protocol, ipv6, ipv4, remote6, local6, local4, remote4, count, text }
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let six = [self.ipv6, self.remote6, self.local6].into_iter().flatten();
        let four = [self.ipv4, self.local4, self.remote4].into_iter().flatten();
        six.map(|end| end.address.into()).chain(four.map(|end| end.address.into()))
    }
}

/// A time by RFC 3339, in microseconds.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    // Times beyond the year 9999 are not shown.
    jiff::Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| format!("{time:.6}"))
}

/// The query of `GET /v1/events`.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only about this instance.
    pub instance: Option<String>,
    /// Kinds of events, with commas between them; absent: all.
    pub kind: Option<String>,
    /// Only flows that have an address in here, on whichever side.
    #[param(value_type = Option<String>)]
    pub within: Option<IpNet>,
}

/// Which events somebody wants to hear of.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    instance: Option<String>,
    kinds: Option<Vec<What>>,
    within: Option<IpNet>,
}

impl EventQuery {
    fn checked(self) -> Result<Wanted, Error> {
        let known = |word: &str| What::ALL.iter().copied().find(|what| what.word() == word);
        let kind = |word: &str| {
            let words: Vec<String> = What::ALL.iter().map(|what| what.word()).collect();
            let absent = || Error::unreadable(&format!("there is no event `{word}`: {}", words.join(", ")));
            known(word).ok_or_else(absent)
        };
        let kinds = self.kind.map(|words| words.split(',').map(kind).collect()).transpose()?;
        Ok(Wanted { instance: self.instance, kinds, within: self.within })
    }
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.event))
            && self.instance.as_ref().is_none_or(|name| event.instance.as_ref() == Some(name))
            && self.within.is_none_or(|within| event.addresses().any(|address| within.contains(&address)))
    }
}

/// The daemon's end of somebody's stream.
#[derive(Debug)]
pub struct Sink {
    wanted: Wanted,
    queue: mpsc::Sender<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Source {
    queue: mpsc::Receiver<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

/// Both ends.
#[must_use]
pub fn channel(wanted: Wanted) -> (Sink, Source) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let lost = Arc::<AtomicU64>::default();
    (Sink { wanted, queue: sender, lost: Arc::clone(&lost) }, Source { queue: receiver, lost })
}

impl Sink {
    /// Tells of an event if it is wanted. Never blocks.
    pub fn tell(&self, event: &Arc<Event>) {
        if self.wanted.has(event) && self.queue.try_send(Arc::clone(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it wants to hear of flows.
    #[must_use]
    pub fn wants_flows(&self) -> bool {
        const FLOWS: [What; 4] =
            [What::BibCreated, What::BibRemoved, What::SessionCreated, What::SessionRemoved];
        self.wanted.kinds.as_ref().is_none_or(|kinds| FLOWS.iter().any(|flow| kinds.contains(flow)))
    }

    /// Tells that events about flows did not even come here.
    pub fn missed_flows(&self, count: u64) {
        if count > 0 && self.wants_flows() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Whether the reader has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

impl Source {
    /// Events that it could not be told of, since the last ones that it was.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What has come meanwhile, at least one and no more than may wait; `None` when the daemon ends.
    async fn next(&mut self) -> Option<Vec<Arc<Event>>> {
        let mut events = vec![self.queue.recv().await?];
        while events.len() < QUEUE
            && let Ok(event) = self.queue.try_recv()
        {
            events.push(event);
        }
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let lost = Event { count: Some(count), ..Event::new(SystemTime::now(), What::Lost) };
            events.push(Arc::new(lost));
        }
        Some(events)
    }
}

pub(crate) fn add(routes: Routes) -> Routes {
    routes.add(__path_events, events)
}

/// What happens in the daemon, as it happens, until the client goes.
#[utoipa::path(get, path = "/v1/events", tag = "streams", params(EventQuery), responses(
    (status = OK, description = "Lines", content_type = "application/x-ndjson", body = Event)
))]
async fn events(State(shared): State<App>, Asked(query): Asked<EventQuery>) -> Result<Response, Error> {
    let source = shared.daemon.events(query.checked()?)?;
    Ok(read::stream_lines(source, async |mut source| {
        let events = source.next().await?;
        Some((events.iter().map(|event| Event::clone(event)).collect(), source))
    }))
}

impl From<xlat_nat64::Protocol> for Protocol {
    fn from(protocol: xlat_nat64::Protocol) -> Self {
        match protocol {
            xlat_nat64::Protocol::Tcp => Self::Tcp,
            xlat_nat64::Protocol::Udp => Self::Udp,
            xlat_nat64::Protocol::Icmp => Self::Icmp,
        }
    }
}

impl From<xlat_nat64::Transport6> for Transport6 {
    fn from(end: xlat_nat64::Transport6) -> Self {
        Self { address: end.addr, port: end.port }
    }
}

impl From<xlat_nat64::Transport4> for Transport4 {
    fn from(end: xlat_nat64::Transport4) -> Self {
        Self { address: end.addr, port: end.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Event {
        Event {
            instance: Some("default".to_owned()),
            protocol: Some(Protocol::Tcp),
            ipv6: Some(Transport6 { address: "2001:db8::8".parse().unwrap(), port: 1 }),
            ipv4: Some(Transport4 { address: "203.0.113.2".parse().unwrap(), port: 2 }),
            ..Event::new(SystemTime::UNIX_EPOCH, What::BibCreated)
        }
    }

    #[test]
    fn an_event_is_one_short_object() {
        assert_eq!(
            serde_json::to_string(&mapping()).unwrap(),
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"bib-created\",\"instance\":\"default\",\
             \"protocol\":\"tcp\",\"ipv6\":{\"address\":\"2001:db8::8\",\"port\":1},\
             \"ipv4\":{\"address\":\"203.0.113.2\",\"port\":2}}"
        );
    }

    #[test]
    fn filters() {
        let query = |text: &str| {
            let query: EventQuery = serde_json::from_str(text).unwrap();
            query.checked().map(|wanted| wanted.has(&mapping())).ok()
        };
        assert_eq!(query("{}"), Some(true));
        assert_eq!(query(r#"{"instance": "default", "kind": "session-created,bib-created"}"#), Some(true));
        assert_eq!(query(r#"{"instance": "other"}"#), Some(false));
        assert_eq!(query(r#"{"kind": "bib-removed"}"#), Some(false));
        assert_eq!(query(r#"{"within": "203.0.113.0/24"}"#), Some(true));
        assert_eq!(query(r#"{"within": "2001:db8::/64"}"#), Some(true));
        assert_eq!(query(r#"{"within": "198.51.100.0/24"}"#), Some(false));
        assert_eq!(query(r#"{"kind": "bib-created,"}"#), None);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_lost() {
        let (sink, mut source) = channel(Wanted::default());
        let event = Arc::new(mapping());
        (0..QUEUE + 5).for_each(|_| sink.tell(&event));
        let told = source.next().await.unwrap();
        assert_eq!(told.len(), QUEUE + 1);
        assert_eq!((told[QUEUE].event, told[QUEUE].count), (What::Lost, Some(5)));
        drop(source);
        assert!(sink.is_closed());
    }
}
