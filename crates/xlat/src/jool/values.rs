//! What single words mean: Jool's notations with its leniency and its complaints (cli 3.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::Value;
use xlat_control::api::{Transport4, Transport6};
use xlat_control::globals::{Form, Key};

use super::fail::{Fail, INVALID};

/// By what it is made of, in this order: colon, point, neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    V6,
    V4,
    Other,
}

pub(super) fn shape(word: &str) -> Shape {
    match (word.contains(':'), word.contains('.')) {
        (true, _) => Shape::V6,
        (false, true) => Shape::V4,
        (false, false) => Shape::Other,
    }
}

pub(super) fn boolean(word: &str) -> Result<bool, Fail> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Fail::invalid(format!("Cannot parse '{word}' as a bool (true|false|1|0|yes|no|on|off)."))),
    }
}

/// Digits at the beginning; the rest is dropped, as Jool does.
pub(super) fn unsigned(word: &str, min: u64, max: u64) -> Result<u64, Fail> {
    let digits: &str = &word[..word.bytes().take_while(u8::is_ascii_digit).count()];
    if digits.is_empty() {
        return Err(Fail::client(format!("'{word}' is not an unsigned integer. (error code 1)"), 1));
    }
    let number = digits.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| Fail::invalid(format!("'{word}' is out of bounds ({min}-{max}).")))
}

fn port(word: &str) -> Result<u16, Fail> {
    // Within the bounds.
    unsigned(word, 0, 65535).map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

/// `N` or `A-B`, in either order.
pub(super) fn port_range(word: &str) -> Result<(u16, u16), Fail> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (port(first)?, port(last)?);
    Ok((first.min(last), first.max(last)))
}

pub(super) fn address4(word: &str) -> Result<Ipv4Addr, Fail> {
    word.parse().map_err(|_| Fail::invalid(format!("Cannot parse '{word}' as an IPv4 address.")))
}

pub(super) fn address6(word: &str) -> Result<Ipv6Addr, Fail> {
    word.parse().map_err(|_| Fail::invalid(format!("Cannot parse '{word}' as an IPv6 address.")))
}

/// `ADDR[/LEN]`; bits beyond the length are the translator's complaint.
pub(super) fn prefix4(word: &str) -> Result<Ipv4Net, Fail> {
    let (address, length) = word.split_once('/').unwrap_or((word, "32"));
    let (address, length) = (address4(address)?, unsigned(length, 0, 32)?);
    Ipv4Net::new(address, u8::try_from(length).unwrap_or(32))
        .map_err(|_| Fail::invalid(format!("Cannot parse '{word}' as an IPv4 prefix.")))
}

/// The same for IPv6.
pub(super) fn prefix6(word: &str) -> Result<Ipv6Net, Fail> {
    let (address, length) = word.split_once('/').unwrap_or((word, "128"));
    let (address, length) = (address6(address)?, unsigned(length, 0, 128)?);
    Ipv6Net::new(address, u8::try_from(length).unwrap_or(128))
        .map_err(|_| Fail::invalid(format!("Cannot parse '{word}' as an IPv6 prefix.")))
}

fn transport(word: &str) -> Result<(&str, u16), Fail> {
    let no_port = || Fail::invalid(format!("Cannot parse '{word}' as ADDRESS#PORT: there is no port."));
    let (address, number) = word.split_once('#').ok_or_else(no_port)?;
    Ok((address, port(number)?))
}

/// `ADDR#PORT`.
pub(super) fn transport4(word: &str) -> Result<Transport4, Fail> {
    let (address, port) = transport(word)?;
    Ok(Transport4 { address: address4(address)?, port })
}

/// `ADDR#PORT`.
pub(super) fn transport6(word: &str) -> Result<Transport6, Fail> {
    let (address, port) = transport(word)?;
    Ok(Transport6 { address: address6(address)?, port })
}

