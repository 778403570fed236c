//! The options of an instance that one value sets (Jool's `global`): their keys in the order of display, their types, and
//! where they stand in the configuration. Bounds and wording are Jool's (RFC 7915, RFC 6146, RFC 6791).

use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::Value;
use xlat_config::{EamHairpinMode, Instance, Kind, Nat64, Siit};

use crate::api::Translator;
use crate::error::Error;

/// One option.
#[derive(Debug)]
pub struct Key {
    /// As commands and files have it.
    pub name: &'static str,
    /// Who has it; `None`: both kinds.
    pub only: Option<Translator>,
    /// What it takes.
    pub form: Form,
}

/// The type of an option, as JSON has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Boolean,
    /// A number, with the greatest.
    Number(u32),
    /// A number, of bits that say what feeds the port choice.
    FArgs,
    /// A string, or `null` for none.
    Prefix6,
    /// A string, or `null` for none.
    Prefix4,
    /// An array of numbers.
    Plateaus,
    /// `"off"`, `"simple"` or `"intrinsic"`.
    Hairpin,
    /// Milliseconds, with the least and Jool's name of the timeout.
    Timeout(u64, &'static str),
}

const fn both(name: &'static str, form: Form) -> Key {
    Key { name, only: None, form }
}

const fn siit(name: &'static str, form: Form) -> Key {
    Key { name, only: Some(Translator::Siit), form }
}

const fn nat64(name: &'static str, form: Form) -> Key {
    Key { name, only: Some(Translator::Nat64), form }
}

const MINUTE: u64 = 60_000;

/// All of them, in the order of display.
pub static KEYS: &[Key] = &[
    both("manually-enabled", Form::Boolean),
    both("pool6", Form::Prefix6),
    both("lowest-ipv6-mtu", Form::Number(u32::MAX)),
    both("logging-debug", Form::Boolean),
    both("zeroize-traffic-class", Form::Boolean),
    both("override-tos", Form::Boolean),
    both("tos", Form::Number(255)),
    both("mtu-plateaus", Form::Plateaus),
    siit("amend-udp-checksum-zero", Form::Boolean),
    siit("eam-hairpin-mode", Form::Hairpin),
    siit("randomize-rfc6791-addresses", Form::Boolean),
    siit("rfc6791v6-prefix", Form::Prefix6),
    siit("rfc6791v4-prefix", Form::Prefix4),
    nat64("address-dependent-filtering", Form::Boolean),
    nat64("drop-externally-initiated-tcp", Form::Boolean),
    nat64("drop-icmpv6-info", Form::Boolean),
    nat64("source-icmpv6-errors-better", Form::Boolean),
    nat64("f-args", Form::FArgs),
    nat64("handle-rst-during-fin-rcv", Form::Boolean),
    nat64("tcp-est-timeout", Form::Timeout(120 * MINUTE, "tcp-est")),
    nat64("tcp-trans-timeout", Form::Timeout(4 * MINUTE, "tcp-trans")),
    nat64("udp-timeout", Form::Timeout(2 * MINUTE, "udp")),
    nat64("icmp-timeout", Form::Timeout(0, "icmp")),
    nat64("logging-bib", Form::Boolean),
    nat64("logging-session", Form::Boolean),
    nat64("maximum-simultaneous-opens", Form::Number(u32::MAX)),
    nat64("ss-enabled", Form::Boolean),
    nat64("ss-flush-asap", Form::Boolean),
    nat64("ss-flush-deadline", Form::Number(u32::MAX)),
    nat64("ss-capacity", Form::Number(u32::MAX)),
    nat64("ss-max-payload", Form::Number(u32::MAX)),
    nat64("ss-max-sessions-per-packet", Form::Number(u32::MAX)),
];

/// The options that a kind of translator has.
pub fn keys(translator: Translator) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.only.is_none_or(|only| only == translator))
}

