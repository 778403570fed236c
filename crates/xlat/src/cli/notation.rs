//! What single words of the command line mean: prefixes, ports and durations in the notation of the configuration files.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;
use xlat_config::notation::{self, Problem};
use xlat_control::api::{MaxIterations, Transport4, Transport6};
use xlat_control::globals::{Form, Key};

use super::tables::Transport;

/// Longest time that can be asked for.
const SECONDS_MAX: f64 = 86_400.0;

fn text(problem: Problem) -> String {
    problem.to_string()
}

pub(crate) fn prefix4(word: &str) -> Result<Ipv4Net, String> {
    notation::prefix4(word).map_err(text)
}

pub(crate) fn prefix6(word: &str) -> Result<Ipv6Net, String> {
    notation::prefix6(word).map_err(text)
}

/// A prefix of either family, or an address.
pub(crate) fn network(word: &str) -> Result<IpNet, String> {
    notation::prefix(word).map_err(text)
}

pub(crate) fn ports(word: &str) -> Result<(u16, u16), String> {
    notation::ports(word).map(|ports| (*ports.start(), *ports.end())).map_err(text)
}

/// `ADDRESS#PORT`.
pub(crate) fn transport(word: &str) -> Result<Transport, String> {
    if word.contains(':') {
        let (address, port) = notation::transport6(word).map_err(text)?;
        return Ok(Transport::V6(Transport6 { address, port }));
    }
    let (address, port) = notation::transport4(word).map_err(text)?;
    Ok(Transport::V4(Transport4 { address, port }))
}

pub(crate) fn iterations(word: &str) -> Result<MaxIterations, String> {
    match word {
        "auto" => Ok(MaxIterations::Auto),
        "infinity" => Ok(MaxIterations::Infinity),
        number => match number.parse() {
            Ok(count @ 1..) => Ok(MaxIterations::Count(count)),
            Ok(0) | Err(_) => Err("write auto, infinity or a number from 1".to_owned()),
        },
    }
}

/// A time in seconds, with or without a fraction.
pub(crate) fn seconds(word: &str) -> Result<Duration, String> {
    let number = word.parse::<f64>().ok().filter(|seconds| (0.1..=SECONDS_MAX).contains(seconds));
    number.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, from 0.1 to 86400".to_owned())
}

/// The value of a global option.
pub(crate) fn option(key: &Key, word: &str) -> Result<Value, String> {
    let number = |word: &str| {
        word.trim().parse::<u32>().map_err(|_| format!("'{word}' is not a number from 0 to {}", u32::MAX))
    };
    Ok(match key.form {
        Form::Boolean => match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true.into(),
            "false" | "0" | "no" | "off" => false.into(),
            _ => return Err(format!("'{word}' is neither true nor false")),
        },
        Form::Number(_) | Form::FArgs => number(word)?.into(),
        Form::Prefix6 | Form::Prefix4 if word == "null" => Value::Null,
        Form::Prefix6 => prefix6(word)?.to_string().into(),
        Form::Prefix4 => prefix4(word)?.to_string().into(),
        Form::Plateaus => word.split(',').map(number).collect::<Result<Vec<u32>, _>>()?.into(),
        Form::Hairpin => word.into(),
        Form::Timeout(..) => {
            let time = notation::duration(word).map_err(text)?;
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xlat_control::globals::KEYS;

    #[test]
    fn options_by_their_form() {
        for (key, word, value) in [
            ("manually-enabled", "Off", Some(Value::from(false))),
            ("manually-enabled", "maybe", None),
            ("tos", "16", Some(16.into())),
            ("tos", "-1", None),
            ("tos", "16x", None),
            ("pool6", "null", Some(Value::Null)),
            ("pool6", "64:ff9b::/96", Some("64:ff9b::/96".into())),
            ("pool6", "64:ff9b::1/96", None),
            ("mtu-plateaus", "1500, 1280", Some(vec![1500, 1280].into())),
            ("udp-timeout", "0:10:00", Some(600_000.into())),
            ("udp-timeout", "ten", None),
        ] {
            let key = KEYS.iter().find(|known| known.name == key).unwrap();
            assert_eq!(option(key, word).ok(), value, "{} {word}", key.name);
        }
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1e9", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn transports_of_both_families() {
        assert!(matches!(transport("2001:db8::8#80"), Ok(Transport::V6(_))));
        assert!(matches!(transport("192.0.2.1#80"), Ok(Transport::V4(_))));
        for wrong in ["192.0.2.1", "192.0.2.1#65536", "#80", "2001:db8::8"] {
            assert!(transport(wrong).is_err(), "{wrong}");
        }
    }
}