/// `[[HH:]MM:]SS[.mmm]` to milliseconds. Fields may exceed 59. The fraction is a decimal one, of at least three digits.
fn milliseconds(word: &str) -> Result<u64, Fail> {
    let wrong = || Fail::invalid(format!("Cannot parse '{word}' as a duration ([[HH:]MM:]SS[.mmm])."));
    let (clock, fraction) = word.split_once('.').unwrap_or((word, "000"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if clock.split(':').count() > 3 || fraction.len() < 3 || !digits(fraction) {
        return Err(wrong());
    }
    let mut seconds = 0_u64;
    for field in clock.split(':') {
        let field: u32 =
            Some(field).filter(|field| digits(field)).and_then(|f| f.parse().ok()).ok_or_else(wrong)?;
        seconds = seconds.saturating_mul(60).saturating_add(field.into());
    }
    let millis: u64 = fraction.get(..3).and_then(|millis| millis.parse().ok()).ok_or_else(wrong)?;
    let most = u64::from(u32::MAX);
    let all = seconds.saturating_mul(1000).saturating_add(millis);
    if all > most { Err(Fail::invalid(format!("'{word}' is out of bounds (0-{most})."))) } else { Ok(all) }
}

/// Milliseconds as `H:MM:SS[.mmm]`.
pub(super) fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match millis % 1000 {
        0 => clock,
        rest => format!("{clock}.{rest:03}"),
    }
}

/// The value of a global option.
pub(super) fn global(key: &Key, word: &str) -> Result<Value, Fail> {
    Ok(match key.form {
        Form::Boolean => boolean(word)?.into(),
        Form::Number(most) => unsigned(word, 0, most.into())?.into(),
        Form::FArgs => unsigned(word, 0, 255)?.into(),
        Form::Prefix6 if word == "null" => Value::Null,
        Form::Prefix6 => prefix6(word)?.to_string().into(),
        Form::Prefix4 if word == "null" => Value::Null,
        Form::Prefix4 => prefix4(word)?.to_string().into(),
        Form::Plateaus => plateaus(word)?,
        Form::Hairpin => match word {
            "off" | "none" => "off".into(),
            "simple" | "intrinsic" => word.into(),
            _ => {
                return Err(Fail::invalid(format!(
                    "'{word}' cannot be parsed as a hairpinning mode.\nAvailable options: off, simple, intrinsic"
                )));
            }
        },
        Form::Timeout(..) => milliseconds(word)?.into(),
    })
}

fn plateaus(word: &str) -> Result<Value, Fail> {
    const MOST: usize = 64;
    let list: Vec<u64> =
        word.split(',').map(|plateau| unsigned(plateau.trim(), 0, 65535)).collect::<Result<_, _>>()?;
    if list.len() > MOST {
        return Err(Fail::client(format!("Too many plateaus. The current max is {MOST}."), INVALID));
    }
    Ok(list.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_with_their_exit_codes() {
        assert_eq!(unsigned("100abc", 0, 255), Ok(100));
        assert_eq!(unsigned("0x20", 0, 255), Ok(0));
        for word in ["", " 1", "-1", "+1", "x"] {
            let fail = unsigned(word, 0, 255).unwrap_err();
            assert_eq!(
                (fail.stderr, fail.code),
                (format!("Error: '{word}' is not an unsigned integer. (error code 1)\n"), 1)
            );
        }
        for word in ["256", "99999999999999999999999"] {
            let fail = unsigned(word, 0, 255).unwrap_err();
            assert_eq!(
                (fail.stderr, fail.code),
                (format!("Error: '{word}' is out of bounds (0-255).\n"), 234)
            );
        }
    }

    #[test]
    fn words() {
        for (word, value) in
            [("TRUE", true), ("1", true), ("Yes", true), ("oN", true), ("off", false), ("no", false)]
        {
            assert_eq!(boolean(word), Ok(value));
        }
        assert_eq!(
            boolean("x").unwrap_err().stderr,
            "Error: Cannot parse 'x' as a bool (true|false|1|0|yes|no|on|off).\n"
        );
        assert_eq!(port_range("2000-1000"), Ok((1000, 2000)));
        assert_eq!(port_range("80"), Ok((80, 80)));
        assert!(port_range("1-70000").is_err() && port_range("-").is_err());
        assert_eq!(prefix4("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(prefix6("64:ff9b::192.0.2.1").unwrap().to_string(), "64:ff9b::c000:201/128");
        assert!(prefix4("192.0.2.300").is_err() && prefix4("192.0.2.0/33").is_err());
        assert_eq!(transport4("192.0.2.1#80").unwrap().port, 80);
        assert!(transport6("2001:db8::1").is_err() && transport6("2001:db8::1#65536").is_err());
        assert_eq!(
            [shape("64:ff9b::192.0.2.1"), shape("192.0.2.1"), shape("80")],
            [Shape::V6, Shape::V4, Shape::Other]
        );
    }

    #[test]
    fn durations() {
        for (word, millis) in [
            ("90", 90_000),
            ("0:90", 90_000),
            ("2:00:00", 7_200_000),
            ("1.234", 1234),
            ("0:04:00.500", 240_500),
        ] {
            assert_eq!(milliseconds(word), Ok(millis), "{word}");
        }
        for word in ["", "1:", "1s", "1.5", "1:2:3:4", "-1", "9999:0:0"] {
            assert!(milliseconds(word).is_err(), "{word}");
        }
        assert_eq!((clock(7_200_000), clock(7_198_232)), ("2:00:00".to_owned(), "1:59:58.232".to_owned()));
    }

    #[test]
    fn globals() {
        let key = |name: &str| xlat_control::globals::KEYS.iter().find(|key| key.name == name).unwrap();
        assert_eq!(global(key("mtu-plateaus"), "6000, 5000"), Ok(serde_json::json!([6000, 5000])));
        assert_eq!(global(key("pool6"), "null"), Ok(Value::Null));
        assert_eq!(global(key("f-args"), "0b1010"), Ok(0.into()));
        assert_eq!(
            global(key("eam-hairpin-mode"), "Off").unwrap_err().stderr,
            "Error: 'Off' cannot be parsed as a hairpinning mode.\nAvailable options: off, simple, intrinsic\n"
        );
        let many = vec!["1"; 65].join(",");
        assert_eq!(
            global(key("mtu-plateaus"), &many).unwrap_err().stderr,
            "Error: Too many plateaus. The current max is 64.\n"
        );
    }
}
