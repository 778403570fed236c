//! What a single value must be beyond its notation. Pure functions; [`crate::validate()`] and the readers share them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::diagnostic::shown;
use crate::model::{EamEntry, LogTo};
use crate::value::Problem;

/// Longest instance name in characters, as in Jool; longest interface name in bytes, as in Linux.
const NAME_MAX: usize = 15;

/// RFC 7915 and Jool never translate these whatever the tables say.
const SUBNET_SCOPED: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// RFC 6052 2.2: the lengths, no suffix, the "u" octet zero.
pub(crate) fn pool6(prefix: Ipv6Net) -> Result<(), Problem> {
    const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
    let (address, length) = (prefix.network(), prefix.prefix_len());
    if prefix.addr() != address {
        let message = format!("'{prefix}' seems to have a suffix; please fix.");
        return Err(Problem::new(message, format!("the prefix that contains it is {}", prefix.trunc())));
    }
    if !LENGTHS.contains(&length) {
        let message = format!("{length} is not a valid prefix length for pool6 (32, 40, 48, 56, 64, 96)");
        let help = match LENGTHS.iter().find(|&&known| known >= length) {
            Some(next) if length > 0 => {
                format!("use one of those lengths (RFC 6052 2.2), for instance {address}/{next}")
            }
            _ => "use one of those lengths (RFC 6052 2.2), for instance 64:ff9b::/96".to_owned(),
        };
        return Err(Problem::new(message, help));
    }
    let mut octets = address.octets();
    if octets[8] != 0 {
        let message = format!("the \"u\" octet (bits 64 to 71) of the pool6 prefix {prefix} is not zero");
        octets[8] = 0;
        let help = format!("RFC 6052 2.2 reserves it; {}/{length} would do", Ipv6Addr::from(octets));
        return Err(Problem::new(message, help));
    }
    if address.is_multicast() || address.is_unicast_link_local() {
        let message = format!("pool6 {prefix} is not made of unicast addresses that can be routed");
        return Err(Problem::new(message, "use 64:ff9b::/96 or a prefix of your own network"));
    }
    Ok(())
}

/// RFC 6791 sources must be addresses that can be somebody's.
pub(crate) fn rfc6791v4(prefix: Ipv4Net) -> Result<(), Problem> {
    match subnet_scoped(prefix) {
        None => Ok(()),
        Some(network) => Err(Problem::new(
            format!("Prefix {prefix} intersects with subnet scoped network {network}."),
            "use addresses that routers forward, for instance some of your own network",
        )),
    }
}

/// pool4 addresses must be addresses that can be somebody's, and each costs memory.
pub(crate) fn pool4(prefix: Ipv4Net) -> Result<(), Problem> {
    const LENGTH_MIN: u8 = 16;
    if prefix.prefix_len() < LENGTH_MIN {
        let message = format!("pool4 prefix {prefix} has too many addresses");
        return Err(Problem::new(message, format!("use prefixes of length {LENGTH_MIN} or more")));
    }
    match subnet_scoped(prefix) {
        None => Ok(()),
        Some(network) => Err(Problem::new(
            format!("pool4 prefix {prefix} intersects with {network}, which no router forwards"),
            "use addresses that are routed to this host",
        )),
    }
}

/// The network of addresses that are never translated which `prefix` touches.
pub(crate) fn subnet_scoped(prefix: Ipv4Net) -> Option<Ipv4Net> {
    let networks = SUBNET_SCOPED.iter().filter_map(|&(address, length)| Ipv4Net::new(address, length).ok());
    networks.into_iter().find(|network| network.contains(&prefix) || prefix.contains(network))
}

/// RFC 7757 3.2: the IPv4 suffix must fit into the IPv6 suffix.
pub(crate) fn eam(entry: EamEntry) -> Result<(), Problem> {
    let suffix4 = 32 - entry.ipv4.prefix_len();
    let suffix6 = 128 - entry.ipv6.prefix_len();
    if suffix4 <= suffix6 {
        return Ok(());
    }
    Err(Problem::new(
        "The IPv4 suffix length must be smaller or equal than the IPv6 suffix length.",
        format!(
            "{} leaves {suffix4} bits, {} only {suffix6}; make the IPv6 prefix /{} or shorter",
            entry.ipv4,
            entry.ipv6,
            128 - suffix4
        ),
    ))
}