/// A place in an instance, typed.
enum Slot<'a> {
    Boolean(&'a mut bool),
    Byte(&'a mut u8),
    Number(&'a mut u32),
    /// Mandatory (NAT64).
    Pool6(&'a mut Ipv6Net),
    Prefix6(&'a mut Option<Ipv6Net>),
    Prefix4(&'a mut Option<Ipv4Net>),
    Plateaus(&'a mut Vec<u16>),
    Hairpin(&'a mut EamHairpinMode),
    Timeout(&'a mut Duration),
}

fn slot<'a>(instance: &'a mut Instance, key: &str) -> Option<Slot<'a>> {
    let Instance { global, kind, .. } = instance;
    Some(match key {
        "manually-enabled" => Slot::Boolean(&mut global.manually_enabled),
        "lowest-ipv6-mtu" => Slot::Number(&mut global.lowest_ipv6_mtu),
        "logging-debug" => Slot::Boolean(&mut global.logging_debug),
        "zeroize-traffic-class" => Slot::Boolean(&mut global.zeroize_traffic_class),
        "override-tos" => Slot::Boolean(&mut global.override_tos),
        "tos" => Slot::Byte(&mut global.tos),
        "mtu-plateaus" => Slot::Plateaus(&mut global.mtu_plateaus),
        _kind_only => match kind {
            Kind::Siit(siit) => return siit_slot(siit, key),
            Kind::Nat64(nat64) => return nat64_slot(nat64, key),
        },
    })
}

fn siit_slot<'a>(siit: &'a mut Siit, key: &str) -> Option<Slot<'a>> {
    let Siit { pool6, global, .. } = siit;
    Some(match key {
        "pool6" => Slot::Prefix6(pool6),
        "amend-udp-checksum-zero" => Slot::Boolean(&mut global.amend_udp_checksum_zero),
        "eam-hairpin-mode" => Slot::Hairpin(&mut global.eam_hairpin_mode),
        "randomize-rfc6791-addresses" => Slot::Boolean(&mut global.randomize_rfc6791_addresses),
        "rfc6791v6-prefix" => Slot::Prefix6(&mut global.rfc6791v6_prefix),
        "rfc6791v4-prefix" => Slot::Prefix4(&mut global.rfc6791v4_prefix),
        _unknown => return None,
    })
}

fn nat64_slot<'a>(nat64: &'a mut Nat64, key: &str) -> Option<Slot<'a>> {
    let Nat64 { pool6, global, .. } = nat64;
    Some(match key {
        "pool6" => Slot::Pool6(pool6),
        "address-dependent-filtering" => Slot::Boolean(&mut global.address_dependent_filtering),
        "drop-externally-initiated-tcp" => Slot::Boolean(&mut global.drop_externally_initiated_tcp),
        "drop-icmpv6-info" => Slot::Boolean(&mut global.drop_icmpv6_info),
        "source-icmpv6-errors-better" => Slot::Boolean(&mut global.source_icmpv6_errors_better),
        "f-args" => Slot::Byte(&mut global.f_args),
        "handle-rst-during-fin-rcv" => Slot::Boolean(&mut global.handle_rst_during_fin_rcv),
        "tcp-est-timeout" => Slot::Timeout(&mut global.tcp_est_timeout),
        "tcp-trans-timeout" => Slot::Timeout(&mut global.tcp_trans_timeout),
        "udp-timeout" => Slot::Timeout(&mut global.udp_timeout),
        "icmp-timeout" => Slot::Timeout(&mut global.icmp_timeout),
        "logging-bib" => Slot::Boolean(&mut global.logging_bib),
        "logging-session" => Slot::Boolean(&mut global.logging_session),
        "maximum-simultaneous-opens" => Slot::Number(&mut global.maximum_simultaneous_opens),
        "ss-enabled" => Slot::Boolean(&mut global.ss_enabled),
        "ss-flush-asap" => Slot::Boolean(&mut global.ss_flush_asap),
        "ss-flush-deadline" => Slot::Number(&mut global.ss_flush_deadline),
        "ss-capacity" => Slot::Number(&mut global.ss_capacity),
        "ss-max-payload" => Slot::Number(&mut global.ss_max_payload),
        "ss-max-sessions-per-packet" => Slot::Number(&mut global.ss_max_sessions_per_packet),
        _unknown => return None,
    })
}

/// All options of an instance with their values, as a JSON object.
pub(crate) fn show(instance: &Instance) -> serde_json::Map<String, Value> {
    // The places are written through; a copy of the options keeps the tables out of it.
    let mut options = Instance {
        name: String::new(),
        global: instance.global.clone(),
        limits: Default::default(),
        routes: Vec::new(),
        output: Default::default(),
        kind: without_tables(&instance.kind),
    };
    let mut shown = serde_json::Map::new();
    for key in keys(instance.kind.translator().into()) {
        let Some(slot) = slot(&mut options, key.name) else { continue };
        shown.insert(key.name.to_owned(), slot.show());
    }
    shown
}

/// The same translator with empty tables.
fn without_tables(kind: &Kind) -> Kind {
    match kind {
        Kind::Siit(siit) => Kind::Siit(Box::new(Siit {
            pool6: siit.pool6,
            global: siit.global.clone(),
            ..Default::default()
        })),
        Kind::Nat64(nat64) => Kind::Nat64(Box::new(Nat64 {
            pool6: nat64.pool6,
            global: nat64.global.clone(),
            pool4: Vec::new(),
            bib: Vec::new(),
        })),
    }
}

/// Sets one option.
pub(crate) fn set(instance: &mut Instance, name: &str, value: &Value, force: bool) -> Result<(), Error> {
    let key = keys(instance.kind.translator().into()).find(|key| key.name == name);
    let unknown = || {
        Error::invalid(format!("there is no option '{name}'"))
            .in_jools_words(format!("Unknown global key: '{name}'"))
            .at("key")
    };
    let key = key.ok_or_else(unknown)?;
    let slot = slot(instance, name).ok_or_else(unknown)?;
    slot.set(key, value, force).map_err(|error| error.at(name))
}

impl Slot<'_> {
    fn show(&self) -> Value {
        let prefix = |prefix: Option<String>| prefix.map_or(Value::Null, Value::from);
        match self {
            Self::Boolean(value) => (**value).into(),
            Self::Byte(value) => (**value).into(),
            Self::Number(value) => (**value).into(),
            Self::Pool6(value) => value.to_string().into(),
            Self::Prefix6(value) => prefix(value.map(|prefix| prefix.to_string())),
            Self::Prefix4(value) => prefix(value.map(|prefix| prefix.to_string())),
            Self::Plateaus(value) => value.as_slice().into(),
            Self::Hairpin(value) => match value {
                EamHairpinMode::Off => "off".into(),
                EamHairpinMode::Simple => "simple".into(),
                EamHairpinMode::Intrinsic => "intrinsic".into(),
            },
            Self::Timeout(value) => u64::try_from(value.as_millis()).unwrap_or(u64::MAX).into(),
        }
    }

    fn set(self, key: &Key, value: &Value, force: bool) -> Result<(), Error> {
        let mistyped = || Error::invalid(format!("'{value}' is not a valid value of {}.", key.name));
        match self {
            Self::Boolean(place) => *place = value.as_bool().ok_or_else(mistyped)?,
            Self::Byte(place) => *place = byte(key, value.as_u64().ok_or_else(mistyped)?)?,
            Self::Number(place) => {
                let number = value.as_u64().ok_or_else(mistyped)?;
                if key.name == "lowest-ipv6-mtu" && number < 1280 {
                    return Err(Error::invalid(format!("{} ({number}) is too small (min: 1280).", key.name)));
                }
                *place = u32::try_from(number).map_err(|_| out_of_range(key, number, u32::MAX))?;
            }
            Self::Pool6(place) => {
                let prefix = prefix::<Ipv6Net>(value).ok_or_else(mistyped)?.ok_or_else(pool6_missing)?;
                if prefix != *place {
                    return Err(pool6_fixed());
                }
            }
            Self::Prefix6(place) => {
                let prefix = prefix::<Ipv6Net>(value).ok_or_else(mistyped)?;
                if let Some(prefix) = prefix {
                    no_suffix(&prefix, &prefix.trunc())?;
                    if key.name == "pool6" {
                        pool6_length(prefix)?;
                        u_octet(prefix, force)?;
                    }
                }
                *place = prefix;
            }
            Self::Prefix4(place) => {
                let prefix = prefix::<Ipv4Net>(value).ok_or_else(mistyped)?;
                if let Some(prefix) = prefix {
                    no_suffix(&prefix, &prefix.trunc())?;
                    not_subnet_scoped(prefix, force)?;
                }
                *place = prefix;
            }
            Self::Plateaus(place) => {
                let list = value.as_array().ok_or_else(mistyped)?;
                let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
                let list = list.iter().map(number).collect::<Option<Vec<u16>>>().ok_or_else(mistyped)?;
                *place = plateaus(list)?;
            }
            Self::Hairpin(place) => {
                *place = match value.as_str() {
                    Some("off" | "none") => EamHairpinMode::Off,
                    Some("simple") => EamHairpinMode::Simple,
                    Some("intrinsic") => EamHairpinMode::Intrinsic,
                    Some(_) | None => return Err(mistyped()),
                }
            }
            Self::Timeout(place) => {
                let millis = value.as_u64().ok_or_else(mistyped)?;
                if let Form::Timeout(least, name) = key.form
                    && millis < least
                {
                    let what = format!("The '{name}' timeout ({millis}) is too small. (min: {least})");
                    return Err(Error::invalid(what));
                }
                let millis = u32::try_from(millis).map_err(|_| out_of_range(key, millis, u32::MAX))?;
                *place = Duration::from_millis(millis.into());
            }
        }
        Ok(())
    }
}

fn byte(key: &Key, number: u64) -> Result<u8, Error> {
    match key.form {
        Form::FArgs if number > 15 => {
            Err(Error::invalid(format!("{} ({number}) is out of range. (0-15)", key.name)))
        }
        _ => u8::try_from(number).map_err(|_| out_of_range(key, number, 255)),
    }
}

fn out_of_range(key: &Key, number: u64, most: u32) -> Error {
    Error::invalid(format!("{} {number} is out of range (0-{most}).", key.name))
}

/// A stateful instance without pool6.
pub(crate) fn pool6_missing() -> Error {
    Error::invalid("a NAT64 instance needs a pool6")
        .with_help("64:ff9b::/96 is there for this (RFC 6052 2.1)")
        .in_jools_words("pool6 is mandatory in NAT64 instances.")
}

/// Another pool6 for a stateful instance, whose clients know it.
pub(crate) fn pool6_fixed() -> Error {
    Error::invalid("the pool6 of a NAT64 instance cannot be changed")
        .with_help("make another instance, or remove this one first")
        .in_jools_words("Sorry; you can't change a NAT64 instance's pool6 for now.")
}

/// `None`: not a prefix; `Some(None)`: none wanted.
fn prefix<P: std::str::FromStr>(value: &Value) -> Option<Option<P>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => text.parse().ok().map(Some),
        _ => None,
    }
}

