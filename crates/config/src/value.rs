//! Text to addresses, prefixes, port ranges and durations; Jool's notations, without its leniency about trailing junk.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::diagnostic::shown;
use crate::model::{Protocol, Translator};

/// Why a text is not what it should be, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.help)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// The longest duration: 32 bits of milliseconds, which is what Jool keeps.
pub(crate) const DURATION_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// `ADDR[/LEN]`, the length 32 by default, no bits beyond it.
pub fn prefix4(text: &str) -> Result<Ipv4Net, Problem> {
    let (address, length) = split_prefix(text, 32)?;
    let address = ipv4(address)?;
    let prefix = Ipv4Net::new(address, length).map_err(|_| bad_length(text, 32))?;
    if prefix.trunc() != prefix { Err(has_suffix(&prefix, &prefix.trunc())) } else { Ok(prefix) }
}

/// `ADDR[/LEN]`, the length 128 by default, no bits beyond it.
pub fn prefix6(text: &str) -> Result<Ipv6Net, Problem> {
    let (address, length) = split_prefix(text, 128)?;
    let address = ipv6(address)?;
    let prefix = Ipv6Net::new(address, length).map_err(|_| bad_length(text, 128))?;
    if prefix.trunc() != prefix { Err(has_suffix(&prefix, &prefix.trunc())) } else { Ok(prefix) }
}

/// A prefix of either family.
pub fn prefix(text: &str) -> Result<IpNet, Problem> {
    if text.contains(':') { prefix6(text).map(IpNet::V6) } else { prefix4(text).map(IpNet::V4) }
}

/// `ADDR#PORT`.
pub fn transport6(text: &str) -> Result<(Ipv6Addr, u16), Problem> {
    let (address, port) = split_transport(text, "2001:db8::1#80")?;
    Ok((ipv6(address)?, number(port, "port")?))
}

/// `ADDR#PORT`.
pub fn transport4(text: &str) -> Result<(Ipv4Addr, u16), Problem> {
    let (address, port) = split_transport(text, "192.0.2.1#80")?;
    Ok((ipv4(address)?, number(port, "port")?))
}

/// `N` or `A-B`; the wrong way round is put right, as Jool does.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first.trim(), "port range")?, number(last.trim(), "port range")?);
    Ok(first.min(last)..=first.max(last))
}

/// `[[HH:]MM:]SS[.mmm]`. Fields may exceed 59, as in Jool; the fraction is a decimal one (not a count of milliseconds).
pub fn duration(text: &str) -> Result<Duration, Problem> {
    let malformed = || {
        let help =
            "write [[HH:]MM:]SS[.mmm], for instance \"2:00:00\" (two hours) or \"0:05:00\" (five minutes)";
        Problem::new(format!("'{}' is not a duration", shown(text)), help)
    };
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 3 || clock.split(':').count() > 3 {
        return Err(malformed());
    }
    let mut seconds = 0_u64;
    for field in clock.split(':') {
        let field: u32 = digits(field).ok_or_else(malformed)?;
        seconds = seconds * 60 + u64::from(field);
    }
    let millis: u64 = digits(&format!("{fraction:0<3}")).ok_or_else(malformed)?;
    let duration = Duration::from_millis(seconds.saturating_mul(1000).saturating_add(millis));
    if duration > DURATION_MAX {
        let most = show_duration(DURATION_MAX);
        return Err(Problem::new(format!("'{}' is too long", shown(text)), format!("the most is {most}")));
    }
    Ok(duration)
}

/// The inverse of [`duration`], as Jool displays it.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match duration.subsec_millis() {
        0 => clock,
        millis => format!("{clock}.{millis:03}"),
    }
}

/// `TCP`, `UDP` or `ICMP` in any case.
pub(crate) fn protocol(text: &str) -> Result<Protocol, Problem> {
    Protocol::ALL.into_iter().find(|protocol| protocol.to_string().eq_ignore_ascii_case(text)).ok_or_else(
        || {
            Problem::new(
                format!("Protocol '{}' is unknown.", shown(text)),
                "write \"TCP\", \"UDP\" or \"ICMP\"",
            )
        },
    )
}

/// `siit` or `nat64` in any case.
pub(crate) fn translator(text: &str) -> Result<Translator, Problem> {
    [Translator::Siit, Translator::Nat64]
        .into_iter()
        .find(|translator| translator.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let message = format!("the type '{}' is unknown", shown(text));
            Problem::new(message, "write \"siit\" (stateless) or \"nat64\" (stateful)")
        })
}

