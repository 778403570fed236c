//! What is noted of a flow (RFC 6888 4), and how it is written: as the line that Jool's users parse, or as JSON.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use xlat_control::events::{Event, What};
use xlat_engine::LogEvent;
use xlat_nat64::{Protocol, SessionInfo, Transport6};
use xlat_translate::rfc6052::Pool6;

/// Longest name of an instance in bytes.
const NAME_MAX: usize = 15;

/// What is noted of a flow on the packet path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) instance: Name,
    pub(super) event: LogEvent,
    /// Or only for those who listen.
    pub(super) to_log: bool,
    pub(super) time: SystemTime,
    /// Of a session: its server as the IPv6 node sees it. Unknown on the packet path, and for an instance that has just been
    /// removed.
    pub(super) server6: Option<Transport6>,
}

/// The name of an instance without allocation; cut to [`NAME_MAX`] bytes, which no checked name exceeds.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct Name {
    bytes: [u8; NAME_MAX],
    len: u8,
}

impl Name {
    pub(in crate::run) fn new(name: &str) -> Self {
        let mut bytes = [0; NAME_MAX];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from;
            len += 1;
        }
        Self { bytes, len }
    }

    pub(in crate::run) fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|name| str::from_utf8(name).ok()).unwrap_or("?")
    }
}

/// As Jool writes it.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} - ", self.instance.as_str(), Utc(self.time))?;
        match &self.event {
            LogEvent::BibCreated(bib) => {
                write!(f, "Mapped {} to {} ({})", bib.client, bib.mask, bib.protocol)
            }
            LogEvent::BibRemoved(bib) => {
                write!(f, "Forgot {} to {} ({})", bib.client, bib.mask, bib.protocol)
            }
            LogEvent::SessionCreated(session) => {
                write!(f, "Added session ")?;
                self.session(f, session)
            }
            LogEvent::SessionRemoved(session) => {
                write!(f, "Forgot session ")?;
                self.session(f, session)
            }
        }
    }
}

impl Record {
    /// Completes it with what the packet path does not know.
    pub(super) fn complete(&mut self, pool6: Option<&Pool6>) {
        if let (LogEvent::SessionCreated(session) | LogEvent::SessionRemoved(session), Some(pool6)) =
            (&self.event, pool6)
        {
            // An echo has one identifier per side: on the IPv6 side the client's.
            let port = match session.protocol {
                Protocol::Icmp => session.client.port,
                Protocol::Tcp | Protocol::Udp => session.remote.port,
            };
            self.server6 = Some(Transport6 { addr: pool6.embed(session.remote.addr), port });
        }
    }

    fn session(&self, f: &mut fmt::Formatter<'_>, session: &SessionInfo) -> fmt::Result {
        write!(f, "{}|", session.client)?;
        match self.server6 {
            Some(server) => write!(f, "{server}")?,
            None => f.write_str("?")?,
        }
        write!(f, "|{}|{}|{}", session.mask, session.remote, session.protocol)
    }

    /// As JSON has it.
    pub(super) fn event(&self) -> Event {
        let (what, protocol) = match &self.event {
            LogEvent::BibCreated(bib) => (What::BibCreated, bib.protocol),
            LogEvent::BibRemoved(bib) => (What::BibRemoved, bib.protocol),
            LogEvent::SessionCreated(session) => (What::SessionCreated, session.protocol),
            LogEvent::SessionRemoved(session) => (What::SessionRemoved, session.protocol),
        };
        let event = Event {
            instance: Some(self.instance.as_str().to_owned()),
            protocol: Some(protocol.into()),
            ..Event::new(self.time, what)
        };
        match &self.event {
            LogEvent::BibCreated(bib) | LogEvent::BibRemoved(bib) => {
                Event { ipv6: Some(bib.client.into()), ipv4: Some(bib.mask.into()), ..event }
            }
            LogEvent::SessionCreated(session) | LogEvent::SessionRemoved(session) => Event {
                remote6: Some(session.client.into()),
                local6: self.server6.map(Into::into),
                local4: Some(session.mask.into()),
                remote4: Some(session.remote.into()),
                ..event
            },
        }
    }
}

