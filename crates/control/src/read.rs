//! What can be read: tables as lines of JSON, one object each, made as the client takes them. State is walked in steps of
//! [`STEP`] entries, each of which holds one part of the tables for some microseconds; nothing is collected.

use std::collections::VecDeque;
use std::net::IpAddr;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use xlat_config::{Config, Kind};
use xlat_engine::{Reason, Scheme, Traffic, Untranslated, View};
use xlat_nat64::{BibInfo, Cursor, SessionInfo, TcpState};

use crate::api::{self, BibPair, BibRow, Counter, Protocol, SessionRow, Translation, Transport4, Transport6};
use crate::error::Error;
use crate::page;
use crate::server::ByKernel;

/// Entries looked at in one go.
pub(crate) const STEP: usize = 1024;
/// Entries of a table of state after which a row gets a cursor.
const MARKED: usize = 256;

/// Lines of JSON out of something that gives rows in steps until it gives `None`.
pub(crate) fn lines<R, F>(step: F) -> Response
where
    R: Serialize + 'static,
    F: FnMut() -> Option<Vec<R>> + Send + 'static,
{
    let body = stream::unfold(step, |mut step| async move {
        // All answers are made by one thread: others have their turn between two steps, also where steps find nothing.
        tokio::task::yield_now().await;
        let rows = step()?;
        Some((Ok::<_, std::convert::Infallible>(text(&rows)), step))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}

/// Lines of JSON out of something that waits for rows, until it gives `None` or the client goes.
pub(crate) fn stream_lines<S, R, F, W>(state: S, next: F) -> Response
where
    S: Send + 'static,
    R: Serialize,
    F: Fn(S) -> W + Send + 'static,
    W: Future<Output = Option<(Vec<R>, S)>> + Send + 'static,
{
    let body = stream::unfold((state, next), |(state, next)| async move {
        let (rows, state) = next(state).await?;
        Some((Ok::<_, std::convert::Infallible>(text(&rows)), (state, next)))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}

fn text<R: Serialize>(rows: &[R]) -> Bytes {
    let mut text = Vec::new();
    for row in rows {
        // Rows are plain data: writing them to memory does not fail.
        if serde_json::to_writer(&mut text, row).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}

/// Lines out of a list that is there already.
pub(crate) fn list<R: Serialize + Send + 'static>(rows: Vec<R>) -> Response {
    let mut rows: VecDeque<R> = rows.into();
    lines(move || (!rows.is_empty()).then(|| rows.drain(..rows.len().min(STEP)).collect()))
}

/// Which part of a table of state is wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Which table.
    #[serde(default)]
    protocol: Protocol,
    /// Only what has an address in here, on whichever side.
    #[param(value_type = Option<crate::schema::Prefix>)]
    within: Option<IpNet>,
    /// Only what has this port or identifier, on whichever side.
    port: Option<u16>,
    /// BIB: only what the operator made (`true`), or only what traffic made (`false`).
    #[serde(rename = "static")]
    is_static: Option<bool>,
    /// Sessions: only TCP in this state, such as `ESTABLISHED`.
    state: Option<String>,
    /// Only what comes behind this cursor, the last one that a row of an earlier answer had.
    after: Option<String>,
    /// At most so many rows.
    limit: Option<u64>,
}

impl Wanted {
    fn bib(&self, entry: &BibInfo) -> bool {
        let (client, mask) = (entry.client, entry.mask);
        entry.protocol == self.protocol.state()
            && self.is_static.is_none_or(|wanted| wanted == entry.is_static)
            && self.has(&[client.addr.into(), mask.addr.into()], &[client.port, mask.port])
    }

    fn session(&self, session: &SessionInfo) -> bool {
        let (client, mask, remote) = (session.client, session.mask, session.remote);
        let addresses = [client.addr.into(), mask.addr.into(), remote.addr.into()];
        session.protocol == self.protocol.state()
            && self.state.as_deref().is_none_or(|wanted| session.state.map(state_name) == Some(wanted))
            && self.has(&addresses, &[client.port, mask.port, remote.port])
    }

    fn has(&self, addresses: &[IpAddr], ports: &[u16]) -> bool {
        self.within.is_none_or(|within| addresses.iter().any(|address| within.contains(address)))
            && self.port.is_none_or(|port| ports.contains(&port))
    }
}

/// True if an address or prefix has to do with what is asked for: is part of it, or has it within.
pub(crate) fn meets(within: Option<IpNet>, prefix: impl Into<IpNet>) -> bool {
    let prefix = prefix.into();
    within.is_none_or(|within| within.contains(&prefix) || prefix.contains(&within))
}

/// The BIB entries that are wanted.
pub(crate) fn bib(view: View, wanted: Wanted) -> Result<Response, Error> {
    if wanted.state.is_some() {
        return Err(Error::unreadable(&"a BIB entry has no state").at("state"));
    }
    walked(view, wanted, |view, wanted, from, count| {
        let mut found = Vec::with_capacity(count);
        let next = view.bib_entries(from, count, &mut found);
        let rows = found.iter().filter(|entry| wanted.bib(entry)).map(bib_row).collect();
        Walked { rows, looked: found.len(), next }
    })
}

/// The sessions that are wanted.
pub(crate) fn sessions(view: View, wanted: Wanted) -> Result<Response, Error> {
    if wanted.is_static.is_some() {
        return Err(Error::unreadable(&"a session is never static").at("static"));
    }
    walked(view, wanted, |view, wanted, from, count| {
        let mut found = Vec::with_capacity(count);
        let next = view.sessions(from, count, &mut found);
        let rows = found.iter().filter(|session| wanted.session(session));
        let rows = rows.filter_map(|session| session_row(view, session)).collect();
        Walked { rows, looked: found.len(), next }
    })
}

/// A step of a walk over state.
struct Walked<R> {
    /// What is wanted of the entries.
    rows: Vec<R>,
    /// How many entries there were.
    looked: usize,
    /// Where it goes on.
    next: Option<Cursor>,
}

/// Lines of a walk over state: `step` looks at so many entries at most.
fn walked<R: Serialize + 'static>(
    view: View,
    wanted: Wanted,
    step: impl Fn(&View, &Wanted, Cursor, usize) -> Walked<R> + Send + 'static,
) -> Result<Response, Error> {
    let mut next = Some(page::cursor(&view, wanted.after.as_deref())?);
    let mut left = wanted.limit.unwrap_or(u64::MAX);
    // Entries since the last cursor: a step may be short.
    let mut unmarked = 0;
    Ok(lines(move || {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(STEP);
        let from = next.filter(|_| count > 0)?;
        let found = step(&view, &wanted, from, count);
        next = found.next;
        left -= (found.rows.len() as u64).min(left);
        unmarked += found.looked;
        let is_due = left == 0 || unmarked >= MARKED;
        let cursor = next.filter(|_| is_due).map(|next| page::token(&view, next));
        if cursor.is_some() && !found.rows.is_empty() {
            unmarked = 0;
        }
        Some(page::marked(found.rows, cursor.as_deref()))
    }))
}

/// The entries that have one of these transport addresses: at most two.
pub(crate) fn bib_entries_with(
    view: &View,
    protocol: Protocol,
    ipv6: Option<Transport6>,
    ipv4: Option<Transport4>,
) -> Vec<BibPair> {
    let mut pairs = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        let mut found = Vec::with_capacity(STEP);
        cursor = view.bib_entries(from, STEP, &mut found);
        let rows = found.iter().filter(|entry| entry.protocol == protocol.state()).map(bib_row);
        let meets = |row: &BibRow| Some(row.pair.ipv6) == ipv6 || Some(row.pair.ipv4) == ipv4;
        pairs.extend(rows.filter(meets).map(|row| row.pair));
    }
    pairs
}

fn protocol(protocol: xlat_nat64::Protocol) -> Protocol {
    match protocol {
        xlat_nat64::Protocol::Tcp => Protocol::Tcp,
        xlat_nat64::Protocol::Udp => Protocol::Udp,
        xlat_nat64::Protocol::Icmp => Protocol::Icmp,
    }
}

fn taddr6(taddr: xlat_nat64::Transport6) -> Transport6 {
    Transport6 { address: taddr.addr, port: taddr.port }
}

fn taddr4(taddr: xlat_nat64::Transport4) -> Transport4 {
    Transport4 { address: taddr.addr, port: taddr.port }
}

fn bib_row(entry: &BibInfo) -> BibRow {
    let protocol = protocol(entry.protocol);
    BibRow {
        pair: BibPair { protocol, ipv6: taddr6(entry.client), ipv4: taddr4(entry.mask) },
        is_static: entry.is_static,
        sessions: entry.sessions,
    }
}

fn session_row(view: &View, session: &SessionInfo) -> Option<SessionRow> {
    let remote = session.remote;
    // An identifier is the same on both sides of IPv6 (RFC 6146 3.5.3).
    let seen_port = match session.protocol {
        xlat_nat64::Protocol::Icmp => session.client.port,
        xlat_nat64::Protocol::Tcp | xlat_nat64::Protocol::Udp => remote.port,
    };
    Some(SessionRow {
        protocol: protocol(session.protocol),
        remote6: taddr6(session.client),
        local6: Transport6 { address: view.embed(remote.addr)?, port: seen_port },
        local4: taddr4(session.mask),
        remote4: taddr4(remote),
        expires_in: u64::try_from(session.expires_in.as_millis()).unwrap_or(u64::MAX),
        state: session.state.map(|state| state_name(state).to_owned()),
    })
}

fn state_name(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::V6Init => "V6_INIT",
        TcpState::V4Init => "V4_INIT",
        TcpState::V4FinRcv => "V4_FIN_RCV",
        TcpState::V6FinRcv => "V6_FIN_RCV",
        TcpState::V4FinV6FinRcv => "V4_FIN_V6_FIN_RCV",
        TcpState::Trans => "TRANS",
    }
}