/// A prefix has no bits beyond its length.
pub(crate) fn no_suffix<P: PartialEq + std::fmt::Display>(prefix: &P, right: &P) -> Result<(), Error> {
    if prefix == right {
        return Ok(());
    }
    Err(Error::invalid(format!("{prefix} has bits beyond its length"))
        .with_help(format!("the network is {right}"))
        .in_jools_words(format!("'{prefix}' seems to have a suffix; please fix.")))
}

/// RFC 6052 2.2.
pub(crate) fn pool6_length(prefix: Ipv6Net) -> Result<(), Error> {
    let length = prefix.prefix_len();
    if [32, 40, 48, 56, 64, 96].contains(&length) {
        return Ok(());
    }
    let what = format!("{length} is not a valid prefix length (32, 40, 48, 56, 64, 96).");
    Err(Error::invalid(what))
}

/// RFC 6052 2.2: bits 64 to 71 are zero. Without remedy here: the engine takes no other prefix.
fn u_octet(prefix: Ipv6Net, force: bool) -> Result<(), Error> {
    if prefix.network().octets()[8] == 0 {
        return Ok(());
    }
    let again = if force { "" } else { "\nWill cancel the operation. Use --force to override this." };
    let help = "RFC 6052 2.2 reserves bits 64 to 71; this translator insists on zero";
    Err(Error::invalid(format!("bits 64 to 71 of {prefix} are not zero")).with_help(help).in_jools_words(
        format!("The u-bit is nonzero; see https://github.com/NICMx/Jool/issues/174.{again}\nhelp: {help}"),
    ))
}