fn ipv4(text: &str) -> Result<Ipv4Addr, Problem> {
    text.parse().map_err(|_| {
        let help = if text.contains(':') {
            "this is an IPv6 address; an IPv4 one is expected here"
        } else {
            "write four numbers from 0 to 255, for instance 192.0.2.1"
        };
        Problem::new(format!("'{}' is not a valid IPv4 address", shown(text)), help)
    })
}

fn ipv6(text: &str) -> Result<Ipv6Addr, Problem> {
    text.parse().map_err(|_| {
        let help = if Ipv4Addr::from_str(text).is_ok() {
            "this is an IPv4 address; an IPv6 one is expected here"
        } else {
            "write it like 2001:db8::1 or 64:ff9b::192.0.2.1"
        };
        Problem::new(format!("'{}' is not a valid IPv6 address", shown(text)), help)
    })
}

fn split_prefix(text: &str, full: u8) -> Result<(&str, u8), Problem> {
    match text.split_once('/') {
        None => Ok((text, full)),
        Some((address, length)) => {
            let length = digits(length).filter(|&length| length <= full);
            length.map(|length| (address, length)).ok_or_else(|| bad_length(text, full))
        }
    }
}

fn split_transport<'t>(text: &'t str, example: &str) -> Result<(&'t str, &'t str), Problem> {
    text.split_once('#').ok_or_else(|| {
        let message = format!("'{}' has no port", shown(text));
        Problem::new(message, format!("write address and port (or ICMP identifier) like {example}"))
    })
}

fn bad_length(text: &str, full: u8) -> Problem {
    Problem::new(
        format!("the prefix length of '{}' is not valid", shown(text)),
        format!("it is a number from 0 to {full}"),
    )
}

fn has_suffix(prefix: &dyn fmt::Display, right: &dyn fmt::Display) -> Problem {
    let message = format!("'{prefix}' seems to have a suffix; please fix.");
    Problem::new(message, format!("the prefix that contains it is {right}"))
}

fn number(text: &str, what: &str) -> Result<u16, Problem> {
    digits(text).ok_or_else(|| {
        let message = format!("'{}' is not a valid {what}", shown(text));
        let help = match what {
            "port" => "write a number from 0 to 65535",
            _ => "write N or A-B, numbers from 0 to 65535",
        };
        Problem::new(message, help)
    })
}

/// Decimal digits and nothing else: no sign, no blanks.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let millis = |text| duration(text).map(|duration| duration.as_millis()).ok();
        assert_eq!(millis("90"), Some(90_000));
        assert_eq!(millis("0:90"), Some(90_000));
        assert_eq!(millis("2:00:00"), Some(7_200_000));
        assert_eq!(millis("1:2:3.004"), Some(3_723_004));
        assert_eq!(millis("0.5"), Some(500));
        for bad in [
            "",
            ":",
            "1:",
            "1:2:3:4",
            "1.",
            "1.1234",
            "-1",
            "+1",
            " 1",
            "1s",
            "1.x",
            "4294967295:0:0",
            "1:4294967296",
        ] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(ports("80"), Ok(80..=80));
        assert_eq!(ports("2000-1000"), Ok(1000..=2000));
        for bad in ["", "-", "1-", "65536", "1-2-3", "0x20", "80abc"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_bits_name_the_right_prefix() {
        assert_eq!(prefix4("192.0.2.1/24").unwrap_err().help, "the prefix that contains it is 192.0.2.0/24");
        assert_eq!(
            prefix6("2001:db8::1/64").unwrap_err().help,
            "the prefix that contains it is 2001:db8::/64"
        );
        assert_eq!(prefix4("192.0.2.1").unwrap().prefix_len(), 32);
        assert!(prefix4("192.0.2.0/+24").is_err());
        assert!(prefix6("2001:db8::/129").is_err());
    }

    proptest! {
        #[test]
        fn durations_there_and_back(millis in 0..=u32::MAX) {
            let there = Duration::from_millis(millis.into());
            prop_assert_eq!(duration(&show_duration(there)), Ok(there));
        }

        #[test]
        fn prefixes_there_and_back(bits: u128, length in 0..=128_u8) {
            let there = Ipv6Net::new(bits.into(), length).unwrap().trunc();
            prop_assert_eq!(prefix6(&there.to_string()), Ok(there));
            let there = Ipv4Net::new((bits as u32).into(), length.min(32)).unwrap().trunc();
            prop_assert_eq!(prefix4(&there.to_string()), Ok(there));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f:./#-]{0,40}|.{0,20}") {
            let _ = (prefix(&text), transport4(&text), transport6(&text), ports(&text), duration(&text));
            let _ = (protocol(&text), translator(&text));
        }
    }
}