/// The counters of an instance, with what the kernel has translated for it.
pub(crate) fn statistics(view: &View, by_kernel: ByKernel) -> Vec<Counter> {
    let statistics = view.statistics();
    let traffic = Traffic::ALL.map(|traffic| {
        let (jool, explanation) = match traffic {
            Traffic::Received6 => ("JSTAT_RECEIVED6", "IPv6 packets that came in"),
            Traffic::Received4 => ("JSTAT_RECEIVED4", "IPv4 packets that came in"),
            Traffic::Bytes6 => ("", "bytes that came in as IPv6"),
            Traffic::Bytes4 => ("", "bytes that came in as IPv4"),
            Traffic::Translated => ("JSTAT_SUCCESS", "packets translated and sent"),
            Traffic::ErrorsSent6 => ("JSTAT_ICMP6ERR_SUCCESS", "ICMPv6 errors of our own that were sent"),
            Traffic::ErrorsSent4 => ("JSTAT_ICMP4ERR_SUCCESS", "ICMPv4 errors of our own that were sent"),
            Traffic::ErrorsWithheld => ("", "ICMP errors of our own that were owed and not sent"),
            Traffic::HeldLost => ("", "held fragments and stored SYNs that ended without being sent"),
        };
        let value = statistics.traffic(traffic).wrapping_add(by_kernel.share(traffic));
        counter(traffic.name(), jool, value, explanation, "")
    });
    let gauges = view.gauges().map(|gauges| {
        let sum = |counts: [usize; 3]| counts.iter().map(|count| *count as u64).sum();
        [
            counter("bib-entries", "JSTAT_BIB_ENTRIES", sum(gauges.bib), "BIB entries now", "RFC 6146 3.1"),
            counter("sessions", "JSTAT_SESSIONS", sum(gauges.sessions), "sessions now", "RFC 6146 3.2"),
        ]
    });
    let reasons = Reason::all().map(|reason| {
        let count = statistics.reason(reason);
        counter(reason.name(), reason.counter(), count, reason.explanation(), reason.source())
    });
    traffic.into_iter().chain(gauges.into_iter().flatten()).chain(reasons).collect()
}