/// Sorts descending, drops zeroes and repetitions; 1 to 64 values must be given and one must remain.
pub(crate) fn plateaus(mut plateaus: Vec<u16>) -> Result<Vec<u16>, Problem> {
    const PLATEAUS_MAX: usize = 64;
    if plateaus.len() > PLATEAUS_MAX {
        let message = format!("mtu-plateaus has {} values", plateaus.len());
        return Err(Problem::new(message, format!("the most is {PLATEAUS_MAX}")));
    }
    plateaus.retain(|&plateau| plateau != 0);
    plateaus.sort_unstable_by(|a, b| b.cmp(a));
    plateaus.dedup();
    if plateaus.is_empty() {
        return Err(Problem::new(
            "mtu-plateaus has no value above zero",
            "leave it out for those of RFC 1191",
        ));
    }
    Ok(plateaus)
}

/// 1 to 15 printable ASCII characters.
pub(crate) fn instance_name(name: &str) -> Result<String, Problem> {
    let printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && (1..=NAME_MAX).contains(&name.len()) {
        return Ok(name.to_owned());
    }
    let message = format!("'{}' is not a valid instance name", shown(name));
    Err(Problem::new(message, format!("use 1 to {NAME_MAX} printable characters")))
}

/// What Linux takes as the name of an interface.
pub(crate) fn interface_name(name: &str) -> Result<String, Problem> {
    let legal = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    let fits = (1..=NAME_MAX).contains(&name.len()) && name != "." && name != "..";
    if fits && name.chars().all(legal) {
        return Ok(name.to_owned());
    }
    let message = format!("'{}' is not a valid interface name", shown(name));
    Err(Problem::new(message, format!("use 1 to {NAME_MAX} characters without blanks, '/' and ':'")))
}

/// A TCP address to answer on.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, Problem> {
    let help = "write ADDRESS:PORT, for instance \"127.0.0.1:9464\" or \"[::1]:9464\"";
    let problem = || Problem::new(format!("'{}' is not an address with a port", shown(text)), help);
    let socket: SocketAddr = text.parse().map_err(|_| problem())?;
    let scoped = matches!(socket, SocketAddr::V6(socket) if socket.scope_id() != 0);
    if socket.port() == 0 || socket.ip().is_multicast() || scoped { Err(problem()) } else { Ok(socket) }
}

/// Several of them: none twice, and not too many.
pub(crate) fn sockets(sockets: &[SocketAddr]) -> Result<(), Problem> {
    const SOCKETS_MAX: usize = 16;
    if sockets.len() > SOCKETS_MAX {
        let message = format!("there are {} addresses to answer on", sockets.len());
        return Err(Problem::new(message, format!("the most is {SOCKETS_MAX}")));
    }
    let twice = sockets.iter().enumerate().find(|(at, socket)| sockets[..*at].contains(socket));
    twice.map_or(Ok(()), |(_, socket)| {
        Err(Problem::new(format!("the address {socket} is there twice"), "keep one of them"))
    })
}

/// The destinations of lines, in words.
pub(crate) const LOG_TO: &str = "`\"journal\"`, `\"file:/PATH\"`, `\"syslog\"`, `\"syslog:udp:ADDRESS:PORT\"` or `\"syslog:tcp:ADDRESS:PORT\"`";

/// Where lines go.
pub(crate) fn log_to(text: &str) -> Result<LogTo, Problem> {
    const PATH_MAX: usize = 4095;
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let known = match (kind, rest) {
        ("journal", "") if kind == text => Some(LogTo::Journal),
        ("syslog", "") if kind == text => Some(LogTo::Syslog),
        ("file", path) => {
            if !path.starts_with('/') || path.ends_with('/') || path.len() > PATH_MAX || path.contains('\0') {
                let message = format!("'{}' is not the absolute path of a file", shown(path));
                return Err(Problem::new(message, "write for instance \"file:/var/log/xlat/flows.log\""));
            }
            Some(LogTo::File(path.into()))
        }
        ("syslog", address) => match address.split_once(':') {
            Some(("udp", address)) => Some(LogTo::SyslogUdp(socket(address)?)),
            Some(("tcp", address)) => Some(LogTo::SyslogTcp(socket(address)?)),
            _other => None,
        },
        _other => None,
    };
    known.ok_or_else(|| {
        let message = format!("'{}' is not a place that lines can go to", shown(text));
        Problem::new(message, format!("write {}", LOG_TO.replace('`', "")))
    })
}