/// A time as `YYYY/M/D H:M:S (GMT)`, numbers without leading zeroes.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::try_from(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%-Y/%-m/%-d %-H:%-M:%-S (GMT)")),
            // Beyond the year 9999.
            Err(_) => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use xlat_nat64::{BibInfo, Timer, Transport4};

    use super::*;

    fn record(event: LogEvent) -> Record {
        let (instance, time) = (Name::new("default"), UNIX_EPOCH + Duration::from_secs(951_827_696));
        let mut record = Record { instance, event, to_log: true, time, server6: None };
        record.complete(Some(&Pool6::new("64:ff9b::/96".parse().unwrap()).unwrap()));
        record
    }

    fn line(event: LogEvent) -> String {
        record(event).to_string()
    }

    #[test]
    fn lines_are_those_that_programs_parse() {
        let client = Transport6 { addr: "2001:db8::8".parse().unwrap(), port: 40000 };
        let mask = Transport4 { addr: "203.0.113.2".parse().unwrap(), port: 61001 };
        let bib = BibInfo { protocol: Protocol::Tcp, client, mask, is_static: false, sessions: 1 };
        assert_eq!(
            line(LogEvent::BibCreated(bib)),
            "default 2000/2/29 12:34:56 (GMT) - Mapped 2001:db8::8#40000 to 203.0.113.2#61001 (TCP)"
        );
        assert_eq!(
            line(LogEvent::BibRemoved(bib)),
            "default 2000/2/29 12:34:56 (GMT) - Forgot 2001:db8::8#40000 to 203.0.113.2#61001 (TCP)"
        );
        let session = SessionInfo {
            protocol: Protocol::Udp,
            client,
            mask,
            remote: Transport4 { addr: "203.0.113.16".parse().unwrap(), port: 53 },
            state: None,
            timer: Timer::Established,
            expires_in: Duration::ZERO,
            promoted: false,
        };
        assert_eq!(
            line(LogEvent::SessionCreated(session)),
            "default 2000/2/29 12:34:56 (GMT) - Added session \
             2001:db8::8#40000|64:ff9b::cb00:7110#53|203.0.113.2#61001|203.0.113.16#53|UDP"
        );
        assert_eq!(
            serde_json::to_string(&record(LogEvent::SessionCreated(session)).event()).unwrap(),
            "{\"time\":\"2000-02-29T12:34:56.000000Z\",\"event\":\"session-created\",\"instance\":\"default\",\
             \"protocol\":\"udp\",\"remote6\":{\"address\":\"2001:db8::8\",\"port\":40000},\
             \"local6\":{\"address\":\"64:ff9b::cb00:7110\",\"port\":53},\
             \"local4\":{\"address\":\"203.0.113.2\",\"port\":61001},\
             \"remote4\":{\"address\":\"203.0.113.16\",\"port\":53}}"
        );
        let echo = SessionInfo { protocol: Protocol::Icmp, ..session };
        assert!(line(LogEvent::SessionRemoved(echo)).ends_with(
            "Forgot session 2001:db8::8#40000|64:ff9b::cb00:7110#40000|203.0.113.2#61001|203.0.113.16#53|ICMP"
        ));
    }

    #[test]
    fn days_of_the_calendar() {
        let day = |days: u64| Utc(UNIX_EPOCH + Duration::from_secs(days * 86_400)).to_string();
        assert_eq!(day(0), "1970/1/1 0:0:0 (GMT)");
        assert_eq!(day(58), "1970/2/28 0:0:0 (GMT)");
        assert_eq!(day(59), "1970/3/1 0:0:0 (GMT)");
        assert_eq!(day(11_016), "2000/2/29 0:0:0 (GMT)");
        assert_eq!(day(20_818), "2026/12/31 0:0:0 (GMT)");
        assert_eq!(day(47_540), "2100/2/28 0:0:0 (GMT)");
        assert_eq!(day(47_541), "2100/3/1 0:0:0 (GMT)");
    }
}