fn counter(name: &str, jool: &str, value: u64, explanation: &str, source: &str) -> Counter {
    Counter {
        name: name.to_owned(),
        jool: jool.to_owned(),
        value,
        explanation: explanation.to_owned(),
        source: source.to_owned(),
    }
}

/// How a stateless instance translates an address.
pub(crate) fn translation(
    view: &View,
    config: &Config,
    instance: usize,
    query: IpAddr,
) -> Result<Translation, Error> {
    let refused = |why: Untranslated| {
        let reason = match (why, query) {
            (Untranslated::Loopback, _) => "IPv6 source address (::1) is illegal (according to RFC 7915).",
            (Untranslated::NoMapping, IpAddr::V6(_)) => "Address lacks both pool6 prefix and EAM.",
            (Untranslated::NoMapping, IpAddr::V4(_)) => {
                "Address lacks EAMT entry and there's no pool6 prefix."
            }
            (Untranslated::Denylisted, IpAddr::V6(_)) => "Address is denylist4ed.",
            (Untranslated::Denylisted, IpAddr::V4(_)) => "Address lacks EAMT entry and is denylist4ed.",
            (Untranslated::Refused, _) => "Address is subnet-scoped or belongs to a local interface.",
            (Untranslated::Stateful, _) => "the instance is stateful: translation depends on the packet.",
        };
        Error::invalid(format!("Unable to translate {query}: {reason}"))
    };
    let translated = view.translate(query).map_err(refused)?;
    let (eam, pool6) = match (translated.by, config.instances.get(instance).map(|found| &found.kind)) {
        (Scheme::Eam(ipv6, ipv4), _) => (Some(api::Eam { ipv6, ipv4 }), None),
        (Scheme::Pool6, Some(Kind::Siit(siit))) => (None, siit.pool6),
        (Scheme::Pool6, _) => (None, None),
    };
    Ok(Translation { query, result: translated.address, eam, pool6 })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_walk_that_finds_nothing_keeps_nobody_waiting() {
        let (served, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let other = Arc::clone(&served);
        tokio::spawn(async move {
            loop {
                other.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let steps = Arc::clone(&asked);
        let answer = lines(move || (steps.fetch_add(1, Ordering::Relaxed) < 1000).then(Vec::<Counter>::new));
        let body = axum::body::to_bytes(answer.into_body(), 1).await.unwrap();
        assert!(body.is_empty() && asked.load(Ordering::Relaxed) == 1001);
        assert!(served.load(Ordering::Relaxed) >= 1000, "somebody else had to wait for the end");
    }

    #[test]
    fn entries_are_wanted_by_either_side() {
        let entry = BibInfo {
            protocol: xlat_nat64::Protocol::Udp,
            client: xlat_nat64::Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 1000 },
            mask: xlat_nat64::Transport4 { addr: "192.0.2.1".parse().unwrap(), port: 61001 },
            is_static: false,
            sessions: 1,
        };
        for (query, expected) in [
            (serde_json::json!({}), false),
            (serde_json::json!({"protocol": "udp"}), true),
            (serde_json::json!({"protocol": "udp", "within": "2001:db8::/64"}), true),
            (serde_json::json!({"protocol": "udp", "within": "192.0.2.1/32", "port": 1000}), true),
            (serde_json::json!({"protocol": "udp", "within": "198.51.100.0/24"}), false),
            (serde_json::json!({"protocol": "udp", "within": "192.0.2.1/32", "port": 1001}), false),
            (serde_json::json!({"protocol": "icmp", "port": 1000}), false),
        ] {
            let wanted: Wanted = serde_json::from_value(query.clone()).unwrap();
            assert_eq!(wanted.bib(&entry), expected, "{query}");
        }
    }
}