/// The name of a host, in lower case.
pub(crate) fn host_name(name: &str) -> Result<String, Problem> {
    const HOST_NAME_MAX: usize = 253;
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    if (1..=HOST_NAME_MAX).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(name.to_ascii_lowercase());
    }
    let message = format!("'{}' is not a host name", shown(name));
    Err(Problem::new(
        message,
        "write the name alone, without port and scheme, for instance \"t.example.net\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool6_follows_rfc6052() {
        for good in [
            "2001:db8::/32",
            "2001:db8:100::/40",
            "2001:db8:1::/48",
            "2001:db8:1:100::/56",
            "2001:db8:1:2::/64",
            "64:ff9b::/96",
        ] {
            assert_eq!(pool6(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "::/0",
            "2001:db8::/33",
            "2001:db8::/128",
            "2001:db8:0:0:100::/96",
            "64:ff9b::1/96",
            "ff00::/32",
            "fe80::/64",
        ] {
            assert!(pool6(bad.parse().unwrap()).is_err(), "{bad}");
        }
        let help = pool6("2001:db8:0:0:1ff:aa::/96".parse().unwrap()).unwrap_err().help;
        assert!(help.contains("2001:db8::ff:aa:0:0/96"), "{help}");
    }

    #[test]
    fn eam_suffixes() {
        let entry =
            |ipv6: &str, ipv4: &str| EamEntry { ipv6: ipv6.parse().unwrap(), ipv4: ipv4.parse().unwrap() };
        assert_eq!(eam(entry("2001:db8::/120", "192.0.2.0/24")), Ok(()));
        assert_eq!(eam(entry("2001:db8::/64", "192.0.2.0/24")), Ok(()));
        assert!(eam(entry("2001:db8::/121", "192.0.2.0/24")).is_err());
    }

    #[test]
    fn plateaus_are_put_in_order() {
        assert_eq!(plateaus(vec![68, 0, 1500, 68]), Ok(vec![1500, 68]));
        assert!(plateaus(vec![]).is_err());
        assert!(plateaus(vec![0; 3]).is_err());
        assert!(plateaus(vec![1; 65]).is_err());
    }

    #[test]
    fn names() {
        assert!(instance_name("n1").is_ok() && instance_name("123456789012345").is_ok());
        assert!(instance_name("").is_err() && instance_name("1234567890123456").is_err());
        assert!(instance_name("a\tb").is_err() && instance_name("ä").is_err());
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "1234567890123456"] {
            assert!(interface_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sockets_have_an_address_and_a_port() {
        for good in ["127.0.0.1:9464", "[::1]:9464", "0.0.0.0:1", "[::]:65535"] {
            assert!(socket(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "9464",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:9464",
            "::1:9464",
            "[fe80::1%2]:9464",
            "224.0.0.1:9",
        ] {
            assert!(socket(bad).is_err(), "{bad}");
        }
        let one: SocketAddr = "[::1]:9464".parse().unwrap();
        assert!(sockets(&[one]).is_ok() && sockets(&[one, one]).is_err());
        assert!(host_name("").is_err() && host_name("a b").is_err() && host_name("a:1").is_err());
        assert_eq!(host_name("T.Example.net"), Ok("t.example.net".to_owned()));
    }

    #[test]
    fn places_for_lines() {
        for good in [
            "journal",
            "syslog",
            "file:/var/log/xlat/flows:1.log",
            "syslog:udp:192.0.2.9:514",
            "syslog:tcp:[2001:db8::9]:601",
        ] {
            assert_eq!(log_to(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "journal:",
            "syslog:",
            "file:",
            "file:flows.log",
            "file:/var/log/",
            "/var/log/x",
            "syslog:udp:192.0.2.9",
            "syslog:tls:192.0.2.9:6514",
            "Journal",
        ] {
            assert!(log_to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subnet_scoped_networks() {
        let touched = |prefix: &str| subnet_scoped(prefix.parse().unwrap()).is_some();
        assert!(
            touched("127.0.0.1/32")
                && touched("0.0.0.0/0")
                && touched("255.255.255.255/32")
                && touched("232.1.0.0/16")
        );
        assert!(!touched("192.0.2.0/24") && !touched("10.0.0.0/8"));
    }
}