/// Networks of which no packet is ever forwarded.
pub(crate) fn not_subnet_scoped(prefix: Ipv4Net, force: bool) -> Result<(), Error> {
    const SCOPED: [&str; 5] =
        ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"];
    let touches = |network: &Ipv4Net| network.contains(&prefix) || prefix.contains(network);
    match SCOPED.iter().filter_map(|network| network.parse().ok()).find(touches) {
        Some(network) if !force => {
            Err(Error::invalid(format!("{prefix} meets {network}, which no router forwards"))
                .with_help("with force it is taken all the same")
                .in_jools_words(format!(
                    "Prefix {prefix} intersects with subnet scoped network {network}.\n\
                     Will cancel the operation. Use --force to ignore this validation."
                )))
        }
        Some(_) | None => Ok(()),
    }
}

/// Descending, without repetitions and zeroes; 1 to 64 (RFC 1191 7.1).
fn plateaus(mut list: Vec<u16>) -> Result<Vec<u16>, Error> {
    if list.len() > 64 {
        return Err(Error::invalid("Too many plateaus. The current max is 64."));
    }
    list.retain(|plateau| *plateau != 0);
    list.sort_unstable_by(|a, b| b.cmp(a));
    list.dedup();
    if list.is_empty() {
        return Err(Error::invalid("The plateaus list contains nothing but zeroes."));
    }
    Ok(list)
}
